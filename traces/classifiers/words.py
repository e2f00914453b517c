"""What the words of an answer add to other models' scores, as plain data: only where the manner of the answer is known.

How a model words its refusals differs from model to model, so that words alone mislead as soon as another one speaks.
Therefore they correct scores that do without them, and have a say only in answers that begin with phrases which the
answers that they were fitted to began with too.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property

import msgspec

from agentlab.traces.classifiers.errors import WeightsError
from agentlab.traces.classifiers.linear import terms, tokens

ENOUGH = 0.1
"""The share of known phrases from which on words have their full say; below it, in proportion."""
BEGINS = 2
"""The sentences whose phrases are looked at: there an answer shows its manner."""


class Wording(msgspec.Struct, frozen=True, dict=True):
    """Weights of words and pairs of words, in the first sentence and in the rest, for one or more scores."""

    opening: dict[str, tuple[float, ...]]
    """The idf of a term, then its weight for each score."""
    rest: dict[str, tuple[float, ...]]
    phrases: tuple[int, ...]
    """Three words in a row that several answers began with, as `phrases` tells them."""
    scores: int
    """How many scores there are weights for."""

    def added(self, said: Sequence[str]) -> tuple[float, ...]:
        """What the sentences of an answer add to each score, in log-odds."""
        familiar = min(1.0, self.familiarity(said) / ENOUGH)
        totals = [0.0] * self.scores
        if familiar:
            for weights, text in zip((self.opening, self.rest), parts(said), strict=True):
                _add(totals, weights, terms(text))
        return tuple(familiar * total for total in totals)

    def familiarity(self, said: Sequence[str]) -> float:
        """The share of known phrases in how an answer begins."""
        begun = phrases(said)
        return sum(phrase in self._known for phrase in begun) / len(begun) if begun else 0.0

    @cached_property
    def _known(self) -> frozenset[int]:
        return frozenset(self.phrases)

    def check(self) -> None:
        """Raises WeightsError where weights are missing."""
        if any(len(line) != self.scores + 1 for block in (self.opening, self.rest) for line in block.values()):
            raise WeightsError("a word of the weights lacks a figure")


def parts(said: Sequence[str]) -> tuple[str, str]:
    """The first sentence of an answer, and the others."""
    return " ".join(said[:1]), " ".join(said[1:])


def phrases(said: Sequence[str]) -> frozenset[int]:
    """Three words in a row, in how an answer begins, as checksums: it is only asked whether they are known."""
    words = tokens(" ".join(said[:BEGINS]))
    threes = zip(words, words[1:], words[2:], strict=False)
    return frozenset(zlib.crc32(" ".join(three).encode()) for three in threes)


def _add(totals: list[float], weights: Mapping[str, tuple[float, ...]], counts: Counter[str]) -> None:
    """tf-idf, sublinear and of length 1, times weights."""
    found = {term: (1.0 + math.log(count)) * weights[term][0] for term, count in counts.items() if term in weights}
    length = math.sqrt(sum(value * value for value in found.values())) or 1.0
    for term, value in found.items():
        for place, weight in enumerate(weights[term][1:]):
            totals[place] += weight * value / length
