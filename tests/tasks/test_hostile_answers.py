"""Answers made to be slow to score: each is settled in time linear in its length."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from agentlab.tasks.scorers.choice import extract_choice, lettered
from agentlab.tasks.scorers.equivalence import EquivalencePool
from agentlab.tasks.scorers.match import answer_candidates
from agentlab.tasks.scorers.mathematics import expression
from agentlab.tasks.scorers.number import answer_number
from agentlab.tasks.scorers.programs.extraction import extract_program

LENGTH = 100_000
CHOICES = lettered(4, ["a cat", "a dog", "a horse", "a mouse"])
READERS: dict[str, Callable[[str], object]] = {
    "number": answer_number,
    "choice": lambda text: extract_choice(text, CHOICES),
    "match": answer_candidates,
    "math": expression,
    "extraction": lambda text: extract_program(text, ["f"], "def f(x):\n"),
}
UNITS = ["Answer: ", "The answer is B. ", "B is correct. ", "I choose B. ", "\\left(", "\\[", "$", "$$", "\\boxed{"]
UNITS += ["`", "1,111", "1,", "\\frac{1}{2}", "```\n", "```python\n", "def a(): pass\n", "A\n", "the answer to "]
UNITS += ["_a", "**a"]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("reader", READERS)
def test_a_hostile_answer_is_read_in_seconds(reader: str, unit: str) -> None:
    answer = unit * (LENGTH // len(unit))
    started = time.process_time()
    READERS[reader](answer)
    assert time.process_time() - started < 4  # a busy machine takes twice as long; what was quadratic took far longer


def test_brackets_by_the_hundred_are_not_compared() -> None:
    assert EquivalencePool().compare("x+1", "(" * 500) == "unparsable"


def test_the_last_claim_of_thousands_counts() -> None:
    found = answer_number("The answer is 4. " * 5000 + "The answer is 7.")
    assert found is not None and found.value == 7
    assert extract_choice("The answer is A. " * 9000 + "The answer is C.", CHOICES) == 2
    assert expression("\\[x\\] " * 9000 + "\\[y + 1\\]") == "y + 1"
