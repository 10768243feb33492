"""How sure a score is: resampled conditions, intervals, paired tests."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

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


def interval(replicates: ArrayLike, estimate: float, level: float = 0.95) -> tuple[float, float]:
    """Return the bias-corrected percentile interval (Efron 1981) of an estimate.

    A root mean square of few cells is too small in the mean, and so is each replicate once more;
    the correction shifts the percentiles by how many replicates lie under the estimate.

    Parameters
    ----------
    replicates
        (b,) the estimate of each replicate; NaN left out.
    estimate
        The estimate of the cells themselves.
    level
        Share of such intervals meant to hold the truth.

    Examples
    --------
    >>> [round(end, 6) for end in interval(np.arange(101.0), 50.0, level=0.9)]
    [5.0, 95.0]
    """
    drawn = np.asarray(replicates, np.float64)
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) == 0 or not np.isfinite(estimate):
        return np.nan, np.nan
    under = (np.sum(drawn < estimate) + np.sum(drawn == estimate) / 2) / len(drawn)
    shift = 2 * ndtri(np.clip(under, 1 / (len(drawn) + 1), len(drawn) / (len(drawn) + 1)))
    ends = ndtr(shift + ndtri([(1 - level) / 2, (1 + level) / 2]))
    low, high = np.quantile(drawn, ends)
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
