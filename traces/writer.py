"""The single writer: one thread that takes what was queued, encodes it, and commits it in groups.

Callers only append to a list. A group is committed at 256 items or 20 ms after the last commit began, whichever is
first, so that a lone step is durable at once and a busy run pays one sync for many. After an error nothing more is
stored: the error reaches everyone who waits, and what was acknowledged before stays readable.
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeAlias

from agentlab.traces.artifacts import ArtifactStore
from agentlab.traces.encoding import Compressor, History, Packer
from agentlab.traces.errors import StoreError
from agentlab.traces.events import Event

GROUP_ITEMS = 256
GROUP_SECONDS = 0.02
MAX_GROUP = 2048

ATTEMPT_COLUMNS = (
    "trial", "attempt", "outcome", "value", "scores", "flags", "route",
    "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "cost_usd", "latencies_ms", "ttfts_ms",
    "sandbox_seconds", "started_at", "ended_at", "error_kind", "error_message",
)  # fmt: skip
TRIAL_COLUMNS = ("trial", "task", "sample", "epoch", "cluster", "sample_group", "attempt")
EVENT_COLUMNS = ("trial", "attempt", "seq", "type", "at", "refs", "blob")
MESSAGE_COLUMNS = ("id", "hash", "blob")
LABEL_COLUMNS = (
    "trial", "attempt", "seq", "name", "value", "confidence", "source", "author", "guide", "note", "at",
)  # fmt: skip

Row: TypeAlias = Sequence[Any]


class AttemptSource(Protocol):
    """What the writer needs to know of the attempt that an event belongs to."""

    trial: int
    attempt: int
    history: History
    announced: bool
    """Whether the store has a row of the attempt. Only the writer's thread looks at it."""

    def trial_row(self) -> Row: ...
    def open_row(self) -> Row:
        """The attempt's row while it runs."""
        ...


class Finished:
    """An attempt's end: its row in the order of `ATTEMPT_COLUMNS`."""

    __slots__ = ("row",)

    def __init__(self, row: Row) -> None:
        self.row = row


class Kept:
    """An artifact that was hashed and is still to be written."""

    __slots__ = ("data", "digest")

    def __init__(self, digest: str, data: bytes) -> None:
        self.digest = digest
        self.data = data


class LabelRows:
    """Rows of labels in the order of `LABEL_COLUMNS`: all of them are stored, or none."""

    __slots__ = ("rows",)

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows


Item: TypeAlias = "tuple[AttemptSource | None, int, Event | Finished | Kept | LabelRows]"


class Insert:
    """An INSERT of many rows a statement: a statement gives the interpreter lock away once, and not once a row."""

    _SIZES = (64, 16, 4, 1)

    def __init__(self, table: str, columns: Sequence[str], *, verb: str = "INSERT", conflict: str = "") -> None:
        row = f"({','.join('?' * len(columns))})"
        head = f"{verb} INTO {table} ({','.join(columns)}) VALUES "
        self._statements = [(size, head + ",".join([row] * size) + conflict) for size in self._SIZES]

    def run(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        start = 0
        for size, statement in self._statements:
            while len(rows) - start >= size:
                chunk = rows[start : start + size]
                connection.execute(statement, tuple(itertools.chain.from_iterable(chunk)))
                start += size


_INSERT_TRIALS = Insert(
    "trials",
    TRIAL_COLUMNS,
    conflict=" ON CONFLICT (trial) DO UPDATE SET attempt = excluded.attempt WHERE excluded.attempt > trials.attempt",
)
_INSERT_ATTEMPTS = Insert("attempts", ATTEMPT_COLUMNS, verb="INSERT OR REPLACE")
_INSERT_EVENTS = Insert("events", EVENT_COLUMNS)
_INSERT_MESSAGES = Insert("messages", MESSAGE_COLUMNS)
_INSERT_LABELS = Insert("labels", LABEL_COLUMNS)


class _Group:
    """The rows of one commit."""

    def __init__(self) -> None:
        self.trials: list[Row] = []
        self.attempts: dict[tuple[int, int], Row] = {}
        self.events: list[list[Any]] = []
        self.labels: list[Row] = []


class Writer:
    """Owns the connection, the artifacts and the thread. `put` and `durable` are what others call."""

    def __init__(self, connection: sqlite3.Connection, artifacts: ArtifactStore) -> None:
        self._connection = connection
        self._artifacts = artifacts
        last_id: int = connection.execute("SELECT coalesce(max(id), 0) FROM messages").fetchone()[0]
        self._packer = Packer(artifacts.write, last_id)
        self._compressor = Compressor()
        self._lock = threading.Lock()
        self._queue: list[Item] = []
        self._queued = 0
        self._stored = 0
        self._closing = False
        self._wake = threading.Event()
        self._full = threading.Event()
        self._settled = threading.Condition(self._lock)
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.error: StoreError | None = None
        # A daemon, so that a process that forgets to close the store can still end.
        self._thread = threading.Thread(target=self._run, name="agentlab-store", daemon=True)
        self._thread.start()

    def put(self, source: AttemptSource | None, seq: int, payload: Event | Finished | Kept | LabelRows) -> int:
        """Queue one item; never blocks. Returns the ticket that `durable` and `flush` take."""
        with self._lock:
            if self.error is not None or self._closing:
                return self._queued + 1  # a ticket that is never reached: `durable` says why
            self._queue.append((source, seq, payload))
            self._queued += 1
            ticket = self._queued
            waiting = len(self._queue)
        if waiting == 1:
            self._wake.set()
        elif waiting == GROUP_ITEMS:
            self._full.set()
        return ticket

    async def durable(self, ticket: int) -> None:
        """Return once the item of `ticket`, and all before it, would survive a power cut. Raises `StoreError`."""
        if self._stored >= ticket:
            return
        self._check()
        self._loop = loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiters.append((ticket, future))
        # The thread may have settled, and told the loop so, between the test and the line above.
        if self._stored >= ticket or self.error is not None:
            self._wake_waiters()
        await future

    def flush(self) -> None:
        """Block until everything queued so far is durable. For callers without an event loop. Raises `StoreError`."""
        with self._settled:
            ticket = self._queued
            self._settled.wait_for(lambda: self._stored >= ticket or self.error is not None)
        if self._stored < ticket:
            self._check()

    def close(self) -> None:
        """Store what is queued, end the thread and close the database. Never raises for storage: see `error`."""
        with self._lock:
            self._closing = True
        self._wake.set()
        self._full.set()
        self._thread.join()

    def _check(self) -> None:
        if self.error is not None:
            raise StoreError(str(self.error)) from self.error
        if self._closing:
            raise StoreError("the store is closed")

    # What follows runs in the thread.

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            began = time.monotonic()
            while group := self._take():
                self._settle(group)
            if self._closing and not self._queue:
                break
            if not self._closing:
                self._full.wait(max(0.0, began + GROUP_SECONDS - time.monotonic()))
            self._full.clear()
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            # The log beside the database holds what was acknowledged; the next opening moves it in.
            self._fail(error)
        self._connection.close()

    def _take(self) -> list[Item]:
        with self._lock:
            group, self._queue = self._queue[:MAX_GROUP], self._queue[MAX_GROUP:]
        return group

    def _settle(self, group: list[Item]) -> None:
        if self.error is None:
            try:
                self._store(group)
            except Exception as error:  # noqa: BLE001 - the thread's boundary: whoever waits must hear
                self._fail(error)
        with self._settled:
            if self.error is None:
                self._stored += len(group)
            self._settled.notify_all()
        if self._loop is not None and self._waiters:
            try:
                self._loop.call_soon_threadsafe(self._wake_waiters)
            except RuntimeError:
                self._loop = None  # the event loop was closed, and with it everyone who waited

    def _fail(self, error: Exception) -> None:
        if self.error is None:
            self.error = StoreError(
                f"the run could not be stored ({type(error).__name__}: {error}); it stopped and can be resumed"
            )
            self.error.__cause__ = error
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                return  # SQLite has rolled back by itself, as it does on some I/O errors

    def _store(self, items: list[Item]) -> None:
        group = self._rows(items)
        contents, self._packer.contents = self._packer.contents, []
        blobs = self._compressor.shorten([row[-1] for row in group.events] + [content[2] for content in contents])
        for row, blob in zip(group.events, blobs, strict=False):
            row[-1] = blob
        texts = blobs[len(group.events) :]
        messages = [(number, key, blob) for (number, key, _), blob in zip(contents, texts, strict=True)]
        self._artifacts.settle()
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        _INSERT_TRIALS.run(connection, group.trials)
        _INSERT_ATTEMPTS.run(connection, list(group.attempts.values()))
        _INSERT_MESSAGES.run(connection, messages)
        _INSERT_EVENTS.run(connection, group.events)
        _INSERT_LABELS.run(connection, group.labels)
        connection.execute("COMMIT")

    def _rows(self, items: Iterable[Item]) -> _Group:
        group = _Group()
        opened: list[AttemptSource] = []
        pack = self._packer.event
        for source, seq, payload in items:
            if isinstance(payload, LabelRows):
                group.labels.extend(payload.rows)
                continue
            if isinstance(payload, Kept):
                self._artifacts.write(payload.data, payload.digest)
                continue
            if source is None:
                raise StoreError("an event without an attempt")
            if not source.announced:
                source.announced = True
                group.trials.append(source.trial_row())
                opened.append(source)
            if isinstance(payload, Finished):
                group.attempts[source.trial, source.attempt] = payload.row
            else:
                blob, refs = pack(payload, source.history)
                kind = payload.__struct_config__.tag
                group.events.append([source.trial, source.attempt, seq, kind, payload.at, refs, blob])
        for source in opened:  # most short attempts have ended by now, and need no row of an attempt that runs
            if (source.trial, source.attempt) not in group.attempts:
                group.attempts[source.trial, source.attempt] = source.open_row()
        return group

    # What follows runs in the event loop.

    def _wake_waiters(self) -> None:
        stored, error = self._stored, self.error
        still: list[tuple[int, asyncio.Future[None]]] = []
        for ticket, future in self._waiters:
            if future.done():
                continue
            if ticket <= stored:
                future.set_result(None)
            elif error is not None:
                future.set_exception(StoreError(str(error)))
            else:
                still.append((ticket, future))
        self._waiters = still
