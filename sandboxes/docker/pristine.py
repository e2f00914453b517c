"""What a box has changed, and what its image held there: told by the engine, so that nothing in the box can lie."""

from __future__ import annotations

import asyncio
import io
import json
import posixpath
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

from agentlab.sandboxes import ownership
from agentlab.sandboxes.docker.engine import Engine, EngineError
from agentlab.sandboxes.protocol import Change, SandboxError

_KINDS: tuple[Change, ...] = ("changed", "added", "deleted")
"""As the engine numbers them."""
MAX_ORIGINAL = 256 << 20
MAX_CHANGES = 256 << 20
"""Bytes of the list of changes."""


class Pristine:
    """A container of each image that is asked about, made and never started."""

    def __init__(self, engine: Engine, run_id: str) -> None:
        self.engine = engine
        self._run_id = run_id
        self._made: dict[str, asyncio.Task[str]] = {}

    async def of(self, image: str) -> str:
        """The container that stands for the image."""
        if image not in self._made:
            self._made[image] = asyncio.create_task(self._make(image))
        return await asyncio.shield(self._made[image])

    async def _make(self, image: str) -> str:
        labels = {**ownership.labels(self._run_id), "agentlab.pristine": "1"}
        config = {"Image": image, "Entrypoint": ["/never"], "Cmd": [], "Labels": labels}
        host = {"NetworkMode": "none", "LogConfig": {"Type": "none"}}
        made = await self.engine.call("POST", "/containers/create", {**config, "HostConfig": host})
        return str(made["Id"])

    async def close(self) -> None:
        made, self._made = self._made, {}
        for task in made.values():
            try:
                await self.engine.call("DELETE", f"/containers/{await task}", force="1", v="1")
            except (EngineError, SandboxError):
                # Labelled as ours: the next sweep finds it.
                continue


@dataclass(slots=True)
class EngineView:
    """One box, seen from the engine."""

    pristine: Pristine
    container: str
    entrypoint: tuple[str, ...] = ()

    async def changes(self) -> Mapping[str, Change]:
        """What differs from the image, by path. Raises SandboxError."""
        try:
            told = await self.pristine.engine.data(f"/containers/{self.container}/changes", {}, most=MAX_CHANGES)
        except EngineError as refused:
            raise SandboxError("lost", f"the engine does not tell what the box has changed: {refused}") from refused
        found = await asyncio.to_thread(json.loads, told or b"null")
        return {str(entry["Path"]): _KINDS[int(entry["Kind"])] for entry in found or ()}

    async def original(self, image: str, path: str) -> bytes:
        """A tar with what the image has at `path`. Raises FileNotFoundError and SandboxError."""
        container = await self.pristine.of(image)
        try:
            data = await self.pristine.engine.data(
                f"/containers/{container}/archive", {"path": path}, most=MAX_ORIGINAL
            )
        except EngineError as refused:
            if refused.status == 404:
                raise FileNotFoundError(path) from None
            raise SandboxError("image", f"the engine does not give {path} of {image}: {refused}") from refused
        return _named(data, posixpath.basename(path))


def _named(archive: bytes, name: str) -> bytes:
    """The tar with its top member under the name that was asked for: of a linked folder the engine gives the target."""
    out = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as source,
        tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as renamed,
    ):
        for member in source:
            _, slash, below = member.name.partition("/")
            member.name = name + slash + below
            if member.islnk():
                member.linkname = name + "/" + member.linkname.partition("/")[2]
            renamed.addfile(member, source.extractfile(member) if member.isreg() else None)
    return out.getvalue()
