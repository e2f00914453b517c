"""What runs in a box that is reached through the in-box agent: a command whose bytes come and go, a shell, and the
replies that end them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

import anyio

from agentlab.sandboxes.connection import ANSWER_S, AgentConnection, Exchange, Reply
from agentlab.sandboxes.protocol import MAX_OUTPUT, ExecResult, SandboxError


class AgentStream:
    """A running command; see `ExecStream`."""

    def __init__(self, line: AgentConnection, exchange: Exchange, patience_s: float) -> None:
        self._line = line
        self._exchange = exchange
        self._patience_s = patience_s
        self._result: ExecResult | None = None

    async def send(self, data: bytes) -> None:
        if self._exchange.ended:
            raise SandboxError("closed", "the command has ended and takes no more input")
        await self._add(data, last=False)

    async def close_stdin(self) -> None:
        await self._add(b"", last=True)

    async def _add(self, data: bytes, *, last: bool) -> None:
        # A command may leave its input unread for as long as it runs; an agent may not.
        async with self._line.deadline(self._patience_s, "data"):
            await self._line.add(self._exchange, data, last=last)

    async def __aiter__(self) -> AsyncIterator[tuple[Literal["stdout", "stderr"], bytes]]:
        while self._result is None:
            async with self._line.deadline(self._patience_s, "exec"):
                reply, payload = await self._line.next_item(self._exchange)
            if reply.t == "end":
                self._result = result_of(reply, b"", b"")
                for name, rest in (("stdout", payload[: reply.split]), ("stderr", payload[reply.split :])):
                    if rest:
                        yield name, rest  # type: ignore[misc]
            elif payload:
                yield ("stdout" if reply.t == "out" else "stderr"), payload

    async def result(self) -> ExecResult:
        async for _ in self:
            pass
        if self._result is None:
            raise SandboxError("protocol", "the stream ended without a result")
        return self._result

    async def kill(self) -> None:
        await self._line.kill(self._exchange)


class AgentShell:
    """A stateful shell; see `Shell`."""

    def __init__(self, line: AgentConnection, number: int) -> None:
        self._line = line
        self._number = number
        self._turn = asyncio.Lock()
        self._closed = False

    async def run(self, command: str, *, timeout: float, max_output: int = MAX_OUTPUT) -> ExecResult:
        if self._closed:
            raise SandboxError("closed", "the shell is closed")
        async with self._turn, self._line.deadline(timeout + ANSWER_S, "run"):
            fields = {"shell": self._number, "timeout": timeout, "max_output": max_output}
            exchange = await self._line.begin("run", command.encode("utf-8", "surrogateescape"), **fields)
            try:
                return await collect(self._line, exchange)
            except asyncio.CancelledError:
                # Until it has stopped it takes no other command; anyio would cancel a mere asyncio.shield again.
                with anyio.CancelScope(shield=True):
                    await self._stop(for_good=False)
                raise
            finally:
                self._line.finish(exchange)

    async def _stop(self, *, for_good: bool) -> None:
        await self._line.ask("stop", shell=self._number, for_good=for_good)

    async def close(self) -> None:
        if not self._closed and self._line.alive:
            self._closed = True
            await self._stop(for_good=True)


def result_of(reply: Reply, stdout: bytes, stderr: bytes) -> ExecResult:
    return ExecResult(reply.code, stdout, stderr, reply.timed_out, reply.oom, reply.dropped, reply.seconds)


async def collect(line: AgentConnection, exchange: Exchange) -> ExecResult:
    parts: dict[str, list[bytes]] = {"out": [], "err": []}
    async for reply, payload in line.items(exchange):
        if reply.t == "end":
            parts["out"].append(payload[: reply.split])
            parts["err"].append(payload[reply.split :])
            return result_of(reply, b"".join(parts["out"]), b"".join(parts["err"]))
        if reply.t in parts:
            parts[reply.t].append(payload)
    raise SandboxError("protocol", "the agent answered a command without a result")


async def kill_quietly(line: AgentConnection, exchange: Exchange) -> None:
    """Kill what an abandoned request left running. A line that is broken has nothing left to kill."""
    try:
        await asyncio.shield(line.kill(exchange))
    except SandboxError:
        return
