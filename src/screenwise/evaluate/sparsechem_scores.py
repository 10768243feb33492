"""SparseChem's scores of many tasks, under its field names, all tasks in one sweep.

The definitions are those of SparseChem 1.0 (melloddy/SparseChem, `sparsechem/utils.py`), which loops over
tasks with scikit-learn; here each task's cells are sorted once and every score is read off that order.
A task with one class, or one cell, has NaN everywhere but in its counts, as there.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from screenwise.errors import ConfigError, DataError
from screenwise.evaluate.grouped import Grouped, divide, group
from screenwise.evaluate.metrics import HALF, pearson, r_squared
from screenwise.evaluate.sweep import (
    BEDROC_ALPHA,
    PROBABILITY_FIELDS,
    RANKING_FIELDS,
    early_recognition,
    kappa_of_counts,
    ordered,
    probability_scores,
    ranking_scores,
)

CLASSIFICATION_FIELDS = (
    "roc_auc_score",
    "auc_pr",
    "avg_prec_score",
    "f1_max",
    "p_f1_max",
    "kappa",
    "kappa_max",
    "p_kappa_max",
    "bceloss",
    "auc_pr_cal",
    "ece",
    "ace",
    "std_ece",
    "std_ace",
    "brier",
    "num_pos",
    "num_neg",
)
"""SparseChem's columns, in order."""
MORE_CLASSIFICATION_FIELDS = ("bedroc", "tp", "fp", "tn", "fn")
"""Columns beside them: early recognition (alpha 20), and counts of labels called at 0.5."""
REGRESSION_FIELDS = ("rmse", "rmse_uncen", "rsquared", "corrcoef", "num_samples")
"""SparseChem's columns, in order."""
MORE_REGRESSION_FIELDS = ("num_exact", "std_exact")
"""Columns beside them: the number of exact values, and their standard deviation."""


def classification_scores(
    label: ArrayLike, probability: ArrayLike, task: ArrayLike, tasks: int, *, prior: float = 0.1, bins: int = 10
) -> pd.DataFrame:
    """Return the scores of classification tasks, one row per task.

    Parameters
    ----------
    label
        (m,) above 0.5 = positive; SparseChem's -1 and +1 do as well as 0 and 1.
    probability
        (m,) predicted probabilities; cells with NaN are left out.
    task
        (m,) 0 to tasks - 1.
    tasks
        Number of tasks t.
    prior
        Share of positives that the calibrated precision supposes (SparseChem's pi_zero).
    bins
        Of the calibration errors.

    Returns
    -------
    DataFrame
        (t,) rows, `CLASSIFICATION_FIELDS` and `MORE_CLASSIFICATION_FIELDS`:

        - `auc_pr`: trapezoids under precision and recall; `avg_prec_score`: average precision.
        - `auc_pr_cal`: the same trapezoids with precision 1 / ((1 / precision - 1) k + 1), where
          k = r (1 - prior) / (prior (1 - r)) and r the task's rate of positives, at most 0.99: what the
          precision would be if the share of positives were `prior`.
        - `f1_max`, `kappa_max`: best over all thresholds, `p_f1_max`, `p_kappa_max`: where (1 where calling
          nothing positive is best); `kappa`: at 0.5.
        - `ece`, `ace`: sum over bins of equal width (closed above), or of equal counts, of
          |observed rate - mean probability| x share of cells. Tied cells that a bound of `ace` divides are
          shared out; SparseChem takes them in the order of the file.
        - `std_ece`, `std_ace`: root of the sum over bins of p n / ((p + n) (p + n + 1)) for p positives and
          n negatives. A spread of the counts, not of the error.
        - `bceloss`: mean of -log of the probability of the label, in nats, kept 2e-16 off 0 and 1.

    Raises
    ------
    DataError
        Lengths differ, or a probability lies outside 0 to 1.
    ConfigError
        `prior` or `bins` make no sense.

    References
    ----------
    Siblini et al., Master your metrics with calibration, 2020 (calibrated precision). Nixon et al.,
    Measuring calibration in deep learning, 2019 (ece, ace). Truchon & Bayly, J. Chem. Inf. Model. 47,
    488 (2007) (BEDROC).

    Examples
    --------
    >>> scores = classification_scores([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.6], [0, 0, 0, 0], 1)
    >>> scores[["roc_auc_score", "f1_max", "p_f1_max", "kappa"]].round(3).values.tolist()
    [[0.75, 0.8, 0.4, 0.0]]
    """
    if not 0 < prior < 1 or bins < 1:
        message = f"The prior is {prior}, the bins {bins}; the prior lies between 0 and 1, bins are 1 or more."
        raise ConfigError(message)
    cells = group(label, probability, task, tasks)
    outside = (cells.prediction < 0) | (cells.prediction > 1)
    if outside.any():
        message = f"A probability is {cells.prediction[outside][0]:.4g}; it must lie in 0 to 1. Apply a sigmoid first."
        raise DataError(message)
    positive = cells.value > HALF
    in_order = ordered(positive, cells.prediction, cells.task, tasks)
    found = dict(zip(RANKING_FIELDS, ranking_scores(in_order, prior)[:, 0].T, strict=True))
    found |= dict(zip(PROBABILITY_FIELDS, probability_scores(in_order, bins)[:, 0].T, strict=True))
    number = np.bincount(cells.task[positive], minlength=tasks)
    negatives = np.bincount(cells.task, minlength=tasks) - number
    found["kappa"] = kappa_of_counts(*(found[name] for name in ("tp", "fp", "tn", "fn")))
    found["bedroc"] = early_recognition(in_order, BEDROC_ALPHA)[:, 0]
    table = pd.DataFrame({name: found[name] for name in CLASSIFICATION_FIELDS[:-2]})
    table["num_pos"], table["num_neg"] = number, negatives
    table = table.assign(**{name: found[name] for name in MORE_CLASSIFICATION_FIELDS})
    one_class = (number == 0) | (negatives == 0)
    table.loc[one_class, [name for name in table if not name.startswith("num_")]] = np.nan
    return table


def regression_scores(
    value: ArrayLike, prediction: ArrayLike, relation: ArrayLike | None, task: ArrayLike, tasks: int
) -> pd.DataFrame:
    """Return the scores of regression tasks, one row per task.

    Parameters
    ----------
    value, prediction
        (m,) measured and predicted; cells with NaN are left out.
    relation
        (m,) -1 where the true value is below the number given, +1 above, 0 exact; None = all exact.
    task
        (m,) 0 to tasks - 1.
    tasks
        Number of tasks t.

    Returns
    -------
    DataFrame
        (t,) rows, `REGRESSION_FIELDS` and `MORE_REGRESSION_FIELDS`: `rmse` over all cells, where a bound errs
        on its wrong side only; `rmse_uncen`, `rsquared` and `corrcoef` over exact values; `num_samples`
        counts all cells.

    Examples
    --------
    >>> scores = regression_scores([5.0, 6.0, 7.0, 4.0], [5.0, 6.0, 8.0, 3.0], [0, 0, 0, -1], [0] * 4, 1)
    >>> scores[["rmse", "rmse_uncen", "rsquared", "num_samples"]].round(3).values.tolist()
    [[0.5, 0.577, 0.5, 4.0]]
    """
    values, predicted = np.asarray(value, np.float64), np.asarray(prediction, np.float64)
    index = np.asarray(task, np.int64)
    side = np.zeros(len(values)) if relation is None else np.asarray(relation, np.float64)
    if len(side) != len(values):
        message = f"There are {len(values)} values and {len(side)} relations; there must be one of each per cell."
        raise DataError(message)
    fine = side * (predicted - values) > 0
    every = group(values, np.where(fine, values, predicted), index, tasks)
    exact = group(np.where(side == 0, values, np.nan), predicted, index, tasks)
    number, known = every.count(), exact.count()
    centred = exact.centred(exact.value)
    arguments = (exact.value, exact.prediction, exact.task, tasks)
    table = pd.DataFrame(
        {
            "rmse": np.sqrt(_mean_square(every)),
            "rmse_uncen": np.sqrt(_mean_square(exact)),
            "rsquared": r_squared(*arguments),
            "corrcoef": pearson(*arguments),
        }
    )
    table[number <= 1] = np.nan
    return table.assign(
        num_samples=number.astype(np.int64),
        num_exact=known.astype(np.int64),
        std_exact=np.sqrt(divide(exact.total(centred**2), known)),
    )


def _mean_square(cells: Grouped) -> NDArray[np.float64]:
    return cells.mean(np.square(cells.prediction - cells.value))


@dataclass(frozen=True)
class Quorum:
    """Which tasks are large enough for a robust mean."""

    positives: int = 5
    """Least number of positives, and of negatives."""
    exact: int = 10
    """Least number of exact values."""
    spread: float = 0.25
    """Least standard deviation of a task's exact values, as a share of the median task's: below it the
    squared errors are divided by next to nothing, and one task decides the mean of `rsquared`."""


def aggregate(scores: pd.DataFrame, weight: ArrayLike | None = None, *, quorum: Quorum = Quorum()) -> pd.DataFrame:
    """Return means over tasks beside what no single task can move.

    Parameters
    ----------
    scores
        (t,) rows, as `classification_scores` or `regression_scores` gives them.
    weight
        (t,) aggregation weights >= 0, 0 = left out (SparseChem's aggregation_weight); None = all alike.
    quorum
        Which tasks the robust mean takes.

    Returns
    -------
    DataFrame
        One row per score (index): `mean`, weighted, over tasks where it is defined, as SparseChem's; `median`
        of the same tasks; `quorum_mean` over those that reach the quorum as well (for `rsquared` and
        `corrcoef` the spread too); `tasks`, `quorum_tasks`: how many.

    Examples
    --------
    >>> table = pd.DataFrame({"rsquared": [0.5, 0.3, -900.0], "num_exact": 50, "std_exact": [1.0, 1.0, 1e-3]})
    >>> aggregate(table).loc["rsquared"].round(2).tolist()
    [-299.73, 0.3, 0.4, 3.0, 2.0]
    """
    weights = np.ones(len(scores)) if weight is None else np.asarray(weight, np.float64)
    if len(weights) != len(scores) or not (np.isfinite(weights).all() and (weights >= 0).all()):
        message = f"{len(scores)} tasks need as many aggregation weights >= 0; {len(weights)} were given."
        raise DataError(message)
    large = _reached(scores, quorum)
    rows = {}
    for name in [one for one in scores if one not in COUNT_FIELDS]:
        value = scores[name].to_numpy(np.float64)
        there = np.isfinite(value) & (weights > 0)
        robust = there & large & (_spread_out(scores, quorum) if name in SPREAD_FIELDS else True)
        rows[name] = {
            "mean": _weighted(value, weights, there),
            "median": float(np.median(value[there])) if there.any() else np.nan,
            "quorum_mean": _weighted(value, weights, robust),
            "tasks": int(there.sum()),
            "quorum_tasks": int(robust.sum()),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


COUNT_FIELDS = ("num_pos", "num_neg", "num_samples", "num_exact", "std_exact", "tp", "fp", "tn", "fn")
"""Columns that are no scores."""
SPREAD_FIELDS = ("rsquared", "corrcoef", "r_squared", "pearson", "spearman")
"""Scores that a task of nearly equal values makes senseless."""


def _weighted(value: NDArray[np.float64], weight: NDArray[np.float64], keep: NDArray[np.bool_]) -> float:
    return float(np.average(value[keep], weights=weight[keep])) if keep.any() else np.nan


def _reached(scores: pd.DataFrame, quorum: Quorum) -> NDArray[np.bool_]:
    large = np.ones(len(scores), bool)
    for name, least in (("num_pos", quorum.positives), ("num_neg", quorum.positives), ("num_exact", quorum.exact)):
        if name in scores:
            large &= scores[name].to_numpy() >= least
    return large


def _spread_out(scores: pd.DataFrame, quorum: Quorum) -> NDArray[np.bool_]:
    if "std_exact" not in scores:
        return np.ones(len(scores), bool)
    spread = scores["std_exact"].to_numpy(np.float64)
    known = spread[np.isfinite(spread)]
    return spread >= quorum.spread * (float(np.median(known)) if len(known) else 0.0)
