"""Who judged which trace how, over several runs, and how far they agree: people with people, and with machines."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from agentlab.analysis.agreement import RESAMPLES, Agreement, Ratings, agreement
from agentlab.service.labels.round import SETTLES, settles
from agentlab.traces.labels import standing
from agentlab.traces.reader import RunReader
from agentlab.traces.rows import Label

CONSENSUS = "people"
"""How the people together are called: what was settled, else what more than half of them say."""

Unit = tuple[str, int, int]
"""A run, a trial and an attempt."""


@dataclass
class Judgements:
    """Labels of one name on whole trials."""

    people: dict[str, dict[Unit, str]] = field(default_factory=dict)
    machines: dict[str, dict[Unit, str]] = field(default_factory=dict)
    """By source and author, for example `classifier cause@2`."""
    settled: dict[Unit, str] = field(default_factory=dict)
    guides: set[str] = field(default_factory=set)
    names: Counter[str] = field(default_factory=Counter)
    """All names under which whole trials are labelled."""

    def consensus(self) -> dict[Unit, str]:
        """What the people together say of each trace; those on which no more than half agree are left out."""
        given: dict[Unit, Counter[str]] = {}
        for judged in self.people.values():
            for unit, value in judged.items():
                given.setdefault(unit, Counter())[value] += 1
        found = {
            unit: value
            for unit, counts in given.items()
            for value, count in counts.most_common(1)
            if count * 2 > counts.total()
        }
        return found | self.settled


@dataclass(frozen=True, slots=True)
class Pair:
    """Two who judged the same traces."""

    first: str
    second: str
    machine: bool
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class Agreements:
    """How far people agree with each other, each two of them, and they with each machine."""

    people: Agreement
    pairs: tuple[Pair, ...]


def judgements(readers: Iterable[RunReader], name: str, tasks: Sequence[str] = ()) -> Judgements:
    """The labels called `name` that hold, by who gave them."""
    found = Judgements()
    for reader in readers:
        wanted = None if not tasks else {row.trial for row in reader.trials() if row.task in tasks}
        labels = [label for label in reader.labels() if label.seq is None and (wanted is None or label.trial in wanted)]
        kinds = ([label for label in labels if not settles(label)], [label for label in labels if settles(label)])
        for label in itertools.chain(*map(standing, kinds)):
            found.names[label.name] += 1
            if label.name == name:
                _add(found, label, (reader.run_dir.name, label.trial, label.attempt))
    return found


def _add(found: Judgements, label: Label, unit: Unit) -> None:
    if label.source == "person" and label.note.startswith(SETTLES):
        found.settled[unit] = label.value
        return
    if label.source == "person":
        judged = found.people.setdefault(label.author, {})
        found.guides.add(label.guide)
    else:
        judged = found.machines.setdefault(f"{label.source} {label.author}", {})
    # Who gives several labels to one trace agrees only with someone who gives the same ones.
    values = {*filter(None, judged.get(unit, "").split(" + ")), label.value}
    judged[unit] = " + ".join(sorted(values))


def agreements(found: Judgements, *, resamples: int = RESAMPLES, seed: int = 0) -> Agreements:
    """All coefficients that these judgements allow."""

    def measured(*judged: dict[Unit, str]) -> Agreement:
        return agreement(_ratings(judged), resamples=resamples, seed=seed)

    people = sorted(found.people.items())
    pairs = [Pair(a, b, False, measured(one, other)) for (a, one), (b, other) in itertools.combinations(people, 2)]
    together = [(CONSENSUS, found.consensus())] if len(people) > 1 else []
    for machine, said in sorted(found.machines.items()):
        pairs += [Pair(name, machine, True, measured(judged, said)) for name, judged in (*together, *people)]
    return Agreements(measured(*(judged for _, judged in people)), tuple(pairs))


def _ratings(judged: Sequence[dict[Unit, str]]) -> Ratings:
    units = sorted(set(itertools.chain(*judged)))
    return [[one.get(unit) for one in judged] for unit in units]
