"""Failed traces of which people said who made the decisive step, and which it is: what the classifier learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from agentlab.traces.causes.model import TrainedOn
from agentlab.traces.formats import ImportedTrace, agentrx, read_traces
from agentlab.traces.steps import Trace, trace_of


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


def read_labelled(paths: Sequence[Path]) -> tuple[list[LabelledTrace], list[TrainedOn]]:
    """The labelled traces in files of Who&When and AgentRx, and what each file was. AgentRx keeps its labels in a file
    beside the trajectories: give both. Traces without a label are left out. Raises FormatError, OSError.
    """
    findings: dict[str, agentrx.Findings] = {}
    found: list[ImportedTrace] = []
    sources: list[tuple[Path, set[str]]] = []
    for path in paths:
        ground_truth = agentrx.findings_in(path)
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


def _labelled(trace: ImportedTrace, findings: Mapping[str, agentrx.Findings]) -> LabelledTrace | None:
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
    root, faults = agentrx.faults_of(findings[trace.sample], trace)
    return LabelledTrace(
        id=trace.sample,
        group=f"{trace.task} {trace.sample}",
        origin=trace.format,
        trace=trace_of(trace.events),
        agent=root.agent,
        step=root.seq,
        category=root.category,
        faults=tuple((fault.seq, fault.category) for fault in faults),
    )
