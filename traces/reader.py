"""Reading a run without ever writing to it, also while it runs and also from a copy on a read-only disk."""

from __future__ import annotations

import difflib
import itertools
import operator
import sqlite3
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import msgspec

from agentlab.traces.artifacts import artifact_path
from agentlab.traces.catalogue import resolve_run
from agentlab.traces.columns import ColumnBuilder, Columns, Totals
from agentlab.traces.conversation import Conversation
from agentlab.traces.document import read_document
from agentlab.traces.encoding import decode_event
from agentlab.traces.errors import NotARun, StoreError, UnknownTrial
from agentlab.traces.events import FLAGS, OUTCOMES, Flag, ModelCall, Outcome, Usage
from agentlab.traces.labels import standing
from agentlab.traces.rows import AttemptRow, Label, LabelledTrial, StoredEvent
from agentlab.traces.store import ARTIFACTS, DATABASE
from agentlab.traces.versions import is_current, upgraded_copy

__all__ = ["Columns", "RunReader", "StoredEvent", "Totals", "resolve_run", "resolve_trial"]

MAX_DIGITS = 18
"""Of a trial's number: more do not fit where it is stored."""
_ATTEMPTS = (
    "SELECT t.trial, t.task, t.sample, t.epoch, t.cluster, t.sample_group, a.attempt, a.outcome, a.value, a.scores,"
    " a.flags, a.route, a.input_tokens, a.output_tokens, a.cached_tokens, a.reasoning_tokens, a.cost_usd,"
    " a.latencies_ms, a.ttfts_ms, a.sandbox_seconds, a.started_at, a.ended_at, a.error_kind, a.error_message,"
    " a.attempt = t.attempt FROM trials t JOIN attempts a ON a.trial = t.trial"
)
_FINAL = "a.attempt = t.attempt"
_LAST = " FROM trials t JOIN attempts a ON a.trial = t.trial AND a.attempt = t.attempt WHERE t.task = ?"
_EPOCHS = "SELECT coalesce(max(epoch), 1) FROM trials WHERE task = ?"
_COLUMNS = (
    "SELECT {sample}, t.epoch, t.cluster, t.sample_group, a.value, a.scores, a.latencies_ms, a.ttfts_ms"
    f"{_LAST} ORDER BY t.trial"
)
_RANK = "dense_rank() OVER (ORDER BY t.sample) - 1"
_ALONE = "row_number() OVER (ORDER BY t.trial) - 1"
"""Where each sample has one trial, nothing has to be sorted to tell them apart."""
_TOTALS = (
    "SELECT count(*), coalesce(sum(a.input_tokens), 0), coalesce(sum(a.output_tokens), 0), sum(a.cost_usd),"
    f" coalesce(sum(a.sandbox_seconds), 0.0){_LAST}"
)
_FLAGS = f"SELECT a.flags, count(*){_LAST} AND a.flags IS NOT NULL GROUP BY 1"
_OUTCOMES = (
    "SELECT coalesce(a.outcome, 'running'), count(*) FROM trials t"
    " JOIN attempts a ON a.trial = t.trial AND a.attempt = t.attempt"
)
_LABELLED = (
    "SELECT t.trial, t.task, t.sample, t.epoch, t.cluster, t.attempt, l.trial, l.attempt, l.seq, l.name, l.value,"
    " l.confidence, l.source, l.author, l.guide, l.note, l.at"
    " FROM trials t JOIN labels l ON l.trial = t.trial AND l.attempt = t.attempt ORDER BY t.trial, l.id"
)
_LABELS = "SELECT trial, attempt, seq, name, value, confidence, source, author, guide, note, at FROM labels"


class RunReader:
    """One run, read only. Close it, or use it as a context manager.

    A run that an older version wrote is read through an upgraded copy. Raises `NotARun`, `SchemaTooNew`, `StoreError`.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._document = read_document(run_dir)
        path = run_dir / DATABASE
        if not path.is_file():
            raise NotARun(run_dir, "there is no run.db in it")
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._connection = _open_read_only(path)
        try:
            current = is_current(self._connection, path)
            if not current:
                self._connection.close()
                self._copy = tempfile.TemporaryDirectory(prefix="agentlab-")
                self._connection = _open_read_only(upgraded_copy(path, Path(self._copy.name)))
        except StoreError:
            self.close()
            raise

    def document(self) -> dict[str, Any]:
        """What `run.json` held when the reader was opened."""
        return self._document

    @property
    def upgraded(self) -> bool:
        """Whether a copy is read, for an older version wrote the run."""
        return self._copy is not None

    def trials(
        self, *, task: str | None = None, final: bool = True, errors_only: bool = False, after: int = 0
    ) -> Iterator[AttemptRow]:
        """The last attempt of each trial, by number, those behind number `after`; with `final=False` every attempt;
        with `errors_only` those that were not scored.
        """
        where = [_FINAL] if final else []
        if errors_only:
            where.append("a.outcome IS NOT 'scored'")
        parameters: list[Any] = []
        if task is not None:
            where.append("t.task = ?")
            parameters.append(task)
        if after:
            where.append("t.trial > ?")
            parameters.append(after)
        clause = f" WHERE {' AND '.join(where)}" if where else ""
        for row in self._rows(f"{_ATTEMPTS}{clause} ORDER BY t.trial, a.attempt", parameters):
            yield _attempt_row(row)

    def attempts(self, trial: int) -> list[AttemptRow]:
        """Every attempt of a trial, the first one first; empty where there is no such trial."""
        rows = self._rows(f"{_ATTEMPTS} WHERE t.trial = ? ORDER BY a.attempt", (trial,))
        return [_attempt_row(row) for row in rows]

    def trial(self, trial: int) -> AttemptRow:
        """The last attempt of a trial. Raises `UnknownTrial`."""
        for row in self._rows(f"{_ATTEMPTS} WHERE t.trial = ? AND {_FINAL}", (trial,)):
            return _attempt_row(row)
        last = next(self._rows("SELECT max(trial) FROM trials"))[0]
        what = f"its trials are 1 to {last}" if last else "it has none yet"
        raise UnknownTrial(f"there is no trial {trial} in {self.run_dir.name}: {what}")

    def events(
        self, trial: int, attempt: int | None = None, *, types: Iterable[str] | None = None, images: bool = False
    ) -> Iterator[StoredEvent]:
        """The trace of an attempt (None: the last one) in order, messages in place.

        `types` (for example `{"score", "error"}`) leaves the others out, unread. With `images` the bytes of images
        are read from the artifacts, else only their hashes are given.
        """
        wanted = None if types is None else tuple(types)
        clause = "" if wanted is None else f" AND type IN ({','.join('?' * len(wanted))})"
        number = "(SELECT attempt FROM trials WHERE trial = ?)" if attempt is None else "?"
        where = f"trial = ? AND attempt = {number}{clause}"
        query = f"SELECT seq, refs, blob FROM events WHERE {where} ORDER BY seq"  # noqa: S608 - put together from constants
        rows = self._rows(query, (trial, trial if attempt is None else attempt, *(wanted or ())))
        conversation = Conversation(self._connection, self._artifact_bytes if images else None)
        for seq, refs, blob in rows:
            event = decode_event(blob)
            if isinstance(event, ModelCall) and refs is not None:
                event = conversation.filled(event, refs)
            else:
                event = conversation.with_images(event)
            yield StoredEvent(seq, event)

    def has_event(self, trial: int, attempt: int, seq: int) -> bool:
        """Whether an attempt has an event at this place, which a label may be about."""
        query = "SELECT 1 FROM events WHERE trial = ? AND attempt = ? AND seq = ?"
        return next(self._rows(query, (trial, attempt, seq)), None) is not None

    def event_counts(self) -> dict[tuple[int, int], int]:
        """How many events each attempt has, by (trial, attempt); those that have none are left out."""
        query = "SELECT trial, attempt, count(*) FROM events GROUP BY trial, attempt"
        return {(trial, attempt): count for trial, attempt, count in self._rows(query)}

    def artifact(self, digest: str) -> bytes:
        """The bytes of an artifact. Raises `StoreError` where it is missing."""
        try:
            return artifact_path(self.run_dir / ARTIFACTS, digest).read_bytes()
        except (OSError, ValueError) as error:
            raise StoreError(f"artifact {digest} cannot be read: {error}") from error

    def labels(self, trial: int | None = None) -> Iterator[Label]:
        """The labels of a trial (None: of the run) in the order they were given."""
        query = _LABELS + ("" if trial is None else " WHERE trial = ?") + " ORDER BY id"
        for row in self._rows(query, () if trial is None else (trial,)):
            yield _label(row)

    def labelled(self) -> Iterator[tuple[LabelledTrial, list[Label]]]:
        """The trials whose last attempt has labels that hold, by number, each with them. One is held at a time."""
        rows = ((LabelledTrial(*row[:6]), _label(row[6:])) for row in self._rows(_LABELLED))
        for trial, found in itertools.groupby(rows, key=operator.itemgetter(0)):
            labels = standing(label for _, label in found)
            if labels:
                yield trial, labels

    def tasks(self) -> list[str]:
        """The tasks that have trials, in the order of their first trial."""
        return [
            task for task, _ in self._rows("SELECT task, min(trial) AS first FROM trials GROUP BY task ORDER BY first")
        ]

    def counts(self, task: str | None = None) -> dict[str, int]:
        """How many trials ended in each outcome (`running`: not finished, or killed)."""
        query = _OUTCOMES + ("" if task is None else " WHERE t.task = ?") + " GROUP BY 1"
        found = dict(self._rows(query, () if task is None else (task,)))
        return {outcome: found.get(outcome, 0) for outcome in (*OUTCOMES, "running")}

    def columns(self, task: str) -> Columns:
        """The last attempts of a task as numpy arrays, read row by row: nothing of Python's is held for each trial."""
        column = ColumnBuilder()
        epochs = next(self._rows(_EPOCHS, (task,)))[0]
        query = _COLUMNS.format(sample=_RANK if epochs > 1 else _ALONE)
        for row in self._rows(query, (task,)):
            column.add(row)
        return column.columns()

    def totals(self, task: str) -> Totals:
        """Sums over the last attempts of a task."""
        trials, fresh, out, cost, seconds = next(self._rows(_TOTALS, (task,)))
        flags: dict[str, int] = {}
        for text, count in self._rows(_FLAGS, (task,)):
            for flag in _flags(text):
                flags[flag] = flags.get(flag, 0) + count
        ordered: dict[str, int] = {flag: flags[flag] for flag in FLAGS if flag in flags}
        return Totals(trials, self.counts(task), ordered, fresh, out, cost, seconds)

    def close(self) -> None:
        self._connection.close()
        if self._copy is not None:
            self._copy.cleanup()

    def __enter__(self) -> RunReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _artifact_bytes(self, digest: str) -> bytes:
        try:
            return self.artifact(digest)
        except StoreError:
            return b""  # a trace without its pictures is still worth reading; the hash says what is missing

    def _rows(self, query: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._connection.execute(query, parameters)
        except sqlite3.Error as error:
            raise StoreError(f"{self.run_dir / DATABASE} cannot be read: {error}") from error


def resolve_trial(reader: RunReader, ref: str) -> int:
    """The number of a trial given as that number or as `TASK/SAMPLE@EPOCH` (`@EPOCH` may be left out where there is
    one).

    Raises `UnknownTrial` with near matches.
    """
    if ref.isascii() and ref.isdigit() and len(ref) <= MAX_DIGITS:
        return reader.trial(int(ref)).trial
    names = {f"{row.task}/{row.sample}@{row.epoch}": row.trial for row in reader.trials()}
    for name in (ref, f"{ref}@1"):
        if name in names:
            return names[name]
    of_sample = [name for name in names if name.partition("/")[2].rpartition("@")[0] == ref]
    near = tuple(of_sample[:3] or difflib.get_close_matches(ref[:1000], names, n=3, cutoff=0.5))
    hint = f"; did you mean {', '.join(near)}?" if near else ": give a number or TASK/SAMPLE@EPOCH"
    raise UnknownTrial(f"there is no trial {ref[:200]} in {reader.run_dir.name}{hint}", near)


def _open_read_only(path: Path) -> sqlite3.Connection:
    """Open without writing. A finished run on a read-only disk has no log beside it and may be opened as immutable."""
    uri = path.resolve().as_uri()
    last: sqlite3.Error | None = None
    for options in ("mode=ro", "mode=ro&immutable=1"):
        connection = sqlite3.connect(f"{uri}?{options}", uri=True, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            connection.close()
            last = error
            if _has_log(path):
                break  # immutable would leave out what is in the log
        else:
            return connection
    raise StoreError(f"{path} cannot be read: {last}")


def _has_log(path: Path) -> bool:
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _attempt_row(row: tuple[Any, ...]) -> AttemptRow:
    (trial, task, sample, epoch, cluster, group, attempt, outcome, value, scores, flags, route, *rest) = row
    (fresh, out, cached, reasoning, cost, latencies, ttfts, seconds, started, ended, kind, message, final) = rest
    return AttemptRow(
        trial=trial,
        task=task,
        sample=sample,
        epoch=epoch,
        cluster=cluster,
        group=group,
        attempt=attempt,
        outcome=cast("Outcome | None", outcome),
        value=value,
        scores=msgspec.json.decode(scores) if scores else {},
        flags=_flags(flags),
        route=msgspec.json.decode(route),
        usage=Usage(fresh, out, cached, reasoning),
        cost_usd=cost,
        latencies_ms=_floats(latencies),
        ttfts_ms=_floats(ttfts),
        sandbox_seconds=seconds,
        started_at=started,
        ended_at=ended,
        error_kind=kind or "",
        error_message=message or "",
        final=bool(final),
    )


def _flags(text: str | None) -> tuple[Flag, ...]:
    return tuple(msgspec.json.decode(text)) if text else ()


def _label(row: tuple[Any, ...]) -> Label:
    trial, attempt, seq, name, value, confidence, source, author, guide, note, at = row
    return Label(
        trial=trial,
        attempt=attempt,
        seq=seq,
        name=name,
        value=value,
        confidence=confidence,
        source=source,
        author=author,
        guide=guide,
        note=note,
        at=at,
    )


def _floats(blob: bytes | None) -> tuple[float, ...]:
    return tuple(array("f", blob)) if blob else ()
