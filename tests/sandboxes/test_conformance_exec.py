"""What every sandbox does with a command."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Literal

import pytest

from agentlab.sandboxes import Backend, BoxSpec, Sandbox, SandboxError


async def processes(box: Sandbox, word: str) -> int:
    """How many processes of the box have `word` in their command line, besides the one that looks."""
    script = (
        "import os,sys\nn=0\nfor p in filter(str.isdigit, os.listdir('/proc')):\n"
        "  try: n += sys.argv[1].encode() in open(f'/proc/{p}/cmdline','rb').read() and int(p) != os.getpid()\n"
        "  except OSError: pass\nprint(n)"
    )
    return int((await box.exec(["python3", "-c", script, word])).stdout)


async def test_output_error_and_exit_code_come_back(box: Sandbox) -> None:
    result = await box.exec(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (result.exit_code, result.stdout, result.stderr) == (7, b"out\n", b"err\n")
    assert not result.ok
    assert not result.timed_out
    assert not result.oom


async def test_bytes_that_are_no_text_survive(box: Sandbox) -> None:
    data = bytes(range(256)) * 12_000
    result = await box.exec(["cat"], stdin=data, max_output=len(data))
    assert result.stdout == data
    assert result.dropped_bytes == 0


async def test_input_that_nobody_reads_does_no_harm(box: Sandbox) -> None:
    result = await box.exec(["true"], stdin=b"x" * (3 << 20))
    assert result.ok


async def test_working_directory_and_environment(backend: Backend) -> None:
    box = await backend.create(BoxSpec(env={"FROM_BOX": "1", "BOTH": "box"}))
    script = "pwd; echo $FROM_BOX $BOTH $HOME; whoami"
    here = await box.exec(["sh", "-c", script], cwd="/tmp", env={"BOTH": "call"})
    assert here.stdout == b"/tmp\n1 call /tmp\ntask\n"
    await box.exec(["mkdir", "sub"])
    assert (await box.exec(["pwd"], cwd="sub")).stdout == b"/workspace/sub\n"


async def test_nothing_of_the_host_environment_is_inside(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTLAB_TEST_SECRET", "hunter2")
    found = await box.exec(["sh", "-c", "env; cat /proc/1/environ 2>/dev/null"])
    assert b"hunter2" not in found.stdout
    assert b"PATH=" in found.stdout


async def test_a_program_that_cannot_run_is_a_result(box: Sandbox) -> None:
    for argv, cwd, code in (
        (["no-such"], "/workspace", 127),
        (["/etc"], "/workspace", 126),
        (["true"], "/no/such", 127),
    ):
        result = await box.exec(argv, cwd=cwd)
        assert result.exit_code == code
        assert result.stderr.startswith(b"agentlab: cannot ")


async def test_a_string_is_not_an_argv(box: Sandbox) -> None:
    with pytest.raises(ValueError, match="argv is a list"):
        await box.exec("echo hi")  # type: ignore[arg-type]


async def test_a_signal_is_a_negative_exit_code(box: Sandbox) -> None:
    assert (await box.exec(["sh", "-c", "kill -TERM $$"])).exit_code == -15


async def test_a_time_out_kills_every_descendant(box: Sandbox) -> None:
    script = (
        "trap '' TERM HUP; setsid sh -c 'trap \"\" TERM; sleep 98765' & (setsid sh -c 'sleep 98765 &' &) ; sleep 98765"
    )
    started = time.perf_counter()
    result = await box.exec(["sh", "-c", script], timeout=0.5)
    assert (result.exit_code, result.timed_out) == (-9, True)
    assert time.perf_counter() - started < 2
    assert await processes(box, "98765") == 0


async def test_a_time_out_spares_the_neighbours(box: Sandbox) -> None:
    await box.exec(["sh", "-c", "setsid sleep 4321 >/dev/null 2>&1 &"])
    neighbour = asyncio.create_task(box.exec(["sh", "-c", "sleep 1.2; echo done"]))
    assert (await box.exec(["sh", "-c", "setsid sleep 98765 & sleep 98765"], timeout=0.3)).timed_out
    assert (await neighbour).stdout == b"done\n"
    assert await processes(box, "4321") == 1
    assert await processes(box, "98765") == 0


async def test_many_commands_at_once_are_not_mixed_up(box: Sandbox) -> None:
    results = await asyncio.gather(*(box.exec(["cat"], stdin=f"{i}".encode() * 1000) for i in range(24)))
    assert [result.stdout for result in results] == [f"{i}".encode() * 1000 for i in range(24)]


async def test_output_beyond_the_cap_is_counted_and_thrown_away(box: Sandbox) -> None:
    result = await box.exec(["head", "-c", "100000000", "/dev/zero"], max_output=1000)
    assert result.ok
    assert result.stdout == bytes(1000)
    assert result.dropped_bytes == 100_000_000 - 1000


async def test_the_cap_counts_both_streams(box: Sandbox) -> None:
    result = await box.exec(["sh", "-c", "head -c 600 /dev/zero; head -c 600 /dev/zero >&2"], max_output=1000)
    assert len(result.stdout) + len(result.stderr) == 1000
    assert result.dropped_bytes == 200


async def test_a_daemon_that_holds_the_output_does_not_hold_the_result(box: Sandbox) -> None:
    started = time.perf_counter()
    result = await box.exec(["sh", "-c", "sleep 4321 & echo started"])
    assert result.stdout == b"started\n"
    assert result.ok
    assert time.perf_counter() - started < 1.5
    assert await processes(box, "4321") == 1


async def test_a_kill_for_memory_is_recognised(box: Sandbox) -> None:
    result = await box.exec(["python3", "-c", "x = bytearray(1 << 20)\nwhile True: x += bytes(x)"])
    assert not result.ok
    assert result.oom or b"MemoryError" in result.stderr
    assert not (await box.exec(["true"])).oom


async def test_a_fork_bomb_ends_with_its_time(box: Sandbox) -> None:
    bomb = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"
    result = await box.exec(["python3", "-c", bomb], timeout=0.5)
    assert result.timed_out
    assert result.duration_s < 5
    assert (await box.exec(["echo", "alive"])).stdout == b"alive\n"


async def test_a_full_process_table_is_a_result(box: Sandbox) -> None:
    script = (
        "import os,time\nwhile True:\n  try: pid = os.fork()\n  except OSError: break\n  if not pid: time.sleep(60)\n"
        "print('full', flush=True); time.sleep(60)"
    )
    async with box.stream(["python3", "-c", script], timeout=30) as running:
        async for _, chunk in running:
            assert chunk == b"full\n"
            break
        result = await box.exec(["true"])
        # Where processes are counted for each user and not for the box, there is still room for the agent's.
        assert result.ok or (result.exit_code == 126 and b"cannot start a process" in result.stderr)
    assert (await box.exec(["true"])).ok


async def test_a_cancelled_command_is_killed(box: Sandbox) -> None:
    running = asyncio.create_task(box.exec(["sleep", "98765"]))
    while await processes(box, "98765") == 0:
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await processes(box, "98765") == 0


async def test_a_stream_talks_both_ways(box: Sandbox) -> None:
    async with box.stream(["cat"]) as running:
        heard = aiter(running)
        for word in (b"one\n", b"two\n"):
            await running.send(word)
            assert await anext(heard) == ("stdout", word)
        await running.close_stdin()
        result = await running.result()
    assert (result.exit_code, result.stdout, result.stderr) == (0, b"", b"")
    with pytest.raises(SandboxError) as raised:
        await running.send(b"more")
    assert raised.value.kind == "closed"


async def test_a_stream_keeps_the_streams_apart_and_the_code(box: Sandbox) -> None:
    async with box.stream(["sh", "-c", "echo a; echo b >&2; exit 3"]) as running:
        chunks = [chunk async for chunk in running]
        assert sorted(chunks) == [("stderr", b"b\n"), ("stdout", b"a\n")]
        assert (await running.result()).exit_code == 3


async def test_a_stream_can_be_killed_and_ends_with_its_context(box: Sandbox) -> None:
    async with box.stream(["sh", "-c", "setsid sleep 98765 & sleep 98765"]) as running:
        await running.kill()
        assert (await running.result()).exit_code == -9
    async with box.stream(["sh", "-c", "setsid sleep 98765 & sleep 98765"]):
        pass
    assert await processes(box, "98765") == 0


async def test_a_stream_has_its_time(box: Sandbox) -> None:
    async with box.stream(["sleep", "98765"], timeout=0.3) as running:
        result = await running.result()
    assert (result.timed_out, result.exit_code) == (True, -9)


async def test_a_program_starts_as_its_user_with_nothing_of_the_agents(box: Sandbox) -> None:
    ignored_by_python = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
    for user, uid in (("task", "1000"), ("grader", "1001")):
        said = (await box.exec(["cat", "/proc/self/status"], user=user)).stdout.decode()
        status = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)
        assert status["Uid"].split() == status["Gid"].split() == [uid] * 4
        assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 0
        # Not every kernel tells of signals (gVisor's does not).
        assert int(status.get("SigBlk", "0"), 16) == int(status.get("SigIgn", "0"), 16) & ignored_by_python == 0
        shell = await box.exec(["sh", "-c", "umask; pwd; ls /proc/self/fd; ps -o sid= -p $$"], user=user, cwd="/tmp")
        assert shell.stdout.split()[:-1] == [b"0022", b"/tmp", b"0", b"1", b"2", b"3"], "3 is the listing's own"
        assert shell.stdout.split()[-1] != b"0"
    for argv, code in ((["/workspace/nothing"], 127), (["/workspace"], 126), (["sh", "\0"], 126), (["true"], 0)):
        assert (await box.exec(argv)).exit_code == code
    closed = await box.exec(["true"], cwd="/grade")
    assert closed.exit_code == 127
    assert b"cannot enter /grade" in closed.stderr
    assert (await box.exec(["true"], cwd="/grade", user="grader")).ok
    await box.write_file("script", b"#!/nonexistent/interpreter\n", mode=0o755)
    assert (await box.exec(["./script"])).exit_code == 127
    await box.write_file("own/true", b"#!/bin/sh\nexit 7\n", mode=0o755)
    path = {"PATH": "/nowhere:/workspace/own:/usr/bin:/bin"}
    assert (await box.exec(["true"], env=path)).exit_code == 7, "the first of that name on the command's own path"


IDENTITY = ("Uid:", "Gid:", "Groups:", "Umask:", "Cap", "Sig", "NoNewPrivs:", "Seccomp")
OF_THE_C_LIBRARY = 0b11 << 31
"""Signals 32 and 33, which it keeps for itself and sets as it likes."""


async def test_a_program_starts_the_same_alone_and_beside_others(box: Sandbox) -> None:
    look = "cat /proc/self/status /proc/self/oom_score_adj; pwd; umask; ls /proc/self/fd"

    async def seen(user: Literal["task", "grader"]) -> list[object]:
        lines = (await box.exec(["sh", "-c", look], user=user)).stdout.decode().splitlines()
        status, rest = lines[:-6], lines[-6:]
        kept = dict(line.split(":", 1) for line in status if line.startswith(IDENTITY) and not line.startswith("SigQ"))
        groups = kept.pop("Groups").split()
        ignored = int(kept.pop("SigIgn"), 16) & ~OF_THE_C_LIBRARY
        return [*kept.items(), len(groups), ignored, rest]

    users: tuple[Literal["task", "grader"], ...] = ("task", "grader")
    for user in users:
        alone = await seen(user)
        async with box.stream(["sleep", "60"], user=user):
            assert await seen(user) == alone
        assert await seen(user) == alone
        assert any(found[0] == "Uid" and "\t0" not in found[1] for found in alone if isinstance(found, tuple))


async def test_a_program_that_cannot_be_run_says_the_same_alone_and_beside_others(box: Sandbox) -> None:
    await box.write_file("/grade/secret", b"x", user="grader")
    await box.exec(["mkfifo", "/workspace/f"])
    odd: tuple[tuple[list[str], dict[str, str]], ...] = (
        (["/grade/secret"], {}),
        (["/grade/nothing"], {}),
        (["nowhere"], {}),
        ([""], {}),
        (["t\0rue"], {}),
        (["true"], {"A=B": "c"}),
        (["f"], {"PATH": ".:" * 20_000}),
    )

    async def seen() -> list[int]:
        return [(await box.exec(argv, env=env, timeout=5)).exit_code for argv, env in odd]

    alone = await seen()
    async with box.stream(["sleep", "60"]):
        assert await seen() == alone


async def test_a_program_that_stops_all_that_it_may_holds_up_nobody_else(box: Sandbox) -> None:
    stopper = "import os, signal\nwhile True:\n    try: os.kill(-1, signal.SIGSTOP)\n    except OSError: pass"
    async with box.stream(["python3", "-c", "print(flush=True)\n" + stopper]) as running:
        async for _ in running:
            break
        for _ in range(5):
            result = await box.exec(["true"], timeout=0.2)
            assert result.ok or result.timed_out
