"""Images: ours are built once and known by version, others are taken as they are or refused in a sentence."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from agentlab.sandboxes import Backend, BoxSpec, SandboxError, images, seccomp
from agentlab.sandboxes.docker import build
from agentlab.sandboxes.docker.endpoint import current
from agentlab.sandboxes.docker.engine import Engine

PYTHON = images.BUILT_IN["agentlab/python"]


def test_names_are_cut_at_the_tag() -> None:
    assert images.split("agentlab/python") == ("agentlab/python", "latest")
    assert images.split("a/b:1.2") == ("a/b", "1.2")
    assert images.split("localhost:5000/a") == ("localhost:5000/a", "latest")
    assert images.is_built_in("agentlab/python:latest")
    assert not images.is_built_in("python:3.11")


def test_the_version_follows_the_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = images.version(PYTHON)
    assert before == images.version(PYTHON)
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "Dockerfile").write_text("FROM other\n")
    (tmp_path / images.BOOTSTRAP).write_text("")
    monkeypatch.setattr(images, "folder", lambda name="": tmp_path / name if name else tmp_path)
    assert images.version(PYTHON) != before


def test_the_dockerfile_builds_with_every_builder() -> None:
    text = images.files_of(PYTHON)["Dockerfile"].decode()
    assert "# syntax=" not in text
    instructions = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    assert "--mount" not in instructions
    assert "<<" not in instructions
    assert "ARG BASE_IMAGE=python:3.11-slim-bookworm" in text


def test_the_profile_allows_by_name_and_nothing_dangerous() -> None:
    profile = json.loads(seccomp.as_text())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    allowed = {n for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for n in rule["names"]}
    dangerous = {
        "io_uring_setup", "keyctl", "add_key", "bpf", "userfaultfd", "perf_event_open", "ptrace", "process_vm_readv",
        "process_vm_writev", "mount", "umount2", "unshare", "setns", "pivot_root", "chroot", "kexec_load",
        "init_module", "open_by_handle_at", "clone3", "pidfd_getfd", "clock_settime", "reboot", "swapon", "quotactl",
        "acct",
    }  # fmt: skip
    assert not allowed & dangerous
    assert {"execve", "read", "futex", "openat"} <= allowed


async def test_a_current_image_is_found_at_once_and_in_silence(docker: Backend) -> None:
    said: list[str] = []
    first = await docker.ensure_image("agentlab/python:latest", said.append)
    assert await docker.ensure_image(f"agentlab/python:{images.version(PYTHON)}", said.append) == first
    assert said == []
    assert first.startswith("sha256:")


async def test_the_image_has_what_tasks_expect(docker: Backend) -> None:
    box = await docker.create(BoxSpec())
    script = "python3 -m pytest --version && python --version && git init -q . && ps --version && locale charmap"
    result = await box.exec(["sh", "-c", script])
    assert result.ok, result
    assert result.stdout.endswith(b"UTF-8\n")


async def test_system_calls_beyond_the_profile_are_refused(backend: Backend) -> None:
    box = await backend.create(BoxSpec())
    script = (
        "import ctypes\nc = ctypes.CDLL(None, use_errno=True)\n"
        # io_uring_setup, keyctl, bpf, userfaultfd, perf_event_open, ptrace, process_vm_readv, add_key, socket(AF_VSOCK)
        "calls = (425,1,0), (250,0,0), (321,0,0), (323,0), (298,0,0), (101,0,0), (310,1,0), (248,0,0), (41,40,1,0)\n"
        "for call in calls:\n"
        "  print(c.syscall(*call), ctypes.get_errno())"
    )
    result = await box.exec(["python3", "-c", script])
    assert result.stdout == b"-1 1\n" * 9


async def test_an_image_that_is_nowhere_is_said_in_a_sentence(docker: Backend) -> None:
    with pytest.raises(SandboxError, match="docker load") as raised:
        await docker.ensure_image("localhost:1/no/such:image", lambda _: None)
    assert raised.value.kind == "image"
    with pytest.raises(SandboxError, match="docker pull") as raised:
        await docker.create(BoxSpec(image="localhost:1/no/such:image"))
    assert raised.value.kind == "image"


async def test_an_image_that_holds_nothing_works_as_a_box(docker: Backend, tmp_path: Path) -> None:
    """The agent brings its own Python: neither an interpreter nor a shell has to be in the image."""
    with tarfile.open(tmp_path / "root.tar", "w") as tar:
        info = tarfile.TarInfo("etc/nothing")
        tar.addfile(info, io.BytesIO())
    engine = Engine(current())
    try:
        await build.import_root(engine, tmp_path / "root.tar", "agentlab-test/empty:latest")
        assert await docker.ensure_image("agentlab-test/empty:latest", print)
        box = await docker.create(BoxSpec(image="agentlab-test/empty:latest"))
        await box.write_file("notes/a.txt", b"kept")
        assert await box.read_file("/workspace/notes/a.txt") == b"kept"
        assert len(await box.snapshot()) > 1024
        nothing = await box.exec(["sh", "-c", "true"])
        assert nothing.exit_code == 127 and b"cannot run sh: not found" in nothing.stderr
        with pytest.raises(OSError, match="Read-only file system"):
            await box.write_file("/run/agentlab-python/bin/python3", b"another")
        await box.close()
        writable = await docker.create(BoxSpec(image="agentlab-test/empty:latest", profile="writable"))
        await writable.write_file("/etc/made", b"by root")
        changes = await writable.changes()
        assert (changes["/etc"], changes["/etc/made"]) == ("changed", "added")
        await writable.close()
        await engine.call("DELETE", "/images/agentlab-test/empty:latest")
    finally:
        await engine.close()


def test_the_bootstrap_script_names_what_is_missing() -> None:
    with images.resources.as_file(images.folder().joinpath(images.BOOTSTRAP)) as script:
        ran = subprocess.run(
            ["/bin/sh", str(script), "x"], env={"PATH": "/nonexistent"}, capture_output=True, check=False
        )
    assert ran.returncode != 0
