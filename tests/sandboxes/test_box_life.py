"""How boxes end: closed, lost, abandoned; and what the runner is told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import modal
import pytest
from back_ends import SMALL, usable

from agentlab.sandboxes import Backend, BackendName, Sandbox, SandboxError, ownership
from agentlab.sandboxes.docker.backend import DockerBackend, container_config
from agentlab.sandboxes.docker.endpoint import current
from agentlab.sandboxes.docker.engine import Engine, EngineError
from agentlab.sandboxes.modal.account import sign_in

from .conftest import BACKENDS


def children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent and fields[0] != "Z":
                found.append(int(entry.name))
    return found


async def containers(engine: Engine, pid: int) -> list[str]:
    filters = json.dumps({"label": [f"{ownership.PID_LABEL}={pid}"]})
    return [box["Id"] for box in await engine.call("GET", "/containers/json", all="1", filters=filters)]


def boxes_of(parent: int) -> list[int]:
    return [pid for pid in children(parent) if Path(f"/proc/{pid}/comm").read_text().strip() == "bwrap"]


async def on_modal(pid: int) -> list[str]:
    client, app = await sign_in()
    found = modal.Sandbox.list.aio(app_id=app.app_id, tags={"agentlab-owner-pid": str(pid)}, client=client)
    return [sandbox.object_id async for sandbox in found]


async def boxes(name: str, pid: int) -> list[Any]:
    """What stands of the boxes of a living process."""
    if name == "bubblewrap":
        return boxes_of(pid)
    if name == "modal":
        return await on_modal(pid)
    engine = Engine(current())
    try:
        return await containers(engine, pid)
    finally:
        await engine.close()


async def destroy(box: Sandbox) -> None:
    """End a box behind its owner's back."""
    if box.backend == "docker":
        engine = Engine(current())
        await engine.call("POST", f"/containers/{box.id}/kill")
        await engine.close()
    elif box.backend == "modal":
        await (await modal.Sandbox.from_id.aio(box.id)).terminate.aio()
    else:
        for pid in boxes_of(os.getpid()):
            os.kill(pid, signal.SIGKILL)


async def test_a_lost_box_is_an_error_and_no_result(box: Sandbox) -> None:
    running = asyncio.create_task(box.exec(["sleep", "60"]))
    assert (await box.exec(["true"])).ok
    await destroy(box)
    for attempt in (running, box.exec(["true"]), box.read_file("x"), box.quiesce()):
        with pytest.raises(SandboxError) as raised:
            await attempt
        assert raised.value.kind == "lost"
        assert "new box" in str(raised.value)
    assert await box.reset() is False
    await box.close()


async def test_a_closed_box_says_so_and_can_be_closed_again(box: Sandbox) -> None:
    running = asyncio.create_task(box.exec(["sleep", "60"]))
    assert (await box.exec(["true"])).ok
    await asyncio.gather(box.close(), box.close())
    await box.close()
    for attempt in (running, box.exec(["true"])):
        with pytest.raises(SandboxError) as raised:
            await attempt
        assert raised.value.kind == "closed"


async def test_closing_goes_on_when_its_caller_is_cancelled(box: Sandbox) -> None:
    closing = asyncio.create_task(box.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await box.close()
    with pytest.raises(SandboxError):
        await box.exec(["true"])


async def test_closing_the_back_end_closes_its_boxes(backend: Backend) -> None:
    boxes = await asyncio.gather(*(backend.create(SMALL) for _ in range(3)))
    await backend.close()
    for box in boxes:
        with pytest.raises(SandboxError):
            await box.exec(["true"])


@pytest.mark.parametrize("turns", [1, 3, 20])
async def test_a_box_whose_maker_is_cancelled_is_not_left_behind(backend: Backend, turns: int) -> None:
    making = asyncio.create_task(backend.create(SMALL))
    for _ in range(turns):
        await asyncio.sleep(0)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    await backend.close()
    assert await boxes(backend.name, os.getpid()) == []


OWNER = """
import asyncio, sys
from agentlab.sandboxes import open_backend, BoxSpec
from agentlab.sandboxes.modal import backend
backend.SILENCE_S = 2.0
async def main():
    backend = open_backend(sys.argv[1])
    boxes = await asyncio.gather(*(backend.create(BoxSpec()) for _ in range(int(sys.argv[2]))))
    for box in boxes:
        await box.exec(["sh", "-c", "setsid sleep 600 >/dev/null 2>&1 &"])
    print("ready", flush=True)
    await boxes[0].exec(["sleep", "600"], timeout=600)
asyncio.run(main())
"""


def groups_of(owner: int) -> list[Path]:
    """Control groups of bubblewrap boxes."""
    return [group for tree in Path("/sys/fs/cgroup").glob("**/agentlab") for group in tree.glob(f"{owner}.*")]


MANY = [pytest.param(name, 24, marks=pytest.mark.long) for name in ("docker", "bubblewrap")]


@pytest.mark.parametrize(("name", "count"), [*((name, 3) for name in BACKENDS), *MANY])
async def test_no_box_outlives_a_killed_owner(name: BackendName, count: int, request: pytest.FixtureRequest) -> None:
    """On Modal a command goes on when nobody reads it any more: there the agent ends a box that hears nothing, here
    after two seconds and in earnest after two minutes.
    """
    if name == "modal":
        request.getfixturevalue("modal_account")
    backend = await usable(name)
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, name, str(count), stdout=asyncio.subprocess.PIPE
    )
    assert owner.stdout is not None
    assert await owner.stdout.readline() == b"ready\n"
    inside = await boxes(name, owner.pid)
    assert len(inside) == count
    owner.kill()
    await owner.wait()
    killed = time.monotonic()
    while time.monotonic() - killed < 10:
        left = [p for p in inside if _alive(p)] if name == "bubblewrap" else await boxes(name, owner.pid)
        if not left:
            break
        await asyncio.sleep(0.02)
    assert not left
    assert time.monotonic() - killed < (6 if name == "modal" else 2)
    if name == "bubblewrap":
        assert len(groups_of(owner.pid)) > 0 or os.geteuid() != 0
        swept = await backend.sweep()  # type: ignore[attr-defined]
        assert groups_of(owner.pid) == []
        assert len([box for box in swept if box.endswith("-task")]) >= count or os.geteuid() != 0
    await backend.close()


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_sweep_removes_the_boxes_of_the_dead_only(docker: DockerBackend) -> None:
    mine = await docker.create(SMALL)
    engine = Engine(current())
    dead = {**ownership.labels("old"), ownership.PID_LABEL: "4194304", ownership.START_LABEL: "1"}
    elsewhere = {**dead, ownership.HOST_LABEL: "another machine"}
    names = {}
    for which, labels in (("dead", dead), ("elsewhere", elsewhere)):
        config = container_config(SMALL, "old") | {"Labels": labels}
        names[which] = f"agentlab-sweep-{which}-{os.getpid()}"
        await engine.call("POST", "/containers/create", config, name=names[which])
    try:
        assert await docker.sweep() == [names["dead"]]
        assert (await mine.exec(["true"])).ok
        with pytest.raises(EngineError):
            await engine.call("GET", f"/containers/{names['dead']}/json")
    finally:
        await engine.call("DELETE", f"/containers/{names['elsewhere']}", force="1")
        await engine.close()


async def test_no_engine_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    backend = DockerBackend()
    for attempt in (backend.check(), backend.create(SMALL)):
        with pytest.raises(SandboxError, match=r"nonexistent.*start it, or choose --sandbox bubblewrap") as raised:
            await attempt
        assert raised.value.kind == "unavailable"
    await backend.close()
