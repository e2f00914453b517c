"""Labels of answers: of rows in a file, or of the trials of a stored run with what agents did in them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from agentlab.traces.classifiers.answers import Answer, read_answers
from agentlab.traces.events import Judge, ListRecorder
from agentlab.traces.reader import RunReader
from agentlab.traces.rows import AttemptRow, Label
from agentlab.traces.safety.answers import Labelled, label_action, label_harm, label_refusal
from agentlab.traces.safety.conduct import VERSION as CONDUCT_VERSION
from agentlab.traces.safety.conduct import find_conduct
from agentlab.traces.safety.judging import GUIDE, UNKNOWN, AnswerKind, judge_answer
from agentlab.traces.safety.quality import refusal_quality
from agentlab.traces.steps import trace_of

Kind: TypeAlias = Literal["refusal", "harm", "action", "quality", "conduct"]
OF_ANSWERS: Mapping[AnswerKind, Callable[[str, str], Labelled]] = {
    "refusal": label_refusal,
    "harm": label_harm,
    "action": label_action,
}
OF_RUNS: tuple[Kind, ...] = ("refusal", "harm", "action", "conduct")


def classified_rows(path: Path, kind: AnswerKind | Literal["quality"]) -> Iterator[dict[str, Any]]:
    """A label for each row of a file, as `agentlab classify FILE --json` prints it. Raises RowError, OSError."""
    with path.open("rb") as lines:
        for answer in read_answers(lines, path.name):
            if kind == "quality":
                yield _quality(answer)
            else:
                yield _shown(answer.id, OF_ANSWERS[kind](answer.prompt, answer.response))


async def judged_rows(
    path: Path, kind: AnswerKind, judge: str, key_variable: str = ""
) -> AsyncIterator[dict[str, Any]]:
    """The same by a judge model. Raises RowError, OSError, ConfigError, ModelError."""
    async with _asked(judge, key_variable) as (ask, author):
        with path.open("rb") as lines:
            for answer in read_answers(lines, path.name):
                labelled = await judge_answer(kind, answer.prompt, answer.response, ask, author)
                yield _shown(answer.id, labelled)


def labels_of_run(run_dir: Path, kinds: Iterable[Kind] = OF_RUNS) -> Iterator[tuple[str, Label]]:
    """What classifiers say of the last attempt of each trial that was answered, and the rules of conduct of its steps.
    Raises StoreError.
    """
    wanted = tuple(kinds)
    with RunReader(run_dir) as reader:
        for row in reader.trials():
            trace = trace_of(reader.events(row.trial, row.attempt), row)
            for kind, label in OF_ANSWERS.items():
                if kind in wanted and trace.turns:
                    for each in _as_labels(kind, label(trace.prompt, trace.answer), row):
                        yield _name(row), each
            if "conduct" in wanted:
                for finding in find_conduct(trace):
                    yield (
                        _name(row),
                        Label(
                            trial=row.trial,
                            attempt=row.attempt,
                            name="conduct",
                            value=finding.conduct,
                            source="detector",
                            author=CONDUCT_VERSION,
                            seq=finding.seq,
                            note=finding.quote,
                        ),
                    )


async def judged_labels_of_run(
    run_dir: Path, kind: AnswerKind, judge: str, key_variable: str = ""
) -> AsyncIterator[tuple[str, Label]]:
    """What a judge model says of each trial's answer; where it abstains, nothing. Raises StoreError, ModelError."""
    async with _asked(judge, key_variable) as (ask, author):
        with RunReader(run_dir) as reader:
            for row in reader.trials():
                trace = trace_of(reader.events(row.trial, row.attempt), row)
                if not trace.turns:
                    continue
                labelled = await judge_answer(kind, trace.prompt, trace.answer, ask, author)
                if labelled.label != UNKNOWN:
                    for label in _as_labels(kind, labelled, row):
                        yield _name(row), label


def _name(row: AttemptRow) -> str:
    return f"{row.task}/{row.sample}@{row.epoch}"


def _shown(name: str, labelled: Labelled) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": name,
        "label": labelled.label,
        "score": round(labelled.score, 4),
        "source": labelled.source,
        "author": labelled.author,
    }
    if labelled.deflection is not None:
        shown["deflection"] = labelled.deflection
    return shown


def _quality(answer: Answer) -> dict[str, Any]:
    quality = refusal_quality(answer.prompt, answer.response, answer.should_refuse)
    share = quality.points / (10 if quality.decision is None else 12)
    found = {"id": answer.id, "label": quality.verdict, "score": round(share, 4), "source": "rules"}
    return found | {name: value for name, value in msgspec.structs.asdict(quality).items() if name != "verdict"}


def _as_labels(kind: AnswerKind, labelled: Labelled, row: AttemptRow) -> Iterator[Label]:
    source: Literal["judge", "classifier"] = "judge" if labelled.source == "judge" else "classifier"
    guide = GUIDE if source == "judge" else ""
    score = None if source == "judge" else round(labelled.score, 4)
    label = Label(
        trial=row.trial,
        attempt=row.attempt,
        name=kind,
        value=labelled.label,
        source=source,
        author=labelled.author,
        confidence=score,
        guide=guide,
    )
    yield label
    if labelled.deflection:
        yield msgspec.structs.replace(label, name="deflection", value="yes", confidence=None)


@asynccontextmanager
async def _asked(judge: str, key_variable: str) -> AsyncIterator[tuple[Judge, str]]:
    from agentlab.models.options import ClientOptions
    from agentlab.models.resolve import parse_model
    from agentlab.service.judge import named_judge

    async with named_judge(judge, ClientOptions(purpose="judge", api_key_env=key_variable)) as make_judge:
        # What a judge was asked is no part of the trial's trace, which is only read here.
        yield make_judge(ListRecorder()), parse_model(judge).label
