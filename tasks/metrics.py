"""Metrics: how the scores of a task's trials become one number with its error. Columnar, so that 100,000 trials
take milliseconds.

    value = mean()(scores)  # value, stderr, ci95, mde80, n, clusters
    low, high = mean().bounds(scores)  # every trial that ended in an error counted as 0, and as 1
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentlab.analysis.statistics import (
    Estimate,
    clustered_se,
    is_nothing,
    mde80,
    mean_interval,
    mean_se,
    pass_at_k_each,
    pass_hat_k_each,
    t_interval,
    wilson,
)
from agentlab.tasks.scores import Scores, by_sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

UNDEFINED = (math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class MetricValue:
    """A metric's value with its uncertainty. What is not defined is NaN, and `note` says why."""

    name: str
    value: float
    stderr: float
    ci95: tuple[float, float]
    mde80: float
    """The smallest difference that a later paired comparison would show with 80 % power, at a pair correlation of
    0.5. NaN where no variance was observed (all right, or all wrong): a difference of 0 could not be told; and where
    it exceeds the whole scale of scores in 0..1.
    """
    n: int
    """Samples behind the value."""
    clusters: int
    """Independent clusters among them; n where there are none."""
    method: str = ""
    """How the interval was made: `wilson`, `t`, `wilson-clusters`, `undefined`."""
    groups: Mapping[str, MetricValue] = field(default_factory=dict)
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON: undefined numbers are None."""

        def number(x: float) -> float | None:
            return x if math.isfinite(x) else None

        return {
            "name": self.name,
            "value": number(self.value),
            "stderr": number(self.stderr),
            "ci95": [number(self.ci95[0]), number(self.ci95[1])],
            "mde80": number(self.mde80),
            "n": self.n,
            "clusters": self.clusters,
            "method": self.method,
            "groups": {name: value.as_dict() for name, value in self.groups.items()},
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Metric:
    """Aggregates a task's trials. Call it with `Scores`; `compute` is given the scored trials only."""

    name: str
    compute: Callable[[Scores], MetricValue]
    params: Mapping[str, Any] = field(default_factory=dict)
    weight: str = ""
    """The named score that weighs trials, where the metric has one."""

    def __call__(self, scores: Scores) -> MetricValue:
        """The value over the trials that were scored. Raises TaskError where the metric reads a score that is not
        there.
        """
        scored = scores.scored()
        value = self.compute(scored)
        column = scored.column(str(self.params.get("of", "")))
        # A t interval knows nothing of the scale; where all scores lie in 0..1 their mean does too.
        within = not column.size or (column.min() >= 0 and column.max() <= 1)
        return _cut(value) if within else value

    def bounds(self, scores: Scores) -> tuple[float, float]:
        """The value if every trial that ended in an error had scored 0, and if every one had scored 1."""
        low = self.compute(scores.filled(0.0, self.weight)).value
        high = self.compute(scores.filled(1.0, self.weight)).value
        return low, high


def _cut(value: MetricValue) -> MetricValue:
    """`value` with its interval, and those of its groups, cut at 0 and 1, and without an MDE that exceeds them."""
    low, high = value.ci95
    groups = {name: _cut(group) for name, group in value.groups.items()}
    cut = dataclasses.replace(value, ci95=(max(low, 0.0), min(high, 1.0)), groups=groups)
    if not value.mde80 > 1:
        return cut
    note = "; ".join(filter(None, (value.note, "no MDE: with so few samples it exceeds the whole scale")))
    return dataclasses.replace(cut, mde80=math.nan, note=note)


def _mde(stderr: float) -> float:
    return mde80(stderr) if math.isfinite(stderr) and not is_nothing(stderr) else math.nan


def _measured(name: str, estimate: Estimate, note: str = "") -> MetricValue:
    return MetricValue(
        name=name,
        value=estimate.value,
        stderr=estimate.stderr,
        ci95=estimate.ci95,
        mde80=_mde(estimate.stderr),
        n=estimate.n,
        clusters=estimate.clusters,
        method=estimate.method,
        note=note or _why_undefined(estimate),
    )


def _why_undefined(estimate: Estimate) -> str:
    if estimate.n == 0:
        return "no trial was scored"
    if estimate.n == 1:
        return "1 sample: no standard error"
    return f"{estimate.n} samples in 1 cluster: no standard error" if estimate.clusters == 1 else ""


def mean(of: str = "") -> Metric:
    """The mean over samples of their mean over epochs: of the headline value, or of a named score
    (`mean("prompt_loose")`).
    """
    name = of or "mean"

    def compute(scores: Scores) -> MetricValue:
        column = scores.column(of)
        samples = by_sample(scores)
        epochs = int(samples.trials.max(initial=1))
        return _measured(name, mean_interval(samples.mean(column), samples.clusters, epochs=epochs))

    return Metric(name, compute, {"of": of} if of else {})


def pass_at(k: int) -> Metric:
    """pass@k: the chance that at least one of k trials passes (value 1), averaged over samples (Chen et al. 2021)."""
    return _of_k(f"pass@{k}", k, pass_at_k_each)


def pass_hat(k: int) -> Metric:
    """pass^k: the chance that k trials all pass (value 1), averaged over samples (Yao et al. 2024)."""
    return _of_k(f"pass^{k}", k, pass_hat_k_each)


def _of_k(name: str, k: int, each: Callable[[ArrayLike, ArrayLike, int], Floats]) -> Metric:
    if k < 1:
        raise ValueError(f"{name}: k must be at least 1")

    def compute(scores: Scores) -> MetricValue:
        samples = by_sample(scores)
        passed = samples.mean((scores.values >= 1).astype(float)) * samples.trials
        values = each(samples.trials, passed.round(), k)
        defined = samples.trials >= k
        left_out = int((~defined).sum())
        epochs = int(samples.trials.max(initial=1))
        note = ""
        if left_out == values.size and left_out:
            note = f"undefined: it needs {k} scored trials of a sample, and the most are {epochs}"
        elif left_out:
            note = f"{left_out} of {values.size} samples left out: fewer than {k} scored trials"
        return _measured(name, mean_interval(values[defined], samples.clusters[defined], epochs=epochs), note)

    return Metric(name, compute, {"k": k})


def weighted(of: str, weight: str) -> Metric:
    """Sum of weight * score over sum of weights: with the share of instructions followed and their number, the
    accuracy over instructions.

    The error is that of a ratio, linearised and clustered by sample: u_i = w_i (s_i - R) / mean(w) (Cochran 1977,
    section 6.3).
    """

    def compute(scores: Scores) -> MetricValue:
        column, weights = scores.column(of), scores.column(weight)
        samples = by_sample(scores)
        share, size = samples.mean(column * weights), samples.mean(weights)
        total = float(size.sum())
        if total == 0:
            return _measured(of, mean_interval([]))
        ratio = float(share.sum()) / total
        residual = (share - ratio * size) * (size.size / total)
        clusters = _distinct(samples.clusters)
        stderr = clustered_se(residual, samples.clusters)
        method, interval = _interval(ratio, stderr, clusters - 1, clusters)
        return MetricValue(of, ratio, stderr, interval, _mde(stderr), size.size, clusters, method)

    return Metric(of, compute, {"of": of, "weight": weight}, weight)


def grouped(inner: Metric | None = None) -> Metric:
    """The plain average over groups (subjects, subtasks) of a metric, the mean unless another is given; with each
    group's value.

    stderr is sqrt(sum of the groups' stderr^2) / G and the degrees of freedom are Welch and Satterthwaite's. Where
    a group has no error of its own (a single sample), the error is taken between groups instead, which is never too
    small on average; `note` says so.
    """
    metric = inner or mean()
    name = f"grouped_{metric.name}"

    def compute(scores: Scores) -> MetricValue:
        groups = {label: metric.compute(part) for label, part in _by_group(scores)}
        parts = [value for value in groups.values() if math.isfinite(value.value)]
        if not parts:
            return dataclasses.replace(metric.compute(scores), name=name, groups=groups)
        value = math.fsum(part.value for part in parts) / len(parts)
        stderr, df, note = _error_over_groups(parts)
        absent = len(scores.group_names) - sum(name in scores.group_names for name in groups)
        if absent:
            note = f"{absent} of {len(scores.group_names)} groups have no scored trial" + (f"; {note}" if note else "")
        clusters = sum(part.clusters for part in parts)
        method, interval = _interval(value, stderr, df, clusters)
        n = sum(part.n for part in parts)
        return MetricValue(name, value, stderr, interval, _mde(stderr), n, clusters, method, groups, note)

    return Metric(name, compute, {"inner": metric.name, **metric.params}, metric.weight)


def _by_group(scores: Scores) -> list[tuple[str, Scores]]:
    import numpy as np

    order = np.argsort(scores.group, kind="stable")
    present, starts = np.unique(scores.group[order], return_index=True)
    parts = np.split(order, starts[1:])
    return [
        (scores.group_names[number] if number >= 0 else "", scores.rows(rows))
        for number, rows in zip(present.tolist(), parts, strict=False)
    ]


def _error_over_groups(parts: list[MetricValue]) -> tuple[float, float, str]:
    """Standard error of the average over groups, its degrees of freedom, and a note."""
    count = len(parts)
    alone = sum(not math.isfinite(part.stderr) for part in parts)
    if alone:
        note = f"{alone} of {count} groups hold one sample: the error is taken between groups"
        return mean_se([part.value for part in parts]), count - 1, note
    squares = [part.stderr**2 for part in parts]
    spread = math.fsum(v * v / (part.clusters - 1) for v, part in zip(squares, parts, strict=True))
    df = math.fsum(squares) ** 2 / spread if spread > 0 else float(sum(part.clusters - 1 for part in parts))
    return math.sqrt(math.fsum(squares)) / count, df, ""


def _interval(value: float, stderr: float, df: float, clusters: int) -> tuple[str, tuple[float, float]]:
    if value in (0.0, 1.0) or (is_nothing(stderr) and 0 <= value <= 1):
        return "wilson-clusters", wilson(value * clusters, clusters)
    if not math.isfinite(stderr):
        return "undefined", UNDEFINED
    return "t", t_interval(value, stderr, df)


def _distinct(numbers: NDArray[Any]) -> int:
    import numpy as np

    return int(np.unique(numbers).size)
