"""Frames between supervisor and worker: four bytes of length, then JSON. Runs inside the box, standard library only.

The other end may be hostile, so a frame is bounded in size, all frames together in bytes and number, and anything that
breaks the rules ends the channel for good.
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any

MAX_FRAME = 24 << 20
"""Holds a list of a million floats, which tests of efficiency use."""
MAX_TOTAL = 128 << 20
MAX_FRAMES = 200_000


class ChannelLost(BaseException):
    """The other side ended or broke the rules. Not an `Exception`: a test that catches those must not swallow it."""


class Channel:
    """One end of the channel. `address` is put before every frame that is sent, for the runner; the worker has none."""

    def __init__(self, reader: int, writer: int, address: bytes = b"") -> None:
        self.lost = ""
        self._reader = reader
        self._writer = writer
        self._address = address
        self._pending = bytearray()
        self._bytes = 0
        self._frames = 0

    def send(self, message: Any) -> None:
        """Send one frame. ValueError where it would be larger than a frame may be (nothing is sent then)."""
        payload = json.dumps(message, separators=(",", ":"), check_circular=False).encode()
        if len(payload) > MAX_FRAME:
            raise ValueError("the value is too large to be handed over")
        self.send_raw(self._address, payload)

    def send_raw(self, address: bytes, payload: bytes) -> None:
        """Send `payload` to another address than the usual one."""
        data = memoryview(struct.pack(">I", len(address) + len(payload)) + address + payload)
        while data:
            try:
                data = data[os.write(self._writer, data) :]
            except OSError as error:
                raise self.fail(f"the channel is closed: {error}") from None

    def receive(self) -> list[Any]:
        """The next frame, a JSON array. Raises `ChannelLost`."""
        if self.lost:
            raise ChannelLost(self.lost)
        (size,) = struct.unpack(">I", self._take(4))
        self._frames += 1
        self._bytes += size
        if size > MAX_FRAME or self._bytes > MAX_TOTAL or self._frames > MAX_FRAMES:
            raise self.fail("the program sent more than a grading may take")
        payload = self._take(size)
        try:
            message = json.loads(payload)
        except (ValueError, RecursionError):
            raise self.fail("the program sent a frame that makes no sense") from None
        if type(message) is not list or not message:
            raise self.fail("the program sent a frame that makes no sense")
        return message

    def fail(self, reason: str) -> ChannelLost:
        """Mark the channel as lost; nothing is received any more."""
        self.lost = self.lost or reason
        return ChannelLost(self.lost)

    def _take(self, size: int) -> bytes:
        while len(self._pending) < size:
            try:
                chunk = os.read(self._reader, 1 << 16)
            except OSError as error:
                raise self.fail(f"the channel is closed: {error}") from None
            if not chunk:
                raise self.fail("the program ended, or used up its time, before the tests were through")
            self._pending += chunk
        taken = bytes(self._pending[:size])
        del self._pending[:size]
        return taken
