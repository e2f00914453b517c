"""What figures are held against: this machine's own fork and exec, the engine's API, its command line client."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from agentlab.sandboxes.docker.endpoint import current
from agentlab.sandboxes.protocol import SandboxError


def spawn_ms() -> float:
    """Milliseconds for `true` on this machine, without a box."""
    started = time.perf_counter()
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    return (time.perf_counter() - started) * 1e3


class BareEngine:
    """The engine's API and nothing else: boxes without limits or an agent, only without a network, which is faster."""

    def __init__(self, image: str) -> None:
        self._image = image
        endpoint = current()
        connector = aiohttp.UnixConnector(endpoint.socket, limit=0) if endpoint.socket else None
        self._session = aiohttp.ClientSession(base_url=endpoint.base_url, connector=connector)

    async def call(
        self, method: str, address: str, *, json: Any = None, data: bytes | None = None, **query: str
    ) -> bytes:
        async with self._session.request(method, address, json=json, data=data, params=query) as response:
            body = await response.read()
            if response.status >= 400:
                raise SandboxError("start", f"{method} {address}: {body[:300].decode(errors='replace')}")
            return body

    async def start(self) -> str:
        config = {
            "Image": self._image,
            "Entrypoint": ["sleep", "600"],
            "Cmd": [],
            "HostConfig": {"NetworkMode": "none"},
        }
        created = _document(await self.call("POST", "/containers/create", json=config))
        await self.call("POST", f"/containers/{created['Id']}/start")
        return str(created["Id"])

    async def exec(self, box: str, *argv: str) -> int:
        """Run a command to its end; its exit code. That takes three calls."""
        command = {"Cmd": list(argv), "AttachStdout": True, "AttachStderr": True}
        made = _document(await self.call("POST", f"/containers/{box}/exec", json=command))
        await self.call("POST", f"/exec/{made['Id']}/start", json={"Detach": False, "Tty": False})
        return int(_document(await self.call("GET", f"/exec/{made['Id']}/json"))["ExitCode"])

    async def put(self, box: str, name: str, content: bytes) -> None:
        """A file into /tmp, by the archive API."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        await self.call("PUT", f"/containers/{box}/archive", data=out.getvalue(), path="/tmp")  # noqa: S108

    async def get(self, box: str, name: str) -> bytes:
        archive = await self.call("GET", f"/containers/{box}/archive", path=f"/tmp/{name}")  # noqa: S108
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            member = tar.extractfile(name)
            return member.read() if member else b""

    async def remove(self, box: str) -> None:
        await self.call("DELETE", f"/containers/{box}", force="1")

    async def close(self) -> None:
        await self._session.close()


@asynccontextmanager
async def bare_box(engine: BareEngine) -> AsyncIterator[str]:
    box = await engine.start()
    try:
        yield box
    finally:
        await engine.remove(box)


def _document(body: bytes) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(body)
    return found


async def docker(*args: str) -> None:
    """One call of the command line client. Raises SandboxError where it fails, OSError where it is not there."""
    process = await asyncio.create_subprocess_exec(
        "docker", *args, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        raise SandboxError("start", f"docker {args[0]}: {said.decode(errors='replace')[:300]}")
