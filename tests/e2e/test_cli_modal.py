"""Runs whose boxes stand on Modal: here the real client against a server that stands in for the service."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from e2e.command_line import Cli
from modal_standin import serving

from agentlab.traces.events import SandboxStart
from agentlab.traces.reader import RunReader

QUICKSTART = ("run", "quickstart", "--model", "reference", "--harness", "tools", "--sandbox", "modal")
NOBODY = {"MODAL_CONFIG_PATH": "/nonexistent", "MODAL_PROFILE": "", "MODAL_TOKEN_ID": "", "MODAL_TOKEN_SECRET": ""}


@pytest.fixture(scope="module")
def account(docker: None) -> Iterator[dict[str, str]]:
    """The variables that lead the client to the stand-in, which takes its image from the local engine."""
    if os.environ.get("AGENTLAB_TEST_MODAL") == "account":
        yield {}
        return
    with serving() as variables:
        yield variables


@pytest.mark.docker
async def test_quickstart_passes_on_modal(cli: Cli, account: dict[str, str]) -> None:
    ended = await cli(*QUICKSTART, "--json", env=account)
    assert ended.code == 0, ended.err
    tasks = {task["task"]: (task["value"], task["n"]) for task in ended.document["tasks"]}
    assert tasks == {
        "quickstart_questions": (1.0, 6),
        "quickstart_programs": (1.0, 5),
        "quickstart_repairs": (1.0, 4),
    }
    with RunReader(cli.run_dir) as reader:
        assert reader.document()["isolation"] == "modal"
        assert reader.document()["images"]["agentlab/python:latest"].startswith("im-")
        stored = [found for row in reader.trials() for found in reader.events(row.trial)]
    events = [found.event for found in stored if isinstance(found.event, SandboxStart)]
    assert events
    assert {(event.sandbox, event.isolation) for event in events} == {("modal", "modal")}
    assert all(event.box.startswith("sb-") for event in events)


@pytest.mark.docker
async def test_nothing_is_left_on_modal_after_a_run(cli: Cli, account: dict[str, str]) -> None:
    assert (await cli(*QUICKSTART, "--limit", "1", env=account)).code == 0
    swept = await cli("sandbox", "sweep", "--sandbox", "modal", env=account)
    assert (swept.code, swept.out) == (0, "nothing was left behind\n")


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        ({}, "no credentials for Modal"),
        ({"MODAL_TOKEN_ID": "ak-1"}, "no credentials for Modal"),
        ({"MODAL_PROFILE": "other"}, "'other' was not found"),
    ],
)
async def test_without_credentials_nothing_starts(cli: Cli, credentials: dict[str, str], words: str) -> None:
    said = (await cli(*QUICKSTART, env=NOBODY | credentials)).refused(3, words, "modal token new", "--sandbox docker")
    assert said.count("\n") == 1
    assert cli.runs == []


@pytest.mark.docker
async def test_credentials_that_are_refused_are_told(cli: Cli, account: dict[str, str]) -> None:
    if not account:
        pytest.skip("the account's own credentials are good")
    wrong = account | {"MODAL_TOKEN_SECRET": "as-other"}
    said = (await cli(*QUICKSTART, env=wrong)).refused(3, "Token ID or secret is wrong", "modal token new")
    assert said.count("\n") == 1
    assert cli.runs == []


async def test_without_the_extra_one_sentence_names_it(cli: Cli) -> None:
    cli.write("absent/modal.py", "raise ModuleNotFoundError(\"No module named 'modal'\", name='modal')\n")
    path = os.pathsep.join(filter(None, [str(cli.home / "absent"), os.environ.get("PYTHONPATH")]))
    said = (await cli(*QUICKSTART, env={"PYTHONPATH": path})).refused(3, ".venv/bin/pip install -e '.[modal]'")
    assert said.count("\n") == 1
    assert cli.runs == []


async def test_a_plan_asks_nobody(cli: Cli) -> None:
    ended = await cli(*QUICKSTART, "--plan", "--json", env=NOBODY)
    assert ended.code == 0, ended.err
    assert "modal" in ended.out
