"""The way out of one box, as its back-end puts it up: sockets, the agent's line, and what commands are told."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from agentlab.sandboxes.connection import AgentConnection, Reply
from agentlab.sandboxes.egress import sockets
from agentlab.sandboxes.egress.addresses import Outside
from agentlab.sandboxes.egress.hosts import allow_list
from agentlab.sandboxes.egress.ledger import EgressLimits, Ledger, Record
from agentlab.sandboxes.egress.link import LineLink
from agentlab.sandboxes.egress.proxy import Proxy
from agentlab.sandboxes.egress.sockets import PORT, SOCKET_DIR
from agentlab.sandboxes.egress.streams import READ, SocketStream
from agentlab.sandboxes.protocol import SandboxError


class Egress:
    """The way out of one box. Raises SandboxError("unsupported") for a list that makes no sense."""

    def __init__(
        self,
        box: str,
        network: Sequence[str],
        limits: EgressLimits | None = None,
        outside: Outside | None = None,
    ) -> None:
        limits = limits or EgressLimits()
        self._outside = outside or Outside()
        try:
            allowed = allow_list(network)
        except ValueError as error:
            raise SandboxError("unsupported", str(error)) from error
        self._ledger = Ledger(box, limits)
        self._proxy = Proxy(allowed, self._ledger, limits, self._outside)
        self._directories: list[Path] = []
        self._carriers: set[asyncio.Task[None]] = set()
        """What brings connections here: sockets and lines."""
        self._serving: set[asyncio.Task[None]] = set()

    async def listen(self, owner: int | None = None) -> Path | None:
        """A directory that holds nothing but a socket of the proxy, to be bound at `SOCKET_DIR`; None where there
        can be none, and the agent's line has to do.

        On this machine only `owner` (and this process's user) can get to it; None: this process's user.
        """
        if not self._outside.by_socket:
            return None
        private = sockets.directory()
        try:
            path = sockets.place(private, owner)
            listener = sockets.listen(path, owner)
        except OSError:
            shutil.rmtree(private, ignore_errors=True)
            return None
        self._directories.append(private)
        self._spawn(self._accept(listener), self._carriers)
        return path.parent

    async def _accept(self, listener: socket.socket) -> None:
        # Not asyncio's server: in Python 3.11 one that is closed forgets connections which it has just accepted.
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                try:
                    connected, _ = await loop.sock_accept(listener)
                except OSError:
                    # Out of descriptors; some will be free again.
                    await asyncio.sleep(0.1)
                else:
                    self._spawn(self._serve(connected), self._serving)
                    await self._proxy.pause()

    async def _serve(self, connected: socket.socket) -> None:
        await self._proxy.serve(SocketStream(*await asyncio.open_connection(sock=connected, limit=READ)))

    def _spawn(self, work: Coroutine[None, None, None], among: set[asyncio.Task[None]]) -> None:
        task = asyncio.create_task(work)
        among.add(task)
        task.add_done_callback(among.discard)

    def agent_config(self, shown: Path | None) -> dict[str, Any]:
        """What the agent is told with its hello, where the directory of `listen` is shown in its box."""
        return {"port": PORT, "socket": f"{SOCKET_DIR}/{sockets.SOCKET}" if shown is not None else ""}

    async def follow(self, hello: Reply, connection: AgentConnection) -> None:
        """Do as the agent found: it reaches the socket, or its connections come over the line.

        Raises SandboxError("start") where it opened no way out.
        """
        found = hello.value.get("egress")
        if found == "line":
            link = await LineLink.open(connection, self._proxy)
            self._spawn(link.run(), self._carriers)
        elif found != "socket":
            raise SandboxError("start", "the agent opened no way out of a box that is to have one")

    def report_to(self, record: Record) -> None:
        """Tell `record` of each connection, those before this call included."""
        self._ledger.report_to(record)

    def renew(self) -> None:
        """Count bytes and connections anew: what an agent has used up is not taken from its grader."""
        self._ledger.renew()

    async def shut(self) -> None:
        """Let nothing out any more, and have told what was open."""
        await self._proxy.shut()

    async def start_over(self) -> None:
        """Make as new, for a box that is used again."""
        await self._proxy.shut()
        self._ledger.start_over()
        self._proxy.open_anew()

    async def close(self) -> None:
        """Shut the way for good. Safe to call twice."""
        carriers = list(self._carriers)
        for carrier in carriers:
            carrier.cancel()
        await asyncio.gather(*carriers, return_exceptions=True)
        await self._proxy.shut()
        await asyncio.gather(*self._serving, return_exceptions=True)
        for private in self._directories:
            shutil.rmtree(private, ignore_errors=True)
        self._directories.clear()
