"""System calls that boxes do not need, and other doors to the same ones."""

from __future__ import annotations

from agentlab.sandboxes.attacks.attack import Attack

CALLS = (
    Attack(
        "io_uring",
        "system calls",
        "do its work where no filter of system calls looks",
        """
for flags in (0, 1 << 1, 1 << 6):
    made = refused("set up io_uring", call(425, 8, bytearray(120) and ctypes.create_string_buffer(120)))
refused("entered io_uring", call(426, 0, 1, 1, 0, None, 0), (errno.EBADF,))
refused("registered with io_uring", call(427, -1, 0, None, 0), (errno.EBADF, errno.EINVAL))
time.sleep(0.25)
done()
""",
    ),
    Attack(
        "programs for the kernel",
        "system calls",
        "load a program into the kernel (bpf), or count its events (perf)",
        """
attributes = ctypes.create_string_buffer(struct.pack("IIII", 2, 4, 8, 16) + bytes(112), 128)
refused("made a bpf map", call(321 if X86 else 280, 0, attributes, 128))
program = ctypes.create_string_buffer(struct.pack("QQ", 0xb7, 0x95))
load = ctypes.create_string_buffer(struct.pack("IIQQ", 1, 2, ctypes.addressof(program), 0) + bytes(104), 128)
refused("loaded a bpf program", call(321 if X86 else 280, 5, load, 128))
event = ctypes.create_string_buffer(struct.pack("IIQ", 1, 112, 0) + bytes(100), 128)
refused("counted events", call(298 if X86 else 241, event, 0, -1, -1, 0))
time.sleep(0.25)
done()
""",
    ),
    Attack(
        "faults of its own",
        "system calls",
        "stop the kernel in the middle of its work (userfaultfd)",
        """
for flags in (0, 1, 0o4000 | 0o2000000): refused("handled faults", call(323 if X86 else 282, flags))
refused("hid memory from the kernel", call(447, 0))
time.sleep(0.25)
done()
""",
    ),
    Attack(
        "keys of the kernel",
        "system calls",
        "read and keep keys where no file system looks",
        """
add, request, control = (248, 249, 250) if X86 else (217, 218, 219)
refused("added a key", call(add, b"user", b"box", b"secret", 6, -3))
refused("asked for a key", call(request, b"user", b"box", None, -3), (errno.ENOKEY,))
for what in (0, 1, 3, 6, 11): refused("keyctl %d" % what, call(control, what, -3, 0, 0, 0), (errno.ENOKEY,))
done()
""",
    ),
    Attack(
        "files by number",
        "system calls",
        "open files of this machine by their number on disk",
        """
handle = ctypes.create_string_buffer(struct.pack("IiQI", 12, 1, 2, 0) + bytes(128))
for path in ("/", "/etc/hosts", "/etc/resolv.conf", "/proc"):
    try: mount = os.open(path, os.O_RDONLY)
    except OSError: continue
    refused("opened a file by number", call(304 if X86 else 265, mount, handle, 0), (errno.ESTALE, errno.EOPNOTSUPP))
done()
""",
    ),
    Attack(
        "the same calls by another door",
        "system calls",
        "reach forbidden calls through the doors for 32-bit programs",
        """
import mmap
if not X86: done()
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
# mov eax, edi; push rbx; mov ebx, esi; mov ecx, edx; xor edx, edx; int 0x80; pop rbx; ret
page.write(bytes.fromhex("89f85389f389d131d2cd805bc3"))
kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int)
function = kind(ctypes.addressof(ctypes.c_char.from_buffer(page)))
def elsewhere(attempt):
    # A filter may also end the process: so it is tried in another one.
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(into, struct.pack("i", attempt()))
        os._exit(0)
    os.close(into)
    _, status = os.waitpid(pid, 0)
    told = os.read(out, 4)
    os.close(out)
    return struct.unpack("i", told)[0] if len(told) == 4 else -errno.EPERM
for name, number, one in (("ptrace", 26, 0), ("unshare", 310, 0x10000000), ("keyctl", 288, 0), ("chroot", 61, 0),
                          ("io_uring_setup", 425, 8), ("userfaultfd", 374, 0), ("getpid", 20, 0)):
    also = (errno.EFAULT,) if name != "getpid" else ()
    refused("%s by the 32-bit door" % name, elsewhere(lambda: function(number, one, 0)), also)
X32 = 0x40000000
for name, number, arguments in (("ptrace", 521, (0, 0, 0, 0)), ("unshare", 272, (0x10000000,)),
                                ("bpf", 321, (0, None, 0)), ("userfaultfd", 323, (0,)),
                                ("io_uring_setup", 425, (8, ctypes.create_string_buffer(120)))):
    refused("%s by the x32 door" % name, elsewhere(lambda: call(X32 | number, *arguments)))
done()
""",
    ),
    Attack(
        "another personality",
        "system calls",
        "turn off what makes its own memory, and that of lent programs, hard to guess",
        """
number = 135 if X86 else 92
before = call(number, 0xffffffff)
for name, value in (("no randomisation", 0x0040000), ("readable is executable", 0x0400000), ("a zero page", 0x0100000)):
    refused(name, call(number, value))
if call(number, 0xffffffff) != before: broke("has another personality")
if X86: refused("modified its segments", call(154, 1, bytes(16), 16), (errno.EINVAL,))
done()
""",
    ),
)
