"""What is believed of a judge's answer, and how a trace is cut into windows that it can read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from agentlab.traces.causes.judging import SMALLEST_WINDOW, judge_cause
from agentlab.traces.causes.model import Cause
from agentlab.traces.events import Message, Said, ToolCall, ToolCallEvent, ToolResult
from agentlab.traces.steps import Trace, trace_of

RIGHT = {"step": 3, "category": "Invention of New Information", "quote": "four hundred loaves", "reason": "Made up."}


def turn(text: str, agent: str) -> Said:
    return Said(at=0, message=Message(role="assistant", name=agent, content=text))


def bakery() -> Trace:
    call = ToolCall(id="1", name="read", arguments={"file": "list"})
    return trace_of(
        [
            Said(at=0, message=Message(role="user", content="How many loaves were sold?")),
            Said(at=0, message=Message(role="assistant", name="Miner", content="I look.", tool_calls=(call,))),
            ToolCallEvent(at=0, call=call, result=ToolResult("the list is empty")),
            turn("It says that\nfour  hundred loaves were sold.", "Baker"),
            turn("Then it is four hundred loaves.", "Potter"),
        ]
    )


class Answering:
    """A judge that answers by rule and keeps what it was asked."""

    def __init__(self, answer: Callable[[str], str]) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def __call__(self, messages: Sequence[Message]) -> str:
        self.asked.append(messages[-1].text)
        return self.answer(messages[-1].text)


async def judged(reply: str, trace: Trace | None = None) -> Cause:
    return await judge_cause(trace or bakery(), Answering(lambda _: reply), model="tiny")


@pytest.mark.parametrize(
    "reply",
    [
        json.dumps(RIGHT),
        f"```json\n{json.dumps(RIGHT)}\n```",
        f"<think>Is it 4?</think>\n{json.dumps(RIGHT)}",
        f"<think>{'Is it 4? ' * 10_000}</think>\n{json.dumps(RIGHT)}",
        json.dumps(RIGHT | {"category": "invention of NEW Information"}),
    ],
    ids=["plain", "fenced", "after thinking", "after long thinking", "capitals"],
)
async def test_a_citation_that_holds_becomes_the_cause(reply: str) -> None:
    cause = await judged(reply)
    assert (cause.step, cause.agent, cause.category) == (3, "Baker", "Invention of New Information")
    assert (cause.source, cause.quote, cause.score) == ("judge", "four hundred loaves", None)
    assert cause.author == "tiny, cause-judge-1"


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "The third step.",
        "null",
        "[]",
        json.dumps([RIGHT]),
        json.dumps(RIGHT) + "\nThat is all.",
        json.dumps({key: value for key, value in RIGHT.items() if key != "step"}),
        json.dumps(RIGHT | {"step": None}),
        json.dumps(RIGHT | {"step": "3"}),
        json.dumps(RIGHT | {"step": 3.0}),
        json.dumps(RIGHT | {"step": True}),
        json.dumps(RIGHT | {"step": -1}),
        json.dumps(RIGHT | {"step": 99}),
        json.dumps(RIGHT | {"step": 0, "quote": "How many loaves were sold?"}),
        json.dumps(RIGHT | {"step": 2, "quote": "the list is empty"}),
        json.dumps(RIGHT | {"step": 1}),
        json.dumps(RIGHT | {"category": "solved"}),
        json.dumps(RIGHT | {"category": ["unknown"]}),
        json.dumps(RIGHT | {"quote": ""}),
        json.dumps(RIGHT | {"quote": " "}),
        json.dumps(RIGHT | {"quote": "sold"}),
        json.dumps(RIGHT | {"quote": "five hundred loaves"}),
        json.dumps({key: value for key, value in RIGHT.items() if key != "quote"}),
        json.dumps(RIGHT | {"reason": "x" * 30_000}),
        "[" * 15_000,
        '{"step": ' + "1" * 5_000 + "}",
    ],
    ids=lambda reply: f"{len(reply)} chars: {reply[:60]}",
)
async def test_every_other_answer_is_unknown(reply: str) -> None:
    cause = await judged(reply)
    assert (cause.step, cause.agent, cause.category, cause.score) == (None, "unknown", "unknown", None)
    assert cause.note.startswith("the judge")


def long_trace(steps: int = 60) -> Trace:
    turns = [
        turn(f"This is turn number {place}. " + "So it goes on. " * 20, f"Agent{place % 3}") for place in range(steps)
    ]
    return trace_of([Said(at=0, message=Message(role="user", content="Count to sixty.")), *turns])


def shown(request: str) -> list[int]:
    """The steps of the record that a judge was sent, by their lines."""
    return [json.loads(line)["step"] for line in request.splitlines() if re.match(r'\{"step": \d', line)]


def cites(place: int) -> str:
    quote = f"This is turn number {place - 1}."
    return json.dumps({"step": place, "category": "unknown", "quote": quote, "reason": ""})


async def test_a_long_trace_is_read_in_windows_and_the_named_steps_are_weighed_once_more() -> None:
    def answer(request: str) -> str:
        if "a selection of the run" in request:
            return cites(31)
        return next((cites(place) for place in (7, 31, 50) if place in shown(request)), '{"step": null}')

    judge = Answering(answer)
    cause = await judge_cause(long_trace(), judge, model="tiny", window_chars=4_000)
    assert cause.step == 31 and cause.agent == "Agent0"
    *windows, selection = judge.asked
    assert len(windows) > 3 and set().union(*map(shown, windows)) == set(range(1, 61))
    assert all(len(request) < 4_000 + 2_500 and "Count to sixty." in request for request in judge.asked)
    assert {7, 31, 50} <= set(shown(selection))
    # The neighbours are shown, and only the named steps may be named.
    assert 30 in shown(selection) and "Only these steps may be named: 7, 31, 50." in selection


async def test_a_step_of_the_selection_that_was_not_named_before_is_not_taken() -> None:
    def answer(request: str) -> str:
        if "a selection of the run" in request:
            return cites(8)
        return next((cites(place) for place in (7, 50) if place in shown(request)), '{"step": null}')

    cause = await judge_cause(long_trace(), Answering(answer), model="tiny", window_chars=4_000)
    assert cause.step is None and cause.note == "the judge names a step that it was not shown"


async def test_one_window_that_names_a_step_is_enough_and_none_is_unknown() -> None:
    def answer(request: str) -> str:
        return cites(50) if 50 in shown(request) else "no JSON"

    judge = Answering(answer)
    cause = await judge_cause(long_trace(), judge, model="tiny", window_chars=6_000)
    assert cause.step == 50 and not any("a selection of the run" in request for request in judge.asked)
    cause = await judge_cause(long_trace(), Answering(lambda _: '{"step": null}'), model="tiny", window_chars=6_000)
    assert cause.step is None and cause.note == "the judge abstains"


async def test_a_trace_of_any_length_costs_a_bounded_number_of_requests() -> None:
    judge = Answering(lambda _: '{"step": null}')
    turns = [turn("much to say " * 1_000, "Baker") for _ in range(900)]
    await judge_cause(trace_of(turns), judge, model="tiny", window_chars=20_000)
    assert len(judge.asked) <= 40 and all(len(request) < 24_000 for request in judge.asked)
    with pytest.raises(ValueError, match=str(SMALLEST_WINDOW)):
        await judge_cause(trace_of(turns), judge, model="tiny", window_chars=100)


async def test_a_trace_without_steps_asks_nobody() -> None:
    judge = Answering(lambda _: "")
    cause = await judge_cause(trace_of([]), judge, model="tiny")
    assert cause.step is None and judge.asked == []


async def test_what_was_told_and_what_was_answered_share_a_place_and_the_quote_says_which_is_meant() -> None:
    from agentlab.traces.events import ModelCall

    first, second = (Message(role="assistant", content=text) for text in ("I think it is seven.", "So it is eight."))
    ask, nudge = Message(role="user", content="How many?"), Message(role="user", content="Are you quite sure?")
    trace = trace_of(
        [
            ModelCall(at=1, model="m", messages=(ask,), response=first),
            ModelCall(at=2, model="m", messages=(ask, first, nudge), response=second),
        ]
    )
    by_user = await judged(json.dumps(RIGHT | {"step": 1, "quote": "quite sure?"}), trace)
    by_agent = await judged(json.dumps(RIGHT | {"step": 1, "quote": "it is eight"}), trace)
    assert (by_user.agent, by_agent.agent) == ("user", "assistant")


async def test_the_fence_is_new_each_time_and_never_in_the_record() -> None:
    judge: Any = Answering(lambda _: "")
    for _ in range(3):
        await judge_cause(bakery(), judge, model="tiny")
    fences = [re.findall(r"=====\[\w+\]", request) for request in judge.asked]
    assert all(len(found) == 2 and found[0] == found[1] for found in fences)
    assert len({found[0] for found in fences}) == 3
