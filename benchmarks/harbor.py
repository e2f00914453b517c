"""A trivial task as a Harbor directory against the same task native: one box each, solve, verify, gone; one at a time.

Prints medians of interleaved rounds and their ratio. `docker` is what a person would type: run, two execs, rm.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from agentlab.sandboxes import BoxSpec, Limits, open_backend
from agentlab.sandboxes.protocol import Backend
from agentlab.tasks.harbor import import_tasks
from agentlab.tasks.types import ScoreContext, Submission, Terms, Work
from agentlab.traces.events import ListRecorder

IMAGE = "agentlab/python:latest"
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 15
SOLVE = "echo right > answer.txt"
CHECK = '[ "$(cat answer.txt)" = right ]'
TOML = f"""
schema_version = "1.4"
[environment]
docker_image = "{IMAGE}"
network_mode = "no-network"
memory_mb = 512
workdir = "/app"
"""


async def native(backend: Backend) -> None:
    box = await backend.create(BoxSpec(image=IMAGE))
    await box.exec(["sh", "-c", SOLVE])
    await box.quiesce()
    assert (await box.exec(["sh", "-c", CHECK])).exit_code == 0
    await box.close()


def harbor(folder: Path) -> Callable[[Backend], Awaitable[None]]:
    task = import_tasks(folder)
    procedure, (sample,) = task.procedure, tuple(task.samples or ())
    assert procedure is not None
    needs, (step,) = procedure.needs(sample), procedure.steps(sample)
    spec = BoxSpec(image=needs.image, limits=needs.limits or Limits(), profile="writable", workdir=needs.workdir)

    async def trial(backend: Backend) -> None:
        box = await backend.create(spec)
        recorder = ListRecorder()
        work = Work(sample, step, box, recorder, Terms())
        await procedure.prepare(work)
        await procedure.solve(work)
        score = await task.scorers[0].grade(sample, Submission(), ScoreContext(box, None, recorder, work))  # type: ignore[misc]
        assert score.value == 1.0, score.explanation
        await box.close()

    return trial


def docker(folder: Path) -> None:
    def run(*words: str) -> str:
        return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()

    name = run("run", "-d", "--network", "none", "-w", "/app", IMAGE, "sleep", "1000")
    run("exec", name, "sh", "-c", SOLVE)
    run("exec", name, "sh", "-c", CHECK)
    run("rm", "-f", name)


async def timed(work: Awaitable[None]) -> float:
    started = time.perf_counter()
    await work
    return (time.perf_counter() - started) * 1e3


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="agentlab-bench-") as work:
        folder = Path(work) / "trivial"
        for name, text in {
            "task.toml": TOML,
            "instruction.md": "Write the word right into answer.txt.",
            "solution/solve.sh": f"#!/bin/sh\n{SOLVE}\n",
            "tests/test.sh": f"#!/bin/sh\nif {CHECK}; then echo 1; else echo 0; fi > /logs/verifier/reward.txt\n",
        }.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        backend = open_backend("docker", run_id="benchmark")
        await backend.check()
        await backend.ensure_image(IMAGE, print)
        as_harbor = harbor(folder)
        took: dict[str, list[float]] = {"native": [], "harbor": [], "docker": []}
        for _ in range(ROUNDS):
            took["native"].append(await timed(native(backend)))
            took["harbor"].append(await timed(as_harbor(backend)))
            took["docker"].append(await timed(asyncio.to_thread(docker, folder)))
        await backend.close()
    for name, times in took.items():
        print(f"{name:8} median {statistics.median(times):6.0f} ms   best {min(times):6.0f} ms")
    ratio = statistics.median(took["harbor"]) / statistics.median(took["native"])
    print(f"a Harbor directory takes {ratio:.2f} x the same task native (bar: 1.3)")


asyncio.run(main())
