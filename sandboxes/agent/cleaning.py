"""Making a used box as new: every process dead, every writable place empty, nothing left in the kernel. Python 3.8,
agent side.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

from agentlab.sandboxes.agent import files, processes


class Place(NamedTuple):
    """A writable directory as it was when the box started."""

    path: str
    uid: int
    gid: int
    mode: int


def survey(paths: list[str]) -> list[Place]:
    """The writable places that this box has, with their owners and modes."""
    found = []
    for path in paths:
        with contextlib.suppress(OSError):
            status = os.stat(path, follow_symlinks=False)
            found.append(Place(path, status.st_uid, status.st_gid, status.st_mode & 0o7777))
    return found


@contextlib.contextmanager
def acting_as(uid: int, single: bool) -> Iterator[None]:
    """With another effective uid. The agent has one thread, so nothing else runs meanwhile."""
    if single or uid == 0:
        yield
        return
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def reset(places: list[Place], users: processes.Users) -> list[str]:
    """Kill, empty, verify; what was found afterwards, which is nothing when the box is as new."""
    left = processes.kill_everyone(users)
    found = [f"{left} processes"] if left else []
    for place in places:
        _put_back(place, users)
        # A sticky directory yields to its owner only, an unreadable one to root only: so each in turn.
        for uid in (0, *users.uids.values(), 0):
            with acting_as(uid, users.single), contextlib.suppress(OSError):
                if files.empty(place.path):
                    break
        _put_back(place, users)
        found += _differences(place)
    _remove_ipc(users)
    return found + [f"System V {kind}" for kind in ("shm", "msg", "sem") if _ipc_entries(kind)]


def _put_back(place: Place, users: processes.Users) -> None:
    """Undo what the owner of the directory itself can change: mode and extended attributes."""
    with acting_as(place.uid, users.single), contextlib.suppress(OSError):
        if os.stat(place.path).st_mode & 0o7777 != place.mode:
            os.chmod(place.path, place.mode)
        for name in os.listxattr(place.path):
            os.removexattr(place.path, name)


def _differences(place: Place) -> list[str]:
    try:
        names = os.listdir(place.path)
        now = survey([place.path])
        extended = os.listxattr(place.path)
    except OSError as error:
        return [f"{place.path}: {error.strerror}"]
    found = [f"{place.path}/{names[0]!r}"] if names else []
    if now != [place]:
        found.append(f"{place.path} has another owner or mode")
    return found + [
        f"{place.path} has the attribute {name}" for name in extended if name.startswith(("user.", "system."))
    ]


_UID_COLUMN = {"shm": 7, "msg": 7, "sem": 4}


def _ipc_entries(kind: str) -> list[list[str]]:
    lines = processes.read_text(f"/proc/sysvipc/{kind}").splitlines()[1:]
    return [line.split() for line in lines]


def _remove_ipc(users: processes.Users) -> None:
    if not any(_ipc_entries(kind) for kind in _UID_COLUMN):
        return
    # Only here, as it costs milliseconds at the start; without it the box is found unclean and thrown away.
    try:
        import ctypes

        libc = ctypes.CDLL(None)
    except (ImportError, OSError):
        return
    for kind, column in _UID_COLUMN.items():
        for entry in _ipc_entries(kind):
            with acting_as(int(entry[column]), users.single):
                if kind == "sem":
                    libc.semctl(int(entry[1]), 0, 0, 0)
                else:
                    getattr(libc, kind + "ctl")(int(entry[1]), 0, None)
