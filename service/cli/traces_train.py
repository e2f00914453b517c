"""`agentlab traces train`: fit a classifier to what people labelled."""

from __future__ import annotations

import importlib.util
import json
import shlex
from pathlib import Path
from typing import Any

import click

from agentlab.service.cli.exits import boundary, fail
from agentlab.service.cli.results import json_option


@click.command("train", short_help="Fit a classifier to labels.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
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
@json_option
def train_command(files: tuple[Path, ...], kind: str, out: Path, seeds: int, as_json: bool) -> None:
    """Fit a classifier to labelled FILES and write its weights as JSON, with the hashes of the files and the scores on
    rows that it was not fitted to. For --kind cause: files of Who&When, and of AgentRx with its labels; for refusal the
    completions of XSTest, a file a model; for harm (and the six actions) the responses of Do-Not-Answer.
    """
    if importlib.util.find_spec("sklearn") is None:
        how = "in a clone .venv/bin/pip install -e '.[analysis]', else pip install 'agentlab-eval[analysis]'"
        fail(f"training needs scikit-learn: {how}")
    if not out.parent.is_dir():
        fail(f"--out {out}: there is no folder {out.parent}")
    rebuild = shlex.join(["agentlab", "traces", "train", "--kind", kind, *(file.name for file in files)])
    if kind == "cause":
        scores = _train_causes(files, f"{rebuild} --seeds {seeds} --out {out.name}", out, seeds)
        told = _causes_in_words(scores, seeds)
    else:
        scores = _train_answers(files, kind, f"{rebuild} --out {out.name}", out)
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


def _train_causes(files: tuple[Path, ...], rebuild: str, out: Path, seeds: int) -> dict[str, Any]:
    import msgspec

    from agentlab.traces.causes.labelled import read_labelled
    from agentlab.traces.causes.training import TooFewTraces, train
    from agentlab.traces.errors import FormatError

    with boundary():
        try:
            labelled, trained_on = read_labelled(files)
            model = train(labelled, trained_on, rebuild, seeds=seeds)
        except (FormatError, TooFewTraces) as error:
            fail(str(error))
        out.write_bytes(msgspec.json.format(msgspec.json.encode(model), indent=1) + b"\n")
    return dict(model.scores)


def _causes_in_words(scores: dict[str, Any], seeds: int) -> list[str]:
    told = []
    for origin, found in scores.items():
        told.append(f"{origin}, {found['traces']} traces, five folds cut in {seeds} ways (mean, lowest to highest):")
        for name in ("agent", "step", "step_within_one", "category"):
            if name in found:
                score = found[name]
                told.append(f"  {name:<16}{score['mean']:.3f}  {score['lowest']:.3f} to {score['highest']:.3f}")
    return told
