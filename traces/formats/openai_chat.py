"""OpenAI chat rows as fine-tuning takes them, JSON Lines: `{messages: [...], tools: [...]}`. Read and written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from agentlab.traces.formats.atif_export import tool_definitions
from agentlab.traces.formats.chat import conversation
from agentlab.traces.formats.exported import Trial
from agentlab.traces.formats.imported import ImportedLabel, ImportedTrace, Source, is_list_of, rest_of, text_of
from agentlab.traces.steps import Step

NAME = "openai"
MAX_VALUE = 40
"""Characters of a label's value."""


def matches(record: Any) -> bool:
    return (isinstance(record, dict) and is_list_of(record.get("messages"), "role")) or is_list_of(record, "role")


def read(record: dict[str, Any] | list[Any], source: Source) -> Iterator[ImportedTrace]:
    """The row's trace; there is no score in one. Raises FormatError."""
    row: dict[str, Any] = {"messages": record} if isinstance(record, list) else record
    talk = conversation(row.get("messages"), source)
    name = next((row[key] for key in ("id", "sample", "sample_id") if isinstance(row.get(key), (str, int))), "")
    labels = _labels(row, len(talk.events))
    rest = rest_of(row, "messages", "model") | talk.kept("messages")
    yield ImportedTrace(
        format=NAME,
        source=source,
        task=source.collection,
        sample=text_of(name) or source.record.rpartition(" ")[2] or source.stem,
        model=row["model"] if isinstance(row.get("model"), str) else "",
        events=tuple(talk.events),
        labels=labels,
        rest=rest,
        unmapped=tuple(key for key in rest if not (labels and key in ("step_labels", "final_label"))),
    )


def _labels(row: dict[str, Any], turns: int) -> tuple[ImportedLabel, ...]:
    """What people said of single messages and of the whole, where a row has `step_labels` (by the messages' places) and
    a `final_label`, as AgentProcessBench does.
    """
    steps, final = row.get("step_labels"), row.get("final_label")
    given = steps.items() if isinstance(steps, dict) else ()
    places = {place: value for place, value in given if place.isascii() and place.isdigit() and len(place) < 9}
    found = [
        ImportedLabel(name="step", value=text_of(value)[:MAX_VALUE], author="step_labels", seq=int(place))
        for place, value in places.items()
        if int(place) < turns
    ]
    if found and final is not None:
        found.append(ImportedLabel(name="final", value=text_of(final)[:MAX_VALUE], author="final_label"))
    return tuple(found)


def row_of(trial: Trial) -> dict[str, Any]:
    """A trial as a row. Images are left out: a row is text."""
    row: dict[str, Any] = {"id": trial.name, "messages": list(_messages(trial.trace.steps))}
    tools = trial.rest.get("tools")
    if trial.tools:
        row["tools"] = tool_definitions(trial.tools)
    elif isinstance(tools, list):
        row["tools"] = tools
    row["metadata"] = {"run": trial.run_id, "outcome": trial.row.outcome or "cancelled", "value": trial.row.value}
    return row


def _messages(steps: Iterable[Step]) -> Iterator[dict[str, Any]]:
    for step in steps:
        message: dict[str, Any] = {"role": step.role, "content": step.text}
        if step.call is not None:
            message["tool_call_id"] = step.call.id
        if step.agent:
            message["name"] = step.agent
        if step.reasoning:
            message["reasoning_content"] = step.reasoning
        if step.asks:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.raw or json.dumps(call.arguments, default=repr)},
                }
                for call in step.asks
            ]
        yield message
