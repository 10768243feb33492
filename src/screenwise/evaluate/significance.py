"""Is the difference of two models on a task more than chance: paired tests of all tasks at once.

Both models have predicted the same cells, so that their scores rise and fall together; a paired test asks
about the difference cell by cell. Many tasks make many tests: correct them together with
`benjamini_yekutieli`, which holds whatever the dependence between tasks that share compounds.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtr

from screenwise.errors import DataError
from screenwise.evaluate.grouped import Grouped, Scores, divide, group
from screenwise.evaluate.metrics import HALF
from screenwise.evaluate.sweep import order_by_task

ROUNDING = 1e-12
"""A standard error below this share of its difference is what rounding leaves of none."""


@dataclass(frozen=True)
class PairedTest:
    """The difference of two models on each task, (t,) each."""

    difference: Scores
    """Second model minus first."""
    error: Scores
    """Standard error of the difference; NaN with fewer than two cells (of each class)."""
    p_value: Scores
    """Two-sided, of no difference; NaN where the difference does not vary but is not nought either."""


def delong_test(label: ArrayLike, first: ArrayLike, second: ArrayLike, task: ArrayLike, tasks: int) -> PairedTest:
    """Test whether two models' areas under the ROC curve differ, task by task.

    An area is the mean over positives of the share of negatives that each outranks, and over negatives of the
    share of positives above each. The variance of a difference of two areas is that of those shares' own
    differences, over positives plus over negatives (DeLong et al. 1988, equations 4 to 6); the shares come from
    one sort of each model's predictions (Sun & Xu 2014). Two-sided normal p-values; with fewer than about ten
    cells of a class they are too small.

    Parameters
    ----------
    label
        (m,) above 0.5 = positive.
    first, second
        (m,) predictions of the two models; a cell that one of them does not predict is left out.
    task
        (m,) 0 to tasks - 1.
    tasks
        Number of tasks t.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson, Biometrics 44, 837 (1988). Sun & Xu, IEEE Signal Process. Lett. 21, 1389
    (2014).

    Examples
    --------
    >>> label, a, b = [1, 1, 1, 0, 0, 0], [3, 2, 1, 1, 2, 3], [3, 2, 5, 1, 2, 2]
    >>> found = delong_test(label, a, b, [0] * 6, 1)
    >>> found.difference.round(3).tolist(), found.p_value.round(3).tolist()
    ([0.389], [0.144])
    """
    cells, one, other = _pairs(label, first, second, task, tasks)
    positive = cells.value > HALF
    shares = [_outranked(positive, np.ascontiguousarray(each), cells.task, tasks) for each in (one, other)]
    gap = shares[1] - shares[0]
    parts = [_spread(gap[which], cells.task[which], tasks) for which in (positive, ~positive)]
    return _tested(parts[0].mean, parts[0].error_square + parts[1].error_square, None)


def squared_error_test(
    value: ArrayLike, first: ArrayLike, second: ArrayLike, task: ArrayLike, tasks: int
) -> PairedTest:
    """Test whether two models' mean squared errors differ, task by task.

    Student's t test of the cells' differences of squared errors. Of labels and probabilities the mean squared
    error is the Brier score. For a bound, give the bound itself where a prediction keeps it (no error).

    Parameters
    ----------
    value
        (m,) measured.
    first, second
        (m,) predictions of the two models; a cell that one of them does not predict is left out.
    task
        (m,) 0 to tasks - 1.
    tasks
        Number of tasks t.

    Examples
    --------
    >>> found = squared_error_test([0.0] * 4, [2.0, 2.0, 2.0, 1.0], [1.0, 1.0, 1.0, 0.0], [0] * 4, 1)
    >>> found.difference.tolist(), found.p_value.round(4).tolist()
    ([-2.5], [0.0154])
    """
    cells, one, other = _pairs(value, first, second, task, tasks)
    gap = np.square(other - cells.value) - np.square(one - cells.value)
    found = _spread(gap, cells.task, tasks)
    return _tested(found.mean, found.error_square, found.number - 1)


def benjamini_hochberg(p_value: ArrayLike) -> NDArray[np.float64]:
    """Return false discovery rates of p-values of any shape, all tested together; NaN stays NaN.

    Benjamini and Hochberg, J. R. Stat. Soc. B 1995, 57, 289: the smallest level at which each is called.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03, np.nan]).tolist()
    [0.03, 0.04, 0.04, nan]
    """
    p = np.asarray(p_value, np.float64)
    out = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    values = p[known]
    order = np.argsort(-values, kind="stable")
    number = len(values)
    rate = values[order] * number / np.arange(number, 0, -1)
    found = np.empty(number)
    found[order] = np.minimum(np.minimum.accumulate(rate), 1.0)
    out[known] = found
    return out


def benjamini_yekutieli(p_value: ArrayLike) -> NDArray[np.float64]:
    """Return false discovery rates of p-values under any dependence, (m,); NaN stay NaN and do not count.

    Benjamini and Yekutieli, Ann. Stat. 29, 1165 (2001), theorem 1.3: the smallest level at which each is called.

    Examples
    --------
    >>> benjamini_yekutieli([0.01, 0.04, 0.03, np.nan]).round(4).tolist()
    [0.055, 0.0733, 0.0733, nan]
    """
    values = np.asarray(p_value, np.float64)
    number = int(np.isfinite(values).sum())
    return np.minimum(benjamini_hochberg(values) * np.sum(1 / np.arange(1, number + 1)), 1.0)


@dataclass(frozen=True)
class _Spread:
    mean: Scores
    error_square: Scores
    """Squared standard error of the mean."""
    number: Scores


def _pairs(
    value: ArrayLike, first: ArrayLike, second: ArrayLike, task: ArrayLike, tasks: int
) -> tuple[Grouped, NDArray[np.float64], NDArray[np.float64]]:
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != other.shape:
        message = f"The models predict {one.shape} and {other.shape} cells; a paired test needs the same cells."
        raise DataError(message)
    both = np.where(np.isfinite(one), other, np.nan)
    cells = group(value, both, task, tasks)
    keep = np.isfinite(both) & np.isfinite(np.asarray(value, np.float64))
    return cells, one[keep], cells.prediction


def _spread(x: NDArray[np.float64], task: NDArray[np.int64], tasks: int) -> _Spread:
    """Return means of each task with the squared standard errors of the means."""
    number = np.bincount(task, minlength=tasks).astype(np.float64)
    mean = divide(np.bincount(task, weights=x, minlength=tasks), number)
    away = x - mean[task]
    variance = divide(np.bincount(task, weights=away**2, minlength=tasks), np.maximum(number - 1, 0))
    return _Spread(mean, divide(variance, number), number)


def _tested(difference: Scores, error_square: Scores, freedom: Scores | None) -> PairedTest:
    """Return two-sided p-values: of Student's t, or of the normal distribution where `freedom` is None."""
    error = np.sqrt(error_square)
    error[error < ROUNDING * np.abs(difference)] = 0.0
    z = -np.abs(divide(difference, error))
    p = 2 * (ndtr(z) if freedom is None else stdtr(np.maximum(freedom, 1), z))
    return PairedTest(difference, error, np.where((error == 0) & (difference == 0), 1.0, p))


def _outranked(
    positive: NDArray[np.bool_], score: NDArray[np.float64], task: NDArray[np.int64], tasks: int
) -> NDArray[np.float64]:
    """Return, (m,), for a positive the share of its task's negatives below it, for a negative of positives above."""
    order, start = order_by_task(score, task, tasks)
    return _shares(order, start, score, positive)


@njit(cache=True)
def _shares(order: Any, start: Any, score: Any, positive: Any) -> Any:
    shares = np.full(len(order), np.nan)
    for t in range(len(start) - 1):
        number = 0
        for i in range(start[t], start[t + 1]):
            number += positive[order[i]]
        negatives = start[t + 1] - start[t] - number
        if number == 0 or negatives == 0:
            continue
        above_p, above_n, i = 0, 0, start[t]
        while i < start[t + 1]:
            end, tied = i, 0
            while end < start[t + 1] and score[order[end]] == score[order[i]]:
                tied += positive[order[end]]
                end += 1
            below_n = negatives - above_n - (end - i - tied)
            for k in range(i, end):
                if positive[order[k]]:
                    shares[order[k]] = (below_n + (end - i - tied) / 2) / negatives
                else:
                    shares[order[k]] = (above_p + tied / 2) / number
            above_p += tied
            above_n += end - i - tied
            i = end
    return shares
