"""Files that cross the line, written and read by the agent itself as their user: a child for each would take longer
than the file does. Python 3.8, agent side.

Nothing here waits for the box: what lies there is opened without waiting, and one piece is moved at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agentlab.sandboxes.agent import cleaning, files, processes, wire

if TYPE_CHECKING:
    Message = dict[str, Any]
    Reply = Callable[[Message, "bytes | memoryview"], None]

TOLD_AFTER = 2
"""Pieces of input after which the runner hears that they were taken; it waits for that with twice as many."""


class _Transfer:
    """One file on its way. `untold`: pieces that were taken, and the runner has not heard of it."""

    def __init__(self, request: Message, uid: int) -> None:
        self.request = request
        self.uid = uid
        self.began = time.monotonic()
        self.untold = 0
        self.draft: files.Draft | None = None
        self.source: files.Source | None = None


class Transfers:
    """Those under way. `users` have no root among them, or the agent could not act as they do; `most` bytes a file."""

    def __init__(self, users: processes.Users, reply: Reply, most: int = -1) -> None:
        self._users = users
        self._reply = reply
        self._most = most
        self._open: dict[int, _Transfer] = {}
        self._room = memoryview(bytearray(wire.MAX_PAYLOAD))

    def begin(self, request: Message, payload: bytes) -> bool:
        """Carry out a request to write or read; `feed` or `move` do what is left of it. False where the agent is not
        to do it itself: what /proc says of whoever asks, it would say of the agent.
        """
        transfer = _Transfer(request, self._users.uids[request["user"]])
        # A grader's paths may run through directories that a task could have prepared.
        path, follow = request["path"], request["user"] == "task"
        last = not request["more"]
        try:
            with self._acting_for(transfer):
                if request["what"] == "read":
                    transfer.source = files.Source(path, request["max_bytes"], follow)
                else:
                    transfer.draft = files.Draft(path, follow, self._most)
                    if last:
                        self._write(transfer, payload, last=True)
        except (OSError, ValueError) as error:
            self._end(transfer, error)
            return True
        if transfer.source is not None and transfer.source.of_the_kernel:
            transfer.source.close()
            return False
        self._open[request["id"]] = transfer
        if transfer.source is not None:
            self._read(transfer)
        elif last:
            self._end(transfer)
        else:
            self._take(transfer, payload)
        return True

    @property
    def moving(self) -> bool:
        """Whether something is being read."""
        return any(transfer.source is not None for transfer in self._open.values())

    def move(self) -> None:
        """Send the next piece of each file that is being read."""
        for transfer in [transfer for transfer in self._open.values() if transfer.source is not None]:
            self._read(transfer)

    def feed(self, number: int, data: bytes, last: bool) -> bool:
        """More input for a file; False where the request is none of these."""
        transfer = self._open.get(number)
        if transfer is None:
            return False
        if not last:
            self._take(transfer, data)
            return True
        try:
            with self._acting_for(transfer):
                self._write(transfer, data, last=True)
        except OSError as error:
            self._end(transfer, error)
        else:
            self._end(transfer)
        return True

    def drop(self, number: int) -> bool:
        """Give a file up; False where the request is none of these."""
        transfer = self._open.get(number)
        if transfer is not None:
            self._end(transfer, InterruptedError(0, "given up", transfer.request["path"]))
        return transfer is not None

    def drop_all(self) -> None:
        for number in list(self._open):
            self.drop(number)

    def _acting_for(self, transfer: _Transfer) -> Any:
        return cleaning.acting_as(transfer.uid, self._users.single)

    def _take(self, transfer: _Transfer, data: bytes) -> None:
        """Write a piece that is not the last."""
        try:
            self._write(transfer, data, last=False)
        except OSError as error:
            self._end(transfer, error)
            return
        transfer.untold += 1
        if transfer.untold >= TOLD_AFTER:
            self._reply({"id": transfer.request["id"], "t": "more", "code": transfer.untold}, b"")
            transfer.untold = 0

    @staticmethod
    def _write(transfer: _Transfer, data: bytes, *, last: bool) -> None:
        if transfer.draft is None:
            raise ValueError("nothing is written there")
        transfer.draft.add(data)
        if last:
            transfer.draft.finish(transfer.request["mode"])
            transfer.draft = None

    def _read(self, transfer: _Transfer) -> None:
        if transfer.source is None:
            return
        try:
            size = transfer.source.take(self._room)
        except (OSError, ValueError) as error:
            self._end(transfer, error)
            return
        if size < len(self._room):
            self._end(transfer, output=self._room[:size])
        else:
            self._reply({"id": transfer.request["id"], "t": "out"}, self._room)

    def _end(self, transfer: _Transfer, error: BaseException | None = None, output: bytes | memoryview = b"") -> None:
        """Close what is open and tell how it went."""
        if transfer.draft is not None:
            with self._acting_for(transfer):
                transfer.draft.discard()
        if transfer.source is not None:
            transfer.source.close()
        self._open.pop(transfer.request["id"], None)
        header = {"id": transfer.request["id"], "t": "end", "seconds": time.monotonic() - transfer.began}
        if error is None:
            self._reply({**header, "code": 0, "split": len(output)}, output)
        else:
            self._reply({**header, "code": files.FAILED}, files.described(error))
