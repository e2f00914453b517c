"""A trial of a task with a procedure: its steps, each prepared, carried out by agent or reference, and graded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec

from agentlab.scaffolds.episode import Episode
from agentlab.tasks.prompting import render
from agentlab.tasks.types import Procedure, Sample, Step, Submission, Task, Terms, Work

if TYPE_CHECKING:
    from agentlab.sandboxes.protocol import BoxSpec, Sandbox
    from agentlab.service.boxes import Lease
    from agentlab.traces.events import Message, Recorder


@dataclass(slots=True)
class StepUnderWay:
    """One step of one trial. The box is prepared when it is first wanted, so that a model thinks meanwhile."""

    task: Task
    procedure: Procedure
    sample: Sample
    step: Step
    lease: Lease
    recorder: Recorder
    terms: Terms
    verifier: BoxSpec | None
    """The box that the step is graded in, where it has one of its own."""
    last: bool
    _work: Work | None = field(default=None)

    async def work(self) -> Work:
        """What the step is done with: the box, prepared. Raises SandboxError and TaskError."""
        if self._work is None:
            box = await self.lease.get()
            work = Work(self.sample, self.step, box, self.recorder, self.terms, self._own_box())
            await self.procedure.prepare(work)
            self._work = work
        return self._work

    def _own_box(self) -> Callable[[], AbstractAsyncContextManager[Sandbox]] | None:
        spec = self.verifier
        if spec is None:
            return None

        @asynccontextmanager
        async def opened() -> AsyncIterator[Sandbox]:
            async with self.lease.another(spec, keep=not self.last) as box:
                yield box

        return opened

    def episode(self, episode: Episode, system: str) -> Episode:
        """The episode of this step: its own prompt, box and time."""
        limits = episode.limits
        if self.step.timeout_s is not None:
            most = limits.time_s if limits.time_s is not None else self.step.timeout_s
            limits = replace(limits, time_s=min(most, self.step.timeout_s))
        return replace(episode, messages=self._messages(system), box=self._box, limits=limits, leave_running=True)

    def _messages(self, system: str) -> tuple[Message, ...]:
        asked = msgspec.structs.replace(self.sample, input=self.step.input)
        return render(self.task, asked, in_box=True, system=system)

    async def _box(self) -> Sandbox:
        return (await self.work()).sandbox

    async def solve(self, episode: Episode) -> Submission:
        """In place of a scaffold: the task's reference solution."""
        await self.procedure.solve(await self.work())
        return Submission()
