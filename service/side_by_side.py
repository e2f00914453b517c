"""One function over many items in processes of their own: results in the items' order, memory flat in their number."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing
from itertools import islice
from multiprocessing import connection, get_context, resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeAlias, TypeVar

T = TypeVar("T")
R = TypeVar("R")
Prepare: TypeAlias = "Callable[..., AbstractContextManager[Callable[[T], R]]]"
"""Entered once in each process; gives what is done with an item. A function of a module, for it is found by name."""

MOST = 16
"""Processes, unless more are asked for: each has its own weights and its own connection to a store."""
CHUNK = 8
"""Items that a process is given at once."""
QUEUED = 2
"""Chunks a process has, one under way and one to go on with."""
AHEAD = 8
"""Chunks a process, by which others may be ahead of the slowest: what they came to is kept until its turn."""
ALONE_S = 0.25
WORTH_S = 1.5
"""Seconds of work in one process that must be left for others to be started: each takes 0.3 s of a core to begin."""
_READY = "ready"


class ProcessLost(RuntimeError):  # noqa: N818 - the name says what is the matter
    """A process ended in the middle of its work: killed, out of memory, or by a mistake that it has printed."""


def in_order(
    prepare: Prepare[T, R], arguments: tuple[Any, ...], items: Iterable[T], total: int, processes: int | None = None
) -> Iterator[R]:
    """What `prepare(*arguments)` makes of each item. Items are sent to other processes while results wait to be
    received, so they must be small: some hundred bytes.

    With `processes` None this process begins alone, and starts one a core where the rest of `total` items would take it
    long; it goes on until the first of them is ready. The others end with this process, however that ends.
    Raises ProcessLost, and here what `prepare` and its function raise here.
    """
    stream = iter(items)
    most = min(MOST, _cores()) if processes is None else processes
    with closing(_Pool[T, R](prepare, arguments)) as pool:
        if processes is None or most == 1:
            yield from _alone(pool, stream, total, most)
        else:
            pool.start(most)
        if pool.started:
            yield from pool.results(stream)


def _alone(pool: _Pool[T, R], stream: Iterator[T], total: int, most: int) -> Iterator[R]:
    """Results of this process, until there are none left or another process can take over."""
    began = time.monotonic()
    with pool.prepared() as work:
        for done, item in enumerate(stream, 1):
            yield work(item)
            if pool.started:
                if pool.ready():
                    return
            elif most > 1 and (spent := time.monotonic() - began) > ALONE_S and spent / done * (total - done) > WORTH_S:
                pool.start(most)
    pool.close()


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


class _Pool(Generic[T, R]):
    """Processes with a pipe each. One that finds nobody at the other end of its pipe ends by itself."""

    def __init__(self, prepare: Prepare[T, R], arguments: tuple[Any, ...]) -> None:
        self._prepare = prepare
        self._arguments = arguments
        self._processes: dict[connection.Connection, BaseProcess] = {}
        self._given: dict[connection.Connection, deque[list[R]]] = {}
        """The places for the results of the chunks that a process has, in order."""

    @property
    def started(self) -> bool:
        return bool(self._processes)

    def prepared(self) -> AbstractContextManager[Callable[[T], R]]:
        """The function for this process."""
        return self._prepare(*self._arguments)

    def start(self, count: int) -> None:
        """Start the processes; each says when it is ready."""
        context = get_context("spawn")
        # Before the signal is held back: starting the tracker lets it through again.
        resource_tracker.ensure_running()
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            # They inherit that Ctrl-C is held back: the terminal sends it to all, and only this process is to hear it.
            for _ in range(count):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, self._prepare, self._arguments), daemon=True)
                process.start()
                theirs.close()
                self._processes[ours] = process
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)

    def ready(self) -> bool:
        """Whether any of them can be given work."""
        return bool(connection.wait(list(self._processes), timeout=0))

    def results(self, stream: Iterator[T]) -> Iterator[R]:
        """What the processes make of the items, in order."""
        chunks = iter(lambda: list(islice(stream, CHUNK)), [])
        waiting: deque[list[R]] = deque()
        while True:
            for ours, given in self._given.items():
                while len(given) < QUEUED and len(waiting) < AHEAD * len(self._processes):
                    if not (chunk := next(chunks, None)):
                        break
                    ours.send(chunk)
                    given.append([])
                    waiting.append(given[-1])
            while waiting and waiting[0]:
                yield from waiting.popleft()
            if not waiting and self._given and not any(self._given.values()):
                return
            for heard in connection.wait(list(self._processes)):
                if isinstance(heard, connection.Connection):
                    self._receive(heard)

    def _receive(self, ours: connection.Connection) -> None:
        try:
            message = ours.recv()
        except (EOFError, OSError):
            process = self._processes[ours]
            process.join(1)
            how = f"was killed by signal {-(process.exitcode or 0)}" if (process.exitcode or 0) < 0 else "failed"
            raise ProcessLost(f"one of the {len(self._processes)} processes at work {how}") from None
        if message == _READY:
            self._given[ours] = deque()
        else:
            self._given[ours].popleft().extend(message)

    def close(self) -> None:
        """End them, whatever they are doing. Safe to call twice."""
        for ours, process in self._processes.items():
            process.kill()
            process.join()
            ours.close()
        self._processes.clear()


def _serve(theirs: Any, prepare: Prepare[T, R], arguments: tuple[Any, ...]) -> None:
    """The life of one process: work as long as somebody asks."""
    try:
        with prepare(*arguments) as work:
            theirs.send(_READY)
            while True:
                theirs.send([work(item) for item in theirs.recv()])
    except (EOFError, ConnectionError):
        return  # whoever asked is gone
