"""Runs whose boxes fail under them: an engine that restarts in the middle, and programs that fill the memory."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from endpoints import Endpoint, bash, submit
from own_engine import own_engine

from agentlab.traces.events import ErrorRaised, LimitReached, Scored

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("docker")]

BOXES = ("box.memory_mb=256", "box.workspace_mb=48", "box.tmp_mb=16")
FILL = """
import os, socket, time
open("/proc/self/oom_score_adj", "w").write("0")
for _ in range(40):
    if os.fork() == 0:
        held = []
        while True:
            one, other = socket.socketpair(); one.setblocking(False); held.append((one, other))
            try:
                while True: one.send(bytes(65536))
            except BlockingIOError: pass
time.sleep(60)
"""
"""Fills the box with memory that belongs to no process, so that the kernel takes the box's keeper."""
KEEP = "mkdir -p kept && echo kept > kept.txt"


@pytest.mark.parametrize(
    ("trials", "how"),
    [
        (20, signal.SIGTERM),
        pytest.param(500, signal.SIGKILL, marks=pytest.mark.long),
        pytest.param(500, signal.SIGTERM, marks=pytest.mark.long),
    ],
)
async def test_an_engine_restart_in_the_middle_costs_no_trial(
    run: Any, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, trials: int, how: signal.Signals
) -> None:
    with own_engine() as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.url)
        halfway = asyncio.Event()
        submitted = 0

        def behave(body: dict[str, Any], request: Any) -> Any:
            nonlocal submitted
            if not any(message["role"] == "assistant" for message in body["messages"]):
                return bash(f"sleep 0.2; {KEEP}")
            submitted += 1
            if submitted == trials // 2:
                halfway.set()
            return submit("done")

        async def restart() -> None:
            await halfway.wait()
            await asyncio.to_thread(engine.end, how)
            await asyncio.to_thread(engine.start)

        endpoint.behave = behave
        restarting = asyncio.create_task(restart())
        ran = await run(
            "workspace", model=endpoint.spec(), harness="tools", settings=BOXES, epochs=trials, max_sandboxes=4
        )
        await restarting
        left = engine.docker("ps", "-aq").stdout
    attempts = [ran.reader.attempts(number) for number in range(1, trials + 1)]
    ends = Counter(row.outcome for of_trial in attempts for row in of_trial)
    assert all(of_trial[-1].final and of_trial[-1].value == 1.0 for of_trial in attempts)
    assert ends["scored"] == trials
    # Those that were under way had another attempt, and the first is kept with its reason.
    assert ends["sandbox"] == ends.total() - trials >= 1
    lost = [row for of_trial in attempts for row in of_trial if row.outcome == "sandbox"]
    assert all(row.value is None and "box" in row.error_message and not row.final for row in lost)
    assert {row.error_kind for row in lost} <= {"lost", "start"}
    line = ran.task("workspace")
    assert (line["value"], line["outcomes"]["scored"], line["outcomes"]["sandbox"]) == (1.0, trials, 0)
    assert left == b""


async def filling_run(run: Any, endpoint: Endpoint, folder: Path, times: int, *settings: str) -> Any:
    """A trial whose program fills its box in its first attempts."""
    asked = 0

    def behave(body: dict[str, Any], request: Any) -> Any:
        nonlocal asked
        if any(message["role"] == "assistant" for message in body["messages"]):
            return submit("done")
        asked += 1
        if asked > times:
            return bash(KEEP)
        return bash(f"{KEEP}; cat > fill.py <<'END'{FILL}END\npython3 fill.py")

    endpoint.behave = behave
    return await run("workspace", model=endpoint.spec(), harness="tools", settings=(*BOXES, *settings))


async def test_a_box_filled_once_is_tried_again(run: Any, endpoint: Endpoint, tmp_path: Path) -> None:
    ran = await filling_run(run, endpoint, tmp_path, 1)
    first, second = ran.reader.attempts(1)
    assert (first.outcome, first.error_kind, first.value) == ("sandbox", "oom", None)
    assert (second.outcome, second.value, second.flags) == ("scored", 1.0, ())


@pytest.mark.parametrize("settings", [(), ("limits.attempts=1",)])
async def test_a_trial_that_fills_its_boxes_has_failed(
    run: Any, endpoint: Endpoint, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    """Left out of the score, as a failure of the place is, it would show a way out of a task that is too hard."""
    ran = await filling_run(run, endpoint, tmp_path, 99, *settings)
    attempts = ran.reader.attempts(1)
    boxes = 1 if settings else 2
    assert [row.outcome for row in attempts] == ["sandbox"] * (boxes - 1) + ["scored"]
    assert (ran.rows["f"].value, ran.rows["f"].flags) == (0.0, ("memory_limit",))
    (error,), (limit,), (score,) = (ran.events("f", kind) for kind in (ErrorRaised, LimitReached, Scored))
    assert error.kind == "oom"
    assert (limit.limit, limit.value) == ("memory_limit", 256.0)
    assert (score.value, score.flags) == (0.0, ("memory_limit",))
    assert f"killed for memory in each of {boxes} boxes" in score.explanation
    assert "--set box.memory_mb=512" in score.explanation
    line = ran.task("workspace")
    assert (line["value"], line["outcomes"]["scored"], line["flags"]) == (0.0, 1, {"memory_limit": 1})
