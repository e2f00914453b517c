"""One connection of a box to its proxy: what it asks for, and what is open for it outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import h11

from agentlab.sandboxes.egress.client_hello import ALERT, HelloError, HelloReader
from agentlab.sandboxes.egress.http1 import HttpSide, Target, exchange, origin_target, proxy_target
from agentlab.sandboxes.egress.ledger import EgressError, EgressLimits, Ledger, Passage
from agentlab.sandboxes.egress.streams import CountedStream, Stream, pump

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
PIECE = 256
"""Bytes that every piece costs beside its own: a box that sends single bytes is to pay for our time."""

LINGER_S = 1.0
LINGER_BYTES = 1 << 20

Connect: TypeAlias = Callable[[str, int], Awaitable[tuple[str, Stream]]]


class Visit:
    """One connection of a box, and the one that is open for it outside."""

    def __init__(self, stream: Stream, connect: Connect, ledger: Ledger, limits: EgressLimits) -> None:
        self._stream = stream
        self._connect = connect
        self._ledger = ledger
        self._limits = limits
        self._clock = asyncio.timeout(None)
        self._running = False
        self._box = CountedStream(stream, read=self._count, written=self._count_piece)
        self._front = HttpSide(self._box, h11.SERVER, limits)
        self._outside: CountedStream | None = None
        self._passage: Passage | None = None
        self._tunnelled = False
        self._asked = False

    async def carry_out(self) -> None:
        """Serve it to its end. Raises nothing but cancellation."""
        try:
            await self._within_time()
        except EgressError as refusal:
            self._leave(refusal)
            self._ledger.refused(refusal)
            await self._tell(refusal)
        except (OSError, EOFError):
            # The box has gone, or the other side.
            return
        finally:
            self._leave(None)

    # Time and bytes.

    async def _within_time(self) -> None:
        try:
            async with self._clock:
                self._running = True
                self._touch()
                try:
                    await self._converse()
                finally:
                    self._running = False
        except TimeoutError:
            quiet = f"nothing was said for {self._limits.idle_s:g} s"
            raise EgressError("idle", quiet, status=408) from None

    def _touch(self) -> None:
        due = asyncio.get_running_loop().time() + self._limits.idle_s
        # Not for every piece: a timer costs more than a small piece itself.
        late = (self._clock.when() or 0.0) < due - self._limits.idle_s / 100
        if late and self._running and not self._clock.expired():
            self._clock.reschedule(due)

    def _count(self, size: int) -> None:
        self._touch()
        self._ledger.spend(size + PIECE)

    def _count_piece(self, _size: int) -> None:
        self._ledger.spend(PIECE)

    def _count_sent(self, size: int) -> None:
        if self._passage is not None:
            self._passage.sent += size
        self._count_piece(size)

    def _count_received(self, size: int) -> None:
        if self._passage is not None:
            self._passage.received += size
        self._count(size)

    # The connection outside.

    async def _reach(self, target: Target) -> CountedStream:
        """A connection to the target."""
        address, stream = await self._connect(target.host, target.port)
        self._passage = Passage(target.host, target.port, address, time.monotonic())
        self._outside = CountedStream(stream, read=self._count_received, written=self._count_sent)
        return self._outside

    def _leave(self, why: EgressError | None) -> None:
        """Close the connection outside and record it."""
        outside, passage = self._outside, self._passage
        self._outside = self._passage = None
        if outside is not None and passage is not None:
            outside.abort()
            self._ledger.ended(passage, why)

    # What the box asks for.

    async def _converse(self) -> None:
        more = True
        while more and (request := await self._front.request()) is not None:
            target = proxy_target(request)
            if request.method == b"CONNECT":
                await self._tunnel(target)
                return
            more = await self._ask(request, target)

    async def _ask(self, request: h11.Request, target: Target) -> bool:
        """Carry out one request, on the connection that is open or a new one; whether another may follow.

        Each has its own: one that was kept may have been closed by the server, which is known too late.
        """
        if self._asked:
            self._ledger.take_connection()
        self._asked = True
        outside = self._outside or await self._reach(target)
        more = await exchange(self._front, HttpSide(outside, h11.CLIENT, self._limits), request, target)
        self._leave(None)
        return more

    async def _tunnel(self, target: Target) -> None:
        """What a CONNECT opens: TLS to the same name on 443, HTTP to the same host on 80."""
        outside = await self._reach(target)
        held = self._front.leftover()
        await self._box.write(ESTABLISHED)
        self._box.put_back(held)
        if target.port == 80:
            await self._plain_tunnel(target)
            return
        self._tunnelled = True
        await outside.write(await self._checked_hello(target))
        await pump(self._box, outside)
        await outside.close()

    async def _plain_tunnel(self, target: Target) -> None:
        self._front = HttpSide(self._box, h11.SERVER, self._limits)
        more = True
        while more and (request := await self._front.request()) is not None:
            more = await self._ask(request, origin_target(request, target))

    async def _checked_hello(self, target: Target) -> bytes:
        """The ClientHello, where it names the host that the tunnel leads to. Raises EgressError."""
        reader = HelloReader()
        name: str | None = None
        try:
            async with asyncio.timeout(self._limits.head_s):
                while name is None:
                    data = await self._box.read()
                    if not data:
                        raise EOFError
                    name = reader.feed(data)
        except HelloError as error:
            raise EgressError("tls", str(error), host=target.host, port=target.port) from error
        except TimeoutError:
            late = f"no ClientHello within {self._limits.head_s:g} s"
            raise EgressError("tls", late, host=target.host, port=target.port) from None
        if name != target.host:
            other = f"TLS names {name[:255]!r}, the tunnel leads to {target.host}"
            raise EgressError("name", other, host=target.host, port=target.port)
        return bytes(reader.raw)

    async def _tell(self, refusal: EgressError) -> None:
        """Tell the client, in the words of what it speaks, and let that arrive."""
        try:
            async with asyncio.timeout(LINGER_S):
                if self._tunnelled:
                    await self._stream.write(ALERT)
                else:
                    await self._front.refuse(refusal)
                await self._stream.end()
                left = LINGER_BYTES
                while left > 0 and (data := await self._stream.read()):
                    left -= len(data)
        except (OSError, TimeoutError, EgressError):
            return
