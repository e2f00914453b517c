"""Fitting what words say of an answer: balanced logistic regression, by which words tell nothing of how common a label
is (that is told by the scores that they are added to). Needs scikit-learn and scipy.
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

SPREAD = 30.0
"""The variance of a weight before anything is seen: the inverse of the ridge penalty."""
SAY = 2.0
"""How much the log-odds of words count beside those of rules and trees, which are the surer of themselves."""
ENOUGH = 40
"""With fewer answers of the rarer kind than this, words say less, in proportion."""
SEEN = 3
"""Answers that a term must stand in to be weighed."""
MOST_TERMS = 4000
MET = 2
"""Answers that must begin with a phrase for it to be known."""


class Question(NamedTuple):
    """What is asked of each answer: the truth, and whether it is asked at all."""

    truth: Sequence[bool]
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
        intercepts=tuple(weights[:, -1].tolist()),
        opening=begun.weighed(weights[:, :cut]),
        rest=ended.weighed(weights[:, cut:-1]),
        phrases=tuple(sorted(phrase for phrase, count in met.items() if count >= MET)),
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
    """A weight for each column of `table`, and the intercept; all nought where there is nothing to tell apart."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    asked = np.array(question.asked, dtype=bool)
    truth = np.array(question.truth, dtype=bool)[asked]
    rarer = min(int(truth.sum()), int((~truth).sum()))
    if not rarer or not table.shape[1]:
        return np.zeros(table.shape[1] + 1)
    model = LogisticRegression(C=SPREAD, max_iter=1000, class_weight="balanced", random_state=0)
    model.fit(table[asked], truth)
    return np.append(model.coef_[0], model.intercept_) * SAY * min(1.0, rarer / ENOUGH)
