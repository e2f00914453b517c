"""Fitting the classifiers of answers to labelled answers.

Needs scikit-learn (`agentlab-eval[analysis]`); the JSON that comes out needs nothing. Same data, same scikit-learn:
same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentlab.traces.classifiers.errors import TooFewRows
from agentlab.traces.classifiers.linear import LinearModel
from agentlab.traces.classifiers.trees import PRIOR, BoostedTrees, Tree
from agentlab.traces.safety.acts import sentences
from agentlab.traces.safety.refusal import RefusalModel
from agentlab.traces.safety.rules import not_complied, partly
from agentlab.traces.safety.word_training import Question, fit_wording

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Row = Mapping[str, float]

FIRST_TREES, SECOND_TREES, SEEDS = 60, 120, 3
RATE = 0.05
ENOUGH = 40
"""With fewer rows of the rarer class than this, trees learn more slowly: the rules keep the say."""
FEATURE_WEIGHT, FEATURE_LIMIT, PENALTY = 0.05, 4.0, 3.0
MOST_WORDS = 4000
_TREE_SETTINGS: dict[str, Any] = {"max_depth": 3, "subsample": 0.6, "max_features": 0.15, "min_samples_leaf": 5}


def fit_refusal(rows: Sequence[Row], responses: Sequence[str], decisions: Sequence[str]) -> RefusalModel:
    """Trees that correct the rules, and words beside them. Raises TooFewRows."""
    import numpy as np

    refused = np.array([decision != "full_compliance" for decision in decisions])
    if not 5 <= refused.sum() <= len(rows) - 5:
        raise TooFewRows("there must be five answers that comply and five that do not, at least")
    helped = np.array([decision == "partial_refusal" for decision in decisions])
    those = [row for row, own in zip(rows, refused, strict=True) if own]
    questions = (Question(refused.tolist(), [True] * len(rows)), Question(helped.tolist(), refused.tolist()))
    return RefusalModel(
        _boost(rows, refused.astype(float), np.array([not_complied(row) for row in rows]), FIRST_TREES),
        _boost(those, helped[refused].astype(float), np.array([partly(row) for row in those]), SECOND_TREES),
        fit_wording([sentences(text) for text in responses], questions),
    )


def _boost(rows: Sequence[Row], target: Array, prior: Array, trees: int) -> BoostedTrees:
    """Gradient boosting (Friedman 2002) from the rules' log-odds on; the mean over several seeds."""
    import numpy as np
    from sklearn.ensemble import GradientBoostingClassifier

    from agentlab.traces.safety.prior import Prior

    names = tuple(sorted(rows[0]))
    rarer = float(min(target.sum(), len(target) - target.sum()))
    if rarer < 2:  # nothing to learn from: the rules stand
        return BoostedTrees(names, ())
    values = np.array([[row[name] for name in names] for row in rows])
    found: list[Tree] = []
    rate = RATE * min(1.0, rarer / ENOUGH)
    for seed in range(SEEDS):
        model = GradientBoostingClassifier(
            init=Prior(), n_estimators=trees, learning_rate=rate, random_state=seed, **_TREE_SETTINGS
        )
        # The rules' verdict stands in the last column, where the prior reads it; a tree may use it too.
        model.fit(np.column_stack([values, prior]), target)
        found += [_tree(each[0].tree_, rate / SEEDS) for each in model.estimators_]
    return BoostedTrees((*names, PRIOR), tuple(found))


def _tree(grown: Any, scale: float) -> Tree:
    """scikit-learn numbers nodes depth-first too, so that the left child follows its parent."""
    leaf = grown.children_left < 0
    feature = tuple(-1 if end else int(place) for end, place in zip(leaf, grown.feature, strict=True))
    threshold = tuple(
        round(float(value[0][0]) * scale, 6) if end else round(float(cut), 6)
        for end, value, cut in zip(leaf, grown.value, grown.threshold, strict=True)
    )
    return Tree(feature, threshold, tuple(max(0, int(place)) for place in grown.children_right))


def fit_linear(texts: Sequence[str], rows: Sequence[Row], classes: Sequence[str], labels: Sequence[str]) -> LinearModel:
    """Balanced logistic regression over words and features."""
    import numpy as np
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    if any(labels.count(name) < 2 for name in classes):
        raise TooFewRows(f"there must be two rows of each of {', '.join(classes)}, at least")
    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=3, ngram_range=(1, 2), max_features=MOST_WORDS)
    words = vectorizer.fit_transform(texts)
    names = sorted(rows[0])
    values = np.array([[row[name] for name in names] for row in rows])
    mean, scale = values.mean(axis=0), values.std(axis=0)
    kept = scale > 1e-6
    names = [name for name, keep in zip(names, kept, strict=True) if keep]
    mean, scale = mean[kept].round(5), scale[kept].round(5)
    standard = np.clip((values[:, kept] - mean) / scale, -FEATURE_LIMIT, FEATURE_LIMIT) * FEATURE_WEIGHT
    model = LogisticRegression(C=PENALTY, max_iter=500, class_weight="balanced", random_state=0)
    with threadpool_limits(1):  # threads add in any order, and the weights would differ in their last places
        model.fit(sparse.hstack([words, standard]).tocsr(), [classes.index(label) for label in labels])
    intercepts = np.round(model.intercept_, 4).tolist()
    weights = np.round(model.coef_, 4)
    table = np.array(weights)
    vocabulary = vectorizer.get_feature_names_out()
    idf = np.round(vectorizer.idf_, 4)
    return LinearModel(
        classes=tuple(classes),
        intercepts=tuple(intercepts),
        words={str(w): (float(idf[i]), *table[:, i].tolist()) for i, w in enumerate(vocabulary)},
        features={
            name: (float(mean[i]), float(scale[i]), *table[:, len(vocabulary) + i].tolist())
            for i, name in enumerate(names)
        },
        feature_weight=FEATURE_WEIGHT,
        feature_limit=FEATURE_LIMIT,
    )
