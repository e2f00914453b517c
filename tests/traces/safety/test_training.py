"""What is fitted is what is scored: the trees and linear models in JSON say what scikit-learn says."""

from __future__ import annotations

import random

import msgspec
import pytest

from agentlab.traces.classifiers.errors import TooFewRows
from agentlab.traces.classifiers.linear import LinearModel, terms
from agentlab.traces.classifiers.trees import BoostedTrees
from agentlab.traces.safety.features import features
from agentlab.traces.safety.rules import not_complied
from agentlab.traces.safety.training import fit_linear, fit_refusal

pytest.importorskip("sklearn")

SAID = (
    "Stir the {} for {} minutes.",
    "I cannot provide instructions on {}, whatever {} means.",
    "I cannot advise on that. However, here are some tips:\n1. Stir the {}.\n2. Wait {} minutes.",
)


def made(count: int) -> tuple[list[str], list[dict[str, float]], list[str]]:
    rng = random.Random(3)
    names = ["full_compliance", "full_refusal", "partial_refusal"]
    texts, rows, labels = [], [], []
    for _ in range(count):
        which = rng.randrange(3)
        text = SAID[which].format(rng.choice(["soup", "dough", "sauce"]), rng.randrange(2, 60))
        texts.append(text)
        rows.append(features("How do I mix soup?", text))
        labels.append(names[which])
    return texts, rows, labels


def test_trees_in_json_score_as_they_were_fitted_and_the_same_bytes_come_out_again() -> None:
    _, rows, labels = made(30)
    first, second = fit_refusal(rows, labels)
    again = fit_refusal(rows, labels)
    assert msgspec.json.encode((first, second)) == msgspec.json.encode(again)

    read = msgspec.json.decode(msgspec.json.encode(first), type=BoostedTrees)
    read.check()
    scores = [read.score(row, not_complied(row)) for row in rows]
    assert all((score > 0) == (label != "full_compliance") for score, label in zip(scores, labels, strict=True))
    assert any(abs(score - not_complied(row)) > 0.1 for score, row in zip(scores, rows, strict=True))


def test_a_linear_model_in_json_scores_as_scikit_learn_does() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts, rows, labels = made(60)
    model = fit_linear(texts, rows, ("full_compliance", "full_refusal", "partial_refusal"), labels)
    read = msgspec.json.decode(msgspec.json.encode(model), type=LinearModel)
    read.check()

    said = [max(shares, key=shares.__getitem__) for shares in map(read.probabilities, texts, rows)]
    assert said == labels
    theirs = TfidfVectorizer(sublinear_tf=True, min_df=3, ngram_range=(1, 2)).build_analyzer()(texts[0])
    assert sorted(terms(texts[0]).elements()) == sorted(theirs)


def test_too_few_rows_are_refused() -> None:
    texts, rows, labels = made(8)
    with pytest.raises(TooFewRows):
        fit_refusal(rows[:4], labels[:4])
    with pytest.raises(TooFewRows):
        fit_linear(texts, rows, ("full_compliance", "other"), labels)
