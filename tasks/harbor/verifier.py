"""The verdict on a step: what the agent left is collected, its processes end, and only then do the tests appear."""

from __future__ import annotations

import posixpath
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from agentlab.sandboxes.protocol import ExecResult, Sandbox
from agentlab.tasks.harbor import artifacts, places, rewards, tampering
from agentlab.tasks.harbor.task import HarborTask
from agentlab.tasks.types import Score, VerifierError, Work
from agentlab.tasks.variables import expand
from agentlab.traces.events import SandboxExec

SHOWN = 4000


class VerifierTimeoutError(VerifierError):
    """The verifier took longer than the task allows."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the verifier said, and where."""

    rewards: dict[str, float]
    said: str
    labels: tuple[tuple[str, str], ...]
    notes: str = ""

    def score(self) -> Score:
        shown = ", ".join(f"{name} = {value:g}" for name, value in list(self.rewards.items())[:20])
        lines = [shown, self.notes, self.said]
        return Score(
            value=rewards.headline(self.rewards),
            scores=dict(self.rewards),
            explanation="\n".join(line for line in lines if line)[:SHOWN],
            labels=self.labels,
        )


async def verify(task: HarborTask, work: Work) -> Score:
    """Grade the step. Raises VerifierError for a verifier that gives no verdict, SandboxError for a place that is
    lost.
    """
    step = task.step(work.step.name)
    await _run_collect_hooks(task, work)
    if task.verifier_needs(step) is None:
        return (await _in_the_agents_box(task, work)).score()
    await work.sandbox.quiesce()
    held = await artifacts.collect(task, step, work)
    if work.own_box is None:
        raise VerifierError("the task wants a box of its own for its verifier, and none was given")
    async with AsyncExitStack() as stack:
        box = await stack.enter_async_context(work.own_box())
        await _make_logs(box)
        await artifacts.lay(held, box)
        if await _has_tests(box):
            await _make_executable(box)
        else:
            await _lay_tests(task, work, box)
        said = await _run_tests(task, work, box)
        return Verdict(await _read_rewards(box), said, ()).score()


async def _in_the_agents_box(task: HarborTask, work: Work) -> Verdict:
    """Harbor's usual way: the verifier runs in the box that the agent worked in, after it."""
    box = work.sandbox
    labels = [("verifier", "same_box")]
    if work.terms.leave_running:
        await box.freeze()
        labels.append(("agent_processes", "left_running"))
    else:
        await box.quiesce()
    await artifacts.keep(await artifacts.collect(task, task.step(work.step.name), work), work)
    findings = await tampering.undo(box) if work.terms.restore_tools else tampering.Findings()
    labels += findings.labels
    await _make_logs(box)
    await _lay_tests(task, work, box)
    if work.terms.leave_running:
        await box.thaw()
    said = await _run_tests(task, work, box)
    return Verdict(await _read_rewards(box), said, tuple(labels), findings.explanation)


async def _make_logs(box: Sandbox) -> None:
    """A new folder for the verdict: whatever the agent put there has gone."""
    await places.clear(box, places.VERIFIER_LOGS)
    await places.make_folder(box, places.VERIFIER_LOGS, 0o777)


async def _has_tests(box: Sandbox) -> bool:
    """Whether the verifier's own image brings the tests along."""
    try:
        await box.read_file(f"{places.TESTS}/test.sh", user="grader")
    except (ValueError, OSError):
        return False
    return True


async def _lay_tests(task: HarborTask, work: Work, box: Sandbox) -> None:
    await places.clear(box, places.TESTS)
    await box.restore(task.tests(work.step.name), places.TESTS, user="grader")


async def _run_tests(task: HarborTask, work: Work, box: Sandbox) -> str:
    """Run the verifier; the end of what it said. Its exit code means nothing."""
    step = task.step(work.step.name)
    env = expand({**task.config.verifier.env, **(step.verifier.env if step else {})}, work.terms.variables)
    script = f"{places.TESTS}/test.sh"
    log = f"{places.VERIFIER_LOGS}/test-stdout.txt"
    started = time.time()
    # As Harbor does: a shell of the box, so that a script without a first line works too.
    command = f"({script}) > {log} 2>&1"
    shell = "bash" if (await box.exec(["bash", "-c", ":"], user="grader", timeout=10)).exit_code == 0 else "sh"
    result = await box.exec([shell, "-c", command], env=env, user="grader", timeout=task.verifier_seconds(step))
    # What it left running must not touch the verdict that is read now.
    await box.quiesce()
    said = await _tail(box, log)
    _record(work, box, (shell, "-c", command), result, said, started)
    work.recorder.artifact(said.encode(), "text/plain", posixpath.basename(log))
    if result.timed_out:
        raise VerifierTimeoutError(f"the verifier was stopped after {task.verifier_seconds(step):g} s")
    return said


async def _make_executable(box: Sandbox) -> None:
    script = f"{places.TESTS}/test.sh"
    await box.write_file(script, await box.read_file(script, user="grader"), mode=0o755, user="grader")


async def _tail(box: Sandbox, path: str) -> str:
    try:
        data = await box.read_file(path, max_bytes=16 << 20, user="grader")
    except (ValueError, OSError):
        return ""
    return data[-64_000:].decode("utf-8", "replace")


async def _read_rewards(box: Sandbox) -> dict[str, float]:
    """`reward.json`, else `reward.txt`. Raises VerifierError."""
    for name, parse in (("reward.json", rewards.parse_json), ("reward.txt", rewards.parse_text)):
        try:
            data = await box.read_file(f"{places.VERIFIER_LOGS}/{name}", max_bytes=rewards.MAX_BYTES, user="grader")
        except FileNotFoundError:
            continue
        except (ValueError, OSError) as error:
            raise rewards.RewardInvalidError(f"{name} cannot be read: {error}") from None
        return parse(data)
    raise rewards.RewardMissingError("the verifier wrote neither reward.json nor reward.txt")


async def _run_collect_hooks(task: HarborTask, work: Work) -> None:
    """Commands that save what runs before it ends. Their failures end nothing, as with Harbor."""
    for hook in task.collect_hooks(task.step(work.step.name)):
        started = time.time()
        argv = ("sh", "-c", hook.command)
        result = await work.sandbox.exec(list(argv), timeout=hook.timeout_sec, user="task")
        _record(work, work.sandbox, argv, result, "", started)


def _record(work: Work, box: Sandbox, argv: tuple[str, ...], result: ExecResult, said: str, started: float) -> None:
    work.recorder.record(
        SandboxExec(
            at=time.time(),
            box=box.id,
            argv=argv,
            exit_code=result.exit_code,
            stdout=said[-SHOWN:] or result.stdout.decode("utf-8", "replace")[-SHOWN:],
            stderr=result.stderr.decode("utf-8", "replace")[-SHOWN:],
            timed_out=result.timed_out,
            oom=result.oom,
            dropped_bytes=result.dropped_bytes,
            duration_ms=(time.time() - started) * 1000,
            user="grader",
        )
    )
