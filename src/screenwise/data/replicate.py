"""Many readings of one condition and task -> one measurement, qualifiers respected."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse

from screenwise.screen import ABOVE, BELOW, EXACT, Cells, Screen, targets_from_cells

HALF = 0.5
"""From here on a yes or no is a yes."""
BOTH_SIDES = "bounds on both sides and no exact value"


def aggregate_replicates(
    row: NDArray[Any], task: NDArray[Any], value: NDArray[Any], relation: NDArray[Any]
) -> pd.DataFrame:
    """Return one measurement per (row, task), sorted by row, then task.

    Exact readings decide: their median, and bounds beside them are left out. Where there are only
    bounds on one side, the tightest is kept: the largest lower bound (">"), the smallest upper one
    ("<"). Bounds on both sides without an exact reading are refused: a screen holds one value and
    one relation per cell.

    Parameters
    ----------
    row, task
        (m,) integers: condition and task of each reading.
    value
        (m,) finite numbers.
    relation
        (m,) -1 true value below, 0 exact, 1 above.

    Returns
    -------
    DataFrame: row, task, value, relation, replicates (readings used), reason (empty where fine).

    Examples
    --------
    >>> row, task = np.array([0, 0, 0, 1, 1]), np.zeros(5, int)
    >>> cells = aggregate_replicates(row, task, np.array([5.0, 7.0, 9.0, 4.0, 4.5]), np.array([0, 0, 1, -1, -1]))
    >>> cells[["row", "value", "relation", "replicates"]].to_numpy().tolist()
    [[0.0, 6.0, 0.0, 2.0], [1.0, 4.0, -1.0, 2.0]]
    """
    row, task = np.asarray(row, np.int64), np.asarray(task, np.int64)
    value, relation = np.asarray(value, np.float64), np.asarray(relation, np.int8)
    group, keys = pd.factorize(row * (int(task.max(initial=0)) + 1) + task, sort=True)
    size = len(keys)

    def fold(side: int, how: str) -> NDArray[np.float64]:
        chosen = relation == side
        folded = pd.Series(value[chosen]).groupby(group[chosen]).agg(how)
        full = np.full(size, np.nan)
        full[folded.index.to_numpy(np.int64)] = folded.to_numpy()
        return full

    exact, lower, upper = fold(EXACT, "median"), fold(ABOVE, "max"), fold(BELOW, "min")
    has = {EXACT: ~np.isnan(exact), ABOVE: ~np.isnan(lower), BELOW: ~np.isnan(upper)}
    side = np.select([has[EXACT], has[ABOVE]], [EXACT, ABOVE], BELOW).astype(np.int8)
    both = ~has[EXACT] & has[ABOVE] & has[BELOW]
    first = np.zeros(size, np.int64)
    first[group[::-1]] = np.arange(len(group))[::-1]
    return pd.DataFrame(
        {
            "row": row[first],
            "task": task[first],
            "value": np.select([has[EXACT], has[ABOVE]], [exact, lower], upper),
            "relation": side,
            "replicates": np.bincount(group[relation == side[group]], minlength=size),
            "reason": np.where(both, BOTH_SIDES, "").astype(object),
        }
    )


def one_row_per_condition(screen: Screen) -> Screen:
    """Return the screen with the rows of one condition made one, their readings aggregated.

    Cells with bounds on both sides and no exact value are left out. Of readings that disagree on yes or no
    (a task of the kind classification), yes counts, as in a table that is read. A screen whose conditions
    all differ is returned as it is.

    Examples
    --------
    >>> from screenwise.screen import make_screen
    >>> twice = make_screen(pd.DataFrame({"gene": ["MYC", "MYC"]}), np.array([[1.0], [2.0]]), ["growth"])
    >>> one_row_per_condition(twice).targets.value.tolist()
    [[1.5]]
    """
    codes, ids = pd.factorize(screen.conditions["condition_id"])
    if len(ids) == len(screen):
        return screen
    cells = screen.targets.cells()
    merged = aggregate_replicates(codes[cells.row], cells.task, cells.value, cells.relation)
    merged = merged[merged["reason"] == ""]
    yes_no = (screen.tasks["kind"] == "classification").to_numpy(bool)[merged["task"]]
    merged = merged.assign(value=np.where(yes_no, merged["value"] >= HALF, merged["value"]))
    first = np.zeros(len(ids), np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    arrays = (merged[name].to_numpy() for name in ("row", "task", "value", "relation"))
    targets = targets_from_cells(Cells(*arrays), (len(ids), len(screen.tasks)), sparse=issparse(screen.targets.value))
    return Screen(screen.conditions.iloc[first].reset_index(drop=True), screen.tasks, targets)
