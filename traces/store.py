"""Writing a run: `RunStore` owns a run directory, `AttemptRecorder` takes the events of one attempt.

store = RunStore.create(run_dir, document)
recorder = store.attempt(trial=1, task="gsm8k", sample="test-0", epoch=1, attempt=1, route={"agent": "direct"})
recorder.record(event)
recorder.finish("scored", value=1.0)
await recorder.durable()
store.close()
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from agentlab.traces.artifacts import ArtifactStore, sync_directory, write_durably
from agentlab.traces.document import DOCUMENT, read_document
from agentlab.traces.encoding import History, plain
from agentlab.traces.errors import NotARun, StoreError
from agentlab.traces.events import SCHEMA_VERSION, Artifact, Event, Flag, ModelCall, Outcome, SandboxEnd, Usage
from agentlab.traces.lock import RunLock
from agentlab.traces.redaction import redacted
from agentlab.traces.rows import Label, LastAttempt
from agentlab.traces.versions import is_current, upgrade
from agentlab.traces.writer import Finished, Kept, LabelRows, Row, Writer

DATABASE = "run.db"
ARTIFACTS = "artifacts"


class Begun(msgspec.Struct, frozen=True):
    """Which attempt it is, and when it began."""

    trial: int
    task: str
    sample: str
    epoch: int
    attempt: int
    route: Mapping[str, Any]
    cluster: str
    group: str
    started_at: float

    def route_text(self) -> str:
        return msgspec.json.encode(self.route).decode()


class AttemptRecorder:
    """The events of one attempt, in order. Implements `Recorder`, and adds up what its events cost.

    `usage` and `cost_usd` count every model call (`cost_usd` stays None until one has a price); `latencies_ms` and
    `ttfts_ms` only the agent's own calls that were not answered from a cache; `sandbox_seconds` every box that was
    given back.
    """

    def __init__(self, writer: Writer, begun: Begun) -> None:
        self.trial = begun.trial
        self.attempt = begun.attempt
        self._begun = begun
        self.usage = Usage()
        self.cost_usd: float | None = None
        self.latencies_ms: list[float] = []
        self.ttfts_ms: list[float] = []
        self.sandbox_seconds = 0.0
        self.events: list[Event] = []
        """What was recorded so far, for those who look at a trace as it ends: the store need not be read for it."""
        self.history = History()
        self.announced = False
        self._writer = writer
        self._seq = 0
        self._ticket = 0

    def record(self, event: Event) -> None:
        """Queue `event`. Cheap, never blocks; not durable before `durable` returns. One attempt's events come from
        one thread.
        """
        if isinstance(event, ModelCall):
            self._add(event)
        elif isinstance(event, SandboxEnd):
            self.sandbox_seconds += event.seconds
        self.events.append(event)
        seq = self._seq
        self._seq = seq + 1
        self._ticket = self._writer.put(self, seq, event)

    async def durable(self) -> None:
        """Return once everything recorded so far would survive a power cut. Raises `StoreError` if it cannot be
        stored.
        """
        await self._writer.durable(self._ticket)

    def artifact(self, data: bytes, media_type: str, name: str = "") -> str:
        """Keep `data` under its content hash, record an `Artifact` event, and return the sha256 in hex."""
        digest = hashlib.sha256(data).hexdigest()
        self._writer.put(self, 0, Kept(digest, data))
        self.record(Artifact(at=time.time(), sha256=digest, media_type=media_type, name=name, size=len(data)))
        return digest

    def finish(
        self,
        outcome: Outcome,
        value: float | None = None,
        scores: Mapping[str, float] | None = None,
        flags: Sequence[Flag] = (),
        *,
        sandbox_seconds: float | None = None,
        error: tuple[str, str] | None = None,
        ended_at: float | None = None,
    ) -> None:
        """Queue the attempt's end; `durable` waits for it. `sandbox_seconds` is that of the recorded events unless
        given; `error` is (kind, message) where the outcome is not `scored`; `ended_at` (now, unless given) is in
        seconds since the epoch.
        """
        row = (
            self.trial,
            self.attempt,
            outcome,
            value,
            msgspec.json.encode(dict(scores)).decode() if scores else None,
            msgspec.json.encode(list(flags)).decode() if flags else None,
            self._begun.route_text(),
            self.usage.input_tokens,
            self.usage.output_tokens,
            self.usage.cached_tokens,
            self.usage.reasoning_tokens,
            self.cost_usd,
            _floats(self.latencies_ms),
            _floats(self.ttfts_ms),
            self.sandbox_seconds if sandbox_seconds is None else sandbox_seconds,
            self._begun.started_at,
            time.time() if ended_at is None else ended_at,
            plain(error[0]) if error else None,
            plain(error[1]) if error else None,
        )
        self._ticket = self._writer.put(self, self._seq, Finished(row))

    def trial_row(self) -> Row:
        begun = self._begun
        names = (plain(begun.task), plain(begun.sample), begun.epoch, plain(begun.cluster), plain(begun.group))
        return (self.trial, *names, self.attempt)

    def open_row(self) -> Row:
        """The attempt's row while it runs: no outcome yet."""
        ended = (None, None, None, None)
        totals = (0, 0, 0, 0, None, None, None, 0.0)
        began = (self._begun.route_text(), *totals, self._begun.started_at)
        return (self.trial, self.attempt, *ended, *began, None, None, None)

    def _add(self, call: ModelCall) -> None:
        self.usage += call.usage
        if call.cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + call.cost_usd
        if call.purpose == "agent" and not call.cached:
            self.latencies_ms.append(call.latency_ms)
            if call.ttft_ms is not None:
                self.ttfts_ms.append(call.ttft_ms)


def _floats(values: Sequence[float]) -> bytes | None:
    return array("f", values).tobytes() if values else None


class RunStore:
    """The single writer of a run directory. Make one with `create` or `reopen`, and close it: it is a context
    manager.
    """

    def __init__(self, run_dir: Path, lock: RunLock, connection: sqlite3.Connection) -> None:
        self.run_dir = run_dir
        self._lock = lock
        self._writer = Writer(connection, ArtifactStore(run_dir / ARTIFACTS))

    @classmethod
    def create(cls, run_dir: Path, document: Mapping[str, Any]) -> RunStore:
        """Make a run in `run_dir`, which must not hold one yet. Raises `StoreError`, `RunLocked`."""
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{run_dir}: {error.strerror}") from error
        if (run_dir / DOCUMENT).exists():
            raise StoreError(f"{run_dir} holds a run already")
        return cls._open(run_dir, document)

    @classmethod
    def reopen(cls, run_dir: Path, *, check: bool = True) -> RunStore:
        """Continue a run. An older store is upgraded. Raises `NotARun`, `RunLocked`, `SchemaTooNew`, `StoreError`.

        `check` looks through the whole database for damage first, some 3 ms a megabyte.
        """
        if not (run_dir / DOCUMENT).is_file():
            raise NotARun(run_dir)
        return cls._open(run_dir, None, check=check)

    @classmethod
    def _open(cls, run_dir: Path, document: Mapping[str, Any] | None, *, check: bool = True) -> RunStore:
        lock = RunLock(run_dir)
        connection: sqlite3.Connection | None = None
        try:
            if document is None:
                _check(run_dir / DATABASE, whole=check)
            connection = _connect(run_dir / DATABASE)
            if document is not None:
                _write_document(run_dir, document)
            return cls(run_dir, lock, connection)
        except (OSError, sqlite3.Error, StoreError) as error:
            if connection is not None:
                connection.close()
            lock.release()
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{run_dir}: the run could not be opened for writing: {error}") from error

    def attempt(
        self,
        trial: int,
        task: str,
        sample: str,
        epoch: int,
        attempt: int,
        route: Mapping[str, Any],
        *,
        cluster: str = "",
        group: str = "",
        started_at: float | None = None,
    ) -> AttemptRecorder:
        """A recorder for one attempt, begun now unless `started_at` says when. Nothing is stored before its first event
        or its end.
        """
        began = time.time() if started_at is None else started_at
        begun = Begun(trial, task, sample, epoch, attempt, route, cluster, group, began)
        return AttemptRecorder(self._writer, begun)

    def label(self, *labels: Label) -> None:
        """Queue judgements, all of which are stored or none; `flush` or `close` makes them durable."""
        if labels:
            self._writer.put(None, 0, LabelRows([_label_row(label) for label in labels]))

    def flush(self) -> None:
        """Block until everything queued so far is durable. Raises `StoreError`."""
        self._writer.flush()

    def last_attempts(self) -> Iterator[LastAttempt]:
        """Every trial with its last attempt, by number: what resuming decides on."""
        self.flush()
        query = (
            "SELECT t.trial, t.task, t.sample, t.epoch, t.attempt, a.outcome FROM trials t"
            " LEFT JOIN attempts a ON a.trial = t.trial AND a.attempt = t.attempt ORDER BY t.trial"
        )
        # A connection of its own: the writer's is inside transactions of the other thread.
        uri = f"{(self.run_dir / DATABASE).resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            for row in connection.execute(query):
                yield LastAttempt(*row)

    def finished(self) -> set[tuple[str, str, int]]:
        """(task, sample, epoch) of the trials whose last attempt was scored."""
        return {(last.task, last.sample, last.epoch) for last in self.last_attempts() if last.outcome == "scored"}

    def document(self) -> dict[str, Any]:
        """What `run.json` holds. Raises `NotARun` where it is damaged."""
        return read_document(self.run_dir)

    def write_document(self, document: Mapping[str, Any]) -> None:
        """Replace `run.json` in one step, secrets redacted. Raises `StoreError`."""
        try:
            _write_document(self.run_dir, document)
        except OSError as error:
            raise StoreError(f"{self.run_dir / DOCUMENT} could not be written: {error}") from error

    @property
    def error(self) -> StoreError | None:
        """Why storing stopped, or None."""
        return self._writer.error

    def close(self) -> None:
        """Store what is queued, close the files and give the lock back. Blocks for some milliseconds; safe to call
        twice.
        """
        self._writer.close()
        self._lock.release()

    def __enter__(self) -> RunStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _label_row(label: Label) -> Row:
    texts = (plain(text) for text in (label.name, label.value))
    who = (plain(text) for text in (label.source, label.author, label.guide, label.note))
    return (label.trial, label.attempt, label.seq, *texts, label.confidence, *who, label.at or time.time())


def _write_document(run_dir: Path, document: Mapping[str, Any]) -> None:
    text = json.dumps(redacted(document), indent=2, ensure_ascii=True, default=str)
    write_durably(run_dir / DOCUMENT, f"{text}\n".encode())
    sync_directory(run_dir)


def _check(path: Path, *, whole: bool) -> None:
    """Whether a run can go on from its database. Raises `StoreError` where it is gone or damaged, `sqlite3.Error`."""
    if not path.is_file() or not path.stat().st_size:
        what = "empty" if path.is_file() else "missing"
        raise StoreError(f"{path} is {what}: the trials are lost, start a new run")
    if not whole:
        return
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        try:
            found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            found = str(error)
    if found != "ok":
        raise StoreError(f"{path} is damaged, and the run cannot go on from it: {' '.join(found.split())}")


def _connect(path: Path) -> sqlite3.Connection:
    """Open the database for writing, with this version's tables. Raises `StoreError`, `sqlite3.Error`."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
    try:
        if _is_empty(connection):
            _make_tables(connection)
        elif not is_current(connection, path):
            connection.close()
            upgrade(path)
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except (sqlite3.Error, StoreError):
        connection.close()
        raise
    return connection


def _is_empty(connection: sqlite3.Connection) -> bool:
    count: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return count == 0


def _make_tables(connection: sqlite3.Connection) -> None:
    script = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
    connection.executescript(f"BEGIN;\n{script}COMMIT;")
    connection.execute("INSERT INTO meta (key, value) VALUES ('events', ?)", (str(SCHEMA_VERSION),))
