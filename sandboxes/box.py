"""A sandbox that is reached through the in-box agent: everything but how a box is made and removed, which each
back-end does.
"""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from agentlab.sandboxes import archives
from agentlab.sandboxes.agent import files, wire
from agentlab.sandboxes.connection import ANSWER_S, AgentConnection
from agentlab.sandboxes.protocol import (
    GRADE,
    MAX_FILE,
    MAX_OUTPUT,
    WORKSPACE,
    Capability,
    Change,
    ExecResult,
    ExecStream,
    SandboxError,
    Shell,
    User,
)
from agentlab.sandboxes.running import AgentShell, AgentStream, collect, kill_quietly
from agentlab.traces.events import NetworkAccess

if TYPE_CHECKING:
    from agentlab.sandboxes.egress.way import Egress

UIDS = {"task": 1000, "grader": 1001}
HOMES = {"task": "/tmp", "grader": GRADE}  # noqa: S108 - a path in the box, not on this machine
MAX_ARCHIVE = 1 << 30
FILE_S = 120.0
UNBOUNDED = 1 << 62
MAX_TOUCHED = 1000

Connect = Callable[[User], Awaitable[AgentConnection]]


@dataclass(frozen=True, slots=True)
class Placing:
    """What is fixed when a box is made."""

    id: str
    backend: str
    isolation: str
    image: str
    capabilities: frozenset[Capability]
    start_ms: float
    workdir: str = WORKSPACE
    keepers: Callable[[], Awaitable[list[int]]] | None = None


class AgentSandbox:
    """One box. `connect` gives the line for a user: the same agent for both in Docker, one each where a box has a
    single uid.
    """

    def __init__(
        self,
        placing: Placing,
        connect: Connect,
        opened: Callable[[], list[AgentConnection]],
        remove: Callable[[], Awaitable[None]],
        egress: Egress | None = None,
    ) -> None:
        self._placing = placing
        self._connect = connect
        self._opened = opened
        self._remove = remove
        self._egress = egress
        self._closing: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        return self._placing.id

    @property
    def backend(self) -> str:
        return self._placing.backend

    @property
    def isolation(self) -> str:
        return self._placing.isolation

    @property
    def image(self) -> str:
        return self._placing.image

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self._placing.capabilities

    @property
    def workdir(self) -> str:
        return self._placing.workdir

    @property
    def start_ms(self) -> float:
        return self._placing.start_ms

    def _absolute(self, path: str) -> str:
        return posixpath.join(self.workdir, path) if path else self.workdir

    async def keepers(self) -> list[int]:
        return await self._placing.keepers() if self._placing.keepers is not None else []

    @property
    def alive(self) -> bool:
        return self._closing is None and all(line.alive for line in self._opened())

    async def _line(self, user: User) -> AgentConnection:
        if self._closing is not None:
            raise SandboxError("closed", f"box {self.id} is closed")
        return await self._connect(user)

    async def _every_line(self) -> list[AgentConnection]:
        """The lines that are open; a user whose box was never asked for has nothing to stop or empty."""
        await self._line("task")
        return self._opened()

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
        request = _command(argv, self._absolute(cwd), env, user, timeout, max_output)
        return await self._run(user, "exec", request, stdin, timeout)

    async def _run(self, user: User, op: str, request: dict[str, Any], stdin: bytes, timeout: float) -> ExecResult:
        """One command with all its input given and all its output collected."""
        line = await self._line(user)
        async with line.deadline(timeout + ANSWER_S, op):
            first, rest = stdin[: wire.MAX_PAYLOAD], stdin[wire.MAX_PAYLOAD :]
            exchange = await line.begin(op, first, live=False, more=bool(rest), **request)
            feeding = asyncio.create_task(line.add(exchange, rest, last=True)) if rest else None
            try:
                return await collect(line, exchange)
            except BaseException:
                await kill_quietly(line, exchange)
                raise
            finally:
                line.finish(exchange)
                if feeding is not None:
                    feeding.cancel()
                    await asyncio.gather(feeding, return_exceptions=True)

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
        return self._stream(_command(argv, self._absolute(cwd), env, user, timeout, max_output), user, timeout)

    @asynccontextmanager
    async def _stream(self, request: dict[str, Any], user: User, timeout: float) -> AsyncIterator[ExecStream]:
        line = await self._line(user)
        exchange = await line.begin("exec", live=True, more=True, **request)
        try:
            yield AgentStream(line, exchange, timeout + ANSWER_S)
        finally:
            await kill_quietly(line, exchange)
            line.finish(exchange)

    async def open_shell(self, *, cwd: str = "", env: Mapping[str, str] | None = None) -> Shell:
        line = await self._line("task")
        shell = await line.begin("shell", cwd=self._absolute(cwd), env=dict(env or {}), user="task")
        try:
            async with line.deadline(ANSWER_S, "shell"):
                await line.next_item(shell)
        finally:
            line.finish(shell)
        return AgentShell(line, shell.id)

    async def _file(self, what: str, user: User, path: str, payload: bytes = b"", **fields: Any) -> bytes:
        request = {
            "what": what,
            "user": user,
            "path": self._absolute(path),
            "max_output": UNBOUNDED,
            "timeout": FILE_S,
            **fields,
        }
        result = await self._run(user, "file", request, payload, FILE_S)
        if result.exit_code:
            raise _file_error(result, path, self.id)
        return result.stdout

    async def read_file(self, path: str, *, max_bytes: int = MAX_FILE, user: User = "task") -> bytes:
        data = await self._file("read", user, path, max_bytes=max_bytes)
        if len(data) > max_bytes:
            raise SandboxError("protocol", f"box {self.id} sent more of {path} than was asked for")
        return data

    async def write_file(self, path: str, data: bytes, *, mode: int = 0o644, user: User = "task") -> None:
        if len(data) > MAX_FILE:
            raise ValueError(f"{path}: {len(data)} bytes are more than the {MAX_FILE} allowed")
        await self._file("write", user, path, data, mode=mode)

    async def snapshot(self, path: str = "", *, max_bytes: int = 256 << 20, user: User = "task") -> bytes:
        return await self._file("snapshot", user, path, max_bytes=max_bytes)

    async def restore(
        self, archive: bytes, path: str = "", *, user: User = "task", instead: Sequence[str] = ()
    ) -> None:
        # Looked at before anything is sent, so that a refused archive leaves no half of itself; the agent looks again.
        archives.check(archive, MAX_ARCHIVE, links_may_leave=user == "task")
        await self._file("restore", user, path, archive, max_bytes=MAX_ARCHIVE, instead=list(instead))

    async def remove(self, path: str, *, user: User = "task") -> None:
        await self._file("remove", user, path)

    @property
    def entrypoint(self) -> tuple[str, ...]:
        return ()

    async def touched(self, places: Sequence[str]) -> list[str]:
        told = await self._file("changed", "grader", "/", places=list(places), most=MAX_TOUCHED)
        return told.decode("utf-8", "surrogateescape").splitlines()

    async def changes(self) -> Mapping[str, Change]:
        raise SandboxError("unsupported", f"the sandbox {self.backend} does not tell what a box has changed")

    async def original(self, path: str) -> bytes:
        raise SandboxError("unsupported", f"the sandbox {self.backend} does not tell what an image holds")

    async def freeze(self) -> None:
        for line in await self._every_line():
            await line.ask("freeze")

    async def thaw(self) -> None:
        for line in await self._every_line():
            await line.ask("thaw")

    async def quiesce(self) -> None:
        for line in await self._every_line():
            left = (await line.ask("quiesce", patience_s=30.0)).value.get("left")
            if left != 0:
                raise SandboxError(
                    "lost", f"box {self.id}: {left} processes could not be killed; the box cannot be graded"
                )
        if self._egress is not None:
            # What an agent has used up must not be missing to its grader.
            self._egress.renew()

    async def reset(self) -> bool:
        # A box whose agent cannot even answer is not clean: the caller throws it away and takes another.
        try:
            replies = [await line.ask("reset", patience_s=60.0) for line in await self._every_line()]
        except SandboxError:
            return False
        if self._egress is not None:
            await self._egress.start_over()
        return all(reply.value.get("clean") is True for reply in replies)

    def report_network(self, record: Callable[[NetworkAccess], None]) -> None:
        if self._egress is not None:
            self._egress.report_to(record)

    async def shut_network(self) -> None:
        if self._egress is not None:
            await self._egress.shut()

    async def cdp_endpoint(self) -> str:
        raise SandboxError("unsupported", f"the image {self.image} has no browser")

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._do_close(), name=f"close {self.id}")
        # Shielded: a cancelled caller must not leave a box behind.
        await asyncio.shield(self._closing)

    async def _do_close(self) -> None:
        try:
            if self._egress is not None:
                await self._egress.close()
        finally:
            await self._remove()


def _command(
    argv: Sequence[str], cwd: str, env: Mapping[str, str] | None, user: User, timeout: float, max_output: int
) -> dict[str, Any]:
    if not argv or isinstance(argv, str | bytes):
        raise ValueError("argv is a list of a program and its arguments")
    return {
        "argv": list(argv),
        "cwd": cwd,
        "env": dict(env or {}),
        "user": user,
        "timeout": timeout,
        "max_output": max_output,
    }


class _FileReport(msgspec.Struct):
    kind: str
    errno: int = 0
    message: str = ""
    path: str = ""


_FILE_ERRORS: dict[str, type[OSError]] = {
    "FileNotFoundError": FileNotFoundError,
    "IsADirectoryError": IsADirectoryError,
    "NotADirectoryError": NotADirectoryError,
    "PermissionError": PermissionError,
    "FileExistsError": FileExistsError,
    "BlockingIOError": BlockingIOError,
    "OSError": OSError,
}


def _file_error(result: ExecResult, path: str, box: str) -> Exception:
    """What the agent's file child reported, as the exception that a local file would have raised."""
    if result.exit_code != files.FAILED or result.timed_out:
        state = "took too long" if result.timed_out else f"was killed ({result.exit_code})"
        return SandboxError("lost", f"box {box}: the file operation on {path} {state}")
    try:
        report = msgspec.json.decode(result.stderr, type=_FileReport)
    except msgspec.DecodeError:
        return SandboxError("protocol", f"box {box}: the file operation on {path} failed without a reason")
    if report.kind in _FILE_ERRORS:
        return _FILE_ERRORS[report.kind](report.errno, report.message, path)
    if report.kind == "ValueError":
        return ValueError(report.message)
    return SandboxError(
        "protocol", f"box {box}: the file operation on {path} failed with {report.kind}: {report.message}"
    )
