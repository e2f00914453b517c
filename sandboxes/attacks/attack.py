"""What an attack is: a program that runs in a box as the task's user and tries one way out of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from agentlab.sandboxes.attacks.scene import Scene

Family: TypeAlias = Literal[
    "processes", "memory", "CPU", "disk", "output", "left behind", "kernel", "namespaces", "rights", "system calls",
    "spying", "spoofing", "network", "way out", "grading", "shared counts",
]  # fmt: skip
FAMILIES: dict[str, str] = {
    "processes": "more processes than a box may have",
    "memory": "more memory than a box may have",
    "CPU": "more of the processor than a box may have",
    "disk": "more files than a box may have",
    "output": "floods of output",
    "left behind": "what outlives its command, or a reset",
    "kernel": "settings, clock and devices of this machine",
    "namespaces": "mounts, namespaces and control groups",
    "rights": "rights that a program may not gain",
    "system calls": "system calls that boxes do not need",
    "spying": "sight of this machine, of other boxes and of the box's keeper",
    "spoofing": "answers in the name of the box's keeper",
    "network": "connections to anywhere",
    "way out": "files that harm whoever takes them out of the box",
    "grading": "the grader's files and processes",
    "shared counts": "what one kernel counts for all boxes together",
}
"""Each family in plain words."""

Ending: TypeAlias = Literal["done", "time", "memory", "killed", "box"]
"""How an attack may end and still have been tried: by itself, at its time limit, killed for memory (or refused more of
it), killed by its own doing, or with the whole box."""

Need: TypeAlias = Literal["box memory", "box CPU", "own uid"]

Look: TypeAlias = "Callable[[Scene], Coroutine[Any, Any, None]]"
"""Looks from outside and says `scene.breach(...)` for what should not be."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to harm this machine, another box, the grader or the runner.

    `code` is Python; `PRELUDE` comes before it. It calls `broke(what)` where it got through and `done()` at its end.
    That alone is not believed: see `outside`, `witness` and `look`.
    """

    name: str
    family: Family
    tries: str
    """In plain words, to be read after "tries to"."""
    code: str
    ends: tuple[Ending, ...] = ("done",)
    seconds: float = 5.0
    """Time limit of the command."""
    meanwhile: Look | None = None
    """Looks while the program runs."""
    look: Look | None = None
    """Looks once it has ended, before anything is killed or emptied."""
    grader: bool = False
    """A process and a file of the grader are in the box, with a secret each."""
    needs: frozenset[Need] = frozenset()
    """What only boxes contain whose limits hold for the box as a whole, or whose keeper is another user."""


PRELUDE = r"""
import ctypes, errno, fcntl, json, os, select, signal, socket, struct, sys, time
given = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)

def say(word, what=""):
    os.write(1, ("\n%s %s\n" % (word, what)).encode("utf-8", "replace"))

def broke(what):
    say("BROKE", what)

def done():
    os._exit(0)

def call(number, *arguments):
    # A system call by number: its result, or minus its error.
    ctypes.set_errno(0)
    arguments = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(number), *arguments)
    return result if result >= 0 else -ctypes.get_errno()

def forbidden(what, function, *arguments, **more):
    # Says that it broke out where the call succeeds.
    try:
        result = function(*arguments, **more)
    except (OSError, ValueError, PermissionError):
        return None
    broke(what)
    return result

def write(path, text):
    # At once: what is held back fails where nobody looks.
    fd = os.open(path, os.O_WRONLY)
    try: os.write(fd, text.encode())
    finally: os.close(fd)

def take_memory():
    # Twice what the box may have, and no more: where nothing holds it, it is this machine's.
    held = []
    while len(held) < given["memory_mb"] // 2: held.append(b"x" * (1 << 22))
    broke("took twice the memory that its box may have")
    done()

def refused(what, result, also=()):
    # Says that it broke out unless the call was refused outright: by the filter, for want of rights, or as unknown.
    if result >= 0 or -result not in (errno.EPERM, errno.ENOSYS, errno.EACCES, *also):
        broke("%s: %s" % (what, result if result >= 0 else os.strerror(-result)))
    return result

def show(path, size=65536):
    # Everything that can be read is said: whoever looks from outside knows what must not be in it.
    try:
        with open(path, "rb") as file:
            os.write(1, file.read(size))
        return True
    except OSError:
        return False

X86 = os.uname().machine == "x86_64"
"""
