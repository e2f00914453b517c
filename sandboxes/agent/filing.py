"""A request about files, carried out in a forked child with its user's rights. Python 3.8, agent side."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from agentlab.sandboxes.agent import cleaning, files, processes, spawning, tars

if TYPE_CHECKING:
    Message = dict[str, Any]


def carry_out(users: processes.Users, number: int, request: Message, rlimits: dict[str, int], ready_ns: int) -> None:
    """`number`: the command that this is; `ready_ns`: when the box was ready, for what has changed since."""
    user, path, what = request["user"], request["path"], request["what"]
    # A grader's paths may run through directories that a task could have prepared.
    follow = user == "task"
    if users.root is not None:
        # Whoever grades there, the files are laid by root: the task may have closed every way to others. By a
        # descriptor, so before they are closed.
        user = "task" if follow else "files"
        users.become(user, number, for_good=True)
    # No program follows that would close them: the pipes of other commands must not be held open here.
    os.closerange(3, 1024)
    if what == "snapshot":
        _snapshot(users, user, number, path, request["max_bytes"])
        return
    if users.root is None:
        users.become(user, number, for_good=False)
    # Too large a file is an error of the call, and no signal.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    spawning.limit(rlimits, "RLIMIT_FSIZE")
    if what == "read":
        files.read(path, request["max_bytes"], follow)
    elif what == "write":
        files.write(path, request["mode"], follow)
    elif what == "remove":
        files.remove(path, follow)
    elif what == "changed":
        files.changed_since(ready_ns, request["places"], request["most"])
    else:
        for place in request["instead"]:
            files.make_way(place)
        tars.restore(path, follow, request["max_bytes"])


def _snapshot(users: processes.Users, user: str, number: int, path: str, max_bytes: int) -> None:
    uid = os.getuid() if users.root is not None else users.uids[user]

    def open_as_user(place: str) -> int:
        with cleaning.acting_as(uid, users.single):
            return files.open_directory(place)

    if not users.single:
        os.setgroups([processes.group_of(number)])
    tars.snapshot(path, max_bytes, open_as_user, uid)
