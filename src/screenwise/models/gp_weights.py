"""Weights of a sum of kernels and the noise, by marginal likelihood with a weak prior."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dger
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs
from scipy.optimize import minimize

WEIGHT_BOUNDS = (1e-6, 1e3)
"""Limits of one kernel's weight, in units of the task's variance."""
NOISE_BOUNDS = (1e-4, 1e2)
"""Limits of the noise variance, in units of the task's variance; the lower one keeps the factor well conditioned."""
IMPOSSIBLE = 1e25
"""What a setting costs whose covariance has no Cholesky factor: the line search turns back."""


@dataclass(frozen=True)
class Prior:
    """Log-normal prior over weights and noise, for targets of mean 0 and variance 1."""

    weight: float = 1.5
    """Median of the sum of all kernel weights."""
    noise: float = 0.15
    """Median of the noise variance."""
    sd: float = 3.0
    """Standard deviation of each logarithm; small = stay near the medians."""
    offset: float = 0.1
    """Variance of the unknown constant mean (a constant kernel, not learned)."""

    def start(self, kernels: int) -> NDArray[np.float64]:
        """Return the (kernels + 1,) logarithms of the medians: weights, then noise."""
        return np.log(np.append(np.full(kernels, self.weight / max(kernels, 1)), self.noise))


@dataclass(frozen=True)
class Weights:
    """What the marginal likelihood chose for one task."""

    kernel: NDArray[np.float64]
    """(m,) weight of each kernel, in units of the task's variance."""
    noise: float
    """Variance of one measurement, in units of the task's variance."""
    log_likelihood: float
    """Log marginal likelihood (nats) of the rows it was learned on."""
    rows: int
    """How many rows that were."""


def prior_weights(kernels: int, prior: Prior) -> Weights:
    """Return the medians of the prior: what a task with too few rows to learn from gets.

    Examples
    --------
    >>> prior_weights(2, Prior()).kernel.tolist()
    [0.75, 0.75]
    """
    return Weights(np.full(kernels, prior.weight / max(kernels, 1)), prior.noise, float("nan"), 0)


def learn_weights(
    grams: NDArray[np.float32],
    y: NDArray[np.float64],
    prior: Prior,
    *,
    row_noise: NDArray[np.float64] | None = None,
    first_rows: int = 400,
    evaluations: tuple[int, int] = (30, 12),
) -> Weights:
    """Maximise log marginal likelihood plus log prior by L-BFGS with analytic gradients.

    A covariance of n rows costs n^3, so that the search starts on the first few hundred rows and
    ends with a few steps on all of them (Rasmussen and Williams, Gaussian Processes for Machine
    Learning, 2006, eq. 5.8 and 5.9).

    Parameters
    ----------
    grams
        (m, r, r) kernels between r rows in random order.
    y
        (r,) targets of mean about 0 and variance about 1.
    prior
        Medians and spread of weights and noise.
    row_noise
        (r,) factors of the noise variance, 1 = an ordinary row; None = all 1.
    first_rows
        Rows of the first search.
    evaluations
        Most evaluations of the first and of the second search.

    Examples
    --------
    >>> x = np.linspace(0, 6, 40)
    >>> useful = np.exp(-((x[:, None] - x) ** 2))
    >>> learned = learn_weights(np.stack([useful, np.eye(40)]).astype(np.float32), np.sin(x) * 1.4, Prior())
    >>> bool(learned.kernel[0] > 10 * learned.noise)
    True
    """
    kernels, rows, _ = grams.shape
    factors = np.ones(rows) if row_noise is None else row_noise
    theta = prior.start(kernels)
    small = rows <= 1.5 * first_rows
    stages = [(rows, sum(evaluations))] if small else [(first_rows, evaluations[0]), (rows, evaluations[1])]
    value = float("nan")
    for size, most in stages:
        # double precision: the line search compares likelihoods that differ by less than 1e-4
        part = np.ascontiguousarray(grams[:, :size, :size], np.float64)
        theta, value = _search(part, y[:size], factors[:size], prior, theta, most)
    penalty = 0.5 * float(np.sum(((theta - prior.start(kernels)) / prior.sd) ** 2))
    return Weights(np.exp(theta[:-1]), float(np.exp(theta[-1])), penalty - value, rows)


def _search(
    grams: NDArray[np.float64],
    y: NDArray[np.float64],
    factors: NDArray[np.float64],
    prior: Prior,
    start: NDArray[np.float64],
    evaluations: int,
) -> tuple[NDArray[np.float64], float]:
    centre = prior.start(len(start) - 1)
    bounds = [np.log(WEIGHT_BOUNDS)] * (len(start) - 1) + [np.log(NOISE_BOUNDS)]

    def cost(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, slope = log_marginal_likelihood(grams, y, theta, factors, prior.offset)
        away = (theta - centre) / prior.sd
        return 0.5 * float(away @ away) - value, away / prior.sd - slope

    found = minimize(
        cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxfun": evaluations, "ftol": 1e-7}
    )
    return np.asarray(found.x), float(found.fun)


def log_marginal_likelihood(
    grams: NDArray[np.float64],
    y: NDArray[np.float64],
    theta: NDArray[np.float64],
    factors: NDArray[np.float64],
    offset: float,
) -> tuple[float, NDArray[np.float64]]:
    """Return the log marginal likelihood and its gradient with respect to the logarithms `theta`.

    The covariance is ``sum_m exp(theta_m) K_m + exp(theta_last) diag(factors) + offset``.

    Parameters
    ----------
    grams, y
        (m, r, r) symmetric, C order; (r,).
    theta
        (m + 1,) logarithms of the weights, then of the noise variance.
    factors, offset
        (r,) factors of the noise variance; variance of the constant.

    Examples
    --------
    >>> value, slope = log_marginal_likelihood(np.ones((1, 1, 1)), np.zeros(1), np.zeros(2), np.ones(1), 0.0)
    >>> round(float(value), 4), slope.round(2).tolist()
    (-1.2655, [-0.25, -0.25])
    """
    kernels, rows = grams.shape[0], grams.shape[1]
    weights, noise = np.exp(theta[:-1]), np.exp(theta[-1])
    flat = grams.reshape(kernels, -1)
    covariance = (weights @ flat).reshape(rows, rows)
    covariance += offset
    covariance.flat[:: rows + 1] += noise * factors
    # the transpose of a symmetric matrix is the matrix, and is in LAPACK's order without a copy
    lower, failed = dpotrf(covariance.T, lower=1, clean=1, overwrite_a=1)
    if failed:
        return -IMPOSSIBLE, np.zeros_like(theta)
    alpha, _ = dpotrs(lower, y, lower=1)
    value = -0.5 * float(y @ alpha) - float(np.log(np.diagonal(lower)).sum()) - 0.5 * rows * np.log(2 * np.pi)
    inverse, _ = dpotri(lower, lower=1, overwrite_c=1)
    diagonal = np.diagonal(inverse).copy()
    # twice the lower triangle stands for both: the kernels are symmetric
    inverse *= 2.0
    inverse.T.flat[:: rows + 1] = diagonal
    excess = dger(-1.0, alpha, alpha, a=inverse, overwrite_a=1)
    slope = np.empty_like(theta)
    slope[:-1] = -0.5 * weights * (flat @ excess.T.reshape(-1))
    slope[-1] = 0.5 * noise * float(factors @ (alpha * alpha - diagonal))
    return value, slope
