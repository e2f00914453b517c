"""Stopping a run: Ctrl-C once drains, twice stops at once, SIGTERM stops at once; each leaves a run that resumes."""

from __future__ import annotations

import asyncio
import dataclasses
import shlex
import signal
import sys
from typing import Any

import pytest
from aiohttp import web
from e2e.command_line import Cli, Ended, Gate, asked, line_with, quiz, solve
from endpoints import Endpoint, bash

from agentlab.traces.events import SandboxStart
from agentlab.traces.reader import RunReader

RUN = ("run", "quiz.py", "--max-connections", "2")
WORKERS = 6


def resume_command(ended: Ended) -> list[str]:
    (line,) = [line for line in ended.out.splitlines() if "resume with: " in line]
    words = shlex.split(line.partition("resume with: ")[2])
    assert words[0] == "agentlab"
    return words[1:]


async def finish(cli: Cli, endpoint: Endpoint, interrupted: Ended, n: int) -> None:
    """Run the printed command, and see the whole quiz scored."""
    endpoint.behave = solve
    resumed = await cli(*resume_command(interrupted), "--json")
    assert resumed.code == 0, resumed.err
    (task,) = resumed.document["tasks"]
    assert task["n"] == task["trials"] == n and resumed.document["status"] == "finished"
    assert len(cli.runs) == 1


async def test_control_c_finishes_what_is_under_way_and_prints_how_to_go_on(cli: Cli, endpoint: Endpoint) -> None:
    endpoint.behave = gate = Gate()
    cli.write("quiz.py", quiz(40))
    process = await cli.start(*RUN, "--model", endpoint.spec())
    await gate.reached(2)
    process.send_signal(signal.SIGINT)
    await line_with(process.stderr, "Ctrl-C again stops at once")
    assert process.returncode is None
    gate.open.set()
    ended = await cli.ended(process)
    assert ended.code == 130 and "interrupted" in ended.out and "Traceback" not in ended.err
    assert sum(asked(endpoint).values()) == WORKERS
    await finish(cli, endpoint, ended, 40)
    assert set(asked(endpoint).values()) == {1}


async def test_control_c_twice_stops_at_once(cli: Cli, endpoint: Endpoint) -> None:
    endpoint.behave = gate = Gate()
    cli.write("quiz.py", quiz(20))
    process = await cli.start(*RUN, "--model", endpoint.spec())
    await gate.reached(2)
    process.send_signal(signal.SIGINT)
    await line_with(process.stderr, "Ctrl-C again stops at once")
    process.send_signal(signal.SIGINT)
    ended = await cli.ended(process)
    assert ended.code == 130 and "Traceback" not in ended.err
    rows = (await cli("results", "show", "latest", "--samples", "--json")).document
    assert {row["outcome"] for row in rows} == {"cancelled"} and len(rows) <= WORKERS
    await finish(cli, endpoint, ended, 20)
    attempts = (await cli("results", "show", "latest", "--samples", "--attempts", "--json")).document
    assert sorted(row["attempt"] for row in attempts if row["outcome"] == "cancelled") == [1] * len(rows)


async def test_a_terminate_signal_stops_at_once_and_saves(cli: Cli, endpoint: Endpoint) -> None:
    endpoint.behave = gate = Gate()
    cli.write("quiz.py", quiz(20))
    process = await cli.start(*RUN, "--model", endpoint.spec(), "--json")
    await gate.reached(2)
    process.send_signal(signal.SIGTERM)
    ended = await cli.ended(process)
    assert ended.code == 143 and ended.document["status"] == "stopped"
    assert "stopped" in (await cli("results", "list")).out
    endpoint.behave = solve
    assert (await cli("run", "--resume", ended.document["run_id"])).code == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_a_run_of_a_billion_epochs_stops_as_quickly(cli: Cli, endpoint: Endpoint, how: signal.Signals) -> None:
    """Each trial that was never begun was made a number of its own: it ended in an allocation error."""
    endpoint.behave = gate = Gate()
    cli.write("quiz.py", quiz(2))
    process = await cli.start(*RUN, "--model", endpoint.spec(), "--epochs", "1000000000", "--json")
    await gate.reached(2)
    process.send_signal(how)
    if how == signal.SIGINT:
        await line_with(process.stderr, "Ctrl-C again stops at once")
        gate.open.set()
    ended = await cli.ended(process)
    (task,) = ended.document["tasks"]
    assert ended.code in (130, 143) and task["planned"] == 2_000_000_000 and task["trials"] == WORKERS
    assert task["bounds"] == pytest.approx([0, 1], abs=1e-6)


@pytest.mark.docker
@pytest.mark.usefixtures("docker")
async def test_boxes_are_gone_when_a_run_was_stopped(cli: Cli, endpoint: Endpoint) -> None:
    gate = Gate()

    async def behave(body: dict[str, Any], request: web.Request) -> Any:
        if body["messages"][-1]["role"] == "tool":  # it has worked in its box, and now thinks for ever
            return await gate(body, request)
        return bash("sleep 600 &")

    endpoint.behave = behave
    samples = quiz(3).replace("prompt=", "requires=('shell',), prompt=")
    process = await cli.start(
        "run", cli.write("quiz.py", samples), "--model", endpoint.spec(), "--harness", "tools", "--max-sandboxes", "2"
    )
    await gate.reached(2)
    process.send_signal(signal.SIGTERM)
    assert (await cli.ended(process)).code == 143
    with RunReader(cli.run_dir) as reader:
        boxes = {
            stored.event.box
            for row in reader.trials()
            for stored in reader.events(row.trial, types={"sandbox_start"})
            if isinstance(stored.event, SandboxStart)
        }
    swept = await cli("sandbox", "sweep")
    assert len(boxes) >= 2 and swept.code == 0 and not any(box in swept.out for box in boxes)


DEAF = """
import signal, sys, threading
from agentlab.service.cli import main

threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
sys.exit(main())
"""
"""The command with a main thread whose sleep no Ctrl-C interrupts: it meets another thread. One that comes in the very
moment before the sleep has the same effect, on a busy machine once in some thousand times.
"""


@pytest.mark.parametrize("launcher", ["", DEAF], ids=["as it is", "meeting another thread"])
async def test_control_c_before_the_first_trial_is_quiet(cli: Cli, launcher: str) -> None:
    if launcher:
        cli = dataclasses.replace(cli, command=(sys.executable, cli.write("launcher.py", launcher)))
    cli.write("quiz.py", quiz(2))
    asking = asyncio.Event()

    async with await asyncio.start_server(lambda reader, writer: asking.set(), "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        process = await cli.start(*RUN, "--model", f"http://127.0.0.1:{port}/v1#tiny")
        await asyncio.wait_for(asking.wait(), 60)
        process.send_signal(signal.SIGINT)
        ended = await cli.ended(process)
    assert ended.code == 130 and ended.out == "" and ended.err == "agentlab: stopped before the run began\n"
    assert cli.runs == []
