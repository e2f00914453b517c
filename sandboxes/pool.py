"""Boxes in advance: started while models think, given out in the order of asking, and thrown away after one use.

pool = Pool(backend, room)
pool.expect(spec, 100)              # a hundred trials will want such a box: the first are started now
box = await pool.take(spec)         # waits for room, then for a box
...
pool.give_back(box)                 # at once: it is removed, or made as new, in the background

Two things are waited for. *Room* is given strictly in the order of asking, so a large box is not passed by small ones
for ever; whoever holds a box must give it back before taking another. A *box* is there already where one was started
ahead. Where a kind of box is for reuse (`BoxSpec.reuse`), a used one is reset, verified, and given out again.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from agentlab.sandboxes.protocol import Backend, BoxSpec, Limits, Sandbox, SandboxError
from agentlab.sandboxes.room import Room

MOST_AHEAD = 8
"""Idle boxes at most. An engine starts some six boxes a second, so more would seldom be waited for."""
MOST_USES = 50
"""A box for reuse is thrown away after so many trials, whatever its resets say."""

_Pairs: TypeAlias = tuple[tuple[str, str], ...]
_Key: TypeAlias = tuple[str, Limits, _Pairs, tuple[str, ...], str, tuple[str, str], str, _Pairs, bool]


@dataclass(eq=False)
class _Kind:
    """Boxes that are as good as each other."""

    spec: BoxSpec
    idle: deque[Sandbox] = field(default_factory=deque)
    coming: int = 0
    """Boxes that are being started, or reset for the next."""
    expected: int = 0
    in_use: int = 0
    broken: bool = False
    """The last start failed: none is started ahead until one that was asked for has succeeded."""


@dataclass(eq=False)
class _Request:
    kind: _Kind
    box: asyncio.Future[Sandbox]


def _key(spec: BoxSpec) -> _Key:
    env, labels = tuple(sorted(spec.env.items())), tuple(sorted(spec.labels.items()))
    system = (spec.profile, spec.users, spec.workdir)
    return (spec.image, spec.limits, env, spec.network, *system, labels, spec.reuse)


class Pool:
    """Boxes of one back-end. Bound to the event loop that first uses it; close it before the back-end."""

    def __init__(self, backend: Backend, room: Room, *, ahead: int | None = None) -> None:
        self._backend = backend
        self.room = room
        self._ahead = min(room.boxes, MOST_AHEAD) if ahead is None else ahead
        self._kinds: dict[_Key, _Kind] = {}
        self._queue: deque[_Request] = deque()
        self._admitted: deque[_Request] = deque()
        self._out: dict[str, _Kind] = {}
        self._uses: Counter[str] = Counter()
        self._memory_mb = 0
        self._starts: set[asyncio.Task[None]] = set()
        self._retiring: set[asyncio.Task[None]] = set()
        self._closed = False
        self.failed_images: dict[str, SandboxError] = {}
        """Images that could not be made ready: whoever asks for a box of one is told so at once."""

    @property
    def in_use(self) -> int:
        """Boxes that are held, or promised to who has room for one."""
        return sum(kind.in_use for kind in self._kinds.values())

    @property
    def idle(self) -> int:
        """Boxes that stand ready."""
        return sum(len(kind.idle) for kind in self._kinds.values())

    def expect(self, spec: BoxSpec, count: int) -> None:
        """`count` more boxes of this kind will be taken: some are started now, and the next ones as these are."""
        if spec.image in self.failed_images:
            return
        self._kind(spec).expected += count
        self._go_on()

    async def take(self, spec: BoxSpec) -> Sandbox:
        """A box of this kind, as new; the caller must `give_back` it. Raises SandboxError."""
        if self._closed:
            raise SandboxError("closed", "the pool of boxes is closed")
        if (unready := self.failed_images.get(spec.image)) is not None:
            raise unready
        request = _Request(self._kind(spec), asyncio.get_running_loop().create_future())
        self._queue.append(request)
        self._go_on()
        try:
            return await request.box
        except asyncio.CancelledError:
            self._withdraw(request)
            raise

    @asynccontextmanager
    async def box(self, spec: BoxSpec) -> AsyncIterator[Sandbox]:
        """`take` and `give_back` as a context."""
        box = await self.take(spec)
        try:
            yield box
        finally:
            self.give_back(box)

    @asynccontextmanager
    async def beside(self, spec: BoxSpec) -> AsyncIterator[Sandbox]:
        """A box for who holds another one that rests meanwhile: started at once and removed at the end, without room
        of its own, as waiting for room with a box in hand could wait for ever. Raises SandboxError.
        """
        if (unready := self.failed_images.get(spec.image)) is not None:
            raise unready
        box = await self._backend.create(spec)
        try:
            yield box
        finally:
            self._spawn(box.close(), self._retiring)

    def give_back(self, box: Sandbox) -> None:
        """Done with this box. Its room is free at once; removing or resetting it holds nobody up."""
        kind = self._out.pop(box.id)
        self._uses[box.id] += 1
        self._leave(kind)
        if kind.spec.reuse and self._uses[box.id] < MOST_USES:
            kind.coming += 1
            self._spawn(self._make_as_new(kind, box), self._retiring)
        else:
            self._spawn(self._throw_away(box), self._retiring)
        self._go_on()

    async def settled(self) -> None:
        """Wait until nothing is being started, reset or removed any more."""
        while under_way := [*self._starts, *self._retiring]:
            await asyncio.wait(under_way)

    async def close(self) -> None:
        """Remove every box that nobody holds, and refuse who still waits."""
        self._closed = True
        for request in (*self._queue, *self._admitted):
            if not request.box.done():
                request.box.set_exception(SandboxError("closed", "the pool of boxes was closed"))
        self._queue.clear()
        self._admitted.clear()
        for task in self._starts:
            task.cancel()
        closing = [box.close() for kind in self._kinds.values() for box in kind.idle]
        for kind in self._kinds.values():
            kind.idle.clear()
        results = await asyncio.gather(*closing, *self._starts, *self._retiring, return_exceptions=True)
        for result in results:
            if isinstance(result, SandboxError):
                raise result

    # Room.

    def _kind(self, spec: BoxSpec) -> _Kind:
        return self._kinds.setdefault(_key(spec), _Kind(spec))

    def _has_room(self, limits: Limits) -> bool:
        in_use = self.in_use
        if in_use == 0:
            return True
        memory = self.room.memory_mb
        return in_use < self.room.boxes and (memory is None or self._memory_mb + limits.memory_mb <= memory)

    def _enter(self, kind: _Kind) -> None:
        kind.in_use += 1
        kind.expected = max(0, kind.expected - 1)
        self._memory_mb += kind.spec.limits.memory_mb

    def _leave(self, kind: _Kind) -> None:
        kind.in_use -= 1
        self._memory_mb -= kind.spec.limits.memory_mb

    def _withdraw(self, request: _Request) -> None:
        """Who asked was cancelled, perhaps just as a box was handed over."""
        if request in self._queue:
            self._queue.remove(request)
        elif request in self._admitted:
            self._admitted.remove(request)
            self._leave(request.kind)
        elif not request.box.cancelled() and request.box.exception() is None:
            box = request.box.result()
            self._out.pop(box.id, None)
            self._leave(request.kind)
            request.kind.idle.append(box)
        self._go_on()

    # What moves when anything has changed.

    def _go_on(self) -> None:
        self._drop_lost()
        while self._queue and self._has_room(self._queue[0].kind.spec.limits):
            request = self._queue.popleft()
            self._enter(request.kind)
            self._admitted.append(request)
        for request in tuple(self._admitted):
            # Who was cancelled a moment ago still stands here, until it withdraws.
            if request.kind.idle and not request.box.done():
                self._admitted.remove(request)
                self._hand_over(request, request.kind.idle.popleft())
        if not self._closed:
            wanted = [request.kind for request in self._admitted] + self._wanted_ahead()
            self._start_for(wanted)
            self._shed(Counter(wanted))

    def _drop_lost(self) -> None:
        """Idle boxes die too, all at once where their engine restarts: nobody is to be given one."""
        for kind in self._kinds.values():
            for box in [box for box in kind.idle if not box.alive]:
                kind.idle.remove(box)
                self._spawn(self._throw_away(box), self._retiring)

    def _hand_over(self, request: _Request, box: Sandbox) -> None:
        self._out[box.id] = request.kind
        request.box.set_result(box)

    def _wanted_ahead(self) -> list[_Kind]:
        """Which boxes to have ready beyond those that are waited for: kinds in use now in turn, then what comes."""
        left = {kind: kind.expected for kind in self._kinds.values() if kind.expected and not kind.broken}
        now = [kind for kind in left if kind.in_use] or list(left)[:1]
        wanted: list[_Kind] = []
        for group in (now, list(left)):
            while len(wanted) < self._ahead and any(left[kind] for kind in group):
                for kind in group:
                    if left[kind] and len(wanted) < self._ahead:
                        left[kind] -= 1
                        wanted.append(kind)
        return wanted

    def _start_for(self, wanted: list[_Kind]) -> None:
        supply = {kind: kind.coming + len(kind.idle) for kind in wanted}
        # An engine that is slow to remove must not be given ever more boxes to remove.
        most_retiring = self.room.boxes + self._ahead
        for kind in wanted:
            if supply[kind]:
                supply[kind] -= 1
            elif len(self._starts) < self._backend.starts_at_once and len(self._retiring) < most_retiring:
                kind.coming += 1
                self._spawn(self._start(kind), self._starts)

    def _shed(self, wanted: Counter[_Kind]) -> None:
        """Throw away idle boxes that nobody is expected to want, where there are too many."""
        for kind in self._kinds.values():
            kept = self._ahead + (self.room.boxes if kind.spec.reuse else 0)
            while self.idle > kept and len(kind.idle) > wanted[kind]:
                self._spawn(self._throw_away(kind.idle.popleft()), self._retiring)

    # Boxes.

    async def _start(self, kind: _Kind) -> None:
        try:
            box = await self._backend.create(kind.spec)
        except SandboxError as error:
            self._failed(kind, error)
        except Exception as error:  # noqa: BLE001 - the boundary: what an engine's client raises ends one trial, not the pool
            self._failed(kind, SandboxError("start", f"{type(error).__name__}: {error}"))
        else:
            kind.broken = False
            kind.idle.append(box)
        finally:
            kind.coming -= 1

    def _failed(self, kind: _Kind, error: SandboxError) -> None:
        kind.broken = True
        for request in self._admitted:
            if request.kind is kind and not request.box.done():
                self._admitted.remove(request)
                self._leave(kind)
                request.box.set_exception(error)
                return

    async def _make_as_new(self, kind: _Kind, box: Sandbox) -> None:
        try:
            as_new = await box.reset()
        finally:
            kind.coming -= 1
        if as_new and not self._closed:
            kind.idle.append(box)
        else:
            self._go_on()
            await self._throw_away(box)

    async def _throw_away(self, box: Sandbox) -> None:
        del self._uses[box.id]
        try:
            await box.close()
        except SandboxError:
            # It stays labelled as ours, and the back-end tries again when it closes.
            return

    def _spawn(self, work: Coroutine[None, None, None], among: set[asyncio.Task[None]]) -> None:
        task = asyncio.create_task(work)
        among.add(task)
        task.add_done_callback(lambda ended: self._ended(ended, among))

    def _ended(self, task: asyncio.Task[None], among: set[asyncio.Task[None]]) -> None:
        among.discard(task)
        if not self._closed:
            self._go_on()
