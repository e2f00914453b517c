"""The step at which the chance of success drops: a Bayesian change point over counts of forks, and where to fork next.

Prefix j of a trace of T steps keeps its first j steps (j = 0 .. T - 1), and forks from it succeed with a probability
p_j. Step k is decisive when p_j = a for j < k and p_j = b < a for j >= k: with the steps before k the task is as good
as ever, once k is taken it is not. k = T means that no prefix has lost anything yet, so that the last step does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

GRID = 200
"""Points at which a and b are integrated."""
MARGIN = 2.0
"""How far above its bound the threshold of the interval lies: see `change_point`."""


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """Which step is decisive. Steps are counted from 1."""

    step: int
    """The most probable one."""
    interval: tuple[int, int]
    """The run of steps that holds the decisive one, wherever it lies, in a share `level` of all traces."""
    level: float
    probabilities: tuple[float, ...]
    """Of step 1 to T."""
    before: float
    """The chance of success before `step`: the posterior mean of a."""
    after: float
    """The same once it is taken: of b."""


def change_point(successes: ArrayLike, forks: ArrayLike, level: float = 0.9) -> ChangePoint:
    """The posterior of the decisive step from `successes` of `forks` after each prefix 0 .. T - 1.

    P(k | data) is proportional to the integral over 0 < b < a < 1 of a^S (1-a)^F b^s (1-b)^f, with S and F the
    successes and failures of prefixes before k, s and f those of the others: each step is equally likely beforehand,
    and (a, b) uniform where b < a (Smith 1975, "A Bayesian approach to inference about a change-point in a sequence
    of random variables", Biometrika 62, 407-416, section 3 for binomial variables; the order of a and b is added).
    Which prefixes were forked may depend on what came of earlier forks: the posterior does not.

    The interval goes from the first to the last step whose probability is above MARGIN (1 - level) / T. At a margin of
    1 Markov's inequality holds it to `level` at every step, whenever one stops, for a and b drawn from their prior
    (that the data make the mixture of all steps 1 / (1 - level) times as likely as the true one has at most that
    chance); 2 is what simulation leaves of that, for level 0.9 and single values of (a, b): see the tests. A run that
    holds 0.9 of the posterior does not do it: it covers 90 % on average over the steps, but of weak effects at the
    first step a third. Raises ValueError for counts that are none.
    """
    import numpy as np

    won, lost = _counts(successes, forks)
    weights, before, after = _posterior(won, lost)
    place = int(weights.argmax())
    likely = np.flatnonzero(weights > min(MARGIN * (1 - level), 1) / weights.size)
    first, last = (int(likely[0]), int(likely[-1])) if likely.size else (0, weights.size - 1)
    return ChangePoint(
        step=place + 1,
        interval=(first + 1, last + 1),
        level=level,
        probabilities=tuple(float(weight) for weight in weights),
        before=float(before[place]),
        after=float(after[place]),
    )


def next_prefixes(successes: ArrayLike, forks: ArrayLike, n: int, *, most: int | None = None) -> list[int]:
    """The `n` prefixes to fork next, those that tell most about the decisive step; none gets more than `most` forks in
    all, as long as another has less: where chances rise again behind the drop, one prefix must not take them all.

    One after the other the prefix is chosen whose next outcome has the most mutual information with the step
    (Lindley 1956, "On a measure of the information provided by an experiment"), a and b taken at their means; each
    chosen fork is then counted with its expected outcome. At first that spreads over the trace, later it gathers
    where the change lies.
    """
    import numpy as np

    won, lost = _counts(successes, forks)
    chosen: list[int] = []
    for _ in range(n):
        weights, before, after = _posterior(won, lost)
        places = np.arange(won.size)
        # expected[k, j]: the chance of success after prefix j where step k + 1 is the decisive one
        expected = np.where(places[None, :] <= places[:, None], before[:, None], after[:, None])
        mean = weights @ expected
        told = _entropy(mean) - weights @ _entropy(expected)
        open_ = won + lost < (most - 0.5 if most is not None else np.inf)
        place = int(np.where(open_, told, -np.inf).argmax()) if open_.any() else int(told.argmax())
        chosen.append(place)
        won[place] += mean[place]
        lost[place] += 1 - mean[place]
    return chosen


def _counts(successes: ArrayLike, forks: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import numpy as np

    won, made = np.array(successes, dtype=np.float64), np.array(forks, dtype=np.float64)
    if won.ndim != 1 or won.shape != made.shape or won.size == 0:
        raise ValueError(f"successes of shape {won.shape} of forks of shape {made.shape}")
    if not (np.isfinite(won).all() and np.isfinite(made).all() and (won >= 0).all() and (won <= made).all()):
        raise ValueError("successes are counted from 0 to the number of forks")
    return won, made - won


def _posterior(
    won: NDArray[np.float64], lost: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """For each step the probability that it is decisive, and the means of a and b if it is."""
    import numpy as np

    grid = (np.arange(GRID) + 0.5) / GRID
    log_p, log_q = np.log(grid), np.log1p(-grid)
    won_before, lost_before = np.cumsum(won), np.cumsum(lost)
    like_a = won_before[:, None] * log_p + lost_before[:, None] * log_q
    like_b = (won_before[-1] - won_before)[:, None] * log_p + (lost_before[-1] - lost_before)[:, None] * log_q
    scale_a, scale_b = like_a.max(axis=1, keepdims=True), like_b.max(axis=1, keepdims=True)
    dense_a, dense_b = np.exp(like_a - scale_a), np.exp(like_b - scale_b)
    # The sum over b < a on the grid; half of the diagonal's cell lies below it.
    below = np.cumsum(dense_b, axis=1) - dense_b / 2
    above = np.cumsum(dense_a[:, ::-1], axis=1)[:, ::-1] - dense_a / 2
    mass = (dense_a * below).sum(axis=1)
    log_mass = np.log(mass) + scale_a[:, 0] + scale_b[:, 0]
    weights = np.exp(log_mass - log_mass.max())
    before = (dense_a * below) @ grid / mass
    after = (dense_b * above) @ grid / mass
    return weights / weights.sum(), before, after


def _entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    inside = np.clip(p, 1e-12, 1 - 1e-12)
    return -(inside * np.log(inside) + (1 - inside) * np.log1p(-inside))
