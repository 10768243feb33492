"""SparseChem's table of tasks: which teach how much, which count in the mean, which partners share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.errors import ColumnError, DataError
from screenwise.run import write_text

COLUMNS = ("task_id", "training_weight", "aggregation_weight", "task_type", "censored_weight", "catalog_id")
_ALSO = {"weight": "training_weight"} | {f"{name}s": name for name in COLUMNS}
_RANGES = {"training_weight": 1.0, "aggregation_weight": np.inf, "censored_weight": np.inf}


@dataclass(frozen=True)
class TaskWeights:
    """Weights of t tasks, in the order of the columns of Y."""

    training: NDArray[np.float64]
    """(t,) in [0, 1]: weight of the task's cells in the loss."""
    aggregation: NDArray[np.float64] | None = None
    """(t,) weight of the task's scores in the mean; None = not given."""
    censored: NDArray[np.float64] | None = None
    """(t,) multiplies the weight of bounds; None = 1."""
    type: NDArray[Any] | None = None
    """(t,) kind of each task, such as PANEL; None = not given."""
    catalogue: NDArray[Any] | None = None
    """(t,) name under which partners share the task, "" = private; None = not given."""

    def __len__(self) -> int:
        return len(self.training)


def read_task_weights(path: Path | None, tasks: int, label: str) -> TaskWeights:
    """Read a CSV with ``task_id`` and ``training_weight``, and perhaps more of `COLUMNS`.

    Parameters
    ----------
    path
        The file; None = every task weighs 1.
    tasks
        Columns of the labels that it is about.
    label
        Names those labels in errors: ``"y_class"`` or ``"y_regr"``.

    Raises
    ------
    ColumnError
        A column is missing, doubled or unknown.
    DataError
        A task stands twice or not at all, or a weight is outside its range.
    """
    if path is None:
        return TaskWeights(np.ones(tasks))
    path = Path(path)
    table = _read(path)
    place = _places(table, tasks, label, path)
    found = {name: _numbers(table, name, path)[place] for name in _RANGES if name in table.columns}
    texts = {name: _texts(table, name)[place] for name in ("task_type", "catalog_id") if name in table.columns}
    return TaskWeights(
        found["training_weight"],
        found.get("aggregation_weight"),
        found.get("censored_weight"),
        texts.get("task_type"),
        texts.get("catalog_id"),
    )


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except FileNotFoundError as error:
        message = f"{path} does not exist."
        raise DataError(message) from error
    except (ValueError, OSError) as error:  # pandas' own errors are ValueErrors
        message = f"{path} cannot be read as CSV: {error}. It must have a line of column names."
        raise DataError(message) from error
    table = table.rename(columns=_ALSO)
    doubled = table.columns[table.columns.duplicated()].tolist()
    unknown = [name for name in table.columns if name not in COLUMNS]
    missing = [name for name in COLUMNS[:2] if name not in table.columns]
    for wrong, says in ((doubled, "stands twice"), (unknown, "is not known"), (missing, "is missing")):
        if wrong:
            message = (
                f"{path}: column {wrong[0]!r} {says}. The columns are {', '.join(COLUMNS)}; the first two must be."
            )
            raise ColumnError(message)
    return table


def _places(table: pd.DataFrame, tasks: int, label: str, path: Path) -> NDArray[np.int64]:
    """Return the row of the table of each task."""
    ids = pd.to_numeric(table["task_id"], errors="coerce").to_numpy(np.float64)
    wrong = np.flatnonzero(~((ids >= 0) & (ids < tasks) & (ids == np.floor(ids))))
    if len(wrong):
        message = (
            f"{path}, line {wrong[0] + 2}: task_id is {table['task_id'].iloc[wrong[0]]!s}; "
            f"{label} has {tasks} tasks, 0 to {tasks - 1}."
        )
        raise DataError(message)
    doubled = np.flatnonzero(pd.Series(ids).duplicated())
    if len(doubled):
        message = f"{path}, line {doubled[0] + 2}: task_id {ids[doubled[0]]:g} stands twice; each task has one line."
        raise DataError(message)
    if len(ids) != tasks:
        absent = np.setdiff1d(np.arange(tasks), ids)
        message = f"{path}: task {absent[0]} of {label} has no line ({len(ids)} lines for {tasks} tasks)."
        raise DataError(message)
    return np.argsort(ids, kind="stable")


def _numbers(table: pd.DataFrame, name: str, path: Path) -> NDArray[np.float64]:
    numbers = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64)
    most = _RANGES[name]
    wrong = np.flatnonzero(~((numbers >= 0) & (numbers <= most) & np.isfinite(numbers)))
    if len(wrong):
        message = f"{path}, line {wrong[0] + 2}: {name} is {table[name].iloc[wrong[0]]!s}; it must be a number " + (
            f"from 0 to {most:g}." if np.isfinite(most) else "of at least 0."
        )
        raise DataError(message)
    return numbers


def _texts(table: pd.DataFrame, name: str) -> NDArray[Any]:
    column = table[name].astype(object)
    return column.where(column.notna(), "").astype(str).str.strip().to_numpy(object)


def write_task_weights(path: Path, weights: TaskWeights) -> None:
    """Write the CSV that `read_task_weights` reads, with the columns that are known."""
    columns = {
        "task_id": np.arange(len(weights)),
        "training_weight": weights.training,
        "aggregation_weight": weights.aggregation,
        "task_type": weights.type,
        "censored_weight": weights.censored,
        "catalog_id": weights.catalogue,
    }
    table = pd.DataFrame({name: column for name, column in columns.items() if column is not None})
    write_text(path, table.to_csv(index=False))
