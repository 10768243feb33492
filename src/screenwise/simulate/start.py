"""Which conditions are known before the first round of a replay: by chance, or less than chance would give."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.design.acquisition import pick_top, tie_keys
from screenwise.errors import DataError
from screenwise.represent.fingerprint import readable
from screenwise.represent.kernels import default_kernels
from screenwise.rng import stream
from screenwise.screen import Screen

STRUCTURE = re.compile(r"smiles(_[a-e])?")
"""Columns of structures, of which some may be unreadable."""
WARM_SHARE = 0.1
"""Share of a pool that a warm start knows."""
MOST_PAIRS = 4_000
"""Conditions up to which all pairs are compared for the two farthest apart; beyond, distances from few of them."""
BLOCK = 256
"""Conditions that are compared with all others at a time."""
SWEEPS = 8
"""Times at most that the farthest condition from the last one found is looked for."""

STARTS: dict[str, str] = {
    "random": "as many random wells as --start says",
    "warm": "a random tenth of the pool",
    "cold": "of classes one random condition each, of numbers the two conditions farthest apart",
    "no_hits": "random wells, none of them a hit (of classes: all of one class)",
    "region": "a random condition and those most similar to it: one series, one pathway",
}
"""How a replay may begin -> what is known then. `warm` and `cold` are the task configurations of PyRelationAL
(`create_warm_start`, `create_classification_cold_start`, `create_regression_cold_start`); it compares all pairs of
rows at once, which no larger pool has the memory for."""


OWN_SIZE = ("warm", "cold")
"""Starts that say themselves how many conditions are known."""


def start_size(how: str, pool: int, wells: int) -> int:
    """Return how many conditions a start may take of a pool.

    Examples
    --------
    >>> start_size("warm", 500, 32), start_size("random", 500, 32)
    (50, 32)
    """
    return max(1, round(WARM_SHARE * pool)) if how == "warm" else wells


def begin(pool: Screen, hit: NDArray[np.bool_], how: str, wells: int, seed: int) -> NDArray[np.int64]:
    """Return the rows of a pool that are measured before the first round.

    The same for every policy of a seed, and whatever the order of the pool.

    Parameters
    ----------
    pool
        (n,) measured conditions of one task.
    hit
        (n,) which of them are hits.
    how
        One of `STARTS`.
    wells
        Conditions to take, where `how` does not say it itself.
    seed
        Of the replay.
    """
    conditions = pool.conditions
    if how == "cold":
        classes = pool.tasks["kind"].iloc[0] == "classification"
        return _one_each(pool, seed) if classes else np.asarray(farthest_pair(conditions), np.int64)
    if how == "no_hits":
        if (~hit).sum() < wells:
            message = (
                f"Only {int((~hit).sum())} conditions are no hits; a start of {wells} wells without hits needs more."
            )
            raise DataError(message)
        return start_rows(conditions, wells, seed, hit)
    if how == "region":
        distances = _Distances(conditions)
        first = int(start_rows(conditions, 1, seed, ~distances.there)[0])
        return pick_top(-distances([first])[:, 0], wells, _keys(conditions, seed), first=[first])
    return start_rows(conditions, start_size(how, len(conditions), wells), seed)


def start_rows(pool: pd.DataFrame, size: int, seed: int, closed: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """Return the random start of a seed: the same conditions for every policy and any order of the pool."""
    score = np.zeros(len(pool)) if closed is None else np.where(closed, -np.inf, 0.0)
    return pick_top(score, size, _keys(pool, seed))


def _keys(pool: pd.DataFrame, seed: int) -> NDArray[np.uint64]:
    return tie_keys(pool["condition_id"].to_numpy(object), stream(seed, "start"))


def _one_each(pool: Screen, seed: int) -> NDArray[np.int64]:
    """Return a random condition of each class."""
    value, keys = pool.targets.dense()[:, 0], _keys(pool.conditions, seed)
    return np.concatenate([pick_top(np.where(value == one, 0.0, -np.inf), 1, keys) for one in np.unique(value)])


def farthest_pair(conditions: pd.DataFrame) -> tuple[int, int]:
    """Return the rows of the two conditions farthest apart by their structures, or by the numbers given with them.

    Of more than `MOST_PAIRS` conditions: the farthest from the farthest, until that grows no more, which is the
    diameter in most pools and never less than half of it.

    Examples
    --------
    >>> genes = pd.DataFrame({"gene": list("ABCD"), "feature:x": [3.0, 0.0, 1.0, 9.0]})
    >>> farthest_pair(genes.assign(condition_id=genes["gene"]))
    (1, 3)
    """
    names = conditions["condition_id"].astype(str).to_numpy(object)
    order = np.argsort(names, kind="stable")  # an order of the conditions' own, for pairs equally far
    ordered = conditions.iloc[order].reset_index(drop=True)
    distances, best, pair = _Distances(ordered), -np.inf, (0, 0)
    if len(ordered) <= MOST_PAIRS:
        for first in range(0, len(ordered), BLOCK):
            found = np.nan_to_num(distances(range(first, min(first + BLOCK, len(ordered)))), nan=-np.inf)
            row, column = np.unravel_index(int(found.argmax()), found.shape)
            if found[row, column] > best:
                best, pair = float(found[row, column]), (int(row), first + int(column))
    else:
        last = int(np.argmax(distances.there))
        for _ in range(SWEEPS):
            found = np.nan_to_num(distances([last])[:, 0], nan=-np.inf)
            far = int(found.argmax())
            if found[far] <= best:
                break
            best, pair, last = float(found[far]), (last, far), far
    one, other = sorted(int(order[place]) for place in pair)
    return one, other


class _Distances:
    """Squared distances of n conditions by a kernel; NaN where a structure cannot be read."""

    def __init__(self, conditions: pd.DataFrame) -> None:
        there = np.ones(len(conditions), bool)
        for column in (name for name in map(str, conditions.columns) if STRUCTURE.fullmatch(name)):
            there &= readable(conditions[column])
        self.there = there
        self.place = np.cumsum(there) - 1
        known = default_kernels(conditions[there])
        structures = any(STRUCTURE.fullmatch(str(name)) for name in conditions.columns)
        # given numbers say more than a name does, and nothing says more than a structure
        numeric = None if structures else next((kernel for kernel in known if "_far" in kernel.name), None)
        self.kernel = numeric or known[0]
        self.features = self.kernel.features(conditions[there].reset_index(drop=True))
        self.own = self.kernel.diagonal(self.features).astype(np.float64)

    def __call__(self, rows: Sequence[int]) -> NDArray[np.float64]:
        """Return the (n, r) distances of all conditions from some."""
        found = np.full((len(self.there), len(rows)), np.nan)
        asked = np.flatnonzero(self.there[list(rows)])
        some = self.place[list(rows)][asked]
        between = self.own[:, None] + self.own[some] - 2.0 * self.kernel.gram(self.features, self.features[some])
        found[np.ix_(self.there, self.there[list(rows)])] = between
        return found
