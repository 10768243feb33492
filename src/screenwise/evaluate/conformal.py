"""Conformal prediction per task: sets of classes and intervals of values that are wrong as seldom as asked.

Both compare a new prediction with cells that the model did not learn from (`CalibrationCells`). `error` is
the share of mistakes allowed. What is promised rests on calibration and new cells being exchangeable, which
new chemistry breaks: report the achieved validity beside the efficiency. A task, or one class of it, with too
few calibration cells borrows those of all tasks; that its share of mistakes is then right is no longer sure,
and the source says so. Limits lie between two calibration scores where the error level asks for no whole number
of them (Carlsson et al., Modifications to p-values of conformal predictors, SLDS 2015; the error of mistakes is then
of order 1 / n^2: Beran and Hall, J. R. Stat. Soc. B 55, 643, 1993); rounding to the next would err on the safe side.

Vovk et al., Algorithmic Learning in a Random World (2005), chapters 2.2 (p-values) and 4.5 (class-conditional,
Mondrian); Papadopoulos et al., Neural Networks 24 (2011) (normalised intervals); Heyndrickx et al., J. Chem. Inf.
Model. 64, 2331 (2024) (conformal efficiency as applicability domain).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import ArrayLike, NDArray

from screenwise.evaluate.calibration import check_error, conformal_rank
from screenwise.evaluate.grouped import divide, order_statistic
from screenwise.evaluate.metrics import HALF
from screenwise.prediction import CalibrationCells

LEAST_LABELS = 10
"""With fewer calibration cells a class of a task borrows from all tasks."""
LEAST_VALUES = 20
"""With fewer exact calibration values a task borrows from all tasks."""
OWN, POOL, NONE = "own", "pool", "none"
"""Where a task's calibration comes from: its own cells, those of all tasks, or too few even of them."""


def class_p_values(
    calibration: CalibrationCells,
    mean: ArrayLike,
    task: ArrayLike,
    *,
    least: int = LEAST_LABELS,
    tau: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Return how well each label fits what was predicted of new cells: p-values of 0 and 1, (m, 2).

    p = (stranger calibration cells of the task and class + tau) / (cells of the class + 1). Strange is a low
    score of a positive, a high one of a negative; tau is where the score lies between its neighbours, 0 at the next
    stranger cell, 1 at the next less strange one, at a tie and beyond them all. A tau of 1 throughout is safe, but
    of 18 cells rules out one label in 19 where one in ten may be. No chance is involved: equal scores have equal
    p-values.

    Parameters
    ----------
    calibration
        Cells of classification tasks; those without a prediction are left out.
    mean
        (m,) predicted probabilities of class 1, or any score that grows with it; NaN has NaN p-values.
    task
        (m,)
    least
        A class with fewer calibration cells than this takes those of the class of all tasks.
    tau
        (m,) or one number, 0 to 1: the share that counts of what is exactly as strange, the cell itself included.
        1 errs on the safe side, random numbers exactly as often as asked (smoothed). None = interpolated.

    Examples
    --------
    >>> seen = calibration_cells(task=[0, 0, 0, 0], label=[0, 0, 1, 1], score=[0.1, 0.2, 0.8, 0.9])
    >>> class_p_values(seen, [0.85], [0], least=1).round(3).tolist()
    [[0.333, 0.5]]
    >>> class_p_values(seen, [0.85], [0], least=1, tau=1.0).round(3).tolist()
    [[0.333, 0.667]]
    """
    score, home = np.asarray(mean, np.float64), np.asarray(task, np.int64)
    p = np.empty((len(score), 2))
    for label, sign in ((0, 1.0), (1, -1.0)):
        known = _of_class(calibration, label)
        tasks = 1 + int(max(known.task.max(initial=-1), home.max(initial=-1)))
        strange, start = _sorted_bins(sign * known.mean.astype(np.float64), known.task, tasks)
        number = np.diff(start)
        place = np.where(number[home] < least, len(number) - 1, home)
        at_least, more, between = _as_strange(strange, start, sign * score, place)
        share = between if tau is None else np.asarray(tau)
        p[:, label] = (more + share * (at_least - more + 1)) / (number[place] + 1)
    p[np.isnan(score)] = np.nan
    return p


def calibration_cells(task: ArrayLike, label: ArrayLike, score: ArrayLike) -> CalibrationCells:
    """Return calibration cells of classes from plain arrays, (m,) each; no std.

    Examples
    --------
    >>> len(calibration_cells(task=[0, 0], label=[0, 1], score=[0.4, 0.9]))
    2
    """
    home, value = np.asarray(task, np.int64), np.asarray(label, np.float32)
    return CalibrationCells(home, value, np.zeros_like(home, np.int8), np.asarray(score), np.full_like(value, np.nan))


def class_source(calibration: CalibrationCells, tasks: int, *, least: int = LEAST_LABELS) -> NDArray[np.object_]:
    """Return, per task and class, (t, 2), whose calibration cells `class_p_values` uses: "own", "pool" or "none".

    Examples
    --------
    >>> seen = calibration_cells(task=[0, 0, 1], label=[0, 1, 1], score=[0.1, 0.9, 0.8])
    >>> class_source(seen, 2, least=1).tolist()
    [['own', 'own'], ['pool', 'own']]
    """
    number = [np.bincount(_of_class(calibration, label).task, minlength=tasks) for label in (0, 1)]
    return _source(np.stack(number, axis=1), least)


def label_sets(p_values: NDArray[Any], error: float) -> NDArray[np.bool_]:
    """Return which labels cannot be ruled out at an error level, (m, 2); no prediction has neither.

    Examples
    --------
    >>> label_sets(np.array([[0.05, 0.8], [0.3, 0.4]]), 0.1).tolist()
    [[False, True], [True, True]]
    """
    check_error(error)
    return np.asarray(p_values) > error


def conformal_table(
    sets: NDArray[np.bool_], task: ArrayLike, tasks: int, label: ArrayLike | None = None
) -> pd.DataFrame:
    """Return, per task, how often a set says one thing, and how often it holds the measured label.

    Parameters
    ----------
    sets
        (m, 2) of `label_sets`.
    task
        (m,)
    tasks
        Number of tasks t.
    label
        (m,) measured 0 and 1, NaN where not measured; None = validity is not known.

    Returns
    -------
    DataFrame
        (t,) cells, efficiency (share of sets with exactly one label; needs no measurement), efficiency_0 and
        efficiency_1 (of cells, those whose set is just that label), efficiency_some (without empty sets), both,
        none (shares), negatives, positives (measured), validity_0, validity_1 (share of each class whose set holds it).

    Examples
    --------
    >>> table = conformal_table(np.array([[True, False], [True, True]]), [0, 0], 1, [0, 1])
    >>> table[["efficiency", "efficiency_0", "both", "validity_1"]].values.tolist()
    [[0.5, 0.5, 0.5, 1.0]]
    """
    return label_shares(label_counts(sets, task, tasks, label))


def label_counts(sets: NDArray[np.bool_], task: ArrayLike, tasks: int, label: ArrayLike | None = None) -> pd.DataFrame:
    """Return the numbers behind `conformal_table`, (t,); those of two parts of a table add up.

    Examples
    --------
    >>> label_counts(np.array([[True, False], [True, True]]), [0, 0], 1)[["cells", "single_0", "both"]].values.tolist()
    [[2, 1, 1]]
    """
    home, zero, one = np.asarray(task, np.int64), sets[:, 0], sets[:, 1]
    known = np.full(len(home), np.nan) if label is None else np.asarray(label, np.float64)
    negative, positive = known <= HALF, known > HALF
    which = {
        "cells": np.ones(len(home), bool),
        "single_0": zero & ~one,
        "single_1": one & ~zero,
        "both": zero & one,
        "none": ~zero & ~one,
        "negatives": negative,
        "positives": positive,
        "held_0": negative & zero,
        "held_1": positive & one,
    }
    return pd.DataFrame({name: np.bincount(home[cells], minlength=tasks) for name, cells in which.items()})


def label_shares(counts: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `conformal_table` from `label_counts`.

    Examples
    --------
    >>> counts = label_counts(np.array([[True, False]]), [0], 1)
    >>> label_shares(counts + counts)[["cells", "efficiency"]].values.tolist()
    [[2.0, 1.0]]
    """
    cells, single = counts["cells"], counts["single_0"] + counts["single_1"]
    table = pd.DataFrame({"cells": cells, "efficiency": divide(single, cells)})
    table["efficiency_0"], table["efficiency_1"] = (divide(counts[f"single_{one}"], cells) for one in (0, 1))
    table["efficiency_some"] = divide(single, cells - counts["none"])
    table["both"], table["none"] = (divide(counts[name], cells) for name in ("both", "none"))
    for label, name in enumerate(("negatives", "positives")):
        table[name] = counts[name]
        table[f"validity_{label}"] = divide(counts[f"held_{label}"], counts[name])
    return table


def residual_scores(cells: CalibrationCells) -> NDArray[np.float64]:
    """Return how far predictions lie from what was measured, in predicted std, (m,).

    Of a bound: how far the prediction lies on its wrong side, 0 on the right one. So much, at least, it is wrong.

    Examples
    --------
    >>> three = [np.array(one) for one in ([0, 0, 0], [5.0, 5.0, 5.0], [0, -1, 1], [6.0, 6.0, 6.0], [1.0, 2.0, 1.0])]
    >>> residual_scores(CalibrationCells(*three)).tolist()
    [1.0, 0.5, 0.0]
    """
    away = divide(cells.mean.astype(np.float64) - cells.value, cells.std)
    return np.asarray(np.where(cells.relation == 0, np.abs(away), np.maximum(-away * cells.relation, 0.0)))


@dataclass(frozen=True)
class Widths:
    """How wide the intervals of each task must be."""

    factor: NDArray[np.float64]
    """(t,) intervals are mean +- factor x std; infinite where there is no calibration."""
    source: NDArray[np.object_]
    """(t,) "own", "pool" or "none"."""
    blank: NDArray[np.float64]
    """(t,) width of the interval that the measured calibration values alone would give: what knowing nothing costs."""


def learn_widths(calibration: CalibrationCells, tasks: int, error: float, *, least: int = LEAST_VALUES) -> Widths:
    """Learn intervals that hold a share 1 - error of new values, from cells that the model did not learn from.

    The factor is the larger of two: that of the exact values alone, and that of all cells, where a bound
    counts as wrong only if the whole interval lies beyond it. So both promises hold: of exact values, and of
    values and bounds together. A model that learned bounds as values cannot make its intervals narrow with them.

    Parameters
    ----------
    calibration
        Cells of regression tasks; those without std are left out.
    tasks
        Number of tasks t.
    error
        Share of new values that may lie outside.
    least
        A task with fewer exact cells than this, or than a finite interval needs, takes those of all tasks.

    Examples
    --------
    >>> value = np.arange(1.0, 20.0)
    >>> parts = (np.zeros(19, int), value, np.zeros(19, int), np.zeros(19), np.ones(19))
    >>> learn_widths(CalibrationCells(*parts), 1, 0.1, least=5).factor.tolist()
    [18.0]
    """
    check_error(error)
    score = residual_scores(calibration)
    there = np.isfinite(score)
    exact = there & (calibration.relation == 0)
    needed = max(least, int(np.ceil(1 / error - 1e-9)) - 1)
    number = np.bincount(calibration.task[exact], minlength=tasks)
    factor = np.maximum(*(_quantiles(score[cells], calibration.task[cells], tasks, error) for cells in (exact, there)))
    factor = np.where(number < needed, factor[-1], factor[:-1])
    value, home = calibration.value[exact].astype(np.float64), calibration.task[exact]
    rank = [np.maximum(np.ceil(number * share), 1) for share in (error / 2, 1 - error / 2)]
    low, high = (np.where(number > 0, order_statistic(value, one, home, tasks), np.nan) for one in rank)
    return Widths(factor, _source(number, needed), high - low)


def interval_table(
    interval: tuple[ArrayLike, ArrayLike], cells: tuple[ArrayLike, ArrayLike, ArrayLike], tasks: int
) -> pd.DataFrame:
    """Return, per task, how wide intervals are and how often they hold what was measured.

    Parameters
    ----------
    interval
        (m,) lower and upper ends; NaN without a prediction.
    cells
        (m,) task, measured value (NaN = not measured) and relation.
    tasks
        Number of tasks t.

    Returns
    -------
    DataFrame
        (t,) cells (predicted), width (mean), exact and bounds (measured), validity (share of exact values inside),
        validity_bounds (share of bounds that a value inside the interval would satisfy).

    Examples
    --------
    >>> table = interval_table(([0.0, 0.0], [2.0, 2.0]), ([0, 0], [1.0, -1.0], [0, -1]), 1)
    >>> table[["width", "validity", "validity_bounds"]].values.tolist()
    [[2.0, 1.0, 0.0]]
    """
    return interval_shares(interval_counts(interval, cells, tasks))


def interval_counts(
    interval: tuple[ArrayLike, ArrayLike], cells: tuple[ArrayLike, ArrayLike, ArrayLike], tasks: int
) -> pd.DataFrame:
    """Return the sums behind `interval_table`, (t,); those of two parts of a table add up.

    Examples
    --------
    >>> interval_counts(([0.0], [2.0]), ([0], [1.0], [0]), 1)[["cells", "width", "held"]].values.tolist()
    [[1.0, 2.0, 1.0]]
    """
    low, high = (np.asarray(end, np.float64) for end in interval)
    home, value, relation = np.asarray(cells[0], np.int64), np.asarray(cells[1], np.float64), np.asarray(cells[2])
    there = np.isfinite(low)
    exact, bound = (there & np.isfinite(value) & ((relation == 0) == wanted) for wanted in (True, False))
    meets = np.where(relation < 0, low < value, high > value)
    which = {
        "cells": there,
        "exact": exact,
        "held": exact & (value >= low) & (value <= high),
        "bounds": bound,
        "met": bound & meets,
    }
    table = pd.DataFrame({name: np.bincount(home[one], minlength=tasks) for name, one in which.items()})
    table["width"] = np.bincount(home[there], weights=(high - low)[there], minlength=tasks)
    return table


def interval_shares(counts: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `interval_table` from `interval_counts`.

    Examples
    --------
    >>> counts = interval_counts(([0.0], [2.0]), ([0], [1.0], [0]), 1)
    >>> interval_shares(counts + counts)[["width", "validity"]].values.tolist()
    [[2.0, 1.0]]
    """
    shares = {"width": ("width", "cells"), "validity": ("held", "exact"), "validity_bounds": ("met", "bounds")}
    table = {name: divide(counts[part], counts[whole]) for name, (part, whole) in shares.items()}
    return pd.DataFrame({name: counts[name] for name in ("cells", "exact", "bounds")} | table)


def _of_class(calibration: CalibrationCells, label: int) -> CalibrationCells:
    return calibration.take(((calibration.value > HALF) == label) & np.isfinite(calibration.mean))


def _source(number: NDArray[np.int64], least: int) -> NDArray[np.object_]:
    """Return, for numbers of calibration cells (t, ...), where calibration comes from."""
    other = np.where(number.sum(axis=0) >= least, POOL, NONE)
    return np.where(number >= least, OWN, other).astype(object)


def _quantiles(score: NDArray[np.float64], task: NDArray[np.int64], tasks: int, error: float) -> NDArray[np.float64]:
    """Return (t + 1,) conformal quantiles of each task's scores and, last, of all together; between two scores, too."""
    number = np.append(np.bincount(task, minlength=tasks), len(task))
    both, home = np.tile(score, 2), np.concatenate([task, np.full(len(task), tasks)])
    rank = conformal_rank(number, error)
    low, high = (order_statistic(both, np.maximum(one, 1), home, tasks + 1) for one in (rank - 1, rank))
    share = np.clip((number + 1) * (1 - error) - (rank - 1), 0, 1)
    with np.errstate(invalid="ignore"):  # no finite quantile where there are too few
        return np.where(np.isfinite(high), low + share * (high - low), high)


def _sorted_bins(
    score: NDArray[np.float64], task: NDArray[np.int64], tasks: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return scores by task, rising, then those of all tasks together; and where each of the t + 1 bins starts."""
    own = np.bincount(task, minlength=tasks)
    start = np.concatenate([[0], np.cumsum(own), [2 * len(score)]])
    return np.concatenate([score[np.lexsort((score, task))], np.sort(score)]), start


@njit(cache=True)
def _as_strange(known: Any, start: Any, x: Any, place: Any) -> Any:  # pragma: no cover
    """Count, for each x, the known numbers of its bin that are >= x, and those > x; and say where between it lies.

    The last is 0 at the smallest number above x and 1 at the largest below; 1 where x equals one, or has not both.
    """
    at_least, more = np.empty(len(x), np.int64), np.empty(len(x), np.int64)
    between = np.ones(len(x))
    for cell in range(len(x)):
        first, end = start[place[cell]], start[place[cell] + 1]
        low, high = first, end
        while low < high:
            middle = (low + high) // 2
            if known[middle] < x[cell]:
                low = middle + 1
            else:
                high = middle
        at_least[cell] = end - low
        below, high = low, end
        while low < high:
            middle = (low + high) // 2
            if known[middle] <= x[cell]:
                low = middle + 1
            else:
                high = middle
        more[cell] = end - low
        if first < below == low < end:
            between[cell] = (known[low] - x[cell]) / (known[low] - known[low - 1])
    return at_least, more, between
