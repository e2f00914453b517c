"""Where attacks are carried out: a box to attack, a box next door, and eyes on this machine."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal, TypeAlias

from agentlab.sandboxes.attacks import outside
from agentlab.sandboxes.attacks.attack import PRELUDE, Attack, Need
from agentlab.sandboxes.attacks.neighbour import Neighbour, living_in
from agentlab.sandboxes.attacks.scene import Scene
from agentlab.sandboxes.attacks.witness import Witness
from agentlab.sandboxes.bubblewrap import cgroup
from agentlab.sandboxes.connection import ANSWER_S
from agentlab.sandboxes.protocol import Backend, BoxSpec, ExecResult, Limits, Sandbox, SandboxError

LIMITS = Limits(memory_mb=256, cpus=0.5, pids=64, workspace_mb=48, tmp_mb=16, shm_mb=8, grade_mb=8)
"""Of the boxes: so small that each limit is reached in no time."""

LATE_S = 2.0
"""A command may outlast its time limit by as much; 0.5 s are promised under a fork bomb, on a machine at rest."""
QUICK_S = 0.01
"""What starting a program takes on a machine at rest."""
MOST_PATIENCE = 8.0
KEEPERS = 4
"""Processes of a box besides those that count as its own: keepers, and a command of the runner's."""
RUNNER_MB = 64
GRADER = """
import os, sys, time
kept = os.environ["SECRET"] * 1000
print("ready", flush=True)
time.sleep(3600)
"""
CLEAN = "find /workspace /tmp /dev/shm -mindepth 1; cat /proc/sysvipc/* | grep -v key"

Ended: TypeAlias = Literal["done", "time", "memory", "killed", "box", "failed"]
WORDS: dict[Ended, str] = {
    "done": "it ended by itself",
    "time": "stopped at its time limit",
    "memory": "killed or refused for memory",
    "killed": "it killed itself",
    "box": "its box died of its memory",
    "failed": "it could not be carried out",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of an attack."""

    attack: Attack
    breaches: tuple[str, ...]
    ended: Ended
    box_after: Literal["reset", "replaced"]
    limited: bool
    """False where boxes of this kind are not made to hold it: then `breaches` are what they do not contain."""
    most_tasks: int
    seconds: float
    neighbour_ms: float
    """The slowest answer of the box next door meanwhile."""
    detail: str = ""

    @property
    def tried(self) -> bool:
        return self.ended != "failed"

    @property
    def contained(self) -> bool:
        return self.tried and not self.breaches

    @property
    def told(self) -> str:
        """What came of it, in words."""
        said = "; ".join(self.breaches) or WORDS[self.ended]
        most = f", {self.most_tasks} tasks at most" if self.most_tasks > KEEPERS + 2 else ""
        return f"{said}{most}; box {self.box_after}" + (f" ({self.detail})" if self.detail else "")

    def __str__(self) -> str:
        state = "contained" if self.contained else "NOT TRIED" if not self.tried else "NOT CONTAINED"
        if self.breaches and not self.limited:
            state = "not limited here"
        return f"{state}: {self.attack.name}: {self.told}"


def held_by(backend: Backend) -> frozenset[Need]:
    """Which limits hold for a box as a whole."""
    if backend.name == "docker":
        return frozenset({"box memory", "box CPU", "own uid"})
    return frozenset({"box memory", "box CPU"}) if cgroup.can_be_had() else frozenset()


def ended_by(result: ExecResult) -> Ended:
    if result.timed_out:
        return "time"
    if result.exit_code == 0:
        return "done"
    if result.oom or b"MemoryError" in result.stderr or b"Cannot allocate memory" in result.stderr:
        return "memory"
    return "killed" if result.exit_code < 0 else "failed"


class Arena:
    """Attacks one box after the other. Make one with `arena`."""

    def __init__(self, backend: Backend, limits: Limits, around: outside.Outside, neighbour: Neighbour) -> None:
        self._backend = backend
        self._holds = held_by(backend)
        self._spec = BoxSpec(limits=limits)
        self._outside = around
        self._neighbour = neighbour
        self._box: Sandbox | None = None

    async def close(self) -> None:
        if self._box is not None:
            await self._box.close()

    async def _attacked(self) -> Sandbox:
        if self._box is None:
            self._box = await self._backend.create(self._spec)
        return self._box

    async def carry_out(self, attack: Attack) -> Verdict:
        """Raises SandboxError where no box can be had."""
        box = await self._attacked()
        witness = Witness(await box.keepers())
        patience = await _patience()
        self._neighbour.patience = patience
        scene = Scene(attack, box, self._spec.limits, self._outside, witness, patience=patience)
        async with AsyncExitStack() as closing:
            told: dict[str, object] = {}
            if attack.grader:
                told = await closing.enter_async_context(_graded(scene))
            scene.secrets |= self._neighbour.secrets
            ended, detail = await self._run(scene, {**self._outside.given(), **self._neighbour.given(), **told})
            if attack.look is not None and box.alive:
                try:
                    await attack.look(scene)
                except SandboxError as error:
                    scene.breach(f"the box could not be looked at: {error}")
        after = await self._put_in_order(scene, ended)
        slowest, most = self._neighbour.slowest_s, witness.most
        for sentence in (*witness.breaches(), *await self._neighbour.harm()):
            scene.breach(sentence)
        scene.believed()
        return Verdict(
            attack,
            tuple(dict.fromkeys(scene.breaches)),
            ended,
            after,
            attack.needs <= self._holds,
            most,
            scene.seconds,
            slowest * 1000,
            detail,
        )

    async def _run(self, scene: Scene, given: dict[str, object]) -> tuple[Ended, str]:
        """The attack itself, watched."""
        attack, box = scene.attack, scene.box
        stop = asyncio.Event()
        working = asyncio.create_task(self._neighbour.work(stop))
        watching = [asyncio.create_task(scene.witness.watch())]
        if attack.meanwhile is not None:
            watching.append(asyncio.create_task(attack.meanwhile(scene)))
        held, started = outside.resident_mb(), time.monotonic()
        argv = ["python3", "-I", "-S", "-c", PRELUDE + attack.code, json.dumps(given | _limits(scene.limits))]
        try:
            scene.result = await box.exec(argv, timeout=scene.time_limit)
        except SandboxError as error:
            return self._lost(scene, error)
        finally:
            scene.seconds = time.monotonic() - started
            scene.runner_mb = outside.resident_mb() - held
            stop.set()
            await working
            for task in watching:
                task.cancel()
            for failed in await asyncio.gather(*watching, return_exceptions=True):
                if isinstance(failed, Exception):
                    scene.breach(f"what was done beside it failed: {failed}")
        scene.witness.look()
        _look_at_limits(scene)
        ended: Ended = ended_by(scene.result)
        if ended not in attack.ends:
            said = (scene.result.stderr or scene.result.stdout).decode("utf-8", "replace").strip()
            return "failed", f"{ended}, exit {scene.result.exit_code}: {said[-300:]}"
        return ended, ""

    def _lost(self, scene: Scene, error: SandboxError) -> tuple[Ended, str]:
        if error.kind == "oom" and ("box" in scene.attack.ends or "box memory" in scene.attack.needs):
            return "box", ""
        scene.breach(f"the box was lost ({error.kind}): {error}")
        return "box", ""

    async def _put_in_order(self, scene: Scene, ended: Ended) -> Literal["reset", "replaced"]:
        """Everything dead, everything empty, as far as can be seen from outside; else another box."""
        box = scene.box
        if box.alive and ended != "box":
            try:
                await box.quiesce()
                if left := scene.witness.left():
                    scene.breach(f"{left} processes outlived the end of everything")
                if await box.reset() and await _as_new(scene):
                    return "reset"
            except SandboxError as error:
                # Full of memory that nobody owns, a box may die of what is done to empty it.
                if error.kind != "oom" or "box" not in scene.attack.ends:
                    scene.breach(f"the box could not be put in order: {error}")
        self._box = None
        with suppress(SandboxError):
            await box.close()
        if left := scene.witness.left():
            scene.breach(f"{left} processes outlived their box")
        return "replaced"


def _limits(limits: Limits) -> dict[str, object]:
    return {
        "memory_mb": limits.memory_mb,
        "pids": limits.pids,
        "places": {"/workspace": limits.workspace_mb, "/tmp": limits.tmp_mb, "/dev/shm": limits.shm_mb},  # noqa: S108
    }


def _look_at_limits(scene: Scene) -> None:
    """What holds for every attack."""
    most = scene.limits.pids + KEEPERS
    if scene.witness.most > most:
        scene.breach(f"{scene.witness.most} tasks at once, where {scene.limits.pids} are allowed")
    # Full of memory, a box may hold its agent up until the kernel has made room; the runner's patience ends that.
    held_up = ANSWER_S if "box memory" in scene.attack.needs else 0.0
    if scene.seconds > scene.time_limit + held_up + LATE_S * scene.patience:
        scene.breach(f"it took {scene.seconds:.1f} s, where {scene.time_limit + held_up:.1f} are allowed")
    if scene.runner_mb > RUNNER_MB:
        scene.breach(f"the runner grew by {scene.runner_mb} MB")


async def _patience() -> float:
    """How much slower this machine is than one at rest, for whatever else it does: nobody is blamed for that."""
    took = []
    for _ in range(3):
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec("true")
        await process.wait()
        took.append(time.monotonic() - started)
    return min(MOST_PATIENCE, max(1.0, max(took) / QUICK_S))


async def _as_new(scene: Scene) -> bool:
    """Whether a box that says to be as new does its work, and shows nothing of before."""
    word = secrets.token_hex(8)
    look = await scene.box.exec(["sh", "-c", f"{CLEAN}; echo {word}"], timeout=20)
    if look.stdout != f"{word}\n".encode():
        scene.breach(f"a box that was reset still shows {look.stdout[:200]!r}")
        return False
    return True


@asynccontextmanager
async def _graded(scene: Scene) -> AsyncIterator[dict[str, object]]:
    """The grader in the box: a secret in a file and in a process; both must be as before at the end."""
    file, kept = secrets.token_hex(16), secrets.token_hex(16)
    scene.secrets |= {"the grader's file": file.encode(), "the memory of the grader's process": kept.encode()}
    box = scene.box
    await box.write_file("/grade/secret", file.encode(), user="grader")
    async with box.stream(
        ["python3", "-I", "-S", "-c", GRADER], user="grader", env={"SECRET": kept}, timeout=60
    ) as running:
        await anext(aiter(running))
        yield {}
        if not box.alive:
            return
        try:
            if await box.read_file("/grade/secret", user="grader") != file.encode():
                scene.breach("changed the grader's file")
            listed = await box.exec(["sh", "-c", "ls -A /grade; cat /proc/[0-9]*/comm"], user="grader", timeout=60)
        except (SandboxError, OSError, ValueError) as error:
            scene.breach(f"the grader's file cannot be read any more: {error}")
            return
        if not listed.stdout.startswith(b"secret\n"):
            scene.breach(f"the grader's folder holds {listed.stdout[:80]!r}")
        try:
            await running.send(b"still there")
        except SandboxError:
            scene.breach("ended the grader's process")


@asynccontextmanager
async def arena(backend: Backend, limits: Limits = LIMITS) -> AsyncIterator[Arena]:
    """Boxes of `backend`, whose image must be ready. Raises SandboxError where none can be had."""
    async with AsyncExitStack() as closing:
        around = await closing.enter_async_context(outside.standing())
        next_door = await backend.create(BoxSpec(limits=limits))
        closing.push_async_callback(next_door.close)
        neighbour = await closing.enter_async_context(living_in(next_door))
        made = Arena(backend, limits, around, neighbour)
        closing.push_async_callback(made.close)
        yield made


async def carry_out(
    backend: Backend, attacks: Iterable[Attack], *, limits: Limits = LIMITS, tell: Callable[[Verdict], None]
) -> list[Verdict]:
    """Carry attacks out one after the other; `tell` hears each verdict as it comes. Raises SandboxError."""
    verdicts = []
    async with arena(backend, limits) as made:
        for attack in attacks:
            verdicts.append(await made.carry_out(attack))
            tell(verdicts[-1])
    return verdicts
