"""Trajectories of SWE-agent (`.traj`: history, trajectory, info) and of mini-swe-agent (`.traj.json`: messages, info;
once the bare list of messages).

Where a model wrote its command into its text instead of calling a tool, the command that the file names (or the one
block that mini-swe-agent carries out) becomes a call of `bash`, and the observation that follows is its answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from agentlab.traces.events import Usage
from agentlab.traces.formats.chat import conversation
from agentlab.traces.formats.imported import ImportedTrace, Source, finite_of, is_list_of, rest_of, text_of

NAME = "swe-agent"
_BLOCK = re.compile(r"```(?:bash|sh|mswea_bash_command)\s*\n(.*?)\n?```", re.DOTALL)
_MINI = re.compile(r"<returncode>|<output>|mswea|COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT|MINI_SWE_AGENT")


def matches(record: Any) -> bool:
    if isinstance(record, list):
        return is_list_of(record, "role", "content") and _is_mini(record)
    if not isinstance(record, dict):
        return False
    mini = str(record.get("trajectory_format", "")).startswith("mini-swe-agent")
    return mini or is_list_of(record.get("history"), "role", "agent") or is_list_of(record.get("trajectory"), "action")


def _is_mini(messages: list[Any]) -> bool:
    """Whether commands stand in blocks of text and what they printed in the marks of mini-swe-agent."""
    texts = [text_of(message.get("content")) for message in messages[:4] if isinstance(message, dict)]
    return any(_MINI.search(text) for text in texts) and any(_BLOCK.search(text) for text in texts)


def read(record: dict[str, Any] | list[Any], source: Source) -> Iterator[ImportedTrace]:
    """The file's trace; there is no score in one. Raises FormatError."""
    document: dict[str, Any] = {"messages": record} if isinstance(record, list) else record
    field = "history" if "history" in document else "messages"
    messages = document.get(field)
    if messages is None and is_list_of(document.get("trajectory"), "action"):
        field, messages = "trajectory", list(_from_trajectory(document["trajectory"]))
    if isinstance(messages, list):
        messages = list(_with_calls(messages, mini=field == "messages"))
    talk = conversation(messages, source, field)
    info = document.get("info")
    stats = info.get("model_stats") if isinstance(info, dict) else None
    config = info.get("config") if isinstance(info, dict) else None
    yield ImportedTrace(
        format=NAME,
        source=source,
        task=source.collection,
        sample=text_of(document.get("instance_id")) or source.stem,
        agent="mini-swe-agent" if field == "messages" else "swe-agent",
        model=_model(config),
        events=tuple(talk.events),
        usage=_usage(stats),
        cost_usd=_cost(stats),
        rest=rest_of(document, "messages", "history", "instance_id") | talk.kept(field),
    )


def _with_calls(messages: list[Any], *, mini: bool) -> Iterator[Any]:
    """The messages, commands in texts as calls and their observations as a tool's answers."""
    waiting = ""
    for place, message in enumerate(messages):
        if not isinstance(message, dict):
            yield message
            continue
        read: dict[str, Any] = {**message, "name": message.get("name") or _agent(message)}
        read.pop("agent", None)
        ids = read.pop("tool_call_ids", None)
        if message.get("role") == "tool" and isinstance(ids, list) and ids:
            read["tool_call_id"] = ids[0]
            if len(ids) > 1:
                read["tool_call_ids"] = ids
        elif message.get("role") == "user" and waiting:
            read |= {"role": "tool", "tool_call_id": waiting}
        elif message.get("role") == "exit":
            read["role"] = "user"
        waiting = ""
        command = _command(message, mini)
        if command and not message.get("tool_calls"):
            waiting = f"command-{place}"
            function = {"name": "bash", "arguments": {"command": command}}
            read |= {"tool_calls": [{"id": waiting, "function": function}]}
            read.pop("action", None)
        yield read


def _agent(message: dict[str, Any]) -> str:
    """Whose turn it is; what tools and users say belongs to no agent."""
    return text_of(message.get("agent")) if message.get("role") == "assistant" else ""


def _command(message: dict[str, Any], mini: bool) -> str:
    if message.get("role") != "assistant" or message.get("is_demo"):
        return ""
    if not mini:
        return text_of(message.get("action")).rstrip("\n")
    blocks = _BLOCK.findall(text_of(message.get("content")))
    return blocks[0].strip() if len(blocks) == 1 else ""  # with none, or several, it carries nothing out


def _from_trajectory(trajectory: list[Any]) -> Iterator[dict[str, Any]]:
    """The turns of a file without a history."""
    for step in trajectory:
        if isinstance(step, dict):
            said = step.get("response") or step.get("thought")
            yield {"role": "assistant", "content": said, "action": step.get("action"), "agent": "main"}
            yield {"role": "user", "content": step.get("observation")}


def _model(config: Any) -> str:
    model = config.get("model") if isinstance(config, dict) else None
    return text_of(model.get("model_name")) if isinstance(model, dict) else ""


def _usage(stats: Any) -> Usage:
    if not isinstance(stats, dict):
        return Usage()
    sent, received = stats.get("tokens_sent"), stats.get("tokens_received")
    return Usage(sent if isinstance(sent, int) else 0, received if isinstance(received, int) else 0)


def _cost(stats: Any) -> float | None:
    return (finite_of(stats.get("instance_cost")) if isinstance(stats, dict) else None) or None
