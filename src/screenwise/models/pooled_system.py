"""The linear system of one group of assays: exact while its rows fit in memory, else through landmarks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from screenwise.models.gp_posterior import Factor, factorise, whiten

IGNORED = 1e6
"""Relative noise of a row that teaches nothing."""
JITTER = 1e-6
_GATHERED = 2**22


@dataclass(frozen=True)
class Exact:
    """The factor of all n rows of a group."""

    factor: Factor
    noise: NDArray[np.float64]
    """(n,) variances."""
    unexplained: float = 0.0

    @property
    def support(self) -> NDArray[np.int64]:
        """(s,) rows that weights belong to: all."""
        return np.arange(len(self.noise))

    def solve(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n, k) inverse covariance times (n, k) targets."""
        inverse = self.factor.inverse
        return np.asarray(inverse.T @ (inverse @ y), np.float64)

    def weights(self, dual: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (s, k) weights of the support, given what `solve` returned."""
        return dual

    def fitted(self, dual: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n, k) posterior means of the rows themselves."""
        return y - self.noise[:, None] * dual

    def explained(self, cross: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (q,) how much of their prior variance the rows explain, given (q, s) covariances, overwritten."""
        known = whiten(self.factor, cross)
        return np.einsum("ij,ij->j", known, known).astype(np.float64)

    def left_out(
        self, dual: NDArray[np.float64], groups: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (n, k) residuals and (n,) variances of rows predicted without those of their code in `groups`."""
        return left_out(self.factor.inverse, 0.0 * self.noise, 1.0, dual, groups)


@dataclass(frozen=True)
class Landmarks:
    """Fully independent training conditional: rows know each other through some of them.

    Snelson and Ghahramani, Sparse Gaussian processes using pseudo-inputs, NeurIPS 2005; with random
    training rows as landmarks, which makes it a Nystrom approximation with a corrected diagonal.
    """

    support: NDArray[np.int64]
    """(s,) rows that are landmarks."""
    lower: NDArray[np.float64]
    """(s, s) Cholesky factor of their covariance."""
    middle: NDArray[np.float64]
    """(s, s) Cholesky factor of 1 + V diag(1 / noise) V', V = lower^-1 K."""
    columns: NDArray[np.float32]
    """(s, n) middle^-1 V diag(1 / noise)."""
    noise: NDArray[np.float64]
    """(n,) variances, with what the landmarks leave of the prior variance."""
    unexplained: float
    """Share of the rows' prior variance that the landmarks leave: 0 = as good as exact."""

    def solve(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n, k) inverse covariance times (n, k) targets."""
        return y / self.noise[:, None] - self.columns.T @ (self.columns @ y)

    def weights(self, dual: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (s, k) weights of the landmarks."""
        inner = solve_triangular(self.middle, self.columns @ y, lower=True, trans=1)
        return np.asarray(solve_triangular(self.lower, inner, lower=True, trans=1), np.float64)

    def fitted(self, dual: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n, k) posterior means of the rows themselves."""
        return y - self.noise[:, None] * dual

    def explained(self, cross: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (q,) how much of their prior variance the landmarks explain, given (q, s) covariances."""
        first = solve_triangular(self.lower, cross.T.astype(np.float64), lower=True)
        second = solve_triangular(self.middle, first, lower=True)
        return np.asarray(np.square(first).sum(axis=0) - np.square(second).sum(axis=0), np.float64)

    def left_out(
        self, dual: NDArray[np.float64], groups: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (n, k) residuals and (n,) variances of rows predicted without those of their code in `groups`."""
        return left_out(self.columns, 1.0 / self.noise, -1.0, dual, groups)


System = Exact | Landmarks


def exact_system(covariance: NDArray[np.float64], noise: NDArray[np.float64]) -> Exact:
    """Return the factor of an (n, n) covariance without noise, which is overwritten.

    Examples
    --------
    >>> system = exact_system(np.array([[1.0, 0.5], [0.5, 1.0]]), np.array([0.5, 0.5]))
    >>> residual, variance = system.left_out(system.solve(np.array([[1.0], [-1.0]])), np.array([0, 1]))
    >>> residual.ravel().round(4).tolist(), variance.round(4).tolist()
    ([1.3333, -1.3333], [1.3333, 1.3333])
    """
    covariance.flat[:: len(noise) + 1] += noise
    return Exact(factorise(covariance, np.zeros(len(noise))), noise)


def landmark_system(
    cross: Callable[[slice], NDArray[np.float32]],
    own: float,
    noise: NDArray[np.float64],
    support: NDArray[np.int64],
    step: int = 8192,
) -> Landmarks:
    """Return the system of n rows through some of them.

    Parameters
    ----------
    cross
        Gives (rows of a slice, s) covariances of rows with the landmarks.
    own
        Prior variance of every row.
    noise
        (n,) variances.
    support
        (s,) rows that are landmarks.
    step
        Rows taken at a time.
    """
    parts = [slice(first, min(first + step, len(noise))) for first in range(0, len(noise), step)]
    columns = np.empty((len(support), len(noise)), np.float32)
    for part in parts:
        columns[:, part] = cross(part).T
    among = columns[:, support].astype(np.float64)
    among.flat[:: len(support) + 1] += JITTER
    lower = np.asarray(np.linalg.cholesky(among), np.float64)
    for part in parts:
        columns[:, part] = solve_triangular(lower, columns[:, part].astype(np.float64), lower=True)
    left = np.maximum(own - np.einsum("ij,ij->j", columns, columns).astype(np.float64), 0.0)
    whole = noise + left
    inner = np.eye(len(support))
    for part in parts:
        scaled = columns[:, part] / np.sqrt(whole[part]).astype(np.float32)
        inner += scaled @ scaled.T
    middle = np.asarray(np.linalg.cholesky(inner), np.float64)
    for part in parts:
        columns[:, part] = solve_triangular(middle, columns[:, part] / whole[part], lower=True)
    taught = noise < IGNORED * float(noise.min())
    return Landmarks(support, lower, middle, columns, whole, float(left[taught].mean()) / own)


def left_out(
    columns: NDArray[Any],
    diagonal: NDArray[np.float64],
    sign: float,
    dual: NDArray[np.float64],
    groups: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return residuals (n, k) and variances (n,) of every row predicted from all other groups.

    The inverse covariance is ``diag(diagonal) + sign columns' columns``; with B its block of a group the
    residuals are B^-1 dual and their covariance B^-1 (Rasmussen and Williams 2006, eq. 5.12, for blocks).

    Parameters
    ----------
    columns
        (s, n)
    diagonal
        (n,)
    sign
        1 or -1.
    dual
        (n, k) inverse covariance times targets.
    groups
        (n,) codes; rows of one code are left out together.
    """
    variance = 1.0 / (diagonal + sign * np.einsum("ij,ij->j", columns, columns).astype(np.float64))
    residual = dual * variance[:, None]
    order = np.argsort(groups, kind="stable")
    _, starts, counts = np.unique(groups[order], return_index=True, return_counts=True)
    for size in np.unique(counts[counts > 1]).tolist():
        members = order[starts[counts == size][:, None] + np.arange(size)]  # (g, size)
        step = max(1, _GATHERED // (len(columns) * size))
        for first in range(0, len(members), step):
            rows = members[first : first + step]
            some = columns[:, rows.reshape(-1)].T.reshape(len(rows), size, -1)  # (g, size, s)
            block = sign * (some @ some.transpose(0, 2, 1)).astype(np.float64)
            block[:, np.arange(size), np.arange(size)] += diagonal[rows]
            covariance = np.linalg.inv(block)
            residual[rows] = covariance @ dual[rows]
            variance[rows] = np.einsum("gii->gi", covariance)
    return residual, variance


@njit(cache=True, nogil=True)
def spread_kernel(
    kernel: Any, rows: Any, columns: Any, other: float, offset: float, out: Any
) -> None:  # pragma: no cover
    """Write covariances of (compound, assay) rows with (compound, assay) columns.

    Parameters
    ----------
    kernel
        (q, u) similarities of compounds.
    rows, columns
        Two (n,) arrays each: place among the q (u) compounds, and assay.
    other
        Factor between two assays.
    offset
        Further covariance within an assay.
    out
        (rows, columns)
    """
    row, own = rows
    column, assay = columns
    for i in range(len(row)):
        line = kernel[row[i]]
        for j in range(len(column)):
            found = line[column[j]]
            out[i, j] = found + offset if own[i] == assay[j] else other * found
