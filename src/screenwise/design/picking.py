"""From scores to picks: what settles ties, what rules allow, and the best that is left.

A choice must not depend on the order of a table. Equal scores are settled by keys that belong to
conditions (`tie_keys`), and all that is random or summed over candidates follows those keys, never
a candidate's place.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.errors import DataError
from screenwise.rng import GOLDEN, scramble

Allowed = NDArray[np.bool_] | Callable[[Sequence[int]], NDArray[np.bool_]] | None
"""What may be picked: (n,) a mask, or a function from the picks so far to the mask of what may follow."""


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


def uniform(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Turn random 64-bit words into numbers inside (0, 1).

    Examples
    --------
    >>> float(uniform(np.array([2**63], np.uint64))[0])
    0.5
    """
    return np.minimum(((words >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53, 1.0 - 2.0**-53)


def key_words(keys: NDArray[np.uint64], step: int) -> NDArray[np.uint64]:
    """Return (n,) fresh random words of the same candidates, others for every step."""
    with np.errstate(over="ignore"):
        return scramble(keys + GOLDEN * np.uint64(step + 1))


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
    if not callable(allowed):
        rows = np.flatnonzero(open_mask(allowed, first, len(score)) & (score > -np.inf))
        return np.concatenate([np.asarray(first, np.int64), _highest(score, rows, size, keys)])[:size]
    order = _highest(score, np.flatnonzero(score > -np.inf), len(score), keys)
    picks = [int(one) for one in first][:size]
    while len(picks) < size:
        left = allowed(picks)
        left[picks] = False
        open_places = np.flatnonzero(left[order])
        if len(open_places) == 0:
            break
        picks.append(int(order[open_places[0]]))
    return np.asarray(picks, np.int64)


def _highest(
    score: NDArray[np.float64], rows: NDArray[np.int64], size: int, keys: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Return at least `size` of some rows, the highest scores first; all that score like the last are in."""
    if 0 < size < len(rows) // 2:
        edge = np.partition(score[rows], len(rows) - size)[len(rows) - size]
        rows = rows[score[rows] >= edge]
    return rows[np.lexsort((keys[rows], -score[rows]))]


def open_mask(allowed: Allowed, picks: Sequence[int], size: int) -> NDArray[np.bool_]:
    """Return the (n,) mask of what may follow some picks; a mask of its own."""
    if callable(allowed):
        mask = np.array(allowed(picks), bool)
    else:
        mask = np.ones(size, bool) if allowed is None else allowed.copy()
    mask[list(picks)] = False
    return mask


def best_left(
    score: NDArray[Any], keys: NDArray[np.uint64], mask: NDArray[np.bool_], *, close: float = 0.0
) -> int | None:
    """Return the candidate of the highest score under a mask; None = there is none above minus infinity.

    Scores that are at most `close` below the highest count as equal to it, and the smallest key is taken.
    """
    masked = np.where(mask, score, -np.inf)
    top = masked.max(initial=-np.inf)
    if top == -np.inf:
        return None
    level = np.flatnonzero(masked >= top - close) if np.isfinite(top) else np.flatnonzero(masked == top)
    return int(level[np.argmin(keys[level])])


def check_size(size: int, **arrays: int) -> None:
    """Raise where arrays that speak of the same candidates differ in length.

    Examples
    --------
    >>> check_size(3, keys=2)
    Traceback (most recent call last):
    ...
    screenwise.errors.DataError: keys has 2 rows for 3 candidates; give one of each candidate.
    """
    for name, length in arrays.items():
        if length != size:
            message = f"{name} has {length} rows for {size} candidates; give one of each candidate."
            raise DataError(message)
