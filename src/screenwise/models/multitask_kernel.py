"""Kernel ridge regression per task, beside the network: what the measured relatives of a compound say of it.

A network learns what tasks have in common. Of a task with some hundred values it learns less than the similarity of its
own compounds tells, and the errors of the two differ: their weighted mean is better than either.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import coo_array, csr_array

from screenwise.models.multitask_cells import Lots
from screenwise.models.ridge_fit import centred, solve_dual
from screenwise.represent.tanimoto import count_tanimoto
from screenwise.train.sparse_store import MappedRows
from screenwise.train.threads import in_parts

LEAST, MOST = 10, 3000
"""Exact values that a task must have, and the most that it may have: n x n similarities are held at a time."""
MOST_PAIRS = 500_000_000
"""Pairs of compounds compared in all, smaller tasks first: about two minutes of one processor."""
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Penalties tried, in units of the mean squared length of a centred row."""
ROWS_FOR_PENALTY = 500
"""Rows on which a task's penalty is chosen."""
EVEN = 0.5
"""Share of the network where nothing is held out to learn it from."""
LEAST_SHARE = 0.3
"""Least share of the network, which alone learns from bounds, and from all rows only after the share was learned."""
CHUNK = 4096
"""Rows asked at a time."""


@dataclass(frozen=True)
class KernelRidge:
    """Kernel ridge regression of t tasks on r training compounds, on the targets' standardised scale.

    The similarity of two compounds is the count Tanimoto (min-max) coefficient of their d inputs, ``sum min(a, b)
    / sum max(a, b)`` (Ralaivola et al., Neural Networks 18 (2005) 1093), which is positive definite.

    Examples
    --------
    >>> x = csr_array(np.array([[1.0, 0], [0, 1.0]], np.float32))
    >>> alpha = csr_array(np.array([[0.5], [-0.5]]))
    >>> kernel = KernelRidge(csr_array(x.T), np.ones(2), alpha, np.zeros(1), share=0.5)
    >>> kernel.predict(x, np.array([0])).ravel().tolist()
    [0.5, -0.5]
    >>> kernel.blend(x, np.zeros((1, 2, 1), np.float32), np.array([0])).ravel().tolist()
    [0.25, -0.25]
    """

    holders: csr_array
    """(d, r): what each input is in the training compounds that have it."""
    size: NDArray[np.float64]
    """(r,) sums of inputs."""
    alpha: csr_array
    """(r, t)"""
    constant: NDArray[np.float64]
    """(t,) NaN of tasks that have none: there the network stands alone."""
    share: float
    """Weight of the network in the mean of both."""

    def predict(self, x: csr_array, task: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (b, c) predictions of c tasks; NaN where a task has none."""
        place = np.full(len(self.constant), -1)
        asked = np.unique(task)
        place[asked] = np.arange(len(asked))
        out = np.empty((x.shape[0], len(asked)))
        holders = self.holders.indptr, self.holders.indices, self.holders.data, self.size
        alpha = self.alpha.indptr, self.alpha.indices, self.alpha.data
        in_parts(_sum_relatives, (x.indptr, x.indices, x.data), holders, alpha, place, out, work=_work(x.indptr))
        return np.asarray((out + self.constant[asked])[:, place[task]])

    def blend(
        self, x: csr_array, members: NDArray[np.float32], task: NDArray[np.int64], row: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Return the members' outputs, each drawn towards this prediction.

        Parameters
        ----------
        x
            (b, d) inputs.
        members
            (k, b, c) outputs for c tasks, or with `row` (k, m) of some cells.
        task
            (c,), or with `row` (m,).
        row
            (m,) place in `x` of each cell.
        """
        own = self.predict(x, task) if row is None else self.cells(x, row, task)
        return _mix(members, own, self.share)

    def cells(self, x: csr_array, row: NDArray[np.int64], task: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (m,) predictions of tasks for rows of `x`; NaN where a task has none."""
        found = np.empty(len(row))
        for first in range(0, x.shape[0], CHUNK):
            mine = np.flatnonzero((row >= first) & (row < first + CHUNK))
            asked, place = np.unique(task[mine], return_inverse=True)
            found[mine] = self.predict(x[first : first + CHUNK], asked)[row[mine] - first, place]
        return found


def fit_kernel(
    lots: Lots, *, every: bool = False, bounds_are_values: bool = False
) -> tuple[KernelRidge | None, NDArray[np.float64]]:
    """Fit every task of values that has enough of them; None where there is no such task.

    The penalty of a task has the least leave-one-out error, on at most `ROWS_FOR_PENALTY` of its rows.

    Parameters
    ----------
    lots
        Inputs, which must be in memory and not negative, measured cells, and which rows are learned from.
    every
        Learn in the end from the held-out rows too, which must be of the same table.
    bounds_are_values
        Learn from bounds as if they were values; else they are left out.

    Returns
    -------
    tuple
        The kernel; with `every`, (m,) what it said of the held-out cells before it learned from them, else nothing.
    """
    table, nothing = lots.table, np.empty(0)
    rows = np.concatenate([lots.rows, lots.held]) if every else lots.rows
    cells, place = table.where(rows)
    new = place >= len(lots.rows)
    exact = ~table.binary[table.task[cells]] & ((table.relation[cells] == 0) | bounds_are_values)
    tasks = _affordable(np.bincount(table.task[cells[exact & ~new]], minlength=len(table.binary)))
    if not len(tasks) or isinstance(table.x, MappedRows):
        return None, nothing
    x = csr_array(table.x[rows])
    order = np.argsort(table.task[cells], kind="stable")
    order = order[(exact | new)[order]]
    edges = np.searchsorted(table.task[cells[order]], np.arange(len(table.binary) + 1))
    said, constant, parts = np.full(len(cells), np.nan), np.full(len(table.binary), np.nan), []
    for task in tasks:
        own = order[edges[task] : edges[task + 1]]
        fit = _fit_task(x[place[own]], table.target[cells[own]].astype(np.float64), exact[own], new[own])
        said[own[new[own]]], constant[task] = fit[2], fit[1]
        parts.append((place[own[exact[own]]], np.full(len(fit[0]), task), fit[0]))
    row, task, alpha = (np.concatenate(part) for part in zip(*parts, strict=True))
    used, code = np.unique(row, return_inverse=True)
    weights = csr_array(coo_array((alpha, (code, task)), shape=(len(used), len(table.binary))))
    kept = x[used]
    return KernelRidge(csr_array(kept.T), _sizes(kept), weights, constant, EVEN), said[new] if every else nothing


def weigh(
    kernel: KernelRidge, members: NDArray[np.float32], lots: Lots, said: NDArray[np.float64]
) -> tuple[KernelRidge, NDArray[np.float32]]:
    """Return the kernel with the share of the network that suits held-out cells best, and the blended (k, m) outputs.

    The share makes the squared error over all exact cells least, and is between `LEAST_SHARE` and 1.

    Parameters
    ----------
    kernel, said
        From `fit_kernel`.
    members
        (k, m) outputs of the networks for the held-out cells.
    lots
        Which cells these are.
    """
    cells, row = lots.judge.where(lots.held)
    if not len(cells):
        return kernel, members
    task = lots.judge.task[cells]
    own = said if len(said) else kernel.cells(csr_array(lots.judge.x[lots.held]), row, task)
    exact = np.isfinite(own) & (lots.judge.relation[cells] == 0)
    apart = members.mean(axis=0)[exact] - own[exact]
    error = lots.judge.target[cells][exact] - own[exact]
    share = float(np.clip(apart @ error / (apart @ apart), LEAST_SHARE, 1)) if (apart != 0).any() else EVEN
    return replace(kernel, share=share), _mix(members, own, share)


def kernel_arrays(kernel: KernelRidge) -> dict[str, NDArray[Any]]:
    """Return what `kernel_of` reads, but for the share."""
    parts = {"holders": kernel.holders, "alpha": kernel.alpha}
    found = {
        f"{name}.{one}": getattr(part, one) for name, part in parts.items() for one in ("indptr", "indices", "data")
    }
    return found | {"size": kernel.size, "constant": kernel.constant}


def kernel_of(arrays: dict[str, NDArray[Any]], share: float) -> KernelRidge:
    """Return the kernel that `kernel_arrays` described."""
    size, constant = arrays["size"], arrays["constant"]
    shapes = {"holders": (len(arrays["holders.indptr"]) - 1, len(size)), "alpha": (len(size), len(constant))}
    found = {
        name: csr_array(tuple(arrays[f"{name}.{one}"] for one in ("data", "indices", "indptr")), shape=shape)
        for name, shape in shapes.items()
    }
    return KernelRidge(found["holders"], size, found["alpha"], constant, share)


def _affordable(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the tasks that are fitted, ascending: smaller ones first until the pairs are used up."""
    tasks = np.flatnonzero((counts >= LEAST) & (counts <= MOST))
    tasks = tasks[np.argsort(counts[tasks], kind="stable")]
    return np.sort(tasks[np.cumsum(counts[tasks].astype(np.float64) ** 2) <= MOST_PAIRS])


def _fit_task(
    x: csr_array, y: NDArray[np.float64], exact: NDArray[np.bool_], new: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Return coefficients of the exact cells, whose sum is 0, the constant, and what is said of new cells before."""
    gram = count_tanimoto(x).astype(np.float64)
    old = np.flatnonzero(exact & ~new)
    some = old[np.linspace(0, len(old) - 1, min(len(old), ROWS_FOR_PENALTY)).astype(int)]
    inner = centred(gram[np.ix_(some, some)])
    unit = _unit(inner)
    errors = [np.square(solve_dual(inner, y[some], penalty * unit)[1] - y[some]).mean() for penalty in PENALTIES]
    penalty = PENALTIES[int(np.argmin(errors))]
    alpha, constant = _solve(gram[np.ix_(old, old)], y[old], penalty)
    said = gram[np.ix_(new, old)] @ alpha + constant
    if new.any():
        alpha, constant = _solve(gram[np.ix_(exact, exact)], y[exact], penalty)
    return alpha, constant, said


def _solve(gram: NDArray[np.float64], y: NDArray[np.float64], penalty: float) -> tuple[NDArray[np.float64], float]:
    """Return coefficients, whose sum is 0, and the constant."""
    system = centred(gram)
    system.flat[:: len(y) + 1] += penalty * _unit(system)
    alpha = cho_solve(cho_factor(system, lower=True, overwrite_a=True), y - y.mean())
    return alpha, float(y.mean() - gram.mean(axis=0) @ alpha)


def _unit(gram: NDArray[np.float64]) -> float:
    """Return the mean squared length of centred rows."""
    return max(float(np.trace(gram)) / len(gram), 1e-9)


def _mix(members: NDArray[np.float32], own: NDArray[np.float64], share: float) -> NDArray[np.float32]:
    """Return the weighted means of the members' outputs and the kernel's; the members' alone where it has none."""
    return np.where(np.isnan(own), members, share * members + (1 - share) * own).astype(np.float32)


def _sizes(x: csr_array) -> NDArray[np.float64]:
    return np.asarray(x.sum(axis=1, dtype=np.float64)).ravel()


def _work(indptr: Sequence[int] | NDArray[Any]) -> NDArray[np.int64]:
    return np.asarray(indptr, np.int64) + np.arange(len(indptr))


@njit(cache=True, nogil=True)
def _sum_relatives(
    rows: Any, holders: Any, alpha: Any, place: Any, out: Any, part: tuple[int, int]
) -> None:  # pragma: no cover
    """Write what the relatives of the rows `part` say, column ``place[task]`` of ``out``, constants left out."""
    size = holders[3]
    shared = np.zeros(len(size), np.float32)
    for row in range(part[0], part[1]):
        shared[:] = 0.0
        own = 0.0
        for entry in range(rows[0][row], rows[0][row + 1]):
            column, value = rows[1][entry], rows[2][entry]
            own += value
            for holder in range(holders[0][column], holders[0][column + 1]):
                shared[holders[1][holder]] += min(value, holders[2][holder])
        out[row] = 0.0
        for relative in range(len(size)):
            if shared[relative] <= 0.0:
                continue
            similarity = shared[relative] / (own + size[relative] - shared[relative])
            for entry in range(alpha[0][relative], alpha[0][relative + 1]):
                column = place[alpha[1][entry]]
                if column >= 0:
                    out[row, column] += similarity * alpha[2][entry]
