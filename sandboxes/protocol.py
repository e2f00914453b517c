"""The one protocol that every sandbox speaks, and the plain data that crosses it.

A `Backend` makes boxes; a `Sandbox` is one box. What runs inside is hostile: every size is bounded, every error of the
*place* is a `SandboxError` (the trial is retried on a new box), and only a result frame of the box is a result.

Two users exist in a box besides its keeper: `task` (uid 1000) runs everything a model asks for, `grader` (uid 1001)
runs what must be out of the reach of that code. Neither may signal, trace or read the memory of the other. In a box of
the profile `writable` both are whoever the spec says, root too, and nothing parts them but time: grade there only what
`quiesce` has silenced.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from agentlab.traces.events import NetworkAccess

Capability: TypeAlias = Literal["shell", "python", "browser", "network", "gpu"]
User: TypeAlias = Literal["task", "grader"]
Change: TypeAlias = Literal["added", "changed", "deleted"]

WORKSPACE = "/workspace"
"""Where a task's files lie, owned by `task`; the working directory of every command unless said."""

GRADE = "/grade"
"""A directory that only `grader` can enter, empty at the start: tests and supervisors go here."""

MAX_OUTPUT = 1 << 20
MAX_FILE = 64 << 20


class SandboxError(Exception):
    """The place failed, not the code in it. `kind` is a short stable word; the message tells a person what to do.

    Kinds: `unavailable` (engine not there), `image` (missing, cannot be built or pulled), `lost` (stream ended
    without a result), `oom` (what ran in the box used so much memory that the box's keeper was killed for it),
    `start`, `protocol` (a frame that makes no sense), `timeout` (no answer in time), `disk`, `unsupported`, `closed`.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Limits:
    """What one box may use. Memory must exceed the sum of the writable tmpfs sizes by 64 MB (`check` raises
    ValueError).
    """

    memory_mb: int = 512
    cpus: float = 1.0
    pids: int = 128
    workspace_mb: int = 256
    tmp_mb: int = 64
    shm_mb: int = 16
    grade_mb: int = 16
    inodes: int = 50_000
    network_mb: int = 1024
    """What a box with a network may send and receive together, and its grader again."""
    storage_mb: int = 10_240
    """What the writable layer of a box with that profile may grow by: nothing else bounds it."""

    def check(self) -> None:
        """Raise ValueError where the writable places could fill the memory and so kill the box's keeper."""
        writable = self.workspace_mb + self.tmp_mb + self.shm_mb + self.grade_mb
        if writable + 64 > self.memory_mb:
            raise ValueError(
                f"memory_mb={self.memory_mb} is too small: writable places take {writable} MB and the box's keeper "
                f"needs 64 MB more, so give at least {writable + 64}"
            )


def out_of_memory(box: str, limits: Limits) -> SandboxError:
    """The error of a box that its own programs ended."""
    return SandboxError(
        "oom",
        f"box {box} ran out of its {limits.memory_mb} MB: what ran in it used so much memory that the box itself was "
        f"killed. Where the task needs more, give more: --set box.memory_mb={2 * limits.memory_mb}",
    )


@dataclass(frozen=True, slots=True)
class BoxSpec:
    """What a box is made of. Egress is fixed here: an empty `network` means none; nothing can widen it later."""

    image: str = "agentlab/python:latest"
    limits: Limits = field(default_factory=Limits)
    env: Mapping[str, str] = field(default_factory=dict)
    network: tuple[str, ...] = ()
    profile: Literal["hardened", "writable"] = "hardened"
    """`writable`: the whole system may be changed, by root where `users` say so; for foreign images and tasks."""
    users: tuple[str, str] = ("", "")
    """Of a writable box: the accounts of `task` and `grader` (name or number). Empty: the image's user, else root.
    Files of `grader` are root's there.
    """
    workdir: str = ""
    """Of a writable box: its working directory, made where it is missing. Empty: the image's."""
    labels: Mapping[str, str] = field(default_factory=dict)
    reuse: bool = False
    """A box that was used before will do, once it is reset and verified to be as new."""


@dataclass(frozen=True, slots=True)
class ImageBuild:
    """How an image of somebody else's is built: within limits, from a folder that is read as data."""

    context: str
    """The folder of this machine that is sent. Links in it are refused."""
    dockerfile: str = "Dockerfile"
    timeout_s: float = 600.0
    max_mb: int = 10_240
    """What the image may come to."""
    network: bool = False
    """Whether its commands reach the network; what it is built on is pulled by the engine either way."""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a command ended. A time-out is a result (`timed_out`, `exit_code` -9), a lost box is a `SandboxError`."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    oom: bool = False
    """A process of the box was killed for memory while the command ran."""
    dropped_bytes: int = 0
    """Bytes of output beyond `max_output` (both streams together) that were read and thrown away."""
    duration_s: float = 0.0

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and not self.timed_out


class ExecStream(Protocol):
    """A running command: bytes go in and come out while it runs."""

    async def send(self, data: bytes) -> None:
        """Write to standard input. Raises `SandboxError("closed")` once the command has ended."""
        ...

    async def close_stdin(self) -> None: ...

    def __aiter__(self) -> AsyncIterator[tuple[Literal["stdout", "stderr"], bytes]]:
        """Chunks as they come; ends when the command has ended."""
        ...

    async def result(self) -> ExecResult:
        """Wait for the end; `stdout` and `stderr` are empty, as they were streamed."""
        ...

    async def kill(self) -> None:
        """Kill the command and every descendant, also those that left its session."""
        ...


class Shell(Protocol):
    """A stateful shell: directory, variables and functions live from one `run` to the next."""

    async def run(self, command: str, *, timeout: float, max_output: int = MAX_OUTPUT) -> ExecResult:
        """Run one command line; stdout and stderr arrive together in `stdout`.

        After a time-out the shell is killed and a fresh one takes its place (its state is lost, and the caller says
        so).
        """
        ...

    async def close(self) -> None: ...


class Sandbox(Protocol):
    """One box. Methods raise `SandboxError` when the box or its engine fails."""

    @property
    def id(self) -> str: ...
    @property
    def backend(self) -> str: ...
    @property
    def isolation(self) -> str:
        """What holds the code, for results: `docker`, `docker+runsc`, `bubblewrap`, `modal`."""
        ...

    @property
    def image(self) -> str: ...
    @property
    def capabilities(self) -> frozenset[Capability]: ...
    @property
    def workdir(self) -> str:
        """Where commands run and what paths are relative to, unless they say otherwise: the workspace, or what the
        image or the task of a writable box says.
        """
        ...

    @property
    def start_ms(self) -> float: ...
    @property
    def alive(self) -> bool:
        """False once the box is known to be lost or closed. True promises nothing: a box can be lost at any moment."""
        ...

    async def keepers(self) -> list[int]:
        """The numbers that the box's first processes have on this machine, for whoever looks at it from outside; empty
        where it runs on another one.
        """
        ...

    async def exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        user: User = "task",
        timeout: float = 60.0,
        max_output: int = MAX_OUTPUT,
    ) -> ExecResult:
        """Run `argv` in a session of its own and wait. On time-out every descendant dies, also after `setsid`.
        `cwd` is relative to the box's working directory.

        A program that is not there is a result: exit code 127 and a sentence on stderr.
        """
        ...

    def stream(
        self,
        argv: Sequence[str],
        *,
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        user: User = "task",
        timeout: float = 60.0,
        max_output: int = MAX_OUTPUT,
    ) -> AbstractAsyncContextManager[ExecStream]:
        """The streaming form of `exec`; leaving the context kills what still runs."""
        ...

    async def open_shell(self, *, cwd: str = "", env: Mapping[str, str] | None = None) -> Shell: ...

    async def read_file(self, path: str, *, max_bytes: int = MAX_FILE, user: User = "task") -> bytes:
        """The bytes of a regular file (never a link, device or pipe at the end of the path), relative to the workspace.

        Raises FileNotFoundError, IsADirectoryError, PermissionError, or ValueError when it is larger than `max_bytes`
        or not a regular file.
        """
        ...

    async def write_file(self, path: str, data: bytes, *, mode: int = 0o644, user: User = "task") -> None:
        """Write a file, making parent directories, as `user`. Raises PermissionError, OSError (disk full),
        ValueError.
        """
        ...

    async def snapshot(self, path: str = "", *, max_bytes: int = 256 << 20, user: User = "task") -> bytes:
        """An uncompressed tar of the directory: regular files, directories and links, nothing else."""
        ...

    async def restore(
        self, archive: bytes, path: str = "", *, user: User = "task", instead: Sequence[str] = ()
    ) -> None:
        """Unpack a tar under `path`. Members that would leave it, devices and pipes are refused with ValueError.

        `instead`: absolute paths at which first everything is removed, with links and files that stand in the way.
        """
        ...

    async def remove(self, path: str, *, user: User = "task") -> None:
        """Remove a file or a whole directory, never through a link. Nothing there is nothing to do. Raises
        PermissionError where a link is on the way, and OSError.
        """
        ...

    @property
    def entrypoint(self) -> tuple[str, ...]:
        """Of a writable box: what its image would have started first. A box starts its keeper instead."""
        ...

    async def touched(self, places: Sequence[str]) -> list[str]:
        """Files and directories at or below `places` that were changed in any way since the box was ready, a thousand
        at most. The box's keeper tells it by a time that nobody can set: quick, but what was deleted shows only in the
        directory that held it.
        """
        ...

    async def changes(self) -> Mapping[str, Change]:
        """What differs from the image in a writable box, by path. Seen from outside the box, so that nothing in it can
        hide; up to a second. Raises `SandboxError("unsupported")` where the place cannot tell.
        """
        ...

    async def original(self, path: str) -> bytes:
        """A tar with what the image has at `path`: a file, a link, or a directory and all in it. Raises
        FileNotFoundError, and `SandboxError("unsupported")` where the place cannot tell.
        """
        ...

    async def freeze(self) -> None:
        """Stop every process of `task` and `grader` where it is. Commands that are started later run."""
        ...

    async def thaw(self) -> None:
        """Let what `freeze` stopped run on."""
        ...

    async def quiesce(self) -> None:
        """Kill every process of `task` and `grader` and wait until none is left: before grading what an agent made."""
        ...

    async def reset(self) -> bool:
        """Kill everything, empty every writable place; True when verified to be as new, False when it must be thrown
        away, as after a kill for memory.
        """
        ...

    def report_network(self, record: Callable[[NetworkAccess], None]) -> None:
        """Tell `record` of every connection that the box asks for, those before this call included."""
        ...

    async def shut_network(self) -> None:
        """Let nothing out of the box any more, and have every open connection told of. `reset` opens it again."""
        ...

    async def cdp_endpoint(self) -> str:
        """The Chrome DevTools endpoint of a browser box. Raises `SandboxError("unsupported")` elsewhere."""
        ...

    async def close(self) -> None:
        """Remove the box. Safe to call twice, and during cancellation."""
        ...


class Backend(Protocol):
    """Makes boxes of one kind."""

    @property
    def name(self) -> str: ...
    @property
    def isolation(self) -> str: ...
    @property
    def local(self) -> bool:
        """Whether its boxes take memory and cores of this machine, so that only so many fit."""
        ...

    @property
    def starts_at_once(self) -> int:
        """Boxes that are best asked for at the same time; more would only slow each other down."""
        ...

    def offers(self, image: str) -> frozenset[Capability]:
        """What a box of this image can do; asked by the planner before anything starts."""
        ...

    async def check(self) -> None:
        """Raise `SandboxError("unavailable")` with what to do when the engine does not answer."""
        ...

    async def ensure_image(self, image: str, say: Say) -> str:
        """Make sure that `image` is there and current, and return its content id. Built-in images are built, foreign
        ones pulled. `say` is called with one plain sentence for each long step. Raises `SandboxError("image")`.
        """
        ...

    async def build_image(self, image: str, build: ImageBuild, say: Say) -> str:
        """Make sure that `image` is there, built as `build` says where it is not, and return its content id. The name
        holds a hash of the folder. Raises `SandboxError("image")`.
        """
        ...

    async def create(self, spec: BoxSpec) -> Sandbox:
        """Start a box and wait until it answers. Raises `SandboxError`."""
        ...

    async def close(self) -> None:
        """Close every box that is still open, and the connections to the engine."""
        ...


class Say(Protocol):
    """Told one plain sentence before a long step."""

    def __call__(self, sentence: str) -> None: ...
