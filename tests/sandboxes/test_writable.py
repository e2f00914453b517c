"""Boxes with a writable system: root inside as the task says, the agent out of its reach, the disk watched."""

from __future__ import annotations

import pytest

from agentlab.sandboxes import Backend, BoxSpec, Limits, Sandbox, SandboxError

WRITABLE = BoxSpec(profile="writable", limits=Limits(memory_mb=256, pids=64, storage_mb=64), workdir="/app")


@pytest.fixture
async def whole(docker: Backend) -> Sandbox:
    return await docker.create(WRITABLE)


async def said(box: Sandbox, script: str) -> str:
    """What a shell script writes, standard error included."""
    result = await box.exec(["sh", "-c", f"({script}) 2>&1"], timeout=30)
    return result.stdout.decode()


async def python(box: Sandbox, code: str) -> str:
    result = await box.exec(["python3", "-"], stdin=code.encode(), timeout=30)
    return (result.stdout + result.stderr).decode()


async def test_the_task_is_root_of_a_system_that_it_may_change(whole: Sandbox) -> None:
    script = "id -un; pwd; touch /usr/bin/new && chown 1000 /usr/bin/new && stat -c %u /usr/bin/new; echo $HOME $USER"
    assert (await said(whole, script)).split() == ["root", "/app", "1000", "/root", "root"]


async def test_files_and_shells_start_where_the_box_does(whole: Sandbox) -> None:
    await whole.write_file("notes.txt", b"here")
    assert await whole.read_file("/app/notes.txt") == b"here"
    shell = await whole.open_shell()
    assert (await shell.run("pwd; cat notes.txt", timeout=10)).stdout == b"/app\nhere"


async def test_root_becomes_other_users(whole: Sandbox) -> None:
    assert (await said(whole, "su nobody -s /bin/sh -c 'id -un; cat /etc/shadow'")).startswith(
        "nobody\ncat: /etc/shadow"
    )


async def test_accounts_are_those_of_the_image(docker: Backend) -> None:
    box = await docker.create(BoxSpec(profile="writable", users=("nobody", "1000:0")))
    task = await box.exec(["id", "-un"])
    grader = await box.exec(["sh", "-c", "id -u; id -g"], user="grader")
    assert (task.stdout, grader.stdout) == (b"nobody\n", b"1000\n0\n")


async def test_an_account_that_the_image_does_not_have_is_named(docker: Backend) -> None:
    with pytest.raises(SandboxError, match="no user 'nobody-here'"):
        await docker.create(BoxSpec(profile="writable", users=("nobody-here", "")))


REACHES = {
    "signal": "os.kill(1, 9)",
    "stop": "os.kill(1, signal.SIGSTOP)",
    "memory": "open('/proc/1/mem', 'r+b')",
    "environment": "open('/proc/1/environ').read()",
    "descriptors": "os.open('/proc/1/fd/1', os.O_WRONLY)",
    "root directory": "os.listdir('/proc/1/root')",
    "limits": "resource.prlimit(1, resource.RLIMIT_NOFILE, (1, 1))",
    "priority": "os.setpriority(os.PRIO_PROCESS, 1, 19)",
    "processors": "os.sched_setaffinity(1, [0])",
    "scheduler": "os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0))",
    "identity": "os.setuid(70000)",
    "its capabilities": "os.setresuid(0, 0, 0); os.kill(1, 9)",
}


async def test_root_does_not_reach_the_agent(whole: Sandbox) -> None:
    for name, attempt in REACHES.items():
        heard = await python(whole, f"import os, resource, signal\n{attempt}\nprint('reached')")
        assert "reached" not in heard, (name, heard)
        assert "Error" in heard, (name, heard)
    assert (await whole.exec(["echo", "alive"])).stdout == b"alive\n"


SYSTEM_CALLS = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    answer = getattr(libc, name)(*arguments)
    print(name, "done" if answer == 0 else errno.errorcode[ctypes.get_errno()])
call("unshare", 0x10000000)
call("unshare", 0x00020000)
call("setns", 0, 0)
call("mount", b"none", b"/mnt", b"tmpfs", 0, None)
call("ptrace", 16, 1, None, None)
call("mknod", b"/tmp/disk", 0o60666, 0x800)
"""


async def test_root_makes_no_namespaces_mounts_or_devices(whole: Sandbox) -> None:
    heard = await python(whole, SYSTEM_CALLS)
    assert heard.count("EPERM") == 6 and "done" not in heard, heard


async def test_kernel_settings_stay_closed(whole: Sandbox) -> None:
    heard = await said(
        whole, "for f in kernel/panic kernel/core_pattern; do echo 1 > /proc/sys/$f && echo written; done"
    )
    assert "written" not in heard


async def test_nothing_that_the_task_replaces_is_run_by_the_agent(whole: Sandbox) -> None:
    """The agent's modules come from the system that the task owns: all of them are loaded before it begins."""
    spoil = "for f in /usr/lib/python3*/*.py; do echo 'raise SystemExit(7)' > $f; done"
    await said(whole, f"echo data > /app/kept; {spoil}; rm -rf /usr/lib/python3*/lib-dynload")
    archive = await whole.snapshot()
    await whole.restore(archive, "/copy")
    assert await whole.read_file("/copy/kept") == b"data\n"
    assert (await whole.exec(["cat", "/copy/kept"])).stdout == b"data\n"


async def test_quiesce_leaves_no_process_of_root(whole: Sandbox) -> None:
    await said(whole, "setsid nohup sh -c 'while :; do date > /app/alive; sleep 0.01; done' >/dev/null 2>&1 &")
    await whole.quiesce()
    await whole.write_file("/app/alive", b"quiet")
    assert (
        await python(whole, "import os; print([p for p in os.listdir('/proc') if p.isdigit() and p != '1'].__len__())")
        == "1\n"
    )
    assert await whole.read_file("/app/alive") == b"quiet"


async def test_a_time_out_kills_what_left_its_session(whole: Sandbox) -> None:
    result = await whole.exec(["sh", "-c", "setsid sleep 500 & sleep 500"], timeout=0.5)
    assert result.timed_out
    assert "sleep" not in await said(whole, "ps ax")


async def test_a_box_that_may_be_changed_is_never_used_again(whole: Sandbox) -> None:
    assert await whole.reset() is False


async def test_what_fills_the_disk_is_stopped_and_then_taken_away(whole: Sandbox) -> None:
    fill = "dd if=/dev/zero of=/fill$1 bs=1M count=100; sleep 60"
    stopped = await whole.exec(["sh", "-c", fill, "sh", "1"], timeout=40)
    assert stopped.exit_code == -9 and not stopped.timed_out
    with pytest.raises(SandboxError, match="more storage") as gone:
        await whole.exec(["sh", "-c", fill, "sh", "2"], timeout=40)
    assert gone.value.kind == "disk"
