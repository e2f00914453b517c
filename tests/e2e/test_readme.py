"""The README says what is so: its first task runs, its commands are there, and it stays short."""

from __future__ import annotations

import re
from pathlib import Path

import click
from e2e.command_line import Cli

from agentlab.service.cli import COMMANDS
from agentlab.service.cli import cli as commands


def test_it_stays_short(repository: Path) -> None:
    assert len((repository / "README.md").read_text(encoding="utf-8").splitlines()) < 150


async def test_its_first_task_is_short_and_right(repository: Path, cli: Cli) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (repository / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) < 15
    cli.write("my_task.py", code)
    checked = await cli("tasks", "check", "my_task.py::arithmetic")
    assert checked.code == 0, checked.err
    assert checked.out.splitlines() == [
        "ok: reference on 2 samples scores 1 everywhere",
        "ok: nop on 2 samples earns nothing that it should not",
    ]


def test_its_commands_are_there(repository: Path) -> None:
    text = (repository / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(rf"agentlab ({'|'.join(COMMANDS)})(?: (init|list|show|check|build|harbor))?", text))
    assert {command for command, _ in named} == set(COMMANDS)
    for command, sub in named:
        found = commands.get_command(click.Context(commands), command)
        assert found is not None
        if sub:
            assert isinstance(found, click.Group)
            assert sub in found.commands
    targets = re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"run", "test", "test-long"} <= set(targets)


def options(command: click.Command) -> set[str]:
    """Those of a command and of all below it."""
    found = {option for parameter in command.params for option in parameter.opts}
    if isinstance(command, click.Group):
        context = click.Context(command)
        below = [command.get_command(context, name) for name in command.list_commands(context)]
        found = found.union(*(options(each) for each in below if each is not None))
    return found


def test_its_flags_are_there(repository: Path) -> None:
    text = (repository / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"(?<![\w-])--[a-z-]+", text)) <= options(commands) | {"--help"}
    run = commands.get_command(click.Context(commands), "run")
    assert run is not None
    assert options(run) >= {
        "--model", "--harness", "--limit", "--epochs", "--seed", "--sandbox", "--max-connections", "--max-sandboxes",
        "--max-cost", "--runs-dir", "--name", "--tag", "--plan", "--resume", "--fail-on-error", "--json", "--set",
    }  # fmt: skip
