"""Our list of allowed system calls (images/seccomp.json): as text for an engine, as a kernel filter for bubblewrap."""

from __future__ import annotations

import ctypes
import json
import os
from functools import cache
from importlib import resources
from typing import Any

ALLOW = 0x7FFF0000
ERRNO = 0x00050000
EPERM = 1
COMPARISONS = {"SCMP_CMP_EQ": 4, "SCMP_CMP_MASKED_EQ": 7}


@cache
def profile() -> dict[str, Any]:
    text = resources.files("agentlab").joinpath("images", "seccomp.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


NAMESPACES = ("unshare", "setns")
"""What the agent of a writable box needs to give others a user namespace, and then takes from them."""
WHOLE_SYSTEM = (
    "chroot", "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "name_to_handle_at", "prlimit64",
    "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "setpriority", "ioprio_set",
    "inotify_init", "inotify_init1", "inotify_add_watch", "inotify_rm_watch",
)  # fmt: skip
"""What a whole system expects beyond our list, harmless where the agent is out of reach: debuggers, package tools,
servers that watch their files.
"""


@cache
def as_text(*, namespaces: bool = False) -> str:
    """The profile as one line of JSON, as the engine takes it. `namespaces`: for a writable box."""
    found = profile()
    if namespaces:
        more = {"names": [*NAMESPACES, *WHOLE_SYSTEM], "action": "SCMP_ACT_ALLOW"}
        found = {**found, "syscalls": [*found["syscalls"], more]}
    return json.dumps(found, separators=(",", ":"))


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


@cache
def as_filter() -> bytes:
    """The profile as a BPF program for this machine, by libseccomp; empty where that library is missing.

    Names that the library does not know are left out, and so refused.
    """
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return b""
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    add = library.seccomp_rule_add_array
    add.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison)]
    context = library.seccomp_init(ERRNO | EPERM)
    fd = os.memfd_create("filter")
    try:
        for rule in profile()["syscalls"]:
            compared = [
                _Comparison(arg["index"], COMPARISONS[arg["op"]], arg["value"], arg.get("valueTwo", 0))
                for arg in rule.get("args", [])
            ]
            array = (_Comparison * len(compared))(*compared)
            action = ALLOW if rule["action"] == "SCMP_ACT_ALLOW" else ERRNO | rule["errnoRet"]
            for name in rule["names"]:
                number = library.seccomp_syscall_resolve_name(name.encode())
                if number >= 0 and add(context, action, number, len(compared), array) != 0:
                    raise OSError(f"the rule for {name} is not accepted")
        if library.seccomp_export_bpf(context, fd) != 0:
            raise OSError("the filter cannot be made")
        os.lseek(fd, 0, os.SEEK_SET)
        with os.fdopen(os.dup(fd), "rb") as stream:
            return stream.read()
    finally:
        os.close(fd)
        library.seccomp_release(context)
