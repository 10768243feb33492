"""Batches from a joint posterior: every pick is taken as measured before the next one is chosen.

A posterior knows the mean, the variance and, column by column, the covariances of n candidates
(`screenwise.protocols.Posterior`); `LinearPosterior` makes one of any embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from screenwise.design.cover import SAFE, check_features
from screenwise.design.picking import Allowed, best_left, check_size, key_words, open_mask, pick_top
from screenwise.design.products import ordered_gram, row_dots, row_products
from screenwise.errors import ConfigError
from screenwise.protocols import Posterior

TINY = 1e-12
"""Variance that stands in for none."""
CLOSE = 1e-6
"""Share of the scores' range within which they count as equal: what single precision covariances leave."""
TARGETS = 256
"""Candidates whose variances stand for those of a whole pool."""


def pick_batch_ucb(
    posterior: Posterior,
    size: int,
    kappa: float,
    allowed: Allowed = None,
    *,
    keys: NDArray[np.uint64] | None = None,
    first: Sequence[int] = (),
) -> NDArray[np.int64]:
    """Return up to `size` candidates by upper confidence bounds whose spreads shrink pick by pick.

    Each pick is taken as measured at its mean, which changes no mean but lowers the variance of
    what resembles it: ``v -= c^2 / (v_j + noise)`` with c the posterior covariances with pick j
    (GP-BUCB; Desautels, Krause and Burdick, JMLR 15 (2014), section 3.2). Cost O(n size^2) beside
    one column of covariances per pick. Bounds that differ by a millionth of their range count as equal:
    covariances come from matrix products, in which two equal candidates are a hair apart by their places.

    Parameters
    ----------
    posterior
        Mean, latent variance, noise and covariances of n candidates; NaN = never picked.
    size
        Candidates to pick.
    kappa
        Standard deviations added to the mean, >= 0; 0 = greedy.
    allowed
        (n,) mask, or a function from the picks so far to the mask of what may follow.
    keys
        (n,) settle equal scores (`tie_keys`); None = the first in the table wins.
    first
        Candidates that are in, whatever they score; they lower variances too.
    """
    mean = np.asarray(posterior.mean, np.float64)
    variance = np.array(posterior.variance, np.float64)
    keys = np.arange(len(mean), dtype=np.uint64) if keys is None else keys
    if kappa == 0:
        return pick_top(np.where(np.isnan(variance), np.nan, mean), size, keys, allowed=allowed, first=first)
    known = ~(np.isnan(mean) | np.isnan(variance))
    close = CLOSE * _range(mean + kappa * np.sqrt(np.maximum(variance, 0.0)), known)
    removed = np.zeros((size, len(mean)), np.float32)
    picks: list[int] = []
    forced = [int(one) for one in first]
    while len(picks) < size:
        score = mean + kappa * np.sqrt(np.maximum(variance, 0.0))
        mask = known & open_mask(allowed, picks, len(mean))
        pick = forced.pop(0) if forced else best_left(score, keys, mask, close=close)
        if pick is None:
            break
        step = len(picks)
        picks.append(pick)
        if step + 1 == size or not known[pick]:
            continue
        column = np.array(posterior.covariance(pick), np.float32)
        _subtract(removed, step, pick, column)
        removed[step] = column / np.float32(np.sqrt(max(variance[pick], 0.0) + posterior.noise + TINY))
        variance -= removed[step].astype(np.float64) ** 2
    return np.asarray(picks, np.int64)


def _range(score: NDArray[np.float64], known: NDArray[np.bool_]) -> float:
    return float(np.ptp(score[known])) if known.any() else 0.0


@njit(cache=True)
def _subtract(removed: Any, step: int, pick: int, column: Any) -> None:
    """Take what earlier picks explain from a column: element by element, equal for equal candidates."""
    for earlier in range(step):
        share = removed[earlier, pick]
        for row in range(column.shape[0]):
            column[row] -= share * removed[earlier, row]


@dataclass
class _Level:
    """A posterior without its means."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    noise: float
    inner: Posterior

    def covariance(self, candidate: int) -> NDArray[np.float64]:
        return self.inner.covariance(candidate)


def pick_maxdet(
    posterior: Posterior,
    size: int,
    keys: NDArray[np.uint64],
    *,
    allowed: Allowed = None,
    first: Sequence[int] = (),
) -> NDArray[np.int64]:
    """Return up to `size` candidates of large joint variance: each the most uncertain after those before it.

    The greedy maximum of ``log det(C_batch + noise)``, which is what the batch's values say about the
    function (Krause, Singh and Guestrin, JMLR 9 (2008), algorithm 1; maxdet of Holzmueller et al., JMLR 24
    (2023) 164, section 4.2). Within 1 - 1/e of the best batch. O(n size^2) beside a column of covariances
    per pick. Means do not count.

    Parameters
    ----------
    posterior
        Of n candidates; NaN = never picked.
    size, keys, allowed, first
        As in `screenwise.design.picking.pick_top`.

    Examples
    --------
    >>> posterior = LinearPosterior.of(np.array([[3.0, 0.0], [2.9, 0.0], [0.0, 1.0]]), noise=0.1)
    >>> pick_maxdet(posterior, 2, np.arange(3, dtype=np.uint64)).tolist()
    [0, 2]
    """
    variance = np.asarray(posterior.variance, np.float64)
    level = _Level(np.where(np.isnan(posterior.mean), np.nan, 0.0), variance, posterior.noise, posterior)
    return pick_batch_ucb(level, size, 1.0, allowed, keys=keys, first=first)


@dataclass
class LinearPosterior:
    """The posterior of a linear function of an embedding: a Bayesian last layer.

    Weights have the prior N(0, prior I) and measured rows a Gaussian noise; means are 0, since values
    do not count for variances.
    """

    mean: NDArray[np.float64]
    """(n,) zeros."""
    variance: NDArray[np.float64]
    """(n,)"""
    noise: float
    whitened: NDArray[np.float32]
    """(n, d) rows whose inner products are covariances."""

    @classmethod
    def of(
        cls, features: NDArray[Any], *, measured: NDArray[Any] | None = None, noise: float = 1.0, prior: float = 1.0
    ) -> "LinearPosterior":
        """Return the posterior over (n, d) candidates after (l, d) measured rows.

        Examples
        --------
        >>> posterior = LinearPosterior.of(np.eye(2), measured=np.array([[1.0, 0.0]]), noise=1.0)
        >>> posterior.variance.round(6).tolist(), posterior.covariance(0).round(6).tolist()
        ([0.5, 1.0], [0.5, 0.0])
        """
        if not (noise > 0 and prior > 0):
            message = f"noise is {noise} and prior is {prior}; both must be above 0."
            raise ConfigError(message)
        rows = check_features(features)
        precision = np.eye(rows.shape[1]) / prior
        if measured is not None and len(measured):
            known = check_features(measured, "measured features").astype(np.float64)
            precision += known.T @ known / noise
        root = np.linalg.inv(np.linalg.cholesky(precision)).T  # root root' = precision^-1
        whitened = row_products(rows, root)
        variance = _square_lengths(whitened)
        return cls(np.zeros(len(rows)), variance, float(noise), whitened)

    def covariance(self, candidate: int) -> NDArray[np.float64]:
        """Return (n,) posterior covariances of all candidates with one."""
        return np.asarray(row_dots(self.whitened, self.whitened[candidate].astype(np.float64)))


@njit(cache=True, fastmath=SAFE)
def _square_lengths(features: Any) -> Any:
    out = np.zeros(features.shape[0])
    for row in range(features.shape[0]):
        total = 0.0
        for column in range(features.shape[1]):
            total += np.float64(features[row, column]) ** 2
        out[row] = total
    return out


def pick_variance_reduction(
    posterior: Posterior,
    size: int,
    keys: NDArray[np.uint64],
    *,
    targets: Sequence[int] | NDArray[np.int64] | None = None,
    allowed: Allowed = None,
    first: Sequence[int] = (),
) -> NDArray[np.int64]:
    """Return up to `size` candidates that lower the variance elsewhere most, one after the other.

    The gain of candidate i is the sum over targets t of ``c_ti^2 / (v_i + noise)``: the fall of their
    variances when i is measured (active learning Cohn, NeurIPS 1993; the negative integrated posterior
    variance). Unlike maxdet it does not run to the edges of a pool. O(n (targets + size)) a pick and n x targets
    numbers of memory. For embeddings, `bait` takes the whole pool as targets at less cost.

    Parameters
    ----------
    posterior
        Of n candidates; NaN = never picked.
    size, keys, allowed, first
        As in `screenwise.design.picking.pick_top`.
    targets
        Candidates whose variances count; None: 256 at random, by the keys.

    Examples
    --------
    >>> posterior = LinearPosterior.of(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.1]]), noise=0.1)
    >>> pick_variance_reduction(posterior, 2, np.arange(3, dtype=np.uint64)).tolist()
    [0, 2]
    """
    variance = np.array(posterior.variance, np.float64)
    check_size(len(variance), keys=len(keys))
    known = ~(np.isnan(variance) | np.isnan(np.asarray(posterior.mean)))
    if targets is None:
        targets = pick_top(np.where(known, 0.0, -np.inf), TARGETS, key_words(keys, 0))
    cross = np.empty((len(variance), len(targets)), np.float32)
    for place, target in enumerate(targets):
        cross[:, place] = posterior.covariance(int(target))
    removed = np.zeros((size, len(variance)))
    close: float | None = None
    picks: list[int] = []
    forced = [int(one) for one in first][:size]
    while len(picks) < size:
        score = _square_lengths(cross) / (np.maximum(variance, 0.0) + posterior.noise + TINY)
        close = CLOSE * _range(score, known) if close is None else close
        mask = known & open_mask(allowed, picks, len(variance))
        pick = forced.pop(0) if forced else best_left(score, keys, mask, close=close)
        if pick is None:
            break
        step = len(picks)
        picks.append(pick)
        if not known[pick]:
            continue
        column = np.array(posterior.covariance(pick), np.float64)
        _subtract(removed, step, pick, column)
        scale = np.sqrt(max(variance[pick], 0.0) + posterior.noise + TINY)
        removed[step] = column / scale
        variance -= removed[step] ** 2
        _lower(cross, removed[step], (cross[pick] / scale).astype(np.float32))
    return np.asarray(picks, np.int64)


@njit(cache=True)
def _lower(cross: Any, column: Any, line: Any) -> None:
    for row in range(cross.shape[0]):
        weight = np.float32(column[row])
        for place in range(cross.shape[1]):
            cross[row, place] -= weight * line[place]


def bait(
    posterior: LinearPosterior,
    size: int,
    keys: NDArray[np.uint64],
    *,
    allowed: Allowed = None,
    first: Sequence[int] = (),
) -> NDArray[np.int64]:
    """Return up to `size` candidates that lower the variance of the whole pool most (Fisher information).

    With whitened rows z, S their posterior covariance after the picks so far and H the pool's sum of z z',
    the gain of a candidate is ``z' S H S z / (z' S z + noise)``: the trace that BAIT lowers, for a linear
    last layer (Ash et al., NeurIPS 2021, eq. 3 and the forward half of algorithm 1; no backward pass).
    Two inner products a row and pick: O(n d size), and d x d sums; no n x n, no fantasies.

    Parameters
    ----------
    posterior
        Of an embedding: `LinearPosterior.of`.
    size, keys, allowed, first
        As in `screenwise.design.picking.pick_top`.

    Examples
    --------
    >>> posterior = LinearPosterior.of(np.array([[1.0, 0.0], [1.0, 0.1], [1.0, -0.1], [0.0, 2.0]]), noise=0.5)
    >>> bait(posterior, 2, np.arange(4, dtype=np.uint64)).tolist()
    [3, 0]
    """
    rows = posterior.whitened
    check_size(len(rows), keys=len(keys))
    information = ordered_gram(rows, np.argsort(keys, kind="stable"))
    width = rows.shape[1]
    covariance = np.eye(width)
    value, vector = np.linalg.eigh(information)
    gain = _square_lengths(row_products(rows, vector * np.sqrt(np.maximum(value, 0.0))))
    variance = posterior.variance.copy()
    picks: list[int] = []
    forced = [int(one) for one in first][:size]
    while len(picks) < size:
        score = np.maximum(gain, 0.0) / (np.maximum(variance, 0.0) + posterior.noise)
        pick = forced.pop(0) if forced else best_left(score, keys, open_mask(allowed, picks, len(rows)))
        if pick is None:
            break
        picks.append(pick)
        a = covariance @ rows[pick].astype(np.float64)
        b = covariance @ (information @ a)
        scale = float(a @ rows[pick]) + posterior.noise
        _learn(rows, np.stack([a, b]), scale, float(a @ information @ a), variance, gain)
        covariance -= np.outer(a, a) / scale
    return np.asarray(picks, np.int64)


@njit(cache=True, fastmath=SAFE)
def _learn(rows: Any, both: Any, scale: float, trace: float, variance: Any, gain: Any) -> None:
    for row in range(rows.shape[0]):
        left, right = 0.0, 0.0
        for column in range(rows.shape[1]):
            left += rows[row, column] * both[0, column]
            right += rows[row, column] * both[1, column]
        variance[row] -= left * left / scale
        gain[row] += left * left * trace / (scale * scale) - 2.0 * left * right / scale
