"""Who judged which trace how, over several runs, and how far they agree: people with people, and with machines."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from agentlab.analysis.agreement import RESAMPLES, Agreement, Coefficient, Ratings, agreement
from agentlab.analysis.statistics import wilson
from agentlab.service.labels.round import SETTLES, settles
from agentlab.traces.labels import standing
from agentlab.traces.reader import RunReader
from agentlab.traces.rows import Label
from agentlab.traces.taxonomy import FAILURE, FINDING, OF_DETECTOR

SHOWN = ("said", "tool_call", "model_call")
"""The events that are steps to whoever marks them."""
CONSENSUS = "people"
"""How the people together are called: what was settled, else what more than half of them say."""

UNMARKED = "(unmarked)"
"""What somebody says of a step who judged its trace and marked others, or none."""

Unit = tuple[str, int, int, int | None]
"""A run, a trial, an attempt, and the place of a step in it; None: the whole."""


@dataclass
class Judgements:
    """Labels of one name: on whole trials, or on steps."""

    people: dict[str, dict[Unit, str]] = field(default_factory=dict)
    machines: dict[str, dict[Unit, str]] = field(default_factory=dict)
    """By source and author, for example `classifier cause@2`."""
    settled: dict[Unit, str] = field(default_factory=dict)
    guides: set[str] = field(default_factory=set)
    names: Counter[str] = field(default_factory=Counter)
    """All names under which trials, or steps, are labelled."""
    steps: bool = False

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
class Located:
    """Of traces in which both marked a step: how often it is the same one, or next to it. Of several marks in a trace
    the first counts: the others may follow from it.
    """

    traces: int
    same: Coefficient
    within_one: Coefficient


@dataclass(frozen=True, slots=True)
class Pair:
    """Two who judged the same traces."""

    first: str
    second: str
    machine: bool
    agreement: Agreement
    located: Located | None = None
    """How near the first steps are that they marked, where steps are compared."""


@dataclass(frozen=True, slots=True)
class Agreements:
    """How far people agree with each other, each two of them, and they with each machine."""

    people: Agreement
    pairs: tuple[Pair, ...]


def judgements(
    readers: Iterable[RunReader], name: str, tasks: Sequence[str] = (), *, steps: bool = False
) -> Judgements:
    """The labels called `name` that hold, by who gave them: those of whole trials, or those of `steps`."""
    found = Judgements(steps=steps)
    for reader in readers:
        wanted = None if not tasks else {row.trial for row in reader.trials() if row.task in tasks}
        labels = [label for label in reader.labels() if wanted is None or label.trial in wanted]
        if name == FAILURE:
            labels = list(map(_in_the_scheme, labels))
        kinds = ([label for label in labels if not settles(label)], [label for label in labels if settles(label)])
        held = list(itertools.chain(*map(standing, kinds)))
        for label in held:
            if (label.seq is not None) != steps:
                continue
            found.names[label.name] += 1
            if label.name == name:
                _add(found, label, (reader.run_dir.name, label.trial, label.attempt, label.seq))
        if steps:
            _leave_unmarked(found, reader, [label for label in held if label.name == name and not settles(label)])
    return found


def _in_the_scheme(label: Label) -> Label:
    """Each detector labels the trials in which it found something, and marks steps by names of its own. To be compared
    with what people say they speak as one, in the words of the taxonomy.
    """
    marks = label.name == FINDING and label.seq is not None
    if label.source != "detector" or not (marks or label.name == FAILURE):
        return label
    value = OF_DETECTOR.get(label.value, label.value) if marks else label.value
    who = label.guide or label.author
    return msgspec.structs.replace(label, name=FAILURE, value=value, author=who, confidence=None, note="")


def _leave_unmarked(found: Judgements, reader: RunReader, labels: Iterable[Label]) -> None:
    """Who judged a trace, as a whole or in a step, said of its other steps that there is nothing to mark. Who never
    marks any step does not judge steps.
    """
    traces: dict[tuple[int, int], dict[str, dict[Unit, str]]] = {}
    for label in labels:
        who = label.author if label.source == "person" else f"{label.source} {label.author}"
        judged = (found.people if label.source == "person" else found.machines).get(who)
        if judged is not None:
            traces.setdefault((label.trial, label.attempt), {})[f"{label.source} {who}"] = judged
    for (trial, attempt), raters in traces.items():
        places = [stored.seq for stored in reader.events(trial, attempt, types=SHOWN)]
        for judged in raters.values():
            for seq in places:
                judged.setdefault((reader.run_dir.name, trial, attempt, seq), UNMARKED)


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
        units = list(dict.fromkeys(itertools.chain(*judged)))
        ratings: Ratings = [[one.get(unit) for one in judged] for unit in units]
        clusters = [unit[:3] for unit in units] if found.steps else None
        return agreement(ratings, clusters=clusters, resamples=resamples, seed=seed)

    def pair(first: str, second: str, one: dict[Unit, str], other: dict[Unit, str], *, machine: bool) -> Pair:
        return Pair(first, second, machine, measured(one, other), located(one, other) if found.steps else None)

    people = sorted(found.people.items())
    pairs = [pair(a, b, one, other, machine=False) for (a, one), (b, other) in itertools.combinations(people, 2)]
    together = [(CONSENSUS, found.consensus())] if len(people) > 1 else []
    for machine, said in sorted(found.machines.items()):
        pairs += [pair(name, machine, judged, said, machine=True) for name, judged in (*together, *people)]
    return Agreements(measured(*(judged for _, judged in people)), tuple(pairs))


def located(one: dict[Unit, str], other: dict[Unit, str]) -> Located:
    """How near the first steps are that two marked in the same traces, with Wilson's 95 % intervals."""
    first, second = _first_marks(one), _first_marks(other)
    apart = [abs(first[trace] - second[trace]) for trace in first if trace in second]
    return Located(len(apart), _share(apart, 0), _share(apart, 1))


def _first_marks(judged: dict[Unit, str]) -> dict[tuple[str, int, int], int]:
    found: dict[tuple[str, int, int], int] = {}
    for (run, trial, attempt, seq), value in judged.items():
        if seq is not None and value != UNMARKED:
            trace = (run, trial, attempt)
            found[trace] = min(seq, found.get(trace, seq))
    return found


def _share(apart: Sequence[int], most: int) -> Coefficient:
    near = sum(distance <= most for distance in apart)
    if not apart:
        return Coefficient(math.nan)
    return Coefficient(near / len(apart), *wilson(near, len(apart)))
