"""Scores of predictions, one number per task, for all tasks at once and with missing entries.

Every function takes measured cells in coordinate form, ``(value, prediction, task, tasks)``: value and
prediction (m,), the task index (m,) of each cell, and the number of tasks t. It returns (t,) float64,
NaN where the score is not defined (no cell, one class only, a constant). Cells whose value or
prediction is NaN are left out; `count` says how many remain.

With ``weight`` (m,) each cell counts that often; with (m, b), b sets of weights at once, the result is
(t, b): integer weights give exactly the score of the cells repeated so often, ties included, which is
what a bootstrap needs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from screenwise.evaluate.grouped import Grouped, Scores, divide, group, like, ranked
from screenwise.evaluate.sweep import RANKING_FIELDS, ordered, ranking_scores


def count(value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None) -> Scores:
    """Return the number of cells that have a value and a prediction, (t,).

    Examples
    --------
    >>> count([1.0, 2.0, np.nan], [1.0, 1.0, 1.0], [0, 1, 1], 2).tolist()
    [1.0, 1.0]
    """
    return group(value, prediction, task, tasks, weight).count()


def rmse(value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None) -> Scores:
    """Return root mean squared errors, (t,), in the unit of the task.

    Examples
    --------
    >>> rmse([1.0, 3.0, 5.0], [1.0, 1.0, 5.0], [0, 0, 1], 3).round(4).tolist()
    [1.4142, 0.0, nan]
    """
    cells = group(value, prediction, task, tasks, weight)
    return np.sqrt(cells.mean(np.square(cells.prediction - cells.value)))


def rmse_censored(
    value: ArrayLike,
    prediction: ArrayLike,
    task: ArrayLike,
    tasks: int,
    *,
    relation: ArrayLike,
    weight: Any = None,
) -> Scores:
    """Return root mean squared errors where a censored cell errs only on its wrong side, (t,).

    Where the true value is below the number given (relation -1), a prediction below it is no error;
    likewise above (+1). This is the error that SparseChem's censored loss counts.

    Examples
    --------
    >>> rmse_censored([5.0, 5.0], [4.0, 7.0], [0, 1], 2, relation=[-1, -1]).tolist()
    [0.0, 2.0]
    """
    values, predicted = np.asarray(value, np.float64), np.asarray(prediction, np.float64)
    side = np.sign(np.asarray(relation, np.float64))
    fine = side * (predicted - values) > 0
    return rmse(values, np.where(fine, values, predicted), task, tasks, weight=weight)


def mae(value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None) -> Scores:
    """Return mean absolute errors, (t,), in the unit of the task.

    Examples
    --------
    >>> mae([1.0, 3.0], [1.0, 1.0], [0, 0], 1).tolist()
    [1.0]
    """
    cells = group(value, prediction, task, tasks, weight)
    return cells.mean(np.abs(cells.prediction - cells.value))


def r_squared(value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None) -> Scores:
    """Return 1 - (squared errors) / (squared deviations from the mean of the same cells), (t,).

    NaN with fewer than two cells or where all values are equal.

    Examples
    --------
    >>> r_squared([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], [0, 0, 0, 1], 2).tolist()
    [1.0, nan]
    """
    cells = group(value, prediction, task, tasks, weight)
    centred = cells.centred(cells.value)
    spread = _positive(cells.total(centred**2) - divide(cells.total(centred) ** 2, cells.count()), cells, centred)
    return 1 - divide(cells.total(np.square(cells.prediction - cells.value)), spread)


def pearson(value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None) -> Scores:
    """Return Pearson correlations, (t,); NaN where either side is constant.

    Examples
    --------
    >>> pearson([1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [0, 0, 0], 1).round(6).tolist()
    [1.0]
    """
    cells = group(value, prediction, task, tasks, weight)
    return _correlation(cells, cells.centred(cells.value), cells.centred(cells.prediction))


def spearman(value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None) -> Scores:
    """Return Spearman rank correlations, (t,), tied values at their mean rank.

    Examples
    --------
    >>> spearman([1.0, 2.0, 9.0], [2.0, 4.0, 3.0], [0, 0, 0], 1).round(6).tolist()
    [0.5]
    """
    cells = group(value, prediction, task, tasks, weight)
    return _correlation(cells, _centred_ranks(cells, cells.value), _centred_ranks(cells, cells.prediction))


def rank_correlation(value: ArrayLike, prediction: ArrayLike) -> float:
    """Return the Spearman correlation of the (m,) cells of one task, 0 where it is not defined.

    Examples
    --------
    >>> round(rank_correlation([1.0, 2.0, 9.0], [2.0, 4.0, 3.0]), 6), rank_correlation([1.0, 2.0], [5.0, 5.0])
    (0.5, 0.0)
    """
    values = np.asarray(value, np.float64)
    return float(np.nan_to_num(spearman(values, prediction, np.zeros(len(values), np.int64), 1)[0]))


def roc_auc(value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None) -> Scores:
    """Return areas under the ROC curve, (t,): the chance that a positive cell outranks a negative one.

    Values above 0.5 are positive; NaN where a task has one class only.

    Examples
    --------
    >>> roc_auc([0.0, 1.0, 1.0, 1.0], [0.1, 0.9, 0.1, 0.4], [0, 0, 0, 1], 2).tolist()
    [0.75, nan]
    """
    return ranked_score(group(value, prediction, task, tasks, weight), "roc_auc_score")


def average_precision(
    value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None
) -> Scores:
    """Return average precisions, (t,): precision at each distinct score, weighted by the recall it adds.

    Values above 0.5 are positive; NaN where a task has one class only.

    Examples
    --------
    >>> average_precision([1.0, 0.0, 1.0], [0.9, 0.8, 0.7], [0, 0, 0], 1).round(4).tolist()
    [0.8333]
    """
    return ranked_score(group(value, prediction, task, tasks, weight), "avg_prec_score")


def ranked_score(cells: Grouped, field: str, prior: float = 0.5) -> Scores:
    """Return one of `screenwise.evaluate.sweep.RANKING_FIELDS`, (t,) or (t, b)."""
    in_order = ordered(cells.value > HALF, cells.prediction, cells.task, cells.tasks, cells.weight)
    scores = ranking_scores(in_order, prior)[..., RANKING_FIELDS.index(field)]
    return scores if cells.weight is not None and cells.weight.ndim > 1 else scores[:, 0]


def brier(value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None) -> Scores:
    """Return mean squared errors of predicted probabilities, (t,).

    Examples
    --------
    >>> brier([1.0, 0.0], [0.5, 0.0], [0, 0], 1).tolist()
    [0.125]
    """
    cells = group(value, prediction, task, tasks, weight)
    return cells.mean(np.square(cells.prediction - (cells.value > HALF)))


def log_loss(value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None) -> Scores:
    """Return mean negative log likelihoods of the labels in nats, (t,); probabilities kept 2e-16 off 0 and 1.

    Examples
    --------
    >>> log_loss([1.0, 0.0], [0.5, 0.5], [0, 0], 1).round(4).tolist()
    [0.6931]
    """
    cells = group(value, prediction, task, tasks, weight)
    edge = np.finfo(np.float64).eps
    right = np.where(cells.value > HALF, cells.prediction, 1 - cells.prediction)
    return cells.mean(-np.log(np.clip(right, edge, 1 - edge)))


def accuracy(value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None) -> Scores:
    """Return shares of cells on the right side of 0.5, (t,); a probability of 0.5 itself calls a positive.

    Examples
    --------
    >>> accuracy([1.0, 0.0], [0.9, 0.8], [0, 0], 1).tolist()
    [0.5]
    """
    cells = group(value, prediction, task, tasks, weight)
    return cells.mean((cells.value > HALF) == (cells.prediction >= HALF))


def balanced_accuracy(
    value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None
) -> Scores:
    """Return the mean of the accuracies within each class, (t,); NaN where a task has one class only.

    Examples
    --------
    >>> balanced_accuracy([1.0, 0.0, 0.0], [0.9, 0.8, 0.1], [0, 0, 0], 1).tolist()
    [0.75]
    """
    cells = group(value, prediction, task, tasks, weight)
    positive = (cells.value > HALF).astype(np.float64)
    right = (positive > 0) == (cells.prediction >= HALF)
    number = cells.total(positive)
    high = divide(cells.total(positive * right), number)
    return (high + divide(cells.total((1 - positive) * right), cells.count() - number)) / 2


HALF = 0.5
"""Labels above it are positive; probabilities from it on call a positive."""


def _centred_ranks(cells: Grouped, x: NDArray[np.float64]) -> NDArray[np.float64]:
    before, tied, total = ranked(cells, x, np.ones(len(x)))
    return before + tied / 2 - total / 2


def _correlation(cells: Grouped, x: NDArray[np.float64], y: NDArray[np.float64]) -> Scores:
    number = cells.count()
    sum_x, sum_y = cells.total(x), cells.total(y)
    xx = _positive(cells.total(x * x) - divide(sum_x**2, number), cells, x)
    yy = _positive(cells.total(y * y) - divide(sum_y**2, number), cells, y)
    xy = cells.total(x * y) - divide(sum_x * sum_y, number)
    return np.clip(divide(xy, np.sqrt(xx * yy)), -1, 1)


def _positive(spread: Scores, cells: Grouped, x: NDArray[np.float64]) -> Scores:
    """Turn sums of squares that are rounding error only (a constant) into 0."""
    scale = np.zeros(cells.tasks)
    size = np.abs(x) if x.ndim == 1 else np.abs(x).max(axis=1, initial=0)
    np.maximum.at(scale, cells.task, size)
    return np.where(spread > like(scale**2, spread) * ROUNDING, spread, 0.0)


ROUNDING = 1e-14
"""A spread below this share of the largest square is rounding error."""


@dataclass(frozen=True)
class Metric:
    """A score, the kind of task it is for, and which way is better."""

    function: Callable[..., Scores]
    kind: str
    """regression, classification, or any."""
    higher_is_better: bool | None
    """None: neither, such as a count."""
    needs: str = ""
    """A further keyword argument that the function takes: relation or std."""
    bounds: tuple[float, float] = (0.0, np.inf)
    """Smallest and largest value."""


METRICS: dict[str, Metric] = {
    "rmse": Metric(rmse, "regression", higher_is_better=False),
    "mae": Metric(mae, "regression", higher_is_better=False),
    "r_squared": Metric(r_squared, "regression", higher_is_better=True, bounds=(-np.inf, 1.0)),
    "pearson": Metric(pearson, "regression", higher_is_better=True, bounds=(-1.0, 1.0)),
    "spearman": Metric(spearman, "regression", higher_is_better=True, bounds=(-1.0, 1.0)),
    "rmse_censored": Metric(rmse_censored, "regression", higher_is_better=False, needs="relation"),
    "roc_auc": Metric(roc_auc, "classification", higher_is_better=True, bounds=(0.0, 1.0)),
    "average_precision": Metric(average_precision, "classification", higher_is_better=True, bounds=(0.0, 1.0)),
    "brier": Metric(brier, "classification", higher_is_better=False, bounds=(0.0, 1.0)),
    "log_loss": Metric(log_loss, "classification", higher_is_better=False),
    "accuracy": Metric(accuracy, "classification", higher_is_better=True, bounds=(0.0, 1.0)),
    "balanced_accuracy": Metric(balanced_accuracy, "classification", higher_is_better=True, bounds=(0.0, 1.0)),
    "count": Metric(count, "any", higher_is_better=None),
}
"""Name -> score; scores of intervals are in `screenwise.evaluate.calibration.CALIBRATION_METRICS`."""
