"""What the labels of a run come to: how often each is met, why trials failed, which traces to open first, and how safe
answers and conduct were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentlab.service.safety_rates import SafetyRates, share
from agentlab.traces.taxonomy import FAILURE, FINDING, UNKNOWN, explains

if TYPE_CHECKING:
    from agentlab.traces.reader import RunReader
    from agentlab.traces.rows import Label, LabelledTrial

TELLING = 3
"""Traces that are named to be opened."""
STOPPED = ("budget.cancelled", "budget.cost")
"""What a trial is labelled that the end of its run cut off; of a limit of the trial's own, a step tells."""


@dataclass(slots=True)
class LabelledTask:
    """The labels of one task's trials."""

    counts: dict[str, int] = field(default_factory=dict)
    """Trials by the labels of the whole trial, as `name:value`."""
    causes: Counter[str] = field(default_factory=Counter)
    units: set[str] = field(default_factory=set)
    """What failed independently of each other: samples, or clusters of them."""
    safety: SafetyRates = field(default_factory=SafetyRates)

    def failures(self) -> dict[str, Any]:
        """Failed trials by cause, the commonest first (those of which only the verdict is known behind the others),
        with shares of the failed ones and Wilson's 95 % intervals; empty where none failed. `unexplained` are all that
        no step explains.

        Trials of one sample (or cluster) are not independent: the interval's sample size is the number of samples that
        failed, which is all there is to learn where they always fail alike.
        """
        n = sum(self.causes.values())
        if not n:
            return {}
        ordered = sorted(self.causes.items(), key=lambda item: (not explains(item[0]), -item[1], item[0]))
        known = [{"label": label, **share(count, n, len(self.units))} for label, count in ordered if label != UNKNOWN]
        unexplained = sum(count for label, count in ordered if not explains(label))
        return {
            "n": n,
            "causes": known,
            "unknown": share(self.causes[UNKNOWN], n, len(self.units)),
            "unexplained": share(unexplained, n, len(self.units)),
        }


@dataclass(slots=True)
class Labelled:
    """The labels of a run, by task, and of each cause the first few trials that show it best."""

    tasks: dict[str, LabelledTask] = field(default_factory=dict)
    shown: dict[str, list[tuple[int, dict[str, Any]]]] = field(default_factory=dict)

    @classmethod
    def of(cls, reader: RunReader) -> Labelled:
        """Read once, one trial at a time."""
        found = cls()
        for trial, labels in reader.labelled():
            found._add(trial, labels)
        return found

    def telling(self) -> tuple[dict[str, Any], ...]:
        """Traces to open first: of each of the commonest causes the one that shows least beside it; where there are
        fewer causes than traces, further ones of the commonest. What no step explains comes last.
        """
        total: Counter[str] = Counter()
        for task in self.tasks.values():
            total.update(task.causes)
        order = sorted(self.shown, key=lambda label: (label == UNKNOWN, not explains(label), -total[label], label))
        rounds = [
            self.shown[label][place] for place in range(TELLING) for label in order if place < len(self.shown[label])
        ]
        return tuple(entry for _, entry in rounds[:TELLING])

    def _add(self, trial: LabelledTrial, labels: list[Label]) -> None:
        task = self.tasks.setdefault(trial.task, LabelledTask())
        for said in {f"{label.name}:{label.value}": None for label in labels if label.seq is None}:
            task.counts[said] = task.counts.get(said, 0) + 1
        task.safety.add(trial.cluster or trial.sample, labels)
        cause = next((label for label in labels if label.name == FAILURE and label.source == "detector"), None)
        if cause is None:
            return
        task.causes[cause.value] += 1
        task.units.add(trial.cluster or trial.sample)
        findings = [label for label in labels if label.name == FINDING and label.source == "detector"]
        step = next((label.seq for label in findings if label.author == cause.author), None)
        entry = {
            "trial": trial.trial,
            "task": trial.task,
            "sample": trial.sample,
            "epoch": trial.epoch,
            "label": cause.value,
            "step": None if step is None else step + 1,
            "quote": "" if step is None else cause.note,  # what an error says stands among the errors
        }
        if step is None and cause.value in STOPPED:
            return  # counted all the same; a run that was stopped leaves hundreds of them, with nothing to be seen
        kept = self.shown.setdefault(cause.value, [])
        kept.append((len(findings), entry))
        kept.sort(key=lambda item: (item[0], item[1]["trial"]))
        del kept[TELLING:]


def relabelled(summary: Mapping[str, Any], reader: RunReader) -> dict[str, Any]:
    """A stored summary with what its labels come to now: people and classifiers add some after a run has ended."""
    labelled = Labelled.of(reader)
    tasks = []
    for task in summary["tasks"]:
        found = labelled.tasks.get(task["task"], LabelledTask())
        now = {"labels": found.counts, "failures": found.failures(), "safety": found.safety.as_dict()}
        tasks.append({**task, **now})
    return {**summary, "tasks": tasks, "telling": list(labelled.telling())}
