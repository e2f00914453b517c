"""The runner: streams trials through bounded lanes, stores every step, and leaves a run that can be resumed.

Two lanes, so that a slow box never holds up a plain question: trials whose agent works in a box, and all others. Each
has its own workers, who pull the next sample when they are free: nothing is held for trials that have not started, so
memory is flat in the number of samples.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import anyio

from agentlab.models.scripted import NopModel
from agentlab.service.attempts import keep, kept_where_stopped
from agentlab.service.board import Board
from agentlab.service.external import Batch, ExternalRuns, external_attempt
from agentlab.service.planner import Lane, Planner, Refusal, Route, lane_of
from agentlab.service.prompt import Prompt, prompt_for
from agentlab.service.trial import MEMORY_TRIES, Result, Setting, attempt, failed_for_memory
from agentlab.tasks.external import ExternalEval
from agentlab.tasks.types import Sample, Task, TaskError
from agentlab.traces.errors import StoreError
from agentlab.traces.events import ErrorRaised

if TYPE_CHECKING:
    from agentlab.models.presence import Departures
    from agentlab.models.prices import CostMeter
    from agentlab.sandboxes.pool import Pool
    from agentlab.service.models import ModelSource
    from agentlab.traces.store import AttemptRecorder, RunStore

Stop: TypeAlias = Literal["", "interrupted", "stopped", "cost", "unreachable", "unstored", "incomplete"]

UNSUPPORTED_TRIALS = 5
"""Trials of a task that the endpoint has no call for, with none that went well, until no other is begun."""

NO_MODEL = NopModel()
"""Stands in for trials that cannot be routed, which ask no model."""


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """A task of this run: its selected samples, where its trial numbers start, and its few-shot examples."""

    task: Task
    samples: Callable[[], Iterator[tuple[int, Sample]]]
    """Streams (place in the selection, sample), the same at every call."""
    shuffled: Callable[[], Iterator[tuple[int, Sample]]]
    """The same in the order in which they are run."""
    n: int
    base: int
    """Number of the trial before this task's first."""
    lanes: frozenset[Lane]
    examples: tuple[Sample, ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """One trial to carry out."""

    number: int
    planned: PlannedTask
    sample: Sample
    epoch: int


@dataclass(slots=True)
class Tries:
    """What a trial's attempts have come to, and how many more it may have."""

    left: int
    filled: int = 0
    """Boxes that were killed because the trial's own programs filled their memory."""

    def count(self, result: Result) -> bool:
        """Take an attempt into account; whether its box was killed for memory and no other is to be tried."""
        self.left -= 1
        if result.error_kind != "oom":
            return False
        self.filled += 1
        return self.filled >= MEMORY_TRIES or self.left == 0


@dataclass(slots=True)
class Runner:
    """Carries a plan out. `run` returns why it ended: "" when every trial was carried out."""

    planned: list[PlannedTask]
    planner: Planner
    setting_of: Callable[[Task, Route | Refusal], Setting]
    models: ModelSource
    pool: Pool | None
    """None where no route needs a box."""
    store: RunStore
    board: Board
    departures: Departures
    epochs: int
    attempts: int
    plain_workers: int
    seed: int = 0
    done: frozenset[int] = frozenset()
    """Numbers of trials that need not be repeated."""
    attempts_made: dict[int, int] = field(default_factory=dict)
    """Attempts that earlier invocations made at trials that are to be tried again."""
    meter: CostMeter | None = None
    _draining: bool = False
    _stop: Stop = ""
    _scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _settings: dict[tuple[str, int], Setting] = field(default_factory=dict)
    _hopeless: set[tuple[str, str]] = field(default_factory=set)
    """Tasks, with the image that is not there ("" for a call that the endpoint lacks), of which no trial is begun."""
    _unsupported: Counter[str] = field(default_factory=Counter)
    _some_went_well: set[str] = field(default_factory=set)
    _ended: int = 0
    """Trials that came to an end in this invocation."""
    _externals: ExternalRuns = field(init=False)

    def __post_init__(self) -> None:
        self._externals = ExternalRuns(self.pool)

    async def run(self) -> Stop:
        """Raises what ends a run as a whole: StoreError, TaskError for data that changed under it."""
        try:
            return await self._run()
        except BaseExceptionGroup as group:
            raise first_error(group) from group

    async def _run(self) -> Stop:
        async with anyio.create_task_group() as group:
            await group.start(self._watch_signals)
            with self._scope:
                await self._run_lanes()
            group.cancel_scope.cancel()
        return self._stop if self._stop not in ("", "incomplete") else self._unreachable() or self._stop

    def _unreachable(self) -> Stop:
        """`unreachable` where no call was of any use, though too few were made to stop under way; else nothing."""
        for said in self.departures.useless.values():
            self.board.say(f"{said}; what was done is saved")
            return "unreachable"
        if self._some_went_well or self.done:
            return ""
        return "unreachable" if self._hopeless or self._unsupported.total() == self._ended > 0 else ""

    async def _run_lanes(self) -> None:
        async with anyio.create_task_group() as lanes:
            sizes: dict[Lane, int] = {"plain": self.plain_workers, "box": self.pool.room.boxes + 1 if self.pool else 0}
            for lane, workers in sizes.items():
                trials = sum(planned.n for planned in self.planned if lane in planned.lanes) * self.epochs
                if trials:
                    lanes.start_soon(self._run_lane, lane, min(workers, trials))

    def drain(self, reason: Stop) -> None:
        """Start no further trial; those under way end normally."""
        self._draining = True
        self._stop = self._stop or reason
        self.board.draining = True

    def _halt(self, reason: Stop) -> None:
        """Stop the trials under way too; each is kept as `cancelled`."""
        self._draining = True
        self._stop = reason
        self._scope.cancel()

    async def _watch_signals(self, *, task_status: Any) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                if self._draining or number == signal.SIGTERM:
                    self._halt("stopped" if number == signal.SIGTERM else "interrupted")
                    return
                self.drain("interrupted")
                self.board.say("stopping: trials under way are finished and saved; Ctrl-C again stops at once")

    async def _run_lane(self, lane: Lane, workers: int) -> None:
        # Workers pull from one shared iterator: a queue between a feeder and them would cost each plain question CPU.
        queue = self._queue(lane)
        async with anyio.create_task_group() as group:
            for _ in range(workers):
                group.start_soon(self._work, queue)

    async def _work(self, queue: Iterator[Work]) -> None:
        for work in queue:
            await self._trial(work)

    def _queue(self, lane: Lane) -> Iterator[Work]:
        """The lane's trials that are not done yet, task by task; ends early when the run drains."""
        for planned in self.planned:
            if lane not in planned.lanes:
                continue
            try:
                yield from self._trials_of(planned, lane)
            except TaskError:
                raise  # the data is no longer what was hashed: the run as it was planned cannot be had any more
            except Exception as error:  # noqa: BLE001  the boundary: data that breaks off ends its own task only
                self._stop = self._stop or "incomplete"
                said = f"{type(error).__name__}: {error}"
                self.board.say(
                    f"{planned.task.name}: its data broke off ({said}); what is missing is left for a resume"
                )

    def _trials_of(self, planned: PlannedTask, lane: Lane) -> Iterator[Work]:
        for place, sample in planned.shuffled():
            route = self.planner.route(planned.task, sample)
            if lane_of(route) != lane:
                continue
            for epoch in range(1, self.epochs + 1):
                if self._draining:
                    return
                number = planned.base + place * self.epochs + epoch
                if number in self.done:
                    continue
                if self._is_hopeless(planned.task.name, route):
                    self._stop = self._stop or "incomplete"
                    break  # the sample's other epochs are no better
                yield Work(number, planned, sample, epoch)

    def _is_hopeless(self, task: str, route: Route | Refusal) -> bool:
        """Whether a trial would only fail as one before it did. The first that needs an image that is not there is
        begun, and tells why.
        """
        if (task, "") in self._hopeless:
            return True
        image = route.spec.image if isinstance(route, Route) and route.spec is not None else ""
        if self.pool is None or image not in self.pool.failed_images:
            return False
        if (task, image) in self._hopeless:
            return True
        self._hopeless.add((task, image))
        self.board.say(f"{task}: image {image} is not there; one trial records that, the others are left for a resume")
        return False

    def _learn(self, task: str, result: Result) -> None:
        """Of how a trial ended: whether the task's others are worth beginning."""
        self._ended += 1
        if result.outcome == "model" and result.error_kind == "unsupported":
            self._unsupported[task] += 1
            if self._unsupported[task] == UNSUPPORTED_TRIALS and task not in self._some_went_well:
                self._hopeless.add((task, ""))
                self.board.say(f"{task}: {result.error_message}; its other trials are left for a resume")
        elif result.outcome == "scored":
            self._some_went_well.add(task)

    async def _trial(self, work: Work) -> None:
        route = self.planner.route(work.planned.task, work.sample)
        setting = self._setting(work.planned.task, route)
        first = self.attempts_made.get(work.number, 0) + 1
        tries = Tries(self.attempts)
        for number in range(first, first + self.attempts):
            result, recorder = await self._attempt(work, setting, route, number, tries)
            last = not result.retry or tries.left == 0
            try:
                await recorder.durable()
            except StoreError:
                self._halt("unstored")
                return
            if last:
                self.board.trial_ended(work.planned.task.name, result)
                self._learn(work.planned.task.name, result)
                break
        if not self._draining:
            self._stop_where_needed()

    def _stop_where_needed(self) -> None:
        """Start no more trials once the money is spent, or an endpoint is gone that they would look for in vain."""
        meter = self.meter
        if meter is not None and meter.max_cost is not None and meter.spent >= meter.max_cost:
            self.drain("cost")
            self.board.say(f"stopping: the run has cost {meter.spent:.2f} USD, and --max-cost allows no more")
        elif self.departures.told:
            self.drain("unreachable")
            self.board.say(f"stopping: {self.departures.told}; what was done is saved")

    async def _attempt(
        self, work: Work, setting: Setting, route: Route | Refusal, number: int, tries: Tries
    ) -> tuple[Result, AttemptRecorder]:
        task, sample = work.planned.task, work.sample
        document = route.document() if isinstance(route, Route) else {}
        recorder = self.store.attempt(
            work.number,
            task=task.name,
            sample=sample.id,
            epoch=work.epoch,
            attempt=number,
            route=document,
            cluster=sample.cluster,
            group=sample.group,
        )
        with kept_where_stopped(recorder):
            result = await self._carry_out(work, setting, route, recorder)
            if tries.count(result) and isinstance(route, Route):
                result = failed_for_memory(setting, route, recorder, tries.filled, result.error_message)
        keep(self.store, recorder, task, result)
        return result, recorder

    async def _carry_out(
        self, work: Work, setting: Setting, route: Route | Refusal, recorder: AttemptRecorder
    ) -> Result:
        if isinstance(work.planned.task, ExternalEval) and isinstance(route, Route):
            return await self._external(work, work.planned.task, route, setting, recorder)
        if not isinstance(route, Route):
            return await attempt(setting, work.sample, Prompt(), NO_MODEL, self.pool, recorder, work.epoch)
        try:
            model = self.models.for_trial(work.planned.task, work.sample, route, work.epoch)
            prompt = prompt_for(setting, work.sample, work.planned.examples)
        except Exception as error:  # noqa: BLE001  the boundary: one sample that cannot be asked must not end the others
            message = f"the prompt cannot be built: {type(error).__name__}: {error}"
            recorder.record(ErrorRaised(at=_now(), boundary="task", kind="prompt", message=message))
            return Result("task", error_kind="prompt", error_message=message)
        return await attempt(setting, work.sample, prompt, model, self.pool, recorder, work.epoch)

    async def _external(
        self, work: Work, task: ExternalEval, route: Route, setting: Setting, recorder: AttemptRecorder
    ) -> Result:
        model = self.models.for_trial(task, work.sample, route, work.epoch)
        batch = Batch(task, self._wanted(work), model, recorder, work.epoch, self.seed, setting.sampling, route.spec)
        return await external_attempt(self._externals, batch, work.sample.id)

    def _wanted(self, work: Work) -> list[str]:
        """The samples of the task's epoch that are not done yet."""
        return [
            sample.id
            for place, sample in work.planned.samples()
            if work.planned.base + place * self.epochs + work.epoch not in self.done
        ]

    def _setting(self, task: Task, route: Route | Refusal) -> Setting:
        key = (task.name, id(route))
        setting = self._settings.get(key)
        if setting is None:
            setting = self._settings[key] = self.setting_of(task, route)
        return setting


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a task group, out of its wrapping: the others follow from the same cause."""
    inner: BaseException = group
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    return inner


def _now() -> float:
    import time

    return time.time()
