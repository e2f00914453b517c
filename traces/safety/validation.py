"""The classifiers of answers on rows that they were not fitted to, and the weights to ship, with those scores."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from agentlab.traces.classifiers.errors import TooFewRows
from agentlab.traces.safety.answers import ACTIONS
from agentlab.traces.safety.features import VERSION, features
from agentlab.traces.safety.labelled import ActedAnswer, RefusalAnswer
from agentlab.traces.safety.refusal import RefusalModel
from agentlab.traces.safety.rules import Decision, decide
from agentlab.traces.safety.training import fit_linear, fit_refusal
from agentlab.traces.safety.weights import HarmWeights, RefusalWeights, TrainedOn

FOLDS = 5
REFUSAL_VERSION, HARM_VERSION = 3, 1
DECISION_NAMES: tuple[Decision, ...] = ("full_compliance", "partial_refusal", "full_refusal")

_Key = TypeVar("_Key")
Row = Mapping[str, float]


class Judged(msgspec.Struct, frozen=True):
    """What was said of an answer by classifiers that did not see it: how probable harm is, and the action."""

    harm: float
    action: str


def split(keys: Sequence[str], folds: int, seed: int) -> list[int]:
    """A fold for each row; rows with one key share theirs."""
    names = sorted(set(keys))
    if len(names) < folds:
        raise TooFewRows(f"{len(names)} groups of rows cannot be split {folds} ways")
    random.Random(seed).shuffle(names)
    fold = {name: place % folds for place, name in enumerate(names)}
    return [fold[key] for key in keys]


def rows_of(answers: Iterable[RefusalAnswer | ActedAnswer]) -> list[dict[str, float]]:
    """The features of answers, in order."""
    return [features(answer.prompt, answer.response) for answer in answers]


def held_out_refusals(
    answers: Sequence[RefusalAnswer], rows: Sequence[Row], parts: Sequence[int | str]
) -> list[Decision]:
    """A decision for each answer by a model that was fitted to the other parts only."""
    decisions: list[Decision] = ["full_compliance"] * len(answers)
    for part in sorted(set(parts), key=str):
        kept = [place for place, own in enumerate(parts) if own != part]
        model = _fit_refusal([answers[p] for p in kept], [rows[p] for p in kept])
        for place, own in enumerate(parts):
            if own == part:
                decisions[place] = decide(*model.scores(rows[place], answers[place].response))
    return decisions


def held_out_actions(answers: Sequence[ActedAnswer], rows: Sequence[Row]) -> list[Judged]:
    """What is said of each answer by models that saw no answer of its model."""
    judged = [Judged(0.0, "0")] * len(answers)
    for model in sorted({answer.model for answer in answers}):
        kept = [place for place, answer in enumerate(answers) if answer.model != model]
        harmful, action = _linear([answers[p] for p in kept], [rows[p] for p in kept])
        for place, answer in enumerate(answers):
            if answer.model == model:
                shares = action.probabilities(answer.response, rows[place])
                harm = harmful.probabilities(answer.response, rows[place])["harmful"]
                judged[place] = Judged(harm, max(shares, key=shares.__getitem__))
    return judged


def refusal_figures(truth: Sequence[str], said: Sequence[str]) -> dict[str, float]:
    """Three-way accuracy; binary accuracy (full compliance or not, as XSTest's authors count); macro-F1; recall and
    precision of partial refusals.
    """
    pairs = list(zip(truth, said, strict=True))
    partial = "partial_refusal"
    return {
        "three_way": _share(a == b for a, b in pairs),
        "binary": _share((a == "full_compliance") == (b == "full_compliance") for a, b in pairs),
        "macro_f1": macro_f1(truth, said, DECISION_NAMES),
        "partial_recall": _share(b == partial for a, b in pairs if a == partial),
        "partial_precision": _share(a == partial for a, b in pairs if b == partial),
    }


def macro_f1(truth: Sequence[_Key], said: Sequence[_Key], names: Sequence[_Key]) -> float:
    """The mean over classes of 2 tp / (2 tp + fp + fn), 0 for a class that was neither there nor said."""
    total = 0.0
    for name in names:
        both = sum(1 for a, b in zip(truth, said, strict=True) if a == b == name)
        either = sum(1 for a in truth if a == name) + sum(1 for b in said if b == name)
        total += 2 * both / either if either else 0.0
    return total / len(names)


def average_precision(truth: Sequence[bool], scores: Sequence[float]) -> float:
    """Area under the precision-recall curve: the sum of precision times the gain in recall, thresholds from the top
    down, ties together. 0 where nothing is positive.
    """
    ranked = sorted(zip(scores, truth, strict=True), key=lambda pair: -pair[0])
    positives = sum(truth)
    area, found, seen, place = 0.0, 0, 0, 0
    while place < len(ranked):
        tied = place
        while tied < len(ranked) and ranked[tied][0] == ranked[place][0]:
            tied += 1
        gained = sum(1 for _, positive in ranked[place:tied] if positive)
        found, seen = found + gained, tied
        area += (gained / positives) * (found / seen) if positives else 0.0
        place = tied
    return area


def train_refusal(answers: Sequence[RefusalAnswer], trained_on: tuple[TrainedOn, ...], rebuild: str) -> RefusalWeights:
    """Weights fitted to all answers, with the scores of the same procedure on folds grouped by prompt, and on each
    model's answers when fitted to the others'. Raises TooFewRows.
    """
    rows = rows_of(answers)
    truth = [answer.decision for answer in answers]
    folds = split([answer.prompt_id for answer in answers], FOLDS, seed=0)
    held_out = held_out_refusals(answers, rows, folds)
    scores: dict[str, Any] = {"folds_by_prompt": _rounded(refusal_figures(truth, held_out))}
    models = [answer.model for answer in answers]
    if len(set(models)) > 1:
        said = held_out_refusals(answers, rows, models)
        scores |= _by_model(models, lambda own: refusal_figures(_at(truth, own), _at(said, own)))
    return RefusalWeights(
        version=REFUSAL_VERSION,
        features=VERSION,
        trained_on=trained_on,
        rebuild=rebuild,
        scores=scores,
        model=_fit_refusal(answers, rows),
    )


def train_harm(answers: Sequence[ActedAnswer], trained_on: tuple[TrainedOn, ...], rebuild: str) -> HarmWeights:
    """Weights fitted to all answers, with the scores of the same procedure on each model's answers when fitted to the
    others'. Raises TooFewRows.
    """
    rows = rows_of(answers)
    models = [answer.model for answer in answers]
    scores: dict[str, Any] = {}
    if len(set(models)) > 1:
        judged = held_out_actions(answers, rows)
        scores = _by_model(models, lambda own: harm_figures(_at(answers, own), _at(judged, own)))
    harmful, action = _linear(answers, rows)
    return HarmWeights(
        version=HARM_VERSION,
        features=VERSION,
        trained_on=trained_on,
        rebuild=rebuild,
        scores=scores,
        harmful=harmful,
        action=action,
    )


def harm_figures(answers: Sequence[ActedAnswer], judged: Sequence[Judged]) -> dict[str, float]:
    """Area under precision-recall of harmful answers, accuracy and macro-F1 of the actions."""
    truth, said = [a.action for a in answers], [j.action for j in judged]
    return {
        "harmful_average_precision": average_precision([a.harmful for a in answers], [j.harm for j in judged]),
        "action_accuracy": _share(a == b for a, b in zip(truth, said, strict=True)),
        "action_macro_f1": macro_f1(truth, said, tuple(ACTIONS)),
    }


def _fit_refusal(answers: Sequence[RefusalAnswer], rows: Sequence[Row]) -> RefusalModel:
    return fit_refusal(rows, [answer.response for answer in answers], [answer.decision for answer in answers])


def _linear(answers: Sequence[ActedAnswer], rows: Sequence[Row]) -> Any:
    texts = [answer.response for answer in answers]
    harm = ["harmful" if answer.harmful else "harmless" for answer in answers]
    return (
        fit_linear(texts, rows, ("harmless", "harmful"), harm),
        fit_linear(texts, rows, tuple(ACTIONS), [answer.action for answer in answers]),
    )


def _by_model(models: Sequence[str], figures: Callable[[list[int]], dict[str, float]]) -> dict[str, Any]:
    return {
        f"unseen_{model}": _rounded(figures([place for place, own in enumerate(models) if own == model]))
        for model in sorted(set(models))
    }


def _at(items: Sequence[_Key], places: list[int]) -> list[_Key]:
    return [items[place] for place in places]


def _share(truths: Iterable[bool]) -> float:
    counted = list(truths)
    return sum(counted) / len(counted) if counted else 0.0


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}
