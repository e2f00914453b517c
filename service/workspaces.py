"""Workspaces that are kept on the way: what lay in an agent's box before a turn, so that a fork can begin there."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
import zstandard

from agentlab.models.passing import PassingModel
from agentlab.models.protocol import DEFAULT_SAMPLING
from agentlab.traces.errors import StoreError
from agentlab.traces.events import Artifact, ModelCall, Note

if TYPE_CHECKING:
    from agentlab.models.protocol import ChatResponse, Model, Sampling
    from agentlab.sandboxes.protocol import Sandbox
    from agentlab.service.boxes import Lease
    from agentlab.service.planner import Route
    from agentlab.service.prompt import Begun
    from agentlab.traces.events import Message, Recorder, ToolSpec
    from agentlab.traces.reader import RunReader
    from agentlab.traces.steps import Trace

NAME = "workspace"
MEDIA_TYPE = "application/x-tar+zstd"
MAX_BYTES = 256 << 20
"""Bytes of a workspace beyond which it is not kept; also what is unpacked of one at most."""


class KeepingModel(PassingModel):
    """Asks `model`, and keeps the workspace before every so many of an agent's turns, the very first left out: what
    lies there is the sample's own. Raises what the box raises.
    """

    def __init__(
        self, model: Model, box: Callable[[], Awaitable[Sandbox]], every: int, recorder: Recorder, *, turns: int = 0
    ) -> None:
        """`turns` were taken before."""
        super().__init__(model)
        self._box = box
        self._every = every
        self._recorder = recorder
        self._turns = self._first = turns

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        sampling: Sampling = DEFAULT_SAMPLING,
        recorder: Recorder | None = None,
        epoch: int = 0,
    ) -> ChatResponse:
        turn, self._turns = self._turns, self._turns + 1
        if turn > self._first and turn % self._every == 0:
            await self._keep()
        return await super().chat(messages, tools=tools, sampling=sampling, recorder=recorder, epoch=epoch)

    async def _keep(self) -> None:
        import anyio.to_thread

        box = await self._box()
        try:
            archive = await box.snapshot(max_bytes=MAX_BYTES)
        except (ValueError, OSError) as error:
            # Too large, or in the middle of being removed: the trial goes on, and a fork carries out more of it again.
            self._recorder.record(Note(at=time.time(), text=f"the workspace is not kept: {error}"))
            return
        packed = await anyio.to_thread.run_sync(zstandard.ZstdCompressor(level=3).compress, archive)
        self._recorder.artifact(packed, MEDIA_TYPE, NAME)


def keeping(
    model: Model, route: Route, lease: Lease | None, every: int, recorder: Recorder, begun: Begun | None
) -> Model:
    """`model`, with the workspace of a trial kept before every so many turns (0: never). A box whose whole system may
    change is not held by its workspace, so nothing is kept of it.
    """
    spec = route.spec
    if not every or lease is None or spec is None or route.agent.where == "direct" or spec.profile == "writable":
        return model
    return KeepingModel(model, lease.get, every, recorder, turns=begun.turns if begun is not None else 0)


class Kept(msgspec.Struct, frozen=True):
    """A workspace that a trial's run kept, and the turn (from 0) before which that was."""

    turn: int
    sha256: str


def kept_before(trace: Trace, turn: int) -> Kept | None:
    """The last workspace that was kept before a turn, or before one that came earlier."""
    turns, found = 0, None
    for stored in trace.events:
        event = stored.event
        if isinstance(event, ModelCall) and event.purpose == "agent":
            turns += 1
        elif isinstance(event, Artifact) and event.name == NAME and event.media_type == MEDIA_TYPE:
            found = Kept(turns, event.sha256)
        if turns > turn:
            break
    return found


def unpacked(reader: RunReader, kept: Kept) -> bytes:
    """The tar of a workspace. Raises StoreError where it is missing, damaged, or unpacks to more than is ever kept."""
    packed = reader.artifact(kept.sha256)
    if hashlib.sha256(packed).hexdigest() != kept.sha256:
        raise StoreError(f"artifact {kept.sha256} is not what was stored")
    most = 2 * MAX_BYTES  # an archive has headers beside the bytes of its files
    try:
        with zstandard.ZstdDecompressor().stream_reader(packed) as stream:
            archive: bytes = stream.read(most + 1)
    except zstandard.ZstdError as error:
        raise StoreError(f"artifact {kept.sha256} cannot be unpacked: {error}") from None
    if len(archive) > most:
        raise StoreError(f"artifact {kept.sha256} unpacks to more than {most >> 20} MiB")
    return archive
