"""Scorers that compare text: exact, match, includes, f1, pattern."""

from __future__ import annotations

import re
import string
from collections import Counter

from agentlab.tasks.scorers.text import fold_characters, lines_of, normalise, plain, statements, tail, untagged
from agentlab.tasks.scorers.verdict import targets, unanswered, unparsable, verdict
from agentlab.tasks.types import Sample, Score, ScoreContext, Scorer, Submission

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE_WORDS = frozenset({"a", "an", "the"})


def exact() -> Scorer:
    """The answer is a target, character by character, white space at the ends aside."""

    def grade(sample: Sample, submission: Submission, context: ScoreContext) -> Score:
        empty = unanswered(submission)
        if empty is not None:
            return empty
        answer = submission.answer.strip()
        return verdict(any(answer == target.strip() for target in targets(sample)), answer=answer)

    return Scorer(name="exact", grade=grade)


def match(*, articles: bool = True, stated: bool = True) -> Scorer:
    """The answer is a target once both are normalised (`normalise`); with `stated`, what the last line or the last
    "the answer is ..." says counts as the answer too. `articles=False` ignores a, an, the.
    """

    def grade(sample: Sample, submission: Submission, context: ScoreContext) -> Score:
        empty = unanswered(submission)
        if empty is not None:
            return empty
        candidates = answer_candidates(submission.answer) if stated else [tail(submission.answer)]
        wanted = {normalise(target, articles=articles) for target in targets(sample)}
        for candidate in candidates:
            if normalise(candidate, articles=articles) in wanted:
                return verdict(True, answer=candidate.strip())
        return verdict(False, answer=candidates[-1].strip())

    params = {name: value for name, value in (("articles", articles), ("stated", stated)) if not value}
    return Scorer(name="match", grade=grade, version=2, params=params)


def answer_candidates(answer: str) -> list[str]:
    """What may be meant as the answer: all of it, or the one last claim in it (a statement, else the last line).

    Only one claim besides the whole: a list of guesses earns nothing.
    """
    answer = untagged(tail(answer)).strip()
    readable = plain(answer)
    lines = lines_of(readable)
    said = statements(readable)
    if len(lines) <= 1 and not said:
        return [answer]
    last_line = lines[-1] if lines else ""
    claim = said[-1][1] if said else last_line
    return [answer, claim]


def includes(*, ignore_case: bool = True) -> Scorer:
    """A target occurs in the answer, as whole words, after character folding."""

    def grade(sample: Sample, submission: Submission, context: ScoreContext) -> Score:
        empty = unanswered(submission)
        if empty is not None:
            return empty
        found = any(_occurs(target, submission.answer, ignore_case=ignore_case) for target in targets(sample))
        return verdict(found, answer=submission.answer.strip())

    return Scorer(name="includes", grade=grade, params={} if ignore_case else {"ignore_case": False})


def _occurs(target: str, answer: str, *, ignore_case: bool) -> bool:
    wanted = " ".join(fold_characters(target).split())
    text = " ".join(fold_characters(answer).split())
    if not wanted:
        return False
    if ignore_case:
        wanted, text = wanted.casefold(), text.casefold()
    before = r"(?<!\w)" if wanted[0].isalnum() else ""
    after = r"(?!\w)" if wanted[-1].isalnum() else ""
    return re.search(before + re.escape(wanted) + after, text) is not None


def f1(*, articles: bool = False) -> Scorer:
    """Token F1 against the best target, as in SQuAD (Rajpurkar et al. 2016): lower case, no punctuation, articles
    dropped unless `articles`. The value lies in 0..1; `scores` carries `exact` beside it.
    """

    def grade(sample: Sample, submission: Submission, context: ScoreContext) -> Score:
        empty = unanswered(submission)
        if empty is not None:
            return empty
        answer = _tokens(submission.answer, articles=articles)
        references = [_tokens(target, articles=articles) for target in targets(sample)]
        best = max((token_f1(answer, reference) for reference in references), default=0.0)
        same = float(any(answer == reference for reference in references))
        return Score(value=best, scores={"exact": same}, answer=submission.answer.strip())

    return Scorer(name="f1", grade=grade, params={"articles": True} if articles else {})


def _tokens(text: str, *, articles: bool) -> list[str]:
    words = fold_characters(text).casefold().translate(_PUNCTUATION).split()
    return words if articles else [word for word in words if word not in _ARTICLE_WORDS]


def token_f1(answer: list[str], reference: list[str]) -> float:
    """Harmonic mean of token precision and recall; 1 where both are empty, 0 where one is."""
    if not answer or not reference:
        return float(answer == reference)
    shared = sum((Counter(answer) & Counter(reference)).values())
    return 2 * shared / (len(answer) + len(reference))


def pattern(regex: str, *, group: int = 0, ignore_case: bool = True) -> Scorer:
    """The last match of `regex` in the answer (its `group`) is a target, both normalised.

    Raises:
        re.error: for a regex that does not compile, when the task is built.
    """
    compiled = re.compile(regex, re.IGNORECASE | re.MULTILINE if ignore_case else re.MULTILINE)

    def grade(sample: Sample, submission: Submission, context: ScoreContext) -> Score:
        found = [hit.group(group) for hit in compiled.finditer(tail(submission.answer)) if hit.group(group) is not None]
        if not found:
            return unparsable(submission, f"nothing matches {regex!r}")
        wanted = {normalise(target) for target in targets(sample)}
        return verdict(normalise(found[-1]) in wanted, answer=found[-1].strip())

    params = {"regex": regex, "group": group, "ignore_case": ignore_case}
    return Scorer(name="pattern", grade=grade, params=params)
