"""The statistical classifier of causes: it learns from labelled traces, runs without what fitted it, and blames nobody
for what a tool answered.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from agentlab.analysis.statistics import paired_difference
from agentlab.traces.causes.features import Scene, feature_rows
from agentlab.traces.causes.labelled import LabelledTrace, read_labelled
from agentlab.traces.causes.model import CauseFileError, read_model, shipped_model
from agentlab.traces.causes.moments import LONGEST_TEXT, read_moments
from agentlab.traces.causes.training import (
    TooFewTraces,
    cross_validate,
    examples_of,
    fit,
    fold_numbers,
    right_agent,
    train,
)
from agentlab.traces.errors import FormatError
from agentlab.traces.events import Message, Role, Said, ToolCall, ToolCallEvent, ToolResult
from agentlab.traces.steps import Trace, trace_of
from agentlab.traces.taxonomy import agentrx_name

FILES = ("algorithm_generated.jsonl", "tau_failed_trajectories.json", "tau_ground_truth.json")


def said(text: str, agent: str = "", role: Role = "assistant") -> Said:
    return Said(at=0, message=Message(role=role, name=agent, content=text))


def planted(number: int, rng: random.Random) -> LabelledTrace:
    """Three agents talk soberly, and one of them pulls figures out of the air."""
    agents = ["Miner", "Baker", "Potter"]
    turns = [said("How many loaves were sold?", role="user")]
    turns += [said(f"{rng.choice(agents)} and I look at the list again, as was agreed.", agent) for agent in agents * 3]
    wrong = rng.randrange(1, len(turns))
    agent = turns[wrong].message.name
    turns[wrong] = said(
        f"I assume hypothetically {rng.randrange(100, 999)}, or likely {rng.randrange(100, 999)}.", agent
    )
    name = str(number)
    return LabelledTrace(id=name, group=name, origin="made", trace=trace_of(turns), agent=agent, step=wrong)


def labelled(count: int, seed: int) -> list[LabelledTrace]:
    rng = random.Random(seed)
    return [planted(number, rng) for number in range(count)]


def test_what_people_marked_is_learned_and_found_in_traces_that_were_not_seen() -> None:
    model = train(labelled(40, seed=1), (), "", seeds=1)
    found = [(model.find(item.trace), item) for item in labelled(40, seed=2)]
    assert sum((cause.step, cause.agent) == (item.step, item.agent) for cause, item in found) >= 38
    assert model.scores["made"]["agent"]["mean"] > 0.9
    # Weights survive the file.
    assert read_model(msgspec.json.encode(model)).find(found[0][1].trace) == found[0][0]


def test_a_group_stands_on_one_side_of_a_fold_only() -> None:
    groups = [str(number % 17) for number in range(100)]
    folds = fold_numbers(groups, 5, seed=3)
    assert len(set(zip(groups, folds, strict=True))) == 17 and set(folds) == set(range(5))
    assert folds != fold_numbers(groups, 5, seed=4)


def test_too_few_traces_are_refused() -> None:
    with pytest.raises(TooFewTraces, match="at least 20"):
        train(labelled(19, seed=1), (), "")


def test_neither_the_task_nor_a_tool_nor_a_terminal_is_to_blame() -> None:
    call = ToolCall(id="1", name="count", arguments={"of": "loaves"})
    trace = trace_of(
        [
            said("Answer in one word.", role="system"),
            said("How many loaves were sold?", role="user"),
            Said(at=0, message=Message(role="assistant", tool_calls=(call,))),
            ToolCallEvent(at=0, call=call, result=ToolResult("Traceback (most recent call last)", error="failed")),
            said("exitcode: 1 (execution failed)", "Computer_terminal", "user"),
            said("Seventeen, I assume.", "Baker (thought)"),
        ]
    )
    cause = shipped_model().find(trace)
    assert {suspect.seq for suspect in cause.suspects} == {2, 5} and cause.agent in ("assistant", "Baker")
    assert cause.score is not None and sum(s.probability for s in cause.suspects) == pytest.approx(1)


@pytest.mark.parametrize("events", [[], [said("Do something.", role="user")], [said("Be brief.", role="system")]])
def test_where_nobody_acted_the_cause_is_unknown(events: list[Said]) -> None:
    cause = shipped_model().find(trace_of(events))
    assert (cause.agent, cause.step, cause.category, cause.score) == ("unknown", None, "unknown", None)


def test_a_hostile_trace_takes_no_longer_than_its_bounds() -> None:
    turns = [said("```" * 30_000 + f"error: {number} " * 10_000, f"agent{number % 50}") for number in range(60)]
    turns += [said("x", f"agent{number % 50}") for number in range(20_000)]
    began = time.process_time()
    moments = read_moments(trace_of(turns))
    assert all(len(moment.text) <= LONGEST_TEXT + 1 for moment in moments)
    assert shipped_model().find(trace_of(turns)).step is not None
    assert time.process_time() - began < 10


def test_the_shipped_weights_belong_to_the_features_and_say_where_they_come_from() -> None:
    model = shipped_model()
    (row, *_) = feature_rows(Scene(read_moments(trace_of([said("One.", "A"), said("Two.", "B")]))))
    assert set(model.weights) == set(row)
    assert all(set(weights) == set(row) for weights in model.categories.weights)
    assert [source.file for source in model.trained_on] == list(FILES)
    assert all(len(source.sha256) == 64 for source in model.trained_on) and "traces train" in model.rebuild
    assert model.scores["whowhen"]["traces"] == 126 and model.scores["agentrx"]["traces"] == 29


@pytest.mark.parametrize(
    "change",
    [{"features": 0}, {"kind": "refusal"}, {"weights": {"first": "1"}}, {"weights": None}],
    ids=["other features", "other kind", "weights are no numbers", "no weights"],
)
def test_a_file_of_other_weights_is_refused(change: dict[str, object]) -> None:
    document = json.loads(msgspec.json.encode(shipped_model())) | change
    with pytest.raises(CauseFileError):
        read_model(json.dumps(document).encode())
    with pytest.raises(CauseFileError):
        read_model(b"\x80\x04pickle")


def test_finding_a_cause_loads_no_library() -> None:
    program = (
        "import sys\n"
        "from agentlab.traces.causes.model import shipped_model\n"
        "from agentlab.traces.events import Message, Said\n"
        "from agentlab.traces.steps import trace_of\n"
        "print(shipped_model().find(trace_of([Said(at=0, message=Message(role='assistant', content='42'))])).step)\n"
        "print([name for name in ('sklearn', 'numpy', 'scipy') if name in sys.modules])\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.split("\n")[:2] == ["0", "[]"]


def test_categories_have_one_spelling() -> None:
    assert agentrx_name("Instruction  adherence Failure") == "Instruction/Plan Adherence Failure"
    assert agentrx_name("Intent Plan Misalignment") == "Intent-Plan Misalignment"
    assert agentrx_name("Misinterpretation of Tool Output") == "Misinterpretation of Tool Output / Handoff Failure"
    assert agentrx_name("Something  else") == "Something else"


def test_a_label_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    row = {"question_ID": "q", "history": [{"role": "assistant", "name": "A", "content": "x"}], "mistake_agent": "A"}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row | {"mistake_step": "the second"}) + "\n")
    with pytest.raises(FormatError, match="mistake_step"):
        read_labelled([path])


@pytest.fixture(scope="module")
def people(reference_data: Path) -> list[LabelledTrace]:
    folders = ("traces_whowhen", "traces_agentrx", "traces_agentrx")
    paths = [reference_data / folder / name for folder, name in zip(folders, FILES, strict=True)]
    found, sources = read_labelled(paths)
    assert [source.sha256 for source in sources] == [source.sha256 for source in shipped_model().trained_on]
    return found


@pytest.mark.data
def test_the_shipped_weights_are_those_that_their_command_gives(people: list[LabelledTrace]) -> None:
    weights, categories, penalty = fit(examples_of(people))
    assert weights == pytest.approx(shipped_model().weights, abs=2e-3)
    assert categories.names == shipped_model().categories.names
    assert penalty == shipped_model().settings["penalty"]


@pytest.mark.data
def test_on_traces_not_seen_the_agent_is_found_more_often_than_by_naming_the_first(people: list[LabelledTrace]) -> None:
    judged = [p for p in cross_validate(examples_of(people), 5, seed=0) if p.labelled.origin == "whowhen"]
    ours = [float(right_agent(p.labelled, p.cause)) for p in judged]
    first = [float(first_agent(p.labelled.trace) == p.labelled.agent) for p in judged]
    gain = paired_difference(ours, first)
    assert len(ours) == 126 and gain.ci95[0] > 0, gain


def first_agent(trace: Trace) -> str:
    return trace.steps[0].agent
