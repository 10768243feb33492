"""Scores of predicted cells, and of calls of interactions: distances of distributions, TPR against FDP."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from screenwise.errors import DataError

Floats = NDArray[np.float64]

CHUNK = 4_000_000
"""Most numbers of a block of distances."""
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Of the kernel of `mmd`, in units of the median squared distance of the true cells."""


def edistance(truth: ArrayLike, prediction: ArrayLike, *, squared: bool = True) -> float:
    """Return the energy distance 2 E d(x, y) - E d(x, x') - E d(y, y') of two sets of cells.

    With `squared` d is the squared Euclidean distance, as in scPerturb (Peidli et al., Nature Methods 2024),
    where it is twice the squared distance of the means; else the Euclidean one, as in Szekely and Rizzo 2013,
    which also sees spread and shape. Averages go over all pairs, each cell with itself included.

    Parameters
    ----------
    truth, prediction
        (n, p) and (m, p) cells.

    Examples
    --------
    >>> edistance([[0.0], [2.0]], [[4.0], [6.0]])
    32.0
    >>> edistance([[0.0], [2.0]], [[4.0], [6.0]], squared=False)
    6.0
    """
    x, y = _cells(truth, prediction)
    if squared:
        return 2 * float(np.square(x.mean(axis=0) - y.mean(axis=0)).sum())

    def mean(a: Floats, b: Floats) -> float:
        return sum(float(np.sqrt(block).sum()) for block in _blocks(a, b)) / (len(a) * len(b))

    return 2 * mean(x, y) - mean(x, x) - mean(y, y)


def mmd(truth: ArrayLike, prediction: ArrayLike, *, scale: float | None = None) -> float:
    """Return the squared maximum mean discrepancy of two sets of cells, averaged over five Gaussian kernels.

    E k(x, x') + E k(y, y') - 2 E k(x, y), over all pairs (Gretton et al., J. Mach. Learn. Res. 2012, 13, 723,
    equation 5), k = exp(-d^2 / (2 b scale)) for b in `BANDWIDTHS`.

    Parameters
    ----------
    truth, prediction
        (n, p) and (m, p) cells.
    scale
        Squared distance; the median of (at most 1,000, evenly taken) true cells when None.

    Examples
    --------
    >>> mmd([[0.0], [2.0]], [[0.0], [2.0]]), round(mmd([[0.0], [2.0]], [[40.0], [60.0]]), 3)
    (0.0, 1.277)
    """
    x, y = _cells(truth, prediction)
    scale = _median_distance(x) if scale is None else scale
    if not scale > 0:
        message = "The true cells are all the same; give the scale of the kernel."
        raise DataError(message)

    def mean(a: Floats, b: Floats) -> float:
        total = sum(
            float(np.exp(block / (-2 * width * scale)).sum()) for block in _blocks(a, b) for width in BANDWIDTHS
        )
        return total / (len(BANDWIDTHS) * len(a) * len(b))

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)


def half_means(cells: Any, condition: ArrayLike, size: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the mean profiles of two random halves of each condition's cells, (n, p) each.

    Scored one against the other (`profile_scores(first, second, ...)`) they say what a second, equally large
    measurement of half the cells would reach: the split-half noise reference. NaN with fewer than two cells.

    Parameters
    ----------
    cells
        (N, p) cells, dense or sparse.
    condition
        (N,) condition of each cell, 0 to n - 1.
    size
        n
    rng
        Generator.

    Examples
    --------
    >>> one, two = half_means([[1.0], [3.0], [5.0]], [0, 0, 1], 2, np.random.default_rng(0))
    >>> sorted([float(one[0, 0]), float(two[0, 0])]), bool(np.isnan(one[1, 0]))
    ([1.0, 3.0], True)
    """
    codes = np.asarray(condition, np.int64)
    order = np.lexsort((rng.random(len(codes)), codes))
    number = np.bincount(codes, minlength=size)
    rank = np.arange(len(codes)) - (np.cumsum(number) - number)[codes[order]]
    values = cells if hasattr(cells, "tocsr") else np.asarray(cells, np.float64)
    means = []
    for half in (0, 1):
        own = order[rank % 2 == half]
        count = np.bincount(codes[own], minlength=size)
        weight = csr_array((1.0 / count[codes[own]], (codes[own], own)), shape=(size, len(codes)))
        total = weight @ values
        mean = np.asarray(total.toarray() if hasattr(total, "toarray") else total, np.float64)
        mean[number < 2] = np.nan  # noqa: PLR2004
        means.append(mean)
    return means[0], means[1]


def interaction_curve(called: ArrayLike, score: ArrayLike, *, most: int = 1000) -> pd.DataFrame:
    """Return how well predicted departures find the interactions that were called on measured ones.

    Ahlmann-Eltze, Huber and Anders, Nature Methods 2025: (condition, feature) entries are ranked by the size of
    the predicted departure from addition; at each threshold TPR = found calls / calls, FDP = others / found.

    Parameters
    ----------
    called
        Entries called as interactions (any shape, bool); `screenwise.evaluate.interaction` makes them.
    score
        Predicted |departure|, of the same shape; entries without a predicted departure (0) are never found.
    most
        Most thresholds, evenly over the ranks of the entries found.

    Returns
    -------
    DataFrame
        threshold, found, tpr, fdp; one row for each distinct threshold, highest first.

    Examples
    --------
    >>> interaction_curve([True, False, True], [3.0, 2.0, 1.0])[["tpr", "fdp"]].round(2).to_numpy().tolist()
    [[0.5, 0.0], [0.5, 0.5], [1.0, 0.33]]
    """
    hit, size = np.asarray(called, bool).ravel(), np.abs(np.asarray(score, np.float64)).ravel()
    if hit.shape != size.shape:
        message = f"There are {hit.size} calls and {size.size} scores; they must be of the same entries."
        raise DataError(message)
    kept = size > 0
    order = np.flatnonzero(kept)[np.argsort(-size[kept], kind="stable")]
    last = np.flatnonzero(np.append(np.diff(size[order]) != 0, True)[: len(order)])
    if len(last) > most:
        last = last[np.unique(np.linspace(0, len(last) - 1, most).round().astype(np.int64))]
    true = np.cumsum(hit[order])[last]
    found = last + 1
    return pd.DataFrame(
        {
            "threshold": size[order][last],
            "found": found,
            "tpr": true / max(hit.sum(), 1),
            "fdp": (found - true) / np.maximum(found, 1),
        }
    )


def tpr_at_fdp(curve: pd.DataFrame, level: float = 0.05) -> float:
    """Return the largest TPR of `interaction_curve` whose FDP is at most `level`; 0 where there is none.

    Examples
    --------
    >>> tpr_at_fdp(interaction_curve([True, False, True], [3.0, 2.0, 1.0]))
    0.5
    """
    return float(curve.loc[curve["fdp"] <= level, "tpr"].max()) if (curve["fdp"] <= level).any() else 0.0


def _cells(truth: ArrayLike, prediction: ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not len(x) or not len(y):  # noqa: PLR2004
        message = f"Cells are {x.shape} and {y.shape}; both must be (cells, features) with the same features."
        raise DataError(message)
    return x, y


def _blocks(a: Floats, b: Floats) -> "list[Floats] | map[Floats]":
    """Return blocks of squared distances of rows of a to all rows of b."""
    centre = b.mean(axis=0)
    left, right = a - centre, b - centre
    norm = np.square(right).sum(axis=1)
    step = max(1, CHUNK // len(b))

    def block(start: int) -> Floats:
        part = left[start : start + step]
        return np.maximum(np.square(part).sum(axis=1)[:, None] + norm - 2 * part @ right.T, 0.0)

    return map(block, range(0, len(a), step))


def _median_distance(x: Floats) -> float:
    some = x[np.unique(np.linspace(0, len(x) - 1, min(len(x), 1000)).round().astype(np.int64))]
    squared = np.concatenate(list(_blocks(some, some)))
    return float(np.median(squared[np.triu_indices(len(some), 1)])) if len(some) > 1 else 0.0
