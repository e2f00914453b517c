"""AgentRx (microsoft/AgentRx): rows of tau-bench whose messages are numbered from 1. People's labels are in a file of
their own and count in those numbers: `step_number` 1 is the event with seq 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentlab.traces.formats import taubench
from agentlab.traces.formats.imported import ImportedTrace, Source, is_list_of

NAME = "agentrx"


def matches(record: Any) -> bool:
    return taubench.matches(record) and is_list_of(record["traj"], "index")


def read(record: dict[str, Any], source: Source) -> Iterator[ImportedTrace]:
    """The row's trace, its reward the score. Raises FormatError."""
    return taubench.read(record, source, name=NAME)
