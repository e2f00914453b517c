"""The change point over forks: exact small cases, and how often its interval holds the true step."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agentlab.analysis.changepoint import change_point, next_prefixes

STEPS, FORKS, ROUND = 10, 60, 6


def test_the_posterior_is_that_of_the_integrals() -> None:
    """One success before the first step, one failure after it. k = 1: the integral of a (1 - b) over b < a is 5/24;
    k = 2: that of a (1 - a) is 2/24.
    """
    found = change_point([1, 0], [1, 1])
    assert found.probabilities == pytest.approx((5 / 7, 2 / 7), abs=1e-4)
    assert (found.step, found.interval, found.level) == (1, (1, 2), 0.9)
    # The mean of a under k = 1: the integral of a^2 (1 - b), 7/40, over 5/24; of b: that of a b (1 - b), 7/120.
    assert found.before == pytest.approx((1 / 4 - 1 / 10) / (5 / 24), abs=1e-4)
    assert found.after == pytest.approx((1 / 8 - 1 / 15) / (5 / 24), abs=1e-4)


def test_without_forks_no_step_is_likelier_than_another() -> None:
    found = change_point([0] * 4, [0] * 4)
    assert found.probabilities == pytest.approx([0.25] * 4, abs=1e-6) and found.interval == (1, 4)
    assert next_prefixes([0] * 9, [0] * 9, 1) == [4], "the first fork halves the trace"


def test_no_prefix_takes_all_forks() -> None:
    won = made = [0, 1, 1, 1, 0, 20]
    assert 5 in next_prefixes(won, made, 1) and 5 not in next_prefixes(won, made, 6, most=20)


def test_prefixes_that_all_succeed_leave_the_last_step() -> None:
    found = change_point([8, 8, 8], [8, 8, 8])
    assert found.step == 3 and found.before > 0.9


@pytest.mark.parametrize(("successes", "forks"), [([2], [1]), ([-1], [1]), ([], []), ([1, 1], [1]), ([math.nan], [1])])
def test_what_is_no_count_is_refused(successes: list[float], forks: list[float]) -> None:
    with pytest.raises(ValueError, match="successes"):
        change_point(successes, forks)


def located(
    before: float, after: float, rng: np.random.Generator, *, step: int = 0, steps: int = STEPS, forks: int = FORKS
) -> tuple[bool, bool]:
    """Whether the interval holds a step (drawn at random, unless it is given), and whether that step is the one that
    is named, where forks are spent as `traces locate` does.
    """
    step = step or int(rng.integers(1, steps + 1))
    won, made = np.zeros(steps), np.zeros(steps)
    while made.sum() < forks:
        for prefix in next_prefixes(won, made, ROUND, most=forks // 3):
            made[prefix] += 1
            won[prefix] += rng.random() < (before if prefix < step else after)
        if max(change_point(won, made).probabilities) >= 0.99:
            break
    found = change_point(won, made)
    return found.interval[0] <= step <= found.interval[1], found.step == step


def test_a_sure_effect_is_named_every_time() -> None:
    rng = np.random.default_rng(7)
    assert all(right for _, right in (located(1.0, 0.0, rng) for _ in range(60)))


CASES = [(1.0, 0.8), (1.0, 0.5), (1.0, 0.2), (0.8, 0.5)]


def coverage(before: float, after: float, times: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    return sum(held for held, _ in (located(before, after, rng) for _ in range(times))) / times


@pytest.mark.parametrize(("before", "after"), CASES)
def test_intervals_hold_the_true_step_as_often_as_they_say(before: float, after: float) -> None:
    """A wrong step that flips the outcome with probability 0.2, 0.5 or 0.8: two standard errors below 90 % at most."""
    times = 60
    assert coverage(before, after, times, seed=11) >= 0.9 - 2 * math.sqrt(0.9 * 0.1 / times)


@pytest.mark.long
@pytest.mark.parametrize(("before", "after"), CASES)
def test_coverage_over_many_traces(before: float, after: float) -> None:
    times = 1000
    assert coverage(before, after, times, seed=12) >= 0.9 - 2 * math.sqrt(0.9 * 0.1 / times)


ENDS = [(steps, forks, step) for steps in (3, 7) for forks in (6, 12) for step in (1, steps)]


@pytest.mark.parametrize(("steps", "forks", "step"), ENDS)
def test_intervals_hold_the_first_and_the_last_step_after_few_forks_too(steps: int, forks: int, step: int) -> None:
    """A run that held 90 % of the posterior held the first step in a third of the traces where its effect is weak."""
    rng, times = np.random.default_rng(13), 20
    for before, after in ((1.0, 0.8), (0.5, 0.2)):
        held = sum(located(before, after, rng, step=step, steps=steps, forks=forks)[0] for _ in range(times))
        assert held / times >= 0.9 - 2 * math.sqrt(0.9 * 0.1 / times), (before, after)


@pytest.mark.long
@pytest.mark.parametrize("forks", [6, 12, 60])
@pytest.mark.parametrize(("before", "after"), [*CASES, (0.5, 0.2), (0.9, 0.1), (0.9, 0.8), (0.2, 0.1)])
def test_coverage_at_each_step_over_many_traces(before: float, after: float, forks: int) -> None:
    rng, times = np.random.default_rng(14), 100
    for steps in (3, 7, 15):
        for step in sorted({1, 2, (steps + 1) // 2, steps}):
            held = sum(located(before, after, rng, step=step, steps=steps, forks=forks)[0] for _ in range(times))
            assert held / times >= 0.9 - 3 * math.sqrt(0.9 * 0.1 / times), (steps, step)
