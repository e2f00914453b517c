"""Benchmarks with a runner of their own: their scores land beside those of other tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from endpoints import Endpoint, chat

from agentlab.models.protocol import Sampling
from agentlab.service.model_port import read_request
from agentlab.tasks.external import ExternalResult, read_results
from agentlab.tasks.types import TaskError
from agentlab.traces.events import ImagePart, ModelCall, SandboxExec, Scored, TextPart

TASKS = Path(__file__).with_name("external_tasks.py")


def counting(body: dict[str, Any], request: Any) -> Any:
    """Knows one and two, and nothing more."""
    word = body["messages"][-1]["content"].rpartition(" ")[2]
    return chat({"one": "1", "two": "2"}.get(word, "many"))


@pytest.fixture
def external(run: Any, endpoint: Endpoint) -> Any:
    """Runs tasks of `external_tasks.py` against an endpoint."""
    endpoint.behave = counting

    async def carry_out(*names: str, **fields: Any) -> Any:
        return await run(*(f"{TASKS}::{name}" for name in names), **{"model": endpoint.spec(), **fields})

    return carry_out


async def test_each_result_is_a_trial_beside_those_of_other_tasks(external: Any, endpoint: Endpoint) -> None:
    ran = await external("counted", settings=("sampling.max_tokens=77",))
    rows = ran.rows
    assert {name: (row.outcome, row.value) for name, row in rows.items()} == {
        "one": ("scored", 1.0),
        "two": ("scored", 1.0),
        "three": ("scored", 0.0),
    }
    assert rows["three"].scores == {"length": 4.0} and rows["one"].route["agent"] == "external"
    line = ran.task("counted")
    assert (line["n"], round(line["value"], 3)) == (3, 0.667) and line["stderr"] > 0
    assert len(endpoint.bodies) == 3  # the program ran once for all of them
    assert {(body["temperature"], body["max_tokens"]) for body in endpoint.bodies} == {(0, 77)}
    assert line["tokens"]["input"] > 0
    programs = [event for name in rows for event in ran.events(name, SandboxExec)]
    assert [event.exit_code for event in programs] == [0]
    assert sum(len(ran.events(name, ModelCall)) for name in rows) == 3
    (scored,) = ran.events("three", Scored)
    assert scored.answer == "many"


async def test_epochs_and_limits_reach_the_program(external: Any, endpoint: Endpoint) -> None:
    ran = await external("counted", limit=2, epochs=2)
    assert len(endpoint.bodies) == 4
    assert ran.task("counted")["trials"] == 4


async def test_a_program_whose_samples_are_not_known_is_one_trial(external: Any) -> None:
    row = (await external("whole")).rows["all"]
    assert (round(row.value, 3), row.scores["n"]) == (0.667, 3.0)


async def test_what_the_program_does_not_grade_is_an_error_and_not_a_0(external: Any) -> None:
    rows = (await external("gaps")).rows
    assert rows["one"].value == 1.0
    assert rows["two"].outcome == "task" and "its data is missing" in rows["two"].error_message
    assert rows["three"].outcome == "task" and "no result for sample three" in rows["three"].error_message


FAILURES = {
    "failing": "could not be loaded",
    "hanging": "stopped after 1 s",
    "absent": "no-such-program cannot be run",
    "silent": "without writing results.json",
}


@pytest.mark.parametrize("name", FAILURES)
async def test_a_program_that_fails_is_told_by_each_of_its_trials(external: Any, name: str) -> None:
    ran = await external(name, "counted")
    failed = [row for row in ran.reader.trials() if row.task == name]
    assert len(failed) == 3 and {row.outcome for row in failed} == {"task"}
    assert all(FAILURES[name] in row.error_message for row in failed)
    assert ran.task("counted")["outcomes"]["scored"] == 3


async def test_keys_of_this_machine_stay_out_of_it(external: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET_KEY", "a key")
    assert (await external("peeking")).rows["all"].value == 1.0


@pytest.mark.docker
@pytest.mark.usefixtures("docker")
async def test_the_same_in_a_box_without_a_network(external: Any, endpoint: Endpoint) -> None:
    ran = await external("boxed")
    assert {name: row.value for name, row in ran.rows.items()} == {"one": 1.0, "two": 1.0, "three": 0.0}
    assert len(endpoint.bodies) == 3
    assert ran.rows["one"].route["agent"] == "docker"


async def test_any_model_serves(external: Any) -> None:
    assert (await external("whole", model="nop")).rows["all"].value == 0.0


def test_a_request_is_read_as_clients_write_it() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    messages, tools, sampling = read_request(
        {
            "model": "m",
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is it?"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
                    ],
                },
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c", "content": "2"},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
            "max_completion_tokens": 5,
            "stop": "x",
            "tool_choice": "auto",
        }
    )
    assert [message.role for message in messages] == ["system", "user", "assistant", "tool"]
    assert messages[1].content == (TextPart("What is it?"), ImagePart(media_type="image/png", data=b"hi"))
    assert messages[2].tool_calls[0].arguments == {"a": 1} and messages[3].tool_call_id == "c"
    assert tools[0].name == "f"
    assert sampling == Sampling(max_tokens=5, stop=("x",), tool_choice="auto")


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"messages": [{"role": "robot", "content": "x"}]},
        {"messages": [], "stream": True},
        {"messages": [], "n": 2},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]}]},
    ],
)
def test_a_request_that_cannot_be_answered_is_refused(body: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        read_request(body)


def test_results_as_a_list_or_line_by_line() -> None:
    expected = [ExternalResult("a", 1.0), ExternalResult("b", 0.0, {"s": 2.0})]
    assert read_results(b'[{"id": "a", "value": 1}, {"id": "b", "value": 0, "scores": {"s": 2}}]') == expected
    assert read_results(b'{"id": "a", "value": 1}\n{"id": "b", "value": 0, "scores": {"s": 2}}\n') == expected
    for broken in (b"{", b'[{"value": 1}]', b'[{"id": 1}]', b'{"id": "a", "value": "1"}'):
        with pytest.raises(TaskError):
            read_results(broken)
