"""An exact Gaussian process over any embedding: moments and covariances of a whole pool, in chunks.

For pools that have numbers and no kernels of their own; the kernels of compounds, genes and variants
are those of `screenwise.models.gp`, whose posteriors the same functions take.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dtrtri

from screenwise.design.cover import SAFE, check_features, squared
from screenwise.design.picking import check_size
from screenwise.design.products import row_blocks, row_dots
from screenwise.errors import ConfigError, DataError


@dataclass(frozen=True)
class RbfProcess:
    """A Gaussian process of mean 0 with the kernel ``variance exp(-|a - b|^2 / (2 length^2))``."""

    length: float
    variance: float = 1.0
    noise: float = 0.1
    """Variance of one measurement."""

    def __post_init__(self) -> None:
        if not (self.length > 0 and self.variance > 0 and self.noise > 0):
            message = f"{self} has a length, variance or noise that is not above 0."
            raise ConfigError(message)

    def kernel(self, rows: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (a, b) prior covariances of single precision rows."""
        left, right = np.einsum("ij,ij->i", rows, rows), np.einsum("ij,ij->i", others, others)
        out = rows @ (np.float32(-2.0) * others.T)
        out += left[:, None]
        out += right
        np.maximum(out, np.float32(0.0), out=out)
        out *= np.float32(-0.5 / self.length**2)
        np.exp(out, out=out)
        out *= np.float32(self.variance)
        return out


@dataclass
class RbfPosterior:
    """The joint posterior of a pool (see `screenwise.protocols.Posterior`)."""

    mean: NDArray[np.float64]
    """(n,)"""
    variance: NDArray[np.float64]
    """(n,) of the latent function."""
    noise: float
    process: RbfProcess
    features: NDArray[np.float32]
    """(n, d)"""
    explained: NDArray[np.float32]
    """(n, l) rows whose inner products are what the measured rows explain of prior covariances."""

    @classmethod
    def of(
        cls, process: RbfProcess, features: NDArray[Any], measured: NDArray[Any], target: NDArray[Any]
    ) -> "RbfPosterior":
        """Return the posterior over n candidates after l measured rows.

        ``m = K_xl (K + noise)^-1 y``, ``v = k - diag(K_xl (K + noise)^-1 K_lx)`` (Rasmussen and Williams
        (2006), eqs. 2.25 and 2.26). O(l^3 + n l (l + d)); n x l numbers of memory.

        Parameters
        ----------
        process
            Kernel and noise.
        features
            (n, d) finite.
        measured, target
            (l, d) rows and (l,) values on a scale of mean about 0.

        Examples
        --------
        >>> x = np.array([[0.0], [9.0]])
        >>> found = RbfPosterior.of(RbfProcess(1.0, 1.0, 1.0), x, x[:1], np.array([2.0]))
        >>> found.mean.round(3).tolist(), found.variance.round(3).tolist(), found.covariance(0).round(3).tolist()
        ([1.0, 0.0], [0.5, 1.0], [0.5, 0.0])
        """
        rows, known = check_features(features), check_features(measured, "measured features")
        check_size(len(known), target=len(target))
        covariance = process.kernel(known, known).astype(np.float64)
        covariance[np.diag_indices(len(known))] = process.variance + process.noise
        lower, failed = dpotrf(covariance, lower=1, clean=1)
        if failed:
            message = f"The covariance of {len(known)} measured rows is not positive definite; raise the noise."
            raise DataError(message)
        inverse, _ = dtrtri(lower, lower=1)
        alpha = (inverse.T @ (inverse @ np.asarray(target, np.float64))).astype(np.float32)
        right = np.ascontiguousarray(inverse.T, np.float32)
        mean, explained = np.empty(len(rows)), np.empty((len(rows), len(known)), np.float32)
        for first, count, block in row_blocks(rows):
            cross = process.kernel(block, known)
            mean[first : first + count] = (cross @ alpha)[:count]
            explained[first : first + count] = (cross @ right)[:count]
        variance = _left(explained, process.variance)
        return cls(mean, variance, process.noise, process, rows, explained)

    def covariance(self, candidate: int) -> NDArray[np.float64]:
        """Return (n,) posterior covariances of all candidates with one."""
        gap = _to_one(self.features, int(candidate))
        prior = self.process.variance * np.exp(gap.astype(np.float64) * (-0.5 / self.process.length**2))
        return np.asarray(prior - row_dots(self.explained, self.explained[candidate]))


@njit(cache=True, fastmath=SAFE)
def _to_one(features: Any, candidate: int) -> Any:
    out = np.empty(features.shape[0], np.float32)
    for row in range(features.shape[0]):
        out[row] = squared(features, row, features, candidate)
    return out


@njit(cache=True, fastmath=SAFE)
def _left(explained: Any, prior: float) -> Any:
    """Return (n,) variances that are left, at least a billionth of the prior one."""
    out = np.empty(explained.shape[0])
    for row in range(explained.shape[0]):
        total = np.float32(0.0)
        for column in range(explained.shape[1]):
            total += explained[row, column] * explained[row, column]
        out[row] = max(prior - total, 1e-9 * prior)
    return out
