"""What a box's processes are, as this machine sees them and not as they say.

Every process below a box's first one belongs to it, however it has hidden itself inside: orphans fall to the first
process of their namespace.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PAUSE_S = 0.1
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
FORBIDDEN = ("[io_uring]", "[userfaultfd]", "[perf_event]", "bpf", "/dev/mem", "/dev/kmem", "/dev/kmsg", "/dev/kvm",
             "/dev/fuse", "/dev/vd", "/dev/sd", "/dev/nvme", "/dev/loop", "docker.sock")  # fmt: skip
"""What no descriptor of a box may lead to."""
USUAL_POLICIES = ("0", "3", "5")
"""SCHED_OTHER, SCHED_BATCH and SCHED_IDLE: all but these are real-time."""
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """The fields behind the name of a process; the state comes first."""
    return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()


def descendants(roots: list[int]) -> list[int]:
    """Every process below these, without them."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - a thousand names, ten times a second
        if entry.isdigit() and len(fields := _stat(int(entry))) > 1:
            children.setdefault(int(fields[1]), []).append(int(entry))
    found: list[int] = []
    waiting = list(roots)
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


@dataclass
class Witness:
    """Watches one box from outside while it is attacked."""

    keepers: list[int]
    """The box's first processes; empty where they run on another machine, and nothing is seen."""
    most: int = 0
    """Processes at the same time, threads included."""
    seen: int = 0
    """How often it looked."""
    _cpu: dict[tuple[int, str], float] = field(default_factory=dict)
    _doubtful: set[tuple[int, str, str]] = field(default_factory=set)
    _found: dict[str, None] = field(default_factory=dict)

    async def watch(self) -> None:
        """Look until cancelled."""
        while self.keepers:
            self.look()
            await asyncio.sleep(PAUSE_S)

    def look(self) -> None:
        self.seen += 1
        below = descendants(self.keepers)
        firsts = [pid for pid in (*self.keepers, *below) if self._keeps(pid)]
        homes = _homes(firsts)
        keeping = {_read(f"/proc/{pid}/cmdline") for pid in (*self.keepers, *firsts)}
        tasks = 0
        doubtful = set()
        for pid in below:
            status = dict(line.split(":", 1) for line in _read(f"/proc/{pid}/status").splitlines() if ":" in line)
            fields = _stat(pid)
            if len(fields) < 39 or "Threads" not in status:
                continue
            tasks += int(status["Threads"])
            self._cpu[pid, fields[19]] = (int(fields[11]) + int(fields[12])) * TICK_S
            if fields[0] in "ZX" or pid in firsts:
                continue
            # The keeper reads and writes files in processes of its own, which have its rights.
            wrongs = [] if _read(f"/proc/{pid}/cmdline") in keeping else list(_wrong_with(status, fields))
            for wrong in (*wrongs, *_wrong_places(pid, homes)):
                # Seen twice: what has just been started is for an instant as whoever has started it.
                if (pid, fields[19], wrong) in self._doubtful:
                    self._found[wrong] = None
                doubtful.add((pid, fields[19], wrong))
        self._doubtful = doubtful
        self.most = max(self.most, tasks)

    def _keeps(self, pid: int) -> bool:
        """Whether it is a box's first process: a keeper, or what bubblewrap's own has started as such."""
        parent = next(iter(_stat(pid)[1:2]), "")
        return _is_first(pid) and (pid in self.keepers or parent in map(str, self.keepers))

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all processes that were seen."""
        return sum(self._cpu.values())

    def left(self) -> int:
        """Living processes besides the box's keepers."""
        return sum(1 for pid in descendants(self.keepers) if not _is_first(pid) and (_stat(pid) or "Z")[0] not in "ZX")

    def breaches(self) -> list[str]:
        """What was wrong since the last call."""
        found = list(self._found)
        self._found.clear()
        self._cpu.clear()
        self.most = self.seen = 0
        return found


def _is_first(pid: int) -> bool:
    """Whether it is the first process of a namespace: bubblewrap's own is not the one that it was started as."""
    return _read(f"/proc/{pid}/status").partition("NSpid:")[2].partition("\n")[0].split()[1:][-1:] == ["1"]


def _homes(firsts: list[int]) -> dict[str, set[str]]:
    """Which namespaces a box is in, by name; none where its first process is dying, or this user may not look.

    A dying one gives up all namespaces but two, and then waits for every other process of the box to die.
    """
    names = [name for name in NAMESPACES if Path(f"/proc/self/ns/{name}").exists()]
    places = [[_namespace(pid, name) for name in names] for pid in firsts]
    if not places or not all(map(all, places)):
        return {}
    return {name: set(of_all) for name, of_all in zip(names, zip(*places, strict=True), strict=True)}


def _namespace(pid: int, name: str) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/{name}").readlink())
    except OSError:
        return ""


def _wrong_with(status: dict[str, str], fields: list[str]) -> Iterator[str]:
    if "0" in status["Uid"].split():
        yield "a process ran as root"
    if any(int(status[name], 16) for name in ("CapEff", "CapPrm", "CapAmb") if name in status):
        yield "a process had capabilities"
    if status.get("NoNewPrivs", "1").strip() != "1":
        yield "a process could gain rights"
    if status.get("Seccomp", "2").strip() != "2":
        yield "a process had no filter of system calls"
    if int(fields[16]) < 0:
        yield "a process had put itself before others"
    if fields[38] not in USUAL_POLICIES:
        yield "a process had real-time priority"


def _wrong_places(pid: int, homes: dict[str, set[str]]) -> Iterator[str]:
    """Where it is and what it holds, as far as this user may look."""
    for name, home in homes.items():
        if home and (place := _namespace(pid, name)) and place not in home:
            yield f"a process was in another {name} namespace than its box"
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
            with contextlib.suppress(OSError):
                leads_to = str(Path(f"/proc/{pid}/fd/{name}").readlink())
                if any(word in leads_to for word in FORBIDDEN):
                    yield f"a process had {leads_to} open"
