"""An ATIF document that is imported, stored and exported is the same document, whatever valid things stand in it."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.traces.encoding import decode_event, pack
from agentlab.traces.events import Note
from agentlab.traces.formats import Source, atif, atif_kept

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
EXTRA = st.none() | st.dictionaries(TEXT, JSON, max_size=3)
PART = st.fixed_dictionaries({"type": st.just("text"), "text": TEXT}) | st.fixed_dictionaries(
    {
        "type": st.just("image"),
        "source": st.fixed_dictionaries({"media_type": st.just("image/png"), "path": TEXT}),
    }
)
CONTENT = TEXT | st.lists(PART, max_size=3)
ID = st.sampled_from(["a", "b", "c"])
REF = st.fixed_dictionaries({}, optional={"trajectory_id": st.none() | ID, "session_id": TEXT, "extra": EXTRA})


@st.composite
def steps(draw: st.DrawFn, number: int) -> dict[str, Any]:
    source = draw(st.sampled_from(["system", "user", "agent"]))
    step: dict[str, Any] = {"step_id": number, "source": source, "message": draw(CONTENT)}
    ids: list[str] = []
    if source == "agent" and draw(st.booleans()):
        ids = draw(st.lists(TEXT, max_size=3))
        arguments = st.dictionaries(TEXT, JSON, max_size=2)
        step["tool_calls"] = [
            {"tool_call_id": id_, "function_name": draw(TEXT), "arguments": draw(arguments), "extra": draw(EXTRA)}
            for id_ in ids
        ]
        step["reasoning_content"] = draw(st.none() | TEXT)
        step["metrics"] = {"prompt_tokens": draw(st.none() | st.integers(0, 9)), "logprobs": [-0.5], "extra": {}}
    if draw(st.booleans()):
        result = st.fixed_dictionaries(
            {},
            optional={
                "source_call_id": st.none() | (st.sampled_from(ids) if ids else st.none()),
                "content": st.none() | CONTENT,
                "subagent_trajectory_ref": st.none() | st.lists(REF, max_size=2),
                "extra": EXTRA,
            },
        )
        step["observation"] = {"results": draw(st.lists(result, max_size=3))}
    if draw(st.booleans()):
        step |= {"extra": draw(EXTRA), "timestamp": draw(st.none() | st.just("2026-11-20T15:00:00Z") | TEXT)}
    return step


@st.composite
def documents(draw: st.DrawFn, depth: int = 0) -> dict[str, Any]:
    numbers = range(1, draw(st.integers(1, 4)) + 1)
    document: dict[str, Any] = {
        "schema_version": draw(st.sampled_from(atif.VERSIONS)),
        "agent": {"name": draw(TEXT), "version": draw(TEXT), "tool_definitions": draw(st.none() | st.just([{"a": 1}]))},
        "steps": [draw(steps(number)) for number in numbers],
    }
    if draw(st.booleans()):
        document |= {"extra": draw(EXTRA), "notes": draw(st.none() | TEXT), "final_metrics": {"total_steps": 3}}
    if depth:
        document["trajectory_id"] = draw(st.none() | ID)
    if depth < 2 and draw(st.booleans()):
        document["subagent_trajectories"] = draw(st.lists(documents(depth=depth + 1), max_size=2))
    return document


@settings(max_examples=150, deadline=None)
@given(documents())
def test_what_was_imported_is_exported_as_it_was(document: dict[str, Any]) -> None:
    (trace,) = atif.read(document, Source(file="a.json"))
    events = [decode_event(pack(event)) for event in trace.events]
    assert len(atif_kept.holders(document)) == len(events)
    note = decode_event(pack(Note(at=0.0, text="", data=trace.rest)))
    assert isinstance(note, Note)
    again = atif.refilled(note.data[atif.DOCUMENT], events)
    assert again == document
    assert list(again) == list(document)
