"""The kernels of covering a pool: exact distances, read lazily, the same in any order of the rows.

A row's distance to what is covered can only shrink as picks are added. So the last one known is an
upper bound, and a row is looked at again only when that bound could win; most rows of a pool are read
a few times in a hundred picks. A distance is the sum of squared differences in the order of the
columns, for every row alike: no matrix product, whose last digits depend on a row's place.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from screenwise.errors import DataError
from screenwise.rng import GOLDEN

SAFE = {"reassoc", "contract", "nsz", "arcp"}
"""What the compiler may do to sums: all but to take infinities for impossible."""


def check_features(features: Any, name: str = "features") -> NDArray[np.float32]:
    """Return (n, d) finite numbers in single precision and C order; without a copy where they are so already.

    Examples
    --------
    >>> check_features([[1.0, float("nan")]])
    Traceback (most recent call last):
    ...
    screenwise.errors.DataError: Row 0 of the features is not finite; fill or leave out such rows.
    """
    array = np.ascontiguousarray(features, np.float32)
    if array.ndim != 2:  # noqa: PLR2004
        message = f"The {name} have shape {array.shape}; give one row of numbers for each candidate."
        raise DataError(message)
    row = int(_first_bad(array))
    if row >= 0:
        message = f"Row {row} of the {name} is not finite; fill or leave out such rows."
        raise DataError(message)
    return array


@njit(cache=True)
def _first_bad(features: Any) -> int:
    for row in range(features.shape[0]):
        total = np.float32(0.0)
        for column in range(features.shape[1]):
            total += features[row, column] * np.float32(0.0)
        if total != np.float32(0.0):
            return row
    return -1


@njit(cache=True, fastmath=SAFE, inline="always")
def squared(a: Any, row: int, b: Any, other: int) -> Any:
    """Return the squared distance of two rows; a plain loop over all columns is what compilers make wide."""
    total = np.float32(0.0)
    for column in range(a.shape[1]):
        gap = a[row, column] - b[other, column]
        total += gap * gap
    return total


@dataclass
class Space:
    """Rows under the distance of ``coefficient x features``, outer products that are never formed.

    Without coefficients the distance is that of the features.
    """

    features: NDArray[np.float32]
    """(n, d)"""
    coefficient: NDArray[np.float32]
    """(n, c); c = 0: none."""
    own: NDArray[np.float32]
    """(n,) squared lengths of the outer products; empty without coefficients."""

    def take(self, rows: Any) -> "Space":
        """Return some of the rows."""
        return Space(self.features[rows], self.coefficient[rows], self.own[rows] if len(self.own) else self.own)


def make_space(features: NDArray[np.float32], coefficient: NDArray[np.float32] | None = None) -> Space:
    """Return the space of checked features, with or without coefficients."""
    if coefficient is None:
        return Space(features, np.empty((len(features), 0), np.float32), np.empty(0, np.float32))
    return Space(features, coefficient, _lengths(features) * _lengths(coefficient))


@njit(cache=True, fastmath=SAFE)
def _lengths(features: Any) -> Any:
    out = np.zeros(features.shape[0], np.float32)
    for row in range(features.shape[0]):
        total = np.float32(0.0)
        for column in range(features.shape[1]):
            total += features[row, column] * features[row, column]
        out[row] = total
    return out


@njit(cache=True, fastmath=SAFE, inline="always")
def _apart(  # noqa: PLR0913, PLR0917 -- flat arrays: what compiled code reads
    features: Any, coefficient: Any, own: Any, row: int, others: Any, other_coefficient: Any, other: int
) -> Any:
    if coefficient.shape[1] == 0:
        return squared(features, row, others, other)
    inner, outer, length, weight = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for column in range(features.shape[1]):
        inner += features[row, column] * others[other, column]
        length += others[other, column] * others[other, column]
    for column in range(coefficient.shape[1]):
        outer += coefficient[row, column] * other_coefficient[other, column]
        weight += other_coefficient[other, column] * other_coefficient[other, column]
    return max(own[row] + weight * length - np.float32(2.0) * inner * outer, np.float32(0.0))


@njit(cache=True, fastmath=SAFE)
def _next_pick(  # noqa: PLR0913, PLR0917 -- one compiled loop
    features: Any,
    coefficient: Any,
    own: Any,
    centres: Any,
    centre_coefficient: Any,
    count: int,
    bound: Any,
    seen: Any,
    mask: Any,
    rate: Any,
    keys: Any,
) -> tuple[int, float]:
    pick, best = -1, -1.0
    lead, top = -1, -1.0
    raced = rate.shape[0] > 0
    for row in range(features.shape[0]):
        if mask[row]:
            value = bound[row] * rate[row] if raced else np.float64(bound[row])
            if value > top:
                lead, top = row, value
    if lead < 0:
        return -1, -1.0
    # the leader first: its true value spares most others a look
    for place in range(-1, features.shape[0]):
        row = lead if place < 0 else place
        if not mask[row]:
            continue
        own_rate = rate[row] if raced else 1.0
        while seen[row] < count and bound[row] * own_rate >= best:
            other = seen[row]
            gap = _apart(features, coefficient, own, row, centres, centre_coefficient, other)
            bound[row] = min(bound[row], gap)
            seen[row] += 1
        value = bound[row] * own_rate
        if seen[row] == count and (value > best or (value == best and (pick < 0 or keys[row] < keys[pick]))):
            pick, best = row, value
    return pick, best


@njit(cache=True)
def _race(keys: Any, step: Any) -> Any:
    """Return (n,) rates of an exponential race: the largest weight x rate is a draw by weight."""
    out = np.empty(keys.shape[0])
    for row in range(keys.shape[0]):
        word = keys[row] + np.uint64(GOLDEN) * step
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        word = word ^ (word >> np.uint64(31))
        share = (np.float64(word >> np.uint64(11)) + 0.5) / 9007199254740994.0  # a little over 2^53: never 1
        out[row] = -1.0 / np.log(share)
    return out


class Frontier:
    """What is covered so far, and who is farthest from it.

    The one object here that changes: bounds of n rows and how many centres each was compared with.
    """

    def __init__(self, space: Space, keys: NDArray[np.uint64], size: int, covered: Space | None = None) -> None:
        self.space, self.keys = space, np.ascontiguousarray(keys, np.uint64)
        start = 0 if covered is None else len(covered.features)
        self._centres = np.empty((start + size, space.features.shape[1]), np.float32)
        self._coefficient = np.empty((start + size, space.coefficient.shape[1]), np.float32)
        if covered is not None:
            self._centres[:start], self._coefficient[:start] = covered.features, covered.coefficient
        self._count = start
        self._bound = np.full(len(space.features), np.inf, np.float32)
        self._seen = np.zeros(len(space.features), np.int32)
        self._steps = 0

    def farthest(self, mask: NDArray[np.bool_], *, by_chance: bool = False) -> tuple[int, float]:
        """Return the row farthest from all that is covered and its squared distance; (-1, -1.0) = no row is open.

        Parameters
        ----------
        mask
            (n,) rows that may be it.
        by_chance
            Draw a row with a probability that is its squared distance's share instead. The draw belongs to the
            keys, not to the order of rows. Then the distance is multiplied by the draw's rate.
        """
        self._steps += 1
        rate = _race(self.keys, np.uint64(self._steps)) if by_chance else np.empty(0)
        row, value = _next_pick(
            self.space.features,
            self.space.coefficient,
            self.space.own,
            self._centres,
            self._coefficient,
            self._count,
            self._bound,
            self._seen,
            mask,
            rate,
            self.keys,
        )
        return int(row), float(value)

    def cover(self, row: int) -> None:
        """Count a row among what is covered."""
        self._centres[self._count] = self.space.features[row]
        self._coefficient[self._count] = self.space.coefficient[row]
        self._count += 1
        self._bound[row] = 0.0


@njit(cache=True, fastmath=SAFE)
def assign_nearest(features: Any, centres: Any, label: Any, distance: Any, begin: int) -> int:
    """Move each row to its nearest centre, in place; return how many changed.

    Parameters
    ----------
    features, centres
        (n, d) and (k, d) single precision.
    label
        (n,) int32 nearest centre so far; -1 = none.
    distance
        (n,) squared distance to it; infinite = none.
    begin
        First centre that is new to all rows; the earlier of two equally near ones wins.
    """
    changed = 0
    for row in range(features.shape[0]):
        near, shortest = label[row], distance[row]
        for centre in range(begin, centres.shape[0]):
            gap = squared(features, row, centres, centre)
            if gap < shortest:
                near, shortest = centre, gap
        changed += near != label[row]
        label[row], distance[row] = near, shortest
    return changed


def nearest_of(features: NDArray[np.float32], centres: NDArray[np.float32]) -> tuple[Any, Any]:
    """Return the nearest of k centres and the squared distance to it, (n,) int32 and float32."""
    label = np.full(len(features), -1, np.int32)
    distance = np.full(len(features), np.inf, np.float32)
    assign_nearest(features, centres, label, distance, 0)
    return label, distance
