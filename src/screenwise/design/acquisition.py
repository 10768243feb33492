"""Scores of candidates, and the picking of a round from them.

Higher = sooner, everywhere: a task to be minimised is turned round before it comes here. A score
depends on what is predicted of its own candidate only, so that the order of a pool and its cutting
into chunks change nothing. Equal scores are settled by keys that belong to conditions (`tie_keys`),
never by a candidate's place in the table. A candidate without a prediction (NaN) scores minus
infinity and is never picked.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf
from scipy.special import erfcx, log_ndtr, ndtr, ndtri

from screenwise.errors import DataError
from screenwise.prediction import Prediction
from screenwise.protocols import Acquisition, Posterior
from screenwise.rng import GOLDEN, scramble

TINY = 1e-12
"""Spread, as a share of the spread of all means, that stands in for none."""
ASYMPTOTIC = -50.0
"""Below this many standard deviations expected improvement is its leading term, to four digits."""
LOG_ROOT_2PI = 0.5 * np.log(2 * np.pi)

Allowed = NDArray[np.bool_] | Callable[[Sequence[int]], NDArray[np.bool_]] | None
"""What may be picked: (n,) a mask, or a function from the picks so far to the mask of what may follow."""


def random(prediction: Prediction, *, best: float = 0.0, rng: np.random.Generator | None = None) -> NDArray[np.float64]:
    """Score all candidates alike: the keys that settle ties choose, at random and free of any order."""
    return _kept(prediction, np.zeros(len(prediction.mean)))


def greedy(prediction: Prediction, *, best: float = 0.0, rng: np.random.Generator | None = None) -> NDArray[np.float64]:
    """Score by the mean, (n,)."""
    return _kept(prediction, _mean(prediction))


def ucb(
    prediction: Prediction, *, best: float = 0.0, rng: np.random.Generator | None = None, kappa: float = 1.0
) -> NDArray[np.float64]:
    """Score by the upper confidence bound ``mean + kappa std``, (n,).

    Examples
    --------
    >>> one = Prediction(np.array([[1.0], [0.0]], np.float32), np.array([[0.0], [2.0]], np.float32))
    >>> ucb(one, kappa=1.0).tolist()
    [1.0, 2.0]
    """
    return _kept(prediction, _mean(prediction) + kappa * _std(prediction, "ucb"))


def expected_improvement(
    prediction: Prediction, *, best: float, rng: np.random.Generator | None = None
) -> NDArray[np.float64]:
    """Score by the expected improvement over `best`, (n,): ``E max(f - best, 0)``.

    Closed form of Jones, Schonlau and Welch, J. Global Optimization 13 (1998), eq. 15.

    Examples
    --------
    >>> one = Prediction(np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32))
    >>> [round(float(expected_improvement(one, best=best)[0]), 4) for best in (-1.0, 0.0, 3.0)]
    [1.0833, 0.3989, 0.0004]
    """
    return _kept(prediction, np.exp(log_expected_improvement(prediction, best=best)))


def log_expected_improvement(
    prediction: Prediction, *, best: float, rng: np.random.Generator | None = None
) -> NDArray[np.float64]:
    """Score by the logarithm of the expected improvement, (n,), which does not fade to equal zeros.

    Far below `best` the expected improvement underflows and all candidates look alike; its
    logarithm keeps their order (Ament et al., NeurIPS 2023, eq. 8).

    Examples
    --------
    >>> far = Prediction(np.array([[-100.0], [-99.0]], np.float32), np.ones((2, 1), np.float32))
    >>> log_expected_improvement(far, best=0.0).round(1).tolist()
    [-5010.1, -4910.6]
    """
    mean, std = _mean(prediction), _spread(prediction, "ei")
    z = (mean - best) / std
    out = np.empty_like(z)
    near, far = z > ASYMPTOTIC, z <= ASYMPTOTIC
    low = near & (z < -1.0)
    high = ~(low | far)
    out[high] = np.log(np.exp(-0.5 * z[high] ** 2 - LOG_ROOT_2PI) + z[high] * ndtr(z[high]))
    # phi(z) + z Phi(z) = phi(z) (1 - |z| sqrt(pi/2) erfcx(|z|/sqrt 2)): no difference of tiny numbers
    ratio = -z[low] * np.sqrt(np.pi / 2) * erfcx(-z[low] / np.sqrt(2.0))
    out[low] = -0.5 * z[low] ** 2 - LOG_ROOT_2PI + np.log1p(-ratio)
    out[far] = -0.5 * z[far] ** 2 - LOG_ROOT_2PI - 2.0 * np.log(-z[far])
    return _kept(prediction, out + np.log(std))


def probability_of_hit(
    prediction: Prediction, *, best: float, rng: np.random.Generator | None = None
) -> NDArray[np.float64]:
    """Score by the probability of lying above `best`, (n,); `best` is what counts as a hit.

    Examples
    --------
    >>> one = Prediction(np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32))
    >>> probability_of_hit(one, best=0.0).tolist()
    [0.5]
    """
    z = (_mean(prediction) - best) / _spread(prediction, "probability_of_hit")
    return _kept(prediction, np.exp(log_ndtr(z)))


def thompson(prediction: Prediction, *, best: float = 0.0, rng: np.random.Generator) -> NDArray[np.float64]:
    """Score so that the best b are what b functions drawn from the model would each pick.

    With joint draws, (s, n, 1), a candidate's score is minus its best rank over the draws, and draws
    come in random order: the first s picks are the favourites of s functions. Without draws, mean
    plus a random multiple of the spread; the multiple is the same for equal spreads, which keeps
    scores free of order and monotone in the mean.
    """
    if prediction.draws is not None:
        return _kept(prediction, _best_rank(prediction.draws[:, :, 0], rng))
    std = _std(prediction, "thompson")
    # pandas' keys count for text only: the salt is added and scrambled here
    words = std.astype(np.float32).view(np.uint32) + rng.integers(2**64, dtype=np.uint64)
    return _kept(prediction, _mean(prediction) + std * ndtri(_uniform(scramble(words * GOLDEN))))


def _best_rank(draws: NDArray[Any], rng: np.random.Generator) -> NDArray[np.float64]:
    count = len(draws)
    best = np.full(draws.shape[1], np.inf)
    for place, draw in enumerate(rng.permutation(count)):
        values = np.where(np.isnan(draws[draw]), -np.inf, draws[draw]).astype(np.float64)
        # equal values share a rank
        _, inverse = np.unique(-values, return_inverse=True)
        best = np.minimum(best, inverse + place / count)
    return -best


def _missing(prediction: Prediction) -> NDArray[np.bool_]:
    missing = np.isnan(prediction.mean[:, 0])
    return missing if prediction.std is None else missing | np.isnan(prediction.std[:, 0])


def _kept(prediction: Prediction, score: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(_missing(prediction), -np.inf, score)


def _mean(prediction: Prediction) -> NDArray[np.float64]:
    if prediction.mean.shape[1] != 1:
        message = f"An acquisition scores one task; got a prediction of {prediction.mean.shape[1]}. Take one column."
        raise DataError(message)
    return np.nan_to_num(prediction.mean[:, 0].astype(np.float64))


def _std(prediction: Prediction, name: str) -> NDArray[np.float64]:
    if prediction.std is None:
        message = f"The acquisition {name} needs predictions with a spread; this model gives none. Use greedy."
        raise DataError(message)
    return np.nan_to_num(prediction.std[:, 0].astype(np.float64))


def _spread(prediction: Prediction, name: str) -> NDArray[np.float64]:
    """Return a std above zero, so that z scores are finite."""
    std, mean = _std(prediction, name), _mean(prediction)
    floor = TINY * max(float(np.ptp(mean)) if len(mean) else 0.0, float(np.abs(mean).max(initial=0.0)), TINY)
    return np.maximum(std, floor)


def tie_keys(candidates: NDArray[Any] | Sequence[str], rng: np.random.Generator) -> NDArray[np.uint64]:
    """Return (n,) random keys that belong to condition ids, whatever their order.

    Examples
    --------
    >>> there = tie_keys(["a", "b", "c"], np.random.default_rng(0))
    >>> back = tie_keys(["c", "b", "a"], np.random.default_rng(0))
    >>> bool((there == back[::-1]).all())
    True
    """
    ids = np.asarray(candidates, dtype=object)
    salt = f"{int(rng.integers(2**63)):016x}"
    return np.asarray(pd.util.hash_array(ids, hash_key=salt, categorize=False), np.uint64)


def _uniform(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Turn hashes into numbers inside (0, 1)."""
    return ((words >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


def pick_top(
    score: NDArray[np.float64],
    size: int,
    keys: NDArray[np.uint64],
    *,
    allowed: Allowed = None,
    first: Sequence[int] = (),
) -> NDArray[np.int64]:
    """Return up to `size` candidates of the highest scores, best first.

    Parameters
    ----------
    score
        (n,) NaN and minus infinity are never picked.
    size
        Candidates to pick; fewer come back when no more are allowed.
    keys
        (n,) settle equal scores (`tie_keys`).
    allowed
        (n,) mask, or a function from the picks so far to the mask of what may follow.
    first
        Candidates that are in, whatever they score.

    Examples
    --------
    >>> keys = tie_keys(["a", "b", "c"], np.random.default_rng(0))
    >>> pick_top(np.array([0.1, np.nan, 0.3]), 3, keys).tolist()
    [2, 0]
    """
    order = np.lexsort((keys, -np.where(np.isnan(score), -np.inf, score)))
    order = order[score[order] > -np.inf]
    if not callable(allowed):
        left = np.ones(len(score), bool) if allowed is None else allowed.copy()
        left[list(first)] = False
        return np.concatenate([np.asarray(first, np.int64), order[left[order]]])[:size]
    picks = [int(one) for one in first][:size]
    while len(picks) < size:
        left = allowed(picks)
        left[picks] = False
        open_places = np.flatnonzero(left[order])
        if len(open_places) == 0:
            break
        picks.append(int(order[open_places[0]]))
    return np.asarray(picks, np.int64)


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
    one column of covariances per pick.

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
    removed = np.zeros((size, len(mean)), np.float32)
    picks: list[int] = []
    forced = [int(one) for one in first]
    while len(picks) < size:
        score = mean + kappa * np.sqrt(np.maximum(variance, 0.0))
        pick = forced.pop(0) if forced else _best(score, keys, known & _open(allowed, picks, len(mean)))
        if pick is None:
            break
        step = len(picks)
        picks.append(pick)
        if step + 1 == size or not known[pick]:
            continue
        column = np.asarray(posterior.covariance(pick), np.float32)
        column = column - removed[:step, pick] @ removed[:step]
        removed[step] = column / np.float32(np.sqrt(max(variance[pick], 0.0) + posterior.noise + TINY))
        variance -= removed[step].astype(np.float64) ** 2
    return np.asarray(picks, np.int64)


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
        As in `pick_top`.

    Examples
    --------
    >>> draws = np.array([[3.0, 2.0, 1.0], [3.0, 1.0, 2.0]])
    >>> pick_thompson(draws, 2, np.arange(3, dtype=np.uint64)).tolist()
    [0, 2]
    """
    known = ~np.isnan(draws).any(axis=0)
    picks = [int(one) for one in first][:size]
    while len(picks) < size:
        mask = known & _open(allowed, picks, draws.shape[1])
        pick = _best(draws[len(picks) % len(draws)], keys, mask)
        if pick is None:
            break
        picks.append(pick)
    return np.asarray(picks, np.int64)


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


def _open(allowed: Allowed, picks: Sequence[int], size: int) -> NDArray[np.bool_]:
    if callable(allowed):
        mask = np.array(allowed(picks), bool)
    else:
        mask = np.ones(size, bool) if allowed is None else allowed.copy()
    mask[list(picks)] = False
    return mask


def _best(score: NDArray[Any], keys: NDArray[np.uint64], mask: NDArray[np.bool_]) -> int | None:
    masked = np.where(mask, score, -np.inf)
    top = masked.max(initial=-np.inf)
    if top == -np.inf:
        return None
    level = np.flatnonzero(masked == top)
    return int(level[np.argmin(keys[level])])


ACQUISITIONS: dict[str, Acquisition] = {
    "random": random,
    "greedy": greedy,
    "ucb": partial(ucb, kappa=1.0),
    "ei": expected_improvement,
    "thompson": thompson,
    "probability_of_hit": probability_of_hit,
}
"""Name -> score; read by the command line and the contract tests."""
