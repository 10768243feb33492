"""Scores of candidates, and the picking of a round from them.

Higher = sooner, everywhere: a task to be minimised is turned round before it comes here. A score
depends on what is predicted of its own candidate only, so that the order of a pool and its cutting
into chunks change nothing. Equal scores are settled by keys that belong to conditions (`tie_keys`),
never by a candidate's place in the table. A candidate without a prediction (NaN) scores minus
infinity and is never picked.
"""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr, ndtr, ndtri

from screenwise.design.batch import pick_batch_ucb
from screenwise.design.picking import Allowed, pick_top, tie_keys, uniform
from screenwise.design.sampling import draw_functions, pick_thompson
from screenwise.errors import DataError
from screenwise.prediction import Prediction
from screenwise.protocols import Acquisition
from screenwise.rng import GOLDEN, scramble

__all__ = [
    "ACQUISITIONS",
    "OVER_INCUMBENT",
    "Allowed",
    "draw_functions",
    "expected_improvement",
    "greedy",
    "log_expected_improvement",
    "pick_batch_ucb",
    "pick_thompson",
    "pick_top",
    "probability_of_hit",
    "probability_of_improvement",
    "random",
    "standard_deviation",
    "thompson",
    "tie_keys",
    "ucb",
]

TINY = 1e-12
"""Spread, as a share of the spread of all means, that stands in for none."""
ASYMPTOTIC = -50.0
"""Below this many standard deviations expected improvement is its leading term, to four digits."""
LOG_ROOT_2PI = 0.5 * np.log(2 * np.pi)


def random(prediction: Prediction, *, best: float = 0.0, rng: np.random.Generator | None = None) -> NDArray[np.float64]:
    """Score all candidates alike: the keys that settle ties choose, at random and free of any order."""
    return _kept(prediction, np.zeros(len(prediction.mean)))


def greedy(prediction: Prediction, *, best: float = 0.0, rng: np.random.Generator | None = None) -> NDArray[np.float64]:
    """Score by the mean, (n,)."""
    return _kept(prediction, _mean(prediction))


def standard_deviation(
    prediction: Prediction, *, best: float = 0.0, rng: np.random.Generator | None = None
) -> NDArray[np.float64]:
    """Score by the spread, (n,): where the model knows least. Means do not count.

    Uncertainty sampling of a regression (variance reduction of PyRelationAL); with one noise for all it
    orders candidates as `screenwise.design.information.bald_regression` does.

    Examples
    --------
    >>> one = Prediction(np.zeros((2, 1), np.float32), np.array([[1.0], [2.0]], np.float32))
    >>> standard_deviation(one).tolist()
    [1.0, 2.0]
    """
    return _kept(prediction, _std(prediction, "standard_deviation"))


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


def probability_of_improvement(
    prediction: Prediction, *, best: float, rng: np.random.Generator | None = None
) -> NDArray[np.float64]:
    """Score by the probability of lying above the best value measured so far, (n,): ``Phi((mean - best) / std)``.

    Kushner, J. Basic Engineering 86 (1964). The formula of `probability_of_hit`, with the incumbent in place
    of a threshold; the logarithm is returned, which orders candidates alike and does not fade to equal zeros.

    Examples
    --------
    >>> one = Prediction(np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32))
    >>> probability_of_improvement(one, best=0.0).round(4).tolist()
    [-0.6931]
    """
    z = (_mean(prediction) - best) / _spread(prediction, "pi")
    return _kept(prediction, log_ndtr(z))


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
    return _kept(prediction, _mean(prediction) + std * ndtri(uniform(scramble(words * GOLDEN))))


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


ACQUISITIONS: dict[str, Acquisition] = {
    "random": random,
    "greedy": greedy,
    "standard_deviation": standard_deviation,
    "ucb": partial(ucb, kappa=1.0),
    "ei": expected_improvement,
    "log_ei": log_expected_improvement,
    "pi": probability_of_improvement,
    "thompson": thompson,
    "probability_of_hit": probability_of_hit,
}
"""Name -> score of a `Prediction`; read by the command line and the contract tests.
`screenwise.design.choose.BATCHES` has these and all that ask for more than a prediction."""

OVER_INCUMBENT = ("ei", "log_ei", "pi")
"""Acquisitions whose `best` is the best value measured; that of the others is what counts as a hit."""
