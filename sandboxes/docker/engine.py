"""The few calls of the Docker Engine API that a box needs, straight over the engine's socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentlab.sandboxes.docker.endpoint import Endpoint
from agentlab.sandboxes.protocol import SandboxError

if TYPE_CHECKING:
    import aiohttp

CALL_S = 60.0
RETURN_S = 60.0
"""How long an engine that was there and has gone is waited for: restarts took 3 to 14 s where they were measured."""
STDERR_KEPT = 4096
AT_ONCE = 1 << 18
"""Bytes that are taken from a line at most before they are dealt with."""


class EngineError(Exception):
    """The engine refused a call."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Engine:
    """HTTP to one engine. Bound to the event loop that first uses it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._session: aiohttp.ClientSession | None = None
        self._seen = False
        self._gone_since: float | None = None

    def _client(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            if self.endpoint.socket:
                connector: aiohttp.BaseConnector = aiohttp.UnixConnector(self.endpoint.socket, limit=0)
            else:
                connector = aiohttp.TCPConnector(ssl=self.endpoint.ssl_context() or True, limit=0)
            timeout = aiohttp.ClientTimeout(total=CALL_S, sock_connect=10)
            self._session = aiohttp.ClientSession(base_url=self.endpoint.base_url, connector=connector, timeout=timeout)
        return self._session

    def _gone(self, cause: Exception) -> SandboxError:
        # aiohttp's own words end in "ssl:default [...]", also where there is no TLS.
        reason = getattr(cause, "os_error", cause)
        if isinstance(reason, PermissionError):
            advice = "add yourself to the docker group (sudo usermod -aG docker $USER, then log in again)"
            told = f"you may not use the Docker engine at {self.endpoint}: {advice}, or choose --sandbox bubblewrap"
            return SandboxError("unavailable", told)
        why = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        return SandboxError(
            "unavailable",
            f"the Docker engine at {self.endpoint} does not answer ({why}): start it, or choose --sandbox bubblewrap",
        )

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, **query: str) -> Any:
        """One call with a JSON answer (None when empty). Raises EngineError (refused) and SandboxError (no engine)."""
        import aiohttp

        try:
            async with self._client().request(method, path, json=body, params=query) as response:
                data = await response.read()
                self._seen, self._gone_since = True, None
                if response.status >= 400:
                    raise EngineError(response.status, _message(data))
                return json.loads(data) if data and response.content_type == "application/json" else None
        except (aiohttp.ClientError, OSError, TimeoutError) as cause:
            raise self._gone(cause) from cause

    async def returns(self) -> bool:
        """Wait for an engine that has answered before and no longer does; whether it answers again.

        All who wait share one time, and once it is over nobody waits any more until the engine is back.
        """
        if not self._seen:
            return False
        since = self._gone_since = self._gone_since or time.monotonic()
        while True:
            await asyncio.sleep(0.2)
            with contextlib.suppress(SandboxError, EngineError, OSError):
                # An engine that is going takes no new connection, and still answers on those that it has.
                _, writer = await self._raw()
                writer.close()
                await self.call("GET", "/_ping")
                return True
            if time.monotonic() - since > RETURN_S:
                return False

    async def data(self, path: str, query: Mapping[str, str], *, most: int) -> bytes:
        """A GET that answers with bytes, `most` of them. Raises EngineError and SandboxError."""
        import aiohttp

        try:
            async with self._client().get(path, params=query) as response:
                if response.status >= 400:
                    raise EngineError(response.status, _message(await response.read()))
                held = bytearray()
                async for chunk in response.content.iter_any():
                    held += chunk
                    if len(held) > most:
                        raise EngineError(413, f"more than {most} bytes")
                return bytes(held)
        except (aiohttp.ClientError, OSError, TimeoutError) as cause:
            raise self._gone(cause) from cause

    async def save(self, path: str, file: Path) -> None:
        """A GET whose answer goes into a file. Raises EngineError and SandboxError."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=CALL_S)
        try:
            async with self._client().get(path, timeout=timeout) as response:
                if response.status >= 400:
                    raise EngineError(response.status, _message(await response.read()))
                with file.open("wb") as out:
                    async for chunk in response.content.iter_chunked(1 << 20):
                        out.write(chunk)
        except (aiohttp.ClientError, TimeoutError) as cause:
            raise self._gone(cause) from cause

    @asynccontextmanager
    async def progress(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        quiet_s: float,
        method: str = "POST",
        data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """A call that answers with one JSON object a line, such as a build or a pull. `quiet_s` without a line is
        the end.
        """
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=quiet_s)
        try:
            async with self._client().request(
                method, path, data=data, params=query, headers=headers, timeout=timeout
            ) as response:
                if response.status >= 400:
                    raise EngineError(response.status, _message(await response.read()))
                yield _lines(response.content)
        except TimeoutError as cause:
            raise EngineError(504, f"no progress for {quiet_s:.0f} s") from cause
        except (aiohttp.ClientError, OSError) as cause:
            raise self._gone(cause) from cause

    async def attach(self, container: str) -> AttachedLine:
        """The standard streams of a container that has not started yet, so that nothing of them is missed."""
        try:
            async with asyncio.timeout(10):
                reader, writer = await self._raw()
                request = f"POST /containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\n"
                request += "Host: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
                writer.write(request.encode())
                head = await reader.readuntil(b"\r\n\r\n")
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as cause:
            raise self._gone(cause) from cause
        status = head.split(None, 2)[1] if len(head.split(None, 2)) > 1 else b""
        if status not in (b"101", b"200"):
            writer.close()
            raise SandboxError(
                "start", f"the Docker engine refused to attach to a box (status {status.decode('latin-1')})"
            )
        return AttachedLine(reader, writer)

    async def _raw(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.endpoint.socket:
            return await asyncio.open_unix_connection(self.endpoint.socket, limit=1 << 20)
        return await asyncio.open_connection(
            self.endpoint.host, self.endpoint.port, ssl=self.endpoint.ssl_context(), limit=1 << 20
        )

    async def close(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()


class AttachedLine:
    """The raw attach stream. The engine puts 8 bytes before each piece: which stream, and how long."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._head = b""
        self._left = 0
        self._is_output = True
        self._errors = bytearray()

    async def receive(self) -> bytes:
        while data := await self._reader.read(AT_ONCE):
            if output := self._output_in(data):
                return output
        return b""

    def _output_in(self, data: bytes) -> bytes:
        """The pieces of output in what has come. One that is not whole yet goes on in what comes next."""
        found: list[bytes] = []
        place = 0
        while place < len(data):
            if self._left == 0:
                missing = 8 - len(self._head)
                self._head += data[place : place + missing]
                place += missing
                if len(self._head) == 8:
                    self._is_output, self._left = self._head[0] == 1, int.from_bytes(self._head[4:], "big")
                    self._head = b""
                continue
            piece = data[place : place + self._left]
            place += len(piece)
            self._left -= len(piece)
            if self._is_output:
                found.append(piece)
            else:
                self._errors = (self._errors + piece)[-STDERR_KEPT:]
        return found[0] if len(found) == 1 else b"".join(found)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()

    def last_words(self) -> str:
        return self._errors.decode("utf-8", "replace")


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[dict[str, Any]]:
    held = b""
    async for chunk in content.iter_any():
        *lines, held = (held + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)
    if held.strip():
        yield json.loads(held)


def _message(data: bytes) -> str:
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return data[:300].decode("utf-8", "replace") or "no reason given"
