"""What outlives its command or a reset, and files that harm whoever takes them out of the box."""

from __future__ import annotations

import io
import tarfile

from agentlab.sandboxes import archives
from agentlab.sandboxes.attacks.attack import Attack
from agentlab.sandboxes.attacks.scene import Scene
from agentlab.sandboxes.protocol import SandboxError

LEFT_BEHIND = (
    Attack(
        "daemons",
        "left behind",
        "leave processes behind that belong to nobody: new session, double fork, no descriptors, other name",
        """
for number in range(4):
    if os.fork() == 0:
        os.setsid()
        if os.fork(): os._exit(0)
        os.chdir("/")
        if number % 2: os.closerange(0, 256)
        os.environ.clear()
        libc.prctl(15, b"kworker/0:1", 0, 0, 0)
        for which in range(1, 65):
            try: signal.signal(which, signal.SIG_IGN)
            except (OSError, ValueError): pass
        if number < 2: os.execve("/bin/sleep", ["[kworker/0:1]", "3600"], {})
        while True: time.sleep(1)
done()
""",
    ),
    Attack(
        "a keeper of its own",
        "left behind",
        "collect orphans before the box's keeper does (subreaper), so that they are not found",
        """
libc.prctl(36, 1, 0, 0, 0)
for _ in range(6):
    if os.fork() == 0:
        os.setsid()
        libc.prctl(36, 1, 0, 0, 0)
        if os.fork() == 0:
            os.setsid()
            while True: time.sleep(1)
        os._exit(0)
time.sleep(0.2)
if os.fork() == 0:
    libc.prctl(36, 1, 0, 0, 0)
    os.setsid()
    while True: time.sleep(1)
done()
""",
    ),
    Attack(
        "two that raise each other",
        "left behind",
        "have a process started again whenever it is killed (parent-death signal)",
        """
def rise(depth):
    libc.prctl(1, signal.SIGUSR1, 0, 0, 0)
    def again(*_):
        if os.fork() == 0: rise(depth + 1)
    signal.signal(signal.SIGUSR1, again)
    signal.signal(signal.SIGCHLD, again)
    os.setsid() if os.getsid(0) != os.getpid() else None
    if depth < 3 and os.fork() == 0: rise(depth + 1)
    while True: time.sleep(0.01)
if os.fork() == 0: rise(0)
time.sleep(0.3)
done()
""",
    ),
    Attack(
        "a process that holds the line",
        "left behind",
        "end, and keep the runner waiting for more",
        """
if os.fork() == 0:
    os.setsid()
    while True: time.sleep(1)
done()
""",
        seconds=2.0,
    ),
    Attack(
        "no end at all",
        "left behind",
        "go on after its time limit, with every signal refused and children in sessions of their own",
        """
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
for _ in range(5):
    if os.fork() == 0:
        os.setsid()
        while True: time.sleep(1)
while True: time.sleep(1)
""",
        ends=("time",),
        seconds=0.5,
    ),
    Attack(
        "messages to who comes after",
        "left behind",
        "leave traces in every place that a reset might forget",
        """
for place in [*given["places"], "/dev/mqueue", "/var/tmp", "/run", "/var/lock"]:
    for name in ("trace", ".trace", "a\\nb", "-rf", "\\udcff", " "):
        try: open(os.path.join(place, name), "w").write("before")
        except OSError: continue
    try:
        os.setxattr(place, "user.trace", b"before")
    except OSError: pass
    try:
        os.mkdir(place + "/shut"); open(place + "/shut/x", "w").close(); os.chmod(place + "/shut", 0)
        os.chmod(place, 0o1777)
    except OSError: pass
libc.semget(77, 1, 0o1666); libc.shmget(78, 4096, 0o1666); libc.msgget(79, 0o1666)
name = b"/trace"
libc.mq_open(name, 0o102, 0o666, None)
try: os.chmod("/workspace", 0)
except OSError: pass
done()
""",
    ),
)


async def take_out(scene: Scene) -> None:
    """What a runner takes: files by name, and the whole workspace. Refusals are fine, harm is not."""
    for path in (
        "link",
        "folder/secret",
        "hard",
        "fifo",
        "socket",
        "device",
        "sparse",
        "growing",
        "loop",
        "/proc/self/environ",
    ):
        try:
            scene.taken.append(await scene.box.read_file(path, max_bytes=8 << 20))
        except (OSError, ValueError):
            continue
    for path in ("/workspace", "/workspace/folder", "/workspace/link"):
        try:
            taken = await scene.box.snapshot(path, max_bytes=32 << 20)
        except (OSError, ValueError):
            continue
        scene.taken.append(taken)
        _look_at_archive(scene, taken)


def _look_at_archive(scene: Scene, taken: bytes) -> None:
    """Everything in it lies below its folder, and nothing in it is more than files, folders and links."""
    try:
        archives.check(taken, 64 << 20, links_may_leave=True)
    except ValueError as error:
        scene.breach(f"a snapshot cannot be trusted: {error}")
        return
    with tarfile.open(fileobj=io.BytesIO(taken)) as tar:
        for member in tar:
            if member.mode & 0o7000:
                scene.breach(f"{member.name[:40]!r} would lend rights to who unpacks it")
            if (member.uid, member.gid) == (0, 0):
                scene.breach(f"{member.name[:40]!r} would belong to root")


async def unpack_elsewhere(scene: Scene) -> None:
    """Archives that the program has made are unpacked for the grader, as a runner does with an agent's work."""
    for name in (
        "up.tar",
        "absolute.tar",
        "through.tar",
        "hard.tar",
        "device.tar",
        "fifo.tar",
        "sparse.tar",
        "many.tar",
        "broken.tar",
    ):
        try:
            archive = await scene.box.read_file(name, max_bytes=32 << 20)
        except (OSError, ValueError):
            scene.breach(f"{name} is not there: the attack was not made")
            continue
        try:
            await scene.box.restore(archive, "/grade/work", user="grader")
        except (OSError, ValueError):
            pass
        else:
            scene.breach(f"{name} was unpacked")
    listed = await scene.box.exec(["find", "/grade", "/tmp", "-name", "*owned*"], user="grader")  # noqa: S108
    if listed.stdout:
        scene.breach(f"an archive left {listed.stdout[:100]!r}")


async def read_under_way(scene: Scene) -> None:
    """Reads the same name again and again while it is exchanged."""
    for _ in range(25):
        try:
            scene.taken.append(await scene.box.read_file("swapped", max_bytes=1 << 20))
        except (OSError, ValueError):
            continue
        except SandboxError as error:
            scene.breach(f"reading a file that changes cost the box: {error}")
            return


WAY_OUT = (
    Attack(
        "links",
        "way out",
        "have the runner read files of this machine, of the grader or of the keeper through links",
        """
os.symlink(given["folder"] + "/secret", "link")
os.symlink(given["folder"], "folder")
for target in (given["folder"] + "/secret", "/grade/secret", "/etc/shadow", "/proc/1/environ"):
    for place in given["places"]:
        try: os.link(target, place + "/hard")
        except OSError: continue
os.symlink("loop", "loop")
ways = ("/", "/proc/1/root", "/proc/self/fd/0", "..", "../../../../../../etc/passwd", "/grade")
for number, target in enumerate(ways): os.symlink(target, "way%d" % number)
done()
""",
        look=take_out,
        grader=True,
    ),
    Attack(
        "what is no file",
        "way out",
        "have the runner wait for ever on a pipe, a socket or a device",
        """
os.mkfifo("fifo")
socket.socket(socket.AF_UNIX).bind("socket")
try: os.mknod("device", 0o020666, os.makedev(1, 5))
except OSError: os.symlink("/dev/zero", "device")
os.mkdir("folder"); os.mkfifo("folder/secret")
done()
""",
        look=take_out,
    ),
    Attack(
        "three gigabytes of nothing",
        "way out",
        "have the runner hold a file that takes no room in the box",
        """
for name in ("sparse", "growing"):
    with open(name, "wb") as file:
        try: file.truncate(3 << 30)
        except OSError: file.truncate(40 << 20)
os.mkdir("folder")
for number in range(50):
    with open("folder/%d" % number, "wb") as file: file.truncate(30 << 20)
done()
""",
        look=take_out,
    ),
    Attack(
        "a file that grows and changes",
        "way out",
        "exchange a file for a link, a pipe or a larger one in the moment it is read",
        """
with open("small", "wb") as file: file.write(b"small")
end = time.monotonic() + 0.8
while time.monotonic() < end:
    for make in (lambda: os.symlink(given["folder"] + "/secret", "next"), lambda: os.symlink("/grade/secret", "next"),
                 lambda: os.mkfifo("next"), lambda: os.link("small", "next"), lambda: os.symlink("/dev/zero", "next")):
        make()
        os.rename("next", "swapped")
    with open("large", "ab") as file:
        if file.tell() < 8 << 20: file.write(bytes(1 << 18))
done()
""",
        seconds=4.0,
        meanwhile=read_under_way,
        grader=True,
    ),
    Attack(
        "names",
        "way out",
        "break the runner by names: newlines, control sequences, no text, too long, too deep, up and away",
        """
import itertools
os.mkdir("folder")
for name in (b"a\\nb", b"\\x1b]0;owned\\x07", b"\\xff\\xfe\\x80", b"-rf", b" ", b"~", b"$(id)", b"`id`", b";id", b"|id",
             b"\\r", b"\\t", b"CON", b"..\\\\..\\\\x", b"%00", b"%2e%2e%2f", b"x" * 255, "\\u202egpj.exe".encode(),
             b"*", b"?", b"'", b'"', b"...", b". ."):
    for folder in (b"", b"folder/"):
        with open(folder + name, "wb") as file: file.write(b"x")
        os.chmod(folder + name, 0o7777)
here = os.getcwd()
for _ in range(150): os.mkdir("d" * 20); os.chdir("d" * 20)
open("deep", "w").close()
done()
""",
        look=take_out,
    ),
    Attack(
        "archives that leave their folder",
        "way out",
        "have the grader unpack an archive that writes elsewhere, or never ends",
        """
import io, tarfile
def tar(name, *members):
    with tarfile.open(name, "w") as out:
        for member, data in members: member.size = len(data); out.addfile(member, io.BytesIO(data))
def member(name, kind=tarfile.REGTYPE, target=""):
    made = tarfile.TarInfo(name); made.type, made.linkname = kind, target
    return made
tar("up.tar", (member("../../tmp/owned"), b"x"))
tar("absolute.tar", (member("/tmp/owned"), b"x"))
tar("through.tar", (member("way", tarfile.SYMTYPE, "/tmp"), b""), (member("way/owned"), b"x"))
tar("hard.tar", (member("owned", tarfile.LNKTYPE, "../../etc/passwd"), b""))
tar("device.tar", (member("owned", tarfile.CHRTYPE), b""))
tar("fifo.tar", (member("owned", tarfile.FIFOTYPE), b""))
tar("many.tar", *[(member("d/" * 300 + "owned"), b"")])
with open("broken.tar", "wb") as file: file.write(b"owned" * 1000)
made = member("owned"); made.size = 1 << 50
with open("sparse.tar", "wb") as file: file.write(made.tobuf(tarfile.GNU_FORMAT)); file.write(bytes(4096))
done()
""",
        look=unpack_elsewhere,
    ),
    Attack(
        "a folder that never holds still",
        "way out",
        "change a folder while the runner takes it out",
        """
os.mkdir("folder")
end = time.monotonic() + 0.6
number = 0
while time.monotonic() < end:
    number += 1
    base = "folder/%d" % (number % 50)
    try:
        if number % 3 == 0: os.mkdir(base)
        elif number % 3 == 1: os.rmdir(base); os.symlink(given["folder"], base)
        else: os.unlink(base); open(base, "w").write("x" * (number % 5000))
    except OSError: pass
done()
""",
        meanwhile=take_out,
        grader=True,
    ),
)
