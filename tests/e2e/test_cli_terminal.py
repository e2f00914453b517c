"""What a person sees: progress and tables in 80 columns, plain lines in a log, silence in a closed pipe."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Callable

import pytest
from e2e.command_line import AGENTLAB, PATIENCE_S, Cli, Gate, asked, line_with, quiz
from endpoints import Endpoint, chat, status

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A terminal of 24 rows in which one command runs."""

    def __init__(self, columns: int = 80) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.seen = ""

    async def start(self, cli: Cli, *args: str) -> asyncio.subprocess.Process:
        env = {name: value for name, value in cli.environment().items() if name not in ("COLUMNS", "NO_COLOR")}
        process = await asyncio.create_subprocess_exec(
            *cli.command,
            *args,
            cwd=cli.home,
            env=env | {"TERM": "xterm-256color"},
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
        )
        os.close(self.slave)
        cli.started.append(process)
        return process

    async def until(self, found: Callable[[str], bool] = lambda seen: False) -> str:
        """What was written, read until `found` or to the end."""
        while not found(self.seen):
            try:
                data = await asyncio.wait_for(asyncio.to_thread(os.read, self.master, 1 << 16), PATIENCE_S)
            except OSError:  # the other side is closed
                break
            self.seen += data.decode()
        return self.seen

    async def run(self, cli: Cli, *args: str) -> list[str]:
        """Run a command to its end and give the lines it left."""
        process = await self.start(cli, *args)
        seen = await self.until()
        assert await process.wait() == 0, seen
        os.close(self.master)
        return lines(seen)


def lines(seen: str) -> list[str]:
    return [line.rstrip() for line in CONTROL.sub("", seen).replace("\r", "").split("\n")]


async def test_progress_is_drawn_and_the_table_fits_eighty_columns(cli: Cli, endpoint: Endpoint) -> None:
    endpoint.behave = gate = Gate()
    cli.write("quiz.py", quiz(40))
    terminal = Terminal()
    process = await terminal.start(cli, "run", "quiz.py", "--model", endpoint.spec())
    await terminal.until(lambda seen: "0/40 trials" in seen)
    assert "\x1b[2K" in await terminal.until(lambda seen: "\x1b[2K" in seen)  # drawn over, not line after line
    gate.open.set()
    seen = await terminal.until()
    assert await process.wait() == 0
    os.close(terminal.master)
    left = lines(seen[seen.rindex("\x1b[2K") :])  # progress is taken away; what is left begins here
    table = left[: left.index(next(line for line in left if line.startswith("run ")))]
    assert all(len(line) <= 80 for line in table), table
    assert re.match(r"task +score +± stderr +95 % interval +n +MDE", table[0])
    assert re.match(r"quiz +0\.650 +0\.07\d +0\.\d{3} to 0\.\d{3} +40 ", table[1])


async def test_a_crowded_table_leaves_out_columns_instead_of_breaking_words(cli: Cli, endpoint: Endpoint) -> None:
    def crowded(body: dict[str, object], request: object) -> object:
        number = len(endpoint.arrived)
        if number % 3 == 0:
            return status(400, "no")(body, request)  # type: ignore[arg-type]  # passed through
        return chat("" if number % 2 else "1", finish="length")

    endpoint.behave = crowded
    cli.write("a_task_with_a_rather_long_name.py", quiz(12).replace("def quiz", "def a_task_with_a_rather_long_name"))
    await cli("run", "a_task_with_a_rather_long_name.py", "--model", endpoint.spec())
    shown = await Terminal().run(cli, "results", "show", "latest")
    (row,) = [line for line in shown if line.startswith("a_task_with_a_rather_long_name ")]
    assert re.search(r" \d\.\d{3} to \d\.\d{3} +8 +- +4 model$", row) and len(row) <= 80
    (note,) = [line for line in shown if line.startswith("(no room for: ")]
    assert "tokens in/out" in note and "flags" in note
    assert any(re.match(r"a_task_with_a_rather_long_name: .*8 truncated$", line) for line in shown)
    wide = await Terminal(200).run(cli, "results", "show", "latest")
    assert any("8 truncated" in line and "4 model" in line for line in wide)
    assert not any(line.startswith("(no room") for line in wide)
    samples = await Terminal().run(cli, "results", "show", "latest", "--samples")
    assert sum(line.split()[1:2] == ["a_task_with_a_rather_long_name"] for line in samples) == 12


@pytest.mark.long
async def test_a_log_gets_plain_lines(cli: Cli, endpoint: Endpoint) -> None:
    endpoint.behave = gate = Gate()
    cli.write("quiz.py", quiz(5))
    process = await cli.start("run", "quiz.py", "--model", endpoint.spec())
    line = await line_with(process.stderr, "0/5 trials")
    assert "\x1b" not in line
    gate.open.set()
    ended = await cli.ended(process)
    assert ended.code == 0 and "\x1b" not in ended.out + ended.err


def piped(cli: Cli, command: str) -> subprocess.CompletedProcess[str]:
    script = command.replace("agentlab", str(AGENTLAB))
    return subprocess.run(
        ["bash", "-c", script], cwd=cli.home, env=cli.environment(), capture_output=True, text=True, check=False
    )


async def test_a_closed_pipe_is_quiet(cli: Cli) -> None:
    cli.write("quiz.py", quiz(1500))
    assert (await cli("run", "quiz.py", "--model", "reference")).code == 0
    for command in (
        "agentlab results show latest --samples",
        "agentlab results show latest --samples --json",
        "agentlab results list",
        "agentlab traces show latest 1",
        "agentlab tasks list",
        "agentlab --help",
    ):
        ended = piped(cli, f"{command} | head -c 20")
        assert ended.stderr == "" and len(ended.stdout) == 20, (command, ended.stderr[-300:])


async def test_a_run_whose_reader_has_left_is_stored_all_the_same(cli: Cli, endpoint: Endpoint) -> None:
    cli.write("quiz.py", quiz(9))
    script = f"agentlab run quiz.py --model {endpoint.spec()} | true"
    ended = await asyncio.to_thread(piped, cli, script)
    assert ended.stderr == "" and len(asked(endpoint)) == 9
    (entry,) = (await cli("results", "list", "--json")).document
    assert entry["status"] == "finished"


async def test_output_is_readable_where_the_terminal_knows_no_unicode(cli: Cli) -> None:
    cli.write("quiz.py", quiz(1))
    ended = await cli("run", "quiz.py", "--model", "reference", env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii"})
    assert ended.code == 0 and "1.000" in ended.out and "? stderr" in ended.out and ended.err == ""


async def test_no_help_is_cut_and_that_of_label_tells_the_options_of_a_round(cli: Cli) -> None:
    for group in ("tasks", "results", "traces", "label", "sandbox", "export"):
        told = (await cli(group, "--help")).out
        assert "Commands:" in told and "..." not in told.partition("Commands:")[2], group
    assert "--annotator NAME" in (await cli("label", "--help")).out
