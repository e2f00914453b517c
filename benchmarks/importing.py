"""What importing traces costs: 1,000 traces of 50 steps of 1 KB from a file of chat rows into a stored run.

    python benchmarks/importing.py [--traces 1000] [--steps 50] [--dir DIR]

The text is random words, so that compression does not flatter. Beside it the same rows only parsed as JSON, and turned
into events without being stored.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from agentlab.service.importing import import_traces
from agentlab.traces.formats import read_traces

BAR = 60.0
"""Traces a second that an import with storing must reach, on two cores."""


def write_rows(path: Path, traces: int, steps: int) -> None:
    """Rows of chat messages: a question, then turns that call a tool and what it answered, each of 1,000 characters."""
    dice = random.Random(7)
    words = ["".join(dice.choices("abcdefghijklmnop", k=dice.randint(2, 9))) for _ in range(3000)]

    def text() -> str:
        return " ".join(dice.choices(words, k=200))[:1000]

    with path.open("w", encoding="utf-8") as file:
        for trace in range(traces):
            messages: list[dict[str, object]] = [{"role": "user", "content": text()}]
            while len(messages) < steps:
                name = f"call-{len(messages)}"
                function = {"name": "bash", "arguments": json.dumps({"command": f"ls {len(messages)}"})}
                messages.append(
                    {"role": "assistant", "content": text(), "tool_calls": [{"id": name, "function": function}]}
                )
                messages.append({"role": "tool", "tool_call_id": name, "content": text()})
            row = {"id": f"trace-{trace}", "messages": messages[:steps], "model": "m"}
            file.write(json.dumps(row) + "\n")


def timed(name: str, traces: int, action: Callable[[], object], bar: float | None = None) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    rate = traces / wall
    verdict = "" if bar is None else f"  bar {bar:.0f}/s: {'met' if rate >= bar else 'MISSED'}"
    print(f"{name:28} {rate:8.0f} traces/s  {1000 * cpu / traces:6.2f} ms of CPU a trace{verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--dir", help="where the rows and the run are written; without it, a temporary folder")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="agentlab-traces-", dir=args.dir))
    try:
        rows = folder / "rows.jsonl"
        write_rows(rows, args.traces, args.steps)
        print(f"{args.traces} traces of {args.steps} steps, {rows.stat().st_size >> 20} MiB of JSON Lines")
        with rows.open("rb") as file:
            timed("parsed", args.traces, lambda: [json.loads(line) for line in file])
        timed("read as events", args.traces, lambda: sum(1 for _ in read_traces(rows)))
        timed("imported and stored", args.traces, lambda: import_traces(rows, folder / "runs"), BAR)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
