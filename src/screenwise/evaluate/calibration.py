"""Is the spread right: coverage, conformal factors of it, calibration errors.

`error` is the share of mistakes allowed: 0.1 asks for 90 % intervals. All guarantees rest on calibration
and test cells being exchangeable, which new chemistry breaks: report the achieved coverage beside them.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from screenwise.errors import DataError
from screenwise.evaluate.grouped import Scores, divide, group, order_statistic
from screenwise.evaluate.metrics import HALF, Metric, spearman
from screenwise.prediction import Z90

FACTOR_LIMITS = (0.8, 1.4)
"""Limits of the factor by which a model's calibration may change its standard deviations."""
FACTOR_ROWS = 30
"""With fewer scores than this the factor stays 1: a 90 % quantile of so few says little."""


def coverage(
    value: ArrayLike, lower: ArrayLike, upper: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None
) -> Scores:
    """Return shares of values inside their intervals, ends included, (t,).

    Examples
    --------
    >>> coverage([1.0, 5.0], [0.0, 0.0], [2.0, 2.0], [0, 0], 1).tolist()
    [0.5]
    """
    low, high = np.asarray(lower, np.float64), np.asarray(upper, np.float64)
    there = np.where(np.isnan(low) | np.isnan(high), np.nan, 0.0)
    cells = group(value, there, task, tasks, weight)
    kept = np.isfinite(there) & np.isfinite(np.asarray(value, np.float64))
    return cells.mean((cells.value >= low[kept]) & (cells.value <= high[kept]))


def interval_coverage(
    value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, std: ArrayLike, weight: Any = None
) -> Scores:
    """Return shares of values inside the 90 % intervals ``prediction +- 1.645 std``, (t,).

    Examples
    --------
    >>> interval_coverage([1.0, 2.0], [0.0, 0.0], [0, 0], 1, std=[1.0, 1.0]).tolist()
    [0.5]
    """
    mean, half = np.asarray(prediction, np.float64), Z90 * np.asarray(std, np.float64)
    return coverage(value, mean - half, mean + half, task, tasks, weight=weight)


def interval_width(
    value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, std: ArrayLike, weight: Any = None
) -> Scores:
    """Return mean widths of the 90 % intervals, (t,), in the unit of the task.

    Examples
    --------
    >>> interval_width([1.0], [0.0], [0], 1, std=[1.0]).round(3).tolist()
    [3.29]
    """
    cells = group(value, np.asarray(std, np.float64) + 0 * np.asarray(prediction, np.float64), task, tasks, weight)
    return cells.mean(2 * Z90 * cells.prediction)


def negative_log_likelihood(
    value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, std: ArrayLike, weight: Any = None
) -> Scores:
    """Return mean negative log densities of the values under Gaussian predictions in nats, (t,).

    Examples
    --------
    >>> negative_log_likelihood([0.0], [0.0], [0], 1, std=[1.0]).round(4).tolist()
    [0.9189]
    """
    spread = np.asarray(std, np.float64)
    z = divide(np.asarray(value, np.float64) - np.asarray(prediction, np.float64), spread)
    cells = group(z, np.where(spread > 0, spread, np.nan), task, tasks, weight)
    return cells.mean(np.square(cells.value) / 2 + np.log(cells.prediction) + np.log(2 * np.pi) / 2)


def error_rank_correlation(
    value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, std: ArrayLike, weight: Any = None
) -> Scores:
    """Return Spearman correlations of absolute errors with standard deviations, (t,).

    High = the model knows where it errs; NaN where all spreads of a task are equal.

    Examples
    --------
    >>> error_rank_correlation([0.0, 0.0], [1.0, 3.0], [0, 0], 1, std=[1.0, 2.0]).round(6).tolist()
    [1.0]
    """
    error = np.abs(np.asarray(value, np.float64) - np.asarray(prediction, np.float64))
    return spearman(error, std, task, tasks, weight=weight)


def expected_calibration_error(
    value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, bins: int = 10, weight: Any = None
) -> Scores:
    """Return, per task, the mean distance of observed rates from predicted probabilities in equal-width bins.

    Sum over bins, closed above, of |observed rate - mean probability| x share of cells (Naeini et al.
    2015, eq. 2).

    Examples
    --------
    >>> expected_calibration_error([1.0, 0.0], [0.9, 0.1], [0, 0], 1).round(6).tolist()
    [0.1]
    """
    cells = group(value, prediction, task, tasks, weight)
    # The bounds as floating-point numbers have them: a probability equal to one belongs below it.
    place = np.clip(np.searchsorted(np.linspace(0, 1, bins + 1), cells.prediction) - 1, 0, bins - 1)
    fine = group(cells.value, cells.prediction, cells.task * bins + place, tasks * bins, cells.weight)
    gap = np.abs(fine.total(cells.prediction - (cells.value > HALF)))
    return divide(gap.reshape(tasks, bins, *gap.shape[1:]).sum(axis=1), cells.count())


def reliability(label: ArrayLike, probability: ArrayLike, *, bins: int = 10) -> pd.DataFrame:
    """Return the points of a reliability diagram, one row per bin that holds cells.

    Returns
    -------
    DataFrame
        low, high, cells, probability (mean), observed (rate of positives).

    Examples
    --------
    >>> reliability([1, 0, 0], [0.95, 0.05, 0.02])["cells"].tolist()
    [2, 1]
    """
    chance, positive = np.asarray(probability, np.float64), np.asarray(label, np.float64) > HALF
    place = np.clip((chance * bins).astype(np.int64), 0, bins - 1)
    number = np.bincount(place, minlength=bins)
    frame = pd.DataFrame({"low": np.arange(bins) / bins, "high": np.arange(1, bins + 1) / bins, "cells": number})
    frame["probability"] = divide(np.bincount(place, weights=chance, minlength=bins), number)
    frame["observed"] = divide(np.bincount(place, weights=positive, minlength=bins), number)
    return frame[number > 0].reset_index(drop=True)


def probability_integral(value: ArrayLike, mean: ArrayLike, std: ArrayLike) -> NDArray[np.float64]:
    """Return where each value falls in its predicted Gaussian, (m,) in 0 to 1; uniform if calibrated.

    Examples
    --------
    >>> probability_integral([0.0], [0.0], [1.0]).tolist()
    [0.5]
    """
    return ndtr(divide(np.asarray(value, np.float64) - np.asarray(mean, np.float64), std))


def calibration_curve(
    value: ArrayLike, mean: ArrayLike, std: ArrayLike, levels: ArrayLike | None = None
) -> pd.DataFrame:
    """Return, for nominal levels, the share of values inside the central Gaussian interval of that level.

    Returns
    -------
    DataFrame
        nominal, observed; the diagonal is perfect.

    Examples
    --------
    >>> calibration_curve([0.0, 3.0], [0.0, 0.0], [1.0, 1.0], [0.9])["observed"].tolist()
    [0.5]
    """
    nominal = np.linspace(0.05, 0.95, 19) if levels is None else np.asarray(levels, np.float64)
    away = np.abs(2 * probability_integral(value, mean, std) - 1)
    away = np.sort(away[~np.isnan(away)])
    observed = divide(np.searchsorted(away, nominal, side="right"), len(away))
    return pd.DataFrame({"nominal": nominal, "observed": observed})


def conformal_rank(number: Any, error: float) -> Any:
    """Return which order statistic of `number` scores bounds a new score with probability 1 - error.

    ceil((n + 1)(1 - error)) (Vovk et al. 2005; Lei et al. 2018, section 2); beyond n no finite bound exists.

    Examples
    --------
    >>> int(conformal_rank(19, 0.1)), int(conformal_rank(8, 0.1))
    (18, 9)
    """
    check_error(error)
    # The tolerance keeps (9 + 1) * (1 - 0.1) at 9 in floating point.
    return np.maximum(np.ceil((np.asarray(number) + 1) * (1 - error) - 1e-9), 1).astype(np.int64)


def check_error(error: float) -> None:
    """Refuse a share of mistakes that is none.

    Examples
    --------
    >>> check_error(10.0)
    Traceback (most recent call last):
    ...
    screenwise.errors.DataError: The error level is 10.0; it must lie between 0 and 1 (0.1 = one in ten may be wrong).
    """
    if not 0 < error < 1:
        message = f"The error level is {error}; it must lie between 0 and 1 (0.1 = one in ten may be wrong)."
        raise DataError(message)


def conformal_quantile(score: ArrayLike, error: float) -> float:
    """Return the bound that a new score stays under with probability >= 1 - error; NaN scores left out.

    Infinite where there are too few scores (fewer than 1 / error - 1).

    Examples
    --------
    >>> conformal_quantile(np.arange(1, 20), 0.1), conformal_quantile([1.0, 2.0], 0.1)
    (18.0, inf)
    """
    scores = np.asarray(score, np.float64)
    return float(conformal_quantiles(scores, error, np.zeros(len(scores), np.int64), 1)[0])


def conformal_quantiles(score: ArrayLike, error: float, task: ArrayLike, tasks: int) -> Scores:
    """Return `conformal_quantile` of each task, (t,).

    Examples
    --------
    >>> conformal_quantiles([1.0, 2.0, 3.0, 9.0], 0.5, [0, 0, 0, 1], 2).tolist()
    [2.0, 9.0]
    """
    scores, index = np.asarray(score, np.float64), np.asarray(task, np.int64)
    number = np.bincount(index[~np.isnan(scores)], minlength=tasks)
    return order_statistic(scores, conformal_rank(number, error), index, tasks)


def conformal_factor(score: ArrayLike, error: float = 0.1) -> float:
    """Return what to multiply a standard deviation by so that its Gaussian interval holds 1 - error.

    Parameters
    ----------
    score
        (m,) |value - mean| / std of cells that the model did not learn from (leave-one-out, leave-scaffold-out).
    error
        Share of errors allowed.

    Examples
    --------
    >>> round(conformal_factor(np.full(99, 1.6448536)), 3)
    1.0
    """
    return conformal_quantile(score, error) / float(ndtri(1 - error / 2))


def limited_factor(score: ArrayLike, error: float = 0.1) -> float:
    """Return `conformal_factor` as models use it: 1 for fewer than 30 scores, within `FACTOR_LIMITS`, four decimals.

    Parameters
    ----------
    score, error
        (m,) residuals over standard deviations of rows held out, of either sign; share of errors allowed.

    Examples
    --------
    >>> limited_factor(np.full(100, 2.0)), limited_factor(np.full(5, 9.0))
    (1.2159, 1.0)
    """
    scores = np.abs(np.asarray(score, np.float64))
    scores = scores[np.isfinite(scores)]
    if len(scores) < FACTOR_ROWS:
        return 1.0
    return round(float(np.clip(conformal_factor(scores, error), *FACTOR_LIMITS)), 4)


CALIBRATION_METRICS: dict[str, Metric] = {
    "coverage": Metric(interval_coverage, "regression", higher_is_better=None, needs="std", bounds=(0.0, 1.0)),
    "width": Metric(interval_width, "regression", higher_is_better=None, needs="std"),
    "nll": Metric(negative_log_likelihood, "regression", higher_is_better=False, needs="std", bounds=(-np.inf, np.inf)),
    "error_rank": Metric(error_rank_correlation, "regression", higher_is_better=True, needs="std", bounds=(-1.0, 1.0)),
    "ece": Metric(expected_calibration_error, "classification", higher_is_better=False, bounds=(0.0, 1.0)),
}
"""Name -> score of the spread; coverage should equal 0.9, width says at what price."""
