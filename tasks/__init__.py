"""Tasks: samples, suites, registries, data sources, scorers, metrics and the built-in benchmarks.

What a task file needs: `from agentlab.tasks import Sample, Task, task` and a scorer from `agentlab.tasks.scorers`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from agentlab.tasks.definitions import TaskDefinition, suite, task
from agentlab.tasks.external import ExternalEval, ExternalResult, SandboxedExternalEval
from agentlab.tasks.types import (
    BoxNeeds,
    FewShot,
    Sample,
    Score,
    ScoreContext,
    Scorer,
    Submission,
    Suite,
    Task,
    TaskError,
    VerifierError,
)

if TYPE_CHECKING:
    from agentlab.tasks.data import DataSource, MemorySource, concat, join
    from agentlab.tasks.differences import diff_payloads
    from agentlab.tasks.identity import Survey, TaskIdentity, survey, task_identity
    from agentlab.tasks.loading import load_samples
    from agentlab.tasks.prompting import load_fewshot, render, render_continuations, render_raw
    from agentlab.tasks.registry import Resolution, TaskInfo, TaskProblem, discover, list_tasks, resolve
    from agentlab.tasks.suites import combine_scores

_LAZY = {
    "DataSource": "data",
    "MemorySource": "data",
    "concat": "data",
    "join": "data",
    "Survey": "identity",
    "TaskIdentity": "identity",
    "diff_payloads": "differences",
    "survey": "identity",
    "task_identity": "identity",
    "load_samples": "loading",
    "load_fewshot": "prompting",
    "render": "prompting",
    "render_continuations": "prompting",
    "render_raw": "prompting",
    "Resolution": "registry",
    "TaskInfo": "registry",
    "TaskProblem": "registry",
    "discover": "registry",
    "list_tasks": "registry",
    "resolve": "registry",
    "combine_scores": "suites",
}

__all__ = [
    "BoxNeeds",
    "DataSource",
    "ExternalEval",
    "ExternalResult",
    "FewShot",
    "MemorySource",
    "Resolution",
    "Sample",
    "SandboxedExternalEval",
    "Score",
    "ScoreContext",
    "Scorer",
    "Submission",
    "Suite",
    "Survey",
    "Task",
    "TaskDefinition",
    "TaskError",
    "TaskIdentity",
    "TaskInfo",
    "TaskProblem",
    "VerifierError",
    "combine_scores",
    "concat",
    "diff_payloads",
    "discover",
    "join",
    "list_tasks",
    "load_fewshot",
    "load_samples",
    "render",
    "render_continuations",
    "render_raw",
    "resolve",
    "suite",
    "survey",
    "task",
    "task_identity",
]


def __getattr__(name: str) -> Any:
    """Names that cost time are imported when they are first used."""
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
