"""What becomes of a box whose place fails: each failure its own kind, with a sentence that a person can act on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from back_ends import SMALL, usable
from own_engine import OwnEngine, own_engine

from agentlab.sandboxes import Backend, BoxSpec, Sandbox, SandboxError, connection, open_backend
from agentlab.sandboxes import box as boxes
from agentlab.sandboxes.docker import DockerBackend
from agentlab.sandboxes.docker import engine as engines
from agentlab.sandboxes.docker.endpoint import current
from agentlab.sandboxes.docker.engine import Engine

OWNERLESS = """
import os, socket, time
open("/proc/self/oom_score_adj", "w").write("0")
for _ in range(40):
    if os.fork() == 0:
        held = []
        try:
            while True:
                one, other = socket.socketpair(); one.setblocking(False); held.append((one, other))
                try:
                    while True: one.send(bytes(65536))
                except BlockingIOError: pass
        except OSError: time.sleep(20)
time.sleep(20)
"""
"""Fills memory that belongs to no process, and takes off the mark that offers it to the kernel's killer."""


@pytest.fixture(scope="module")
def engine() -> Iterator[OwnEngine]:
    with own_engine(data_mb=500) as found:
        yield found


@pytest.fixture
def own(engine: OwnEngine, monkeypatch: pytest.MonkeyPatch) -> OwnEngine:
    """An engine of these tests' own, running, as the one that this user's docker client would speak to."""
    if not engine.runs:
        engine.start()
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    return engine


@pytest.fixture
async def backend_of_own(own: OwnEngine) -> AsyncIterator[Backend]:
    backend = open_backend("docker", run_id="tests")
    await backend.check()
    yield backend
    await backend.close()


@pytest.fixture(params=("docker", "bubblewrap"))
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    """Those whose boxes have their keeper on this machine."""
    found = await usable(request.param)
    yield found
    await found.close()


LIVE: dict[str, Any] = {"live-restore": True}
OWNER = """
import asyncio
from agentlab.sandboxes import BoxSpec, open_backend
async def main():
    backend = open_backend("docker")
    box = await backend.create(BoxSpec())
    writable = await backend.create(BoxSpec(profile="writable"))
    await writable.original("/etc/hostname")
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
"""Holds two boxes, and the container by which it knows what an image was like."""


async def failure(attempt: object) -> SandboxError:
    with pytest.raises(SandboxError) as raised:
        await attempt  # type: ignore[misc]
    return raised.value


async def first_pid(box: Sandbox) -> int:
    """The number of a box's first process on this machine."""
    if box.backend == "docker":
        engine = Engine(current())
        found = await engine.call("GET", f"/containers/{box.id}/json")
        await engine.close()
        return int(found["State"]["Pid"])
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    (outer,) = [pid for pid in children if Path(f"/proc/{pid}/comm").read_text() == "bwrap\n"]
    return int(Path(f"/proc/{outer}/task/{outer}/children").read_text())


async def test_a_box_that_its_own_program_ended_ran_out_of_memory(box: Sandbox) -> None:
    if box.backend == "bubblewrap" and os.geteuid() != 0:
        pytest.skip("memory is not counted for the box as a whole")
    error = await failure(box.exec(["python3", "-c", OWNERLESS], timeout=30))
    assert error.kind == "oom"
    assert "256 MB" in str(error)
    assert "--set box.memory_mb=512" in str(error)
    assert (await failure(box.exec(["true"]))).kind == "oom"
    assert await box.reset() is False


async def test_a_box_that_was_killed_did_not_run_out_of_memory(box: Sandbox) -> None:
    """Although a program of it did, a moment before."""
    eaten = await box.exec(["python3", "-c", "x = bytearray(1 << 20)\nwhile True: x += bytes(x)"])
    assert not eaten.ok
    pid = await first_pid(box)
    if box.backend == "docker":
        engine = Engine(current())
        await engine.call("POST", f"/containers/{box.id}/kill")
        await engine.close()
    else:
        # By its keeper: nothing else tells a person's SIGKILL from the kernel's.
        os.kill(pid, signal.SIGTERM)
        os.kill(int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGTERM)
    assert (await failure(box.exec(["sleep", "60"]))).kind == "lost"


async def test_a_silent_agent_is_given_up(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    async with box.stream(["cat"], timeout=600) as stream:
        await stream.send(b"x")
        assert await anext(aiter(stream)) == ("stdout", b"x")
        os.kill(await first_pid(box), signal.SIGSTOP)
        for module in (boxes, connection):
            monkeypatch.setattr(module, "ANSWER_S", 0.3)
        error = await failure(box.exec(["true"], timeout=0.2))
        assert error.kind == "timeout"
        assert "did not answer" in str(error)
        for attempt in (stream.send(bytes(1 << 20)), stream.result(), box.read_file("x"), box.quiesce()):
            assert (await failure(attempt)).kind == "timeout"
    assert await box.reset() is False
    async with asyncio.timeout(20):
        await box.close()


async def test_an_image_that_is_not_there_is_named(own: OwnEngine, backend_of_own: Backend) -> None:
    for image, advice in (("127.0.0.1:9/absent:1", "docker pull"), ("agentlab/python:0", "agentlab sandbox build")):
        error = await failure(backend_of_own.create(BoxSpec(image=image, limits=SMALL.limits)))
        assert error.kind == "image"
        assert image in str(error)
        assert advice in str(error)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_an_engine_that_restarts_costs_the_box_and_not_the_next(
    own: OwnEngine, backend_of_own: Backend, how: signal.Signals
) -> None:
    box = await backend_of_own.create(SMALL)
    assert box.alive
    running = asyncio.create_task(box.exec(["sleep", "60"]))
    assert (await box.exec(["true"])).ok
    await asyncio.to_thread(own.end, how)
    error = await failure(running)
    assert error.kind == "lost"
    assert "new box" in str(error)
    assert not box.alive
    asked = asyncio.create_task(backend_of_own.create(SMALL))
    await box.close()
    await asyncio.to_thread(own.start)
    after = await asked
    assert (await after.exec(["echo", "again"])).stdout == b"again\n"


async def test_an_engine_that_stays_away_is_told_in_a_sentence(
    own: OwnEngine, backend_of_own: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = await backend_of_own.create(SMALL)
    own.end(signal.SIGKILL)
    assert (await failure(box.exec(["true"]))).kind == "lost"
    monkeypatch.setattr(engines, "RETURN_S", 1.0)
    both = await asyncio.gather(*(backend_of_own.create(SMALL) for _ in range(3)), return_exceptions=True)
    for error in both:
        assert isinstance(error, SandboxError)
        assert error.kind == "unavailable"
        assert "does not answer" in str(error)
        assert "start it, or choose" in str(error)
    await box.close()
    await backend_of_own.close()


async def test_an_engine_that_hangs_is_told_in_a_sentence(
    own: OwnEngine, backend_of_own: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = await backend_of_own.create(SMALL)
    os.kill(own.pid, signal.SIGSTOP)
    monkeypatch.setattr(engines, "RETURN_S", 0.5)
    monkeypatch.setattr(engines, "CALL_S", 1.0)
    late = open_backend("docker", run_id="tests")
    assert (await failure(late.check())).kind == "unavailable"
    os.kill(own.pid, signal.SIGCONT)
    await late.check()
    assert (await box.exec(["true"])).ok
    await late.close()


async def test_a_full_disk_is_told_and_passes(own: OwnEngine, backend_of_own: Backend) -> None:
    filler = own.data / "filler"
    room = os.statvfs(own.data)
    with filler.open("wb") as out:
        os.posix_fallocate(out.fileno(), 0, room.f_bavail * room.f_frsize)
    error = await failure(backend_of_own.create(SMALL))
    assert error.kind == "disk"
    assert "docker system df" in str(error)
    filler.unlink()
    assert (await (await backend_of_own.create(SMALL)).exec(["true"])).ok


async def test_what_an_engine_still_holds_after_a_crash_is_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runner and engine died together: running boxes end with either, what never ran stays until somebody looks."""
    with own_engine(**LIVE) as own:
        monkeypatch.setenv("DOCKER_HOST", own.url)
        owner = await asyncio.create_subprocess_exec(sys.executable, "-c", OWNER, stdout=asyncio.subprocess.PIPE)
        assert owner.stdout is not None and await owner.stdout.readline() == b"ready\n"
        own.end(signal.SIGKILL)
        owner.kill()
        await owner.wait()
        own.start()
        backend = DockerBackend()
        box = await backend.create(SMALL)
        assert len(own.docker("ps", "-aq").stdout.split()) > 1
        assert len(await backend.sweep()) >= 1
        assert own.docker("ps", "-a", "--format", "{{.Names}}").stdout.decode().split() == [box.id]
        assert (await box.exec(["true"])).ok
        await backend.close()
