"""How fast traces are labelled, by all that needs no model, and how fast they are imported."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from checks.lines import Line
from checks.made import BAR, STEPS, TRACES, rate
from importing import BAR as IMPORT_BAR
from importing import write_rows

from agentlab.service.answers import OF_RUNS
from agentlab.service.diagnosis import automatic_labels, safety_labels
from agentlab.service.importing import import_traces
from agentlab.traces.causes.model import shipped_model
from agentlab.traces.events import Event
from agentlab.traces.steps import trace_of


def labelled(events: list[Event]) -> int:
    """Everything that is said of a failed trial without a model: findings, cause of the taxonomy, answer, conduct, and
    the decisive step.
    """
    labels = automatic_labels(1, 1, events, solved=False)
    labels += safety_labels(1, 1, events, "scored", OF_RUNS)
    return len(labels) + len(shipped_model().find(trace_of(events)).suspects)


def speed() -> list[Line]:
    what = f"{TRACES} traces of {STEPS} steps of 1 KB"
    cores = min(2, os.cpu_count() or 1)
    found = rate(labelled)
    lines = [Line(f"{what}: detect and classify, {cores} cores", f"{found:.0f}/s", None, f">= {BAR}/s", found >= BAR)]
    with tempfile.TemporaryDirectory(prefix="agentlab-checks-") as folder:
        rows, runs = Path(folder) / "rows.jsonl", Path(folder) / "runs"
        write_rows(rows, TRACES, STEPS)
        began = time.perf_counter()
        run_dir = import_traces(rows, runs).run_dir
        found = TRACES / (time.perf_counter() - began)
        lines.append(
            Line(f"{what}: import and store", f"{found:.0f}/s", None, f">= {IMPORT_BAR:.0f}/s", found >= IMPORT_BAR)
        )
        seconds, cpu = _seconds("classify", str(run_dir), "--no-lines")
        found = TRACES / seconds
        said = f"the command from its start to its end, with storing; {cpu:.1f} s of CPU"
        lines.append(Line(f"{what}: agentlab classify RUN", f"{found:.0f}/s", beside=said))
    return lines


def _seconds(*command: str) -> tuple[float, float]:
    """What a command takes by the clock, which counts what else the machine does, and of CPU time in its processes."""
    agentlab = Path(sys.executable).with_name("agentlab")
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([agentlab, *command], check=True, stdout=subprocess.DEVNULL)
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
