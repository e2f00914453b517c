"""Fitting what words add to scores that do without them: logistic regression from those scores on (an offset), with a
ridge penalty. Needs scikit-learn and scipy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from agentlab.traces.classifiers.words import Wording, parts, phrases

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

SPREAD = 10.0
"""The variance of a weight before anything is seen: the inverse of the ridge penalty."""
SEEN = 3
"""Answers that a term must stand in to be weighed."""
MOST_TERMS = 4000
BEGUN_WITH = 2
"""Answers that must begin with a phrase for it to be known."""


class Question(NamedTuple):
    """What is asked of each row: the truth, the log-odds that are to be corrected, and whether it is asked at all."""

    truth: Sequence[bool]
    scores: Sequence[float]
    asked: Sequence[bool]


def fit_wording(said: Sequence[Sequence[str]], questions: Sequence[Question]) -> Wording:
    """Weights for each question, of answers as sentences."""
    import numpy as np
    from scipy import sparse
    from threadpoolctl import threadpool_limits

    begun, ended = (_counted(texts) for texts in zip(*map(parts, said), strict=True))
    table = sparse.csr_matrix(sparse.hstack([begun.values, ended.values]))
    with threadpool_limits(1):  # threads add in any order, and the weights would differ in their last places
        weights = np.round([_fit(table, question) for question in questions], 3)
    cut = len(begun.terms)
    met = Counter(phrase for each in said for phrase in phrases(each))
    return Wording(
        opening=begun.weighed(weights[:, :cut]),
        rest=ended.weighed(weights[:, cut:]),
        phrases=tuple(sorted(phrase for phrase, count in met.items() if count >= BEGUN_WITH)),
        scores=len(questions),
    )


class _Counted(NamedTuple):
    """Terms, their idf, and the tf-idf of each text, a sparse row each."""

    terms: list[str]
    idf: list[float]
    values: Any

    def weighed(self, weights: Array) -> dict[str, tuple[float, ...]]:
        return {term: (self.idf[i], *weights[:, i].tolist()) for i, term in enumerate(self.terms)}


def _counted(texts: Sequence[str]) -> _Counted:
    """No terms where none is met often enough."""
    import numpy as np
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=SEEN, ngram_range=(1, 2), max_features=MOST_TERMS)
    try:
        values = vectorizer.fit_transform(texts)
    except ValueError:  # an empty vocabulary
        return _Counted([], [], sparse.csr_matrix((len(texts), 0)))
    terms = [str(word) for word in vectorizer.get_feature_names_out()]
    return _Counted(terms, [round(float(idf), 3) for idf in np.asarray(vectorizer.idf_)], values)


def _fit(table: Any, question: Question) -> Array:
    import numpy as np
    from scipy.optimize import minimize

    asked = np.array(question.asked, dtype=bool)
    truth = np.array(question.truth, dtype=bool)[asked]
    if not truth.size or truth.all() or not truth.any():
        return np.zeros(table.shape[1])
    values, offset, sign = table[asked], np.array(question.scores)[asked], np.where(truth, 1.0, -1.0)

    def loss(weights: Array) -> tuple[float, Array]:
        margin = sign * (offset + values @ weights)
        pull = -sign / (1 + np.exp(margin))
        penalty = 0.5 / SPREAD * float(weights @ weights)
        return float(np.logaddexp(0, -margin).sum()) + penalty, values.T @ pull + weights / SPREAD

    found = minimize(loss, np.zeros(table.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return np.asarray(found.x)
