r"""Mathematical answers: the expression that is meant, and whether it equals the target.

Most answers are settled as text or as plain numbers, in microseconds. What remains goes to `equivalence`, which asks
math-verify in a process of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

from agentlab.tasks.scorers.equivalence import shared_pool
from agentlab.tasks.scorers.text import (
    closing_brace,
    fold_characters,
    last_boxed_span,
    lines_of,
    statements,
    strip_markdown,
    tail,
    untagged,
)
from agentlab.tasks.scorers.verdict import targets, unanswered, unparsable, verdict
from agentlab.tasks.types import Sample, Score, ScoreContext, Scorer, Submission

_OPENING = re.compile(r"(?<!\\)\$\$|\\\[|\\\(|(?<!\\)\$")
_CLOSING = {"$$": re.compile(r"(?<!\\)\$\$"), "\\[": re.compile(r"\\\]"), "\\(": re.compile(r"\\\)")}
_INLINE = re.compile(r"\$([^$\n]+)(?<!\\)\$")
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mbox|operatorname)\s*\{")
_SPACING = re.compile(
    r"\\(?:[,;:!>]|quad\b|qquad\b|displaystyle\b|limits\b|left\b|right\b|big[lrgm]?\b|Big[lrgm]?\b)|(?<!\\)~"
)
_DEGREES = re.compile(r"\^\s*(?:\{\s*(?:\\circ|\\degree)\s*\}|\\circ\b|\\degree\b)|\\degree\b|°")
_SHORT_FRACTION = re.compile(r"\\frac\s*(?:(\d)\s*(\d)|(\d)\s*(\{)|\{([^{}]*)\}\s*(\w)(?![\w{]))")
_SHORT_ROOT = re.compile(r"\\sqrt\s*(\w)")
_NAME_IS = re.compile(r"^\s*(?:[A-Za-z]|[A-Za-z]\s*\(\s*[A-Za-z]\s*\)|\\[A-Za-z]+)(?:_\{?\w+\}?)?\s*=\s*(?=\S)")
_UNIT_WORDS = re.compile(
    r"(?<=[\d})])\s*(?:(?:square|cubic|sq\.?|cu\.?)\s+)?"
    r"(?:degrees?|units?|inch(?:es)?|feet|foot|ft|miles?|yards?|cm|mm|km|meters?|metres?|centimeters?|kg|grams?|lbs?|pounds?|ounces?|"
    r"seconds?|minutes?|hours?|days?|weeks?|months?|years?|mph|dollars?|cents?|ways?|people|students|points?|percent)\b"
    r"(?:\s*\^\s*\{?[23]\}?|\s+(?:squared|cubed))?\.?\s*$",
    re.IGNORECASE,
)
_PLAIN_NUMBER = re.compile(
    r"(?P<sign>[-+]?)(?:(?P<whole>\d{1,3}(?:,\d{3})+|\d+)?(?P<decimals>\.\d+)?|\\frac\{(?P<over>-?\d+)\}\{(?P<under>\d+)\}|"
    r"(?P<top>\d+)/(?P<bottom>\d+))"
)
_LONGEST_NUMBER = 100
_LONGEST_EXPRESSION = 4_000


def math_equivalent() -> Scorer:
    r"""The answer's expression means what a target means.

    The expression is the last `\boxed{}`, else the last "the answer is ...", else the last formula, else the last line.
    Equal are: the same number however written (1/2, 0.5, 50\%), equal expressions, sets and lists in any order, tuples
    and intervals in order, matrices entry by entry, equations up to a factor; units, degrees, currency and `x =` may be
    there or not; words are compared as words.
    """

    async def grade(sample: Sample, submission: Submission, context: ScoreContext) -> Score:
        empty = unanswered(submission)
        if empty is not None:
            return empty
        answer = expression(submission.answer)
        if not answer:
            return unparsable(submission, "no expression in the answer")
        readable = len(answer) <= _LONGEST_EXPRESSION
        for target in targets(sample) if readable else ():
            quick = same_at_a_glance(target, answer)
            if quick:
                return verdict(True, answer=answer)
            if quick is None:
                outcome = await shared_pool().compare_async(canonical(target), canonical(answer))
                if outcome == "equal":
                    return verdict(True, answer=answer)
                readable = readable and outcome == "different"
        if not readable:
            return unparsable(submission, f"not an expression that can be compared: {answer[:200]}")
        return verdict(False, answer=answer)

    return Scorer(name="math", grade=grade, version=3)


def expression(text: str) -> str:
    """The expression that `text` gives as its answer, its delimiters removed; empty where there is none."""
    text = untagged(tail(text))
    text = strip_markdown(text.strip()) if "$" not in text and "\\" not in text else text.strip()
    boxed = last_boxed_span(text)
    if boxed is not None:
        return boxed[2]
    claims = statements(text.replace("**", ""))
    chosen = claims[-1][1] if claims else ""
    formulas = list(_formulas(chosen or text))
    if formulas:
        return formulas[-1 if not claims else 0].strip()
    if not chosen:
        lines = lines_of(text)
        chosen = lines[-1] if lines else ""
    return chosen.strip().rstrip(".").strip()


def _formulas(text: str) -> Iterator[str]:
    """What stands between maths delimiters, in order; in time linear in the text, however many stay open."""
    position, never_closed = 0, set[str]()
    while (opening := _OPENING.search(text, position)) is not None:
        position, kind = opening.start() + 1, opening.group()
        if kind in _CLOSING and kind not in never_closed:
            closing = _CLOSING[kind].search(text, opening.end() + 1)
            if closing is not None:
                position = closing.end()
                yield text[opening.end() : closing.start()]
            else:
                never_closed.add(kind)
        elif kind == "$" and (inline := _INLINE.match(text, opening.start())) is not None:
            position = inline.end()
            yield inline[1]


def same_at_a_glance(gold: str, answer: str) -> bool | None:
    """Equality where text or plain numbers settle it; None where it takes algebra."""
    left, right = canonical(gold), canonical(answer)
    if squeeze(left) == squeeze(right):
        return True
    first, second = plain_number(left), plain_number(right)
    if first is not None and second is not None:
        return _numbers_agree(first, second, gold, answer)
    if _is_words(left) or _is_words(right):
        return _words(left) == _words(right)
    return None


def _numbers_agree(first: Fraction, second: Fraction, gold: str, answer: str) -> bool | None:
    if first == second:
        return True
    percents = ("%" in gold) != ("%" in answer)
    if percents:
        scale = 100 if "%" in answer else Fraction(1, 100)
        return first * scale == second
    return False


@lru_cache(maxsize=4096)
def canonical(latex: str) -> str:
    """`latex` without what does not change its meaning: delimiters, spacing, units, degrees, currency, `x =`."""
    text = fold_characters(latex.strip()).strip()
    text = re.sub(r"^(?:\$\$?|\\\(|\\\[)\s*(.*?)\s*(?:\$\$?|\\\)|\\\])$", r"\1", text, flags=re.DOTALL)
    text = text.rstrip().removesuffix(".").rstrip("\\ ") if not text.endswith("\\\\") else text
    text = re.sub(r"(?<=\d)\s*(?:,\s*\\!|\\!\s*,|\{,\}|,\\,|\\,)\s*(?=\d{3}(?!\d))", ",", text)
    text = text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").replace("\\cfrac", "\\frac")
    text = _SPACING.sub(" ", text)
    text = _DEGREES.sub("", text)
    text = re.sub(r"\\?\$|\\?%|[€£]", "", text)
    text = _unwrap_text(text)
    text = _UNIT_WORDS.sub("", text)
    text = _SHORT_FRACTION.sub(_full_fraction, text)
    text = _SHORT_ROOT.sub(r"\\sqrt{\1}", text)
    if text.count("=") == 1:
        text = _NAME_IS.sub("", text)
    text = re.sub(r"_\{(\w)\}", r"_\1", text)
    return (
        re.sub(r"(?<=\d),(?=\d{3}(?:,\d{3})*(?:\.\d+)?$)", "", text.strip()) if _grouped(text.strip()) else text.strip()
    )


def _grouped(text: str) -> bool:
    """Whether the whole text is one number with thousands separators: "1,000" and not the list "1,000,2"."""
    return re.fullmatch(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?", text) is not None


def _full_fraction(match: re.Match[str]) -> str:
    first, second, single, brace, group, letter = match.groups()
    if first is not None:
        return f"\\frac{{{first}}}{{{second}}}"
    if single is not None:
        return f"\\frac{{{single}}}{brace}"
    return f"\\frac{{{group}}}{{{letter}}}"


def _unwrap_text(text: str) -> str:
    r"""`\text{...}` after something else is a unit and goes; alone it is the answer and stays, unwrapped."""
    found = _TEXT_COMMAND.search(text)
    rounds = 0
    while found is not None and rounds < 20:
        end = closing_brace(text, found.end())
        if end is None:
            return text
        inner, before, after = text[found.end() : end], text[: found.start()], text[end + 1 :]
        unit = bool(re.search(r"[\d})]\s*$", before)) and not re.match(r"\s*(?:\(|or\b|and\b)", inner)
        if unit and re.fullmatch(r"\s*(?:\^\s*\{?\d\}?)?\s*", after):
            text = before
        else:
            text = f"{before} {inner.strip()} {after}"
        found, rounds = _TEXT_COMMAND.search(text), rounds + 1
    return text


def squeeze(text: str) -> str:
    """Without white space, brackets around a lone letter, or braces around a lone character."""
    tight = re.sub(r"\s+", "", text)
    tight = re.sub(r"^\(([A-Za-z])\)$", r"\1", tight)
    return re.sub(r"(?<=[\^_])\{(\w)\}", r"\1", tight)


def plain_number(text: str) -> Fraction | None:
    r"""The value of an integer, a decimal, a/b or \frac{a}{b}; None for anything else."""
    text = re.sub(r"\s+", "", text)
    found = _PLAIN_NUMBER.fullmatch(text) if text and len(text) <= _LONGEST_NUMBER else None
    if found is None:
        return None
    if found["over"] or found["top"]:
        under = int(found["under"] or found["bottom"])
        value = Fraction(int(found["over"] or found["top"]), under) if under else None
    elif found["whole"] or found["decimals"]:
        value = Fraction((found["whole"] or "0").replace(",", "") + (found["decimals"] or ""))
    else:
        return None
    return -value if value is not None and found["sign"] == "-" else value


def _is_words(text: str) -> bool:
    """Two letters and more in a row, no digits, no commands: a name or a word, nothing for algebra."""
    return bool(re.fullmatch(r"\(?[A-Za-z][A-Za-z' -]*[A-Za-z]\)?[.,]?", text)) and bool(
        re.search(r"[A-Za-z]{3}", text)
    )


def _words(text: str) -> str:
    return re.sub(r"[^a-z]+", " ", text.casefold()).strip()
