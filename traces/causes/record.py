"""A trace as a judge may read it: each step one line of JSON, cut to fit, in windows.

What agents and tools wrote is hostile. Inside a JSON string it cannot begin a line of its own, and characters that are
not seen (direction marks, zero-width and tag characters) are written as escapes.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence

import msgspec

from agentlab.traces.causes.moments import Moment, read_moments
from agentlab.traces.steps import Trace

MOST_WINDOWS = 32
"""How many times a judge is asked about one trace; of a longer one each step is cut shorter."""
_LONGEST_STEP = 4_000
_SHORTEST_STEP = 200


class Entry(msgspec.Struct, frozen=True):
    """A step as it is shown. `seq` is None where it cannot be named: the task, and what tools answered."""

    seq: int | None
    agent: str
    shown: str
    """The part of its text that is shown."""
    line: str


class Record(msgspec.Struct, frozen=True):
    """What a judge is shown of a trace: some lines that every window begins with, and the steps."""

    head: tuple[str, ...]
    entries: tuple[Entry, ...]

    def windows(self, chars: int) -> Iterator[tuple[Entry, ...]]:
        """The steps in parts of at most `chars` characters with the head; a part begins with the last step of the one
        before, for a mistake shows in what follows it.
        """
        room = max(_SHORTEST_STEP, chars - sum(len(line) + 1 for line in self.head))
        part: list[Entry] = []
        size = 0
        for entry in self.entries:
            if part and size + len(entry.line) + 1 > room:
                yield tuple(part)
                part = part[-1:] if len(part) > 1 and len(part[-1].line) + len(entry.line) < room else []
                size = sum(len(kept.line) + 1 for kept in part)
            part.append(entry)
            size += len(entry.line) + 1
        if part:
            yield tuple(part)


def record_of(trace: Trace, chars: int) -> Record:
    """The record of a trace for windows of `chars` characters."""
    moments = read_moments(trace)
    # Half of a line's room, because quoting makes text longer.
    longest = min(_LONGEST_STEP, chars // 4, chars * MOST_WINDOWS // (2 * max(1, len(moments))))
    longest = max(_SHORTEST_STEP, longest)
    head = []
    score = trace.score
    if trace.prompt and any(moment.prompt for moment in moments):
        head.append(_line({"task": shortened(trace.prompt, chars // 8)}))
    if score is not None:
        graded = {"graded_answer": score.answer, "expected": score.target, "grader_said": score.explanation}
        head += [_line({name: shortened(text, chars // 16)}) for name, text in graded.items() if text]
    return Record(tuple(head), tuple(_entry(moment, longest) for moment in moments if not moment.prompt))


def _entry(moment: Moment, longest: int) -> Entry:
    step = moment.step
    asked = [f"{call.name}({call.raw or json.dumps(call.arguments, ensure_ascii=False)})" for call in step.asks]
    shown = shortened("\n".join(part for part in (step.text, *asked) if part), longest)
    if moment.machine:
        return Entry(None, moment.speaker, shown, _line({"tool_answered": shown}))
    line = _line({"step": step.seq, "who": moment.speaker, "said": shown})
    return Entry(step.seq, moment.speaker, shown, line)


def shortened(text: str, longest: int) -> str:
    """`text`, or its beginning and end with a mark between."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} [... {len(text) - 2 * half} characters left out ...] {text[-half:]}"


def _line(values: dict[str, str | int]) -> str:
    line = json.dumps(values, ensure_ascii=False)
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in line)


def fence_for(lines: Sequence[str]) -> str:
    """A word that none of the lines contains and nobody could foresee."""
    while any((fence := f"=====[{secrets.token_hex(12)}]") in line for line in lines):
        continue
    return fence
