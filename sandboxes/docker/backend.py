"""The Docker back-end: hardened containers, each kept by an agent as its first process over one attached stream."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentlab.sandboxes import agent, egress, images, ownership, seccomp
from agentlab.sandboxes.box import HOMES, UIDS, AgentSandbox, Placing
from agentlab.sandboxes.connection import AgentConnection
from agentlab.sandboxes.docker import build, foreign
from agentlab.sandboxes.docker.autopsy import autopsy
from agentlab.sandboxes.docker.endpoint import current
from agentlab.sandboxes.docker.engine import Engine, EngineError
from agentlab.sandboxes.docker.pristine import EngineView, Pristine
from agentlab.sandboxes.docker.runtime import Runtime, RuntimeMaker
from agentlab.sandboxes.docker.writable import DiskWatch, WritableSandbox, open_up
from agentlab.sandboxes.keeping import OpenBoxes
from agentlab.sandboxes.protocol import GRADE, WORKSPACE, BoxSpec, Capability, ImageBuild, SandboxError, Say, User

if TYPE_CHECKING:
    from agentlab.sandboxes.egress import Outside
    from agentlab.sandboxes.egress.way import Egress

START_S = 30.0
RESTARTS = 3
"""Restarts of the engine that the making of one box outlasts."""
CPU_PERIOD_US = 100_000
PLACES = (WORKSPACE, "/tmp", GRADE, "/dev/shm", "/dev/mqueue")  # noqa: S108 - paths in the box
RUNTIME = "AGENTLAB_DOCKER_RUNTIME"
"""Names the OCI runtime that the engine is to run boxes with, for example `runsc` (gVisor). Unset: the engine's own."""
CAPABILITIES = ("SETUID", "SETGID", "KILL", "DAC_OVERRIDE")
"""The agent's own: to become the two users, to kill their processes, and to read and empty what they made
unreadable.
"""


class DockerBackend:
    """Makes boxes of a Docker engine. `run_id` labels them, for a person who looks at `docker ps`."""

    name = "docker"
    starts_at_once = 4

    def __init__(self, run_id: str = "", outside: Outside | None = None) -> None:
        self._engine = Engine(current())
        self._run_id = run_id
        self._outside = outside
        self._boxes = OpenBoxes()
        self._unremoved: set[str] = set()
        self._image_configs: dict[str, dict[str, Any]] = {}
        self._disk = DiskWatch(self._engine)
        self._pristine = Pristine(self._engine, run_id)
        self._runtime = RuntimeMaker(self._engine, run_id)
        self._oci_runtime = os.environ.get(RUNTIME, "")

    @property
    def isolation(self) -> str:
        """`docker`, or with another runtime than the engine's own for example `docker+runsc`."""
        return f"docker+{self._oci_runtime}" if self._oci_runtime else "docker"

    @property
    def local(self) -> bool:
        """An engine behind a socket shares this machine's memory; another one is taken to be elsewhere."""
        return bool(self._engine.endpoint.socket)

    def offers(self, image: str) -> frozenset[Capability]:
        """Every image is taken to have a shell and Python; one that has not is refused when a box of it starts."""
        return frozenset({"shell", "python", "network"})

    async def check(self) -> None:
        try:
            await self._engine.call("GET", "/_ping")
        except EngineError as refused:
            raise SandboxError(
                "unavailable", f"the Docker engine at {self._engine.endpoint} is ill: {refused}"
            ) from refused
        await self._check_runtime()
        await self.sweep()

    async def _check_runtime(self) -> None:
        if not self._oci_runtime:
            return
        known = (await self._engine.call("GET", "/info")).get("Runtimes") or {}
        if self._oci_runtime not in known:
            raise SandboxError(
                "unavailable",
                f"{RUNTIME} names {self._oci_runtime}, and the Docker engine at {self._engine.endpoint} has only "
                f"{', '.join(sorted(known))}: install it and enter it under `runtimes` in the engine's daemon.json",
            )

    async def sweep(self) -> list[str]:
        """Remove boxes whose owner is dead; the names of those removed. Boxes of other machines are left alone."""
        egress.sweep()
        filters = json.dumps({"label": [ownership.PID_LABEL]})
        found = await self._engine.call("GET", "/containers/json", all="1", filters=filters)
        dead = [box for box in found or [] if ownership.is_dead(box.get("Labels") or {})]
        for box in dead:
            await self._remove(box["Id"])
        return [box["Names"][0].lstrip("/") if box.get("Names") else box["Id"][:12] for box in dead]

    async def ensure_image(self, image: str, say: Say) -> str:
        found = await build.ensure(self._engine, image, say)
        if not images.is_built_in(image):
            await self._runtime.get(say)
        return found

    async def build_image(self, image: str, build: ImageBuild, say: Say) -> str:
        found = await foreign.ensure_built(self._engine, image, build, say)
        await self._runtime.get(say)
        return found

    async def create(self, spec: BoxSpec) -> AgentSandbox:
        """Start a box. While an engine restarts this waits for it: a new box would meet the same silence."""
        _refuse_unsupported(spec)
        for _ in range(RESTARTS):
            try:
                return await self._boxes.make(self._make(spec))
            except SandboxError as error:
                if error.kind != "unavailable" or not await self._engine.returns():
                    raise
                await self._remove_the_rest()
        return await self._boxes.make(self._make(spec))

    async def _make(self, spec: BoxSpec) -> AgentSandbox:
        name = f"agentlab-{uuid.uuid4().hex[:12]}"
        async with egress.way_for(name, spec, self._outside) as way:
            return await self._make_box(name, spec, way)

    async def _make_box(self, name: str, spec: BoxSpec, way: Egress | None) -> AgentSandbox:
        started = time.perf_counter()
        shown = await way.listen() if way is not None and self.local else None
        runtime = None if images.is_built_in(spec.image) else await self._runtime.get(lambda sentence: None)
        container = await self._create_container(name, spec, shown, runtime)
        connection: AgentConnection | None = None
        try:
            line = await self._engine.attach(container)
            connection = AgentConnection(line, name, partial(autopsy, self._engine, container, name, spec.limits))
            await self._start(container, spec.image)
            await line.send(agent.bundle(root=spec.profile == "writable", network=way is not None))
            config = _agent_config(spec, await self._accounts(spec), way.agent_config(shown) if way else {})
            hello = await connection.ask("hello", patience_s=START_S, config=config)
            if hello.value.get("pid") != 1:
                raise SandboxError("start", f"the agent of box {name} is not its first process")
            if way is not None:
                await way.follow(hello, connection)
        except BaseException as cause:
            if connection is not None:
                await connection.close()
            await self._remove(container)
            if isinstance(cause, SandboxError) and cause.kind == "lost":
                raise SandboxError("start", f"a box of {spec.image} did not start: {cause}") from cause
            raise
        start_ms = (time.perf_counter() - started) * 1000
        workdir = str(hello.value.get("workdir")) if spec.profile == "writable" else WORKSPACE
        return self._register(name, container, spec, connection, start_ms, workdir, way)

    async def _accounts(self, spec: BoxSpec) -> dict[str, str]:
        """Who `task` and `grader` are in a writable box."""
        if spec.profile != "writable":
            return {}
        if spec.image not in self._image_configs:
            found = await build.inspect(self._engine, spec.image) or {}
            self._image_configs[spec.image] = found.get("Config") or {}
        usual = str(self._image_configs[spec.image].get("User") or "root")
        return {"task": spec.users[0] or usual, "grader": spec.users[1] or usual, "files": "0"}

    def _register(
        self,
        name: str,
        container: str,
        spec: BoxSpec,
        connection: AgentConnection,
        start_ms: float,
        workdir: str,
        way: Egress | None,
    ) -> AgentSandbox:
        async def connect(user: User) -> AgentConnection:
            return connection

        async def give_up(error: SandboxError) -> None:
            connection.fail(error)
            await self._remove(container)

        async def remove() -> None:
            self._disk.forget(container)
            await connection.close()
            await self._remove(container)
            self._boxes.forget(box)

        placing = Placing(
            name,
            self.name,
            self.isolation,
            spec.image,
            self.offers(spec.image),
            start_ms,
            workdir,
            partial(self._keepers, container),
        )
        box: AgentSandbox
        if spec.profile == "hardened":
            box = AgentSandbox(placing, connect, lambda: [connection], remove, way)
        else:
            view = EngineView(self._pristine, container)
            view.entrypoint = tuple(self._image_configs[spec.image].get("Entrypoint") or ())
            box = WritableSandbox(view, placing, connect, lambda: [connection], remove, way)
            self._disk.add(container, spec.limits.storage_mb, box.quiesce, give_up)
        return box

    async def _keepers(self, container: str) -> list[int]:
        try:
            found = await self._engine.call("GET", f"/containers/{container}/json")
        except EngineError:
            return []
        pid = int(found["State"]["Pid"])
        try:
            # An engine in a machine of its own gives numbers that are others' here.
            groups = await asyncio.to_thread(Path(f"/proc/{pid}/cgroup").read_text, "utf-8")
        except OSError:
            return []
        return [pid] if container in groups else []

    async def _create_container(self, name: str, spec: BoxSpec, shown: Path | None, runtime: Runtime | None) -> str:
        """`shown`: a directory of this machine with the socket of the box's way out."""
        try:
            config = container_config(spec, self._run_id, shown, runtime)
            if self._oci_runtime:
                config["HostConfig"]["Runtime"] = self._oci_runtime
            created = await self._engine.call("POST", "/containers/create", config, name=name)
        except EngineError as refused:
            if refused.status == 404:
                raise SandboxError("image", _image_missing(spec.image)) from refused
            if shown is not None:
                # An engine in a machine of its own does not see the directory: then the agent's line has to do.
                return await self._create_container(name, spec, None, runtime)
            raise _refusal(f"the Docker engine refused to make a box of {spec.image}: {refused}") from refused
        except SandboxError:
            # Whether it was made is not known; by its name it can be removed.
            self._unremoved.add(name)
            raise
        return str(created["Id"])

    async def _start(self, container: str, image: str) -> None:
        try:
            await self._engine.call("POST", f"/containers/{container}/start")
        except EngineError as refused:
            raise _refusal(f"a box of {image} did not start: {refused}") from refused

    async def _remove(self, container: str) -> None:
        try:
            await self._engine.call("DELETE", f"/containers/{container}", force="1", v="1")
        except EngineError as refused:
            # 404: gone by itself (the agent ends with its input). 409: the engine is already removing it.
            if refused.status not in (404, 409):
                raise SandboxError("unavailable", f"a box could not be removed: {refused}") from refused
        except SandboxError:
            # The engine has gone, and what ran in the box with it: no trial fails for that. The rest can wait.
            self._unremoved.add(container)

    async def _remove_the_rest(self) -> None:
        while self._unremoved:
            container = self._unremoved.pop()
            await self._remove(container)
            if container in self._unremoved:
                return

    async def close(self) -> None:
        try:
            await self._disk.close()
            await self._pristine.close()
            await self._boxes.close()
            await self._remove_the_rest()
        finally:
            await self._engine.close()


def _refuse_unsupported(spec: BoxSpec) -> None:
    if spec.profile == "writable":
        return
    try:
        spec.limits.check()
    except ValueError as error:
        raise SandboxError("unsupported", str(error)) from error


def _refusal(message: str) -> SandboxError:
    if "no space left" in message:
        return SandboxError(
            "disk", f"{message}. The disk of the Docker engine is full: `docker system df` shows what takes the room"
        )
    return SandboxError("start", message)


def _image_missing(image: str) -> str:
    if images.is_built_in(image):
        return f"the image {image} is not there: `agentlab sandbox build` makes it"
    return f"the image {image} is not there: `docker pull {image}`, or correct its name"


def container_config(
    spec: BoxSpec, run_id: str, shown: Path | None = None, runtime: Runtime | None = None
) -> dict[str, Any]:
    """The engine's description of a box: nothing but the agent's four capabilities, no network, nothing writable
    without a size. `shown`: the directory with the socket of its way out, which it may connect to and not change.
    """
    limits = spec.limits
    flags = agent.ROOT_FLAGS if spec.profile == "writable" else agent.PYTHON_FLAGS

    def tmpfs(megabytes: int, mode: str, uid: int) -> str:
        return f"rw,exec,nosuid,nodev,size={megabytes}m,nr_inodes={limits.inodes},mode={mode},uid={uid},gid={uid}"

    config = {
        "Image": spec.image,
        "Entrypoint": runtime.entrypoint(flags) if runtime is not None else ["python3", *flags],
        "Cmd": [],
        "User": "0:0",
        "WorkingDir": "/",
        "Hostname": "box",
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "OpenStdin": True,
        "StdinOnce": True,
        "Tty": False,
        "Healthcheck": {"Test": ["NONE"]},
        # An engine that stops would wait ten seconds for each box to end by itself.
        "StopSignal": "SIGKILL",
        "Labels": {**spec.labels, **ownership.labels(run_id)},
        "HostConfig": {
            "AutoRemove": True,
            "NetworkMode": "none",
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "CapAdd": list(CAPABILITIES),
            "SecurityOpt": ["no-new-privileges", f"seccomp={seccomp.as_text()}"],
            "IpcMode": "private",
            "PidsLimit": limits.pids,
            "Memory": limits.memory_mb << 20,
            "MemorySwap": limits.memory_mb << 20,
            # Not NanoCpus, of which an engine refuses more than the machine has.
            "CpuPeriod": CPU_PERIOD_US,
            "CpuQuota": max(1000, int(limits.cpus * CPU_PERIOD_US)),
            "ShmSize": limits.shm_mb << 20,
            # System V memory and messages are charged to no process: filling them would have the kernel kill the agent.
            "Sysctls": {"kernel.shmall": "0", "kernel.msgmni": "0"},
            "Ulimits": [
                {"Name": "core", "Soft": 0, "Hard": 0},
                {"Name": "nofile", "Soft": 1024, "Hard": 1024},
                # What the kernel counts for all boxes together, one box could take from the others: so no message
                # queues and (below) no terminals.
                {"Name": "msgqueue", "Soft": 0, "Hard": 0},
            ],
            "LogConfig": {"Type": "none"},
            "RestartPolicy": {"Name": "no"},
            "Mounts": [*egress.mounts(shown), *([runtime.mount] if runtime is not None else [])],
            "Tmpfs": {
                WORKSPACE: tmpfs(limits.workspace_mb, "0755", UIDS["task"]),
                "/tmp": tmpfs(limits.tmp_mb, "1777", 0),  # noqa: S108 - a path in the box
                GRADE: tmpfs(limits.grade_mb, "0700", UIDS["grader"]),
                # By its size alone it would hold any number of empty files.
                "/dev/shm": tmpfs(limits.shm_mb, "1777", 0),  # noqa: S108 - a path in the box
                "/dev/pts": "ro,noexec,nosuid,nodev,size=4k,nr_inodes=1,mode=0755",
            },
        },
    }
    return open_up(config, spec) if spec.profile == "writable" else config


def _agent_config(spec: BoxSpec, accounts: Mapping[str, str], way: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "single": False,
        "accounts": accounts,
        "uids": UIDS,
        "homes": HOMES,
        "places": list(PLACES),
        "rlimits": {},
        "env": {**egress.environment(spec), **spec.env},
        "egress": way,
    }
