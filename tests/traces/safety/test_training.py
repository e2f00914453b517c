"""What is fitted is what is scored: the trees and linear models in JSON say what scikit-learn says."""

from __future__ import annotations

import math
import random

import msgspec
import pytest

from agentlab.traces.classifiers.errors import TooFewRows
from agentlab.traces.classifiers.linear import LinearModel, terms
from agentlab.traces.classifiers.words import FAMILIAR, LIMIT, Wording, parts
from agentlab.traces.safety.acts import sentences
from agentlab.traces.safety.features import features
from agentlab.traces.safety.refusal import RefusalModel
from agentlab.traces.safety.rules import not_complied
from agentlab.traces.safety.training import fit_linear, fit_refusal
from agentlab.traces.safety.word_training import ENOUGH, SAY, SPREAD, Question, fit_wording

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
    texts, rows, labels = made(30)
    model = fit_refusal(rows, texts, labels)
    assert msgspec.json.encode(model) == msgspec.json.encode(fit_refusal(rows, texts, labels))

    read = msgspec.json.decode(msgspec.json.encode(model), type=RefusalModel)
    read.check()
    scores = [read.scores(row, text) for row, text in zip(rows, texts, strict=True)]
    assert all((first > 0) == (label != "full_compliance") for (first, _), label in zip(scores, labels, strict=True))
    assert any(abs(first - not_complied(row)) > 0.1 for (first, _), row in zip(scores, rows, strict=True))


def test_words_tell_what_trees_miss_and_only_in_answers_whose_manner_is_known() -> None:
    """The truth here is a word that no rule knows; without it the rows are alike."""
    said = [[f"Well, here is what I think of it, number {n}.", "Marmalade." if n % 2 else "Honey."] for n in range(80)]
    wording = fit_wording(said, [Question([n % 2 == 1 for n in range(80)], [True] * 80)])
    wording.check()

    assert all((wording.added(each)[0] > 1) == (n % 2 == 1) for n, each in enumerate(said))
    another = ["That would depend upon your taste, my friend.", "Marmalade."]
    assert wording.familiarity(said[0]) > 0.5 and wording.familiarity(another) == 0
    assert wording.added(another) == (0.0,)


def test_words_in_json_score_as_they_were_fitted() -> None:
    """A ridge-penalised logistic regression is where its gradient is nought; both labels pull alike."""
    texts, _, labels = made(90)
    said, truth = [sentences(text) for text in texts], [label == "full_refusal" for label in labels]
    read = msgspec.json.decode(msgspec.json.encode(fit_wording(said, [Question(truth, [True] * 90)])), type=Wording)
    say = SAY * min(1.0, min(sum(truth), 90 - sum(truth)) / ENOUGH)
    pull: dict[str, float] = {word: line[1] / say / SPREAD for word, line in read.opening.items()}
    for each, label in zip(said, truth, strict=True):
        assert read.familiarity(each) >= FAMILIAR, "words have their full say"
        said_of_it = read.unbounded(each)[0]
        assert read.added(each)[0] == max(-LIMIT, min(LIMIT, said_of_it))
        share = 90 / (2 * (sum(truth) if label else 90 - sum(truth)))
        error = share * (1 / (1 + math.exp(-said_of_it / say)) - label)
        counts = {word: n for word, n in terms(parts(each)[0]).items() if word in pull}
        tfidf = {word: (1 + math.log(n)) * read.opening[word][0] for word, n in counts.items()}
        length = math.sqrt(sum(value**2 for value in tfidf.values())) or 1.0
        for word, value in tfidf.items():
            pull[word] += error * value / length
    assert max(map(abs, pull.values())) < 0.02


def test_words_say_nothing_where_all_answers_are_alike() -> None:
    said = [sentences(SAID[0].format("soup", n)) for n in range(20)]
    assert fit_wording(said, [Question([False] * 20, [True] * 20)]).added(said[0]) == (0.0,)


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
        fit_refusal(rows[:4], texts[:4], labels[:4])
    with pytest.raises(TooFewRows):
        fit_linear(texts, rows, ("full_compliance", "other"), labels)
