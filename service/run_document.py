"""What `run.json` says of a run as it begins, whatever the run is made of: trials, forks of one, traces of others."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentlab import __version__
from agentlab.service.boxes import isolation_of
from agentlab.service.environment import describe_environment
from agentlab.service.prepare import plan_table

if TYPE_CHECKING:
    from agentlab.service.models import ModelSource
    from agentlab.service.prepare import Plan

SCHEMA = 1


def new_document(run_id: str, **said: Any) -> dict[str, Any]:
    """The fields that every run has, with what is `said` of this one."""
    return {
        "schema": SCHEMA,
        "run_id": run_id,
        "created_at": now(),
        "agentlab": __version__,
        "status": "running",
        "name": "",
        "tags": [],
        "model": "",
        "provider": "",
        "isolation": None,
        "images": {},
        "config": {},
        "tasks": {},
        "suites": [],
        "problems": [],
        "plan": [],
        "environment": describe_environment(),
        **said,
    }


def planned_document(run_id: str, plan: Plan, models: ModelSource, **said: Any) -> dict[str, Any]:
    """The same of a run that carries a plan out."""
    config = plan.config
    of_plan = {
        "started_in": str(Path.cwd()),
        "name": config.name,
        "tags": list(config.tags),
        "model": models.name,
        "provider": models.provider,
        "isolation": isolation_of(config.sandbox) if plan.images else None,
        "config": config.model_dump(mode="json"),
        "plan": plan_table(plan.rows),
    }
    return new_document(run_id, **(of_plan | said))


def now() -> str:
    """The time as documents tell it: UTC, to the millisecond, so that the latest of two quick runs is known."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
