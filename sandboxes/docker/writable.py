"""Boxes with a writable system, for foreign images and tasks: what differs from hardened ones, and the disk's watch.

Root in such a box is root of a user namespace that the agent makes below its own (`agent/rooted.py`); the container
itself has no more rights than a hardened one, but for the capability that mapping root needs. No size bounds the
writable layer, so it is watched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agentlab.sandboxes import seccomp
from agentlab.sandboxes.box import AgentSandbox
from agentlab.sandboxes.docker.engine import Engine, EngineError
from agentlab.sandboxes.docker.pristine import EngineView
from agentlab.sandboxes.protocol import BoxSpec, Change, SandboxError

WATCH_S = 1.0
GROWTH = 0.25
"""How much more of its limit a box may write after its processes were killed, before it is taken away."""


def open_up(config: dict[str, Any], spec: BoxSpec) -> dict[str, Any]:
    """The engine's description of a hardened box, turned into that of a writable one."""
    host = {key: value for key, value in config["HostConfig"].items() if key != "Tmpfs"}
    host |= {
        "ReadonlyRootfs": False,
        "CapAdd": [*host["CapAdd"], "SETFCAP"],
        # Without no-new-privileges, as sudo and su belong to a whole system.
        "SecurityOpt": [f"seccomp={seccomp.as_text(namespaces=True)}"],
        "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
    }
    # Without Sysctls: the reset that they are for never happens here.
    host.pop("Sysctls", None)
    return {**config, "WorkingDir": spec.workdir, "HostConfig": host}


class WritableSandbox(AgentSandbox):
    """A box whose whole system may be changed: what was, is told by the engine, out of reach of anything inside."""

    def __init__(self, view: EngineView, *parts: Any) -> None:
        super().__init__(*parts)
        self._view = view

    @property
    def entrypoint(self) -> tuple[str, ...]:
        return self._view.entrypoint

    async def changes(self) -> Mapping[str, Change]:
        return await self._view.changes()

    async def original(self, path: str) -> bytes:
        return await self._view.original(self.image, path)


@dataclass(slots=True)
class _Watched:
    limit: int
    stop_everything: Callable[[], Awaitable[None]]
    give_up: Callable[[SandboxError], Awaitable[None]]
    stopped_at: int = 0


class DiskWatch:
    """Looks at what writable boxes have written, once a second. A box over its limit has its processes killed, as a
    full disk would stop them; one that goes on is taken away.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._watched: dict[str, _Watched] = {}
        self._task: asyncio.Task[None] | None = None

    def add(
        self,
        container: str,
        limit_mb: int,
        stop_everything: Callable[[], Awaitable[None]],
        give_up: Callable[[SandboxError], Awaitable[None]],
    ) -> None:
        self._watched[container] = _Watched(limit_mb << 20, stop_everything, give_up)
        if self._task is None:
            self._task = asyncio.create_task(self._watch(), name="disk watch")

    def forget(self, container: str) -> None:
        self._watched.pop(container, None)

    async def close(self) -> None:
        self._watched.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            for container, watched in list(self._watched.items()):
                await self._look(container, watched)

    async def _look(self, container: str, watched: _Watched) -> None:
        try:
            found = await self._engine.call("GET", f"/containers/{container}/json", size="1")
            written = int(found.get("SizeRw") or 0)
            if written <= watched.limit:
                return
            if watched.stopped_at and written > watched.stopped_at + GROWTH * watched.limit:
                self.forget(container)
                await watched.give_up(_too_much(written, watched.limit))
                return
            watched.stopped_at = watched.stopped_at or written
            await watched.stop_everything()
        except (EngineError, SandboxError):
            # The box or its engine has gone: whoever uses the box is told so by the box itself.
            self.forget(container)


def _too_much(written: int, limit: int) -> SandboxError:
    return SandboxError(
        "disk",
        f"what runs in the box wrote {written >> 20} MB and went on after it was stopped at {limit >> 20} MB; "
        "give the task more storage if it needs it",
    )
