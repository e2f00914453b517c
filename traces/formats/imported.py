"""What a reader of a foreign format gives: one trace of someone else's, as plain data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from agentlab.traces.errors import FormatError
from agentlab.traces.events import Event, Flag, Outcome, Usage
from agentlab.traces.rows import LabelSource

MAX_FILE = 256 << 20
"""Bytes of a file that is one JSON document, for which several times as much memory is taken."""
MAX_NOTE = 2000
"""Characters of a label's note."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a record stands."""

    file: str
    """The name of its file as it was found below what is imported."""
    record: str = ""
    """Its place in the file, for people: `line 3`, `item 3`; empty where the file is one record."""
    collection: str = ""
    """What the records belong to together: the file that holds several, or the folder of files that hold one each."""
    folder: Path | None = None
    """Where files that the record names by their paths would lie."""

    @property
    def stem(self) -> str:
        """The file's name without its folders and endings of formats."""
        name = self.file.rpartition("/")[2]
        for ending in (".json", ".jsonl", ".traj", ".eval"):
            name = name.removesuffix(ending)
        return name.removesuffix(".traj")

    def within(self, record: str) -> Source:
        """A part of this record."""
        return msgspec.structs.replace(self, record=f"{self.record}, {record}" if self.record else record)

    def error(self, what: str, field: str = "") -> FormatError:
        """The error that names this place."""
        return FormatError(self.file, self.record, what, field)


class ImportedLabel(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody else found in a trace, or in a step of it."""

    name: str
    value: str
    author: str
    """Whose labels these are."""
    source: LabelSource = "person"
    seq: int | None = None
    """The step, counted in events from 0; None: the whole."""
    confidence: float | None = None
    guide: str = ""
    note: str = ""
    at: float = 0.0
    """When it was given, seconds since the epoch; 0: unknown."""


class ImportedTrace(msgspec.Struct, frozen=True, kw_only=True):
    """One foreign trace. Events whose time is not known have `at` 0."""

    format: str
    source: Source
    task: str
    sample: str
    agent: str = ""
    model: str = ""
    events: tuple[Event, ...]
    """Turns and tool calls, one a foreign turn: where the format is a flat list, an event's place is the turn's."""
    value: float | None = None
    """The score that stands in the file; None where it holds none."""
    scores: dict[str, float] = {}
    target: str = ""
    answer: str = ""
    explanation: str = ""
    flags: tuple[Flag, ...] = ()
    outcome: Outcome | None = None
    """Set where the file says that the trial ended in an error; None: a score, or none known."""
    error: tuple[str, str] | None = None
    """(kind, message) of that error."""
    usage: Usage = Usage()
    cost_usd: float | None = None
    labels: tuple[ImportedLabel, ...] = ()
    diagnosed: bool = False
    """Detectors have looked at it where it comes from, and what they found is among `labels`."""
    rest: dict[str, Any] = {}
    """What the file says beyond this, by its own names. Nothing is thrown away."""
    unmapped: tuple[str, ...] | None = None
    """The fields that no event holds, where they are not simply those of `rest`."""


def is_list_of(value: Any, *keys: str) -> bool:
    """Whether `value` is a list whose first item is an object with these keys."""
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, dict) and all(key in first for key in keys)


def rest_of(record: Mapping[str, Any], *known: str) -> dict[str, Any]:
    """The fields of `record` that are not `known` and say something."""
    return {key: value for key, value in record.items() if key not in known and value not in (None, "", [], {})}


def text_of(value: Any) -> str:
    """A foreign value as text; empty for none."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=repr)


def number_of(value: Any, source: Source, field: str) -> float | None:
    """A foreign number; None for none. Raises FormatError for what is no finite number."""
    if value is None:
        return None
    if (number := finite_of(value)) is not None:
        return number
    raise source.error(f"a number is expected, and it is {text_of(value)[:60]!r}", field)


def finite_of(value: Any) -> float | None:
    """A foreign value as a number; None for what is no number, or no finite one."""
    try:
        number = float(value) if isinstance(value, (int, float)) else math.nan
    except OverflowError:  # an integer beyond every float
        return None
    return number if math.isfinite(number) else None
