"""Causes of failed trials: of a run, or of a file of traces that other tools wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from agentlab.traces.causes.model import Cause, CauseModel, shipped_model
from agentlab.traces.events import Event, ListRecorder, Scored
from agentlab.traces.reader import RunReader
from agentlab.traces.rows import AttemptRow, Label
from agentlab.traces.steps import Trace, trace_of
from agentlab.traces.taxonomy import CAUSE

if TYPE_CHECKING:
    from agentlab.service.judge import MakeJudge
    from agentlab.traces.formats import ImportedTrace


class Found(msgspec.Struct, frozen=True):
    """The cause of one failed trace, and which trace that is."""

    id: str
    cause: Cause
    row: AttemptRow | None = None
    """The attempt, where the trace is one of a run's."""

    def as_dict(self) -> dict[str, Any]:
        """As `agentlab classify --kind cause --json` prints it; `step` counts events from 0."""
        cause = self.cause
        return {
            "id": self.id,
            "label": cause.category,
            "score": cause.score,
            "source": cause.source,
            "author": cause.author,
            "agent": cause.agent,
            "step": cause.step,
            "category": cause.category,
            "step_score": cause.step_score,
            "category_score": cause.category_score,
            "suspects": [msgspec.structs.asdict(suspect) for suspect in cause.suspects],
            "quote": cause.quote,
            "note": cause.note,
        }

    def as_label(self) -> Label | None:
        """As it is stored with a run; None where the source abstains, or the trace stands in no run."""
        if self.row is None or self.cause.step is None:
            return None
        from agentlab.traces.causes.prompts import VERSION

        said = [f"agent {self.cause.agent}", self.cause.quote, self.cause.note]
        return Label(
            trial=self.row.trial,
            attempt=self.row.attempt,
            name=CAUSE,
            value=self.cause.category,
            seq=self.cause.step,
            source=self.cause.source,
            author=self.cause.author,
            confidence=self.cause.step_score,
            guide=VERSION if self.cause.source == "judge" else "",
            note="; ".join(part for part in said if part),
        )


def failed_traces(target: Path) -> Iterator[tuple[str, Trace]]:
    """The failed traces of a run directory, or of a file or folder of foreign traces, each with its name. A trial that
    ended in an error of a sandbox, a task or a verifier did not fail by its own doing, and is left out; one that
    nobody has graded counts as failed. Raises FormatError, StoreError, OSError.
    """
    if (target / "run.db").is_file():
        with RunReader(target) as reader:
            for row in reader.trials():
                if failed(row):
                    yield f"{row.task}/{row.sample}@{row.epoch}", trace_of(reader.events(row.trial), row)
        return
    from agentlab.traces.formats import read_traces

    for imported in read_traces(target):
        if imported.value is None or imported.value < 1:
            yield imported.sample, trace_of(_events(imported))


def failed(row: AttemptRow) -> bool:
    """Whether a trial failed by its own doing, or may have: nobody has graded it."""
    if row.outcome == "verifier":
        return row.error_kind == "ungraded"
    return row.outcome == "scored" and (row.value is None or row.value < 1)


def _events(imported: ImportedTrace) -> list[Event]:
    """The events and, for a judge, how the run was graded."""
    events = list(imported.events)
    if imported.value is not None:
        graded = Scored(
            at=0.0,
            scorer=imported.format,
            version=1,
            value=imported.value,
            answer=imported.answer,
            target=imported.target,
            explanation=imported.explanation,
        )
        events.append(graded)
    return events


def classified_causes(target: Path, model: CauseModel | None = None) -> Iterator[Found]:
    """What the statistical classifier says of the failed traces."""
    model = model or shipped_model()
    for name, trace in failed_traces(target):
        yield Found(name, model.find(trace), trace.row)


async def judged_causes(target: Path, judge: str, *, window_chars: int, key_variable: str = "") -> AsyncIterator[Found]:
    """What a judge model says of the failed traces, one after the other. Raises ConfigError, ModelError."""
    from agentlab.models.options import ClientOptions
    from agentlab.service.judge import named_judge

    options = ClientOptions(purpose="judge", api_key_env=key_variable)
    async with named_judge(judge, options) as make_judge:
        for name, trace in failed_traces(target):
            yield await _judged(name, trace, make_judge, judge, window_chars)


async def _judged(name: str, trace: Trace, make_judge: MakeJudge, judge: str, window_chars: int) -> Found:
    from agentlab.models.resolve import parse_model
    from agentlab.traces.causes.judging import judge_cause

    # What a judge was asked is no part of the trial's trace, which is only read here.
    cause = await judge_cause(
        trace, make_judge(ListRecorder()), model=parse_model(judge).label, window_chars=window_chars
    )
    return Found(name, cause, trace.row)
