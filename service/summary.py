"""What a run came to: computed from `run.db` alone, so that every number printed can be computed again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentlab.service.failures import Labelled, LabelledTask
from agentlab.tasks.metrics import Metric, MetricValue, mean, pass_at, pass_hat
from agentlab.tasks.scores import Scores
from agentlab.tasks.suites import TaskScore, combine_scores
from agentlab.tasks.types import TaskError
from agentlab.traces.events import OUTCOMES
from agentlab.traces.reader import RunReader

if TYPE_CHECKING:
    from agentlab.service.prepare import Plan
    from agentlab.tasks.suites import ResolvedSuite
    from agentlab.traces.reader import Columns, Totals
    from agentlab.traces.rows import AttemptRow

MAX_ERRORS = 1000
"""Errors listed in a summary; all of them are in `run.db`."""
CUT_OFF = "it was under way when the run was killed"
MAX_EPOCHS_OF_K = 1000
"""Beyond so many epochs pass@K is not printed unasked: it costs K steps."""


@dataclass(frozen=True, slots=True)
class TaskSummary:
    """One task's line. Undefined numbers are None."""

    task: str
    route: dict[str, str]
    n: int
    """Samples behind the value."""
    trials: int
    """Trials that were begun; all that there are to be is `planned`."""
    planned: int
    epochs: int
    metric: str
    value: float | None
    stderr: float | None
    ci95: tuple[float | None, float | None]
    mde80: float | None
    bounds: tuple[float | None, float | None]
    outcomes: dict[str, int]
    flags: dict[str, int]
    labels: dict[str, int]
    tokens: dict[str, int]
    cost_usd: float | None
    latency_ms: dict[str, float | None]
    sandbox_seconds: float
    clusters: int = 0
    method: str = ""
    note: str = ""
    groups: dict[str, Any] = field(default_factory=dict)
    metrics: tuple[dict[str, Any], ...] = ()
    """The task's further metrics."""
    failures: dict[str, Any] = field(default_factory=dict)
    """Trials that failed, by cause; empty where none did."""
    safety: dict[str, Any] = field(default_factory=dict)
    """Rates of safety labels, by kind; empty where trials have none."""

    def as_dict(self) -> dict[str, Any]:
        return {name: _plain(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Summary:
    """The whole run: tasks, suites, and the first errors."""

    run_id: str
    run_dir: str
    tasks: tuple[TaskSummary, ...]
    suites: tuple[dict[str, Any], ...]
    errors: tuple[dict[str, str], ...]
    errors_total: int
    error_kinds: tuple[dict[str, Any], ...] = ()
    """All errors, those of a task that say the same counted together, with the first sample of each."""
    telling: tuple[dict[str, Any], ...] = ()
    """Traces to open first: one for each of the commonest causes of failure."""

    @property
    def failed(self) -> bool:
        """Whether any trial ended in an error: what `--fail-on-error` asks."""
        return self.errors_total > 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "run_dir": self.run_dir,
            "tasks": [task.as_dict() for task in self.tasks],
            "suites": list(self.suites),
            "errors": list(self.errors),
            "errors_total": self.errors_total,
            "error_kinds": list(self.error_kinds),
            "telling": list(self.telling),
        }


def summarise(run_dir: Path, document: Mapping[str, Any], plan: Plan) -> Summary:
    """The summary of a run whose plan is at hand: with the tasks' own metrics."""
    metrics = {found.task.name: tuple(found.task.metrics) for found in plan.surveys}
    return compute_summary(run_dir, document, metrics, plan.suites, plan.config.epochs)


def compute_summary(
    run_dir: Path,
    document: Mapping[str, Any],
    metrics: Mapping[str, Sequence[Metric]],
    suites: Sequence[ResolvedSuite] = (),
    epochs: int = 1,
    *,
    alive: bool = False,
) -> Summary:
    """The summary of a stored run. A task that is not in `metrics` is summed up by its mean. Trials without an end are
    under way where the run is `alive`, else they were cut off with it, and count as cancelled.
    """
    routes = _routes(document)
    with RunReader(run_dir) as reader:
        names = dict.fromkeys((*document.get("tasks", {}), *reader.tasks()))
        labelled = Labelled.of(reader)
        tasks = tuple(
            _task_summary(
                name,
                reader.columns(name),
                reader.totals(name),
                routes.get(name, {}),
                metrics.get(name, ()),
                epochs,
                labelled.tasks.get(name, LabelledTask()),
                Extent.of(document.get("tasks", {}).get(name, {}), epochs),
                alive,
            )
            for name in names
        )
        errors, kinds, total = _errors(reader, alive)
    combined = _suites(suites, tasks)
    run_id = str(document.get("run_id", ""))
    return Summary(run_id, str(run_dir), tasks, combined, errors, total, kinds, labelled.telling())


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of a task a run is to carry out: samples of each group ("" for none), each `epochs` times."""

    groups: dict[str, int]
    epochs: int

    @classmethod
    def of(cls, identity: Mapping[str, Any], epochs: int) -> Extent:
        """From what `run.json` says of a task; runs from before groups were stored have samples of none."""
        epochs = identity.get("trials", {}).get("epochs", epochs)
        return cls(identity.get("groups") or {"": identity.get("n", 0)}, epochs)

    @property
    def trials(self) -> int:
        return sum(self.groups.values()) * self.epochs


def _routes(document: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    routes: dict[str, dict[str, str]] = {}
    for row in document.get("plan", []):
        known = routes.setdefault(row["task"], {"agent": row["agent"], "scorer": row["scorer"]})
        for side in ("agent", "scorer"):
            if row[side] not in known[side].split("+"):
                known[side] += f"+{row[side]}"
    return routes


def _task_summary(
    name: str,
    columns: Columns,
    totals: Totals,
    route: dict[str, str],
    metrics: Sequence[Metric],
    epochs: int,
    labelled: LabelledTask,
    extent: Extent,
    alive: bool,
) -> TaskSummary:
    scores = Scores.of(
        columns.value,
        columns.sample,
        epoch=columns.epoch,
        cluster=columns.cluster,
        group=columns.group,
        group_names=columns.group_names,
        extra=columns.extra,
    )
    headline = metrics[0] if metrics else mean()
    value, bounds = _measure(headline, scores, scores.whole(extent.groups, extent.epochs))
    further = [*metrics[1:], *_epoch_metrics(scores, epochs, metrics)]
    return TaskSummary(
        task=name,
        route=route,
        n=value.n,
        trials=totals.trials,
        planned=max(extent.trials, totals.trials),
        epochs=extent.epochs,
        metric=value.name,
        value=_finite(value.value),
        stderr=_finite(value.stderr),
        ci95=(_finite(value.ci95[0]), _finite(value.ci95[1])),
        mde80=_finite(value.mde80),
        bounds=bounds,
        outcomes=_outcomes(totals, alive),
        flags=totals.flags,
        labels=labelled.counts,
        failures=labelled.failures(),
        safety=labelled.safety.as_dict(),
        tokens={"input": totals.input_tokens, "output": totals.output_tokens},
        cost_usd=totals.cost_usd,
        latency_ms=_latencies(columns),
        sandbox_seconds=round(totals.sandbox_seconds, 3),
        clusters=value.clusters,
        method=value.method,
        note=value.note,
        groups={label: group.as_dict() for label, group in value.groups.items()},
        metrics=tuple(_measure(metric, scores, scores)[0].as_dict() for metric in further),
    )


def _outcomes(totals: Totals, alive: bool) -> dict[str, int]:
    outcomes = {str(outcome): totals.outcomes[outcome] for outcome in OUTCOMES}
    if not alive:
        outcomes["cancelled"] += totals.outcomes["running"]
    return outcomes


def _measure(metric: Metric, scores: Scores, whole: Scores) -> tuple[MetricValue, tuple[float | None, float | None]]:
    """The metric over `scores`, and its bounds over all the trials that there are to be."""
    try:
        value = metric(scores)
        low, high = metric.bounds(whole)
    except TaskError as error:
        nothing = (math.nan, math.nan)
        return MetricValue(metric.name, math.nan, math.nan, nothing, math.nan, 0, 0, "undefined", note=str(error)), (
            None,
            None,
        )
    return value, (_finite(low), _finite(high))


def _epoch_metrics(scores: Scores, epochs: int, metrics: Sequence[Metric]) -> list[Metric]:
    """pass@K and pass^K over the run's K epochs, where scores are pass or fail."""
    import numpy as np

    present = scores.values[~np.isnan(scores.values)]
    if not 2 <= epochs <= MAX_EPOCHS_OF_K or not present.size or not np.isin(present, (0.0, 1.0)).all():
        return []
    known = {metric.name for metric in metrics}
    return [metric for metric in (pass_at(epochs), pass_hat(epochs)) if metric.name not in known]


def _latencies(columns: Columns) -> dict[str, float | None]:
    import numpy as np

    found: dict[str, float | None] = {"p50": None, "p95": None, "p99": None, "ttft_p50": None}
    if columns.latency_ms.size:
        for name, quantile in (("p50", 50), ("p95", 95), ("p99", 99)):
            found[name] = round(float(np.percentile(columns.latency_ms, quantile)), 3)
    if columns.ttft_ms.size:
        found["ttft_p50"] = round(float(np.percentile(columns.ttft_ms, 50)), 3)
    return found


def _errors(reader: RunReader, alive: bool) -> tuple[tuple[dict[str, str], ...], tuple[dict[str, Any], ...], int]:
    """The first errors one by one, all of them by what they say, and how many there are."""
    errors: list[dict[str, str]] = []
    kinds: dict[tuple[str, str, str], dict[str, Any]] = {}
    total = 0
    for row in reader.trials(errors_only=True):
        if row.outcome is None and alive:
            continue
        total += 1
        kind = f"{row.outcome or 'cancelled'}:{row.error_kind}" if row.error_kind else (row.outcome or "cancelled")
        message = error_message(row)
        if len(errors) < MAX_ERRORS:
            errors.append({"task": row.task, "sample": row.sample, "kind": kind, "message": message})
        same = (row.task, kind, message)
        if same in kinds:
            kinds[same]["n"] += 1
        elif len(kinds) < MAX_ERRORS:
            kinds[same] = {"task": row.task, "kind": kind, "message": message, "n": 1, "sample": row.sample}
    return tuple(errors), tuple(kinds.values()), total


def error_message(row: AttemptRow) -> str:
    """What went wrong in an attempt; one without an end was cut off with its run, or is still under way."""
    return CUT_OFF if row.outcome is None else row.error_message


def _suites(suites: Sequence[ResolvedSuite], tasks: Sequence[TaskSummary]) -> tuple[dict[str, Any], ...]:
    scores = {
        task.task: TaskScore(task.value, task.stderr if task.stderr is not None else math.nan, task.n)
        for task in tasks
        if task.value is not None
    }
    combined = []
    for suite in suites:
        score = combine_scores(suite, scores)
        if score is not None:
            # The average of some members is another suite's: a suite with a member that has no score has none either.
            whole = not score.missing
            value, stderr = (_finite(score.value), _finite(score.stderr)) if whole else (None, None)
            combined.append(
                {
                    "suite": suite.name,
                    "combine": suite.suite.combine,
                    "value": value,
                    "stderr": stderr,
                    "ci95": _normal_interval(value, stderr),
                    "n": score.n,
                    "tasks": list(suite.tasks()),
                    "missing": list(score.missing),
                }
            )
    return tuple(combined)


def _normal_interval(value: float | None, stderr: float | None) -> list[float | None]:
    """value +- 1.96 stderr, cut at 0 and 1 where the value lies in it; nothing where no error was seen."""
    if value is None or not stderr:
        return [None, None]
    low, high = value - 1.96 * stderr, value + 1.96 * stderr
    return [max(low, 0.0), min(high, 1.0)] if 0 <= value <= 1 else [low, high]


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
