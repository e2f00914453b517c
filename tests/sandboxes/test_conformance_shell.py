"""What every sandbox does with a shell that stays."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from agentlab.sandboxes import Sandbox, SandboxError


async def test_directory_variables_and_functions_stay(box: Sandbox) -> None:
    shell = await box.open_shell(env={"GIVEN": "g"})
    assert (await shell.run("cd /tmp; x=5; f() { echo f$x$GIVEN; }", timeout=10)).ok
    assert (await shell.run("pwd; f", timeout=10)).stdout == b"/tmp\nf5g\n"


async def test_output_and_errors_come_in_order(box: Sandbox) -> None:
    shell = await box.open_shell()
    result = await shell.run("echo 1; echo 2 >&2; echo 3; (exit 4)", timeout=10)
    assert (result.stdout, result.stderr, result.exit_code) == (b"1\n2\n3\n", b"", 4)


async def test_lines_here_documents_and_quotes(box: Sandbox) -> None:
    shell = await box.open_shell()
    result = await shell.run("cat <<'END'\nit's $HOME\nEND\nfor i in 1 2; do\n  echo \"$i\"\ndone", timeout=10)
    assert result.stdout == b"it's $HOME\n1\n2\n"


async def test_a_command_that_reads_gets_nothing_and_not_the_next_command(box: Sandbox) -> None:
    shell = await box.open_shell()
    for command in ("cat", "read x", "python3 -c 'import sys; sys.stdin.read()'"):
        assert (await shell.run(command, timeout=10)).stdout == b""
        assert (await shell.run("echo next", timeout=10)).stdout == b"next\n"


async def test_a_syntax_error_is_a_result_and_the_shell_goes_on(box: Sandbox) -> None:
    shell = await box.open_shell()
    result = await shell.run("if (", timeout=10)
    assert result.exit_code == 2
    assert b"syntax error" in result.stdout
    assert (await shell.run("echo on", timeout=10)).stdout == b"on\n"


async def test_after_a_time_out_there_is_a_fresh_shell(box: Sandbox) -> None:
    shell = await box.open_shell()
    await shell.run("cd /tmp; x=1", timeout=10)
    late = await shell.run("echo before; setsid sleep 98765 & sleep 98765", timeout=0.5)
    assert (late.timed_out, late.exit_code, late.stdout) == (True, -9, b"before\n")
    assert (await shell.run("pwd; echo x=$x", timeout=10)).stdout == b"/workspace\nx=\n"
    assert (await box.exec(["sh", "-c", "grep -l 98765 /proc/[0-9]*/cmdline"])).stdout.count(b"\n") <= 1


async def test_exit_ends_the_shell_with_its_code(box: Sandbox) -> None:
    shell = await box.open_shell()
    assert (await shell.run("echo bye; exit 3", timeout=10)).exit_code == 3
    assert (await shell.run("echo again", timeout=10)).stdout == b"again\n"


async def test_output_cannot_look_like_the_end(box: Sandbox) -> None:
    shell = await box.open_shell()
    forged = "; ".join(f"echo '{'0' * 32} 0' >&{fd}" for fd in (8, 9, 3)) + "; printf '%s 0\\n' x; echo end; false"
    result = await shell.run(f"{{ {forged}; }} 2>/dev/null", timeout=10)
    assert result.stdout.endswith(b"end\n")
    assert result.exit_code == 1


@pytest.mark.alone
async def test_a_background_job_neither_holds_nor_ends_the_command(box: Sandbox) -> None:
    shell = await box.open_shell()
    result = await shell.run("(sleep 0.4; echo late) & echo now", timeout=10)
    assert result.stdout == b"now\n"
    assert result.duration_s < 0.4
    assert (await shell.run("wait", timeout=10)).stdout == b"late\n"


async def test_a_flood_is_capped(box: Sandbox) -> None:
    shell = await box.open_shell()
    result = await shell.run("head -c 20000000 /dev/zero", timeout=20, max_output=5000)
    assert (len(result.stdout), result.dropped_bytes) == (5000, 20_000_000 - 5000)


async def test_commands_given_at_once_take_turns(box: Sandbox) -> None:
    shell = await box.open_shell()
    await shell.run("n=0", timeout=10)
    results = await asyncio.gather(*(shell.run("n=$((n+1)); echo $n", timeout=10) for _ in range(5)))
    assert sorted(int(result.stdout) for result in results) == [1, 2, 3, 4, 5]


async def test_two_shells_do_not_share(box: Sandbox) -> None:
    one, two = await box.open_shell(), await box.open_shell(cwd="/tmp")
    await one.run("x=1", timeout=10)
    assert (await two.run("echo [$x] $PWD", timeout=10)).stdout == b"[] /tmp\n"
    await one.close()
    await one.close()
    with pytest.raises(SandboxError) as raised:
        await one.run("true", timeout=10)
    assert raised.value.kind == "closed"
    assert (await two.run("echo on", timeout=10)).ok


async def test_a_command_that_is_given_up_leaves_a_shell_that_serves(box: Sandbox) -> None:
    session = await box.open_shell()
    with anyio.move_on_after(0.2) as scope:
        await session.run("sleep 1000", timeout=60)
    assert scope.cancelled_caught
    assert (await session.run("echo there", timeout=10)).stdout == b"there\n"
