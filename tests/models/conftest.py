"""Both clients, and what they are told where a test is over quickly."""

from __future__ import annotations

from typing import Any

import pytest

from agentlab.models.options import ClientOptions


@pytest.fixture(params=["direct", "openai"])
def client(request: pytest.FixtureRequest) -> Any:
    """The name of each client in turn."""
    return request.param


def options(client: Any, **changes: Any) -> ClientOptions:
    """Of a client that fails at once."""
    return ClientOptions(**{"client": client, "backoff_s": 0.001, "timeout_s": 20.0, "max_retries": 0, **changes})
