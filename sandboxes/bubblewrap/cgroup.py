"""Memory, process and CPU limits of a box by control groups, where this process may make them (as root)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from agentlab.sandboxes import ownership
from agentlab.sandboxes.protocol import Limits

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "pids", "cpu")
"""Each has a tree of its own in version 1."""
PERIOD_US = 100_000


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The groups of one box: one directory under version 2, one for each controller under version 1."""

    folders: tuple[Path, ...]
    counter: Path
    """The directory that is shown to the box's agent, which reads the count of processes killed for memory there."""
    shown_at: str

    def entrances(self) -> list[str]:
        """The files that a process writes its pid to."""
        return [str(folder / "cgroup.procs") for folder in self.folders]

    def killed(self) -> bool:
        """Whether the kernel has killed a process of the box for memory."""
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError):
                for line in (self.counter / name).read_text().splitlines():
                    if line.startswith("oom_kill ") and line != "oom_kill 0":
                        return True
        return False

    async def remove(self) -> None:
        """Take the groups away. The kernel refuses for a moment while the last process is going."""
        for folder in self.folders:
            for _ in range(100):
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    await asyncio.sleep(0.01)
                else:
                    break


def can_be_had() -> bool:
    """Whether boxes have groups here: made for a moment, to see."""
    group = create(f"agentlab-look-{uuid.uuid4().hex[:8]}", Limits())
    for folder in group.folders if group is not None else ():
        folder.rmdir()
    return group is not None


def create(name: str, limits: Limits) -> Cgroup | None:
    """Groups with these limits, None where they cannot be had."""
    if os.geteuid() != 0:
        return None
    name = f"{ownership.stamp()}-{name}"
    version_2 = (ROOT / "cgroup.controllers").exists()
    try:
        return _version_2(name, limits) if version_2 else _version_1(name, limits)
    except OSError:
        # Half a set of limits is none, and is not to be left behind.
        for folder in [ROOT, *(ROOT / controller for controller in CONTROLLERS)]:
            with contextlib.suppress(OSError):
                (folder / "agentlab" / name).rmdir()
        return None


def sweep() -> list[str]:
    """Take away the groups that killed runners have left; the names of their boxes, all of which are dead by then."""
    gone = []
    for parent in [ROOT / "agentlab", *(ROOT / name / "agentlab" for name in CONTROLLERS)]:
        for folder in parent.iterdir() if parent.is_dir() else ():
            if ownership.is_stamp_of_dead(folder.name.partition("-")[0]):
                with contextlib.suppress(OSError):
                    folder.rmdir()
                    gone.append(folder.name.partition("-")[2])
    return sorted(set(gone))


def _make(folder: Path, values: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for key, value in values.items():
        # Swap accounting is off in many kernels; every other file must be there.
        if key.startswith("memory.memsw") or key == "memory.swap.max":
            if (folder / key).exists():
                (folder / key).write_text(value)
        else:
            (folder / key).write_text(value)
    return folder


def _version_2(name: str, limits: Limits) -> Cgroup:
    parent = ROOT / "agentlab"
    parent.mkdir(exist_ok=True)
    for folder in (ROOT, parent):
        (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in CONTROLLERS))
    folder = _make(
        parent / name,
        {
            "memory.max": str(limits.memory_mb << 20),
            "memory.swap.max": "0",
            "pids.max": str(limits.pids),
            "cpu.max": f"{int(limits.cpus * PERIOD_US)} {PERIOD_US}",
        },
    )
    return Cgroup((folder,), folder, "/sys/fs/cgroup")


def _version_1(name: str, limits: Limits) -> Cgroup:
    memory = str(limits.memory_mb << 20)
    folders = (
        _make(
            ROOT / "memory" / "agentlab" / name,
            {"memory.limit_in_bytes": memory, "memory.memsw.limit_in_bytes": memory},
        ),
        _make(ROOT / "pids" / "agentlab" / name, {"pids.max": str(limits.pids)}),
        _make(
            ROOT / "cpu" / "agentlab" / name,
            {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(int(limits.cpus * PERIOD_US))},
        ),
    )
    return Cgroup(folders, folders[0], "/sys/fs/cgroup/memory")
