"""Labels as files: JSON Lines or CSV, a label a row, out of a run and into one."""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from agentlab.service.yaml_fields import ConfigError
from agentlab.traces.artifacts import sync_directory, write_durably
from agentlab.traces.errors import UnknownTrial
from agentlab.traces.reader import RunReader, resolve_trial
from agentlab.traces.rows import AttemptRow, Label, LabelSource

_MAX_BYTES = 256 << 20
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
"""How a cell begins that a spreadsheet would compute, or one that was kept from it."""


_Number = Annotated[int, msgspec.Meta(ge=-(1 << 53), le=1 << 53)]
"""More do not fit where they are stored."""


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One label in a file. A trial is named by its number, or by task, sample and epoch, or by both alike."""

    run: str = ""
    trial: _Number | None = None
    attempt: _Number | None = None
    """None: the last one."""
    task: str = ""
    sample: str = ""
    epoch: _Number = 1
    step: _Number | None = None
    """Counted from 1, as `traces show` does; None: the whole trial."""
    name: str
    value: str
    """Empty: taken back."""
    source: LabelSource = "person"
    author: str
    guide: str = ""
    confidence: float | None = None
    note: str = ""
    at: float | None = None
    """Seconds since the epoch; None: when it is imported."""


FIELDS = Row.__struct_fields__


def written(reader: RunReader, form: str) -> Iterator[str]:
    """Every label of a run, those too that no longer hold, as lines of `jsonl` or `csv`."""
    rows = (_row(reader, label) for label in _with_attempts(reader))
    if form == "jsonl":
        for row in rows:
            yield f"{json.dumps(row)}\n"
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _harmless(value) if isinstance(value, str) else value for key, value in row.items()})
        if text.tell() > 1 << 16:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()


def write_labels(reader: RunReader, path: Path) -> int:
    """Put the labels of a run into a file, whole or not at all, and say how many they are.

    Raises ConfigError for another ending, OSError.
    """
    form = form_of(path)
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}")
    write_durably(path, "".join(written(reader, form)).encode())
    sync_directory(path.parent)
    return sum(1 for _ in reader.labels())


def form_of(path: Path) -> str:
    """`jsonl` or `csv`, from a file's name. Raises ConfigError."""
    form = path.suffix.lower().removeprefix(".")
    if form not in ("jsonl", "csv"):
        raise ConfigError(f"{path}: labels are written to and read from .jsonl and .csv")
    return form


def _with_attempts(reader: RunReader) -> Iterator[tuple[Label, AttemptRow]]:
    known: dict[int, dict[int, AttemptRow]] = {}
    for label in reader.labels():
        if label.trial not in known:
            known = {label.trial: {row.attempt: row for row in reader.attempts(label.trial)}}
        yield label, known[label.trial][label.attempt]


def _row(reader: RunReader, found: tuple[Label, AttemptRow]) -> dict[str, Any]:
    label, row = found
    return {
        "run": reader.run_dir.name,
        "trial": label.trial,
        "attempt": label.attempt,
        "task": row.task,
        "sample": row.sample,
        "epoch": row.epoch,
        "step": None if label.seq is None else label.seq + 1,
        "name": label.name,
        "value": label.value,
        "source": label.source,
        "author": label.author,
        "guide": label.guide,
        "confidence": label.confidence,
        "note": label.note,
        "at": label.at,
    }


def _harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; `_as_typed` gives it back."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _as_typed(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def read_labels(reader: RunReader, path: Path) -> list[Label]:
    """The labels in a file, for the trials of this run.

    Raises ConfigError with the line for what cannot be read, and for trials, attempts and steps that the run has not;
    OSError.
    """
    form = form_of(path)
    if path.stat().st_size > _MAX_BYTES:
        raise ConfigError(f"{path}: more than {_MAX_BYTES >> 20} MB of labels")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: this is not UTF-8: {error.reason} at byte {error.start}") from None
    resolver = _Resolver(reader)
    labels = []
    for line, fields in _jsonl(text, path) if form == "jsonl" else _csv(text, path):
        try:
            labels.append(resolver.label(_converted(fields, strict=form == "jsonl")))
        except (ConfigError, UnknownTrial) as error:
            raise ConfigError(f"{path}:{line}: {error}") from None
    return labels


def _jsonl(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, msgspec.json.decode(line)
            except (msgspec.DecodeError, RecursionError) as error:
                raise ConfigError(f"{path}:{number}: this is not JSON: {error}") from None


def _csv(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(_MAX_BYTES)  # a note may be longer than the 128 KiB that are usual; the file is bounded
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        heading = next(reader, [])
        if twice := [name for name, count in Counter(heading).items() if count > 1]:
            raise ConfigError(f"{path}:1: two columns are called {twice[0][:40]!r}")
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(heading):
                said = f"{len(cells)} cells below {len(heading)} headings"
                raise ConfigError(f"{path}:{reader.line_num}: {said}")
            # `value` and `note` may be empty and mean it; elsewhere an empty cell says nothing.
            typed = {key: _as_typed(cell) for key, cell in zip(heading, cells, strict=True)}
            yield reader.line_num, {key: cell for key, cell in typed.items() if cell or key in ("value", "note")}
    except csv.Error as error:
        raise ConfigError(f"{path}:{reader.line_num}: this is not CSV: {error}") from None


def _converted(fields: Any, *, strict: bool) -> Row:
    if isinstance(fields, dict):
        _refuse_unknown_fields(fields)
    try:
        row = msgspec.convert(fields, Row, strict=strict)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error)) from None
    for field in ("name", "value", "author", "guide"):
        text = getattr(row, field)
        if not text.isprintable() or (not text.strip() and field in ("name", "author")):
            raise ConfigError(f"{field} is empty, or not of printable characters")
    if row.confidence is not None and not 0 <= row.confidence <= 1:
        raise ConfigError(f"confidence lies between 0 and 1, this is {row.confidence}")
    if row.at is not None and not 0 <= row.at < 1e11:
        raise ConfigError(f"at is in seconds since the epoch, this is {row.at}")
    return row


def _refuse_unknown_fields(fields: Iterable[Any]) -> None:
    for field in fields:
        if field not in FIELDS:
            near = difflib.get_close_matches(str(field), FIELDS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(FIELDS)}"
            raise ConfigError(f"there is no field {str(field)[:40]!r}; {hint}")


class _Resolver:
    """Finds what rows are about in one run."""

    def __init__(self, reader: RunReader) -> None:
        self._reader = reader
        self._attempts: dict[int, list[int]] = {}
        self._numbers: dict[tuple[str, str, int], int] = {
            (row.task, row.sample, row.epoch): row.trial for row in reader.trials()
        }
        self._known = set(self._numbers.values())

    def label(self, row: Row) -> Label:
        """The label that a row is. Raises UnknownTrial, ConfigError."""
        trial = self._trial(row)
        if trial not in self._attempts:
            self._attempts[trial] = [found.attempt for found in self._reader.attempts(trial)]
        attempts = self._attempts[trial]
        attempt = attempts[-1] if row.attempt is None else row.attempt
        if attempt not in attempts:
            raise UnknownTrial(f"trial {trial} has no attempt {attempt}; there are: {', '.join(map(str, attempts))}")
        seq = None if row.step is None else row.step - 1
        if seq is not None and not self._reader.has_event(trial, attempt, seq):
            raise UnknownTrial(f"attempt {attempt} of trial {trial} has no step {row.step}")
        return Label(
            trial=trial,
            attempt=attempt,
            seq=seq,
            name=row.name,
            value=row.value,
            source=row.source,
            author=row.author,
            guide=row.guide,
            confidence=row.confidence,
            note=row.note,
            at=row.at or 0.0,
        )

    def _trial(self, row: Row) -> int:
        named = f"{row.task}/{row.sample}@{row.epoch}"
        number = self._numbers.get((row.task, row.sample, row.epoch))
        if row.sample and number is None:
            return resolve_trial(self._reader, named)  # raises with near matches
        if row.trial is None:
            if number is None:
                raise ConfigError("a label names its trial, or its task, sample and epoch")
            return number
        if row.trial not in self._known:
            return self._reader.trial(row.trial).trial  # raises with the numbers that there are
        if number is not None and number != row.trial:
            raise ConfigError(f"trial {row.trial} of this run is not {named}, which is trial {number}")
        return row.trial
