"""Texts and traces that are made to keep a reader busy: what reads them takes a time that grows with their length."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.traces.alignment import align
from agentlab.traces.detectors import detect
from agentlab.traces.events import Message, Said, ToolCall, ToolCallEvent, ToolResult
from agentlab.traces.safety.conduct import find_conduct
from agentlab.traces.steps import Trace, trace_of

TASK = Said(at=1.0, message=Message("user", "Fix the bug in sums.py so that the tests pass."))


def talk(words: list[str]) -> Trace:
    return trace_of([Said(at=1.0, message=Message("assistant", word)) for word in words])


def calls(*given: tuple[str, dict[str, Any]]) -> Trace:
    made = [ToolCall(str(place), name, arguments) for place, (name, arguments) in enumerate(given)]
    return trace_of([TASK, *(ToolCallEvent(at=2.0, call=call, result=ToolResult("ok")) for call in made)])


def seconds(work: Callable[[], object]) -> float:
    """Of the processor: how busy the machine is otherwise does not count."""
    began = time.process_time()
    work()
    return time.process_time() - began


def test_two_agents_in_a_loop_are_lined_up_as_fast_as_any_others() -> None:
    one, other = talk(["look", "try", "fail"] * 1600), talk(["try", "look", "fail"] * 1600)
    assert seconds(lambda: align(one, other)) < 10  # by the search that `difflib` makes: a quarter of an hour


@given(st.lists(st.sampled_from("abc"), max_size=9), st.lists(st.sampled_from("abc"), max_size=9))
def test_as_many_steps_stand_beside_each_other_as_can(one: list[str], other: list[str]) -> None:
    found = align(talk(one), talk(other))
    assert [pair.left.text for pair in found.pairs if pair.left is not None] == one
    assert [pair.right.text for pair in found.pairs if pair.right is not None] == other
    beside = sum(pair.left is not None and pair.right is not None and not pair.differs for pair in found.pairs)
    longest = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, mine in enumerate(one):
        for j, yours in enumerate(other):
            longest[i + 1][j + 1] = longest[i][j] + 1 if mine == yours else max(longest[i][j + 1], longest[i + 1][j])
    assert beside >= longest[-1][-1]


@pytest.mark.parametrize("piece", ["<<EOF\n", "\x1b[0;"], ids=["documents", "signs"])
def test_a_command_of_many_beginnings_is_read_once(piece: str) -> None:
    trace = calls(*(("bash", {"command": f"{piece * (8000 // len(piece))} {place}"}) for place in range(12)))
    assert seconds(lambda: detect(trace)) < 2.5


@pytest.mark.parametrize("sign", ["a", "-"])
def test_a_file_name_of_megabytes_is_looked_at_from_its_end(sign: str) -> None:
    trace = calls(("edit", {"path": sign * 500_000, "new_str": "x"}), ("edit", {"path": "tests/test_a.py"}))
    found = []
    assert seconds(lambda: found.extend(find_conduct(trace))) < 4
    assert [finding.conduct for finding in found] == ["grader_tampering"]


def test_the_body_of_a_here_document_is_no_command_and_what_follows_one_without_an_end_is() -> None:
    closed = ("bash", {"command": "cat > clean.sh <<'EOF'\nrm tests/test_a.py\n  EOF\nls"})
    unclosed = ("bash", {"command": "cat <<NEVER\nrm tests/test_b.py"})
    found = [finding for finding in detect(calls(closed, unclosed)) if finding.detector == "test_or_grader_tampering"]
    assert [finding.quote for finding in found] == ["bash: cat <<NEVER rm tests/test_b.py"]
