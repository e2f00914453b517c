"""Where a trace leaves the recorded one: what is volatile is left aside, everything else is told with its step."""

from __future__ import annotations

import pytest

from agentlab.traces.divergence import first_divergence, without_volatile
from agentlab.traces.events import Event, Message, ModelCall, Scored, ToolCall, ToolCallEvent, ToolResult
from agentlab.traces.steps import Trace, trace_of


def asked(*calls: str, told: str = "Go.") -> ModelCall:
    made = tuple(ToolCall(id=f"{name}", name="bash") for name in calls)
    answer = Message(role="assistant", tool_calls=made)
    return ModelCall(at=0.0, model="m", messages=(Message(role="user", content=told),), response=answer)


def answered(call: str, text: str, error: str = "") -> ToolCallEvent:
    result = ToolResult(content=text, error=error)  # type: ignore[arg-type]
    return ToolCallEvent(at=0.0, call=ToolCall(id=call, name="bash"), result=result)


def scored(value: float) -> Scored:
    return Scored(at=0.0, scorer="exact", version=1, value=value)


def trace(*events: Event) -> Trace:
    return trace_of(events)


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ("at 2026-11-21T16:28:49Z", "at 2027-01-02T03:04:05.678+01:00"),
        ("Sat Nov 21 16:28:49 UTC 2026", "Sun Nov  1 09:00:00 CET 2027"),
        ("-rw-r--r-- 1 task task 5 Nov 21 16:28 a", "-rw-r--r-- 1 task task 5 Dec  1 09:01 a"),
        ("Ran 3 tests in 0.002s", "Ran 3 tests in 12.5s"),
        ("real\t0m0.003s", "real\t1m2.000s"),
        ("took 13 ms", "took 1.25 ms"),
        ("<object object at 0x7f31c02d5a90>", "<object object at 0x7ffff7e00000>"),
        ("/tmp/tmpab12cd34/x", "/tmp/tmpq_9z8y7x/x"),
        ("/tmp/tmp.Xk29AbQ1zz", "/tmp/tmp.aaaaaaaaaa"),
        ("[1] 4711", "[1] 12"),
        ("pid 4711", "pid 12"),
        ("sh: line 1: 4711 Killed", "sh: line 1: 12 Killed"),
        ("123e4567-e89b-12d3-a456-426614174000", "00000000-0000-0000-0000-000000000000"),
    ],
)
def test_volatile_things_are_no_divergence(then: str, now: str) -> None:
    assert without_volatile(then) == without_volatile(now) != then


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ("3 passed", "4 passed"),
        ("plum", "quince"),
        ("v1.2.3", "v1.2.4"),
        ("exit code 0", "exit code 1"),
        ("/tmp/a", "/tmp/b"),
    ],
)
def test_everything_else_is(then: str, now: str) -> None:
    assert without_volatile(then) != without_volatile(now)


def test_the_first_output_that_differs_is_told_with_its_step() -> None:
    recorded = trace(asked("a"), answered("a", "same\n"), asked("b"), answered("b", "one\ntwo\n"), scored(1.0))
    again = trace(asked("a"), answered("a", "same\n"), asked("b"), answered("b", "one\nthree\n"), scored(0.0))
    found = first_divergence(recorded, again)
    assert found is not None and (found.step, found.what) == (4, "the output of bash")
    assert (found.expected, found.got) == ("one\ntwo\n", "one\nthree\n")


def test_prompts_errors_scores_and_missing_steps_count() -> None:
    recorded = trace(asked("a"), answered("a", "x"), scored(1.0))
    prompt = first_divergence(recorded, trace(asked("a", told="Stop."), answered("a", "x"), scored(1.0)))
    assert prompt is not None and (prompt.step, prompt.what) == (1, "the user prompt")
    error = first_divergence(recorded, trace(asked("a"), answered("a", "x", "timeout"), scored(1.0)))
    assert error is not None and (error.step, error.got) == (2, "timeout")
    score = first_divergence(recorded, trace(asked("a"), answered("a", "x"), scored(0.0)))
    assert score is not None and (score.step, score.what) == (3, "the score of exact")
    missing = first_divergence(recorded, trace(asked("a")))
    assert missing is not None and missing.step == 2
    assert first_divergence(recorded, trace(asked("a"), answered("a", "x")), scores=False) is None


def test_outputs_of_one_turn_may_come_in_any_order() -> None:
    recorded = trace(asked("a", "b"), answered("a", "1"), answered("b", "2"))
    assert first_divergence(recorded, trace(asked("a", "b"), answered("b", "2"), answered("a", "1"))) is None


def test_a_text_of_any_length_takes_no_more_than_a_look() -> None:
    text = "12:30:01 (a " * 4_000_000
    assert without_volatile(text) is text
