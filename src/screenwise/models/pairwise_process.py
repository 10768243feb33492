"""One Gaussian process over gene pairs for all features at once: weights and band coefficients by marginal likelihood.

The mean of a pair is a coefficient times the sum of its singles, one coefficient per band of principal
axes: strong axes carry signal, weak ones noise, so that the bands are the denoising. Departures share
one covariance ``v (sum_k w_k K_k + n I)`` over all axes.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.optimize import minimize

BANDS = (5, 20)
"""Principal axes 1-5, 6-20 and 21 on have a coefficient each."""
WEIGHT_TOTAL = 0.7
"""Prior median of the sum of all kernel weights, in units of the departures' variance."""
NOISE = 0.3
"""Prior median of the noise variance, in the same units."""
LOG_SD = 4.5
"""Prior standard deviation of the logarithms of weights and noise: almost none."""
COEFFICIENT_SD = 0.05
"""Prior standard deviation of the coefficients about what published screens say."""
MOST_REPLICATES = 50
"""Axes that the likelihood counts at most: more outputs of the same pairs are not more evidence on the kernels."""
LIMITS = (-14.0, 7.0)
"""Of the logarithms of the weights; the noise stays above exp(-7)."""
LEAST_LOG_NOISE = -7.0
EVALUATIONS = 200
IMPOSSIBLE = 1e25
"""What a setting costs whose covariance has no Cholesky factor: the line search turns back."""


@dataclass(frozen=True)
class Evidence:
    """What a process learns from, in rotated outputs."""

    grams: NDArray[np.float64]
    """(k, m, m) kernels between training rows, the constant among them."""
    means: NDArray[np.float64]
    """(c, m, r) columns of the mean: the departures are ``y - sum_c beta_c means_c``."""
    y: NDArray[np.float64]
    """(m, r) measured effects."""
    prior: NDArray[np.float64]
    """(c,) prior means of the coefficients."""


@dataclass(frozen=True)
class Process:
    """A fitted process over m rows and r axes."""

    weights: NDArray[np.float64]
    """(k,) of the kernels, in units of `variance`."""
    noise: float
    beta: NDArray[np.float64]
    """(c,) coefficients of the mean's columns."""
    variance: float
    """v: mean variance of an axis of the departures from the prior mean."""
    alpha: NDArray[np.float64]
    """(m, r) C^-1 departures."""
    inverse: NDArray[np.float64]
    """(m, m) C^-1, without v."""

    def departures(self, cross: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (q, r) departures from the mean, of rows with kernels `cross` (k, q, m)."""
        return self.weigh(cross) @ self.alpha

    def weigh(self, kernels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weighted sum of (k, ...) kernels."""
        return np.tensordot(self.weights, kernels, axes=1)

    def variances(self, cross: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (q,) variances of one axis, noise included, for cross (k, q, m) and own (k, q) kernels."""
        whole = self.weigh(cross)
        left = self.weigh(own) - np.einsum("ij,ij->i", whole @ self.inverse, whole)
        return self.variance * (np.maximum(left, 0.0) + self.noise)

    def held_out(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return leave-one-out errors (m, r), measured minus predicted, and variances (m,).

        Weights and coefficients stay as learnt from all rows (Rasmussen and Williams, Gaussian
        Processes for Machine Learning, 2006, eq. 5.12).
        """
        precision = np.diagonal(self.inverse)
        return self.alpha / precision[:, None], self.variance / precision


def band_columns(total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (c, n, r): the rotated sums of singles (n, r), each band of axes alone; empty bands left out.

    Examples
    --------
    >>> band_columns(np.ones((1, 7)))[:, 0].tolist()
    [[1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]]
    """
    edges = [0, *(edge for edge in BANDS if edge < total.shape[1]), total.shape[1]]
    out = np.zeros((len(edges) - 1, *total.shape))
    for layer, (start, stop) in enumerate(pairwise(edges)):
        out[layer, :, start:stop] = total[:, start:stop]
    return out


def fit_process(evidence: Evidence, whole: Evidence | None = None) -> Process:
    """Learn weights, noise and coefficients by L-BFGS with analytic gradients; `whole` = rows to predict from.

    Parameters
    ----------
    evidence
        Rows that decide the hyper-parameters.
    whole
        All rows, where there are more; None = the same.

    Examples
    --------
    >>> x = np.linspace(0, 3, 20)[:, None]
    >>> gram = np.exp(-((x - x.T) ** 2))
    >>> evidence = Evidence(gram[None], np.ones((1, 20, 1)), np.sin(x) + 1, np.array([1.0]))
    >>> process = fit_process(evidence)
    >>> bool(np.abs(process.departures(gram[None]) - np.sin(x)).max() < 0.1)
    True
    """
    variance = float(np.mean(np.square(_departures(evidence, evidence.prior))))
    variance = variance if variance > 0 else 1.0
    kernels = len(evidence.grams)
    centre, sd = _prior(kernels, evidence.prior)
    bounds = [LIMITS] * kernels + [(LEAST_LOG_NOISE, LIMITS[1])] + [(None, None)] * len(evidence.prior)
    share = min(1.0, MOST_REPLICATES / evidence.y.shape[1])

    def cost(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, slope = log_likelihood(evidence, theta, variance)
        away = (theta - centre) / sd
        return 0.5 * float(away @ away) - share * value, away / sd - share * slope

    found = minimize(cost, centre, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxfun": EVALUATIONS})
    theta = np.asarray(found.x)
    return condition(evidence if whole is None else whole, _unpack(theta, kernels), variance)


def condition(
    evidence: Evidence, learnt: tuple[NDArray[np.float64], float, NDArray[np.float64]], variance: float
) -> Process:
    """Return the process of these rows with known weights, noise and coefficients."""
    weights, noise, beta = learnt
    covariance = np.tensordot(weights, evidence.grams, axes=1)
    covariance.flat[:: len(covariance) + 1] += noise
    inverse = _inverse(covariance)[0]
    return Process(weights, noise, beta, variance, inverse @ _departures(evidence, beta), inverse)


def log_likelihood(
    evidence: Evidence, theta: NDArray[np.float64], variance: float
) -> tuple[float, NDArray[np.float64]]:
    """Return the log marginal likelihood of all axes (up to a constant) and its gradient.

    `theta`: logarithms of the k weights and of the noise, then the c coefficients.

    Examples
    --------
    >>> one = Evidence(np.ones((1, 1, 1)), np.zeros((1, 1, 1)), np.zeros((1, 1)), np.zeros(1))
    >>> value, slope = log_likelihood(one, np.zeros(3), 1.0)
    >>> round(value, 4), slope.round(2).tolist()
    (-0.3466, [-0.25, -0.25, 0.0])
    """
    kernels, axes = len(evidence.grams), evidence.y.shape[1]
    weights, noise, beta = _unpack(theta, kernels)
    flat = evidence.grams.reshape(kernels, -1)
    covariance = (weights @ flat).reshape(evidence.grams.shape[1:])
    covariance.flat[:: len(covariance) + 1] += noise
    inverse, logarithm = _inverse(covariance)
    if not np.isfinite(logarithm):
        return -IMPOSSIBLE, np.zeros_like(theta)
    departures = _departures(evidence, beta) / np.sqrt(variance)
    alpha = inverse @ departures
    value = -0.5 * axes * logarithm - 0.5 * float(np.einsum("ij,ij->", departures, alpha))
    excess = alpha @ alpha.T - axes * inverse
    slope = np.empty_like(theta)
    slope[:kernels] = 0.5 * weights * (flat @ excess.reshape(-1))
    slope[kernels] = 0.5 * noise * np.trace(excess)
    slope[kernels + 1 :] = np.einsum("cij,ij->c", evidence.means, alpha) / np.sqrt(variance)
    return value, slope


def _prior(kernels: int, prior: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    centre = np.concatenate([np.full(kernels, np.log(WEIGHT_TOTAL / kernels)), [np.log(NOISE)], prior])
    sd = np.full(len(centre), LOG_SD)
    sd[kernels + 1 :] = COEFFICIENT_SD
    return centre, sd


def _unpack(theta: NDArray[np.float64], kernels: int) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    return np.exp(theta[:kernels]), float(np.exp(theta[kernels])), theta[kernels + 1 :]


def _departures(evidence: Evidence, beta: NDArray[np.float64]) -> NDArray[np.float64]:
    return evidence.y - np.tensordot(beta, evidence.means, axes=1)


def _inverse(covariance: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the inverse and the log determinant of a symmetric matrix; NaN where it is not positive."""
    lower, failed = dpotrf(covariance.T, lower=1, clean=1)
    if failed:
        return covariance, float("nan")
    logarithm = 2.0 * float(np.log(np.diagonal(lower)).sum())
    inverse, _ = dpotri(lower, lower=1, overwrite_c=1)
    full = np.tril(inverse)
    return full + np.tril(full, -1).T, logarithm
