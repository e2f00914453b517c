"""The response cache, prices, and the ceiling of a run."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from endpoints import Endpoint, chat, status

from agentlab.models.cache import ResponseCache
from agentlab.models.options import ClientOptions
from agentlab.models.prices import CostMeter, Price, PriceTable, load_prices
from agentlab.models.protocol import ChatResponse, ModelError, Sampling
from agentlab.models.resolve import open_model
from agentlab.traces.events import ListRecorder, Message, ModelCall, ToolSpec, Usage

ASK = (Message(role="user", content="hi"),)
DEAR = PriceTable((("tiny", Price(input=1e6, output=2e6, cached_input=0.5e6)),))


async def test_a_kept_answer_is_served_without_asking_and_costs_nothing(endpoint: Endpoint, tmp_path: Path) -> None:
    options = ClientOptions(cache=tmp_path / "cache" / "answers.db", prices=DEAR)
    model = await open_model(endpoint.spec(), options)
    first = await model.chat(ASK)
    await model.close()
    model = await open_model(endpoint.spec(), options)
    recorder = ListRecorder()
    second = await model.chat(ASK, recorder=recorder)
    await model.close()
    assert len(endpoint.arrived) == 1
    assert (first.cached, first.cost_usd) == (False, 13.0)
    assert (second.cached, second.cost_usd, second.message) == (True, 0.0, first.message)
    (call,) = recorder.events
    assert isinstance(call, ModelCall) and call.cached and call.cost_usd == 0.0


async def test_everything_that_can_change_an_answer_is_part_of_the_key(endpoint: Endpoint, tmp_path: Path) -> None:
    model = await open_model(endpoint.spec(), ClientOptions(cache=tmp_path / "answers.db"))
    tool = ToolSpec(name="f", description="F.", parameters={"type": "object"})
    asked: list[dict[str, Any]] = [
        {}, {"epoch": 1}, {"tools": (tool,)}, {"sampling": Sampling(temperature=0.5)}, {"sampling": Sampling(seed=1)},
    ]  # fmt: skip
    for different in asked * 2:
        await model.chat(ASK, **different)
    await model.chat((Message(role="user", content="ho"),))
    await model.close()
    assert len(endpoint.arrived) == len(asked) + 1


async def test_scores_are_kept_too(endpoint: Endpoint, tmp_path: Path) -> None:
    model = await open_model(endpoint.spec(), ClientOptions(cache=tmp_path / "answers.db"))
    first = await model.score("x", [" a"])
    second = await model.score("x", [" a"])
    await model.close()
    assert second.logprobs == first.logprobs and second.cached and len(endpoint.arrived) == 1


async def test_an_error_is_not_kept(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.queue(status(400))
    model = await open_model(endpoint.spec(), ClientOptions(cache=tmp_path / "answers.db"))
    with pytest.raises(ModelError):
        await model.chat(ASK)
    assert (await model.chat(ASK)).message.text == "ok"
    await model.close()


async def test_two_models_share_a_file_and_never_an_answer(tmp_path: Path) -> None:
    one, two = (ResponseCache(tmp_path / "answers.db", name) for name in ("one", "two"))
    answer = ChatResponse(Message(role="assistant", content="x"))
    one.put("p", b"b", 0, answer)
    one.flush()
    assert two.get("p", b"b", 0, ChatResponse) is None
    assert one.get("p", b"b", 0, ChatResponse) == answer
    one.close()
    two.close()


def test_a_locked_cache_file_delays_nothing_and_loses_nothing(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path / "answers.db", "m")
    cache.put("p", b"b", 0, ChatResponse(Message(role="assistant", content="x")))
    other = sqlite3.connect(tmp_path / "answers.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    cache.flush()
    other.execute("ROLLBACK")
    cache.close()
    assert other.execute("SELECT count(*) FROM answers").fetchone() == (1,)
    other.close()


async def test_a_file_that_is_no_cache_is_named(endpoint: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, only some notes" * 50)
    with pytest.raises(ModelError, match=r"notes\.txt cannot be used as a response cache"):
        await open_model(endpoint.spec(), ClientOptions(cache=tmp_path / "notes.txt"))


def test_a_price_file_in_yaml_or_json(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(
        "gpt-mini: {input: 0.15, cached_input: 0.075, output: 0.6}\n'openai/gpt-*': {input: 1, output: 2}\n"
    )
    prices = load_prices(path)
    assert prices.find("openai/gpt-mini", "gpt-mini") == Price(0.15, 0.6, 0.075)
    assert prices.find("openai/gpt-big", "gpt-big") == Price(1, 2)
    assert prices.find("other") is None
    path.write_text('{"a": {"input": 1, "output": 2}}')
    assert load_prices(path).find("a") == Price(1, 2)


def test_cached_input_has_its_own_price() -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=500_000, cached_tokens=400_000)
    assert Price(1.0, 4.0, 0.5).cost(usage) == pytest.approx(0.6 + 0.2 + 2.0)
    assert Price(1.0, 4.0).cost(usage) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1, 2]", "maps model names to prices"),
        ("a: 3", "a: give input and output"),
        ("a: {input: 1}", "a: output is missing"),
        ("a: {input: 1, output: -2}", "a: output must be a number of dollars"),
        ("a: {input: 1, output: cheap}", "a: output must be a number"),
        ("a: {input: 1, output: 2, ouput: 3}", "a: unknown field ouput"),
        ("a: {input", "no YAML or JSON"),
    ],
)
def test_a_malformed_price_file_names_file_and_field(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=told) as caught:
        load_prices(path)
    assert "prices.yaml" in str(caught.value)


async def test_the_ceiling_refuses_further_calls(endpoint: Endpoint) -> None:
    meter = CostMeter(max_cost=20.0)
    agent = await open_model(endpoint.spec(), ClientOptions(prices=DEAR, cost=meter))
    judge = await open_model(endpoint.spec(), ClientOptions(prices=DEAR, cost=meter))
    await agent.chat(ASK)
    await judge.chat(ASK)
    assert meter.spent == 26.0
    with pytest.raises(ModelError, match=r"spent \$26\.0000") as caught:
        await agent.chat(ASK)
    assert (caught.value.kind, caught.value.retryable) == ("cost_limit", False)
    assert len(endpoint.arrived) == 2
    await agent.close()
    await judge.close()


async def test_a_ceiling_without_a_price_is_refused(endpoint: Endpoint) -> None:
    with pytest.raises(ModelError, match="no price is known for tiny"):
        await open_model(endpoint.spec(), ClientOptions(cost=CostMeter(max_cost=1.0)))


async def test_without_a_price_the_cost_is_unknown(endpoint: Endpoint) -> None:
    endpoint.behave = lambda body, request: chat("x")
    model = await open_model(endpoint.spec())
    assert (await model.chat(ASK)).cost_usd is None
    await model.close()


async def test_a_ceiling_cannot_hold_where_tokens_are_not_counted(endpoint: Endpoint) -> None:
    endpoint.behave = lambda body, request: {**chat("x"), "usage": None}
    model = await open_model(endpoint.spec(), ClientOptions(prices=DEAR))
    assert (await model.chat(ASK)).cost_usd is None
    await model.close()
    model = await open_model(endpoint.spec(), ClientOptions(prices=DEAR, cost=CostMeter(max_cost=1.0)))
    with pytest.raises(ModelError, match="reports no token usage"):
        await model.chat(ASK)
    await model.close()
