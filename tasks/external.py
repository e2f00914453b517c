"""Benchmarks that have a runner of their own: a program that asks the model itself and writes its scores to a file.

The program is told where a model listens, which samples are wanted and where its results go; each result becomes a
trial beside those of other tasks, with the same errors, intervals and comparisons.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from agentlab.tasks.types import Sample, Task, TaskError

WHOLE = "all"
"""The id of the only sample of an evaluation that does not say which ones it has: one trial for the whole program."""


class ExternalResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the program found on one sample."""

    id: str
    value: float | None = None
    """The headline, 0..1. None: there is an `error`."""
    scores: dict[str, float] = {}
    answer: str = ""
    explanation: str = ""
    error: str = ""
    """Why there is no value. The sample is then an error of the task, and not scored as 0."""


def read_results(data: bytes) -> list[ExternalResult]:
    """Results from JSON: a list of objects, or one object on each line. Raises TaskError."""
    text = data.decode("utf-8", "replace").strip()
    try:
        rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines() if line]
        return msgspec.convert(rows, list[ExternalResult])
    except (ValueError, msgspec.ValidationError) as error:
        raise TaskError(f"the results are no list of objects with id and value: {error}") from None


@dataclass(frozen=True, kw_only=True)
class ExternalEval(Task):
    """A benchmark with its own runner, on this machine: it is your own program, and runs with your rights.

    `command` is what is run, in an empty directory of its own. In its words `{base_url}`, `{model}`, `{samples}`,
    `{results}` and `{seed}` are replaced; OPENAI_BASE_URL and OPENAI_API_KEY are set, so that most programs need none
    of them. `{samples}` is a JSON list of the ids that are wanted. Without `samples` or a `source` the whole program
    is one trial, whose value is the mean of its results.

    Example:
        @task
        def mine() -> ExternalEval:
            return ExternalEval(command=("python", "/opt/bench/run.py", "--out", "{results}"), samples=[...])
    """

    command: tuple[str, ...] = ()
    results: str = "results.json"
    """The file that the program writes, in its directory."""
    read: Callable[[bytes], Iterable[ExternalResult]] = read_results
    env: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 3600.0
    """Time for the whole program."""

    def __post_init__(self) -> None:
        if self.samples is None and self.source is None:
            object.__setattr__(self, "samples", (Sample(id=WHOLE, input=""),))


@dataclass(frozen=True, kw_only=True)
class SandboxedExternalEval(ExternalEval):
    """The same in a box (`box` says which): for programs of others, or that run what a model wrote. The model is
    reached through a port of the box; there is no other network unless `box` lists hosts.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    """Laid into the box's working directory: path to text."""


def external_payload(task: ExternalEval) -> dict[str, Any]:
    """What identifies the program, for the task's hash."""
    payload: dict[str, Any] = {"command": list(task.command), "results": task.results}
    if task.env:
        payload["env"] = dict(task.env)
    if isinstance(task, SandboxedExternalEval) and task.files:
        payload["files"] = dict(task.files)
    return payload
