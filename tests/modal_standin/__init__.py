"""A server that stands in for Modal, so that the unmodified `modal` client has something real to talk to.

It speaks the part of Modal's control plane and of its task command router that sandboxes need, in both generations of
sandboxes (V2, and V1 with MODAL_SANDBOX_V2=0), and keeps each sandbox as a container of the local Docker engine:
commands run by the engine's exec API, their streams can be read and written from any byte on, as the client does after
a broken connection. A call that it does not have is answered UNIMPLEMENTED with its name.

What it does not cover, and only a real account shows: the building of images (an image is taken from the local engine,
by the label that our Dockerfile gets or by the name in FROM), gVisor (containers run under runc), scheduling and
capacity, quotas and throttling, regions, GPUs, volumes, tunnels, any network but none, Modal's own file API and
snapshots (boxes use the agent's), TLS, and real latency. Its containers get the rights of root that a plain container
has, with the engine's own list of system calls.

For tests: `with serving() as account:` gives the environment that makes a client use it. By hand, with `tests` on the
path: `python -m modal_standin` prints its address and serves until its input ends.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOKEN_ID = "ak-standin"
TOKEN_SECRET = "as-standin"


@contextmanager
def serving() -> Iterator[dict[str, str]]:
    """A server in a process of its own, which goes with this one. Gives the variables that lead a client there."""
    server = subprocess.Popen(
        [sys.executable, "-m", "modal_standin"],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        if not url:
            raise RuntimeError(f"the stand-in did not start; it left with {server.wait()}")
        yield {
            "MODAL_SERVER_URL": url,
            "MODAL_TOKEN_ID": TOKEN_ID,
            "MODAL_TOKEN_SECRET": TOKEN_SECRET,
            # What the person who runs the tests has configured is none of their business.
            "MODAL_CONFIG_PATH": "/nonexistent",
        }
    finally:
        assert server.stdin is not None
        server.stdin.close()
        server.wait(timeout=30)
