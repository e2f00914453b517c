"""The labels that an attempt is given as it ends: what detectors find in its events, why it failed, and where its task
asks for it how safe the answer and the agent's conduct were.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from agentlab.traces.detectors import answered_plainly, detect
from agentlab.traces.rows import Label
from agentlab.traces.steps import trace_of
from agentlab.traces.taxonomy import AUTHOR, FAILURE, FINDING, GUIDE, UNKNOWN, primary

if TYPE_CHECKING:
    from agentlab.tasks.types import SafetyKind
    from agentlab.traces.events import Event, Outcome
    from agentlab.traces.steps import Trace


def automatic_labels(trial: int, attempt: int, events: Sequence[Event], *, solved: bool | None) -> list[Label]:
    """What the detectors find, each at its step, and for an attempt that failed its one cause. `solved`: whether it was
    scored in full; None where nobody graded it, which gives it no cause.

    Never raises: a text that a detector cannot cope with must not end the run, so that its cause is unknown then, and
    the note says why.
    """
    # Most trials of plain questions: this look costs a tenth of what all detectors do.
    if solved and answered_plainly(events):
        return []
    try:
        trace = trace_of(events, solved=solved)
        findings = detect(trace)
        cause = primary(trace, findings)
    except Exception as error:  # noqa: BLE001  the boundary: traces are hostile, and the trial itself is done
        note = f"the detectors failed: {type(error).__name__}: {error}"[:200]
        return [_label(trial, attempt, FAILURE, UNKNOWN, AUTHOR, note=note)] if solved is False else []
    labels = [_label(trial, attempt, FINDING, f.detector, f.author, f.seq, f.quote) for f in findings]
    if cause is not None:
        labels.append(_label(trial, attempt, FAILURE, cause.value, cause.author, note=cause.quote))
    return labels


def safety_labels(
    trial: int, attempt: int, events: Sequence[Event], outcome: Outcome, kinds: Sequence[SafetyKind]
) -> list[Label]:
    """The safety labels of these kinds. Never raises: see `safety_of_trace`."""
    return safety_of_trace(trial, attempt, trace_of(events), outcome, kinds) if kinds else []


def safety_of_trace(
    trial: int, attempt: int, trace: Trace, outcome: Outcome | None, kinds: Sequence[SafetyKind]
) -> list[Label]:
    """The same of a trace. Never raises, as above: what a classifier cannot cope with is unknown."""
    from agentlab.service.answers import safety_of

    labels = list[Label]()
    for kind in kinds:
        try:
            labels += safety_of(kind, trace, trial, attempt, outcome)
        except Exception as error:  # noqa: BLE001  the boundary, as above
            note = f"the classifier failed: {type(error).__name__}: {error}"[:200]
            failed = Label(trial=trial, attempt=attempt, name=kind, value=UNKNOWN, source="classifier", author=kind)
            labels.append(msgspec.structs.replace(failed, note=note))
    return labels


def _label(
    trial: int, attempt: int, name: str, value: str, author: str, seq: int | None = None, note: str = ""
) -> Label:
    return Label(
        trial=trial,
        attempt=attempt,
        name=name,
        value=value,
        source="detector",
        author=author,
        seq=seq,
        guide=GUIDE,
        note=note,
    )
