"""Adding labels to a stored run: the one way in for people, detectors and classifiers once a run has ended."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from agentlab.traces.errors import RunLocked, UnknownTrial
from agentlab.traces.labels import said
from agentlab.traces.reader import RunReader
from agentlab.traces.rows import Label
from agentlab.traces.store import RunStore

PATIENCE_S = 2.0
"""How long to wait for a run's lock: another annotator holds it for some milliseconds, a live run for hours."""
_PAUSE_S = 0.02
_DIGITS = 6
"""Of a second: as far as labels agree that came by ways which write times as ISO 8601 and as numbers."""


def add_labels(run_dir: Path, labels: Iterable[Label], *, once: bool = False) -> int:
    """Append `labels` to a run that has ended, was interrupted or was killed; durable on return. Returns how many.

    All or none. Those without a time get one and the same; none is ever overwritten (`traces.labels.standing` says
    which hold). With `once`, those are left out that are stored already: equal in everything, in the time too where
    they have one.

    Raises `RunLocked` with the pid where the run is alive, `UnknownTrial` for a trial, attempt or step that is not
    stored, `ValueError` for a confidence that is no probability, `NotARun`, `SchemaTooNew`, `StoreError`.
    """
    given = list(labels)
    for label in given:
        if label.confidence is not None and not 0 <= label.confidence <= 1:
            raise ValueError(f"a confidence lies between 0 and 1, this is {label.confidence} ({label.author})")
    if not given:
        return 0
    now = time.time()
    with _opened(run_dir) as store:
        with RunReader(run_dir) as reader:
            _refuse_unknown(reader, given)
            if once:
                given = _new_ones(reader, given)
        store.label(*(label if label.at else msgspec.structs.replace(label, at=now) for label in given))
        store.flush()
    return len(given)


def _opened(run_dir: Path) -> RunStore:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return RunStore.reopen(run_dir, check=False)
        except RunLocked:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)


def _refuse_unknown(reader: RunReader, labels: list[Label]) -> None:
    known: dict[int, set[int]] = {}
    for label in labels:
        if label.trial not in known:
            known[label.trial] = {row.attempt for row in reader.attempts(label.trial)}
            if not known[label.trial]:
                reader.trial(label.trial)  # raises with the numbers that there are
        if label.attempt not in known[label.trial]:
            numbers = ", ".join(map(str, sorted(known[label.trial])))
            raise UnknownTrial(f"trial {label.trial} has no attempt {label.attempt}; there are: {numbers}")
    steps = {(label.trial, label.attempt, label.seq) for label in labels if label.seq is not None}
    for trial, attempt, seq in steps:
        if not reader.has_event(trial, attempt, seq):
            raise UnknownTrial(f"attempt {attempt} of trial {trial} has no step {seq + 1}")


def _new_ones(reader: RunReader, labels: list[Label]) -> list[Label]:
    moments: dict[tuple[object, ...], set[float]] = {}
    known = (reader.labels(trial) for trial in {label.trial for label in labels})
    for label in itertools.chain.from_iterable(known):
        moments.setdefault(said(label), set()).add(round(label.at, _DIGITS))
    new = []
    for label in labels:
        stored = moments.setdefault(said(label), set())
        at = round(label.at, _DIGITS)
        if (at not in stored) if at else not stored:
            new.append(label)
            stored.add(at or math.inf)
    return new
