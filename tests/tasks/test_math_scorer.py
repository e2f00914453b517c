"""Mathematical equivalence: what is equal, what is not, and what must not hang or crash the runner."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentlab.tasks.scorers import math_equivalent
from agentlab.tasks.scorers.equivalence import EquivalencePool
from agentlab.tasks.scorers.mathematics import expression, same_at_a_glance
from agentlab.tasks.types import Sample, Score, ScoreContext, Submission, VerifierError
from agentlab.traces.events import ListRecorder

CONTEXT = ScoreContext(sandbox=None, judge=None, recorder=ListRecorder())


async def graded(target: str | tuple[str, ...], answer: str) -> Score:
    verdict = math_equivalent().grade(Sample(id="1", input="?", target=target), Submission(answer=answer), CONTEXT)
    assert not isinstance(verdict, Score)
    return await verdict


EQUAL = [
    ("\\frac{1}{2}", "0.5"),
    ("\\frac{1}{2}", "\\boxed{\\frac{1}{2}}"),
    ("\\frac{1}{2}", "$1/2$"),
    ("\\frac{1}{2}", "With 3 of them.\n<answer>\\frac12</answer>"),
    ("\\frac{1}{2}", "50\\%"),
    ("\\frac{1}{2}", "The answer is $\\frac{1}{2}$, not $\\frac13$."),
    ("15\\%", "15"),
    ("15\\%", "0.15"),
    ("1000", "1,000"),
    ("10,\\!080", "10080"),
    ("11,\\! 111,\\! 111,\\! 100", "11111111100"),
    ("\\$32,\\!348", "$32,348"),
    (".0000672", "6.72 \\times 10^{-5}"),
    ("\\text{Evelyn}", "Evelyn"),
    ("\\text{east}", "The answer is east."),
    ("\\text{(C)}", "\\boxed{\\text{C}}"),
    ("x=5", "5"),
    ("5", "So we get $x = 5$."),
    ("90^\\circ", "90"),
    ("90", "90°"),
    ("\\frac{270}7\\text{ degrees}", "\\frac{270}{7}"),
    ("10", "10 \\text{ cm}^2"),
    ("10 \\text{ cm}", "10"),
    ("10", "10 square units"),
    ("1,-2", "-2,1"),
    ("3, 5, 7", "7,5,3"),
    ("\\{1,2\\}", "\\{2,1\\}"),
    ("(1,2)", "\\left(1, 2\\right)"),
    ("(3,4]", "3 < x \\le 4"),
    ("(2,\\infty)", "x>2"),
    ("52_8", "52_{8}"),
    ("1 \\pm \\sqrt{19}", "1+\\sqrt{19}, 1-\\sqrt{19}"),
    ("5x - 7y + 11z + 4 = 0", "10x - 14y + 22z + 8 = 0"),
    ("6 - 5i", "-5i + 6"),
    ("2k+2", "2(k+1)"),
    ("\\cot x", "\\frac{1}{\\tan x}"),
    ("11\\sqrt2", "11\\sqrt{2}"),
    ("\\begin{pmatrix} 1/3 \\\\ 2 \\end{pmatrix}", "\\begin{bmatrix} \\frac13 \\\\ 2 \\end{bmatrix}"),
    ("2", "\\boxed{3} no wait, \\boxed{2}"),
    ("9", "**9**"),
]
DIFFERENT = [
    ("2", "3"),
    ("\\text{Evelyn}", "Evan"),
    ("\\text{even}", "odd"),
    ("1,-2", "1, 2"),
    ("3, 5, 7", "3, 5"),
    ("(1,2)", "(2,1)"),
    ("(3,4]", "(3,4)"),
    ("52_8", "53_8"),
    ("3.21", "3.2"),
    ("p - q", "q - p"),
    ("\\pi", "3.14"),
    ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 2 \\\\ 1 \\end{pmatrix}"),
    ("0", "\\text{no solution}"),
    ("2", "\\boxed{2} on second thoughts \\boxed{3}"),
]


@pytest.mark.parametrize(("target", "answer"), EQUAL)
async def test_equal(target: str, answer: str) -> None:
    score = await graded(target, answer)
    assert score.value == 1 and not score.flags, score


@pytest.mark.parametrize(("target", "answer"), DIFFERENT)
async def test_different(target: str, answer: str) -> None:
    assert (await graded(target, answer)).value == 0


async def test_an_empty_answer_is_flagged() -> None:
    assert (await graded("1", " ")).flags == ("empty",)


async def test_any_of_several_targets() -> None:
    assert (await graded(("\\frac{1}{3}", "\\sqrt{2}"), "2^{1/2}")).value == 1


def test_the_reference_costs_no_process() -> None:
    for target, _ in EQUAL + DIFFERENT:
        assert same_at_a_glance(target, expression(f"The answer is $\\boxed{{{target}}}$.")) is True


@pytest.fixture(scope="module")
def pool() -> Iterator[EquivalencePool]:
    made = EquivalencePool(1)
    yield made
    made.close()


@pytest.mark.parametrize("hostile", ["9^{9^{9^{9}}}", "100000000!"])
def test_hostile_algebra_is_ended_and_the_next_comparison_works(pool: EquivalencePool, hostile: str) -> None:
    started = time.monotonic()
    assert pool.compare("2", hostile) == "timeout"
    assert time.monotonic() - started < 60
    assert pool.compare("2", "1+1") == "equal"


def workers() -> int:
    """How many processes of this one compare expressions: its children, and theirs."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"equivalence_worker" in (folder / "cmdline").read_bytes():
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    own = {pid for pid, parent in parents.items() if parent == os.getpid()}
    return len(own | {pid for pid, parent in parents.items() if parent in own})


async def test_a_comparison_that_nobody_waits_for_any_more_ends_with_its_processes() -> None:
    """A run that was stopped waited for the processor time of what was under way."""
    before, pool = workers(), EquivalencePool(2)
    assert await pool.compare_async("2", "1+1") == "equal"
    started = time.monotonic()
    endless = [asyncio.ensure_future(pool.compare_async("2", f"9^{{9^{{{n}}}}}")) for n in range(9, 59)]
    await asyncio.wait(endless, return_when=asyncio.FIRST_COMPLETED)
    assert workers() >= before + 2
    for comparison in endless:
        comparison.cancel()
    await asyncio.gather(*endless, return_exceptions=True)
    pool.close()
    assert workers() == before
    assert time.monotonic() - started < 40, "all of them take two seconds each"
    with pytest.raises(VerifierError):
        pool.compare("2", "1+1")


async def test_hostile_answers_score_zero_beside_good_ones_and_never_block_the_loop() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    ticking = asyncio.ensure_future(tick())
    try:
        bad, good = await asyncio.gather(graded("2", "\\boxed{7^{7^{7^{7^{7}}}}}"), graded("a+b", "b+a"))
    finally:
        ticking.cancel()
    assert bad.value == 0 and bad.flags == ("unparsable",)
    assert good.value == 1
    assert ticks > 20


@pytest.mark.parametrize(
    "answer",
    ["((((" * 600, "\\frac{" * 300, "x" * 5000, "__import__('os').system('false')", "\\input{/etc/passwd}", "\x00"],
)
async def test_nonsense_scores_zero(answer: str) -> None:
    assert (await graded("2", answer)).value == 0


def test_comparison_is_symmetric(pool: EquivalencePool) -> None:
    for left, right in [("(3,4]", "3 < x \\le 4"), ("x=5", "5"), ("(1,2)", "(2,1)"), ("1 \\pm 2", "3, -1")]:
        assert pool.compare(left, right) == pool.compare(right, left), (left, right)
