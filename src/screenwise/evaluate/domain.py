"""Where a model may be trusted: similarity to what it learned from, and errors by that similarity.

Similarities are plain arrays, 1 = identical: `screenwise.represent.similarity.count_tanimoto_nearest`
gives them for compounds, any kernel for other conditions.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from screenwise.errors import DataError
from screenwise.evaluate.grouped import Scores, divide, order_statistic
from screenwise.prediction import Z90

SHARE = 0.95
"""Share of training conditions that lie inside the domain by default."""
EDGES = (0.3, 0.4, 0.5, 0.6, 0.8)
"""Bounds of similarity bins for compounds (count Tanimoto)."""


def nearest_others(similarity: ArrayLike) -> NDArray[np.float64]:
    """Return, for each of n training conditions, the similarity of its nearest other one, (n,).

    Parameters
    ----------
    similarity
        (n, n) similarities of the training conditions; the diagonal is not read.

    Examples
    --------
    >>> nearest_others([[1.0, 0.3, 0.5], [0.3, 1.0, 0.2], [0.5, 0.2, 1.0]]).tolist()
    [0.5, 0.3, 0.5]
    """
    others = np.array(similarity, np.float64)
    if others.ndim != 2 or others.shape[0] != others.shape[1]:  # noqa: PLR2004
        message = f"The similarities of training conditions have shape {others.shape}; they must be (n, n)."
        raise DataError(message)
    np.fill_diagonal(others, -np.inf)
    nearest = others.max(axis=1, initial=-np.inf)
    return np.where(np.isinf(nearest), np.nan, nearest)


def learn_threshold(similarity: ArrayLike, share: float = SHARE) -> float:
    """Return the similarity that at least `share` of the training conditions reach to their nearest other.

    Examples
    --------
    >>> learn_threshold([0.9, 0.8, 0.7, 0.1], share=0.75)
    0.7
    """
    values = np.asarray(similarity, np.float64)
    return float(learn_thresholds(values, np.zeros(len(values), np.int64), 1, share)[0])


def learn_thresholds(similarity: ArrayLike, task: ArrayLike, tasks: int, share: float = SHARE) -> Scores:
    """Return `learn_threshold` of each task, (t,); infinite (nothing inside) where a task has no neighbours.

    Parameters
    ----------
    similarity
        (m,) similarity of each training cell to its nearest other cell of the same task; NaN left out.
    task
        (m,)
    tasks
        Number of tasks t.
    share
        Share of training cells inside, 0 to 1.

    Examples
    --------
    >>> learn_thresholds([0.9, 0.1, 0.5], [0, 0, 2], 3, share=1.0).tolist()
    [0.1, inf, 0.5]
    """
    if not 0 < share <= 1:
        message = f"The share of training conditions inside the domain is {share}; it must be above 0 and at most 1."
        raise DataError(message)
    values, index = np.asarray(similarity, np.float64), np.asarray(task, np.int64)
    number = np.bincount(index[~np.isnan(values)], minlength=tasks)
    rank = number - np.ceil(share * number - 1e-9).astype(np.int64) + 1
    return order_statistic(values, rank, index, tasks)


def domain_flag(similarity: ArrayLike, threshold: ArrayLike) -> NDArray[np.bool_]:
    """Return whether conditions are inside the domain; a condition without similarity is not.

    Parameters
    ----------
    similarity
        (n,) or (n, t) similarity to the nearest training condition.
    threshold
        One number, or (t,) per task.

    Examples
    --------
    >>> domain_flag([0.8, 0.2, np.nan], 0.5).tolist()
    [True, False, False]
    """
    return np.asarray(np.asarray(similarity, np.float64) >= np.asarray(threshold, np.float64))


def errors_by_similarity(
    similarity: ArrayLike, value: ArrayLike, mean: ArrayLike, std: ArrayLike | None = None, *, edges: Any = EDGES
) -> pd.DataFrame:
    """Return how wrong predictions are the further they lie from the training conditions.

    Parameters
    ----------
    similarity
        (m,) similarity of each test cell to its nearest training condition.
    value
        (m,) measured.
    mean
        (m,) predicted.
    std
        (m,) predicted; None = no coverage and no expected error.
    edges
        Inner bounds of the bins, rising; a cell on a bound belongs above it.

    Returns
    -------
    DataFrame
        low, high, cells, rmse, mae, coverage (of the 90 % interval), expected_rmse (what std promised).

    Examples
    --------
    >>> errors_by_similarity([0.1, 0.9], [0.0, 0.0], [2.0, 1.0], edges=[0.5])[["low", "rmse"]].values.tolist()
    [[0.0, 2.0], [0.5, 1.0]]
    """
    bounds = np.asarray(edges, np.float64)
    if (np.diff(bounds) <= 0).any():
        message = f"The edges of similarity bins are {bounds.tolist()}; they must rise."
        raise DataError(message)
    near = np.asarray(similarity, np.float64)
    place = np.searchsorted(bounds, near, side="right")
    frame = pd.DataFrame({"low": [0.0, *bounds.tolist()], "high": [*bounds.tolist(), 1.0]})
    return _with_errors(frame, np.where(np.isnan(near), -1, place), (value, mean, std))


def errors_by_spread(value: ArrayLike, mean: ArrayLike, std: ArrayLike, *, bins: int = 4) -> pd.DataFrame:
    """Return how wrong predictions are by how sure they are: equal numbers of cells, surest first.

    Returns
    -------
    DataFrame
        low, high (std), cells, rmse, mae, coverage, expected_rmse.

    Examples
    --------
    >>> errors_by_spread([0.0, 0.0], [1.0, 3.0], [1.0, 2.0], bins=2)["rmse"].tolist()
    [1.0, 3.0]
    """
    spread = np.asarray(std, np.float64)
    there = np.isfinite(spread) & np.isfinite(np.asarray(value, np.float64)) & np.isfinite(np.asarray(mean, np.float64))
    order = np.argsort(spread[there], kind="stable")
    place = np.full(len(spread), -1)
    own = np.empty(len(order), np.int64)
    own[order] = np.arange(len(order)) * bins // max(len(order), 1)
    place[there] = own
    low, high = np.full(bins, np.nan), np.full(bins, np.nan)
    for part in np.unique(own):
        low[part], high[part] = spread[place == part].min(), spread[place == part].max()
    return _with_errors(pd.DataFrame({"low": low, "high": high}), place, (value, mean, std))


def _with_errors(frame: pd.DataFrame, place: NDArray[Any], cells: tuple[Any, Any, Any]) -> pd.DataFrame:
    """Add errors per bin; `place` (m,) is the bin of each cell, -1 = none."""
    value, mean = (np.asarray(array, np.float64) for array in cells[:2])
    std = np.full(len(value), np.nan) if cells[2] is None else np.asarray(cells[2], np.float64)
    keep = np.isfinite(value) & np.isfinite(mean) & (place >= 0)
    error, std, place = (value - mean)[keep], std[keep], place[keep]
    number = np.bincount(place, minlength=len(frame))

    def average(x: NDArray[Any]) -> NDArray[np.float64]:
        return divide(np.bincount(place, weights=x, minlength=len(frame)), number)

    frame["cells"] = number
    frame["rmse"] = np.sqrt(average(error**2))
    frame["mae"] = average(np.abs(error))
    inside = np.where(np.isnan(std), np.nan, np.abs(error) <= Z90 * std)
    frame["coverage"] = average(inside)
    frame["expected_rmse"] = np.sqrt(average(std**2))
    return frame
