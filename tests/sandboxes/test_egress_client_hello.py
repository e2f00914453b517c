"""The name in a ClientHello: of real ones, cut anywhere, and of ones made to deceive."""

from __future__ import annotations

import ssl
import struct
from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentlab.sandboxes.egress.client_hello import MAX_HELLO, HelloError, HelloReader


@cache
def real_hello(name: str | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """What the TLS library of this Python sends first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.maximum_version = version
    outgoing = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def server_name(name: bytes, kind: int = 0) -> bytes:
    return vector(2, bytes([kind]) + vector(2, name))


def message(extensions: list[tuple[int, bytes]], tail: bytes = b"") -> bytes:
    listed = b"".join(struct.pack("!H", kind) + vector(2, data) for kind, data in extensions)
    body = b"\x03\x03" + bytes(32) + vector(1, bytes(32)) + vector(2, b"\x13\x01") + vector(1, b"\0")
    return b"\x01" + vector(3, body + vector(2, listed) + tail)


def record(data: bytes, kind: int = 22) -> bytes:
    return bytes([kind, 3, 1]) + vector(2, data)


def read(data: bytes) -> str | None:
    return HelloReader().feed(data)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_real_one_tells_its_name(version: ssl.TLSVersion) -> None:
    assert read(real_hello("Files.Example.org", version)) == "files.example.org"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 80), max_size=30))
@example([1] * 600)
def test_it_may_come_in_any_pieces(cuts: list[int]) -> None:
    stream, reader = real_hello("example.org"), HelloReader()
    whole, found = stream, None
    while stream:
        assert found is None
        size = cuts.pop() if cuts else len(stream)
        found = reader.feed(stream[:size])
        stream = stream[size:]
    assert found == "example.org" and reader.raw == whole


@given(st.lists(st.integers(1, 60), min_size=1, max_size=20))
def test_it_may_be_spread_over_many_records(sizes: list[int]) -> None:
    hello, stream = message([(0, server_name(b"example.org"))]), b""
    while hello:
        size = sizes.pop() if sizes else len(hello)
        stream, hello = stream + record(hello[:size]), hello[size:]
    assert read(stream + b"anything behind it") == "example.org"


NAME = (0, server_name(b"example.org"))

DECEITS = {
    "no name": message([]),
    "no extensions at all": b"\x01" + vector(3, b"\x03\x03" + bytes(32) + b"\0" + vector(2, b"\x13\x01") + b"\x01\0"),
    "two names": message([NAME, (0, server_name(b"evil.net"))]),
    "two names in one extension": message([(0, vector(2, (b"\0" + vector(2, b"example.org")) * 2))]),
    "a name of another kind": message([(0, server_name(b"example.org", kind=1))]),
    "a name longer than its list": message([(0, struct.pack("!HBH", 5, 0, 11) + b"example.org")]),
    "a name beyond ASCII": message([(0, server_name("exämple.org".encode()))]),
    "an empty extension": message([(0, b"")]),
    "encrypted": message([NAME, (0xFE0D, b"\0" * 40)]),
    "encrypted, an older draft": message([NAME, (0xFFCE, b"\0" * 40)]),
    "bytes behind the extensions": message([NAME], tail=b"more"),
    "lengths that lie": b"\x01" + vector(3, b"\x03\x03" + bytes(32) + b"\xff"),
    "a ServerHello": b"\x02" + message([NAME])[1:],
    "an announced giant": b"\x01\xff\xff\xff" + bytes(64),
}


@pytest.mark.parametrize("deceit", DECEITS)
def test_one_that_leaves_a_doubt_is_refused(deceit: str) -> None:
    with pytest.raises(HelloError):
        read(record(DECEITS[deceit]))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"SSH-2.0-x\r\n",
        b"\x80\x2e\x01\x00\x02",  # the ClientHello of SSL 2
        b"\x16\x02\x00\x00\x05",
        record(b"\x01", kind=23),
        record(b"\x01", kind=21),
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff",
    ],
)
def test_what_is_no_handshake_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(HelloError):
        read(data)


def test_an_endless_one_is_given_up() -> None:
    reader = HelloReader()

    def feed_on() -> None:
        reader.feed(record(b"\x01"))
        while len(reader.raw) < 8 * MAX_HELLO:
            reader.feed(record(b"\0"))

    with pytest.raises(HelloError):
        feed_on()
    assert len(reader.raw) < 3 * MAX_HELLO


@given(st.binary(max_size=300))
def test_nothing_but_the_one_error_is_raised(data: bytes) -> None:
    for start in (b"", b"\x16\x03\x01\x01\x00\x01\x00\x00\xf0"):
        try:
            read(start + data)
        except HelloError:
            continue
