"""ATIF, the trajectories that Harbor and others exchange, versions 1.0 to 1.8: reading.

What our events hold of a document (texts, thinking, arguments) is taken out of it, the rest stays beside the events.
`refilled` puts both together again: an import that is exported is the same document, whatever stood in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from agentlab.traces.events import (
    ContentPart,
    Event,
    Flag,
    ImagePart,
    Message,
    Note,
    Outcome,
    Role,
    Said,
    TextPart,
    ToolCall,
    Usage,
)
from agentlab.traces.formats import atif_labels
from agentlab.traces.formats.atif_kept import emptied, holders, placed_in, refilled
from agentlab.traces.formats.chat import MAX_IMAGE, MediaType, OpenCalls, answer
from agentlab.traces.formats.imported import ImportedTrace, Source, finite_of

__all__ = ["DOCUMENT", "NAME", "SUBAGENT", "VERSIONS", "matches", "read", "refilled"]

NAME = "atif"
VERSIONS = tuple(f"ATIF-v1.{minor}" for minor in range(9))
DOCUMENT = "atif"
"""The key of `rest` under which the document without its texts is kept."""
SUBAGENT = "subagent"
"""The key of a note's data that says whose steps follow, and who asked for them."""

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


class _Error(msgspec.Struct):
    kind: str = ""
    message: str = ""


class _Ours(msgspec.Struct):
    """What our own exports say of a trial."""

    task: str = ""
    sample: str = ""
    outcome: Outcome | None = None
    value: float | None = None
    scores: dict[str, float] = {}
    flags: tuple[Flag, ...] = ()
    error: _Error | None = None

    @property
    def ended(self) -> tuple[str, str] | None:
        """The error that it ended in."""
        return None if self.error is None else (self.error.kind, self.error.message)


class _Trajectory(msgspec.Struct):
    agent: _Agent
    steps: list[_Step]
    schema_version: str = VERSIONS[-1]
    session_id: str | None = None
    trajectory_id: str | None = None
    final_metrics: _FinalMetrics | None = None
    extra: dict[str, Any] | None = None
    subagent_trajectories: list[_Trajectory] | None = None


def matches(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    named = str(record.get("schema_version", "")).startswith("ATIF")
    return named or (isinstance(record.get("agent"), dict) and isinstance(record.get("steps"), list))


def read(record: dict[str, Any], source: Source) -> Iterator[ImportedTrace]:
    """The document's trace. Raises FormatError with the field that is wrong."""
    document = _checked(record, source)
    told = _Told(source.folder)
    told.add(document, record)
    kept = emptied(record)
    labels = atif_labels.taken(kept, holders(kept))
    ours = _ours(document)
    failed = ours.outcome is not None and ours.outcome != "scored"
    usage, cost = _spent(document)
    yield ImportedTrace(
        format=NAME,
        source=source,
        task=ours.task or source.collection,
        sample=ours.sample or document.trajectory_id or document.session_id or source.stem,
        agent=document.agent.name,
        model=document.agent.model_name or "",
        events=tuple(told.events),
        value=None if failed else finite_of(ours.value),
        scores={name: value for name, value in ours.scores.items() if finite_of(value) is not None},
        flags=ours.flags,
        outcome=ours.outcome if failed else None,
        error=ours.ended if failed else None,
        usage=usage,
        cost_usd=finite_of(cost),
        labels=labels,
        diagnosed=atif_labels.is_ours(record),
        rest={DOCUMENT: kept},
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


class _Told:
    """The events of a document: for each step what was said, then what its tools answered. The steps of a subagent
    stand before the answer that names it, with their agent's name, and before them a note says whose they are.
    """

    def __init__(self, folder: Path | None) -> None:
        self.events: list[Event] = []
        self._folder = folder

    def add(self, document: _Trajectory, record: dict[str, Any], names: Mapping[str, str] | None = None) -> None:
        """`names` of those who speak, by the source of a step; where there are no subagents, none are needed."""
        placed = placed_in(record)
        names = names or ({"agent": document.agent.name} if placed else {})
        for number, step in enumerate(document.steps):
            at, calls = _time(step.timestamp), OpenCalls()
            asked = tuple(ToolCall(c.tool_call_id, c.function_name, c.arguments) for c in step.tool_calls or ())
            calls.ask(asked)
            turn = Message(
                role=_ROLES[step.source],
                content=_content(step.message, self._folder),
                tool_calls=asked,
                name=names.get(step.source, ""),
                reasoning=step.reasoning_content or "",
            )
            self.events.append(Said(at=at, message=turn))
            asking = len(self.events)
            for place, result in enumerate(step.observation.results if step.observation else ()):
                for child in placed.get((number, place), ()):
                    self._add_subagent(document, record, child, asking, at)
                self.events.append(self._answered(result, calls, at))

    def _answered(self, result: _Result, calls: OpenCalls, at: float) -> Event:
        content = _content(result.content or "", self._folder)
        call_id = result.source_call_id or ""
        message = Message(role="tool", content=content, tool_call_id=call_id)
        call = calls.answered(call_id) if call_id else None
        if call is None:
            return Said(at=at, message=message)
        lasted = max(finite_of((result.extra or {}).get("duration_ms")) or 0.0, 0.0)
        return msgspec.structs.replace(answer(call, message), at=at, duration_ms=lasted)

    def _add_subagent(self, parent: _Trajectory, record: dict[str, Any], child: int, asking: int, at: float) -> None:
        document = (parent.subagent_trajectories or [])[child]
        name, caller = document.agent.name, parent.agent.name
        about = {"agent": name, "below": caller, "step": asking, "trajectory_id": document.trajectory_id}
        self.events.append(
            Note(at=at, text=f"{name} works for {caller}, who asked at step {asking}", data={SUBAGENT: about})
        )
        # What a user says to a subagent is its parent's words.
        self.add(document, record["subagent_trajectories"][child], {"agent": name, "user": caller})


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
    named = [child for children in placed_in(record).values() for child in children]
    subagents = record.get("subagent_trajectories") or ()
    all_told = len(named) == len(subagents) and not any(any(_unmapped(subagents[child])) for child in named)
    known = _IN_EVENTS | {"subagent_trajectories"} if all_told else _IN_EVENTS
    yield from (key for key, value in record.items() if key not in known and value is not None)
    inside = {
        key: None for step in record["steps"] for key, value in step.items() if key not in _STEP_IN_EVENTS and value
    }
    yield from (f"steps.{key}" for key in inside)
