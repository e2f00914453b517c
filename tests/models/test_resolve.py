"""From what a user types to a model that answers, and what is said when it does not."""

from __future__ import annotations

import socket

import pytest
from endpoints import serve

from agentlab.models.address import Address
from agentlab.models.options import ClientOptions
from agentlab.models.protocol import ModelError
from agentlab.models.resolve import ModelSpec, open_model, parse_model, probe
from agentlab.models.scripted import NopModel
from agentlab.models.transport import proxy_for


def test_the_forms_of_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert parse_model("reference") == ModelSpec("scripted", "reference")
    local = Address("http://127.0.0.1:8000/v1")
    assert parse_model("vllm/org/Model-8B") == ModelSpec("vllm", "org/Model-8B", local)
    assert parse_model("openai/gpt-mini").base_url == "https://api.openai.com/v1"
    assert parse_model("http://h:8/v1/#a/b") == ModelSpec("endpoint", "a/b", Address("http://h:8/v1"))
    assert parse_model("https://h/v1") == ModelSpec("endpoint", "", Address("https://h/v1"))
    assert parse_model("http://[::1]:8/v1#m").base_url == "http://[::1]:8/v1"
    monkeypatch.setenv("VLLM_BASE_URL", "http://gpu:9000/v1/")
    assert parse_model("vllm/m").base_url == "http://gpu:9000/v1"


def test_labels_name_the_provider_where_there_is_one() -> None:
    assert parse_model("vllm/m").label == "vllm/m"
    assert parse_model("http://h/v1#m").label == "m"
    assert parse_model("nop").label == "nop"


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("refrence", "did you mean reference"),
        ("vlm/m", "did you mean vllm/m"),
        ("openai/", "unknown model"),
        ("http://", "names no host"),
        ("http://h:port/v1", "malformed address"),
        ("http://h/v1?key=hidden#m", "the variable OPENAI_API_KEY"),
        ("http://u:hidden#x@h/v1", "write # as %23"),
        ("http://u:hidden/x@h/v1", "/ as %2F"),
        ("http://u:hidden?x@h/v1", "write # as %23"),
        ("http://u:hidden@/v1", "names no host"),
        ("http://u r:hidden@h/v1", "malformed address"),
        ("http://u:hidden@h\nX: y/v1", "control characters"),
        ("htp://u:hidden@h/v1#m", r"'htp://\*\*\*@h/v1#m'"),
        ("u:hidden@h/v1", r"'\*\*\*@h/v1'"),
        ("", "unknown model"),
    ],
)
def test_anything_else_is_refused_with_what_is_near(spec: str, told: str) -> None:
    with pytest.raises(ModelError, match=told) as caught:
        parse_model(spec)
    assert caught.value.kind == "bad_request" and "hidden" not in str(caught.value)


@pytest.mark.parametrize("client", ["direct", "openai"])
async def test_the_only_served_model_is_taken(client: str) -> None:
    async with serve() as endpoint:
        model = await open_model(endpoint.base_url, ClientOptions(client=client))  # type: ignore[arg-type]
        await probe(model)
        assert (model.name, model.model) == ("tiny", "tiny")
        await model.close()


async def test_several_served_models_are_listed_to_choose_from() -> None:
    async with serve() as endpoint:
        endpoint.models = ["a", "b"]
        with pytest.raises(ModelError, match=rf"choose one: {endpoint.base_url}#a, {endpoint.base_url}#b"):
            await open_model(endpoint.base_url)
        endpoint.models = []
        with pytest.raises(ModelError, match="lists no model"):
            await open_model(endpoint.base_url)


async def test_a_model_that_is_not_served_is_found_out_at_the_start() -> None:
    async with serve() as endpoint:
        endpoint.models = ["Qwen3-8B"]
        model = await open_model(endpoint.spec("Qwen3-8"))
        with pytest.raises(ModelError, match="did you mean Qwen3-8B") as caught:
            await probe(model)
        assert caught.value.kind == "not_found"
        endpoint.models = ["openai/*"]
        await probe(model)
        await model.close()


@pytest.mark.parametrize("client", ["direct", "openai"])
async def test_an_endpoint_that_refuses_is_a_connection_error(client: str) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
        model = await open_model(f"{address}#m", ClientOptions(client=client))  # type: ignore[arg-type]
        with pytest.raises(ModelError, match="cannot connect") as caught:
            await probe(model)
        await model.close()
        assert caught.value.kind == "connection" and address in str(caught.value)


async def test_an_address_without_the_path_of_the_api_is_found_out() -> None:
    async with serve() as endpoint:
        model = await open_model(endpoint.base_url.removesuffix("/v1") + "#tiny")
        with pytest.raises(ModelError, match="usually /v1"):
            await probe(model)
        await model.close()


async def test_scripted_models_are_always_there() -> None:
    await probe(NopModel())
    with pytest.raises(ModelError, match="built from each sample"):
        await open_model("nop")


async def test_a_named_key_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("MY_KEY", raising=False)
    for spec, options in [("openai/m", ClientOptions()), ("http://h/v1#m", ClientOptions(api_key_env="MY_KEY"))]:
        with pytest.raises(ModelError, match="set the variable") as caught:
            await open_model(spec, options)
        assert caught.value.kind == "auth"


async def test_openai_names_its_budget_differently(monkeypatch: pytest.MonkeyPatch) -> None:
    from agentlab.models.protocol import Sampling
    from agentlab.traces.events import Message

    async with serve() as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.base_url)
        model = await open_model("openai/tiny")
        await model.chat([Message(role="user", content="x")], sampling=Sampling(max_tokens=5))
        await model.close()
        assert endpoint.bodies[0]["max_completion_tokens"] == 5 and "max_tokens" not in endpoint.bodies[0]
        assert "openai" in endpoint.arrived[0].headers["User-Agent"].lower()


def test_proxies_come_from_the_usual_variables_but_never_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("https_proxy", "http://proxy:3129")
    assert proxy_for("http://far/v1") == "http://proxy:3128"
    assert proxy_for("https://far/v1") == "http://proxy:3129"
    assert proxy_for("http://127.0.0.1:8000/v1") is None
    monkeypatch.setenv("no_proxy", "far")
    assert proxy_for("http://far/v1") is None


@pytest.mark.parametrize("client", ["direct", "openai"])
async def test_requests_go_through_the_proxy(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentlab.traces.events import Message

    async with serve() as endpoint:
        # A proxy is asked for the whole address; this server only looks at the path.
        monkeypatch.setenv("http_proxy", endpoint.base_url.removesuffix("/v1"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        model = await open_model("http://far.invalid/v1#tiny", ClientOptions(client=client))  # type: ignore[arg-type]
        await model.chat([Message(role="user", content="x")])
        await model.close()
        assert endpoint.arrived[0].headers["Host"] == "far.invalid"
