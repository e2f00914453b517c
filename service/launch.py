"""One invocation of `agentlab run`, from a configuration to a summary: opens what the plan needs, runs it, closes
everything.
"""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agentlab.models.presence import Departures
from agentlab.models.prices import CostMeter
from agentlab.models.resolve import open_model, parse_model, probe
from agentlab.sandboxes import open_backend
from agentlab.sandboxes.egress import EVERYWHERE
from agentlab.sandboxes.pool import Pool
from agentlab.sandboxes.protocol import Backend, ImageBuild, SandboxError, Say
from agentlab.scaffolds.episode import AgentLimits
from agentlab.service.board import Board
from agentlab.service.boxes import room_for
from agentlab.service.config import RunConfig, effective_sampling
from agentlab.service.harness import ConfigError
from agentlab.service.judge import MakeJudge, open_judge
from agentlab.service.models import ModelSource, SharedModel, client_options, first_target, scripted
from agentlab.service.planner import EXTERNAL, Refusal, Route
from agentlab.service.prepare import Plan, terms_of
from agentlab.service.resume import Done, refuse_changes, refuse_spent, resume_command, where_it_stands
from agentlab.service.run_document import now, planned_document
from agentlab.service.run_id import new_run_id
from agentlab.service.runner import Runner
from agentlab.service.summary import Summary, summarise
from agentlab.service.trial import Setting
from agentlab.tasks.types import Task
from agentlab.traces.errors import StoreError, StoringStopped
from agentlab.traces.events import ErrorRaised
from agentlab.traces.reader import RunReader
from agentlab.traces.store import RunStore

if TYPE_CHECKING:
    from agentlab.models.client import EndpointModel

WORKERS_A_CONNECTION = 3
"""Trials under way for each connection: while one waits for its answer, others grade and store."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended: `status` is `finished`, or `interrupted`, `stopped`, `cost`, `unreachable` or `incomplete`,
    which can be resumed.
    """

    run_id: str
    run_dir: Path
    status: str
    summary: Summary


async def launch(plan: Plan, *, resume: Path | None = None, quiet: bool = False, say: Say) -> RunEnd:
    """Carry out a plan. Raises ModelError and SandboxError where endpoint or engine are absent, StoreError,
    ConfigError; StoringStopped where trials were under way.
    """
    if resume is not None:
        refuse_spent(resume, plan.config.max_cost)
    meter, departures = CostMeter(plan.config.max_cost), Departures()
    for remark in plan.remarks:
        say(remark)
    async with (
        open_models(plan, meter, departures) as models,
        open_judge(plan.config, meter, departures) as judge,
        open_boxes(plan, say) as (pool, images),
    ):
        store, run_id = open_store(plan, models, images, resume)
        totals = {found.task.name: found.n * plan.config.epochs for found in plan.surveys}
        board = Board(totals, plan.lanes, quiet=quiet)
        board.watch(pool)
        try:
            done = _count_done(store, board, meter) if resume is not None else Done(frozenset(), {})
            if resume is not None and len(done.numbers) >= plan.trials + len(plan.problems):
                say("nothing was left to do: every trial of the run is done")
            await _record_problems(plan, store, done)
            runner = _runner(plan, models, pool, store, board, done, meter, departures, judge)
            if pool is not None:
                expect_boxes(plan, pool, plan.trials - len(done.numbers))
            async with board.shown():
                stop = await runner.run()
        finally:
            store.close()
    if stop == "unstored":
        raise StoringStopped(f"{store.error}: {resume_command(store.run_dir, plan.config)}")
    try:
        return _conclude(plan, store, run_id, stop or "finished")
    except StoreError as error:
        raise StoringStopped(
            f"{error}; the trials are stored, the summary is not: {resume_command(store.run_dir, plan.config)}"
        ) from error


def _runner(
    plan: Plan,
    models: ModelSource,
    pool: Pool | None,
    store: RunStore,
    board: Board,
    done: Done,
    meter: CostMeter,
    departures: Departures,
    judge: MakeJudge | None,
) -> Runner:
    config = plan.config
    return Runner(
        planned=plan.planned,
        planner=plan.planner,
        setting_of=lambda task, route: setting_for(plan, task, route, judge),
        models=models,
        pool=pool,
        store=store,
        board=board,
        departures=departures,
        epochs=config.epochs,
        attempts=config.harness.limits.attempts,
        plain_workers=config.max_connections * WORKERS_A_CONNECTION,
        seed=config.seed,
        done=done.numbers,
        attempts_made=done.attempts,
        meter=meter,
    )


def setting_for(plan: Plan, task: Task, route: Route | Refusal, judge: MakeJudge | None) -> Setting:
    """What all attempts of a task at one route share."""
    harness = plan.config.harness
    if isinstance(route, Refusal):
        return Setting(task, route, task.sampling)
    own = route.scaffold == harness.scaffold
    return Setting(
        task,
        route,
        effective_sampling(task, harness),
        plan.offered(route),
        harness.limits.agent() if own else AgentLimits(),
        harness.identity.thinking == "send",
        judge,
        system_of(harness.system if own else "", route),
        terms_of(plan.config),
        harness.box.snapshots,
    )


def system_of(harness: str, route: Route) -> str:
    """The harness's system prompt for a route. A box with a network is the exception, so a model is told of it."""
    if route.agent.where == "direct" or route.spec is None or not route.spec.network:
        return harness
    hosts = (
        "every public host" if EVERYWHERE in route.spec.network else f"{', '.join(route.spec.network)} and nothing else"
    )
    told = (
        "For this task the sandbox has a network: through the proxy that HTTP_PROXY and HTTPS_PROXY name it reaches "
        f"{hosts}, over HTTP and HTTPS."
    )
    return f"{harness}\n\n{told}".lstrip()


@asynccontextmanager
async def open_models(plan: Plan, meter: CostMeter, departures: Departures) -> AsyncIterator[ModelSource]:
    """The run's model: asked once whether it is there. Raises ModelError."""
    config = plan.config
    spec = parse_model(config.model)
    if spec.provider == "scripted":
        targets = functools.partial(_targets, plan)
        yield scripted(spec.name, seed=config.seed, targets=targets, offered=plan.offered)
        return
    model = await open_model(spec, client_options(config, meter, departures))
    try:
        await probe(model, unlisted=config.harness.endpoint.unlisted)
        _refuse_unpriced(config, model)
        yield SharedModel(model, spec.provider, model.model)
    finally:
        await model.close()


def _refuse_unpriced(config: RunConfig, model: EndpointModel) -> None:
    """Raises ConfigError for a limit or a price file that has no effect."""
    prices = config.harness.endpoint.prices
    if model.priced:
        return
    if prices:
        raise ConfigError(f"the price file {prices} has no price for {model.name}, also called {model.model}")
    if config.harness.limits.cost_usd is not None:
        raise ConfigError("limits.cost_usd holds only where prices are known: --set endpoint.prices=FILE")


def _targets(plan: Plan, task: Task) -> Iterable[str]:
    found = next(item for item in plan.surveys if item.task.name == task.name)
    return (first_target(sample) for _, sample in found.samples())


@asynccontextmanager
async def open_boxes(plan: Plan, say: Say) -> AsyncIterator[tuple[Pool | None, dict[str, str]]]:
    """A pool for the boxes of the plan's routes, images made ready first, and their content ids. Without a box in the
    plan nothing starts.

    An image that cannot be made ready is a failure of the trials that need it, not of the run. Raises SandboxError
    where the engine itself is absent.
    """
    if not plan.images:
        yield None, {}
        return
    config = plan.config
    backend: Backend = open_backend(config.sandbox)
    pool, ids = Pool(backend, room_for(config.sandbox, config.max_sandboxes)), {}
    try:
        await backend.check()
        for image, build in plan.builds.items():
            try:
                ids[image] = await make_ready(backend, image, build, config.allow_network, say)
            except SandboxError as error:
                pool.failed_images[image] = error
                say(f"image {image}: {error}")
        yield pool, ids
    finally:
        try:
            await pool.close()
        finally:
            await backend.close()


async def make_ready(backend: Backend, image: str, build: ImageBuild | None, network: bool, say: Say) -> str:
    """Have the image there, built where that is a task's own affair: what it is. Raises SandboxError."""
    if build is None:
        return await backend.ensure_image(image, say)
    return await backend.build_image(image, replace(build, network=network), say)


def expect_boxes(plan: Plan, pool: Pool, trials: int) -> None:
    """Tell the pool what is to come, so that boxes are there when trials want them."""
    for row in plan.rows:
        if isinstance(row.route, Route) and row.route.spec is not None:
            # A program that grades by itself takes one box for all samples.
            n = 1 if row.route.scaffold == EXTERNAL else row.n
            pool.expect(row.route.spec, min(trials, n * plan.config.epochs))


def open_store(plan: Plan, models: ModelSource, images: dict[str, str], resume: Path | None) -> tuple[RunStore, str]:
    """A new run's store, or the store of the run that is resumed, its identity compared first."""
    identities = plan.identities(models.provider, models.name)
    identities |= {problem.name: {"task_hash": "", "task": {}, "n": 0, "scaffolds": {}} for problem in plan.problems}
    if resume is not None:
        store = RunStore.reopen(resume)
        try:
            document = store.document()
            refuse_changes(document.get("tasks", {}), identities)
            document |= {"status": "running", "config": plan.config.model_dump(mode="json")}
            document.setdefault("resumed", []).append(now())
            store.write_document(document)
        except BaseException:
            store.close()
            raise
        return store, document.get("run_id", resume.name)
    words = plan.config.name or "-".join(Path(name.partition("::")[0]).stem for name in plan.config.tasks[:3])
    runs_dir = Path(plan.config.runs_dir)
    run_id = new_run_id(words, runs_dir)
    document = planned_document(
        run_id,
        plan,
        models,
        images=images,
        tasks=identities,
        suites=[{"name": suite.name, "tasks": list(suite.tasks())} for suite in plan.suites],
        problems=[{"task": problem.name, "message": problem.message} for problem in plan.problems],
    )
    return RunStore.create(runs_dir / run_id, document), run_id


def _count_done(store: RunStore, board: Board, meter: CostMeter) -> Done:
    """Where the resumed run stands, with its finished trials shown and what it cost counted against the ceiling."""
    done = where_it_stands(store)
    reader = RunReader(store.run_dir)
    try:
        for row in reader.trials():
            if row.trial in done.numbers and row.task in board.tasks:
                board.already(row.task, row.outcome or "", row.value)
        for row in reader.trials(final=False):  # attempts that do not count were paid for too
            meter.add(row.cost_usd or 0.0)
    finally:
        reader.close()
    return done


async def _record_problems(plan: Plan, store: RunStore, done: Done) -> None:
    """A task that could not be loaded is one recorded `task` error, numbered after all trials."""
    for place, problem in enumerate(plan.problems, 1):
        number = plan.trials + place
        if number in done.numbers:
            continue
        recorder = store.attempt(number, problem.name, "*", 1, 1, {})
        recorder.record(ErrorRaised(at=time.time(), boundary="task", kind="load", message=problem.message))
        recorder.finish("task", error=("load", problem.message))
        await recorder.durable()


def _conclude(plan: Plan, store: RunStore, run_id: str, status: str) -> RunEnd:
    document = store.document()
    summary = summarise(store.run_dir, document, plan)
    document |= {"status": status, "ended_at": now(), "summary": summary.as_dict()}
    store.write_document(document)
    return RunEnd(run_id, store.run_dir, status, summary)
