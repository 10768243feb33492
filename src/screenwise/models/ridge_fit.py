"""Ridge regression with exact leave-one-out predictions, on sparse or dense features."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.lapack import dpotri
from scipy.sparse import csr_array, issparse

from screenwise.models.measured import mean_of_others

PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Penalties tried, in units of the mean squared length of a centred row."""
ROWS_FOR_PENALTY = 1000
"""Rows on which the penalty is chosen."""
DUAL_ROWS = 5000
"""Up to this many rows the n x n system is solved, with more the d x d one of the most frequent columns."""
PRIMAL_COLUMNS = 2048


@dataclass(frozen=True)
class RidgeFit:
    """A linear function and what it says of its own training rows."""

    weight: NDArray[np.float64]
    """(d,)"""
    constant: float
    held_mean: NDArray[np.float64]
    """(n,) leave-one-out predictions."""
    penalty: float


def fit_ridge(features: Any, y: NDArray[np.float64], rng: np.random.Generator) -> RidgeFit:
    """Fit ridge regression with a free constant; the penalty has the least leave-one-out error.

    Leave-one-out residuals are ``e_i / (1 - h_ii)`` with h the hat matrix, the constant included
    (Allen, Technometrics 1974, 16, 125), exact at a fixed penalty.

    Parameters
    ----------
    features
        (n, d) dense or CSR with d small enough for a vector.
    y
        (n,)
    rng
        Draws the rows on which the penalty is chosen where there are many.

    Examples
    --------
    >>> x = np.arange(20.0)[:, None]
    >>> fit = fit_ridge(x, 3 * x[:, 0] + 1, np.random.default_rng(0))
    >>> bool(abs(fit.weight[0] - 3) < 0.05), bool(abs(fit.constant - 1) < 0.5)
    (True, True)
    """
    n = len(y)
    if n == 1 or features.shape[1] == 0:
        return RidgeFit(np.zeros(features.shape[1]), float(y.mean()), mean_of_others(y), 1.0)
    some = rng.permutation(n)[:ROWS_FOR_PENALTY]
    gram = _gram(features[some])
    errors = []
    unit = max(float(np.trace(gram)) / len(some), 1e-12)
    for penalty in PENALTIES:
        _, held = solve_dual(gram, y[some], penalty * unit)
        errors.append(float(np.mean((held - y[some]) ** 2)))
    penalty = PENALTIES[int(np.argmin(errors))] * unit
    if n > DUAL_ROWS:
        return _fit_primal(features, y, penalty)
    alpha, held = solve_dual(_gram(features), y, penalty)
    weight = np.asarray(features.T @ alpha).ravel()
    constant = float(y.mean() - np.asarray(features.mean(axis=0)).ravel() @ weight)
    return RidgeFit(weight, constant, held, penalty)


def _gram(features: Any) -> NDArray[np.float64]:
    """Return (n, n) inner products of centred rows."""
    product = features @ features.T
    return centred(np.asarray(product.toarray() if issparse(product) else product, np.float64))


def centred(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, n) inner products of rows less their mean.

    Examples
    --------
    >>> centred(np.array([[1.0, 0.0], [0.0, 1.0]])).tolist()
    [[0.5, -0.5], [-0.5, 0.5]]
    """
    column = gram.mean(axis=0)
    return gram - column[None, :] - column[:, None] + column.mean()


def solve_dual(
    gram: NDArray[np.float64], y: NDArray[np.float64], penalty: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coefficients of the centred rows and leave-one-out predictions, (n,) each."""
    n = len(y)
    factor, lower = cho_factor(gram + penalty * np.eye(n), lower=True)
    centred = y - y.mean()
    alpha = cho_solve((factor, lower), centred)
    inverse, _ = dpotri(factor, lower=1)
    # residual = penalty * alpha, 1 - h_ii = penalty * inverse_ii - 1/n
    room = np.maximum(penalty * np.diagonal(inverse) - 1.0 / n, 1e-9)
    return alpha, y - penalty * alpha / room


def _fit_primal(features: Any, y: NDArray[np.float64], penalty: float) -> RidgeFit:
    n, d = features.shape
    seen = np.asarray((features != 0).sum(axis=0)).ravel()
    kept = np.sort(np.argsort(-seen, kind="stable")[:PRIMAL_COLUMNS])
    part = csr_array(features)[:, kept]
    centre = np.asarray(part.mean(axis=0)).ravel()
    system = (part.T @ part).toarray() - n * np.outer(centre, centre)
    system.flat[:: len(kept) + 1] += penalty
    factor = cho_factor(system, lower=True)
    small = cho_solve(factor, part.T @ y - n * centre * y.mean())
    constant = float(y.mean() - centre @ small)
    leverage = np.empty(n)
    for first in range(0, n, 4096):
        dense = part[first : first + 4096].toarray() - centre
        leverage[first : first + 4096] = 1.0 / n + np.einsum("ij,ji->i", dense, cho_solve(factor, dense.T))
    residual = y - constant - part @ small
    weight = np.zeros(d)
    weight[kept] = small
    return RidgeFit(weight, constant, y - residual / np.maximum(1.0 - leverage, 1e-9), penalty)


def fit_logistic(score: NDArray[np.float64], label: NDArray[np.float64]) -> tuple[float, float]:
    """Return slope and constant of ``P(1) = 1 / (1 + exp(-(slope score + constant)))`` by Newton steps.

    Labels are moved a little inside (Platt 1999), so that separable scores keep finite slopes.

    Examples
    --------
    >>> slope, constant = fit_logistic(np.array([-1.0, -0.5, 0.5, 1.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    >>> slope > 0, abs(constant) < 1e-6
    (True, True)
    """
    positive = float(label.sum())
    high, low = (positive + 1) / (positive + 2), 1 / (len(label) - positive + 2)
    soft = np.where(label > 0.5, high, low)  # noqa: PLR2004
    x = np.column_stack([score, np.ones_like(score)])
    prevalence = np.clip(soft.mean(), 1e-6, 1 - 1e-6)
    theta = np.array([0.0, np.log(prevalence / (1 - prevalence))])
    for _ in range(50):
        p = probability(score, theta[0], theta[1])
        slope = x.T @ (p - soft) + np.array([1e-6, 0.0]) * theta
        curvature = (x * (p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(2)
        step = np.linalg.solve(curvature, slope)
        theta -= step * min(1.0, 5.0 / max(1e-12, float(np.abs(step).max())))
        if np.abs(step).max() < 1e-9:  # noqa: PLR2004
            break
    return float(theta[0]), float(theta[1])


def probability(score: NDArray[np.float64], slope: float, constant: float) -> NDArray[np.float64]:
    """Return the logistic function of a linear score."""
    return 1.0 / (1.0 + np.exp(-np.clip(slope * score + constant, -40, 40)))
