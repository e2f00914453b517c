"""Which sandbox a machine has, as asked by the program and by the set-up script."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agentlab.sandboxes import SandboxError, available, open_backend
from agentlab.sandboxes.docker import endpoint

SCRIPT = Path(__file__).parents[2] / "scripts" / "ensure-sandbox"


def ensure(**env: str) -> tuple[int, str, str]:
    ran = subprocess.run(
        ["/bin/sh", str(SCRIPT)],
        env={"PATH": os.environ["PATH"], "AGENTLAB_NO_INSTALL": "1", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout, ran.stderr


async def test_an_engine_that_answers_is_chosen_in_silence(docker: object) -> None:
    assert ensure() == (0, "docker\n", "")
    assert next(f.backend for f in await available() if f.usable) == "docker"


@pytest.mark.skipif(not shutil.which("bwrap"), reason="bubblewrap is not installed")
def test_without_an_engine_bubblewrap_is_chosen_with_a_warning() -> None:
    code, out, err = ensure(DOCKER_HOST="unix:///nonexistent/docker.sock")
    assert (code, out) == (0, "bubblewrap\n")
    assert "weaker" in err


def test_with_nothing_it_says_what_to_do() -> None:
    code, out, err = ensure(PATH="/nonexistent", DOCKER_HOST="unix:///nonexistent/docker.sock")
    assert (code, out) == (3, "")
    assert "AGENTLAB_NO_INSTALL" in err


async def test_what_is_missing_is_found_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    monkeypatch.setenv("PATH", "/nonexistent")
    findings = await available()
    assert [(f.backend, f.usable) for f in findings] == [("docker", False), ("bubblewrap", False)]
    assert "nonexistent" in findings[0].reason
    assert "apt-get install bubblewrap" in findings[1].reason


def test_an_unknown_back_end_is_refused() -> None:
    with pytest.raises(SandboxError, match="docker, bubblewrap or modal") as raised:
        open_backend("chroot")  # type: ignore[arg-type]
    assert raised.value.kind == "unsupported"


def test_the_docker_host_is_understood(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert endpoint.parse("unix:///run/x.sock").socket == "/run/x.sock"
    tcp = endpoint.parse("tcp://10.0.0.1:2375")
    assert (tcp.host, tcp.port, tcp.base_url) == ("10.0.0.1", 2375, "http://10.0.0.1:2375")
    assert endpoint.parse("tcp://h", "/certs").base_url == "https://h:2376"
    with pytest.raises(SandboxError, match="ssh -L"):
        endpoint.parse("ssh://someone@host")


def test_a_docker_context_is_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a process of its own: the SDK reads the client's directory once."""
    script = (
        "from docker.context import ContextAPI\n"
        "ContextAPI.create_context('other', host='unix:///run/other.sock')\n"
        "from agentlab.sandboxes.docker.endpoint import current\nprint(current())"
    )
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text('{"currentContext": "other"}')
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert ran.stdout.splitlines()[-1:] == ["/run/other.sock"], ran.stderr
