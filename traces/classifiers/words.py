"""What the words of an answer add to other models' scores, as plain data: only where the manner of the answer is known.

How a model words its refusals differs from model to model, so that words alone mislead as soon as another one speaks.
Therefore they are added, bounded, to scores that do without them, and have a say only in answers that begin with
phrases which several of the answers that they were fitted to began with.
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

STRANGE, FAMILIAR = 0.1, 0.2
"""Shares of known phrases: up to the first, words have no say; from the second on, their full say."""
BEGINS = 6
"""The sentences whose phrases are looked at: there an answer shows its manner."""
LIMIT = 4.0
"""The most that words add to a score, in log-odds."""


class Wording(msgspec.Struct, frozen=True, dict=True):
    """Weights of words and pairs of words, in the first sentence and in the rest, for one or more scores."""

    intercepts: tuple[float, ...]
    """One for each score that is added to."""
    opening: dict[str, tuple[float, ...]]
    """The idf of a term, then its weight for each score."""
    rest: dict[str, tuple[float, ...]]
    phrases: tuple[int, ...]
    """Three words in a row that stood where several answers begin, as `phrases` tells them."""

    def added(self, said: Sequence[str]) -> tuple[float, ...]:
        """What the sentences of an answer add to each score, in log-odds."""
        familiar = min(1.0, max(0.0, (self.familiarity(said) - STRANGE) / (FAMILIAR - STRANGE)))
        if not familiar:
            return (0.0,) * len(self.intercepts)
        return tuple(familiar * max(-LIMIT, min(LIMIT, total)) for total in self.unbounded(said))

    def unbounded(self, said: Sequence[str]) -> list[float]:
        """What the words would add whoever spoke, however much."""
        totals = list(self.intercepts)
        for weights, text in zip((self.opening, self.rest), parts(said), strict=True):
            _add(totals, weights, terms(text))
        return totals

    def familiarity(self, said: Sequence[str]) -> float:
        """The share of known phrases in how an answer begins."""
        found = phrases(said)
        return sum(phrase in self._known for phrase in found) / len(found) if found else 0.0

    @cached_property
    def _known(self) -> frozenset[int]:
        return frozenset(self.phrases)

    def check(self) -> None:
        """Raises WeightsError where weights are missing."""
        if any(len(line) != len(self.intercepts) + 1 for block in (self.opening, self.rest) for line in block.values()):
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
