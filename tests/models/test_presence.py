"""An endpoint that dies: how a client finds out, and what it takes for no death."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web
from endpoints import Endpoint, chat, reset, serve, status

from agentlab.models.client import EndpointModel
from agentlab.models.options import ClientOptions
from agentlab.models.presence import LOST_CALLS, Departures
from agentlab.models.protocol import ModelError
from agentlab.models.resolve import open_model
from agentlab.traces.events import ListRecorder, Message, ModelRetry

ASK = (Message(role="user", content="What is 6 x 7?"),)


async def open_client(endpoint: Endpoint, client: Any, departures: Departures, **changes: Any) -> EndpointModel:
    given = {"backoff_s": 0.001, "timeout_s": 20.0, "max_retries": 1, **changes}
    return await open_model(endpoint.spec(), ClientOptions(client=client, departures=departures, **given))


async def ask(model: EndpointModel, times: int, **fields: Any) -> list[str]:
    """Ask so often, one after the other: the kinds of the errors."""
    kinds = []
    for _ in range(times):
        try:
            await model.chat(ASK, **fields)
        except ModelError as error:
            kinds.append(error.kind)
    return kinds


async def test_an_endpoint_that_died_is_given_up_in_a_sentence(client: Any) -> None:
    departures = Departures()
    async with serve() as endpoint:
        model = await open_client(endpoint, client, departures)
        await model.chat(ASK)
    assert await ask(model, LOST_CALLS - 1) == ["connection"] * (LOST_CALLS - 1)
    assert departures.told == ""
    recorder = ListRecorder()
    assert await ask(model, 1, recorder=recorder) == ["connection"] and len(recorder.events) == 2
    assert departures.told.startswith(f"{endpoint.base_url} is gone: ") and "cannot connect" in departures.told
    recorder = ListRecorder()
    assert await ask(model, 1, recorder=recorder) == ["connection"]
    (only,) = recorder.events
    assert isinstance(only, ModelRetry) and only.wait_s is None, "what is gone is not tried again"
    await model.close()


async def test_a_call_that_waits_to_try_again_need_not_wait_for_one_that_is_gone(client: Any) -> None:
    departures, waiting = Departures(), ListRecorder()
    async with AsyncExitStack() as stack:
        endpoint = await stack.enter_async_context(serve(status(429, headers={"Retry-After": "55"})))
        model = await open_client(endpoint, client, departures)
        patient = asyncio.create_task(ask(model, 1, recorder=waiting))
        while not waiting.events:
            await asyncio.sleep(0)
        await stack.aclose()
    await ask(model, LOST_CALLS)
    assert departures.told
    assert await asyncio.wait_for(patient, 20) == ["rate_limit"]
    await model.close()


@pytest.mark.parametrize("trouble", [status(429, headers={"Retry-After": "0"}), status(503), status(500), reset])
async def test_an_endpoint_in_trouble_is_not_gone(client: Any, trouble: Any) -> None:
    """It answers, if only with errors; or it drops some questions, and still answers when it is looked for."""
    departures = Departures()
    async with serve(trouble) as endpoint:
        model = await open_client(endpoint, client, departures, max_retries=0)
        assert len(await ask(model, 3 * LOST_CALLS)) == 3 * LOST_CALLS
        assert departures.told == ""
        endpoint.behave = lambda body, request: chat("42")
        assert await ask(model, 1) == []
        await model.close()


async def test_a_single_answer_between_failures_says_that_it_is_there(client: Any) -> None:
    departures = Departures()
    async with serve() as endpoint:
        model = await open_client(endpoint, client, departures, max_retries=0)
        endpoint.queue(*[reset] * (LOST_CALLS - 1), status(400), *[reset] * (LOST_CALLS - 1))
        endpoint.models = []
        assert await ask(model, 2 * LOST_CALLS) == [
            *["connection"] * (LOST_CALLS - 1),
            "bad_request",
            *["connection"] * (LOST_CALLS - 1),
        ]
        assert departures.told == ""
        await model.close()


async def test_one_that_is_slow_to_answer_when_looked_for_is_there(client: Any) -> None:
    departures = Departures()
    looked = asyncio.Event()

    async def never(request: web.Request) -> web.Response:
        looked.set()
        await asyncio.Event().wait()
        return web.Response()

    async def drop(request: web.Request) -> web.Response:
        return await reset({}, request)  # type: ignore[return-value]

    app = web.Application()
    app.router.add_get("/v1/models", never)
    app.router.add_post("/v1/chat/completions", drop)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    endpoint = Endpoint(base_url=f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
    model = await open_client(endpoint, client, departures, max_retries=0, connect_timeout_s=0.5)
    assert await ask(model, LOST_CALLS) == ["connection"] * LOST_CALLS
    assert looked.is_set() and departures.told == ""
    await model.close()
    await runner.cleanup()
