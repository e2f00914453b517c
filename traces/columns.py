"""The last attempts of a task as columns, for statistics (some 50 bytes a trial), and their totals."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Columns:
    """The last attempts of a task as arrays of one length, ordered by trial.

    `value` is NaN where there is none. `latency_ms` and `ttft_ms` are of all the model calls together, and so of
    another length.
    """

    sample: NDArray[np.int64]
    """Which sample, counted from 0: in the order of their ids, or of their trials where each has one."""
    epoch: NDArray[np.int64]
    cluster: NDArray[np.int64]
    """Which cluster; -1: a cluster of its own."""
    group: NDArray[np.int64]
    """Index into `group_names`; -1: in no group."""
    group_names: tuple[str, ...]
    value: NDArray[np.float64]
    extra: dict[str, NDArray[np.float64]]
    """Named further scores; NaN where a trial has none."""
    latency_ms: NDArray[np.float32]
    ttft_ms: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the last attempts of a task."""

    trials: int
    outcomes: dict[str, int]
    """All six, and `running`: not finished, or killed."""
    flags: dict[str, int]
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    """None where no price is known for any."""
    sandbox_seconds: float


class _Whole:
    """A column of whole numbers that takes no memory as long as all are the same, as epochs and clusters often are."""

    __slots__ = ("_constant", "_n", "_numbers")

    def __init__(self) -> None:
        self._constant = 0
        self._n = 0
        self._numbers: array[int] | None = None

    def __len__(self) -> int:
        return self._n

    def append(self, number: int) -> None:
        if self._numbers is not None:
            self._numbers.append(number)
        elif self._n and number != self._constant:
            self._numbers = array("q", [self._constant]) * self._n
            self._numbers.append(number)
        else:
            self._constant = number
        self._n += 1

    def as_numpy(self) -> NDArray[np.int64]:
        """The column, read-only where all are the same. It shares this one's memory: append nothing afterwards."""
        import numpy as np

        if self._numbers is None:
            return np.broadcast_to(np.int64(self._constant), (self._n,))
        return np.asarray(self._numbers)


def _floats() -> array[float]:
    return array("d")


@dataclass(slots=True)
class ColumnBuilder:
    """Takes rows in the order of `reader._COLUMNS` and gives `Columns`."""

    sample: _Whole = field(default_factory=_Whole)
    epoch: _Whole = field(default_factory=_Whole)
    cluster: _Whole = field(default_factory=_Whole)
    group: _Whole = field(default_factory=_Whole)
    value: array[float] = field(default_factory=_floats)
    latencies: bytearray = field(default_factory=bytearray)
    ttfts: bytearray = field(default_factory=bytearray)
    extra: dict[str, array[float]] = field(default_factory=dict)
    clusters: dict[str, int] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)

    def add(self, row: tuple[Any, ...]) -> None:
        sample, epoch, cluster, group, value, scores, late, ttft = row
        self._add_scores(scores)
        self.sample.append(sample)
        self.epoch.append(epoch)
        self.cluster.append(self.clusters.setdefault(cluster, len(self.clusters)) if cluster else -1)
        self.group.append(self.groups.setdefault(group, len(self.groups)) if group else -1)
        self.value.append(_NAN if value is None else value)
        if late:
            self.latencies += late
        if ttft:
            self.ttfts += ttft

    def _add_scores(self, text: str | None) -> None:
        """Named scores of the row that is being added; a name that is new was missing in all rows before."""
        given: dict[str, float] = msgspec.json.decode(text) if text else {}
        before = len(self.sample)
        for name in given:
            if name not in self.extra:
                self.extra[name] = array("d", [_NAN]) * before
        for name, column in self.extra.items():
            column.append(given.get(name, _NAN))

    def columns(self) -> Columns:
        """The columns, sharing the builder's memory: add nothing afterwards."""
        import numpy as np

        return Columns(
            sample=self.sample.as_numpy(),
            epoch=self.epoch.as_numpy(),
            cluster=self.cluster.as_numpy(),
            group=self.group.as_numpy(),
            group_names=tuple(self.groups),
            value=np.asarray(self.value),
            extra={name: np.asarray(column) for name, column in self.extra.items()},
            latency_ms=np.frombuffer(self.latencies, np.dtype("<f4")),
            ttft_ms=np.frombuffer(self.ttfts, np.dtype("<f4")),
        )
