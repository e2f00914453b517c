"""Grading stored trials again, by the tasks' own scorers as they are now or by others, kept beside the run's scores."""

from __future__ import annotations

import getpass
import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from agentlab import __version__
from agentlab.analysis.statistics import paired_difference
from agentlab.models.presence import Departures
from agentlab.models.prices import CostMeter
from agentlab.service.harness import ConfigError
from agentlab.service.judge import open_judge
from agentlab.service.replay.crew import each
from agentlab.service.replay.stage import Again, Stage, as_recorded, cannot_replay, error_of, replayed, stored_trace
from agentlab.service.run_document import now
from agentlab.service.trial import Result
from agentlab.traces.artifacts import sync_directory
from agentlab.traces.divergence import first_divergence
from agentlab.traces.errors import StoreError
from agentlab.traces.events import Scored

if TYPE_CHECKING:
    from agentlab.sandboxes.pool import Pool
    from agentlab.sandboxes.protocol import Say
    from agentlab.service.board import Board
    from agentlab.service.judge import MakeJudge
    from agentlab.tasks.types import Scorer
    from agentlab.traces.reader import RunReader
    from agentlab.traces.rows import AttemptRow

FOLDER = "scores"
"""In a run's directory: one file for each time it was graded again."""
SCHEMA = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Graded(msgspec.Struct, frozen=True, kw_only=True):
    """A trial's new verdict beside the stored one. `value` is None, with a `reason`, where there is none."""

    trial: int
    attempt: int
    task: str
    sample: str
    epoch: int
    stored: float | None
    value: float | None = None
    scores: dict[str, float] = {}
    answer: str = ""
    explanation: str = ""
    flags: tuple[str, ...] = ()
    reason: str = ""


class TaskChange(msgspec.Struct, frozen=True, kw_only=True):
    """What another verdict makes of a task: over the items that both have graded, new minus stored."""

    task: str
    n: int
    """Items (samples, the mean of their epochs) that both have graded."""
    stored: float | None
    value: float | None
    difference: float | None
    ci95: tuple[float | None, float | None]
    p: float | None
    higher: int
    """Trials whose value rose."""
    lower: int
    not_graded: int


class _Used(msgspec.Struct):
    name: str
    version: int


class _Scores(msgspec.Struct):
    """What a file of scores must hold to be shown."""

    name: str
    at: str
    by: str
    scorers: dict[str, list[_Used]]
    tasks: list[TaskChange]
    trials: list[Graded]


async def grade_again(stage: Stage, reader: RunReader, board: Board, say: Say) -> list[Graded]:
    """Every trial of the stage graded by its scorers, in order of their numbers.

    What the agent did is carried out again from the recording, so that scorers find its answer and its workspace;
    where the world answers otherwise now there is no workspace to grade. Raises SandboxError and ModelError where
    engine or judge are absent.
    """
    found = [_ungraded(left.row, left.reason) for left in stage.left]
    config = stage.plan.config
    async with open_judge(config, CostMeter(config.max_cost), Departures()) as judge, stage.boxes(say) as pool:
        board.watch(pool)
        stage.expect(pool)

        async def one(again: Again) -> None:
            graded = await _grade_one(again, reader, pool, judge)
            found.append(graded)
            said = Result("scored", graded.value) if not graded.reason else Result("verifier", error_kind="left_out")
            board.trial_ended(again.row.task, said)

        async with board.shown():
            await each(one, stage.trials, pool)
    return sorted(found, key=lambda graded: graded.trial)


async def _grade_one(again: Again, reader: RunReader, pool: Pool | None, judge: MakeJudge | None) -> Graded:
    row = again.row
    recorded = stored_trace(reader, row)
    if reason := cannot_replay(again, recorded):
        return _ungraded(row, reason)
    if row.outcome not in ("scored", "verifier"):
        return _ungraded(row, f"it ended in a {row.outcome} error, with nothing to grade")
    setting = as_recorded(replace(again.setting, judge=judge), recorded)
    trace, result = await replayed(again, setting, recorded, pool)
    if divergence := first_divergence(recorded, trace, scores=False):
        return _ungraded(row, f"what it did cannot be carried out again: {divergence}")
    if result.outcome != "scored" or result.value is None:
        return _ungraded(row, error_of(result) or f"{result.outcome} error: {result.error_message}")
    verdicts = [stored.event for stored in trace.of(Scored) if isinstance(stored.event, Scored)]
    return Graded(
        trial=row.trial,
        attempt=row.attempt,
        task=row.task,
        sample=row.sample,
        epoch=row.epoch,
        stored=row.value,
        value=result.value,
        scores=result.scores,
        answer=verdicts[0].answer if verdicts else "",
        explanation=verdicts[0].explanation if verdicts else "",
        flags=result.flags,
    )


def _ungraded(row: AttemptRow, reason: str) -> Graded:
    return Graded(
        trial=row.trial,
        attempt=row.attempt,
        task=row.task,
        sample=row.sample,
        epoch=row.epoch,
        stored=row.value,
        reason=reason,
    )


def changes(graded: Sequence[Graded], clusters: dict[int, str]) -> list[TaskChange]:
    """The paired difference of each task; `clusters` by trial, where samples are not independent."""
    of_task: dict[str, list[Graded]] = {}
    for one in graded:
        of_task.setdefault(one.task, []).append(one)
    return [_change(task, rows, clusters) for task, rows in of_task.items()]


def _change(task: str, rows: Sequence[Graded], clusters: dict[int, str]) -> TaskChange:
    pairs: dict[str, list[tuple[float, float]]] = {}
    of_sample: dict[str, str] = {}
    for one in rows:
        if one.value is not None and one.stored is not None:
            pairs.setdefault(one.sample, []).append((one.value, one.stored))
            of_sample[one.sample] = clusters.get(one.trial) or one.sample
    if not pairs:
        return TaskChange(
            task=task,
            n=0,
            stored=None,
            value=None,
            difference=None,
            ci95=(None, None),
            p=None,
            higher=0,
            lower=0,
            not_graded=sum(one.value is None for one in rows),
        )
    new = [sum(value for value, _ in items) / len(items) for items in pairs.values()]
    old = [sum(value for _, value in items) / len(items) for items in pairs.values()]
    found = paired_difference(new, old, list(of_sample.values()))
    every = [pair for items in pairs.values() for pair in items]
    return TaskChange(
        task=task,
        n=len(pairs),
        stored=sum(old) / len(old),
        value=sum(new) / len(new),
        difference=found.value,
        ci95=(_finite(found.ci95[0]), _finite(found.ci95[1])),
        p=_finite(found.p),
        higher=sum(now > before for now, before in every),
        lower=sum(now < before for now, before in every),
        not_graded=sum(one.value is None for one in rows),
    )


def document_of(stage: Stage, graded: Sequence[Graded], name: str, scorers: Sequence[Scorer]) -> dict[str, Any]:
    """What is kept: who graded when with which version of what, every verdict, and what it changes."""
    clusters = {again.row.trial: again.row.cluster for again in stage.trials}
    used = {
        found.task.name: [
            {"name": scorer.name, "version": scorer.version, "params": dict(scorer.params)}
            for scorer in found.task.scorers
        ]
        for found in stage.plan.surveys
        if any(one.task == found.task.name for one in graded)
    }
    return {
        "schema": SCHEMA,
        "name": name,
        "at": now(),
        "by": _user(),
        "agentlab": __version__,
        "scorers": used,
        "own": not scorers,
        "remarks": list(stage.remarks),
        "tasks": [msgspec.to_builtins(change) for change in changes(graded, clusters)],
        "trials": [msgspec.to_builtins(one) for one in graded],
    }


def free_name(run_dir: Path, wanted: str | None, scorers: Sequence[Scorer]) -> str:
    """A name for new scores that none there has. Raises ConfigError for one that is taken, or no name at all."""
    taken = set(stored_names(run_dir))
    if wanted is not None:
        if not _NAME.fullmatch(wanted):
            raise ConfigError(f"--name {wanted!r}: letters, digits, '.', '_' and '-', beginning with a letter or digit")
        if wanted in taken:
            raise ConfigError(f"scores {wanted} are there already, and are never overwritten: give another --name")
        return wanted
    first = f"{scorers[0].name}-v{scorers[0].version}" if scorers else "own"
    base = re.sub(r"[^A-Za-z0-9._-]", "-", first).lstrip("._-") or "scores"
    number = 1
    while (name := base if number == 1 else f"{base}-{number}") in taken:
        number += 1
    return name


def keep(run_dir: Path, document: dict[str, Any]) -> Path:
    """Write new scores into a file of their own. Raises StoreError where that is there already, or cannot be."""
    path = run_dir / FOLDER / f"{document['name']}.json"
    text = json.dumps(document, indent=1, default=str)
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("x", encoding="utf-8", errors="replace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(path.parent)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error
    return path


def stored_names(run_dir: Path) -> list[str]:
    """The names of the scores that are kept beside a run's own, in order."""
    return sorted(path.stem for path in (run_dir / FOLDER).glob("*.json"))


def stored_scores(run_dir: Path, name: str) -> dict[str, Any]:
    """Scores by their name. Raises ConfigError where there are none of that name, StoreError for a broken file."""
    names = stored_names(run_dir)
    if name not in names:
        there = f"there are {', '.join(names)}" if names else "it was graded once only; see `agentlab score`"
        raise ConfigError(f"run {run_dir.name} has no scores {name!r}: {there}")
    path = run_dir / FOLDER / f"{name}.json"
    try:
        document = json.loads(path.read_bytes())
        msgspec.convert(document, _Scores)
    except (OSError, ValueError, RecursionError, msgspec.ValidationError) as error:
        raise StoreError(f"{path} holds no scores: {error}") from error
    found: dict[str, Any] = document
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in many containers
        return str(os.getuid())


def _finite(number: float) -> float | None:
    return float(number) if number == number and abs(number) != float("inf") else None
