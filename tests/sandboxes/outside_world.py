"""A world for boxes with a network: an HTTP and an HTTPS server in the test process, and names that lead to them.

The strict policy refuses this machine, so a test says that 127.0.0.1 is fine for once; everything else of the policy
stays as it is.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from agentlab.sandboxes.egress import EgressLimits, Endpoint, Outside, refuses
from agentlab.sandboxes.egress.way import Egress
from agentlab.traces.events import NetworkAccess

HERE = "127.0.0.1"
LIST = ("example.org", "*.example.org")
GET = b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n"


@dataclass
class World:
    """What the servers heard, and where names lead. `names` maps a host to addresses; others lead here."""

    ca: trustme.CA
    http_port: int = 0
    https_port: int = 0
    names: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """Names that were resolved, in order."""
    heard: list[bytes] = field(default_factory=list)
    """Requests, head and body, as they came."""
    handshakes: list[str] = field(default_factory=list)
    """Names that TLS clients gave."""
    connections: int = 0

    async def resolve(self, host: str, port: int) -> Sequence[Endpoint]:
        self.asked.append(host)
        actual = self.https_port if port == 443 else self.http_port
        return [(address, actual) for address in self.names.get(host, [HERE])]

    def outside(self, *, by_socket: bool = True) -> Outside:
        return Outside(resolve=self.resolve, refuses=refuses_but_here, by_socket=by_socket)

    @property
    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.ca.cert_pem.bytes().decode())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while (request := await read_request(reader)) is not None:
                self.heard.append(request)
                writer.write(answer(request))
                await writer.drain()
                if request.split(b" ", 2)[1].startswith(b"/upgrade"):
                    self.heard.append(await reader.read())
        except (OSError, ValueError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


def refuses_but_here(address: str) -> str:
    return "" if address == HERE else refuses(address)


async def read_request(reader: asyncio.StreamReader) -> bytes | None:
    """One request whose length its head tells; None at the end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    lower, body = head.lower(), b""
    if b"\r\ntransfer-encoding: chunked" in lower:
        while (line := await reader.readuntil(b"\r\n")) != b"0\r\n":
            body += (await reader.readexactly(int(line, 16) + 2))[:-2]
        await reader.readuntil(b"\r\n")
    elif b"\r\ncontent-length:" in lower:
        body = await reader.readexactly(int(lower.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0]))
    return head + body


def answer(request: bytes) -> bytes:
    """`/big/N` gives N bytes, `/chunked` pieces, `/old` no length, `/upgrade` another protocol; else the request."""
    method, path = request.split(b" ", 2)[:2]
    ok = b"HTTP/1.1 200 OK\r\n"
    if path.startswith(b"/big/"):
        size = int(path.removeprefix(b"/big/"))
        return ok + b"Content-Length: %d\r\n\r\n" % size + bytes(size)
    if path == b"/chunked":
        return ok + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n"
    if path == b"/upgrade":
        return b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: raw\r\nConnection: Upgrade\r\n\r\n"
    if path == b"/empty":
        return b"HTTP/1.1 204 No Content\r\n\r\n"
    if path == b"/nonsense":
        return b"I am no HTTP server\r\n\r\n"
    if method == b"HEAD":
        return ok + b"Content-Length: 1000\r\n\r\n"
    return ok + b"Content-Length: %d\r\n\r\n" % len(request) + request


@asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    """Servers for every name under example.org and example.net, with certificates of an authority of their own."""
    world = World(trustme.CA())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    names = ("example.org", "*.example.org", "example.net", "*.example.net")
    world.ca.issue_cert(*names).configure_cert(context)

    def note(_socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        world.handshakes.append(name or "")

    context.sni_callback = note
    plain = await asyncio.start_server(world.serve, HERE, 0)
    secure = await asyncio.start_server(world.serve, HERE, 0, ssl=context)
    world.http_port = plain.sockets[0].getsockname()[1]
    world.https_port = secure.sockets[0].getsockname()[1]
    try:
        yield world
    finally:
        for server in (plain, secure):
            server.close()


class Caller:
    """What a box is to its proxy, played by the test: connections to its socket; and what the trace is told."""

    def __init__(self, egress: Egress, directory: Path) -> None:
        self.egress = egress
        self.path = directory / "proxy.sock"
        self.events: list[NetworkAccess] = []
        self.heard = asyncio.Event()
        egress.report_to(self._hear)

    def _hear(self, event: NetworkAccess) -> None:
        self.events.append(event)
        self.heard.set()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self.path)

    async def say_and_stay(self, *parts: bytes) -> bytes:
        """Everything that is answered to these bytes, sent at once, until the proxy closes; nothing where it does so
        at once.
        """
        reader, writer = await self.connect()
        writer.write(b"".join(parts))
        try:
            async with asyncio.timeout(20):
                return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    async def say(self, *parts: bytes) -> bytes:
        """The same, and nothing more is said afterwards: everything has been told."""
        answer = await self.say_and_stay(*parts)
        await self.egress.shut()
        return answer

    async def tunnel(self, host: str, port: int = 443) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await self.connect()
        writer.write(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        return reader, writer

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(event.verdict, event.reason) for event in self.events]


@asynccontextmanager
async def a_caller(
    world: World, *network: str, limits: EgressLimits | None = None, outside: Outside | None = None
) -> AsyncIterator[Caller]:
    egress = Egress("box-1", network or LIST, limits, outside or world.outside())
    directory = await egress.listen()
    assert directory is not None
    try:
        yield Caller(egress, directory)
    finally:
        await egress.close()
