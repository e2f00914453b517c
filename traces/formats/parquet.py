"""A run as two Parquet tables: its trials, and their steps. Needs pyarrow (the extra `analysis`)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentlab.traces.encoding import plain
from agentlab.traces.errors import FormatError
from agentlab.traces.formats.exported import Trial
from agentlab.traces.steps import Step

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_ROWS = 5000
"""Rows of a row group: so many are in memory at once."""

TRIAL_COLUMNS = {
    "run": "string", "trial": "int64", "task": "string", "sample": "string", "epoch": "int64", "attempt": "int64",
    "model": "string", "agent": "string", "outcome": "string", "value": "double", "scores": "string",
    "flags": "strings", "labels": "strings", "input_tokens": "int64", "output_tokens": "int64",
    "cached_tokens": "int64", "reasoning_tokens": "int64", "cost_usd": "double", "sandbox_seconds": "double",
    "started_at": "double", "ended_at": "double", "error_kind": "string", "error_message": "string", "steps": "int64",
}  # fmt: skip
STEP_COLUMNS = {
    "run": "string", "trial": "int64", "seq": "int64", "role": "string", "agent": "string", "text": "string",
    "reasoning": "string", "calls": "string", "tool": "string", "arguments": "string", "error": "string",
    "stop_reason": "string", "duration_ms": "double", "labels": "strings",
}  # fmt: skip


def write(trials: Iterable[Trial], out: Path) -> int:
    """Write `trials.parquet` and `steps.parquet`; how many trials there are. Raises FormatError, OSError."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        how = "in a clone .venv/bin/pip install -e '.[analysis]', else pip install 'agentlab-eval[analysis]'"
        what = f"Parquet needs pyarrow, which is not installed: {how}"
        raise FormatError(f"--format parquet ({error})", "", what) from None
    count = 0
    trial_schema, step_schema = _schema(TRIAL_COLUMNS), _schema(STEP_COLUMNS)
    with (
        pq.ParquetWriter(out / "trials.parquet", trial_schema, compression="zstd") as trial_writer,
        pq.ParquetWriter(out / "steps.parquet", step_schema, compression="zstd") as step_writer,
    ):
        waiting: list[dict[str, Any]] = []
        rows: list[dict[str, Any]] = []
        for trial in trials:
            count += 1
            waiting.append(_trial_row(trial))
            rows += [_step_row(trial, step) for step in trial.trace.steps]
            if len(rows) >= GROUP_ROWS:
                step_writer.write_table(pa.Table.from_pylist(rows, step_schema))
                rows = []
        step_writer.write_table(pa.Table.from_pylist(rows, step_schema))
        trial_writer.write_table(pa.Table.from_pylist(waiting, trial_schema))
    return count


def _schema(columns: dict[str, str]) -> pa.Schema:
    import pyarrow as pa

    types = {"string": pa.string(), "int64": pa.int64(), "double": pa.float64()}
    types["strings"] = pa.list_(pa.string())
    return pa.schema([(name, types[kind]) for name, kind in columns.items()])


def _trial_row(trial: Trial) -> dict[str, Any]:
    row = trial.row
    return {
        "run": trial.run_id,
        "trial": row.trial,
        "task": row.task,
        "sample": row.sample,
        "epoch": row.epoch,
        "attempt": row.attempt,
        "model": plain(trial.model),
        "agent": plain(trial.agent),
        "outcome": row.outcome or "cancelled",
        "value": row.value,
        "scores": json.dumps(row.scores),
        "flags": list(row.flags),
        "labels": [f"{label.name}:{label.value}" for label in trial.labels],
        "input_tokens": row.usage.input_tokens,
        "output_tokens": row.usage.output_tokens,
        "cached_tokens": row.usage.cached_tokens,
        "reasoning_tokens": row.usage.reasoning_tokens,
        "cost_usd": row.cost_usd,
        "sandbox_seconds": row.sandbox_seconds,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "error_kind": row.error_kind,
        "error_message": row.error_message,
        "steps": len(trial.trace.steps),
    }


def _step_row(trial: Trial, step: Step) -> dict[str, Any]:
    # What a model was told shares its place with what it answered, and labels are about the answer.
    labelled = step.role in ("assistant", "tool")
    found = [f"{label.name}:{label.value}" for label in trial.labels if label.seq == step.seq] if labelled else []
    return {
        "run": trial.run_id,
        "trial": trial.row.trial,
        "seq": step.seq,
        "role": step.role,
        "agent": step.agent,
        "text": plain(step.text),
        "reasoning": plain(step.reasoning),
        "calls": _json([{"name": call.name, "arguments": call.raw or call.arguments} for call in step.asks]),
        "tool": step.call.name if step.call is not None else None,
        "arguments": _json(step.call.raw or step.call.arguments) if step.call is not None else None,
        "error": step.result.error if step.result is not None else None,
        "stop_reason": step.stop_reason,
        "duration_ms": step.duration_ms,
        "labels": found,
    }


def _json(value: Any) -> str:
    return json.dumps(value, default=repr)
