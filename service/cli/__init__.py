"""The command line: one module a command, imported only when it is called, so that `--help` costs nothing else."""

from __future__ import annotations

import importlib
import io
import sys
from typing import Any

import click

COMMANDS = {
    "run": ("agentlab.service.cli.run", "run", "Run tasks with a model and a harness; store traces and scores."),
    "tasks": ("agentlab.service.cli.tasks", "tasks", "List, show, check and start tasks of your own."),
    "results": ("agentlab.service.cli.results", "results", "List, show, delete and restore runs."),
    "traces": ("agentlab.service.cli.traces", "traces", "Read, import and export what happened, step by step."),
    "classify": ("agentlab.service.cli.classify", "classify", "Label answers, conduct and what made trials fail."),
    "score": ("agentlab.service.cli.score", "score", "Grade the stored trials of a run again, beside its own scores."),
    "label": ("agentlab.service.cli.label", "label", "Judge traces as a person, and see how far judges agree."),
    "export": ("agentlab.service.cli.export", "export", "Write a run in the format of other tools (Harbor)."),
    "sandbox": ("agentlab.service.cli.sandbox", "sandbox", "Check, build and sweep sandboxes."),
}

EPILOG = "Start with: agentlab run quickstart --model reference --harness tools"


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own; their one-line help stands here."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_text) for name, (_, _, help_text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            raise click.exceptions.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="agentlab-eval", prog_name="agentlab")
def cli() -> None:
    """Measure open models and agents, see why they fail, and know what you may claim."""


def main(args: list[str] | None = None) -> Any:
    """Run the command line. Exit codes: 0 done, 1 --fail-on-error or a disk that filled up, 2 what was asked makes no
    sense, 3 endpoint or engine absent, or an endpoint that died under a run, 130 and 143 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no ± still gets its numbers
    try:
        # Not standalone: click's own mistakes are told like all others, in one line.
        return cli.main(args=args, prog_name="agentlab", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()  # a group without a command is asked what it can do
        return error.exit_code
    except click.Abort:
        from agentlab.service.cli.exits import INTERRUPTED, fail

        fail("stopped", INTERRUPTED)
    except click.UsageError as error:
        from agentlab.service.cli.exits import fail
        from agentlab.service.cli.mistakes import told

        fail(told(error))
    except BrokenPipeError:
        # The reader (a pager, head) has left: not an error of ours, and the interpreter must not complain at exit
        # either.
        sys.stdout = None
        return 0
