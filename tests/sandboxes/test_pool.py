"""The pool: boxes started ahead, given out in the order of asking, used once or verified as new, never too many."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable

import pytest
from back_ends import SMALL, usable

from agentlab.sandboxes import Backend, BackendName, BoxSpec, Limits, Sandbox, SandboxError, User
from agentlab.sandboxes.pool import MOST_USES, Pool
from agentlab.sandboxes.room import Room

LARGE = dataclasses.replace(SMALL, limits=dataclasses.replace(SMALL.limits, memory_mb=512))
AGAIN = dataclasses.replace(SMALL, reuse=True)


class Watched:
    """A real back-end whose comings and goings can be awaited."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.made: list[Sandbox] = []
        self._changed = asyncio.Condition()
        self.when_made: Callable[[], None] | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self.backend, name)

    async def create(self, spec: BoxSpec) -> Sandbox:
        box = await self.backend.create(spec)
        async with self._changed:
            self.made.append(box)
            self._changed.notify_all()
        if self.when_made is not None:
            self.when_made()
        return box

    async def until_made(self, count: int) -> None:
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: len(self.made) >= count)


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    backend = await usable("bubblewrap")
    yield Watched(backend)
    await backend.close()


async def test_expected_boxes_are_started_ahead_and_no_more_than_expected(watched: Watched) -> None:
    pool = Pool(watched, Room(4), ahead=2)  # type: ignore[arg-type]
    pool.expect(SMALL, 3)
    await watched.until_made(2)
    await pool.settled()
    assert (pool.idle, len(watched.made)) == (2, 2)
    first = await pool.take(SMALL)
    assert first is watched.made[0]
    await watched.until_made(3)
    second, third = await pool.take(SMALL), await pool.take(SMALL)
    await pool.settled()
    assert {first.id, second.id, third.id} == {box.id for box in watched.made}
    for box in (first, second, third):
        pool.give_back(box)
    await pool.close()


async def test_a_box_is_used_once_and_is_gone_after_that(watched: Watched) -> None:
    pool = Pool(watched, Room(1))  # type: ignore[arg-type]
    async with pool.box(SMALL) as first:
        assert (await first.exec(["true"])).ok
    async with pool.box(SMALL) as second:
        assert second.id != first.id
    await pool.close()
    for box in (first, second):
        with pytest.raises(SandboxError, match="closed"):
            await box.exec(["true"])


async def test_room_is_given_in_the_order_of_asking(watched: Watched) -> None:
    """A large box at the head of the queue is not passed by small ones that would fit."""
    pool = Pool(watched, Room(4, memory_mb=600))  # type: ignore[arg-type]
    order: list[str] = []
    first_is_in = asyncio.Event()
    leave = asyncio.Event()

    async def trial(name: str, spec: BoxSpec) -> None:
        async with pool.box(spec):
            order.append(name)
            if name == "first":
                first_is_in.set()
                await leave.wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(trial("first", SMALL))
        await first_is_in.wait()
        group.create_task(trial("large", LARGE))
        for number in range(3):
            group.create_task(trial(f"small {number}", SMALL))
        await asyncio.sleep(0)
        assert pool.in_use == 1
        leave.set()
    assert order == ["first", "large", "small 0", "small 1", "small 2"]
    assert pool.in_use == 0
    await pool.close()


async def test_more_boxes_than_the_machine_carries_wait_their_turn(watched: Watched) -> None:
    pool = Pool(watched, Room(24, memory_mb=3 * SMALL.limits.memory_mb))  # type: ignore[arg-type]
    in_use = served = 0
    full = asyncio.Event()

    async def trial() -> None:
        nonlocal in_use, served
        async with pool.box(SMALL) as box:
            in_use += 1
            assert in_use <= 3
            if in_use == 3:
                full.set()
            await full.wait()
            assert (await box.exec(["true"])).ok
            in_use -= 1
            served += 1

    async with asyncio.timeout(60):
        await asyncio.gather(*(trial() for _ in range(24)))
    assert served == 24
    await pool.close()


async def test_a_box_larger_than_the_room_runs_alone(watched: Watched) -> None:
    pool = Pool(watched, Room(4, memory_mb=100))  # type: ignore[arg-type]
    async with asyncio.timeout(30), pool.box(SMALL) as box:
        assert (await box.exec(["true"])).ok
        second = asyncio.create_task(pool.take(SMALL))
        await asyncio.sleep(0)
        assert pool.in_use == 1
    pool.give_back(await second)
    await pool.close()


@pytest.mark.parametrize("turns", [0, 1, 2, 30])
async def test_who_is_cancelled_while_waiting_loses_neither_room_nor_box(watched: Watched, turns: int) -> None:
    pool = Pool(watched, Room(1))  # type: ignore[arg-type]
    waiting = asyncio.create_task(pool.take(SMALL))
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    holder = await pool.take(SMALL)
    queued = asyncio.create_task(pool.take(SMALL))
    await asyncio.sleep(0)
    queued.cancel()
    await asyncio.gather(queued, return_exceptions=True)
    pool.give_back(holder)
    assert pool.in_use == 0
    async with asyncio.timeout(30), pool.box(SMALL) as box:
        assert (await box.exec(["true"])).ok
    await pool.close()


@pytest.mark.parametrize("turns", range(3))
async def test_who_is_cancelled_as_the_box_arrives_leaves_it_to_the_next(watched: Watched, turns: int) -> None:
    pool = Pool(watched, Room(1))  # type: ignore[arg-type]
    waiting = asyncio.create_task(pool.take(SMALL))
    loop = asyncio.get_running_loop()

    def cancel(left: int) -> None:
        if left:
            loop.call_soon(cancel, left - 1)
        else:
            waiting.cancel()

    watched.when_made = lambda: cancel(turns)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    watched.when_made = None
    assert pool.in_use == 0
    async with asyncio.timeout(30), pool.box(SMALL) as box:
        assert (await box.exec(["true"])).ok
        assert box is watched.made[0]
    await pool.close()


async def test_an_image_that_is_not_there_fails_who_asks_for_it_and_nobody_else() -> None:
    docker = await usable("docker")
    watched = Watched(docker)
    absent = dataclasses.replace(SMALL, image="127.0.0.1:9/absent:none")
    pool = Pool(watched, Room(2))  # type: ignore[arg-type]
    pool.expect(absent, 10)
    pool.expect(SMALL, 1)
    for _ in range(2):
        with pytest.raises(SandboxError) as raised:
            await pool.take(absent)
        assert raised.value.kind == "image"
    async with pool.box(SMALL) as box:
        assert (await box.exec(["true"])).ok
    assert pool.in_use == 0
    await pool.close()
    await docker.close()


async def test_closing_refuses_who_waits_and_leaves_nothing(watched: Watched) -> None:
    pool = Pool(watched, Room(1), ahead=2)  # type: ignore[arg-type]
    pool.expect(SMALL, 4)
    held = await pool.take(SMALL)
    waiting = asyncio.create_task(pool.take(SMALL))
    await watched.until_made(2)
    await pool.close()
    with pytest.raises(SandboxError, match="closed"):
        await waiting
    with pytest.raises(SandboxError, match="closed"):
        await pool.take(SMALL)
    for box in watched.made:
        if box is not held:
            with pytest.raises(SandboxError, match="closed"):
                await box.exec(["true"])
    assert (await held.exec(["true"])).ok


async def test_a_box_for_reuse_comes_back_empty_until_it_has_served_often_enough(watched: Watched) -> None:
    pool = Pool(watched, Room(1))  # type: ignore[arg-type]
    ids = []
    for number in range(MOST_USES + 1):
        async with pool.box(AGAIN) as box:
            ids.append(box.id)
            listed = await box.exec(
                ["sh", "-c", f"ls -A /workspace /tmp; echo {number} > left; setsid sleep 600 >/dev/null 2>&1 &"]
            )
            assert listed.stdout.split() == [b"/tmp:", b"/workspace:"]
    assert len(set(ids[:MOST_USES])) == 1
    assert ids[MOST_USES] != ids[0]
    await pool.close()


@pytest.mark.parametrize("end", ["out of memory", "lost"])
async def test_a_box_that_cannot_be_as_new_is_not_given_out_again(end: str) -> None:
    docker = await usable("docker")
    pool = Pool(docker, Room(1))
    async with pool.box(AGAIN) as box:
        if end == "lost":
            await box.close()
        else:
            result = await box.exec(["python3", "-c", "x = bytearray(1 << 30)"])
            assert result.oom
    async with pool.box(AGAIN) as other:
        assert other.id != box.id
        assert (await other.exec(["true"])).ok
    await pool.close()
    await docker.close()


def test_room_counts_memory_by_the_limits_of_each_box() -> None:
    room = Room(24, memory_mb=4000, why="2 a core, 12 cores")
    assert room.at_once(Limits(memory_mb=512)) == 7
    assert room.reason(Limits(memory_mb=512)) == "512 MB each, and 4000 MB of this machine's memory may be taken"
    assert room.at_once(Limits(memory_mb=160)) == 24
    assert room.reason(Limits(memory_mb=160)) == "2 a core, 12 cores"
    assert room.at_once(Limits(memory_mb=64_000)) == 1


MESS = r"""
import ctypes, fcntl, mmap, os, socket, stat, subprocess, sys, time
here = sys.argv[1]
for place in (here, "/tmp", "/dev/shm"):
    folder = f"{place}/.of-{os.getuid()}"
    os.makedirs(f"{folder}/deep/er")
    open(f"{folder}/deep/secret", "w").write("of the last trial")
    os.link(f"{folder}/deep/secret", f"{folder}/hard")
    os.symlink("/etc", f"{folder}/link")
    os.mkfifo(f"{folder}/pipe")
    socket.socket(socket.AF_UNIX).bind(f"{folder}/socket")
    for marked in (f"{folder}/hard", folder, place):
        try: os.setxattr(marked, "user.note", b"x")
        except OSError: pass
    os.chmod(folder, 0o000)
os.chmod(here, 0o000)
libc = ctypes.CDLL(None, use_errno=True)
try: libc.mq_open(b"/left", os.O_CREAT | os.O_RDWR, 0o666, None)
except AttributeError: ctypes.CDLL("librt.so.1").mq_open(b"/left", os.O_CREAT | os.O_RDWR, 0o666, None)
libc.shmget(1234, 4096, 0o1666), libc.semget(1234, 3, 0o1666), libc.msgget(1234, 0o1666)
daemon = '''
import fcntl, os, signal, socket, time
os.setsid()
for number in range(1, 32):
    try: signal.signal(number, signal.SIG_IGN)
    except OSError: pass
s = socket.socket(socket.AF_UNIX); s.bind("\\0left" + str(os.getpid())); s.listen()
f = open("/tmp/locked" + str(os.getuid()), "w"); fcntl.lockf(f, fcntl.LOCK_EX); os.memfd_create("left")
while True:
    open("/tmp/again" + str(os.getuid()), "w").close(); time.sleep(0.001)
'''
for _ in range(5): subprocess.Popen([sys.executable, "-c", daemon])
time.sleep(0.3)
"""
LOOK = r"""
import os, sys
def show(*what): print(*what)
for top in (sys.argv[1], "/tmp", "/dev/shm", "/dev/mqueue", "/var/tmp", "/run"):
    for folder, folders, files in os.walk(top):
        for path in sorted([folder, *(f"{folder}/{name}" for name in [*folders, *files])]):
            s = os.lstat(path)
            try: extended = os.listxattr(path, follow_symlinks=False)
            except OSError: extended = None
            show(path, oct(s.st_mode), s.st_uid, s.st_gid, s.st_nlink, s.st_size, extended)
    if os.access(top, os.W_OK): space = os.statvfs(top); show(top, space.f_bfree, space.f_ffree)
# A lock of an open file belongs to no process (-1), and is seen of the whole machine.
show(sorted(line.partition(": ")[2] for line in open("/proc/locks") if line.split()[4] != "-1"))
for file in ("sysvipc/shm", "sysvipc/sem", "sysvipc/msg", "net/unix", "mounts", "self/limits"):
    try: show(file, open(f"/proc/{file}").read())
    except OSError as error: show(file, error.errno)
show(sorted(open(f"/proc/{p}/comm").read() for p in os.listdir("/proc") if p.isdigit()))
show(os.getgroups(), os.getcwd(), oct(os.umask(0)), sorted(os.environ.items()), sorted(os.listdir("/dev")))
"""


@pytest.mark.parametrize("name", ["docker", "bubblewrap"])
async def test_a_used_box_looks_like_a_new_one(name: BackendName) -> None:
    """Files, links, sockets, queues, shared memory, locks, daemons that hear no signal, closed folders, counters."""
    backend = await usable(name)
    pool = Pool(backend, Room(1))
    places: dict[User, str] = {"task": "/workspace", "grader": "/grade"}

    async def look(box: Sandbox) -> list[str]:
        seen = []
        for user, place in places.items():
            result = await box.exec(["python3", "-IS", "-c", LOOK, place], user=user, cwd="/")
            assert result.ok, result.stderr
            seen += result.stdout.decode().splitlines()
        return seen

    async with pool.box(AGAIN) as first:
        new = await look(first)
        for user, place in places.items():
            made = await first.exec(["python3", "-c", MESS, place], user=user, cwd="/")
            assert made.ok, made.stderr
            assert b"again" in (await first.exec(["ls", "/tmp"], user=user, cwd="/")).stdout
    async with pool.box(AGAIN) as second:
        assert second is first
        assert await look(second) == new
    await pool.close()
    await backend.close()
