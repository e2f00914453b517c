"""A row of the table of checks: a figure with its interval, the bar beside it, and what it is to be seen beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """`met` is None for what is reported without a bar."""

    check: str
    figure: str
    interval: tuple[float, float] | None = None
    bar: str = ""
    met: bool | None = None
    beside: str = ""

    @property
    def verdict(self) -> str:
        return "reported" if self.met is None else "met" if self.met else "MISSED"


def print_table(lines: Sequence[Line]) -> None:
    """The rows in columns as wide as their widest cell; what stands beside comes last, and may be long."""
    heading = ("check", "figure", "95 % interval", "bar", "verdict", "beside")
    rows = [heading, *((x.check, x.figure, _shown(x.interval), x.bar, x.verdict, x.beside) for x in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heading) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[-1]]).rstrip())


def _shown(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def above(gain: float, interval: tuple[float, float]) -> str:
    """A paired difference in words."""
    return f"by {gain:+.3f} [{interval[0]:+.3f}, {interval[1]:+.3f}]"
