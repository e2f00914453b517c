"""Foreign traces: `read_traces(path)` gives them one by one, as our events."""

from __future__ import annotations

from agentlab.traces.formats.imported import ImportedTrace, Source
from agentlab.traces.formats.reading import FORMATS, read_traces

__all__ = ["FORMATS", "ImportedTrace", "Source", "read_traces"]
