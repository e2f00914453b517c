"""The mean of a set of scores: its standard error, with and without clusters, and its 95 % interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

Interval = tuple[float, float]
UNDEFINED: Interval = (math.nan, math.nan)
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its uncertainty. `n` counts items, `clusters` the independent groups of them (n where there are
    none).
    """

    value: float
    stderr: float
    ci95: Interval
    method: Literal["wilson", "t", "wilson-clusters", "undefined"]
    n: int
    clusters: int


def finite(values: ArrayLike) -> NDArray[np.float64]:
    """The scores as a flat float64 array. Raises ValueError where one is NaN or infinite: a missing score is not a
    number.
    """
    import numpy as np

    array = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ValueError(f"{bad} of {array.size} scores are NaN or infinite; leave them out and count them")
    return array


def mean_se(values: ArrayLike) -> float:
    """Standard error of the mean of independent items, sqrt(sum((s - mean)^2) / (n (n - 1))) (Miller 2024, arXiv
    2411.00640, eq. 1).

    Also for binary scores, so that it equals `clustered_se` with every item its own cluster. NaN for fewer than two
    items.
    """
    array = finite(values)
    if array.size < 2:
        return math.nan
    return float(array.std(ddof=1) / math.sqrt(array.size))


def places(ids: ArrayLike) -> NDArray[np.intp]:
    """The place of each id among the distinct ones in their order, flat. Ids that already ascend cost no sorting."""
    import numpy as np

    array = np.asarray(ids).ravel()
    if array.dtype.kind in "iuf" and bool((array[1:] > array[:-1]).all()):
        return np.arange(array.size)
    return np.unique(array, return_inverse=True)[1].ravel()


def cluster_sums(values: NDArray[np.float64], clusters: ArrayLike) -> NDArray[np.float64]:
    """The sum of `values` in each cluster. Raises ValueError where the lengths differ."""
    import numpy as np

    ids = np.asarray(clusters).ravel()
    if ids.size != values.size:
        raise ValueError(f"{values.size} scores but {ids.size} cluster ids")
    return np.bincount(places(ids), weights=values).astype(np.float64)


def clustered_se(values: ArrayLike, clusters: ArrayLike) -> float:
    """Standard error of the mean where items of a cluster are not independent.

    sqrt(C/(C-1) * sum_c (sum_{i in c} (s_i - mean))^2) / n: Miller 2024 (arXiv 2411.00640, eq. 4) with the
    small-sample factor, as statsmodels' `OLS(y, 1).fit(cov_type="cluster")` gives it. NaN for fewer than two
    clusters.
    """
    array = finite(values)
    if array.size == 0:
        return math.nan
    sums = cluster_sums(array - array.mean(), clusters)
    if sums.size < 2:
        return math.nan
    return float(math.sqrt(sums.size / (sums.size - 1) * float((sums**2).sum())) / array.size)


def is_nothing(stderr: float) -> bool:
    """Whether a standard error is 0, what rounding has left of it aside."""
    return stderr < ROUNDING


def wilson(successes: float, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927): 20 of 20 gives [0.84, 1]. No items: [0, 1]."""
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} items")
    if n == 0:
        return 0.0, 1.0
    p, z = successes / n, NormalDist().inv_cdf((1 + level) / 2)
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == n else (centre + half) / scale
    return low, high


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> Interval:
    """The exact interval of a proportion, never below its level (Clopper and Pearson 1934). No items: [0, 1]."""
    from scipy.special import betaincinv

    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} items")
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 1 - tail))
    return low, high


def t_interval(value: float, stderr: float, df: float, level: float = 0.95) -> Interval:
    """value +- t * stderr with `df` degrees of freedom. NaN where the error or the degrees of freedom are not
    defined.
    """
    if not (math.isfinite(stderr) and df > 0):
        return UNDEFINED
    from scipy.special import stdtrit  # scipy.stats would cost half a second of imports for the same number

    half = float(stdtrit(df, (1 + level) / 2)) * stderr
    return value - half, value + half


def mean_interval(values: ArrayLike, clusters: ArrayLike | None = None, *, epochs: int = 1) -> Estimate:
    """The mean over items with its 95 % interval: Wilson for binary scores with one epoch and no clusters, else
    t(C-1) on clustered errors.

    `values`: one score an item (the mean over its epochs). `epochs`: the most trials behind one item, so that item
    means that happen to be all 0 or 1 are not taken for single trials. Clusters that all have one item are no
    clusters.

    The t interval has width zero where no cluster differs from another: every score is 0, or 1, or every sample
    passed one of its two epochs, or every cluster is half right. Such data gets Wilson's interval with the clusters as
    its sample size (`wilson-clusters`), scores beyond 0..1 apart. The t interval is not cut at 0 and 1 (the scale is
    not known here; metrics cut it).
    """
    import numpy as np

    array = finite(values)
    if array.size == 0:
        return Estimate(math.nan, math.nan, UNDEFINED, "undefined", 0, 0)
    value = float(array.mean())
    ids = np.arange(array.size) if clusters is None else np.asarray(clusters).ravel()
    count = cluster_sums(array, ids).size
    stderr = clustered_se(array, ids)
    binary = bool(np.isin(array, (0.0, 1.0)).all())
    if binary and epochs == 1 and count == array.size:
        return Estimate(value, stderr, wilson(float(array.sum()), array.size), "wilson", array.size, count)
    if (value in (0.0, 1.0) and binary) or (is_nothing(stderr) and array.min() >= 0 and array.max() <= 1):
        return Estimate(value, stderr, wilson(value * count, count), "wilson-clusters", array.size, count)
    interval = t_interval(value, stderr, count - 1)
    return Estimate(value, stderr, interval, "t" if count > 1 else "undefined", array.size, count)


def bounds(values: ArrayLike, n_errors: int) -> Interval:
    """What the mean would be if every trial that ended in an error had scored 0, and if every one had scored 1."""
    if n_errors < 0:
        raise ValueError(f"{n_errors} errors")
    array = finite(values)
    total = array.size + n_errors
    if total == 0:
        return UNDEFINED
    return float(array.sum()) / total, (float(array.sum()) + n_errors) / total
