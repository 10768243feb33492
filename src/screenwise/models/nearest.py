"""The nearest training condition of each task: what a prediction rests on, by name."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from screenwise.errors import ColumnError, StructureError
from screenwise.models.gp_kernels import chunks, readable_features
from screenwise.models.measured import one_kernel
from screenwise.models.neighbourhood import similarities
from screenwise.represent.kernels import Kernel
from screenwise.rng import stream


@dataclass(frozen=True)
class Neighbours:
    """Training conditions, and of which tasks they were measured."""

    kernel: Kernel
    """Similarity: count Tanimoto of structures, or that of what else conditions have."""
    features: Any
    """Of the n training conditions that can be read."""
    row: NDArray[np.int64]
    """(n,) which training conditions these are."""
    start: NDArray[np.int64]
    """(n + 1,) where the groups of each begin in `group`."""
    group: NDArray[np.int64]
    """(m,) groups of tasks in which a condition was measured."""
    group_of: NDArray[np.int64]
    """(t,) group of each task; tasks measured on the same conditions share one; -1 = never measured."""


def learn_neighbours(
    conditions: pd.DataFrame, row: NDArray[np.int64], task: NDArray[np.int64], tasks: int
) -> Neighbours | None:
    """Return the training conditions ready to be compared with; None where nothing tells how alike they are.

    Parameters
    ----------
    conditions
        (n,) training conditions with their factors.
    row, task
        (m,) measured cells: positions among the conditions and the tasks.
    tasks
        Number of tasks t.
    """
    try:
        kernel = one_kernel(conditions, None)
        (features,), readable, _ = readable_features((kernel,), conditions)
    except (ColumnError, StructureError):
        return None
    group_of = _groups(len(conditions), row, task, tasks)
    pairs = np.unique(np.stack([row, group_of[task]]), axis=1)
    pairs = pairs[:, readable[pairs[0]]]
    place = np.cumsum(readable) - 1
    start = np.concatenate([[0], np.cumsum(np.bincount(place[pairs[0]], minlength=int(readable.sum())))])
    return Neighbours(kernel, features, np.flatnonzero(readable), start.astype(np.int64), pairs[1], group_of)


def nearest(known: Neighbours, conditions: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return, for q conditions and t tasks, the most similar training condition measured of the task.

    Returns
    -------
    row
        (q, t) position among the training conditions; -1 = there is none. Of equally near ones the first.
    similarity
        (q, t) 0 to 1, 1 = the same condition; NaN where there is none.

    Examples
    --------
    >>> train = pd.DataFrame({"smiles": ["CCO", "c1ccccc1", "CCCCN"]})
    >>> known = learn_neighbours(train, np.array([0, 1, 2]), np.array([0, 0, 1]), 2)
    >>> row, similarity = nearest(known, pd.DataFrame({"smiles": ["Cc1ccccc1", "not a structure"]}))
    >>> row.tolist(), (similarity[0] < 1).tolist()
    ([[1, 2], [-1, -1]], [True, True])
    """
    shape = (len(conditions), len(known.group_of))
    row, similarity = np.full(shape, -1, np.int64), np.full(shape, np.nan, np.float32)
    try:
        (features,), readable, _ = readable_features((known.kernel,), conditions)
    except ColumnError:
        return row, similarity
    groups = int(known.group_of.max(initial=-1)) + 1
    best = np.full((features.shape[0], groups + 1), -1.0, np.float32)
    place = np.full(best.shape, -1, np.int64)
    for part in chunks(len(best), len(known.row), layers=2):
        similar = similarities(known.kernel, features[part], known.features)
        _look(similar, known.start, known.group, best[part], place[part])
    there = place >= 0
    # group -1, of tasks never measured, is the last column, where nothing was found
    row[readable] = np.where(there, known.row[place], -1)[:, known.group_of]
    similarity[readable] = np.where(there, best, np.nan)[:, known.group_of]
    return row, similarity


def _groups(rows: int, row: NDArray[np.int64], task: NDArray[np.int64], tasks: int) -> NDArray[np.int64]:
    """Return (t,) one code for tasks with the same conditions, by sums of one random word per condition."""
    word = stream(0, "nearest", "groups").integers(0, 2**63, rows, dtype=np.uint64)
    total = np.zeros(tasks, np.uint64)
    np.add.at(total, task, word[row])
    code = np.full(tasks, -1)
    there = np.bincount(task, minlength=tasks) > 0
    code[there] = np.unique(total[there], return_inverse=True)[1]
    return code


@njit(cache=True)
def _look(similar: Any, start: Any, group: Any, best: Any, place: Any) -> None:  # pragma: no cover
    """Write the highest similarity of each row to the members of each group, and whose it is."""
    for row in range(similar.shape[0]):
        for other in range(similar.shape[1]):
            for at in range(start[other], start[other + 1]):
                if similar[row, other] > best[row, group[at]]:
                    best[row, group[at]] = similar[row, other]
                    place[row, group[at]] = other
