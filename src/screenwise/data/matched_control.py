"""The control that belongs to each experimental batch: its own, the pooled one, or one shrunk between them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from screenwise.data.labels import canonical, listing
from screenwise.errors import ConfigError, DataError

MATCHING = ("shrunk", "matched", "pooled")
"""How the control of a batch is found; the first is the default."""
FEW_CONTROLS = 25
"""Control cells of a batch below which a user should know."""


@dataclass(frozen=True)
class GroupMeans:
    """Means of g groups (condition x batch)."""

    genes: Sequence[tuple[str, ...]]
    """(g,)"""
    batch: Sequence[str]
    """(g,)"""
    weight: NDArray[np.floating]
    """(g,) cells, or 1 each."""
    mean: NDArray[np.float64]
    """(g, p)"""
    noise: float | None = None
    """Variance of one control cell within a batch, summed over features; None: unknown."""


@dataclass(frozen=True)
class MatchedLevels:
    """Levels of n conditions: the control's overall mean + the effect against the control of the same batch."""

    genes: list[tuple[str, ...]]
    """(n,) the control first."""
    level: NDArray[np.float64]
    """(n, p)"""
    weight: NDArray[np.float64]
    """(n,) sum of the groups' weights."""
    condition: NDArray[np.int64]
    """(g,) condition of each group."""
    notes: list[str]


def matched_levels(groups: GroupMeans, matching: str = "shrunk") -> MatchedLevels:
    """Return the level of each condition, its effect compared with controls of the same batch.

    A condition's effect is the mean over its batches, weighted by its cells, of (its mean there - the
    batch's control). The batch's control is its own mean (matched), the mean of all (pooled), or the
    one shrunk towards the other: with n controls, n / (n + k) of its own, where k is the ratio of the
    variance of a cell to the variance between batches. A batch without control uses the mean of all.

    Parameters
    ----------
    groups
        Means of condition x batch.
    matching
        One of `MATCHING`. Shrunk is matched where no noise of cells is known.

    References
    ----------
    The variance between batches is the moment estimator of one-way random effects (Searle, Casella
    and McCulloch, Variance Components, 1992, chapter 3), summed over features.

    Examples
    --------
    >>> means = np.array([[1.0], [5.0], [2.0], [6.0]])
    >>> groups = GroupMeans([(), (), ("A",), ("A",)], ["x", "y", "x", "y"], np.array([10.0, 10, 30, 10]), means)
    >>> matched_levels(groups).level.ravel().tolist()
    [3.0, 4.0]
    """
    if matching not in MATCHING:
        message = f"Controls are {matching!r}; choose {', '.join(MATCHING)}."
        raise ConfigError(message)
    order = sorted(set(groups.genes), key=lambda one: (len(one), canonical(one)))
    if not order or order[0] != ():
        message = "There is no control; every effect is a difference from it."
        raise DataError(message)
    condition = pd.Index(map(canonical, order)).get_indexer([canonical(one) for one in groups.genes])
    batch, names = pd.factorize(np.asarray(list(groups.batch), object))
    weight = np.asarray(groups.weight, np.float64)
    share = np.zeros((len(order), len(names)))
    np.add.at(share, (condition, batch), weight)
    totals = share.sum(axis=1)
    mean = sums_by(condition, groups.mean * weight[:, None], len(order)) / totals[:, None]
    controls, own = _batch_controls(groups, batch, len(names), mean[0], matching)
    level = mean[0] + mean - (share / totals[:, None]) @ controls
    level[0] = mean[0]
    notes = [] if matching == "pooled" else _notes(share, own, [str(name) for name in names])
    return MatchedLevels(order, level, totals, condition, notes)


def _batch_controls(
    groups: GroupMeans, batch: NDArray[np.int64], batches: int, overall: NDArray[np.float64], matching: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (b, p) controls of batches, and (b,) the weight of controls each has."""
    control = np.array([not one for one in groups.genes])
    weight = np.asarray(groups.weight, np.float64)[control]
    own = np.zeros(batches)
    np.add.at(own, batch[control], weight)
    part = weight / own[batch[control]]
    means = overall + sums_by(batch[control], (groups.mean[control] - overall) * part[:, None], batches)
    if matching == "pooled":
        return np.tile(overall, (batches, 1)), own
    trust = (own > 0).astype(float)
    if matching == "shrunk" and groups.noise is not None:
        between = _between(means, own, overall, groups.noise)
        trust = own * between / np.maximum(own * between + groups.noise, np.finfo(float).tiny)
    return overall + trust[:, None] * (means - overall), own


def sums_by(index: NDArray[np.int64], values: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    """Return (number, p) sums of the rows of `values` that share an index.

    Examples
    --------
    >>> sums_by(np.array([1, 1]), np.array([[1.0], [2.0]]), 2).ravel().tolist()
    [0.0, 3.0]
    """
    one = (np.ones(len(index)), (index, np.arange(len(index))))
    return np.asarray(csr_array(one, shape=(number, len(index))) @ values)


def _between(means: NDArray[np.float64], own: NDArray[np.float64], overall: NDArray[np.float64], noise: float) -> float:
    """Return the variance between batches, summed over features; 0 where noise explains it all."""
    total, there = own.sum(), int((own > 0).sum())
    spread = float((own * ((means - overall) ** 2).sum(axis=1)).sum())
    width = total - (own**2).sum() / total
    return max(0.0, (spread - (there - 1) * noise) / width) if width > 0 else 0.0


def _notes(share: NDArray[np.float64], own: NDArray[np.float64], names: list[str]) -> list[str]:
    if len(names) < 2:  # noqa: PLR2004
        return []
    lacking = [f"{name} ({share[1:, place].sum():g})" for place, name in enumerate(names) if not own[place]]
    notes = [listing(lacking, "Batches without control, compared with the mean of all controls")] if lacking else []
    few = [f"{name} ({own[place]:g})" for place, name in enumerate(names) if 0 < own[place] < FEW_CONTROLS]
    # tables have one row a batch, and no cells to count
    if few and own.max() > 1:
        notes.append(listing(few, f"Batches with fewer than {FEW_CONTROLS} control cells"))
    return notes
