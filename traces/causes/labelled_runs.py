"""Trials of a stored run in which people marked the step that decided them: what the classifier learns from."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from agentlab.traces.categories import INCONCLUSIVE
from agentlab.traces.causes.labelled import LabelledTrace
from agentlab.traces.causes.model import UNKNOWN, TrainedOn
from agentlab.traces.causes.moments import Moment, read_moments
from agentlab.traces.guide import NOTHING_WRONG
from agentlab.traces.reader import RunReader
from agentlab.traces.rows import Label, LabelledTrial
from agentlab.traces.steps import Trace, trace_of
from agentlab.traces.taxonomy import CAUSE, FAILURE, FAULT, agentrx_name, crosswalk

ORIGIN = "people"


class RunLabels(msgspec.Struct, frozen=True):
    """What people marked in a run."""

    labelled: tuple[LabelledTrace, ...]
    source: TrainedOn
    disputed: int
    """Trials that are left out, because no step was named by more people than every other."""


def read_labelled_run(reader: RunReader) -> RunLabels:
    """The last attempts in which people named the decisive step: by a label `cause` of a step, as imports bring it,
    else by the first step that they marked in a round (a label `failure` of a step). Raises StoreError.
    """
    found, disputed = [], 0
    digest = hashlib.sha256()
    for trial, labels in reader.labelled():
        marks = list(filter(_is_mark, labels))
        named = _named(marks).most_common(2)
        if not named:
            continue
        if len(named) == 2 and named[0][1] == named[1][1]:
            disputed += 1
            continue
        trace = trace_of(reader.events(trial.trial, trial.attempt))
        labelled = _labelled(trial, trace, marks, named[0][0])
        found.append(labelled)
        said = (labelled.id, labelled.agent, labelled.step, labelled.category, labelled.faults)
        digest.update(msgspec.json.encode((said, [stored.event for stored in trace.events])))
    source = TrainedOn(reader.run_dir.name, digest.hexdigest(), len(found))
    return RunLabels(tuple(found), source, disputed)


def _labelled(trial: LabelledTrial, trace: Trace, marks: Sequence[Label], seq: int) -> LabelledTrace:
    moments = read_moments(trace)
    decisive = [label for label in marks if label.seq == seq and label.name != FAULT]
    # Who wrote `cause` down by its index meant that very step; in a round people mark what they see going wrong.
    step = seq if any(label.name == CAUSE for label in decisive) else _blamed(moments, seq)
    faults = {(_blamed(moments, label.seq or 0), category) for label in marks if (category := _category(label))}
    return LabelledTrace(
        id=f"{trial.task}/{trial.sample}@{trial.epoch}",
        group=f"{trial.task} {trial.cluster or trial.sample}",
        origin=ORIGIN,
        trace=trace,
        agent=next((moment.speaker for moment in moments if moment.step.seq == step and moment.suspect), ""),
        step=step,
        category=min(filter(None, map(_category, decisive)), default=""),
        faults=tuple(sorted(faults)),
    )


def _is_mark(label: Label) -> bool:
    if label.source != "person" or label.seq is None or label.value == NOTHING_WRONG:
        return False
    return label.name in (CAUSE, FAILURE, FAULT)


def _named(marks: Iterable[Label]) -> Counter[int]:
    """How many people name which step as the decisive one: by `cause`, else by the first that they marked."""
    named: dict[str, int] = {}
    for label in sorted(marks, key=lambda label: (label.name != CAUSE, label.seq)):
        if label.name != FAULT and label.seq is not None:
            named.setdefault(label.author, label.seq)
    return Counter(named.values())


def _blamed(moments: Iterable[Moment], seq: int) -> int:
    """The turn that a mark stands for: where a tool's answer is marked, the last turn before it, which asked for it."""
    turns = [moment.step.seq for moment in moments if moment.suspect and moment.step.seq <= seq]
    return turns[-1] if turns else seq


def _category(label: Label) -> str:
    """As AgentRx calls it; empty where nothing is said of it, or by a guide of someone's own."""
    if label.name == FAILURE:
        try:
            name = crosswalk(label.value).agentrx
        except KeyError:
            return ""
    else:
        name = agentrx_name(label.value)
    return "" if name in (UNKNOWN, INCONCLUSIVE) else name
