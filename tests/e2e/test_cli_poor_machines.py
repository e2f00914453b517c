"""Machines that lack something: no network, no engine, no root."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.command_line import AGENTLAB, Cli, quiz

CONFINED = Path(__file__).with_name("confined.py")
QUICKSTART = ("run", "quickstart", "--model", "reference", "--harness", "tools")


def confined(world: str, *paths: Path) -> tuple[str, ...]:
    return (sys.executable, str(CONFINED), world, *map(str, paths), "--", str(AGENTLAB))


@pytest.fixture
def offline(cli: Cli) -> Cli:
    """The command in a network namespace with nothing but loopback."""
    if os.geteuid() != 0:
        pytest.skip("a network namespace is root's to make")
    cli.command = confined("offline")
    return cli


@pytest.fixture
def nobody(repository: Path) -> Iterator[Cli]:
    """The command as a user who is not root, without an engine, at home in an empty directory."""
    home = Path(tempfile.mkdtemp(prefix="agentlab-e2e-"))
    needed = [Path(sys.base_prefix), Path(sys.prefix), repository, home]
    command = Cli(home, {"HOME": str(home), "DOCKER_HOST": f"unix://{home}/no.sock", "XDG_CACHE_HOME": str(home)})
    if os.geteuid() == 0:
        os.chown(home, 65534, 65534)
        command.command = confined("nobody", *dict.fromkeys(path.resolve() for path in needed))
    yield command
    shutil.rmtree(home)


def all_passed(document: dict[str, object]) -> bool:
    tasks = document["tasks"]
    assert isinstance(tasks, list)
    return [task["task"] for task in tasks if task["value"] == 1.0 and task["n"] == task["trials"]] == [
        "quickstart_questions",
        "quickstart_programs",
        "quickstart_repairs",
    ]


@pytest.mark.docker
@pytest.mark.usefixtures("docker")
async def test_without_a_network_quickstart_passes_in_docker(offline: Cli) -> None:
    ended = await offline(*QUICKSTART, "--json")
    assert ended.code == 0, ended.err
    assert all_passed(ended.document)


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
async def test_without_a_network_quickstart_passes_in_bubblewrap(offline: Cli) -> None:
    ended = await offline(*QUICKSTART, "--json", "--sandbox", "bubblewrap")
    assert ended.code == 0, ended.err
    assert all_passed(ended.document)


async def test_without_a_network_what_is_remote_is_named(offline: Cli) -> None:
    task = quiz(1).replace("samples=samples", "source=DataSource('https://data.invalid/rows.jsonl'), to_sample=dict")
    offline.write("far.py", task.replace("import Sample,", "import DataSource, Sample,"))
    said = (await offline("run", "far.py", "--model", "reference")).refused(2, "https://data.invalid/rows.jsonl")
    assert "AGENTLAB_DATA" in said


async def test_not_root_and_without_an_engine_one_line_says_what_to_do(nobody: Cli) -> None:
    ended = await nobody(*QUICKSTART)
    said = ended.refused(3, "no.sock", "--sandbox bubblewrap")
    assert said.count("\n") == 1
    assert nobody.runs == []


async def bubblewrap_of(nobody: Cli, *flags: str) -> dict[str, Any]:
    """What `sandbox check` found of bubblewrap. Skips where nobody may use it."""
    findings = (await nobody("sandbox", "check", "--json", *flags)).document
    (found,) = [finding for finding in findings if finding["sandbox"] == "bubblewrap"]
    if not found["usable"]:
        pytest.skip(found["reason"])
    return dict(found)


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
async def test_not_root_and_without_an_engine_bubblewrap_serves(nobody: Cli) -> None:
    found = await bubblewrap_of(nobody, "--quick")
    assert any("memory of a box as a whole" in said for said in found["not_contained"])
    ended = await nobody(*QUICKSTART, "--json", "--sandbox", "bubblewrap")
    assert ended.code == 0, ended.err
    assert all_passed(ended.document)
    assert nobody.run_dir.stat().st_uid != 0


@pytest.mark.long
@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
async def test_not_root_and_without_an_engine_attacks_are_held(nobody: Cli) -> None:
    found = await bubblewrap_of(nobody)
    holds = {row["name"]: row["holds"] for row in found["tried"]}
    assert holds.pop("CPU") is not True  # a busy machine cannot tell
    # Nobody may make control groups: the memory of a box as a whole is not held, and that is said.
    assert holds == dict.fromkeys(holds, True) | {"memory": None}, found["tried"]
