"""`agentlab traces list`: the trials of a run, a line each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentlab.service.cli.exits import boundary
from agentlab.service.cli.results import json_option, runs_dir_option

if TYPE_CHECKING:
    from agentlab.traces.reader import RunReader

FULL_MARKS = 1.0


@click.command("list", short_help="List the trials of a run with their labels.")
@click.argument("run")
@click.option("--task", metavar="TASK", help="Only trials of this task.")
@click.option("--failed", is_flag=True, help="Only trials that ended in an error, or with less than full marks.")
@click.option(
    "--label", "label", metavar="NAME[:VALUE]", help="Only trials with this label, on them or on one of their steps."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The first N only.")
@runs_dir_option
@json_option
def list_traces(
    run: str, task: str | None, failed: bool, label: str | None, limit: int | None, runs_dir: str, as_json: bool
) -> None:
    """List the trials of RUN: how each ended, how many steps it has, and its labels."""
    from agentlab.traces.reader import RunReader, resolve_run

    with boundary(), RunReader(resolve_run(run, Path(runs_dir))) as reader:
        _check_task(reader, task)
        entries = []
        for entry in _entries(reader, task):
            if (failed and not _has_failed(entry)) or not _has_label(entry, label):
                continue
            entries.append(entry)
            if len(entries) == limit:
                break
        if as_json:
            print(json.dumps(entries))
        else:
            _print(reader, entries)


def _check_task(reader: RunReader, task: str | None) -> None:
    import difflib

    from agentlab.service.cli.exits import fail

    tasks = reader.tasks()
    if task is not None and task not in tasks:
        near = difflib.get_close_matches(task, tasks, 1)
        hint = f"did you mean {near[0]}?" if near else f"its tasks are {', '.join(tasks) or 'none'}"
        fail(f"{reader.run_dir.name} has no trial of {task}; {hint}")


def _entries(reader: RunReader, task: str | None) -> Iterator[dict[str, Any]]:
    from agentlab.traces.labels import by_attempt

    counts, labels = reader.event_counts(), by_attempt(reader.labels())
    for row in reader.trials(task=task):
        key = (row.trial, row.attempt)
        yield {**row.fields(), "steps": counts.get(key, 0), "labels": labels.get(key, [])}


def _has_failed(entry: dict[str, Any]) -> bool:
    return entry["outcome"] != "scored" or (entry["value"] or 0.0) < FULL_MARKS


def _has_label(entry: dict[str, Any], label: str | None) -> bool:
    if label is None:
        return True
    return any(given == label or given.startswith(f"{label}:") for given in entry["labels"])


def _behind_the_cause(label: str) -> bool:
    """The cause of a failure comes first, for a narrow column is cut at its end; the others stay in their order."""
    return not label.startswith("failure:")


def _print(reader: RunReader, entries: Sequence[dict[str, Any]]) -> None:
    from agentlab.service.cli.tables import console, number, print_hint, print_table, run_argument

    if not entries:
        print("no trial is like that")
        return
    headings = ("trial", "name", "outcome", "value", "flags", "steps", "labels")
    cells = [
        [
            str(entry["trial"]),
            f"{entry['task']}/{entry['sample']}@{entry['epoch']}",
            entry["outcome"],
            number(entry["value"]),
            ", ".join(entry["flags"]),
            str(entry["steps"]),
            ", ".join(sorted(entry["labels"], key=_behind_the_cause)),
        ]
        for entry in entries
    ]
    right = frozenset({"trial", "value", "steps"})
    print_table(console(), headings, cells, right=right, spare=("flags", "labels"), shrink="labels")
    run = run_argument(reader.run_dir)
    print_hint(f"one step by step: agentlab traces show {run} {entries[0]['trial']}")
