"""Where a trace that was carried out again first leaves the recorded one, what is volatile in outputs left aside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from agentlab.traces.events import Scored, ToolResult
from agentlab.traces.steps import Step, Trace

_MONTHS = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?"

VOLATILE: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("time", re.compile(rf"\b\d{{4}}-\d\d-\d\d[T ]{_CLOCK}(?: ?(?:Z|[+-]\d\d:?\d\d|UTC))?")),
    ("time", re.compile(rf"(?:\b[A-Z][a-z]{{2}},? )?\b{_MONTHS} [ \d]\d {_CLOCK}(?: [A-Z]{{3,4}})?(?: \d{{4}})?")),
    ("time", re.compile(r"\b\d\d:\d\d:\d\d(?:\.\d+)?\b")),
    ("duration", re.compile(r"\b\d+m\d+(?:\.\d+)?s\b")),
    ("duration", re.compile(r"\b\d+\.\d+ ?(?:s|sec|secs|seconds)\b")),
    ("duration", re.compile(r"\b\d+(?:\.\d+)? ?(?:ms|us|µs|ns|msec|usec|milliseconds|microseconds)\b")),
    ("address", re.compile(r"\b0x[0-9a-fA-F]{6,16}\b")),
    ("temp", re.compile(r"\btmp[a-z0-9_]{8}\b|\btmp\.[A-Za-z0-9]{6,12}\b")),
    ("id", re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")),
    ("pid", re.compile(r"(?<=^\[\d\] )\d+$", re.MULTILINE)),
    ("pid", re.compile(r"(?i:(?<=\bpid )|(?<=\bpid=)|(?<=\bpid: ))\d+")),
    ("pid", re.compile(r"(?<=: )\d+(?= (?:Killed|Terminated|Aborted|Segmentation fault))")),
)
"""What may differ between two runs of the same command, by what stands for it when they are compared. Kept small and
in this order: whatever is replaced here can no longer be told apart (docs/replay.md lists it).
"""

LONGEST = 2_000_000
"""Characters of a text in which volatile things are looked for: a second's work. No tool of ours gives more."""
SHOWN = 400
"""Characters of either side that a divergence shows, from a little before where they part."""
BEFORE = 120


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """The first thing that came out otherwise."""

    step: int
    """The step of the recorded trace, as `traces show` numbers it."""
    what: str
    """`prompt`, `the output of bash`, `the score of exact` ..."""
    expected: str
    """What is recorded, from shortly before the first difference; nothing replaced in it."""
    got: str

    def __str__(self) -> str:
        return f"step {self.step}: {self.what} is not what was recorded"


def without_volatile(text: str) -> str:
    """`text` with times, durations, addresses, temporary names, ids and process numbers replaced by what they are; one
    of more than `LONGEST` characters as it is.
    """
    if len(text) > LONGEST:
        return text
    for name, pattern in VOLATILE:
        text = pattern.sub(f"<{name}>", text)
    return text


def first_divergence(recorded: Trace, again: Trace, *, scores: bool = True) -> Divergence | None:
    """The first step of `recorded` that `again` answers otherwise; None where it answers all alike.

    Compared are what the model was told, what each tool answered, and (with `scores`) what each scorer said. What the
    model said is not: it is served from the recording.
    """
    there = list(_in_order(again.steps))
    for place, step in enumerate(_in_order(recorded.steps)):
        if place >= len(there):
            return _divergence(step, "this step", _said(step), "nothing: it was not reached again")
        if (found := _step_difference(step, there[place])) is not None:
            return found
    return _score_difference(recorded, again) if scores else None


def _step_difference(step: Step, other: Step) -> Divergence | None:
    if step.role != other.role:
        return _divergence(step, f"a step of role {step.role}", _said(step), f"{other.role}: {_said(other)}")
    if step.role == "assistant":
        return None
    what = f"the output of {step.call.name}" if step.call is not None else f"the {step.role} prompt"
    if without_volatile(step.text) != without_volatile(other.text):
        return _divergence(step, what, *around_difference(step.text, other.text))
    if step.result is not None and other.result is not None and _kind(step.result) != _kind(other.result):
        return _divergence(step, what, _kind(step.result), _kind(other.result))
    return None


def _score_difference(recorded: Trace, again: Trace) -> Divergence | None:
    verdicts = [stored.event for stored in again.of(Scored)]
    for place, stored in enumerate(recorded.of(Scored)):
        old = stored.event
        new = verdicts[place] if place < len(verdicts) else None
        if not isinstance(old, Scored):
            continue
        what = f"the score of {old.scorer}"
        if not isinstance(new, Scored):
            return Divergence(step=stored.seq + 1, what=what, expected=f"{old.value:g}", got=_ending(again))
        if old.value != new.value:
            expected, got = f"{old.value:g} {old.explanation}", f"{new.value:g} {new.explanation}"
            return Divergence(step=stored.seq + 1, what=what, expected=expected[:SHOWN], got=got[:SHOWN])
    return None


def _ending(trace: Trace) -> str:
    error = trace.error
    return f"nothing: {error.message}"[:SHOWN] if error is not None else "nothing"


def _in_order(steps: Iterable[Step]) -> Iterator[Step]:
    """Steps with the outputs of one turn in the order in which it asked: tools outside a box run beside each other."""
    asked: dict[str, int] = {}
    outputs: list[Step] = []
    for step in steps:
        if step.call is not None:
            outputs.append(step)
            continue
        yield from sorted(outputs, key=lambda output: _place(output, asked))
        outputs = []
        if step.role == "assistant":
            asked = {call.id: place for place, call in enumerate(step.asks)}
        yield step
    yield from sorted(outputs, key=lambda output: _place(output, asked))


def _place(output: Step, asked: dict[str, int]) -> int:
    return asked.get(output.call.id, len(asked)) if output.call is not None else len(asked)


def _kind(result: ToolResult) -> str:
    images = f", {len(result.images)} images" if result.images else ""
    return f"{result.error or 'no error'}{images}"


def _said(step: Step) -> str:
    return step.text or ", ".join(call.name for call in step.asks)


def around_difference(expected: str, got: str) -> tuple[str, str]:
    """Both texts from shortly before the line in which they first differ, volatile things left aside."""
    old, new = expected.splitlines(keepends=True), got.splitlines(keepends=True)
    same = 0
    for one, other in zip(old, new, strict=False):
        if without_volatile(one) != without_volatile(other):
            break
        same += 1
    first = max(same - 1, 0)
    return _cut_line("".join(old[first:]), "".join(new[first:]))


def _cut_line(expected: str, got: str) -> tuple[str, str]:
    """Both texts, a long beginning that they share cut off."""
    shared = 0
    for one, other in zip(expected, got, strict=False):
        if one != other:
            break
        shared += 1
    start = max(shared - BEFORE, 0)
    return expected[start:], got[start:]


def _divergence(step: Step, what: str, expected: str, got: str) -> Divergence:
    return Divergence(step=step.seq + 1, what=what, expected=expected[:SHOWN], got=got[:SHOWN])
