"""Boxes for trials: a bounded number alive at once, each owned by one lease, removed in the background."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypeAlias

import anyio

from agentlab.sandboxes.opening import BackendName, open_backend
from agentlab.sandboxes.protocol import SandboxError
from agentlab.tasks.types import TaskError
from agentlab.traces.events import Recorder, SandboxEnd, SandboxStart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentlab.sandboxes.protocol import Backend, BoxSpec, Capability, Sandbox

Purpose: TypeAlias = Literal["agent", "scorer"]
"""Whom a box is for."""


def offered_by(sandbox: BackendName, image: str) -> frozenset[Capability]:
    """What `image` offers in that sandbox. Opened only to be asked: plain questions must run on a machine that has no
    engine, or a misnamed one.
    """
    return open_backend(sandbox).offers(image)


class Boxes:
    """Hands out boxes of one back-end, at most `limit` alive at once, in the order of asking."""

    def __init__(self, backend: Backend | None, limit: int) -> None:
        self._backend = backend
        self._slots = anyio.CapacityLimiter(limit)
        self.failed_images: dict[str, SandboxError] = {}
        """Images that could not be made ready at the start: every trial that needs one ends as `sandbox`."""

    @property
    def in_use(self) -> int:
        return self._slots.borrowed_tokens

    @property
    def limit(self) -> int:
        return int(self._slots.total_tokens)

    async def create(self, spec: BoxSpec, owner: object) -> Sandbox:
        """A new box on behalf of `owner`, who must `remove` it. Raises SandboxError."""
        if self._backend is None:
            raise SandboxError("unavailable", "this run was planned without a sandbox")
        await self._slots.acquire_on_behalf_of(owner)
        try:
            return await self._backend.create(spec)
        except BaseException:
            self._slots.release_on_behalf_of(owner)
            raise

    async def remove(self, box: Sandbox, owner: object) -> None:
        try:
            await box.close()
        finally:
            self._slots.release_on_behalf_of(owner)


class Lease:
    """One trial's claim on a box: started ahead while the model thinks, waited for at first use, always given back."""

    def __init__(
        self, boxes: Boxes, spec: BoxSpec, files: Mapping[str, str], recorder: Recorder, purpose: Purpose
    ) -> None:
        self._boxes = boxes
        self._spec = spec
        self._files = files
        self._recorder = recorder
        self._purpose = purpose
        self._ready = anyio.Event()
        self._box: Sandbox | None = None
        self._error: SandboxError | TaskError | None = None
        self._taken = 0.0
        self.seconds = 0.0
        """Wall seconds for which this trial held the box."""

    async def start(self) -> None:
        """Make the box; run in a task of its own, beside the first model call."""
        asked = time.monotonic()
        try:
            box = await self._boxes.create(self._spec, self)
            self._box = box
            self._taken = time.monotonic()
            self._record_start(box, (self._taken - asked) * 1e3)
            await self._lay_files(box)
        except (SandboxError, TaskError) as error:
            self._error = error
        except Exception as error:  # noqa: BLE001  the boundary: what an engine's client raises must not end other trials
            self._error = SandboxError("start", f"{type(error).__name__}: {error}")
        finally:
            self._ready.set()

    async def _lay_files(self, box: Sandbox) -> None:
        for path, text in self._files.items():
            try:
                await box.write_file(path, text.encode("utf-8", "surrogateescape"))
            except (OSError, ValueError) as error:
                # Another box would meet the same file: the sample is wrong, not the place.
                raise TaskError(f"the sample's file {path!r} cannot be laid into the box: {error}") from None

    def _record_start(self, box: Sandbox, waited_ms: float) -> None:
        self._recorder.record(
            SandboxStart(
                at=time.time(),
                box=box.id,
                sandbox=box.backend,
                isolation=box.isolation,
                image=box.image,
                wait_ms=waited_ms,
                start_ms=box.start_ms,
                purpose=self._purpose,
            )
        )

    async def get(self) -> Sandbox:
        """The box, files laid in. Raises SandboxError where there is none, TaskError for files that do not fit."""
        await self._ready.wait()
        if self._error is not None:
            raise self._error
        if self._box is None:
            raise SandboxError("start", "the box was given back before it was used")
        return self._box

    async def __aenter__(self) -> Lease:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        box, self._box = self._box, None
        if box is None:
            return
        self.seconds = time.monotonic() - self._taken
        self._recorder.record(SandboxEnd(at=time.time(), box=box.id, seconds=self.seconds))
        # A cancelled trial must still give its box back: an open box holds memory until the runner ends.
        with anyio.CancelScope(shield=True):
            await self._boxes.remove(box, self)
