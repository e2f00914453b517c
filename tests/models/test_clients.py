"""Both clients against a real server: what arrives there, what comes back, and every way in which a server may lie."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from endpoints import Endpoint, calling, chat, hang, reset, status, stream, tool_call

from agentlab.models.client import EndpointModel
from agentlab.models.options import ClientOptions
from agentlab.models.protocol import ModelError, Sampling
from agentlab.models.resolve import open_model
from agentlab.traces.events import (
    ImagePart,
    ListRecorder,
    Message,
    ModelCall,
    ModelRetry,
    TextPart,
    ToolCall,
    ToolSpec,
    Usage,
)

QUICK = ClientOptions(backoff_s=0.001, timeout_s=20)
ASK = (Message(role="user", content="What is 6 x 7?"),)
ADD = ToolSpec(name="add", description="Add.", parameters={"type": "object", "properties": {"a": {"type": "integer"}}})


@pytest.fixture
async def model(endpoint: Endpoint, client: Any) -> AsyncIterator[EndpointModel]:
    opened = await open_model(endpoint.spec(), options(client=client))
    yield opened
    await opened.close()


def options(**changes: Any) -> ClientOptions:
    return ClientOptions(**{"backoff_s": 0.001, "timeout_s": 20.0, **changes})


async def test_what_is_asked_arrives_whole(endpoint: Endpoint, model: EndpointModel) -> None:
    sampling = Sampling(
        temperature=0.5, top_p=0.9, top_k=20, max_tokens=64, stop=("\n\n",), seed=7, frequency_penalty=0.1,
        presence_penalty=0.2, tool_choice="auto", parallel_tool_calls=False, response_format={"type": "json_object"},
        extra={"chat_template_kwargs": {"enable_thinking": False}},
    )  # fmt: skip
    image = ImagePart(media_type="image/png", data=b"\x89PNG")
    messages = (
        Message(role="system", content="Be brief."),
        Message(role="user", content=(TextPart("What is this?"), image)),
        Message(role="assistant", tool_calls=(ToolCall(id="c1", name="add", arguments={"a": 1}),), reasoning="hm"),
        Message(role="tool", content="1", tool_call_id="c1"),
    )
    await model.chat(messages, tools=(ADD,), sampling=sampling)
    body = endpoint.bodies[0]
    url = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
    assert body.pop("messages") == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}],
        },
        {"role": "tool", "content": "1", "tool_call_id": "c1"},
    ]
    assert body.pop("tools")[0]["function"] == {"name": "add", "description": "Add.", "parameters": ADD.parameters}
    assert body == {
        "model": "tiny", "temperature": 0.5, "top_p": 0.9, "top_k": 20, "max_tokens": 64, "stop": ["\n\n"], "seed": 7,
        "frequency_penalty": 0.1, "presence_penalty": 0.2, "tool_choice": "auto", "parallel_tool_calls": False,
        "response_format": {"type": "json_object"}, "chat_template_kwargs": {"enable_thinking": False},
    }  # fmt: skip


async def test_nothing_is_sent_that_nobody_asked_for(endpoint: Endpoint, model: EndpointModel) -> None:
    await model.chat(ASK, sampling=Sampling(tool_choice="auto"))
    assert endpoint.bodies[0] == {"model": "tiny", "messages": [{"role": "user", "content": "What is 6 x 7?"}]}


async def test_an_answer_is_read_and_recorded(endpoint: Endpoint, model: EndpointModel) -> None:
    usage = {
        "prompt_tokens": 20, "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 8}, "completion_tokens_details": {"reasoning_tokens": 2},
    }  # fmt: skip
    endpoint.behave = lambda body, request: chat("42", usage=usage, reasoning_content="six sevens")
    recorder = ListRecorder()
    response = await model.chat(ASK, sampling=Sampling(temperature=0.0), recorder=recorder)
    assert response.message == Message(role="assistant", content="42", reasoning="six sevens")
    assert response.usage == Usage(20, 5, 8, 2)
    assert (response.stop_reason, response.model, response.request_id) == ("stop", "tiny", "chatcmpl-1")
    (call,) = recorder.events
    assert isinstance(call, ModelCall)
    assert (call.messages, call.response, call.sampling) == (ASK, response.message, {"temperature": 0.0})
    assert call.latency_ms == response.latency_ms > 0


async def test_tool_calls_come_parsed_and_broken_ones_come_explained(endpoint: Endpoint, model: EndpointModel) -> None:
    endpoint.behave = lambda body, request: calling(
        tool_call("add", {"a": 1}), tool_call("add", '{"a": ', "call_b"), tool_call("add", "[1]", "call_c")
    )
    response = await model.chat(ASK, tools=(ADD,))
    good, broken, array = response.message.tool_calls
    assert good == ToolCall(id="call_a", name="add", arguments={"a": 1})
    assert (broken.arguments, broken.raw) == ({}, '{"a": ') and "malformed JSON" in broken.error
    assert array.raw == "[1]" and "array" in array.error
    assert response.stop_reason == "tool_calls"


async def test_a_broken_call_goes_back_as_an_object_that_servers_can_parse(
    endpoint: Endpoint, model: EndpointModel
) -> None:
    broken = ToolCall(id="c", name="add", raw='{"a": ', error="no JSON")
    await model.chat((*ASK, Message(role="assistant", tool_calls=(broken,))))
    sent = endpoint.bodies[0]["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(sent) == {"malformed_arguments": '{"a": '}


async def test_a_stream_gives_the_same_answer_and_the_time_to_its_first_token(endpoint: Endpoint, client: Any) -> None:
    deltas = [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "six "},
        {"reasoning_content": "sevens"},
        {"content": "for"},
        {"content": "ty-two"},
        {
            "tool_calls": [
                {"index": 0, "id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a"'}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
    ]
    endpoint.behave = lambda body, request: stream(request, deltas, finish="tool_calls")
    opened = await open_model(endpoint.spec(), options(client=client, stream=True))
    response = await opened.chat(ASK)
    await opened.close()
    assert endpoint.bodies[0]["stream_options"] == {"include_usage": True}
    call = ToolCall(id="c1", name="add", arguments={"a": 1})
    assert response.message == Message(
        role="assistant", content="forty-two", reasoning="six sevens", tool_calls=(call,)
    )
    assert response.usage == Usage(7, 3) and response.stop_reason == "tool_calls"
    assert response.ttft_ms is not None and 0 < response.ttft_ms <= response.latency_ms


@pytest.mark.parametrize("cut", [True, False])
async def test_a_stream_that_breaks_off_is_asked_for_again(endpoint: Endpoint, client: Any, cut: bool) -> None:
    endpoint.queue(lambda body, request: stream(request, [{"content": "fo"}], finish=None, done=False, cut=cut))
    endpoint.behave = lambda body, request: stream(request, [{"content": "42"}])
    recorder = ListRecorder()
    opened = await open_model(endpoint.spec(), options(client=client, stream=True))
    response = await opened.chat(ASK, recorder=recorder)
    await opened.close()
    assert response.message.text == "42"
    assert [type(event) for event in recorder.events] == [ModelRetry, ModelCall]
    assert isinstance(recorder.events[0], ModelRetry) and recorder.events[0].kind == "connection"


@pytest.mark.parametrize("numbered", [{"index": 0}, {}], ids=["all of them 0", "not at all"])
async def test_calls_of_a_stream_are_told_apart_by_their_ids(endpoint: Endpoint, client: Any, numbered: Any) -> None:
    """Some servers stream whole calls and do not count them."""
    calls = [numbered | tool_call("add", {"a": number}, f"c{number}") for number in (1, 2)]
    deltas = [{"tool_calls": [call]} for call in calls]
    endpoint.behave = lambda body, request: stream(request, deltas, finish="tool_calls")
    opened = await open_model(endpoint.spec(), options(client=client, stream=True))
    response = await opened.chat(ASK)
    await opened.close()
    assert response.message.tool_calls == tuple(
        ToolCall(id=f"c{number}", name="add", arguments={"a": number}) for number in (1, 2)
    )


FORTY_TWO = b'data: {"choices": [{"delta": {"content": "42"}}]}\n\n'


@pytest.mark.parametrize(
    "events",
    [
        b"\xef\xbb\xbf" + FORTY_TWO + b"data: [DONE]\n\n",
        FORTY_TWO + b"data: [DONE]\n\n" + FORTY_TWO,
        b'data: {"choices": [{"message": {"role": "assistant", "content": "42"}, "finish_reason": "stop"}]}\n\n',
        FORTY_TWO + b'data: {"choices": [{"message": {"content": "42"}, "finish_reason": "stop"}]}\n\n',
    ],
    ids=["a byte order mark", "more after the end", "a whole message", "a whole message after its parts"],
)
async def test_an_oddly_framed_stream_is_the_same_answer(endpoint: Endpoint, client: Any, events: bytes) -> None:
    endpoint.behave = lambda body, request: web.Response(body=events, content_type="text/event-stream")
    opened = await open_model(endpoint.spec(), options(client=client, stream=True))
    response = await opened.chat(ASK)
    await opened.close()
    assert response.message.text == "42"


async def test_a_server_that_does_not_stream_is_read_all_the_same(endpoint: Endpoint, client: Any) -> None:
    opened = await open_model(endpoint.spec(), options(client=client, stream=True))
    response = await opened.chat(ASK)
    await opened.close()
    assert (response.message.text, response.ttft_ms) == ("ok", None)


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        (b"data: {\n\n", "bad_response"),
        (b'data: {"choices": "x"}\n\n', "bad_response"),
        (b'data: {"choices": [{"delta": {"content": 5}}]}\n\n', "bad_response"),
        (b'data: {"error": {"message": "out of memory", "code": 400}}\n\n', "bad_request"),
        (b'data: {"error": {"message": "overloaded"}}\n\n', "server"),
        (b"", "connection"),
        (b": ping\n\n", "connection"),
        (b"<html>busy</html>", "connection"),
    ],
)
async def test_a_stream_that_lies_is_an_error(endpoint: Endpoint, client: Any, events: bytes, kind: str) -> None:
    endpoint.behave = lambda body, request: events
    opened = await open_model(endpoint.spec(), options(client=client, stream=True, max_retries=1))
    with pytest.raises(ModelError) as caught:
        await opened.chat(ASK)
    await opened.close()
    assert caught.value.kind == kind and "model tiny" in str(caught.value)
    assert opened.limiter.in_use == 0


@pytest.mark.parametrize("code", [429, 500, 502, 503])
async def test_overload_and_server_errors_are_tried_again(endpoint: Endpoint, model: EndpointModel, code: int) -> None:
    endpoint.queue(status(code, "busy"), status(code, "busy"))
    recorder = ListRecorder()
    response = await model.chat(ASK, recorder=recorder)
    assert response.message.text == "ok"
    retries = [event for event in recorder.events if isinstance(event, ModelRetry)]
    assert [retry.status for retry in retries] == [code, code]
    assert all(retry.wait_s is not None and "busy" in retry.message for retry in retries)


async def test_a_reset_is_tried_again(endpoint: Endpoint, model: EndpointModel) -> None:
    endpoint.queue(reset)
    recorder = ListRecorder()
    assert (await model.chat(ASK, recorder=recorder)).message.text == "ok"
    assert isinstance(recorder.events[0], ModelRetry) and recorder.events[0].kind == "connection"


async def test_retry_after_is_honoured_and_capped(endpoint: Endpoint, client: Any) -> None:
    endpoint.queue(status(429, headers={"Retry-After": "0.02"}), status(429, headers={"Retry-After": "86400"}))
    opened = await open_model(endpoint.spec(), options(client=client, max_retry_after_s=0.05))
    recorder = ListRecorder()
    await opened.chat(ASK, recorder=recorder)
    await opened.close()
    waits = [event.wait_s for event in recorder.events if isinstance(event, ModelRetry)]
    assert waits[0] is not None and waits[1] is not None
    assert 0.02 <= waits[0] <= 0.022 and 0.05 <= waits[1] <= 0.052


async def test_a_storm_of_429_ends_in_a_clear_error(endpoint: Endpoint, model: EndpointModel) -> None:
    endpoint.behave = status(429, "slow down")
    recorder = ListRecorder()
    with pytest.raises(ModelError, match=r"slow down.*after 6 tries") as caught:
        await model.chat(ASK, recorder=recorder)
    assert (caught.value.kind, caught.value.status) == ("rate_limit", 429)
    assert recorder.events[-1].wait_s is None  # type: ignore[union-attr]
    assert model.limiter.limit < 64 and model.limiter.in_use == 0


async def test_a_hang_ends_after_the_time_allowed(endpoint: Endpoint, client: Any) -> None:
    endpoint.behave = hang
    opened = await open_model(endpoint.spec(), options(client=client, timeout_s=0.05))
    with pytest.raises(ModelError, match=r"no answer within 0\.05 s") as caught:
        await opened.chat(ASK)
    await opened.close()
    assert caught.value.kind == "timeout"
    assert len(endpoint.arrived) == 2


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (400, "temperature must be positive", "bad_request"),
        (400, "This model's maximum context length is 4096 tokens", "context_length"),
        (401, "no such key", "auth"),
        (403, "not for you", "auth"),
        (404, "The model `tiny` does not exist", "not_found"),
        (422, "field required", "bad_request"),
    ],
)
async def test_a_refusal_is_final(endpoint: Endpoint, model: EndpointModel, code: int, message: str, kind: str) -> None:
    endpoint.behave = status(code, message)
    with pytest.raises(ModelError) as caught:
        await model.chat(ASK)
    error = caught.value
    assert (error.kind, error.status, error.retryable) == (kind, code, False)
    assert message in str(error) and "tiny" in str(error) and endpoint.base_url in str(error)
    assert len(endpoint.arrived) == 1


LIES: dict[str, Any] = {
    "no JSON": b"<html>502</html>",
    "half a JSON": b'{"choices": [{"message"',
    "empty": b"",
    "not UTF-8": b'{"choices": "\xff"}',
    "an array": b"[]",
    "nested without end": b'{"choices":' + b"[" * 100_000,
    "no choices": {**chat(), "choices": []},
    "choices missing": {"id": "x"},
    "choices null": {"choices": None},
    "message missing": {"choices": [{"index": 0}]},
    "message empty": {"choices": [{"message": {"role": "assistant"}}]},
    "content is a number": chat(42),  # type: ignore[arg-type]
    "tool calls are text": chat("x", tool_calls="add"),
    "function is a list": chat("x", tool_calls=[{"id": "1", "function": []}]),
    "usage is text": chat("x", usage={"prompt_tokens": "many"}),
    "finish reason is an object": chat("x", finish={}),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_is_a_bad_response_at_once(endpoint: Endpoint, model: EndpointModel, lie: str) -> None:
    endpoint.behave = lambda body, request: LIES[lie]
    recorder = ListRecorder()
    with pytest.raises(ModelError) as caught:
        await model.chat(ASK, recorder=recorder)
    assert caught.value.kind == "bad_response"
    assert f"{endpoint.base_url}, model tiny: " in str(caught.value)
    assert [type(event) for event in recorder.events] == [ModelRetry]
    assert model.limiter.in_use == 0


async def test_an_error_under_status_200_is_that_error(endpoint: Endpoint, model: EndpointModel) -> None:
    endpoint.behave = lambda body, request: {"error": {"code": 400, "message": "context length exceeded"}}
    with pytest.raises(ModelError) as caught:
        await model.chat(ASK)
    assert caught.value.kind == "context_length"


@pytest.mark.parametrize("garbage", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}"])
async def test_what_is_no_http_or_is_cut_short_is_an_error(client: Any, garbage: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(garbage)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    opened = await open_model(f"http://127.0.0.1:{port}/v1#tiny", options(client=client))
    with pytest.raises(ModelError) as caught:
        await opened.chat(ASK)
    await opened.close()
    server.close()
    assert caught.value.kind in ("bad_response", "connection")


async def test_the_key_is_sent_and_never_shown(
    endpoint: Endpoint, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    endpoint.behave = status(401, "bad key sk-very-secret")
    opened = await open_model(endpoint.spec(), options(client=client, api_key_env="MY_KEY", headers={"X-Team": "ev"}))
    with pytest.raises(ModelError) as caught:
        await opened.chat(ASK)
    await opened.close()
    headers = endpoint.arrived[0].headers
    assert headers["Authorization"] == "Bearer sk-very-secret" and headers["X-Team"] == "ev"
    assert "secret" not in str(caught.value) and "***" in str(caught.value)


async def test_an_answer_whose_id_repeats_the_key_is_stored_without_it(
    endpoint: Endpoint, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    endpoint.behave = lambda body, request: (
        chat("42") | {"id": request.headers["Authorization"], "model": "sk-very-secret"}
    )
    opened = await open_model(endpoint.spec(), options(client=client, api_key_env="MY_KEY"))
    recorder = ListRecorder()
    await opened.chat(ASK, recorder=recorder)
    await opened.close()
    (call,) = recorder.events
    assert isinstance(call, ModelCall) and (call.request_id, call.served_model) == ("Bearer ***", "***")


async def test_without_a_key_no_authorization_is_sent(
    endpoint: Endpoint, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    opened = await open_model(endpoint.spec(), options(client=client))
    await opened.chat(ASK)
    await opened.close()
    assert "Authorization" not in endpoint.arrived[0].headers


async def test_a_lone_surrogate_is_a_bad_request_and_not_a_crash(model: EndpointModel) -> None:
    with pytest.raises(ModelError) as caught:
        await model.chat((Message(role="user", content="\ud800"),))
    assert caught.value.kind == "bad_request"


async def test_concurrency_stays_under_its_ceiling(endpoint: Endpoint, client: Any) -> None:
    both = asyncio.Event()

    async def wait_for_two(body: dict[str, Any], request: web.Request) -> dict[str, Any]:
        if endpoint.in_flight == 2:
            both.set()
        await both.wait()
        return chat()

    endpoint.behave = wait_for_two
    opened = await open_model(endpoint.spec(), options(client=client, max_connections=2))
    await asyncio.gather(*(opened.chat(ASK) for _ in range(10)))
    await opened.close()
    assert endpoint.most_in_flight == 2


async def test_a_cancelled_call_gives_its_turn_back(endpoint: Endpoint, client: Any) -> None:
    opened = await open_model(endpoint.spec(), options(client=client, max_connections=1))
    endpoint.queue(hang)
    stuck = asyncio.create_task(opened.chat(ASK))
    waiting = asyncio.create_task(opened.chat(ASK))
    while not endpoint.arrived:
        await asyncio.sleep(0)
    stuck.cancel()
    assert (await waiting).message.text == "ok"
    assert opened.limiter.in_use == 0
    await opened.close()


async def test_many_connections_at_once_are_possible(endpoint: Endpoint, client: Any) -> None:
    """The SDK's transport would stop at aiohttp's own 100."""
    everyone = asyncio.Event()

    async def wait_for_all(body: dict[str, Any], request: web.Request) -> dict[str, Any]:
        if endpoint.in_flight == 150:
            everyone.set()
        await everyone.wait()
        return chat()

    endpoint.behave = wait_for_all
    opened = await open_model(endpoint.spec(), options(client=client, max_connections=150))
    await asyncio.gather(*(opened.chat(ASK) for _ in range(150)))
    await opened.close()
    assert endpoint.most_in_flight == 150
