"""`agentlab traces fork` and `locate`: trials started again at a step, in real boxes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from e2e.command_line import Cli
from e2e.ledger import LEDGER, Clerk, planted, turns
from endpoints import Endpoint

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("docker")]


async def test_the_planted_step_is_located_and_a_fork_before_it_succeeds(cli: Cli, endpoint: Endpoint) -> None:
    run = await planted(cli, endpoint, Clerk(turns=5, wrong=3))
    steps = await turns(cli, run)
    found = (await cli("traces", "locate", run, "1", "--json")).document
    assert found["step"] == steps[2] and found["interval"] == [steps[2], steps[2]]
    assert found["before"] > 0.8 > 0.2 > found["after"] and found["left_out"] == 0
    assert found["origin"]["run"] == run and len(found["prefixes"]) == 6
    spent = {prefix["step"]: prefix["chance"]["forks"] for prefix in found["prefixes"]}
    assert spent[steps[2]] + spent[steps[3]] > sum(spent.values()) / 2, "forks go where the change is"

    stored = json.loads((cli.home / "runs" / found["run"] / "run.json").read_text())
    assert stored["origin"]["run"] == run and stored["status"] == "finished"
    trials = (await cli("results", "show", found["run"], "--samples", "--json")).document
    assert len(trials) == found["forks"] and {trial["sample"] for trial in trials} == {"book"}
    (await cli("run", "--resume", found["run"])).refused(2, "cannot be resumed")

    at = (await cli("traces", "fork", run, "1", "--step", str(steps[2]), "--n", "3", "--json")).document
    assert (at["successes"], at["forks"], at["value"]) == (3, 3, 1.0) and at["ci95"][0] < 0.5
    behind = await cli("traces", "fork", run, "1", "--step", str(steps[3]), "--n", "2")
    assert behind.code == 0 and "0 of 2 forks succeed" in behind.out
    failed = (await cli("traces", "list", "latest", "--label", "failure", "--json")).document
    assert len(failed) == 2, "forks that fail are labelled like other trials"


async def test_a_fork_takes_another_action_or_prompt(cli: Cli, endpoint: Endpoint) -> None:
    clerk = Clerk(turns=3, wrong=2)
    run = await planted(cli, endpoint, clerk)
    steps = await turns(cli, run)
    action = json.dumps({"name": "bash", "arguments": {"command": "echo entry two >> ledger.txt; echo mine"}})
    forked = await cli("traces", "fork", run, "1", "--step", str(steps[1]), "--action", action, "--n", "1", "--json")
    assert forked.document["value"] == 1.0
    shown = (await cli("traces", "show", forked.document["run"], "1", "--json")).document
    outputs = [step["result"]["content"] for step in shown if step["type"] == "tool_call"]
    assert outputs[0].startswith("entry 1") and outputs[1].startswith("mine") and outputs[2].startswith("entry 3")
    again = (await cli("traces", "replay", forked.document["run"], "--json")).document
    assert again["same"] == 1, "a fork is a trial like others"

    clerk.systems.clear()
    args = (
        "--step",
        str(steps[2]),
        "--system",
        "Be careful.",
        "--set",
        "sampling.temperature=0.5",
        "--n",
        "1",
        "--json",
    )
    assert (await cli("traces", "fork", run, "1", *args)).document["value"] == 0.0
    assert set(clerk.systems) == {"Be careful."} and endpoint.bodies[-1]["temperature"] == 0.5

    bad: Any = await cli("traces", "fork", run, "1", "--step", "1")
    bad.refused(2, "no turn", str(steps[0]))
    (await cli("traces", "fork", run, "1", "--step", "9", "--action", '{"tool": 1}')).refused(2, "arguments")


async def test_a_world_that_answers_otherwise_is_no_fork(cli: Cli, endpoint: Endpoint) -> None:
    run = await planted(cli, endpoint, Clerk(turns=2, wrong=1))
    steps = await turns(cli, run)
    text = LEDGER.replace('Sample(id="book"', 'Sample(id="book", files={"ledger.txt": "old"}')
    cli.write("ledger.py", text)
    forked = await cli("traces", "fork", run, "1", "--step", str(steps[1]), "--n", "2")
    assert forked.code == 1 and "2 left out" in forked.out and "answers otherwise before the fork" in forked.out
