"""Who a box belongs to: labels that tell a later run whether the process that made it still lives."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

RUN_LABEL = "agentlab.run"
PID_LABEL = "agentlab.owner-pid"
START_LABEL = "agentlab.owner-start"
BOOT_LABEL = "agentlab.boot-id"
HOST_LABEL = "agentlab.host"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


@cache
def _host() -> str:
    """This machine and this process namespace: pids mean nothing in another one, and an engine may serve several."""
    machine = _read("/etc/machine-id") or os.uname().nodename
    try:
        return f"{machine}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return machine


def _started(pid: int) -> str:
    """When a process started, in ticks since boot; empty when there is none. Tells a reused pid from the old one."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if len(fields) < 20 or fields[0] in "ZX":
        return ""
    return fields[19]


def stamp() -> str:
    """This process, in a few characters of a name, for what carries no labels."""
    return f"{os.getpid()}.{_started(os.getpid())}"


def is_stamp_of_dead(text: str) -> bool:
    """Whether the process with that stamp has ended. What is no stamp is nobody's to judge."""
    pid, _, started = text.partition(".")
    return pid.isdigit() and started.isdigit() and _started(int(pid)) != started


def labels(run_id: str) -> dict[str, str]:
    pid = os.getpid()
    return {
        RUN_LABEL: run_id,
        PID_LABEL: str(pid),
        START_LABEL: _started(pid),
        BOOT_LABEL: _read("/proc/sys/kernel/random/boot_id"),
        HOST_LABEL: _host(),
    }


def is_dead(found: Mapping[str, str]) -> bool:
    """Whether the owner named by these labels is known to be dead. When in doubt it lives."""
    if found.get(HOST_LABEL) != _host() or not found.get(PID_LABEL, "").isdigit():
        return False
    if found.get(BOOT_LABEL) != _read("/proc/sys/kernel/random/boot_id"):
        return True
    return _started(int(found[PID_LABEL])) != found.get(START_LABEL)
