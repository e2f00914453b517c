"""A command in the box: its pipes, its time and its output, and the stateful shell. Python 3.8, agent side."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agentlab.sandboxes.agent import processes, spawning, wire

GRACE_S = 0.2
"""How long output is still read after a command has ended while a daemon of its own holds the pipe."""

if TYPE_CHECKING:
    Reply = Callable[[wire.Header, bytes], None]
    Start = Callable[[], spawning.Started]


class Output:
    """What a command says, cut at a limit. Small output travels with the result, more goes ahead in chunks."""

    def __init__(self, reply: Reply, request: int, limit: int, live: bool) -> None:
        self._reply = reply
        self._request = request
        self._left = limit
        self._live = live
        self._held: dict[str, bytearray] = {"out": bytearray(), "err": bytearray()}
        self.dropped = 0

    def add(self, stream: str, data: bytes) -> None:
        kept = data[: self._left]
        self._left -= len(kept)
        self.dropped += len(data) - len(kept)
        if not kept:
            return
        held = self._held[stream]
        held += kept
        # What is left of both streams goes into one frame with the result.
        while len(held) >= wire.MAX_PAYLOAD // 2 or (self._live and held):
            self._reply({"id": self._request, "t": stream}, bytes(held[: wire.MAX_PAYLOAD]))
            del held[: wire.MAX_PAYLOAD]

    def end(self, fields: dict[str, Any]) -> None:
        out, err = self._held["out"], self._held["err"]
        header = {"id": self._request, "t": "end", "dropped": self.dropped, "split": len(out), **fields}
        self._reply(header, bytes(out + err))

    def refuse(self, code: int, message: str) -> None:
        """The result of a command that did not start, told as a shell does."""
        self.add("err", f"agentlab: {message}\n".encode("utf-8", "replace"))
        self.end({"code": code, "timed_out": False, "oom": False, "seconds": 0.0})


class Pipe:
    """The writing end of a command's standard input. Never blocks the agent: what does not fit waits here."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.waiting = bytearray()
        self.unacknowledged = 0
        self._close_when_empty = False
        os.set_blocking(fd, False)

    def put(self, data: bytes, last: bool) -> None:
        self.waiting += data
        self._close_when_empty = self._close_when_empty or last
        self.drain()

    def drain(self) -> None:
        while self.waiting and self.fd >= 0:
            try:
                written = os.write(self.fd, self.waiting)
            except BlockingIOError:
                return
            except OSError:
                # The reader has gone: what it did not want to read is nobody's.
                self.close()
                return
            del self.waiting[:written]
        if self._close_when_empty:
            self.close()

    def close(self) -> None:
        self.waiting.clear()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Command:
    """One running command, from fork to result."""

    def __init__(
        self, users: processes.Users, number: int, start: Start, output: Output, timeout: float, program: str
    ) -> None:
        self.users = users
        self.number = number
        self.output = output
        self.request = 0
        self.takes_more = False
        self.started = time.monotonic()
        self.deadline: float | None = self.started + timeout
        self.timed_out = False
        self.ended_at: float | None = None
        self.exit_code = 0
        self._oom_before = processes.oom_kills()
        self.pid, fds = start()
        self.stdin = Pipe(fds[0])
        self.streams = {fds[1]: "out", fds[2]: "err"}
        self._program = program
        self._refusal = fds[3]

    @property
    def wake_at(self) -> float | None:
        """When `tick` wants to be called at the latest."""
        return self.deadline if self.ended_at is None else self.ended_at + GRACE_S

    def readable(self, fd: int) -> bool:
        """Take output; False when the stream has ended and was closed."""
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            return True
        if data:
            self.output.add(self.streams[fd], data)
            return True
        del self.streams[fd]
        os.close(fd)
        return False

    def exited(self, code: int, now: float) -> None:
        self.exit_code, self.ended_at = code, now

    def kill(self) -> None:
        processes.kill_members(self.users, self.number, self.pid, ended=self.ended_at is not None)

    def tick(self, now: float) -> bool:
        """Kill what is over its time; True when the command has ended and its output was read."""
        if self.ended_at is None:
            if self.deadline is not None and now >= self.deadline:
                self.timed_out = True
                self.deadline = now + 1.0
                self.kill()
            return False
        return not self.streams or now >= self.ended_at + GRACE_S

    def finish(self) -> None:
        """Close everything and send the result."""
        self.stdin.close()
        for fd in self.streams:
            os.close(fd)
        self.streams.clear()
        refusal = self._why_not()
        if refusal is not None:
            self.output.refuse(refusal.code, str(refusal))
            return
        self.output.end(
            {
                "code": -9 if self.timed_out else self.exit_code,
                "timed_out": self.timed_out,
                "oom": processes.oom_kills() > self._oom_before,
                "seconds": time.monotonic() - self.started,
            }
        )

    def _why_not(self) -> spawning.CannotRunError | None:
        """Why the child did not become a program, which it told before it ended; None where it did."""
        if self._refusal < 0:
            return None
        said = b""
        if self.exit_code == spawning.UNSTARTED:
            with contextlib.suppress(BlockingIOError):
                said = os.read(self._refusal, 4096)
        os.close(self._refusal)
        return spawning.refusal(self._program, said) if said else None


class Shell:
    """A shell that lives from one command to the next.

    Each command line is `eval`ed with empty input and without the side channel (descriptor 8); then the shell itself
    writes a token there that was made for this command alone, with the exit code. So neither output nor a background
    job can look like the end of a command. A shell that has ended or was killed is started again by the next command.
    """

    def __init__(self, users: processes.Users, body: spawning.Body, number: int) -> None:
        self.users = users
        self.number = number
        self._body = body
        self.pid = 0
        self.stdin = Pipe(os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC))
        self.stdin.close()
        self.out_fd = -1
        self.side_fd = -1
        self._output: Output | None = None
        self._token = b""
        self._side = bytearray()
        self.deadline: float | None = None
        self.timed_out = False
        self.started = 0.0
        self._oom_before = 0

    @property
    def busy(self) -> bool:
        return self._output is not None

    @property
    def fds(self) -> list[int]:
        return [fd for fd in (self.out_fd, self.side_fd) if fd >= 0]

    def start(self) -> None:
        self.pid, fds = spawning.fork(self._body, merged=True, side=True)
        self.stdin, self.out_fd, self.side_fd = Pipe(fds[0]), fds[1], fds[3]
        self._side.clear()

    def run(self, line: str, output: Output, timeout: float) -> None:
        if self.busy:
            raise ValueError("the shell is still running a command")
        if not self.pid:
            self.start()
        self._token = os.urandom(16).hex().encode()
        self._output = output
        self.timed_out = False
        self.started = time.monotonic()
        self.deadline = self.started + timeout
        self._oom_before = processes.oom_kills()
        quoted = "'" + line.replace("'", "'\"'\"'") + "'"
        script = f"eval {quoted} </dev/null 8>&-\ncommand printf '%s %s\\n' {self._token.decode()} \"$?\" >&8\n"
        self.stdin.put(script.encode("utf-8", "surrogateescape"), last=False)

    def readable(self, fd: int) -> bool:
        """Take output or the token; False when the descriptor has ended."""
        if fd == self.out_fd:
            return self._take_output()
        try:
            data = os.read(fd, 4096)
        except BlockingIOError:
            return True
        # Whoever floods the side channel is cut; a token is much shorter.
        self._side = (self._side + data)[-4096:]
        for entry in bytes(self._side).split(b"\n")[:-1]:
            token, _, code = entry.partition(b" ")
            if self._output is not None and token == self._token and code.isdigit():
                self._side.clear()
                self._end(int(code))
        return bool(data)

    def _take_output(self) -> bool:
        """Read what is there; False at the end of the stream."""
        while True:
            try:
                data = os.read(self.out_fd, 1 << 16)
            except BlockingIOError:
                return True
            if not data:
                return False
            if self._output is not None:
                self._output.add("out", data)
            if len(data) < 1 << 12:
                return True

    def _end(self, code: int) -> None:
        output, self._output, self.deadline = self._output, None, None
        if output is None:
            return
        self._output = output
        self._take_output()
        self._output = None
        output.end(
            {
                "code": -9 if self.timed_out else code,
                "timed_out": self.timed_out,
                "oom": processes.oom_kills() > self._oom_before,
                "seconds": time.monotonic() - self.started,
            }
        )

    def exited(self, code: int) -> None:
        """The shell has ended, by `exit`, a signal or a time-out. The caller has already stopped watching its
        descriptors.
        """
        self._end(code)
        self.pid = 0
        self.stdin.close()
        for fd in self.fds:
            os.close(fd)
        self.out_fd = self.side_fd = -1

    def kill(self) -> None:
        if self.pid:
            processes.kill_members(self.users, self.number, self.pid, ended=False)

    def tick(self, now: float) -> None:
        if self.deadline is not None and now >= self.deadline:
            self.timed_out = True
            self.deadline = now + 1.0
            self.kill()
