"""Task directories of others on the command line, and a run as a Harbor job."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from e2e.command_line import Cli
from harbor_directories import QUIET, harbor_task


@pytest.mark.docker
@pytest.mark.usefixtures("docker")
async def test_a_folder_is_run_planned_and_exported(cli: Cli, tmp_path: Path) -> None:
    harbor_task(tmp_path / "bench" / "one")
    harbor_task(tmp_path / "bench" / "two", toml=QUIET + "moood = 1\n")
    harbor_task(tmp_path / "bench" / "public", toml=QUIET.replace("no-network", "public"))
    plan = (await cli("run", "bench", "--model", "reference", "--harness", "tools", "--plan", "--json")).document
    refused = [row for row in plan["plan"] if row["agent"] == "refused"]
    assert [row["n"] for row in refused] == [1] and "--allow-network" in refused[0]["why"]
    ran = await cli("run", "bench", "--model", "reference", "--harness", "tools", "--json")
    assert ran.document["tasks"][0]["value"] == 1.0
    assert ran.document["tasks"][0]["outcomes"] == {
        "scored": 2, "model": 0, "sandbox": 0, "task": 1, "verifier": 0, "cancelled": 0
    }  # fmt: skip
    assert ran.document["tasks"][0]["labels"] == {"verifier:same_box": 2, "failure:task.broken": 1}
    assert "two/task.toml: the field environment.moood is not part of the format" in ran.err
    again = await cli("run", "bench", "--model", "reference", "--harness", "tools", "--allow-network", "--json")
    assert again.document["tasks"][0]["outcomes"]["scored"] == 3

    job = (await cli("export", "harbor", "latest")).out.strip()
    assert Path(job).parent.name == "jobs" and len(list((tmp_path / job).glob("*__*/result.json"))) == 3
    assert json.loads((tmp_path / job / "result.json").read_text())["n_total_trials"] == 3
    (await cli("export", "harbor", "latest")).refused(2, "is there already", "--to")
    (await cli("export", "harbor", "no-such-run")).refused(2, "no-such-run")


async def test_what_is_no_task_is_refused_in_a_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (await cli("run", "./empty", "--model", "nop")).refused(2, "no task in Harbor's format")
    (await cli("run", "./nowhere", "--model", "nop")).refused(2, "no such folder")
    harbor_task(tmp_path / "torn", toml="[environment\n")
    (await cli("run", "torn", "--model", "nop")).refused(2, "torn/task.toml:2", "not TOML")
