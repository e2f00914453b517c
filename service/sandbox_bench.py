"""The figures of `agentlab sandbox bench`: those of boxes, and those of whole runs over the same trivial task."""

from __future__ import annotations

import functools
import statistics
import tempfile
from collections.abc import AsyncIterator, Collection
from pathlib import Path

from agentlab.sandboxes import images, open_backend
from agentlab.sandboxes.bench import MEASURES, Bench, Row
from agentlab.sandboxes.protocol import Say
from agentlab.service.boxes import offered_by
from agentlab.service.config import RunConfig
from agentlab.service.harness import load_harness
from agentlab.service.launch import launch
from agentlab.service.prepare import prepare
from agentlab.traces.events import SandboxEnd, SandboxStart
from agentlab.traces.reader import RunReader

AT_ONCE = 4
TASK = """
from agentlab.models.tools import ToolCall
from agentlab.tasks import Sample, Score, Scorer, Task, task


async def verify(sample, submission, context):
    result = await context.sandbox.exec(["sh", "-c", "test $(cat answer.txt) = 42"])
    return Score(value=float(result.ok))


@task
def trivial():
    solve = ToolCall(id="1", name="bash", arguments={"command": "cat question.txt > answer.txt"})
    samples = [
        Sample(id=str(number), input="Copy the question.", files={"question.txt": "42\\n"}, solution=(solve,))
        for number in range(COUNT)
    ]
    scorer = Scorer(name="verify", grade=verify, requires=("shell",))
    return Task(samples=samples, requires=("shell",), answer="workspace", scorers=[scorer])
"""
NAMES = (*MEASURES, "runs")


async def bench(only: Collection[str], say: Say) -> AsyncIterator[Row]:
    """Rows as they are measured; `only` names those that are wanted. Raises SandboxError where there is no engine."""
    image = f"{next(iter(images.BUILT_IN))}:latest"
    backend = open_backend("docker", run_id="bench")
    try:
        await backend.check()
        await backend.ensure_image(image, say)
        shared = Bench(backend, image)
        try:
            for name, measure in MEASURES.items():
                if not only or name in only:
                    async for row in measure(shared):
                        yield row
            if shared.ahead_rate and (not only or "runs" in only):
                async for row in _runs(shared):
                    yield row
        finally:
            await shared.close()
    finally:
        await backend.close()


async def _runs(shared: Bench) -> AsyncIterator[Row]:
    """The trivial task through the runner: planned, recorded, stored."""
    rate, waits = await _run(100)
    said, value = f"bare create, exec, remove {shared.bare_rate:.2f}/s", rate / shared.bare_rate
    yield Row("the same through `agentlab run`", f"{rate:.2f}/s", said, value, least=0.8)
    waited = statistics.median(waits)
    yield Row("a model waits for its box", f"{waited:.1f} ms", f"worst {max(waits):.0f} ms", waited, "ms", most=20)
    again, _ = await _run(400, "box.reuse=true")
    said, value = f"boxes ahead {shared.ahead_rate:.2f}/s", again / shared.ahead_rate
    yield Row("reuse through `agentlab run`", f"{again:.0f}/s", said, value, least=10)


async def _run(count: int, *settings: str) -> tuple[float, list[float]]:
    """Trials a second from the first box to the last, and the milliseconds that each model waited for its box."""
    with tempfile.TemporaryDirectory(prefix="agentlab-bench-") as folder:
        file = Path(folder) / "trivial.py"
        file.write_text(TASK.replace("COUNT", str(count)), encoding="utf-8")
        config = RunConfig(
            tasks=(f"{file}::trivial",),
            model="reference",
            harness=load_harness("tools", settings),
            max_sandboxes=AT_ONCE,
            runs_dir=folder,
        )
        plan = prepare(config, functools.partial(offered_by, config.sandbox))
        end = await launch(plan, quiet=True, say=lambda sentence: None)
        starts, ends, waits = [], [], []
        with RunReader(end.run_dir) as reader:
            for trial in reader.trials():
                if trial.value != 1.0:
                    raise RuntimeError(f"a trial ended as {trial.outcome} with {trial.value}: {trial.error_message}")
                for stored in reader.events(trial.trial, types={"sandbox_start", "sandbox_end"}):
                    event = stored.event
                    if isinstance(event, SandboxStart):
                        starts.append(event.at)
                    elif isinstance(event, SandboxEnd):
                        ends.append(event.at)
                        waits.append(event.waited_ms)
    return count / (max(ends) - min(starts)), waits
