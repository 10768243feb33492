"""Rank scores of predicted profiles: whether a prediction tells its condition from the others."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from screenwise.errors import DataError

Floats = NDArray[np.float64]

STORED = 2.0**-22
"""Share of a level below which a change is rounding of the 32-bit numbers that screens hold."""


def discrimination_score_l1(truth: ArrayLike, prediction: ArrayLike, excluded: ArrayLike | None = None) -> Floats:
    """Return 1 - (rank of the own true profile among all true ones, by L1 to the prediction, from 0) / n, (n,).

    cell-eval (Roohani et al., Cell 2025, Virtual Cell Challenge): 1 = nearest; chance is (n + 1) / (2 n). Equal
    distances count half, where cell-eval leaves them to the order of rows.

    Parameters
    ----------
    truth, prediction
        (n, p)
    excluded
        (n, p) features left out of each condition's distances: those of the perturbed genes themselves.

    Examples
    --------
    >>> discrimination_score_l1([[0.0], [2.0]], [[0.5], [0.9]]).tolist()
    [1.0, 0.5]
    """
    y, guess = checked(truth, prediction)
    far = cdist(guess, y, "cityblock")
    if excluded is not None:
        own, feature = np.nonzero(np.asarray(excluded, bool))
        np.subtract.at(far, own, np.abs(guess[own, feature][:, None] - y[:, feature].T))
    return np.asarray(1 - _rank(far) / max(len(y), 1))


def rmse_rank(truth: ArrayLike, prediction: ArrayLike) -> Floats:
    """Return the rank (from 0) of the own prediction among all predictions, by RMSE to the truth, over n, (n,).

    PerturBench: 0 = nearest, chance is about 1/2; a model that says the same of all gets that. Equal
    distances count half, where PerturBench shuffles.

    Examples
    --------
    >>> rmse_rank([[0.0], [2.0]], [[0.5], [0.9]]).tolist()
    [0.0, 0.0]
    >>> rmse_rank([[0.0], [2.0]], [[1.0], [1.0]]).tolist()
    [0.25, 0.25]
    """
    y, guess = checked(truth, prediction)
    return _rank(cdist(y, guess, "sqeuclidean")) / max(len(y), 1)


def cosine_logfc_rank(truth: ArrayLike, prediction: ArrayLike, control: ArrayLike) -> Floats:
    """Return the rank (from 0) of the own prediction among all, by `cosine_logfc` to the truth, over n, (n,).

    PerturBench, as `rmse_rank`; a prediction of no change has cosine 0.

    Examples
    --------
    >>> cosine_logfc_rank([[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [0.0, 2.0]], [0.0, 0.0]).tolist()
    [0.0, 0.0]
    """
    y, guess = (_unit(one) for one in changes(truth, prediction, control))
    similarity = np.round(y @ guess.T, 12)
    return _rank(-similarity) / max(len(y), 1)


def checked(truth: ArrayLike, prediction: ArrayLike) -> tuple[Floats, Floats]:
    """Return true and predicted profiles, (n, p) each, as numbers of one shape."""
    y, guess = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    if y.ndim != 2 or y.shape != guess.shape:  # noqa: PLR2004
        message = f"True profiles are {y.shape}, predicted ones {guess.shape}; both must be (conditions, features)."
        raise DataError(message)
    return y, guess


def changes(truth: ArrayLike, prediction: ArrayLike, reference: ArrayLike) -> tuple[Floats, Floats]:
    """Return y - r and yhat - r, (n, p) each; 0 where a change is only rounding of the level.

    Examples
    --------
    >>> changes([[1.5]], [[np.float32(0.1)]], [0.1])[1].tolist()
    [[0.0]]
    """
    y, guess = checked(truth, prediction)
    level = np.asarray(reference, np.float64)
    found = [np.where(np.abs(one - level) <= STORED * np.abs(level), 0.0, one - level) for one in (y, guess)]
    return found[0], found[1]


def _unit(change: Floats) -> Floats:
    norm = np.sqrt(np.square(change).sum(axis=1, keepdims=True))
    return np.divide(change, norm, out=np.zeros_like(change), where=norm > 0)


def _rank(distance: Floats) -> Floats:
    """Return (n,) how many are nearer than the own one (the diagonal); others at the same distance count half."""
    mine = np.diag(distance)[:, None]
    return np.asarray((distance < mine).sum(axis=1) + ((distance == mine).sum(axis=1) - 1) / 2)
