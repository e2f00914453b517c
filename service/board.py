"""Progress of a run: counts that the runner updates, shown at 4 Hz in a terminal, as plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

import anyio

from agentlab.service.trial import Result

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from agentlab.sandboxes.pool import Pool

TERMINAL_HZ = 4
PLAIN_SECONDS = 10.0


@dataclass(slots=True)
class TaskProgress:
    """Where one task stands. `total` counts trials of this invocation and of those before it."""

    total: int
    lane: str = ""
    """Tasks of one lane follow each other; lanes go side by side."""
    ended: int = 0
    ended_here: int = 0
    """Of these by this invocation."""
    scored: int = 0
    sum_values: float = 0.0
    outcomes: dict[str, int] = field(default_factory=dict)

    @property
    def score(self) -> float | None:
        return self.sum_values / self.scored if self.scored else None


class Board:
    """What is shown while a run goes on. Updating costs a few additions; drawing happens on a clock of its own."""

    def __init__(
        self,
        totals: Mapping[str, int],
        lanes: Mapping[str, str] | None = None,
        *,
        out: TextIO | None = None,
        quiet: bool = False,
    ) -> None:
        """`totals`: trials by task; `lanes`: where tasks do not all share one, the slowest of each."""
        self.tasks = {name: TaskProgress(total, (lanes or {}).get(name, "")) for name, total in totals.items()}
        self.draining = False
        self._out = out if out is not None else sys.stderr
        self._quiet = quiet
        self._started = time.monotonic()
        self._pool: Pool | None = None
        self._console: Console | None = None

    def watch(self, pool: Pool | None) -> None:
        self._pool = pool

    def already(self, task: str, outcome: str, value: float | None) -> None:
        """Count a trial that an earlier invocation ended."""
        self._count(task, outcome, value)

    def trial_ended(self, task: str, result: Result) -> None:
        self.tasks[task].ended_here += 1
        self._count(task, result.outcome, result.value)

    def _count(self, task: str, outcome: str, value: float | None) -> None:
        progress = self.tasks[task]
        progress.ended += 1
        progress.outcomes[outcome] = progress.outcomes.get(outcome, 0) + 1
        if outcome == "scored" and value is not None:
            progress.scored += 1
            progress.sum_values += value

    def say(self, sentence: str) -> None:
        """One plain sentence, above the progress."""
        if self._console is not None:
            self._console.print(sentence, highlight=False, markup=False)
        else:
            print(sentence, file=self._out, flush=True)

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Show progress while the context lasts."""
        if self._quiet:
            yield
            return
        async with anyio.create_task_group() as group:
            group.start_soon(self._show_live if self._out.isatty() else self._show_lines)
            try:
                yield
            finally:
                group.cancel_scope.cancel()

    async def _show_live(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=self._out)
        try:
            with Live(self._table(), console=self._console, auto_refresh=False, transient=True) as live:
                while True:
                    await anyio.sleep(1 / TERMINAL_HZ)
                    live.update(self._table(), refresh=True)
        finally:
            self._console = None

    async def _show_lines(self) -> None:
        while True:
            await anyio.sleep(PLAIN_SECONDS)
            print(self.line(), file=self._out, flush=True)

    def pace(self) -> str:
        """How many trials have ended, how fast, how long it will take, and how many boxes are in use."""
        ended = sum(progress.ended for progress in self.tasks.values())
        total = sum(progress.total for progress in self.tasks.values())
        parts = [f"{ended}/{total} trials", f"{self.rate:.1f}/s"]
        if self.eta_s is not None:
            parts.append(f"{_duration(self.eta_s)} to go")
        if self._pool is not None and self._pool.in_use:
            parts.append(f"{self._pool.in_use} boxes in use")
        return ", ".join(parts)

    def line(self) -> str:
        """The whole progress in one plain line."""
        parts = [self.pace()]
        parts += [f"{name} {progress.score:.3f}" for name, progress in self.tasks.items() if progress.score is not None]
        errors = self._errors()
        return ", ".join(parts) + (f"; errors: {errors}" if errors else "")

    @property
    def rate(self) -> float:
        """Trials a second, since this invocation began."""
        return sum(progress.ended_here for progress in self.tasks.values()) / self._elapsed

    @property
    def eta_s(self) -> float | None:
        """Seconds until the last lane is done; None where none of a lane's trials has ended yet, or none is left."""
        longest: float | None = None
        for lane in {progress.lane for progress in self.tasks.values()}:
            tasks = [progress for progress in self.tasks.values() if progress.lane == lane]
            left = sum(progress.total - progress.ended for progress in tasks)
            here = sum(progress.ended_here for progress in tasks)
            if left > 0 and not here:
                return None
            if left > 0:
                longest = max(longest or 0.0, left * self._elapsed / here)
        return longest

    @property
    def _elapsed(self) -> float:
        return max(time.monotonic() - self._started, 1e-9)

    def _errors(self) -> str:
        counts: dict[str, int] = {}
        for progress in self.tasks.values():
            for outcome, count in progress.outcomes.items():
                if outcome != "scored":
                    counts[outcome] = counts.get(outcome, 0) + count
        return ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))

    def _table(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for name, progress in self.tasks.items():
            score = "" if progress.score is None else f"{progress.score:.3f}"
            table.add_row(
                Text(name),
                ProgressBar(total=max(progress.total, 1), completed=progress.ended, width=20),
                Text(f"{progress.ended}/{progress.total}"),
                Text(score, style="bold"),
                Text(", ".join(f"{n} {o}" for o, n in sorted(progress.outcomes.items()) if o != "scored"), style="red"),
            )
        return Group(table, Text(("stopping; " if self.draining else "") + self.pace(), style="dim"))


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
