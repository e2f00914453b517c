"""The proxy of a box with a network: what it carries, and what it refuses. Its client here is the test itself."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest

from agentlab.sandboxes.egress import EgressLimits, Outside

from .outside_world import GET, HERE, Caller, World, a_caller


@pytest.fixture
async def box(world: World) -> AsyncIterator[Caller]:
    async with a_caller(world) as box:
        yield box


CHUNKED = GET.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n"
CLOSE = b"Connection: close\r\n\r\n"


async def test_a_request_goes_to_the_host_of_the_list_and_is_told_of(world: World, box: Caller) -> None:
    answer = await box.say(GET, b"Accept: text/plain\r\nProxy-Connection: keep-alive\r\nX-A: b\r\n", CLOSE)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert world.heard == [
        b"GET / HTTP/1.1\r\nHost: example.org\r\nAccept: text/plain\r\nX-A: b\r\nConnection: close\r\n\r\n"
    ]
    (event,) = box.events
    assert (event.box, event.host, event.port, event.verdict, event.address) == (
        "box-1",
        "example.org",
        80,
        "opened",
        HERE,
    )
    assert event.sent_bytes == len(world.heard[0]) and event.received_bytes > event.sent_bytes
    assert event.reason == "" and event.duration_ms > 0


async def test_requests_follow_each_other_on_one_connection_each_to_its_own_host(world: World, box: Caller) -> None:
    other = b"GET http://www.example.org/chunked HTTP/1.1\r\nHost: www.example.org\r\n\r\n"
    answer = await box.say(GET, b"\r\n", other, other.replace(b"/chunked", b"/empty"), GET, CLOSE)
    assert answer.count(b"HTTP/1.1 200 OK") == 3 and answer.count(b"HTTP/1.1 204") == 1
    assert b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n" in answer
    assert [event.host for event in box.events] == ["example.org", "www.example.org", "www.example.org", "example.org"]


@pytest.mark.parametrize(
    ("request_", "heard", "answered"),
    [
        (
            b"POST http://example.org/p HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\n\r\nhello",
            b"hello",
            b"200",
        ),
        (
            CHUNKED + b"5;x=y\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
            b"hello",
            b"200",
        ),
        (b"HEAD http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n", b"HEAD / ", b"Content-Length: 1000"),
        (b"GET http://example.org HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: example.org", b"200"),
        (b"GET HTTP://EXAMPLE.ORG.:80?q HTTP/1.1\r\nHost: Example.Org\r\n\r\n", b"GET /?q ", b"200"),
    ],
)
async def test_forms_of_requests(world: World, box: Caller, request_: bytes, heard: bytes, answered: bytes) -> None:
    reader, writer = await box.connect()
    writer.write(request_)
    async with asyncio.timeout(10):
        assert answered in await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert len(world.heard) == 1 and heard in world.heard[0]


async def test_a_file_of_some_size_comes_whole_both_ways(world: World, box: Caller) -> None:
    size = 3_000_000
    body = bytes(range(256)) * (size // 256)
    head = b"POST http://example.org/echo HTTP/1.1\r\nHost: example.org\r\nContent-Length: %d\r\n" % len(body)
    answer = await box.say(head, CLOSE, body)
    assert world.heard[0].endswith(body) and answer.endswith(body)
    assert box.events[0].sent_bytes > len(body) < box.events[0].received_bytes


async def handshake(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext, name: str
) -> None:
    async with asyncio.timeout(10):
        await writer.start_tls(context, server_hostname=name)


async def test_tls_goes_through_end_to_end(world: World, box: Caller) -> None:
    reader, writer = await box.tunnel("www.example.org")
    await handshake(reader, writer, world.client_context, "www.example.org")
    writer.write(b"GET /big/100000 HTTP/1.1\r\nHost: www.example.org\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert len(await reader.readexactly(100_000)) == 100_000
    writer.close()
    await box.egress.shut()
    (event,) = box.events
    assert (event.host, event.port, event.verdict, event.reason) == ("www.example.org", 443, "opened", "")
    assert event.received_bytes > 100_000 and world.handshakes == ["www.example.org"]


@pytest.mark.parametrize("name", ["example.org", "evil.net", "xwww.example.org"])
async def test_tls_to_another_name_than_the_tunnels_is_refused(world: World, box: Caller, name: str) -> None:
    reader, writer = await box.tunnel("www.example.org")
    with pytest.raises(ssl.SSLError, match="access denied"):
        await handshake(reader, writer, world.client_context, name)
    assert box.told == [("refused", "name")] and name in box.events[0].message
    assert world.handshakes == []


@pytest.mark.parametrize(
    "first", [b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n", b"SSH-2.0-OpenSSH\r\n", bytes(100), b"\x16\x03\x01"]
)
async def test_what_is_no_tls_does_not_get_into_a_tunnel(world: World, box: Caller, first: bytes) -> None:
    reader, writer = await box.tunnel("www.example.org")
    writer.write(first)
    writer.write_eof()
    async with asyncio.timeout(10):
        await reader.read()
    assert world.heard == [] and world.handshakes == []
    await box.egress.shut()
    # A client that only leaves is no attempt at anything; the connection is told of.
    assert box.told == ([("opened", "")] if first == b"\x16\x03\x01" else [("refused", "tls")])


async def test_a_tunnel_without_a_server_name_is_refused(world: World, box: Caller) -> None:
    reader, writer = await box.tunnel("www.example.org")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing).do_handshake()
    writer.write(outgoing.read())
    assert (await reader.read())[:1] == b"\x15"
    assert box.told == [("refused", "tls")] and "SNI" in box.events[0].message


TARGETS = {
    "an unlisted host": ("evil.net:443", "not_listed"),
    "a listed one as a subdomain": ("example.org.evil.net:443", "not_listed"),
    "another port": ("example.org:22", "port"),
    "port 0": ("example.org:0", "port"),
    "a port beyond all": ("example.org:65979", "port"),
    "dotted": ("127.0.0.1:443", "not_listed"),
    "short": ("127.1:443", "not_listed"),
    "decimal": ("2130706433:443", "not_listed"),
    "octal": ("0177.0.0.1:443", "not_listed"),
    "hexadecimal": ("0x7f000001:443", "not_listed"),
    "version 6": ("[::1]:443", "not_listed"),
    "mapped": ("[::ffff:127.0.0.1]:443", "not_listed"),
    "a zone": ("[fe80::1%25eth0]:443", "not_listed"),
    "bare version 6": ("::1:443", "not_listed"),
    "metadata": ("169.254.169.254:80", "not_listed"),
    "metadata by name": ("metadata.google.internal:80", "not_listed"),
    "a single word": ("localhost:443", "not_listed"),
    "userinfo": ("example.org@evil.net:443", "not_listed"),
    "no port": ("example.org", "request"),
    "an address": ("https://example.org/", "not_listed"),
    "a path": ("example.org:443/x", "not_listed"),
}


@pytest.mark.parametrize("what", TARGETS)
async def test_a_tunnel_to_anything_else_is_refused_unresolved(world: World, box: Caller, what: str) -> None:
    target, reason = TARGETS[what]
    answer = await box.say(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    assert answer.startswith((b"HTTP/1.1 403 agentlab: ", b"HTTP/1.1 400 agentlab: ")), answer
    assert box.told == [("refused", reason)] and box.events[0].message in answer.decode()
    assert world.asked == [] and world.connections == 0


REQUESTS = {
    "another Host than the address": (b"GET http://example.org/ HTTP/1.1\r\nHost: www.example.org\r\n\r\n", "name"),
    "an unlisted Host": (b"GET http://example.org/ HTTP/1.1\r\nHost: evil.net\r\n\r\n", "name"),
    "another port in Host": (b"GET http://example.org/ HTTP/1.1\r\nHost: example.org:8080\r\n\r\n", "name"),
    "a strange Host": (b"GET http://example.org/ HTTP/1.1\r\nHost: example.org, evil.net\r\n\r\n", "name"),
    "an empty Host": (b"GET http://example.org/ HTTP/1.1\r\nHost:\r\n\r\n", "name"),
    "two Hosts": (GET + b"Host: evil.net\r\n\r\n", "request"),
    "two equal Hosts": (GET + b"Host: example.org\r\n\r\n", "request"),
    "no Host": (b"GET http://example.org/ HTTP/1.1\r\n\r\n", "request"),
    "an unlisted address": (b"GET http://evil.net/ HTTP/1.1\r\nHost: example.org\r\n\r\n", "name"),
    "an address in figures": (b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "not_listed"),
    "userinfo": (b"GET http://example.org@evil.net/ HTTP/1.1\r\nHost: evil.net\r\n\r\n", "not_listed"),
    "https in the open": (b"GET https://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n", "request"),
    "plain HTTP to 443": (b"GET http://example.org:443/ HTTP/1.1\r\nHost: example.org:443\r\n\r\n", "port"),
    "another port": (b"GET http://example.org:8080/ HTTP/1.1\r\nHost: example.org:8080\r\n\r\n", "port"),
    "no proxy request": (b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", "request"),
    "a star": (b"OPTIONS * HTTP/1.1\r\nHost: example.org\r\n\r\n", "request"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "request"),
    "HTTP/0.9": (b"GET http://example.org/\r\n\r\n", "request"),
    "HTTP/3.7": (b"GET http://example.org/ HTTP/3.7\r\nHost: example.org\r\n\r\n", "request"),
    "a length and chunks": (GET + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x", "request"),
    "two lengths": (GET + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "request"),
    "a length with a sign": (GET + b"Content-Length: +5\r\n\r\nhello", "request"),
    "chunks twice": (GET + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "request"),
    "chunks hidden by a tab": (GET + b"Transfer-Encoding:\tx, chunked\r\n\r\n0\r\n\r\n", "request"),
    "an unknown coding": (GET + b"Transfer-Encoding: gzip\r\n\r\n", "request"),
    "chunks of HTTP/1.0": (
        b"POST http://example.org/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "request",
    ),
    "a blank before the colon": (GET + b"Content-Length : 5\r\n\r\nhello", "request"),
    "a bare carriage return": (GET + b"X: a\rHost: evil.net\r\n\r\n", "request"),
    "a nul": (GET + b"X: a\0b\r\n\r\n", "request"),
    "a blank in the address": (b"GET http://example.org/ a HTTP/1.1\r\nHost: example.org\r\n\r\n", "request"),
    "CONNECT with a body": (
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        "request",
    ),
    "SOCKS 5": (b"\x05\x01\x00", "request"),
    "TLS to the proxy": (b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + bytes(60), "request"),
    "a head without an end": (GET + b"X: " + b"a" * 40_000, "request"),
    "ten thousand headers": (GET + b"A: b\r\n" * 10_000 + b"\r\n", "request"),
}


@pytest.mark.parametrize("what", REQUESTS)
async def test_a_request_that_leaves_a_doubt_reaches_nobody(world: World, box: Caller, what: str) -> None:
    request, reason = REQUESTS[what]
    answer = await box.say(request)
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501")), answer
    assert answer.count(b"\r\nContent-Length") == 1
    assert box.told == [("refused", reason)], box.events
    assert world.heard == [] and world.connections == 0


async def test_what_is_passed_on_is_put_together_anew(world: World, box: Caller) -> None:
    """Forms that parsers differ on arrive in one form only, or not at all."""
    headers = (
        b"X-Folded: a\r\n b\r\nConnection: X-Secret, Content-Length, Host, close\r\nX-Secret: s\r\nTE: trailers\r\n"
        b"Upgrade: h2c, websocket\r\nHTTP2-Settings: AAMAAABk\r\nProxy-Authorization: Basic eA==\r\nKeep-Alive: 5\r\n"
        b"Content-Length: 5\r\n\r\nhello"
    )
    answer = await box.say(GET.replace(b"GET", b"POST"), headers)
    assert answer.startswith(b"HTTP/1.1 200")
    (heard,) = world.heard
    assert heard == (
        b"POST / HTTP/1.1\r\nHost: example.org\r\nX-Folded: a b\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    )


async def test_bytes_behind_a_request_are_another_request(world: World, box: Caller) -> None:
    smuggled = b"GET http://evil.net/ HTTP/1.1\r\nHost: evil.net\r\n\r\n"
    answer = await box.say(GET, b"Content-Length: 0\r\n\r\n", smuggled)
    assert answer.count(b"HTTP/1.1 200") == 1 and b"HTTP/1.1 403" in answer
    assert box.told == [("opened", ""), ("refused", "not_listed")]
    assert len(world.heard) == 1


@pytest.mark.parametrize(
    ("chunks", "served"),
    [
        (b"5\r\nhello\r\n0\r\n\r\n", 1),
        (b"0x5\r\nhello\r\n0\r\n\r\n", 0),
        (b"-5\r\nhello\r\n0\r\n\r\n", 0),
        (b"f" * 21 + b"\r\nhello", 0),
        (b"5 \r\nhello\r\n0\r\n\r\n", 1),
        (b"5\r\nhelloXX0\r\n\r\n", 0),
        (b"5" + b";a" * 60_000 + b"\r\nhello\r\n0\r\n\r\n", 0),
    ],
)
async def test_chunks_are_read_strictly(world: World, box: Caller, chunks: bytes, served: int) -> None:
    await box.say(GET, b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n", chunks)
    assert len(world.heard) == served
    assert not served or world.heard[0].endswith(b"\r\n\r\nhello")


async def test_an_answer_that_changes_the_protocol_is_the_end(world: World, box: Caller) -> None:
    ask = b"GET http://example.org/upgrade HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"
    answer = await box.say(ask, b"raw bytes to anywhere")
    assert b" 101 " not in answer and answer.startswith(b"HTTP/1.1 502")
    assert box.told == [("opened", "unreachable")]
    assert world.heard[1:] in ([], [b""])


async def test_a_server_that_speaks_no_http_is_not_passed_on(world: World, box: Caller) -> None:
    answer = await box.say(GET.replace(b"org/", b"org/nonsense", 1), CLOSE)
    assert b"I am no" not in answer.split(b"\r\n", 1)[1] or answer.startswith(b"HTTP/1.1 502")
    assert box.told == [("opened", "unreachable")]


IN_TUNNEL = {
    "another Host": (b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n", "name"),
    "no Host": (b"GET / HTTP/1.0\r\n\r\n", "name"),
    "another tunnel": (b"CONNECT www.example.org:443 HTTP/1.1\r\nHost: www.example.org:443\r\n\r\n", "request"),
    "another proxy": (b"GET http://www.example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n", "request"),
    "TLS": (b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + bytes(60), "request"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "request"),
}


@pytest.mark.parametrize("what", IN_TUNNEL)
@pytest.mark.parametrize("before", [0, 2])
async def test_a_tunnel_to_port_80_is_held_against_its_host_too(
    world: World, box: Caller, what: str, before: int
) -> None:
    request, reason = IN_TUNNEL[what]
    reader, writer = await box.tunnel("example.org", 80)
    fine = b"GET /fine HTTP/1.1\r\nHost: example.org\r\n\r\n"
    writer.write(fine * before + request)
    async with asyncio.timeout(10):
        answer = await reader.read()
    assert answer.count(b"HTTP/1.1 200 OK") == before == len(world.heard)
    await box.egress.shut()
    assert box.told == [("opened", "")] * before + [("refused", reason)]


async def test_a_name_is_resolved_once_and_what_was_checked_is_connected_to(world: World) -> None:
    async with a_caller(world) as box:
        world.names["example.org"] = [HERE]
        assert (await box.say_and_stay(GET, CLOSE)).startswith(b"HTTP/1.1 200")
        world.names["example.org"] = ["127.0.0.2"]
        assert (await box.say_and_stay(GET, CLOSE)).startswith(b"HTTP/1.1 200")
        assert world.asked == ["example.org"]
    async with a_caller(world) as box:
        assert (await box.say(GET, CLOSE)).startswith(b"HTTP/1.1 403")
        assert box.told == [("refused", "address")]


@pytest.mark.parametrize("address", ["10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "0.0.0.0", "fd00::1"])
async def test_a_listed_name_that_leads_inside_is_refused(world: World, box: Caller, address: str) -> None:
    world.names["example.org"] = [address]
    answer = await box.say(GET, CLOSE)
    assert answer.startswith(b"HTTP/1.1 403") and address.encode() not in answer
    assert box.told == [("refused", "address")]


async def test_of_several_addresses_only_public_ones_are_tried(world: World, box: Caller) -> None:
    world.names["example.org"] = ["10.0.0.1", HERE]
    assert (await box.say(GET, CLOSE)).startswith(b"HTTP/1.1 200")
    assert [event.address for event in box.events] == [HERE]


async def test_a_host_that_is_not_there_is_a_failure_of_the_outside(world: World, box: Caller) -> None:
    async def nobody(host: str, port: int) -> list[tuple[str, int]]:
        if host == "example.org":
            raise OSError("no such name")
        return [(HERE, 1)]

    outside = Outside(resolve=nobody, refuses=lambda _: "")
    async with a_caller(world, outside=outside) as box:
        assert (await box.say_and_stay(GET, CLOSE)).startswith(b"HTTP/1.1 502")
        assert (await box.say_and_stay(GET.replace(b"//e", b"//www.e").replace(b": e", b": www.e"), CLOSE)).startswith(
            b"HTTP/1.1 502"
        )
        assert box.told == [("failed", "unresolved"), ("failed", "unreachable")]


async def test_a_resolver_that_hangs_is_asked_one_thing_at_a_time(world: World) -> None:
    asked: list[str] = []

    async def hang(host: str, port: int) -> list[tuple[str, int]]:
        asked.append(host)
        await asyncio.Event().wait()
        return []

    outside = Outside(resolve=hang, refuses=lambda _: "")
    async with a_caller(world, "*.example.org", limits=EgressLimits(connect_s=0.2), outside=outside) as box:
        requests = [GET.replace(b"example.org", b"h%d.example.org" % i) + CLOSE for i in range(8)]
        answers = await asyncio.gather(*(box.say_and_stay(request) for request in requests))
        assert all(answer.startswith(b"HTTP/1.1 502") for answer in answers)
        assert len(asked) == 1 and box.told == [("failed", "unresolved")] * 8
