"""Forks: a stored trial started again at a step, with another model, prompt or action, as a run of its own."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from agentlab import __version__
from agentlab.analysis.statistics import wilson
from agentlab.models.presence import Departures
from agentlab.models.prices import CostMeter
from agentlab.service.boxes import isolation_of
from agentlab.service.environment import describe_environment
from agentlab.service.harness import ConfigError
from agentlab.service.judge import open_judge
from agentlab.service.launch import SCHEMA, open_models
from agentlab.service.prepare import plan_table
from agentlab.service.replay.crew import each
from agentlab.service.replay.handover import Change, HandoverModel
from agentlab.service.replay.stage import Again, Stage, agent_calls, cannot_replay, carry_out
from agentlab.service.run_id import new_run_id
from agentlab.service.summary import compute_summary
from agentlab.service.trial import Setting
from agentlab.traces.events import ErrorRaised, ModelCall, Note, Outcome
from agentlab.traces.steps import Trace
from agentlab.traces.store import RunStore

if TYPE_CHECKING:
    from agentlab.sandboxes.pool import Pool
    from agentlab.sandboxes.protocol import Say
    from agentlab.service.board import Board
    from agentlab.service.models import ModelSource

Kind: TypeAlias = Literal["fork", "locate"]


@dataclass(frozen=True, slots=True)
class Origin:
    """The trial that is forked, its turns, and where each stands in the trace as `traces show` numbers it."""

    run: Path
    again: Again
    calls: tuple[ModelCall, ...]
    steps: tuple[int, ...]
    last: int
    """The last step of the trace."""

    def turn_of(self, step: int) -> int:
        """The turn that a step belongs to: itself, or the last one before it. Raises ConfigError."""
        turns = [turn for turn, place in enumerate(self.steps) if place <= step]
        if not turns or step > self.last:
            shown = ", ".join(map(str, self.steps[:12])) + (", ..." if len(self.steps) > 12 else "")
            raise ConfigError(f"there is no turn of the agent at step {step}; its turns are steps {shown}")
        return turns[-1]


class Forked(msgspec.Struct, frozen=True, kw_only=True):
    """One fork that was carried out: a trial of the new run."""

    trial: int
    turn: int
    """The first turn that was not served from the recording, counted from 0."""
    step: int
    """The same, as `traces show` numbers it in the origin."""
    outcome: Outcome
    value: float | None = None
    error: str = ""


class Chance(msgspec.Struct, frozen=True, kw_only=True):
    """How often forks succeeded. Those that ended in an error are left out and counted."""

    forks: int
    successes: int
    left_out: int
    value: float | None
    ci95: tuple[float, float] | None
    """Wilson's interval."""


def chance(forked: Sequence[Forked], success: float) -> Chance:
    """P(success), where a value of `success` or more is one."""
    values = [one.value for one in forked if one.outcome == "scored" and one.value is not None]
    won = sum(value >= success - 1e-9 for value in values)
    return Chance(
        forks=len(values),
        successes=won,
        left_out=len(forked) - len(values),
        value=won / len(values) if values else None,
        ci95=wilson(won, len(values)) if values else None,
    )


def origin_of(run: Path, again: Again, trace: Trace) -> Origin:
    """Raises ConfigError where a trial cannot be forked."""
    told = f"trial {again.row.trial} cannot be forked"
    if reason := cannot_replay(again, trace):
        raise ConfigError(f"{told}: {reason}")
    calls = agent_calls(trace)
    if any(call.prompt for call in calls):
        raise ConfigError(f"{told}: it answers a raw prompt, and has no turns")
    turns = (s for s in trace.of(ModelCall) if isinstance(s.event, ModelCall) and s.event.purpose == "agent")
    return Origin(run, again, calls, tuple(stored.seq + 1 for stored in turns), trace.events[-1].seq + 1)


@dataclass(slots=True)
class Forks:
    """A run of forks under way."""

    origin: Origin
    change: Change
    setting: Setting
    models: ModelSource
    pool: Pool | None
    store: RunStore
    board: Board
    made: list[Forked] = field(default_factory=list)

    async def at(self, turns: Sequence[int]) -> list[Forked]:
        """Fork at each of these turns, many at once; stored, and durable, when it returns. Raises StoreError."""
        first = len(self.made) + 1
        forked: list[Forked] = []

        async def one(job: tuple[int, int]) -> None:
            forked.append(await self._fork(*job))

        route = self.origin.again.route
        if self.pool is not None and route.spec is not None:
            self.pool.expect(route.spec, len(turns))
        await each(one, list(enumerate(turns, first)), self.pool)
        forked.sort(key=lambda fork: fork.trial)
        self.made += forked
        return forked

    async def _fork(self, trial: int, turn: int) -> Forked:
        again, step = self.origin.again, self.origin.steps[turn]
        recorder = self.store.attempt(
            trial,
            task=again.row.task,
            sample=again.row.sample,
            epoch=trial,
            attempt=1,
            route=again.route.document(),
            cluster=again.sample.cluster,
            group=again.sample.group,
        )
        told = f"forked from {self.origin.run.name}, trial {again.row.trial}, at step {step}"
        data = {"fork": self.origin.run.name, "trial": again.row.trial, "at": step}
        data |= {"system": True} if self.change.system is not None else {}
        recorder.record(Note(at=time.time(), text=told, data=data))
        try:
            live = self.models.for_trial(self.setting.task, again.sample, again.route, trial)
            model = HandoverModel(self.origin.calls, turn, live, self.change)
            result = await carry_out(again, self.setting, model, self.pool, recorder, trial)
        except BaseException:
            stopped = ("stopped", "the run was stopped")
            recorder.record(ErrorRaised(at=time.time(), boundary="cancelled", kind=stopped[0], message=stopped[1]))
            recorder.finish("cancelled", error=stopped)
            raise
        recorder.finish(
            result.outcome,
            value=result.value,
            scores=result.scores,
            flags=result.flags,
            sandbox_seconds=result.sandbox_seconds,
            error=(result.error_kind, result.error_message) if result.error_kind else None,
        )
        await recorder.durable()
        self.board.trial_ended(again.row.task, result)
        return Forked(
            trial=trial,
            turn=turn,
            step=step,
            outcome=result.outcome,
            value=result.value if result.outcome == "scored" else None,
            error=result.error_message,
        )


@asynccontextmanager
async def open_forks(
    origin: Origin, stage: Stage, change: Change, kind: Kind, board: Board, told: dict[str, Any], say: Say
) -> AsyncIterator[Forks]:
    """A new run for forks of `origin`, with its model, judge and boxes; its summary is written at the end. `told` goes
    into its origin. Raises ModelError, SandboxError and StoreError where one of them is absent.
    """
    meter, departures = CostMeter(stage.plan.config.max_cost), Departures()
    async with (
        open_models(stage.plan, meter, departures) as models,
        open_judge(stage.plan.config, meter, departures) as judge,
        stage.boxes(say) as pool,
    ):
        store = _new_run(origin, stage, models, kind, told)
        board.watch(pool)
        setting = replace(origin.again.setting, judge=judge)
        forks = Forks(origin, change, setting, models, pool, store, board)
        try:
            async with board.shown():
                yield forks
            _conclude(forks, "finished")
        except BaseException:
            _conclude(forks, "stopped")
            raise
        finally:
            store.close()


def _new_run(origin: Origin, stage: Stage, models: ModelSource, kind: Kind, told: dict[str, Any]) -> RunStore:
    plan, row = stage.plan, origin.again.row
    run_id = new_run_id(f"{kind}-{row.task}-{row.sample}")
    identity = plan.identities(models.provider, models.name)[row.task]
    source = {"run": origin.run.name, "trial": row.trial, "attempt": row.attempt, "sample": row.sample, "kind": kind}
    document = {
        "schema": SCHEMA,
        "run_id": run_id,
        "created_at": _now(),
        "agentlab": __version__,
        "status": "running",
        "started_in": str(Path.cwd()),
        "name": plan.config.name,
        "tags": [*plan.config.tags, kind],
        "model": models.name,
        "provider": models.provider,
        "isolation": isolation_of(plan.config.sandbox) if plan.images else None,
        "images": {},
        "config": plan.config.model_dump(mode="json"),
        # What a resume compares: a run of forks is of no selection that one could carry out.
        "tasks": {row.task: identity | {"n": 1, "n_total": 1, "trials": {"origin": source | told}}},
        "suites": [],
        "problems": [],
        "plan": plan_table(plan.rows),
        "environment": describe_environment(),
        "origin": source | told,
    }
    return RunStore.create(origin.run.parent / run_id, document)


def _conclude(forks: Forks, status: str) -> None:
    store, task = forks.store, forks.origin.again.row.task
    store.flush()
    metrics = {task: tuple(forks.setting.task.metrics)}
    document = store.document()
    summary = compute_summary(store.run_dir, document, metrics, epochs=max(len(forks.made), 1))
    store.write_document(document | {"status": status, "ended_at": _now(), "summary": summary.as_dict()})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
