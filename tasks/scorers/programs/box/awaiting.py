"""Coroutines of the other side, awaited on this one. Runs inside the box.

An awaitable runs as a task where it lives, a little at a time, whenever the waiting side's event loop comes round to
it: so several of them go on together, and time-outs and cancellation reach them.
"""

from __future__ import annotations

from typing import Any

from agentlab.tasks.scorers.programs.box.observing import kept
from agentlab.tasks.scorers.programs.box.proxies import Link

SLICE = 0.02
"""Seconds that a task runs before the waiting side looks after its other tasks."""


async def outcome(link: Link, awaitable: Any) -> Any:
    """What an awaitable of the other side comes to."""
    import asyncio  # slow to import, and few tests wait

    task = link.ask("await", awaitable)
    try:
        await asyncio.sleep(0)  # others that were started together with it begin, too
        while not link.ask("settled", task):  # noqa: ASYNC110 - the question itself runs the task for a while
            await asyncio.sleep(0)
    except (asyncio.CancelledError, GeneratorExit):
        link.ask("cancel", task)
        raise
    return link.ask("outcome", task)


async def _leave(link: Link, manager: Any, kind: Any, error: Any) -> Any:
    """The end of an `async with` block: the program may swallow what it likes, but no failed assertion."""
    swallowed = await link.ask("special", manager, "__aexit__", (kind, error, None))
    return False if isinstance(error, AssertionError) else swallowed


def awaitable(link: Link, *, coroutine: bool) -> dict[str, Any]:
    """The methods of a class whose objects can be awaited; a coroutine can be run by an event loop besides."""

    def running(self: Any) -> Any:
        kept_here = kept(self)
        if "running" not in kept_here:
            kept_here["running"] = outcome(link, self)
        return kept_here["running"]

    made: dict[str, Any] = {"__await__": lambda self: running(self).__await__()}
    if coroutine:
        made["send"] = lambda self, value: running(self).send(value)
        made["throw"] = lambda self, *error: running(self).throw(*error)
        made["close"] = lambda self: running(self).close()
    return made


def leaving(link: Link) -> Any:
    """`__aexit__`, which swallows no failed assertion."""
    return lambda self, kind, error, _: _leave(link, self, kind, error)


class Tasks:
    """The tasks of this side that the other one waits for, by number: a task would show its event loop.

    `own_loop`: nothing else here runs an event loop.
    """

    def __init__(self, *, own_loop: bool) -> None:
        self._own_loop = own_loop
        self._loop: Any = None
        self._tasks: list[Any] = []

    def begin(self, value: Any) -> int:
        """Start a task for an awaitable; its number."""
        import asyncio

        if self._own_loop and self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        self._tasks.append(asyncio.ensure_future(value, loop=self._loop or asyncio.get_running_loop()))
        return len(self._tasks) - 1

    def settled(self, number: int) -> bool:
        """Whether a task is done, after a while of running where it does not run by itself."""
        import asyncio

        task = self._tasks[number]
        if self._own_loop and not task.done() and not self._loop.is_running():
            self._loop.run_until_complete(asyncio.wait([task], timeout=SLICE))
        return bool(task.done())

    def outcome(self, number: int) -> Any:
        """The result of a task that is done, or what it raised."""
        return self._tasks[number].result()

    def cancel(self, number: int) -> None:
        """Cancel a task and let it clean up."""
        self._tasks[number].cancel()
        self.settled(number)
