"""Two traces side by side: which steps are alike, and where they part."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from agentlab.traces.divergence import without_volatile
from agentlab.traces.steps import Step, Trace

MAX_STEPS = 5000
"""Steps of either trace that are lined up: what costs grows with their product."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A step of each trace, or of one of them where the other has none like it."""

    left: Step | None
    right: Step | None
    differs: str = ""
    """What is not alike: `who speaks`, `the text`, `the calls`, `the output of bash`; empty where they are alike."""


class Alignment(msgspec.Struct, frozen=True, kw_only=True):
    """Two traces lined up."""

    pairs: tuple[Pair, ...]
    alike: int
    """How many pairs are alike before the traces part."""
    parting: Pair | None
    """The steps that stand where they part, a side None where it has ended; None where both traces are alike."""
    not_compared: int = 0
    """Steps of the longer trace behind those that were lined up."""


def align(left: Trace, right: Trace) -> Alignment:
    """Line up the steps of two traces, times and ids in texts left aside (`docs/replay.md` lists what).

    Before they part the steps go in pairs. After it, steps that are alike stand beside each other, found as `diff`
    finds lines, and what stands between them is paired in order.
    """
    ours, theirs = left.steps[:MAX_STEPS], right.steps[:MAX_STEPS]
    one, other = [_key(step) for step in ours], [_key(step) for step in theirs]
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    pairs = [Pair(left=ours[place], right=theirs[place]) for place in range(start)]
    parting = next(_in_order(ours[start : start + 1], theirs[start : start + 1]), None)
    matcher = difflib.SequenceMatcher(None, one[start:], other[start:], autojunk=False)
    for _, begin, end, begin_there, end_there in matcher.get_opcodes():
        mine, yours = ours[start + begin : start + end], theirs[start + begin_there : start + end_there]
        pairs += _in_order(mine, yours)
    beyond = max(len(left.steps), len(right.steps)) - MAX_STEPS
    return Alignment(pairs=tuple(pairs), alike=start, parting=parting, not_compared=max(beyond, 0))


def _in_order(left: Sequence[Step], right: Sequence[Step]) -> Iterator[Pair]:
    for place in range(max(len(left), len(right))):
        mine = left[place] if place < len(left) else None
        yours = right[place] if place < len(right) else None
        yield _pair(mine, yours)


def _pair(left: Step | None, right: Step | None) -> Pair:
    return Pair(left=left, right=right, differs=_difference(left, right))


def _difference(left: Step | None, right: Step | None) -> str:
    if left is None or right is None:
        return "only in the first" if right is None else "only in the second"
    if (left.role, left.agent) != (right.role, right.agent):
        return "who speaks"
    if left.call is not None and right.call is not None:
        if _calls((left.call,)) != _calls((right.call,)):
            return "the call"
        return f"the output of {left.call.name}" if _key(left) != _key(right) else ""
    if without_volatile(left.text) != without_volatile(right.text):
        return "the text"
    if _calls(left.asks) != _calls(right.asks):
        return "the calls"
    return "the call" if _key(left) != _key(right) else ""


def _key(step: Step) -> tuple[Any, ...]:
    """What makes two steps alike. Thinking is not compared, and ids of calls are not."""
    call = () if step.call is None else _calls((step.call,))
    error = step.result.error if step.result is not None else ""
    return step.role, step.agent, without_volatile(step.text), _calls(step.asks), call, error


def _calls(calls: Sequence[Any]) -> tuple[tuple[str, str], ...]:
    return tuple((call.name, call.raw or without_volatile(_text(call.arguments))) for call in calls)


def _text(arguments: dict[str, Any]) -> str:
    return repr(sorted(arguments.items(), key=lambda item: item[0]))
