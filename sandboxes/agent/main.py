"""The agent: the first process of a box, which runs what the runner asks for. One thread, one loop. Python 3.8,
agent side.

It is sent over its own standard input when the box starts, so every image with a Python works and no box holds an
outdated agent. Commands get pipes of their own: nothing they write can reach the runner except as the payload of a
frame.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agentlab.sandboxes.agent import cleaning, commands, files, filing, guest, processes, spawning, transfers, wire

if TYPE_CHECKING:
    from agentlab.sandboxes.agent import relay

    Message = dict[str, Any]
    Watched = commands.Command | commands.Shell

KEPT_FROM_KEEPER = ("HOSTNAME", "HOME", "USER", "LOGNAME", "SHLVL", "PWD", "OLDPWD", "_")
KEPT_PREFIXES = ("AGENTLAB_", "MODAL_")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Agent:
    def __init__(self) -> None:
        self._guest = os.getpid() != 1
        if self._guest and guest.KEPT not in os.environ:
            raise RuntimeError("the agent must be the first process of a box")
        self._epoll = select.epoll()
        self._frames = wire.Frames()
        self._inbox = memoryview(bytearray(1 << 18))
        self._transfers: transfers.Transfers | None = None
        self._commands: dict[int, commands.Command] = {}
        self._shells: dict[int, commands.Shell] = {}
        self._watched: dict[int, Watched] = {}
        self._number = 0
        self._users = processes.Users({}, {}, True)
        self._places: list[cleaning.Place] = []
        self._env: dict[str, str] = {}
        self._oom_at_start = 0
        self._rlimits: dict[str, int] = {}
        self._ready_ns = 0
        self._starter: spawning.Starter | None = None
        self._heard = time.monotonic()
        self._silence: float | None = None
        self._relay: relay.Relay | None = None
        self._handlers: dict[str, Callable[[Message, bytes], None]] = {
            name[4:]: getattr(self, name) for name in dir(self) if name.startswith("_on_")
        }

    # The loop.

    def run(self) -> None:
        """Serve until standard input ends."""
        woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Python's own handler would be a way to end it, where commands are of the same user: the first process of a
        # box hears only what it has asked for.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        for line in (0, 1):
            spawning.widen(line)
        self._epoll.register(0, select.EPOLLIN)
        self._epoll.register(woken, select.EPOLLIN)
        while True:
            for fd, event in self._epoll.poll(self._patience()):
                if fd == 0:
                    self._listen()
                elif fd == woken:
                    with contextlib.suppress(BlockingIOError):
                        os.read(woken, 4096)
                elif self._relay is None or not self._relay.serve(fd):
                    self._serve(fd, event)
            self._collect()
            if self._transfers is not None:
                self._transfers.move()
            if self._silence is not None and time.monotonic() > self._heard + self._silence:
                self._leave()

    def _patience(self) -> float:
        """Seconds until somebody's time is up."""
        if self._transfers is not None and self._transfers.moving:
            return 0
        moments = [command.wake_at for command in self._commands.values()]
        moments += [shell.deadline for shell in self._shells.values()]
        if self._silence is not None:
            moments.append(self._heard + self._silence)
        due = [moment for moment in moments if moment is not None]
        return max(0.0, min(due) - time.monotonic()) + 0.0005 if due else -1

    def _listen(self) -> None:
        # Into a place of its own: memory for so much would be asked of the kernel anew each time.
        size = os.readv(0, [self._inbox])
        if not size:
            self._leave()
        self._heard = time.monotonic()
        for text, payload in self._frames.feed(self._inbox[:size]):
            request = json.loads(text)
            try:
                self._handlers[request["op"]](request, payload)
            except Exception as error:  # noqa: BLE001 - every error of a handler must become a reply, or the caller waits for ever
                self._fail(request.get("id", 0), error)

    def _leave(self) -> None:
        """The runner has gone: nothing that runs here has anyone to answer to."""
        processes.kill_everyone(self._users, patience_s=1.0)
        if self._guest:
            guest.leave()
        os._exit(0)

    def _serve(self, fd: int, event: int) -> None:
        owner = self._watched.get(fd)
        if owner is None:
            return
        if owner.stdin.fd == fd:
            owner.stdin.drain()
            if not owner.stdin.waiting:
                self._unwatch(fd)
                if isinstance(owner, commands.Command):
                    self._acknowledge(owner.request, owner)
        elif not owner.readable(fd):
            self._unwatch(fd)

    def _collect(self) -> None:
        """Deal with what has ended and what is over its time."""
        processes.reap_strangers()
        exits = processes.take_exits()
        now = time.monotonic()
        for command in self._commands.values():
            if command.pid in exits and command.ended_at is None:
                command.exited(exits[command.pid], now)
        for shell in self._shells.values():
            if shell.pid and shell.pid in exits:
                self._forget(shell)
                shell.exited(exits[shell.pid])
            shell.tick(now)
        for request in [number for number, command in self._commands.items() if command.tick(now)]:
            command = self._commands.pop(request)
            self._forget(command)
            command.finish()

    # Descriptors.

    def _watch(self, fd: int, owner: Watched, events: int = select.EPOLLIN) -> None:
        if fd >= 0 and fd not in self._watched:
            self._watched[fd] = owner
            self._epoll.register(fd, events)

    def _unwatch(self, fd: int) -> None:
        if self._watched.pop(fd, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)

    def _forget(self, owner: Watched) -> None:
        for fd in [fd for fd, watched in self._watched.items() if watched is owner]:
            self._unwatch(fd)

    def _feed(self, request: int, command: commands.Command, data: bytes, last: bool) -> None:
        """Give input to a command. The runner keeps a few pieces under way and hears when they were taken."""
        before = command.stdin.fd
        command.stdin.put(data, last)
        command.stdin.unacknowledged += 1
        if command.stdin.fd < 0:
            self._unwatch(before)
        if command.stdin.waiting:
            self._watch(command.stdin.fd, command, select.EPOLLOUT)
        else:
            self._acknowledge(request, command)

    def _acknowledge(self, request: int, command: commands.Command) -> None:
        taken, command.stdin.unacknowledged = command.stdin.unacknowledged, 0
        if command.takes_more:
            self._reply({"id": request, "t": "more", "code": taken})

    # Replies.

    def _reply(self, header: Message, payload: bytes | memoryview = b"") -> None:
        """Write a frame, waiting as long as the runner takes: it always reads."""
        head = wire.head(header, len(payload))
        written = os.writev(1, [head, payload])
        if written < len(head):
            files.write_all(1, head[written:])
        files.write_all(1, memoryview(payload)[max(0, written - len(head)) :])

    def _fail(self, request: int, error: BaseException) -> None:
        self._reply({"id": request, "t": "fail", "kind": type(error).__name__, "message": str(error)[:2000]})

    # Requests.

    def _on_hello(self, request: Message, payload: bytes) -> None:
        config = request["config"]
        single = bool(config["single"])
        if self._guest:
            guest.settle(config["guest"])
            self._silence = config["guest"]["silence_s"]
        if config.get("accounts"):
            self._users = processes.with_root(config["accounts"])
        else:
            self._users = processes.Users(config["uids"], config["homes"], single)
        if self._users.single:
            processes.hide_from_same_uid()
        self._places = cleaning.survey(config["places"])
        self._rlimits = dict(config["rlimits"])
        if self._guest and guest.counts_processes():
            del self._rlimits["RLIMIT_NPROC"]
        if not (self._users.single or self._rlimits):
            self._starter = spawning.starter(self._users)
        if self._users.root is None:
            if not self._users.single:
                # Acting as a user, the agent is to have no more than that user's rights.
                os.setgroups([])
            os.umask(0o022)
            self._transfers = transfers.Transfers(self._users, self._reply, self._rlimits.get("RLIMIT_FSIZE", -1))
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(KEPT_PREFIXES)}
        self._env = {key: value for key, value in inherited.items() if key not in KEPT_FROM_KEEPER}
        self._env.setdefault("PATH", PATH)
        self._env.setdefault("LANG", "C.UTF-8")
        self._env.update(config["env"])
        self._oom_at_start = processes.oom_kills()
        self._ready_ns = time.time_ns()
        # Children should not copy pages only because a collection touches them.
        gc.freeze()
        version = ".".join(str(part) for part in sys.version_info[:3])
        value = {"pid": os.getpid(), "uid": os.getuid(), "python": version, "workdir": os.getcwd()}
        if config.get("egress"):
            value["egress"] = self._open_relay(config["egress"])
        self._reply({"id": request["id"], "t": "ok", "value": value})

    def _open_relay(self, settings: dict[str, Any]) -> str:
        # Sent only to boxes that have a way out: sockets take 8 ms to load.
        from agentlab.sandboxes.agent import relay

        self._relay = relay.Relay(self._epoll, self._reply, settings["port"], settings["socket"])
        self._handlers.update(egress=self._relay.begin, net=self._relay.hear)
        return self._relay.mode

    def _on_ping(self, request: Message, payload: bytes) -> None:
        self._reply({"id": request["id"], "t": "ok", "value": {}})

    def _on_exec(self, request: Message, payload: bytes) -> None:
        number, user = self._next(), request["user"]
        env, argv, cwd = self._environment(user, request["env"], number), request["argv"], request["cwd"]

        def body() -> None:
            self._lower(user, number)
            spawning.program(argv, cwd, env)

        def start() -> spawning.Started:
            if self._starter is None:
                return spawning.fork(body)
            return self._starter.start(user, number, argv, cwd, env)

        self._launch(request, payload, start, number)

    def _on_file(self, request: Message, payload: bytes) -> None:
        """What is done to files: where the agent cannot do it itself, the same as a command, with a function in place
        of a program.
        """
        if (
            self._transfers is not None
            and request["what"] in ("read", "write")
            and self._transfers.begin(request, payload)
        ):
            return
        number = self._next()

        def body() -> None:
            filing.carry_out(self._users, number, request, self._rlimits, self._ready_ns)

        self._launch(request, payload, lambda: spawning.fork(body, wide=True), number)

    def _launch(self, request: Message, payload: bytes, start: commands.Start, number: int) -> None:
        output = commands.Output(self._reply, request["id"], request["max_output"], request["live"])
        try:
            program = request["argv"][0] if request["op"] == "exec" else ""
            command = commands.Command(self._users, number, start, output, request["timeout"], program)
        except OSError as error:
            # The box is full of processes, which is what runs in it that did so: a result, like a shell's "cannot
            # fork".
            output.refuse(126, f"cannot start a process: {error.strerror}")
            return
        except spawning.CannotRunError as error:
            output.refuse(error.code, str(error))
            return
        self._commands[request["id"]] = command
        for fd in command.streams:
            self._watch(fd, command)
        command.request, command.takes_more = request["id"], request["more"]
        self._feed(request["id"], command, payload, last=not request["more"])

    def _on_data(self, request: Message, payload: bytes) -> None:
        if self._transfers is not None and self._transfers.feed(request["id"], payload, request["last"]):
            return
        command = self._commands.get(request["id"])
        if command is not None:
            self._feed(request["id"], command, payload, last=request["last"])

    def _on_kill(self, request: Message, payload: bytes) -> None:
        if self._transfers is not None and self._transfers.drop(request["id"]):
            return
        command = self._commands.get(request["id"])
        if command is not None:
            command.kill()

    def _on_shell(self, request: Message, payload: bytes) -> None:
        number, user, cwd = self._next(), request["user"], request["cwd"]
        env = self._environment(user, request["env"], number)
        has_bash = any(os.access(f"{folder}/bash", os.X_OK) for folder in env["PATH"].split(":"))
        argv = ["bash", "--noprofile", "--norc"] if has_bash else ["sh"]

        def body() -> None:
            self._lower(user, number)
            spawning.program(argv, cwd, env)

        self._shells[request["id"]] = commands.Shell(self._users, body, number)
        self._reply({"id": request["id"], "t": "ok", "value": {}})

    def _on_run(self, request: Message, payload: bytes) -> None:
        shell = self._shells[request["shell"]]
        output = commands.Output(self._reply, request["id"], request["max_output"], False)
        shell.run(payload.decode("utf-8", "surrogateescape"), output, request["timeout"])
        for fd in shell.fds:
            self._watch(fd, shell)
        if shell.stdin.waiting:
            self._watch(shell.stdin.fd, shell, select.EPOLLOUT)

    def _on_stop(self, request: Message, payload: bytes) -> None:
        """Interrupt a shell's present command (it starts anew with the next), or end it for good."""
        shell = self._shells.get(request["shell"])
        if shell is not None:
            shell.kill()
            if request["for_good"]:
                self._forget(shell)
                shell.exited(-9)
                del self._shells[request["shell"]]
        self._reply({"id": request["id"], "t": "ok", "value": {}})

    def _on_quiesce(self, request: Message, payload: bytes) -> None:
        left = processes.kill_everyone(self._users)
        self._reply({"id": request["id"], "t": "ok", "value": {"left": left}})

    def _on_freeze(self, request: Message, payload: bytes) -> None:
        processes.freeze(True)
        self._reply({"id": request["id"], "t": "ok", "value": {}})

    def _on_thaw(self, request: Message, payload: bytes) -> None:
        processes.freeze(False)
        self._reply({"id": request["id"], "t": "ok", "value": {}})

    def _on_reset(self, request: Message, payload: bytes) -> None:
        processes.kill_everyone(self._users)
        self._collect()
        self._shells.clear()
        if self._transfers is not None:
            self._transfers.drop_all()
        # Nobody knows what was changed in a whole system.
        writable = self._users.root is not None
        found = ["a writable system"] if writable else cleaning.reset(self._places, self._users)
        if processes.oom_kills() != self._oom_at_start:
            found.append("a kill for memory")
        # Nobody bears a number any more, and the next trial is not to see how many there were.
        self._number = 0 if not found else self._number
        self._reply({"id": request["id"], "t": "ok", "value": {"clean": not found, "found": found}})

    # What a child does before it becomes the command.

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _environment(self, user: str, extra: dict[str, str], number: int) -> dict[str, str]:
        env = {**self._env, "HOME": self._users.homes[user], "USER": user, "LOGNAME": user, **extra}
        if self._users.root is not None:
            env["USER"] = env["LOGNAME"] = self._users.root.accounts[user].name
        if self._users.single:
            env[processes.MARK] = str(number)
        return env

    def _lower(self, user: str, number: int) -> None:
        spawning.limit(self._rlimits, *self._rlimits)
        self._users.become(user, number, for_good=True)


def main() -> None:
    Agent().run()
