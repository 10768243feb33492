"""Choosing candidates that cover a pool: k-center, greedy, without ever forming pool x pool."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from screenwise.design.acquisition import Allowed
from screenwise.errors import DataError

CHUNK = 2**22
"""Distances to measured rows that are in memory at a time."""


@dataclass(frozen=True)
class Cover:
    """Picks that cover a pool."""

    rows: NDArray[np.int64]
    """(k,) picks in the order they were made."""
    radius: NDArray[np.float64]
    """(k,) distance of each pick to what was covered before it (infinite for the first of an empty cover)."""
    left: float
    """Largest distance of a pool row to its nearest pick or measured row."""


def k_center(
    features: NDArray[Any],
    size: int,
    keys: NDArray[np.uint64],
    *,
    measured: NDArray[Any] | None = None,
    allowed: Allowed = None,
) -> Cover:
    """Pick the row farthest from all picks and measured rows, again and again.

    The largest distance left is at most twice the best possible (Gonzalez, Theor. Comput. Sci. 38,
    1985). Each pick reads the pool once: O(n k d) time, one n-vector of memory beside the features.

    Parameters
    ----------
    features
        (n, d) finite numbers; Euclidean distance. Single precision is used as it is, without a copy.
    size
        Rows to pick; fewer when no more are allowed.
    keys
        (n,) settle equal distances, and choose the first pick when nothing is measured
        (`screenwise.design.acquisition.tie_keys`).
    measured
        (l, d) rows that are covered already.
    allowed
        (n,) mask, or a function from the picks so far to the mask of what may follow.

    Examples
    --------
    >>> line = np.array([[0.0], [1.0], [5.0], [6.0]])
    >>> k_center(line, 2, np.arange(4, dtype=np.uint64), measured=line[:1]).rows.tolist()
    [3, 1]
    """
    features = np.asarray(features, np.float32)
    if not np.isfinite(features).all():
        row = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
        message = f"Row {row} of the features is not finite; fill or leave out such rows before k_center."
        raise DataError(message)
    square = np.einsum("ij,ij->i", features, features)
    nearest = np.full(len(features), np.inf, np.float32)
    if measured is not None and len(measured):
        nearest = _squared_to(features, square, np.asarray(measured, np.float32))

    def column(row: int) -> NDArray[Any]:
        return np.maximum(square + square[row] - 2.0 * (features @ features[row]), 0.0)

    cover = _farthest_first(column, nearest, size, keys, allowed)
    return Cover(cover.rows, np.sqrt(cover.radius), float(np.sqrt(cover.left)))


def k_center_similarity(
    similarity: Callable[[int], NDArray[Any]],
    size: int,
    keys: NDArray[np.uint64],
    *,
    nearest: NDArray[Any] | None = None,
    allowed: Allowed = None,
) -> Cover:
    """Do the same with any similarity, given column by column; distance = 1 - similarity.

    Parameters
    ----------
    similarity
        Returns the (n,) similarities of all candidates with one, such as a row of count Tanimoto.
    size
        Candidates to pick.
    keys
        (n,) settle equal distances.
    nearest
        (n,) similarity of each candidate to its nearest measured one; None = nothing is measured.
    allowed
        (n,) mask, or a function from the picks so far to the mask of what may follow.

    Examples
    --------
    >>> matrix = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
    >>> k_center_similarity(lambda row: matrix[row], 2, np.arange(3, dtype=np.uint64)).rows.tolist()
    [0, 2]
    """
    start = np.full(len(keys), np.inf) if nearest is None else 1.0 - np.asarray(nearest, np.float64)

    def column(row: int) -> NDArray[Any]:
        return 1.0 - np.asarray(similarity(row), np.float64)

    return _farthest_first(column, start, size, keys, allowed)


def _farthest_first(
    column: Callable[[int], NDArray[Any]],
    nearest: NDArray[Any],
    size: int,
    keys: NDArray[np.uint64],
    allowed: Allowed,
) -> Cover:
    nearest = nearest.copy()
    fixed = None if allowed is None or callable(allowed) else allowed
    free = np.ones(len(nearest), bool) if fixed is None else fixed.copy()
    picks: list[int] = []
    radius: list[float] = []
    while len(picks) < size:
        mask = free & allowed(picks) if callable(allowed) else free
        far = np.where(mask, nearest, -1.0)
        top = far.max(initial=-1.0)
        if top < 0:
            break
        level = np.flatnonzero(far == top)
        pick = int(level[np.argmin(keys[level])])
        picks.append(pick)
        radius.append(float(top))
        free[pick] = False
        np.minimum(nearest, column(pick), out=nearest)
        nearest[pick] = 0.0
    left = float(nearest.max(initial=0.0))
    return Cover(np.asarray(picks, np.int64), np.asarray(radius, np.float64), left)


def _squared_to(features: NDArray[Any], square: NDArray[Any], measured: NDArray[Any]) -> NDArray[Any]:
    """Return (n,) squared distances to the nearest of l measured rows, chunk by chunk."""
    own = np.einsum("ij,ij->i", measured, measured)
    nearest = np.empty(len(features), np.float32)
    step = max(1, CHUNK // len(measured))
    for first in range(0, len(features), step):
        part = slice(first, first + step)
        nearest[part] = (own - 2.0 * (features[part] @ measured.T)).min(axis=1)
    return np.maximum(nearest + square, 0.0)
