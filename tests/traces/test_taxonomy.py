"""One label for a failed trial, in a documented order, and its names in the schemes of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentlab.traces.categories import AGENTRX, BOUNDARIES, CATEGORIES
from agentlab.traces.detectors import DETECTORS, detect
from agentlab.traces.events import Scored
from agentlab.traces.steps import Trace, trace_of
from agentlab.traces.taxonomy import (
    OF_DETECTOR,
    PRECEDENCE,
    crosswalk,
    explains,
    from_agentrx,
    from_mast,
    from_trail,
    primary,
    who_and_when,
)

from .planted.talks import AIRLINE, SUM, WEEK, Ours, Theirs, question

PAGE = Path(__file__).parents[2] / "docs" / "failures.md"


def label(trace: Trace) -> str | None:
    cause = primary(trace, detect(trace))
    return None if cause is None else cause.value


def test_every_detector_has_a_label_and_a_place_in_the_order() -> None:
    names = {detector.name for detector in DETECTORS}
    assert set(OF_DETECTOR) == set(PRECEDENCE) == names and len(PRECEDENCE) == len(names)
    assert set(OF_DETECTOR.values()) <= set(CATEGORIES)
    assert {category.boundary for category in CATEGORIES.values()} == set(BOUNDARIES)


def test_trials_that_passed_or_were_not_graded_have_no_cause() -> None:
    assert label(question(SUM, "42").passed()) is None
    assert label(Theirs("Fix `a.py`.").mini("ls", "a.py").ungraded()) is None


def test_of_a_wrong_answer_the_verdict_is_known_and_no_cause() -> None:
    assert label(question(SUM, "41").failed()) == "result.wrong" and not explains("result.wrong")
    said = [stored.event for stored in question(SUM, "41").failed().events if not isinstance(stored.event, Scored)]
    assert label(trace_of([*said, Scored(at=0.0, scorer="f1", version=1, value=0.5)])) == "result.partial"
    assert label(trace_of([Scored(at=0.0, scorer="f1", version=1, value=0.0)])) == "unknown", "nothing is stored of it"


@pytest.mark.parametrize(
    ("trace", "value"),
    [
        (Ours(SUM, tools=False).broke("model", "timeout", "no answer within 600 s"), "environment.model"),
        (Ours(WEEK).broke("sandbox", "lost", "the box ended"), "environment.sandbox"),
        (question(SUM, "42").broke("verifier", "timeout", "it did not end"), "grader.failed"),
        (Ours(SUM, tools=False).broke("task", "prompt", "no such field"), "task.broken"),
        (Ours(WEEK).broke("cancelled", "stopped", "the run was stopped"), "budget.cancelled"),
        (Ours(WEEK).broke("cancelled", "cost_limit", "no money is left"), "budget.cost"),
        (Ours(SUM, tools=False).broke("model", "context_length", "too long"), "budget.context"),
        (Ours(WEEK).bash("ls", "a").limit("time_limit", 1800).failed(), "budget.time"),
        (Ours(WEEK).bash("ls", "a").limit("memory_limit", 512).failed(), "budget.memory"),
    ],
)
def test_an_outcome_or_a_limit_is_its_own_cause(trace: Trace, value: str) -> None:
    assert label(trace) == value


def test_the_cause_is_the_finding_that_comes_first_in_the_order_with_its_step() -> None:
    looped = Ours(WEEK)
    for _ in range(3):
        looped.bash("ls", "week.py")
    trace = looped.limit("turn_limit", 3).failed()
    assert [finding.detector for finding in detect(trace)][:2] == ["no_edit", "repeated_action"]
    cause = primary(trace, detect(trace))
    assert cause is not None
    assert (cause.value, cause.seq, cause.author) == ("plan.looped", 5, "repeated_action/1")
    assert cause.quote == "bash: ls"
    assert cause == primary(trace, tuple(reversed(detect(trace)))), "the order of the findings does not matter"


def test_crosswalks_go_there_and_back() -> None:
    for value, category in CATEGORIES.items():
        names = crosswalk(value)
        assert category in from_agentrx(names.agentrx)
        assert names.mast == "" or category in from_mast(names.mast)
        assert names.trail == "" or category in from_trail(names.trail)
    assert {category.agentrx for category in CATEGORIES.values()} == set(AGENTRX)
    assert from_agentrx("instruction adherence FAILURE") == from_agentrx("Instruction/Plan Adherence Failure") != ()
    assert from_agentrx("Bad luck") == from_mast("") == from_trail("no such leaf") == ()
    with pytest.raises(KeyError):
        crosswalk("plan.no_such_label")


def test_names_of_other_schemes_are_theirs(reference_data: Path) -> None:
    schemes = json.loads((reference_data / "taxonomies" / "taxonomies.json").read_text())
    mast = {mode["name"] for mode in schemes["MAST_14"]["modes"]}
    trail = set(schemes["TRAIL_21"]["leaf_categories"])
    agentrx = {category["name"].partition(" (USE")[0] for category in schemes["AgentRx_10"]["categories"]}
    assert agentrx == set(AGENTRX)
    for category in CATEGORIES.values():
        assert category.mast in mast | {""} and category.trail in trail | {""}


def test_a_step_in_the_terms_of_who_and_when_is_an_agent_and_a_turn() -> None:
    talk = Theirs("").agent("You are given a task.", "Planner").expert("Coder", "I run it.").terminal("42")
    trace = talk.expert("Checker", "Done.").failed()
    assert who_and_when(trace, 3) == ("Checker", 3)
    assert who_and_when(trace, None) == ("", None)
    booked = Theirs("Book it.", AIRLINE).tool("book", {"id": "1"}, "Error: no seats").failed()
    assert who_and_when(booked, 3) == ("assistant", 2), "a tool's answer belongs to the turn that asked"


def test_the_page_lists_what_the_code_holds() -> None:
    page = PAGE.read_text()
    for detector in DETECTORS:
        row = f"| `{detector.name}` | {detector.applies} | {detector.definition} | {detector.counter_example} |"
        assert row in page, f"docs/failures.md does not hold: {row}"
    for value, category in CATEGORIES.items():
        row = f"| `{value}` | {category.definition} | {category.agentrx} | {category.mast or '-'} |"
        assert f"{row} {category.trail or '-'} |" in page, f"docs/failures.md does not hold: {row}"
    for boundary, meaning in BOUNDARIES.items():
        assert f"| `{boundary}` | {meaning} |" in page
    for place, name in enumerate(PRECEDENCE, 1):
        assert f"{place}. `{name}`: `{OF_DETECTOR[name]}`" in page
