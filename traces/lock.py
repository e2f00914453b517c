"""The lock of a live run: an advisory lock on `RUN/lock`, which vanishes with its process however that ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from agentlab.traces.errors import RunLocked, StoreError


class RunLock:
    """Held by the one process that writes a run."""

    def __init__(self, run_dir: Path) -> None:
        """Take the lock. Raises `RunLocked`, naming the process that has it."""
        path = run_dir / "lock"
        try:
            # A run may come from others: through a link the process id would be written over a file of the user's.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = _pid(descriptor)
            os.close(descriptor)
            raise RunLocked(run_dir, pid) from error
        self._descriptor = descriptor
        self._write_pid()

    def _write_pid(self) -> None:
        """Write this process's id into the lock file. A full disk does not matter: the lock holds, only the name is
        missing.
        """
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            return

    def release(self) -> None:
        """Give the lock back. Safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def holder(run_dir: Path) -> int | None:
    """The process that writes the run (0: unknown), or None where no process does."""
    try:
        descriptor = os.open(run_dir / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _pid(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def _pid(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0
