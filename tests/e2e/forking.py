"""`agentlab` without its start-up: each command is a process of its own, forked from one that has imported the package.

The imports cost half a second of processor time, and most tests of the command line give several commands. Run as a
program this is the process that forks, one for each worker of the tests.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import pkgutil
import selectors
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

MOST_BYTES = 1 << 17
LAZILY_IMPORTED = ("anyio._backends._asyncio", "docker", "numpy", "sqlite3")


@functools.cache
def _forking() -> socket.socket:
    """The line to the process that forks. It ends when this end is closed: with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        program = [sys.executable, __file__, str(theirs.fileno())]
        subprocess.Popen(program, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True)
    return ours


def fork_command(
    words: Sequence[str], cwd: Path, environment: Mapping[str, str], out: IO[bytes], err: IO[bytes]
) -> IO[bytes]:
    """Start a command that reads nothing. What is returned says its process id in a line, and its exit code once it
    has ended.
    """
    request = json.dumps({"words": words, "cwd": str(cwd), "environment": dict(environment)}).encode()
    reading, writing = os.pipe()
    try:
        socket.send_fds(_forking(), [request], [out.fileno(), err.fileno(), writing])
    finally:
        os.close(writing)
    return open(reading, "rb", buffering=0)


def _fork_on_request(line: socket.socket) -> None:
    """Returns in each process that is to become a command; ends the program once nobody asks any more."""
    with selectors.DefaultSelector() as selector:
        selector.register(line, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    asked, told, _, _ = socket.recv_fds(line, MOST_BYTES, 3)
                    if not asked:
                        sys.exit()
                    out, err, ended = told
                    if (pid := os.fork()) == 0:
                        selector.close()
                        line.close()
                        _become(json.loads(asked), out, err)
                        return
                    os.write(ended, b"%d\n" % pid)
                    os.close(out)
                    os.close(err)
                    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, ended))
                else:
                    pid, ended = key.data
                    selector.unregister(key.fileobj)
                    os.close(key.fd)
                    os.write(ended, b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                    os.close(ended)


def _become(request: dict[str, Any], out: int, err: int) -> None:
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv[:] = [str(Path(sys.executable).with_name("agentlab")), *request["words"]]


if __name__ == "__main__":
    from agentlab import scaffolds, service, tasks
    from agentlab.service.cli import main

    for room in (scaffolds, service, tasks):
        for found in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    for name in LAZILY_IMPORTED:
        importlib.import_module(name)
    # Else each command would go through all of this when it ends.
    gc.collect()
    gc.freeze()
    _fork_on_request(socket.socket(fileno=int(sys.argv[1])))
    sys.exit(main())
