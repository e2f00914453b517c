"""How far an answer complies, as scores: the rules, what trees correct in them, and what words add."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agentlab.traces.classifiers.trees import BoostedTrees
from agentlab.traces.classifiers.words import Wording
from agentlab.traces.safety.acts import sentences
from agentlab.traces.safety.rules import not_complied, partly


class RefusalModel(msgspec.Struct, frozen=True):
    """Two questions: is it less than full compliance, and if so, does it help in part?"""

    not_complied: BoostedTrees
    partly: BoostedTrees
    wording: Wording

    def scores(self, row: Mapping[str, float], response: str) -> tuple[float, float]:
        """Log-odds of the two, of an answer's features and text."""
        first, second = self.wording.added(sentences(response))
        return self.not_complied.score(row, not_complied(row)) + first, self.partly.score(row, partly(row)) + second

    def check(self) -> None:
        """Raises WeightsError for weights that cannot be used."""
        self.not_complied.check()
        self.partly.check()
        self.wording.check()
