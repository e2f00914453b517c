"""`agentlab sandbox check`: what a machine offers, in words and as JSON."""

from __future__ import annotations

from typing import Any

import pytest
from e2e.command_line import Cli

from agentlab.sandboxes.attacks import ATTACKS, FAMILIES


def of(name: str, document: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = (entry for entry in document if entry["sandbox"] == name)
    return found


@pytest.mark.long
@pytest.mark.docker
@pytest.mark.usefixtures("docker")
async def test_each_sandbox_is_attacked_from_inside_a_box(cli: Cli) -> None:
    """The one test of the whole list as a user has it; tests/sandboxes/test_attacks.py looks at each attack."""
    checked = await cli("sandbox", "check", "--json")
    assert checked.code == 0, checked.err
    docker = of("docker", checked.document)
    assert docker["usable"] and docker["untried"] == ""
    assert [row["name"] for row in docker["tried"]] == list(FAMILIES)
    assert [row["said"] for row in docker["tried"] if not row["holds"]] == []
    assert [made["attack"] for made in docker["attacks"]] == [attack.name for attack in ATTACKS]
    assert {made["box"] for made in docker["attacks"]} <= {"reset", "replaced"}
    assert docker["facts"]["engine"].startswith("Docker ") and docker["facts"]["control groups"].startswith("version ")
    assert any("kernel" in said for said in docker["not_contained"])
    modal = of("modal", checked.document)
    assert not modal["usable"] and "choose --sandbox docker" in modal["reason"] and modal["tried"] == []


@pytest.mark.bubblewrap
@pytest.mark.usefixtures("bubblewrap")
async def test_what_is_missing_is_said_beside_what_is_there(cli: Cli) -> None:
    checked = await cli("sandbox", "check", "--quick", env={"DOCKER_HOST": f"unix://{cli.home}/no.sock"})
    assert checked.code == 0 and checked.err == ""
    docker, bubblewrap, modal = checked.out.split("\n\n")
    assert docker.startswith("docker: not usable: ") and "no.sock" in docker and "start it" in docker
    lines = bubblewrap.splitlines()
    assert lines[0] == "bubblewrap: usable" and any("only asked what is there" in line for line in lines)
    assert "  not contained:" in lines and modal.startswith("modal: not usable: ")


async def test_with_nothing_to_use_it_says_what_to_do(cli: Cli) -> None:
    absent = {"DOCKER_HOST": f"unix://{cli.home}/no.sock", "PATH": "/nonexistent"}
    checked = await cli("sandbox", "check", env=absent)
    assert checked.code == 3 and "apt-get install bubblewrap" in checked.out
    assert not any(found["usable"] for found in (await cli("sandbox", "check", "--json", env=absent)).document)


@pytest.mark.docker
async def test_bench_prints_figures_beside_their_floors(cli: Cli) -> None:
    ended = await cli("sandbox", "bench", "--only", "exec", "--only", "file", "--json")
    rows = ended.document
    assert [row["measure"] for row in rows] == ["exec of `true`", "exec of `true`", "1 MB into a box and out"]
    assert set(rows[0]) == {"measure", "ours", "beside", "value", "unit", "bar", "met"}
    assert rows[0]["beside"].startswith("fork + exec") and rows[0]["value"] > 1, "a box takes longer than the machine"
    assert rows[1]["value"] > 1 and rows[2]["value"] > 1, "and less than the engine's own way"
    (await cli("sandbox", "bench", "--only", "speed")).refused(2, "'speed'", "exec, execs, trial")
