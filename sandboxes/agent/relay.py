"""The way out as a box sees it: programs connect to a port of 127.0.0.1, and each connection is carried on to the proxy
outside, through its socket where one was mounted, else over the agent's own line. Python 3.8, agent side.

What may be reached is decided there, not here: this end runs beside hostile code and is only asked to move bytes, to
hold few of them, and never to wait.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Message = dict[str, Any]
    Reply = Callable[[Message, bytes], None]

MAX_CONNECTIONS = 48
"""At once; further ones wait to be accepted. Each takes two of the agent's descriptors."""

WINDOW = 1 << 16
"""Bytes that are held for one direction of one connection."""

PIECE = 1 << 15


class SocketEnd:
    """A socket that is read only while the other end has room, and that never makes anybody wait."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self.fd = connected.fileno()
        self.waiting = bytearray()
        self.ended = False
        """Nothing more is read here."""
        self.deaf = False
        """Nothing more can be written here."""
        self._last = False

    @property
    def room(self) -> int:
        return PIECE if self.deaf else WINDOW - len(self.waiting)

    def read(self, most: int) -> bytes | None:
        """Some bytes; None where there are none now, empty where there are none any more."""
        try:
            data = self._socket.recv(min(most, PIECE))
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        self.ended = not data
        return data

    def put(self, data: bytes) -> None:
        if not self.deaf:
            self.waiting += data
            self.flush()

    def finish(self) -> None:
        """Nothing more will be put."""
        self._last = True
        self.flush()

    def flush(self) -> None:
        try:
            while self.waiting:
                del self.waiting[: self._socket.send(self.waiting)]
            if self._last and not self.deaf:
                self._socket.shutdown(socket.SHUT_WR)
                self.deaf = True
        except BlockingIOError:
            return
        except OSError:
            self.waiting.clear()
            self.deaf = True

    def close(self) -> None:
        self._socket.close()


class LineEnd:
    """A connection that the runner carries on: frames on the agent's line, as many as there is room for there."""

    fd = -1
    waiting = b""
    """Nothing ever waits here: what is put goes out at once."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell = tell
        self.room = WINDOW
        self.ended = False
        self.deaf = False
        self._gone = False

    def put(self, data: bytes) -> None:
        if not self.deaf:
            self.room -= len(data)
            self._tell("data", data)

    def finish(self) -> None:
        if not self.deaf:
            self.deaf = True
            self._tell("end")

    def took(self, size: int) -> None:
        """The program has taken so much of what came over the line."""
        if size and not self._gone:
            self._tell("room", room=size)

    def gone(self) -> None:
        """The runner has closed the connection."""
        self._gone = self.ended = self.deaf = True
        self.room = PIECE

    def close(self) -> None:
        if not self._gone:
            self._gone = True
            self._tell("gone")


class Passage:
    """A program's connection and the one that carries it on."""

    def __init__(self, number: int, near: SocketEnd, far: SocketEnd | LineEnd) -> None:
        self.number = number
        self.near = near
        self.far = far

    @property
    def sockets(self) -> list[SocketEnd]:
        return [end for end in (self.near, self.far) if isinstance(end, SocketEnd)]

    @property
    def done(self) -> bool:
        """Whether nothing is left to be moved, or nobody to move it to."""
        if self.near.waiting or self.far.waiting:
            return False
        return self.near.deaf and (self.near.ended or (self.far.ended and self.far.deaf))

    def wanted(self, end: SocketEnd) -> int:
        """The events that this end has to wait for. Where there are none it is not watched at all: a connection that
        was hung up would wake the agent for ever.
        """
        other = self.far if end is self.near else self.near
        events = select.EPOLLOUT if end.waiting else 0
        return events | (select.EPOLLIN if not end.ended and other.room > 0 else 0)

    def move(self, end: SocketEnd) -> None:
        """Do what can be done at one end; that it was hung up is found by reading or writing."""
        other = self.far if end is self.near else self.near
        held = len(end.waiting)
        end.flush()
        self._acknowledge(end, held)
        if not end.ended and other.room > 0:
            data = end.read(other.room)
            if data:
                other.put(data)
            elif data is not None:
                other.finish()

    def arrived(self, data: bytes) -> None:
        """Bytes over the line."""
        held = len(self.near.waiting) + len(data)
        self.near.put(data)
        self._acknowledge(self.near, held)

    def _acknowledge(self, end: SocketEnd, held: int) -> None:
        if end is self.near and isinstance(self.far, LineEnd):
            self.far.took(held - len(end.waiting))

    def close(self) -> None:
        self.near.close()
        self.far.close()


class Relay:
    """Listens in the box. `mode` says which way its connections go: `socket` or `line`."""

    def __init__(self, epoll: select.epoll, reply: Reply, port: int, path: str) -> None:
        self._epoll = epoll
        self._reply = reply
        self._path = path
        self._exchange = 0
        self._last = 0
        self._open: dict[int, Passage] = {}
        self._by_fd: dict[int, Passage] = {}
        self._watched: dict[int, int] = {}
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(128)
        self._listener.setblocking(False)
        probe = self._reach() if path else None
        self.mode = "line" if probe is None else "socket"
        if probe is not None:
            probe.close()
        self._watch(self._listener.fileno(), select.EPOLLIN)

    def begin(self, request: Message, payload: bytes) -> None:
        """From now on connections go over the line, as replies to this request."""
        self._exchange = request["id"]

    def serve(self, fd: int) -> bool:
        """Deal with an event; False where the descriptor is none of the relay's."""
        if fd == self._listener.fileno():
            self._accept()
            return True
        passage = self._by_fd.get(fd)
        if passage is None:
            return False
        for end in passage.sockets:
            if end.fd == fd:
                passage.move(end)
        self._settle(passage)
        return True

    def hear(self, request: Message, payload: bytes) -> None:
        """What the runner says of a connection over the line."""
        what = request["what"]
        passage = self._open.get(request["number"])
        if passage is None or not isinstance(passage.far, LineEnd):
            # Closed here meanwhile; the runner will have heard by now.
            return
        if what == "data":
            passage.arrived(payload)
        elif what == "room":
            passage.far.room = min(passage.far.room + request["room"], WINDOW)
        else:
            passage.far.ended = True
            if what == "gone":
                passage.far.gone()
            passage.near.finish()
        self._settle(passage)

    def _accept(self) -> None:
        while len(self._open) < MAX_CONNECTIONS:
            try:
                near = SocketEnd(self._listener.accept()[0])
            except OSError:
                return
            far = self._carry_on()
            if far is None:
                near.close()
                continue
            passage = self._open[self._last] = Passage(self._last, near, far)
            self._by_fd.update((end.fd, passage) for end in passage.sockets)
            self._settle(passage)
        self._watch(self._listener.fileno(), 0)

    def _carry_on(self) -> SocketEnd | LineEnd | None:
        """The way outside of one more connection, None where there is none."""
        self._last += 1
        number = self._last
        if self.mode == "socket":
            reached = self._reach()
            return None if reached is None else SocketEnd(reached)
        if not self._exchange:
            return None

        def tell(what: str, payload: bytes = b"", room: int = 0) -> None:
            header = {"id": self._exchange, "t": "net", "code": number, "kind": what, "split": room}
            self._reply(header, payload)

        tell("open")
        return LineEnd(tell)

    def _reach(self) -> socket.socket | None:
        """A connection to the proxy's socket. It is made at once or not at all, so nobody waits here."""
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.setblocking(False)
            connected.connect(self._path)
        except OSError:
            connected.close()
            return None
        return connected

    def _settle(self, passage: Passage) -> None:
        """Wait for what the two ends can do next, or close them."""
        if not passage.done:
            for end in passage.sockets:
                self._watch(end.fd, passage.wanted(end))
            return
        for end in passage.sockets:
            self._watch(end.fd, 0)
            del self._by_fd[end.fd]
        del self._open[passage.number]
        passage.close()
        self._watch(self._listener.fileno(), select.EPOLLIN)

    def _watch(self, fd: int, events: int) -> None:
        before = self._watched.get(fd, 0)
        if events == before:
            return
        if not events:
            del self._watched[fd]
            self._epoll.unregister(fd)
            return
        if before:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._watched[fd] = events
