"""Statistics of cells -> profiles: effects against the control of the same batch, with their standard errors."""

import numpy as np
from numpy.typing import NDArray

from screenwise.data.cell_statistics import Statistics
from screenwise.data.matched_control import GroupMeans, MatchedLevels, matched_levels, sums_by
from screenwise.data.profile_screen import ProfileFacts, Profiles, make_profiles
from screenwise.data.profile_table import read_profiles

__all__ = ["ProfileFacts", "Profiles", "make_profiles", "profiles_from_statistics", "read_profiles"]

ENOUGH_FREEDOM = 10
"""Degrees of freedom from which a condition's own variance alone is used."""


def profiles_from_statistics(statistics: Statistics, *, controls: str = "shrunk") -> Profiles:
    """Return one profile per condition: the control's mean + the effect within batches.

    The standard error is that of the mean of the condition's own cells (their variance within
    batches over their number; where a condition has too few cells for a variance, the control's
    variance). The control's own error stands in the control's row: an effect's variance is the sum
    of both, since all effects share one control.

    Parameters
    ----------
    statistics
        Sums over cells.
    controls
        "shrunk", "matched" or "pooled" (`screenwise.data.matched_control`).

    Examples
    --------
    >>> import pandas as pd
    >>> groups = pd.DataFrame({"condition": ["ctrl", "A"], "gene_a": ["", "A"], "batch": "", "n_cells": [4, 16]})
    >>> sums, squares = np.array([[4.0], [32.0]]), np.array([[16.0], [64.0]])
    >>> profiles = profiles_from_statistics(Statistics(groups, np.array([4, 16]), sums, squares, ["x"]))
    >>> profiles.effect.ravel().tolist(), profiles.standard_error.ravel().tolist()
    ([0.0, 1.0], [1.0, 0.0])
    """
    kept = np.flatnonzero(statistics.count > 0)
    genes = [one for place, one in enumerate(statistics.genes) if statistics.count[place] > 0]
    batch = statistics.groups["batch"].astype(str).to_numpy(object)[kept]
    count = statistics.count[kept].astype(np.float64)
    mean = statistics.total[kept] / count[:, None]
    # sum of squares about each group's own mean; rounding must not make it negative
    within = np.maximum(statistics.squares[kept] - mean * statistics.total[kept], 0.0)
    control = np.array([not one for one in genes])
    freedom = float((count[control] - 1).sum())
    noise = float(within[control].sum() / freedom) if freedom > 0 else None
    matched = matched_levels(GroupMeans(genes, batch, count, mean, noise), controls)
    error = _standard_error(matched, count, within)
    empty = [str(one) for one in statistics.groups["condition"][statistics.count == 0].unique()]
    notes = [*statistics.notes, *matched.notes]
    if empty:
        notes.append(f"No cell with counts: {', '.join(empty[:5])} ({len(empty)}).")
    facts = ProfileFacts(error, matched.weight, statistics.symbols, statistics.rejected, notes, statistics.floor)
    return make_profiles(matched.genes, matched.level, statistics.features, facts)


def _standard_error(
    matched: MatchedLevels, count: NDArray[np.float64], within: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return (n, p) standard errors of conditions' means; None where no variance is known."""
    freedom = np.bincount(matched.condition, count - 1, minlength=len(matched.genes))
    if freedom[0] < 1:
        return None
    squares = sums_by(matched.condition, within, len(matched.genes))
    own = squares / np.maximum(freedom, 1)[:, None]
    # a gene that a few cells happen not to show has no variance there, but is not known without error
    trust = np.minimum(freedom / ENOUGH_FREEDOM, 1.0)[:, None]
    trust[0] = 1.0
    return np.asarray(np.sqrt((trust * own + (1 - trust) * own[0]) / matched.weight[:, None]))
