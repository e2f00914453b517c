"""Sandboxes as containers of the local engine, and the commands that run in them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from modal_proto import api_pb2

from agentlab.sandboxes import ownership
from agentlab.sandboxes.docker.engine import Engine, EngineError

CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID")
CHUNK = 1 << 18
KEPT = 8 << 20
"""Bytes of a stream that may wait for their reader, and that stay readable again after."""


class Stream:
    """One way of output, readable from any byte that is still kept."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._dropped = 0
        self._taken = 0
        self._ended = False
        self._changed = asyncio.Condition()

    async def put(self, data: bytes) -> None:
        async with self._changed:
            self._data += data
            self._changed.notify_all()
            # The command waits where nobody reads, as behind a pipe.
            await self._changed.wait_for(lambda: self._dropped + len(self._data) - self._taken < KEPT or self._ended)

    async def end(self) -> None:
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def read(self, offset: int) -> AsyncIterator[bytes]:
        while True:
            async with self._changed:
                while self._dropped + len(self._data) <= offset and not self._ended:
                    await self._changed.wait()
                chunk = bytes(self._data[offset - self._dropped :][:CHUNK])
                offset += len(chunk)
                self._taken = max(self._taken, offset)
                if surplus := max(0, offset - self._dropped - KEPT):
                    del self._data[:surplus]
                    self._dropped += surplus
                self._changed.notify_all()
            if not chunk:
                return
            yield chunk


class Command:
    """A command that was started in a container."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.output = {1: Stream(), 2: Stream()}
        self.received = 0
        self.input_closed = False
        self.code = 137
        self.ended = asyncio.Event()

    async def pump(self) -> None:
        """Take what the engine sends until the command ends: 8 bytes of which stream and how much, then that."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await self._reader.readexactly(8)
                await self.output[head[0]].put(await self._reader.readexactly(int.from_bytes(head[4:], "big")))

    async def write(self, offset: int, data: bytes, last: bool) -> None:
        """Input from `offset` on; what had arrived before is not written twice."""
        fresh = data[self.received - offset :] if offset <= self.received else b""
        self.received += len(fresh)
        with contextlib.suppress(ConnectionError):
            self._writer.write(fresh)
            await self._writer.drain()
            if last and not self.input_closed:
                self.input_closed = True
                self._writer.write_eof()

    async def finish(self, code: int) -> None:
        self.code = code
        self._writer.close()
        for stream in self.output.values():
            await stream.end()
        self.ended.set()


@dataclass(eq=False)
class Sandbox:
    """One container, and what the control plane remembers of it."""

    id: str
    task_id: str
    container: str
    app_id: str
    definition: api_pb2.Sandbox
    tags: dict[str, str]
    created_at: float = field(default_factory=time.time)
    commands: dict[str, Command] = field(default_factory=dict)
    result: api_pb2.GenericResult | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    busy_at: float = field(default_factory=time.monotonic)

    @property
    def idle_s(self) -> float:
        if any(not command.ended.is_set() for command in self.commands.values()):
            self.busy_at = time.monotonic()
        return time.monotonic() - self.busy_at


class Containers:
    """All of them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.sandboxes: dict[str, Sandbox] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def by_task(self, task_id: str) -> Sandbox | None:
        return next((box for box in self.sandboxes.values() if box.task_id == task_id), None)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def start(self, box: Sandbox, image: str, env: dict[str, str]) -> None:
        """Make the container. Raises EngineError."""
        created = await self.engine.call("POST", "/containers/create", _config(box.definition, image, env))
        box.container = created["Id"]
        try:
            await self.engine.call("POST", f"/containers/{box.container}/start")
        except EngineError:
            # The engine may be removing it already.
            with contextlib.suppress(EngineError):
                await self.engine.call("DELETE", f"/containers/{box.container}", force="1")
            raise
        self.sandboxes[box.id] = box
        self._spawn(self._watch(box))

    async def _watch(self, box: Sandbox) -> None:
        """See the container end, by itself or by the limits of its life."""
        waiting = asyncio.create_task(self._exit_code(box))
        deadline = time.monotonic() + (box.definition.timeout_secs or 300)
        idle = box.definition.idle_timeout_secs or float("inf")
        while not waiting.done():
            await asyncio.wait([waiting], timeout=1.0)
            if time.monotonic() > deadline:
                await self.end(box, api_pb2.GenericResult.GENERIC_STATUS_TIMEOUT)
            elif box.idle_s > idle:
                await self.end(box, api_pb2.GenericResult.GENERIC_STATUS_TERMINATED)
        code = await waiting
        if box.result is None:
            done = (
                api_pb2.GenericResult.GENERIC_STATUS_FAILURE if code else api_pb2.GenericResult.GENERIC_STATUS_SUCCESS
            )
            box.result = api_pb2.GenericResult(status=done, exitcode=code)
        box.ended.set()

    async def _exit_code(self, box: Sandbox) -> int:
        """Through a connection of its own: the answer may take as long as the container lives."""
        try:
            reader, writer = await self._request(f"/containers/{box.container}/wait", {})
            body = (await reader.read()).decode("utf-8", "replace")
            writer.close()
            return int(json.loads(body[body.index("{") : body.rindex("}") + 1])["StatusCode"])
        except (EngineError, OSError, ValueError, KeyError):
            return 137

    async def end(self, box: Sandbox, status: Any) -> None:
        box.result = box.result or api_pb2.GenericResult(status=status, exitcode=137)
        with contextlib.suppress(EngineError):
            await self.engine.call("DELETE", f"/containers/{box.container}", force="1", v="1")

    async def run(self, box: Sandbox, argv: list[str], env: dict[str, str], directory: str) -> Command:
        """Start a command. Raises EngineError."""
        config = {
            "AttachStdin": True,
            "AttachStdout": True,
            "AttachStderr": True,
            "Cmd": argv,
            "Env": [f"{key}={value}" for key, value in env.items()],
            "User": "0:0",
        }
        if directory:
            config["WorkingDir"] = directory
        made = await self.engine.call("POST", f"/containers/{box.container}/exec", config)
        reader, writer = await self._request(f"/exec/{made['Id']}/start", {"Detach": False, "Tty": False})
        command = Command(reader, writer)
        self._spawn(self._see_through(command, made["Id"]))
        return command

    async def _see_through(self, command: Command, number: str) -> None:
        await command.pump()
        code = 137
        with contextlib.suppress(EngineError):
            found = await self.engine.call("GET", f"/exec/{number}/json")
            code = 137 if found["ExitCode"] is None else int(found["ExitCode"])
        await command.finish(code)

    async def _request(self, path: str, body: dict[str, Any]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A POST whose connection is ours after the head of its answer."""
        endpoint = self.engine.endpoint
        if endpoint.socket:
            reader, writer = await asyncio.open_unix_connection(endpoint.socket, limit=1 << 20)
        else:
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, limit=1 << 20)
        text = json.dumps(body).encode()
        upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n" if path.startswith("/exec") else "Connection: close\r\n"
        head = f"POST {path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n{upgrade}"
        writer.write(head.encode() + f"Content-Length: {len(text)}\r\n\r\n".encode() + text)
        answer = await reader.readuntil(b"\r\n\r\n")
        status = int(answer.split(None, 2)[1])
        if status >= 400:
            raise EngineError(status, (await reader.read(2000)).decode("utf-8", "replace"))
        return reader, writer

    async def close(self) -> None:
        terminated = api_pb2.GenericResult.GENERIC_STATUS_TERMINATED
        await asyncio.gather(*(self.end(box, terminated) for box in self.sandboxes.values()), return_exceptions=True)
        for task in self._tasks:
            task.cancel()
        await self.engine.close()


def _config(definition: api_pb2.Sandbox, image: str, env: dict[str, str]) -> dict[str, Any]:
    """A container as much like a sandbox of Modal as a plain engine makes them: root in a system that it may write to,
    no network, limits of memory and processors.
    """
    resources = definition.resources
    return {
        "Image": image,
        "Entrypoint": list(definition.entrypoint_args) or ["sleep", "infinity"],
        "Cmd": [],
        "User": "0:0",
        "WorkingDir": definition.workdir or "/",
        "Hostname": "modal",
        "Env": [f"{key}={value}" for key, value in {"MODAL_IS_A_STANDIN": "1", **env}.items()],
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": ownership.labels("modal stand-in"),
        "HostConfig": {
            "AutoRemove": True,
            "Init": True,
            "NetworkMode": "none",
            "CapDrop": ["ALL"],
            "CapAdd": list(CAPABILITIES),
            "IpcMode": "private",
            "PidsLimit": 128,
            "Memory": (resources.memory_mb_max or resources.memory_mb or 512) << 20,
            "MemorySwap": (resources.memory_mb_max or resources.memory_mb or 512) << 20,
            "NanoCpus": (resources.milli_cpu_max or resources.milli_cpu or 1000) * 1_000_000,
            "LogConfig": {"Type": "none"},
            # Large, and fast like the disks there: what an engine writes to its layers is slow on many machines.
            "Tmpfs": dict.fromkeys(("/workspace", "/grade"), "rw,exec,size=1g,mode=0755")
            | {"/tmp": "rw,exec,size=1g,mode=1777"},
            "RestartPolicy": {"Name": "no"},
        },
    }
