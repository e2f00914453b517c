"""Scores: the trials of one task as columns, so that 100,000 of them are aggregated in milliseconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentlab.analysis.statistics.intervals import places
from agentlab.tasks.types import TaskError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Scores:
    """The trials of one task as columns of equal length, one row a trial. Build it with `Scores.of`."""

    values: Floats
    """The headline value; NaN for a trial that ended in an error: left out of metrics, filled in by `Metric.bounds`."""
    sample: Integers
    """Which sample: rows of one sample are its epochs."""
    epoch: Integers
    cluster: Integers
    """Samples that are not independent share a number; -1: a cluster of its own."""
    group: Integers
    """Index into `group_names`; -1: in no group."""
    group_names: tuple[str, ...] = ()
    extra: Mapping[str, Floats] = field(default_factory=dict)
    """Named further scores of the trials; NaN where a trial has none."""
    trials: Integers = field(kw_only=True)
    """How many trials a row stands for: 1, but for those that were planned and never begun, a row a sample."""

    @classmethod
    def of(
        cls,
        values: ArrayLike,
        sample: ArrayLike | None = None,
        *,
        epoch: ArrayLike | None = None,
        cluster: ArrayLike | None = None,
        group: ArrayLike | None = None,
        group_names: tuple[str, ...] = (),
        extra: Mapping[str, ArrayLike] | None = None,
    ) -> Scores:
        """Columns from any sequences; what is left out is: each row its own sample, epoch 0, no clusters, no groups.

        Raises ValueError where lengths differ.
        """
        import numpy as np

        column = np.asarray(values, dtype=np.float64)
        n = column.size

        def whole(numbers: ArrayLike | None, default: int) -> Integers:
            # A constant column takes no memory: one number is seen n times.
            constant = np.broadcast_to(np.int64(default), (n,))
            return constant if numbers is None else np.asarray(numbers, dtype=np.int64)

        named = {name: np.asarray(numbers, dtype=np.float64) for name, numbers in (extra or {}).items()}
        scores = cls(
            column,
            np.arange(n) if sample is None else whole(sample, 0),
            whole(epoch, 0),
            whole(cluster, -1),
            whole(group, -1),
            group_names,
            named,
            trials=whole(None, 1),
        )
        columns = {"sample": scores.sample, "epoch": scores.epoch, "cluster": scores.cluster, "group": scores.group}
        for name, numbers in (columns | named).items():
            if numbers.shape != (n,):
                raise ValueError(f"{n} values but {numbers.size} of {name}")
        return scores

    def rows(self, which: NDArray[Any]) -> Scores:
        """Some of the trials, by mask or by row numbers."""
        return dataclasses.replace(
            self,
            values=self.values[which],
            sample=self.sample[which],
            epoch=self.epoch[which],
            cluster=self.cluster[which],
            group=self.group[which],
            extra={name: column[which] for name, column in self.extra.items()},
            trials=self.trials[which],
        )

    def scored(self) -> Scores:
        """The trials that did not end in an error."""
        import numpy as np

        failed = np.isnan(self.values)
        return self.rows(~failed) if failed.any() else self

    def filled(self, value: float, weight: str = "") -> Scores:
        """Every trial that ended in an error given `value`, also in the named scores; as `weight` it gets the mean
        one.
        """
        import numpy as np

        failed = np.isnan(self.values)
        extra = {}
        for name, column in self.extra.items():
            usual = column[~failed].mean() if name == weight and not failed.all() else value
            extra[name] = np.where(failed, usual, column)
        return dataclasses.replace(self, values=np.where(failed, value, self.values), extra=extra)

    def whole(self, groups: Mapping[str, int], epochs: int) -> Scores:
        """These trials with those that were planned and never begun, as if they had ended in errors. `groups`: how many
        samples there are of each group ("" for none), each with `epochs` trials. Those of a sample are one row, so
        that a run of a billion epochs can be summed up.
        """
        import numpy as np

        names = tuple(dict.fromkeys((*self.group_names, *(name for name in groups if name))))
        index = places(self.sample)
        begun = np.bincount(index)
        present, of_group = np.empty((2, begun.size), dtype=np.int64)
        present[index], of_group[index] = self.sample, self.group
        missing = np.maximum(epochs - begun, 0)
        sample, group, trials = [present[missing > 0]], [of_group[missing > 0]], [missing[missing > 0]]
        after = int(present.max(initial=-1)) + 1
        for name, planned in groups.items():
            number = names.index(name) if name else -1
            there = present.size if number < 0 and len(groups) == 1 else int((of_group == number).sum())
            absent = max(planned - there, 0)
            sample.append(np.arange(after, after + absent))
            group.append(np.full(absent, number))
            trials.append(np.full(absent, epochs))
            after += absent
        added = np.concatenate(sample).size
        if not added:
            return self

        def longer(column: NDArray[Any], value: float) -> NDArray[Any]:
            return np.concatenate([column, np.full(added, value, dtype=column.dtype)])

        return dataclasses.replace(
            self,
            values=longer(self.values, np.nan),
            sample=np.concatenate([self.sample, *sample]),
            epoch=longer(self.epoch, 0),
            cluster=longer(self.cluster, -1),
            group=np.concatenate([self.group, *group]),
            group_names=names,
            extra={name: longer(column, np.nan) for name, column in self.extra.items()},
            trials=np.concatenate([self.trials, *trials]),
        )

    def column(self, name: str) -> Floats:
        """A named score, or the headline for the empty name. Raises TaskError where the scorer did not give it for
        each trial.
        """
        import numpy as np

        if not name or self.values.size == 0:
            return self.values
        if name not in self.extra:
            known = ", ".join(sorted(self.extra)) or "none"
            raise TaskError(f"a metric reads the score {name!r}, which no scorer gives (given: {known})")
        missing = int(np.isnan(self.extra[name]).sum())
        if missing:
            raise TaskError(f"the score {name!r} is missing on {missing} of {self.values.size} scored trials")
        return self.extra[name]


@dataclass(frozen=True, slots=True)
class Samples:
    """Trials folded to samples: `index` is each row's place here, `weights` how many trials the row stands for."""

    index: NDArray[Any]
    weights: Integers
    trials: Integers
    clusters: Integers

    def mean(self, column: Floats) -> Floats:
        import numpy as np

        return np.bincount(self.index, weights=column * self.weights, minlength=self.trials.size) / self.trials


def by_sample(scores: Scores) -> Samples:
    """The trials of each sample together."""
    import numpy as np

    index = places(scores.sample)
    # Some row of each sample: all of them have its cluster.
    some = np.empty(int(index.max(initial=-1)) + 1, dtype=np.intp)
    some[index] = np.arange(index.size)
    # Sums in floating point are exact up to 2^53, more trials than a run can have.
    trials = np.bincount(index, weights=scores.trials, minlength=some.size).astype(np.int64)
    cluster = scores.cluster[some]
    # Samples without a cluster get numbers beyond all that were given.
    own = max(int(cluster.max(initial=-1)), -1) + 1 + np.arange(cluster.size)
    return Samples(index, scores.trials, trials, np.where(cluster < 0, own, cluster))
