"""The bubblewrap back-end: namespaces without an engine, weaker than Docker and labelled so.

A box has one uid only, so `grader` gets a sibling box of its own, started when it is first asked for: other
processes, other files (`/workspace` is not shared with `task`; what is to be graded is copied there with `snapshot`
and `restore`). Limits are control groups as root, else resource limits for each process: then memory and CPU are not
counted for the box as a whole, a kill for memory is not recognised, and a process that sets out to hide from its
command's time-out can, until `quiesce` or `close`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentlab.sandboxes import agent, egress, images
from agentlab.sandboxes.box import HOMES, UIDS, AgentSandbox, Placing
from agentlab.sandboxes.bubblewrap import cgroup
from agentlab.sandboxes.bubblewrap.command import TMP, Invocation, host_uid, invocation
from agentlab.sandboxes.connection import AgentConnection
from agentlab.sandboxes.keeping import OpenBoxes
from agentlab.sandboxes.protocol import (
    GRADE,
    WORKSPACE,
    BoxSpec,
    Capability,
    ImageBuild,
    SandboxError,
    Say,
    User,
    out_of_memory,
)

if TYPE_CHECKING:
    from agentlab.sandboxes.egress import Outside
    from agentlab.sandboxes.egress.way import Egress

START_S = 30.0
END_S = 2.0
STDERR_KEPT = 4096


class ProcessLine:
    """The standard streams of a box's first process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._errors = bytearray()
        self._listening = asyncio.create_task(self._listen(), name=f"stderr of {process.pid}")

    @property
    def pid(self) -> int:
        return self._process.pid

    async def _listen(self) -> None:
        stream = self._process.stderr
        while stream is not None and (data := await stream.read(4096)):
            self._errors = (self._errors + data)[-STDERR_KEPT:]

    async def receive(self) -> bytes:
        stream = self._process.stdout
        return await stream.read(1 << 18) if stream is not None else b""

    async def send(self, data: bytes) -> None:
        stream = self._process.stdin
        if stream is None:
            raise BrokenPipeError("no input")
        stream.write(data)
        await stream.drain()

    async def close(self) -> None:
        """End the box: its agent goes when its input ends, and everything in the namespace with it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(END_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)

    async def was_killed(self) -> bool:
        """Whether the box's first process ended by SIGKILL, asked when its output has ended."""
        try:
            async with asyncio.timeout(END_S):
                return await self._process.wait() in (-signal.SIGKILL, 128 + signal.SIGKILL)
        except TimeoutError:
            return False

    def last_words(self) -> str:
        return self._errors.decode("utf-8", "replace")


class Place:
    """The one or two bubblewrap processes of a box."""

    def __init__(self, name: str, spec: BoxSpec, root: Path | None, way: Egress | None = None) -> None:
        self._name = name
        self._way = way
        self._spec = spec
        self._root = root
        self._lines: dict[User, AgentConnection] = {}
        self._groups: list[cgroup.Cgroup] = []
        self._processes: list[ProcessLine] = []
        self._starting = asyncio.Lock()

    async def connect(self, user: User) -> AgentConnection:
        async with self._starting:
            if user not in self._lines:
                self._lines[user] = await self._start(user)
            return self._lines[user]

    def opened(self) -> list[AgentConnection]:
        return list(self._lines.values())

    async def _start(self, user: User) -> AgentConnection:
        name = f"{self._name}-{user}"
        group = cgroup.create(name, self._spec.limits)
        if group is not None:
            self._groups.append(group)
        uid, way = host_uid(), self._way
        # A socket for each agent: two users of this machine are to share none.
        shown = await way.listen(uid) if way is not None else None
        process = await _spawn(invocation(user, self._spec.limits, self._root, group, uid, shown))
        line = ProcessLine(process)
        self._processes.append(line)

        async def autopsy() -> SandboxError | None:
            if group is not None and group.killed() and await line.was_killed():
                return out_of_memory(self._name, self._spec.limits)
            return None

        def why_silent() -> SandboxError | None:
            # Full of memory, a box may hold its agent up for as long as the kernel looks for what to kill.
            return out_of_memory(self._name, self._spec.limits) if group is not None and group.killed() else None

        connection = AgentConnection(line, name, autopsy, why_silent)
        try:
            await line.send(agent.bundle(network=way is not None))
            config = _agent_config(self._spec, user, limited=group is not None)
            config["egress"] = way.agent_config(shown) if way is not None else {}
            hello = await connection.ask("hello", patience_s=START_S, config=config)
            if hello.value.get("pid") != 1:
                raise SandboxError("start", f"the agent of box {name} is not its first process")
            if way is not None:
                await way.follow(hello, connection)
        except BaseException as cause:
            await asyncio.shield(connection.close())
            if isinstance(cause, OSError) or (isinstance(cause, SandboxError) and cause.kind == "lost"):
                raise SandboxError(
                    "start", f"bubblewrap did not start: {line.last_words().strip() or cause}"
                ) from cause
            raise
        return connection

    async def keepers(self) -> list[int]:
        return [line.pid for line in self._processes]

    async def remove(self) -> None:
        for connection in self._lines.values():
            await connection.close()
        for group in self._groups:
            await group.remove()


class BubblewrapBackend:
    """Makes bubblewrap boxes."""

    name = "bubblewrap"
    isolation = "bubblewrap"
    local = True
    starts_at_once = 4

    def __init__(self, run_id: str = "", outside: Outside | None = None) -> None:
        self._run_id = run_id
        self._outside = outside
        self._boxes = OpenBoxes()

    def offers(self, image: str) -> frozenset[Capability]:
        return frozenset({"shell", "python", "network"}) if images.is_built_in(image) else frozenset()

    async def check(self) -> None:
        if shutil.which("bwrap") is None:
            raise SandboxError("unavailable", "bubblewrap is not installed: `apt-get install bubblewrap`")
        if os.geteuid() == 0 and shutil.which("setpriv") is None:
            raise SandboxError(
                "unavailable", "setpriv is not installed, which bubblewrap boxes of root need: util-linux"
            )
        await self.sweep()
        try:
            place = Place(f"agentlab-check-{uuid.uuid4().hex[:8]}", BoxSpec(), None)
            try:
                await place.connect("task")
            finally:
                await place.remove()
        except SandboxError as error:
            raise SandboxError(
                "unavailable", f"bubblewrap cannot make a box here ({error}); user namespaces may be forbidden"
            ) from error

    async def sweep(self) -> list[str]:
        """Take away what killed runners have left; the names of their boxes, of which no process is ever left."""
        egress.sweep()
        return await asyncio.to_thread(cgroup.sweep)

    async def ensure_image(self, image: str, say: Say) -> str:
        """The unpacked image where there is one, else the host's own system."""
        found = _root_of(image)
        if found is not None:
            return f"root:{found.name}"
        python = await asyncio.to_thread(_host_version)
        return f"host:{python}"

    async def build_image(self, image: str, build: ImageBuild, say: Say) -> str:
        raise SandboxError("unsupported", f"bubblewrap builds no images ({image}); use --sandbox docker")

    async def create(self, spec: BoxSpec) -> AgentSandbox:
        if spec.profile != "hardened":
            raise SandboxError("unsupported", "the task asks for a writable system as root, which needs Docker")
        try:
            spec.limits.check()
        except ValueError as error:
            raise SandboxError("unsupported", str(error)) from error
        return await self._boxes.make(self._make(spec, _root_of(spec.image)))

    async def _make(self, spec: BoxSpec, root: Path | None) -> AgentSandbox:
        name = f"agentlab-{uuid.uuid4().hex[:12]}"
        async with egress.way_for(name, spec, self._outside) as way:
            return await self._make_box(name, spec, root, way)

    async def _make_box(self, name: str, spec: BoxSpec, root: Path | None, way: Egress | None) -> AgentSandbox:
        started = time.perf_counter()
        place = Place(name, spec, root, way)
        try:
            await place.connect("task")
        except BaseException:
            await place.remove()
            raise

        async def remove() -> None:
            await place.remove()
            self._boxes.forget(box)

        milliseconds = (time.perf_counter() - started) * 1000
        placing = Placing(
            name,
            self.name,
            self.isolation,
            spec.image,
            self.offers(spec.image),
            milliseconds,
            keepers=place.keepers,
        )
        box = AgentSandbox(placing, place.connect, place.opened, remove, way)
        return box

    async def close(self) -> None:
        await self._boxes.close()


async def _spawn(start: Invocation) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    try:
        return await asyncio.create_subprocess_exec(
            *start.argv, stdin=pipe, stdout=pipe, stderr=pipe, pass_fds=start.descriptors, env={"PATH": os.defpath}
        )
    except OSError as error:
        raise SandboxError("start", f"bubblewrap did not start: {error}") from error
    finally:
        for fd in start.descriptors:
            os.close(fd)


def _agent_config(spec: BoxSpec, user: User, *, limited: bool) -> dict[str, Any]:
    rlimits = {"RLIMIT_CORE": 0, "RLIMIT_MSGQUEUE": 0, "RLIMIT_NOFILE": 1024}
    if not limited:
        rlimits |= {"RLIMIT_AS": spec.limits.memory_mb << 20, "RLIMIT_NPROC": spec.limits.pids}
    places = [WORKSPACE, TMP, "/dev/shm", *([GRADE] if user == "grader" else [])]  # noqa: S108 - paths in the box
    return {
        "single": True,
        "uids": UIDS,
        "homes": HOMES,
        "places": places,
        "rlimits": rlimits,
        "env": {**egress.environment(spec), **spec.env},
    }


def _root_of(image: str) -> Path | None:
    repository, _ = images.split(image)
    built_in = images.BUILT_IN.get(repository)
    if built_in is None:
        raise SandboxError("image", f"bubblewrap cannot take the image {image} apart; choose --sandbox docker for it")
    return images.exported_root(built_in)


def _host_version() -> str:
    """Which system a box shows when there is no image: its name, and where its Python is."""
    for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return os.uname().release
