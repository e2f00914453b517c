"""Users and processes of a box: who may run, which processes belong to a command, and how they die. Python 3.8,
agent side.

A command's descendants are known by a mark that they cannot take off. As root (Docker) it is a supplementary group
of its own for each command: inherited over fork, exec and setsid, and impossible to drop without CAP_SETGID. Where
there is only one user (bubblewrap) groups cannot be set, so it is an environment variable, the session and the
parents: code that sets out to hide can leave its command behind, and is then caught by `kill_everyone` at the latest.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from agentlab.sandboxes.agent import rooted

MARK = "AGENTLAB_COMMAND"
FIRST_GROUP = 20_000
GROUPS = 40_000
NOBODYS = 64_999
"""An id that no image has."""
ROUNDS = 20
CROWD = 24
"""Processes in a box from which on they are stopped to be killed."""
OOM_COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


class Process(NamedTuple):
    pid: int
    parent: int
    session: int
    state: str


class Users:
    """The uids of a box. `single`: the agent cannot change its uid, so everything runs as the agent's own. `root`: what
    runs has a namespace of its own and may be root there; as with a single uid, no group marks it for good.
    """

    def __init__(
        self, uids: dict[str, int], homes: dict[str, str], single: bool, root: rooted.Root | None = None
    ) -> None:
        self.uids = uids
        self.homes = homes
        self.single = single or root is not None
        self.root = root

    def become(self, user: str, command: int, *, for_good: bool) -> None:
        """Take the user's identity in a forked child. `for_good` leaves no way back; else the real uid stays root,
        so that the user's other processes cannot signal the child.
        """
        uid = self.uids[user]
        if self.root is not None:
            self.root.become(user)
        if self.single:
            return
        os.setgroups([group_of(command)])
        if for_good:
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        else:
            os.setegid(uid)
            os.seteuid(uid)


def group_of(command: int) -> int:
    """The group that marks the processes of a command."""
    return FIRST_GROUP + command % GROUPS


OFFERED = 500
OWN_SCORE = "/proc/self/oom_score_adj"


def offer_to_oom_killer(score: int = OFFERED) -> None:
    """Where memory runs out a command is to die, and never the agent, whose own score is below that of its children."""
    try:
        fd = os.open(OWN_SCORE, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(fd, b"%d" % score)
    except OSError:
        pass
    finally:
        os.close(fd)


def read_text(path: str) -> str:
    """A small file of /proc or /sys, empty when it has gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, 65536).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(fd)


_oom_counter = -1
"""An open descriptor of the counter: asked twice for each command, and opening takes longer than reading."""


def oom_kills() -> int:
    """How many processes of this box the kernel has killed for memory since the box started; 0 where it cannot be
    known.
    """
    global _oom_counter
    if _oom_counter < 0:
        path = next((path for path in OOM_COUNTERS if os.access(path, os.R_OK)), os.devnull)
        _oom_counter = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    for line in os.pread(_oom_counter, 4096, 0).splitlines():
        name, _, value = line.partition(b" ")
        if name == b"oom_kill":
            return int(value)
    return 0


def all_pids() -> list[int]:
    me = os.getpid()
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != me]


def everyone() -> list[int]:
    """Every process that is here for a command. All but the agent, zombies included, which are its own to reap; in a
    box that another process keeps, all living ones that bear the mark of some command.
    """
    if os.getpid() == 1:
        return all_pids()
    marks = range(FIRST_GROUP, FIRST_GROUP + GROUPS)
    return [p.pid for p in processes() if p.state != "Z" and any(group in marks for group in _groups(p.pid))]


def processes() -> Iterator[Process]:
    """Every process but the agent itself, zombies included."""
    for pid in all_pids():
        # The name may hold spaces and parentheses, so the fields are counted from the last parenthesis.
        fields = read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
        if len(fields) > 3:
            yield Process(pid, int(fields[1]), int(fields[3]), fields[0])


def _groups(pid: int) -> list[int]:
    for line in read_text(f"/proc/{pid}/status").splitlines():
        if line.startswith("Groups:"):
            return [int(group) for group in line.split()[1:]]
    return []


def _mark_of(pid: int) -> int | None:
    for entry in read_text(f"/proc/{pid}/environ").split("\0"):
        if entry.startswith(MARK + "="):
            value = entry[len(MARK) + 1 :]
            return int(value) if value.isdigit() else None
    return None


def _descendants_without_groups(command: int, root: int) -> list[int]:
    alive = {p.pid: p for p in processes() if p.state != "Z"}
    found = []
    for process in alive.values():
        step: Process | None = process
        for _ in range(len(alive)):
            if step is None or step.pid == root:
                break
            step = alive.get(step.parent)
        in_tree = step is not None and step.pid == root
        if in_tree or process.session == root or _mark_of(process.pid) == command:
            found.append(process.pid)
    return found


def members(users: Users, command: int, root: int) -> list[int]:
    """The living processes of a command, whose first process is or was `root`."""
    if users.single:
        return _descendants_without_groups(command, root)
    group = group_of(command)
    return [p.pid for p in processes() if p.state != "Z" and group in _groups(p.pid)]


def kill_members(users: Users, command: int, root: int, *, ended: bool, patience_s: float = 1.0) -> None:
    """Kill a command with everything it started. Where that cannot be done in time, everything in the box dies.

    `ended`: the first process was reaped, so its number may be another's by now. Until then it is killed by number,
    as it may not have put its mark on yet.
    """
    deadline = time.monotonic() + patience_s
    while True:
        with _at_rest() if os.getpid() == 1 and len(all_pids()) > CROWD else contextlib.nullcontext():
            if not ended and root not in _exits:
                _signal(root)
            found = members(users, command, root)
            for pid in found:
                _signal(pid)
        reap_strangers()
        if not found and (ended or root in _exits):
            return
        if time.monotonic() > deadline:
            _signal_everyone(users)
            return
        # Who dies wants the processor for it.
        time.sleep(0.0005)


@contextlib.contextmanager
def _at_rest() -> Iterator[None]:
    """Everyone is stopped for a moment: a crowd forks faster than it is looked through, and leaves no processor to look
    with. What had stopped by itself goes on as well.
    """
    if frozen:
        yield
        return
    _signal_all(signal.SIGSTOP)
    try:
        yield
    finally:
        _signal_all(signal.SIGCONT)


def _signal(pid: int) -> None:
    # Outside a box, -1 would be everything on the machine. The first process of a namespace reaches its own only.
    if pid < 1 and os.getpid() != 1:
        raise RuntimeError("the agent is not the first process of a box")
    # Gone already, or (kill -1 with nobody left) nothing to signal.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _signal_all(number: int) -> None:
    """Send a signal to all but the agent, at once. Raises RuntimeError where the agent is not the first process."""
    if os.getpid() != 1:
        raise RuntimeError("the agent is not the first process of a box")
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(-1, number)


frozen = False


def freeze(stopped: bool) -> None:
    """Stop everyone but the agent, or let them go on."""
    global frozen
    _signal_all(signal.SIGSTOP if stopped else signal.SIGCONT)
    frozen = stopped


_exits: dict[int, int] = {}


def reap_strangers() -> bool:
    """Collect every dead child. Orphans come to the agent, which is process 1; exits of commands are kept for
    `take_exits`. True where none is left: in a box whose first process this is, nobody lives but the agent.
    """
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == 0:
            return False
        _exits[pid] = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def take_exits() -> dict[int, int]:
    """The exit codes of what was reaped since the last call; a signal counts negative."""
    global _exits
    taken, _exits = _exits, {}
    return taken


def _signal_everyone(users: Users) -> None:
    """Kill everyone at once. One kill(-1) of a first process is atomic, so a fork bomb cannot outrun it."""
    if os.getpid() == 1:
        _signal(-1)
        return
    for uid in users.uids.values():
        _signal_all_of(uid)
    # What the agent does for a user itself keeps a real uid that the user cannot reach.
    for pid in everyone():
        _signal(pid)


def _signal_all_of(uid: int) -> None:
    """Kill all processes of one user and nobody else's: by a child with the rights of that user, and with ids of
    nobody's beside them, so that it cannot be signalled in turn.

    They are stopped first: what is stopped neither forks nor makes room for forks. Not every kernel (gVisor's) reaches
    all at once, and a few rounds reach those that came into being during the last one.
    """
    try:
        pid = os.fork()
    except OSError:
        # No room for one more process: the caller kills them one by one and tries again.
        return
    if pid:
        os.waitpid(pid, 0)
        return
    try:
        os.setgroups([])
        os.setresuid(NOBODYS, uid, NOBODYS)
        if uid != 0 and os.getresuid() == (NOBODYS, uid, NOBODYS):
            # Until nobody is left, at the latest.
            with contextlib.suppress(ProcessLookupError):
                for number in (*[signal.SIGSTOP] * ROUNDS, signal.SIGKILL):
                    os.kill(-1, number)
    finally:
        os._exit(0)


def kill_everyone(users: Users, patience_s: float = 10.0) -> int:
    """Kill everyone and wait until they are gone; how many are left, which is 0 unless the kernel holds some."""
    global frozen
    deadline = time.monotonic() + patience_s
    pause = 0.0005
    while True:
        _signal_everyone(users)
        reap_strangers()
        left = len(everyone())
        frozen = frozen and left > 0
        if left == 0 or time.monotonic() > deadline:
            return left
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def with_root(accounts: dict[str, str]) -> Users:
    """Users that may be root in the box. Sent only to boxes that ask for it: loading it takes 15 ms."""
    from agentlab.sandboxes.agent import rooted

    root = rooted.Root(accounts)
    rooted.import_nothing_more()
    uids = {user: account.uid for user, account in root.accounts.items()}
    homes = {user: account.home for user, account in root.accounts.items()}
    return Users(uids, homes, False, root)


def hide_from_same_uid() -> None:
    """Close the agent's memory and descriptors to processes of its own uid (PR_SET_DUMPABLE 0), where it cannot have
    another.
    """
    import ctypes

    if ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) != 0:
        raise OSError("the agent cannot be protected from what it runs")
