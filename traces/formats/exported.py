"""What every exporter takes: one trial with its trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agentlab.traces.events import ModelCall, Note, ToolSpec
from agentlab.traces.formats.atif_export import trajectory_id_of
from agentlab.traces.rows import AttemptRow, Label
from agentlab.traces.steps import Trace


@dataclass(frozen=True)
class Trial:
    """The last attempt of a trial with what is known of it: what every exporter takes."""

    document: dict[str, Any]
    row: AttemptRow
    trace: Trace
    labels: Sequence[Label]
    """Those that hold."""

    @property
    def run_id(self) -> str:
        return str(self.document["run_id"])

    @property
    def name(self) -> str:
        return f"{self.row.task}/{self.row.sample}@{self.row.epoch}"

    @property
    def id(self) -> str:
        return trajectory_id_of(self.run_id, self.row.trial)

    @property
    def model(self) -> str:
        return str((self.imported or self.document).get("model") or "")

    @property
    def agent(self) -> str:
        harness = self.document.get("config", {}).get("harness", {}).get("name", "")
        return str(self.imported.get("agent") or f"agentlab/{harness}")

    @cached_property
    def imported(self) -> dict[str, Any]:
        """Where the trace comes from, where it is not ours."""
        found = self._kept.get("imported")
        return found if isinstance(found, dict) else {}

    @cached_property
    def rest(self) -> dict[str, Any]:
        """What an import kept beside the events."""
        found = self._kept.get("rest")
        return found if isinstance(found, dict) else {}

    @cached_property
    def _kept(self) -> dict[str, Any]:
        notes = self.trace.of(Note)
        event = notes[-1].event if notes else None
        return event.data if isinstance(event, Note) and "imported" in event.data else {}

    def about(self) -> dict[str, Any]:
        """What the trial is and how it ended, as JSON."""
        row = self.row
        told = {"run": self.run_id, **row.fields(), "sandbox_seconds": row.sandbox_seconds}
        if row.error_kind:
            told["error"] = {"kind": row.error_kind, "message": row.error_message}
        return told

    @property
    def tools(self) -> tuple[ToolSpec, ...]:
        """What the model was offered in its last call."""
        calls = [stored.event for stored in self.trace.of(ModelCall)]
        return next((call.tools for call in reversed(calls) if isinstance(call, ModelCall) and call.tools), ())
