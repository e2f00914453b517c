"""Credentials and queries of an address: they are sent, and no message repeats them."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from aiohttp import web
from endpoints import Endpoint, chat, reset, status, stream

from agentlab.models.protocol import ModelError
from agentlab.models.resolve import open_model, parse_model, probe
from agentlab.traces.events import ListRecorder, Message, ModelRetry

from .conftest import options

ASK = (Message(role="user", content="What is 6 x 7?"),)
PASSWORD = "p@ss:w/rd#?"
LOGIN = "user:p%40ss%3Aw%2Frd%23%3F"
TOKEN = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
SECRETS = (PASSWORD, LOGIN.partition(":")[2], TOKEN, "q-secret", "q%2Dsecret", "sk-secret")


def with_login(address: str) -> str:
    return address.replace("http://", f"http://{LOGIN}@")


async def test_a_user_and_a_password_are_sent_as_the_protocol_says(
    endpoint: Endpoint, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They win over a key that happens to be in the environment; one that is named beside them contradicts them."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    model = await open_model(with_login(endpoint.spec()), options(client))
    await probe(model)
    await model.chat(ASK)
    await model.close()
    assert endpoint.arrived[0].headers["Authorization"] == f"Basic {TOKEN}"
    with pytest.raises(ModelError, match="choose one"):
        await open_model(with_login(endpoint.spec()), options(client, api_key_env="OPENAI_API_KEY"))


async def test_the_query_of_a_variable_goes_with_every_request(
    endpoint: Endpoint, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def behave(body: dict[str, Any], request: web.Request) -> Any:
        asked.append(request.path_qs)
        return chat("42")

    endpoint.behave = behave
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{endpoint.base_url}/?api-version=2024-05-01&code=q-secret")
    model = await open_model("openai/tiny", options(client))
    await model.chat(ASK)
    await model.close()
    assert asked == ["/v1/chat/completions?api-version=2024-05-01&code=q-secret"]


def repeats(code: int) -> Any:
    """A server that puts all that it was sent into its error."""

    def behave(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        told = f"no: {request.headers.get('Authorization')} {request.path_qs} {' '.join(SECRETS)}"
        return web.json_response({"error": {"message": told, "code": 418}}, status=code)

    return behave


async def in_the_stream(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
    response = await stream(request, [{"content": "4"}], finish=None, done=False)
    await response.write(b'data: {"error": {"message": "no: ' + " ".join(SECRETS).encode() + b'"}}\n\n')
    return response


@pytest.mark.parametrize("trouble", [repeats(401), repeats(500), repeats(200), in_the_stream, reset])
@pytest.mark.parametrize("in_variable", [True, False])
async def test_no_message_repeats_a_secret(
    endpoint: Endpoint, client: Any, monkeypatch: pytest.MonkeyPatch, trouble: Any, in_variable: bool
) -> None:
    endpoint.behave = trouble
    recorder = ListRecorder()
    spec = with_login(endpoint.spec())
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    if in_variable:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{endpoint.base_url}?code=q%2Dsecret")
        spec = "openai/tiny"
    model = await open_model(spec, options(client, stream=trouble is in_the_stream))
    with pytest.raises(ModelError) as caught:
        await model.chat(ASK, recorder=recorder)
    await model.close()
    (retry,) = recorder.events
    assert isinstance(retry, ModelRetry) and endpoint.base_url in retry.message
    sent = SECRETS[-3:] if in_variable else SECRETS[:3]
    assert not [secret for secret in sent if secret in f"{caught.value}{retry.message}"], caught.value


async def open_and_probe(spec: str, client: Any) -> None:
    model = await open_model(spec, options(client))
    try:
        await probe(model)
    finally:
        await model.close()


async def test_refusals_at_the_start_show_neither(endpoint: Endpoint, client: Any, unused_tcp_port: int) -> None:
    endpoint.models = ["a", "b"]
    gone = with_login(f"http://127.0.0.1:{unused_tcp_port}/v1")
    for spec in (with_login(endpoint.base_url), gone, with_login(endpoint.spec("c"))):
        with pytest.raises(ModelError) as caught:
            await open_and_probe(spec, client)
        assert not [secret for secret in SECRETS if secret in str(caught.value)]
    with pytest.raises(ModelError, match=r"choose one: http://USER:PASSWORD@127\.0\.0\.1:\d+/v1#a, "):
        await open_model(with_login(endpoint.base_url), options(client))


def test_a_model_is_printed_without_its_credentials() -> None:
    spec = parse_model(f"http://{LOGIN}@h:8/v1#m")
    assert not [secret for secret in SECRETS if secret in repr(spec)]
    assert spec.shown == "http://USER:PASSWORD@h:8/v1#m"


async def test_a_short_password_does_not_blot_out_the_message(endpoint: Endpoint, client: Any) -> None:
    endpoint.behave = status(400, "tiny is no 1 model here")
    model = await open_model(endpoint.spec().replace("http://", "http://user:1@"), options(client))
    with pytest.raises(ModelError, match="tiny is no 1 model here"):
        await model.chat(ASK)
    await model.close()


async def test_a_key_that_no_header_can_hold_is_an_error_and_not_a_crash(
    endpoint: Endpoint, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a\nX-Other: b")
    model = await open_model(endpoint.spec(), options(client))
    with pytest.raises(ModelError) as caught:
        await model.chat(ASK)
    assert "sk-a" not in str(caught.value)
    await model.close()
