"""OpenAI chat rows as fine-tuning takes them, JSON Lines: `{messages: [...], tools: [...]}`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentlab.traces.formats.chat import conversation
from agentlab.traces.formats.imported import ImportedTrace, Source, is_list_of, rest_of, text_of

NAME = "openai"


def matches(record: Any) -> bool:
    return (isinstance(record, dict) and is_list_of(record.get("messages"), "role")) or is_list_of(record, "role")


def read(record: dict[str, Any] | list[Any], source: Source) -> Iterator[ImportedTrace]:
    """The row's trace; there is no score in one. Raises FormatError."""
    row: dict[str, Any] = {"messages": record} if isinstance(record, list) else record
    talk = conversation(row.get("messages"), source)
    name = next((row[key] for key in ("id", "sample", "sample_id") if isinstance(row.get(key), (str, int))), "")
    yield ImportedTrace(
        format=NAME,
        source=source,
        task=source.collection,
        sample=text_of(name) or source.record.rpartition(" ")[2] or source.stem,
        model=row["model"] if isinstance(row.get("model"), str) else "",
        events=tuple(talk.events),
        rest=rest_of(row, "messages", "model") | talk.kept("messages"),
    )
