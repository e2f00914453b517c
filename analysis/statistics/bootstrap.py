"""Bootstrap intervals: percentile and BCa, over items or whole clusters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

from agentlab.analysis.statistics.intervals import places

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

_CELLS = 4_000_000
"""Draws held at once (32 MB of indices), so that memory does not grow with items x resamples."""

Statistic = Callable[["NDArray[np.float64]"], float]
StatisticOfSums = Callable[["NDArray[np.float64]"], "NDArray[np.float64]"]


def bootstrap(
    values: ArrayLike,
    statistic: Statistic | None = None,
    *,
    method: Literal["percentile", "bca"] = "bca",
    clusters: ArrayLike | None = None,
    resamples: int = 9999,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Interval of a statistic by resampling rows of `values` (Efron and Tibshirani 1993), or whole clusters where
    they are given.

    `statistic` takes the resampled rows and returns a number; None is the mean, vectorised. Rows may be vectors:
    pairs for a paired statistic. Data on which the statistic never varies has no bootstrap interval: (NaN, NaN),
    not one of width zero; for 20 of 20 use `wilson`. BCa falls back to the percentile interval where its
    corrections are not finite.
    """
    import numpy as np

    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim == 0 or len(rows) == 0 or not np.isfinite(rows).all():
        raise ValueError("the bootstrap needs finite scores, and at least one")
    units = _units(len(rows), clusters)
    rng = np.random.default_rng(seed)
    if statistic is None and rows.ndim == 1:
        draws, estimate, jackknife = _of_means(rows, units, resamples, rng)
    else:
        draws, estimate, jackknife = _of_statistic(rows, units, statistic or _mean, resamples, rng)
    if np.isclose(draws.min(), draws.max(), rtol=0, atol=1e-15):
        return math.nan, math.nan
    low, high = (1 - level) / 2, (1 + level) / 2
    if method == "bca":
        low, high = _bca_levels(draws, estimate, jackknife, (low, high))
    return float(np.quantile(draws, low)), float(np.quantile(draws, high))


def bootstrap_of_sums(
    rows: ArrayLike,
    statistics: Sequence[StatisticOfSums],
    *,
    resamples: int = 9999,
    level: float = 0.95,
    seed: int = 0,
) -> list[tuple[float, float]]:
    """BCa intervals, by resampling rows, of statistics that depend on the sums of the columns only; a ratio or a kappa
    is one. All are taken from the same resamples.

    A statistic takes sums in its last axis and answers for all resamples at once, a hundred times as fast as one by
    one. Resamples on which it is NaN are left out; where most are, or where it never varies, there is no interval:
    (NaN, NaN).
    """
    import numpy as np

    table = np.asarray(rows, dtype=np.float64)
    if table.ndim != 2 or len(table) == 0 or not np.isfinite(table).all():
        raise ValueError("the bootstrap needs finite rows of features, and at least one")
    n = len(table)
    rng = np.random.default_rng(seed)
    draws = np.empty((len(statistics), resamples))
    step = max(1, _CELLS // n)
    for start in range(0, resamples, step):
        times = rng.multinomial(n, np.full(n, 1 / n), size=min(step, resamples - start))
        sums = times @ table
        for place, statistic in enumerate(statistics):
            draws[place, start : start + len(sums)] = statistic(sums)
    total = table.sum(axis=0)
    levels = ((1 - level) / 2, (1 + level) / 2)
    return [
        _bca_of_draws(drawn, float(statistic(total[None])[0]), statistic(total - table), levels)
        for drawn, statistic in zip(draws, statistics, strict=True)
    ]


def _bca_of_draws(
    draws: NDArray[np.float64], estimate: float, jackknife: NDArray[np.float64], levels: tuple[float, float]
) -> tuple[float, float]:
    import numpy as np

    defined = draws[np.isfinite(draws)]
    if not math.isfinite(estimate) or len(defined) < len(draws) / 2:
        return math.nan, math.nan
    if np.isclose(defined.min(), defined.max(), rtol=0, atol=1e-15):
        return math.nan, math.nan
    low, high = _bca_levels(defined, estimate, jackknife, levels)
    return float(np.quantile(defined, low)), float(np.quantile(defined, high))


def _mean(rows: NDArray[np.float64]) -> float:
    return float(rows.mean())


def _units(n: int, clusters: ArrayLike | None) -> list[NDArray[Any]]:
    """The row numbers of each unit that is drawn: one row, or all rows of a cluster."""
    import numpy as np

    if clusters is None:
        return list(np.arange(n).reshape(-1, 1))
    ids = np.asarray(clusters).ravel()
    if ids.size != n:
        raise ValueError(f"{n} scores but {ids.size} cluster ids")
    index = places(ids)
    order = np.argsort(index, kind="stable")
    return np.split(order, np.cumsum(np.bincount(index))[:-1])


def _of_means(
    rows: NDArray[np.float64], units: list[NDArray[Any]], resamples: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Means of resampled units from their sums and sizes: the mean of drawn rows is sum of sums over sum of sizes."""
    import numpy as np

    sums = np.array([rows[unit].sum() for unit in units])
    sizes = np.array([unit.size for unit in units], dtype=np.float64)
    draws = np.empty(resamples)
    step = max(1, _CELLS // len(units))
    for start in range(0, resamples, step):
        picks = rng.integers(0, len(units), size=(min(step, resamples - start), len(units)))
        draws[start : start + len(picks)] = sums[picks].sum(axis=1) / sizes[picks].sum(axis=1)
    left_out = sizes.sum() - sizes
    jackknife = (sums.sum() - sums) / np.where(left_out > 0, left_out, math.nan)
    return draws, float(rows.mean()), jackknife


def _of_statistic(
    rows: NDArray[np.float64], units: list[NDArray[Any]], statistic: Statistic, resamples: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    import numpy as np

    draws = np.empty(resamples)
    for i in range(resamples):
        picks = rng.integers(0, len(units), size=len(units))
        draws[i] = statistic(rows[np.concatenate([units[p] for p in picks])])
    everyone = np.arange(len(rows))
    jackknife = (
        np.array([statistic(rows[np.setdiff1d(everyone, unit)]) for unit in units])
        if len(units) > 1
        else np.array([math.nan])
    )
    return draws, float(statistic(rows)), jackknife


def _bca_levels(
    draws: NDArray[np.float64], estimate: float, jackknife: NDArray[np.float64], levels: tuple[float, float]
) -> tuple[float, float]:
    """The quantiles that BCa reads (Efron 1987): z0 from the share of draws below the estimate (ties half), a from
    the jackknife.
    """
    normal = NormalDist()
    share = float(((draws < estimate).mean() + (draws <= estimate).mean()) / 2)
    if not 0 < share < 1:
        return levels
    away = jackknife.mean() - jackknife
    spread = float((away**2).sum()) ** 1.5
    if not (math.isfinite(spread) and spread > 0):
        return levels
    z0, a = normal.inv_cdf(share), float((away**3).sum()) / (6 * spread)
    low, high = (
        normal.cdf(z0 + (z0 + normal.inv_cdf(level)) / (1 - a * (z0 + normal.inv_cdf(level)))) for level in levels
    )
    return low, high
