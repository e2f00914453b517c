"""Trials of every kind carried out again, or told in a line why not: Harbor's, external ones, those a limit ended."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from e2e.command_line import Cli
from e2e.ledger import LEDGER, turns
from endpoints import Endpoint, calling, tool_call
from harbor_directories import harbor_task, playing

EXTERNAL = Path(__file__).parents[1] / "service" / "external_tasks.py"


async def counts(cli: Cli, *trials: str) -> dict[str, int]:
    found = (await cli("traces", "replay", "latest", *trials, "--json")).document
    return {name: found[name] for name in ("same", "diverged", "failed", "skipped") if found[name]}


@pytest.mark.docker
@pytest.mark.usefixtures("docker")
async def test_trials_of_harbors_tasks_are_replayed_graded_again_forked_and_located(
    cli: Cli, endpoint: Endpoint, tmp_path: Path
) -> None:
    harbor_task(tmp_path / "bench" / "one")
    endpoint.behave = playing("echo wrong > answer.txt; cat answer.txt", "ls")
    await cli("run", "bench", "--model", endpoint.spec(), "--harness", "tools")
    run = cli.run_dir.name
    assert await counts(cli) == {"same": 1}
    graded = (await cli("score", "latest", "--json")).document
    assert [(trial["stored"], trial["value"], trial["reason"]) for trial in graded["trials"]] == [(0.0, 0.0, "")]

    steps = await turns(cli, run)
    endpoint.behave = playing("echo right > answer.txt", "ls")
    forked = (await cli("traces", "fork", run, "1", "--step", str(steps[0]), "--n", "1", "--json")).document
    assert (forked["successes"], forked["left_out"]) == (1, 0)
    found = (await cli("traces", "locate", run, "1", "--n", "12", "--json")).document
    assert found["step"] == steps[0] and found["left_out"] == 0, "only from before the wrong command it is right"


@pytest.mark.docker
@pytest.mark.usefixtures("docker")
async def test_a_trial_that_a_limit_ended_is_replayed_to_the_same_turn_and_located(
    cli: Cli, endpoint: Endpoint
) -> None:
    """The agent spoils its ledger in the second of four turns, and never comes to an end."""

    def writes(body: dict[str, Any], request: web.Request) -> dict[str, Any]:
        turn = sum(message["role"] == "assistant" for message in body["messages"]) + 1
        word = "wrong" if turn == 2 and plants else f"entry {turn}"
        return calling(tool_call("bash", {"command": f"echo {word} >> ledger.txt; wc -l < ledger.txt"}, f"c{turn}"))

    plants = True
    endpoint.behave = writes
    cli.write("ledger.py", LEDGER)
    limited = ("--set", "limits.turns=4")
    ran = await cli("run", "ledger.py::ledger", "--model", endpoint.spec(), "--harness", "tools", *limited, "--json")
    assert ran.document["tasks"][0]["flags"] == {"turn_limit": 1} and ran.document["tasks"][0]["value"] == 0.0
    run, plants = ran.document["run_id"], False
    assert await counts(cli) == {"same": 1}
    steps = await turns(cli, run)
    found = (await cli("traces", "locate", run, "1", "--n", "24", "--json")).document
    assert (found["step"], found["left_out"]) == (steps[1], 0)


async def test_what_a_program_of_its_own_carried_out_is_told_in_a_line(cli: Cli, endpoint: Endpoint) -> None:
    cli.write("own.py", EXTERNAL.read_text().replace("Path(__file__).with_name", f"Path({str(EXTERNAL)!r}).with_name"))
    await cli("run", "own.py::counted", "--model", endpoint.spec(), env={"PATH": str(Path(sys.executable).parent)})
    assert await counts(cli) == {"skipped": 3}
    said = "carried out by a program of its task's own"
    (await cli("traces", "fork", "latest", "1", "--step", "1")).refused(2, "cannot be forked", said)
    (await cli("traces", "locate", "latest", "1")).refused(2, "cannot be forked", said)
    graded = await cli("score", "latest", "--json")
    assert graded.code == 1 and all(said in trial["reason"] for trial in graded.document["trials"])
