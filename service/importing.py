"""`agentlab traces import`: foreign traces become a run directory, which every other command reads."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from agentlab.service.diagnosis import automatic_labels
from agentlab.service.run_document import new_document, now
from agentlab.service.run_id import new_run_id
from agentlab.service.summary import compute_summary
from agentlab.tasks.identity import hash_payload
from agentlab.traces.artifacts import sync_directory
from agentlab.traces.encoding import plain
from agentlab.traces.errors import FormatError, StoreError
from agentlab.traces.events import ErrorRaised, Event, Note, Outcome, Scored
from agentlab.traces.formats import ImportedTrace, Source, agentrx, read_traces
from agentlab.traces.lock import holder
from agentlab.traces.rows import Label
from agentlab.traces.store import RunStore

UNGRADED = ("ungraded", "the imported trace holds no score")
"""(kind, message) of a trial that nobody has graded: its outcome is that of a verifier that gave no verdict."""
NOTE = "imported; what has no place in a trace is kept here"
PLACE = ".importing"
ABANDONED_S = 60.0
"""Age from which a run that nobody writes is one of a killed import, and not of one that just begins."""
_FLUSH_EVERY = 100
"""Traces after which storing is waited for, so that memory stays flat."""


@dataclass(slots=True)
class Imported:
    """What an import came to."""

    run_id: str
    run_dir: Path
    traces: int = 0
    turns: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    unmapped: Counter[str] = field(default_factory=Counter)
    """Fields that have no place in a trace, and are kept in its last event: in how many traces each was met."""
    broken: list[FormatError] = field(default_factory=list)
    """Records that were left out for what is wrong in them."""
    unknown: list[FormatError] = field(default_factory=list)
    """Records of a folder that look like no trace."""
    labels: Counter[str] = field(default_factory=Counter)
    """Labels that others gave, by their name: of how many traces or steps."""


def import_traces(
    path: Path,
    runs_dir: Path,
    *,
    name: str = "",
    format_name: str = "",
    skip_broken: bool = False,
    labels: Path | None = None,
) -> Imported:
    """Read the traces of a file or folder and store them as a finished run, with the labels that the files hold and
    those that detectors give. With `skip_broken` records that cannot be read are left out and listed. `labels` is a
    file of AgentRx's labels of these runs. Nothing is left behind where it fails,
    and nothing that looks like a run where it is killed.

    Raises FormatError for the first broken record, or where there is no trace; StoreError, OSError.
    """
    findings = _findings(labels) if labels is not None else {}
    if not path.exists():  # nor a link that leads in a circle
        raise FormatError(str(path), "", "there is no such file or folder")
    run_id = new_run_id(name or Source(file=path.resolve().name).stem, runs_dir)
    result = Imported(run_id, runs_dir / run_id)
    document = new_document(
        run_id,
        name=name,
        tags=["imported"],
        provider="imported",
        config=_config([]),
        imported={"from": path.name},
    )
    made = _workplace(runs_dir) / run_id
    try:
        with RunStore.create(made, document) as store:
            writer = _Writer(store, result, findings)
            for trace in read_traces(
                path,
                format_name=format_name,
                on_broken=result.broken.append if skip_broken else None,
                on_unknown=result.unknown.append,
            ):
                writer.add(trace)
            store.flush()
            if not result.traces:
                raise _nothing(path, result)
            if labels is not None and not writer.matched:
                raise FormatError(str(labels), "", f"it labels runs of {_some(findings)}; none of them was imported")
            document |= writer.found()
            document["summary"] = compute_summary(made, document, {}, epochs=writer.epochs).as_dict()
            store.write_document(document | {"status": "finished", "ended_at": now()})
        if store.error is not None:
            raise StoreError(str(store.error))
        made.rename(result.run_dir)
        sync_directory(runs_dir)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    finally:
        with suppress(OSError):  # another import is at work there
            made.parent.rmdir()
    return result


def _workplace(runs_dir: Path) -> Path:
    """Where runs stand that are not whole yet: an import that is killed leaves nothing that looks like a run. What such
    ones left is removed.
    """
    place = runs_dir / PLACE
    for left in place.glob("*"):
        with suppress(OSError):
            if holder(left) is None and time.time() - left.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(left, ignore_errors=True)
    return place


def _findings(labels: Path) -> dict[str, agentrx.Findings]:
    found = agentrx.findings_in(labels)
    if not found:
        wanted = "a list of objects with trajectory_id, failures, root_cause"
        raise FormatError(str(labels), "", f"these are no labels of AgentRx, which are {wanted}")
    return found


def _some(findings: dict[str, agentrx.Findings]) -> str:
    names = ", ".join(list(findings)[:3])
    return f"task {names}" + (f" and {len(findings) - 3} more" if len(findings) > 3 else "")


def _nothing(path: Path, result: Imported) -> FormatError:
    first = next(iter((*result.broken, *result.unknown)), None)
    why = f"; the first thing that was left out: {first}" if first else ""
    return FormatError(str(path), "", f"no trace was found in it{why}")


class _Writer:
    """Writes traces as trials, and keeps count of what `run.json` says of them."""

    def __init__(self, store: RunStore, result: Imported, findings: dict[str, agentrx.Findings]) -> None:
        """Of `findings` those are taken out that a trace is found for."""
        self._store = store
        self._findings = findings
        self.matched: set[str] = set()
        """Tasks of which a labelled run was found."""
        self._result = result
        self._tried: dict[str, Counter[str]] = {}
        self._models: dict[str, None] = {}
        self._scored: set[str] = set()

    def add(self, trace: ImportedTrace) -> None:
        # Names go into columns and hashes, which hold no lone surrogates.
        scores = {plain(name): value for name, value in trace.scores.items()}
        task, sample, model = (plain(text) for text in (trace.task, trace.sample, trace.model))
        trace = self._labelled(msgspec.structs.replace(trace, task=task, sample=sample, model=model, scores=scores))
        result, tried = self._result, self._tried.setdefault(trace.task, Counter())
        tried[trace.sample] += 1
        result.traces += 1
        result.turns += len(trace.events)
        result.formats[trace.format] += 1
        result.unmapped.update(trace.rest.keys() if trace.unmapped is None else trace.unmapped)
        if trace.model:
            self._models[trace.model] = None
        if trace.value is not None:
            self._scored.add(trace.task)
        self._store_trial(result.traces, tried[trace.sample], trace)
        if result.traces % _FLUSH_EVERY == 0:
            self._store.flush()

    def _labelled(self, trace: ImportedTrace) -> ImportedTrace:
        """With the labels of a file of their own. Raises FormatError where nobody can tell which trace they are of."""
        if trace.format not in ("agentrx", "tau-bench"):
            return trace
        if trace.sample in self.matched:
            raise trace.source.error("a second run of this task: which of them was labelled cannot be told", "task_id")
        findings = self._findings.pop(trace.sample, None)
        if findings is None:
            return trace
        self.matched.add(trace.sample)
        return agentrx.labelled(trace, findings)

    def _store_trial(self, trial: int, epoch: int, trace: ImportedTrace) -> None:
        known = [event.at for event in trace.events if event.at]
        began = known[0] if known else time.time()
        names = (trace.task, trace.sample)
        recorder = self._store.attempt(trial, *names, epoch, 1, {"agent": "imported"}, started_at=began)
        now = began
        for event in (*trace.events, *_endings(trace)):
            now = event.at or now  # a step whose time is not known came after the one before it
            recorder.record(event if event.at else msgspec.structs.replace(event, at=now))
        recorder.usage, recorder.cost_usd = trace.usage, trace.cost_usd
        outcome: Outcome = trace.outcome or ("scored" if trace.value is not None else "verifier")
        error = trace.error or (UNGRADED if outcome == "verifier" else None)
        recorder.finish(
            outcome,
            trace.value if outcome == "scored" else None,
            trace.scores if outcome == "scored" else None,
            trace.flags,
            error=error,
            ended_at=now,
        )
        if not trace.diagnosed:
            solved = trace.value >= 1.0 if trace.value is not None and outcome == "scored" else None
            for label in automatic_labels(trial, 1, recorder.events, solved=False if trace.outcome else solved):
                self._store.label(label)
        for given in trace.labels:
            self._result.labels[plain(given.name)] += 1
            self._store.label(Label(trial=trial, attempt=1, **msgspec.structs.asdict(given)))

    @property
    def epochs(self) -> int:
        """How often every sample of every task was tried; 1 where that differs, so that none is said to be missing."""
        often = {count for tried in self._tried.values() for count in tried.values()}
        return often.pop() if len(often) == 1 else 1

    def found(self) -> dict[str, Any]:
        """What `run.json` says of what was imported."""
        models = list(self._models)
        formats = sorted(self._result.formats)
        return {
            "model": models[0] if len(models) == 1 else f"{len(models)} models" if models else "unknown",
            "config": {**_config(list(self._tried)), "epochs": self.epochs},
            "tasks": {task: self._identity(task, tried) for task, tried in self._tried.items()},
            "plan": [self._plan_row(task, len(tried)) for task, tried in self._tried.items()],
            "imported": {
                "formats": dict(self._result.formats),
                "models": models,
                "kept": dict(self._result.unmapped),
                "broken": [str(error) for error in self._result.broken],
                "unknown": [str(error) for error in self._result.unknown],
            },
            "tags": ["imported", *formats],
        }

    def _plan_row(self, task: str, n: int) -> dict[str, Any]:
        scorer = "imported" if task in self._scored else ""
        return {"task": task, "n": n, "agent": "imported", "scorer": scorer}

    def _identity(self, task: str, tried: Counter[str]) -> dict[str, Any]:
        payload = {"imported": task, "samples": sorted(tried)}
        return {
            "task_hash": hash_payload(payload),
            "task": payload,
            "n": len(tried),
            "groups": {"": len(tried)},
            "trials": {"epochs": self.epochs},
            "scaffolds": {},
        }


def _endings(trace: ImportedTrace) -> list[Event]:
    """What stands after the turns: the verdict, the error, and what has no place."""
    endings: list[Event] = []
    if trace.value is not None:
        endings.append(
            Scored(
                at=0.0,
                scorer=trace.format,
                version=1,
                value=trace.value,
                scores=trace.scores,
                answer=trace.answer,
                target=trace.target,
                explanation=trace.explanation,
                flags=trace.flags,
            )
        )
    if trace.outcome is not None and trace.error is not None:
        endings.append(ErrorRaised(at=0.0, boundary=trace.outcome, kind=trace.error[0], message=trace.error[1]))
    origin = {"format": trace.format, "file": trace.source.file, "record": trace.source.record}
    told = {key: value for key, value in (("agent", trace.agent), ("model", trace.model)) if value}
    endings.append(Note(at=0.0, text=NOTE, data={"imported": origin | told, "rest": trace.rest}))
    return endings


def _config(tasks: list[str]) -> dict[str, Any]:
    return {"harness": {"name": "imported"}, "tasks": tasks, "epochs": 1}
