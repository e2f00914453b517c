"""The verdict on a step: what the agent left is collected, its processes end, and only then do the tests appear."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from agentlab.sandboxes.protocol import ExecResult, Sandbox
from agentlab.tasks.harbor import artifacts, places, rewards, tampering
from agentlab.tasks.harbor.task import HarborTask
from agentlab.tasks.types import Score, VerifierError, Work
from agentlab.tasks.variables import expand
from agentlab.traces.events import SandboxExec

LOG = "test-stdout.txt"
READ = (LOG, "reward.json", "reward.txt")
MAX_LOGS = 16 << 20
KEPT_LOG = 64_000
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
    if task.verifier_environment(step) is None:
        return (await _in_the_agents_box(task, work)).score()
    await work.sandbox.quiesce()
    held = await artifacts.collect(task, step, work)
    artifacts.keep(held, work)
    if work.own_box is None:
        raise VerifierError("the task wants a box of its own for its verifier, and none was given")
    async with AsyncExitStack() as stack:
        box = await stack.enter_async_context(work.own_box())
        await artifacts.lay(held, box)
        await _lay_tests(box, None if await _has_tests(box) else task.tests(work.step.name))
        earned, said = await _run_tests(task, work, box)
        return Verdict(earned, said, ()).score()


async def _in_the_agents_box(task: HarborTask, work: Work) -> Verdict:
    """Harbor's usual way: the verifier runs in the box that the agent worked in, after it."""
    box = work.sandbox
    labels = [("verifier", "same_box")]
    if work.terms.leave_running:
        await box.freeze()
        labels.append(("agent_processes", "left_running"))
    else:
        await box.quiesce()
    touched = await box.touched((*tampering.PLACES, places.ARTIFACTS))
    published = any(path.startswith(f"{places.ARTIFACTS}/") for path in touched)
    artifacts.keep(await artifacts.collect(task, task.step(work.step.name), work, published=published), work)
    findings = tampering.Findings()
    if work.terms.restore_tools and not all(path.startswith(places.ARTIFACTS) for path in touched):
        findings = await tampering.undo(box)
    labels += findings.labels
    await _lay_tests(box, task.tests(work.step.name))
    if work.terms.leave_running:
        await box.thaw()
    earned, said = await _run_tests(task, work, box)
    return Verdict(earned, said, tuple(labels), findings.explanation)


def _verifier_folders(tests: bytes | None) -> tuple[bytes, list[str]]:
    """A new folder for the verdict and, where given, the tests; and what goes to make place for them."""
    if tests is None:
        return places.folders({places.VERIFIER_LOGS: 0o777}), [places.VERIFIER_LOGS]
    modes = {places.VERIFIER_LOGS: 0o777, places.TESTS: 0o755}
    return places.folders(modes, {places.TESTS: tests}), list(modes)


async def _lay_tests(box: Sandbox, tests: bytes | None) -> None:
    archive, instead = _verifier_folders(tests)
    await box.restore(archive, "/", user="grader", instead=instead)


async def _has_tests(box: Sandbox) -> bool:
    """Whether the verifier's own image brings the tests along; they can be executed then."""
    script = f"{places.TESTS}/test.sh"
    try:
        text = await box.read_file(script, user="grader")
    except (ValueError, OSError):
        return False
    await box.write_file(script, text, mode=0o755, user="grader")
    return True


async def _run_tests(task: HarborTask, work: Work, box: Sandbox) -> tuple[dict[str, float], str]:
    """Run the verifier: its rewards, and the end of what it said. Its exit code means nothing. Raises VerifierError."""
    step = task.step(work.step.name)
    env = expand({**task.config.verifier.env, **(step.verifier.env if step else {})}, work.terms.variables)
    started = time.time()
    # A script without a first line is Bash's, as with Harbor.
    script = f"{places.TESTS}/test.sh"
    runs = script if task.names_its_shell(step) else f"bash {script}"
    command = f"exec {runs} > {places.VERIFIER_LOGS}/{LOG} 2>&1"
    result = await box.exec(["sh", "-c", command], env=env, user="grader", timeout=task.verifier_seconds(step))
    # What it left running must not touch the verdict that is read now.
    await box.quiesce()
    written = await _read_logs(box)
    said = written.get(LOG, b"")[-KEPT_LOG:].decode("utf-8", "replace")
    _record(work, box, ("sh", "-c", command), result, said, started)
    work.recorder.artifact(said.encode(), "text/plain", LOG)
    if result.timed_out:
        raise VerifierTimeoutError(f"the verifier was stopped after {task.verifier_seconds(step):g} s")
    return _rewards(written), said


async def _read_logs(box: Sandbox) -> dict[str, bytes]:
    """The regular files that the verifier wrote and that are read here. Raises RewardInvalidError for a reward that is
    something else.
    """
    try:
        archive = await box.snapshot(places.VERIFIER_LOGS, max_bytes=MAX_LOGS, user="grader")
    except (ValueError, OSError):
        # Too much of everything: then one by one.
        return {name: data for name in READ if (data := await _read_file(box, name)) is not None}
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
        for member in tar:
            if member.name not in READ:
                continue
            file = tar.extractfile(member) if member.isreg() else None
            if file is None and member.name != LOG:
                raise rewards.RewardInvalidError(f"{member.name} is no regular file")
            found[member.name] = file.read() if file is not None else b""
    return found


async def _read_file(box: Sandbox, name: str) -> bytes | None:
    try:
        return await box.read_file(f"{places.VERIFIER_LOGS}/{name}", max_bytes=MAX_LOGS, user="grader")
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        if name == LOG:
            return b""
        raise rewards.RewardInvalidError(f"{name} cannot be read: {error}") from None


def _rewards(written: Mapping[str, bytes]) -> dict[str, float]:
    """`reward.json`, else `reward.txt`. Raises VerifierError."""
    for name, parse in (("reward.json", rewards.parse_json), ("reward.txt", rewards.parse_text)):
        if name in written:
            if len(written[name]) > rewards.MAX_BYTES:
                raise rewards.RewardInvalidError(f"{name} has {len(written[name])} bytes")
            return parse(written[name])
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
