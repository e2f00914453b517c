"""The event loop of a command, in which a signal is heard at every moment."""

from __future__ import annotations

import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


def run(function: Callable[[*Arguments], Awaitable[T]], *arguments: *Arguments) -> T:
    """What `function` comes to, in an event loop of its own.

    As `anyio.run`, but for Ctrl-C: asyncio's own handler is called by the interpreter, between two of its steps. A
    signal that comes after the last of them, and before the loop sleeps until something arrives, would wait as long
    (seen once on a busy machine, while an endpoint was silent).
    """
    import anyio

    async def go() -> T:
        with _signals_wake_the_loop():
            return await function(*arguments)

    return anyio.run(go)


@contextmanager
def _signals_wake_the_loop() -> Iterator[None]:
    """Every signal writes a byte to a socket that the loop watches, whenever it comes and whichever thread it meets.

    A receiver of signals (`anyio.open_signal_receiver`) has a socket of its own, and leaves none.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    heard, rung = socket.socketpair()
    with heard, rung:
        heard.setblocking(False)
        rung.setblocking(False)
        loop.add_reader(heard, heard.recv, 4096)
        signal.set_wakeup_fd(rung.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            loop.remove_reader(heard)
