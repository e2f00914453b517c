"""Two directions of bytes, as the proxy sees the box and the world."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeAlias

READ = 1 << 16
CLOSE_S = 2.0

Count: TypeAlias = Callable[[int], None]


class Stream(Protocol):
    """A connection. Reading and writing raise OSError where it broke."""

    async def read(self) -> bytes:
        """Some bytes, empty at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Send, and wait while the other side takes nothing more."""
        ...

    async def end(self) -> None:
        """Nothing more is written."""
        ...

    async def close(self) -> None:
        """Let what was written arrive, but not for long."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


class SocketStream:
    """A socket's stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        return await self._reader.read(READ)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def end(self) -> None:
        if self._writer.can_write_eof():
            self._writer.write_eof()

    async def close(self) -> None:
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self.abort()

    def abort(self) -> None:
        self._writer.transport.abort()


class CountedStream:
    """A stream that tells how much is read from it and written to it, with some bytes in hand that were read before."""

    def __init__(self, stream: Stream, *, read: Count, written: Count | None = None) -> None:
        self._stream = stream
        self._count_read = read
        self._count_written = written
        self._held = b""

    def put_back(self, data: bytes) -> None:
        """Have the next `read` give these bytes, which were counted already."""
        self._held = data + self._held

    async def read(self) -> bytes:
        if self._held:
            held, self._held = self._held, b""
            return held
        data = await self._stream.read()
        self._count_read(len(data))
        return data

    async def write(self, data: bytes) -> None:
        await self._stream.write(data)
        if self._count_written is not None:
            self._count_written(len(data))

    async def end(self) -> None:
        await self._stream.end()

    async def close(self) -> None:
        await self._stream.close()

    def abort(self) -> None:
        self._stream.abort()


async def both(first: Coroutine[Any, Any, None], second: Coroutine[Any, Any, None]) -> None:
    """Carry out two sides of one thing. Where one of them fails the other is given up, and that failure is raised."""
    tasks = [asyncio.create_task(first), asyncio.create_task(second)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def pump(one: Stream, other: Stream) -> None:
    """Bytes in both directions, until both have ended."""
    await both(_copy(one, other), _copy(other, one))


async def _copy(source: Stream, sink: Stream) -> None:
    while data := await source.read():
        await sink.write(data)
    await sink.end()
