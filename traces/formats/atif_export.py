"""A trial as a trajectory in ATIF, which Harbor and others read. What ATIF has no field for stands under `extra`: the
place of our event (`seq`), durations, exit codes, labels, and how the trial ended.
"""

from __future__ import annotations

import re
import shlex
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from agentlab.traces.events import (
    Event,
    ImagePart,
    Message,
    ModelCall,
    Said,
    SandboxExec,
    TextPart,
    ToolCall,
    ToolCallEvent,
    ToolSpec,
)
from agentlab.traces.rows import Label, StoredEvent

VERSION = "ATIF-v1.8"
NAMESPACE = uuid.UUID("6f0e9a52-8d0c-5f5e-9f0a-7c1d3f6b2a11")
"""Of the ids that are made of run and trial: the same export, the same ids."""
ImagePath = Callable[[str], str]
"""From an image's sha256 to the path by which a reader of the document finds it."""

_EXIT_CODE = re.compile(r"\[exit code (-?\d{1,10})(?:; [^\]\n]*)?\]\Z")
"""How a tool's output ends that tells how the command ended."""
Step = dict[str, Any]


def trajectory(
    events: Sequence[Event | StoredEvent],
    *,
    trajectory_id: str,
    session_id: str,
    agent: str,
    agent_version: str,
    model: str,
    version: str = VERSION,
    labels: Sequence[Label] = (),
    trial: Mapping[str, Any] | None = None,
    image_path: ImagePath | None = None,
) -> dict[str, Any]:
    """The document. The agent's turns are its steps; what tools answered is observed in the step that called them. A
    trial without a model (a reference solution) has its commands as steps.

    `trial` (how it ended) and those of `labels` that are about the whole trial go below `extra.agentlab`, labels of a
    step to that step. Without `image_path` an image is named by its hash.
    """
    stored = [event if isinstance(event, StoredEvent) else StoredEvent(seq, event) for seq, event in enumerate(events)]
    calls = [s.event for s in stored if isinstance(s.event, ModelCall) and s.event.purpose == "agent"]
    turns = _Turns(image_path)
    for place in stored:
        turns.add(place)
    steps = turns.steps or _commands(stored)
    left = _label_steps(steps, labels)
    document: dict[str, Any] = {
        "schema_version": version,
        "session_id": session_id,
        "trajectory_id": trajectory_id,
        "agent": {"name": agent, "version": agent_version, "model_name": model},
        "steps": [{"step_id": number, **step} for number, step in enumerate(steps, 1)],
        "final_metrics": _final_metrics(calls, len(steps)),
    }
    about = {**(trial or {}), **({"labels": left} if left else {})}
    if about:
        document["extra"] = {"agentlab": about}
    if calls and calls[-1].tools:
        document["agent"]["tool_definitions"] = tool_definitions(calls[-1].tools)
    return document


def trajectory_id_of(run_id: str, trial: int) -> str:
    """The id of a trial's trajectory, in every export the same."""
    return str(uuid.uuid5(NAMESPACE, f"{run_id}/{trial}"))


def tool_definitions(tools: Iterable[ToolSpec]) -> list[dict[str, Any]]:
    """Tools as OpenAI's API takes them."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in tools
    ]


class _Turns:
    """Collects steps: turns, each with what its tools answered."""

    def __init__(self, image_path: ImagePath | None) -> None:
        self.steps: list[Step] = []
        self._image_path = image_path
        self._shown: set[int] = set()
        self._open: dict[str, Step] = {}

    def add(self, stored: StoredEvent) -> None:
        event = stored.event
        if isinstance(event, ModelCall) and event.purpose == "agent":
            self.steps += self._asked(event, stored.seq)
            self._turn(self._answered(event, stored.seq), event.response)
        elif isinstance(event, Said):
            self._said(event, stored.seq)
        elif isinstance(event, ToolCallEvent):
            self._tool(event, stored.seq)

    def _turn(self, step: Step, message: Message | None) -> None:
        calls = message.tool_calls if message is not None else ()
        if calls:
            step["tool_calls"] = [_call(made) for made in calls]
            self._open = {**self._open, **{made.id: step for made in calls}}
        self.steps.append(step)

    def _asked(self, call: ModelCall, seq: int) -> list[Step]:
        """What the system and the user said that was not said before: messages are compared by place and text."""
        if call.prompt:
            return [_step("user", call.prompt, call.at, seq)]
        found = []
        for place, message in enumerate(call.messages):
            key = hash((place, message.role, message.text, isinstance(message.content, str)))
            if message.role in ("system", "user") and key not in self._shown:
                self._shown.add(key)
                found.append(_step(message.role, self._content(message), call.at, seq))
        return found

    def _answered(self, call: ModelCall, seq: int) -> Step:
        response = call.response or Message(role="assistant")
        step = _step("agent", self._content(response), call.at, seq)
        step["model_name"] = call.served_model or call.model
        step["metrics"] = {
            "prompt_tokens": call.usage.input_tokens,
            "completion_tokens": call.usage.output_tokens,
            "cached_tokens": call.usage.cached_tokens,
            "cost_usd": call.cost_usd,
        }
        step["extra"] |= {"latency_ms": call.latency_ms, "stop_reason": call.stop_reason}
        if response.reasoning:
            step["reasoning_content"] = response.reasoning
        return step

    def _said(self, event: Said, seq: int) -> None:
        message = event.message
        if message.role == "tool":
            self._observed({"content": self._content(message), "extra": {"seq": seq}}, message.name, event.at, seq)
            return
        step = _step("agent" if message.role == "assistant" else message.role, self._content(message), event.at, seq)
        if message.name:
            step["extra"]["agent"] = message.name
        if message.reasoning and message.role == "assistant":
            step["reasoning_content"] = message.reasoning
        self._turn(step, message if message.role == "assistant" else None)

    def _tool(self, event: ToolCallEvent, seq: int) -> None:
        extra: dict[str, Any] = {"seq": seq, "duration_ms": event.duration_ms}
        if event.result.error:
            extra["error"] = event.result.error
        if (code := _EXIT_CODE.search(event.result.content)) is not None:
            extra["exit_code"] = int(code[1])
        content: Any = event.result.content
        if event.result.images:
            content = self._parts([TextPart(content), *event.result.images])
        step = self._open.get(event.call.id)
        result = {"content": content, "extra": extra}
        if step is None:
            self._observed(result, event.call.name, event.at, seq)
        else:
            step.setdefault("observation", {"results": []})["results"].append(
                {"source_call_id": event.call.id, **result}
            )

    def _observed(self, result: dict[str, Any], tool: str, at: float, seq: int) -> None:
        """A tool's answer that belongs to no known call: observed after the last turn."""
        if tool:
            result["extra"]["tool"] = tool
        if not self.steps:
            self.steps.append(_step("system", "", at, seq))
        self.steps[-1].setdefault("observation", {"results": []})["results"].append(result)

    def _content(self, message: Message) -> Any:
        return message.content if isinstance(message.content, str) else self._parts(message.content)

    def _parts(self, parts: Iterable[TextPart | ImagePart]) -> Any:
        """Parts with images by their paths; one text where nobody says where the images are."""
        if self._image_path is None:
            texts = [p.text if isinstance(p, TextPart) else f"[image {p.sha256 or p.media_type}]" for p in parts]
            return "\n".join(texts)
        made: list[dict[str, Any]] = []
        for part in parts:
            if isinstance(part, TextPart):
                made.append({"type": "text", "text": part.text})
            else:
                source = {"media_type": part.media_type, "path": self._image_path(part.sha256)}
                made.append({"type": "image", "source": source})
        return made


def _step(source: str, message: Any, at: float, seq: int) -> Step:
    return {"source": source, "message": message, "timestamp": _time(at), "extra": {"seq": seq}}


def _call(made: ToolCall) -> dict[str, Any]:
    extra = {"extra": {"raw": made.raw, "error": made.error}} if made.error else {}
    return {"tool_call_id": made.id, "function_name": made.name, "arguments": made.arguments, **extra}


def _commands(stored: Iterable[StoredEvent]) -> list[Step]:
    steps = []
    for place in stored:
        event = place.event
        if isinstance(event, SandboxExec) and event.user == "task":
            extra = {"seq": place.seq, "exit_code": event.exit_code, "duration_ms": event.duration_ms}
            step = _step("agent", shlex.join(event.argv), event.at, place.seq) | {"llm_call_count": 0}
            step["observation"] = {"results": [{"content": event.stdout + event.stderr, "extra": extra}]}
            steps.append(step)
    return steps or [{"source": "agent", "message": "", "llm_call_count": 0}]


def _label_steps(steps: list[Step], labels: Sequence[Label]) -> list[dict[str, Any]]:
    """Put labels to the steps that they are about. Those that are left are about the whole trial, or about an event
    that is no step.
    """
    by_seq: dict[int, dict[str, Any]] = {}
    for step in steps:
        if "extra" in step:
            by_seq[step["extra"]["seq"]] = step["extra"]  # of what was told and what was answered: the answer
        for result in step.get("observation", {}).get("results", ()):
            by_seq[result["extra"]["seq"]] = result["extra"]
    left = []
    for label in labels:
        if label.seq in by_seq:
            by_seq[label.seq].setdefault("labels", []).append(label_entry(label))
        else:
            left.append(label_entry(label))
    return left


def label_entry(label: Label) -> dict[str, Any]:
    """A label as JSON; what it does not say is left out."""
    entry = {
        "name": label.name,
        "value": label.value,
        "source": label.source,
        "author": label.author,
        "seq": label.seq,
        "confidence": label.confidence,
        "guide": label.guide,
        "note": label.note,
        "at": _time(label.at) if label.at else None,
    }
    return {key: value for key, value in entry.items() if value not in (None, "")}


def _final_metrics(calls: Sequence[ModelCall], steps: int) -> dict[str, Any]:
    costs = [call.cost_usd for call in calls if call.cost_usd is not None]
    return {
        "total_prompt_tokens": sum(call.usage.input_tokens for call in calls),
        "total_completion_tokens": sum(call.usage.output_tokens for call in calls),
        "total_cached_tokens": sum(call.usage.cached_tokens for call in calls),
        "total_cost_usd": sum(costs) if costs else None,
        "total_steps": steps,
    }


def as_version(document: dict[str, Any], version: str) -> dict[str, Any]:
    """The document under another version of the schema. Before 1.8 there was no audio: its parts become texts that name
    it.
    """
    made = _without_audio(document) if version < VERSION else document
    return {**made, "schema_version": version}


def _without_audio(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("type") == "audio" and isinstance(value.get("source"), dict):
            return {"type": "text", "text": f"[audio {value['source'].get('path', '')}]"}
        return {key: _without_audio(item) for key, item in value.items()}
    return [_without_audio(item) for item in value] if isinstance(value, list) else value


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
