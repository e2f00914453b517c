"""Failed traces of which people said who made the decisive step, and which it is: what the classifier learns from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from agentlab.traces.causes.model import TrainedOn
from agentlab.traces.formats import ImportedTrace, read_traces
from agentlab.traces.steps import Trace, trace_of
from agentlab.traces.taxonomy import from_agentrx


class LabelledTrace(msgspec.Struct, frozen=True, kw_only=True):
    """A failed trace with what people found."""

    id: str
    group: str
    """Traces of one group (one question, one task) never stand on both sides of a fold."""
    origin: str
    """The format, or the collection, that it comes from."""
    trace: Trace
    agent: str
    step: int
    """The `seq` of the decisive step."""
    category: str = ""
    faults: tuple[tuple[int, str], ...] = ()
    """Every step that people found a fault in, the decisive one among them, with its category: (seq, category)."""


def category_name(text: str) -> str:
    """A category as AgentRx lists it, whatever its labels' spelling; else the text itself."""
    known = from_agentrx(text)
    return known[0].agentrx if known else " ".join(text.split())


def read_labelled(paths: Sequence[Path]) -> tuple[list[LabelledTrace], list[TrainedOn]]:
    """The labelled traces in files of Who&When and AgentRx, and what each file was. AgentRx keeps its labels in a file
    beside the trajectories: give both. Traces without a label are left out. Raises FormatError, OSError.
    """
    findings: dict[str, dict[str, Any]] = {}
    found: list[ImportedTrace] = []
    sources: list[tuple[Path, set[str]]] = []
    for path in paths:
        ground_truth = _ground_truth(path)
        if ground_truth is None:
            traces = list(read_traces(path))
            found += traces
            sources.append((path, {_key(trace) for trace in traces}))
        else:
            findings |= ground_truth
            sources.append((path, {f"agentrx {trajectory}" for trajectory in ground_truth}))
    labelled = {_key(trace): label for trace in found if (label := _labelled(trace, findings)) is not None}
    trained_on = [
        TrainedOn(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), len(keys & labelled.keys()))
        for path, keys in sources
    ]
    return list(labelled.values()), trained_on


def _key(trace: ImportedTrace) -> str:
    return f"agentrx {trace.sample}" if trace.format == "agentrx" else f"{trace.source.file} {trace.source.record}"


def _labelled(trace: ImportedTrace, findings: Mapping[str, Mapping[str, Any]]) -> LabelledTrace | None:
    agent, step = trace.rest.get("mistake_agent"), trace.rest.get("mistake_step")
    if isinstance(agent, str) and agent and isinstance(step, str | int):
        if not str(step).isdigit():
            raise trace.source.error(f"a step is a number, not {str(step)[:40]!r}", "mistake_step")
        return LabelledTrace(
            id=trace.sample,
            group=str(trace.rest.get("question") or trace.sample),
            origin=trace.format,
            trace=trace_of(trace.events),
            agent=agent,
            step=int(step),
        )
    if trace.sample not in findings or trace.format not in ("agentrx", "tau-bench"):
        return None
    agent, step, category, faults = _root_cause(findings[trace.sample], trace)
    return LabelledTrace(
        id=trace.sample,
        group=f"{trace.task} {trace.sample}",
        origin=trace.format,
        trace=trace_of(trace.events),
        agent=agent,
        step=step,
        category=category,
        faults=faults,
    )


def _ground_truth(path: Path) -> dict[str, dict[str, Any]] | None:
    """AgentRx's labels by trajectory; None where the file holds something else."""
    if path.suffix != ".json":
        return None
    try:
        records = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None  # the reader of traces says what is wrong with it
    if not isinstance(records, list) or not all(isinstance(r, dict) and "root_cause" in r for r in records):
        return None
    return {str(record["trajectory_id"]): record for record in records if "trajectory_id" in record}


def _root_cause(record: Mapping[str, Any], trace: ImportedTrace) -> tuple[str, int, str, tuple[tuple[int, str], ...]]:
    """(agent, seq, category, all faults) of a record of AgentRx's labels, which count messages from 1."""
    try:
        faults = [
            (
                failure["failure_id"],
                str(failure["failed_agent"]),
                int(failure["step_number"]) - 1,
                category_name(str(failure["failure_category"])),
            )
            for failure in record["failures"]
        ]
        wanted = record["root_cause"]["failure_id"]
        _, agent, step, category = next(fault for fault in faults if fault[0] == wanted)
    except (KeyError, TypeError, ValueError, StopIteration):
        raise trace.source.error("its label names no root cause with agent, step and category") from None
    return agent, step, category, tuple((seq, name) for _, _, seq, name in faults)
