"""An endpoint that means harm: it leads elsewhere, never ends, packs bombs, or sends bytes that are no answer."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from typing import Any

import pytest
from aiohttp import web
from endpoints import Endpoint, chat, serve

from agentlab.models.client import EndpointModel
from agentlab.models.protocol import ModelError
from agentlab.models.replies import error_text
from agentlab.models.resolve import open_model, probe
from agentlab.models.streams import ChatStream
from agentlab.traces.events import ListRecorder, Message, ModelRetry

from .conftest import options

ASK = (Message(role="user", content="What is 6 x 7?"),)
LIMIT = 100_000
ANSWER = json.dumps(chat("42")).encode()


async def failure(address: str, client: Any, **changes: Any) -> ModelError:
    model = await open_model(f"{address}#tiny", options(client, **changes))
    try:
        with pytest.raises(ModelError) as caught:
            await model.chat(ASK)
        assert model.limiter.in_use == 0
    finally:
        await model.close()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    return caught.value


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_leads_nowhere(
    endpoint: Endpoint, client: Any, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Followed, it would hand prompts to whoever the endpoint names."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    async with serve() as thief:
        for target in (f"{thief.base_url}/chat/completions", "file:///etc/passwd", "/v1/models"):
            redirect = web.Response(status=code, headers={"Location": target})
            endpoint.behave = lambda body, request, redirect=redirect: redirect
            error = await failure(endpoint.base_url, client)
            assert error.status == code and "redirects are not followed" in str(error)
        assert thief.arrived == []


@pytest.fixture
def small_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentlab.models.direct.MAX_BODY", LIMIT)
    monkeypatch.setattr("agentlab.models.openai_sdk.MAX_BODY", LIMIT)


def endless(code: int) -> Any:
    async def behave(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=code)
        await response.prepare(request)
        try:
            while True:
                await response.write(b'data: {"choices": []}\n\n' * 100)
        except ConnectionError:
            return response

    return behave


@pytest.mark.usefixtures("small_bodies")
@pytest.mark.parametrize(("code", "streamed"), [(200, False), (200, True), (500, False), (400, True)])
async def test_an_answer_without_end_is_cut_off(endpoint: Endpoint, client: Any, code: int, streamed: bool) -> None:
    endpoint.behave = endless(code)
    error = await failure(endpoint.base_url, client, stream=streamed)
    assert error.kind == "bad_response" and "larger than" in str(error)


@pytest.mark.usefixtures("small_bodies")
async def test_an_answer_that_unpacks_without_end_is_cut_off(endpoint: Endpoint, client: Any) -> None:
    bomb = gzip.compress(b" " * 50 * LIMIT)
    assert len(bomb) < LIMIT
    packed = {"Content-Encoding": "gzip"}
    endpoint.behave = lambda body, request: web.Response(body=bomb, headers=packed)
    error = await failure(endpoint.base_url, client)
    assert error.kind == "bad_response" and ("larger than" in str(error) or "packed (gzip)" in str(error))


async def test_what_cannot_be_unpacked_is_a_bad_response(endpoint: Endpoint, client: Any) -> None:
    for name in ("gzip", "deflate"):
        broken = web.Response(body=b"\x1f\x8b\xff\xffno", headers={"Content-Encoding": name})
        endpoint.behave = lambda body, request, broken=broken: broken
        assert (await failure(endpoint.base_url, client)).kind == "bad_response"


def http(status_line: bytes, headers: bytes = b"", body: bytes = ANSWER) -> bytes:
    return b"%b\r\n%bContent-Length: %d\r\n\r\n%b" % (status_line, headers, len(body), body)


OK = b"HTTP/1.1 200 OK"
CHUNKED = OK + b"\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (ANSWER, "bad_response"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "bad_response"),
        (http(b"HTTP/9.9 200 OK"), "bad_response"),
        (http(b"HTTP/1.1 0 x"), "bad_response"),
        (http(b"HTTP/1.1 999 x"), "server"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, "connection"),
        (http(OK, "X-\u2603: 1\r\n".encode()), "bad_response"),
        (http(OK, b"X: a\x00b\r\n"), "bad_response"),
        (http(OK, b"X: " + b"a" * 200_000 + b"\r\n"), "bad_response"),
        (http(OK, b"Content-Length: 5\r\n"), "bad_response"),
        (http(OK, b"Content-Length: -5\r\n"), "bad_response"),
        (CHUNKED + b"zzz\r\n", "bad_response"),
        (CHUNKED + b"-5\r\nabc\r\n", "bad_response"),
        (CHUNKED + b"FFFFFFFFFFFFFFFF\r\nabc", "connection"),
        (CHUNKED + b"5\r\nab", "connection"),
        (b"HTTP/1.1 200 OK\r\nContent-", "connection"),
        (b"", "connection"),
    ],
)
async def test_bytes_that_are_no_answer_are_one_short_line(client: Any, sent: bytes, kind: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    error = await failure(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", client)
    server.close()
    assert error.kind == kind, error


async def test_a_status_line_that_is_no_text_is_blamed_on_the_server(client: Any) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http(b"HTTP/1.1 500 \xff\xfe"))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    error = await failure(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", client)
    server.close()
    assert error.kind in ("server", "bad_response") and "header is malformed" not in str(error)


@pytest.mark.parametrize(
    "value", ["-1", "1e9", "NaN", "inf", "-inf", "soon", "Thu, 01 Jan 1970 00:00:00 GMT", "\u2603"]
)
async def test_an_absurd_wait_is_no_wait_or_a_bounded_one(endpoint: Endpoint, client: Any, value: str) -> None:
    endpoint.queue(lambda body, request: web.Response(status=429, headers={"Retry-After": value}))
    recorder = ListRecorder()
    model = await open_model(endpoint.spec(), options(client, max_retries=1, max_retry_after_s=0.05))
    assert (await model.chat(ASK, recorder=recorder)).message.text == "ok"
    await model.close()
    (retry,) = [event for event in recorder.events if isinstance(event, ModelRetry)]
    assert retry.wait_s is not None and 0 <= retry.wait_s <= 0.06


def test_a_line_of_megabytes_that_comes_in_bits_is_read_in_linear_time() -> None:
    reader, piece = ChatStream(0.0), b"x" * 1024
    started = time.process_time()
    reader.feed(b"data: ")
    for _ in range(60_000):
        reader.feed(piece)
    assert time.process_time() - started < 2
    with pytest.raises(ModelError):
        reader.feed(b"\n")


def test_events_may_be_cut_anywhere() -> None:
    delta = b'data: {"choices": [{"index": 0, "delta": {"content": "4"}}]}\r\n\r\n'
    whole = delta + b": ping\n" + delta + b"data: [DONE]"
    for size in range(1, len(whole)):
        reader = ChatStream(0.0)
        for start in range(0, len(whole), size):
            reader.feed(whole[start : start + size])
        assert reader.finish().message.text == "44"


def test_an_error_of_megabytes_is_read_at_once() -> None:
    started = time.process_time()
    told = error_text(json.dumps({"error": {"message": "no " * (10 << 20)}}).encode(), secrets=("sk-secret",))
    assert told.startswith("no no") and len(told) == 300
    assert time.process_time() - started < 1


async def test_a_list_of_models_without_measure_is_cut(endpoint: Endpoint, client: Any) -> None:
    endpoint.models = [f"model-{n}" for n in range(50_000)] + ["x" * 100_000]
    started = time.process_time()
    model: EndpointModel = await open_model(endpoint.spec("modle-1"), options(client))
    with pytest.raises(ModelError, match="did you mean model-1") as caught:
        await probe(model)
    await model.close()
    assert len(str(caught.value)) < 1000 and time.process_time() - started < 5
    with pytest.raises(ModelError, match="choose one") as caught:
        await open_model(endpoint.base_url, options(client))
    assert len(str(caught.value)) < 5000
