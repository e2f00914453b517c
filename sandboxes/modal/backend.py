"""The Modal back-end: sandboxes of a service, each with the agent over one command there.

Modal decides where a box runs and gives it gVisor, hard limits of memory and processors, and no network. What else
Docker would hold from outside, the agent holds from inside: it is root and not the first process, everything that is
asked for runs as one of two other users without privileges and under our list of system calls, and is killed by its
user. `CAVEATS` says what is not held.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import platform
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentlab.sandboxes import agent, egress, ownership, seccomp
from agentlab.sandboxes.agent import guest
from agentlab.sandboxes.box import HOMES, UIDS, AgentSandbox, Placing
from agentlab.sandboxes.connection import AgentConnection
from agentlab.sandboxes.keeping import OpenBoxes
from agentlab.sandboxes.modal import account, image
from agentlab.sandboxes.modal.line import ModalLine
from agentlab.sandboxes.protocol import GRADE, WORKSPACE, BoxSpec, Capability, ImageBuild, SandboxError, Say, User

if TYPE_CHECKING:
    import modal

    from agentlab.sandboxes.egress import Outside
    from agentlab.sandboxes.egress.way import Egress

START_S = 60.0
LIFE_S = 24 * 3600
"""The longest life that Modal gives a sandbox."""
IDLE_S = 300
"""Without a command a sandbox ends: its agent has gone, so nobody will ask anything of it again."""
SILENCE_S = 120.0
"""An agent that hears nothing from its runner for so long ends its box: the runner was killed, or the line is cut."""
QUIET_BUILD_S = 2.0

KEEPER = ("sh", "-c", 'trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done')
"""The sandbox's own command: waits, and goes when the agent asks it to."""

PLACES = (WORKSPACE, "/tmp", GRADE, "/dev/shm", "/dev/mqueue", "/var/tmp", "/run/lock")  # noqa: S108 - paths in the box
SHUT = ("/__modal", "/run/modal_daemon")
"""Directories of Modal's own in a sandbox, which commands have no business in."""
DIRECTORIES = ((WORKSPACE, UIDS["task"], 0o755), (GRADE, UIDS["grader"], 0o700))

CAVEATS = (
    "the disk of a box as a whole (each file has the workspace's limit), but by Modal's own quota",
    "memory of a box as a whole (each of its processes has its own limit): Modal ends a box that exceeds it",
    "the variables that other processes of the box were started with, which gVisor may show to every user",
    "two minutes of cost after a runner was killed, when its boxes end by themselves",
    "a flaw of gVisor or of Modal, which also sees what runs there",
)


class ModalBackend:
    """Makes boxes on Modal, under the account that the `modal` client is configured for."""

    name = "modal"
    isolation = "modal"
    local = False
    starts_at_once = 16

    def __init__(self, run_id: str = "", outside: Outside | None = None) -> None:
        self._run_id = run_id
        self._outside = outside
        self._boxes = OpenBoxes()
        self._images: dict[str, modal.Image] = {}
        self._signed_in: tuple[modal.Client, modal.App] | None = None
        self._signing_in = asyncio.Lock()
        self._building = asyncio.Lock()

    def offers(self, image: str) -> frozenset[Capability]:
        """Every image is taken to have a shell and Python; one that has not is refused when a box of it starts."""
        return frozenset({"shell", "python", "network"})

    async def _account(self) -> tuple[modal.Client, modal.App]:
        async with self._signing_in:
            if self._signed_in is None:
                self._signed_in = await account.sign_in()
            return self._signed_in

    async def check(self) -> None:
        await self._account()
        await self.sweep()

    async def sweep(self) -> list[str]:
        """Terminate boxes whose owner is dead; the ids of those. Boxes of other machines are left alone."""
        client, app = await self._account()
        mine = _tags(self._run_id)[_tag(ownership.HOST_LABEL)]
        removed = []
        with account.told("Modal"):
            here = {_tag(ownership.HOST_LABEL): mine}
            async for box in account.library().Sandbox.list.aio(app_id=app.app_id, tags=here, client=client):
                if ownership.is_dead(_labels(await box.get_tags.aio())):
                    await _terminate(box)
                    removed.append(str(box.object_id))
        return removed

    async def ensure_image(self, image: str, say: Say) -> str:
        building = asyncio.create_task(self._build(image))
        try:
            done, _ = await asyncio.wait([building], timeout=QUIET_BUILD_S)
            if not done:
                say(f"Modal builds the image {image}; the first time takes some minutes.")
            return str((await building).object_id)
        finally:
            building.cancel()

    async def _build(self, name: str) -> modal.Image:
        _, app = await self._account()
        async with self._building:
            if name not in self._images:
                described = image.describe(name)
                with account.told(f"the image {name}", "image"):
                    self._images[name] = await described.build.aio(app)
            return self._images[name]

    async def build_image(self, image: str, build: ImageBuild, say: Say) -> str:
        raise SandboxError("unsupported", f"images of tasks are not built on Modal yet ({image}); use --sandbox docker")

    async def create(self, spec: BoxSpec) -> AgentSandbox:
        _refuse_unsupported(spec)
        return await self._boxes.make(self._make(spec))

    async def _make(self, spec: BoxSpec) -> AgentSandbox:
        built = await self._build(spec.image)
        client, app = await self._account()
        started = time.perf_counter()
        with account.told(f"a box of {spec.image} did not start on Modal", "start"):
            box = await account.library().Sandbox.create.aio(
                *KEEPER, app=app, client=client, image=built, **_settings(spec, self._run_id)
            )
        try:
            async with egress.way_for(str(box.object_id), spec, self._outside) as way:
                connection = await _connect(box, spec, way)
        except BaseException as cause:
            await _terminate(box)
            if isinstance(cause, OSError) or (isinstance(cause, SandboxError) and cause.kind in ("lost", "protocol")):
                raise SandboxError("start", _did_not_start(spec.image, cause)) from cause
            raise
        return self._register(box, spec, connection, way, (time.perf_counter() - started) * 1000)

    def _register(
        self,
        sandbox: modal.Sandbox,
        spec: BoxSpec,
        connection: AgentConnection,
        way: Egress | None,
        start_ms: float,
    ) -> AgentSandbox:
        touching = asyncio.create_task(_keep_in_touch(connection), name=f"touch {sandbox.object_id}")

        async def connect(user: User) -> AgentConnection:
            return connection

        async def remove() -> None:
            touching.cancel()
            await connection.close()
            await _terminate(sandbox)
            self._boxes.forget(box)

        placing = Placing(
            str(sandbox.object_id), self.name, self.isolation, spec.image, self.offers(spec.image), start_ms
        )
        box = AgentSandbox(placing, connect, lambda: [connection], remove, way)
        return box

    async def close(self) -> None:
        await self._boxes.close()


async def _connect(box: modal.Sandbox, spec: BoxSpec, way: Egress | None) -> AgentConnection:
    """Start the agent. Its box's connections to the world go over its own line: no socket can be mounted there."""
    with account.told(f"a box of {spec.image} did not start on Modal", "start"):
        process = await box.exec.aio("python3", *agent.PYTHON_FLAGS, text=False, workdir="/")
    line = ModalLine(process)
    connection = AgentConnection(line, str(box.object_id))
    try:
        await line.send(agent.bundle(network=way is not None))
        config = _agent_config(spec) | {"egress": way.agent_config(None) if way is not None else {}}
        hello = await connection.ask("hello", patience_s=START_S, config=config)
        if way is not None:
            await way.follow(hello, connection)
    except BaseException:
        await connection.close()
        raise
    return connection


async def _keep_in_touch(connection: AgentConnection) -> None:
    """Let the agent hear that its runner lives, and notice in time that the agent does not."""
    with contextlib.suppress(SandboxError):
        while True:
            await asyncio.sleep(SILENCE_S / 4)
            await connection.ask("ping", patience_s=SILENCE_S / 2)


async def _terminate(box: Any) -> None:
    with account.told(f"the box {box.object_id} could not be ended on Modal"):
        try:
            await box.terminate.aio()
        except account.library().exception.NotFoundError:
            # Ended by itself.
            return
        await box.detach.aio()


def _refuse_unsupported(spec: BoxSpec) -> None:
    if spec.profile != "hardened":
        raise SandboxError("unsupported", "the task asks for a writable system as root, which needs Docker")
    try:
        spec.limits.check()
    except ValueError as error:
        raise SandboxError("unsupported", str(error)) from error


def _did_not_start(image: str, cause: BaseException) -> str:
    if "python3" in str(cause):
        return f"the image {image} has no python3 that the box's agent could use: {cause}"
    return f"a box of {image} did not start: {cause}"


def _settings(spec: BoxSpec, run_id: str) -> dict[str, Any]:
    """What Modal is told about a box. Limits are both asked for and not to be exceeded."""
    limits = spec.limits
    return {
        "cpu": (limits.cpus, limits.cpus),
        "memory": (limits.memory_mb, limits.memory_mb),
        "block_network": True,
        "timeout": LIFE_S,
        "idle_timeout": IDLE_S,
        "workdir": "/",
        "env": {guest.KEPT: "modal"},
        "tags": {**{_tag(key): _plain(value) for key, value in spec.labels.items()}, **_tags(run_id)},
    }


def _agent_config(spec: BoxSpec) -> dict[str, Any]:
    limits = spec.limits
    # A program for another processor would refuse everything; Modal's are all of this kind.
    filtered = seccomp.as_filter() if platform.machine() == "x86_64" else b""
    return {
        "single": False,
        "guest": {
            "directories": DIRECTORIES,
            "shut": SHUT,
            "filter": filtered.hex(),
            "silence_s": SILENCE_S,
        },
        "uids": UIDS,
        "homes": HOMES,
        "places": list(PLACES),
        "rlimits": {
            "RLIMIT_CORE": 0,
            "RLIMIT_NOFILE": 1024,
            "RLIMIT_NPROC": limits.pids,
            "RLIMIT_FSIZE": limits.workspace_mb << 20,
            "RLIMIT_AS": limits.memory_mb << 20,
        },
        "env": {**egress.environment(spec), **spec.env},
    }


def _tag(label: str) -> str:
    return label.replace(".", "-")


def _plain(value: str) -> str:
    """A tag's value: what is not a short word of letters and digits becomes a hash, which still tells same from
    other.
    """
    return value if re.fullmatch(r"[\w.-]{1,60}", value) else hashlib.sha256(value.encode()).hexdigest()[:24]


def _tags(run_id: str) -> dict[str, str]:
    return {_tag(key): _plain(value) for key, value in ownership.labels(run_id).items()}


def _labels(tags: Mapping[str, str]) -> dict[str, str]:
    """The labels of an owner from the tags of a box. Of the host it is only known whether it is this one."""
    here = ownership.labels("")[ownership.HOST_LABEL]
    names = (ownership.PID_LABEL, ownership.START_LABEL, ownership.BOOT_LABEL)
    labels = {name: tags.get(_tag(name), "") for name in names}
    return labels | {ownership.HOST_LABEL: here if tags.get(_tag(ownership.HOST_LABEL)) == _plain(here) else ""}
