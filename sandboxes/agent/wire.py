"""Frames between the runner and the agent in a box. Used on both sides, so it needs nothing but Python 3.8.

A frame is two big-endian 32-bit lengths, a JSON object (the header) and raw bytes (the payload). Both lengths are
bounded, and a frame beyond them ends the connection: no side ever makes room because the other said so.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

MAX_HEADER = 1 << 20
MAX_PAYLOAD = 1 << 18
PREFIX = struct.Struct("!II")

if TYPE_CHECKING:
    Header = dict[str, Any]


class FrameError(Exception):
    """A frame that makes no sense."""


_as_text = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def head(header: Header, size: int) -> bytes:
    """The bytes of a frame up to its payload of that size. Raises FrameError where a part is beyond its bound."""
    text = _as_text(header).encode()
    if len(text) > MAX_HEADER or size > MAX_PAYLOAD:
        raise FrameError(f"a frame of {len(text)} + {size} bytes is too large")
    return PREFIX.pack(len(text), size) + text


def encode(header: Header, payload: bytes = b"") -> bytes:
    """The bytes of one frame. Raises FrameError where a part is beyond its bound."""
    return head(header, len(payload)) + payload


class Frames:
    """Cuts a stream of bytes into frames. Headers come out as bytes: each side decodes them in its own way."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[tuple[bytes, bytes]]:
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= PREFIX.size:
                header_size, payload_size = PREFIX.unpack_from(self._buffer, start)
                if header_size > MAX_HEADER or payload_size > MAX_PAYLOAD:
                    raise FrameError(f"a frame of {header_size} + {payload_size} bytes was announced")
                middle = start + PREFIX.size + header_size
                end = middle + payload_size
                if len(self._buffer) < end:
                    break
                header = bytes(self._buffer[start + PREFIX.size : middle])
                payload = bytes(self._buffer[middle:end])
                start = end
                yield header, payload
        finally:
            del self._buffer[:start]
