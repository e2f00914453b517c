"""Forks: a stored trial started again at a step, with another model, prompt or action, as a run of its own."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from agentlab.analysis.statistics import wilson
from agentlab.models.presence import Departures
from agentlab.models.prices import CostMeter
from agentlab.service.attempts import keep, kept_where_stopped
from agentlab.service.harness import ConfigError
from agentlab.service.judge import open_judge
from agentlab.service.launch import open_models
from agentlab.service.prompt import Begun, Prompt
from agentlab.service.replay.crew import each
from agentlab.service.replay.handover import Change, HandoverModel
from agentlab.service.replay.stage import Again, Stage, agent_calls, cannot_replay, carry_out
from agentlab.service.run_document import now, planned_document
from agentlab.service.run_id import new_run_id
from agentlab.service.summary import compute_summary
from agentlab.service.trial import Setting
from agentlab.service.workspaces import Kept, kept_before, unpacked
from agentlab.traces.events import ModelCall, Note, Outcome, ToolCallEvent, Usage
from agentlab.traces.reader import RunReader
from agentlab.traces.steps import Trace
from agentlab.traces.store import RunStore

if TYPE_CHECKING:
    from agentlab.sandboxes.pool import Pool
    from agentlab.sandboxes.protocol import Say
    from agentlab.service.board import Board
    from agentlab.service.models import ModelSource
    from agentlab.traces.store import AttemptRecorder

Kind: TypeAlias = Literal["fork", "locate"]


@dataclass(frozen=True, slots=True)
class Origin:
    """The trial that is forked, its turns, and where each stands in the trace as `traces show` numbers it."""

    run: Path
    again: Again
    calls: tuple[ModelCall, ...]
    steps: tuple[int, ...]
    trace: Trace
    """With the images that were shown to the model."""

    @property
    def last(self) -> int:
        """The last step of the trace."""
        return self.trace.events[-1].seq + 1

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
    snapshot: int | None = None
    """The step of the origin before which its workspace was kept, where the fork began with that."""


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
    return Origin(run, again, calls, tuple(stored.seq + 1 for stored in turns), trace)


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
    snapshots: bool = True
    """Whether forks begin with a workspace that the origin kept, where there is one."""
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
        kept = kept_before(self.origin.trace, turn) if self.snapshots else None
        first = kept.turn if kept is not None else 0
        self._tell(recorder, step, self.origin.steps[first] if kept is not None else None)
        with kept_where_stopped(recorder):
            if kept is not None:
                again = self._taken_over(kept, recorder)
            live = self.models.for_trial(self.setting.task, again.sample, again.route, trial)
            model = HandoverModel(self.origin.calls[first:], turn - first, live, self.change)
            result = await carry_out(again, self.setting, model, self.pool, recorder, trial)
        keep(self.store, recorder, self.setting.task, result)
        await recorder.durable()
        self.board.trial_ended(again.row.task, result)
        return Forked(
            trial=trial,
            turn=turn,
            step=step,
            outcome=result.outcome,
            value=result.value if result.outcome == "scored" else None,
            error=result.error_message,
            snapshot=self.origin.steps[first] if kept is not None else None,
        )

    def _tell(self, recorder: AttemptRecorder, step: int, snapshot: int | None) -> None:
        """The fork's first step: what it is a fork of."""
        run, trial = self.origin.run.name, self.origin.again.row.trial
        told = f"forked from {run}, trial {trial}, at step {step}"
        data: dict[str, Any] = {"fork": run, "trial": trial, "at": step}
        if snapshot is not None:
            told += f"; what came before step {snapshot} is taken over with the workspace that was kept there"
            data["snapshot"] = snapshot
        if self.change.system is not None:
            data["system"] = True
        recorder.record(Note(at=time.time(), text=told, data=data))

    def _taken_over(self, kept: Kept, recorder: AttemptRecorder) -> Again:
        """The trial as it stands at a workspace that was kept: the conversation goes on there. What led to it is
        recorded as it was, so that the fork's trace is whole. Raises StoreError.
        """
        calls, again = self.origin.calls, self.origin.again
        usage = sum((call.usage for call in calls[: kept.turn]), Usage())
        now, turns = time.time(), 0
        for stored in self.origin.trace.events:
            event = stored.event
            if isinstance(event, ModelCall) and event.purpose == "agent":
                turns += 1
                if turns > kept.turn:
                    break
                recorder.record(msgspec.structs.replace(event, at=now, cached=True, cost_usd=0.0))
            elif isinstance(event, ToolCallEvent):
                recorder.record(msgspec.structs.replace(event, at=now))
        with RunReader(self.origin.run) as reader:
            begun = Begun(unpacked(reader, kept), kept.turn, usage)
        return replace(again, prompt=Prompt(messages=calls[kept.turn].messages, begun=begun))


@asynccontextmanager
async def open_forks(
    origin: Origin,
    stage: Stage,
    change: Change,
    kind: Kind,
    board: Board,
    told: dict[str, Any],
    say: Say,
    *,
    snapshots: bool = True,
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
        forks = Forks(origin, change, setting, models, pool, store, board, snapshots)
        try:
            async with board.shown():
                yield forks
            _conclude(forks, "finished")
        except BaseException:
            _conclude(forks, "stopped")
            say(f"what was done is kept in run {store.run_dir.name}")
            raise
        finally:
            store.close()


def _new_run(origin: Origin, stage: Stage, models: ModelSource, kind: Kind, told: dict[str, Any]) -> RunStore:
    plan, row = stage.plan, origin.again.row
    run_id = new_run_id(f"{kind}-{row.task}-{row.sample}", origin.run.parent)
    identity = plan.identities(models.provider, models.name)[row.task]
    source = {"run": origin.run.name, "trial": row.trial, "attempt": row.attempt, "sample": row.sample, "kind": kind}
    document = planned_document(
        run_id,
        plan,
        models,
        tags=[*plan.config.tags, kind],
        # What a resume compares: a run of forks is of no selection that one could carry out.
        tasks={row.task: identity | {"n": 1, "n_total": 1, "trials": {"origin": source | told}}},
        origin=source | told,
    )
    return RunStore.create(origin.run.parent / run_id, document)


def _conclude(forks: Forks, status: str) -> None:
    store, task = forks.store, forks.origin.again.row.task
    store.flush()
    metrics = {task: tuple(forks.setting.task.metrics)}
    document = store.document()
    summary = compute_summary(store.run_dir, document, metrics, epochs=max(len(forks.made), 1))
    store.write_document(document | {"status": status, "ended_at": now(), "summary": summary.as_dict()})
