"""A run as a Harbor job directory: one folder a trial, with results that Harbor's own schema describes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agentlab.traces.events import (
    Artifact,
    ErrorRaised,
    Event,
    ModelCall,
    Note,
    SandboxExec,
    SandboxStart,
    Scored,
    ToolCallEvent,
)
from agentlab.traces.formats.atif_export import NAMESPACE, trajectory, trajectory_id_of
from agentlab.traces.reader import RunReader
from agentlab.traces.render import render_trace
from agentlab.traces.rows import AttemptRow

STEP = "step"
"""The key of a `Note` that tells which step begins."""
LOG = "test-stdout.txt"


@dataclass(frozen=True, slots=True)
class _Trial:
    row: AttemptRow
    events: Sequence[Event]
    name: str
    folder: Path


def export_job(reader: RunReader, target: Path) -> Path:
    """Write the run below `target`; the job's folder. Raises FileExistsError where it is there already."""
    document = reader.document()
    job = target / str(document["run_id"])
    job.mkdir(parents=True)
    results = []
    for row in reader.trials():
        events = [stored.event for stored in reader.events(row.trial)]
        name = f"{_safe(row.sample)}__{row.trial:05d}"
        trial = _Trial(row, events, name, job / name)
        results.append(_write_trial(reader, document, trial))
    _write(job / "config.json", _job_config(document, job, results))
    _write(job / "lock.json", {"run_id": document["run_id"], "tasks": document.get("tasks", {})})
    _write(job / "result.json", _job_result(document, results))
    return job


def _write_trial(reader: RunReader, document: dict[str, Any], trial: _Trial) -> dict[str, Any]:
    trial.folder.mkdir()
    result = _result(reader, document, trial)
    _write(trial.folder / "config.json", result["config"])
    _write(trial.folder / "lock.json", {"task_checksum": result["task_checksum"], "route": trial.row.route})
    _write(trial.folder / "result.json", result)
    log = "\n".join(render_trace(trial.events, began=trial.row.started_at, width=120))
    (trial.folder / "trial.log").write_text(log + "\n", encoding="utf-8", errors="replace")
    if result["exception_info"] is not None:
        info = result["exception_info"]
        text = f"{info['exception_type']}: {info['exception_message']}\n{info['exception_traceback']}"
        (trial.folder / "exception.txt").write_text(text, encoding="utf-8", errors="replace")
    harness = document["config"]["harness"]["name"]
    made = trajectory(
        trial.events,
        trajectory_id=result["id"],
        session_id=str(document["run_id"]),
        agent=f"agentlab/{harness}",
        agent_version=str(document["agentlab"]),
        model=str(document["model"]),
    )
    _write(trial.folder / "agent" / "trajectory.json", made)
    _write_verifier(reader, trial, result)
    return result


def _write_verifier(reader: RunReader, trial: _Trial, result: dict[str, Any]) -> None:
    """Rewards, the verifier's words, and the artifacts that were kept."""
    if result["verifier_result"] is not None:
        _write(trial.folder / "verifier" / "reward.json", result["verifier_result"]["rewards"])
    for event in trial.events:
        if not isinstance(event, Artifact):
            continue
        parts = [_safe(part) for part in event.name.split("/") if part not in ("", ".", "..")]
        folder = "verifier" if event.name == LOG else "artifacts"
        path = trial.folder.joinpath(folder, *(parts or [event.sha256]))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(reader.artifact(event.sha256))


def _result(reader: RunReader, document: dict[str, Any], trial: _Trial) -> dict[str, Any]:
    row, events = trial.row, trial.events
    origin = _origin(document, row)
    task = document.get("tasks", {}).get(row.task, {})
    scored = row.outcome == "scored"
    rewards = dict(row.scores) or {"reward": row.value or 0.0}
    return {
        "id": trajectory_id_of(str(document["run_id"]), row.trial),
        "task_name": f"{row.task}/{row.sample}" if row.task != row.sample else row.task,
        "trial_name": trial.name,
        "trial_uri": trial.folder.resolve().as_uri(),
        "task_id": {"path": origin},
        "source": row.task,
        "task_checksum": str(task.get("task_hash", "")),
        "config": _trial_config(document, trial, origin),
        "agent_info": {
            "name": f"agentlab/{document['config']['harness']['name']}",
            "version": str(document["agentlab"]),
            "model_info": {"name": str(document["model"]), "provider": document.get("provider")},
        },
        "agent_result": {
            "n_input_tokens": row.usage.input_tokens,
            "n_cache_tokens": row.usage.cached_tokens,
            "n_output_tokens": row.usage.output_tokens,
            "cost_usd": row.cost_usd,
            "metadata": {"flags": list(row.flags), "outcome": row.outcome, "attempt": row.attempt},
        },
        "verifier_result": {"rewards": rewards} if scored else None,
        "verifier_environment_mode": _verifier_mode(reader, trial),
        "exception_info": None if scored else _exception(row, events),
        "started_at": _time(row.started_at),
        "finished_at": _time(row.ended_at) if row.ended_at is not None else None,
        **_timings(row, events),
        "step_results": _steps(events),
    }


def _origin(document: dict[str, Any], row: AttemptRow) -> str:
    """Where the task comes from: the folder that was named on the command line, else its name."""
    for name in document["config"]["tasks"]:
        path = Path(str(name))
        if "/" in str(name) and path.name == row.task:
            return str(path) if row.task == row.sample else str(path / row.sample)
    return f"{row.task}/{row.sample}"


def _trial_config(document: dict[str, Any], trial: _Trial, origin: str) -> dict[str, Any]:
    config = document["config"]
    return {
        "task": {"path": origin},
        "trial_name": trial.name,
        "trials_dir": str(trial.folder.parent),
        "agent": {"name": f"agentlab/{config['harness']['name']}", "model_name": str(document["model"])},
        "environment": {"type": trial.row.route.get("agent") if trial.row.route.get("agent") == "docker" else None},
        "verifier": {},
        "job_id": str(uuid.uuid5(NAMESPACE, str(document["run_id"]))),
    }


def _verifier_mode(reader: RunReader, trial: _Trial) -> str | None:
    if any(isinstance(event, SandboxStart) and event.purpose == "scorer" for event in trial.events):
        return "separate"
    labels = {(label.name, label.value) for label in reader.labels(trial.row.trial)}
    return "shared" if ("verifier", "same_box") in labels else None


def _exception(row: AttemptRow, events: Sequence[Event]) -> dict[str, Any]:
    raised = next((event for event in reversed(events) if isinstance(event, ErrorRaised)), None)
    at = raised.at if raised is not None else row.ended_at or row.started_at
    return {
        "exception_type": f"{row.outcome or 'unfinished'}.{row.error_kind or 'unknown'}",
        "exception_message": row.error_message or (raised.message if raised is not None else ""),
        "exception_traceback": raised.detail if raised is not None else "",
        "occurred_at": _time(at),
    }


def _timings(row: AttemptRow, events: Sequence[Event]) -> dict[str, Any]:
    """When the box was set up, the agent worked and the verifier ran, as far as the events tell."""
    box = next((event for event in events if isinstance(event, SandboxStart)), None)
    worked = [event.at for event in events if _is_work(event)]
    graded = [event.at for event in events if isinstance(event, Scored)]
    began = box.at if box is not None else row.started_at
    ended = worked[-1] if worked else began
    return {
        "environment_setup": _span(box.at - box.wait_ms / 1000, box.at) if box is not None else None,
        "agent_setup": None,
        "agent_execution": _span(began, ended),
        "verifier": _span(ended, graded[-1]) if graded else None,
    }


def _is_work(event: Event) -> bool:
    if isinstance(event, SandboxExec):
        return event.user == "task"
    return isinstance(event, ToolCallEvent) or (isinstance(event, ModelCall) and event.purpose == "agent")


def _steps(events: Sequence[Event]) -> list[dict[str, Any]] | None:
    """Results of the steps of a task that has some: each begins with a note of its name."""
    steps: list[dict[str, Any]] = []
    for event in events:
        if isinstance(event, Note) and STEP in event.data:
            steps.append({"step_name": str(event.data[STEP])})
        elif isinstance(event, Scored) and steps:
            steps[-1]["verifier_result"] = {"rewards": dict(event.scores) or {"reward": event.value}}
    return steps or None


def _job_config(document: dict[str, Any], job: Path, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    config = document["config"]
    return {
        "job_name": job.name,
        "jobs_dir": str(job.parent),
        "n_attempts": config.get("epochs", 1),
        "agents": [{"name": f"agentlab/{config['harness']['name']}", "model_name": str(document["model"])}],
        "tasks": [{"path": path} for path in dict.fromkeys(result["task_id"]["path"] for result in results)],
    }


def _job_result(document: dict[str, Any], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    failed = [result for result in results if result["exception_info"] is not None]
    return {
        "id": str(uuid.uuid5(NAMESPACE, str(document["run_id"]))),
        "started_at": document.get("created_at"),
        "finished_at": document.get("ended_at"),
        "n_total_trials": len(results),
        "stats": {
            "n_trials": len(results),
            "n_errors": len(failed),
            "rewards": {
                result["trial_name"]: result["verifier_result"]["rewards"]
                for result in results
                if result["verifier_result"] is not None
            },
        },
    }


def _safe(text: str) -> str:
    """A name that is one part of a path on any file system."""
    kept = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in text)
    return kept.lstrip(".")[:120] or "_"


def _span(began: float, ended: float) -> dict[str, str]:
    return {"started_at": _time(began), "finished_at": _time(max(began, ended))}


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _write(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
