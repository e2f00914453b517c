"""The stage for stored trials: their run's own tasks and harness planned again, boxes opened, one trial carried out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from agentlab.models.recorded import RecordedModel
from agentlab.service.boxes import offered_by
from agentlab.service.harness import ConfigError, with_settings
from agentlab.service.judge import ModelJudge
from agentlab.service.launch import expect_boxes, open_boxes, setting_for
from agentlab.service.planner import EXTERNAL, Refusal, Route
from agentlab.service.prepare import PlanRow, prepare
from agentlab.service.prompt import Prompt, prompt_for
from agentlab.service.resume import stored_config, stored_harness
from agentlab.service.trial import Result, Setting, attempt
from agentlab.tasks.differences import diff_payloads
from agentlab.tasks.loading import located_samples
from agentlab.tasks.prompting import load_fewshot
from agentlab.tasks.types import Sample, Scorer, Task
from agentlab.traces.events import ListRecorder, ModelCall, Note, Recorder
from agentlab.traces.steps import Trace, trace_of

if TYPE_CHECKING:
    from agentlab.models.protocol import Model
    from agentlab.sandboxes.pool import Pool
    from agentlab.sandboxes.protocol import Say
    from agentlab.service.config import RunConfig, SandboxName
    from agentlab.service.judge import MakeJudge
    from agentlab.service.prepare import Plan
    from agentlab.traces.reader import RunReader
    from agentlab.traces.rows import AttemptRow

TRIES = 2
"""Attempts at a trial whose box was lost."""


@dataclass(frozen=True, slots=True)
class Again:
    """A stored trial, with all that it takes to carry it out once more."""

    row: AttemptRow
    sample: Sample
    setting: Setting
    prompt: Prompt

    @property
    def route(self) -> Route:
        assert isinstance(self.setting.route, Route), "refusals are told apart before"
        return self.setting.route


@dataclass(frozen=True, slots=True)
class Left:
    """A stored trial that cannot be carried out again, and why."""

    row: AttemptRow
    reason: str


@dataclass(frozen=True, slots=True)
class Stage:
    """What a run's trials are carried out on again. `remarks` say what is no longer as it was."""

    plan: Plan
    trials: tuple[Again, ...]
    left: tuple[Left, ...]
    remarks: tuple[str, ...]

    @asynccontextmanager
    async def boxes(self, say: Say) -> AsyncIterator[Pool | None]:
        """The boxes of these trials, and no others. Raises SandboxError where the engine is absent."""
        async with open_boxes(self.plan, say) as (pool, _):
            yield pool

    def expect(self, pool: Pool | None) -> None:
        """Have the boxes of these trials started ahead, each once."""
        if pool is not None:
            expect_boxes(self.plan, pool, len(self.trials))


def set_stage(
    reader: RunReader,
    rows: Sequence[AttemptRow],
    *,
    sandbox: SandboxName | None = None,
    max_sandboxes: int | None = None,
    scorers: tuple[Scorer, ...] = (),
    model: str | None = "nop",
    settings: tuple[str, ...] = (),
) -> Stage:
    """Plan `rows` of a stored run again, by its own configuration; `scorers` grade in place of the tasks' own.
    `model` (None: the run's own) is who is asked where anybody is; `settings` are laid over the harness.

    Raises ConfigError where the run's configuration cannot be used, or none of its tasks can be loaded any more.
    """
    document = reader.document()
    if document.get("provider") == "imported":
        raise ConfigError(f"run {reader.run_dir.name} was imported: it has no task and no harness to carry it out with")
    given: dict[str, Any] = {"max_sandboxes": max_sandboxes, "model": model}
    if settings:
        given["harness"] = with_settings(stored_harness(document), settings)
    config = _config(document, given, sandbox)
    plan = prepare(config, partial(offered_by, config.sandbox), scorers=scorers)
    problems = {problem.name: problem.message for problem in plan.problems}
    tasks = {found.task.name: found.task for found in plan.surveys}
    wanted: dict[str, list[AttemptRow]] = {}
    for row in rows:
        wanted.setdefault(row.task, []).append(row)
    trials: list[Again] = []
    left: list[Left] = []
    for name, of_task in wanted.items():
        if name not in tasks:
            reason = problems.get(name) or "the run's tasks no longer hold it"
            left += [Left(row, f"task {name}: {reason}") for row in of_task]
            continue
        for found in _of_task(plan, tasks[name], of_task):
            if isinstance(found, Again):
                trials.append(found)
            else:
                left.append(found)
    trials.sort(key=lambda again: again.row.trial)
    left.sort(key=lambda one: one.row.trial)
    routes: dict[int, tuple[Again, int]] = {}
    for again in trials:
        known = routes.get(id(again.route))
        routes[id(again.route)] = (again, known[1] + 1 if known else 1)
    needed = tuple(PlanRow(again.row.task, n, again.route) for again, n in routes.values())
    remarks = _changes(document.get("tasks", {}), plan, set(wanted), bool(scorers))
    return Stage(replace(plan, rows=needed), tuple(trials), tuple(left), tuple(remarks))


def _config(document: dict[str, Any], given: dict[str, Any], sandbox: SandboxName | None) -> RunConfig:
    """The stored configuration, to carry out all samples: which of them is asked for by name."""
    config = stored_config(document, {name: value for name, value in given.items() if value is not None})
    return config.model_copy(update={"limit": None, "epochs": 1, **({"sandbox": sandbox} if sandbox else {})})


def _of_task(plan: Plan, task: Task, rows: Iterable[AttemptRow]) -> Iterable[Again | Left]:
    by_sample: dict[str, list[AttemptRow]] = {}
    for row in rows:
        by_sample.setdefault(row.sample, []).append(row)
    settings: dict[int, Setting] = {}
    examples = load_fewshot(task)
    for _, sample in located_samples(task):
        for row in by_sample.pop(sample.id, ()):
            route = plan.planner.route(task, sample)
            if isinstance(route, Refusal):
                yield Left(row, f"its sample {route.reason}")
                continue
            if route.scaffold == EXTERNAL:
                yield Left(row, "it was carried out by a program of its task's own")
                continue
            setting = settings.setdefault(id(route), setting_for(plan, task, route, None))
            try:
                yield Again(row, sample, setting, prompt_for(setting, sample, examples))
            except Exception as error:  # noqa: BLE001  the boundary: a prompt that cannot be built ends no other trial
                yield Left(row, f"its prompt cannot be built: {type(error).__name__}: {error}")
    for missing in by_sample.values():
        yield from (Left(row, f"task {task.name} no longer has the sample {row.sample}") for row in missing)


def _changes(stored: dict[str, Any], plan: Plan, wanted: set[str], other_scorers: bool) -> Iterable[str]:
    """What is no longer as the run hashed it, a sentence a task."""
    for found in plan.surveys:
        name = found.task.name
        before = stored.get(name, {}).get("task")
        if name not in wanted or not before:
            continue
        now = found.identity.payload
        if other_scorers:
            before, now = ({k: v for k, v in payload.items() if k != "scorers"} for payload in (before, now))
        if before != now:
            changes = diff_payloads(before, now)
            more = f" (and {len(changes) - 1} more)" if len(changes) > 1 else ""
            yield f"task {name} is not what it was: {changes[0] if changes else 'its identity differs'}{more}"


def stored_trace(reader: RunReader, row: AttemptRow, *, images: bool = False) -> Trace:
    """The trace of an attempt; with `images` their bytes, which a model must be sent again."""
    return Trace(events=tuple(reader.events(row.trial, row.attempt, images=images)), row=row)


def agent_calls(trace: Trace) -> tuple[ModelCall, ...]:
    """What the agent's model was asked and answered, in order."""
    calls = (stored.event for stored in trace.of(ModelCall))
    return tuple(call for call in calls if isinstance(call, ModelCall) and call.purpose == "agent")


def cannot_replay(again: Again, trace: Trace) -> str:
    """Why recorded answers cannot be served again; empty where they can."""
    if again.row.outcome is None:
        return "the attempt has no end: its run was killed, or is still at it"
    if not agent_calls(trace):
        return "no model call is recorded of it"
    if any(isinstance(s.event, Note) and s.event.data.get("system") for s in trace.of(Note)):
        return "it is a fork whose system prompt was changed on the way"
    steps = sum(isinstance(s.event, Note) and "step" in s.event.data for s in trace.of(Note))
    if steps > 1 and trace.limit is not None:
        return "a limit ended one of several steps of its task, and which answers belong to which is not recorded"
    return ""


def recorded_model(trace: Trace) -> RecordedModel:
    """The trace's own answers, served whatever is asked: what was asked is compared afterwards, as it was recorded."""
    return RecordedModel(agent_calls(trace), strict=False)


def recorded_judge(trace: Trace) -> MakeJudge | None:
    """The judge's own answers in order; None where none was asked."""
    calls = [s.event for s in trace.of(ModelCall) if isinstance(s.event, ModelCall) and s.event.purpose == "judge"]
    if not calls:
        return None
    model = RecordedModel(calls, strict=False, name="recorded judge")
    return lambda recorder: ModelJudge(model, recorder)


def as_recorded(setting: Setting, trace: Trace) -> Setting:
    """The setting in which recorded answers are served to their end: as many turns, and no other limit.

    A limit that ended the trial then ends it at the same turn, whatever the clock says now.
    """
    limits = replace(setting.limits, turns=len(agent_calls(trace)), time_s=None, tokens=None, cost_usd=None)
    return replace(setting, limits=limits, judge=setting.judge or recorded_judge(trace), snapshots=0)


async def carry_out(
    again: Again, setting: Setting, model: Model, pool: Pool | None, recorder: Recorder, epoch: int
) -> Result:
    """One attempt, by the same code as a run's."""
    return await attempt(setting, again.sample, again.prompt, model, pool, recorder, epoch)


async def replayed(again: Again, setting: Setting, trace: Trace, pool: Pool | None) -> tuple[Trace, Result]:
    """The trial with its recorded answers served again, in a fresh box; a box that was lost is replaced once."""
    tries = 0
    while True:
        tries += 1
        recorder = ListRecorder()
        result = await carry_out(again, setting, recorded_model(trace), pool, recorder, again.row.epoch)
        if not result.retry or tries == TRIES:
            return trace_of(recorder.events), result


def error_of(result: Result) -> str:
    """Why a trial was not carried out to its end, where that is no matter of the agent; empty where it was."""
    if result.outcome in ("sandbox", "task"):
        return f"{result.outcome} error: {result.error_message}"
    return ""
