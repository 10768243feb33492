"""Measured cells grouped by task: sums, ranks and order statistics without a loop over tasks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from screenwise.errors import DataError

Scores = NDArray[np.float64]
"""(t,), or (t, b) for b sets of weights."""


@dataclass(frozen=True)
class Grouped:
    """Cells with a finite value and prediction, and sums over the cells of each task."""

    value: NDArray[np.float64]
    prediction: NDArray[np.float64]
    task: NDArray[np.int64]
    tasks: int
    weight: NDArray[np.float64] | None
    indicator: Any
    """(t, m) one where the cell is of the task; only for (m, b) weights."""

    def total(self, x: NDArray[Any]) -> Scores:
        """Return the weighted sums of x, (m,) or (m, b), over the cells of each task."""
        if self.weight is None:
            return np.bincount(self.task, weights=x, minlength=self.tasks).astype(np.float64)
        if self.weight.ndim == 1:
            return np.bincount(self.task, weights=x * self.weight, minlength=self.tasks).astype(np.float64)
        if x.ndim == 1:
            # x goes into the sparse matrix, so that no (m, b) product is ever stored.
            parts = (x[self.indicator.indices].astype(np.float64), self.indicator.indices, self.indicator.indptr)
            return csr_array(parts, shape=self.indicator.shape) @ self.weight
        return self.indicator @ (x * self.weight)

    def count(self) -> Scores:
        """Return the (weighted) number of cells of each task."""
        return self.total(np.ones(len(self.task)))

    def mean(self, x: NDArray[Any]) -> Scores:
        """Return the (weighted) mean of x over the cells of each task."""
        return divide(self.total(x), self.count())

    def centred(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return x minus its plain mean in the task, so that sums of squares keep their digits."""
        number = np.maximum(np.bincount(self.task, minlength=self.tasks), 1)
        return x - (np.bincount(self.task, weights=x, minlength=self.tasks) / number)[self.task]


def group(value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, weight: Any = None) -> Grouped:
    """Return the usable cells, grouped by task; arrays of different lengths are an error."""
    values, predicted = np.asarray(value, np.float64), np.asarray(prediction, np.float64)
    index = np.asarray(task, np.int64)
    weights = None if weight is None else np.asarray(weight, np.float64)
    lengths = [len(array) for array in (values, predicted, index, weights) if array is not None]
    if len(set(lengths)) > 1:
        message = f"Values, predictions, tasks and weights have lengths {lengths}; there must be one of each per cell."
        raise DataError(message)
    if len(index) and not (index.min() >= 0 and index.max() < tasks):
        message = (
            f"Task indices run from {index.min()} to {index.max()}; with {tasks} tasks they must be 0 to {tasks - 1}."
        )
        raise DataError(message)
    keep = np.isfinite(values) & np.isfinite(predicted)
    if not keep.all():
        values, predicted, index = values[keep], predicted[keep], index[keep]
        weights = None if weights is None else weights[keep]
    indicator = None
    if weights is not None and weights.ndim > 1:
        indptr = np.concatenate([[0], np.cumsum(np.bincount(index, minlength=tasks))])
        order = np.argsort(index, kind="stable")
        indicator = csr_array((np.ones(len(index)), order, indptr), shape=(tasks, len(index)))
    return Grouped(values, predicted, index, tasks, weights, indicator)


def divide(a: Any, b: Any) -> Any:
    """Return a / b with NaN where b is 0.

    Examples
    --------
    >>> divide(np.array([1.0, 1.0]), np.array([2.0, 0.0])).tolist()
    [0.5, nan]
    """
    a, b = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    return np.divide(a, b, out=np.full(a.shape, np.nan), where=b != 0)


def task_order(task: NDArray[Any], x: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the order by task, then x, and where in that order a new (task, x) begins."""
    order = np.lexsort((x, task))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(task[order]) != 0) | (np.diff(x[order]) != 0)
    return order, new


def order_statistic(score: ArrayLike, rank: ArrayLike, task: ArrayLike, tasks: int) -> Scores:
    """Return, per task, the score that stands at `rank` (1 = smallest); infinite beyond the last one.

    Parameters
    ----------
    score
        (m,) scores; NaN left out.
    rank
        (t,) whole numbers >= 1.
    task
        (m,) task of each score.
    tasks
        Number of tasks t.

    Examples
    --------
    >>> order_statistic([3.0, 1.0, 2.0], [2, 1], [0, 0, 1], 2).tolist()
    [3.0, 2.0]
    """
    values, index = np.asarray(score, np.float64), np.asarray(task, np.int64)
    keep = ~np.isnan(values)
    values, index = values[keep], index[keep]
    number = np.bincount(index, minlength=tasks)
    place = np.asarray(rank, np.int64) - 1
    ordered = values[np.lexsort((values, index))]
    first = np.cumsum(number) - number
    there = place < number
    found = np.full(tasks, np.inf)
    found[there] = ordered[(first + place)[there]]
    return found


def ranked(cells: Grouped, x: NDArray[Any], part: NDArray[np.float64]) -> tuple[Any, Any, Any]:
    """Per cell: the weight of `part` with smaller x in its task, that tied with it, and that of the task."""
    order, new = task_order(cells.task, x)
    weight = part if cells.weight is None else like(part, cells.weight) * cells.weight
    starts = np.flatnonzero(new)
    if len(starts) == 0:
        return weight, weight, weight
    tied = np.add.reduceat(weight[order], starts, axis=0)
    before = np.cumsum(tied, axis=0) - tied
    run_task = cells.task[order][starts]
    first = np.flatnonzero(np.diff(run_task, prepend=-1) != 0)
    total = np.add.reduceat(tied, first, axis=0)
    place = np.cumsum(np.diff(run_task, prepend=-1) != 0) - 1
    before -= before[first][place]
    back = np.empty(len(order), np.int64)
    back[order] = np.cumsum(new) - 1
    return before[back], tied[back], total[place[back]]


def like(x: NDArray[Any], array: NDArray[Any]) -> NDArray[Any]:
    """Return x (m,) ready to multiply an array (m,) or (m, b)."""
    return x if array.ndim == 1 else x[:, None]
