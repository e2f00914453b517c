"""What `run.json` must look like for those who read it. Files are edited, cut off and copied together from others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from agentlab.traces.errors import NotARun

DOCUMENT = "run.json"


class _Named(msgspec.Struct):
    name: str = ""


class _Config(msgspec.Struct):
    harness: _Named = msgspec.field(default_factory=_Named)
    tasks: list[str] = []
    epochs: int = 1
    seed: int = 0
    limit: int | None = None


class _Task(msgspec.Struct):
    """A task's identity; of a task that could not be loaded its parts are empty."""

    task_hash: str
    n: int
    task: dict[str, Any]
    scaffolds: dict[str, dict[str, Any]]
    trials: dict[str, Any] = {}
    groups: dict[str, int] = {}


class _PlanRow(msgspec.Struct):
    task: str
    agent: str
    scorer: str


class _Metric(msgspec.Struct):
    name: str
    value: float | None
    stderr: float | None


class _TaskSummary(msgspec.Struct):
    task: str
    n: int
    trials: int
    metric: str
    value: float | None
    stderr: float | None
    ci95: tuple[float | None, float | None]
    mde80: float | None
    bounds: tuple[float | None, float | None]
    outcomes: dict[str, int]
    tokens: dict[str, int]
    latency_ms: dict[str, float | None]
    route: dict[str, str]
    cost_usd: float | None
    note: str
    metrics: list[_Metric]
    planned: int = 0
    epochs: int = 1


class _SuiteSummary(msgspec.Struct):
    suite: str
    value: float | None
    stderr: float | None
    ci95: tuple[float | None, float | None]
    n: int
    missing: list[str]


class _Error(msgspec.Struct):
    task: str
    sample: str
    kind: str
    message: str
    n: int = 1


class _Summary(msgspec.Struct):
    run_id: str
    tasks: list[_TaskSummary]
    suites: list[_SuiteSummary]
    errors: list[_Error]
    errors_total: int = 0
    error_kinds: list[_Error] = []


class _Document(msgspec.Struct):
    """The fields that are read by name; all others are free."""

    run_id: str = ""
    status: str = ""
    name: str = ""
    model: str | None = None
    created_at: str | float | None = None
    tags: list[str] = []
    resumed: list[str] = []
    config: _Config = msgspec.field(default_factory=_Config)
    tasks: dict[str, _Task] = {}
    plan: list[_PlanRow] = []
    summary: _Summary | None = None


def read_document(run_dir: Path) -> dict[str, Any]:
    """The run's `run.json`. Raises `NotARun` where there is none, or where it is not what was written."""
    path = run_dir / DOCUMENT
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        msgspec.convert(document, _Document)
    except FileNotFoundError as error:
        raise NotARun(run_dir) from error
    except msgspec.ValidationError as error:
        raise NotARun(run_dir, f"run.json is damaged: {error}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise NotARun(run_dir, f"run.json cannot be read: {error}") from error
    return document
