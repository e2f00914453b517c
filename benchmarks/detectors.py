"""Failure detectors: how fast they are, and how often people who read their firings on real runs disagree.

    .venv/bin/python benchmarks/detectors.py [--data DIR] [--firings] [--sample 60] [--seed 1]

Prints traces a second of CPU time (what else runs on the machine does not count) for 1,000 traces of 50 steps of 1 KB
(detectors and taxonomy, one process a core), the firings on the reference data's runs by detector, and the false-alarm
rate of the judged ones with its Wilson interval: of a seeded sample, of the others, and of all. `--firings` prints each
firing with its id and the steps around it, for judging; verdicts (`true`, `false`) by id are in `detectors_judged.csv`,
without any text of the data.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agentlab.analysis.statistics.intervals import wilson
from agentlab.traces.detectors import Finding, detect
from agentlab.traces.events import Event, Message, ModelCall, Scored, ToolCall, ToolCallEvent, ToolResult
from agentlab.traces.formats import read_traces
from agentlab.traces.render import clean
from agentlab.traces.steps import Trace, trace_of
from agentlab.traces.taxonomy import explains, primary

JUDGED = Path(__file__).with_name("detectors_judged.csv")
FOLDERS = (
    "traces_agentrx/tau_all_100_trajectories.json",
    "traces_agentrx/tau_failed_trajectories.json",
    "traces_taubench_gpt4o_airline",
    "traces_whowhen",
    "traces_agentprocessbench/hotpotqa.jsonl",
    "traces_sweagent_format",
)
TRACES, STEPS = 1000, 50
BAR = 200


@dataclass(frozen=True)
class Firing:
    """One finding on a real run. `id` names its record, detector and step."""

    id: str
    finding: Finding
    trace: Trace


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("AGENTLAB_DATA", "../shared/data")))
    parser.add_argument("--firings", action="store_true")
    parser.add_argument("--sample", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if not given.firings:
        report_speed()
    if not given.data.is_dir():
        raise SystemExit(f"no reference data at {given.data}: name it with --data or AGENTLAB_DATA")
    traces = dict(real_traces(given.data))
    firings = [
        Firing(f"{name}:{f.detector}:{f.seq}", f, trace) for name, trace in traces.items() for f in detect(trace)
    ]
    if given.firings:
        for firing in firings:
            show(firing)
        return
    print(f"{len(traces)} real runs, {len(firings)} firings")
    for detector, count in Counter(firing.finding.detector for firing in firings).most_common():
        print(f"  {detector:32} {count:4}")
    failed = [primary(trace, detect(trace)) for trace in traces.values()]
    causes = Counter(cause.value for cause in failed if cause is not None)
    n = causes.total()
    print(f"causes of {n} failed runs: {', '.join(f'{count} {cause}' for cause, count in causes.most_common())}")
    left = sum(count for cause, count in causes.items() if not explains(cause))
    low, high = wilson(left, n)
    print(f"no step says why of {left} of {n} = {left / n:.1%} ({low:.1%} to {high:.1%})")
    report_rates(firings, given.sample, given.seed)


def report_rates(firings: list[Firing], size: int, seed: int) -> None:
    """False alarms among the judged firings: in a sample, in what is left, and in all."""
    with JUDGED.open(newline="") as file:
        verdicts = {row["firing"]: row["verdict"] == "true" for row in csv.DictReader(file)}
    ids = sorted(firing.id for firing in firings)
    sample = random.Random(seed).sample(ids, min(size, len(ids)))
    rest = sorted(set(ids) - set(sample))
    for name, chosen in ((f"sample of {len(sample)}, seed {seed}", sample), ("the others", rest), ("all", ids)):
        judged = [verdicts[firing] for firing in chosen if firing in verdicts]
        unjudged = len(chosen) - len(judged)
        if judged:
            wrong = len(judged) - sum(judged)
            low, high = wilson(wrong, len(judged))
            print(
                f"false alarms, {name}: {wrong} of {len(judged)} = {wrong / len(judged):.1%} "
                f"({low:.1%} to {high:.1%}), {unjudged} not judged"
            )


def real_traces(data: Path) -> Iterator[tuple[str, Trace]]:
    """The runs of the reference data by name, each once: the failed runs of AgentRx are partly among all of them."""
    seen: set[tuple[Event, ...] | str] = set()
    for folder in FOLDERS:
        for found in read_traces(data / folder, on_broken=lambda error: print(error), on_unknown=lambda error: None):
            text = "\x00".join(step.text for step in trace_of(found.events).steps)
            if text in seen:
                continue
            seen.add(text)
            value = found.value
            if value is None and "final_label" in found.rest:
                value = float(found.rest["final_label"] == 1)  # people's verdict on the whole run
            graded = () if value is None else (Scored(at=0, scorer=found.format, version=1, value=value),)
            yield f"{found.source.file}:{found.source.record}", trace_of((*found.events, *graded))


def show(firing: Firing) -> None:
    """A firing with the two steps before it, itself and the two after."""
    print(f"=== {firing.id}\n    {clean(firing.finding.quote)}")
    places = [place for place, step in enumerate(firing.trace.steps) if step.seq == firing.finding.seq]
    for place in range(max(0, places[0] - 2), min(len(firing.trace.steps), places[0] + 3)) if places else ():
        step = firing.trace.steps[place]
        text = " ".join(clean(step.text).split())
        told = text if len(text) <= 600 else f"{text[:300]} ... {text[-300:]}"
        asked = f" {step.call.name} {str(step.call.arguments)[:200]}" if step.call is not None else ""
        print(f"    [{step.seq}] {step.role} {clean(step.agent + asked)}: {told}")


def synthetic(number: int) -> list[Event]:
    """A trace of 50 steps of 1 KB: a model that works in a box, with tests that fail and edits in between."""
    events: list[Event] = []
    messages = [Message(role="user", content="Fix `parser.py`: the last row is lost. Hidden tests then decide.")]
    for turn in range(STEPS // 2):
        command = f"python -m pytest -q tests/test_{turn}.py" if turn % 3 else f"sed -i 's/{turn}/{number}/' parser.py"
        call = ToolCall(f"c{turn}", "bash", {"command": command})
        said = f"Step {turn}. " + "I look at what the parser does. " * 32
        answer = Message(role="assistant", content=said, tool_calls=(call,))
        events.append(ModelCall(at=0, model="m", messages=tuple(messages), response=answer, stop_reason="tool_calls"))
        rows = "row of output that tells little of it " * 26
        output = f"{rows}\n{turn} failed, {number} passed in 0.1s\n[exit code {turn % 2}]"
        events.append(ToolCallEvent(at=0, call=call, result=ToolResult(output)))
        messages += [answer, Message(role="tool", content=output, tool_call_id=call.id)]
    return [*events, Scored(at=0, scorer="s", version=1, value=0.0)]


def label_some(numbers: range) -> float:
    """Seconds of CPU that detectors and taxonomy take for these traces, their making not counted."""
    traces = [synthetic(number) for number in numbers]
    began = time.process_time()
    for events in traces:
        trace = trace_of(events)
        primary(trace, detect(trace))
    return time.process_time() - began


def report_speed() -> None:
    cores = min(2, os.cpu_count() or 1)
    shares = [range(core, TRACES, cores) for core in range(cores)]
    with multiprocessing.get_context("fork").Pool(cores) as pool:
        pool.map(label_some, [range(20)] * cores)
        seconds = max(pool.map(label_some, shares, chunksize=1))
    rate = TRACES / seconds
    what = f"detect and label {TRACES} traces of {STEPS} steps of 1 KB on {cores} cores"
    print(f"{what}: {rate:.0f} traces/s of CPU time (bar {BAR})")


if __name__ == "__main__":
    main()
