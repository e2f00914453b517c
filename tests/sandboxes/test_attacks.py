"""Attacks on boxes: every one contained, with the box as new or replaced and the box next door unharmed.

The last tests attack boxes that have holes: what reports containment must also be able to report the opposite.
"""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import os
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from back_ends import usable

from agentlab.sandboxes import BackendName, BoxSpec, agent, ownership
from agentlab.sandboxes.attacks import ATTACKS, FAMILIES, LIMITS, Arena, Attack, arena, carry_out
from agentlab.sandboxes.attacks.scene import Scene, exit_codes_are_true
from agentlab.sandboxes.docker import backend as docker_backend

NAMED = {attack.name: attack for attack in ATTACKS}


def test_there_are_enough_and_each_is_told_in_plain_words() -> None:
    assert len(ATTACKS) >= 40
    assert len(NAMED) == len(ATTACKS)
    assert set(FAMILIES) == {attack.family for attack in ATTACKS}
    for attack in ATTACKS:
        assert attack.tries[0].islower() and not attack.tries.endswith("."), attack.name
        compile(attack.code, attack.name, "exec")
        assert "done()" in attack.code or attack.ends != ("done",) or "os._exit(0)" in attack.code, attack.name


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=("docker", "bubblewrap"))
async def battle(request: pytest.FixtureRequest) -> AsyncIterator[Arena]:
    """One place for all attacks: its box is used again after each reset, and replaced where there is none."""
    name: BackendName = request.param
    backend = await usable(name)
    async with arena(backend) as made:
        yield made
    await backend.close()


def marked(attack: Attack) -> Any:
    """What fills the machine's memory is judged with nobody else there: what a kill gives back comes late otherwise."""
    marks = [pytest.mark.alone] if attack.family == "memory" else []
    return pytest.param(attack, id=f"{attack.family}: {attack.name}", marks=marks)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("attack", [marked(attack) for attack in ATTACKS])
async def test_contained(battle: Arena, attack: Attack) -> None:
    verdict = await battle.carry_out(attack)
    print(verdict)
    assert verdict.tried, verdict
    if verdict.limited:
        assert not verdict.breaches, verdict
    assert verdict.ended in attack.ends


# Boxes with holes.


def with_hole(**host: Any) -> Callable[..., dict[str, Any]]:
    """The engine's description of a box, but for this."""
    sound = docker_backend.container_config

    def config(*arguments: Any, **more: Any) -> dict[str, Any]:
        made = sound(*arguments, **more)
        return {**made, "HostConfig": {**made["HostConfig"], **host}}

    return config


PLACES = {
    "/workspace": "size=150m,mode=0755,uid=1000,gid=1000",
    "/tmp": "size=16m,mode=1777",
    "/grade": "mode=0700,uid=1001,gid=1001",
    "/dev/shm": "mode=1777",
}
UNFILTERED = {"SecurityOpt": ["seccomp=unconfined"]}
HOLES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "this machine's network": (
        {"NetworkMode": "host"},
        {
            "this machine": "a TCP port of this machine",
            "sockets without a path": "an abstract socket",
            "the world": "card",
        },
    ),
    "no filter of system calls": (
        UNFILTERED,
        {
            "io_uring": "a process had anon_inode:[io_uring] open",
            "faults of its own": "a process had anon_inode:[userfaultfd] open",
            "namespaces of its own": "entered a user namespace",
            "programs that lend their rights": "ran as root",
            "keys of the kernel": "added a key",
        },
    ),
    "room for 200 processes": ({"PidsLimit": 200}, {"army of zombies": "tasks at once, where 64 are allowed"}),
    "larger places": (
        {"Tmpfs": PLACES},
        {
            "fill every place": "/workspace holds",
            "more files than there are numbers": "files, where 50000 are allowed",
        },
    ),
    "watches and queues without a limit": (
        {**UNFILTERED, "Ulimits": [], "Tmpfs": PLACES},
        {"watches of files": "the box next door was harmed", "message queues": "the box next door was harmed"},
    ),
    "this machine's files": (
        {"Binds": [f"{tempfile.gettempdir()}:/host"]},
        {"files that are mounted": "wrote to a file of this machine"},
    ),
    "two cores": ({"CpuQuota": 200_000}, {"busy processes": "of processor time"}),
}
"""What is opened, and which attacks then have to be found to get through, with words of what is said."""

MOUNTED = Attack(
    "files that are mounted",
    "spying",
    "read and write this machine's files where they are mounted into the box",
    """
folder = "/host/" + os.path.basename(given["folder"])
show(folder + "/secret")
write(folder + "/canary", "owned")
done()
""",
)


def with_lent_ids() -> bytes:
    """The agent, but that it never takes back the real ids which it lends to a program that it starts alone."""
    sound = agent.bundle()
    past_ready = 8 + int.from_bytes(sound[4:8], "big")
    texts = dict(ast.literal_eval(sound[past_ready + 4 :].decode()))
    name = "agentlab.sandboxes.agent.spawning"
    forgetful = re.sub(r"os\.setres[ug]id\(0, -1, -1\)", "pass", texts[name])
    assert forgetful.count("pass") == texts[name].count("pass") + 2
    changed = repr([*(texts | {name: forgetful}).items()]).encode()
    return b"text" + sound[4:past_ready] + len(changed).to_bytes(4, "big") + changed


OF_THE_KEEPER = [attack for attack in ATTACKS if "keeper" in attack.tries and "box memory" not in attack.needs]


@pytest.mark.docker
async def test_the_real_ids_that_the_keeper_lends_are_of_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program could meet them for an instant only: here they stay lent."""
    backend = await usable("docker")
    forgetful = with_lent_ids()
    monkeypatch.setattr(agent, "bundle", lambda **_: forgetful)
    box = await backend.create(BoxSpec())
    await box.exec(["true"])
    ids = await box.exec(["grep", "Uid", "/proc/1/status"])
    assert ids.stdout.split() == [b"Uid:", b"1000", b"0", b"0", b"0"]
    await box.close()
    verdicts = await carry_out(backend, OF_THE_KEEPER, tell=print)
    assert len(verdicts) >= 8
    assert all(verdict.contained for verdict in verdicts), [verdict for verdict in verdicts if not verdict.contained]
    await backend.close()


@pytest.mark.docker
@pytest.mark.long  # opens boxes on purpose, and takes a quiet machine to be judged
@pytest.mark.parametrize("hole", HOLES)
async def test_a_box_with_a_hole_is_found_out(hole: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host, found = HOLES[hole]
    backend = await usable("docker")
    monkeypatch.setattr(docker_backend, "container_config", with_hole(**host))
    limits = dataclasses.replace(LIMITS, cpus=0.001) if "CpuQuota" in host else LIMITS
    every = {**NAMED, MOUNTED.name: MOUNTED}
    verdicts = await carry_out(backend, [every[name] for name in found], limits=limits, tell=print)
    await backend.close()
    for verdict in verdicts:
        assert not verdict.contained, verdict
        assert any(found[verdict.attack.name] in said for said in verdict.breaches), verdict


async def kill_the_neighbour(scene: Scene) -> None:
    """What no attack can do, done by the test."""
    mine = f"label={ownership.PID_LABEL}={os.getpid()}"
    names = await asyncio.to_thread(
        subprocess.check_output, ["docker", "ps", "--filter", mine, "--format", "{{.Names}}"], text=True
    )
    (neighbour,) = set(names.split()) - {scene.box.id}
    await asyncio.to_thread(subprocess.run, ["docker", "kill", neighbour], check=True, capture_output=True)


async def open_the_graders_folder(scene: Scene) -> None:
    await scene.box.exec(["chmod", "-R", "777", "/grade"], user="grader")


KILLER = """
end = time.monotonic() + 1
while time.monotonic() < end:
    try: os.kill(-1, signal.SIGKILL)
    except OSError: pass
done()
"""
VANDAL = """
while not show("/grade/secret"): time.sleep(0.01)
write("/grade/secret", "owned")
done()
"""
CONTROLS: dict[str, tuple[Attack, str]] = {
    "a neighbour that dies": (
        Attack("idle", "spying", "do nothing", "time.sleep(1)\ndone()\n", meanwhile=kill_the_neighbour),
        "the box next door was harmed: it was lost",
    ),
    "a command that ends otherwise than it does": (
        Attack("killer", "spoofing", "kill every command", KILLER, meanwhile=exit_codes_are_true),
        "a command that ends with",
    ),
    "tests that are open to all": (
        Attack("vandal", "grading", "change the tests", VANDAL, grader=True, meanwhile=open_the_graders_folder),
        "changed the grader's file",
    ),
    "tests that can be read": (
        Attack("reader", "grading", "read the tests", VANDAL, grader=True, meanwhile=open_the_graders_folder),
        "read the grader's file",
    ),
    "words of the attacker's own": (Attack("boast", "spying", "boast", "broke('through')\ndone()\n"), "through"),
}


@pytest.mark.docker
@pytest.mark.parametrize("control", CONTROLS)
async def test_harm_is_found_out(control: str) -> None:
    attack, words = CONTROLS[control]
    backend = await usable("docker")
    (verdict,) = await carry_out(backend, [attack], tell=print)
    await backend.close()
    assert not verdict.contained
    assert any(words in said for said in verdict.breaches), verdict


@pytest.mark.docker
async def test_an_attack_that_was_not_made_is_not_contained() -> None:
    """A program that fails before it has tried anything would look like one that met a wall."""
    backend = await usable("docker")
    (verdict,) = await carry_out(backend, [Attack("typo", "spying", "err", "dnoe()\n")], tell=print)
    await backend.close()
    assert not verdict.tried
    assert not verdict.contained
    assert "NameError" in verdict.detail
