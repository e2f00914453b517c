"""HTTP/1 through the proxy: each request is taken apart, held against the host it may go to, and put together anew.

Nothing is passed on as it came, so two readings of one request (two lengths, a folded header, a name with a blank)
cannot differ between here and the server. Parsing and writing are h11's.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

import h11

from agentlab.sandboxes.egress.hosts import authority
from agentlab.sandboxes.egress.ledger import EgressError, EgressLimits
from agentlab.sandboxes.egress.streams import Stream

_ABSOLUTE = re.compile(rb"(?i:http)://([^/?#]*)(/[^#]*|\?[^#]*)?")
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"host"})
_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te"}
    | {b"trailer", b"upgrade", b"http2-settings", b"host"}
)

_Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes."""

    host: str
    port: int
    path: bytes = b""


class HttpSide:
    """One side of a connection that speaks HTTP/1: `SERVER` towards the box, `CLIENT` towards the world."""

    def __init__(self, stream: Stream, role: type[h11.SERVER] | type[h11.CLIENT], limits: EgressLimits) -> None:
        self.stream = stream
        self._limits = limits
        self._state = h11.Connection(role, max_incomplete_event_size=limits.head_bytes)

    async def request(self) -> h11.Request | None:
        """The next request of the box, None where it has no more. Raises EgressError."""
        try:
            async with asyncio.timeout(self._limits.head_s):
                event = await self.event()
        except TimeoutError:
            if not self._state.trailing_data[0]:
                return None
            late = f"the head of the request did not arrive within {self._limits.head_s:g} s"
            raise EgressError("idle", late, status=408) from None
        if not isinstance(event, h11.Request):
            return None
        if (
            len(event.target) + sum(len(name) + len(value) + 4 for name, value in event.headers)
            > self._limits.head_bytes
        ):
            # h11 bounds only what it has to wait for.
            raise EgressError("request", f"the head is longer than {self._limits.head_bytes} bytes", status=431)
        return event

    async def event(self) -> h11.Event | type[h11.PAUSED]:
        """The next part of a message. Raises EgressError where it is no HTTP/1."""
        while True:
            try:
                event = self._state.next_event()
            except h11.RemoteProtocolError as error:
                raise self._nonsense(error) from error
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]  # h11's sentinels are classes
            self._state.receive_data(await self._read())

    def _nonsense(self, error: h11.RemoteProtocolError) -> EgressError:
        why = str(error).partition(": bytearray")[0]
        if self._state.our_role is h11.CLIENT:
            return EgressError("unreachable", f"the server's answer is no HTTP/1: {why}", status=502)
        return EgressError("request", f"this is no HTTP/1 request: {why}", status=error.error_status_hint)

    async def _read(self) -> bytes:
        try:
            return await self.stream.read()
        except OSError:
            return b""

    async def send(self, event: h11.Event) -> None:
        """Write a part of a message. Raises OSError, and EgressError where it does not fit the one before."""
        try:
            data = self._state.send(event)
        except h11.LocalProtocolError as error:
            raise EgressError("request", f"the message cannot be passed on: {error}", status=502) from error
        if data:
            await self.stream.write(data)

    async def refuse(self, refusal: EgressError) -> None:
        """Tell the client why, unless an answer is under way already."""
        if self._state.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        # In the status line too: of a refused CONNECT most clients show nothing else.
        text = f"agentlab: {refusal}".encode("ascii", "backslashreplace")
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(text) + 1)), ("Connection", "close")]
        await self.send(h11.Response(status_code=refusal.status, headers=headers, reason=text))
        await self.send(h11.Data(data=text + b"\n"))
        await self.send(h11.EndOfMessage())

    def leftover(self) -> bytes:
        """What came behind the head of a CONNECT."""
        return self._state.trailing_data[0]

    def renewed(self) -> bool:
        """Make ready for another request; False where the connection has to be closed."""
        if self._state.our_state is h11.DONE and self._state.their_state is h11.DONE:
            self._state.start_next_cycle()
            return True
        return False


def proxy_target(request: h11.Request) -> Target:
    """Where a request that was sent to a proxy wants to go. Raises EgressError."""
    if request.method == b"CONNECT":
        _refuse_body(request)
        host, port = _authority(request.target, "CONNECT")
        if port is None:
            raise EgressError("request", "CONNECT wants host:port", status=400)
        return Target(host, port)
    match = _ABSOLUTE.fullmatch(request.target)
    if match is None:
        raise EgressError("request", "a proxy takes http:// addresses, or CONNECT host:443", status=400)
    host, port = _authority(match[1], "the address")
    if port not in (None, 80):
        raise EgressError("port", "plain HTTP goes to port 80 only", host=host, port=port or 0)
    path = match[2] or b"/"
    target = Target(host, 80, path if path.startswith(b"/") else b"/" + path)
    return _held_against_host(request, target, optional=request.http_version == b"1.0")


def origin_target(request: h11.Request, tunnel: Target) -> Target:
    """The same for a request inside a tunnel, which may go to the tunnel's own host only."""
    if request.method == b"CONNECT":
        raise EgressError("request", "a tunnel inside a tunnel", host=tunnel.host, port=tunnel.port)
    if not request.target.startswith(b"/") and request.target != b"*":
        raise EgressError(
            "request", "a request to a proxy inside a tunnel", status=400, host=tunnel.host, port=tunnel.port
        )
    return _held_against_host(request, Target(tunnel.host, tunnel.port, request.target), optional=False)


def _refuse_body(request: h11.Request) -> None:
    if any(name in (b"content-length", b"transfer-encoding") for name, _ in request.headers):
        raise EgressError("request", "a CONNECT with a body", status=400)


def _authority(data: bytes, what: str) -> tuple[str, int | None]:
    text = data.decode("latin-1")
    try:
        return authority(text)
    except ValueError as error:
        raise EgressError("not_listed", f"{what}: {error}", host=text) from None


def _held_against_host(request: h11.Request, target: Target, *, optional: bool) -> Target:
    """The target, where the Host header and the framing leave no doubt. h11 has seen to it that Host comes once."""

    def refused(message: str) -> EgressError:
        return EgressError("request", message, status=400, host=target.host, port=target.port)

    if request.http_version not in (b"1.0", b"1.1"):
        raise refused(f"HTTP/{request.http_version.decode()} is not spoken here")
    headers = dict(request.headers)
    if b"transfer-encoding" in headers and (b"content-length" in headers or request.http_version == b"1.0"):
        raise refused("a request with two lengths")
    named = headers.get(b"host")
    if named is None and optional:
        return target
    try:
        host, port = authority((named or b"").decode("latin-1"))
    except ValueError:
        host, port = "", None
    if (host, port or 80) != (target.host, target.port):
        shown = (named or b"").decode("latin-1")[:100]
        raise EgressError(
            "name", f"the Host header {shown!r} is another than {target.host}", host=target.host, port=target.port
        )
    return target


def _onward(message: h11.Request | h11.Response | h11.InformationalResponse) -> _Headers:
    """Headers without those that are between two neighbours only. Names keep their letters: some care, alas."""
    named = b",".join(value for name, value in message.headers if name == b"connection")
    dropped = _HOP_BY_HOP | ({token.strip().lower() for token in named.split(b",")} - _FRAMING)
    return [(name, value) for name, value in message.headers.raw_items() if name.lower() not in dropped]


async def exchange(front: HttpSide, back: HttpSide, request: h11.Request, target: Target) -> bool:
    """One request there and its answer back, on a connection outside of its own. Returns whether the box may ask
    again on the one to here.

    Raises EgressError, and OSError where the box has gone.
    """
    host = target.host if target.port == 80 else f"{target.host}:{target.port}"
    headers = [(b"Host", host.encode()), *_onward(request), (b"Connection", b"close")]
    await _send_outside(back, h11.Request(method=request.method, target=target.path, headers=headers))
    uploading = asyncio.create_task(_upload(front, back))
    downloading = asyncio.create_task(_download(front, back, request))
    try:
        while not downloading.done():
            waiting = {task for task in (uploading, downloading) if not task.done()}
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        # A server may answer without waiting for the rest of a request, which nobody needs any more then.
        return uploading.done() and front.renewed()
    finally:
        for task in (uploading, downloading):
            task.cancel()
        await asyncio.gather(uploading, downloading, return_exceptions=True)


async def _send_outside(back: HttpSide, event: h11.Event) -> None:
    try:
        await back.send(event)
    except OSError as error:
        raise _hung_up() from error


def _hung_up() -> EgressError:
    return EgressError("unreachable", "the server closed the connection", status=502)


async def _upload(front: HttpSide, back: HttpSide) -> None:
    while True:
        event = await front.event()
        if not isinstance(event, h11.Data | h11.EndOfMessage):
            raise EgressError("request", "the request ended before its body", status=400)
        # Trailers are left behind.
        part = h11.Data(data=event.data) if isinstance(event, h11.Data) else h11.EndOfMessage()
        try:
            await back.send(part)
        except OSError:
            # Its answer may have come all the same: `_download` sees.
            return
        if isinstance(part, h11.EndOfMessage):
            return
        # A piece of one byte is as much work as a large one: others get their turn between any two.
        await asyncio.sleep(0)


async def _download(front: HttpSide, back: HttpSide, request: h11.Request) -> None:
    while True:
        event = await back.event()
        if isinstance(event, h11.InformationalResponse):
            if request.http_version != b"1.0":
                headers = _onward(event)
                await front.send(h11.InformationalResponse(status_code=event.status_code, headers=headers))
        elif isinstance(event, h11.Response):
            answer = h11.Response(status_code=event.status_code, headers=_onward(event), reason=event.reason)
            await front.send(answer)
        elif isinstance(event, h11.Data):
            await front.send(h11.Data(data=event.data))
            await asyncio.sleep(0)
        elif isinstance(event, h11.EndOfMessage):
            await front.send(h11.EndOfMessage())
            return
        else:
            raise _hung_up()
