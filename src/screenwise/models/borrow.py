"""Borrow from other tasks: what their models missed on the same condition, this one misses too.

Each task has its own Gaussian process. Where a condition was measured on other tasks, their
leave-one-out residuals tell what this task's residual will be, as far as residuals of the two
tasks went together on conditions measured on both ("residual coregionalisation"). On conditions
nobody measured anywhere nothing changes.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

SHRINK_ROWS = 20
"""A correlation seen on n shared conditions is multiplied by n / (n + 20)."""
EIGENVALUE_FLOOR = 0.05
"""Least eigenvalue of the correlation matrix, so that no combination of tasks is taken as exact."""
MOST_KNOWN = 16
"""Of more known tasks than this the most correlated are used: a solve costs their number cubed."""
BATCH = 65536
"""Cells that are solved together."""


@dataclass(frozen=True)
class Residuals:
    """Standardised leave-one-out residuals of measured cells, grouped by condition."""

    start: NDArray[np.int64]
    """(n + 1,) where each condition's cells start."""
    task: NDArray[np.int64]
    """(m,) task of each cell."""
    score: NDArray[np.float64]
    """(m,) leave-one-out residual over its standard deviation."""


def group_residuals(
    row: NDArray[np.int64], task: NDArray[np.int64], score: NDArray[np.float64], rows: int
) -> Residuals:
    """Return residuals grouped by condition; cells without a finite score are left out."""
    keep = np.isfinite(score)
    row, task, score = row[keep], task[keep], score[keep]
    order = np.lexsort((task, row))
    start = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))])
    return Residuals(start.astype(np.int64), task[order], score[order])


def residual_correlation(residuals: Residuals, tasks: int) -> NDArray[np.float64]:
    """Return the (t, t) correlation of residuals over shared conditions, shrunk and made positive definite.

    Examples
    --------
    >>> score = np.tile([1.0, -1.0], 20)
    >>> cells = group_residuals(np.repeat(np.arange(20), 2), np.tile([0, 1], 20), score, 20)
    >>> residual_correlation(cells, 2).round(2).tolist()
    [[1.0, -0.5], [-0.5, 1.0]]
    """
    shape = (len(residuals.start) - 1, tasks)
    score = csr_array((residuals.score, residuals.task, residuals.start), shape=shape)
    there = csr_array((np.ones_like(residuals.score), residuals.task, residuals.start), shape=shape)
    product = (score.T @ score).toarray()
    squares = (score.multiply(score).T @ there).toarray()  # [a, b]: squares of a where b is there too
    shared = (there.T @ there).toarray()
    scale = np.sqrt(squares * squares.T)
    correlation = np.divide(product, scale, out=np.zeros_like(product), where=scale > 0)
    correlation *= shared / (shared + SHRINK_ROWS)
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh(correlation)
    correlation = (vectors * np.maximum(values, EIGENVALUE_FLOOR)) @ vectors.T
    size = np.sqrt(np.diagonal(correlation))
    return np.asarray(correlation / size[:, None] / size[None, :])


def borrow(
    residuals: Residuals,
    correlation: NDArray[np.float64],
    row: NDArray[np.int64],
    task: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what the other tasks say of cells: the shift of the mean and the factor of the std.

    With O the other tasks that know the condition, the residual of task t given theirs has mean
    ``R_tO R_OO^-1 u_O`` and variance ``1 - R_tO R_OO^-1 R_Ot``, both in units of the task's own
    standard deviation. The cell itself is never used.

    Parameters
    ----------
    residuals
        Known cells, grouped by condition.
    correlation
        (t, t) from `residual_correlation`.
    row, task
        (m,) condition (position among the known ones, -1 = not known) and task of each cell asked.

    Returns
    -------
    shift, factor
        (m,) each: ``mean + shift * std`` and ``factor * std``; 0 and 1 where nothing is known.

    Examples
    --------
    >>> cells = group_residuals(np.array([0]), np.array([1]), np.array([2.0]), 1)
    >>> shift, factor = borrow(cells, np.array([[1.0, 0.6], [0.6, 1.0]]), np.array([0, -1]), np.array([0, 0]))
    >>> shift.round(3).tolist(), factor.round(3).tolist()
    ([1.2, 0.0], [0.8, 1.0])
    """
    shift, factor = np.zeros(len(row)), np.ones(len(row))
    asked = np.flatnonzero(row >= 0)
    for first in range(0, len(asked), BATCH):
        some = asked[first : first + BATCH]
        shift[some], factor[some] = _solve(residuals, correlation, row[some], task[some])
    return shift, factor


def _solve(
    residuals: Residuals, correlation: NDArray[np.float64], row: NDArray[np.int64], task: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    shift, factor = np.zeros(len(row)), np.ones(len(row))
    counts = residuals.start[row + 1] - residuals.start[row]
    cell = np.repeat(np.arange(len(row)), counts)
    within = np.arange(len(cell)) - np.repeat(np.cumsum(counts) - counts, counts)
    known = residuals.start[row][cell] + within
    other = residuals.task[known] != task[cell]
    cell, known = cell[other], known[other]
    if len(cell) == 0:
        return shift, factor
    # the most correlated first, at most MOST_KNOWN of a cell
    order = np.lexsort((-np.abs(correlation[task[cell], residuals.task[known]]), cell))
    cell, known = cell[order], known[order]
    starts = np.flatnonzero(np.append(True, cell[1:] != cell[:-1]))
    sizes = np.diff(np.append(starts, len(cell)))
    for size in np.unique(np.minimum(sizes, MOST_KNOWN)):
        chosen = starts[np.minimum(sizes, MOST_KNOWN) == size]
        places = known[chosen[:, None] + np.arange(size)]  # (g, size)
        asked = cell[chosen]
        tasks, u = residuals.task[places], residuals.score[places]
        between = correlation[tasks[:, :, None], tasks[:, None, :]]  # (g, size, size)
        to_task = correlation[task[asked][:, None], tasks]  # (g, size)
        weight = np.linalg.solve(between, to_task[:, :, None])[:, :, 0]
        shift[asked] = np.einsum("gs,gs->g", weight, u)
        factor[asked] = np.sqrt(np.clip(1.0 - np.einsum("gs,gs->g", weight, to_task), EIGENVALUE_FLOOR, 1.0))
    return shift, factor


@dataclass(frozen=True)
class Borrowing:
    """What was measured of whom, ready to correct predictions of the same conditions."""

    ids: NDArray[np.str_]
    """(k,) distinct condition ids."""
    residuals: Residuals
    """Of those k conditions."""
    correlation: NDArray[np.float64]
    """(t, t)"""

    def codes(self, ids: NDArray[np.str_]) -> NDArray[np.int64]:
        """Return (n,) positions of conditions among the known ones, -1 = never measured."""
        return np.asarray(pd.Index(self.ids).get_indexer(pd.Index(ids)), np.int64)

    def measured(self, code: NDArray[np.int64], task: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (m,) whether the cell itself was measured."""
        tasks = len(self.correlation)
        row = np.repeat(np.arange(len(self.ids)), np.diff(self.residuals.start))
        return np.isin(code * tasks + task, row * tasks + self.residuals.task) & (code >= 0)

    def correct(
        self, code: NDArray[np.int64], task: NDArray[np.int64], mean: NDArray[np.float64], std: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return corrected mean and std, (m,) each, of predictions that did not see the cell itself."""
        shift, factor = borrow(self.residuals, self.correlation, code, task)
        return mean + shift * std, std * factor


def learn_borrowing(
    ids: NDArray[np.str_], row: NDArray[np.int64], task: NDArray[np.int64], score: NDArray[np.float64], tasks: int
) -> Borrowing:
    """Learn from held-out scores how the residuals of tasks go together.

    Parameters
    ----------
    ids
        (n,) condition ids; rows of one id are one condition.
    row, task, score
        (m,) row, task and standardised leave-one-out residual of each measured cell.
    tasks
        How many there are.
    """
    code, known = pd.factorize(ids)
    residuals = group_residuals(code[row], task, score, len(known))
    return Borrowing(np.asarray(known, str), residuals, residual_correlation(residuals, tasks))
