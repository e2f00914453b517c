"""`agentlab sandbox shell`: a person, or a pipe, in the box of a sample."""

from __future__ import annotations

import os
import signal

import pytest
from e2e.command_line import Cli
from e2e.test_cli_terminal import Terminal, lines

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("docker")]


async def test_piped_commands_find_the_samples_files_and_not_its_tests(cli: Cli) -> None:
    typed = "ls\ncd /tmp\nX=kept\npwd; echo $X; id -un\n(exit 7)\n"
    ended = await cli("sandbox", "shell", "quickstart_repairs", "calendar_week", stdin=typed)
    assert ended.code == 7
    assert ended.out.split() == ["week.py", "/tmp", "kept", "task"]
    assert "quickstart_repairs/calendar_week: docker box" in ended.err and "[exit code 7]" in ended.err


async def test_what_a_box_says_cannot_steer_the_terminal(cli: Cli) -> None:
    ended = await cli("sandbox", "shell", stdin="printf '\\033[2Jcleared\\n'\n")
    assert (ended.code, ended.out) == (0, "cleared\n")


async def test_what_has_no_box_is_said(cli: Cli) -> None:
    (await cli("sandbox", "shell", "quickstart_questions")).refused(2, "straight to the model")
    (await cli("sandbox", "shell", "quickstart_repairs", "none")).refused(2, "has no sample 'none'")
    (await cli("sandbox", "shell", "quickstart_repairs", "--image", "x")).refused(2, "--image, not both")


async def test_in_a_terminal_ctrl_c_ends_the_command_and_exit_the_box(cli: Cli) -> None:
    terminal = Terminal()
    process = await terminal.start(cli, "sandbox", "shell")
    await terminal.until(lambda seen: "/workspace $ " in seen)
    os.write(terminal.master, b"sleep 1000\n")
    while "[interrupted" not in terminal.seen:
        # Before the command has begun, it is said how to end the box; so each signal has an answer.
        told = _answers(terminal.seen)
        process.send_signal(signal.SIGINT)
        await terminal.until(lambda seen, told=told: _answers(seen) > told)
    os.write(terminal.master, b"echo af''ter\nexit\n")
    assert "after" in lines(await terminal.until())
    assert await process.wait() == 0
    os.close(terminal.master)


def _answers(seen: str) -> int:
    return seen.count("[interrupted") + seen.count("ends it)")
