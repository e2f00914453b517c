"""What code in a box cannot reach, and how a box is emptied."""

from __future__ import annotations

import asyncio

import pytest
from back_ends import SMALL

from agentlab.sandboxes import Backend, BoxSpec, Limits, Sandbox, SandboxError

PROBES = {
    "kill the agent": "kill -9 1 && kill -9 -1 && test ! -d /proc/1",
    "read the agent's memory": "head -c 1 /proc/1/mem",
    "read the agent's environment": "cat /proc/1/environ",
    "write to the agent's output": "echo forged > /proc/1/fd/1",
    "list the agent's descriptors": "ls /proc/1/fd",
    "enter the agent's root": "ls /proc/1/root/",
    "write to the system": "touch /usr/x || touch /etc/x || touch /x || touch /dev/x || touch /var/x",
    "change the kernel": "echo 1 > /proc/sys/kernel/panic || echo b > /proc/sysrq-trigger",
    "mount": "mount -t tmpfs none /tmp",
    "a user namespace": "unshare -U true",
    "another namespace": "unshare -n true || unshare -m true || unshare -p true",
    "change the clock": "date -s 2001-01-01",
    "become root": "su -c true || setpriv --reuid=0 true",
    "make a device": "mknod /tmp/null c 1 3",
    "the engine's socket": "ls /var/run/docker.sock /run/docker.sock 2>/dev/null | grep .",
    "a core file": "test $(ulimit -c) != 0",
}


async def test_code_cannot(box: Sandbox) -> None:
    """Every probe is a command that succeeds where something is open that should be shut."""
    open_ways = {}
    for name, probe in PROBES.items():
        result = await box.exec(["sh", "-c", probe])
        if result.ok:
            open_ways[name] = result
    assert not open_ways
    assert (await box.exec(["echo", "alive"])).stdout == b"alive\n"


async def test_there_is_no_network(box: Sandbox) -> None:
    script = (
        "import socket\nfor host in ('172.17.0.1', '169.254.169.254', '1.1.1.1', '8.8.8.8'):\n"
        "  s = socket.socket(); s.settimeout(1)\n"
        "  try: s.connect((host, 80)); print('reached', host)\n  except OSError as e: print(e.errno)\n"
        "print(sorted(n for _, n in socket.if_nameindex()))"
    )
    result = await box.exec(["python3", "-c", script])
    assert b"reached" not in result.stdout
    assert result.stdout.split(b"\n")[-2] in (b"['lo']", b"[]")


async def test_the_users_cannot_touch_each_other(box: Sandbox) -> None:
    secret = "import os,time; print(os.getpid(), flush=True); time.sleep(60)"
    async with box.stream(["python3", "-c", secret], user="grader", env={"NONCE": "s3cret"}) as grader:
        _, pid = await anext(aiter(grader))
        attempts = (
            f"kill -9 {pid.decode().strip()}; cat /proc/[0-9]*/environ; head -c 1 /proc/{pid.decode().strip()}/mem"
        )
        result = await box.exec(["sh", "-c", attempts])
        assert b"s3cret" not in result.stdout
        assert not result.ok
        assert (await box.exec(["true"], user="grader")).ok
        await grader.kill()
        # Its own kill, not the task's: an earlier end would have been seen as another code.
        assert (await grader.result()).exit_code == -9


async def test_what_a_box_may_use_is_bounded(box: Sandbox) -> None:
    fill = "head -c 500000000 /dev/zero > {}/fill; stat -c %s {}/fill"
    for place, megabytes in (("/workspace", 48), ("/tmp", 16), ("/dev/shm", 8)):
        result = await box.exec(["sh", "-c", fill.format(place, place)])
        if box.backend == "modal":
            # Nothing can be mounted there, so places have no sizes: each file is held to that of the workspace.
            megabytes = 48
            assert b"File size limit" in result.stderr
        else:
            assert b"No space left" in result.stderr
        assert int(result.stdout) <= megabytes << 20
    assert (await box.exec(["echo", "alive"])).ok


async def test_quiesce_leaves_nobody(box: Sandbox) -> None:
    count = ["sh", "-c", "set -- /proc/[0-9]*; echo $#"]
    alone = {user: (await box.exec(count, user=user)).stdout for user in ("task", "grader")}  # type: ignore[arg-type]
    await box.exec(["sh", "-c", "setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' >/dev/null 2>&1 &"])
    await box.exec(["sh", "-c", "setsid sleep 4321 >/dev/null 2>&1 &"], user="grader")
    shell = await box.open_shell()
    await shell.run("sleep 4321 & echo kept > file", timeout=10)
    running = asyncio.create_task(box.exec(["sh", "-c", "echo out; sleep 60"]))
    async with box.stream(["cat"]) as stream:
        await stream.send(b"x")
        assert await anext(aiter(stream)) == ("stdout", b"x")
        await box.quiesce()
        assert (await stream.result()).exit_code == -9
    assert (await running).exit_code == -9
    for user in ("task", "grader"):
        assert (await box.exec(count, user=user)).stdout == alone[user]  # type: ignore[arg-type]
    assert await box.read_file("file") == b"kept\n"
    assert (await shell.run("echo fresh", timeout=10)).stdout == b"fresh\n"


MESSES = {
    "files": "for d in /workspace /tmp /dev/shm; do mkdir -p $d/a/b; echo x > $d/a/b/f; echo x > $d/.h; done",
    "unreadable": "mkdir -p a/b; touch a/b/f; chmod 000 a/b a; mkdir -m 0555 r; chmod 000 /workspace",
    "very deep": 'python3 -c \'import os\nfor i in range(3000): os.mkdir("d"); os.chdir("d")\'',
    "many": "python3 -c 'for i in range(5000): open(str(i), \"w\")'",
    "strange names": "touch -- '-rf' ' ' \"$(printf 'a\\nb')\" \"$(printf '\\377')\"; ln -s / root; ln -s loop loop",
    "processes": "setsid sh -c 'while :; do touch /workspace/again; done' >/dev/null 2>&1 & sleep 0.1",
    "pipes and sockets": "mkfifo p; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'",
}


async def test_reset_makes_a_box_as_new(box: Sandbox) -> None:
    look = (
        "umask; stat -c '%A %U %G %n' /workspace /tmp /dev/shm; find /workspace /tmp /dev/shm -mindepth 1; "
        "set -- /proc/[0-9]*; echo $#"
    )
    new = (await box.exec(["sh", "-c", look])).stdout
    for name, mess in MESSES.items():
        assert (await box.exec(["sh", "-c", mess])).ok, name
        await box.write_file("/grade/left", b"x", user="grader")
        assert await box.reset(), name
        assert (await box.exec(["sh", "-c", look])).stdout == new, name
        assert (await box.exec(["ls", "-A", "/grade"], user="grader")).stdout == b"", name


async def test_system_v_objects_are_refused_or_removed_by_a_reset(box: Sandbox) -> None:
    """Their memory is charged to no process: where the back-end can, it refuses all but semaphores."""
    made = "c.shmget(1, 4096, 0o1600), c.msgget(2, 0o1600), c.semget(3, 1, 0o1600)"
    script = f"import ctypes; c = ctypes.CDLL(None); print(*(number >= 0 for number in ({made})))"
    allowed = (await box.exec(["python3", "-c", script])).stdout
    assert allowed == (b"False False True\n" if box.backend == "docker" else b"True True True\n")
    assert await box.reset()
    assert (await box.exec(["sh", "-c", "cat /proc/sysvipc/* | grep -vc key"])).stdout == b"0\n"


@pytest.mark.alone
async def test_memory_that_no_process_owns_costs_the_command_before_the_box(backend: Backend) -> None:
    """Socket buffers in many processes: the kernel has to kill, and the agent offers its commands.

    A killed process frees its sockets only when it is scheduled again. Where the machine has too much else to do for
    that, the kernel goes on to the next, and comes to the agent at last: such a box is lost for memory, and says so.
    """
    flood = (
        "import os, socket, time\n"
        "for _ in range(40):\n"
        "    if os.fork() == 0:\n"
        "        held = []\n"
        "        try:\n"
        "            while True:\n"
        "                one, other = socket.socketpair(); one.setblocking(False); held.append((one, other))\n"
        "                try:\n"
        "                    while True: one.send(b'x' * 65536)\n"
        "                except BlockingIOError: pass\n"
        "        except OSError: time.sleep(20)\n"
        "time.sleep(5)\n"
    )
    for _ in range(6):
        box = await backend.create(SMALL)
        # The agent offers itself while it starts a program, and may not have had the processor since.
        wait = "for _ in $(seq 200); do read -r its </proc/1/oom_score_adj; [ $its = 0 ] && break; sleep 0.02; done"
        scores = ["sh", "-c", f"cat /proc/self/oom_score_adj; {wait}; echo $its"]
        offered = (await box.exec(scores)).stdout
        if backend.name != "docker":
            assert offered
            return
        assert offered == b"500\n0\n"
        try:
            assert (await box.exec(["python3", "-c", flood], timeout=10)).oom
            assert (await box.exec(scores)).stdout == offered
        except SandboxError as lost:
            if lost.kind != "oom":
                raise
        else:
            return
    pytest.fail("no box has outlived what it was filled with")


async def test_a_box_knows_what_it_is(backend: Backend, box: Sandbox) -> None:
    assert (box.backend, box.isolation) == (backend.name, backend.isolation)
    assert box.capabilities == {"shell", "python", "network"}
    assert backend.offers("agentlab/python:latest") == {"shell", "python", "network"}
    assert 0 < box.start_ms < 30_000
    with pytest.raises(SandboxError) as raised:
        await box.cdp_endpoint()
    assert raised.value.kind == "unsupported"


@pytest.mark.parametrize(
    "spec",
    [
        BoxSpec(network=("10.0.0.1",)),
        BoxSpec(profile="writable"),
        BoxSpec(limits=Limits(memory_mb=128)),
    ],
)
async def test_what_is_not_offered_is_refused(backend: Backend, spec: BoxSpec) -> None:
    if spec.profile == "writable" and backend.name == "docker":
        assert (await (await backend.create(spec)).exec(["true"])).ok
        return
    with pytest.raises(SandboxError) as raised:
        await backend.create(spec)
    assert raised.value.kind == "unsupported"
