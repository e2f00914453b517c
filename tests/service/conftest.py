"""Runs through the public surface: a task file, a harness, an endpoint in this process, and a run directory to read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from back_ends import usable

from agentlab.sandboxes import open_backend
from agentlab.service.config import RunConfig
from agentlab.service.harness import load_harness
from agentlab.service.launch import RunEnd, launch
from agentlab.service.prepare import Plan, prepare
from agentlab.traces.events import Event
from agentlab.traces.reader import RunReader
from agentlab.traces.rows import AttemptRow

LITTLE_TASKS = Path(__file__).with_name("little_tasks.py")


@dataclass(frozen=True)
class Ran:
    """A run that ended, and what it stored."""

    end: RunEnd
    reader: RunReader

    @property
    def rows(self) -> dict[str, AttemptRow]:
        """The last attempt of each sample (first epoch), by sample id."""
        return {row.sample: row for row in self.reader.trials() if row.epoch == 1}

    @property
    def document(self) -> dict[str, Any]:
        return self.reader.document()

    def task(self, name: str) -> dict[str, Any]:
        """The task's line of the summary, whatever its variant."""
        (found,) = (line for line in self.end.summary.tasks if line.task.partition(":")[0] == name)
        return found.as_dict()

    def events(self, sample: str, kind: type[Event] | None = None, attempt: int | None = None) -> list[Any]:
        """The trace of a sample's attempt (the last one), or its events of one kind."""
        found = [stored.event for stored in self.reader.events(self.rows[sample].trial, attempt)]
        return found if kind is None else [event for event in found if isinstance(event, kind)]


Run = Callable[..., Awaitable[Ran]]


def little(*names: str) -> tuple[str, ...]:
    """Tasks of `little_tasks.py` as a command line names them; paths stay what they are."""
    return tuple(name if "/" in name else f"{LITTLE_TASKS}::{name}" for name in names)


def plan_for(
    names: tuple[str, ...], model: str, runs_dir: Path, harness: str = "direct", *settings: str, **fields: Any
) -> Plan:
    """The plan of a run over little tasks."""
    config = RunConfig(
        tasks=little(*names),
        model=model,
        harness=load_harness(harness, settings),
        runs_dir=str(runs_dir),
        **{"max_connections": 8, **fields},
    )
    return prepare(config, open_backend(config.sandbox).offers)


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., Plan]:
    """Plans little tasks: `plan("sums", model=..., harness=..., settings=(...,))`."""

    def make(
        *names: str, model: str = "nop", harness: str = "direct", settings: tuple[str, ...] = (), **fields: Any
    ) -> Plan:
        return plan_for(names, model, fields.pop("runs_dir", tmp_path / "runs"), harness, *settings, **fields)

    return make


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Carries out little tasks: `await run("sums", model=..., harness=..., settings=(...,))`."""
    readers: list[RunReader] = []

    async def carry_out(
        *names: str,
        model: str,
        harness: str = "direct",
        settings: tuple[str, ...] = (),
        resume: Path | None = None,
        **fields: Any,
    ) -> Ran:
        plan = plan_for(names, model, tmp_path / "runs", harness, *settings, **fields)
        end = await launch(plan, resume=resume, quiet=True, say=lambda sentence: None)
        readers.append(RunReader(end.run_dir))
        return Ran(end, readers[-1])

    yield carry_out
    for reader in readers:
        reader.close()


@pytest.fixture
def harbor(run: Run) -> Run:
    """Runs task directories in Harbor's format with the tools harness: `await harbor(path, model=...)`."""

    async def carry_out(*paths: Path, model: str = "reference", **fields: Any) -> Ran:
        return await run(*(str(path) for path in paths), model=model, harness="tools", **fields)

    return carry_out


@pytest.fixture
async def docker() -> None:
    """Skips where no engine answers."""
    await (await usable("docker")).close()
