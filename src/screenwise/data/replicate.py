"""Many readings of one condition and task -> one measurement, qualifiers respected."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.screen import ABOVE, BELOW, EXACT

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
