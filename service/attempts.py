"""How an attempt that was carried out is kept: its end, and the labels that it is given as it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentlab.service.diagnosis import automatic_labels, safety_labels
from agentlab.service.planner import EXTERNAL
from agentlab.traces.events import ErrorRaised
from agentlab.traces.rows import Label

if TYPE_CHECKING:
    from agentlab.service.trial import Result
    from agentlab.tasks.types import Task
    from agentlab.traces.store import AttemptRecorder, RunStore

STOPPED = ("stopped", "the run was stopped")


@contextmanager
def kept_where_stopped(recorder: AttemptRecorder) -> Iterator[None]:
    """An attempt that is stopped in the middle is kept and closed, and a resume tries its trial again."""
    try:
        yield
    except BaseException:
        kind, message = STOPPED
        recorder.record(ErrorRaised(at=time.time(), boundary="cancelled", kind=kind, message=message))
        recorder.finish("cancelled", error=STOPPED)
        raise


def keep(store: RunStore, recorder: AttemptRecorder, task: Task, result: Result) -> None:
    """Store how an attempt ended, with the labels of its scorers and those that every attempt is given."""
    recorder.finish(
        result.outcome,
        value=result.value,
        scores=result.scores,
        flags=result.flags,
        sandbox_seconds=result.sandbox_seconds,
        error=(result.error_kind, result.error_message) if result.error_kind else None,
    )
    author = task.scorers[0].name if task.scorers else EXTERNAL
    for name, value in result.labels:
        store.label(
            Label(
                trial=recorder.trial, attempt=recorder.attempt, name=name, value=value, source="detector", author=author
            )
        )
    solved = result.outcome == "scored" and result.value is not None and result.value >= 1.0
    for label in automatic_labels(recorder.trial, recorder.attempt, recorder.events, solved=solved):
        store.label(label)
    for label in safety_labels(recorder.trial, recorder.attempt, recorder.events, result.outcome, task.safety):
        store.label(label)
