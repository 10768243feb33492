"""Scales of the multi-task network: values to unit variance, labels to the direction of their assay's values."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from screenwise.errors import ModelError
from screenwise.models.multitask_cells import CellTable
from screenwise.models.multitask_loss import task_factors
from screenwise.screen import Cells, Screen, Targets, task_column
from screenwise.train.sparse_store import MappedRows

PRIOR_VALUES = 5.0
"""Exact values of a task at which its own spread weighs as much as that of the tasks of its unit."""
SHOWN = 5
"""Names of tasks that a note gives."""


@dataclass(frozen=True)
class Scaling:
    """How values of t tasks become targets: (value - centre) / scale, and labels 1 - label where sign is -1."""

    centre: NDArray[np.float64]
    """(t,) mean of the exact values; 0 for classes."""
    scale: NDArray[np.float64]
    """(t,) standard deviation of the exact values; 1 for classes."""
    binary: NDArray[np.bool_]
    """(t,) which tasks are classes."""
    measured: NDArray[np.bool_]
    """(t,) which tasks have a measured cell."""
    sign: NDArray[np.int8]
    """(t,) -1 for a class whose label falls where its assay's value rises, else 1."""

    def each(self, members: NDArray[np.float32], task: NDArray[np.int64], temperature: float) -> NDArray[np.float32]:
        """Return outputs (k, ..., c) of the c tasks (last axis) as values and probabilities; NaN if never measured."""
        odds = np.clip(self.sign[task] * members / temperature, -30, 30)
        value = self.centre[task] + self.scale[task] * members
        each = np.where(self.binary[task], 1 / (1 + np.exp(-odds)), value)
        return np.where(self.measured[task], each, np.nan).astype(np.float32)


def without_bounds(screen: Screen) -> Screen:
    """Return the screen without its cells of values that are bounds."""
    cells = screen.targets.cells()
    return screen.where((cells.relation == 0) | _classes(screen)[cells.task])


def learn_scaling(screen: Screen, sign: NDArray[np.int8] | None = None) -> Scaling:
    """Return centre and scale of each task, from exact values only (bounds would pull both).

    `sign` is what `learn_signs` found. A task with fewer than two exact values takes what its bounds say, and
    without any spread the median scale of the other tasks;
    few values are drawn towards the scale of the tasks of the same unit.
    """
    cells = screen.targets.cells()
    finite = np.isfinite(cells.value)
    task, value, exact = cells.task[finite], cells.value[finite].astype(np.float64), cells.relation[finite] == 0
    tasks = screen.targets.shape[1]
    binary = _classes(screen)
    counts = np.bincount(task, minlength=tasks)
    few = np.bincount(task, exact, tasks) < 2  # noqa: PLR2004 - one value has no spread
    used = exact | few[task]
    size = np.maximum(np.bincount(task[used], minlength=tasks), 1)
    centre = np.bincount(task[used], value[used], tasks) / size
    variance = np.bincount(task[used], (value[used] - centre[task[used]]) ** 2, tasks) / size
    scale = np.sqrt(variance)
    good = (scale > 0) & ~binary
    scale[~good] = np.median(scale[good]) if good.any() else 1.0
    scale = _shrunk(scale, np.bincount(task[used], minlength=tasks), screen, good)
    labels = value[binary[task]]
    if not np.isin(labels, (0.0, 1.0)).all():
        wrong = screen.tasks["name"][task[binary[task]][~np.isin(labels, (0.0, 1.0))][0]]
        message = (
            f"Classification task {wrong!r} has values other than 0 and 1. Recode it, or make it a regression task."
        )
        raise ModelError(message)
    centre[binary], scale[binary] = 0.0, 1.0
    return Scaling(centre, scale, binary, counts > 0, np.ones(tasks, np.int8) if sign is None else sign)


def _shrunk(
    scale: NDArray[np.float64], size: NDArray[np.int64], screen: Screen, good: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return scales drawn towards the median of the tasks of the same unit, as if it were `PRIOR_VALUES` values.

    Two exact values that happen to agree would make every bound of their task a hundred deviations away.
    """
    unit = task_column(screen.tasks, "unit")
    found = scale.copy()
    for name in np.unique(unit[good].astype(str)):
        mine = good & (unit == name)
        if name and mine.sum() > 1:
            prior = np.median(scale[mine]) ** 2
            found[mine] = np.sqrt((size[mine] * scale[mine] ** 2 + PRIOR_VALUES * prior) / (size[mine] + PRIOR_VALUES))
    return found


def paired_values(tasks: pd.DataFrame) -> NDArray[np.int64]:
    """Return (t,) the task that holds the values of the assay whose labels a task holds; -1 where there is none.

    Examples
    --------
    >>> tasks = pd.DataFrame({"kind": ["regression", "classification"], "assay": ["A", "A"]})
    >>> paired_values(tasks).tolist()
    [-1, 0]
    """
    assay, classes = task_column(tasks, "assay"), (tasks["kind"] == "classification").to_numpy(bool)
    values = {name: place for place, name in reversed(list(enumerate(assay))) if name and not classes[place]}
    found = [values.get(name, -1) if label else -1 for name, label in zip(assay, classes, strict=True)]
    return np.array(found, np.int64).reshape(len(assay))


def learn_signs(screen: Screen) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """Say in which direction of its assay's value each label runs.

    Tables derived from activities hold labels of both directions: of 995 assays of FS-Mol (Stanley et al., NeurIPS
    2021), 411 call the weaker compounds active.

    Returns
    -------
    tuple
        (t,) int8, -1 where the mean value of the conditions labelled 1 is below that of those labelled 0, else 1;
        (t,) whether the label and the value disagree after that: no threshold on the value gives the labels.
    """
    tasks = screen.targets.shape[1]
    partner = paired_values(screen.tasks)
    cells = screen.targets.cells()
    keys = cells.row * tasks + cells.task
    asked = np.flatnonzero(partner[cells.task] >= 0)
    wanted = cells.row[asked] * tasks + partner[cells.task[asked]]
    order = np.argsort(keys, kind="stable")
    place = np.minimum(np.searchsorted(keys, wanted, sorter=order), max(len(keys) - 1, 0))
    there = keys[order[place]] == wanted if len(keys) else np.zeros(0, bool)
    asked, value = asked[there], cells.value[order[place[there]]].astype(np.float64)
    label, task = cells.value[asked], cells.task[asked]
    known = np.isfinite(value) & np.isin(label, (0.0, 1.0))
    label, task, value = label[known] > 0, task[known], value[known]
    kind = 2 * task + label
    count = np.bincount(kind, minlength=2 * tasks).reshape(tasks, 2)
    mean = np.bincount(kind, value, 2 * tasks).reshape(tasks, 2) / np.maximum(count, 1)
    both = (count > 0).all(axis=1)
    sign = np.where(both & (mean[:, 1] < mean[:, 0]), -1, 1).astype(np.int8)
    least, most = np.full(tasks, np.inf), np.full(tasks, -np.inf)
    upper = label == (sign[task] > 0)
    np.minimum.at(least, task[upper], value[upper])
    np.maximum.at(most, task[~upper], value[~upper])
    return sign, both & (most > least)


def target_codes(tasks: pd.DataFrame) -> NDArray[np.int64] | None:
    """Return (t,) number of each task's target, one of its own where it names none; None where none is shared.

    Examples
    --------
    >>> tasks = pd.DataFrame({"kind": ["regression"] * 4, "target": ["EGFR", "", "EGFR", ""]})
    >>> target_codes(tasks).tolist()
    [0, 1, 0, 3]
    """
    target, place = task_column(tasks, "target"), range(len(tasks))
    first: dict[Any, int] = {}
    code = np.array(
        [
            first.setdefault((name, kind) if name else at, at)
            for at, name, kind in zip(place, target, tasks["kind"], strict=True)
        ]
    )
    return None if len(np.unique(code)) == len(code) else code


def cell_table(
    screen: Screen,
    x: csr_array | MappedRows,
    scaling: Scaling,
    *,
    censored_weight: float = 1.0,
    regression_weight: float = 0.5,
) -> CellTable:
    """Return inputs and standardised targets of a screen's conditions, x (n, d).

    A cell's weight is that of its condition and its task, of its kind (`task_factors`), and for a bound
    `censored_weight` times the task's own.
    """
    cells = finite_cells(screen.targets)
    row, task, relation = cells.row, cells.task, cells.relation
    target = (cells.value - scaling.centre[task]) / scaling.scale[task]
    target = np.where(scaling.sign[task] < 0, 1 - target, target)
    factor = task_factors(scaling.binary, regression_weight, task_column(screen.tasks, "catalogue") != "")
    bound = censored_weight * task_column(screen.tasks, "censored_weight")
    weight = (task_column(screen.tasks, "weight") * factor)[task] * np.where(relation == 0, 1.0, bound[task])
    if screen.targets.weight is not None:
        weight = weight * screen.targets.weight[row]
    aggregation = task_column(screen.tasks, "aggregation_weight")
    even = bool((aggregation == 1).all()) or not bool((aggregation[task] > 0).any())
    return CellTable(
        x,
        np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(screen)))]),
        task.astype(np.int64),
        target.astype(np.float32),
        relation.astype(np.float32),
        weight.astype(np.float32),
        scaling.binary,
        None if even else aggregation.astype(np.float32),
    )


def finite_cells(targets: Targets) -> Cells:
    """Return the measured cells that have a number, in the order of a `CellTable` of the same targets."""
    cells = targets.cells()
    finite = np.isfinite(cells.value)
    return Cells(cells.row[finite], cells.task[finite], cells.value[finite], cells.relation[finite])


def label_notes(screen: Screen, sign: NDArray[np.int8], mixed: NDArray[np.bool_]) -> list[str]:
    """Say which labels run against their assay's values, and which follow no threshold of them (`learn_signs`)."""
    names = np.asarray(screen.task_names, object)
    paired = int((paired_values(screen.tasks) >= 0).sum())
    notes = []
    for which, text in (
        (sign < 0, "run against the values of their assay (label 1 where the value is low) and are learned so"),
        (mixed, "agree with no threshold on the values of their assay"),
    ):
        if which.any():
            some = ", ".join(names[which][:SHOWN]) + (", ..." if which.sum() > SHOWN else "")
            notes.append(f"{int(which.sum())} of {paired} labels {text}: {some}.")
    return notes


def _classes(screen: Screen) -> NDArray[np.bool_]:
    return (screen.tasks["kind"] == "classification").to_numpy(bool)
