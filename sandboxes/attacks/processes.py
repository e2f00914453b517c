"""More processes, memory and processor time than a box may have."""

from __future__ import annotations

from agentlab.sandboxes.attacks.attack import Attack, Ending, Need
from agentlab.sandboxes.attacks.scene import Scene

BOX_MEMORY: frozenset[Need] = frozenset({"box memory"})
BOX_CPU: frozenset[Need] = frozenset({"box CPU"})

PROCESSES = (
    Attack(
        "fork bomb in sh",
        "processes",
        "start processes without end, as ten characters of shell do",
        """
if os.fork() == 0: os.execvp("sh", ["sh", "-c", "b() { b | b & }; b; b; sleep 60"])
time.sleep(60)
""",
        ends=("time",),
        seconds=0.7,
    ),
    Attack(
        "fork bomb in Python",
        "processes",
        "have every process start another, for ever",
        """
while True:
    try: os.fork()
    except OSError: pass
""",
        ends=("time",),
        seconds=0.7,
    ),
    Attack(
        "spawn storm",
        "processes",
        "start programs by vfork, faster than they can be counted",
        """
while True:
    try: os.posix_spawn("/bin/sh", ["sh", "-c", "sleep 60 & sleep 60 & exec sleep 60"], {})
    except OSError: pass
""",
        ends=("time",),
        seconds=0.7,
    ),
    Attack(
        "hopping processes",
        "processes",
        "be another process every instant, so that a killer always comes too late",
        """
for _ in range(8):
    if os.fork() == 0:
        os.setsid()
        while True:
            try:
                if os.fork(): os._exit(0)
            except OSError: pass
time.sleep(60)
""",
        ends=("time",),
        seconds=0.7,
    ),
    Attack(
        "thread bomb",
        "processes",
        "start threads without end, in several processes",
        """
import _thread
for _ in range(3):
    try: os.fork()
    except OSError: break
lock = _thread.allocate_lock(); lock.acquire()
try:
    while True: _thread.start_new_thread(lock.acquire, ())
except RuntimeError: pass
time.sleep(60)
""",
        ends=("time",),
        seconds=0.7,
    ),
    Attack(
        "army of zombies",
        "processes",
        "fill the table of processes with dead ones that nobody buries",
        """
try:
    while True:
        if os.fork() == 0: os._exit(0)
except OSError: pass
time.sleep(0.4)
done()
""",
    ),
    Attack(
        "stopped processes",
        "processes",
        "leave processes that are stopped and take no signal",
        """
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
for _ in range(20):
    if os.fork() == 0:
        os.setsid()
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(60)
time.sleep(0.2)
done()
""",
    ),
)

FLOOD_SOCKETS = """
told, tell = os.pipe()
for _ in range(40):
    if os.fork() == 0:
        held, sent = [], 0
        try:
            while len(held) < 60:
                one, other = socket.socketpair(); one.setblocking(False); held.append((one, other))
                try:
                    while True: sent += one.send(bytes(65536))
                except BlockingIOError: pass
        except OSError: pass
        os.write(tell, struct.pack("Q", sent))
        time.sleep(60)
sizes, end = b"", time.monotonic() + 1
while len(sizes) < 320 and select.select([told], [], [], max(0, end - time.monotonic()))[0]:
    sizes += os.read(told, 4096)
share = sum(size for size, in struct.iter_unpack("Q", sizes)) / (given["memory_mb"] << 20)
if share > 1.2: broke("filled %.1f times the memory that its box may have" % share)
done()
"""
SCORE = 'write("/proc/self/oom_score_adj", "0")\n'
FULL: tuple[Ending, ...] = ("done", "memory", "killed", "time", "box")


async def within_memory(scene: Scene) -> None:
    """A box that still does its work after a program has asked for all memory there is."""
    result = await scene.box.exec(["sh", "-c", "echo $((6*7))"], timeout=60)
    if result.stdout != b"42\n":
        scene.breach(f"the box no longer works: {result.exit_code} {result.stderr[:100]!r}")


MEMORY = (
    Attack(
        "one large process",
        "memory",
        "take memory until none is left",
        "take_memory()\n",
        ends=("memory", "killed"),
        look=within_memory,
        needs=BOX_MEMORY,
    ),
    Attack(
        "many processes that share the work",
        "memory",
        "take memory in many processes, each of them harmless",
        """
told, tell = os.pipe()
children = []
for _ in range(16):
    children.append(os.fork())
    if children[-1] == 0:
        held = b"x" * (given["memory_mb"] << 17)
        os.write(tell, b"x")
        time.sleep(60)
count, end = 0, time.monotonic() + 1
while count < 16 and select.select([told], [], [], max(0, end - time.monotonic()))[0]: count += len(os.read(told, 16))
time.sleep(0.1)
living = sum(os.waitpid(pid, os.WNOHANG)[0] == 0 for pid in children)
if count == 16 and living > 10: broke("took %.1f times the memory that its box may have" % (living / 8))
done()
""",
        ends=FULL,
        look=within_memory,
        needs=BOX_MEMORY,
    ),
    Attack(
        "files in memory, then a heap",
        "memory",
        "fill every place in memory with files, and then the memory itself",
        """
for place in given["places"]:
    try:
        with open(place + "/fill", "wb", buffering=0) as out:
            while True: out.write(b"x" * (1 << 20))
    except OSError: pass
take_memory()
""",
        ends=("memory", "killed"),
        look=within_memory,
        needs=BOX_MEMORY,
    ),
    Attack(
        "files without a name",
        "memory",
        "hide memory in files that lie nowhere (memfd)",
        """
fds = []
while len(fds) < given["memory_mb"] // 8:
    fds.append(os.memfd_create("x"))
    for _ in range(16): os.write(fds[-1], b"x" * (1 << 20))
broke("took twice the memory that its box may have")
done()
""",
        ends=("memory", "killed", "box"),
        needs=BOX_MEMORY,
    ),
    Attack(
        "System V shared memory",
        "memory",
        "leave memory behind that belongs to no process",
        """
libc.shmat.restype = ctypes.c_void_p
for key in range(1, 200):
    made = libc.shmget(key, 4 << 20, 0o1600)
    if made < 0: break
    place = libc.shmat(made, None, 0)
    if place in (None, ctypes.c_void_p(-1).value): break
    ctypes.memset(place, 1, 4 << 20)
done()
""",
        ends=("done", "memory", "killed", "box"),
        needs=BOX_MEMORY,
    ),
    Attack(
        "System V messages",
        "memory",
        "fill the kernel's message queues",
        """
text = ctypes.create_string_buffer(8200)
text[0] = b"1"
for key in range(1, 20000):
    queue = libc.msgget(key, 0o1600)
    if queue < 0: break
    while libc.msgsnd(queue, text, 8000, 0o4000) == 0: pass
done()
""",
        ends=("done", "memory", "killed", "box"),
        needs=BOX_MEMORY,
    ),
    Attack(
        "socket buffers",
        "memory",
        "fill the kernel's buffers of sockets in many processes",
        FLOOD_SOCKETS,
        ends=FULL,
        seconds=1.0,
        needs=BOX_MEMORY,
    ),
    Attack(
        "socket buffers, by a program that does not offer itself",
        "memory",
        "have the kernel kill the box's keeper in its place",
        SCORE + FLOOD_SOCKETS,
        ends=FULL,
        seconds=1.0,
        needs=BOX_MEMORY,
    ),
    Attack(
        "many small processes that do not offer themselves",
        "memory",
        "make the box's keeper the largest process of all, and so the first to be killed",
        SCORE
        + """
for _ in range(given["pids"]):
    try:
        if os.fork() == 0:
            held = b"x" * (5 << 20)
            time.sleep(60)
    except OSError: break
time.sleep(0.6)
done()
""",
        ends=FULL,
        needs=BOX_MEMORY,
    ),
    Attack(
        "pipes",
        "memory",
        "fill the kernel's pipes",
        """
for _ in range(8):
    if os.fork() == 0:
        held = []
        try:
            while True:
                out, into = os.pipe()
                os.set_blocking(into, False)
                held.append((out, into))
                try: fcntl.fcntl(into, 1031, 1 << 20)
                except OSError: pass
                try:
                    while True: os.write(into, bytes(65536))
                except BlockingIOError: pass
        except OSError: time.sleep(60)
time.sleep(0.6)
done()
""",
        ends=FULL,
        needs=BOX_MEMORY,
    ),
    Attack(
        "names of files that do not exist",
        "memory",
        "have the kernel remember a hundred thousand names that mean nothing",
        """
for number in range(100_000): os.path.exists("/tmp/%0200d" % number)
done()
""",
        ends=("done", "memory", "killed"),
        needs=BOX_MEMORY,
    ),
    Attack(
        "memory that cannot be taken back",
        "memory",
        "lock memory, so that the kernel cannot take it from the box",
        """
libc.mlockall(3)
take_memory()
""",
        ends=("memory", "killed"),
        needs=BOX_MEMORY,
    ),
    Attack(
        "attributes of a file",
        "memory",
        "fill the kernel with attributes of files, which count for no file system's size",
        """
open("f", "w").close()
try:
    for number in range(100_000): os.setxattr("f", "user.%d" % number, b"x" * 4000)
except OSError: pass
done()
""",
        ends=("done", "memory", "killed", "box"),
        needs=BOX_MEMORY,
    ),
    Attack(
        "the files of the system",
        "memory",
        "have everything read that can be read, so that the machine keeps it in memory",
        """
read = 0
for folder, _, names in os.walk("/usr"):
    for name in names:
        try:
            with open(os.path.join(folder, name), "rb") as file: read += len(file.read(1 << 20))
        except OSError: pass
    if read > 100 << 20: break
done()
""",
        look=within_memory,
    ),
)


async def fair_share(scene: Scene) -> None:
    """Processor time as this machine counts it."""
    allowed = scene.limits.cpus * scene.seconds
    if scene.witness.cpu_seconds > 1.4 * allowed + 0.05:
        scene.breach(f"had {scene.witness.cpu_seconds:.1f} s of processor time, where {allowed:.1f} are allowed")


CPU = (
    Attack(
        "busy processes",
        "CPU",
        "keep every core busy",
        """
for _ in range(16):
    if os.fork() == 0:
        while True: pass
time.sleep(60)
""",
        ends=("time",),
        seconds=1.0,
        look=fair_share,
        needs=BOX_CPU,
    ),
    Attack(
        "priority",
        "CPU",
        "go before all others: negative nice, real-time, deadline, disk first",
        """
forbidden("became nicer to itself", os.setpriority, os.PRIO_PROCESS, 0, -20)
forbidden("became real-time", os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(50))
forbidden("became real-time in turns", os.sched_setscheduler, 0, os.SCHED_RR, os.sched_param(1))
number = 314 if X86 else 274
attributes = struct.pack("IIQiIQQQ", 48, 6, 0, 0, 0, 10_000_000, 30_000_000, 30_000_000)
refused("took a deadline", call(number, 0, attributes, 0), (errno.EINVAL, errno.EBUSY, errno.E2BIG))
refused("went first at the disk", call(251 if X86 else 30, 1, 0, 1 << 13), (errno.EINVAL,))
time.sleep(0.3)
done()
""",
    ),
    Attack(
        "other people's processors",
        "CPU",
        "move the box's keeper to a processor of its choice, and slow it down",
        """
forbidden("moved the keeper", os.sched_setaffinity, 1, {0})
forbidden("slowed the keeper down", os.setpriority, os.PRIO_PROCESS, 1, 19)
forbidden("made the keeper idle", os.sched_setscheduler, 1, os.SCHED_IDLE, os.sched_param(0))
import resource
forbidden("limited the keeper", resource.prlimit, 1, resource.RLIMIT_NOFILE, (3, 3))
forbidden("offered the keeper to be killed", write, "/proc/1/oom_score_adj", "1000")
done()
""",
        needs=frozenset({"own uid"}),
    ),
)
