"""What classifiers say of the trials of a stored run: each trace is read once, by as many processes as are worth it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType

import msgspec

from agentlab.service.answers import OF_RUNS, author_of, name_of
from agentlab.service.causes import Found, failed
from agentlab.service.diagnosis import safety_of_trace
from agentlab.service.labelling import add_labels
from agentlab.service.side_by_side import in_order
from agentlab.tasks.types import SafetyKind
from agentlab.traces.causes.model import Cause, CauseModel, shipped_model, unknown_cause
from agentlab.traces.errors import StoreError
from agentlab.traces.reader import RunReader
from agentlab.traces.rows import AttemptRow, Label
from agentlab.traces.steps import Trace, trace_of
from agentlab.traces.taxonomy import CAUSE

PAGE = 512
"""Trials whose rows and labels are held at once. Between two pages nothing is being read, so that others can store."""
BATCH_S = 3.0
"""How long labels wait until they are stored: what a killed command has to find out again."""
BATCH = 2000


class Classified(msgspec.Struct, frozen=True):
    """What was found of one trial."""

    id: str
    labels: tuple[Label, ...] = ()
    """Of its answer and its steps."""
    found: Found | None = None
    """Which step decided its failure, where it failed and that was asked."""

    @property
    def all_labels(self) -> tuple[Label, ...]:
        cause = None if self.found is None else self.found.as_label()
        return self.labels if cause is None else (*self.labels, cause)


class _Unreadable(msgspec.Struct, frozen=True):
    """A trial that the store does not give."""

    why: str


Asked = tuple[int, tuple[str, ...]]
"""A trial, and what is asked of it."""


def classified(
    run_dir: Path,
    kinds: Sequence[str],
    *,
    processes: int | None = None,
    known: Callable[[Sequence[Label]], None] | None = None,
    model: CauseModel | None = None,
) -> Iterator[Classified]:
    """The last attempts of all trials, by number. `kinds` are those of `OF_RUNS` and `cause`, which `model` finds, or
    else the weights that come with agentlab.

    With `known` what a trial was labelled before, by the same versions, is not found out again: `known` is given those
    labels, and a trial of which nothing is left to ask is left out. Raises StoreError, ProcessLost.
    """
    with RunReader(run_dir) as reader:
        total = sum(reader.counts().values())
        if reader.upgraded:
            processes = 1  # each would make a copy of its own
        asked = _asked(reader, tuple(kinds), known, model or shipped_model())
        for each in in_order(_classifier, (run_dir, model), asked, total, processes):
            if isinstance(each, _Unreadable):
                raise StoreError(each.why)
            yield each


@contextmanager
def _classifier(run_dir: Path, model: CauseModel | None) -> Iterator[Callable[[Asked], Classified | _Unreadable]]:
    """What one process does with a trial."""
    causes = model or shipped_model()
    with RunReader(run_dir) as reader:

        def classify(asked: Asked) -> Classified | _Unreadable:
            try:
                return _classify(reader, causes, *asked)
            except StoreError as error:
                return _Unreadable(str(error))

        yield classify


def _classify(reader: RunReader, model: CauseModel, trial: int, kinds: tuple[str, ...]) -> Classified:
    row = reader.trial(trial)
    trace = trace_of(reader.events(trial, row.attempt), row)
    wanted: list[SafetyKind] = [kind for kind in OF_RUNS if kind in kinds]
    labels = safety_of_trace(trial, row.attempt, trace, row.outcome, wanted)
    asked = CAUSE in kinds and failed(row)
    return Classified(name_of(row), tuple(labels), Found(name_of(row), _cause(model, trace), row) if asked else None)


def _cause(model: CauseModel, trace: Trace) -> Cause:
    try:
        return model.find(trace)
    except Exception as error:  # noqa: BLE001  traces are hostile: one must not end what is said of the others
        note = f"the classifier failed: {type(error).__name__}: {error}"[:200]
        return unknown_cause("classifier", model.author, note)


def _asked(
    reader: RunReader,
    kinds: tuple[str, ...],
    known: Callable[[Sequence[Label]], None] | None,
    model: CauseModel,
) -> Iterator[Asked]:
    if known is None:
        for row in _paged(reader):
            yield row.trial, kinds
        return
    authors: dict[str, str] = {kind: author_of(kind) for kind in OF_RUNS if kind in kinds}
    if CAUSE in kinds:
        authors[CAUSE] = model.author
    for row in _paged(reader):
        stored = [label for label in reader.labels(row.trial) if label.attempt == row.attempt]
        told = {kind for kind in kinds if any((label.name, label.author) == (kind, authors[kind]) for label in stored)}
        if told:
            by = {authors[kind] for kind in told}
            known([label for label in stored if label.author in by])
        if left := tuple(kind for kind in kinds if kind not in told):
            yield row.trial, left


def _paged(reader: RunReader) -> Iterator[AttemptRow]:
    after = 0
    while page := list(islice(reader.trials(after=after), PAGE)):
        yield from page
        after = page[-1].trial


class Keeping:
    """Stores labels with a run from time to time, those of one trial together; at the end, or where an error or Ctrl-C
    ends it, what is left. With `run_dir` None it keeps nothing.
    """

    def __init__(self, run_dir: Path | None) -> None:
        self._run_dir = run_dir
        self._waiting: list[Label] = []
        self._since = time.monotonic()
        self.added = 0
        """Labels that were not stored before."""

    @property
    def keeps(self) -> bool:
        return self._run_dir is not None

    def add(self, labels: Iterable[Label]) -> None:
        """Raises what `add_labels` raises."""
        if self._run_dir is None:
            return
        self._waiting.extend(labels)
        if len(self._waiting) >= BATCH or time.monotonic() - self._since > BATCH_S:
            self._store()

    def _store(self) -> None:
        if self._run_dir is not None and self._waiting:
            waiting, self._waiting = self._waiting, []
            self.added += add_labels(self._run_dir, waiting, once=True)
        self._since = time.monotonic()

    def __enter__(self) -> Keeping:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store()
