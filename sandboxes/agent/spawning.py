"""Starting a process in a box: a function of the agent's in a copy of it, or a program. Python 3.8, agent side."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from agentlab.sandboxes.agent import files, processes

if TYPE_CHECKING:
    Body = Callable[[], None]
    Started = tuple[int, list[int]]
    Pipes = list[tuple[int, int]]
    ForkExec = Callable[[list[bytes], list[bytes], list[bytes], list[int], int, list[int]], int]

SET_PIPE_SIZE = 1031
MOST = 1 << 20
IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)
"""What Python ignores, and programs should not."""
MISSING = (errno.ENOENT, errno.ENOTDIR)
MOST_TRIED = 32
"""Places of a program from which on a child looks for it: the agent would be held up."""
UNSTARTED = 255
"""How a child of `Starter` ends that could not become a program; programs may end so as well."""


def widen(fd: int) -> None:
    """Let a pipe hold more than 64 KB, so that who writes and who reads take turns less often. It stays as it is where
    the kernel gives no more.
    """
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, SET_PIPE_SIZE, MOST)


def fork(body: Body, *, merged: bool = False, side: bool = False, wide: bool = False) -> Started:
    """Fork a child in a session of its own that runs `body` with pipes as descriptors 0, 1, 2 (and 8, with `side`);
    `wide` ones where much goes through them.

    Gives its pid and our ends: input, output, error (-1 when `merged`), side (-1 without). `body` should replace the
    process.
    """
    with _pipes(2 + (not merged) + side) as pipes:
        if wide:
            widen(pipes[0][1])
            widen(pipes[1][0])
        pid = os.fork()
        if pid == 0:
            _child(body, pipes, merged, side)
    error = -1 if merged else pipes[2][0]
    marker = pipes[-1][0] if side else -1
    return pid, [pipes[0][1], pipes[1][0], error, marker]


@contextlib.contextmanager
def _pipes(count: int) -> Iterator[Pipes]:
    """Pipes for a child: the first one into it, the others out of it. Its ends are closed here once it has them; ours
    remain, and none of them blocks, unless no child came to be.
    """
    pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(count)]
    try:
        yield pipes
    except BaseException:
        for pair in pipes:
            os.close(pair[0])
            os.close(pair[1])
        raise
    os.close(pipes[0][0])
    for ours, its in pipes[1:]:
        os.close(its)
        os.set_blocking(ours, False)


def _child(body: Body, pipes: Pipes, merged: bool, side: bool) -> None:
    code = 127
    try:
        processes.offer_to_oom_killer()
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, *IGNORED):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(pipes[0][0], 0)
        os.dup2(pipes[1][1], 1)
        os.dup2(pipes[1][1] if merged else pipes[2][1], 2)
        if side:
            # Moved out of the way first: one of the pipes may itself be descriptor 8.
            os.dup2(os.dup(pipes[-1][1]), 8)
        os.umask(0o022)
        body()
        code = 0
    except BaseException as error:  # noqa: BLE001 - the last frame of a forked child: it must end here, whatever happened
        code = _say_why(error)
    finally:
        os._exit(code)


def _say_why(error: BaseException) -> int:
    with contextlib.suppress(OSError):
        if isinstance(error, CannotRunError):
            os.write(2, f"agentlab: {error}\n".encode("utf-8", "replace"))
            return error.code
        os.write(2, files.described(error))
    return files.FAILED


class CannotRunError(Exception):
    """A program that cannot be started: a result, not a failure of the box."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def program(argv: list[str], cwd: str, env: dict[str, str]) -> None:
    """Replace the present process, with the exit codes of a shell: 127 not found, 126 cannot be executed."""
    try:
        os.chdir(cwd)
    except (OSError, ValueError) as error:
        raise CannotRunError(127, f"cannot enter {cwd}: {getattr(error, 'strerror', error)}") from error
    try:
        os.execvpe(argv[0], argv, env)  # noqa: S606 - what an agent is for
    except FileNotFoundError as error:
        raise CannotRunError(127, f"cannot run {argv[0]}: not found") from error
    except (OSError, ValueError) as error:
        raise CannotRunError(126, f"cannot run {argv[0]}: {error}") from error


def limit(limits: dict[str, int], *names: str) -> None:
    """Put on those of these resource limits that are named, as far as they are not there already."""
    wanted = [name for name in names if name in limits]
    if not wanted:
        return
    import resource

    for name in wanted:
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        most = limits[name] if hard == resource.RLIM_INFINITY else min(limits[name], hard)
        resource.setrlimit(kind, (most, most))


class Starter:
    """Starts programs for the users of a box, all in C.

    Beside others: with the interpreter's own fork and exec, whose child touches next to none of the agent's memory, so
    that the kernel has little of it to copy. Half the time of `fork` with `program`.

    Alone: with `posix_spawn`, which copies nothing at all (a third of the processor's time), and for which the agent
    waits until the child is its program. With others there it may not, as one of the child's user could stop the child
    on its way, and the agent with it. The child has its user from the agent's real ids. They are lent for that moment:
    a program may run before the agent has them back, and can do nothing with that. Signals of a box do not reach its
    first process, nobody changes the priorities of one that has capabilities, and all else asks for the effective or
    for all ids, which stay the agent's own.
    """

    def __init__(self, users: processes.Users, fork_exec: ForkExec) -> None:
        self._uids = users.uids
        self._fork_exec = fork_exec
        self._score = int(processes.read_text(processes.OWN_SCORE) or 0)
        # The first process of gVisor's kernel is not known to be so safe. It counts no signals there.
        is_linux = "\nSigQ:" in processes.read_text("/proc/self/status")
        self._may_lend = os.getpid() == 1 and is_linux and hasattr(os, "posix_spawn")

    def start(self, user: str, command: int, argv: list[str], cwd: str, env: dict[str, str]) -> Started:
        """What `fork` does with `program`, but a program that cannot be run may be told on the fourth descriptor, for
        `refusal`: beside others, waiting for it would let a stopped child hold up everyone. Raises CannotRunError,
        OSError where no process can be had.
        """
        uid, groups = self._uids[user], [processes.group_of(command)]
        programs = _candidates(argv[0], env)
        # A long search would hold the agent up, and what `posix_spawn` refuses is no different beside others.
        usual = len(programs) <= MOST_TRIED and bool(argv[0]) and not any("=" in name or not name for name in env)
        alone = self._may_lend and usual and processes.reap_strangers()
        with _pipes(3 if alone else 4) as pipes:
            # Inherited, so that the program has it from its first instant.
            processes.offer_to_oom_killer()
            try:
                there = _enter(cwd, uid, programs if alone else [])
                if alone:
                    with _lending(uid, groups):
                        pid = _spawn(argv, there, env, pipes)
                else:
                    pid = self._fork(argv, programs, env, pipes, uid, groups)
            except ValueError as error:
                raise CannotRunError(126, f"cannot run {argv[0]}: {error}") from error
            finally:
                os.chdir("/")
                processes.offer_to_oom_killer(self._score)
        told = -1 if alone else pipes[3][0]
        return pid, [pipes[0][1], pipes[1][0], pipes[2][0], told]

    def _fork(
        self, argv: list[str], programs: list[bytes], env: dict[str, str], pipes: Pipes, uid: int, groups: list[int]
    ) -> int:
        arguments = [os.fsencode(argument) for argument in argv]
        variables = [os.fsencode(name) + b"=" + os.fsencode(value) for name, value in env.items()]
        ends = [pipes[0][0], -1, -1, pipes[1][1], -1, pipes[2][1], *pipes[3]]
        return self._fork_exec(arguments, programs, variables, ends, uid, groups)


@contextlib.contextmanager
def _lending(uid: int, groups: list[int]) -> Iterator[None]:
    """With a user's real ids and its groups; the effective and the saved ids stay."""
    try:
        os.setgroups(groups)
        os.setresgid(uid, -1, -1)
        os.setresuid(uid, -1, -1)
        yield
    finally:
        os.setresuid(0, -1, -1)
        os.setresgid(0, -1, -1)
        os.setgroups([])


def _spawn(argv: list[str], programs: list[bytes], env: dict[str, str], pipes: Pipes) -> int:
    """Start the first of these programs that is one, as the user of the agent's real ids. Raises CannotRunError."""
    ends = (pipes[0][0], pipes[1][1], pipes[2][1])
    actions = [(os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate(ends)]
    why = errno.ENOENT
    for path in programs:
        try:
            return os.posix_spawn(path, argv, env, file_actions=actions, resetids=True, setsid=True, setsigdef=IGNORED)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENOMEM):
                raise
            if error.errno is not None and error.errno not in MISSING:
                why = error.errno
    raise _cannot_run(argv[0], why)


def _is_missing(path: bytes) -> bool:
    """Whether nothing is there, found out in a hundredth of the time that a process for it takes."""
    try:
        os.stat(path)
    except OSError as error:
        return error.errno in MISSING
    except ValueError:
        return False  # no path at all, which who starts it tells
    return False


def starter(users: processes.Users) -> Starter | None:
    """A starter where this Python has one whose arguments are known, None elsewhere."""
    version = sys.version_info[:2]
    if not (3, 9) <= version <= (3, 13):
        return None
    try:
        import _posixsubprocess
    except ImportError:
        return None
    fork_exec: Any = _posixsubprocess.fork_exec

    def call(
        argv: list[bytes], programs: list[bytes], env: list[bytes], ends: list[int], uid: int, groups: list[int]
    ) -> int:
        # Descriptors close by themselves, the directory is inherited; signals as a program expects them, a new session.
        common = (argv, programs, False, (), None, env, *ends, True, True)
        if version < (3, 11):
            return int(fork_exec(*common, uid, groups, uid, 0o022, None))
        return int(fork_exec(*common, -1, uid, groups, uid, 0o022, None, False))

    return Starter(users, call)


def _candidates(name: str, env: dict[str, str]) -> list[bytes]:
    """Where a program of that name may be, as `os.execvpe` looks for it."""
    if "/" in name:
        return [os.fsencode(name)]
    return [os.fsencode(f"{folder}/{name}") for folder in env.get("PATH", os.defpath).split(":")]


def refusal(name: str, said: bytes) -> CannotRunError:
    """What a child told of its end before it became a program: a word, an error number in hexadecimal, a word."""
    found = re.match(rb"OSError:([0-9a-f]+):", said)
    return _cannot_run(name, int(found.group(1), 16) if found else errno.ENOEXEC)


def _cannot_run(name: str, error: int) -> CannotRunError:
    if error in MISSING:
        return CannotRunError(127, f"cannot run {name}: not found")
    return CannotRunError(126, f"cannot run {name}: {os.strerror(error)}")


def _enter(cwd: str, uid: int, programs: list[bytes]) -> list[bytes]:
    """Go where the user may go, and which of these programs are there as far as that user may see."""
    os.setegid(uid)
    os.seteuid(uid)
    try:
        os.chdir(cwd)
        return [path for path in programs if not _is_missing(path)]
    except (OSError, ValueError) as error:
        raise CannotRunError(127, f"cannot enter {cwd}: {getattr(error, 'strerror', error)}") from error
    finally:
        os.seteuid(0)
        os.setegid(0)
