"""`agentlab results`: list and show runs, delete them to a trash, restore them."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentlab.service.cli.exits import boundary

if TYPE_CHECKING:
    from agentlab.traces.catalogue import RunEntry
    from agentlab.traces.reader import RunReader

RUNS_DIR = "runs"
"""Where runs are kept unless told otherwise."""

runs_dir_option = click.option(
    "--runs-dir", type=click.Path(file_okay=False), default=RUNS_DIR, show_default=True, help="Where runs are kept."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")

ERROR_CHARS = 80
"""How much of an error's message a row of a table shows."""


@click.group()
def results() -> None:
    """List, show, delete and restore runs."""


@results.command("list")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The newest N only.")
@runs_dir_option
@json_option
def list_runs(limit: int | None, runs_dir: str, as_json: bool) -> None:
    """List runs, the newest first."""
    from agentlab.service.cli.tables import console, print_hint, print_table, run_argument
    from agentlab.traces.catalogue import Catalogue
    from agentlab.traces.render import clean

    catalogue = Catalogue(Path(runs_dir))
    with boundary():
        runs = [_run_entry(entry) for entry in catalogue.runs()[:limit]]
    if catalogue.damaged:
        said = f"in {runs_dir} the run.json of {', '.join(catalogue.damaged)} cannot be read"
        print(clean(f"agentlab: {said}"), file=sys.stderr)
    if as_json:
        print(json.dumps(runs, indent=2))
        return
    if not runs:
        print(f"no runs in {runs_dir} yet: agentlab run quickstart --model reference --harness tools")
        return
    keys = ("run", "status", "model", "created", "name", "tags", "scores")
    headings = [f"{key} (UTC)" if key == "created" else key for key in keys]
    cells = [[", ".join(run[key]) if key == "tags" else str(run[key]) for key in keys] for run in runs]
    spare = ("created (UTC)", "tags", "name", "scores", "status")
    print_table(console(), headings, cells, spare=spare, shrink="scores")
    print_hint(f"look closer: agentlab results show {run_argument(runs[0]['path'])}")
    killed = next((run for run in runs if run["status"] == "killed" and not run["scores"]), None)
    if killed is not None:
        name = run_argument(killed["path"])
        print_hint(f"a killed run is summed up by agentlab results show {name}, and goes on with: run --resume {name}")


def _run_entry(entry: RunEntry) -> dict[str, Any]:
    from agentlab.service.cli.tables import number, part_of

    scores = [f"{task['task']} {number(task.get('value'))}{part_of(task)}" for task in entry.tasks]
    return {
        "run": entry.id,
        "status": _status(entry.status, entry.pid),
        "model": entry.model,
        "name": entry.name,
        "tags": list(entry.tags),
        "scores": ", ".join(scores),
        "created": datetime.fromtimestamp(entry.created_at, UTC).strftime("%Y-%m-%d %H:%M"),
        "path": str(entry.path),
    }


def _status(stored: str, pid: int | None) -> str:
    """A run's stored status, or what it is while a process writes it, or where that process was killed."""
    return f"alive ({pid})" if pid else ("killed" if stored == "running" else stored)


@results.command("show")
@click.argument("run")
@click.option("--samples", is_flag=True, help="One row a trial, its last attempt.")
@click.option("--attempts", is_flag=True, help="Every attempt, not only the last one of each trial.")
@click.option(
    "--scores", metavar="[NAME]", is_flag=False, flag_value="", help="Scores of `agentlab score`; which, without NAME."
)
@runs_dir_option
@json_option
def show(run: str, samples: bool, attempts: bool, scores: str | None, runs_dir: str, as_json: bool) -> None:
    """Show a run: its summary, or its trials with --samples. RUN is an id, a unique prefix, a path, or latest."""
    with boundary():
        reader = _open(run, runs_dir)
        with reader:
            if scores is not None:
                from agentlab.service.cli.score import show_scores

                show_scores(reader.run_dir, scores, as_json)
            elif samples or attempts:
                _show_samples(reader, attempts, as_json)
            else:
                _show_summary(reader, as_json)


def _open(run: str, runs_dir: str) -> RunReader:
    from agentlab.traces.reader import RunReader, resolve_run

    return RunReader(resolve_run(run, Path(runs_dir)))


def _show_summary(reader: RunReader, as_json: bool) -> None:
    from agentlab.service.cli.tables import print_header, print_summary
    from agentlab.service.failures import relabelled
    from agentlab.service.resume import next_ceiling
    from agentlab.service.summary import compute_summary
    from agentlab.traces.lock import holder

    document = reader.document()
    writer = holder(reader.run_dir)
    summary = document.get("summary")
    if summary is None or document.get("status") == "running":
        # Killed or under way: summed up from what is stored, by the plain mean where a task has its own metric.
        config = document.get("config", {})
        epochs = config.get("epochs", 1)
        summary = compute_summary(reader.run_dir, document, {}, epochs=epochs, alive=writer is not None).as_dict()
    else:
        summary = relabelled(summary, reader)
    summary = {**summary, "run_dir": str(reader.run_dir), "status": document.get("status", "")}
    if as_json:
        print(json.dumps(summary, indent=2))
        return
    status = _status(str(document.get("status", "")), writer)
    print_header({**document, "status": status})
    print_summary(summary, status)
    if status != "finished" and writer is None:
        ceiling = document.get("config", {}).get("max_cost")
        more = f" --max-cost {next_ceiling(reader.run_dir, ceiling)}" if status == "cost" and ceiling else ""
        print(f"\nresume with: agentlab run --resume {reader.run_dir}{more}")


def _show_samples(reader: RunReader, attempts: bool, as_json: bool) -> None:
    from agentlab.service.cli.tables import console, number, one_line, print_hint, print_table, run_argument
    from agentlab.service.summary import error_message
    from agentlab.traces.labels import by_attempt
    from agentlab.traces.lock import holder

    alive = holder(reader.run_dir) is not None
    labels = by_attempt(reader.labels())
    trials = list(reader.trials(final=not attempts))
    rows = [{**row.fields(), "labels": labels.get((row.trial, row.attempt), [])} for row in trials]
    if as_json:
        print(json.dumps(rows))
        return
    headings = ("trial", "task", "sample", "epoch", "attempt", "outcome", "value", "flags", "error")
    cells = [
        [
            str(row["trial"]),
            row["task"],
            row["sample"],
            str(row["epoch"]),
            str(row["attempt"]),
            row["outcome"],
            number(row["value"]),
            ", ".join(row["flags"]),
            "under way" if alive and trial.outcome is None else one_line(error_message(trial), ERROR_CHARS),
        ]
        for row, trial in zip(rows, trials, strict=True)
    ]
    if not rows:
        print("no trial is stored yet")
        return
    right = frozenset({"trial", "epoch", "attempt", "value"})
    print_table(console(), headings, cells, right=right, spare=("error", "flags"), shrink="error")
    # The first one that one would want to see: an error, else less than full marks.
    shown = next((t for t in trials if t.outcome != "scored"), None) or min(trials, key=lambda t: t.value or 0.0)
    print_hint(f"one step by step: agentlab traces show {run_argument(reader.run_dir)} {shown.trial}")


@results.command("delete")
@click.argument("run")
@runs_dir_option
def delete(run: str, runs_dir: str) -> None:
    """Move a run to the trash. `results restore` brings it back."""
    from agentlab.traces.catalogue import delete_run, resolve_run

    with boundary():
        path = resolve_run(run, Path(runs_dir))
        trash = delete_run(path)
    print(f"{path.name} is in {trash.parent}; undo with: agentlab results restore {path.name}")


@results.command("restore")
@click.argument("run", required=False)
@runs_dir_option
def restore(run: str | None, runs_dir: str) -> None:
    """Bring a deleted run back: an id, a unique prefix, or latest. Without RUN, list what is in the trash."""
    from agentlab.traces.catalogue import restore_run, trashed

    with boundary():
        if run is None:
            names = trashed(Path(runs_dir))
            print("\n".join(names) if names else "the trash is empty")
            return
        path = restore_run(run, Path(runs_dir))
    print(f"restored {path}")
