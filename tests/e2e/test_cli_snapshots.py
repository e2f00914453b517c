"""Workspaces that a run keeps on the way, and forks that begin with them, in real boxes."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from e2e.command_line import Cli
from e2e.ledger import LEDGER, turns
from endpoints import Endpoint, calling, tool_call

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("docker")]

SAID = (
    "head -c 8 /dev/urandom | od -An -tx1 | tee secret.txt",
    "echo entry one >> ledger.txt; export LEFT=behind",
    "cat secret.txt",
    "echo entry two >> ledger.txt; echo ${LEFT:-nothing}",
)
"""Nobody can carry the first one out again; the third shows whether its file is there all the same."""


def writes(body: dict[str, Any], request: web.Request) -> dict[str, Any]:
    turn = sum(message["role"] == "assistant" for message in body["messages"])
    call = ("submit", {}) if turn == len(SAID) else ("bash", {"command": SAID[turn]})
    return calling(tool_call(*call, f"c{turn}"))


async def written(cli: Cli, endpoint: Endpoint, every: int) -> tuple[str, list[int]]:
    """A run that keeps a workspace before every so many turns, and the steps of its turns."""
    endpoint.behave = writes
    cli.write("ledger.py", LEDGER)
    model = ("--model", endpoint.spec(), "--harness", "tools", "--set", f"box.snapshots={every}")
    run = (await cli("run", "ledger.py::ledger", *model, "--json")).document
    assert run["tasks"][0]["value"] == 1.0
    return run["run_id"], await turns(cli, run["run_id"])


async def outputs(cli: Cli, run: str, trial: str = "1") -> list[str]:
    shown = (await cli("traces", "show", run, trial, "--json")).document
    return [step["result"]["content"] for step in shown if step["type"] == "tool_call"]


async def test_a_fork_begins_with_the_workspace_that_was_kept(cli: Cli, endpoint: Endpoint) -> None:
    run, steps = await written(cli, endpoint, every=2)
    kept = (await cli("traces", "show", run, "1", "--json")).document
    assert [step["name"] for step in kept if step["type"] == "artifact"] == ["workspace", "workspace"]
    at = ("traces", "fork", run, "1", "--step", str(steps[3]))

    again = await cli(*at, "--n", "1", "--no-snapshots")
    assert again.code == 1 and "answers otherwise before the fork" in again.out, "the world cannot be had again"

    found = (await cli(*at, "--n", "2", "--json")).document
    assert (found["successes"], found["forks"], found["left_out"]) == (2, 2, 0)
    assert {trial["snapshot"] for trial in found["trials"]} == {steps[2]}, "the last one that was kept before"
    before, after = await outputs(cli, run), await outputs(cli, found["run"])
    assert after[:3] == before[:3], "what came before is in the fork's trace, and the file was there to be read"
    assert before[3].startswith("behind") and after[3].startswith("nothing"), "a workspace is not the whole box"

    said = await cli(*at, "--n", "1", "--set", "limits.turns=4")
    assert f"with the workspace that was kept before step {steps[2]}, in a new shell" in said.out
    (trial,) = (await cli("results", "show", "latest", "--samples", "--json")).document
    assert trial["flags"] == ["turn_limit"] and trial["value"] == 1.0, "turns before the fork count"


async def test_a_workspace_that_is_damaged_or_hostile_is_refused(cli: Cli, endpoint: Endpoint) -> None:
    run, steps = await written(cli, endpoint, every=1)
    for artifact in (cli.run_dir / "artifacts").glob("*/*"):
        artifact.write_bytes(b"what is no archive")
    forked = await cli("traces", "fork", run, "1", "--step", str(steps[1]), "--n", "1")
    forked.refused(2, "is not what was stored")
