"""Boxes for the tests: real ones. Where an engine is missing the tests skip with the reason, except in CI.

`modal` is the real client against the stand-in of tests/modal_standin, unless AGENTLAB_TEST_MODAL=account says that the
account which the client is configured for is to be used.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest
from back_ends import SMALL, usable
from modal_standin import serving

from agentlab.sandboxes import Backend, BackendName, Sandbox

from .outside_world import World, a_world

BACKENDS: tuple[BackendName, ...] = ("docker", "bubblewrap", "modal")


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


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """What boxes with a network may reach."""
    async with a_world() as world:
        yield world
