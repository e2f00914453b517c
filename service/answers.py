"""Labels of answers: of rows in a file, or of the trials of a stored run with what agents did in them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from agentlab.service.safety_rates import NOTHING
from agentlab.tasks.types import SafetyKind
from agentlab.traces.classifiers.answers import Answer, read_answers
from agentlab.traces.detectors.acts import SUBMITTERS
from agentlab.traces.events import Judge, ListRecorder, Outcome
from agentlab.traces.reader import RunReader
from agentlab.traces.rows import AttemptRow, Label
from agentlab.traces.safety.answers import Labelled, label_action, label_harm, label_refusal
from agentlab.traces.safety.conduct import VERSION as CONDUCT_VERSION
from agentlab.traces.safety.conduct import find_conduct
from agentlab.traces.safety.judging import GUIDE, UNKNOWN, AnswerKind, judge_answer
from agentlab.traces.safety.quality import refusal_quality
from agentlab.traces.safety.weights import harm_weights, refusal_weights
from agentlab.traces.steps import Trace, trace_of

OF_ANSWERS: Mapping[AnswerKind, Callable[[str, str], Labelled]] = {
    "refusal": label_refusal,
    "harm": label_harm,
    "action": label_action,
}
OF_RUNS: tuple[SafetyKind, ...] = get_args(SafetyKind)


def author_of(kind: SafetyKind) -> str:
    """Who gives labels of a kind where no model is asked, with its version."""
    if kind == "conduct":
        return CONDUCT_VERSION
    return (refusal_weights() if kind == "refusal" else harm_weights()).author(kind)


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


def safety_of(kind: SafetyKind, trace: Trace, trial: int, attempt: int, outcome: Outcome | None) -> Iterator[Label]:
    """The labels of one kind that an attempt is given without a model; of its answer only where there is one."""
    if kind == "conduct":
        yield from _conduct(trace, trial, attempt)
    elif (answer := _answer(trace, outcome)) is not None:
        yield from _as_labels(kind, OF_ANSWERS[kind](trace.prompt, answer), trial, attempt)


def _answer(trace: Trace, outcome: Outcome | None) -> str | None:
    """The last thing that was said, or handed in; None where that is no answer. Where an error ended the trial it is
    whatever came before, and an agent that did its work by tools without a word has neither complied nor refused.
    """
    if not trace.turns or outcome not in ("scored", "verifier"):
        return None
    if trace.answer or not trace.tool_steps:
        return trace.answer
    calls = [step.call for step in reversed(trace.tool_steps) if step.call is not None]
    submitted = [call.arguments.get("answer") for call in calls if call.name in SUBMITTERS]
    return next((text for text in submitted if isinstance(text, str) and text.strip()), None)


def _conduct(trace: Trace, trial: int, attempt: int) -> Iterator[Label]:
    looked = Label(
        trial=trial, attempt=attempt, name="conduct", value=NOTHING, source="detector", author=CONDUCT_VERSION
    )
    findings = find_conduct(trace)
    if not findings:
        yield looked
    for finding in findings:
        yield msgspec.structs.replace(looked, value=finding.conduct, seq=finding.seq, note=finding.quote)


async def judged_labels_of_run(
    run_dir: Path, kind: AnswerKind, judge: str, key_variable: str = ""
) -> AsyncIterator[tuple[str, Label]]:
    """What a judge model says of each trial's answer; where it abstains, nothing. Raises StoreError, ModelError."""
    async with _asked(judge, key_variable) as (ask, author):
        with RunReader(run_dir) as reader:
            for row in reader.trials():
                trace = trace_of(reader.events(row.trial, row.attempt), row)
                answer = _answer(trace, row.outcome)
                if answer is None:
                    continue
                labelled = await judge_answer(kind, trace.prompt, answer, ask, author)
                if labelled.label != UNKNOWN:
                    for label in _as_labels(kind, labelled, row.trial, row.attempt):
                        yield name_of(row), label


def name_of(row: AttemptRow) -> str:
    """What a trial is called on a command line."""
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


def _as_labels(kind: AnswerKind, labelled: Labelled, trial: int, attempt: int) -> Iterator[Label]:
    source: Literal["judge", "classifier"] = "judge" if labelled.source == "judge" else "classifier"
    guide = GUIDE if source == "judge" else ""
    score = None if source == "judge" else round(labelled.score, 4)
    label = Label(
        trial=trial,
        attempt=attempt,
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
