"""Causes as a judge model sees them. It reads hostile text, so little of its answer is believed: a step that exists, a
category of the list, and words that stand in that step. Everything else is `unknown`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from agentlab.traces.causes.model import UNKNOWN, Cause, unknown_cause
from agentlab.traces.causes.prompts import CATEGORIES, REQUEST, SYSTEM, VERSION, category_list
from agentlab.traces.causes.record import Entry, Record, fence_for, record_of
from agentlab.traces.events import Judge, Message
from agentlab.traces.steps import Trace

WINDOW_CHARS = 36_000
"""Characters of a trace in one request: with the prompt about 12,000 tokens."""
SMALLEST_WINDOW = 2_000
_LONGEST_REPLY = 20_000
_LONGEST_REASON = 500
_SHORTEST_QUOTE = 8
"""Characters: a shorter one would stand in almost any step."""
_FENCED_JSON = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n\s*```\s*\Z", re.DOTALL)
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)


class Citation(msgspec.Struct, frozen=True):
    """A judge's answer that holds: a step that it was shown and words that stand in it."""

    entry: Entry
    category: str
    quote: str
    reason: str


async def judge_cause(trace: Trace, judge: Judge, *, model: str, window_chars: int = WINDOW_CHARS) -> Cause:
    """What a judge model says of a failed trace. `model` is its name, for the record; what it raises is passed on.

    A trace that does not fit is read in windows; where several windows each name a step, the judge is asked once more
    and shown those steps with their neighbours.
    """
    if window_chars < SMALLEST_WINDOW:
        raise ValueError(f"a window holds at least {SMALLEST_WINDOW} characters, not {window_chars}")
    author = f"{model}, {VERSION}"
    record = record_of(trace, window_chars)
    windows = list(record.windows(window_chars))
    found: list[Citation] = []
    problems: list[str] = []
    for number, window in enumerate(windows, 1):
        if not any(entry.seq is not None for entry in window):
            continue
        part = "the whole" if len(windows) == 1 else f"part {number} of {len(windows)}"
        answer = await _ask(judge, record, window, part)
        (found if isinstance(answer, Citation) else problems).append(answer)  # type: ignore[arg-type]
    if len({citation.entry.seq for citation in found}) > 1:
        answer = await _ask(judge, record, _around(record, found, window_chars), "a selection")
        if not isinstance(answer, Citation):
            return unknown_cause("judge", author, answer)
        found = [answer]
    if not found:
        return unknown_cause("judge", author, "; ".join(dict.fromkeys(problems)) or "nobody said or did anything")
    return Cause(
        source="judge",
        author=author,
        agent=found[0].entry.agent,
        step=found[0].entry.seq,
        category=found[0].category,
        score=None,
        quote=found[0].quote,
        note=found[0].reason,
    )


async def _ask(judge: Judge, record: Record, window: Sequence[Entry], part: str) -> Citation | str:
    """A citation, or why there is none."""
    return read_answer(await judge(judge_messages(record.head, window, part)), window)


def judge_messages(head: Sequence[str], window: Sequence[Entry], part: str) -> tuple[Message, ...]:
    """What the judge is sent about one window. The question follows the record: nothing hostile has the last word."""
    lines = [*head, *(entry.line for entry in window)]
    fence = fence_for(lines)
    steps = ", ".join(str(entry.seq) for entry in window if entry.seq is not None)
    text = REQUEST.format(fence=fence, record="\n".join(lines), part=part, steps=steps, categories=category_list())
    return (Message(role="system", content=SYSTEM.format(fence=fence)), Message(role="user", content=text))


def read_answer(reply: str, window: Sequence[Entry]) -> Citation | str:
    """A judge's reply, strictly: one JSON object (thinking before it and a code fence around it are allowed) that names
    a step of the window and quotes it. For anything else, what is wrong with it.
    """
    reply = _THOUGHT.sub("", reply, count=1)  # which may be as long as a model thinks
    if len(reply) > _LONGEST_REPLY:
        return "the judge's reply is too long"
    fenced = _FENCED_JSON.match(reply)
    try:
        answer: Any = json.loads(fenced.group(1) if fenced else reply)
    except (ValueError, RecursionError):
        return "the judge's reply is no JSON"
    if not isinstance(answer, dict) or "step" not in answer:
        return "the judge's reply names no step"
    if answer["step"] is None:
        return "the judge abstains"
    return _checked(answer, window)


def _checked(answer: dict[str, Any], window: Sequence[Entry]) -> Citation | str:
    step, category, quote, reason = (answer.get(name) for name in ("step", "category", "quote", "reason"))
    if isinstance(step, bool) or not isinstance(step, int):
        return "the judge's step is no number"
    entries = [entry for entry in window if entry.seq == step]
    if not entries:
        return "the judge names a step that it was not shown"
    known = {name.lower(): name for name in (*CATEGORIES, UNKNOWN)}
    if not isinstance(category, str) or category.strip().lower() not in known:
        return "the judge names a category that does not exist"
    if not isinstance(quote, str) or not quote.strip():
        return "the judge quotes nothing"
    # What was told to a model and what it answered are one event.
    entry = next((entry for entry in entries if _stands_in(_plain(quote), _plain(entry.shown))), None)
    if entry is None:
        return "the judge's quote does not stand in the step"
    told = reason[:_LONGEST_REASON] if isinstance(reason, str) else ""
    return Citation(entry, known[category.strip().lower()], quote, told)


def _around(record: Record, found: Sequence[Citation], chars: int) -> tuple[Entry, ...]:
    """The steps that were named and, as far as there is room, those beside them. Only the named ones may be named."""
    entries = record.entries
    named = {citation.entry.seq for citation in found}
    room = chars - sum(len(line) + 1 for line in record.head)
    places: list[int] = []
    for place, entry in enumerate(entries):  # the earliest first: the decisive step is the earliest that was wrong
        if entry.seq in named and (not places or len(entry.line) < room):
            places.append(place)
            room -= len(entry.line) + 1
    shown = set(places)
    for beside in (near for place in places for near in (place - 1, place + 1) if 0 <= near < len(entries)):
        if beside not in shown and len(entries[beside].line) < room:
            room -= len(entries[beside].line) + 1
            shown.add(beside)
    return tuple(
        entries[place] if place in places else msgspec.structs.replace(entries[place], seq=None)
        for place in sorted(shown)
    )


def _stands_in(quote: str, shown: str) -> bool:
    return quote in shown and len(quote) >= min(_SHORTEST_QUOTE, len(shown))


def _plain(text: str) -> str:
    return " ".join(text.split())
