"""`agentlab traces`: what happened in a trial, step by step."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentlab.service.cli.exits import boundary, fail
from agentlab.service.cli.forks import fork, locate
from agentlab.service.cli.replay import replay
from agentlab.service.cli.results import json_option, runs_dir_option
from agentlab.service.cli.traces_diff import diff
from agentlab.service.cli.traces_export import export_command
from agentlab.service.cli.traces_import import import_command
from agentlab.service.cli.traces_list import list_traces
from agentlab.service.cli.traces_train import train_command

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentlab.traces.reader import RunReader
    from agentlab.traces.rows import AttemptRow, Label


@click.group()
def traces() -> None:
    """Read what happened in a trial, step by step; import and export it."""


for command in (list_traces, diff, export_command, import_command, replay, fork, locate, train_command):
    traces.add_command(command)


@traces.command("show", short_help="Show the steps of a trial.")
@click.argument("run")
@click.argument("trial")
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="An attempt; without it, the last one.")
@click.option("--step", type=click.IntRange(1), metavar="N", help="This step alone, its texts whole.")
@click.option("--full", is_flag=True, help="Show long texts whole.")
@runs_dir_option
@json_option
def show(run: str, trial: str, attempt: int | None, step: int | None, full: bool, runs_dir: str, as_json: bool) -> None:
    """Show the steps of a trial, each with the time since the attempt began. RUN is an id, a unique prefix, a path or
    latest; TRIAL a number that `traces list RUN` prints, or TASK/SAMPLE@EPOCH. In a terminal, what is longer than its
    window goes through a pager.
    """
    from agentlab.traces.reader import RunReader, resolve_run, resolve_trial
    from agentlab.traces.render import render_trace, to_json

    with boundary(), RunReader(resolve_run(run, Path(runs_dir))) as reader:
        number = resolve_trial(reader, trial)
        tried = {row.attempt: row for row in reader.attempts(number)}
        if attempt is not None and attempt not in tried:
            fail(f"trial {number} has no attempt {attempt}; there are: {', '.join(map(str, tried))}")
        events = list(reader.events(number, attempt))
        row = tried[attempt] if attempt is not None else reader.trial(number)
        labels = _labels(reader, row)
        if step is not None and step > len(events):
            fail(f"trial {number} has no step {step}; there are {len(events)}")
        if as_json:
            print(json.dumps([_labelled(found, labels) for found in to_json(events) if step in (None, found["step"])]))
            return
        most_chars, most_lines = (None, None) if full or step is not None else (2000, 40)
        width = shutil.get_terminal_size((100, 24)).columns
        blocks = render_trace(events, began=row.started_at, width=width, max_chars=most_chars, max_lines=most_lines)
        shown = [
            _bold_title(block) + _label_lines(labels.get(stored.seq, ()), indent=7)
            for block, stored in zip(blocks, events, strict=True)
            if step in (None, stored.seq + 1)
        ]
        head = _head(row, len(tried), reader) + _label_lines(labels.get(None, ()), indent=0)
        if not events:
            shown.append("no step is stored of it: the run was killed, or is still at it")
        _page("\n".join([head, *shown]))


def _labelled(step: dict[str, Any], labels: dict[int | None, list[Label]]) -> dict[str, Any]:
    found = labels.get(step["step"] - 1)
    return {**step, "labels": [f"{label.name}:{label.value}" for label in found]} if found else step


def _page(text: str) -> None:
    """Print `text`; through a pager where a person reads it and it is longer than the window."""
    if sys.stdin.isatty() and sys.stdout.isatty() and text.count("\n") >= shutil.get_terminal_size().lines - 1:
        click.echo_via_pager(f"{text}\n")  # without a word on colour, `less` is told to pass it on
    else:
        click.echo(text)


def _head(row: AttemptRow, attempts: int, reader: RunReader) -> str:
    """What the trial is, how it ended, and how it was run."""
    from agentlab.traces.render import clean

    which = f"attempt {row.attempt}" + (f" of {attempts}" if attempts > 1 else "")
    ended: str = row.outcome or "not finished"
    if row.value is not None:
        ended += f", value {row.value:.3f}"
    if row.flags:
        ended += f", flagged {', '.join(row.flags)}"
    model = reader.document().get("model", "")
    route = ", ".join(f"{role} {row.route[role]}" for role in ("scaffold", "agent", "scorer") if role in row.route)
    return clean(
        f"trial {row.trial}: {row.task}/{row.sample}@{row.epoch}, {which}: {ended}\n"
        f"run {reader.run_dir.name}, model {model}, {route or 'no route'}"
    )


def _labels(reader: RunReader, row: AttemptRow) -> dict[int | None, list[Label]]:
    """The labels of an attempt that hold, by their step; None: of the whole trial."""
    from agentlab.traces.labels import standing

    found: dict[int | None, list[Label]] = {}
    for label in standing(label for label in reader.labels(row.trial) if label.attempt == row.attempt):
        found.setdefault(label.seq, []).append(label)
    return found


def _label_lines(labels: Iterable[Label], indent: int) -> str:
    """A line for each label, below what it is about."""
    from agentlab.traces.labels import in_words
    from agentlab.traces.render import clean

    return "".join("\n" + " " * indent + " ".join(clean(f"label {in_words(label)}").split()) for label in labels)


def _bold_title(block: str) -> str:
    title, newline, rest = block.partition("\n")
    return click.style(title, bold=True) + newline + rest
