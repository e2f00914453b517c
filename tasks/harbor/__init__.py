"""Other people's tasks: directories in Harbor's format, as one task with a sample for each."""

from __future__ import annotations

from agentlab.tasks.harbor.importing import import_tasks, looks_like_tasks

__all__ = ["import_tasks", "looks_like_tasks"]
