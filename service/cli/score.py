"""`agentlab score`: stored trials graded again, and the new scores kept beside the old."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentlab.service.cli.exits import FAILED, boundary
from agentlab.service.cli.replay import board_of, chosen, max_sandboxes_option, sandbox_option, say
from agentlab.service.cli.results import json_option, runs_dir_option

if TYPE_CHECKING:
    from agentlab.service.replay.score import Graded


@click.command("score")
@click.argument("run")
@click.argument("trials", nargs=-1, metavar="[TRIAL]...")
@click.option(
    "--scorer",
    "scorers",
    multiple=True,
    default=("own",),
    show_default=True,
    metavar="NAME",
    help="A built-in scorer, FILE.py::NAME, either with :key=value,...; or own: the tasks' as they are now.",
)
@click.option("--name", metavar="TEXT", help="A name for the new scores.  [default: scorer and version]")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Of the harness, for example judge=URL.")
@sandbox_option
@max_sandboxes_option
@runs_dir_option
@json_option
def score(
    run: str,
    trials: tuple[str, ...],
    scorers: tuple[str, ...],
    name: str | None,
    settings: tuple[str, ...],
    sandbox: Any,
    max_sandboxes: int | None,
    runs_dir: str,
    as_json: bool,
) -> None:
    """Grade the stored trials of a run again, by the scorers as they are now or by others. No model is asked for an
    answer; what an agent did is carried out again from the recording. The new scores go into a file of their own in
    the run's directory, `results show RUN --scores NAME` prints them; the old ones stay.
    """
    from agentlab.service import event_loop
    from agentlab.service.replay.score import document_of, free_name, grade_again, keep
    from agentlab.service.replay.scorers import find_scorers
    from agentlab.service.replay.stage import set_stage
    from agentlab.traces.reader import RunReader, resolve_run

    with boundary(), RunReader(resolve_run(run, Path(runs_dir))) as reader:
        found = find_scorers(scorers)
        kept_as = free_name(reader.run_dir, name, found)
        stage = set_stage(
            reader,
            chosen(reader, trials),
            sandbox=sandbox,
            max_sandboxes=max_sandboxes,
            scorers=found,
            settings=settings,
        )
        for remark in stage.remarks:
            say(remark)

        async def go() -> list[Graded]:
            return await grade_again(stage, reader, board_of(stage, quiet=as_json), say)

        graded = event_loop.run(go)
        document = document_of(stage, graded, kept_as, found)
        path = keep(reader.run_dir, document)
        print_scores(document, reader.run_dir, as_json)
        if not as_json:
            print(f"\nkept in {path}; the run's own scores are as they were")
    if not any(one.value is not None for one in graded):
        raise SystemExit(FAILED)


def show_scores(run_dir: Path, name: str, as_json: bool) -> None:
    """Print stored scores by their name; without one, which there are."""
    from agentlab.service.replay.score import stored_names, stored_scores

    if name:
        print_scores(stored_scores(run_dir, name), run_dir, as_json)
        return
    documents = [stored_scores(run_dir, one) for one in stored_names(run_dir)]
    if as_json:
        print(json.dumps([{key: one[key] for key in ("name", "at", "by", "scorers")} for one in documents], indent=2))
        return
    for one in documents:
        print(_head(one))
    if not documents:
        print("the run was graded once only: agentlab score RUN --scorer NAME grades it again")


def print_scores(document: dict[str, Any], run_dir: Path, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"run": run_dir.name, **document}))
        return
    from agentlab.service.cli.tables import console, number, print_table

    headings = ("task", "items", "stored", "new", "difference", "95 % interval", "higher", "lower", "not graded")
    rows = [
        [
            str(task["task"]),
            str(task["n"]),
            number(task["stored"]),
            number(task["value"]),
            "" if task["difference"] is None else f"{task['difference']:+.3f}",
            _interval(task["ci95"]),
            str(task["higher"]),
            str(task["lower"]),
            str(task["not_graded"]),
        ]
        for task in document["tasks"]
    ]
    print(_head(document))
    print_table(console(), headings, rows, right=frozenset(headings[1:]), spare=("items", "higher", "lower"))
    _print_left_out(document["trials"])


def _head(document: dict[str, Any]) -> str:
    from agentlab.traces.render import clean

    named = dict.fromkeys(
        f"{scorer['name']} version {scorer['version']}" for used in document["scorers"].values() for scorer in used
    )
    return clean(f"{document['name']}: {', '.join(named)}; {document['at']}, by {document['by']}")


def _interval(ci95: list[float | None]) -> str:
    low, high = ci95
    return "" if low is None or high is None else f"{low:+.3f} to {high:+.3f}"


def _print_left_out(trials: list[dict[str, Any]]) -> None:
    """Why trials were not graded, the same reason once, with how many and the first of them."""
    from agentlab.service.cli.tables import one_line

    reasons: dict[str, list[int]] = {}
    for trial in trials:
        if trial["reason"]:
            reasons.setdefault(trial["reason"], []).append(trial["trial"])
    for reason, numbers in list(reasons.items())[:10]:
        which = f"trial {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} trials, the first {numbers[0]}"
        print(f"not graded, {which}: {one_line(reason, 300)}")
