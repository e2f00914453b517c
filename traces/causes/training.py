"""Fitting the classifier of causes to labelled traces, and how well the same procedure does on traces not seen.

Needs scikit-learn (`agentlab-eval[analysis]`); what comes out needs nothing.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from agentlab.traces.causes.features import VERSION, Scene, feature_rows
from agentlab.traces.causes.labelled import LabelledTrace
from agentlab.traces.causes.model import CategoryHead, Cause, CauseModel, TrainedOn
from agentlab.traces.causes.moments import read_moments

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

MODEL_VERSION = 1
PENALTIES = (0.01, 0.03, 0.1)
"""Inverse strengths of the ridge penalty, of which an inner cross-validation takes one: with a hundred labelled traces
the features must be held down hard.
"""
CATEGORY_PENALTY = 0.01
FEWEST = 20
"""Independent traces below which nothing is fitted."""
_INNER_FOLDS = 5


class TooFewTraces(ValueError):  # noqa: N818 - the name says what is the matter
    """There are too few labelled traces to fit anything to."""


class Example(msgspec.Struct, frozen=True):
    """A labelled trace as figures: one row for each step that may be to blame."""

    labelled: LabelledTrace
    names: tuple[str, ...]
    rows: Any
    seqs: tuple[int, ...]

    @property
    def decisive(self) -> Array:
        """1 for the row of the decisive step, 0 for the others."""
        import numpy as np

        return np.array([seq == self.labelled.step for seq in self.seqs], dtype=np.float64)


def examples_of(labelled: Sequence[LabelledTrace]) -> list[Example]:
    """The traces as figures; one in which nobody spoke is left out."""
    import numpy as np

    found = []
    for item in labelled:
        scene = Scene(read_moments(item.trace))
        rows = feature_rows(scene)
        if rows:
            seqs = tuple(scene.moments[place].step.seq for place in scene.suspects)
            values = np.array([list(row.values()) for row in rows], dtype=np.float64)
            found.append(Example(item, tuple(rows[0]), values, seqs))
    return found


def fit(examples: Sequence[Example]) -> tuple[dict[str, float], CategoryHead, float]:
    """Step weights, category head, and the penalty that was chosen. Raises TooFewTraces."""
    import numpy as np

    _enough(examples, 2 * _INNER_FOLDS)
    folds = fold_numbers([example.labelled.group for example in examples], _INNER_FOLDS, seed=0)
    told = {}
    for penalty in PENALTIES:
        lost = 0.0
        for fold in range(_INNER_FOLDS):
            weights = _step_weights([e for e, f in zip(examples, folds, strict=True) if f != fold], penalty)
            lost += sum(_surprise(e, weights) for e, f in zip(examples, folds, strict=True) if f == fold)
        told[penalty] = lost
    penalty = min(told, key=told.__getitem__)
    weights = _step_weights(examples, penalty)
    names = examples[0].names
    return dict(zip(names, np.round(weights, 5).tolist(), strict=True)), _category_head(examples), penalty


def fold_numbers(groups: Sequence[str], folds: int, seed: int) -> list[int]:
    """A fold for each item; items of one group share theirs, and folds hold equally many groups."""
    order = sorted(set(groups))
    random.Random(seed).shuffle(order)
    fold = {group: place % folds for place, group in enumerate(order)}
    return [fold[group] for group in groups]


class Predicted(msgspec.Struct, frozen=True):
    """What a model said of a trace that it was not fitted to, and the fold that the trace was in."""

    labelled: LabelledTrace
    cause: Cause
    fold: int


def cross_validate(examples: Sequence[Example], folds: int, seed: int) -> list[Predicted]:
    """Every trace judged by a model that was fitted without its group; all choices are made inside."""
    numbers = fold_numbers([example.labelled.group for example in examples], folds, seed)
    predicted = []
    for fold in range(folds):
        weights, head, _ = fit([e for e, f in zip(examples, numbers, strict=True) if f != fold])
        model = _model(weights, head, settings={}, scores={}, trained_on=(), rebuild="")
        predicted += [
            Predicted(e.labelled, model.find(e.labelled.trace), fold)
            for e, f in zip(examples, numbers, strict=True)
            if f == fold
        ]
    return predicted


def train(
    labelled: Sequence[LabelledTrace], trained_on: Sequence[TrainedOn], rebuild: str, *, folds: int = 5, seeds: int = 5
) -> CauseModel:
    """The model of all traces, with the scores of the same procedure on folds that it was not fitted to, averaged over
    several ways to cut them. Raises TooFewTraces.
    """
    examples = examples_of(labelled)
    _enough(examples, FEWEST)
    weights, head, penalty = fit(examples)
    rounds = [cross_validate(examples, folds, seed) for seed in range(seeds)]
    settings = {"penalty": penalty, "category_penalty": CATEGORY_PENALTY, "folds": folds, "seeds": seeds}
    scores = {
        origin: _scores([[p for p in predicted if p.labelled.origin == origin] for predicted in rounds])
        for origin in sorted({example.labelled.origin for example in examples})
    }
    return _model(weights, head, settings=settings, scores=scores, trained_on=tuple(trained_on), rebuild=rebuild)


def _enough(examples: Sequence[Example], fewest: int) -> None:
    groups = {example.labelled.group for example in examples if example.decisive.any()}
    if len(groups) < fewest:
        raise TooFewTraces(
            f"there are {len(groups)} independent traces whose decisive step is that of an agent or a user; at least "
            f"{fewest} are needed"
        )


def right_agent(labelled: LabelledTrace, cause: Cause) -> bool:
    """Whether the agent is the one that people named; capitals do not matter."""
    return cause.agent.lower() == labelled.agent.lower()


def step_distance(labelled: LabelledTrace, cause: Cause) -> float:
    """How many events lie between the step that was found and the one that people named; infinite for none."""
    return math.inf if cause.step is None else abs(cause.step - labelled.step)


def _scores(rounds: Sequence[Sequence[Predicted]]) -> dict[str, Any]:
    def over(measure: Any) -> dict[str, float]:
        values = [sum(measure(p.labelled, p.cause) for p in predicted) / len(predicted) for predicted in rounds]
        return {
            "mean": round(sum(values) / len(values), 4),
            "lowest": round(min(values), 4),
            "highest": round(max(values), 4),
        }

    figures: dict[str, Any] = {
        "traces": len(rounds[0]),
        "agent": over(right_agent),
        "step": over(lambda labelled, cause: step_distance(labelled, cause) == 0),
        "step_within_one": over(lambda labelled, cause: step_distance(labelled, cause) <= 1),
    }
    if any(p.labelled.category for p in rounds[0]):
        figures["category"] = over(lambda labelled, cause: cause.category == labelled.category)
    return figures


def _step_weights(examples: Sequence[Example], penalty: float) -> Array:
    import numpy as np

    rows = np.vstack([example.rows for example in examples])
    scale = rows.std(axis=0)
    scale[scale < 1e-9] = np.inf  # what never varies says nothing
    decisive = np.concatenate([example.decisive for example in examples])
    model = _logistic((rows - rows.mean(axis=0)) / scale, decisive, penalty)
    return np.asarray(model.coef_[0] / scale, dtype=np.float64)


def _surprise(example: Example, weights: Array) -> float:
    """-log of the probability that was given to the decisive step; nothing where it is none of the rows."""
    import numpy as np

    scores = example.rows @ weights
    shares = np.exp(scores - scores.max())
    right = float((shares * example.decisive).sum() / shares.sum())
    return -math.log(max(right, 1e-9)) if example.decisive.any() else 0.0


def _category_head(examples: Sequence[Example]) -> CategoryHead:
    """Fitted to every step in which people found a fault, not to the decisive ones alone: there are few of them."""
    import numpy as np

    rows, names = [], []
    for example in examples:
        for seq, category in example.labelled.faults:
            if category and seq in example.seqs:
                rows.append(example.rows[example.seqs.index(seq)])
                names.append(category)
    if len(set(names)) < 2:
        return CategoryHead((), (), ())
    everything = np.vstack([example.rows for example in examples])
    mean, scale = everything.mean(axis=0), everything.std(axis=0)
    scale[scale < 1e-9] = np.inf
    model = _logistic((np.array(rows) - mean) / scale, names, CATEGORY_PENALTY)
    classes = [str(name) for name in model.classes_]
    weights, intercepts = model.coef_ / scale, model.intercept_
    if len(classes) == 2:  # scikit-learn keeps the second class alone
        weights, intercepts = np.vstack([np.zeros_like(weights), weights]), np.array([0.0, float(intercepts[0])])
    intercepts = intercepts - weights @ mean
    return CategoryHead(
        tuple(classes),
        tuple(np.round(intercepts, 5).tolist()),
        tuple(dict(zip(examples[0].names, np.round(line, 5).tolist(), strict=True)) for line in weights),
    )


def _logistic(rows: Array, labels: Any, penalty: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # so small a problem takes thirty times as long where threads wait for each other
        return LogisticRegression(C=penalty, max_iter=1000).fit(rows, labels)


def _model(
    weights: dict[str, float],
    head: CategoryHead,
    *,
    settings: dict[str, Any],
    scores: dict[str, Any],
    trained_on: tuple[TrainedOn, ...],
    rebuild: str,
) -> CauseModel:
    return CauseModel(
        version=MODEL_VERSION,
        features=VERSION,
        weights=weights,
        categories=head,
        trained_on=trained_on,
        rebuild=rebuild,
        settings=settings,
        scores=scores,
    )
