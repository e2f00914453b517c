"""How a Harbor task is carried out: its box, its set-up, its steps, its reference solution, its verdict."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import anyio

from agentlab.sandboxes.protocol import ExecResult, User
from agentlab.tasks.harbor import places, rewards, verifier
from agentlab.tasks.harbor.config import Healthcheck
from agentlab.tasks.harbor.directory import as_tar, has_file, has_folder
from agentlab.tasks.harbor.task import HarborTask
from agentlab.tasks.types import (
    BoxNeeds,
    Sample,
    Score,
    ScoreContext,
    Scorer,
    Step,
    Submission,
    TaskError,
    VerifierError,
    Work,
)
from agentlab.tasks.variables import expand
from agentlab.traces.events import SandboxExec

ORACLE_S = 3600.0
"""Time for a reference solution where the task sets none for the agent."""
SHOWN = 4000


class HarborProcedure:
    """Carries out the tasks of one directory, by the id of their sample."""

    def __init__(self, tasks: Mapping[str, HarborTask], refused: Mapping[str, str]) -> None:
        self._tasks = tasks
        self._refused = refused
        self._needs: dict[str, BoxNeeds] = {}

    def task(self, sample: Sample) -> HarborTask:
        return self._tasks[sample.id]

    def needs(self, sample: Sample) -> BoxNeeds:
        found = self._needs.get(sample.id)
        if found is None:
            found = self._needs[sample.id] = self._find_needs(sample.id)
        return found

    def _find_needs(self, name: str) -> BoxNeeds:
        if name in self._refused:
            return BoxNeeds(refusal=self._refused[name])
        task = self._tasks[name]
        try:
            for problem in task.problems():
                raise TaskError(problem)
            return task.needs()
        except TaskError as error:
            return BoxNeeds(refusal=str(error))

    def steps(self, sample: Sample) -> Sequence[Step]:
        task = self.task(sample)
        if not task.config.steps:
            return [Step("", task.instruction(None), task.agent_seconds(None))]
        return [Step(step.name, task.instruction(step), task.agent_seconds(step)) for step in task.config.steps]

    async def prepare(self, work: Work) -> None:
        """The folders that Harbor promises, the files of a task without a Dockerfile, and the health check; in later
        steps what the step itself brings.
        """
        task, box = self.task(work.sample), work.sandbox
        step = task.step(work.step.name)
        if step is None or step is task.config.steps[0]:
            logs: dict[str, int] = {places.AGENT_LOGS: 0o777, places.ARTIFACTS: 0o777}
            await box.restore(places.folders(logs), "/", user="grader", instead=list(logs))
            await _start_entrypoint(work)
            loose = task.loose_files()
            if loose is not None:
                await box.restore(as_tar(loose), user="grader")
            if task.config.environment.healthcheck is not None:
                await _wait_for_health(work, task.config.environment.healthcheck, "environment")
        if step is None:
            return
        workdir = task.root / "steps" / step.name / "workdir"
        if has_folder(workdir.parent, "workdir"):
            await box.restore(as_tar(workdir, scripts=True))
            if has_file(workdir, "setup.sh"):
                result = await _run(work, ["bash", f"{box.workdir.rstrip('/')}/setup.sh"], timeout=600.0)
                if result.exit_code:
                    raise TaskError(f"steps.{step.name}: setup.sh ended with {result.exit_code}: {_said(result)}")
        if step.healthcheck is not None:
            await _wait_for_health(work, step.healthcheck, f"steps.{step.name}")

    async def solve(self, work: Work) -> None:
        """Run `solution/solve.sh` as the agent would."""
        task = self.task(work.sample)
        step = task.step(work.step.name)
        archive = as_tar(task.solution(step), scripts=True)
        await work.sandbox.restore(archive, places.SOLUTION, user="grader", instead=[places.SOLUTION])
        env = {"DEBIAN_FRONTEND": "noninteractive", **expand(task.config.solution.env, work.terms.variables)}
        argv = ["sh", "-c", f"exec {places.SOLUTION}/solve.sh"]
        await _run(work, argv, timeout=task.agent_seconds(step) or ORACLE_S, env=env)

    def goes_on(self, sample: Sample, step: Step, score: Score) -> bool:
        config = self.task(sample).step(step.name)
        return config is not None and not rewards.falls_short(score.scores, config.min_reward)

    def combine(self, sample: Sample, scores: Sequence[Score]) -> Score:
        """The steps' mean, key by key, or the last step that was reached, as the task says."""
        if len(scores) == 1 and not self.task(sample).config.steps:
            return scores[0]
        last = self.task(sample).config.multi_step_reward_strategy == "final"
        found = dict(scores[-1].scores) if last else rewards.mean_of_steps([score.scores for score in scores])
        labels = tuple(dict.fromkeys(label for score in scores for label in score.labels))
        return Score(value=rewards.headline(found), scores=found, labels=labels)


def harbor_verifier(procedure: HarborProcedure) -> Scorer:
    """The task's own verifier: its `reward`, else the mean of its numbers; every number as a named score."""

    async def grade(sample: Sample, submission: Submission, context: ScoreContext) -> Score:
        if context.work is None:
            raise VerifierError("a Harbor task is graded in the box that it was carried out in, and there is none")
        return await verifier.verify(procedure.task(sample), replace(context.work, recorder=context.recorder))

    return Scorer(name="harbor_verifier", grade=grade, requires=("shell",), scale=(-math.inf, math.inf))


async def _start_entrypoint(work: Work) -> None:
    """Start what the image starts first, with a command that idles, as Harbor does: it may bring up services."""
    first = work.sandbox.entrypoint
    if not first:
        return
    log = f"{places.AGENT_LOGS}/entrypoint.txt"
    script = f'nohup "$@" sh -c "sleep infinity" </dev/null >{log} 2>&1 &'
    await _run(work, ["sh", "-c", script, "sh", *first], timeout=60.0, user="grader")


async def _wait_for_health(work: Work, check: Healthcheck, where: str) -> None:
    """Ask until it answers, by the rules of Docker's health checks. Raises TaskError."""
    started = time.monotonic()
    failures = 0
    while True:
        result = await _run(work, ["sh", "-c", check.command], timeout=check.timeout_sec, user="grader")
        if result.exit_code == 0 and not result.timed_out:
            return
        starting = time.monotonic() - started < check.start_period_sec
        failures += not starting
        if failures >= check.retries:
            raise TaskError(f"{where}.healthcheck: {check.command!r} failed {failures} times: {_said(result)}")
        await anyio.sleep(check.start_interval_sec if starting else check.interval_sec)


async def _run(
    work: Work,
    argv: list[str],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    user: User = "task",
) -> ExecResult:
    """A command of the task's own in the box, recorded."""
    started = time.monotonic()
    result = await work.sandbox.exec(argv, env=env, user=user, timeout=timeout)
    work.recorder.record(
        SandboxExec(
            at=time.time(),
            box=work.sandbox.id,
            argv=tuple(argv),
            exit_code=result.exit_code,
            stdout=result.stdout.decode("utf-8", "replace")[-SHOWN:],
            stderr=result.stderr.decode("utf-8", "replace")[-SHOWN:],
            timed_out=result.timed_out,
            oom=result.oom,
            dropped_bytes=result.dropped_bytes,
            duration_ms=(time.monotonic() - started) * 1000,
            user=user,
        )
    )
    return result


def _said(result: ExecResult) -> str:
    if result.timed_out:
        return "it took too long"
    return (result.stderr or result.stdout).decode("utf-8", "replace").strip()[-300:] or "it said nothing"
