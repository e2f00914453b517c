"""AgentRx (microsoft/AgentRx): rows of tau-bench whose messages are numbered from 1. People's labels are in a file of
their own and count in those numbers: `step_number` 1 is the event with seq 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from agentlab.traces.formats import taubench
from agentlab.traces.formats.imported import MAX_FILE, MAX_NOTE, ImportedLabel, ImportedTrace, Source, is_list_of
from agentlab.traces.taxonomy import CAUSE, FAULT, agentrx_name

NAME = "agentrx"

Findings = Mapping[str, Any]
"""What AgentRx's labels say of one run, as it stands in their file."""


class Fault(msgspec.Struct, frozen=True):
    """A step in which people found something wrong."""

    seq: int
    agent: str
    category: str
    """As AgentRx lists it."""
    reason: str = ""


def matches(record: Any) -> bool:
    return taubench.matches(record) and is_list_of(record["traj"], "index")


def read(record: dict[str, Any], source: Source) -> Iterator[ImportedTrace]:
    """The row's trace, its reward the score. Raises FormatError."""
    return taubench.read(record, source, name=NAME)


def are_labels(record: Any) -> bool:
    """Whether a record is what AgentRx's labels say of one run."""
    return isinstance(record, dict) and "root_cause" in record and "failures" in record


def findings_in(path: Path) -> dict[str, Findings] | None:
    """The labels of a file by the run's task; None where the file holds something else. Raises OSError."""
    if path.suffix != ".json" or path.stat().st_size > MAX_FILE:
        return None
    try:
        records = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None  # whoever reads traces says what is wrong with it
    if not isinstance(records, list) or not all(map(are_labels, records)):
        return None
    return {str(record["trajectory_id"]): record for record in records if "trajectory_id" in record}


def faults_of(findings: Findings, trace: ImportedTrace) -> tuple[Fault, tuple[Fault, ...]]:
    """The root cause, and every fault, it among them. Raises FormatError."""
    try:
        faults = {
            failure["failure_id"]: Fault(
                int(failure["step_number"]) - 1,
                str(failure["failed_agent"]),
                agentrx_name(str(failure["failure_category"])),
                str(failure.get("step_reason", "")),
            )
            for failure in findings["failures"]
        }
        root = faults[findings["root_cause"]["failure_id"]]
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        raise trace.source.error("its label names no root cause with agent, step and category") from None
    return root, tuple(faults.values())


def labelled(trace: ImportedTrace, findings: Findings) -> ImportedTrace:
    """The trace with AgentRx's labels: the decisive step, and every faulty one. Raises FormatError."""
    root, faults = faults_of(findings, trace)
    outside = next((fault for fault in faults if not 0 <= fault.seq < len(trace.events)), None)
    if outside is not None:
        said = f"its label is about step {outside.seq + 1}, and there are {len(trace.events)}"
        raise trace.source.error(said, "step_number")
    found = [(CAUSE, root), *((FAULT, fault) for fault in faults)]
    labels = (
        ImportedLabel(
            name=name,
            value=fault.category,
            author=NAME,
            seq=fault.seq,
            note=f"agent {fault.agent}; {fault.reason}"[:MAX_NOTE],
        )
        for name, fault in found
    )
    return msgspec.structs.replace(trace, labels=(*trace.labels, *labels))
