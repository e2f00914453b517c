"""Numbers in free text: which one is the answer, and whether it is the right one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from agentlab.tasks.scorers.text import (
    fold_characters,
    last_boxed_span,
    plain,
    statements,
    strip_markdown,
    tail,
    untagged,
)
from agentlab.tasks.scorers.verdict import targets, unanswered, unparsable, verdict
from agentlab.tasks.types import Sample, Score, ScoreContext, Scorer, Submission

_DIGITS = r"(?:\d{1,3}(?:,\d{3}){1,140}(?!,*\d)|\d+)(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    r"(?:(?<![\w)\]}.%])(?P<sign>[-+]))?"
    r"(?:US|CA|AU)?(?P<money>[$€£¥₹]\s?)?(?P<inner>(?<=[$€£¥₹])-)?"
    rf"(?<![A-Za-z\d.])(?P<digits>{_DIGITS})"
    r"(?:[eE](?P<exponent>[-+]?\d+)(?!\w)|\s*(?:×|x|\*|\\times|\\cdot)\s*10\s*\^\s*\{?(?P<power>[-+]?\d+)\}?)?"
    r"(?:\s*\^\s*\{?(?P<raised>-?\d{1,3})\}?)?"
    r"(?:\s+(?P<over>\d+)\s*/\s*(?P<under>\d+)(?![\d/])|\s*/\s*(?P<divisor>\d+(?:\.\d+)?)(?![\d/]))?"
    r"(?P<percent>\s*\\?%|\s*percent\b)?"
)
_FRACTION = re.compile(r"(?:(?<=\d)\s*)?\\[dt]?frac\s*(?:\{\s*(-?[\d.,]+)\s*\}|(\d))\s*(?:\{\s*([\d.,]+)\s*\}|(\d))")
_THIN_SPACES = re.compile(r"(?<=\d)(?:[\u00a0\u2009\u202f]|\\[,!;: ]|\{,\})\s?(?=\d{3}(?!\d))")
_COMMA_SPACE = re.compile(r"(?<=\d),\\!\s?(?=\d{3})")
_MARKED = re.compile(r"^[ \t]*#{4}[ \t]*(.+)$|(?<=\s)#{4}[ \t]*(.+)$", re.MULTILINE)
_LARGEST_EXPONENT = 400
_MOST_DIGITS = 400


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written: its exact value, and whether a percent sign followed (the value is then that before it)."""

    value: Fraction
    percent: bool
    start: int
    text: str


def numbers_in(text: str) -> list[Number]:
    """Every number in `text`, in order. Absurdly large ones (over 400 digits) are left out."""
    found = (_read(match) for match in _NUMBER.finditer(_prepare(text)))
    return [number for number in found if number is not None]


def _prepare(text: str) -> str:
    if "\\" in text or "{,}" in text or not text.isascii():
        text = _COMMA_SPACE.sub(",", _THIN_SPACES.sub("", text))
    if "\\" in text:
        text = _FRACTION.sub(_fraction_text, text.replace("\\$", "$"))
    return fold_characters(text)


def _fraction_text(match: re.Match[str]) -> str:
    r"""`\frac{1}{2}` as 1/2, and ` 1/2` after a digit, where it is the fraction of a mixed number."""
    over, under = match.group(1) or match.group(2), match.group(3) or match.group(4)
    mixed = match.start() > 0 and match.string[match.start()].isdigit()
    before = match.string[match.start() - 1] if match.start() else ""
    return f"{' ' if mixed or before.isdigit() else ''}{over}/{under}"


def _read(match: re.Match[str]) -> Number | None:
    digits = match["digits"].replace(",", "")
    written = match["exponent"] or match["power"]
    exponent = int(_short(written)) if written else 0
    if len(digits) > _MOST_DIGITS or abs(exponent) > _LARGEST_EXPONENT:
        return None
    # Most numbers are plain whole ones, and general fractions cost ten times as much.
    value = Fraction(int(digits)) if digits.isdigit() else Fraction(digits)
    if exponent:
        value *= Fraction(10) ** exponent
    if match["raised"] is not None:
        raised = int(match["raised"])
        if abs(raised) * len(digits) > _LARGEST_EXPONENT or not (value or raised > 0):
            return None
        value **= raised
    if match["over"] is not None:
        value += _ratio(match["over"], match["under"]) or 0
    elif match["divisor"] is not None:
        ratio = _ratio("1", match["divisor"])
        value = value if ratio is None else value * ratio
    if "-" in ((match["sign"] or "") + (match["inner"] or "")):
        value = -value
    return Number(value=value, percent=match["percent"] is not None, start=match.start(), text=match.group().strip())


def _short(digits: str) -> str:
    return digits if len(digits) <= 6 else "999999"


def _ratio(over: str, under: str) -> Fraction | None:
    if max(len(over), len(under)) > _MOST_DIGITS:
        return None
    bottom = Fraction(under)
    return Fraction(over) / bottom if bottom else None


def answer_number(text: str) -> Number | None:
    r"""The number that `text` gives as its answer, None where it holds none.

    In this order: after the last `####`, in the last `\boxed{}`, in the last "the answer is ..." (after its last `=`),
    else the last number in the text. A claim without a number, such as "the answer is below:", is passed over.
    """
    text = untagged(tail(text))
    for claim in _claims(text):
        found = numbers_in(claim.rpartition("=")[2]) or numbers_in(claim)
        if found:
            return found[0]
    everywhere = reversed(list(_NUMBER.finditer(_prepare(strip_markdown(text)))))
    return next((found for found in map(_read, everywhere) if found is not None), None)


@lru_cache(maxsize=1024)
def _target_number(text: str) -> Number | None:
    """A target's number; the epochs of a sample, and small sets of answers, ask for the same ones again."""
    return answer_number(text)


def _claims(text: str) -> list[str]:
    claims = [(found.group(1) or found.group(2)) for found in _MARKED.finditer(text)][-1:] if "####" in text else []
    boxed = last_boxed_span(text)
    if boxed is not None:
        claims.append(boxed[2])
    claims.extend(line for _, line in reversed(statements(plain_keeping_numbers(text))))
    return claims


def plain_keeping_numbers(text: str) -> str:
    """`plain` text whose thin spaces and LaTeX fractions were turned into digits before they were folded away."""
    return plain(_prepare(text))


def number(*, tolerance: float = 0.0, relative_tolerance: float = 0.0) -> Scorer:
    """The answer's number equals a target's.

    Compared exactly (0.5 is 1/2 is 5e-1), or within `tolerance` (absolute) or `relative_tolerance` (of the target).
    A percent sign may be left out or written out: 50% matches 50 and 0.5.
    """
    if min(tolerance, relative_tolerance) < 0:
        raise ValueError("a tolerance is not negative")

    def grade(sample: Sample, submission: Submission, context: ScoreContext) -> Score:
        empty = unanswered(submission)
        if empty is not None:
            return empty
        answer = answer_number(submission.answer)
        if answer is None:
            return unparsable(submission, "no number in the answer")
        wanted = [target for target in map(_target_number, targets(sample)) if target is not None]
        right = any(_equal(answer, target, tolerance, relative_tolerance) for target in wanted)
        return verdict(right, answer=answer.text)

    params = {"tolerance": tolerance, "relative_tolerance": relative_tolerance}
    return Scorer(
        name="number", grade=grade, version=2, params={name: value for name, value in params.items() if value}
    )


def _equal(answer: Number, target: Number, tolerance: float, relative_tolerance: float) -> bool:
    if answer.value == target.value:
        return True
    allowed = max(Fraction(tolerance), Fraction(relative_tolerance) * abs(target.value))
    return any(abs(left - right) <= allowed for left, right in _readings(answer, target))


def _readings(answer: Number, target: Number) -> list[tuple[Fraction, Fraction]]:
    pairs = [(answer.value, target.value)]
    if answer.percent and not target.percent:
        pairs.append((answer.value / 100, target.value))
    elif target.percent and not answer.percent:
        pairs.append((answer.value, target.value / 100))
    return pairs
