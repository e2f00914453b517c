"""How many boxes fit into a machine: limits times boxes against its memory and cores."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from agentlab.sandboxes.protocol import Limits

BOXES_A_CORE = 2
"""Most of a box's life is spent waiting for a model; two a core keep the cores busy while commands still get time."""
SHARE = 0.75
"""Of the memory that is free now; the rest is for the runner, the engine and the page cache."""
REMOTE_BOXES = 16


@dataclass(frozen=True, slots=True)
class Machine:
    """What boxes share: cores, and megabytes that are free."""

    cores: int
    free_mb: int

    @staticmethod
    def here() -> Machine:
        """This machine now, or the part of it that this process may use."""
        pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        # Free pages leave out what the page cache would give back; where the kernel tells, its own estimate is right.
        for line in _read("/proc/meminfo").splitlines():
            if line.startswith("MemAvailable:"):
                pages = int(line.split()[1]) << 10
        return Machine(len(os.sched_getaffinity(0)), min([pages, *_left_in_group()]) >> 20)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except OSError:
        return ""


def _left_in_group() -> list[int]:
    """Bytes that the control group of this process may still take, where it has a limit."""
    pairs = (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    )
    found = []
    for limit, used in pairs:
        most, now = _read(limit).strip(), _read(used).strip()
        if most.isdigit() and now.isdigit():
            found.append(max(0, int(most) - int(now)))
    return found


@dataclass(frozen=True, slots=True)
class Room:
    """What the boxes in use may be together: so many, with so much memory by their limits (None: not bounded here)."""

    boxes: int
    memory_mb: int | None = None
    why: str = ""

    def at_once(self, limits: Limits) -> int:
        """Boxes of these limits that fit at once. One always does: what is too large for the machine runs alone."""
        by_memory = self.boxes if self.memory_mb is None else self.memory_mb // limits.memory_mb
        return max(1, min(self.boxes, by_memory))

    def reason(self, limits: Limits) -> str:
        """Why it is that many, for a person."""
        if self.memory_mb is None or self.memory_mb // limits.memory_mb >= self.boxes:
            return self.why
        return f"{limits.memory_mb} MB each, and {self.memory_mb} MB of this machine's memory may be taken"


def room_on(machine: Machine | None, asked: int | None) -> Room:
    """The room on a machine, None for one that is not ours to fill. `asked`: how many boxes a person allows; memory
    bounds them all the same, as boxes that run out of it take everything else along.
    """
    if machine is None:
        return Room(asked or REMOTE_BOXES, None, "--max-sandboxes" if asked else "boxes run elsewhere")
    boxes = asked or BOXES_A_CORE * machine.cores
    why = "--max-sandboxes" if asked else f"{BOXES_A_CORE} a core, {machine.cores} cores"
    return Room(boxes, int(machine.free_mb * SHARE), why)
