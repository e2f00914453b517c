"""A Python of our own for boxes of foreign images: the agent runs on it, whatever is or is not in the image.

It is taken from the image agentlab/python once and kept in a volume of the engine, which each such box sees read-only.
It brings its own loader and C library, so that any Linux image will do, one of another C library too.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentlab.sandboxes import images, ownership
from agentlab.sandboxes.docker import build
from agentlab.sandboxes.docker.engine import Engine, EngineError
from agentlab.sandboxes.protocol import SandboxError, Say

IMAGE = "agentlab/python:latest"
PLACE = "/run/agentlab-python"
"""Where it lies in a box."""

# Runs in a box of our image: copies the interpreter, its library and what both are linked with.
_COLLECT = """
import ctypes, json, lzma, bz2, os, resource, select, shutil, socket, sys, tarfile, zlib
out = "/out"
skip = shutil.ignore_patterns("test", "tests", "idlelib", "tkinter", "lib2to3", "ensurepip", "turtledemo", "config-*",
                              "site-packages", "dist-packages", "pydoc_data")
version = "python%d.%d" % sys.version_info[:2]
shutil.copytree(os.path.dirname(os.__file__), f"{out}/lib/{version}", ignore=skip, symlinks=False)
os.makedirs(f"{out}/bin")
shutil.copy2(os.path.realpath(sys.executable), f"{out}/bin/python3")
for line in open("/proc/self/maps"):
    path = line.split(None, 5)[5].strip() if line.count(" ") > 4 and "/" in line else ""
    name = os.path.basename(path)
    if ".so" in name and "lib-dynload" not in path:
        shutil.copy2(path, f"{out}/lib/{name}")
        for other in os.listdir(os.path.dirname(path)):
            same = os.path.realpath(f"{os.path.dirname(path)}/{other}") == os.path.realpath(path)
            if same and not os.path.lexists(f"{out}/lib/{other}"):
                os.symlink(name, f"{out}/lib/{other}")
        if name.startswith("ld-"):
            shutil.copy2(path, f"{out}/lib/loader")
print("done")
"""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The volume, and how a box starts its agent with it."""

    volume: str

    def entrypoint(self, flags: Sequence[str]) -> list[str]:
        """The first words of a box, with the flags of the agent's Python."""
        loader = [f"{PLACE}/lib/loader", "--library-path", f"{PLACE}/lib"]
        return [*loader, f"{PLACE}/bin/python3", *flags]

    @property
    def mount(self) -> dict[str, Any]:
        return {
            "Type": "volume",
            "Source": self.volume,
            "Target": PLACE,
            "ReadOnly": True,
            "VolumeOptions": {"NoCopy": True},
        }


class RuntimeMaker:
    """Makes the volume where it is not there, once."""

    def __init__(self, engine: Engine, run_id: str) -> None:
        self._engine = engine
        self._run_id = run_id
        self._making: asyncio.Task[Runtime] | None = None

    async def get(self, say: Say) -> Runtime:
        """Raises SandboxError where it cannot be made."""
        if self._making is None or (self._making.done() and self._making.exception() is not None):
            self._making = asyncio.create_task(self._make(say))
        return await asyncio.shield(self._making)

    async def _make(self, say: Say) -> Runtime:
        image = await build.ensure(self._engine, IMAGE, say)
        volume = f"agentlab-python-{hashlib.sha256(f'{image}{_COLLECT}'.encode()).hexdigest()[:16]}"
        # A volume tells not whether it is complete, as one is not whose maker was killed: a file here does.
        where = hashlib.sha256(str(self._engine.endpoint).encode()).hexdigest()[:8]
        complete = images.cache_dir() / f"{volume}-{where}.complete"
        async with images.building_alone():
            if not (complete.exists() and await self._is_there(volume)):
                say("Taking the agent's own Python out of agentlab/python: some seconds, 35 MB.")
                await self._fill(volume)
                complete.touch()
        return Runtime(volume)

    async def _is_there(self, volume: str) -> bool:
        try:
            return bool(await self._engine.call("GET", f"/volumes/{volume}"))
        except EngineError as refused:
            if refused.status == 404:
                return False
            raise SandboxError("start", f"the engine does not tell of its volumes: {refused}") from refused

    async def _fill(self, volume: str) -> None:
        try:
            await self._engine.call("DELETE", f"/volumes/{volume}", force="1")
        except EngineError as refused:
            if refused.status == 409:
                # Boxes use it, so it was complete when they were made.
                return
            if refused.status != 404:
                raise SandboxError("start", f"an old volume cannot be removed: {refused}") from refused
        try:
            await self._engine.call("POST", "/volumes/create", {"Name": volume, "Labels": {"agentlab.python": "1"}})
            await self._collect(volume)
        except EngineError as refused:
            raise SandboxError("start", f"the agent's own Python could not be made: {refused}") from refused

    async def _collect(self, volume: str) -> None:
        config = {
            "Image": IMAGE,
            "Entrypoint": ["python3", "-I", "-c", _COLLECT],
            "Cmd": [],
            "User": "0:0",
            "Labels": ownership.labels(self._run_id),
            "HostConfig": {
                "NetworkMode": "none",
                "LogConfig": {"Type": "none"},
                "Mounts": [{"Type": "volume", "Source": volume, "Target": "/out"}],
            },
        }
        made = await self._engine.call("POST", "/containers/create", config)
        try:
            await self._engine.call("POST", f"/containers/{made['Id']}/start")
            ended = await self._engine.call("POST", f"/containers/{made['Id']}/wait")
            if ended.get("StatusCode") != 0:
                raise SandboxError("start", f"copying it ended with {ended.get('StatusCode')}")
        finally:
            await self._engine.call("DELETE", f"/containers/{made['Id']}", force="1", v="0")
