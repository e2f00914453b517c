"""Boxes under another runtime of the engine: named by one setting, and said wherever a box is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from own_engine import own_engine

from agentlab.sandboxes import BoxSpec, SandboxError, open_backend
from agentlab.sandboxes.docker.backend import RUNTIME

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """An engine with a runtime `noted`, which writes down what it is asked and has runc do it: its URL, its notes."""
    folder = tmp_path_factory.mktemp("runtime")
    script, written = folder / "noted", folder / "notes"
    script.write_text(f'#!/bin/sh\necho "$@" >> {written}\nexec {shutil.which("runc")} "$@"\n')
    script.chmod(0o755)
    with own_engine(runtimes={"noted": {"path": str(script)}}) as engine:
        yield engine.url, written


async def test_boxes_run_under_the_runtime_that_is_named(
    notes: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, written = notes
    monkeypatch.setenv("DOCKER_HOST", url)
    monkeypatch.setenv(RUNTIME, "noted")
    backend = open_backend("docker")
    try:
        await backend.check()
        box = await backend.create(BoxSpec())
        assert box.isolation == backend.isolation == "docker+noted"
        assert (await box.exec(["echo", "there"])).stdout == b"there\n"
        await box.close()
    finally:
        await backend.close()
    assert "create" in written.read_text()


async def test_a_runtime_that_the_engine_has_not_is_refused(
    notes: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", notes[0])
    monkeypatch.setenv(RUNTIME, "runsc")
    backend = open_backend("docker")
    with pytest.raises(SandboxError, match=r"names runsc, and .* has only .*noted, runc") as refused:
        await backend.check()
    assert refused.value.kind == "unavailable"
    await backend.close()
