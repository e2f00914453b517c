"""`agentlab classify`: labels for rows, for stored trials, or for traces in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from agentlab.service.cli.classify_causes import PROMPT_TOKENS, classify_causes, window_chars
from agentlab.service.cli.exits import boundary, fail
from agentlab.service.cli.results import json_option, runs_dir_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentlab.traces.safety.judging import AnswerKind

KINDS = ("refusal", "harm", "action", "quality", "conduct", "cause")
OF_RUNS_UNASKED = ("refusal", "conduct", "cause")
"""Not harm and action: what tells them knows requests that one ought to refuse, and sees harm in plain sums."""
OF_ROWS = ("refusal", "harm", "action", "quality")
JUDGED = ("refusal", "harm", "action", "cause")


@click.command()
@click.argument("target")
@click.option("--kind", type=click.Choice(KINDS), help="What to find; without it, refusal, conduct and cause.")
@click.option("--judge", default="", metavar="MODEL", help="Ask this model instead of the statistical classifier.")
@click.option(
    "--judge-context",
    type=click.IntRange(PROMPT_TOKENS + 1000),
    default=16_000,
    show_default=True,
    metavar="TOKENS",
    help="What the judge reads of a trace at once; longer traces are read in parts.",
)
@click.option("--judge-key", default="", metavar="VARIABLE", help="The environment variable with the judge's key.")
@click.option(
    "--weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="For --kind cause: weights of your own, as `traces train` writes them.",
)
@click.option("--store/--no-store", default=None, help="Keep the labels with the run; without --kind, kept.")
@click.option(
    "--lines/--no-lines",
    default=None,
    help="Of a run a line a label, or how often each was given. Unasked: lines in a pipe, and up to 20 trials.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    metavar="N",
    help="How many traces of a run are read at once; one a core where that is quicker.",
)
@runs_dir_option
@json_option
def classify(
    target: str,
    kind: str | None,
    judge: str,
    judge_context: int,
    judge_key: str,
    weights: Path | None,
    store: bool | None,
    lines: bool | None,
    processes: int | None,
    runs_dir: str,
    as_json: bool,
) -> None:
    """Label answers and failed traces. TARGET is a run (an id, a unique prefix, a path or latest), a file of rows with
    id, prompt and response (refusal, harm, action, quality), or a file of traces (cause). refusal says how far each
    answer complies, harm whether it does harm, action which of six it takes, quality how well it refuses, conduct what
    an agent did that it should not, cause which step decided a failure. With --json one line a label.

    Labels of a run are stored as it goes on: stopped or killed, it goes on from there when it is called again.
    """
    from agentlab.service.cli.classify_run import classify_run
    from agentlab.traces.classifiers.errors import RowError

    with boundary(interrupted="stopped; call it again to go on"):
        path = _resolved(target, Path(runs_dir))
        is_run = (path / "run.json").is_file()
        if store and not is_run:
            fail("--store needs a run: bring the file in with `agentlab traces import`")
        if judge and kind not in JUDGED and (kind or is_run):
            fail(f"--judge needs --kind, one of {', '.join(JUDGED)}")
        if weights and (judge or kind != "cause"):
            fail("--weights needs --kind cause, and no --judge")
        window = window_chars(judge_context)
        if is_run:
            classify_run(
                path,
                (kind,) if kind else OF_RUNS_UNASKED,
                judge=judge,
                judge_key=judge_key,
                judge_window=window,
                keep=kind is None if store is None else store,
                as_json=as_json,
                lines=lines,
                processes=processes,
                weights=weights,
            )
        elif kind in OF_ROWS:
            try:
                _label_rows(path, kind, judge, judge_key, as_json=as_json)
            except RowError as error:
                fail(str(error))
        elif kind == "conduct":
            fail("conduct is read off the steps of a run: bring the file in with `agentlab traces import`")
        elif _are_rows(path):
            fail(f"{target} holds rows with prompt and response: name what to find, --kind {', '.join(OF_ROWS)}")
        else:
            classify_causes(
                path, judge=judge, judge_key=judge_key, judge_window=window, as_json=as_json, weights=weights
            )


def _resolved(target: str, runs_dir: Path) -> Path:
    """A file or folder as it is; else the run of that name."""
    from agentlab.traces.reader import resolve_run

    path = Path(target)
    if path.is_file() or (path.is_dir() and not (path / "run.json").is_file()):
        return path
    return resolve_run(target, runs_dir)


def _are_rows(path: Path) -> bool:
    """Whether a file begins with a row, and not with a trace."""
    from agentlab.traces.classifiers.answers import MOST_BYTES

    try:
        with path.open("rb") as file:
            first = json.loads(file.readline(MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(first, dict) and {"prompt", "response"} <= first.keys()


def _label_rows(path: Path, kind: str, judge: str, key_variable: str, *, as_json: bool) -> None:
    from agentlab.service import event_loop
    from agentlab.service.answers import classified_rows, judged_rows

    def show(row: dict[str, Any]) -> None:
        deflects = ", deflects" if row.get("deflection") else ""
        _print(row, f"{row['id']}: {row['label']} ({row['score']:.2f} by {row['source']}){deflects}", as_json)

    async def ask(asked: AnswerKind) -> None:
        async for row in judged_rows(path, asked, judge, key_variable):
            show(row)

    if judge:
        event_loop.run(ask, cast("AnswerKind", kind))
        return
    rows: Iterator[dict[str, Any]] = classified_rows(path, cast("AnswerKind", kind))
    for row in rows:
        show(row)


def _print(row: dict[str, Any], line: str, as_json: bool) -> None:
    from agentlab.traces.render import clean

    print(json.dumps(row) if as_json else clean(line).replace("\n", " "), flush=True)
