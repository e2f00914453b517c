"""Choice letters in free text.

What counts is the last explicit claim: a box, "the answer is (B)", "B is correct", a closing line that is a letter or
a choice's text. Without a claim, a single letter that stands out, or the single choice whose text occurs. A claim for
two choices at once, or several letters without a claim, is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Literal

from agentlab.tasks.scorers.text import (
    last_boxed_span,
    last_matches,
    line_from,
    lines_of,
    normalise,
    plain,
    statements,
    tail,
    untagged,
)
from agentlab.tasks.scorers.verdict import targets, unanswered, unparsable, verdict
from agentlab.tasks.types import Sample, Score, ScoreContext, Scorer, Submission

Labels = Literal["letters", "numbers", "text"]

_LABEL = r"[A-Za-z]|\d{1,2}"
_OPENING = re.compile(
    r"^(?:(?:the|most likely|probably|definitely|clearly|indeed|therefore|just|simply)\s+)*"
    r"(?:(?:option|choice|answer|letter|statement|number|solution)\s*:?\s*)?"
    rf"(?P<open>[(\[{{\"']\s*)?(?P<label>{_LABEL})(?P<close>\s*[)\]}}\"'])?(?P<after>[.:,;!?]|(?=\s|$)|(?=[/&-]))",
    re.IGNORECASE,
)
_ANOTHER = re.compile(
    r"^\s*(?:,\s*(?:and|or)?|/|&|\bor\b|\band\b|\bas well as\b)\s*(?:option\s+|choice\s+)?"
    rf"[(\[]?(?P<label>{_LABEL})[)\]]?(?![\w']|\s+(?:is|are|was|would|seems)\b)",
    re.IGNORECASE,
)
_SAID_FIRST = re.compile(
    r"(?<![\w'])[(\[\"']?(?P<label>[A-Z]|\d{1,2})[)\]\"']?\.?\s+"
    r"(?:is|must be|would be|should be|seems(?:\s+to\s+be)?|appears\s+to\s+be)"
    r"\s+(?:(?:definitely|clearly|therefore|thus|indeed|probably|likely|also)\s+)*(?:the\s+)?(?:(?:most|only|single|best)\s+)*"
    r"(?:correct|right|best|accurate|appropriate|likely|answer)\b"
)
_CHOSEN = re.compile(
    r"\b(?:(?:I|we)(?:'d|'ll|\s+would|\s+will|\s+shall|\s+must|\s+should)?\s+(?:choose|pick|select|go\s+(?:with|for)|say|answer)|going\s+with|"
    r"(?:it|that)(?:'s|\s+is|\s+must\s+be|\s+has\s+to\s+be|\s+would\s+be))\s+(?=(?:option\s+|choice\s+)?[(\[\"']?(?:[A-Z]|\d{1,2})(?![\w']))",
    re.IGNORECASE,
)
_LABELLED_LINE = re.compile(rf"^[(\[]?(?P<label>{_LABEL})\s*(?:[)\]][.:,]?|[.:](?!\d))(?:\s|$)")
_BRACKETED = re.compile(r"[(\[](?P<label>[A-Z]|\d{1,2})[)\]]")
_LONE_LABEL = re.compile(r"[(\[\"']?(?P<label>[A-Z])[)\]\"']?[.:)]?")
_LONE_CAPITAL = re.compile(
    r"(?<![\w'-])(?P<label>[B-HJ-Z]|[AI](?=[^\w\s]|[^\S\n]*(?:\n|\Z))|"
    r"A(?=\s*(?:,|/|\band\b|\bor\b)\s*[B-Z]\b|\s+(?:is|was|must|fits|because|since)\b))(?![\w'-])"
)
"""A letter that stands alone. An article or a pronoun has a word behind it: A and I before anything else are letters
like all others, or answers would be worth less for being the first choice.
"""
_CONCLUDED = re.compile(
    r"(?:(?:in conclusion|conclusion|result|so|thus|hence|therefore|"
    r"(?:the\s+)?(?:correct|right|best)\s+(?:option|choice|one)(?:\s+is)?)\b[\s,:]*|answer\s+-\s+)+",
    re.IGNORECASE,
)
_CONNECTIVE = re.compile(
    r"^\s+(?:because|since|as|for|due|given|which|that|by|is|are|was|would|from|in|on|with|based|if|when)\b",
    re.IGNORECASE,
)
_AMBIGUOUS = -1
_SHORTEST_MENTION = 4


@dataclass(frozen=True, slots=True)
class Choices:
    """The labels and texts that an answer may name, in order."""

    labels: tuple[str, ...]
    texts: tuple[str, ...] = ()

    def by_label(self, label: str) -> int | None:
        return self.labels.index(label.upper()) if label.upper() in self.labels else None

    def by_text(self, text: str) -> int | None:
        """The choice that `text` is, normalised; None for none, and for texts that two choices share."""
        wanted = normalise(text)
        hits = [index for index, choice in enumerate(self.texts) if normalise(choice) == wanted]
        return hits[0] if len(hits) == 1 and wanted else None

    def mentioned(self, text: str) -> int | None:
        """The only choice whose text occurs in `text` as whole words and undenied.

        A choice inside a longer one is not seen where the longer one stands.
        """
        folded = normalise(text)
        hits: set[int] = set()
        order = sorted(range(len(self.texts)), key=lambda index: -len(self.texts[index]))
        for index in order:
            wanted = normalise(self.texts[index])
            if len(wanted) < _SHORTEST_MENTION:
                continue
            expression = re.compile(rf"(?<!\w){re.escape(wanted)}(?!\w)")
            if any(not _denied(folded[max(0, hit.start() - 40) : hit.start()]) for hit in expression.finditer(folded)):
                hits.add(index)
            folded = expression.sub(" ", folded)
        return next(iter(hits)) if len(hits) == 1 else None


def _denied(before: str) -> bool:
    return (
        re.search(
            r"(?:\bnot|n't|\bnever|\bneither|\bnor)(?:\s+(?:a|an|the|be|is|really|necessarily))*\s*$", before[-40:]
        )
        is not None
    )


def lettered(n: int, texts: Sequence[str] = ()) -> Choices:
    """Choices A, B, C, ... (at most 26)."""
    if n > len(ascii_uppercase):
        raise ValueError(f"{n} choices: there are 26 letters")
    return Choices(tuple(ascii_uppercase[:n]), tuple(texts))


def extract_choice(text: str, choices: Choices) -> int | None:
    """Index of the choice that `text` settles on, None where it settles on none or on several at once."""
    text = untagged(tail(text))
    readable = plain(text).strip()
    if not readable:
        return None
    claims = sorted(_claims(text, readable, choices))
    if claims:
        last = claims[-1][1]
        return None if last == _AMBIGUOUS else last
    for labels in (_line_labels(readable), _found(_BRACKETED, readable), _found(_LONE_CAPITAL, readable)):
        named = {index for index in map(choices.by_label, labels) if index is not None}
        if named:
            return named.pop() if len(named) == 1 else None
    return _opening_text(readable, choices) if choices.texts else None


def _opening_text(readable: str, choices: Choices) -> int | None:
    """ "Yes, because ..." opens with a choice's text; else the one choice that is mentioned."""
    opening = re.split(r"[,.;:!\n]|\s-\s", readable, maxsplit=1)[0]
    index = choices.by_text(opening)
    return index if index is not None else choices.mentioned(readable)


def _line_labels(readable: str) -> Iterator[str]:
    for line in lines_of(readable):
        found = _LABELLED_LINE.match(line) or _LONE_LABEL.fullmatch(line)
        if found is not None:
            yield found["label"]


def _found(pattern: re.Pattern[str], readable: str) -> Iterator[str]:
    return (hit["label"] for hit in pattern.finditer(readable))


def _claims(text: str, readable: str, choices: Choices) -> Iterator[tuple[int, int]]:
    """(position in `readable`, choice or _AMBIGUOUS) of every explicit claim."""
    for position, fragment in statements(readable):
        index = resolve(fragment, choices)
        if index is not None:
            yield position, index
    for said in last_matches(_SAID_FIRST, readable):
        index = choices.by_label(said["label"])
        if index is not None and not readable[: said.start()].rstrip().endswith((" or", " and", "/", ",")):
            yield said.start(), index
    for chosen in last_matches(_CHOSEN, readable):
        index = resolve(line_from(readable, chosen.end()), choices)
        if index is not None:
            yield chosen.start(), index
    lines = lines_of(readable)
    closing = _whole(lines[-1], choices)
    if closing is None and (concluded := _CONCLUDED.match(last := _last_sentence(lines[-1]))) is not None:
        closing = _whole(last[concluded.end() :], choices)
    if closing is not None:
        yield readable.rfind(lines[-1]), closing
    boxed = last_boxed_span(text)
    if boxed is not None:
        index = resolve(plain(boxed[2]), choices)
        if index is not None:
            # Wrappers were removed in `readable`: the box is placed by its share of the text.
            yield _place(text, boxed[0], readable), index


def _last_sentence(line: str) -> str:
    return re.split(r"(?<=[.!?;])\s+", line)[-1]


def _place(text: str, start: int, readable: str) -> int:
    return len(plain(text[:start])) if start else 0 if readable else start


def _whole(line: str, choices: Choices) -> int | None:
    """A line that is nothing but a label, a labelled choice or a choice's text."""
    label = re.fullmatch(rf"[(\[\"'{{]*\s*({_LABEL})\s*[)\]\"'}}]*[.:!]?", line)
    if label is not None:
        index = choices.by_label(label.group(1))
        if index is not None:
            return index
    labelled = _LABELLED_LINE.match(line)
    if labelled is not None:
        index = choices.by_label(labelled["label"])
        if index is not None and choices.by_text(line[labelled.end() :]) == index:
            return index
    return choices.by_text(line)


def resolve(fragment: str, choices: Choices) -> int | None:
    """The choice that a claim's content names: a label at its start, or a choice's text. _AMBIGUOUS for two labels."""
    fragment = fragment.strip()
    exact = _whole(fragment, choices)
    if exact is not None:
        return exact
    opening = _OPENING.match(fragment)
    if opening is not None:
        index = _opening_label(fragment, opening, choices)
        if index is not None:
            another = _ANOTHER.match(fragment[opening.end("close") if opening["close"] else opening.end("label") :])
            other = choices.by_label(another["label"]) if another is not None and _is_label(another["label"]) else None
            return _AMBIGUOUS if other is not None and other != index else index
    starting = choices.by_text(re.split(r"[,.;:!]|\s(?:because|since|as)\s", fragment, maxsplit=1)[0])
    return starting if starting is not None else choices.mentioned(fragment)


def _is_label(label: str) -> bool:
    return label.isupper() or label.isdigit()


def _opening_label(fragment: str, opening: re.Match[str], choices: Choices) -> int | None:
    label = opening["label"]
    enclosed = opening["open"] is not None or opening["close"] is not None
    if not (enclosed or _is_label(label)):
        return None
    rest = fragment[opening.end() :]
    bare = not enclosed and not opening["after"]
    if bare and label in ("A", "I") and re.match(r"\s+[a-z]", rest) and not _CONNECTIVE.match(rest):
        # "A dog" or "I think": an article or a pronoun, unless the words after it say otherwise.
        spoken = re.match(r"\s+(?:or|and)\b", rest)
        return choices.by_label(label) if spoken else None
    return choices.by_label(label)


def choice(*, labels: Labels = "letters", texts: Sequence[str] = ()) -> Scorer:
    """The answer settles on the target: a letter (or a number) of `sample.choices` or its text.

    With `labels="text"` it is one of `texts` (such as Yes and No), by its text alone, and so is the target.
    """
    fixed = tuple(texts)

    def grade(sample: Sample, submission: Submission, context: ScoreContext) -> Score:
        empty = unanswered(submission)
        if empty is not None:
            return empty
        offered = _offered(sample, labels, fixed)
        index = extract_choice(submission.answer, offered)
        if index is None:
            return unparsable(submission, "the answer settles on no single choice")
        named = offered.texts[index] if labels == "text" else offered.labels[index]
        right = any(normalise(named) == normalise(target) for target in targets(sample))
        return verdict(right, answer=named)

    params = {"labels": labels, "texts": list(fixed)}
    return Scorer(
        name="choice", grade=grade, version=2, params={k: v for k, v in params.items() if v and v != "letters"}
    )


def _offered(sample: Sample, labels: Labels, texts: tuple[str, ...]) -> Choices:
    options = texts or sample.choices
    if labels == "text":
        return Choices((), options)
    if labels == "numbers":
        return Choices(tuple(str(index) for index in range(1, len(options) + 1)), options)
    return lettered(len(options), options)
