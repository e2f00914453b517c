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
import os
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from checks.lines import Line
from checks.made import BAR, STEPS, TRACES, rate

from agentlab.analysis.statistics.intervals import wilson
from agentlab.traces.detectors import Finding, detect
from agentlab.traces.events import Event, Scored
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
SAMPLE, SEED = 60, 1
MOST_ALARMS = 0.10
"""The share of false alarms that the sample must stay below."""


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
    parser.add_argument("--sample", type=int, default=SAMPLE)
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    if not given.firings:
        report_speed()
    if not given.data.is_dir():
        raise SystemExit(f"no reference data at {given.data}: name it with --data or AGENTLAB_DATA")
    traces = dict(real_traces(given.data))
    firings = firings_of(traces)
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


def firings_of(traces: Mapping[str, Trace]) -> list[Firing]:
    return [Firing(f"{name}:{f.detector}:{f.seq}", f, trace) for name, trace in traces.items() for f in detect(trace)]


def alarms(data: Path) -> list[Line]:
    """The false alarms of the sample that was drawn and judged, for the table of checks."""
    firings = firings_of(dict(real_traces(data)))
    wrong, judged = report_rates(firings, SAMPLE, SEED)
    low, high = wilson(wrong, judged)
    check = f"detectors: false alarms among {judged} judged firings on real runs"
    share = wrong / judged
    return [Line(check, f"{share:.3f}", (low, high), f"< {MOST_ALARMS:.3f}", share < MOST_ALARMS)]


def report_rates(firings: list[Firing], size: int, seed: int) -> tuple[int, int]:
    """False alarms among the judged firings: in a sample, in what is left, and in all. Those of the sample, and of how
    many, are returned.
    """
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
    told = [verdicts[firing] for firing in sample if firing in verdicts]
    return len(told) - sum(told), len(told)


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


def labelled(events: list[Event]) -> object:
    trace = trace_of(events)
    return primary(trace, detect(trace))


def report_speed() -> None:
    what = f"detect and label {TRACES} traces of {STEPS} steps of 1 KB on {min(2, os.cpu_count() or 1)} cores"
    print(f"{what}: {rate(labelled):.0f} traces/s of CPU time (bar {BAR})")


if __name__ == "__main__":
    main()
