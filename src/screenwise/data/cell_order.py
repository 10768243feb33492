"""In which order cells are read: a position in the order gives its row, and the order is never stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from screenwise.errors import ConfigError
from screenwise.rng import GOLDEN, derive_seed, scramble

ROUNDS = 8
SMALL_ROUNDS = 24
"""Rounds where fewer than `SMALL` rows are permuted: digits of a few values mix slowly."""
SMALL = 4096
KINDS = ("random", "block", "sequential")


@dataclass(frozen=True)
class Order:
    """The order of a pass over the cells, and this process's share of it.

    Every pass (epoch) has another order; the same seed gives the same orders, whatever the number of
    ranks: batch k of all ranks together holds the same cells as long as batch size x world does.
    """

    kind: Literal["random", "block", "sequential"] = "random"
    """random: any cell may stand next to any; block: runs of `block` neighbours in random order, shuffled
    within `window` runs (for disks that are slow at random reads); sequential: as stored."""
    seed: int = 0
    block: int = 64
    """Cells in a run."""
    window: int = 64
    """Runs that are shuffled together."""
    column: str | None = None
    """obs column whose groups are drawn by `weights`, with replacement; only with kind "random"."""
    weights: Mapping[str, float] | None = None
    """Group -> how often it is drawn, relative to the others (absent = never); None = all alike."""
    rank: int = 0
    """This process, 0 to world - 1."""
    world: int = 1
    drop_last: bool = False
    """Leave out the cells at the end of a pass that do not fill a batch on every rank, so that all ranks
    have the same number of batches."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            message = f"The order of cells is {self.kind!r}; use one of {', '.join(KINDS)}."
            raise ConfigError(message)
        if self.seed < 0 or min(self.block, self.window) < 1:
            message = f"seed = {self.seed}, block = {self.block}, window = {self.window}: use >= 0, >= 1, >= 1."
            raise ConfigError(message)
        if not 0 <= self.rank < self.world:
            message = f"rank {self.rank} of {self.world}: ranks are numbered from 0 to world - 1."
            raise ConfigError(message)
        if self.column is None and self.weights is not None:
            message = "weights are given without the column they are for; set column too."
            raise ConfigError(message)
        if self.column is not None and self.kind != "random":
            message = f"Cells weighted by {self.column!r} are drawn at random; use kind = 'random', not {self.kind!r}."
            raise ConfigError(message)

    def steps(self, rows: int, size: int) -> int:
        """Return the number of batches of `size` in one pass over `rows` cells, alike on all ranks."""
        together = size * self.world
        return rows // together if self.drop_last else -(-rows // together)

    def share(self, rows: int, size: int, step: int) -> tuple[int, int]:
        """Return the positions [first, last) of batch `step` of a pass on this rank."""
        first = step * size * self.world
        held = min(size * self.world, rows - first)
        return first + self.rank * held // self.world, first + (self.rank + 1) * held // self.world

    def rows_at(self, positions: NDArray[np.int64], rows: int, epoch: int) -> NDArray[np.int64]:
        """Return which row stands at each position of a pass (epoch) over `rows` rows.

        Examples
        --------
        >>> order = Order(seed=1)
        >>> sorted(order.rows_at(np.arange(5), 5, epoch=0).tolist())
        [0, 1, 2, 3, 4]
        """
        if self.kind == "sequential":
            return positions
        key = self.key(epoch)
        places = positions.astype(np.uint64)
        found = _shuffle(places, rows, key) if self.kind == "random" else self._blocks(places, rows, key)
        return found.astype(np.int64)

    def key(self, epoch: int) -> np.uint64:
        """Return the word that the draws of a pass begin from."""
        return np.uint64(derive_seed(self.seed, "cells", epoch))

    def _blocks(self, places: NDArray[np.uint64], rows: int, key: np.uint64) -> NDArray[np.uint64]:
        # The order is cut from another place of the store in each pass, so that the same cells do not
        # share a run, and the run that is too short is another one each time.
        block, full = np.uint64(self.block), max(rows // self.block, 1)
        wide = np.uint64(self.block * self.window)
        first = places - places % wide
        held = np.minimum(wide, np.uint64(rows) - first)
        places = first + permute(
            places - first, held, scramble(first ^ key), rounds=SMALL_ROUNDS if wide < SMALL else ROUNDS
        )
        slot, inside = places // block, places % block
        whole = slot < np.uint64(full)
        slot[whole] = _shuffle(slot[whole], full, key)
        start = scramble(np.array(key)) % np.uint64(rows)
        return (slot * block + inside + start) % np.uint64(rows)


def _shuffle(places: NDArray[np.uint64], size: int, key: np.uint64) -> NDArray[np.uint64]:
    return permute(places, size, key, rounds=SMALL_ROUNDS if size < SMALL else ROUNDS)


def permute(places: NDArray[np.uint64], size: Any, key: Any, *, rounds: int = ROUNDS) -> NDArray[np.uint64]:
    """Return a random permutation of 0 .. size - 1 at some places, in constant memory.

    A Feistel network over a grid of two digits that holds `size`, in which a place that falls outside walks
    on until it is inside. `size` and `key` may be one per place. Measured on permutations of 4, 5 and 6: all are
    alike likely (chi-square) from 24 rounds on; on differences of two places among 1000: from 6 rounds on.

    References
    ----------
    Black and Rogaway, Ciphers with arbitrary finite domains, CT-RSA 2002, section 4 (generalised Feistel)
    and section 3 (cycle walking).

    Examples
    --------
    >>> sorted(permute(np.arange(10, dtype=np.uint64), 10, np.uint64(3)).tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    size = np.asarray(size, np.uint64)
    if size.ndim == 0:
        high = np.asarray(isqrt(max(int(size) - 1, 0)) + 1, np.uint64)
    else:
        high = np.sqrt(size.astype(np.float64)).astype(np.uint64) + np.uint64(1)
    low = (size + high - np.uint64(1)) // high
    out = _mix(places, high, low, np.asarray(key, np.uint64), rounds)
    outside = np.flatnonzero(out >= size)
    while len(outside):
        size, high, low, key = (np.broadcast_to(part, out.shape) for part in (size, high, low, key))
        out[outside] = _mix(out[outside], high[outside], low[outside], key[outside], rounds)
        outside = outside[out[outside] >= size[outside]]
    return out


def _mix(places: Any, high: Any, low: Any, key: Any, rounds: int) -> NDArray[np.uint64]:
    left, right = places // low, places % low
    with np.errstate(over="ignore"):
        for turn in range(rounds):
            own = key + np.uint64(turn + 1) * GOLDEN
            if turn % 2:
                right = (right + scramble(left ^ own) % low) % low
            else:
                left = (left + scramble(right ^ own) % high) % high
    return left * low + right


@dataclass(frozen=True)
class Groups:
    """The cells of each group, for draws by weight; 4 bytes a cell (8 from 4 billion cells on)."""

    members: NDArray[Any]
    """(n,) rows, group by group."""
    first: NDArray[np.int64]
    """(g,) where each group begins in `members`."""
    count: NDArray[np.int64]
    """(g,) its cells."""
    upto: NDArray[np.float64]
    """(g,) cumulative probability."""

    def draw(self, positions: NDArray[np.int64], key: np.uint64) -> NDArray[np.int64]:
        """Return the rows drawn at some positions of a pass, with replacement."""
        with np.errstate(over="ignore"):
            word = scramble(key + positions.astype(np.uint64) * GOLDEN)
        group = np.searchsorted(self.upto, (word >> np.uint64(11)) * 2.0**-53, side="right")
        inside = scramble(word ^ GOLDEN) % self.count[group].astype(np.uint64)
        return self.members[self.first[group] + inside.astype(np.int64)].astype(np.int64)


def weigh(codes: NDArray[Any], names: list[str], weights: Mapping[str, float] | None) -> Groups:
    """Return groups to draw from.

    Parameters
    ----------
    codes
        (n,) group of each row; -1 = none, never drawn.
    names
        (g,) names of the groups.
    weights
        Group -> relative weight >= 0; None = all groups alike.

    Raises
    ------
    ConfigError
        A weight of an unknown group, below 0 or not finite; nothing left to draw.
    """
    given = np.ones(len(names))
    if weights is not None:
        unknown = [name for name in weights if name not in names]
        if unknown:
            message = f"weights name {unknown[0]!r}, which no cell has; the groups are {', '.join(sorted(names)[:20])}."
            raise ConfigError(message)
        given = np.array([float(weights.get(name, 0.0)) for name in names])
    count = np.bincount(codes[codes >= 0], minlength=len(names)).astype(np.int64)
    if not np.isfinite(given).all() or (given < 0).any() or not given[count > 0].sum() > 0:
        message = f"weights must be >= 0 and finite, at least one above 0; got {weights}."
        raise ConfigError(message)
    given[count == 0] = 0.0
    order = np.argsort(codes, kind="stable")[(codes < 0).sum() :]
    narrow = np.uint32 if len(codes) <= np.iinfo(np.uint32).max else np.int64
    upto = np.cumsum(given / given.sum())
    # Rounding must not leave a gap at the end, nor give it to a group without weight.
    upto[np.flatnonzero(given)[-1] :] = 1.0
    return Groups(order.astype(narrow), np.cumsum(count) - count, count, upto)
