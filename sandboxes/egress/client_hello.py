"""The first message of TLS, read as far as the name in it. Formats: RFC 8446 section 4.1.2, RFC 6066 section 3."""

from __future__ import annotations

import struct

MAX_HELLO = 1 << 14
"""Bytes up to the end of the message; real ones have 200 to 2,000."""

_HANDSHAKE = b"\x16"
_CLIENT_HELLO = 1
_MAX_RECORD = 1 << 14
_SERVER_NAME = 0
_ENCRYPTED = frozenset({0xFE0D, 0xFFCE, *range(0xFE08, 0xFE0D)})
"""Encrypted ClientHello and its drafts: the name that counts would be the hidden one."""

ALERT = bytes([21, 3, 3, 0, 2, 2, 49])
"""The fatal alert `access_denied`, for a client whose handshake goes no further."""


class HelloError(Exception):
    """Bytes that are no ClientHello with a plain name in it."""


class HelloReader:
    """Takes the bytes of a connection as they come, in any pieces, until the ClientHello is whole."""

    def __init__(self) -> None:
        self.raw = bytearray()
        """Everything that was fed, to be sent on."""
        self._message = bytearray()
        self._next = 0
        """Where the first record starts that was not yet taken."""

    def feed(self, data: bytes) -> str | None:
        """The server's name in lower case, None where more is needed. Raises HelloError."""
        self.raw += data
        while self._take_record():
            if self._message[0] != _CLIENT_HELLO:
                raise HelloError("the first TLS message is no ClientHello")
            size = int.from_bytes(self._message[1:4], "big")
            if size > MAX_HELLO:
                raise HelloError("the ClientHello is too long")
            if len(self._message) >= 4 + size > 4:
                return _name_of(bytes(self._message[4 : 4 + size]))
        return None

    def _take_record(self) -> bool:
        """Move the next whole record's content to the message; False where it has not come yet."""
        header = bytes(self.raw[self._next : self._next + 5])
        if header[:1] not in (b"", _HANDSHAKE) or header[1:2] not in (b"", b"\x03"):
            raise HelloError("this is not TLS")
        length = int.from_bytes(header[3:5], "big")
        if len(header) < 5:
            return False
        if not 0 < length <= _MAX_RECORD or self._next + length > 2 * MAX_HELLO:
            raise HelloError("TLS records of an impossible length")
        record = self.raw[self._next + 5 : self._next + 5 + length]
        if len(record) < length:
            return False
        self._message += record
        self._next += 5 + length
        return True


class _Fields:
    """Cuts fields with a length before them off a message."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise HelloError("the ClientHello is malformed")
        self._at += size
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))


def _name_of(message: bytes) -> str:
    fields = _Fields(message)
    fields.take(2 + 32)
    fields.vector(1)
    fields.vector(2)
    fields.vector(1)
    extensions = _Fields(fields.vector(2) if fields else b"")
    if fields:
        raise HelloError("the ClientHello is malformed")
    found: dict[int, bytes] = {}
    while extensions:
        kind = extensions.number(2)
        if kind in found:
            raise HelloError("the ClientHello repeats an extension")
        found[kind] = extensions.vector(2)
    if _ENCRYPTED & found.keys():
        raise HelloError("the ClientHello hides its name (ECH): turn that off in the client")
    if _SERVER_NAME not in found:
        raise HelloError("the ClientHello names no server (SNI)")
    return _server_name(found[_SERVER_NAME])


def _server_name(extension: bytes) -> str:
    try:
        length, kind, size = struct.unpack_from("!HBH", extension)
    except struct.error:
        raise HelloError("the ClientHello's server name is malformed") from None
    name = extension[5:]
    if kind != 0 or length != len(extension) - 2 or size != len(name) or not name.isascii():
        raise HelloError("the ClientHello's server name is malformed")
    return name.decode("ascii").lower()
