"""`agentlab traces train`: fit a classifier to what people labelled."""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentlab.service.cli.exits import boundary, fail
from agentlab.service.cli.results import json_option, runs_dir_option

if TYPE_CHECKING:
    from agentlab.traces.causes.labelled_runs import RunLabels


@click.command("train", short_help="Fit a classifier to labels.")
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--kind",
    type=click.Choice(["cause", "refusal", "harm"]),
    default="cause",
    show_default=True,
    help="What it tells.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The file of weights.")
@click.option(
    "--seeds", type=click.IntRange(1, 100), default=20, show_default=True, help="Ways to cut the five folds of causes."
)
@runs_dir_option
@json_option
def train_command(files: tuple[str, ...], kind: str, out: Path, seeds: int, runs_dir: str, as_json: bool) -> None:
    """Fit a classifier to labelled FILES and write its weights as JSON, with the hashes of the files and the scores on
    rows that it was not fitted to; `classify --weights` uses them. For --kind cause: runs (an id, a unique prefix, a
    path or latest) in which people marked steps, files of Who&When, and of AgentRx with its labels; for refusal the
    completions of XSTest, a file a model; for harm (and the six actions) the responses of Do-Not-Answer.
    """
    if importlib.util.find_spec("sklearn") is None:
        how = "in a clone .venv/bin/pip install -e '.[analysis]', else pip install 'agentlab-eval[analysis]'"
        fail(f"training needs scikit-learn: {how}")
    if not out.parent.is_dir():
        fail(f"--out {out}: there is no folder {out.parent}")
    rebuild = shlex.join(["agentlab", "traces", "train", "--kind", kind, *(Path(file).name for file in files)])
    if kind == "cause":
        scores = _train_causes(files, Path(runs_dir), f"{rebuild} --seeds {seeds} --out {out.name}", out, seeds)
        told = _causes_in_words(scores, seeds)
    else:
        if absent := next((file for file in files if not Path(file).is_file()), None):
            fail(f"{absent}: there is no such file")
        scores = _train_answers(tuple(map(Path, files)), kind, f"{rebuild} --out {out.name}", out)
        told = [
            f"{part}: " + ", ".join(f"{name} {value:.3f}" for name, value in found.items())
            for part, found in scores.items()
        ]
    if as_json:
        print(json.dumps({"kind": kind, "out": str(out), "scores": scores}))
        return
    print("\n".join([*told, f"the weights are in {out}"]))


def _train_answers(files: tuple[Path, ...], kind: str, rebuild: str, out: Path) -> dict[str, Any]:
    import msgspec

    from agentlab.traces.classifiers.errors import RowError, TooFewRows
    from agentlab.traces.safety.labelled import read_do_not_answer, read_xstest
    from agentlab.traces.safety.validation import train_harm, train_refusal
    from agentlab.traces.safety.weights import HarmWeights, RefusalWeights

    weights: RefusalWeights | HarmWeights
    with boundary():
        try:
            if kind == "refusal":
                weights = train_refusal(*read_xstest(files), rebuild)
            else:
                weights = train_harm(*read_do_not_answer(files), rebuild)
        except (RowError, TooFewRows) as error:
            fail(str(error))
        out.write_bytes(msgspec.json.encode(weights) + b"\n")
    return dict(weights.scores)


def _train_causes(files: tuple[str, ...], runs_dir: Path, rebuild: str, out: Path, seeds: int) -> dict[str, Any]:
    import msgspec

    from agentlab.traces.causes.labelled import read_labelled
    from agentlab.traces.causes.training import TooFewTraces, train
    from agentlab.traces.errors import FormatError

    paths = [Path(file) for file in files if Path(file).is_file()]
    with boundary():
        try:
            labelled, trained_on = read_labelled(paths)
            for run in (file for file in files if not Path(file).is_file()):
                found = _marked_in(run, runs_dir)
                labelled += found.labelled
                trained_on.append(found.source)
            model = train(labelled, trained_on, rebuild, seeds=seeds)
        except FormatError as error:
            fail(str(error))
        except TooFewTraces as error:
            fail(f"{error}. People mark the step that decided a trial with m in `agentlab label RUN --failed`")
        out.write_bytes(msgspec.json.format(model.as_file(), indent=1) + b"\n")
    return dict(model.scores)


def _marked_in(run: str, runs_dir: Path) -> RunLabels:
    """What people marked in a run. Raises StoreError."""
    from agentlab.traces.causes.labelled_runs import read_labelled_run
    from agentlab.traces.errors import UnknownRun
    from agentlab.traces.reader import RunReader, resolve_run

    try:
        place = resolve_run(run, runs_dir)
    except UnknownRun as error:
        fail(f"{run} is no file, and {error}")
    with RunReader(place) as reader:
        found = read_labelled_run(reader)
    if found.disputed:
        which = "1 trial is" if found.disputed == 1 else f"{found.disputed} trials are"
        print(f"{run}: {which} left out, for people name different steps there", file=sys.stderr)
    return found


def _causes_in_words(scores: dict[str, Any], seeds: int) -> list[str]:
    told = []
    for origin, found in scores.items():
        told.append(f"{origin}, {found['traces']} traces, five folds cut in {seeds} ways (mean, lowest to highest):")
        for name in ("agent", "step", "step_within_one", "category"):
            if name in found:
                score = found[name]
                told.append(f"  {name:<16}{score['mean']:.3f}  {score['lowest']:.3f} to {score['highest']:.3f}")
    return told
