"""Settings, clock and devices of this machine; mounts and namespaces; rights that a program may not gain."""

from __future__ import annotations

from agentlab.sandboxes.attacks.attack import Attack

KERNEL = (
    Attack(
        "settings of the kernel",
        "kernel",
        "change how this machine works",
        """
for name, value in {
    "kernel/panic": "1", "kernel/sysrq": "1", "kernel/core_pattern": "|/tmp/x", "kernel/modprobe": "/tmp/x",
    "kernel/randomize_va_space": "0", "kernel/yama/ptrace_scope": "0", "vm/drop_caches": "3", "vm/panic_on_oom": "1",
    "vm/overcommit_memory": "2", "fs/suid_dumpable": "2", "net/ipv4/ip_forward": "1", "kernel/ns_last_pid": "1",
    "kernel/hostname": "owned", "kernel/domainname": "owned", "kernel/core_uses_pid": "0", "kernel/pid_max": "300",
}.items():
    forbidden("wrote to /proc/sys/" + name, write, "/proc/sys/" + name, value)
for path in ("/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/mtrr", "/proc/acpi/wakeup",
             "/sys/kernel/uevent_helper", "/sys/power/state", "/sys/kernel/mm/transparent_hugepage/enabled",
             "/sys/module/kernel/parameters/panic"):
    forbidden("wrote to " + path, write, path, "h")
done()
""",
    ),
    Attack(
        "memory and messages of the kernel",
        "kernel",
        "read what the kernel keeps to itself",
        """
for path in ("/proc/kcore", "/proc/kmsg", "/dev/kmsg", "/dev/mem", "/dev/kmem", "/dev/port", "/proc/vmallocinfo",
             "/sys/kernel/debug/x86", "/proc/slabinfo", "/proc/keys", "/proc/timer_list", "/proc/1/pagemap",
             "/sys/firmware/efi", "/sys/firmware/dmi/tables/DMI", "/sys/class/dmi/id/product_uuid"):
    def read():
        with open(path, "rb") as file:
            if not file.read(64): raise OSError
    forbidden("read " + path, read)
try:
    with open("/proc/kallsyms") as file:
        if any(line.split()[0].strip("0") for line in file.readlines()[:200]): broke("the kernel's addresses are shown")
except OSError: pass
refused("read the kernel's messages", call(103 if X86 else 116, 3, ctypes.create_string_buffer(4096), 4096))
done()
""",
    ),
    Attack(
        "a helper that the kernel starts as root",
        "kernel",
        "have a crash start a program outside, or leave its memory behind",
        """
import resource
forbidden("named a helper", write, "/proc/sys/kernel/core_pattern", "|/tmp/helper")
forbidden("allowed itself core files", resource.setrlimit, resource.RLIMIT_CORE, (-1, -1))
os.chdir("/tmp")
if os.fork() == 0: os.abort()
os.wait()
if any(name.startswith("core") for name in os.listdir("/tmp")): broke("a core file was left")
forbidden("named a helper of control groups", write, "/sys/fs/cgroup/memory/release_agent", "/tmp/x")
done()
""",
    ),
    Attack(
        "the clock",
        "kernel",
        "set this machine's time",
        """
forbidden("set the clock", time.clock_settime, time.CLOCK_REALTIME, 1_000_000_000)
refused("set the time of day", call(164 if X86 else 170, struct.pack("qq", 1_000_000_000, 0), None))
refused("bent the clock", call(159 if X86 else 171, struct.pack("I", 0x8003) + bytes(300)), (errno.EINVAL,))
forbidden("set the clock chip", lambda: open("/dev/rtc0", "w"))
done()
""",
    ),
    Attack(
        "devices",
        "kernel",
        "open or make a device",
        """
usual = {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"}
for folder, inside, names in os.walk("/dev"):
    if folder in ("/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd"): continue
    for name in set(names) - usual:
        path = os.path.join(folder, name)
        if os.path.islink(path): continue
        forbidden("opened " + path, os.open, path, os.O_RDWR | os.O_NONBLOCK)
for name, major, minor, kind in (("mem", 1, 1, 0o020000), ("disk", 254, 0, 0o060000), ("null", 1, 3, 0o020000),
                                 ("sda", 8, 0, 0o060000), ("fuse", 10, 229, 0o020000), ("loop", 7, 0, 0o060000)):
    for place in ("/workspace/", "/tmp/", "/dev/shm/"):
        forbidden("made the device " + name, os.mknod, place + name, kind | 0o666, os.makedev(major, minor))
done()
""",
    ),
    Attack(
        "modules, restarts, swap",
        "kernel",
        "load code into the kernel, restart the machine, or take its swap",
        """
numbers = {"init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
           "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60),
           "syslog": (103, 116), "vhangup": (153, 58), "sethostname": (170, 161), "setdomainname": (171, 162),
           "fanotify_init": (300, 262), "name_to_handle_at": (303, 264), "move_pages": (279, 239)}
for name, pair in numbers.items():
    words = (0xfee1dead, 672274793) if name == "reboot" else (0, 0)
    refused(name, call(pair[not X86], *words, 0, 0, 0))
if X86:
    refused("iopl", call(172, 3))
    refused("ioperm", call(173, 0x70, 2, 1))
done()
""",
    ),
    Attack(
        "the program that holds the box",
        "kernel",
        "overwrite the program that the box's keeper was started with",
        """
for path in ("/proc/self/exe", "/proc/1/exe", "/proc/1/root/usr/bin/python3", "/usr/bin/python3"):
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
        forbidden("opened %s for writing" % path, os.open, path, flags)
for number in range(3, 64):
    for flags in (os.O_WRONLY, os.O_RDWR):
        try: os.write(os.open("/proc/1/fd/%d" % number, flags), b"owned")
        except OSError: continue
        broke("wrote to descriptor %d of the keeper" % number)
done()
""",
    ),
)

NAMESPACES = (
    Attack(
        "mounts",
        "namespaces",
        "mount something, somewhere",
        """
mount, umount = (165, 166) if X86 else (40, 39)
nonsense = (errno.EINVAL, errno.EFAULT)
layers = b"lowerdir=/,upperdir=/tmp,workdir=/tmp"
for what, kind, flags in ((b"none", b"tmpfs", 0), (b"/", None, 4096), (b"none", b"proc", 0), (b"none", b"sysfs", 0),
                          (b"none", b"overlay", 0), (b"none", b"cgroup2", 0), (b"none", b"devtmpfs", 0),
                          (None, None, 32 | 4096)):
    refused("mounted %s" % (kind or what), call(mount, what, b"/tmp", kind, flags, layers), nonsense)
refused("made the system writable", call(mount, None, b"/", None, 32, None), nonsense)
for path in (b"/proc/kcore", b"/grade", b"/workspace", b"/proc", b"/sys", b"/"):
    refused("unmounted %s" % path, call(umount, path, 2), (errno.EINVAL,))
done()
""",
    ),
    Attack(
        "the new way to mount",
        "namespaces",
        "mount something by descriptors",
        """
for name, number, arguments in (
    ("open_tree", 428, (-100, b"/", 1)), ("move_mount", 429, (-100, b"/tmp", -100, b"/usr", 0)),
    ("fsopen", 430, (b"tmpfs", 0)), ("fsmount", 432, (3, 0, 0)), ("fspick", 433, (-100, b"/", 0)),
    ("mount_setattr", 442, (-100, b"/", 0, bytes(32), 32)),
):
    refused(name, call(number, *arguments), (errno.EBADF, errno.EINVAL))
done()
""",
    ),
    Attack(
        "namespaces of its own",
        "namespaces",
        "become root in a world of its own, and reach the kernel from there",
        """
unshare = 272 if X86 else 97
for name, flag in (("user", 0x10000000), ("mount", 0x20000), ("net", 0x40000000), ("pid", 0x20000000),
                   ("ipc", 0x8000000), ("uts", 0x4000000), ("cgroup", 0x2000000), ("time", 0x80),
                   ("user and mount", 0x10020000)):
    if os.fork() == 0:
        refused("entered a %s namespace of its own" % name, call(unshare, flag), (errno.EINVAL, errno.ENOSPC))
        os._exit(0)
    os.wait()
stack = struct.pack("QQQQQQQQ", 0x10000000, 0, 0, 0, 17, 0, 0, 0)
made = call(435, stack, 64)
if made == 0: os._exit(0)
refused("cloned into a user namespace", made, (errno.EINVAL, errno.ENOSPC))
made = call(56 if X86 else 220, 0x10000000 | 17, 0, 0, 0, 0)
if made == 0: os._exit(0)
refused("cloned into a user namespace by the old call", made, (errno.EINVAL, errno.ENOSPC))
done()
""",
    ),
    Attack(
        "namespaces of others",
        "namespaces",
        "enter the namespaces of the box's keeper, or another root",
        """
setns = 308 if X86 else 268
for name in ("mnt", "net", "pid", "user", "ipc", "uts", "cgroup", "time"):
    try: fd = os.open("/proc/1/ns/" + name, os.O_RDONLY)
    except OSError: continue
    refused("entered the keeper's %s namespace" % name, call(setns, fd, 0), (errno.EINVAL,))
forbidden("changed its root", os.chroot, "/tmp")
refused("turned its root around", call(155 if X86 else 41, b"/tmp", b"/tmp"), (errno.EINVAL,))
for path in ("/proc/1/root", "/proc/1/cwd"):
    forbidden("entered " + path, lambda: os.listdir(path + "/"))
done()
""",
    ),
    Attack(
        "control groups",
        "namespaces",
        "raise its own limits, or leave the group that has them",
        """
names = ("memory.limit_in_bytes", "memory.max", "pids.max", "cpu.cfs_quota_us", "cpu.max", "cgroup.procs", "tasks",
         "memory.oom_control", "notify_on_release", "release_agent", "cgroup.subtree_control", "cgroup.kill",
         "cgroup.freeze")
for folder, inside, files in os.walk("/sys/fs/cgroup"):
    if folder.count("/") > 6: inside.clear()
    for name in names:
        path = os.path.join(folder, name)
        if os.path.exists(path): forbidden("opened %s for writing" % path, write, path, "1")
    forbidden("made a group of its own", os.mkdir, folder + "/owned")
done()
""",
    ),
)

RIGHTS = (
    Attack(
        "become root",
        "rights",
        "take another user's place",
        """
for name, function in (("setuid", lambda: os.setuid(0)), ("setresuid", lambda: os.setresuid(0, 0, 0)),
                       ("setgid", lambda: os.setgid(0)), ("setgroups", lambda: os.setgroups([0])),
                       ("the grader's uid", lambda: os.setresuid(1001, 1001, 1001))):
    forbidden("changed who it is by %s" % name, function)
libc.setfsuid(0)
if libc.setfsuid(-1) == 0: broke("reads files as root")
for program in (["su", "-c", "id"], ["sudo", "-n", "id"], ["newgrp", "root"], ["setpriv", "--reuid=0", "id"],
                ["pkexec", "id"]):
    pid = os.fork()
    if pid == 0:
        try: os.execvp(program[0], program)
        except OSError: os._exit(1)
    for _ in range(40):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended and status == 0: broke("%s let it in" % program[0])
        if ended: break
        time.sleep(0.01)
done()
""",
    ),
    Attack(
        "capabilities",
        "rights",
        "give itself capabilities",
        """
header = struct.pack("II", 0x20080522, 0)
refused("took all capabilities", call(126 if X86 else 91, header, struct.pack("IIIIII", *[0xffffffff] * 6)))
for number in range(41):
    if libc.prctl(47, 2, number, 0, 0) == 0: broke("kept capability %d over exec" % number)
if libc.prctl(28, 0x2f, 0, 0, 0) == 0: broke("changed its secure bits")
with open("/proc/self/status") as file: status = dict(line.split(":", 1) for line in file)
for name in ("CapEff", "CapPrm", "CapAmb"):
    if int(status[name], 16): broke("has %s %s" % (name, status[name].strip()))
time.sleep(0.25)
done()
""",
    ),
    Attack(
        "programs that lend their rights",
        "rights",
        "make or find a program that runs as its owner",
        """
import shutil, stat
for place in given["places"]:
    path = place + "/lent"
    shutil.copy("/usr/bin/id", path)
    os.chmod(path, 0o6755)
    forbidden("gave a file to root", os.chown, path, 0, 0)
    every = bytes.fromhex("0100000200000000000000000000000000000000")
    forbidden("gave a file capabilities", os.setxattr, path, "security.capability", every)
if libc.prctl(38, 0, 0, 0, 0) == 0: broke("may gain rights again")
for folder in ("/usr/bin", "/usr/sbin", "/bin", "/usr/lib"):
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.lstat(path).st_mode & 0o6000 and os.access(path, os.X_OK):
            out, into = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.dup2(into, 1); os.dup2(into, 2); os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
                try: os.execv(path, [name, "--version"])
                except OSError: os._exit(1)
            os.close(into)
            for _ in range(20):
                try:
                    with open("/proc/%d/status" % pid) as file: lines = file.readlines()
                except OSError: break
                told = dict(line.split(":", 1) for line in lines if ":" in line)
                if told["Uid"].split()[1] == "0" or int(told["CapEff"], 16): broke("%s ran as root" % path)
                if os.waitpid(pid, os.WNOHANG)[0]: break
                time.sleep(0.002)
            else:
                os.kill(pid, 9); os.waitpid(pid, 0)
            os.close(out)
done()
""",
        seconds=8.0,
    ),
)
