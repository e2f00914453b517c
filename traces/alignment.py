"""Two traces side by side: which steps are alike, and where they part."""

from __future__ import annotations

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
    left_from, right_from = start, start
    for mine, yours in (*_alike(one, other, start), (len(one), len(other))):
        pairs += _in_order(ours[left_from:mine], theirs[right_from:yours])
        if mine < len(one):
            pairs.append(Pair(left=ours[mine], right=theirs[yours]))
        left_from, right_from = mine + 1, yours + 1
    beyond = max(len(left.steps), len(right.steps)) - MAX_STEPS
    return Alignment(pairs=tuple(pairs), alike=start, parting=parting, not_compared=max(beyond, 0))


def _alike(one: Sequence[Any], other: Sequence[Any], start: int) -> list[tuple[int, int]]:
    """The places from `start` on of a longest common subsequence. By rows of bits (Hyyrö 2004), a step of the one a
    bit: two agents in a loop, with every step like hundreds, cost no more than two that differ.
    """
    width = len(one) - start
    places: dict[Any, int] = {}
    for bit, key in enumerate(one[start:]):
        places[key] = places.get(key, 0) | 1 << bit
    every = (1 << width) - 1
    row, rows = every, []
    for key in other[start:]:
        common = row & places.get(key, 0)
        row = ((row + common) | (row - common)) & every
        rows.append(row)
    found = []
    mine, yours = width, len(rows)
    while mine and yours:
        bit = 1 << (mine - 1)
        if rows[yours - 1] & bit:
            mine -= 1
            continue
        yours -= 1
        if not yours or rows[yours - 1] & bit:
            mine -= 1
            found.append((start + mine, start + yours))
    return found[::-1]


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
