"""Boosted trees as plain data: what gradient boosting fitted, scored in Python alone."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agentlab.traces.classifiers.errors import WeightsError

PRIOR = "prior"
"""The name of the prior's log-odds where trees look at them as at a feature."""


class Tree(msgspec.Struct, frozen=True, array_like=True):
    """A regression tree, its nodes in order of depth-first search: a node's left child follows it."""

    feature: tuple[int, ...]
    """What a node looks at, by its place in the model's names; -1 for a leaf."""
    threshold: tuple[float, ...]
    """Go left where the feature is at most this; for a leaf, its value."""
    right: tuple[int, ...]

    def value(self, row: tuple[float, ...]) -> float:
        # Hundreds of trees are asked for one answer: fields that are looked up once save a third of that time.
        feature, threshold, right = self.feature, self.threshold, self.right
        node = 0
        while (looked := feature[node]) >= 0:
            node = node + 1 if row[looked] <= threshold[node] else right[node]
        return threshold[node]


class BoostedTrees(msgspec.Struct, frozen=True):
    """The sum of trees, added to a prior in log-odds."""

    names: tuple[str, ...]
    trees: tuple[Tree, ...]

    def score(self, row: Mapping[str, float], prior: float = 0.0) -> float:
        """Log-odds; a feature that `row` lacks counts as 0."""
        values = tuple(prior if name == PRIOR else row.get(name, 0.0) for name in self.names)
        return prior + sum(tree.value(values) for tree in self.trees)

    def check(self) -> None:
        """Raises WeightsError for trees that lead nowhere or in circles: a file of weights is not trusted."""
        for tree in self.trees:
            size = len(tree.feature)
            if not size == len(tree.threshold) == len(tree.right) or size == 0:
                raise WeightsError("a tree of the weights is cut off")
            for node, feature in enumerate(tree.feature):
                inner = feature >= 0
                if feature >= len(self.names) or (inner and not node + 1 < tree.right[node] < size):
                    raise WeightsError("a tree of the weights leads nowhere")
