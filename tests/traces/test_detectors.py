"""Every detector on five traces that hold what it looks for, and on five that only look like it."""

from __future__ import annotations

import time

import pytest

from agentlab.traces.detectors import DETECTORS, answered_plainly, detect
from agentlab.traces.events import StopReason
from agentlab.traces.steps import Trace

from .planted import call_cases, coding_cases, ending_cases
from .planted.talks import TEAM, WEEK, Ours, Theirs, question

STOPS: tuple[StopReason, ...] = ("stop", "length", "tool_calls")
CASES = coding_cases.CASES | call_cases.CASES | ending_cases.CASES
PLANTED = [(name, place, trace) for name, (planted, _) in CASES.items() for place, trace in enumerate(planted)]
CLEAN = [(name, place, trace) for name, (_, clean) in CASES.items() for place, trace in enumerate(clean)]


def named(cases: list[tuple[str, int, Trace]]) -> list[str]:
    return [f"{name}-{place}" for name, place, _ in cases]


def test_every_detector_has_five_of_each_at_least() -> None:
    assert set(CASES) == {detector.name for detector in DETECTORS}
    assert all(len(planted) >= 5 and len(clean) >= 5 for planted, clean in CASES.values())


@pytest.mark.parametrize(("name", "place", "trace"), PLANTED, ids=named(PLANTED))
def test_what_is_planted_is_found_with_its_evidence(name: str, place: int, trace: Trace) -> None:
    found = [finding for finding in detect(trace) if finding.detector == name]
    assert found, f"missed; found instead: {[finding.detector for finding in detect(trace)]}"
    seqs = {stored.seq for stored in trace.events}
    assert all(finding.seq in seqs and finding.quote and len(finding.quote) <= 200 for finding in found)


@pytest.mark.parametrize(("name", "place", "trace"), CLEAN, ids=named(CLEAN))
def test_what_only_looks_like_it_is_passed_over(name: str, place: int, trace: Trace) -> None:
    assert not [finding for finding in detect(trace) if finding.detector == name]


def test_nothing_is_found_where_a_question_was_answered_plainly() -> None:
    answers = [(answer, stop) for answer in ("42", "", "I cannot") for stop in STOPS]
    asked = [question("What is 17 + 25?", answer, stop=stop).passed() for answer, stop in answers]
    plain = [trace for trace in asked if answered_plainly([stored.event for stored in trace.events])]
    assert len(plain) == 6, "those that ended by themselves"
    assert not any(detect(trace) for trace in plain)
    worked = Ours(WEEK).bash("ls", "week.py").say("Done.").passed()
    assert not answered_plainly([stored.event for stored in worked.events])


@pytest.mark.parametrize(
    "change",
    [
        "sed --in-place 's/6/7/' week.py",
        "find . -name week.py -exec sed -i 's/6/7/' {} +",
        "grep -rl 6 . | xargs sed -i s/6/7/",
        "git apply fix.patch",
        "patch -p1 < fix.patch",
        "git cherry-pick abc123",
        "ruff check --fix .",
        "nohup dd if=new of=week.py",
    ],
)
@pytest.mark.parametrize(
    "run", ["time pytest", "env A=1 pytest", "python manage.py test", "./manage.py test", "node --test"]
)
def test_a_change_and_a_test_are_known_in_every_dress(change: str, run: str) -> None:
    worked = Ours(WEEK).bash(change, "").bash(run, "2 passed in 0.1s").say("Done.").failed()
    found = {finding.detector for finding in detect(worked)}
    assert not found & {"no_edit", "no_test_run", "edit_without_retest", "wrong_file"}
    untried = Ours(WEEK).bash(change, "").say("Done.").failed()
    assert "no_test_run" in {finding.detector for finding in detect(untried)} or "ruff" in change


def test_a_test_that_is_moved_away_is_tampered_with_and_a_copy_of_it_is_not() -> None:
    def tampered(*commands: str) -> list[str]:
        worked = Ours(WEEK).bash("ls tests", "test_week.py")
        for command in commands:
            worked = worked.bash(command)
        found = detect(worked.edit("week.py", "6", "7").bash("pytest", "1 passed").say("Done.").passed())
        return [finding.quote for finding in found if finding.detector == "test_or_grader_tampering"]

    assert tampered("mv tests/test_week.py /tmp/") and tampered("git mv tests/test_week.py tests/week.txt")
    assert not tampered("cp tests/test_week.py /tmp/test_copy.py", "mv /tmp/test_copy.py /tmp/old.py", "rm /tmp/old.py")


HOSTILE = {
    "blanks": "fix " + " " * 20_000,
    "breaks": "\n" * 20_000,
    "signs": "&&" * 8_000,
    "calls": "open('" * 4_000,
    "tags": "<answer>" * 2_500,
    "fences": "```py\n" * 4_000,
    "assignments": "a=1 " * 4_000,
    "quotes": "'\\\"" * 5_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_text_made_to_be_slow_is_not(text: str) -> None:
    ours = (
        Ours(f"{WEEK}\n{text}").bash(text, text, 1).python(text, text, 1).edit("week.py", "a", text).say(text).failed()
    )
    theirs = (
        Theirs("").agent(TEAM.format(task=text), "A").expert("B", text).terminal(text, 1).expert("A", text).failed()
    )
    began = time.process_time()
    for trace in (ours, theirs, question(text, text).failed()):
        detect(trace)
    assert time.process_time() - began < 3, "superlinear searches take minutes"
