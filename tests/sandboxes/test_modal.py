"""What is peculiar to boxes on Modal; what they share with all others is in the conformance tests."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import modal
import pytest
from back_ends import SMALL, usable

from agentlab.sandboxes import BoxSpec, Sandbox, SandboxError, images
from agentlab.sandboxes.docker import build
from agentlab.sandboxes.docker.endpoint import current
from agentlab.sandboxes.docker.engine import Engine
from agentlab.sandboxes.machine import describe
from agentlab.sandboxes.modal import ModalBackend
from agentlab.sandboxes.modal.account import sign_in
from agentlab.sandboxes.protocol import Backend

STAND_IN = pytest.mark.skipif(os.environ.get("AGENTLAB_TEST_MODAL") == "account", reason="is about the stand-in")


@pytest.fixture
async def on_modal(modal_account: None) -> AsyncIterator[Backend]:
    found = await usable("modal")
    yield found
    await found.close()


@pytest.fixture
async def there(on_modal: Backend) -> Sandbox:
    return await on_modal.create(SMALL)


async def test_without_the_library_a_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modal", None)
    backend = ModalBackend()
    for attempt in (backend.check(), backend.create(SMALL)):
        with pytest.raises(SandboxError, match=r"pip install 'agentlab-eval\[modal\]'") as raised:
            await attempt
        assert raised.value.kind == "unavailable"
    await backend.close()


async def test_a_ready_image_is_found_in_silence_and_has_one_id(on_modal: Backend) -> None:
    said: list[str] = []
    first = await on_modal.ensure_image("agentlab/python:latest", said.append)
    version = images.version(images.BUILT_IN["agentlab/python"])
    assert await on_modal.ensure_image(f"agentlab/python:{version}", said.append) == first
    assert first.startswith("im-")
    assert said == []


async def test_an_image_that_is_nowhere_or_old_is_said_in_a_sentence(on_modal: Backend) -> None:
    for name, words in (("localhost:1/no/such:image", "could not be built"), ("agentlab/python:0", "old version")):
        for attempt in (on_modal.ensure_image(name, print), on_modal.create(BoxSpec(image=name))):
            with pytest.raises(SandboxError, match=words) as raised:
                await attempt
            assert raised.value.kind == "image"
            assert name in str(raised.value)


@STAND_IN
async def test_an_image_that_cannot_keep_a_box_is_said_in_a_sentence(on_modal: Backend, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "root.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("etc/nothing"), io.BytesIO())
    engine = Engine(current())
    try:
        await build.import_root(engine, tmp_path / "root.tar", "agentlab-test/bare:latest")
        with pytest.raises(SandboxError, match="did not start") as raised:
            await on_modal.create(BoxSpec(image="agentlab-test/bare:latest"))
        assert raised.value.kind == "start"
        await engine.call("DELETE", "/images/agentlab-test/bare:latest", force="1")
    finally:
        await engine.close()


async def test_what_the_service_put_into_a_sandbox_is_not_in_commands(there: Sandbox) -> None:
    found = (await there.exec(["env"])).stdout
    assert b"PATH=" in found
    assert b"MODAL_" not in found
    assert b"AGENTLAB_" not in found


async def test_the_first_generation_of_sandboxes_serves_as_well(
    on_modal: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODAL_SANDBOX_V2", "0")
    box = await on_modal.create(SMALL)
    monkeypatch.undo()
    second = await on_modal.create(SMALL)
    # The client knows them apart by their ids.
    assert (len(box.id), len(second.id)) == (len("sb-") + 22, len("sb-2") + 26)
    for one in (box, second):
        assert (await one.exec(["cat"], stdin=b"x" * 1_000_000)).stdout == b"x" * 1_000_000
        assert (await one.exec(["sh", "-c", "setsid sleep 98765 & sleep 98765"], timeout=0.3)).timed_out


@STAND_IN
async def test_a_call_that_the_stand_in_lacks_is_named(there: Sandbox, on_modal: Backend) -> None:
    sandbox = await modal.Sandbox.from_id.aio(there.id)
    with pytest.raises(modal.exception.UnimplementedError, match="has no TaskSnapshotFilesystem"):
        await sandbox.snapshot_filesystem.aio()


async def test_what_modal_does_not_contain_is_told_without_starting_a_box() -> None:
    ground = await describe("modal")
    assert "costs money" in ground.untried
    for what in ("disk", "memory", "variables", "killed", "gVisor"):
        assert any(what in said for said in ground.not_contained), what


OWNER = """
import asyncio
from agentlab.sandboxes import BoxSpec, open_backend
async def main():
    backend = open_backend("modal")
    boxes = await asyncio.gather(*(backend.create(BoxSpec()) for _ in range(2)))
    print(*(box.id for box in boxes), flush=True)
    await boxes[0].exec(["sleep", "600"], timeout=600)
asyncio.run(main())
"""


async def test_a_sweep_removes_the_boxes_of_the_dead_only(on_modal: ModalBackend, there: Sandbox) -> None:
    owners = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", OWNER, stdout=asyncio.subprocess.PIPE)
        for _ in range(2)
    ]
    made = []
    for owner in owners:
        assert owner.stdout is not None
        made.append((await owner.stdout.readline()).decode().split())
    alive, dead = owners
    dead.kill()
    await dead.wait()
    assert sorted(await on_modal.sweep()) == sorted(made[1])
    assert await on_modal.sweep() == []
    client, app = await sign_in()
    left = {found.object_id async for found in modal.Sandbox.list.aio(app_id=app.app_id, client=client)}
    assert left >= {there.id, *made[0]}
    assert (await there.exec(["true"])).ok
    alive.kill()
    await alive.wait()
    assert sorted(await on_modal.sweep()) == sorted(made[0])


async def test_a_box_that_hears_nothing_ends_itself(on_modal: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here its runner is silent and lives on, to say what became of the box."""
    monkeypatch.setattr("agentlab.sandboxes.modal.backend.SILENCE_S", 0.5)
    monkeypatch.setattr("agentlab.sandboxes.modal.backend._keep_in_touch", _say_nothing)
    box = await on_modal.create(SMALL)
    with pytest.raises(SandboxError) as raised:
        await box.exec(["sleep", "60"])
    assert raised.value.kind == "lost"


async def _say_nothing(connection: object) -> None:
    return
