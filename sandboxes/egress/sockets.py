"""Where a box finds its proxy: a port inside, and on this machine a directory for each agent, which nobody else gets
into.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

SOCKET_DIR = "/run/agentlab-egress"
"""Where the directory with the proxy's socket lies in a box, read-only."""

PORT = 3128
"""Where the agent listens on 127.0.0.1 in the box."""

SOCKET = "proxy.sock"
PREFIX = "agentlab-egress-"
SHOWN = "box"
LONGEST_PATH = 100
"""A socket's address holds 107 bytes."""

BACKLOG = 128
"""More than an agent carries at once: it never has to wait to connect."""

FRESH_S = 60.0
"""A directory so young may still be waiting for its socket."""


def directory() -> Path:
    """A new directory that only this user can enter."""
    return Path(tempfile.mkdtemp(prefix=PREFIX))


def place(private: Path, owner: int | None) -> Path:
    """Where in `directory` the socket is to be. Raises OSError where no box could use it there.

    `owner`: a user who is to get to it beside this process's own.
    """
    path = private / SHOWN / SOCKET
    if len(str(path)) > LONGEST_PATH or (owner is not None and not _is_passable(private.parent)):
        raise OSError(f"{private.parent} is no place for a box's socket")
    path.parent.mkdir()
    return path


def listen(path: Path, owner: int | None) -> socket.socket:
    """A listening socket there. Every user of the box may connect, and on this machine only the owner: nobody else
    gets past `directory`. Raises OSError.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.bind(str(path))
        path.chmod(0o666)
        path.parent.chmod(0o755)
        if owner is not None:
            os.chown(path.parent.parent, owner, owner)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _is_passable(directory: Path) -> bool:
    """Whether every user may go through a directory and those above it."""
    return all(place.stat().st_mode & 0o001 for place in (directory, *directory.parents))


def sweep() -> list[Path]:
    """Remove the directories of runners that were killed: nobody listens at their socket any more."""
    removed = []
    for private in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            status = private.lstat()
            fresh = time.time() - status.st_mtime < FRESH_S
            if fresh or os.geteuid() not in (0, status.st_uid) or _answers(private / "box" / SOCKET):
                continue
            shutil.rmtree(private)
            removed.append(private)
        except OSError:
            continue
    return removed


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True
    return True
