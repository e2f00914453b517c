"""Real back-ends for tests: each with its image ready, or a skip that says why there is none."""

from __future__ import annotations

import os

import pytest

from agentlab.sandboxes import Backend, BoxSpec, Limits, SandboxError, open_backend
from agentlab.sandboxes.opening import BackendName

SMALL = BoxSpec(limits=Limits(memory_mb=256, pids=64, workspace_mb=48, tmp_mb=16, shm_mb=8, grade_mb=8))
"""Small enough that its limits are reached in no time."""
_found_usable: set[str] = set()


async def usable(name: BackendName) -> Backend:
    """A back-end of that name, for the caller to close. Skips where it cannot be had, but not where all is required."""
    backend = open_backend(name, run_id="tests")
    if name in _found_usable:
        return backend
    try:
        await backend.check()
        await backend.ensure_image(SMALL.image, print)
    except SandboxError as error:
        await backend.close()
        if os.environ.get("AGENTLAB_REQUIRE_ALL"):
            raise
        pytest.skip(f"no {name}: {error}")
    _found_usable.add(name)
    return backend
