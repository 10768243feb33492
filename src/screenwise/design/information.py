"""Scores of what a measurement would teach: doubt about classes, and disagreement of a posterior's members.

All scores are (n,), higher = sooner, and need no normalisation over a pool, so that its order and its
cutting into chunks change nothing. A candidate whose prediction is missing (NaN) scores minus infinity.
Logarithms are natural unless a score is said to lie in 0 to 1.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from screenwise.design.picking import check_size, key_words, uniform
from screenwise.errors import ConfigError, DataError

SUM_SLACK = 1e-3
"""How far the probabilities of a candidate may be from a sum of 1."""
WITH_DRAWS = 3
"""Axes of class probabilities under each member of a posterior."""


def two_classes(probability: NDArray[Any]) -> NDArray[Any]:
    """Return (..., n, 2) probabilities of both classes, given (..., n) those of the positive one.

    Examples
    --------
    >>> two_classes(np.array([0.25])).tolist()
    [[0.75, 0.25]]
    """
    return np.stack([1.0 - probability, probability], axis=-1)


def check_probability(probability: NDArray[Any]) -> NDArray[Any]:
    """Return class probabilities, or raise where they are none.

    Parameters
    ----------
    probability
        (n, c) or (s, n, c) with c >= 2; each candidate's sum to 1, or are all NaN.

    Examples
    --------
    >>> check_probability(np.array([[2.0, -1.0]]))
    Traceback (most recent call last):
    ...
    screenwise.errors.DataError: Candidate 0 has class probabilities [2.0, -1.0]; they must be 0 to 1 and sum to 1.
    """
    array = np.asarray(probability)
    array = np.ascontiguousarray(array, array.dtype if array.dtype == np.float32 else np.float64)
    if array.ndim not in (2, WITH_DRAWS) or array.shape[-1] < 2:  # noqa: PLR2004
        message = f"Class probabilities have shape {array.shape}; give (n, c) or (s, n, c) with at least 2 classes."
        raise DataError(message)
    flat = array.reshape(-1, array.shape[-1])
    bad = int(_first_wrong(flat, SUM_SLACK))
    if bad >= 0:
        row = bad % array.shape[-2]
        message = f"Candidate {row} has class probabilities {flat[bad].tolist()}; they must be 0 to 1 and sum to 1."
        raise DataError(message)
    return array


@njit(cache=True)
def _first_wrong(probability: Any, slack: float) -> int:
    for row in range(probability.shape[0]):
        total, low = 0.0, 0.0
        for one in range(probability.shape[1]):
            total += probability[row, one]
            low = min(low, probability[row, one])
        if not np.isnan(total) and (abs(total - 1.0) > slack or low < -slack):
            return row
    return -1


def least_confidence(probability: NDArray[Any]) -> NDArray[np.float64]:
    """Score by the doubt about the likeliest class, 0 to 1: ``(1 - max p) c / (c - 1)``.

    Lewis and Gale, SIGIR 1994; Settles, Active learning literature survey (2009), section 3.1.

    Parameters
    ----------
    probability
        (n, c) of c classes; sums of 1.

    Examples
    --------
    >>> least_confidence(np.array([[0.5, 0.5], [1.0, 0.0]])).tolist()
    [1.0, 0.0]
    """
    array = check_probability(probability).astype(np.float64)
    classes = array.shape[1]
    return _known(array, (1.0 - array.max(axis=1)) * classes / (classes - 1))


def margin(probability: NDArray[Any]) -> NDArray[np.float64]:
    """Score by the lead that the likeliest class lacks, 0 to 1: ``1 - (p_1 - p_2)``, the two largest p.

    Scheffer, Decomain and Wrobel, IDA 2001.

    Parameters
    ----------
    probability
        (n, c)

    Examples
    --------
    >>> margin(np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])).tolist()
    [0.75, 0.0]
    """
    first, second = _two_largest(probability)
    return _known(np.asarray(probability), 1.0 - (first - second))


def ratio(probability: NDArray[Any]) -> NDArray[np.float64]:
    """Score by the second likeliest class over the likeliest, 0 to 1: ``p_2 / p_1``.

    Settles (2009), section 3.1; the same order as `margin` for two classes.

    Parameters
    ----------
    probability
        (n, c)

    Examples
    --------
    >>> ratio(np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])).tolist()
    [0.5, 0.0]
    """
    first, second = _two_largest(probability)
    return _known(np.asarray(probability), second / first)


def _two_largest(probability: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    array = check_probability(probability).astype(np.float64)
    largest = np.partition(array, array.shape[1] - 2, axis=1)
    return largest[:, -1], largest[:, -2]


def entropy(probability: NDArray[Any]) -> NDArray[np.float64]:
    """Score by the entropy of the classes, 0 to 1: ``-sum p log p / log c``, with 0 log 0 = 0.

    Shannon (1948); Settles (2009), eq. 3.

    Parameters
    ----------
    probability
        (n, c)

    Examples
    --------
    >>> entropy(np.array([[0.5, 0.5], [1.0, 0.0]])).tolist()
    [1.0, 0.0]
    """
    array = check_probability(probability)
    return _known(array, _entropy(array) / np.log(array.shape[1]))


@njit(cache=True)
def _entropy(probability: Any) -> Any:
    out = np.zeros(probability.shape[0])
    for row in range(probability.shape[0]):
        for one in range(probability.shape[1]):
            share = np.float64(probability[row, one])
            if share > 0.0:
                out[row] -= share * np.log(share)
    return out


def bald(draws: NDArray[Any]) -> NDArray[np.float64]:
    """Score by the information that a class holds about the model, in nats: ``H(mean_s p) - mean_s H(p)``.

    Houlsby, Huszar, Ghahramani and Lengyel (2011), eq. 2. Doubt that all members share (a coin) teaches
    nothing and scores 0; members that are sure and disagree score up to log c.

    Parameters
    ----------
    draws
        (s, n, c) class probabilities under each of s members of the posterior.

    Examples
    --------
    >>> coin, quarrel = [0.5, 0.5], ([1.0, 0.0], [0.0, 1.0])
    >>> bald(np.array([[coin, quarrel[0]], [coin, quarrel[1]]])).round(4).tolist()
    [0.0, 0.6931]
    """
    array = _with_draws(draws)
    mean, expected = _mean_and_entropy(array)
    missing = np.isnan(mean).any(axis=1)
    return np.where(missing, -np.inf, np.maximum(_entropy(mean) - expected, 0.0))


def _with_draws(draws: NDArray[Any]) -> NDArray[Any]:
    array = check_probability(draws)
    if array.ndim != WITH_DRAWS or not len(array):
        message = f"Class probabilities have shape {array.shape}; give (members, candidates, classes)."
        raise DataError(message)
    return array


@njit(cache=True)
def _mean_and_entropy(draws: Any) -> Any:
    """Return the (n, c) mean probabilities and the (n,) mean entropies over members."""
    members, size, classes = draws.shape
    mean, expected = np.zeros((size, classes)), np.zeros(size)
    for member in range(members):
        for row in range(size):
            for one in range(classes):
                share = np.float64(draws[member, row, one])
                mean[row, one] += share
                if share > 0.0:
                    expected[row] -= share * np.log(share)
    return mean / members, expected / members


def bald_regression(variance: NDArray[Any], noise: float | NDArray[Any]) -> NDArray[np.float64]:
    """Score by the information that a value holds about a Gaussian function, in nats: ``0.5 log(1 + v / noise)``.

    Houlsby et al. (2011), section 3, for a Gaussian likelihood. With one noise it orders candidates as
    their variances do; with a noise of each candidate it turns away from noisy ones.

    Parameters
    ----------
    variance
        (n,) of the latent function, without noise.
    noise
        Variance of one measurement, > 0; one number or (n,).

    Examples
    --------
    >>> bald_regression(np.array([0.0, 3.0]), 1.0).round(4).tolist()
    [0.0, 0.6931]
    """
    level = np.asarray(noise, np.float64)
    if not (level > 0).all():
        message = f"The noise has a variance of {level.min():g}; it must be above 0."
        raise DataError(message)
    value = np.asarray(variance, np.float64)
    return np.where(np.isnan(value), -np.inf, 0.5 * np.log1p(np.maximum(np.nan_to_num(value), 0.0) / level))


def stochastic_score(
    score: NDArray[Any],
    keys: NDArray[np.uint64],
    kind: Literal["power", "soft", "rank"] = "power",
    *,
    coldness: float = 1.0,
) -> NDArray[np.float64]:
    """Disturb scores so that their best b are a draw without replacement: cheap batches that are not alike.

    The best b of ``log s + G / coldness`` (power), ``s + G / coldness`` (soft) or ``-log rank + G / coldness``
    (rank), with G standard Gumbel, are drawn with probabilities ``s^coldness``, ``exp(coldness s)`` and
    ``rank^-coldness`` (Kirsch et al., TMLR 2023, table 1). With `bald` scores they are PowerBALD and
    SoftBALD. A score of 0 or below has no chance under power.

    Parameters
    ----------
    score
        (n,)
    keys
        (n,) are the random numbers: other keys, another draw (`screenwise.design.picking.tie_keys`).
    kind
        power, soft or rank.
    coldness
        > 0; towards 0 all candidates are alike, towards infinity the highest scores win.

    Examples
    --------
    >>> stochastic_score(np.array([1.0, 0.0]), np.arange(2, dtype=np.uint64)).tolist()[1]
    -inf
    """
    if not coldness > 0:
        message = f"coldness is {coldness}; it must be above 0."
        raise ConfigError(message)
    value = np.asarray(score, np.float64)
    check_size(len(value), keys=len(keys))
    gumbel = -np.log(-np.log(uniform(key_words(keys, 0))))
    value = np.where(np.isnan(value), -np.inf, value)
    if kind == "power":
        base = np.log(np.maximum(value, 0.0), out=np.full(len(value), -np.inf), where=value > 0)
    elif kind == "soft":
        base = value
    elif kind == "rank":
        # equal scores share the rank of the first of them
        base = -np.log(1.0 + np.searchsorted(np.sort(-value), -value))
        base = np.where(value == -np.inf, -np.inf, base)
    else:
        message = f"There is no kind {kind!r}; they are power, soft, rank."
        raise ConfigError(message)
    return base + gumbel / coldness


def _known(array: NDArray[Any], score: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isnan(array).any(axis=1), -np.inf, score)


PROBABILITY_SCORES: dict[str, Callable[[NDArray[Any]], NDArray[np.float64]]] = {
    "least_confidence": least_confidence,
    "margin": margin,
    "ratio": ratio,
    "entropy": entropy,
}
"""Name -> score of (n, c) class probabilities."""
