"""Which of the labels of a run hold. Nothing is ever overwritten or removed: what was said later stands beside it."""

from __future__ import annotations

from collections.abc import Iterable

from agentlab.traces.rows import Label

WITHDRAWN = ""
"""The value by which a person takes back what they said of a trial or a step, and says nothing instead."""


def standing(labels: Iterable[Label]) -> list[Label]:
    """The labels that hold, in order: of a person what was said last about one thing, of a machine everything once.

    One thing is a name (`failure`) at a trial or a step. A person may give it several values at one moment; those all
    hold. What was withdrawn is left out.
    """
    stored = list(labels)
    last: dict[tuple[object, ...], float] = {}
    for label in stored:
        if label.source == "person":
            last[_thing(label)] = max(label.at, last.get(_thing(label), label.at))
    kept: dict[tuple[object, ...], Label] = {}
    for label in stored:
        if label.value != WITHDRAWN and last.get(_thing(label), label.at) == label.at:
            kept.setdefault(said(label), label)
    return list(kept.values())


def said(label: Label) -> tuple[object, ...]:
    """All that a label says but for when: two that are equal in this say the same."""
    return (*_thing(label), label.value, label.confidence, label.guide, label.note)


def by_attempt(labels: Iterable[Label]) -> dict[tuple[int, int], list[str]]:
    """The labels that hold as `NAME:VALUE`, each once, by trial and attempt."""
    found: dict[tuple[int, int], dict[str, None]] = {}
    for label in standing(labels):
        found.setdefault((label.trial, label.attempt), {})[f"{label.name}:{label.value}"] = None
    return {place: list(names) for place, names in found.items()}


def _thing(label: Label) -> tuple[object, ...]:
    return label.trial, label.attempt, label.seq, label.name, label.source, label.author


def in_words(label: Label) -> str:
    """One line: what was said, and by whom. Not cleaned."""
    guide = f" ({label.guide})" if label.guide else ""
    sure = "" if label.confidence is None else f", {label.confidence:.2f} sure"
    note = f": {label.note}" if label.note else ""
    return f"{label.name}:{label.value} by {label.source} {label.author}{guide}{sure}{note}"
