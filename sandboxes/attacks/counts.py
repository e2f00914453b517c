"""What one kernel counts for all boxes together, or for all of a user: one box could take it from the others."""

from __future__ import annotations

from agentlab.sandboxes.attacks.attack import Attack, Ending

HOLD = "\ntime.sleep(0.4)\ndone()\n"
ENDS: tuple[Ending, ...] = ("done", "memory", "killed", "box")

SHARED_COUNTS = (
    Attack(
        "open files",
        "shared counts",
        "hold as many files open as the machine has room for",
        """
import resource
forbidden("raised its limit of open files", resource.setrlimit, resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))
for _ in range(given["pids"]):
    try:
        if os.fork() == 0:
            try:
                while True: os.dup(0) if False else os.open("/dev/null", os.O_RDONLY)
            except OSError: time.sleep(60)
    except OSError: break
"""
        + HOLD,
        ends=ENDS,
    ),
    Attack(
        "watches of files",
        "shared counts",
        "hold all watches of files that a user may have (inotify)",
        """
for _ in range(8):
    if os.fork() == 0:
        while libc.inotify_init1(0) >= 0: pass
        time.sleep(60)
fd = libc.inotify_init1(0)
"""
        + HOLD,
        ends=ENDS,
    ),
    Attack(
        "terminals",
        "shared counts",
        "hold all terminals that the machine has",
        """
for _ in range(8):
    if os.fork() == 0:
        held = []
        try:
            while True: held.append(os.openpty())
        except OSError: time.sleep(60)
"""
        + HOLD,
        ends=ENDS,
    ),
    Attack(
        "message queues",
        "shared counts",
        "hold all message queues that a user may have",
        """
number = 0
while libc.mq_open(b"/hold%d" % number, 0o102, 0o600, None) >= 0: number += 1
"""
        + HOLD,
        ends=ENDS,
    ),
    Attack(
        "waiting signals",
        "shared counts",
        "hold all signals that may wait for a user",
        """
signal.pthread_sigmask(signal.SIG_BLOCK, set(range(34, 65)))
sent = 0
while libc.sigqueue(os.getpid(), 34, None) == 0 and sent < 1_000_000: sent += 1
for _ in range(4):
    if os.fork() == 0:
        while libc.sigqueue(os.getpid(), 35, None) == 0: pass
        time.sleep(60)
"""
        + HOLD,
        ends=ENDS,
    ),
    Attack(
        "room in pipes",
        "shared counts",
        "hold all the room in pipes that a user may have",
        """
for _ in range(4):
    if os.fork() == 0:
        held = []
        try:
            while True:
                held.append(os.pipe())
                try: fcntl.fcntl(held[-1][1], 1031, 1 << 20)
                except OSError: pass
        except OSError: time.sleep(60)
"""
        + HOLD,
        ends=ENDS,
    ),
    Attack(
        "timers",
        "shared counts",
        "hold as many timers as the kernel gives",
        """
number = 222 if X86 else 107
for _ in range(8):
    if os.fork() == 0:
        made = ctypes.c_int()
        while call(number, 1, None, ctypes.byref(made)) >= 0: pass
        time.sleep(60)
"""
        + HOLD,
        ends=ENDS,
    ),
    Attack(
        "locks of files",
        "shared counts",
        "hold locks without end",
        """
with open("locked", "wb") as file:
    file.truncate(1 << 30)
    held = 0
    try:
        while held < 15_000:
            fcntl.lockf(file, fcntl.LOCK_EX, 1, held * 2)
            held += 1
    except (OSError, MemoryError): pass
"""
        + HOLD,
        ends=(*ENDS, "time"),
        seconds=1.0,
    ),
    Attack(
        "numbers of processes",
        "shared counts",
        "use up the numbers of processes as fast as possible",
        """
end = time.monotonic() + 0.6
while time.monotonic() < end:
    try:
        pid = os.posix_spawn("/bin/true", ["true"], {})
        os.waitpid(pid, 0)
    except OSError: pass
done()
""",
    ),
)
