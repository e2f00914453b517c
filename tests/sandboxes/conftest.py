"""Boxes for the tests: real ones. Where an engine is missing the tests skip with the reason, except in CI.

`modal` is the real client against the stand-in of tests/modal_standin, unless AGENTLAB_TEST_MODAL=account says that the
account which the client is configured for is to be used.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest
from modal_standin import serving

from agentlab.sandboxes import Backend, BackendName, BoxSpec, Limits, Sandbox, SandboxError, open_backend

BACKENDS: tuple[BackendName, ...] = ("docker", "bubblewrap", "modal")

SMALL = BoxSpec(limits=Limits(memory_mb=256, pids=64, workspace_mb=48, tmp_mb=16, shm_mb=8, grade_mb=8))
"""Small enough that its limits are reached in no time."""


_found_usable: set[str] = set()


async def usable(name: BackendName) -> Backend:
    """A back-end with its image ready, or a skip that says why."""
    backend = open_backend(name, run_id="tests")
    if name in _found_usable:
        return backend
    try:
        await backend.check()
        await backend.ensure_image(SMALL.image, print)
        _found_usable.add(name)
    except SandboxError as error:
        await backend.close()
        if os.environ.get("AGENTLAB_REQUIRE_ALL") == "1":
            raise
        pytest.skip(f"no {name}: {error}")
    return backend


@pytest.fixture(scope="session")
def modal_account() -> Iterator[None]:
    """Leads the `modal` client of this process, and of those that it starts, to the stand-in."""
    if os.environ.get("AGENTLAB_TEST_MODAL") == "account":
        yield
        return
    with serving() as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(params=BACKENDS)
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    """Each back-end in turn."""
    if request.param == "modal":
        request.getfixturevalue("modal_account")
    found = await usable(request.param)
    yield found
    await found.close()


@pytest.fixture
async def docker() -> AsyncIterator[Backend]:
    found = await usable("docker")
    yield found
    await found.close()


@pytest.fixture
async def box(backend: Backend) -> Sandbox:
    """A fresh box of each back-end; closed with its back-end."""
    return await backend.create(SMALL)
