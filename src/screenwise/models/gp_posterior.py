"""One exact Gaussian process: factor, predictions, leave-one-out, leave-group-out, joint posterior."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dtrmm, strmm
from scipy.linalg.lapack import dpotrf, dtrtri

from screenwise.errors import ModelError

SAFE_NOISE = 1e-3
"""From this noise on (share of the kernels' variance) single precision keeps variances to four digits."""
SHORTLIST = 256
"""Columns of the posterior covariance that are computed together."""


@dataclass(frozen=True)
class Factor:
    """Inverse Cholesky factor of the covariance of n training rows, and what follows from it."""

    inverse: NDArray[np.float64]
    """(n, n) lower triangular T with T C T' = 1; upper triangle zero. Single precision where that is enough."""
    alpha: NDArray[np.float64]
    """(n,) C^-1 y."""
    precision: NDArray[np.float64]
    """(n,) diagonal of C^-1."""


def factorise(covariance: NDArray[np.float64], y: NDArray[np.float64]) -> Factor:
    """Return the factor of a covariance, which is overwritten.

    Parameters
    ----------
    covariance
        (n, n) symmetric, C order, noise included.
    y
        (n,) standardised targets.

    Examples
    --------
    >>> factor = factorise(np.array([[2.0, 0.0], [0.0, 4.0]]), np.array([1.0, 1.0]))
    >>> factor.alpha.round(6).tolist(), factor.precision.round(6).tolist()
    ([0.5, 0.25], [0.5, 0.25])
    """
    lower, failed = dpotrf(covariance.T, lower=1, clean=1, overwrite_a=1)
    if failed:
        message = (
            f"The covariance of {len(y)} rows is not positive definite (leading minor {failed}): "
            "a kernel is not a valid similarity, or features hold NaN or infinity. Check the features, "
            "or leave out a kernel (Config.kernels)."
        )
        raise ModelError(message)
    inverse, _ = dtrtri(lower, lower=1, overwrite_c=1)
    alpha = inverse.T @ (inverse @ y)
    # columns of T' are contiguous in LAPACK's order
    precision = np.einsum("ij,ij->j", inverse, inverse)
    return Factor(inverse, alpha, precision)


def leave_one_out(factor: Factor, y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and total variance, (n,) each, of every row predicted from all others.

    Rasmussen and Williams (2006), eq. 5.12; exact at fixed weights.

    Examples
    --------
    >>> y = np.array([1.0, -1.0])
    >>> factor = factorise(np.array([[1.5, 0.5], [0.5, 1.5]]), y)
    >>> mean, variance = leave_one_out(factor, y)
    >>> mean.round(4).tolist(), variance.round(4).tolist()
    ([-0.3333, 0.3333], [1.3333, 1.3333])
    """
    variance = 1.0 / factor.precision
    return y - factor.alpha * variance, variance


def leave_group_out(
    factor: Factor, y: NDArray[np.float64], groups: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and total variance, (n,) each, of every row predicted from all other groups.

    With B the block of C^-1 that belongs to a group, the residuals are B^-1 (C^-1 y) and their
    covariance B^-1. Groups of one size are solved together.

    Parameters
    ----------
    factor
        Of n rows.
    y
        (n,)
    groups
        (n,) codes; rows of one code are left out together.
    """
    mean, variance = leave_one_out(factor, y)
    order = np.argsort(groups, kind="stable")
    _, starts, counts = np.unique(groups[order], return_index=True, return_counts=True)
    for size in np.unique(counts[counts > 1]):
        members = order[starts[counts == size][:, None] + np.arange(size)]  # (g, size)
        step = max(1, 2**22 // (len(y) * int(size)))  # about 32 MB of gathered columns at a time
        for first in range(0, len(members), step):
            rows = members[first : first + step]
            columns = factor.inverse[:, rows.reshape(-1)].T.reshape(len(rows), int(size), -1)  # (g, size, n)
            block = (columns @ columns.transpose(0, 2, 1)).astype(np.float64)
            covariance = np.linalg.inv(block)
            residual = np.einsum("gij,gj->gi", covariance, factor.alpha[rows])
            mean[rows] = y[rows] - residual
            variance[rows] = np.einsum("gii->gi", covariance)
    return mean, variance


def predict_latent(
    factor: Factor, cross: NDArray[np.float32], own: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and latent variance, (q,) each, of q conditions.

    Parameters
    ----------
    factor
        Of n training rows.
    cross
        (q, n) covariances with the training rows.
    own
        (q,) prior variances.
    """
    mean = cross.astype(np.float64) @ factor.alpha
    explained = whiten(factor, cross)
    variance = own - np.einsum("ij,ij->j", explained, explained).astype(np.float64)
    return mean, np.maximum(variance, 1e-9 * own)


def whiten(factor: Factor, cross: NDArray[np.float32]) -> NDArray[np.floating]:
    """Return (n, q) T times the covariances, given (q, n); a triangular product costs half of a full one."""
    multiply = strmm if factor.inverse.dtype == np.float32 else dtrmm
    columns = cross.astype(factor.inverse.dtype).T
    return np.asarray(multiply(1.0, factor.inverse, columns, lower=1, overwrite_b=1)) if columns.size else columns


class TaskPosterior:
    """Joint posterior of one task over a pool of n candidates (see `screenwise.protocols.Posterior`).

    Columns of the posterior covariance are computed when they are asked for, together with those
    of the candidates most likely to be asked for next (highest mean plus spread).
    """

    def __init__(
        self,
        mean: NDArray[np.float64],
        variance: NDArray[np.float64],
        noise: float,
        columns: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    ) -> None:
        self.mean = mean
        """(n,) in the task's units."""
        self.variance = variance
        """(n,) of the latent function, in the task's units squared."""
        self.noise = noise
        """Variance of one measurement, in the task's units squared."""
        self._columns = columns
        self._known: dict[int, NDArray[np.float32]] = {}
        score = np.where(np.isfinite(mean), mean + np.sqrt(variance), -np.inf)
        self._likely = np.argsort(-score, kind="stable")

    def covariance(self, candidate: int) -> NDArray[np.float64]:
        """Return (n,) posterior covariances of all candidates with one."""
        candidate = int(candidate)
        if candidate not in self._known:
            fresh = self._likely[~np.isin(self._likely, [candidate, *self._known])]
            asked = np.append(candidate, fresh[: SHORTLIST - 1])
            block = self._columns(asked)  # (n, SHORTLIST)
            self._known |= {int(one): block[:, place] for place, one in enumerate(asked)}
        return self._known[candidate].astype(np.float64)

    def spread(self, rows: NDArray[np.int64], size: int) -> "TaskPosterior":
        """Return the posterior of a larger pool of `size`, in which only `rows` are known; NaN elsewhere."""
        mean, variance = np.full(size, np.nan), np.full(size, np.nan)
        mean[rows], variance[rows] = self.mean, self.variance
        place = np.full(size, -1)
        place[rows] = np.arange(len(rows))

        def columns(asked: NDArray[np.int64]) -> NDArray[np.float32]:
            out = np.full((size, len(asked)), np.nan, np.float32)
            known = place[asked] >= 0
            out[np.ix_(rows, known)] = self._columns(place[asked][known])
            return out

        return TaskPosterior(mean, variance, self.noise, columns)
