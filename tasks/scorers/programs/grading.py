"""Grading in a box: starts supervisor and worker, carries frames between them, and brings back the verdict.

The two processes never meet: what one says to the other goes through here, so any sandbox that can stream can grade.
The supervisor runs as `grader` with the tests, the worker as `task` with the candidate's code. Only the supervisor's
output is read for the verdict, and it must carry the nonce that was sent to it before the candidate's code was loaded.
"""

from __future__ import annotations

import binascii
import json
import marshal
import secrets
import struct
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import cache
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any

import anyio

from agentlab.sandboxes.protocol import GRADE, WORKSPACE, ExecStream, Sandbox, SandboxError
from agentlab.tasks.types import VerifierError
from agentlab.traces.events import Recorder, SandboxExec

MAX_FRAME = 32 << 20
MAX_OUTPUT = 192 << 20

BOX = "agentlab.tasks.scorers.programs.box"
_BRIDGE = (
    *("wire", "values", "exceptions", "proxies", "observing", "iterating", "awaiting", "methods", "standins"),
    *("packing", "arguments", "bridge"),
)
_SUPERVISOR_MODULES = (*_BRIDGE, "report", "supervisor")
_WORKER_MODULES = (*_BRIDGE, "worker")

# Reads one frame from standard input: the modules to define, and what to start. Nothing is written to the box's disk.
# A Python of this one's kind takes them compiled, which saves a third of the time that a short grading takes.
_BOOT = """
import binascii, json, marshal, os, sys, types
def take(size):
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part: os._exit(3)
        data += part
    return data
boot = json.loads(take(int.from_bytes(take(4), "big")))
parts = boot["package"].split(".")
for end in range(1, len(parts) + 1):
    name = ".".join(parts[:end])
    sys.modules[name] = package = types.ModuleType(name)
    package.__path__ = []
magic = sys.modules["_frozen_importlib_external"].MAGIC_NUMBER.hex()
for name, source, compiled in boot.pop("modules"):
    module = types.ModuleType(name)
    sys.modules[name] = module
    if magic == boot["magic"]: code = marshal.loads(binascii.a2b_base64(compiled))
    else: code = compile(source, name, "exec")
    exec(code, module.__dict__)
module.main(boot.pop("config"))
"""
_PYTHON = ("python3", "-I", "-B", "-c", _BOOT)


@dataclass(frozen=True, slots=True)
class Job:
    """What is graded. `tests` goes to the supervisor, `import_from` are directories that the worker may import from."""

    tests: Mapping[str, Any]
    import_from: Sequence[str] = ()
    cpu_s: float = 15.0
    """Processor time of the candidate's process, in whole seconds at least 1."""

    @property
    def timeout_s(self) -> float:
        """Wall time for everything, from the start of the two processes to the verdict."""
        return 4 * self.cpu_s


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the supervisor found. `reason` says why nothing can have passed, where that is so."""

    total: int = 0
    passed: int = 0
    failures: tuple[tuple[str, str], ...] = field(default=())
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Every test passed, and there was one."""
        return self.total > 0 and self.passed == self.total and not self.reason

    @property
    def explanation(self) -> str:
        """A few lines for a person."""
        counted = f"{self.passed} of {self.total} tests passed"
        lines = [self.reason or counted, *[f"{name}: {why}" if name else why for name, why in self.failures[:5]]]
        return "\n".join(lines)[:2000]


async def grade(sandbox: Sandbox, job: Job, recorder: Recorder) -> Verdict:
    """Run the tests of `job` against the candidate's code in `sandbox`.

    What the candidate does, however wild, is a verdict. Raises `VerifierError` when the box cannot grade (no Python in
    it, or the supervisor broke before the candidate's code was loaded) and `SandboxError` when the box itself is lost.
    """
    started = time.monotonic()
    nonce = secrets.token_hex(16)
    verdict = Verdict(reason=f"the program was stopped after {job.timeout_s:g} s")
    with anyio.move_on_after(job.timeout_s):
        verdict = await _converse(sandbox, job, nonce)
    recorder.record(
        SandboxExec(
            at=time.time(),
            box=sandbox.id,
            argv=("agentlab-grade", str(job.tests["kind"])),
            exit_code=0 if verdict.ok else 1,
            stdout=verdict.explanation,
            duration_ms=(time.monotonic() - started) * 1000,
            user="grader",
        )
    )
    return verdict


async def _converse(sandbox: Sandbox, job: Job, nonce: str) -> Verdict:
    limits: dict[str, Any] = {"timeout": job.timeout_s + 5, "max_output": MAX_OUTPUT}
    async with AsyncExitStack() as stack:
        supervisor = await stack.enter_async_context(sandbox.stream(_PYTHON, cwd=GRADE, user="grader", **limits))
        worker = await stack.enter_async_context(sandbox.stream(_PYTHON, cwd=WORKSPACE, user="task", **limits))
        await _offer(supervisor, _boot(_SUPERVISOR_MODULES, {**job.tests, "nonce": nonce}))
        await _offer(worker, _boot(_WORKER_MODULES, {"path": list(job.import_from), "cpu_s": max(1, round(job.cpu_s))}))
        verdict = Verdict()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_carry_answers, worker, supervisor)
                verdict = await _follow(supervisor, worker, nonce)
                group.cancel_scope.cancel()
        except ExceptionGroup as failures:
            raise _cause(failures) from failures
    return verdict


def _cause(failures: ExceptionGroup[Exception]) -> Exception:
    """The error to report of several: a box that was lost explains the others."""
    lost, others = failures.split(SandboxError)
    found: Exception = lost or others or failures
    while isinstance(found, ExceptionGroup):
        found = found.exceptions[0]
    return found


async def _carry_answers(worker: ExecStream, supervisor: ExecStream) -> None:
    """Pass the worker's output on, unread: the supervisor judges it. Its end closes the supervisor's input."""
    try:
        async for name, chunk in worker:
            if name == "stdout":
                await supervisor.send(chunk)
        await supervisor.close_stdin()
    except SandboxError as error:
        if error.kind != "closed":
            raise


async def _follow(supervisor: ExecStream, worker: ExecStream, nonce: str) -> Verdict:
    """Read the supervisor's frames: pass requests on to the worker until the verdict comes."""
    pending = bytearray()
    complaints = bytearray()
    grading = False
    async for name, chunk in supervisor:
        if name == "stderr":
            complaints += chunk[: max(0, 2000 - len(complaints))]
            continue
        pending += chunk
        for address, payload in _frames(pending):
            if address == b"W":
                await _offer(worker, struct.pack(">I", len(payload)) + payload)
            elif address == b"R":
                grading = True
            elif address == b"V":
                return _verdict(payload, nonce)
            else:
                raise VerifierError("the supervisor sent a frame that makes no sense")
    if not grading:
        raise VerifierError(f"grading did not start: {bytes(complaints).decode(errors='replace').strip()}")
    return Verdict(reason="the supervisor was ended by what the program sent")


async def _offer(process: ExecStream, data: bytes) -> None:
    try:
        await process.send(data)
    except SandboxError as error:
        if error.kind != "closed":  # one that has ended is noticed where its output is read
            raise


def _frames(pending: bytearray) -> list[tuple[bytes, bytes]]:
    """Take the complete frames out of `pending`."""
    frames: list[tuple[bytes, bytes]] = []
    start = 0
    while len(pending) - start >= 4:
        (size,) = struct.unpack_from(">I", pending, start)
        if not 0 < size <= MAX_FRAME:
            raise VerifierError("the supervisor sent a frame that makes no sense")
        if len(pending) - start - 4 < size:
            break
        frames.append((bytes(pending[start + 4 : start + 5]), bytes(pending[start + 5 : start + 4 + size])))
        start += 4 + size
    del pending[:start]
    return frames


def _verdict(payload: bytes, nonce: str) -> Verdict:
    found = json.loads(payload)
    if not secrets.compare_digest(str(found["nonce"]), nonce):
        raise VerifierError("a verdict came without the nonce of this grading")
    lost = str(found["lost"])
    failures = tuple((str(name), str(why)) for name, why in found["failures"])
    if lost == "the worker did not start":
        raise VerifierError("the worker did not start: python3 in the box is needed for grading")
    return Verdict(total=int(found["total"]), passed=int(found["passed"]), failures=failures, reason=lost)


def _boot(modules: Sequence[str], config: Mapping[str, Any]) -> bytes:
    boot = {"package": BOX, "magic": MAGIC_NUMBER.hex(), "modules": _sources(tuple(modules)), "config": config}
    payload = json.dumps(boot).encode()
    return struct.pack(">I", len(payload)) + payload


@cache
def _sources(modules: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """Name, source and compiled code of each module."""
    folder = Path(__file__).parent / "box"
    found = []
    for module in modules:
        name, source = f"{BOX}.{module}", (folder / f"{module}.py").read_text(encoding="utf-8")
        code = marshal.dumps(compile(source, name, "exec", optimize=2))
        found.append((name, source, binascii.b2a_base64(code, newline=False).decode()))
    return found
