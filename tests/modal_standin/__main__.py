"""Serve until standard input ends; the first line of output is the address."""

from __future__ import annotations

import asyncio
import sys

from grpclib.events import RecvRequest, listen
from grpclib.server import Server

from agentlab.sandboxes.docker.endpoint import current
from agentlab.sandboxes.docker.engine import Engine
from modal_standin.access import admit
from modal_standin.containers import Containers
from modal_standin.control import ControlPlane
from modal_standin.router import CommandRouter


async def main() -> None:
    containers = Containers(Engine(current()))
    control = ControlPlane(containers)
    server = Server([control, CommandRouter(containers)])
    listen(server, RecvRequest, admit)
    await server.start("127.0.0.1", 0)
    # grpclib keeps the listening socket to itself.
    control.url = f"http://127.0.0.1:{server._server.sockets[0].getsockname()[1]}"
    print(control.url, flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        await reader.read()
    finally:
        server.close()
        await containers.close()


asyncio.run(main())
