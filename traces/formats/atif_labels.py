"""Labels in ATIF documents: those of our own exports are read back, and stand there again when the import is exported.

Our exports have labels of a step in the `extra` of what it became, and those of the whole under `extra.agentlab`. A
document of others that was imported here and exported again has all that it was given under `extra.agentlab`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from agentlab.traces.formats.atif_export import label_entry
from agentlab.traces.formats.imported import ImportedLabel
from agentlab.traces.rows import Label, LabelSource

_TAKEN: dict[str, Any] = {}
"""What stands in place of labels that were taken out: no list of labels is an object."""
Holder = dict[str, Any] | None
"""The step or result that an event was made of; None for an event of a subagent."""


class _Entry(msgspec.Struct, frozen=True):
    """As `label_entry` writes it."""

    name: str
    value: str
    source: LabelSource
    author: str
    seq: int | None = None
    confidence: float | None = None
    guide: str = ""
    note: str = ""
    at: str = ""


def is_ours(document: dict[str, Any]) -> bool:
    """Whether a run of ours was exported to it: what detectors found stands in it then."""
    return bool(_ours(document).get("run"))


def taken(document: dict[str, Any], holders: Sequence[Holder]) -> tuple[ImportedLabel, ...]:
    """Take the labels out of `document`, whose steps and results may be changed. `holders` has one for each event that
    the document becomes. What is no label of ours is left where it is.
    """
    places = _Places(document, holders)
    found: list[ImportedLabel] = []
    if places.ours:
        for index, holder in enumerate(holders):
            if holder is not None and isinstance(holder.get("extra"), dict):
                holder["extra"], entries = _without_labels(holder["extra"])
                found += [_label(entry, index) for entry in entries]
    ours, entries = _without_labels(_ours(document))
    if entries:
        document["extra"] = {**document["extra"], "agentlab": ours}
        found += [_label(entry, places.index(entry.seq)) for entry in entries]
    return tuple(sorted(found, key=lambda label: label.at))


def put(document: dict[str, Any], holders: Sequence[Holder], labels: Sequence[Label]) -> None:
    """Put labels into a document that `taken` has read: where our export would have them."""
    places = _Places(document, holders)
    whole: list[dict[str, Any]] = []
    at_steps: dict[int, list[dict[str, Any]]] = {}
    for label in labels:
        index = places.held(label.seq) if places.ours else None
        if index is None:
            whole.append(label_entry(label))
        else:
            entry = label_entry(msgspec.structs.replace(label, seq=places.number(index)))
            at_steps.setdefault(index, []).append(entry)
    for index, holder in enumerate(holders):
        if holder is not None and isinstance(holder.get("extra"), dict):
            holder["extra"] = _with_labels(holder["extra"], at_steps.get(index, ()))
    ours = _with_labels(_ours(document), whole)
    if ours:
        document["extra"] = {**(document.get("extra") or {}), "agentlab": ours}


class _Places:
    """Where labels stand. Our exports number steps as the run did that they come from (`extra.seq`), others not at all:
    there it is the place of the event.
    """

    def __init__(self, document: dict[str, Any], holders: Sequence[Holder]) -> None:
        self.ours = is_ours(document)
        numbered = [(_number(holder), index) for index, holder in enumerate(holders)]
        self._numbers = {index: number for number, index in numbered if number is not None}
        self._by_number = sorted((number, index) for index, number in self._numbers.items())
        self._numbered = sorted(self._numbers)
        self._events = len(holders)

    def index(self, number: int | None) -> int | None:
        """The event of a step by its number in the document; of what became no step, the one before it."""
        if number is None:
            return None
        if not self.ours:
            return number if 0 <= number < self._events else None
        place = bisect_right(self._by_number, (number, self._events))
        return self._by_number[place - 1][1] if place else None

    def held(self, index: int | None) -> int | None:
        """The event at whose step a label of an event is written: it, or the last before it that has one."""
        place = 0 if index is None else bisect_right(self._numbered, index)
        return self._numbered[place - 1] if place else None

    def number(self, index: int) -> int:
        return self._numbers[index]


def _number(holder: Holder) -> int | None:
    extra = (holder or {}).get("extra")
    number = extra.get("seq") if isinstance(extra, dict) else None
    return number if type(number) is int else None


def _ours(document: dict[str, Any]) -> dict[str, Any]:
    extra = document.get("extra")
    ours = extra.get("agentlab") if isinstance(extra, dict) else None
    return ours if isinstance(ours, dict) else {}


def _without_labels(extra: dict[str, Any]) -> tuple[dict[str, Any], list[_Entry]]:
    labels = extra.get("labels")
    found = list(_entries(labels)) if isinstance(labels, list) else []
    # One that cannot be read keeps the others from being read twice over: they all stay.
    if not found or len(found) != len(labels or ()):
        return extra, []
    return {**extra, "labels": _TAKEN}, found


def _entries(labels: list[Any]) -> Iterator[_Entry]:
    for label in labels:
        try:
            entry = msgspec.convert(label, _Entry)
        except (msgspec.ValidationError, UnicodeEncodeError):
            continue
        if entry.confidence is None or 0 <= entry.confidence <= 1:
            yield entry


def _with_labels(extra: dict[str, Any], labels: Sequence[dict[str, Any]]) -> dict[str, Any]:
    here = extra.get("labels")
    if not labels:
        return {key: value for key, value in extra.items() if key != "labels"} if here == _TAKEN else extra
    return {**extra, "labels": [*(here if isinstance(here, list) else ()), *labels]}


def _label(entry: _Entry, index: int | None) -> ImportedLabel:
    try:
        at = max(datetime.fromisoformat(entry.at).timestamp(), 0.0) if entry.at else 0.0
    except (ValueError, OverflowError):
        at = 0.0
    return ImportedLabel(
        name=entry.name,
        value=entry.value,
        author=entry.author,
        source=entry.source,
        seq=index,
        confidence=entry.confidence,
        guide=entry.guide,
        note=entry.note,
        at=at,
    )
