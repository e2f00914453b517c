"""The event loop of a command, in which Ctrl-C is heard at every moment, and between two steps only."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


def run(function: Callable[[*Arguments], Awaitable[T]], *arguments: *Arguments) -> T:
    """What `function` comes to, in an event loop of its own. Raises KeyboardInterrupt where Ctrl-C ended it, once all
    is closed; a second Ctrl-C does not wait for that.

    As `anyio.run`, but for Ctrl-C. asyncio's own handler cancels from within the interpreter's signal handler. One that
    came just before the loop slept was heard only with the next event (seen on a busy machine, while an endpoint was
    silent), and one within a callback took away what that was about to end. Here the loop is woken, and cancels itself.
    """
    import asyncio

    import anyio

    results: list[T] = []
    interrupted = False

    async def go() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            loop.remove_signal_handler(signal.SIGINT)
            if task is not None:
                task.cancel()

        loop.add_signal_handler(signal.SIGINT, interrupt)
        try:
            results.append(await function(*arguments))
        except asyncio.CancelledError:
            if not interrupted:
                raise
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    anyio.run(go)
    if not results:
        raise KeyboardInterrupt
    return results[0]
