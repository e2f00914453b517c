"""More files than a box may have, and floods of output."""

from __future__ import annotations

from agentlab.sandboxes.attacks.attack import Attack
from agentlab.sandboxes.attacks.scene import Scene
from agentlab.sandboxes.protocol import MAX_OUTPUT


async def within_sizes(scene: Scene) -> None:
    """What each place holds, told by a command of the runner's. Only the engine limits how many files there may be;
    elsewhere they are held by the box's memory.
    """
    limits = scene.limits
    for place, megabytes in (("/workspace", limits.workspace_mb), ("/tmp", limits.tmp_mb), ("/dev/shm", limits.shm_mb)):  # noqa: S108
        told = await scene.box.exec(["df", "--output=used,iused", "-k", place], timeout=60)
        lines = told.stdout.split()
        if len(lines) < 4 or int(lines[-2]) > megabytes << 10:
            scene.breach(f"{place} holds {told.stdout!r}, where {megabytes} MB are allowed")
        elif scene.box.backend == "docker" and int(lines[-1]) > limits.inodes + 10:
            scene.breach(f"{place} holds {int(lines[-1])} files, where {limits.inodes} are allowed")


FILL = """
def fill(path):
    try:
        with open(path, "wb", buffering=0) as out:
            while True: out.write(b"x" * (1 << 20))
    except OSError as error: return error.errno
"""

DISK = (
    Attack(
        "fill every place",
        "disk",
        "write until nothing more fits",
        FILL + "for place in given['places']: fill(place + '/fill')\ndone()\n",
        look=within_sizes,
    ),
    Attack(
        "room set aside",
        "disk",
        "have room set aside without writing to it",
        """
for place in given["places"]:
    for size in (1 << 40, 1 << 33, 1 << 30):
        with open(place + "/large%d" % size, "wb") as out:
            try: os.posix_fallocate(out.fileno(), 0, size)
            except OSError: continue
        broke("%d bytes were set aside in %s" % (size, place))
done()
""",
        look=within_sizes,
    ),
    Attack(
        "files that were deleted",
        "disk",
        "keep the room of files that have no name any more",
        FILL
        + """
held = []
for place in given["places"]:
    held.append(open(place + "/gone", "wb"))
    os.unlink(place + "/gone")
    try:
        while True: held[-1].write(b"x" * (1 << 20)); held[-1].flush()
    except OSError: pass
if os.fork() == 0:
    os.setsid()
    time.sleep(60)
done()
""",
        look=within_sizes,
    ),
    Attack(
        "more files than there are numbers",
        "disk",
        "use up every number that a file can have",
        """
for place in given["places"]:
    try:
        for number in range(55_000): os.symlink("x", "%s/%d" % (place, number))
    except OSError: pass
done()
""",
        ends=("done", "memory", "killed", "box"),
        seconds=12.0,
        look=within_sizes,
        needs=frozenset({"box memory"}),
    ),
    Attack(
        "three thousand folders deep",
        "disk",
        "nest folders so deep that no path reaches the last one",
        "for number in range(3000): os.mkdir('d'); os.chdir('d')\nopen('f', 'w').close()\ndone()\n",
    ),
    Attack(
        "zip bomb",
        "disk",
        "unpack a file of one megabyte to two hundred",
        """
import io, zipfile
packed = io.BytesIO()
with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
    with out.open("zeros", "w", force_zip64=True) as file:
        for _ in range(200): file.write(bytes(1 << 20))
try: zipfile.ZipFile(packed).extractall("/workspace")
except OSError: done()
broke("200 MB were unpacked")
""",
        seconds=20.0,
        look=within_sizes,
    ),
    Attack(
        "everywhere else",
        "disk",
        "write anywhere but in its own places",
        """
for folder, inside, _ in os.walk("/"):
    if folder in ("/proc", "/sys", "/dev/mqueue", "/dev/pts", *given["places"]):
        inside.clear()
        continue
    if folder.count("/") > 3: inside.clear()
    forbidden("wrote to " + folder, lambda: open(folder + "/.agentlab-attack", "w").close())
for path in ("/etc/passwd", "/usr/bin/env", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"):
    forbidden("opened %s for writing" % path, lambda: open(path, "ab").close())
done()
""",
        seconds=15.0,
    ),
)


async def counted(scene: Scene) -> None:
    """All that was said was read, and all but the first megabyte thrown away."""
    result = scene.result
    if result is None:
        return
    kept = len(result.stdout) + len(result.stderr)
    if kept > MAX_OUTPUT:
        scene.breach(f"{kept} bytes were kept, where {MAX_OUTPUT} are allowed")
    if result.dropped_bytes < 100 << 20:
        scene.breach(f"only {result.dropped_bytes} bytes were read and thrown away")


OUTPUT = (
    Attack(
        "a gigabyte of output",
        "output",
        "drown the runner in output",
        "block = b'x' * (1 << 20)\nfor _ in range(1024): os.write(1, block)\nos._exit(0)\n",
        ends=("done",),
        seconds=20.0,
        look=counted,
    ),
    Attack(
        "errors and output at once, without a line's end",
        "output",
        "drown the runner in both streams at once",
        """
if os.fork() == 0:
    for _ in range(128): os.write(2, b"e" * (1 << 20))
    os._exit(0)
for _ in range(128): os.write(1, b"o" * (1 << 20))
os.wait()
os._exit(0)
""",
        ends=("done",),
        seconds=20.0,
        look=counted,
    ),
    Attack(
        "one byte at a time",
        "output",
        "keep the runner busy with the smallest pieces",
        """
end = time.monotonic() + 0.4
while time.monotonic() < end: os.write(1, b"x")
done()
""",
        ends=("done",),
    ),
    Attack(
        "output that goes on after the end",
        "output",
        "end, and have a daemon go on talking",
        """
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    while True:
        try: os.write(1, b"y" * 65536)
        except OSError: pass
os._exit(0)
""",
        ends=("done",),
        seconds=3.0,
    ),
    Attack(
        "control sequences",
        "output",
        "speak to the terminal of whoever reads along",
        "os.write(1, b'\\x1b]0;owned\\x07\\x1b[2J\\x1b[999C\\x1b]52;c;ZXZpbA==\\x07\\x9b31m\\x00\\xff')\ndone()\n",
    ),
)
