"""The line to an agent over one command of a Modal sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from agentlab.sandboxes.modal.account import library

if TYPE_CHECKING:
    from modal.container_process import ContainerProcess

STDERR_KEPT = 4096


@contextmanager
def _as_a_line() -> Iterator[None]:
    """What the client raises about a command is a line that broke."""
    from grpclib.exceptions import GRPCError, StreamTerminatedError

    try:
        yield
    except (library().exception.Error, GRPCError, StreamTerminatedError) as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


class ModalLine:
    """The standard streams of a command. The client numbers the bytes on both ways, so a connection that it has to make
    anew neither loses nor doubles any.
    """

    def __init__(self, process: ContainerProcess[bytes]) -> None:
        self._process = process
        self._output: AsyncIterator[bytes] = aiter(process.stdout)
        self._errors = bytearray()
        self._listening = asyncio.create_task(self._listen(), name="stderr of a Modal command")

    async def _listen(self) -> None:
        # Only for a message: that the line broke is for `receive` to say.
        with suppress(OSError), _as_a_line():
            async for data in self._process.stderr:
                self._errors = (self._errors + data)[-STDERR_KEPT:]

    async def receive(self) -> bytes:
        with _as_a_line():
            return await anext(self._output, b"")

    async def send(self, data: bytes) -> None:
        with _as_a_line():
            self._process.stdin.write(data)
            await self._process.stdin.drain.aio()

    async def close(self) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)

    def last_words(self) -> str:
        return self._errors.decode("utf-8", "replace")
