"""Episodes by hand: a model behind a real endpoint, tools, and a recorder that keeps events in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from back_ends import SMALL, usable
from endpoints import Endpoint

from agentlab.models.options import ClientOptions
from agentlab.models.prices import Price, PriceTable
from agentlab.models.protocol import Model
from agentlab.models.resolve import open_model
from agentlab.models.tools import Tool
from agentlab.sandboxes import Backend, Sandbox
from agentlab.scaffolds import box_tool
from agentlab.scaffolds.episode import Episode
from agentlab.tasks.types import Sample
from agentlab.traces.events import ListRecorder, Message

CONTRACT = {name: box_tool(name) for name in ("bash", "python", "read", "edit", "submit")}
QUESTION = (Message(role="user", content="Do it."),)


@pytest.fixture
async def model(endpoint: Endpoint) -> AsyncIterator[Model]:
    """The endpoint's model: a dollar for a million tokens, no retries."""
    prices = PriceTable((("*", Price(1.0, 1.0)),))
    opened = await open_model(endpoint.spec(), ClientOptions(max_retries=0, prices=prices))
    yield opened
    await opened.close()


@pytest.fixture
def episode(model: Model) -> Callable[..., Episode]:
    """Makes an episode of the question above; its recorder keeps the events."""

    def make(*tools: Tool | None, **fields: Any) -> Episode:
        offered = {tool.spec.name: tool for tool in tools if tool is not None}
        given: dict[str, Any] = {"messages": QUESTION, "tools": offered, "recorder": ListRecorder(), **fields}
        return Episode(sample=Sample(id="s", input="Do it."), model=model, **given)

    return make


@pytest.fixture
async def docker() -> AsyncIterator[Backend]:
    """A Docker back-end with its image ready, or a skip that says why."""
    backend = await usable("docker")
    yield backend
    await backend.close()


@pytest.fixture
async def box(docker: Backend) -> Sandbox:
    return await docker.create(SMALL)
