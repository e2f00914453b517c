"""A trial as a trajectory in ATIF 1.8, which Harbor and others read. Text only: an image is named by its hash."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from agentlab.traces.events import (
    Event,
    ImagePart,
    Message,
    ModelCall,
    SandboxExec,
    TextPart,
    ToolCallEvent,
)

VERSION = "ATIF-v1.8"


def trajectory(
    events: Sequence[Event], *, trajectory_id: str, session_id: str, agent: str, agent_version: str, model: str
) -> dict[str, Any]:
    """The document. The agent's turns are its steps; what tools answered is observed in the step that called them. A
    trial without a model (a reference solution) has its commands as steps.
    """
    calls = [event for event in events if isinstance(event, ModelCall) and event.purpose == "agent"]
    steps = _conversation(events) if calls else _commands(events)
    document: dict[str, Any] = {
        "schema_version": VERSION,
        "session_id": session_id,
        "trajectory_id": trajectory_id,
        "agent": {"name": agent, "version": agent_version, "model_name": model},
        "steps": [{"step_id": number, **step} for number, step in enumerate(steps, 1)],
        "final_metrics": _final_metrics(calls, len(steps)),
    }
    if calls and calls[-1].tools:
        document["agent"]["tool_definitions"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in calls[-1].tools
        ]
    return document


def _conversation(events: Iterable[Event]) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    shown: set[int] = set()
    open_calls: dict[str, dict[str, Any]] = {}
    for event in events:
        if isinstance(event, ModelCall) and event.purpose == "agent":
            steps += _asked(event, shown)
            step = _turn(event)
            open_calls = {call["tool_call_id"]: step for call in step.get("tool_calls", ())}
            steps.append(step)
        elif isinstance(event, ToolCallEvent) and event.call.id in open_calls:
            step = open_calls[event.call.id]
            result = {"source_call_id": event.call.id, "content": event.result.content}
            extra = {"duration_ms": event.duration_ms, **({"error": event.result.error} if event.result.error else {})}
            step.setdefault("observation", {"results": []})["results"].append({**result, "extra": extra})
    return steps


def _asked(call: ModelCall, shown: set[int]) -> list[dict[str, Any]]:
    """What the system and the user said that was not said before: messages are compared by place and text."""
    found: list[dict[str, Any]] = []
    if call.prompt:
        return [{"source": "user", "message": call.prompt, "timestamp": _time(call.at)}]
    for place, message in enumerate(call.messages):
        key = hash((place, message.role, _text(message)))
        if message.role in ("system", "user") and key not in shown:
            shown.add(key)
            found.append({"source": message.role, "message": _text(message), "timestamp": _time(call.at)})
    return found


def _turn(call: ModelCall) -> dict[str, Any]:
    response = call.response or Message(role="assistant")
    step: dict[str, Any] = {
        "source": "agent",
        "timestamp": _time(call.at),
        "model_name": call.served_model or call.model,
        "message": _text(response),
        "metrics": {
            "prompt_tokens": call.usage.input_tokens,
            "completion_tokens": call.usage.output_tokens,
            "cached_tokens": call.usage.cached_tokens,
            "cost_usd": call.cost_usd,
        },
        "extra": {"latency_ms": call.latency_ms, "stop_reason": call.stop_reason},
    }
    if response.reasoning:
        step["reasoning_content"] = response.reasoning
    if response.tool_calls:
        step["tool_calls"] = [
            {
                "tool_call_id": made.id,
                "function_name": made.name,
                "arguments": made.arguments,
                **({"extra": {"raw": made.raw, "error": made.error}} if made.error else {}),
            }
            for made in response.tool_calls
        ]
    return step


def _commands(events: Iterable[Event]) -> list[dict[str, Any]]:
    steps = [
        {
            "source": "agent",
            "timestamp": _time(event.at),
            "message": shlex.join(event.argv),
            "llm_call_count": 0,
            "observation": {
                "results": [{"content": event.stdout + event.stderr, "extra": {"exit_code": event.exit_code}}]
            },
        }
        for event in events
        if isinstance(event, SandboxExec) and event.user == "task"
    ]
    return steps or [{"source": "agent", "message": "", "llm_call_count": 0}]


def _final_metrics(calls: Sequence[ModelCall], steps: int) -> dict[str, Any]:
    costs = [call.cost_usd for call in calls if call.cost_usd is not None]
    return {
        "total_prompt_tokens": sum(call.usage.input_tokens for call in calls),
        "total_completion_tokens": sum(call.usage.output_tokens for call in calls),
        "total_cached_tokens": sum(call.usage.cached_tokens for call in calls),
        "total_cost_usd": sum(costs) if costs else None,
        "total_steps": steps,
    }


def _text(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    parts = []
    for part in message.content:
        if isinstance(part, TextPart):
            parts.append(part.text)
        elif isinstance(part, ImagePart):
            parts.append(f"[image {part.sha256 or part.media_type}]")
    return "\n".join(parts)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
