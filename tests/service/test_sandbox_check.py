"""What `sandbox check` makes of attacks: rows a family, and what is not contained told as it is."""

from __future__ import annotations

import dataclasses

import pytest

from agentlab.sandboxes.attacks import ATTACKS, Attack, Verdict
from agentlab.service import sandbox_check
from agentlab.service.sandbox_check import Examined, check_sandboxes

NAMED = {attack.name: attack for attack in ATTACKS}


def verdict(attack: Attack, *breaches: str, limited: bool = True, ended: str = "done") -> Verdict:
    return Verdict(attack, breaches, ended, "reset", limited, 1, 0.1, 3.0)  # type: ignore[arg-type]


def test_a_family_holds_when_all_of_it_was_contained() -> None:
    heap, tmpfs, spin = NAMED["one large process"], NAMED["files without a name"], NAMED["busy processes"]
    found = Examined("docker", True, "", {}, (verdict(heap), verdict(tmpfs), verdict(spin)))
    assert [(row.name, row.holds) for row in found.rows] == [("memory", True), ("CPU", True)]
    assert found.rows[0].said == "2 of 2 attacks contained: more memory than a box may have"


def test_what_got_through_is_named_with_what_it_reached() -> None:
    heap, tmpfs = NAMED["one large process"], NAMED["files without a name"]
    (row,) = Examined("docker", True, "", {}, (verdict(heap), verdict(tmpfs, "took it all"))).rows
    assert row.holds is False
    assert row.said.startswith("1 of 2 attacks contained") and row.said.endswith("files without a name: took it all")


@pytest.mark.parametrize(
    "made",
    [verdict(NAMED["busy processes"], "had it", limited=False), verdict(NAMED["busy processes"], ended="failed")],
)
def test_what_is_not_held_there_or_was_not_tried_is_not_said_to_hold(made: Verdict) -> None:
    (row,) = Examined("bubblewrap", True, "", {}, (made,)).rows
    assert row.holds is None
    assert not Examined("bubblewrap", True, "", {}, (made,)).as_dict()["attacks"][0]["contained"]


@pytest.mark.docker
@pytest.mark.usefixtures("docker")
async def test_each_sandbox_of_this_machine_is_attacked(monkeypatch: pytest.MonkeyPatch) -> None:
    some = [NAMED[name] for name in ("io_uring", "links", "the grader's files", "sockets without a path")]
    boast = dataclasses.replace(NAMED["io_uring"], name="boast", family="spying", code="broke('through')\ndone()\n")
    monkeypatch.setattr(sandbox_check, "ATTACKS", (*some, boast))
    heard: list[tuple[str, str]] = []
    examined = await check_sandboxes(tell=lambda name, made: heard.append((name, made.attack.name)))
    docker = next(found for found in examined if found.sandbox == "docker")
    assert docker.untried == ""
    assert {row.name: row.holds for row in docker.rows} == {
        "system calls": True, "way out": True, "grading": True, "network": True, "spying": False
    }  # fmt: skip
    assert [name for sandbox, name in heard if sandbox == "docker"] == [*(attack.name for attack in some), "boast"]
    document = docker.as_dict()
    assert document["attacks"][-1]["told"].startswith("through; box reset")


@pytest.mark.docker
@pytest.mark.usefixtures("docker")
async def test_asked_only_what_is_there_it_attacks_nothing() -> None:
    examined = await check_sandboxes(attacked=False, tell=lambda name, made: pytest.fail(made.attack.name))
    docker = next(found for found in examined if found.sandbox == "docker")
    assert (docker.usable, docker.rows, docker.untried) == (True, [], "only asked what is there")
