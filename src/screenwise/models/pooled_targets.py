"""What a pooled process learns of each cell, on one scale; and its answers back in the units of the tasks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from screenwise.models.pooled_group import ABOVE, BELOW, BEYOND, LABELS, VALUE
from screenwise.models.pooled_tasks import FEW, Assays, PooledCells, shrunk_moments, standardise


@dataclass(frozen=True)
class Scales:
    """Units of the values of a assays."""

    centre: NDArray[np.float64]
    """(a, 2) means of the exact values, and of all with bounds as values."""
    spread: NDArray[np.float64]
    """(a, 2) their standard deviations."""
    beyond: NDArray[np.float64]
    """(a, 2) shares of cells below and above a bound."""
    bounded: bool
    """Whether there is any bound."""


@dataclass(frozen=True)
class Hurdle:
    """Values of m cells in two parts: what they are if they can be measured, and whether they are beyond a bound."""

    exact: NDArray[np.float64]
    """(m,) value given that it is measured exactly."""
    std: NDArray[np.float64]
    """(m,) of `point`."""
    below: NDArray[np.float64]
    """(m,) probability of being below a bound of the assay, such as its highest concentration."""
    above: NDArray[np.float64]
    """(m,) probability of being above one."""
    point: NDArray[np.float64]
    """(m,) both parts in one number: exact + (below + above) x (value behind bounds - exact)."""


def learn_scales(cells: PooledCells, assays: Assays) -> Scales:
    """Return means and deviations of the assays' values, shrunk to their targets', and shares of bounds."""
    known = np.isfinite(cells.value)
    exact = known & (cells.relation == 0)
    parts = [shrunk_moments(cells.value[one], cells.assay[one], assays) for one in (exact, known)]
    shares = [_shrunk_share(cells.relation[known] == side, cells.assay[known], assays) for side in (-1, 1)]
    centre, spread = (np.stack([part[place] for part in parts], axis=1) for place in (0, 1))
    return Scales(centre, spread, np.stack(shares, axis=1), bool((known & ~exact).any()))


def make_targets(
    cells: PooledCells, assays: Assays, signs: NDArray[np.int8], scales: Scales, settings: tuple[str, float]
) -> NDArray[np.float64]:
    """Return (m, 4 + l) standardised targets of the columns of `screenwise.models.pooled_group`.

    Parameters
    ----------
    cells, assays
        What was measured.
    signs
        (t,) of the tasks' labels.
    scales
        Of the values.
    settings
        How bounds are learned from, and the share of a label in its own target where a value was read too.
    """
    treatment, label_share = settings
    known = np.isfinite(cells.value)
    out = np.zeros((len(cells), LABELS + cells.label.shape[1]))
    for column, which in ((VALUE, _unit_of_values(treatment)), (BEYOND, 1)):
        raw = (cells.value - scales.centre[cells.assay, which]) / scales.spread[cells.assay, which]
        out[:, column] = np.where(known, raw, 0.0)
    for column, side in ((BELOW, -1), (ABOVE, 1)):
        share = scales.beyond[cells.assay, column - BELOW]
        out[:, column] = np.where(known, (cells.relation == side) - share, 0.0)
    value = standardise(cells.value, cells.assay, len(assays))
    sign = np.ones((len(assays), cells.label.shape[1]))
    labelled = assays.slot >= 0
    sign[assays.assay[labelled], assays.slot[labelled]] = signs[labelled]
    for slot in range(cells.label.shape[1]):
        label = sign[cells.assay, slot] * standardise(cells.label[:, slot], cells.assay, len(assays))
        both = (1.0 - label_share) * value + label_share * label
        mixed = np.where(known & np.isfinite(label), both, np.where(known, value, label))
        out[:, LABELS + slot] = np.nan_to_num(standardise(mixed, cells.assay, len(assays)))
    return out


def in_units(
    found: NDArray[np.float64], latent: NDArray[np.float64], assay: NDArray[np.int64], scales: Scales, treatment: str
) -> Hurdle:
    """Return the values of m cells in the units of their tasks.

    Parameters
    ----------
    found
        (m, 4 + l) standardised predictions.
    latent
        (m,) variance of the standardised value, noise included.
    assay
        (m,)
    scales
        As learned.
    treatment
        How bounds were learned from.
    """
    which = _unit_of_values(treatment)
    exact = scales.centre[assay, which] + scales.spread[assay, which] * found[:, VALUE]
    variance = scales.spread[assay, which] ** 2 * latent
    if treatment != "hurdle" or not scales.bounded:
        nothing = np.zeros(len(assay))
        return Hurdle(exact, np.sqrt(variance), nothing, nothing, exact)
    below = np.clip(scales.beyond[assay, 0] + found[:, BELOW], 0.0, 1.0)
    above = np.clip(scales.beyond[assay, 1] + found[:, ABOVE], 0.0, 1.0)
    over = below + above
    below, above, over = below / np.maximum(over, 1.0), above / np.maximum(over, 1.0), np.minimum(over, 1.0)
    step = scales.centre[assay, 1] + scales.spread[assay, 1] * found[:, BEYOND] - exact
    std = np.sqrt(variance + over * (1.0 - over) * step**2)
    return Hurdle(exact, std, below, above, exact + over * step)


def _unit_of_values(treatment: str) -> int:
    """Return which of `Scales.centre` values are measured from: those of exact ones, or of all."""
    return 0 if treatment in ("hurdle", "drop") else 1


def _shrunk_share(there: NDArray[np.bool_], assay: NDArray[np.int64], assays: Assays) -> NDArray[np.float64]:
    """Return (a,) shares, shrunk to the target's as by `FEW` cells, and that to the share of all."""
    size, groups = len(assays), int(assays.group.max()) + 1
    count, hits = np.bincount(assay, minlength=size), np.bincount(assay, there, size)
    group_count, group_hits = (np.bincount(assays.group, one, groups) for one in (count, hits))
    everything = hits.sum() / max(count.sum(), 1)
    target = (group_hits + FEW * everything) / (group_count + FEW)
    return np.asarray((hits + FEW * target[assays.group]) / (count + FEW))
