"""Tasks as a pooled process sees them: assays with a value and labels, pooled by the protein they ask of."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.errors import ModelError
from screenwise.screen import Screen, task_column

FEW = 5.0
"""A task's mean and deviation are shrunk to those of its target, and these to those of all, as by so many values."""


@dataclass(frozen=True)
class Assays:
    """Which of t tasks read one experiment, and which of a experiments ask of one protein."""

    assay: NDArray[np.int64]
    """(t,) code of each task's assay."""
    slot: NDArray[np.int64]
    """(t,) -1 for the value of an assay, 0, 1, ... for its labels."""
    group: NDArray[np.int64]
    """(a,) code of each assay's target; an assay without target is a group of its own."""

    def __len__(self) -> int:
        return len(self.group)


def find_assays(tasks: pd.DataFrame) -> Assays:
    """Return the assays of (t,) tasks, by the columns `assay` and `target`.

    An assay has one value; a second regression task that names the same assay counts as another assay.

    Examples
    --------
    >>> tasks = pd.DataFrame({"name": ["a", "a active", "b"], "kind": ["regression", "classification", "regression"]})
    >>> found = find_assays(tasks.assign(assay=["a", "a", "b"], target="EGFR"))
    >>> found.assay.tolist(), found.slot.tolist(), found.group.tolist()
    ([0, 0, 1], [-1, 0, -1], [0, 0])
    """
    labels = (tasks["kind"] == "classification").to_numpy()
    named, targets = task_column(tasks, "assay"), task_column(tasks, "target")
    order = tasks.assign(label=labels, assay=named).groupby(["assay", "label"]).cumcount().to_numpy()
    alone = (named == "") | (~labels & (order > 0))
    assay = pd.factorize(pd.Series(list(zip(named, np.where(alone, np.arange(len(tasks)), -1), strict=True))))[0]
    slot = np.where(labels, np.where(alone, 0, order), -1)
    of_assay = pd.Series(targets, dtype=object).replace("", None).groupby(assay).first()
    group = [(name, -1) if name is not None else ("", place) for place, name in enumerate(of_assay.tolist())]
    return Assays(assay.astype(np.int64), slot.astype(np.int64), pd.factorize(pd.Series(group))[0].astype(np.int64))


@dataclass(frozen=True)
class PooledCells:
    """What was measured of m pairs of a condition and an assay, by group of assays."""

    row: NDArray[np.int64]
    """(m,) condition."""
    assay: NDArray[np.int64]
    """(m,)"""
    value: NDArray[np.float64]
    """(m,) NaN where only labels were read."""
    relation: NDArray[np.int8]
    """(m,) of the value."""
    label: NDArray[np.float64]
    """(m, l) 0 or 1, NaN where not read."""
    noise: NDArray[np.float64]
    """(m,) relative variance of the measurement, 1 over the weight of its condition."""
    of_cell: NDArray[np.int64]
    """(cells of the screen that were used,) which of the m each is."""
    used: NDArray[np.int64]
    """Those cells' places among the cells of the screen."""

    def __len__(self) -> int:
        return len(self.row)


def pool_cells(screen: Screen, assays: Assays, readable: NDArray[np.bool_]) -> PooledCells:
    """Join the cells of one condition in one assay; ordered by group, then assay, then condition.

    Parameters
    ----------
    screen
        Measured conditions.
    assays
        Of its tasks.
    readable
        (n,) conditions that can be compared; others are left out.
    """
    cells = screen.targets.cells()
    weight = np.ones(len(screen)) if screen.targets.weight is None else screen.targets.weight.astype(np.float64)
    used = np.flatnonzero(np.isfinite(cells.value) & (readable & (weight > 0))[cells.row])
    if not len(used):
        message = "No condition has both a measured value and a readable structure; there is nothing to learn from."
        raise ModelError(message)
    row, task, value = cells.row[used], cells.task[used], cells.value[used].astype(np.float64)
    assay = assays.assay[task]
    key = (assays.group[assay] * len(assays) + assay) * len(screen) + row
    distinct, first, of_cell = np.unique(key, return_index=True, return_inverse=True)
    slot = assays.slot[task]
    values, labels = np.full(len(distinct), np.nan), np.full((len(distinct), int(slot.max()) + 1), np.nan)
    relation = np.zeros(len(distinct), np.int8)
    own = slot < 0
    values[of_cell[own]], relation[of_cell[own]] = value[own], cells.relation[used][own]
    labels[of_cell[~own], slot[~own]] = value[~own]
    rows = row[first]
    return PooledCells(rows, assay[first], values, relation, labels, 1.0 / weight[rows], of_cell, used)


def learn_signs(cells: PooledCells, assays: Assays) -> NDArray[np.int8]:
    """Return (t,) -1 for labels that run against the values of their assay, else 1.

    A label runs against the values where the mean value of its zeros is above that of its ones; bounds
    count as values. Known from training cells only; 1 where one of both was never read.
    """
    signs = np.ones(len(assays.assay), np.int8)
    for slot in range(cells.label.shape[1]):
        label = cells.label[:, slot]
        both = np.isfinite(label) & np.isfinite(cells.value)
        means = [
            _means(cells.value[both & (label == one)], cells.assay[both & (label == one)], len(assays))[0]
            for one in (0, 1)
        ]
        against = means[0] > means[1]
        signs[(assays.slot == slot) & against[assays.assay]] = -1
    return signs


def standardise(x: NDArray[np.float64], code: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """Return (m,) values minus their code's mean over its deviation; NaN stays, a constant becomes 0.

    Examples
    --------
    >>> standardise(np.array([1.0, 3.0, 5.0, 5.0]), np.array([0, 0, 1, 1]), 2).tolist()
    [-1.0, 1.0, 0.0, 0.0]
    """
    known = np.isfinite(x)
    mean, deviation, _ = _moments(x[known], code[known], size)
    flat = deviation <= 1e-9 * np.maximum(1.0, np.abs(mean))
    return (
        np.where(flat[code], x - mean[code] if flat.any() else 0.0, x - mean[code])
        / np.where(flat, np.inf, deviation)[code]
    )


def shrunk_moments(
    x: NDArray[np.float64], code: NDArray[np.int64], assays: Assays
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (a,) mean and standard deviation of each assay's values, shrunk to those of its target and of all.

    Parameters
    ----------
    x, code
        (m,) values and their assays.
    assays
        For the targets.
    """
    everything = float(x.mean()) if len(x) else 0.0
    spread = float(x.std()) or 1.0 if len(x) else 1.0
    mean, deviation, count = _moments(x, code, len(assays))
    groups = int(assays.group.max()) + 1
    target, _, target_count = _moments(x, assays.group[code], groups)
    within = np.bincount(assays.group, np.nan_to_num(deviation) ** 2 * count, groups)
    target = (np.nan_to_num(target) * target_count + FEW * everything) / (target_count + FEW)
    typical = float((np.nan_to_num(deviation) ** 2 * count).sum() / max(count.sum(), 1)) or spread**2
    variance = (within + FEW * typical) / (target_count + FEW)
    centre = (np.nan_to_num(mean) * count + FEW * target[assays.group]) / (count + FEW)
    scale = (np.nan_to_num(deviation) ** 2 * count + FEW * variance[assays.group]) / (count + FEW)
    return centre, np.sqrt(scale)


def _means(x: NDArray[np.float64], code: NDArray[np.int64], size: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    count = np.bincount(code, minlength=size)
    with np.errstate(invalid="ignore"):
        return np.bincount(code, x, size) / count, count


def _moments(
    x: NDArray[np.float64], code: NDArray[np.int64], size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return means, deviations and numbers of values by code; NaN where there is none."""
    mean, count = _means(x, code, size)
    variance, _ = _means((x - mean[code]) ** 2, code, size)
    return mean, np.sqrt(variance), count
