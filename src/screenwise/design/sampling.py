"""Choosing with functions drawn from a model: Thompson, probability of optimality, probability of a hit.

Draws are joint: draw s is one function over all candidates. `Paths` are such functions in closed form,
the same ones on any chunk of a pool.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.lapack import dpotrf

from screenwise.design.cover import check_features
from screenwise.design.picking import Allowed, best_left, open_mask
from screenwise.design.process import RbfProcess
from screenwise.design.products import row_blocks
from screenwise.errors import ConfigError, DataError
from screenwise.protocols import Posterior

TINY = 1e-12
"""Share of a variance that stands in for none."""


def pick_thompson(
    draws: NDArray[Any], size: int, keys: NDArray[np.uint64], *, allowed: Allowed = None, first: Sequence[int] = ()
) -> NDArray[np.int64]:
    """Return up to `size` candidates, each the best one left of one drawn function.

    Slot k takes what draw k (modulo their number) likes best and no earlier slot took (Thompson
    sampling without replacement; Hernandez-Lobato et al., ICML 2017).

    Parameters
    ----------
    draws
        (s, n) functions over n candidates; NaN = never picked.
    size
        Candidates to pick.
    keys
        (n,) settle equal values.
    allowed, first
        As in `screenwise.design.picking.pick_top`.

    Examples
    --------
    >>> draws = np.array([[3.0, 2.0, 1.0], [3.0, 1.0, 2.0]])
    >>> pick_thompson(draws, 2, np.arange(3, dtype=np.uint64)).tolist()
    [0, 2]
    """
    known = ~np.isnan(draws).any(axis=0)
    picks = [int(one) for one in first][:size]
    while len(picks) < size:
        mask = known & open_mask(allowed, picks, draws.shape[1])
        pick = best_left(draws[len(picks) % len(draws)], keys, mask)
        if pick is None:
            break
        picks.append(pick)
    return np.asarray(picks, np.int64)


def probability_of_optimality(draws: NDArray[Any], *, top: int = 1) -> NDArray[np.float64]:
    """Score by the probability of being the best candidate of all (qPO), or one of the best `top`.

    The share of drawn functions in which a candidate is among the `top` largest; equal values share
    their places. It is additive: the b highest scores are the batch most likely to hold the optimum
    (Menon, Shields and Coley, arXiv 2410.06333, eq. 3). Scores sum to `top`. With s draws at most
    s x top candidates score above 0, the rest is left to the keys: take s at least some times the wells,
    or `top` the number of wells.

    Parameters
    ----------
    draws
        (s, n) joint draws over n candidates, only the open ones; NaN in any draw = minus infinity.
    top
        How many best of each draw count.

    Examples
    --------
    >>> probability_of_optimality(np.array([[1.0, 2.0, 2.0], [5.0, 4.0, 3.0]])).tolist()
    [0.5, 0.25, 0.25]
    """
    known = ~np.isnan(draws).any(axis=0)
    if top < 1:
        message = f"top is {top}; it must be at least 1."
        raise ConfigError(message)
    count = np.zeros(draws.shape[1])
    top = min(top, int(known.sum()))
    for draw in draws if top else ():
        values = np.where(known, draw, -np.inf)
        edge = np.partition(values, len(values) - top)[len(values) - top]
        above, level = values > edge, known & (values == edge)
        count[above] += 1.0
        count[level] += (top - above.sum()) / level.sum()
    return np.where(known, count / len(draws), -np.inf)


def hit_probability(draws: NDArray[Any], threshold: float | NDArray[Any]) -> NDArray[np.float64]:
    """Score by the share of drawn functions above a threshold: the probability of a hit, (n,).

    Additive: the b highest scores are the batch of the most expected hits (arXiv 2605.10196). For a
    Gaussian prediction without draws, `screenwise.design.acquisition.probability_of_hit` is its closed form.

    Parameters
    ----------
    draws
        (s, n) functions over n candidates; NaN = minus infinity.
    threshold
        What counts as a hit; one number or (n,).

    Examples
    --------
    >>> hit_probability(np.array([[1.0, 0.0], [3.0, 0.0]]), 2.0).tolist()
    [0.5, 0.0]
    """
    missing = np.isnan(draws).any(axis=0)
    return np.where(missing, -np.inf, (draws > np.asarray(threshold)).mean(axis=0))


def draw_functions(
    posterior: Posterior, rows: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return (count, r) functions drawn from the joint posterior of r candidates.

    Exact: one Cholesky of an (r, r) covariance, so that r is a few thousand at most. The same functions
    come again for the same rows in the same order.
    """
    mean = np.asarray(posterior.mean, np.float64)[rows]
    covariance = np.stack([np.asarray(posterior.covariance(int(row)), np.float64)[rows] for row in rows])
    covariance = 0.5 * (covariance + covariance.T)
    size = float(np.mean(np.diagonal(covariance))) + TINY
    for jitter in (1e-5, 1e-4, 1e-3, 1e-2):  # covers the roundings of single precision columns
        lower, failed = dpotrf(covariance + jitter * size * np.eye(len(rows)), lower=1, clean=1)
        if not failed:
            return np.asarray(mean + rng.standard_normal((count, len(rows))) @ lower.T)
    message = f"The posterior covariance of {len(rows)} candidates is not positive definite; no functions can be drawn."
    raise DataError(message)


@dataclass(frozen=True)
class Paths:
    """Functions drawn from a posterior, in closed form: a sum of waves and a correction by measured rows."""

    process: RbfProcess
    frequency: NDArray[np.float32]
    """(d, m / 2)"""
    amplitude: NDArray[np.float32]
    """(m, s) of cosines, then of sines."""
    measured: NDArray[np.float32]
    """(l, d)"""
    correction: NDArray[np.float32]
    """(l, s)"""

    def at(self, features: NDArray[Any]) -> NDArray[np.float32]:
        """Return (s, n) values of the s functions at (n, d) rows; the same for a row in any chunk and place."""
        rows = check_features(features)
        out = np.empty((self.amplitude.shape[1], len(rows)), np.float32)
        for first, count, block in row_blocks(rows):
            out[:, first : first + count] = (_waves(block, self.frequency) @ self.amplitude).T[:, :count]
            if len(self.measured):
                kernel = self.process.kernel(block, self.measured)
                out[:, first : first + count] += (kernel @ self.correction).T[:, :count]
        return out


def draw_paths(
    process: RbfProcess,
    measured: NDArray[Any],
    target: NDArray[Any],
    count: int,
    rng: np.random.Generator,
    *,
    waves: int = 1024,
) -> Paths:
    """Draw functions from the posterior of a Gaussian process that can be evaluated on any pool.

    Matheron's rule: a function drawn from the prior, as a sum of random Fourier features, and corrected
    by what the measured rows say of it, ``f(x) + k(x, X) (K + noise)^-1 (y - f(X) - e)`` (Wilson et al.,
    ICML 2020, eq. 9; features of Rahimi and Recht, NeurIPS 2007). O(n (d + s) (waves + l)): no n x n.
    The correction is exact, the prior is approximate: its covariance has an error of about
    variance / sqrt(waves / 2).

    Parameters
    ----------
    process
        Kernel and noise.
    measured, target
        (l, d) rows and (l,) values on a scale of mean about 0; l = 0 draws from the prior.
    count
        Functions.
    rng
        Of everything random.
    waves
        Random features, an even number.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0]])
    >>> paths = draw_paths(RbfProcess(1.0, 1.0, 1e-6), x, np.array([2.0, -1.0]), 3, np.random.default_rng(0))
    >>> paths.at(x).round(1).tolist()
    [[2.0, -1.0], [2.0, -1.0], [2.0, -1.0]]
    """
    rows = check_features(measured, "measured features")
    half = max(waves // 2, 1)
    frequency = (rng.standard_normal((rows.shape[1], half)) / process.length).astype(np.float32)
    amplitude = rng.standard_normal((2 * half, count)) * np.sqrt(process.variance / half)
    prior = _waves(rows, frequency).astype(np.float64) @ amplitude
    noise = np.sqrt(process.noise) * rng.standard_normal(prior.shape)
    correction = np.zeros((0, count))
    if len(rows):
        covariance = process.kernel(rows, rows).astype(np.float64) + process.noise * np.eye(len(rows))
        gap = np.asarray(target, np.float64)[:, None] - prior - noise
        correction = cho_solve(cho_factor(covariance, lower=True), gap)
    return Paths(process, frequency, amplitude.astype(np.float32), rows, correction.astype(np.float32))


def _waves(rows: NDArray[np.float32], frequency: NDArray[np.float32]) -> NDArray[np.float32]:
    angle = rows @ frequency
    return np.concatenate([np.cos(angle), np.sin(angle)], axis=1)


DRAW_SCORES: dict[str, Callable[..., NDArray[np.float64]]] = {
    "probability_of_optimality": probability_of_optimality,
    "hit_probability": hit_probability,
}
"""Name -> score of (s, n) joint draws; the second needs the threshold of a hit."""
