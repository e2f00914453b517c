"""Result rows of tau-bench: `{task_id, trial, reward, traj: [messages], info}`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentlab.traces.formats.chat import conversation
from agentlab.traces.formats.imported import ImportedTrace, Source, is_list_of, number_of, rest_of, text_of

NAME = "tau-bench"


def matches(record: Any) -> bool:
    return isinstance(record, dict) and is_list_of(record.get("traj"), "role") and "task_id" in record


def read(record: dict[str, Any], source: Source, *, name: str = NAME) -> Iterator[ImportedTrace]:
    """The row's trace, its reward the score. Raises FormatError."""
    traj = record.get("traj")
    if isinstance(traj, list):
        traj = [_without_place(message, place) for place, message in enumerate(traj)]
    talk = conversation(traj, source, "traj")
    yield ImportedTrace(
        format=name,
        source=source,
        task=source.collection,
        sample=text_of(record.get("task_id")),
        events=tuple(talk.events),
        value=number_of(record.get("reward"), source, "reward"),
        rest=rest_of(record, "traj", "reward", "task_id") | talk.kept("traj"),
    )


def _without_place(message: Any, place: int) -> Any:
    """A message without the number that only repeats its place (AgentRx counts from 1)."""
    if isinstance(message, dict) and message.get("index") == place + 1:
        return {key: value for key, value in message.items() if key != "index"}
    return message
