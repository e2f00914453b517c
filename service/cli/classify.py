"""`agentlab classify`: labels for rows, for stored trials, or for traces in files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from agentlab.service.cli.classify_causes import PROMPT_TOKENS, classify_causes
from agentlab.service.cli.exits import boundary, fail
from agentlab.service.cli.results import json_option, runs_dir_option
from agentlab.service.cli.tables import run_argument

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from agentlab.tasks.types import SafetyKind
    from agentlab.traces.rows import Label
    from agentlab.traces.safety.judging import AnswerKind

KINDS = ("refusal", "harm", "action", "quality", "conduct", "cause")
OF_RUNS_UNASKED = ("refusal", "conduct", "cause")
"""Not harm and action: what tells them knows requests that one ought to refuse, and sees harm in plain sums."""
FITTED_TO = (
    "fitted to answers to requests that one ought to refuse; on other questions it sees harm where there is none, "
    "so read what it names before you count"
)
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
@click.option("--store/--no-store", default=None, help="Keep the labels with the run; without --kind, kept.")
@runs_dir_option
@json_option
def classify(
    target: str,
    kind: str | None,
    judge: str,
    judge_context: int,
    judge_key: str,
    store: bool | None,
    runs_dir: str,
    as_json: bool,
) -> None:
    """Label answers and failed traces. TARGET is a run (an id, a unique prefix, a path or latest), a file of rows with
    id, prompt and response (refusal, harm, action, quality), or a file of traces (cause). refusal says how far each
    answer complies, harm whether it does harm, action which of six it takes, quality how well it refuses, conduct what
    an agent did that it should not, cause which step decided a failure. With --json one line a label.
    """
    from agentlab.traces.classifiers.errors import RowError

    with boundary():
        path = _resolved(target, Path(runs_dir))
        is_run = (path / "run.json").is_file()
        if store and not is_run:
            fail("--store needs a run: bring the file in with `agentlab traces import`")
        keep = is_run and kind is None if store is None else store
        wanted = (kind,) if kind else OF_RUNS_UNASKED if is_run else ("cause",)
        if judge and kind not in JUDGED and (kind or is_run):
            fail(f"--judge needs --kind, one of {', '.join(JUDGED)}")
        try:
            if is_run:
                _label_run(path, wanted, judge, judge_key, keep=keep, as_json=as_json)
            elif kind in OF_ROWS:
                _label_rows(path, kind, judge, judge_key, as_json=as_json)
            elif kind == "conduct":
                fail("conduct is read off the steps of a run: bring the file in with `agentlab traces import`")
        except RowError as error:
            fail(str(error))
        if "cause" in wanted:
            classify_causes(
                path, judge=judge, judge_context=judge_context, judge_key=judge_key, store=keep, as_json=as_json
            )


def _resolved(target: str, runs_dir: Path) -> Path:
    """A file or folder as it is; else the run of that name."""
    from agentlab.traces.reader import resolve_run

    path = Path(target)
    if path.is_file() or (path.is_dir() and not (path / "run.json").is_file()):
        return path
    return resolve_run(target, runs_dir)


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


def _label_run(path: Path, kinds: tuple[str, ...], judge: str, key_variable: str, *, keep: bool, as_json: bool) -> None:
    from agentlab.service import event_loop
    from agentlab.service.answers import OF_RUNS, judged_labels_of_run, labels_of_run
    from agentlab.service.labelling import add_labels
    from agentlab.service.safety_rates import NOTHING

    wanted = cast("tuple[SafetyKind, ...]", tuple(kind for kind in kinds if kind in OF_RUNS))
    if not wanted:
        if kinds == ("quality",):
            fail("quality is for files of rows: it must be told what would have been right")
        return
    if not judge and kinds[0] in ("harm", "action"):
        print(f"{kinds[0]}: {FITTED_TO}", file=sys.stderr, flush=True)
    found: list[Label] = []

    def show(name: str, label: Label) -> None:
        found.append(label)
        if label.value == NOTHING:
            return
        row = {
            "id": name,
            "kind": label.name,
            "label": label.value,
            "score": label.confidence,
            "source": label.source,
            "author": label.author,
            "step": label.seq,
            "note": label.note,
        }
        step = "" if label.seq is None else f" at step {label.seq + 1}"
        note = f": {label.note}" if label.note else ""
        _print(row, f"{name}: {label.name} {label.value}{step} (by {label.source} {label.author}){note}", as_json)

    async def ask(asked: AnswerKind) -> None:
        judged: AsyncIterator[tuple[str, Label]] = judged_labels_of_run(path, asked, judge, key_variable)
        async for name, label in judged:
            show(name, label)

    if judge:
        event_loop.run(ask, cast("AnswerKind", kinds[0]))
    else:
        for name, label in labels_of_run(path, wanted):
            show(name, label)
    if keep:
        count = add_labels(path, found, once=True)
        if not as_json:
            rates = f"agentlab results show {run_argument(path)}"
            print(f"{count} labels of answers and steps are stored; their rates: {rates}", flush=True)


def _print(row: dict[str, Any], line: str, as_json: bool) -> None:
    from agentlab.traces.render import clean

    print(json.dumps(row) if as_json else clean(line).replace("\n", " "), flush=True)
