"""An agent in a box that another process keeps, as where a service starts it: it is not the first process there, and
the system around it was laid out by someone else. Python 3.8, agent side.

Such a box says so by the variable `KEPT`, which its maker puts there: nowhere else does an agent that is not process 1
start at all, as it kills by user.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
from typing import TYPE_CHECKING, Any

from agentlab.sandboxes.agent.processes import read_text

KEPT = "AGENTLAB_BOX"
PIDS_LIMITS = ("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max")
SUBREAPER, NO_NEW_PRIVILEGES, SECCOMP, FILTER = 36, 38, 22, 2

if TYPE_CHECKING:
    Settings = dict[str, Any]


def settle(settings: Settings) -> None:
    """Make the box what commands expect, and give up for good what neither agent nor commands need. Raises OSError.

    `directories` are made where they are missing ([path, uid, mode]); those of `shut` are closed to all but root.
    `filter` is a program of the kernel's for system calls, in hexadecimal, which holds for the agent and all that it
    starts.
    """
    # Only here, as it costs milliseconds at the start.
    import ctypes

    for path, uid, mode in settings["directories"]:
        os.makedirs(path, exist_ok=True)
        os.chown(path, uid, uid)
        os.chmod(path, mode)
    for path in settings["shut"]:
        # Not there, or on a file system that cannot be changed: then it is as its maker wants it.
        with contextlib.suppress(OSError):
            os.chmod(path, 0o700)
    libc = ctypes.CDLL(None, use_errno=True)

    def prctl(option: int, *values: int) -> None:
        arguments = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
        if libc.prctl(option, *arguments) != 0:
            raise OSError(ctypes.get_errno(), f"the box refuses prctl({option})")

    # Orphans then come to the agent as they do to a first process; where this is not known, the first one takes them.
    with contextlib.suppress(OSError):
        prctl(SUBREAPER, 1)
    prctl(NO_NEW_PRIVILEGES, 1)
    program = bytes.fromhex(settings["filter"])
    if program:
        instructions = ctypes.create_string_buffer(program, len(program))
        packed = struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))
        held = ctypes.create_string_buffer(packed, len(packed))
        prctl(SECCOMP, FILTER, ctypes.addressof(held))


def counts_processes() -> bool:
    """Whether a control group holds the number of the box's processes. A resource limit counts what its user has in
    the whole kernel, which other boxes may share.
    """
    return any(read_text(path).strip().isdigit() for path in PIDS_LIMITS)


def leave() -> None:
    """End the box: its first process is asked to go, and everything goes with it."""
    with contextlib.suppress(OSError):
        os.kill(1, signal.SIGTERM)
