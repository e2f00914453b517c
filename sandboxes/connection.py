"""The runner's end of the line to an agent: requests by number, replies matched to them, and one error for a line
that breaks.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec

from agentlab.sandboxes.agent import wire
from agentlab.sandboxes.protocol import SandboxError

ANSWER_S = 15.0
"""How long the agent may take beyond what a request itself allows."""

ENDED_S = 5.0
"""How long a line that takes no more input may take to be known as ended."""

WINDOW = 4
"""Pieces of input that may be under way for one command: what the agent may have to hold for it."""


Autopsy = Callable[[], Awaitable[SandboxError | None]]
"""Asked once, when a line has ended by itself: what the place knows better than "lost", None where it knows nothing."""
WhySilent = Callable[[], SandboxError | None]
"""What holds up an agent that does not answer, where that can be seen from outside."""


class Line(Protocol):
    """Bytes to and from an agent's standard streams."""

    async def receive(self) -> bytes:
        """The next bytes of its output, empty at the end. Raises OSError or SandboxError where the line breaks."""
        ...

    async def send(self, data: bytes) -> None: ...

    async def close(self) -> None: ...

    def last_words(self) -> str:
        """The end of what the agent wrote to standard error, for a message."""
        ...


class Reply(msgspec.Struct, frozen=True):
    """A header from the agent. Strictly typed and flat, so that it cannot be deep or surprising."""

    id: int
    t: Literal["out", "err", "end", "ok", "fail", "more", "net"]
    code: int = 0
    timed_out: bool = False
    oom: bool = False
    seconds: float = 0.0
    dropped: int = 0
    split: int = 0
    kind: str = ""
    message: str = ""
    value: dict[str, int | str | bool | list[str]] = {}


Item = tuple[Reply, bytes]


@dataclass(eq=False)
class Exchange:
    """One request and what has come back for it."""

    id: int
    arrived: asyncio.Queue[Item | None] = field(default_factory=asyncio.Queue)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    under_way: int = 1
    """Pieces of input that were sent and not yet taken, the one with the request included."""
    ended: bool = False


class AgentConnection:
    """Speaks with one agent. One task reads; any number of requests may be under way."""

    def __init__(
        self, line: Line, box: str, autopsy: Autopsy | None = None, why_silent: WhySilent | None = None
    ) -> None:
        self._line = line
        self._box = box
        self._autopsy = autopsy
        self._why_silent = why_silent
        self._numbers = itertools.count(1)
        self._exchanges: dict[int, Exchange] = {}
        self._decoder = msgspec.json.Decoder(Reply)
        self._broken: SandboxError | None = None
        self._writing = asyncio.Lock()
        self._reading = asyncio.create_task(self._read(), name=f"sandbox {box}")

    @property
    def alive(self) -> bool:
        return self._broken is None

    async def _read(self) -> None:
        frames = wire.Frames()
        try:
            while data := await self._line.receive():
                for text, payload in frames.feed(data):
                    self._deliver(self._decoder.decode(text), payload)
            error = await self._found("its output ended")
        except (wire.FrameError, msgspec.DecodeError) as cause:
            error = SandboxError(
                "protocol", f"the agent of box {self._box} sent nonsense ({cause}); the box is given up"
            )
        except OSError as cause:
            error = await self._found(str(cause))
        except SandboxError as cause:
            error = cause
        self._break(error)

    async def _found(self, why: str) -> SandboxError:
        """What a line that has ended is to be called."""
        return (await self._autopsy() if self._autopsy is not None else None) or self._lost(why)

    def _lost(self, why: str) -> SandboxError:
        words = self._line.last_words().strip()
        tail = f" Its last words: {words[-500:]}" if words else ""
        return SandboxError(
            "lost",
            f"box {self._box} was lost ({why}): removed, killed, or the engine stopped. Try again on a new box.{tail}",
        )

    def _break(self, error: SandboxError) -> None:
        self._broken = self._broken or error
        for exchange in self._exchanges.values():
            exchange.arrived.put_nowait(None)
            exchange.room.set()

    def _deliver(self, reply: Reply, payload: bytes) -> None:
        exchange = self._exchanges.get(reply.id)
        if exchange is None:
            # The caller was cancelled meanwhile; nobody waits for this.
            return
        if reply.t == "more":
            exchange.under_way -= reply.code
            exchange.room.set()
            return
        if reply.t in ("end", "ok", "fail"):
            exchange.ended = True
            exchange.room.set()
        exchange.arrived.put_nowait((reply, payload))

    async def _post(self, header: Mapping[str, Any], payload: bytes = b"") -> None:
        if self._broken is not None:
            raise self._broken
        try:
            frame = wire.encode(dict(header), payload)
        except wire.FrameError as cause:
            raise ValueError(f"the request is too large for the box: {cause}") from cause
        try:
            async with self.deadline(ANSWER_S, str(header["op"])), self._writing:
                await self._line.send(frame)
        except OSError as cause:
            # The reader finds out why; this end only knows that nobody listens.
            await asyncio.wait([self._reading], timeout=ENDED_S)
            self._break(self._lost(str(cause)))
            raise self._broken or self._lost(str(cause)) from cause

    async def begin(self, op: str, payload: bytes = b"", **fields: Any) -> Exchange:
        """Send a request; the caller reads `arrived` and must `finish` it."""
        exchange = Exchange(next(self._numbers))
        self._exchanges[exchange.id] = exchange
        try:
            await self._post({"id": exchange.id, "op": op, **fields}, payload)
        except BaseException:
            self.finish(exchange)
            raise
        return exchange

    async def add(self, exchange: Exchange, data: bytes, *, last: bool) -> None:
        """Send more input in bounded pieces, each only when the one before was taken. Stops when the command has
        ended. Raises SandboxError.
        """
        pieces = [data[i : i + wire.MAX_PAYLOAD] for i in range(0, len(data), wire.MAX_PAYLOAD)] or [b""]
        for index, piece in enumerate(pieces):
            while exchange.under_way >= WINDOW and not exchange.ended and self._broken is None:
                exchange.room.clear()
                await exchange.room.wait()
            if self._broken is not None:
                raise self._broken
            if exchange.ended:
                return
            exchange.under_way += 1
            await self._post({"id": exchange.id, "op": "data", "last": last and index == len(pieces) - 1}, piece)

    async def tell(self, exchange: Exchange, op: str, payload: bytes = b"", **fields: Any) -> None:
        """Send something more that belongs to a request. Raises SandboxError."""
        await self._post({"id": exchange.id, "op": op, **fields}, payload)

    def distrust(self, what: str) -> SandboxError:
        """The agent keeps no rule: nothing else that it says can be believed."""
        error = SandboxError("protocol", f"the agent of box {self._box} {what}; the box is given up")
        self._break(error)
        return error

    def finish(self, exchange: Exchange) -> None:
        self._exchanges.pop(exchange.id, None)

    async def next_item(self, exchange: Exchange) -> Item:
        """The next reply. Raises SandboxError when the line broke, and what the agent reported as its failure."""
        item = await exchange.arrived.get()
        if item is None:
            raise self._broken or self._lost("it was closed")
        if item[0].t == "fail":
            raise SandboxError("protocol", f"box {self._box}: the agent failed with {item[0].kind}: {item[0].message}")
        return item

    async def items(self, exchange: Exchange) -> AsyncIterator[Item]:
        """Every reply up to the last one."""
        while True:
            item = await self.next_item(exchange)
            yield item
            if item[0].t in ("end", "ok"):
                return

    async def kill(self, exchange: Exchange) -> None:
        if not exchange.ended and self._broken is None:
            await self._post({"id": exchange.id, "op": "kill"})

    async def ask(self, op: str, *, patience_s: float = ANSWER_S, payload: bytes = b"", **fields: Any) -> Reply:
        """A request with one reply."""
        async with self.deadline(patience_s, op):
            exchange = await self.begin(op, payload, **fields)
            try:
                return (await self.next_item(exchange))[0]
            finally:
                self.finish(exchange)

    def deadline(self, seconds: float, what: str) -> Deadline:
        return Deadline(self, seconds, what)

    def give_up(self, what: str, seconds: float) -> SandboxError:
        """The agent is silent: nothing that it says later can be trusted to be in time."""
        error = (self._why_silent() if self._why_silent is not None else None) or SandboxError(
            "timeout", f"box {self._box} did not answer `{what}` within {seconds:.0f} s; the box is given up"
        )
        self._break(error)
        return error

    def fail(self, error: SandboxError) -> None:
        """Give the line up for a reason that is known better elsewhere."""
        self._break(error)

    async def close(self) -> None:
        self._break(SandboxError("closed", f"box {self._box} is closed"))
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._line.close()


class Deadline:
    """An asynchronous context that turns an agent's silence into a SandboxError."""

    def __init__(self, connection: AgentConnection, seconds: float, what: str) -> None:
        self._connection = connection
        self._seconds = seconds
        self._what = what
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise self._connection.give_up(self._what, self._seconds) from None
