"""What can go wrong with a stored run. One family, so that the service has one thing to catch at this boundary."""

from __future__ import annotations

from pathlib import Path


class StoreError(Exception):
    """A run cannot be stored or read: disk full, I/O error, a damaged file. What was acknowledged before stays
    readable.
    """


class StoringStopped(StoreError):  # noqa: N818 - the name says what is the matter
    """Storing failed while the run was under way, and the run with it. It can be resumed once there is room."""


class RunLocked(StoreError):  # noqa: N818 - the name says what is the matter
    """Another process writes this run. `pid` is its process id, 0 where the lock file does not say."""

    def __init__(self, path: Path, pid: int) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(f"{path}: this run is alive, {who} writes it")
        self.path = path
        self.pid = pid


class NotARun(StoreError):  # noqa: N818 - the name says what is the matter
    """The path holds no run: there is no readable `run.json`."""

    def __init__(self, path: Path, reason: str = "there is no run.json in it") -> None:
        super().__init__(f"{path} is not a run directory: {reason}")
        self.path = path


class SchemaTooNew(StoreError):  # noqa: N818 - the name says what is the matter
    """The run was written by a later version of this program."""

    def __init__(self, path: Path, found: str, known: str) -> None:
        super().__init__(
            f"{path} was written by a newer agentlab (store schema {found}; this one knows up to {known}): "
            "upgrade agentlab to open it"
        )
        self.path = path


class UnknownRun(LookupError):  # noqa: N818 - the name says what is the matter
    """A reference to a run matches none, or several. `candidates` are the ids it could mean, best first."""

    def __init__(self, message: str, candidates: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.candidates = candidates


class UnknownTrial(LookupError):  # noqa: N818 - the name says what is the matter
    """A reference to a trial matches none. `candidates` are near ones, best first."""

    def __init__(self, message: str, candidates: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.candidates = candidates


class FormatError(ValueError):
    """A foreign trace cannot be read. The message names file, record and field, and says what is wrong there."""

    def __init__(self, file: str, record: str, what: str, field: str = "") -> None:
        told = f"{', '.join(part for part in (file, record, field) if part)}: {what}"
        super().__init__(" ".join(told.splitlines()))  # names may hold line breaks: it is one line all the same
        self.file = file
        self.record = record
        self.field = field
