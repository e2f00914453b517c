"""The command line of one bubblewrap box. Nothing of the host but a system to run is ever shown: no home, no
environment.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path

from agentlab.sandboxes import agent, seccomp
from agentlab.sandboxes.box import UIDS
from agentlab.sandboxes.bubblewrap.cgroup import Cgroup
from agentlab.sandboxes.egress import SOCKET_DIR
from agentlab.sandboxes.protocol import GRADE, WORKSPACE, Limits, User

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TMP = "/tmp"  # noqa: S108 - a path in the box
SYSTEM_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
UNPRIVILEGED = range(1_500_000_000, 1_500_060_000)
"""Uids that nobody has. As root every box runs as one of them, so that boxes cannot signal each other even outside."""

ETC = {
    "/etc/passwd": "root:x:0:0:root:/:/usr/sbin/nologin\n"
    f"task:x:{UIDS['task']}:{UIDS['task']}::{TMP}:/bin/bash\n"
    f"grader:x:{UIDS['grader']}:{UIDS['grader']}::{GRADE}:/bin/bash\n",
    "/etc/group": f"root:x:0:\ntask:x:{UIDS['task']}:\ngrader:x:{UIDS['grader']}:\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "/etc/hosts": "127.0.0.1 localhost box\n",
    "/etc/gitconfig": "[init]\n\tdefaultBranch = main\n[user]\n\tname = task\n\temail = task@localhost\n",
}


@dataclass(frozen=True, slots=True)
class Invocation:
    """What to start, and the descriptors that it inherits (the starter closes its own copies)."""

    argv: list[str]
    descriptors: tuple[int, ...]


def host_uid() -> int | None:
    """Who a box is to be on this machine: as root one of those whom nobody is, else this process's own user (None)."""
    return random.choice(UNPRIVILEGED) if os.geteuid() == 0 else None


def invocation(
    user: User,
    limits: Limits,
    root: Path | None,
    cgroup: Cgroup | None,
    uid: int | None,
    shown: Path | None = None,
) -> Invocation:
    """The box of one user, run by the `host_uid`. `root` is an unpacked image; None shows the host's own /usr,
    read-only. `shown` is a directory with the socket of its way out.
    """
    descriptors = []
    argv = ["bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--as-pid-1"]
    argv += ["--new-session", "--hostname", "box", "--uid", str(UIDS[user]), "--gid", str(UIDS[user]), "--clearenv"]
    argv += ["--setenv", "PATH", PATH, "--setenv", "LANG", "C.UTF-8", "--setenv", "PYTHONDONTWRITEBYTECODE", "1"]
    argv += _system(root)
    if root is None:
        for path, text in ETC.items():
            descriptors.append(_in_memory(text.encode()))
            argv += ["--perms", "0644", "--ro-bind-data", str(descriptors[-1]), path]
    if seccomp.as_filter():
        descriptors.append(_in_memory(seccomp.as_filter()))
        argv += ["--seccomp", str(descriptors[-1])]
    # The new namespaces own some of the kernel's settings: nothing of them is for a box to change.
    argv += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"]
    # Terminals are counted for the whole machine: one box could take them from all others.
    argv += ["--dev", "/dev", "--perms", "0755", "--size", "4096", "--tmpfs", "/dev/pts", "--remount-ro", "/dev/pts"]
    argv += _tmpfs("/dev/shm", limits.shm_mb, "1777") + _tmpfs(TMP, limits.tmp_mb, "1777")  # noqa: S108
    argv += _tmpfs(WORKSPACE, limits.workspace_mb, "0755")
    argv += _tmpfs(GRADE, limits.grade_mb, "0700") if user == "grader" else _shut(GRADE)
    if cgroup is not None:
        argv += ["--ro-bind", str(cgroup.counter), cgroup.shown_at]
    if shown is not None:
        argv += ["--ro-bind", str(shown), SOCKET_DIR]
    # What bubblewrap makes itself (/ and /dev) are tmpfs without a size: closed, so that they cannot fill the memory.
    argv += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--", "python3", *agent.PYTHON_FLAGS]
    return Invocation(_lowered(argv, cgroup, uid), tuple(descriptors))


def _in_memory(data: bytes) -> int:
    """A descriptor to read these bytes from."""
    fd = os.memfd_create("agentlab")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _system(root: Path | None) -> list[str]:
    if root is not None:
        # Only these, so that the mount points of the box can be made beside them.
        argv = ["--ro-bind", str(root / "usr"), "/usr", "--ro-bind", str(root / "etc"), "/etc"]
        base = root
    else:
        argv = ["--ro-bind", "/usr", "/usr", "--dir", "/etc"]
        argv += ["--ro-bind-try", "/etc/alternatives", "/etc/alternatives"]
        argv += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
        base = Path("/")
    for name in SYSTEM_LINKS:
        place = base / name
        if place.is_symlink():
            argv += ["--symlink", str(place.readlink()), f"/{name}"]
        elif place.is_dir():
            argv += ["--ro-bind", str(place), f"/{name}"]
    return [*argv, "--dir", "/var/tmp", "--dir", "/run"]  # noqa: S108 - paths in the box


def _tmpfs(path: str, megabytes: int, mode: str) -> list[str]:
    return ["--perms", mode, "--size", str(megabytes << 20), "--tmpfs", path]


def _shut(path: str) -> list[str]:
    """A directory that nobody can enter: the root around it is read-only, so its owner cannot change the mode."""
    return ["--perms", "0000", "--dir", path]


def _lowered(argv: list[str], cgroup: Cgroup | None, uid: int | None) -> list[str]:
    """As root: enter the control groups, then become nobody in particular, then start.

    bubblewrap started by root could write to /proc/sys from inside.
    """
    if uid is None:
        return argv
    entrances = cgroup.entrances() if cgroup else []
    script = 'n=$1; shift; while [ "$n" -gt 0 ]; do echo $$ >"$1" || exit 126; shift; n=$((n - 1)); done; exec "$@"'
    lower = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all", "--"]
    return ["sh", "-c", script, "sh", str(len(entrances)), *entrances, *lower, *argv]
