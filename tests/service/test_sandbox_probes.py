"""The probes of `sandbox check` see what they claim to see: each fails where nothing holds it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from agentlab.sandboxes import BoxSpec, ExecResult, Limits, Sandbox, SandboxError, open_backend
from agentlab.service.sandbox_probes import LIMITS, PRELUDE, PROBES, given_in, read, try_in

NAMED = {probe.name: probe for probe in PROBES}
ABSTRACT = "agentlab-tests-probe"


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.socket() as port, socket.socket(socket.AF_UNIX) as abstract:
        port.bind(("127.0.0.1", 0))
        abstract.bind(f"\0{ABSTRACT}")
        for listener in (port, abstract):
            listener.listen(1)
        yield port.getsockname()[1]


@pytest.fixture
async def roomy() -> AsyncIterator[Sandbox]:
    """A box that may use far more than the probes are told."""
    backend = open_backend("docker", run_id="tests")
    try:
        await backend.check()
        await backend.ensure_image(BoxSpec().image, print)
        yield await backend.create(BoxSpec(limits=Limits(memory_mb=512, cpus=2, pids=128, workspace_mb=256)))
    except SandboxError as error:
        pytest.skip(f"no docker: {error}")
    finally:
        await backend.close()


@pytest.mark.parametrize("name", ["network", "system calls", "rights"])
def test_outside_a_box_the_probe_says_that_nothing_holds(name: str, listening: int) -> None:
    given = given_in(LIMITS, port=listening, abstract=ABSTRACT)
    argv = [sys.executable, "-I", "-S", "-c", PRELUDE + NAMED[name].program, json.dumps(given)]
    ended = subprocess.run(argv, capture_output=True, check=False)
    row = read(NAMED[name], ExecResult(ended.returncode, ended.stdout, ended.stderr))
    assert row.holds is False, row
    if name == "network":
        assert f"127.0.0.1:{listening} was reached" in row.said and "a socket of this machine" in row.said


@pytest.mark.docker
@pytest.mark.parametrize("name", ["memory", "processes", "CPU", "disk"])
async def test_in_a_box_with_wider_limits_the_probe_says_that_its_own_do_not_hold(name: str, roomy: Sandbox) -> None:
    given = given_in(LIMITS, port=9, abstract="nobody") | {"cpus": 0.1}
    row = await try_in(roomy, NAMED[name], given)
    assert row.holds is False, row


def test_a_probe_that_did_not_end_by_itself_is_no_verdict() -> None:
    disk, rights = NAMED["disk"], NAMED["rights"]
    assert read(disk, ExecResult(-9, b"", b"", timed_out=True)).holds is None
    assert read(rights, ExecResult(1, b"", b"Traceback ...\nKeyError: 'CapEff'")).said.endswith("KeyError: 'CapEff'")
    assert read(rights, ExecResult(0, b"", b"")).holds is None
    assert read(rights, ExecResult(2, b"too busy to tell\n", b"")).said == "too busy to tell"
    assert read(rights, ExecResult(-9, b"", b"", oom=True)).holds is None
    assert read(disk, ExecResult(-9, b"", b"", oom=True)).holds is True
