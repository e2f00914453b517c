"""The bridge: requests about objects, in both directions, over one channel. Runs inside the box.

A request names an object of the other side and an operation; while a side waits for its answer it serves the requests
that the other makes meanwhile (a test's lambda called by the program), nested as the calls are. Threads of one side
share the channel: whoever waits reads, for itself and for the others.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from agentlab.tasks.scorers.programs.box.arguments import Before, take_over
from agentlab.tasks.scorers.programs.box.packing import Packer
from agentlab.tasks.scorers.programs.box.proxies import UNARY, ProxyModule, special_names
from agentlab.tasks.scorers.programs.box.wire import Channel, ChannelLost

MAX_NESTING = 300
FRAMES = 25
"""Python frames, at most, that the bridge adds to the stack where one side's call is nested in the other's."""
IDLE = 0.01
"""Seconds between two requests after which other threads of the program may have changed something."""

CALLS = ("call", "method")
"""Operations whose last two arguments are those of a call, positional and named."""
LOOKING = (UNARY - special_names("call setitem delitem enter exit await aenter aexit anext")) | {
    *("get", "plain", "copy", "names", "fields", "equals_anything", "ahead"),
}
"""Operations and special methods that change nothing: what was seen of an object holds across them."""


class Bridge:
    """One side of two. `serve_operation` says what the other side may do here."""

    tells_causes = True
    """Whether exceptions that leave this side name the exceptions that caused them."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.changes = 0
        self.traffic = 0
        self.replaced: set[str] = set()
        self._packer = Packer(self)
        self._writing = threading.RLock()
        self._turn = threading.Condition()
        self._reader: int | None = None
        self._open: set[int] = set()
        self._answers: dict[int, tuple[bool, Any, Any]] = {}
        self._requests = 0
        self._nesting = 0
        self._last = 0.0

    # -- requests ------------------------------------------------------------------------------------------------------

    def ask(self, op: str, *args: Any) -> Any:
        """Have the other side carry out `op`; its result, or the exception that it raised."""
        if (args[1] if op == "special" else op) not in LOOKING or time.monotonic() - self._last > IDLE:
            self.changes += 1
        with self._writing:
            self.traffic += 1
            self._requests += 1
            number = self._requests
            self._send(lambda: ["q", number, op, *[self._packer.pack(arg) for arg in args]])
            self._open.add(number)
        done, value, changed = self._answer_to(number)
        self._last = time.monotonic()
        if not done:
            raise value
        if changed is not None and op in CALLS and value is None:
            self._sensible(lambda: take_over(args[-2:], changed, self._packer.unpack))
        return value

    def serve_next(self) -> None:
        """Wait for the other side's next request and carry it out."""
        self._wait(None)

    def _answer_to(self, number: int) -> tuple[bool, Any, Any]:
        while True:
            found = self._wait(number)
            if found is not None:
                return found

    def _wait(self, number: int | None) -> tuple[bool, Any, Any] | None:
        """One message, read by this thread or by another one: the answer to `number`, or None where it was another."""
        me = threading.get_ident()
        with self._turn:
            while number not in self._answers and self._reader not in (None, me):
                self._turn.wait()
            if number in self._answers:
                return self._answers.pop(number)
            outer, self._reader = self._reader, me
        try:
            request = self._read()
        finally:
            with self._turn:
                self._reader = outer
                self._turn.notify_all()
        if request is not None:
            self._serve(*request)
        return None

    def _read(self) -> tuple[int, Any, list[Any], list[Any] | BaseException] | None:
        """Read one message: a request, or None for an answer, which is kept for the thread that waits for it."""
        message = self.channel.receive()
        if len(message) < 3 or type(message[1]) is not int:
            raise self.channel.fail("the program sent a frame that makes no sense")
        kind, number = message[:2]
        if kind == "q":
            if self._nesting >= MAX_NESTING:
                raise self.channel.fail("the program's requests are nested too deeply")
            try:
                return number, message[2], message[3:], [self._received(part) for part in message[3:]]
            except ChannelLost:
                raise
            except BaseException as error:  # noqa: BLE001 - of an object that was asked for its hash
                return number, message[2], message[3:], error
        if kind not in ("r", "e") or number not in self._open:
            raise self.channel.fail("the program answered a question that was not asked")
        self._open.remove(number)
        try:
            value = self._received(message[2])
        except ChannelLost:
            raise
        except BaseException as error:  # noqa: BLE001 - of an object that was asked for its hash
            kind, value = "e", error
        if kind == "e":
            if not isinstance(value, BaseException):
                raise self.channel.fail("the program sent no exception where one was due")
            object.__setattr__(value, "_bridge_remote_", True)
        self._answers[number] = (kind == "r", value, message[3] if len(message) > 3 else None)
        return None

    def _serve(self, number: int, op: Any, packed: list[Any], args: list[Any] | BaseException) -> None:
        """Carry out one request of the other side and answer it, with a result or with the exception it raised."""
        self._nesting += 1
        self.traffic += 1
        sys.setrecursionlimit(sys.getrecursionlimit() + FRAMES)
        try:
            if isinstance(args, BaseException):
                raise args
            if op in CALLS:
                self.changes += 1
            before = Before(args[-2:]) if op in CALLS else None
            value = self.serve_operation(op, packed, args)
            with self._writing:
                self._send(lambda: self._answer(number, value, before))
        except ChannelLost:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the side that asked
            self.observe(error)
            refused = error
            with self._writing:
                self._send(lambda: ["e", number, self._packer.pack_safely(refused)])
        finally:
            self._nesting -= 1
            with contextlib.suppress(ValueError, RecursionError):  # the program has set a limit of its own
                sys.setrecursionlimit(sys.getrecursionlimit() - FRAMES)

    def _answer(self, number: int, value: Any, before: Before | None) -> list[Any]:
        answer = ["r", number, self._packer.pack(value)]
        changed = before.changed(self._packer.pack) if before is not None and value is None else None
        return [*answer, changed] if changed else answer

    # -- what a side decides -------------------------------------------------------------------------------------------

    def serve_operation(self, op: Any, packed: list[Any], args: list[Any]) -> Any:
        """Carry out `op` on behalf of the other side; `packed` are the arguments as they were written."""
        raise NotImplementedError

    def observe(self, error: BaseException) -> None:
        """Told of every exception that leaves this side."""

    def leaving(self, value: Any) -> Any:
        """What the other side may hold a handle of in place of `value`. TypeError where it may hold none."""
        return value

    # -- the channel ---------------------------------------------------------------------------------------------------

    def handle(self, value: Any) -> int:
        """The number under which the other side may ask about `value`."""
        return self._packer.number(value)

    def was_handed(self, kind: type) -> bool:
        """Whether a class was handed over as a value."""
        return self._packer.was_handed(kind)

    def _send(self, write: Callable[[], list[Any]]) -> None:
        with self._packer.message():
            self.channel.send(write())

    def _received(self, packed: Any) -> Any:
        return self._sensible(lambda: self._packer.unpack(packed))

    def _sensible(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (TypeError, ValueError, LookupError, AttributeError, RecursionError, ArithmeticError, MemoryError):
            raise self.channel.fail("the program sent a value that makes no sense") from None


def proxy_module(bridge: Bridge, name: str, number: int) -> ProxyModule:
    """A module of the other side, as a module."""
    return ProxyModule(name, bridge, number)
