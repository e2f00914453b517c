"""The answers of BIG-Bench Hard: letters, words, numbers, brackets, sorted lists, texts."""

from __future__ import annotations

import re

from agentlab.tasks.scorers.choice import choice
from agentlab.tasks.scorers.match import answer_candidates, match
from agentlab.tasks.scorers.number import number
from agentlab.tasks.scorers.text import fold_characters, last_boxed_span, plain, untagged
from agentlab.tasks.scorers.verdict import targets, unanswered, unparsable, verdict
from agentlab.tasks.types import Grade, Sample, Score, ScoreContext, Scorer, Submission, VerifierError

_BRACKETS = re.compile(r"[()\[\]{}<>]")
_CLAIM = re.compile(r"\banswer(?:\s+is)?\s*[:=]?[ \t]*", re.IGNORECASE)
_LIST_MARK = re.compile(r"^[ \t]*(?:\d{1,3}[.)]|[-*•+])[ \t]+", re.MULTILINE)
_SEPARATOR = re.compile(r"[\s,;]+|\s*->\s*")


def bbh_answer() -> Scorer:
    """Graded by the sample's form, `metadata["form"]`: `letter`, `word` (one of `metadata["words"]`), `number`,
    `brackets`, `words` or `text`.
    """
    forms: dict[str, Grade] = {
        "letter": choice().grade,
        "number": number().grade,
        "brackets": _grade_brackets,
        "words": _grade_words,
        "text": match().grade,
    }

    def grade(sample: Sample, submission: Submission, context: ScoreContext) -> Score:
        form = sample.metadata.get("form")
        words = tuple(sample.metadata.get("words", ()))
        chosen = choice(labels="text", texts=words).grade if form == "word" and words else forms.get(str(form))
        if chosen is None:
            raise VerifierError(f"sample {sample.id}: metadata names no form of answer, but {form!r}")
        score = chosen(sample, submission, context)
        assert isinstance(score, Score)
        return score

    return Scorer(name="bbh_answer", grade=grade, version=2)


def _last_claim(answer: str) -> str:
    """What follows the last "answer:" or "answer is", else the last line; a box wins over both."""
    boxed = last_boxed_span(answer)
    if boxed is not None:
        return boxed[2]
    claims = list(_CLAIM.finditer(answer))
    if claims and answer[claims[-1].end() :].strip():
        return answer[claims[-1].end() :].strip()
    lines = [line for line in answer.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _grade_brackets(sample: Sample, submission: Submission, context: ScoreContext) -> Score:
    """The closing brackets, or the whole sequence that they close. Spaces and words beside them do not count."""
    empty = unanswered(submission)
    if empty is not None:
        return empty
    answer = untagged(submission.answer)
    claim = _boxed_brackets(answer)
    if claim is None:
        claim = _last_claim(answer.replace("\\", "").replace("`", "").replace("$", ""))
    said = "".join(_BRACKETS.findall(claim.split("\n\n", 1)[0]))
    if not said:
        return unparsable(submission, "no brackets in the answer")
    question = sample.input if isinstance(sample.input, str) else sample.input[-1].text
    opened = "".join(_BRACKETS.findall(question.rpartition("Input:")[2]))
    wanted = ["".join(_BRACKETS.findall(target)) for target in targets(sample)]
    return verdict(any(said in (closing, opened + closing) for closing in wanted), answer=said)


def _boxed_brackets(answer: str) -> str | None:
    """What the last box holds, up to the last brace of its line: the braces in it need not balance."""
    _, found, rest = answer.rpartition("\\boxed{")
    inside, closed, _ = rest.split("\n", 1)[0].rpartition("}")
    return inside if found and closed else None


def _grade_words(sample: Sample, submission: Submission, context: ScoreContext) -> Score:
    """The words in order; commas, numbering, lines and case do not count."""
    empty = unanswered(submission)
    if empty is not None:
        return empty
    wanted = [_words(target) for target in targets(sample)]
    answer = untagged(submission.answer).strip()
    claims = [answer, _last_claim(plain(answer)), *answer_candidates(answer), _last_claim(answer)]
    said = [_words(claim) for claim in claims]
    right = any(words in wanted for words in said)
    return verdict(right, answer=" ".join(said[1])[:500])


def _words(text: str) -> list[str]:
    cleaned = _LIST_MARK.sub("", plain(text))
    parts = (part.strip(" .:\"'`*") for part in _SEPARATOR.split(fold_characters(cleaned).casefold()))
    return [part for part in parts if part]
