"""`agentlab traces train`: fit a classifier to labelled traces."""

from __future__ import annotations

import importlib.util
import shlex
from pathlib import Path

import click

from agentlab.service.cli.exits import boundary, fail


@click.command("train")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--kind", type=click.Choice(["cause"]), default="cause", show_default=True, help="What it tells.")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The file of weights.")
@click.option("--seeds", type=click.IntRange(1, 100), default=20, show_default=True, help="Ways to cut the five folds.")
def train_command(files: tuple[Path, ...], kind: str, out: Path, seeds: int) -> None:
    """Fit a classifier to FILES of labelled traces and write its weights as JSON, with the hashes of the files and the
    scores on folds that it was not fitted to. For --kind cause: files of Who&When, and of AgentRx with its labels.
    """
    import msgspec

    from agentlab.traces.causes.labelled import read_labelled
    from agentlab.traces.causes.training import TooFewTraces, train
    from agentlab.traces.errors import FormatError

    if importlib.util.find_spec("sklearn") is None:
        fail("training needs scikit-learn: pip install 'agentlab-eval[analysis]'")
    rebuild = shlex.join(["agentlab", "traces", "train", "--kind", kind, *(file.name for file in files)])
    with boundary():
        try:
            labelled, trained_on = read_labelled(files)
            model = train(labelled, trained_on, f"{rebuild} --seeds {seeds} --out {out.name}", seeds=seeds)
        except (FormatError, TooFewTraces) as error:
            fail(str(error))
        out.write_bytes(msgspec.json.format(msgspec.json.encode(model), indent=1) + b"\n")
    for origin, scores in model.scores.items():
        print(f"{origin}, {scores['traces']} traces, five folds cut in {seeds} ways (mean, lowest to highest):")
        for name in ("agent", "step", "step_within_one", "category"):
            if name in scores:
                score = scores[name]
                print(f"  {name:<16}{score['mean']:.3f}  {score['lowest']:.3f} to {score['highest']:.3f}")
    print(f"the weights are in {out}")
