"""Root for what runs in a box, with the agent out of its reach: a user namespace below the agent's own. Python 3.8,
agent side.

What a task runs there is root over the whole file system, as the ids are mapped one to one. The agent itself takes an
id that the namespace does not have: nobody in it can become the agent, so no signal, trace, priority or limit of theirs
reaches it, whatever capabilities they hold. Once everything is set up the agent imports nothing more, since the modules
lie in a file system that the task may change.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from typing import Any, NamedTuple

AGENT = 70_000
"""The agent's own id, beyond those of the namespace."""
IDS = 65_536

CLONE_NEWUSER = 0x1000_0000
PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_SECCOMP, PR_CAPBSET_DROP = 4, 8, 22, 24

SETUID, SETGID, KILL, DAC_OVERRIDE, SETFCAP = 7, 6, 5, 1, 31
OWN = (SETUID, SETGID, KILL, DAC_OVERRIDE, SETFCAP)
"""What the agent keeps when it gives up being root."""

ROOTS = frozenset({0, 1, 3, 4, 5, 6, 7, 10, 18, 31})
"""What root in the box may do: files of others, owners, ids, signals, low ports, chroot, file capabilities. Neither
mounts nor devices, no tracing of other namespaces, no raised limits."""
LAST_CAPABILITY = 63

# Namespaces: the agent needs these two calls, and what it starts must not have them.
_FORBIDDEN = {"x86_64": (0xC000_003E, (272, 308)), "aarch64": (0xC000_00B7, (97, 268))}
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _REFUSE = 0x7FFF_0000, 0x0005_0001


class Account(NamedTuple):
    """Somebody in the box."""

    name: str
    uid: int
    gid: int
    groups: list[int]
    home: str


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


class Root:
    """The namespace, and who is who in it. `names` maps the users of the protocol to accounts of the image."""

    def __init__(self, names: dict[str, str]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.accounts = {user: find_account(name) for user, name in names.items()}
        self._program = _no_namespaces()
        self._stop_being_root()
        self._namespace = self._make_namespace()

    def become(self, user: str) -> None:
        """Enter the namespace for good as `user`, in a forked child."""
        account = self.accounts[user]
        self._call("setns", self._namespace, CLONE_NEWUSER)
        for capability in range(LAST_CAPABILITY + 1):
            if capability not in ROOTS:
                # Numbers that this kernel does not know are refused, and nothing is lost with them.
                self._libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        self._call("prctl", PR_SET_SECCOMP, 2, ctypes.byref(self._program), 0, 0)
        os.setgroups(account.groups)
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)

    def _call(self, name: str, *arguments: Any) -> None:
        if getattr(self._libc, name)(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")

    def _stop_being_root(self) -> None:
        """Take the agent's id. The capabilities stay permitted and have to be raised again."""
        self._call("prctl", PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setresgid(AGENT, AGENT, AGENT)
        os.setresuid(AGENT, AGENT, AGENT)
        wanted = sum(1 << capability for capability in OWN)
        low, high = wanted & 0xFFFF_FFFF, wanted >> 32
        header = struct.pack("=Ii", 0x2008_0522, 0)
        self._call("capset", header, struct.pack("=6I", low, low, 0, high, high, 0))

    def _make_namespace(self) -> int:
        """A descriptor of a new user namespace in which every id is the same as outside."""
        ready, told = os.pipe()
        may_end, end = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                # A process that has changed its id hides its namespaces, also from its parent.
                self._call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)
                self._call("unshare", CLONE_NEWUSER)
                os.write(told, b"1")
                os.read(may_end, 1)
            except OSError as error:
                os.write(told, b"0" + str(error.errno).encode())
            finally:
                os._exit(0)
        answer = os.read(ready, 16)
        try:
            if answer[:1] != b"1":
                number = int(answer[1:] or b"0")
                raise OSError(number, f"no user namespace can be made: {os.strerror(number)}")
            for which in ("uid_map", "gid_map"):
                with open(f"/proc/{child}/{which}", "w") as mapping:
                    mapping.write(f"0 0 {IDS}")
            return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.write(end, b"1")
            os.waitpid(child, 0)
            for fd in (ready, told, may_end, end):
                os.close(fd)


def _no_namespaces() -> _Filter:
    """A filter that refuses to make and to enter namespaces. Raises OSError on a machine whose calls are not known."""
    machine = os.uname().machine
    if machine not in _FORBIDDEN:
        raise OSError(f"boxes with a writable system are not known to hold on {machine}")
    architecture, calls = _FORBIDDEN[machine]
    code = [(_LOAD, 0, 0, 4), (_EQUAL, 0, len(calls) + 2, architecture), (_LOAD, 0, 0, 0)]
    code += [(_EQUAL, len(calls) - place, 0, call) for place, call in enumerate(calls)]
    code += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    # Kept with the filter: the kernel copies it only when it is put on.
    text = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in code))
    made = _Filter(len(code), ctypes.cast(text, ctypes.c_void_p))
    made.text = text  # a structure keeps what it points to only if it is told to
    return made


def find_account(name: str) -> Account:
    """`NAME`, `UID` or either with `:GROUP`, as the image's own files tell. Raises ValueError for an unknown name."""
    wanted, _, group = name.partition(":")
    users, groups = _entries("/etc/passwd", 6), _entries("/etc/group", 4)
    entry = next((e for e in users if wanted in (e[0], e[2])), None)
    if entry is None and wanted == "root":
        # An image may have no list of users at all.
        wanted = "0"
    if entry is None and not wanted.isdigit():
        raise ValueError(f"the image has no user {wanted!r}")
    known, uid = entry[0] if entry else wanted, int(entry[2] if entry else wanted)
    gid = int(entry[3]) if entry else 0
    if group:
        found = next((e for e in groups if group in (e[0], e[2])), None)
        if found is None and not group.isdigit():
            raise ValueError(f"the image has no group {group!r}")
        gid = int(found[2] if found else group)
    member = [int(e[2]) for e in groups if known in e[3].split(",")]
    if not 0 <= uid < IDS or not 0 <= gid < IDS:
        raise ValueError(f"the user {name!r} has an id beyond {IDS - 1}")
    return Account(known, uid, gid, sorted({gid, *member}), entry[5] if entry else "/")


def _entries(path: str, at_least: int) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            rows = [line.rstrip("\n").split(":") for line in file]
    except OSError:
        return []
    return [row for row in rows if len(row) >= at_least and row[2].isdigit()]


def import_nothing_more() -> None:
    """Load what is otherwise loaded when it is needed, then forget where modules come from."""
    import resource  # noqa: F401
    import tarfile  # noqa: F401

    sys.meta_path.clear()
    sys.path_hooks.clear()
    sys.path.clear()
