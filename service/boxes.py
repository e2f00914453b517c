"""Boxes for trials: which pool they come from, and one trial's claim on one of them."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypeAlias

import anyio

from agentlab.sandboxes.opening import BackendName, open_backend
from agentlab.sandboxes.protocol import SandboxError
from agentlab.sandboxes.room import Machine, Room, room_on
from agentlab.tasks.types import TaskError
from agentlab.traces.events import Recorder, SandboxEnd, SandboxStart

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from agentlab.sandboxes.pool import Pool
    from agentlab.sandboxes.protocol import BoxSpec, Capability, Sandbox

Purpose: TypeAlias = Literal["agent", "scorer"]
"""Whom a box is for."""


def offered_by(sandbox: BackendName, image: str) -> frozenset[Capability]:
    """What `image` offers in that sandbox. Opened only to be asked: plain questions must run on a machine that has no
    engine, or a misnamed one.
    """
    return open_backend(sandbox).offers(image)


def isolation_of(sandbox: BackendName) -> str:
    """What holds the code there, for results."""
    return open_backend(sandbox).isolation


def room_for(sandbox: BackendName, asked: int | None) -> Room:
    """How many boxes of that sandbox may be in use at once; `asked` is what a person allows."""
    return room_on(Machine.here() if open_backend(sandbox).local else None, asked)


async def absent(sandbox: BackendName) -> str:
    """Why that sandbox cannot be used just now; empty where it can, and where only somebody far away could tell."""
    backend = open_backend(sandbox)
    try:
        if backend.local:
            await backend.check()
    except SandboxError as error:
        return str(error)
    finally:
        await backend.close()
    return ""


def started(box: Sandbox, waited_s: float, purpose: Purpose = "agent") -> SandboxStart:
    """The step that a trial was given a box after so many seconds."""
    return SandboxStart(
        at=time.time(),
        box=box.id,
        sandbox=box.backend,
        isolation=box.isolation,
        image=box.image,
        wait_ms=waited_s * 1e3,
        start_ms=box.start_ms,
        purpose=purpose,
    )


class Lease:
    """One trial's claim on a box: taken before its model is asked, made ready while the model thinks, always given
    back.
    """

    def __init__(
        self,
        pool: Pool,
        spec: BoxSpec,
        files: Mapping[str, str],
        recorder: Recorder,
        purpose: Purpose = "agent",
        workspace: bytes | None = None,
    ) -> None:
        """`workspace`: a tar that is laid into the box in place of the files, which it holds as they were by then."""
        self._pool = pool
        self._spec = spec
        self._files = files
        self._workspace = workspace
        self._recorder = recorder
        self._purpose: Purpose = purpose
        self._ready = anyio.Event()
        self._box: Sandbox | None = None
        self._error: SandboxError | TaskError | None = None
        self._taken = 0.0
        self._waited_s = 0.0
        self.seconds = 0.0
        """Wall seconds for which this trial held the box."""

    async def take(self) -> None:
        """Wait for room and for the box. Raises SandboxError."""
        asked = time.monotonic()
        box = self._box = await self._pool.take(self._spec)
        self._taken = time.monotonic()
        self._record_start(box, self._taken - asked, self._purpose)

    async def lay_files(self) -> None:
        """Lay the sample's files into the box that was taken. What fails is raised by `get`."""
        try:
            if self._workspace is not None:
                await self._restore(self._workspace)
                return
            for path, text in self._files.items():
                await self._lay(path, text)
        except (SandboxError, TaskError) as error:
            self._error = error
        except Exception as error:  # noqa: BLE001  the boundary: what an engine's client raises must not end other trials
            self._error = SandboxError("start", f"{type(error).__name__}: {error}")
        finally:
            self._ready.set()

    async def _lay(self, path: str, text: str) -> None:
        if self._box is None:
            raise SandboxError("start", "no box was taken")
        try:
            await self._box.write_file(path, text.encode("utf-8", "surrogateescape"))
        except (OSError, ValueError) as error:
            # Another box would meet the same file: the sample is wrong, not the place.
            raise TaskError(f"the sample's file {path!r} cannot be laid into the box: {error}") from None

    async def _restore(self, workspace: bytes) -> None:
        if self._box is None:
            raise SandboxError("start", "no box was taken")
        try:
            await self._box.restore(workspace)
        except (OSError, ValueError) as error:
            raise TaskError(f"the workspace that was kept cannot be laid into the box: {error}") from None

    async def get(self) -> Sandbox:
        """The box, files laid in. Raises SandboxError where there is none, TaskError for files that do not fit."""
        asked = time.monotonic()
        await self._ready.wait()
        self._waited_s += time.monotonic() - asked
        if self._error is not None:
            raise self._error
        if self._box is None:
            raise SandboxError("start", "the box was given back before it was used")
        return self._box

    @asynccontextmanager
    async def another(self, spec: BoxSpec, *, keep: bool) -> AsyncIterator[Sandbox]:
        """A further box of this trial, for grading. Unless it is to be kept, the first one is given back before: who
        holds a box must not wait for another. Raises SandboxError.
        """
        if not keep:
            await self._give_back()
        asked = time.monotonic()
        async with self._pool.beside(spec) if keep else self._pool.box(spec) as box:
            taken = time.monotonic()
            self._record_start(box, taken - asked, "scorer")
            try:
                yield box
            finally:
                await _shut_network(box)
                self.seconds += time.monotonic() - taken
                self._recorder.record(SandboxEnd(at=time.time(), box=box.id, seconds=time.monotonic() - taken))

    def _record_start(self, box: Sandbox, waited_s: float, purpose: Purpose) -> None:
        self._recorder.record(started(box, waited_s, purpose))
        box.report_network(self._recorder.record)

    async def _give_back(self) -> None:
        box, self._box = self._box, None
        if box is None:
            return
        await _shut_network(box)
        self._pool.give_back(box)
        held = time.monotonic() - self._taken
        self.seconds += held
        self._recorder.record(SandboxEnd(at=time.time(), box=box.id, seconds=held, waited_ms=self._waited_s * 1e3))

    async def __aenter__(self) -> Lease:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._give_back()


async def _shut_network(box: Sandbox) -> None:
    """Have every connection of a trial told while its recorder takes events, also where the trial is cancelled."""
    with anyio.CancelScope(shield=True):
        await box.shut_network()
