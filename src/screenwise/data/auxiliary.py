"""Auxiliary tasks beside the main ones: they teach, and are not scored.

Such as single-dose screens of a whole library, or what another model is sure of (pseudo-labels). MELLODDY-TUNER
calls them AUX_HTS and AUX_PL; there too their weight in training is small and that in scores 0.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse

from screenwise.condition import factor_columns
from screenwise.errors import ColumnError, DataError
from screenwise.screen import Cells, Screen, make_screen, targets_from_cells, task_column

WEIGHT = 0.1
"""Weight of an auxiliary task in training where its table says none: MELLODDY-TUNER's."""
SUFFIX = " (auxiliary)"
"""What follows the name of an auxiliary task that a main one has too."""


def with_auxiliary(screen: Screen, auxiliary: Screen, *, without: NDArray[np.object_] | None = None) -> Screen:
    """Return a screen with further tasks, of `aggregation_weight` 0, after its own.

    Parameters
    ----------
    screen
        (n, t) the main measurements; its conditions and tasks keep their places.
    auxiliary
        Its conditions are matched by `condition_id`; those that the screen does not have come after its own.
    without
        Condition ids that are left out of the auxiliary tasks, such as those held out.

    Raises
    ------
    DataError
        Nothing is left to learn from, or conditions are described by other columns than those of the screen.

    Examples
    --------
    >>> main = make_screen(pd.DataFrame({"smiles": ["CCO", "CCN"]}), np.array([[1.0], [0.0]]), ["potency"])
    >>> library = make_screen(pd.DataFrame({"smiles": ["CCN", "CCC"]}), np.array([[1.0], [0.0]]), ["screen"])
    >>> both = with_auxiliary(main, library)
    >>> both.targets.dense().tolist()
    [[1.0, nan], [0.0, 1.0], [nan, 0.0]]
    >>> both.tasks["aggregation_weight"].tolist()
    [1.0, 0.0]
    """
    _refuse_strangers(screen, auxiliary)
    cells, more = screen.targets.cells(), auxiliary.targets.cells()
    keep = np.isfinite(more.value)
    if without is not None:
        keep &= ~auxiliary.conditions["condition_id"].isin(without).to_numpy()[more.row]
    if not keep.any():
        message = "The auxiliary tasks have no measurement of a condition that may be learned from."
        raise DataError(message)
    used = np.unique(more.row[keep])
    place = pd.Index(screen.conditions["condition_id"]).get_indexer(auxiliary.conditions["condition_id"])
    new = used[place[used] < 0]
    place[new] = len(screen) + np.arange(len(new))
    conditions = pd.concat([screen.conditions, auxiliary.conditions.iloc[new]], ignore_index=True)
    tasks = pd.concat([screen.tasks, _tasks(screen, auxiliary)], ignore_index=True)
    tasks["aggregation_weight"] = task_column(tasks, "aggregation_weight")
    both = Cells(
        np.concatenate([cells.row, place[more.row[keep]]]),
        np.concatenate([cells.task, len(screen.tasks) + more.task[keep]]),
        np.concatenate([cells.value, more.value[keep]]),
        np.concatenate([cells.relation, more.relation[keep]]),
    )
    weight = screen.targets.weight
    if weight is not None:
        weight = np.concatenate([weight, np.ones(len(new), np.float32)])
    shape = (len(conditions), len(tasks))
    sparse = issparse(screen.targets.value) or issparse(auxiliary.targets.value) or len(both) < shape[0] * shape[1] // 4
    return make_screen(conditions, targets_from_cells(both, shape, sparse=sparse, weight=weight), tasks)


def _refuse_strangers(screen: Screen, auxiliary: Screen) -> None:
    """Raise where no column says of both screens what was applied: a model would see nothing of the further rows."""
    try:
        own, other = (factor_columns(one.conditions) for one in (screen, auxiliary))
    except ColumnError:  # factors of the user's own, such as the components of a reaction
        return
    if not set(own) & set(other):
        message = (
            f"The auxiliary conditions are described by {', '.join(other)}, those of the table by "
            f"{', '.join(own)}. Add such a column to the auxiliary table."
        )
        raise DataError(message)


def auxiliary_tasks(screen: Screen, weight: NDArray[np.float64] | None = None) -> Screen:
    """Return a screen whose tasks are auxiliary, without those that have one value only and teach nothing.

    Parameters
    ----------
    screen
        What was read.
    weight
        (m,) weights of the measured cells, which a task has in common; None = `WEIGHT`.

    Examples
    --------
    >>> made = make_screen(pd.DataFrame({"gene": ["A", "B"]}), np.array([[0.0, 1.0], [1.0, 1.0]]), ["a", "b"])
    >>> auxiliary_tasks(made).tasks[["name", "weight", "aggregation_weight"]].values.tolist()
    [['a', 0.1, 0.0]]
    """
    cells = screen.targets.cells()
    number = np.bincount(cells.task, minlength=len(screen.tasks))
    most, least = np.full(len(number), -np.inf), np.full(len(number), np.inf)
    np.maximum.at(most, cells.task, cells.value)
    np.minimum.at(least, cells.task, cells.value)
    useful = np.flatnonzero(most > least)
    if len(useful) == 0:
        message = "No auxiliary task has two different values; there is nothing to learn from them."
        raise DataError(message)
    tasks = screen.tasks.copy()
    tasks["weight"] = WEIGHT
    if weight is not None:
        given = np.asarray(weight, np.float64)
        if not (np.isfinite(given) & (given >= 0)).all():
            message = "The weights of auxiliary tasks must be numbers of at least 0; some are empty or below it."
            raise DataError(message)
        mean = np.bincount(cells.task, weights=given, minlength=len(number)) / np.maximum(number, 1)
        tasks["weight"] = np.round(mean, 12)  # a mean of equal numbers is that number
    tasks["aggregation_weight"] = 0.0
    return Screen(screen.conditions, tasks, screen.targets).take_tasks(useful)


def _tasks(screen: Screen, auxiliary: Screen) -> pd.DataFrame:
    """Return the auxiliary tasks under names that the screen does not have."""
    tasks, taken = auxiliary.tasks.copy(), set(screen.task_names)
    tasks["name"] = [f"{name}{SUFFIX}" if name in taken else name for name in auxiliary.task_names]
    tasks["aggregation_weight"] = 0.0
    return tasks
