"""The steps of a trace: the same for a model's conversation here and for one that was imported."""

from __future__ import annotations

from agentlab.traces.events import Message, ModelCall, Said, ToolCall, ToolCallEvent, ToolResult
from agentlab.traces.render import render_trace
from agentlab.traces.steps import Trace, trace_of

SYSTEM, USER = Message(role="system", content="Be brief."), Message(role="user", content="Count the files.")
CALL = ToolCall(id="1", name="bash", arguments={"command": "ls"})
ASKS = Message(role="assistant", content="I look.", tool_calls=(CALL,))
TOLD = Message(role="tool", content="a b", tool_call_id="1")
DONE = Message(role="assistant", content="Two.")
LISTED = ToolCallEvent(at=2, call=CALL, result=ToolResult("a b"), duration_ms=3)

OURS = trace_of(
    [
        ModelCall(at=1, model="m", messages=(SYSTEM, USER), response=ASKS, stop_reason="tool_calls"),
        LISTED,
        ModelCall(at=3, model="m", messages=(SYSTEM, USER, ASKS, TOLD), response=DONE, stop_reason="stop"),
    ]
)
THEIRS = trace_of(
    [*(Said(at=1, message=message) for message in (SYSTEM, USER, ASKS)), LISTED, Said(at=3, message=DONE)]
)


def told(trace: Trace) -> list[tuple[str, str]]:
    return [(step.role, step.text) for step in trace.steps]


def test_steps_are_what_was_said_and_done_each_once() -> None:
    wanted = [
        ("system", "Be brief."),
        ("user", "Count the files."),
        ("assistant", "I look."),
        ("tool", "a b"),
        ("assistant", "Two."),
    ]
    assert told(OURS) == told(THEIRS) == wanted
    assert [step.seq for step in OURS.steps] == [0, 0, 0, 1, 2]
    assert [step.seq for step in THEIRS.steps] == [0, 1, 2, 3, 4]
    for trace in (OURS, THEIRS):
        assert trace.prompt == "Count the files." and trace.answer == "Two."
        assert trace.turns[0].asks == (CALL,) and trace.tool_steps[0].call == CALL


def test_what_someone_said_is_shown_with_the_speaker() -> None:
    said = Said(at=1, message=Message(role="assistant", content="Go on.\x1b[2J", name="Planner"))
    (block,) = render_trace([said])
    assert "assistant Planner" in block and "Go on." in block and "\x1b" not in block
