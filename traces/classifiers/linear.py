"""A linear model over words and features as plain data, scored in Python alone."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from functools import cached_property, lru_cache
from itertools import pairwise

import msgspec

from agentlab.traces.classifiers.errors import WeightsError

MOST_CHARS = 20_000
_TOKEN = re.compile(r"\b\w\w+\b")
"""As scikit-learn's TfidfVectorizer cuts words."""


def tokens(text: str) -> list[str]:
    """The words of a text in lower case, in order."""
    return _TOKEN.findall(text[:MOST_CHARS].lower())


@lru_cache(maxsize=1)
def terms(text: str) -> Counter[str]:
    """Words and pairs of neighbouring words in lower case, counted."""
    words = tokens(text)
    return Counter(words) + Counter(f"{a} {b}" for a, b in pairwise(words))


class LinearModel(msgspec.Struct, frozen=True, dict=True):
    """One score a class: tf-idf of the words (sublinear, of length 1) and standardised features, times weights."""

    classes: tuple[str, ...]
    """Where there are two, one score stands: that of the second."""
    intercepts: tuple[float, ...]
    words: dict[str, tuple[float, ...]]
    """The idf of a word, then its weight for each score."""
    features: dict[str, tuple[float, ...]]
    """Mean and scale of a feature, then its weight for each score."""
    feature_weight: float
    """What a standardised feature is multiplied by, so that features and words share one penalty."""
    feature_limit: float
    """How many standard deviations count at most: answers unlike those it was fitted to must not run away."""

    def scores(self, text: str, row: Mapping[str, float]) -> tuple[float, ...]:
        totals = list(self.intercepts)
        found = {
            word: (1.0 + math.log(count)) * self.words[word][0]
            for word, count in terms(text).items()
            if word in self.words
        }
        length = math.sqrt(sum(value * value for value in found.values())) or 1.0
        for word, value in found.items():
            for place, weight in enumerate(self.words[word][1:]):
                totals[place] += weight * value / length
        for name, mean, scale, weights in self._lines:
            standard = (row.get(name, 0.0) - mean) / scale
            held = max(-self.feature_limit, min(self.feature_limit, standard)) * self.feature_weight
            for place, weight in enumerate(weights):
                totals[place] += weight * held
        return tuple(totals)

    @cached_property
    def _lines(self) -> tuple[tuple[str, float, float, tuple[float, ...]], ...]:
        """Name, mean, scale and weights of each feature: taken apart once."""
        return tuple((name, line[0], line[1], line[2:]) for name, line in self.features.items())

    def probabilities(self, text: str, row: Mapping[str, float]) -> dict[str, float]:
        """A probability a class: logistic for two classes, softmax for more."""
        scores = self.scores(text, row)
        if len(self.classes) == 2:
            scores = (0.0, scores[0])
        highest = max(scores)
        shares = [math.exp(score - highest) for score in scores]
        return {name: share / sum(shares) for name, share in zip(self.classes, shares, strict=True)}

    def check(self) -> None:
        """Raises WeightsError where weights are missing."""
        heads = len(self.intercepts)
        if heads != (1 if len(self.classes) == 2 else len(self.classes)) or heads == 0:
            raise WeightsError("a class of the weights lacks its intercept")
        if any(len(line) != heads + 1 for line in self.words.values()):
            raise WeightsError("a word of the weights lacks a figure")
        if any(len(line) != heads + 2 or line[1] <= 0 for line in self.features.values()):
            raise WeightsError("a feature of the weights lacks a figure")
