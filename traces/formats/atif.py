"""ATIF, the trajectories that Harbor and others exchange, versions 1.0 to 1.8: reading.

What our events hold of a document (texts, thinking, arguments) is taken out of it, the rest stays beside the events.
`refilled` puts both together again: an import that is exported is the same document, whatever stood in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from agentlab.traces.events import (
    ContentPart,
    Event,
    ImagePart,
    Message,
    Role,
    Said,
    TextPart,
    ToolCall,
    ToolCallEvent,
    Usage,
)
from agentlab.traces.formats.chat import MAX_IMAGE, MediaType, OpenCalls, answer
from agentlab.traces.formats.imported import ImportedTrace, Source, finite_of

NAME = "atif"
VERSIONS = tuple(f"ATIF-v1.{minor}" for minor in range(9))
DOCUMENT = "atif"
"""The key of `rest` under which the document without its texts is kept."""

_ROLES: dict[str, Role] = {"system": "system", "user": "user", "agent": "assistant"}
_IN_EVENTS = {"schema_version", "agent", "steps", "session_id", "trajectory_id"}
_STEP_IN_EVENTS = {
    "step_id", "source", "message", "timestamp", "reasoning_content", "tool_calls", "observation",
}  # fmt: skip


class _ImageSource(msgspec.Struct):
    path: str
    media_type: str = ""


class _Part(msgspec.Struct):
    type: Literal["text", "image", "audio"]
    text: str | None = None
    source: _ImageSource | None = None


class _Call(msgspec.Struct):
    tool_call_id: str
    function_name: str
    arguments: dict[str, Any]


class _Result(msgspec.Struct):
    source_call_id: str | None = None
    content: str | list[_Part] | None = None
    extra: dict[str, Any] | None = None


class _Observation(msgspec.Struct):
    results: list[_Result]


class _Metrics(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: float | None = None


class _Step(msgspec.Struct):
    step_id: int
    source: Literal["system", "user", "agent"]
    message: str | list[_Part]
    timestamp: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_Call] | None = None
    observation: _Observation | None = None
    metrics: _Metrics | None = None
    extra: dict[str, Any] | None = None


class _Agent(msgspec.Struct):
    name: str
    version: str
    model_name: str | None = None
    extra: dict[str, Any] | None = None


class _FinalMetrics(msgspec.Struct):
    total_prompt_tokens: int | None = None
    total_completion_tokens: int | None = None
    total_cached_tokens: int | None = None
    total_cost_usd: float | None = None


class _Ours(msgspec.Struct):
    """What our own exports say of a trial."""

    task: str = ""
    sample: str = ""
    value: float | None = None
    scores: dict[str, float] = {}


class _Trajectory(msgspec.Struct):
    agent: _Agent
    steps: list[_Step]
    schema_version: str = VERSIONS[-1]
    session_id: str | None = None
    trajectory_id: str | None = None
    final_metrics: _FinalMetrics | None = None
    extra: dict[str, Any] | None = None


def matches(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    named = str(record.get("schema_version", "")).startswith("ATIF")
    return named or (isinstance(record.get("agent"), dict) and isinstance(record.get("steps"), list))


def read(record: dict[str, Any], source: Source) -> Iterator[ImportedTrace]:
    """The document's trace. Raises FormatError with the field that is wrong."""
    document = _checked(record, source)
    events = list(_events(document, source.folder))
    ours = _ours(document)
    usage, cost = _spent(document)
    yield ImportedTrace(
        format=NAME,
        source=source,
        task=ours.task or source.collection,
        sample=ours.sample or document.trajectory_id or document.session_id or source.stem,
        agent=document.agent.name,
        model=document.agent.model_name or "",
        events=tuple(events),
        value=finite_of(ours.value),
        scores={name: value for name, value in ours.scores.items() if finite_of(value) is not None},
        usage=usage,
        cost_usd=finite_of(cost),
        rest={DOCUMENT: emptied(record)},
        unmapped=tuple(_unmapped(record)),
    )


def _checked(record: dict[str, Any], source: Source) -> _Trajectory:
    try:
        document = msgspec.convert(record, _Trajectory)
    except UnicodeEncodeError:
        raise source.error("a text with half a surrogate pair stands where none is expected") from None
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        raise source.error(what, where.strip("`").removeprefix("$.").removeprefix("$")) from None
    if document.schema_version not in VERSIONS:
        raise source.error(f"known are {VERSIONS[0]} to {VERSIONS[-1]}, not {document.schema_version[:40]!r}")
    if not document.steps:
        raise source.error("a trajectory has at least one step", "steps")
    return document


def _events(document: _Trajectory, folder: Path | None) -> Iterator[Event]:
    """For each step what was said, then what its tools answered."""
    for step in document.steps:
        at, calls = _time(step.timestamp), OpenCalls()
        asked = tuple(ToolCall(c.tool_call_id, c.function_name, c.arguments) for c in step.tool_calls or ())
        calls.ask(asked)
        yield Said(
            at=at,
            message=Message(
                role=_ROLES[step.source],
                content=_content(step.message, folder),
                tool_calls=asked,
                reasoning=step.reasoning_content or "",
            ),
        )
        for result in step.observation.results if step.observation else ():
            content = _content(result.content or "", folder)
            call_id = result.source_call_id or ""
            message = Message(role="tool", content=content, tool_call_id=call_id)
            call = calls.answered(call_id) if call_id else None
            if call is None:
                yield Said(at=at, message=message)
                continue
            lasted = max(finite_of((result.extra or {}).get("duration_ms")) or 0.0, 0.0)
            yield msgspec.structs.replace(answer(call, message), at=at, duration_ms=lasted)


def _content(content: str | list[_Part], folder: Path | None) -> str | tuple[ContentPart, ...]:
    if isinstance(content, str):
        return content
    parts: list[ContentPart] = []
    for part in content:
        if part.type == "text":
            parts.append(TextPart(part.text or ""))
        elif part.source is not None:
            parts.append(_image(part, folder) or TextPart(f"[{part.type} {part.source.path}]"))
    return tuple(parts)


def _image(part: _Part, folder: Path | None) -> ImagePart | None:
    """The image of a part, where its file lies with the document, and nowhere else."""
    if part.type != "image" or part.source is None or folder is None:
        return None
    if part.source.media_type not in ("image/png", "image/jpeg", "image/gif", "image/webp"):
        return None
    try:
        path = (folder / part.source.path).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file() or path.stat().st_size > MAX_IMAGE:
            return None
        return ImagePart(media_type=cast("MediaType", part.source.media_type), data=path.read_bytes())
    except (OSError, ValueError):
        return None


def _time(timestamp: str | None) -> float:
    try:
        return max(datetime.fromisoformat(timestamp).timestamp(), 0.0) if timestamp else 0.0
    except (ValueError, OverflowError):
        return 0.0


def _ours(document: _Trajectory) -> _Ours:
    try:
        return msgspec.convert((document.extra or {}).get("agentlab") or {}, _Ours)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return _Ours()  # somebody else's


def _spent(document: _Trajectory) -> tuple[Usage, float | None]:
    final = document.final_metrics
    if final is not None and (final.total_prompt_tokens is not None or final.total_completion_tokens is not None):
        counts = (final.total_prompt_tokens, final.total_completion_tokens, final.total_cached_tokens)
        return Usage(*(count or 0 for count in counts)), final.total_cost_usd
    total, costs = Usage(), []
    for step in document.steps:
        if step.metrics is not None:
            counts = (step.metrics.prompt_tokens, step.metrics.completion_tokens, step.metrics.cached_tokens)
            total += Usage(*(count or 0 for count in counts))
            if step.metrics.cost_usd is not None:
                costs.append(step.metrics.cost_usd)
    return total, sum(costs) if costs else None


def _unmapped(record: dict[str, Any]) -> Iterator[str]:
    """The fields that no event holds."""
    yield from (key for key, value in record.items() if key not in _IN_EVENTS and value is not None)
    inside = {
        key: None for step in record["steps"] for key, value in step.items() if key not in _STEP_IN_EVENTS and value
    }
    yield from (f"steps.{key}" for key in inside)


def emptied(record: dict[str, Any]) -> dict[str, Any]:
    """The document without the texts and arguments that the events of `read` hold."""
    return {**record, "steps": [_emptied_step(step) for step in record["steps"]]}


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


def refilled(document: dict[str, Any], events: Sequence[Event]) -> dict[str, Any] | None:
    """The document as it was imported, from `emptied` and the trial's events; None where they do not fit."""
    spoken = iter([event for event in events if isinstance(event, (Said, ToolCallEvent))])
    try:
        return {**document, "steps": [_refilled_step(step, spoken) for step in document["steps"]]}
    except (StopIteration, KeyError, TypeError, AttributeError, ValueError):
        return None


def _refilled_step(step: dict[str, Any], spoken: Iterator[Said | ToolCallEvent]) -> dict[str, Any]:
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
    if step.get("observation"):
        results = []
        for result in step["observation"]["results"]:
            event = next(spoken)
            filled = dict(result)
            _put(filled, "content", event.message.text if isinstance(event, Said) else event.result.content)
            results.append(filled)
        made["observation"] = {**step["observation"], "results": results}
    return made


def _put(target: dict[str, Any], field: str, text: str) -> None:
    if target.get(field) == {}:
        target[field] = text
