"""What stays of an ATIF document beside its events, and how both become the document again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from agentlab.traces.events import Event, Said, ToolCallEvent
from agentlab.traces.formats import atif_labels
from agentlab.traces.rows import Label


def placed_in(record: dict[str, Any]) -> dict[tuple[int, int], list[int]]:
    """By step and result the subagents that the result names, as places among the document's subagents, each once."""
    children: list[dict[str, Any]] = record.get("subagent_trajectories") or []
    known = {child.get("trajectory_id"): place for place, child in reversed(list(enumerate(children)))}
    found: dict[tuple[int, int], list[int]] = {}
    for number, step in enumerate(record["steps"] if known else ()):
        for place, result in enumerate((step.get("observation") or {}).get("results") or ()):
            refs = result.get("subagent_trajectory_ref")
            for ref in refs if isinstance(refs, list) else ():
                named = ref.get("trajectory_id") if isinstance(ref, dict) else None
                if isinstance(named, str) and (child := known.pop(named, None)) is not None:
                    found.setdefault((number, place), []).append(child)
    return found


def holders(record: dict[str, Any]) -> list[atif_labels.Holder]:
    """For each event of `read` the step or result that it was made of; None for those of subagents."""
    placed, found = placed_in(record), list[atif_labels.Holder]()
    for number, step in enumerate(record["steps"]):
        found.append(step)
        for place, result in enumerate((step.get("observation") or {}).get("results") or ()):
            for child in placed.get((number, place), ()):
                found += [None] * (1 + len(holders(record["subagent_trajectories"][child])))
            found.append(result)
    return found


def emptied(record: dict[str, Any]) -> dict[str, Any]:
    """The document without the texts and arguments that the events of `read` hold."""
    made = {**record, "steps": [_emptied_step(step) for step in record["steps"]]}
    if placed := placed_in(record):
        children = list(record["subagent_trajectories"])
        for child in itertools.chain.from_iterable(placed.values()):
            children[child] = emptied(children[child])
        made["subagent_trajectories"] = children
    return made


def _emptied_step(step: dict[str, Any]) -> dict[str, Any]:
    left = _without_text(step, "message", "reasoning_content")
    if step.get("tool_calls"):
        left["tool_calls"] = [{**call, "arguments": None} for call in step["tool_calls"]]
    if step.get("observation"):
        observation = step["observation"]
        left["observation"] = {**observation, "results": [_without_text(r, "content") for r in observation["results"]]}
    return left


def _without_text(value: dict[str, Any], *fields: str) -> dict[str, Any]:
    """`value` with an empty object, which none of these fields can be, where a text was taken out."""
    return {key: {} if key in fields and isinstance(item, str) else item for key, item in value.items()}


def refilled(document: dict[str, Any], events: Sequence[Event], labels: Sequence[Label] = ()) -> dict[str, Any] | None:
    """The document as it was imported, from what `read` kept and the trial's events, with the labels that it has now;
    None where they do not fit.
    """
    spoken = iter([event for event in events if isinstance(event, (Said, ToolCallEvent))])
    try:
        made = _refilled(document, spoken)
        atif_labels.put(made, holders(made), labels)
    except (StopIteration, KeyError, TypeError, AttributeError, ValueError, IndexError):
        return None
    return made


def _refilled(document: dict[str, Any], spoken: Iterator[Said | ToolCallEvent]) -> dict[str, Any]:
    placed = placed_in(document)
    children: list[dict[str, Any]] = list(document.get("subagent_trajectories") or [])
    steps = []
    for number, step in enumerate(document["steps"]):
        made = _refilled_turn(step, spoken)
        if step.get("observation"):
            results = []
            for place, result in enumerate(step["observation"]["results"]):
                for child in placed.get((number, place), ()):
                    children[child] = _refilled(children[child], spoken)
                event = next(spoken)
                filled = dict(result)
                _put(filled, "content", event.message.text if isinstance(event, Said) else event.result.content)
                results.append(filled)
            made["observation"] = {**step["observation"], "results": results}
        steps.append(made)
    made = {**document, "steps": steps}
    return {**made, "subagent_trajectories": children} if placed else made


def _refilled_turn(step: dict[str, Any], spoken: Iterator[Said | ToolCallEvent]) -> dict[str, Any]:
    said = next(spoken)
    if not isinstance(said, Said):
        raise TypeError("a step begins with what was said")
    message = said.message
    made = dict(step)
    _put(made, "message", message.text)
    _put(made, "reasoning_content", message.reasoning)
    if step.get("tool_calls"):
        pairs = zip(step["tool_calls"], message.tool_calls, strict=True)
        made["tool_calls"] = [{**call, "arguments": asked.arguments} for call, asked in pairs]
    return made


def _put(target: dict[str, Any], field: str, text: str) -> None:
    if target.get(field) == {}:
        target[field] = text
