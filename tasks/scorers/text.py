"""Text as scorers see it: one form for what Unicode, Markdown and LaTeX write in many ways, and where the answer is."""

from __future__ import annotations

import re
import unicodedata
from collections import deque

_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[\w+#.-]*[ \t]*$", re.MULTILINE)
_EMPHASIS = re.compile(r"(\*{1,3}|(?<!\w)_{1,3})(?=\S)([^\n*]{0,300}?\S)\1(?!\w)")
_STRAY_STRONG = re.compile(r"(?<![\w)])\*\*|\*\*(?![\w(])|(?<!\w)__(?=\w)|(?<=\w)__(?!\w)")
_CODE_SPAN = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^[ \t]{0,3}(?:#{1,3}(?!#)|#{5,6}|>)[ \t]+", re.MULTILINE)
_LATEX_TEXT = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|mbox|operatorname|emph)\s*\{([^{}]*)\}"
)
_LATEX_MATH = re.compile(r"\\\(|\\\)|\\\[|\\\]|\$\$")
_INLINE_MATH = re.compile(r"(?<!\\)\$([^$\n]+?)(?<!\\)\$")
_BOXED = re.compile(r"\\f?boxed\s*(?:\{|([A-Za-z0-9]))")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_LONGEST_GROUP = 4_000
_MOST_BOXES = 20
"""Bounds on hostile text: unclosed braces by the thousand would make the search for the last box quadratic."""
_MOST_STATEMENTS = 20
_LONGEST_STATEMENT = 2_000
LONGEST_ANSWER = 100_000
_EDGE_PUNCTUATION = " \t\n.,;:!?\"'“”‘’«»"

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_SUPERSCRIPT_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+")
_VULGAR_FRACTION = re.compile("(?<=[0-9])(?=[¼-¾⅐-⅞↉])")
_CHARACTERS = str.maketrans(
    {
        "−": "-",
        "‐": "-",
        "‑": "-",
        "‒": "-",
        "–": "-",
        "—": "-",
        "⁄": "/",
        "∕": "/",
        "’": "'",
        "‘": "'",
        "“": '"',
        "”": '"',
        "\u200b": None,
        "\u200c": None,
        "\u200d": None,
        "\u2060": None,
        "\ufeff": None,
    }
)


def fold_characters(text: str) -> str:
    """Unicode NFKC with what NFKC gets wrong put right first: `10³` is 10^3 and not 103, `2½` is 2 1/2 and not 21/2.

    Dashes and minus signs become `-`, quotation marks become straight, zero-width characters go.
    """
    if text.isascii():
        return text
    text = _SUPERSCRIPT_RUN.sub(lambda run: "^{" + run.group().translate(_SUPERSCRIPTS) + "}", text)
    text = _VULGAR_FRACTION.sub(" ", text)
    return unicodedata.normalize("NFKC", text).translate(_CHARACTERS)


def strip_markdown(text: str) -> str:
    """Remove code fences, code spans, emphasis, headings and quote marks, and keep what they held."""
    if "`" in text or "~" in text:
        text = _CODE_SPAN.sub(r"\1", _FENCE.sub("", text))
    if "#" in text or ">" in text:
        text = _HEADING.sub("", text)
    if "*" in text or "_" in text:
        for _ in range(3):
            text, changed = _EMPHASIS.subn(r"\2", text)
            if not changed:
                break
        text = _STRAY_STRONG.sub("", text)
    return text


def strip_latex(text: str) -> str:
    """Unwrap text commands, boxes and maths delimiters around what a person would read."""
    if "\\" in text:
        for _ in range(4):
            text, changed = _LATEX_TEXT.subn(r"\1", text)
            if not changed:
                break
        text = _LATEX_MATH.sub("", text)
        for _ in range(4):
            span = last_boxed_span(text)
            if span is None:
                break
            start, end, inner = span
            text = text[:start] + inner + text[end:]
    return _INLINE_MATH.sub(r"\1", text) if "$" in text else text


def plain(text: str) -> str:
    """`text` as a person reads it: characters folded, Markdown and LaTeX wrappers gone, lines and case kept."""
    return strip_latex(strip_markdown(fold_characters(text)))


def normalise(text: str, *, articles: bool = True) -> str:
    """One line, case-folded, without wrappers and without punctuation at its ends.

    `articles=False` drops a, an, the. Punctuation that is the whole answer stays.
    """
    folded = " ".join(plain(text).casefold().split())
    if not articles:
        folded = " ".join(_ARTICLES.sub(" ", folded).split())
    return folded.strip(_EDGE_PUNCTUATION) or folded


def closing_brace(text: str, start: int) -> int | None:
    """Index of the brace that closes the group whose content starts at `start`.

    None where it stays open or is longer than 4,000 characters.
    """
    depth = 1
    position = start
    limit = min(len(text), start + _LONGEST_GROUP)
    while position < limit:
        character = text[position]
        if character == "\\":
            position += 2
            continue
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return position
        position += 1
    return None


def last_boxed_span(text: str) -> tuple[int, int, str] | None:
    r"""(start, end, content) of the last complete `\boxed{...}`, its braces balanced; None without one."""
    if "boxed" not in text:
        return None
    for found in reversed(list(_BOXED.finditer(text))[-_MOST_BOXES:]):
        if found.group(1) is not None:
            return found.start(), found.end(), found.group(1)
        end = closing_brace(text, found.end())
        if end is not None:
            return found.start(), end + 1, text[found.end() : end].strip()
    return None


_STATED = re.compile(
    r"\banswers?\b(?:[ \t]+(?:choice|option|letter|to[ \t][^\n.:]{1,80}?|for[ \t][^\n.:]{1,80}?))?"
    r"[ \t]*(?:\([^()\n]{1,40}\)[ \t]*)?"
    r"(?:\b(?:is|are|was|would[ \t]+be|should[ \t]+be|must[ \t]+be|will[ \t]+be)\b|[:=]|→|=>|->)[ \t]*[:=]?",
    re.IGNORECASE,
)
_SOMETHING = re.compile(r"\S")
_DENIED = re.compile(r"^(?:definitely\s+|clearly\s+)?(?:not|neither|never)\b", re.IGNORECASE)
_CONTRAST = re.compile(r"^[^.\n]{1,60}?\bbut\s+(?:rather\s+)?", re.IGNORECASE)


_ANSWER_TAG = re.compile(r"<(/?)(?:final[ _-]?)?answer>", re.IGNORECASE)


def tail(text: str) -> str:
    """The last 100,000 characters: what of a text is scored. An answer stands at the end."""
    return text[-LONGEST_ANSWER:]


def untagged(text: str) -> str:
    """`<answer>X</answer>` as a line of its own that states X, as "Answer: X" does."""
    if "nswer>" not in text and "NSWER>" not in text:
        return text
    return _ANSWER_TAG.sub(lambda tag: "\n" if tag[1] else "\nAnswer: ", text)


def last_matches(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """The last 20 matches, in order: the last claim counts, and reading thousands of them would take minutes."""
    return list(deque(pattern.finditer(text), maxlen=_MOST_STATEMENTS))


def line_from(text: str, start: int) -> str:
    """The rest of the line at `start`, stripped, at most 2,000 characters of it."""
    return text[start : start + _LONGEST_STATEMENT].split("\n", 1)[0].strip()


def statements(text: str) -> list[tuple[int, str]]:
    """The last 20 statements of an answer ("the answer is ...", "Answer: ...") in `plain` text, in order.

    Each is (position, rest of its line). Where nothing follows on the line, the next line with text is taken. "The
    answer is not B" states nothing, "the answer is not B but C" states C.
    """
    found: list[tuple[int, str]] = []
    for match in last_matches(_STATED, text):
        line = line_from(text, match.end())
        if not line:
            following = _SOMETHING.search(text, match.end())
            line = line_from(text, following.start()) if following is not None else ""
        if _DENIED.match(line):
            contrast = _CONTRAST.match(line)
            line = line[contrast.end() :] if contrast is not None else ""
        if line:
            found.append((match.start(), line))
    return found


def lines_of(text: str) -> list[str]:
    """The lines that hold something, stripped."""
    return [line.strip() for line in text.splitlines() if line.strip()]
