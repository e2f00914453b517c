"""Resuming: what may differ from the stored run, what may not, and which trials are done."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from agentlab.service.config import RunConfig, told_in_a_line
from agentlab.service.harness import ConfigError, Harness
from agentlab.tasks.differences import diff_payloads, in_words
from agentlab.traces.reader import RunReader
from agentlab.traces.redaction import REDACTED, redacted
from agentlab.traces.store import RunStore

FINAL_OUTCOMES = frozenset({"scored", "task"})
"""Outcomes that a resume keeps. A model, a sandbox or a judge that failed, and what was cancelled, is tried again."""


@dataclass(frozen=True, slots=True)
class Done:
    """Where an interrupted run stands."""

    numbers: frozenset[int]
    """Trials that are not repeated."""
    attempts: dict[int, int]
    """Attempts that were made at trials that are to be tried again."""


def stored_config(document: dict[str, Any], overrides: dict[str, Any]) -> RunConfig:
    """The stored run's configuration with `overrides` (given anew on the command line) laid over it.

    Raises ConfigError for an override that would change what is measured, and for credentials that must be said again.
    """
    config = _stored(document)
    changed = {key: value for key, value in overrides.items() if getattr(config, key) != value}
    # A model or a harness may differ in what is not measured: `refuse_changes` compares what is.
    refused = [key for key in changed if key not in config.volatile and key not in ("model", "harness")]
    if refused:
        lines = [f"  {key}: {in_words(getattr(config, key))} -> {in_words(changed[key])}" for key in refused]
        raise ConfigError(
            "the run cannot be resumed with other settings; start a new run, or leave out:\n" + "\n".join(lines)
        )
    try:
        resumed = RunConfig.model_validate(dict(config) | changed)
    except ValidationError as error:
        raise ConfigError(told_in_a_line(error)) from None
    _refuse_redacted(resumed)
    return _found_again(resumed, Path(str(document.get("started_in") or ".")))


def _found_again(config: RunConfig, started_in: Path) -> RunConfig:
    """The configuration with files that lie where the run was started, and not here, named by their whole path."""

    def place(name: str) -> str:
        path, separator, member = name.partition("::")
        there = started_in / path
        return f"{there}{separator}{member}" if not Path(path).exists() and there.exists() else name

    harness, endpoint = config.harness, config.harness.endpoint
    files = {key: place(name) for key in ("prices", "cache") if (name := getattr(endpoint, key))}
    changed = {"tools": tuple(map(place, harness.tools)), "endpoint": endpoint.model_copy(update=files)}
    tasks = tuple(map(place, config.tasks))
    return config.model_copy(update={"tasks": tasks, "harness": harness.model_copy(update=changed)})


def stored_harness(document: dict[str, Any]) -> Harness:
    """The stored run's harness. Raises ConfigError."""
    return _stored(document).harness


def _stored(document: dict[str, Any]) -> RunConfig:
    if "imported" in document:
        raise ConfigError("the run was imported: its trials ran elsewhere, and cannot go on or be repeated here")
    try:
        config = RunConfig.model_validate(document["config"])
        config.harness.model_dump_json()
    except KeyError:
        raise ConfigError("run.json holds no configuration that can be resumed") from None
    except ValidationError as error:
        raise ConfigError(f"run.json holds no configuration that can be resumed: {told_in_a_line(error)}") from None
    except (UnicodeError, PydanticSerializationError):
        raise ConfigError("run.json holds a harness whose texts are no text") from None
    return config


def _refuse_redacted(config: RunConfig) -> None:
    """Users and passwords are not stored: what needs them must be said again. Raises ConfigError with what to type."""
    if REDACTED in f"{config.model} {config.harness.judge}":
        again = " ".join(_said_again(config.model, config.harness.judge))
        raise ConfigError(f"user and password of an address are not stored with a run: add {again}")


def resume_command(run_dir: Path, config: RunConfig, status: str = "") -> str:
    """What to type to go on with a run, with places to fill in where there are credentials, which are not stored. One
    that stopped at its ceiling needs a higher one.
    """
    money = ["--max-cost", next_ceiling(run_dir, config.max_cost)] if status == "cost" and config.max_cost else []
    again = _said_again(config.model, config.harness.judge)
    return shlex.join(["agentlab", "run", "--resume", str(run_dir), *money, *again])


def next_ceiling(run_dir: Path, ceiling: float) -> str:
    """A ceiling in US dollars to go on with: twice the old one, or twice what was spent where calls under way went
    beyond it.
    """
    return f"{2 * max(ceiling, _spent(run_dir)):g}"


def _spent(run_dir: Path) -> float:
    with RunReader(run_dir) as reader:
        return math.fsum(row.cost_usd or 0.0 for row in reader.trials(final=False))


def refuse_spent(run_dir: Path, max_cost: float | None) -> None:
    """Raise ConfigError where the stored run has cost what it may already: it could not begin a single trial."""
    if max_cost is None:
        return
    spent = _spent(run_dir)
    if spent >= max_cost:
        raise ConfigError(
            f"the run has cost {spent:.4f} USD of --max-cost {max_cost:g}: go on with a higher --max-cost"
        )


def _said_again(model: str, judge: str) -> list[str]:
    model, judge = (redacted(address, {}).replace(REDACTED, "USER:PASSWORD") for address in (model, judge))
    given = ["--model", model] if "USER:PASSWORD@" in model else []
    return [*given, "--set", f"judge={judge}"] if "USER:PASSWORD@" in judge else given


def refuse_changes(stored: dict[str, Any], now: dict[str, Any]) -> None:
    """Compare the identities of all tasks and configurations. Raises ConfigError with the differences, a line each."""
    lines: list[str] = []
    for name in dict.fromkeys((*stored, *now)):
        if name not in now:
            lines.append(f"  task {name}: can no longer be loaded")
        elif name not in stored:
            lines.append(f"  task {name}: was not part of the run")
        elif stored[name]["task_hash"] != now[name]["task_hash"]:
            lines += [f"  task {name}: {line}" for line in diff_payloads(stored[name]["task"], now[name]["task"])]
        else:
            # Runs from before this was stored are believed.
            after = now[name].get("trials", {})
            before = stored[name].get("trials") or after
            lines += [f"  task {name}: {line}" for line in diff_payloads(_selection(before), _selection(after))]
            lines += _config_changes(name, stored[name]["scaffolds"], now[name]["scaffolds"])
    if lines:
        shown = lines[:20] + ([f"  ... and {len(lines) - 20} more"] if len(lines) > 20 else [])
        raise ConfigError("the run cannot be resumed, it would measure something else:\n" + "\n".join(shown))


def _selection(trials: dict[str, Any]) -> dict[str, Any]:
    """Which trials a task has, by names that a person understands."""
    return {{"first": "number of its first trial"}.get(key, key): value for key, value in trials.items()}


def _config_changes(task: str, stored: dict[str, Any], now: dict[str, Any]) -> list[str]:
    lines = []
    for scaffold in dict.fromkeys((*stored, *now)):
        before, after = stored.get(scaffold, {}), now.get(scaffold, {})
        if before.get("config_hash") != after.get("config_hash"):
            changes = diff_payloads(before.get("config", {}), after.get("config", {}))
            lines += [f"  task {task}, scaffold {scaffold}: {line}" for line in changes]
    return lines


def where_it_stands(store: RunStore) -> Done:
    """Which trials are done, and how often the others were tried."""
    numbers, attempts = set(), {}
    for last in store.last_attempts():
        if last.outcome in FINAL_OUTCOMES:
            numbers.add(last.trial)
        else:
            attempts[last.trial] = last.attempt
    return Done(frozenset(numbers), attempts)
