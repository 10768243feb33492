"""How sure a score is: resampled conditions, intervals, paired tests."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

FEWEST_TASKS = 6
"""With fewer tasks the signed-rank test cannot reach p < 0.05; the bootstrap is asked instead."""


def resample(
    number: int, replicates: int, rng: np.random.Generator, *, chunk: int = 100
) -> Iterator[NDArray[np.float64]]:
    """Yield, chunk by chunk, how often each of `number` clusters is drawn in each replicate, (number, b).

    Each replicate draws `number` clusters with replacement.

    Examples
    --------
    >>> [part.sum(axis=0).tolist() for part in resample(5, 3, np.random.default_rng(0), chunk=2)]
    [[5.0, 5.0], [5.0]]
    """
    for start in range(0, replicates, chunk):
        size = min(chunk, replicates - start)
        drawn = rng.integers(0, number, (size, number)) + number * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * number).reshape(size, number)
        yield np.ascontiguousarray(times.T, np.float64)


def interval(
    replicates: ArrayLike, estimate: float, level: float = 0.95, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> tuple[float, float]:
    """Return the bias-corrected normal bootstrap interval of an estimate (Efron & Tibshirani 1993, chapter 10).

    (estimate - bias) +- z x std of the replicates, bias = their mean - estimate: a root mean square of few
    cells is too small in the mean, and so is each replicate once more; percentiles of the replicates would
    count that twice (30 tasks of 33 cells with heavy tails: they hold the truth in 72 % of draws, this in 88 %).

    Parameters
    ----------
    replicates
        (b,) the estimate of each replicate; NaN left out.
    estimate
        The estimate of the cells themselves.
    level
        Share of such intervals meant to hold the truth.
    bounds
        Smallest and largest value the estimate can take.

    Examples
    --------
    >>> [round(end, 2) for end in interval([4.0, 6.0, 5.0], 5.0, level=0.9)]
    [3.36, 6.64]
    """
    drawn = np.asarray(replicates, np.float64)
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < 2 or not np.isfinite(estimate):  # noqa: PLR2004
        return np.nan, np.nan
    centre = np.clip(2 * estimate - drawn.mean(), *bounds)
    half = float(ndtri((1 + level) / 2)) * drawn.std(ddof=1)
    low, high = np.clip((centre - half, centre + half), *bounds)
    return float(low), float(high)


def paired_test(differences: ArrayLike, replicates: ArrayLike) -> tuple[float, str]:
    """Return the two-sided p-value of "no difference", and the name of the test.

    Over tasks by Wilcoxon's signed ranks where there are at least six; else the share of bootstrap
    replicates on the other side of zero, doubled.

    Parameters
    ----------
    differences
        (t,) differences of the tasks.
    replicates
        (b,) bootstrap replicates of their mean.

    Examples
    --------
    >>> p, test = paired_test([0.1, 0.2, 0.3, 0.2, 0.4, 0.5, 0.2], [])
    >>> round(p, 4), test
    (0.0156, 'wilcoxon')
    """
    tasks = np.asarray(differences, np.float64)
    tasks = tasks[np.isfinite(tasks)]
    if len(tasks) == 0:
        return np.nan, ""
    if len(tasks) >= FEWEST_TASKS:
        return signed_rank(tasks), "wilcoxon"
    drawn = np.asarray(replicates, np.float64)
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) == 0:
        return np.nan, ""
    aside = min(np.sum(drawn <= 0), np.sum(drawn >= 0)) + 1
    return float(min(1.0, 2 * aside / (len(drawn) + 1))), "bootstrap"


def signed_rank(differences: NDArray[Any]) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test; 1 where nothing differs.

    Examples
    --------
    >>> signed_rank(np.zeros(8))
    1.0
    """
    from scipy.stats import wilcoxon  # noqa: PLC0415

    moved = differences[differences != 0]
    return float(wilcoxon(moved).pvalue) if len(moved) else 1.0
