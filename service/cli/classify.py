"""`agentlab classify`: labels for stored trials, or for traces in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentlab.service.cli.exits import boundary, fail
from agentlab.service.cli.results import json_option, runs_dir_option

if TYPE_CHECKING:
    from agentlab.service.causes import Found

CHARS_PER_TOKEN = 3
"""On the safe side: English text has four, code and numbers fewer."""
PROMPT_TOKENS = 4_000
"""What is kept free of a judge's context for the question and the answer."""


@click.command()
@click.argument("target")
@click.option("--kind", type=click.Choice(["cause"]), default="cause", show_default=True, help="What to find.")
@click.option("--judge", default="", metavar="MODEL", help="Ask this model instead of the statistical classifier.")
@click.option(
    "--judge-context",
    type=click.IntRange(PROMPT_TOKENS + 1000),
    default=16_000,
    show_default=True,
    metavar="TOKENS",
    help="What the judge reads at once; longer traces are read in parts.",
)
@click.option("--judge-key", default="", metavar="VARIABLE", help="The environment variable with the judge's key.")
@click.option("--store", is_flag=True, help="Keep what was found as labels of the run.")
@runs_dir_option
@json_option
def classify(
    target: str,
    kind: str,
    judge: str,
    judge_context: int,
    judge_key: str,
    store: bool,
    runs_dir: str,
    as_json: bool,
) -> None:
    """Say which step of each failed trial decided it, who made it, and in what way it failed. TARGET is a run (an id,
    a unique prefix, a path or latest) or a file of traces that `traces import` reads. With --json one line a trace.
    """
    import anyio

    from agentlab.traces.errors import FormatError

    async def all_found() -> list[Found]:
        from agentlab.service.causes import classified_causes, judged_causes

        found: list[Found] = []
        if not judge:
            for each in classified_causes(path):
                found.append(each)
                _show(each, as_json)
            return found
        window = (judge_context - PROMPT_TOKENS) * CHARS_PER_TOKEN
        async for each in judged_causes(path, judge, window_chars=window, key_variable=judge_key):
            found.append(each)
            _show(each, as_json)
        return found

    with boundary():
        path = _resolved(target, Path(runs_dir))
        try:
            found = anyio.run(all_found)
        except FormatError as error:
            fail(str(error))
        if store:
            _store(path, found)
        if not found and not as_json:
            print("no trace of a failed trial is in it")


def _resolved(target: str, runs_dir: Path) -> Path:
    """A file or folder as it is; else the run of that name."""
    from agentlab.traces.reader import resolve_run

    path = Path(target)
    if path.is_file() or (path.is_dir() and not (path / "run.json").is_file()):
        return path
    return resolve_run(target, runs_dir)


def _show(found: Found, as_json: bool) -> None:
    from agentlab.traces.render import clean

    if as_json:
        print(json.dumps(found.as_dict()), flush=True)
        return
    cause = found.cause
    if cause.step is None:
        print(clean(f"{found.id}: unknown ({cause.note})"), flush=True)
        return
    sure = "" if cause.score is None else f", {cause.score:.2f} sure of the agent"
    quote = f': "{cause.quote}"' if cause.quote else ""
    line = f"{found.id}: step {cause.step + 1} by {cause.agent}, {cause.category} ({cause.author}{sure}){quote}"
    print(clean(line).replace("\n", " "), flush=True)


def _store(path: Path, found: list[Found]) -> None:
    from agentlab.service.labelling import add_labels

    if not (path / "run.json").is_file():
        fail("--store needs a run: bring the file in with `agentlab traces import`")
    labels = [label for each in found if (label := each.as_label()) is not None]
    print(f"{add_labels(path, labels, once=True)} labels are stored", flush=True)
