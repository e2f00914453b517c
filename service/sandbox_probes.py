"""What `sandbox check` tries from inside a box: one small program each, which says in a line what it met.

A probe is a Python program that runs as the task's user, with what the box is allowed in `given`. It ends by
`contained(sentence)`, `reached(sentence)` or, where it cannot tell, `unsure(sentence)`; see `PRELUDE`. To try something
more is to add a `Probe` to `PROBES`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentlab.sandboxes.protocol import ExecResult, Limits, Sandbox

LIMITS = Limits(memory_mb=256, cpus=0.5, pids=64, workspace_mb=48, tmp_mb=16, shm_mb=8, grade_mb=8)
"""Of the box that is tried: so small that each limit is reached in no time."""

PROBE_S = 8.0

PRELUDE = """
import ctypes, errno, json, os, select, socket, sys, time
given = json.loads(sys.argv[1])
def contained(said): print(said); sys.exit(0)
def reached(said): print(said); sys.exit(1)
def unsure(said): print(said); sys.exit(2)
"""


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing that a box must not allow."""

    name: str
    program: str
    killed: str = ""
    """What it means where the program itself was killed for memory; empty: nothing, the probe could not be tried."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a probe met: `holds` is None where it could not be tried or told, and `said` then tells why."""

    name: str
    holds: bool | None
    said: str


MEMORY = """
readable, writable = os.pipe()
shut, hold = os.pipe()
share = given["memory_mb"] << 19  # half of what the box may have, in each of three processes
children = []
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        try: held = bytearray(share)
        except MemoryError: os._exit(1)
        for place in range(0, share, 4096): held[place] = 1
        os.write(writable, b"x")
        os.read(shut, 1)
        os._exit(0)
    children.append(pid)
held, ended, until = 0, set(), time.monotonic() + 5
while held + len(ended) < 3 and time.monotonic() < until:
    if select.select([readable], [], [], 0.02)[0]: held += len(os.read(readable, 3))
    ended |= {pid for pid in children if pid not in ended and os.waitpid(pid, os.WNOHANG)[0]}
for pid in children:
    if pid not in ended: os.kill(pid, 9)
box = f"the box's {given['memory_mb']} MB"
if held == 3: reached(f"three processes took half as much again as {box}")
contained(f"processes that wanted more than {box} were killed or refused")
"""

PROCESSES = """
children = []
try:
    while len(children) < 4 * given["pids"]:
        pid = os.fork()
        if pid == 0:
            time.sleep(30)
            os._exit(0)
        children.append(pid)
    refused = False
except OSError:
    refused = True
for pid in children: os.kill(pid, 9)
if not refused or len(children) > given["pids"]: reached(f"{len(children)} started, {given['pids']} are allowed")
contained(f"no more than {given['pids']} at once, which stops a fork bomb")
"""

CPU = """
def idle():
    with open("/proc/stat") as file: fields = file.readline().split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")
before, end = idle(), time.monotonic() + 0.6
pid = os.fork()
while time.monotonic() < end: pass
if pid == 0: os._exit(0)
os.waitpid(pid, 0)
used, left = sum(os.times()[:4]) / 0.6, (idle() - before) / 0.6
said = f"two busy processes got {used:.2f} of a core, {given['cpus']:g} is allowed"
if used > 1.4 * given["cpus"]: reached(said)
# Only where the machine had more to give was it the limit that held them.
contained(said) if left > 0.3 else unsure(f"{said}; but this machine was too busy to tell")
"""

DISK = """
sizes = {}
for folder, allowed in given["writable_mb"].items():
    path, written = os.path.join(folder, "fill"), 0
    try:
        with open(path, "wb", buffering=0) as file:
            while written <= 2 * allowed << 20: written += file.write(bytes(1 << 20))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.ENOMEM, errno.EACCES, errno.EPERM): raise
    if os.path.exists(path): os.unlink(path)
    sizes[folder] = written
over = [folder for folder, written in sizes.items() if written > given["writable_mb"][folder] << 20]
if over: reached(f"{', '.join(over)} took more than it may")
found = []
for folder in ("/", "/usr", "/etc", "/var", "/var/tmp", "/home", "/root", "/opt", "/srv", "/run", "/dev"):
    path = os.path.join(folder, ".agentlab-check")
    try: open(path, "w").close()
    except OSError: continue
    os.unlink(path)
    found.append(folder)
if found: reached(f"can write to {', '.join(found)}")
filled = ", ".join(f"{folder} {written >> 20} MB" for folder, written in sizes.items())
contained(f"{filled}, then full; all else is read-only")
"""

NETWORK = """
met = []
for host, port in (("1.1.1.1", 53), ("169.254.169.254", 80), ("172.17.0.1", 80), ("127.0.0.1", given["port"])):
    with socket.socket() as sock:
        sock.settimeout(0.5)
        try: sock.connect((host, port))
        except TimeoutError: met.append(f"packets to {host} are sent")
        except OSError as error:
            if error.errno == errno.ECONNREFUSED and not host.startswith("127."): met.append(f"{host} answered")
        else: met.append(f"{host}:{port} was reached")
with socket.socket(socket.AF_UNIX) as sock:
    try: sock.connect(chr(0) + given["abstract"])
    except OSError: pass
    else: met.append("a socket of this machine was reached")
cards = [name for _, name in socket.if_nameindex() if name != "lo"]
if cards: met.append(f"network cards: {', '.join(cards)}")
if met: reached("; ".join(met))
contained("none: not the internet, not the metadata address, not this machine, no network card")
"""

SYSTEM_CALLS = """
libc = ctypes.CDLL(None, use_errno=True)
numbers = {
    "x86_64": {"io_uring_setup": 425, "bpf": 321, "userfaultfd": 323, "perf_event_open": 298, "keyctl": 250,
               "ptrace": 101, "mount": 165, "unshare": 272},
    "aarch64": {"io_uring_setup": 425, "bpf": 280, "userfaultfd": 282, "perf_event_open": 241, "keyctl": 219,
                "ptrace": 117, "mount": 40, "unshare": 97},
}.get(os.uname().machine, {"io_uring_setup": 425})
arguments = {"io_uring_setup": (1, ctypes.create_string_buffer(256)), "unshare": (0x10000000,), "ptrace": (16, 1),
             "keyctl": (0, -3, 1)}
allowed = []
for name, number in numbers.items():
    padded = [*arguments.get(name, ()), 0, 0, 0, 0, 0][:5]
    if libc.syscall(number, *padded) >= 0 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS): allowed.append(name)
with open("/proc/self/status") as file: status = dict(line.split(":", 1) for line in file)
if status.get("Seccomp", "0").strip() != "2": reached("no filter of system calls is on")
if allowed: reached(f"not refused: {', '.join(allowed)}")
contained(f"filtered; refused are {', '.join(numbers)}")
"""

RIGHTS = """
with open("/proc/self/status") as file: status = dict(line.split(":", 1) for line in file)
wrong = []
if os.getuid() == 0: wrong.append("runs as root")
if int(status["CapEff"], 16) or int(status["CapPrm"], 16): wrong.append("has capabilities")
if status["NoNewPrivs"].strip() != "1": wrong.append("can gain rights by a setuid program")
for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"):
    if os.path.exists(path): wrong.append(f"sees {path}")
for path in ("/proc/1/environ", "/proc/1/mem"):
    try:
        with open(path, "rb") as file: file.read(1)
        wrong.append(f"can read {path}")
    except OSError as error:
        if error.errno == errno.EIO: wrong.append(f"can open {path}")
if wrong: reached("; ".join(wrong))
contained(f"uid {os.getuid()}, no capabilities, none to gain, the box's keeper out of reach")
"""

PROBES = (
    Probe("network", NETWORK),
    Probe("memory", MEMORY, killed="the box's memory was used up, and the program that tried it was killed"),
    Probe("processes", PROCESSES),
    Probe("CPU", CPU),
    Probe("disk", DISK, killed="writing more than allowed was stopped by the box's memory limit"),
    Probe("system calls", SYSTEM_CALLS),
    Probe("rights", RIGHTS),
)


def given_in(limits: Limits, *, port: int, abstract: str) -> dict[str, Any]:
    """What a probe is told: the limits of its box, and where this machine listens for a caller who must not come."""
    return {
        "memory_mb": limits.memory_mb,
        "pids": limits.pids,
        "cpus": limits.cpus,
        "writable_mb": {"/workspace": limits.workspace_mb, "/tmp": limits.tmp_mb, "/dev/shm": limits.shm_mb},  # noqa: S108
        "port": port,
        "abstract": abstract,
    }


VERDICTS = {0: True, 1: False, 2: None}
"""By the exit status in which `contained`, `reached` and `unsure` end."""


async def try_in(box: Sandbox, probe: Probe, given: Mapping[str, Any]) -> Row:
    """Run one probe. Raises SandboxError where the box itself is lost."""
    argv = ["python3", "-I", "-S", "-c", PRELUDE + probe.program, json.dumps(given)]
    return read(probe, await box.exec(argv, timeout=PROBE_S, max_output=4096))


def read(probe: Probe, result: ExecResult) -> Row:
    """What a probe's end means."""
    said = result.stdout.decode("utf-8", "replace").strip()
    if result.exit_code in VERDICTS and said and not result.stderr:
        return Row(probe.name, VERDICTS[result.exit_code], said)
    if result.oom and probe.killed:
        return Row(probe.name, True, probe.killed)
    last = result.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    why = "it took too long" if result.timed_out else last or f"exit {result.exit_code}"
    return Row(probe.name, None, f"could not be tried: {why}")
