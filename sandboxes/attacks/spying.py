"""Sight of this machine, of other boxes and of the box's keeper; answers in the keeper's name; the grader's things."""

from __future__ import annotations

from agentlab.sandboxes.attacks.attack import Attack, Need
from agentlab.sandboxes.attacks.scene import Scene, exit_codes_are_true

OWN_UID: frozenset[Need] = frozenset({"own uid"})

SPYING = (
    Attack(
        "environments",
        "spying",
        "find what the runner, its keys and other processes have in their environment",
        """
for name, value in os.environ.items(): print(name, value)
for entry in os.listdir("/proc"):
    if entry.isdigit():
        for file in ("environ", "cmdline", "stack", "syscall", "maps"): show("/proc/%s/%s" % (entry, file))
done()
""",
    ),
    Attack(
        "processes of this machine",
        "spying",
        "see or signal what runs outside the box",
        """
import glob
for path in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/task/*/cmdline"): show(path)
for pid in range(2, 32768):
    try: os.kill(pid, 0)
    except OSError: continue
    if not os.path.exists("/proc/%d" % pid): broke("process %d answers and is not in the box" % pid)
    else: show("/proc/%d/cmdline" % pid)
show("/proc/sched_debug"); show("/proc/timer_list"); show("/proc/1/task/1/children")
done()
""",
    ),
    Attack(
        "files of this machine",
        "spying",
        "read files outside the box, by path and through what processes have open",
        """
paths = [given["folder"] + "/secret", "/etc/shadow", "/root/.bash_history", given["home"] + "/.netrc",
         given["home"] + "/.ssh/id_rsa"]
roots = ["", "/proc/1/root", "/proc/self/root/..", "/..", "/../../../..", "/proc/1/cwd", "/proc/self/root/proc/1/root"]
for root in roots:
    for path in paths:
        if show(root + path) and "shadow" not in path: broke("read " + root + path)
for root in (given["folder"], given["home"] + "/.ssh", given["home"] + "/.aws"):
    forbidden("listed " + root, os.listdir, root)
for number in range(256):
    try: broke("listed descriptor %d: %s" % (number, os.listdir(number)[:3]))
    except OSError: pass
    except NotADirectoryError: pass
if os.access("/etc/shadow", os.R_OK): broke("reads /etc/shadow")
forbidden("wrote to the canary", write, given["folder"] + "/canary", "owned")
done()
""",
    ),
    Attack(
        "the engine's socket",
        "spying",
        "speak with whoever makes boxes, and have one made without walls",
        """
for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock",
             "/run/dbus/system_bus_socket", "/run/systemd/private", "/run/crio/crio.sock", "/tmp/.X11-unix/X0",
             given["folder"] + "/socket"):
    with socket.socket(socket.AF_UNIX) as sock: forbidden("connected to " + path, sock.connect, path)
for port in (2375, 2376, 2377, 10250, 5000, 6443):
    for address in given["addresses"]:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
            sock.settimeout(0.2)
            forbidden("connected to %s port %d" % (address, port), sock.connect, (address, port))
done()
""",
    ),
    Attack(
        "the keeper's memory",
        "spying",
        "read and change the memory of the box's keeper and of other commands",
        """
ptrace, readv, writev = (101, 310, 311) if X86 else (117, 270, 271)
child = os.fork()
if child == 0:
    held = b"of another command" * 1000
    time.sleep(60)
for pid in (1, os.getppid(), child):
    for name, request in (("attached to", 16), ("seized", 0x4206)):
        refused("%s process %d" % (name, pid), call(ptrace, request, pid, 0, 0))
    space = ctypes.create_string_buffer(64)
    local = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(space), 64))
    remote = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(space), 64))
    refused("read process %d" % pid, call(readv, pid, local, 1, remote, 1, 0))
    refused("wrote to process %d" % pid, call(writev, pid, local, 1, remote, 1, 0))
    if pid != child:
        for file in ("mem", "environ", "maps", "stack", "auxv", "fd/0", "fd/1"):
            def read():
                fd = os.open("/proc/%d/%s" % (pid, file), os.O_RDONLY | os.O_NONBLOCK)
                if file == "mem": return
                os.set_blocking(fd, False)
                try: found = os.read(fd, 64)
                finally: os.close(fd)
                if not found: raise OSError
            if pid == 1: forbidden("read /proc/%d/%s" % (pid, file), read)
fd = call(434, 1, 0)
if fd >= 0:
    for number in range(3): refused("took descriptor %d of the keeper" % number, call(438, fd, number, 0))
    refused("advised the keeper's memory", call(440, fd, local, 1, 21, 0), (errno.EINVAL, errno.ESRCH, errno.EBADF))
refused("compared with the keeper", call(312 if X86 else 272, os.getpid(), 1, 0, 0, 0))
os.kill(child, 9)
done()
""",
    ),
    Attack(
        "what was before",
        "spying",
        "find in fresh memory what others left there",
        """
import mmap
fresh = mmap.mmap(-1, 64 << 20)
if fresh.read().strip(b"\\0"): broke("fresh memory is not empty")
with open("/tmp/fresh", "w+b") as file:
    file.truncate(8 << 20)
    if file.read().strip(b"\\0"): broke("a fresh file is not empty")
done()
""",
        ends=("done", "memory"),
    ),
)

SPOOFING = (
    Attack(
        "forged frames",
        "spoofing",
        "answer the runner in the name of the box's keeper",
        """
def frame(header, payload=b""):
    text = json.dumps(header).encode()
    return struct.pack("!II", len(text), len(payload)) + text + payload
end = {"t": "end", "code": 0, "split": 6, "dropped": 0}
forged = b"".join(frame({"id": number, **end}, b"forged") for number in range(1, 400))
docker = struct.pack("!BxxxI", 1, len(forged)) + forged
for fd in range(3, 256):
    try: os.write(fd, forged)
    except OSError: continue
    broke("descriptor %d was open for writing" % fd)
own = ["/dev/console", "/proc/self/fd/1", "/dev/stdout", "/dev/tty"]
for path in ["/proc/1/fd/%d" % number for number in range(16)] + own:
    def forge():
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        os.write(fd, forged + docker)
    if "/proc/1/" in path: forbidden("wrote to " + path, forge)
    else:
        try: forge()
        except OSError: pass
for _ in range(20):
    os.write(1, forged + docker)
    os.write(2, docker + forged)
time.sleep(0.3)
done()
""",
        meanwhile=exit_codes_are_true,
        needs=OWN_UID,
    ),
    Attack(
        "every signal",
        "spoofing",
        "stop, confuse or end the box's keeper by signals",
        """
for number in set(range(1, 65)) - {32, 33}:
    for _ in range(2):
        try: os.kill(1, number)
        except OSError: pass
for number in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGKILL, signal.SIGSEGV):
    fd = call(434, 1, 0)
    if fd >= 0: call(424, fd, int(number), None, 0)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        time.sleep(0.05)
        os.kill(1, signal.SIGSTOP)
        os._exit(0)
time.sleep(0.3)
done()
""",
        meanwhile=exit_codes_are_true,
        ends=("done", "killed"),
    ),
    Attack(
        "everybody at once",
        "spoofing",
        "kill everything that it may kill",
        """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
    try: os.kill(-1, number)
    except OSError: pass
time.sleep(0.2)
done()
""",
        ends=("done", "killed"),
    ),
    Attack(
        "words for a terminal",
        "spoofing",
        "type commands into whatever terminal it was started from (TIOCSTI)",
        """
import termios
paths = ["/dev/tty", "/dev/console", "/dev/ptmx"] + ["/dev/pts/" + name for name in os.listdir("/dev/pts")]
fds = [0, 1, 2]
for path in paths:
    try: fds.append(os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError: pass
for fd in fds:
    if os.path.exists("/dev/ptmx") and os.fstat(fd).st_rdev == os.stat("/dev/ptmx").st_rdev: continue
    for letter in b"id\\n":
        forbidden("typed into descriptor %d" % fd, fcntl.ioctl, fd, termios.TIOCSTI, bytes([letter]))
    forbidden("pasted into descriptor %d" % fd, fcntl.ioctl, fd, 0x541c, b"\\x03")
if os.isatty(0) or os.isatty(1): broke("has a terminal")
done()
""",
    ),
)


async def grading_is_sound(scene: Scene) -> None:
    """While an attack runs, a program of the grader's says what it computes."""
    for _ in range(2):
        argv = ["python3", "-c", "import json, random, sys; print(6 * 7, json.dumps([1]))"]
        result = await scene.box.exec(argv, user="grader", cwd="/grade", timeout=60)
        if result.exit_code != 126 and (result.exit_code, result.stdout) != (0, b"42 [1]\n"):
            scene.breach(f"the grader's program ended with {result.exit_code}, saying {result.stdout[:80]!r}")


GRADING = (
    Attack(
        "the grader's files",
        "grading",
        "read, change or replace the tests",
        """
show("/grade/secret")
for name, function in (
    ("listed", lambda: os.listdir("/grade")), ("opened to all", lambda: os.chmod("/grade", 0o777)),
    ("renamed", lambda: os.rename("/grade", "/tmp/g")), ("replaced", lambda: os.rename("/tmp/mine", "/grade")),
    ("wrote to", lambda: write("/grade/secret", "owned")), ("added to", lambda: open("/grade/conftest.py", "w")),
    ("removed from", lambda: os.unlink("/grade/secret")), ("removed", lambda: os.rmdir("/grade")),
    ("took", lambda: os.chown("/grade", os.getuid(), os.getgid())),
    ("linked", lambda: os.link("/grade/secret", "/tmp/secret")),
    ("entered", lambda: os.chdir("/grade")), ("opened", lambda: os.open("/grade", os.O_RDONLY)),
    ("marked", lambda: os.setxattr("/grade", "user.x", b"x")),
):
    try: os.mkdir("/tmp/mine")
    except OSError: pass
    forbidden("%s the grader's folder" % name, function)
path = os.open("/grade", os.O_PATH)
forbidden("went in by a descriptor", os.open, "secret", os.O_RDONLY, dir_fd=path)
os.symlink("/grade/secret", "/workspace/answer.py")
done()
""",
        grader=True,
    ),
    Attack(
        "the grader's processes",
        "grading",
        "read, stop or end the process that knows the right answers",
        """
ptrace, readv = (101, 310) if X86 else (117, 270)
for entry in os.listdir("/proc"):
    if not entry.isdigit() or int(entry) in (1, os.getpid()): continue
    pid = int(entry)
    try: theirs = os.stat("/proc/" + entry).st_uid != os.getuid()
    except OSError: continue
    for file in ("environ", "mem", "maps", "cmdline", "stack"): show("/proc/%d/%s" % (pid, file))
    if not theirs: continue
    for number in (9, 15, 19, 10): forbidden("signalled the grader's process", os.kill, pid, number)
    refused("traced the grader's process", call(ptrace, 16, pid, 0, 0))
    import resource
    forbidden("limited the grader's process", resource.prlimit, pid, resource.RLIMIT_CPU, (1, 1))
    forbidden("slowed the grader's process", os.setpriority, os.PRIO_PROCESS, pid, 19)
    forbidden("looked into the grader's folder", os.listdir, "/proc/%d/cwd/" % pid)
    for number in range(3):
        forbidden("took the grader's descriptor", os.open, "/proc/%d/fd/%d" % (pid, number), os.O_RDWR)
done()
""",
        grader=True,
    ),
    Attack(
        "a nest for the grader's programs",
        "grading",
        "lay out code that the grader's programs would load by themselves",
        """
evil = "import os, sys; print('forged', flush=True); os._exit(0)\\n"
for place in given["places"]:
    for name in ("sitecustomize.py", "usercustomize.py", "json.py", "random.py", "conftest.py", "python3", "sh",
                 ".pythonrc", "pytest.ini", "pyvenv.cfg", ".bashrc", ".profile", ".gitconfig", "libc.so.6"):
        text = evil if name.endswith(".py") else "#!/bin/sh\\necho forged\\n"
        with open(os.path.join(place, name), "w") as out: out.write(text)
        os.chmod(os.path.join(place, name), 0o755)
os.makedirs("/tmp/.local/lib/python3.11/site-packages", exist_ok=True)
with open("/tmp/.local/lib/python3.11/site-packages/usercustomize.py", "w") as out: out.write(evil)
time.sleep(0.6)
done()
""",
        meanwhile=grading_is_sound,
        grader=True,
    ),
    Attack(
        "a race with the grader",
        "grading",
        "keep the box so busy that grading fails",
        """
for _ in range(8):
    if os.fork() == 0:
        while True:
            try: open("/tmp/%d" % os.getpid(), "w").close(); os.unlink("/tmp/%d" % os.getpid())
            except OSError: pass
time.sleep(0.6)
done()
""",
        meanwhile=grading_is_sound,
        grader=True,
    ),
)
