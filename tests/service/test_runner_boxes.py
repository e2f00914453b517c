"""Trials in real Docker boxes: lanes, lost boxes, limits, answer files, and a quiet box to grade in."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import anyio
import pytest
from endpoints import Endpoint, bash, calling, chat, submit, tool_call

from agentlab.traces.events import (
    ErrorRaised,
    LimitReached,
    ModelCall,
    SandboxEnd,
    SandboxStart,
    ToolCallEvent,
)

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("docker")]

BOXES = ("box.memory_mb=256", "box.workspace_mb=48", "box.tmp_mb=16")
LOSING = '''
import asyncio
import itertools
from pathlib import Path

from agentlab.models.tools import tool


@tool
async def lose(times: int, *, sandbox) -> str:
    """Lose the box, as an engine that fails would, until it happened that often."""
    lost = Path({folder!r}, "lost")
    count = len(lost.read_text()) if lost.exists() else 0
    if count >= times:
        return "still here"
    lost.write_text("x" * (count + 1))
    process = await asyncio.create_subprocess_exec("docker", "rm", "-f", sandbox.id, stdout=-3, stderr=-3)
    await process.wait()
    return (await sandbox.exec(["true"])).stdout.decode()
'''


def playing(*replies: Any) -> Any:
    """Answers by how many assistant messages the conversation holds; the last one for good."""

    def behave(body: dict[str, Any], request: Any) -> Any:
        said = sum(message["role"] == "assistant" for message in body["messages"])
        return replies[min(said, len(replies) - 1)]

    return behave


async def test_each_sample_takes_its_own_route(run: Any, endpoint: Endpoint) -> None:
    def behave(body: dict[str, Any], request: Any) -> Any:
        return submit("plum") if body.get("tools") else chat("plum")

    endpoint.behave = behave
    ran = await run("mixed", model=endpoint.spec(), harness="tools", settings=BOXES)
    rows = ran.rows
    assert {name: row.route["agent"] for name, row in rows.items()} == {
        "plain0": "direct", "plain1": "direct", "plain2": "direct", "plain3": "direct", "boxed": "docker"
    }  # fmt: skip
    assert {row.value for row in rows.values()} == {1.0}
    assert rows["boxed"].trial == 5
    assert ran.task("mixed")["route"] == {"agent": "direct+docker", "scorer": "direct"}
    system = [body["messages"][0]["content"] for body in endpoint.bodies if body.get("tools")]
    assert all(text.startswith("You work in a Linux sandbox") for text in system)
    assert ran.document["isolation"] == "docker"
    assert list(ran.document["images"]) == ["agentlab/python:latest"]


async def test_plain_questions_do_not_wait_for_boxes(run: Any, endpoint: Endpoint) -> None:
    plain_done = anyio.Event()
    answered = 0

    async def behave(body: dict[str, Any], request: Any) -> Any:
        nonlocal answered
        if body.get("tools"):
            # The agent in the box answers only when every plain question was answered.
            await plain_done.wait()
            return submit("plum")
        answered += 1
        if answered == 4:
            plain_done.set()
        return chat("plum")

    endpoint.behave = behave
    with anyio.fail_after(60):
        ran = await run("mixed", model=endpoint.spec(), harness="tools", settings=BOXES, max_connections=2)
    assert ran.task("mixed")["value"] == 1.0


async def test_what_the_agent_left_running_is_dead_before_grading(run: Any, endpoint: Endpoint) -> None:
    daemon = "exec -a left_behind sleep 600"
    endpoint.behave = playing(
        bash(f"echo kept > kept.txt; (setsid bash -c '{daemon}' >/dev/null 2>&1 &) ; sleep 0.2; pgrep -c -f left_beh"),
        submit(),
    )
    ran = await run("workspace", model=endpoint.spec(), harness="tools", settings=BOXES)
    (call, _) = ran.events("f", ToolCallEvent)
    assert call.result.content.splitlines()[0].strip() != "0", "it did run"
    assert ran.rows["f"].value == 1.0
    (start,) = ran.events("f", SandboxStart)
    (end,) = ran.events("f", SandboxEnd)
    assert start.box == end.box
    assert ran.rows["f"].sandbox_seconds == pytest.approx(end.seconds)


@pytest.mark.parametrize("how", ["file", "text"])
async def test_an_answer_file_wins_over_text(run: Any, endpoint: Endpoint, how: str) -> None:
    """Also where the scorer itself needs no box."""
    write = bash("cat note.txt > answer.txt") if how == "file" else bash("cat note.txt")
    endpoint.behave = playing(write, chat("quince" if how == "file" else "plum"))
    ran = await run("words_in_box", model=endpoint.spec(), harness="tools", settings=BOXES)
    assert ran.rows["w"].value == 1.0
    assert ran.rows["w"].route["scorer"] == "direct"
    assert ran.events("w", ToolCallEvent)[0].result.content.endswith("[exit code 0]")


async def test_the_same_task_is_graded_in_a_box_whoever_answers(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = lambda body, request: chat("print(1)")
    direct = await run("programs", model=endpoint.spec(), settings=BOXES)
    assert (direct.rows["p"].value, direct.rows["p"].route["scorer"]) == (1.0, "docker")
    (start,) = direct.events("p", SandboxStart)
    assert start.purpose == "scorer"
    for model, value in (("reference", 1.0), ("nop", 0.0)):
        for harness in ("direct", "tools"):
            ran = await run("programs", model=model, harness=harness, settings=BOXES)
            assert ran.rows["p"].value == value, (model, harness)


@pytest.mark.parametrize(
    ("limit", "flag"),
    [("limits.turns=2", "turn_limit"), ("limits.tokens=15", "token_limit"), ("limits.time_s=2", "time_limit")],
)
async def test_a_limit_leaves_a_trace_and_a_score(run: Any, endpoint: Endpoint, limit: str, flag: str) -> None:
    command = "echo kept > kept.txt" if flag != "time_limit" else "echo kept > kept.txt; sleep 100"
    endpoint.behave = lambda body, request: bash(command)
    ran = await run("workspace", model=endpoint.spec(), harness="tools", settings=(*BOXES, limit))
    row = ran.rows["f"]
    assert (row.outcome, row.value, row.flags) == ("scored", 1.0, (flag,))
    (reached,) = ran.events("f", LimitReached)
    assert reached.limit == flag
    assert ran.events("f", ModelCall)
    assert ran.task("workspace")["flags"] == {flag: 1}


async def losing_run(run: Any, endpoint: Endpoint, folder: Path, times: int) -> Any:
    tools, harness = folder / "losing.py", folder / "losing.yaml"
    tools.write_text(LOSING.format(folder=str(folder)))
    harness.write_text(f"name: losing\nscaffold: tools\ntools: ['{tools}::lose', bash, submit]\n")
    endpoint.behave = playing(
        bash("echo kept > kept.txt"), calling(tool_call("lose", {"times": times})), bash("cat kept.txt"), submit()
    )
    return await run("workspace", model=endpoint.spec(), harness=str(harness), settings=BOXES)


async def test_a_lost_box_is_replaced_and_every_attempt_is_kept(run: Any, endpoint: Endpoint, tmp_path: Path) -> None:
    ran = await losing_run(run, endpoint, tmp_path, 1)
    first, second = ran.reader.attempts(1)
    assert (first.outcome, first.error_kind, first.final) == ("sandbox", "lost", False)
    assert (second.outcome, second.value, second.final) == ("scored", 1.0, True)
    (error,) = ran.events("f", ErrorRaised, attempt=1)
    assert error.boundary == "sandbox"
    assert len(ran.events("f", ToolCallEvent, attempt=1)) == 1
    boxes = [ran.events("f", SandboxStart, attempt=number)[0].box for number in (1, 2)]
    assert boxes[0] != boxes[1]
    assert ran.task("workspace")["outcomes"]["scored"] == 1


async def test_a_box_that_is_lost_each_time_is_recorded(run: Any, endpoint: Endpoint, tmp_path: Path) -> None:
    ran = await losing_run(run, endpoint, tmp_path, 99)
    attempts = ran.reader.attempts(1)
    assert [row.outcome for row in attempts] == ["sandbox"] * 3
    assert [row.final for row in attempts] == [False, False, True]
    line = ran.task("workspace")
    assert (line["value"], line["outcomes"]["sandbox"], line["bounds"]) == (None, 1, [0.0, 1.0])


async def test_an_image_that_is_not_there_fails_its_trials_at_once(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = lambda body, request: chat("plum")
    settings = (*BOXES, "box.image=127.0.0.1:9/absent:none")
    ran = await run("mixed", model=endpoint.spec(), harness="tools", settings=settings)
    row = ran.rows["boxed"]
    assert (row.outcome, row.error_kind) == ("sandbox", "image")
    assert "127.0.0.1:9/absent:none" in row.error_message
    assert len(ran.reader.attempts(5)) == 1, "another box would meet the same image"
    assert {ran.rows[f"plain{n}"].outcome for n in range(4)} == {"scored"}


async def test_files_that_do_not_fit_are_the_tasks_fault(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = playing(bash("ls"), submit("x"))
    settings = ("box.memory_mb=256", "box.workspace_mb=1", "box.tmp_mb=16")
    ran = await run("big_files", model=endpoint.spec(), harness="tools", settings=settings)
    row = ran.rows["big"]
    assert (row.outcome, len(ran.reader.attempts(1))) == ("task", 1)
    assert "'big.txt' cannot be laid into the box" in row.error_message


def _span(ran: Any, trial: int) -> tuple[float, float]:
    """When a trial held its box."""
    events = [stored.event for stored in ran.reader.events(trial, types={"sandbox_start", "sandbox_end"})]
    return events[0].at, events[1].at


async def test_one_box_at_a_time_serves_agents_and_scorers(run: Any, endpoint: Endpoint) -> None:
    def behave(body: dict[str, Any], request: Any) -> Any:
        in_box = bool(body.get("tools")) and "program" not in str(body["messages"])
        return playing(bash("cat note.txt > answer.txt"), submit())(body, request) if in_box else chat("print(1)")

    endpoint.behave = behave
    with anyio.fail_after(90):
        ran = await run(
            "words_in_box",
            "programs",
            model=endpoint.spec(),
            harness="tools",
            settings=BOXES,
            epochs=2,
            max_sandboxes=1,
        )
    assert (ran.task("words_in_box")["value"], ran.task("programs")["value"]) == (1.0, 1.0)
    spans = [_span(ran, trial) for trial in (1, 2, 3, 4)]
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(sorted(spans))), "never two at once"


async def test_no_box_is_left_behind(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = playing(bash("echo kept > kept.txt"), submit())
    ran = await run("workspace", model=endpoint.spec(), harness="tools", settings=BOXES, epochs=3, max_sandboxes=2)
    assert ran.task("workspace")["value"] == 1.0
    boxes = [ran.reader.events(trial, types={"sandbox_start"}) for trial in (1, 2, 3)]
    names = [stored.event.box for events in boxes for stored in events if isinstance(stored.event, SandboxStart)]
    assert len(set(names)) == 3, "a fresh box for each trial"
    process = await asyncio.create_subprocess_exec("docker", "ps", "-aq", "--no-trunc", stdout=asyncio.subprocess.PIPE)
    listed, _ = await process.communicate()
    assert not set(names) & set(listed.decode().split())


async def test_a_box_is_there_before_the_model_is_asked(run: Any, endpoint: Endpoint) -> None:
    """So what the run waits for is the queue, which is recorded, and no answer is paid for where no box can be had."""
    endpoint.behave = playing(bash("cat note.txt > answer.txt"), submit())
    ran = await run("words_in_box", model=endpoint.spec(), harness="tools", settings=BOXES, epochs=3)
    for trial in (1, 2, 3):
        events = [stored.event for stored in ran.reader.events(trial)]
        kinds = [type(event) for event in events]
        assert kinds.index(SandboxStart) < kinds.index(ModelCall)
        (end,) = [event for event in events if isinstance(event, SandboxEnd)]
        assert end.waited_ms < 1000


async def test_a_harness_may_ask_for_boxes_that_serve_again(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = playing(bash("test ! -e kept.txt && cat note.txt > answer.txt; echo x > kept.txt"), submit())
    settings = (*BOXES, "box.reuse=true")
    again = await run(
        "words_in_box", model=endpoint.spec(), harness="tools", settings=settings, epochs=4, max_sandboxes=1
    )
    starts = [stored for trial in (1, 2, 3, 4) for stored in again.reader.events(trial, types={"sandbox_start"})]
    assert len(starts) == 4
    assert len({stored.event.box for stored in starts}) < 4
    assert again.task("words_in_box")["value"] == 1.0, "and found empty"
    fresh = await run("words_in_box", model=endpoint.spec(), harness="tools", settings=BOXES)
    first, second = (next(iter(ran.document["tasks"].values()))["scaffolds"]["tools"] for ran in (again, fresh))
    assert first["config_hash"] != second["config_hash"], "a used box is another measurement"
