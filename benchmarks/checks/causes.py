"""How often the classifier of causes names the agent and the step that people named, beside what needs no reading.

Five folds, cut in several ways, no question on both sides, every choice made inside the folds. A judge model, and
`agentlab traces locate`, which tries steps again, are not asked here: they need an endpoint.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from checks.lines import Line as Row
from checks.lines import above

from agentlab.analysis.statistics import bootstrap, wilson
from agentlab.traces.causes.labelled import LabelledTrace, read_labelled
from agentlab.traces.causes.model import shipped_model
from agentlab.traces.causes.training import Predicted, cross_validate, examples_of, fit, right_agent, step_distance
from agentlab.traces.steps import Trace

FOLDS = 5
FILES = (
    "traces_whowhen/algorithm_generated.jsonl",
    "traces_agentrx/tau_failed_trajectories.json",
    "traces_agentrx/tau_ground_truth.json",
)


@dataclass(frozen=True)
class Line:
    """A way to name agent and step: per trace its mean over the ways to cut the folds. Empty where it names none."""

    name: str
    agent: tuple[float, ...] = ()
    step: tuple[float, ...] = ()
    within_one: tuple[float, ...] = ()


@dataclass(frozen=True)
class Gain:
    """Right agents above a baseline's, as a share of the same runs, with a paired bootstrap interval."""

    over: str
    value: float
    interval: tuple[float, float]
    worst: float
    """The lower end of the interval where the folds were cut least luckily."""


@dataclass(frozen=True)
class Result:
    """The lines, ours first, and our gains in the agent over the others."""

    lines: tuple[Line, ...]
    gains: tuple[Gain, ...]
    seeds: tuple[float, float]
    """The lowest and the highest share of right agents of one way to cut."""

    @property
    def met(self) -> bool:
        """Whether the agent is found more often than by any baseline, those of our own making included."""
        return all(gain.interval[0] > 0 for gain in self.gains)


def judged(labelled: Sequence[LabelledTrace], seeds: int) -> list[list[Predicted]]:
    """One round for each way to cut the folds, the traces in the same order in each."""
    examples = examples_of(labelled)
    rounds = [cross_validate(examples, FOLDS, seed) for seed in range(seeds)]
    return [sorted(found, key=lambda p: (p.labelled.origin, p.labelled.id)) for found in rounds]


def agents(trace: Trace) -> list[str]:
    """Who speaks at each step of a Who&When trace."""
    return [step.agent for step in trace.steps]


def of_rounds(rounds: Sequence[Sequence[Predicted]], right: Callable[[Predicted], float]) -> tuple[float, ...]:
    return tuple(sum(right(found[k]) for found in rounds) / len(rounds) for k in range(len(rounds[0])))


def ours(rounds: Sequence[Sequence[Predicted]]) -> Line:
    return Line(
        "classifier",
        of_rounds(rounds, lambda p: right_agent(p.labelled, p.cause)),
        of_rounds(rounds, lambda p: step_distance(p.labelled, p.cause) == 0),
        of_rounds(rounds, lambda p: step_distance(p.labelled, p.cause) <= 1),
    )


def at(name: str, labelled: Sequence[LabelledTrace], place: Callable[[Trace], int]) -> Line:
    """Always the step at this place, and whoever spoke there."""
    told = [(item, place(item.trace)) for item in labelled]
    return Line(
        name,
        tuple(float(agents(item.trace)[min(k, len(agents(item.trace)) - 1)] == item.agent) for item, k in told),
        tuple(float(k == item.step) for item, k in told),
        tuple(float(abs(k - item.step) <= 1) for item, k in told),
    )


def most_turns(labelled: Sequence[LabelledTrace]) -> Line:
    """Whoever spoke most often, terminals left out."""
    right = []
    for item in labelled:
        turns = Counter(name for name in agents(item.trace) if "terminal" not in name.lower())
        right.append(float(turns.most_common(1)[0][0] == item.agent))
    return Line("agent with the most turns", tuple(right))


def at_random(labelled: Sequence[LabelledTrace]) -> Line:
    """A step drawn at random, and its agent: what is expected of it."""
    agent, step, near = [], [], []
    for item in labelled:
        names = agents(item.trace)
        agent.append(names.count(item.agent) / len(names))
        step.append(float(0 <= item.step < len(names)) / len(names))
        near.append(sum(0 <= k < len(names) for k in range(item.step - 1, item.step + 2)) / len(names))
    return Line("random step and its agent", tuple(agent), tuple(step), tuple(near))


def of_training(rounds: Sequence[Sequence[Predicted]]) -> Line:
    """The agent and the step that are most frequent in the folds that were trained on."""
    known: dict[tuple[int, int], tuple[str, int]] = {}
    for number, found in enumerate(rounds):
        for fold in range(FOLDS):
            rest = [p.labelled for p in found if p.fold != fold]
            agent = Counter(item.agent for item in rest).most_common(1)[0][0]
            step = Counter(item.step for item in rest).most_common(1)[0][0]
            known[number, fold] = agent, step

    def mean(right: Callable[[LabelledTrace, str, int], bool]) -> tuple[float, ...]:
        size = len(rounds[0])
        return tuple(
            sum(right(found[k].labelled, *known[number, found[k].fold]) for number, found in enumerate(rounds))
            / len(rounds)
            for k in range(size)
        )

    return Line(
        "training folds' most frequent",
        mean(lambda item, agent, step: item.agent == agent),
        mean(lambda item, agent, step: item.step == step),
        mean(lambda item, agent, step: abs(item.step - step) <= 1),
    )


def who_and_when(rounds: Sequence[Sequence[Predicted]]) -> Result:
    found = [[p for p in each if p.labelled.origin == "whowhen"] for each in rounds]
    labelled = [p.labelled for p in found[0]]
    lines = (
        ours(found),
        at("step 0 and its agent", labelled, lambda trace: 0),
        at("step 1 and its agent", labelled, lambda trace: 1),
        at("last step and its agent", labelled, lambda trace: len(trace.steps) - 1),
        of_training(found),
        most_turns(labelled),
        at_random(labelled),
    )
    single = [ours([each]).agent for each in found]
    shares = [mean(agent) for agent in single]
    gains = tuple(gain_over(line, lines[0], single) for line in lines[1:])
    return Result(lines, gains, (min(shares), max(shares)))


def gain_over(line: Line, mine: Line, single: Sequence[Sequence[float]]) -> Gain:
    gains = difference(mine.agent, line.agent)
    worst = min(single, key=mean)
    return Gain(line.name, mean(gains), interval(gains), interval(difference(worst, line.agent))[0])


def difference(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(one, other, strict=True)]


def interval(values: Sequence[float]) -> tuple[float, float]:
    return bootstrap(values, method="percentile", seed=0)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def print_who_and_when(result: Result) -> None:
    print(f"Who&When, {len(result.lines[0].agent)} failed runs, five folds by question; 95 % intervals over the runs")
    print(f"{'':<32}{'agent':>22}{'step':>22}{'step within one':>22}")
    for line in result.lines:
        print(
            f"{line.name:<32}" + "".join(f"{shown(values):>22}" for values in (line.agent, line.step, line.within_one))
        )
    low, high = result.seeds
    print(f"agent, one way to cut the folds: {low:.1%} to {high:.1%}")
    print("agent above (paired; in brackets the interval, then its lower end at the worst cut):")
    for gain in result.gains:
        low, high = gain.interval
        print(f"  {gain.over:<30}{gain.value:+.1%} [{low:+.1%}, {high:+.1%}], {gain.worst:+.1%}")
    print("the agent is found more often than by each of them: " + ("met" if result.met else "NOT MET"))


def shown(values: Sequence[float]) -> str:
    if not values:
        return "-"
    low, high = interval(values)
    return f"{mean(values):.1%} [{low:.0%}, {high:.0%}]"


def print_agentrx(rounds: Sequence[Sequence[Predicted]]) -> None:
    found = [[p for p in each if p.labelled.origin == "agentrx"] for each in rounds]
    n = len(found[0])
    categories = Counter(p.labelled.category for p in found[0])
    commonest, count = categories.most_common(1)[0]
    print(f"\nAgentRx tau-retail, {n} failed runs; 95 % intervals of a proportion; no gate at this size")
    figures = {
        "category": of_rounds(found, lambda p: p.cause.category == p.labelled.category),
        "step": of_rounds(found, lambda p: step_distance(p.labelled, p.cause) == 0),
        "step within one": of_rounds(found, lambda p: step_distance(p.labelled, p.cause) <= 1),
        "agent": of_rounds(found, lambda p: right_agent(p.labelled, p.cause)),
    }
    for name, values in figures.items():
        print(f"{name:<36}{proportion(sum(values), n)}")
    print(f"{'always ' + commonest.lower():<36}{proportion(count, n)}")
    foreign = transferred(found[0], rounds[0])
    print(f"{'step within one, fitted elsewhere':<36}{proportion(foreign, n)}")
    assistants = sum(p.labelled.agent.lower() == "assistant" for p in found[0])
    print(f"{'always the assistant':<36}{proportion(assistants, n)}")


def transferred(found: Sequence[Predicted], everything: Sequence[Predicted]) -> int:
    """How many decisive steps are met within one by weights that were fitted to Who&When alone."""
    weights, head, _ = fit(examples_of([p.labelled for p in everything if p.labelled.origin == "whowhen"]))
    model = msgspec.structs.replace(shipped_model(), weights=weights, categories=head)
    return sum(step_distance(p.labelled, model.find(p.labelled.trace)) <= 1 for p in found)


def proportion(right: float, n: int) -> str:
    low, high = wilson(right, n)
    return f"{right / n:.1%} [{low:.0%}, {high:.0%}] ({right:.1f} of {n})"


def causes(data: Path, seeds: int) -> list[Row]:
    labelled, _ = read_labelled([data / name for name in FILES])
    rounds = judged(labelled, seeds)
    result = who_and_when(rounds)
    print_who_and_when(result)
    print_agentrx(rounds)
    return [*rows_of(result), *rows_of_agentrx(rounds)]


def rows_of(result: Result) -> list[Row]:
    """Who&When in the table of checks."""
    mine, others = result.lines[0], result.lines[1:]
    least = min(result.gains, key=lambda gain: gain.interval[0])
    check = f"Who&When, {len(mine.agent)} runs"

    def row(name: str, values: Callable[[Line], Sequence[float]], bar: str = "", met: bool | None = None) -> Row:
        told = ", ".join(f"{line.name} {mean(values(line)):.3f}" for line in others if values(line))
        return Row(f"{check}: {name}", f"{mean(values(mine)):.3f}", interval(values(mine)), bar, met, told)

    bar = f"above {least.over}: {above(least.value, least.interval)}"
    return [
        row("failing agent", lambda line: line.agent, bar, result.met),
        row("step, exact", lambda line: line.step),
        row("step within one", lambda line: line.within_one),
    ]


def rows_of_agentrx(rounds: Sequence[Sequence[Predicted]]) -> list[Row]:
    found = [[p for p in each if p.labelled.origin == "agentrx"] for each in rounds]
    n = len(found[0])
    commonest, count = Counter(p.labelled.category for p in found[0]).most_common(1)[0]
    category = sum(of_rounds(found, lambda p: p.cause.category == p.labelled.category))
    near = sum(of_rounds(found, lambda p: step_distance(p.labelled, p.cause) <= 1))
    check = f"AgentRx tau, {n} runs"
    always = f"always {commonest.lower()} {count / n:.3f}"
    return [
        Row(f"{check}: root-cause category", f"{category / n:.3f}", wilson(category, n), beside=always),
        Row(f"{check}: step within one", f"{near / n:.3f}", wilson(near, n)),
    ]
