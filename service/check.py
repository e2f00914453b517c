"""Is a task right? Its reference must earn full marks on every sample, and doing nothing no more than the task says."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from agentlab.service import event_loop
from agentlab.service.boxes import offered_by
from agentlab.service.config import RunConfig, default_sandbox
from agentlab.service.harness import load_harness
from agentlab.service.launch import RunEnd, launch
from agentlab.service.models import first_target
from agentlab.service.prepare import Plan, prepare
from agentlab.tasks.types import Task
from agentlab.traces.reader import RunReader

EPSILON = 1e-9
SHOWN = 5
NAMED = 3
NO_REFERENCE = "neither target nor solution"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one scripted model earned on the task."""

    model: str
    n: int
    passed: bool
    wrong: tuple[tuple[str, str], ...]
    """The samples that it should not have been so on, and how it was."""

    @property
    def failures(self) -> tuple[str, ...]:
        return tuple(_failure(sample, message) for sample, message in self.wrong)

    def as_dict(self) -> dict[str, Any]:
        return {"model": self.model, "n": self.n, "passed": self.passed, "failures": list(self.failures)}

    @property
    def sentence(self) -> str:
        samples = "1 sample" if self.n == 1 else f"{self.n} samples"
        if self.passed:
            return f"ok: {self.model} on {samples} " + (
                "scores 1 everywhere" if self.model == "reference" else "earns nothing that it should not"
            )
        said = _grouped(self.wrong)
        shown = "; ".join(said[:SHOWN])
        more = f"; and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
        return f"wrong: {self.model} on {len(self.wrong)} of {samples}: {shown}{more}"


def _grouped(wrong: Iterable[tuple[str, str]]) -> list[str]:
    """What went wrong, the same thing said once with the first of its samples."""
    samples: dict[str, list[str]] = {}
    for sample, message in wrong:
        samples.setdefault(message, []).append(sample)
    return [
        _failure(who[0], message)
        if len(who) == 1
        else f"{len(who)} x {message} ({', '.join(who[:NAMED])}{', ...' if len(who) > NAMED else ''})"
        for message, who in samples.items()
    ]


def _failure(sample: str, message: str) -> str:
    return f"sample {sample} has {message}" if message == NO_REFERENCE else f"{sample}: {message}"


def check_task(
    name: str, task: Task, *, limit: int | None, sandbox: str | None, settings: tuple[str, ...] = ()
) -> list[Finding]:
    """Run `reference` and `nop` over the task in a run that is thrown away. Raises what a run raises."""
    findings = []
    for model in ("reference", "nop"):
        with tempfile.TemporaryDirectory(prefix="agentlab-check-") as runs_dir:
            config = RunConfig(
                tasks=(name,),
                model=model,
                harness=load_harness("tools", settings),
                limit=limit,
                sandbox=sandbox or default_sandbox(),  # type: ignore[arg-type]  # click offers the right ones only
                runs_dir=runs_dir,
            )
            plan = prepare(config, partial(offered_by, config.sandbox))
            end = event_loop.run(partial(launch, plan, quiet=True, say=lambda sentence: None))
            findings.append(_judge(model, task, plan, end))
    return findings


def _judge(model: str, task: Task, plan: Plan, end: RunEnd) -> Finding:
    wrong = []
    n = 0
    with RunReader(end.run_dir) as reader:
        for row in reader.trials():
            n += 1
            if row.outcome != "scored" or row.value is None:
                wrong.append((row.sample, f"{row.outcome}: {row.error_message}"))
            elif model == "reference" and row.value < 1 - EPSILON:
                wrong.append((row.sample, f"{row.value:.3f}"))
            elif model == "nop" and row.value > task.nop_score + EPSILON:
                wrong.append((row.sample, f"{row.value:.3f}, at most {task.nop_score:.3f} is right"))
    if model == "reference" and wrong:
        bare = _without_reference(plan)
        wrong = [(sample, NO_REFERENCE if sample in bare else message) for sample, message in wrong]
    return Finding(model, n, not wrong, tuple(wrong))


def _without_reference(plan: Plan) -> set[str]:
    """Samples from which no reference answer can be had."""
    return {
        sample.id
        for found in plan.surveys
        for _, sample in found.samples()
        if sample.solution is None and not first_target(sample)
    }
