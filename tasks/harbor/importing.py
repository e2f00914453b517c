"""From a folder to a Task: a task directory with one sample, or a directory of them with a sample for each."""

from __future__ import annotations

import re
from pathlib import Path

from agentlab.tasks.harbor.procedure import HarborProcedure, harbor_verifier
from agentlab.tasks.harbor.task import CONFIG, HarborTask, is_task, load
from agentlab.tasks.types import Sample, Task, TaskError

PLACE = "Work in the directory in which the shell starts: your files are there, not in /workspace."
"""What the tools harness says of files does not hold in somebody else's image."""


def looks_like_tasks(folder: Path) -> bool:
    """Whether a folder is a task directory or holds some."""
    return folder.is_dir() and (is_task(folder) or any(is_task(child) for child in _children(folder)))


def _children(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.is_symlink())


def import_tasks(folder: Path) -> Task:
    """The task of a folder; its name is the folder's. Raises TaskError: for a single task that cannot be read, and
    where none of several can.
    """
    root = folder.resolve()
    single = is_task(root)
    found: dict[str, HarborTask] = {}
    refused: dict[str, str] = {}
    samples: list[Sample] = []
    for child in [root] if single else [child for child in _children(root) if is_task(child)]:
        try:
            task = load(child)
            samples.append(_sample(task))
            found[task.name] = task
        except TaskError as error:
            if single:
                raise
            refused[child.name] = str(error)
            samples.append(Sample(id=child.name, input="(this task cannot be read)", solution=""))
    if not found:
        raise TaskError(f"none of its {len(refused)} tasks can be read; the first: {next(iter(refused.values()))}")
    procedure = HarborProcedure(found, refused)
    return Task(
        name=re.sub(r"[^A-Za-z0-9_.-]", "-", root.name).lstrip("-.") or "harbor",
        description=_description(found, single),
        samples=tuple(samples),
        prompt="{input}",
        agent_prompt=PLACE,
        requires=("shell",),
        answer="workspace",
        scorers=(harbor_verifier(procedure),),
        procedure=procedure,
        remarks=tuple(remark for task in found.values() for remark in task.remarks()),
        origin=str(root / CONFIG if single else root),
    )


def _sample(task: HarborTask) -> Sample:
    """The sample: its instruction (that of the first step), and the checksum of the directory as its identity."""
    steps = task.config.steps
    return Sample(
        id=task.name,
        input=task.instruction(steps[0] if steps else None),
        solution="",
        metadata={"harbor": task.config.name or task.name, "checksum": task.checksum},
    )


def _description(found: dict[str, HarborTask], single: bool) -> str:
    if not single:
        return f"{len(found)} tasks in Harbor's format."
    told = (next(iter(found.values())).config.task or {}).get("description")
    return str(told) if told else "A task in Harbor's format."
