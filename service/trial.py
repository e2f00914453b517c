"""One attempt at one trial: agent, then scorer, each failure caught once at its boundary and turned into an outcome."""

from __future__ import annotations

import inspect
import math
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import msgspec

from agentlab.models.protocol import ModelError
from agentlab.models.scripted import ReferenceModel
from agentlab.sandboxes.protocol import SandboxError
from agentlab.scaffolds import open_scaffold
from agentlab.scaffolds.episode import AgentLimits, Episode
from agentlab.service.boxes import Lease, Purpose
from agentlab.service.planner import Refusal, Route
from agentlab.service.prompt import Prompt
from agentlab.service.raised import said_and_where
from agentlab.service.steps import StepUnderWay
from agentlab.service.workspaces import keeping
from agentlab.tasks.types import (
    Procedure,
    Sample,
    Score,
    ScoreContext,
    Scorer,
    Submission,
    Task,
    TaskError,
    Terms,
    Work,
)
from agentlab.traces.events import ErrorRaised, Flag, LimitReached, Note, Outcome, Recorder, Scored, Usage

if TYPE_CHECKING:
    from agentlab.models.protocol import Model, Sampling
    from agentlab.models.tools import Tool
    from agentlab.sandboxes.pool import Pool
    from agentlab.sandboxes.protocol import Sandbox
    from agentlab.service.judge import MakeJudge


@dataclass(frozen=True, slots=True)
class Setting:
    """What all attempts of one task at one route share."""

    task: Task
    route: Route | Refusal
    sampling: Sampling
    tools: Mapping[str, Tool] = field(default_factory=dict)
    limits: AgentLimits = field(default_factory=AgentLimits)
    send_reasoning: bool = False
    judge: MakeJudge | None = None
    system: str = ""
    """The harness's system prompt, where its scaffold is the one that runs."""
    terms: Terms = field(default_factory=Terms)
    """What the run allows the tasks of others."""
    snapshots: int = 0
    """The workspace is kept before every so many turns; 0: never."""


@dataclass(slots=True)
class Result:
    """How an attempt ended, as it is stored."""

    outcome: Outcome
    value: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    flags: tuple[Flag, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    sandbox_seconds: float = 0.0
    error_kind: str = ""
    error_message: str = ""
    retry: bool = False
    """The place failed, not the agent: worth another attempt on a new box."""


class _Ended(Exception):  # noqa: N818  an ending, not always an error
    """The attempt ended at a boundary."""

    def __init__(self, outcome: Outcome, kind: str, message: str, *, detail: str = "", retry: bool = False) -> None:
        super().__init__(message)
        self.outcome: Outcome = outcome
        self.kind = kind
        self.detail = detail
        self.retry = retry


FINAL_SANDBOX_KINDS = frozenset({"image", "unsupported", "unavailable"})
"""Failures that another box would meet again."""


async def attempt(
    setting: Setting, sample: Sample, prompt: Prompt, model: Model, pool: Pool | None, recorder: Recorder, epoch: int
) -> Result:
    """Carry out one attempt. Never raises but for cancellation: what fails becomes an outcome, with its events
    recorded.
    """
    route = setting.route
    if isinstance(route, Refusal):
        return _record_end(recorder, _Ended("task", "unroutable", f"sample {sample.id} {route.reason}"))
    if route.spec is None:
        return await _Attempt(setting, route, sample, prompt, model, recorder, epoch).carry_out()
    assert pool is not None, "boxes are opened for every plan that has a route with one"
    unready = pool.failed_images.get(route.spec.image)
    if unready is not None:
        # At once: whether such a trial counts must not hang on whether its agent happens to touch the box.
        return _record_end(recorder, _sandbox_ended(unready))
    purpose: Purpose = "scorer" if route.agent.where == "direct" else "agent"
    archive = prompt.begun.workspace if prompt.begun is not None else None
    lease = Lease(pool, route.spec, sample.files, recorder, purpose, archive)
    return await _Attempt(setting, route, sample, prompt, model, recorder, epoch, lease).carry_out_in_box(lease)


MEMORY_TRIES = 2
"""Boxes that one trial may fill until they are killed for it, before that counts as its own failure."""


def failed_for_memory(setting: Setting, route: Route, recorder: Recorder, tries: int, message: str) -> Result:
    """A trial that filled the memory of every box that it was given has failed: score 0, with a flag that says why.

    All memory of a box is its programs' own. Left out of the score, as a failure of the place is, such a trial would
    show a way out of every task that is too hard.
    """
    flags: tuple[Flag, ...] = ("memory_limit",)
    now = time.time()
    limit = float(route.spec.limits.memory_mb) if route.spec is not None else 0.0
    recorder.record(LimitReached(at=now, limit="memory_limit", value=limit))
    told = f"nothing to grade: killed for memory in each of {tries} boxes; the last time {message}"
    scorers = setting.task.scorers
    for scorer in scorers:
        scored = Scored(
            at=now, scorer=scorer.name, version=scorer.version, value=0.0, explanation=told[:4096], flags=flags
        )
        recorder.record(scored)
    return Result("scored", 0.0, {scorer.name: 0.0 for scorer in scorers[1:]}, flags)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One try at a sample that can be routed, everything in hand."""

    setting: Setting
    route: Route
    sample: Sample
    prompt: Prompt
    model: Model
    recorder: Recorder
    epoch: int
    lease: Lease | None = None
    """Where the agent or the scorer needs a box."""

    async def carry_out_in_box(self, lease: Lease) -> Result:
        """`carry_out`, with the agent's box taken before it and given back at the end.

        No model is asked before there is a box: its first turn would wait for one, and be lost where none can be had.
        """
        result = Result("cancelled", error_kind="stopped")
        async with lease, anyio.create_task_group() as group:
            try:
                if self.route.agent.where != "direct":
                    with _failures_end_the_attempt():
                        await lease.take()
                    group.start_soon(lease.lay_files)
            except _Ended as ended:
                result = _record_end(self.recorder, ended)
            else:
                result = await self.carry_out()
            group.cancel_scope.cancel()
        result.sandbox_seconds = lease.seconds
        return result

    async def carry_out(self) -> Result:
        """Agent, then scorer; where one of them ends the attempt, that is recorded and becomes the outcome."""
        try:
            if self.setting.task.procedure is not None and self.lease is not None:
                return await self._follow(self.setting.task.procedure, self.lease)
            submission = await self._run_agent()
            box = None
            if self.lease is not None:
                if self.route.scorer.where != "direct":
                    box = await _grading_box(self.route, self.lease)
                if self.setting.task.answer_file and self.route.agent.where != "direct":
                    place = box or await _quiet_box(self.lease)
                    submission = await _with_answer_file(self.setting.task, submission, place)
            score = await self._run_scorers(submission, box)
        except _Ended as ended:
            return _record_end(self.recorder, ended)
        flags = tuple(dict.fromkeys((*submission.flags, *score.flags)))
        return Result("scored", score.value, score.scores, flags, score.labels)

    async def _follow(self, procedure: Procedure, lease: Lease) -> Result:
        """Step by step, each graded before the next is taken."""
        flags: list[Flag] = []
        scores: list[Score] = []
        try:
            steps = procedure.steps(self.sample)
        except TaskError as error:
            raise _Ended("task", "task", str(error)) from None
        for step in steps:
            if step.name:
                self.recorder.record(Note(at=time.time(), text=f"step {step.name}", data={"step": step.name}))
            verifier = self.route.verifiers.get(step.name)
            under_way = StepUnderWay(
                self.setting.task,
                procedure,
                self.sample,
                step,
                lease,
                self.recorder,
                self.setting.terms,
                verifier[0] if verifier else None,
                step is steps[-1],
            )
            submission = await self._run_agent(under_way)
            with _failures_end_the_attempt():
                work = await under_way.work()
            score = await self._run_scorers(submission, work.sandbox, work)
            flags.extend((*submission.flags, *score.flags))
            scores.append(score)
            if not procedure.goes_on(self.sample, step, score):
                break
        combined = procedure.combine(self.sample, scores)
        return Result("scored", combined.value, combined.scores, tuple(dict.fromkeys(flags)), combined.labels)

    async def _run_agent(self, step: StepUnderWay | None = None) -> Submission:
        setting, lease, begun = self.setting, self.lease, self.prompt.begun
        every = setting.snapshots if step is None else 0
        episode = Episode(
            sample=self.sample,
            model=keeping(self.model, self.route, lease, every, self.recorder, begun),
            recorder=self.recorder,
            messages=self.prompt.messages,
            prompt=self.prompt.text,
            continuations=self.prompt.continuations,
            sampling=epoch_sampling(setting.sampling, self.epoch),
            tools=setting.tools,
            box=lease.get if lease is not None and self.route.agent.where != "direct" else None,
            limits=setting.limits,
            epoch=self.epoch,
            send_reasoning=setting.send_reasoning,
            turns=begun.turns if begun is not None else 0,
            usage=begun.usage if begun is not None else Usage(),
        )
        try:
            if step is None:
                return await open_scaffold(self.route.scaffold)(episode)
            if isinstance(self.model, ReferenceModel):
                return await step.solve(episode)
            return await open_scaffold(self.route.scaffold)(step.episode(episode, setting.system))
        except ModelError as error:
            outcome: Outcome = "cancelled" if error.kind == "cost_limit" else "model"
            raise _Ended(outcome, error.kind, str(error)) from None
        except SandboxError as error:
            raise _sandbox_ended(error) from None
        except TaskError as error:
            raise _Ended("task", "task", str(error)) from None
        except Exception as error:  # noqa: BLE001  the boundary: a defect met by one trial must not end the others
            detail = traceback.format_exc()
            raise _Ended("task", "internal", f"{type(error).__name__}: {error}", detail=detail) from None

    async def _run_scorers(self, submission: Submission, box: Sandbox | None, work: Work | None = None) -> Score:
        """All scorers' verdicts as one: the first one's value, the others as named scores."""
        judge = self.setting.judge(self.recorder) if self.setting.judge is not None else None
        context = ScoreContext(box, judge, self.recorder, work)
        headline: float | None = None
        scores: dict[str, float] = {}
        flags: list[Flag] = []
        labels: list[tuple[str, str]] = []
        for scorer in self.setting.task.scorers:
            scored, told = await _grade(scorer, self.sample, submission, context)
            self.recorder.record(scored)
            labels.extend(told)
            scores.update(scored.scores)
            flags.extend(scored.flags)
            if headline is None:
                headline = scored.value
            else:
                scores[scorer.name] = scored.value
        if headline is None:
            raise _Ended("task", "no_scorer", f"task {self.setting.task.name} declares no scorer")
        return Score(value=headline, scores=scores, flags=tuple(flags), labels=tuple(labels))


def epoch_sampling(sampling: Sampling, epoch: int) -> Sampling:
    """A fixed seed plus the number of epochs before: else all epochs of a sample would draw the same answer."""
    if sampling.seed is None or epoch <= 1:
        return sampling
    return msgspec.structs.replace(sampling, seed=sampling.seed + epoch - 1)


async def _grading_box(route: Route, lease: Lease) -> Sandbox:
    """The box to grade in: the agent's own with every process of the agent dead, or a fresh one."""
    if route.shared_box:
        return await _quiet_box(lease)
    with _failures_end_the_attempt():
        await lease.take()
        await lease.lay_files()
        return await lease.get()


async def _quiet_box(lease: Lease) -> Sandbox:
    """The agent's own box with every process of the agent dead."""
    with _failures_end_the_attempt():
        box = await lease.get()
        await box.quiesce()
        return box


@contextmanager
def _failures_end_the_attempt() -> Iterator[None]:
    """What goes wrong with a box, or with the files that a task lays into it."""
    try:
        yield
    except SandboxError as error:
        raise _sandbox_ended(error) from None
    except TaskError as error:
        raise _Ended("task", "task", str(error)) from None


async def _with_answer_file(task: Task, submission: Submission, box: Sandbox) -> Submission:
    """The submission with the text of the task's answer file, where the agent wrote one."""
    try:
        with _failures_end_the_attempt():
            data = await box.read_file(task.answer_file, max_bytes=1 << 20)
    except (ValueError, OSError):  # no such file, no regular file, or a longer one than an answer is
        return submission
    flags = tuple(flag for flag in submission.flags if flag != "empty")
    return msgspec.structs.replace(submission, answer=data.decode("utf-8", "replace"), flags=flags)


async def _grade(
    scorer: Scorer, sample: Sample, submission: Submission, context: ScoreContext
) -> tuple[Scored, tuple[tuple[str, str], ...]]:
    """One scorer's verdict, as it is recorded, and its labels."""
    try:
        verdict = scorer.grade(sample, submission, context)
        score = await verdict if inspect.isawaitable(verdict) else verdict
        if not isinstance(score, Score):
            raise TypeError(f"it returned {score!r:.80}, which is no Score: return Score(value=...)")
        value = float(score.value)
        named = {name: float(number) for name, number in score.scores.items()}
    except SandboxError as error:
        raise _sandbox_ended(error) from None
    except ModelError as error:
        # A judge that was not asked for want of money is no verdict on the scorer: a resume asks it.
        outcome: Outcome = "cancelled" if error.kind == "cost_limit" else "verifier"
        raise _Ended(outcome, error.kind, f"scorer {scorer.name}: judge: {error}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001  the boundary: what a scorer raises is its own failure
        detail, said = traceback.format_exc(), said_and_where(error)
        raise _Ended("verifier", type(error).__name__, f"scorer {scorer.name}: {said}", detail=detail) from None
    for name, number in {"value": value, **named}.items():
        if not math.isfinite(number):
            raise _Ended("verifier", "nan", f"scorer {scorer.name} returned {number} as {name}: no finite number")
    low, high = scorer.scale
    if not low <= value <= high:
        said = f"scorer {scorer.name} returned {value:g}: a value is between {low:g} and {high:g}"
        raise _Ended("verifier", "range", f"{said}, or its Scorer says scale=(LEAST, MOST)")
    scored = Scored(
        at=time.time(),
        scorer=scorer.name,
        version=scorer.version,
        value=value,
        scores=named,
        answer=score.answer[:4096],
        target=_target_text(sample)[:4096],
        explanation=score.explanation[:4096],
        flags=score.flags,
    )
    return scored, score.labels


def _target_text(sample: Sample) -> str:
    return sample.target if isinstance(sample.target, str) else " | ".join(sample.target)


def _sandbox_ended(error: SandboxError) -> _Ended:
    return _Ended("sandbox", error.kind, str(error), retry=error.kind not in FINAL_SANDBOX_KINDS)


def _record_end(recorder: Recorder, ended: _Ended) -> Result:
    recorder.record(
        ErrorRaised(
            at=time.time(), boundary=ended.outcome, kind=ended.kind, message=str(ended), detail=ended.detail[:8192]
        )
    )
    return Result(ended.outcome, error_kind=ended.kind, error_message=str(ended), retry=ended.retry)
