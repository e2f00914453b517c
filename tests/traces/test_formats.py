"""Readers of foreign formats on small records: what becomes a call, who speaks, and that nothing but a sentence comes
of records that are wrong.
"""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.traces.errors import FormatError
from agentlab.traces.events import ImagePart, Said, TextPart, ToolCallEvent
from agentlab.traces.formats import FORMATS, ImportedTrace, read_traces
from agentlab.traces.formats.reading import detected

PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
CALL = {"id": "c", "type": "function", "function": {"name": "find", "arguments": '{"q": 1}'}}
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Look."}, {"type": "image_url", "image_url": {"url": PNG}}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None},
    {"role": "tool", "tool_call_id": "c", "name": "find", "content": "none"},
    {"role": "assistant", "content": "Nothing.", "reasoning_content": "hm"},
]
MINI = {
    "trajectory_format": "mini-swe-agent-1",
    "info": {
        "exit_status": "Submitted",
        "model_stats": {"instance_cost": 0.5},
        "config": {"model": {"model_name": "m"}},
    },
    "messages": [
        {"role": "user", "content": "Repair it."},
        {"role": "assistant", "content": "First\n```bash\nls -l\n```"},
        {"role": "user", "content": "<returncode>0</returncode>\n<output>\na.py\n</output>"},
        {"role": "assistant", "content": "Two:\n```bash\nls\n```\n```bash\npwd\n```"},
        {"role": "user", "content": "Exactly one, please."},
        {"role": "exit", "content": "done"},
    ],
}
SWE = {
    "history": [
        {"role": "user", "content": "Repair it.", "agent": "main"},
        {"role": "assistant", "content": "ls", "agent": "main", "action": "ls", "thought": "look"},
        {"role": "user", "content": "a.py", "agent": "main"},
        {"role": "assistant", "content": "x", "agent": "main", "action": "cat", "tool_calls": [CALL]},
        {"role": "tool", "content": "text", "agent": "main", "tool_call_ids": ["c"]},
    ],
    "trajectory": [{"action": "ls", "observation": "a.py", "execution_time": 0.1}],
    "info": {"model_stats": {"tokens_sent": 5, "tokens_received": 2, "instance_cost": 0.25}},
}
WHOWHEN = {
    "question_ID": "q",
    "is_corrected": False,
    "mistake_step": "1",
    "mistake_agent": "Web",
    "history": [
        {"role": "human", "content": "Find it."},
        {"role": "Orchestrator (thought)", "content": "Web should."},
        {"role": "Web", "content": "Found."},
    ],
}
INSPECT = {
    "version": 2,
    "eval": {"task": "sums", "model": "m"},
    "samples": [
        {
            "id": 1,
            "epoch": 1,
            "target": ["a", "b"],
            "messages": [
                {"role": "user", "content": "attachment://x"},
                {
                    "id": "m1",
                    "role": "assistant",
                    "content": [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "I call."}],
                    "tool_calls": [{"id": "t", "function": "bash", "arguments": {"cmd": "ls"}}],
                },
                {"role": "tool", "tool_call_id": "t", "function": "bash", "content": "", "error": {"type": "timeout"}},
            ],
            "attachments": {"x": "A long question."},
            "scores": {"parts": {"value": {"a": 1, "b": "I"}}, "whole": {"value": "P", "answer": "x"}},
            "limit": {"type": "token", "limit": 5},
            "model_usage": {"m": {"input_tokens": 5, "input_tokens_cache_read": 3, "output_tokens": 2}},
            "events": [{"event": "tool", "id": "t", "timestamp": "2026-01-01T00:00:00Z", "working_time": 1.5}],
        }
    ],
}
TAU = {"task_id": 3, "reward": 1.0, "traj": TALK, "info": {"a": 1}}
ATIF = {
    "schema_version": "ATIF-v1.8",
    "agent": {"name": "a", "version": "1"},
    "steps": [
        {"step_id": 1, "source": "user", "message": "Go."},
        {
            "step_id": 2,
            "source": "agent",
            "message": "",
            "tool_calls": [{"tool_call_id": "c", "function_name": "f", "arguments": {}}],
            "observation": {"results": [{"source_call_id": "c", "content": "x"}]},
        },
    ],
}
RECORDS: dict[str, Any] = {
    "atif": ATIF,
    "inspect": INSPECT,
    "swe-agent": SWE,
    "whowhen": WHOWHEN,
    "agentrx": TAU | {"traj": [{**message, "index": place} for place, message in enumerate(TALK, 1)]},
    "tau-bench": TAU,
    "openai": {"messages": TALK, "tools": []},
}


def read(tmp_path: Path, record: Any, name: str = "r.json") -> ImportedTrace:
    path = tmp_path / name
    path.write_text(json.dumps(record), encoding="utf-8")
    (trace,) = read_traces(path)
    return trace


def told(trace: ImportedTrace) -> list[tuple[str, str]]:
    """(who, what) of each event."""
    return [
        ("tool", event.result.content)
        if isinstance(event, ToolCallEvent)
        else (f"{event.message.role} {event.message.name}".strip(), event.message.text)
        for event in trace.events
        if isinstance(event, (Said, ToolCallEvent))
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_known_by_its_fields(name: str, tmp_path: Path) -> None:
    assert detected(RECORDS[name]) == name
    trace = read(tmp_path, RECORDS[name])
    assert trace.format == name and len(trace.events) >= 3


def test_images_thinking_and_calls_of_chat_messages(tmp_path: Path) -> None:
    trace = read(tmp_path, RECORDS["openai"])
    asked, called, found, answered = trace.events[1:]
    assert isinstance(asked, Said) and asked.message.content == (TextPart("Look."), ImagePart("image/png", b"\x89PNG"))
    assert isinstance(called, Said) and called.message.tool_calls[0].arguments == {"q": 1}
    assert isinstance(found, ToolCallEvent) and found.call == called.message.tool_calls[0]
    assert isinstance(answered, Said) and answered.message.reasoning == "hm"


def test_a_command_in_a_block_is_a_call_and_two_are_none(tmp_path: Path) -> None:
    trace = read(tmp_path, MINI, "run.traj.json")
    assert (trace.format, trace.sample, trace.model, trace.cost_usd) == ("swe-agent", "run", "m", 0.5)
    assert [type(event).__name__ for event in trace.events] == ["Said", "Said", "ToolCallEvent", "Said", "Said", "Said"]
    first = trace.events[2]
    assert isinstance(first, ToolCallEvent) and first.call.arguments == {"command": "ls -l"}


def test_actions_of_software_agents_are_calls_whether_written_or_called(tmp_path: Path) -> None:
    trace = read(tmp_path, SWE)
    calls = [event.call for event in trace.events if isinstance(event, ToolCallEvent)]
    assert [(call.name, call.arguments) for call in calls] == [("bash", {"command": "ls"}), ("find", {"q": 1})]
    assert (trace.usage.input_tokens, trace.usage.output_tokens) == (5, 2)
    without = read(tmp_path, {key: value for key, value in SWE.items() if key != "history"})
    assert told(without) == [("assistant main", ""), ("tool", "a.py")]


def test_agents_whose_names_stand_in_the_role(tmp_path: Path) -> None:
    trace = read(tmp_path, WHOWHEN)
    assert told(trace) == [
        ("user human", "Find it."),
        ("assistant Orchestrator (thought)", "Web should."),
        ("assistant Web", "Found."),
    ]
    assert trace.value == 0.0 and trace.rest["history"]["2"] == {"role": "Web"}


def test_a_log_of_inspect_with_attachments_errors_and_partial_scores(tmp_path: Path) -> None:
    trace = read(tmp_path, INSPECT)
    asked, called, answered = trace.events
    assert isinstance(asked, Said) and asked.message.text == "A long question."
    assert isinstance(called, Said) and (called.message.text, called.message.reasoning) == ("I call.", "hm")
    assert isinstance(answered, ToolCallEvent) and answered.result.error == "timeout"
    assert (answered.at, answered.duration_ms) == (1767225600.0, 1500.0)
    assert trace.scores == {"parts.a": 1.0, "parts.b": 0.0, "whole": 0.5} and trace.value is None
    assert (trace.target, trace.flags) == ("a | b", ("token_limit",))
    assert (trace.usage.input_tokens, trace.usage.cached_tokens) == (8, 3)


JUNK = st.sampled_from([None, True, -1, 1.5, 2**80, float("inf"), "", "x", "\ud800", [], [[]], [None], {}, {"a": {}}])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside `value`."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_stands_in_a_record_it_is_read_or_refused_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from([*FORMATS, "mini"]))
    record = copy.deepcopy(MINI if name == "mini" else RECORDS[name])
    *parents, last = data.draw(st.sampled_from([place for place in places(record) if place]))
    holder = record
    for key in parents:
        holder = holder[key]
    if data.draw(st.booleans()):
        holder[last] = data.draw(JUNK)
    else:
        del holder[last]
    path = tmp_path_factory.getbasetemp() / "junk.json"
    path.write_text(json.dumps(record), encoding="utf-8")
    refused: list[FormatError] = []
    format_name = "swe-agent" if name == "mini" else name
    for trace in read_traces(path, format_name=format_name, on_broken=refused.append):
        assert isinstance(trace.sample, str) and isinstance(trace.task, str)
        assert all(isinstance(text, str) for _, text in told(trace))
    assert all(str(error).startswith("junk.json") for error in refused)
