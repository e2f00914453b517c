"""A box's connections over its agent's line, where no socket can be mounted: many in one, each with a window.

Frames of the agent: `open`, `data`, `end` (it writes no more), `gone` (both ways) and `room` (so many bytes were taken)
for a connection by number; ours are the same, without `open`. Neither side sends more than the other has room for, so
that neither has to hold more, and a side that does is not to be trusted with anything.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable

from agentlab.sandboxes.agent.relay import MAX_CONNECTIONS, WINDOW
from agentlab.sandboxes.connection import AgentConnection, Exchange, Reply
from agentlab.sandboxes.egress.proxy import Proxy
from agentlab.sandboxes.protocol import SandboxError

PIECE = 1 << 15


class LineLink:
    """The runner's side for one agent."""

    def __init__(self, connection: AgentConnection, exchange: Exchange, proxy: Proxy) -> None:
        self._connection = connection
        self._exchange = exchange
        self._proxy = proxy
        self._open: dict[int, LineStream] = {}
        self._serving: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, connection: AgentConnection, proxy: Proxy) -> LineLink:
        """Tell the agent where its connections go. Raises SandboxError."""
        return cls(connection, await connection.begin("egress"), proxy)

    async def run(self) -> None:
        """Carry frames until the line ends. An agent that keeps no rule ends it."""
        try:
            while True:
                reply, payload = await self._connection.next_item(self._exchange)
                self._take(reply, payload)
                if reply.kind == "open":
                    await self._proxy.pause()
        except SandboxError:
            # Whoever works with the box meets the same error and tells it.
            return
        finally:
            self._connection.finish(self._exchange)
            for stream in self._open.values():
                stream.lost(told=True)
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

    def _take(self, reply: Reply, payload: bytes) -> None:
        stream = self._open.get(reply.code)
        if reply.kind == "open":
            if stream is not None or len(self._open) >= 2 * MAX_CONNECTIONS:
                raise self._connection.distrust("opens a connection that it may not")
            self._begin(reply.code)
        elif stream is None:
            # Closed here meanwhile; the agent will have heard by now.
            return
        elif reply.kind == "data" and not stream.fits(payload):
            raise self._connection.distrust("sends more than it was given room for")
        else:
            stream.take(reply.kind, payload, reply.split)

    def _begin(self, number: int) -> None:
        stream = self._open[number] = LineStream(number, self._send)
        task = asyncio.create_task(self._carry(number, stream), name=f"egress connection {number}")
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _carry(self, number: int, stream: LineStream) -> None:
        try:
            await self._proxy.serve(stream)
        finally:
            self._open.pop(number, None)
            if not stream.told:
                # In a task of its own: whoever ends a connection must not wait for an agent that is silent.
                stream.lost(told=True)
                self._begin_telling(number)

    def _begin_telling(self, number: int) -> None:
        async def tell() -> None:
            with contextlib.suppress(SandboxError):
                await self._send(number, "gone")

        task = asyncio.create_task(tell(), name=f"egress connection {number} gone")
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _send(self, number: int, what: str, payload: bytes = b"", room: int = 0) -> None:
        await self._connection.tell(self._exchange, "net", payload, number=number, what=what, room=room)


class LineStream:
    """One connection."""

    def __init__(self, number: int, send: Callable[..., Awaitable[None]]) -> None:
        self._number = number
        self._send = send
        self._arrived: deque[bytes] = deque()
        self._held = 0
        self._untold = 0
        """Bytes that were read here and that the agent has not yet been given room for again."""
        self._ended = False
        self._gone = False
        self.told = False
        """Whether the agent knows that the connection is closed, or is not there."""
        self._room = WINDOW
        self._changed = asyncio.Event()

    def fits(self, payload: bytes) -> bool:
        return self._held + self._untold + len(payload) <= WINDOW

    def take(self, kind: str, payload: bytes, room: int) -> None:
        """What the agent says of this connection."""
        if kind == "data" and not self._ended:
            self._arrived.append(payload)
            self._held += len(payload)
        elif kind == "end":
            self._ended = True
        elif kind == "gone":
            self.lost(told=True)
        elif kind == "room":
            self._room = min(self._room + room, WINDOW)
        self._changed.set()

    def lost(self, *, told: bool = False) -> None:
        """Nothing comes and nothing arrives any more."""
        self._gone = self._ended = True
        self.told = self.told or told
        self._changed.set()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def read(self) -> bytes:
        while not self._arrived:
            if self._ended:
                return b""
            await self._wait()
        data = self._arrived.popleft()
        self._held -= len(data)
        self._untold += len(data)
        if self._untold >= WINDOW // 2 and not self._gone:
            room, self._untold = self._untold, 0
            await self._tell("room", room=room)
        return data

    async def write(self, data: bytes) -> None:
        while data:
            while not self._room and not self._gone:
                await self._wait()
            if self._gone:
                raise BrokenPipeError("the program in the box has closed the connection")
            size = min(self._room, PIECE, len(data))
            piece, data = data[:size], data[size:]
            self._room -= size
            await self._tell("data", piece)

    async def end(self) -> None:
        if not self._gone:
            await self._tell("end")

    async def close(self) -> None:
        if not self.told:
            self.lost(told=True)
            with contextlib.suppress(OSError):
                await self._tell("gone")

    def abort(self) -> None:
        self.lost()

    async def _tell(self, what: str, payload: bytes = b"", room: int = 0) -> None:
        try:
            await self._send(self._number, what, payload, room)
        except SandboxError as error:
            self.lost()
            raise BrokenPipeError(str(error)) from error
