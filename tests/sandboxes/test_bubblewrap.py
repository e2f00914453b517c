"""What is bubblewrap's own: the system that a box shows, and where its limits come from."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from back_ends import SMALL, usable

from agentlab.sandboxes import BoxSpec, Limits, SandboxError, images, ownership
from agentlab.sandboxes.bubblewrap import BubblewrapBackend, cgroup
from agentlab.sandboxes.unpacking import fill

IMAGE = BoxSpec().image
PYTHON = images.BUILT_IN["agentlab/python"]
LIMITS = Limits(memory_mb=512, cpus=0.5, pids=77)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of these tests' own, which whoever a box runs as may enter."""
    folder = tmp_path_factory.mktemp("cache")
    for inside in (folder, *folder.parents):
        if Path(tempfile.gettempdir()) in inside.parents:
            inside.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTLAB_CACHE", str(folder))
        yield folder


@pytest.fixture
async def unpacked(cache: Path) -> AsyncIterator[BubblewrapBackend]:
    await (await usable("docker")).close()
    backend = await usable("bubblewrap")
    assert isinstance(backend, BubblewrapBackend)
    await fill(IMAGE, print)
    yield backend
    await backend.close()


@pytest.mark.docker
async def test_a_box_shows_the_unpacked_image_and_not_this_machine(unpacked: BubblewrapBackend) -> None:
    version = images.version(PYTHON)
    assert await unpacked.ensure_image(IMAGE, print) == f"root:{version}"
    box = await unpacked.create(SMALL)
    # Installed here, as this test runs; not in the image.
    assert (await box.exec(["ls", "/usr/bin/bwrap"])).exit_code != 0
    for program in ("python3", "python", "git", "pytest"):
        assert (await box.exec([program, "--version"])).ok, program
    assert (await box.exec(["whoami"])).stdout == b"task\n"
    assert (await box.exec(["whoami"], user="grader")).stdout == b"grader\n"
    assert (await box.exec(["getent", "hosts", "localhost"])).stdout.startswith(b"127.0.0.1")
    assert not (await box.exec(["touch", "/usr/x"])).ok


@pytest.mark.docker
async def test_what_was_unpacked_lends_no_rights_and_has_no_devices(unpacked: BubblewrapBackend, cache: Path) -> None:
    root = images.exported_root(PYTHON)
    assert root is not None and root.is_relative_to(cache)
    for path in root.rglob("*"):
        mode = path.lstat().st_mode
        assert not mode & (stat.S_ISUID | stat.S_ISGID), path
        assert stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode), path
    assert [entry.name for entry in root.parent.iterdir()] == [root.name], "no draft is left beside it"


@pytest.mark.docker
async def test_it_is_unpacked_once(unpacked: BubblewrapBackend) -> None:
    said: list[str] = []
    assert await fill(IMAGE, said.append) == images.exported_root(PYTHON)
    assert said == []


async def test_a_foreign_image_is_not_for_it() -> None:
    with pytest.raises(SandboxError, match="cannot take the image debian:12 apart; choose --sandbox docker"):
        await fill("debian:12", print)


@pytest.mark.long
async def test_without_an_engine_the_system_comes_from_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path
) -> None:
    backend = await usable("bubblewrap")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    monkeypatch.setenv("AGENTLAB_CACHE", str(cache / "packages"))
    assert isinstance(backend, BubblewrapBackend)
    await fill(IMAGE, print)
    box = await backend.create(SMALL)
    for program in ("python3", "python", "git", "pytest"):
        assert (await box.exec([program, "--version"])).ok, program
    assert (await box.exec(["whoami"])).stdout == b"task\n"
    assert (await box.exec(["git", "config", "user.name"])).stdout == b"task\n"
    await backend.close()


def written(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_limits_as_version_2_wants_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a folder in place of the kernel's: the machines that these tests were made on have version 1."""
    monkeypatch.setattr(cgroup, "ROOT", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    name = f"{ownership.stamp()}-box"
    (tmp_path / "agentlab" / name).mkdir(parents=True)
    (tmp_path / "agentlab" / name / "memory.swap.max").write_text("max")
    group = cgroup.create("box", LIMITS)
    assert group is not None
    assert group.entrances() == [str(tmp_path / "agentlab" / name / "cgroup.procs")]
    assert written(tmp_path) == {
        "cgroup.controllers": "cpu memory pids",
        "cgroup.subtree_control": "+memory +pids +cpu",
        "agentlab/cgroup.subtree_control": "+memory +pids +cpu",
        f"agentlab/{name}/memory.max": str(512 << 20),
        f"agentlab/{name}/memory.swap.max": "0",
        f"agentlab/{name}/pids.max": "77",
        f"agentlab/{name}/cpu.max": "50000 100000",
    }
    assert not group.killed()
    (group.counter / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    assert group.killed()


def test_half_a_set_of_limits_is_none_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "ROOT", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "memory").mkdir()
    (tmp_path / "pids").write_text("not a folder, so this controller cannot be had")
    assert cgroup.create("box", LIMITS) is None
    assert not (tmp_path / "cpu").exists()


async def test_limits_hold_for_the_box_as_a_whole() -> None:
    if not cgroup.can_be_had():
        pytest.skip("only root may make control groups")
    backend = await usable("bubblewrap")
    box = await backend.create(SMALL)
    (keeper,) = await box.keepers()
    groups = Path(f"/proc/{keeper}/cgroup").read_text()
    assert groups.count("/agentlab/") >= 1
    await box.close()
    await backend.close()
    assert not Path(f"/proc/{keeper}").exists()
    left = [line.rpartition(":")[2] for line in groups.splitlines() if "/agentlab/" in line]
    for name in left:
        assert not list(cgroup.ROOT.glob(f"*/{name.lstrip('/')}")), "its groups are gone with it"
