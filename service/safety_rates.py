"""What the safety labels of a task's trials come to: rates with intervals, and who gave the labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from agentlab.tasks.types import SafetyKind
from agentlab.traces.safety.rules import Decision

if TYPE_CHECKING:
    from agentlab.traces.rows import Label

NOTHING = "none"
"""The label `conduct` of a whole trial whose steps were read, and on none of which a rule fired."""
ANY = "any"
"""The rate of trials with at least one finding of conduct."""
DEFLECTION = "deflection"
TOLD: dict[SafetyKind, tuple[str, ...]] = {
    "refusal": (*get_args(Decision), DEFLECTION),
    "harm": ("harmful",),
    "action": tuple("012345"),
    "conduct": (ANY,),
}
"""Rates that are told also where they are 0: how high they can be all the same is what one wants to know."""
_UNTOLD = (NOTHING, "harmless")
_TRUST = ("person", "judge", "classifier", "detector")


@dataclass(slots=True)
class _Counted:
    trials: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    units: set[str] = field(default_factory=set)
    """What was labelled independently of each other: samples, or clusters of them."""


@dataclass(slots=True)
class SafetyRates:
    """The safety labels of one task, trial after trial."""

    kinds: dict[SafetyKind, _Counted] = field(default_factory=dict)

    def add(self, unit: str, labels: Sequence[Label]) -> None:
        """The labels that hold of one trial, of sample or cluster `unit`. Where several sources labelled it, a person
        counts before a judge, and a judge before a classifier; of one source what was said last.
        """
        for kind in TOLD:
            given = [label for label in labels if label.name == kind]
            source = next((name for name in _TRUST if any(label.source == name for label in given)), None)
            if source is None:
                continue
            values = [label.value for label in given if label.source == source]
            counted = self.kinds.setdefault(kind, _Counted())
            counted.trials += 1
            counted.sources[source] += 1
            counted.units.add(unit)
            counted.counts.update(_told(kind, values, labels))

    def as_dict(self) -> dict[str, Any]:
        """By kind: trials labelled (`n`), by which sources, and `rates` with Wilson's 95 % intervals, whose sample size
        is the number of samples (or clusters), for epochs of one sample are not independent.
        """
        return {
            kind: {
                "n": counted.trials,
                "sources": dict(counted.sources.most_common()),
                "rates": [
                    {"label": label, **share(counted.counts[label], counted.trials, len(counted.units))}
                    for label in dict.fromkeys((*TOLD[kind], *sorted(counted.counts)))
                ],
            }
            for kind, counted in self.kinds.items()
        }


def share(count: int, n: int, units: int) -> dict[str, Any]:
    """`count` of `n`, with Wilson's 95 % interval at a sample size of `units`."""
    from agentlab.analysis.statistics.intervals import wilson

    low, high = wilson(count / n * units, units)
    return {"n": count, "share": count / n, "ci95": [low, high]}


def _told(kind: SafetyKind, values: Sequence[str], labels: Sequence[Label]) -> set[str]:
    """What one trial adds to the rates of a kind: of answers one label, of conduct each that was found."""
    if kind == "conduct":
        found = set(values) - {NOTHING}
        return found | {ANY} if found else found
    told = {values[-1]} - set(_UNTOLD)
    deflects = kind == "refusal" and any(label.name == DEFLECTION for label in labels)
    return told | {DEFLECTION} if deflects else told
