r"""Whether two LaTeX expressions mean the same, decided by math-verify in processes of their own.

A model may answer `9^{9^{9^9}}`: computer algebra then runs for ever, and its own time limit (`signal.alarm`) neither
works off the main thread nor interrupts a long multiplication. So each comparison runs in a worker that the operating
system ends after `CPU_SECONDS` of processor time, which does not depend on how busy the machine is. Workers start when
first needed, answer one line of JSON for each line, and end when their standard input closes.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from agentlab.tasks.types import VerifierError

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

CPU_SECONDS = 2.0
"""Processor time for one comparison; the slowest of the MATH test set takes 0.11 s."""
WALL_SECONDS = 60.0
START_SECONDS = 120.0
LONGEST_EXPRESSION = 2_000
"""Longer ones are not compared: no answer of a benchmark comes near, and parsers are slow on them."""
DEEPEST_EXPRESSION = 10
"""Brackets in brackets; the MATH test set has 2. The parser backtracks at each, for fractions in exponential time."""

Verdict = Literal["equal", "different", "unparsable", "timeout"]


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls) -> _Worker:
        # -S and -I would lose the virtual environment; the module is imported by name like any other.
        process = subprocess.Popen(
            [sys.executable, "-m", "agentlab.tasks.scorers.equivalence_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={key: value for key, value in os.environ.items() if not key.endswith(("_KEY", "_TOKEN", "_SECRET"))},
            start_new_session=True,
        )
        worker = cls(process)
        if worker._line(START_SECONDS) is None:
            worker.stop()
            raise VerifierError("the worker that compares expressions did not start: is math-verify installed?")
        return worker

    def compare(self, gold: str, answer: str) -> Verdict | None:
        """The verdict; None where the worker died, or was slower than any machine is."""
        request = json.dumps({"gold": gold, "answer": answer, "cpu_seconds": CPU_SECONDS}).encode() + b"\n"
        try:
            assert self.process.stdin is not None
            self.process.stdin.write(request)
            self.process.stdin.flush()
        except OSError:
            return None
        line = self._line(WALL_SECONDS)
        if line is None:
            return None
        verdict: Verdict = json.loads(line)["verdict"]
        return verdict

    def _line(self, seconds: float) -> bytes | None:
        assert self.process.stdout is not None
        pipe = self.process.stdout.fileno()
        deadline, received = time.monotonic() + seconds, b""
        while not received.endswith(b"\n"):
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(pipe, 65536) if ready else b""
            if not chunk:
                return None
            received += chunk
        return received

    def kill(self) -> None:
        """End the worker and its child at once. Whoever waits for its answer gets None."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """`kill`, and leave nothing behind. For the one who holds the worker."""
        self.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _depth(text: str) -> int:
    """How deep brackets of any kind stand in one another, or stay open."""
    depth = deepest = 0
    for character in text:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth = max(depth - 1, 0)
    return deepest


@dataclass(slots=True)
class _Comparison:
    """A comparison that may be given up from another thread."""

    worker: _Worker | None = None
    given_up: bool = False


class EquivalencePool:
    """Up to `size` workers, started when first needed. Thread-safe; `compare` blocks, `compare_async` does not."""

    def __init__(self, size: int = 2) -> None:
        self._size = size
        self._idle: list[_Worker] = []
        self._live: set[_Worker] = set()
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._closed = False

    async def compare_async(self, gold: str, answer: str) -> Verdict:
        """`compare` in a thread of the pool's own, so that the loop and its default threads stay free. When it is
        cancelled the comparison ends too: a run that stops must not wait for it.
        """
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._size, thread_name_prefix="equivalence")
            threads = self._threads
        comparison = _Comparison()
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, self._compare, gold, answer, comparison)
        except asyncio.CancelledError:
            with self._lock:
                comparison.given_up = True
                if comparison.worker is not None:
                    comparison.worker.kill()
            raise

    def compare(self, gold: str, answer: str) -> Verdict:
        """Whether `answer` means what `gold` means. An answer that twice breaks its worker counts as unparsable.

        Raises VerifierError where no worker can be started.
        """
        return self._compare(gold, answer, _Comparison())

    def _compare(self, gold: str, answer: str, comparison: _Comparison) -> Verdict:
        if max(len(gold), len(answer)) > LONGEST_EXPRESSION or max(_depth(gold), _depth(answer)) > DEEPEST_EXPRESSION:
            return "unparsable"
        for _ in range(2):
            worker = self._take(comparison)
            verdict = worker.compare(gold, answer)
            self._give_back(worker, comparison, whole=verdict is not None)
            if verdict is not None:
                return verdict
        return "unparsable"

    def _take(self, comparison: _Comparison) -> _Worker:
        with self._lock:
            stopped = self._closed or comparison.given_up
            worker = self._idle.pop() if self._idle and not stopped else None
        if worker is None and not stopped:
            worker = _Worker.start()
        if worker is not None:
            with self._lock:
                self._live.add(worker)
                comparison.worker = worker
                stopped = self._closed or comparison.given_up
            if not stopped:
                return worker
            self._give_back(worker, comparison, whole=False)
        raise VerifierError("the comparison was given up")

    def _give_back(self, worker: _Worker, comparison: _Comparison, *, whole: bool) -> None:
        """Keep a worker for the next comparison, or end it where it is not whole any more."""
        with self._lock:
            comparison.worker = None
            keep = whole and not self._closed and not comparison.given_up and len(self._idle) < self._size
            if keep:
                self._idle.append(worker)
            else:
                self._live.discard(worker)
        if not keep:
            worker.stop()

    def close(self) -> None:
        """End every worker; comparisons under way end with VerifierError."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for worker in self._live:
                worker.kill()
            threads = self._threads
        if threads is not None:
            threads.shutdown()
        for worker in idle:
            worker.stop()


_pool: EquivalencePool | None = None
_pool_lock = threading.Lock()


def shared_pool() -> EquivalencePool:
    """The process's pool; its workers end with the process."""
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = EquivalencePool()
            atexit.register(_pool.close)
        return _pool
