"""A run in the formats of other tools: a folder of files, made anew."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agentlab.traces.artifacts import artifact_path
from agentlab.traces.events import Event
from agentlab.traces.formats import atif, atif_export, openai_chat, otlp, parquet
from agentlab.traces.formats.atif_labels import is_ours
from agentlab.traces.formats.exported import Trial
from agentlab.traces.labels import standing
from agentlab.traces.reader import RunReader
from agentlab.traces.render import finite
from agentlab.traces.rows import AttemptRow
from agentlab.traces.steps import Trace
from agentlab.traces.store import ARTIFACTS


def trials_of(reader: RunReader, numbers: Sequence[int] = ()) -> Iterator[Trial]:
    """The trials of a run with their traces, one at a time; those with these numbers, where some are given. Raises
    UnknownTrial.
    """
    document = reader.document()
    rows = (reader.trial(number) for number in dict.fromkeys(numbers)) if numbers else reader.trials()
    for row in rows:
        trace = Trace(events=tuple(reader.events(row.trial)), row=row)
        labels = standing(label for label in reader.labels(row.trial) if label.attempt == row.attempt)
        yield Trial(document, row, trace, labels)


def file_name(row: AttemptRow) -> str:
    """A trial as the beginning of a file's name: its number, then as much of its names as files can bear."""
    words = re.sub(r"[^A-Za-z0-9._@-]+", "-", f"{row.task}-{row.sample}@{row.epoch}").strip("-.")
    return f"{row.trial:05d}-{words[:120]}"


def export_chat(reader: RunReader, out: Path, numbers: Sequence[int] = ()) -> int:
    """One file of OpenAI chat rows, a line a trial. Returns how many there are. Raises UnknownTrial, OSError."""
    return _lines(out / "chat.jsonl", (openai_chat.row_of(trial) for trial in trials_of(reader, numbers)))


def export_otlp(reader: RunReader, out: Path, numbers: Sequence[int] = ()) -> int:
    """One file of OTLP traces as JSON Lines, a line a trial, which a collector's file receiver reads. Returns how many
    there are. Raises UnknownTrial, OSError.
    """
    return _lines(out / "traces.jsonl", (otlp.request_of(trial) for trial in trials_of(reader, numbers)))


def export_parquet(reader: RunReader, out: Path, numbers: Sequence[int] = ()) -> int:
    """Two tables, `trials.parquet` and `steps.parquet`. Returns how many trials there are. Raises FormatError where
    pyarrow is absent, UnknownTrial, OSError.
    """
    return parquet.write(trials_of(reader, numbers), out)


def _lines(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(finite(row)) + "\n")
            count += 1
    return count


def export_atif(reader: RunReader, out: Path, numbers: Sequence[int] = (), version: str = "") -> int:
    """One document a trial into `out`. What was imported from ATIF comes out as it went in, with labels that were given
    since; `version` (`ATIF-v1.7`) changes what it says it is. Returns how many there are. Raises UnknownTrial, OSError.
    """
    count = 0
    artifacts = os.path.relpath((reader.run_dir / ARTIFACTS).resolve(), out.resolve())

    def image_path(digest: str) -> str:
        return artifact_path(Path(artifacts), digest).as_posix()

    for trial in trials_of(reader, numbers):
        events = [stored.event for stored in trial.trace.events]
        document = _as_imported(trial, events) or atif_export.trajectory(
            trial.trace.events,
            trajectory_id=trial.id,
            session_id=trial.run_id,
            agent=trial.agent,
            agent_version=str(trial.document.get("agentlab", "")),
            model=trial.model,
            labels=trial.labels,
            trial=trial.about(),
            image_path=image_path,
        )
        if version:
            document = atif_export.as_version(document, version)
        text = json.dumps(finite(document), indent=1)
        (out / f"{file_name(trial.row)}.json").write_text(f"{text}\n", encoding="utf-8")
        count += 1
    return count


def _as_imported(trial: Trial, events: Sequence[Event]) -> dict[str, Any] | None:
    """The document that an ATIF import read, None for what comes from elsewhere. Labels that detectors gave when it was
    imported are not added: whoever imports it is given them, and the document is to come out as it went in.
    """
    kept = trial.rest.get(atif.DOCUMENT)
    if not isinstance(kept, dict):
        return None
    given = [label for label in trial.labels if label.source != "detector" or is_ours(kept)]
    return atif.refilled(kept, events, given)
