"""What was done and what was read: conditions x tasks with relations, dense or sparse."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from screenwise.condition import condition_ids
from screenwise.errors import ColumnError, DataError
from screenwise.run import atomic_path

if TYPE_CHECKING:
    from anndata import AnnData

BELOW, EXACT, ABOVE = -1, 0, 1
"""The true value is below ("<"), equal to, or above (">") the number given."""

TASK_COLUMNS = {"name": "", "kind": "regression", "unit": "", "direction": "", "weight": 1.0}
"""Columns of `Screen.tasks` and what stands where nothing was said."""

MORE_TASK_COLUMNS = {"assay": "", "target": "", "catalogue": "", "aggregation_weight": 1.0, "censored_weight": 1.0}
"""Columns that `Screen.tasks` may have, and what stands where they are absent (`task_column`). Tasks of one
`assay` are readings of the same experiment, such as its value and its label; tasks of one `target` ask of
the same protein; `catalogue` names a task that partners share. A task of `aggregation_weight` 0 is auxiliary:
it teaches and is not scored. `censored_weight` multiplies the weight of the task's bounds."""


@dataclass(frozen=True)
class Targets:
    """Measured values of n conditions and t tasks; NaN, or not stored when sparse = not measured."""

    value: Any
    """(n, t) float32, a dense array or a `scipy.sparse.csr_array`."""
    relation: Any = None
    """(n, t) int8: -1 true value below, 0 exact, +1 above; the value's pattern when sparse. None = all exact."""
    weight: NDArray[np.float32] | None = None
    """(n,) weights of conditions."""

    def __post_init__(self) -> None:
        if issparse(self.value):
            object.__setattr__(self, "value", csr_array(self.value, dtype=np.float32))
        else:
            object.__setattr__(self, "value", np.asarray(self.value, np.float32))
        if len(self.value.shape) != 2:  # noqa: PLR2004
            message = f"Targets.value has shape {self.value.shape}; it must be (conditions, tasks)."
            raise DataError(message)
        if self.relation is not None:
            if self.relation.shape != self.value.shape:
                message = (
                    f"Targets.relation has shape {self.relation.shape}, the values {self.value.shape}; they must agree."
                )
                raise DataError(message)
            if issparse(self.value) != issparse(self.relation):
                message = "Targets.value and Targets.relation must both be dense or both be sparse."
                raise DataError(message)
            if issparse(self.value) and not (
                np.array_equal(self.value.indptr, self.relation.indptr)
                and np.array_equal(self.value.indices, self.relation.indices)
            ):
                message = "Targets.relation must store exactly the entries that Targets.value stores."
                raise DataError(message)
        if self.weight is not None and self.weight.shape != (self.value.shape[0],):
            message = f"Targets.weight has shape {self.weight.shape}; it must be ({self.value.shape[0]},)."
            raise DataError(message)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, t)."""
        return self.value.shape[0], self.value.shape[1]

    def cells(self) -> "Cells":
        """Return the measured cells one by one, ordered by condition, then task."""
        if issparse(self.value):
            rows = np.repeat(np.arange(self.shape[0]), np.diff(self.value.indptr))
            relation = np.zeros(len(rows), np.int8) if self.relation is None else self.relation.data
            return Cells(rows, self.value.indices.astype(np.int64), self.value.data, relation)
        rows, tasks = np.nonzero(~np.isnan(self.value))
        value = self.value[rows, tasks]
        relation = np.zeros(len(rows), np.int8) if self.relation is None else self.relation[rows, tasks]
        return Cells(rows, tasks, value, relation)

    def task(self, task: int) -> "Cells":
        """Return the measured cells of one task (cells of several tasks: `cells`)."""
        if issparse(self.value):
            column = self.value[:, [task]]
            rows = np.flatnonzero(np.diff(column.indptr))
            relation = np.zeros(len(rows), np.int8) if self.relation is None else self.relation[:, [task]].data
            return Cells(rows, np.full(len(rows), task), column.data, relation)
        column = self.value[:, task]
        rows = np.flatnonzero(~np.isnan(column))
        relation = np.zeros(len(rows), np.int8) if self.relation is None else self.relation[rows, task]
        return Cells(rows, np.full(len(rows), task), column[rows], relation)

    def dense(self) -> NDArray[np.float32]:
        """Return (n, t) values with NaN where not measured."""
        if not issparse(self.value):
            return self.value
        cells = self.cells()
        full = np.full(self.shape, np.nan, np.float32)
        full[cells.row, cells.task] = cells.value
        return full

    def take(self, rows: Any, tasks: Any = None) -> "Targets":
        """Return some rows (and some tasks) as new targets."""
        rows, weight = np.asarray(rows), self.weight

        def part(array: Any) -> Any:
            chosen = array[rows]
            return chosen if tasks is None else chosen[:, np.asarray(tasks)]

        return Targets(
            part(self.value),
            None if self.relation is None else part(self.relation),
            None if weight is None else weight[rows],
        )

    def where(self, keep: NDArray[np.bool_]) -> "Targets":
        """Return the same targets with only some measured cells, `keep` in the order of `cells`."""
        cells = self.cells()
        return targets_from_cells(
            Cells(cells.row[keep], cells.task[keep], cells.value[keep], cells.relation[keep]),
            self.shape,
            sparse=issparse(self.value),
            weight=self.weight,
        )


@dataclass(frozen=True)
class Cells:
    """Measured cells in coordinate form, (m,) each."""

    row: NDArray[np.int64]
    task: NDArray[np.int64]
    value: NDArray[np.float32]
    relation: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.row)


def targets_from_cells(
    cells: Cells, shape: tuple[int, int], *, sparse: bool = False, weight: NDArray[np.float32] | None = None
) -> Targets:
    """Return targets that hold these cells, each (row, task) at most once.

    Examples
    --------
    >>> one = Cells(np.array([1]), np.array([0]), np.array([2.5], np.float32), np.array([-1], np.int8))
    >>> targets_from_cells(one, (2, 1)).dense().ravel().tolist()
    [nan, 2.5]
    """
    if not sparse:
        value = np.full(shape, np.nan, np.float32)
        value[cells.row, cells.task] = cells.value
        relation = np.zeros(shape, np.int8)
        relation[cells.row, cells.task] = cells.relation
        return Targets(value, relation if cells.relation.any() else None, weight)
    order = np.lexsort((cells.task, cells.row))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(cells.row, minlength=shape[0]))])
    indices = cells.task[order]
    value = csr_array((cells.value[order].astype(np.float32), indices, indptr), shape=shape)
    relation = csr_array((cells.relation[order].astype(np.int8), indices, indptr), shape=shape)
    return Targets(value, relation, weight)


@dataclass(frozen=True)
class Screen:
    """Measurements over n conditions and t tasks.

    Make one with `make_screen` (from tables and arrays) or read one with `screenwise.data.assay`.

    Examples
    --------
    >>> screen = make_screen(pd.DataFrame({"gene": ["TP53", "MYC"]}), np.array([[0.5], [np.nan]]), ["growth"])
    >>> len(screen), len(screen.targets.cells())
    (2, 1)
    """

    conditions: pd.DataFrame
    """(n,) one row per condition: `condition_id`, factors and labels as columns; index 0..n-1."""
    tasks: pd.DataFrame
    """(t,) name, kind (regression | classification), unit, direction (maximize | minimize | ""), weight;
    more columns: `MORE_TASK_COLUMNS`."""
    targets: Targets
    """(n, t)"""

    def __post_init__(self) -> None:
        n, t = self.targets.shape
        if len(self.conditions) != n or len(self.tasks) != t:
            message = (
                f"A screen of {len(self.conditions)} conditions and {len(self.tasks)} tasks cannot have "
                f"targets of shape {(n, t)}."
            )
            raise DataError(message)
        if "condition_id" not in self.conditions.columns:
            message = "Screen.conditions has no column condition_id; make screens with screenwise.make_screen."
            raise ColumnError(message)
        doubled = self.tasks["name"][self.tasks["name"].duplicated()].unique().tolist()
        if doubled:
            message = f"Task names must differ; {doubled} stand twice. Rename the columns or name them with --tasks."
            raise ColumnError(message)

    def __len__(self) -> int:
        return len(self.conditions)

    @property
    def task_names(self) -> list[str]:
        """Names of the tasks, in order."""
        return [str(name) for name in self.tasks["name"]]

    def task_index(self, name: str) -> int:
        """Return a task's column; an unknown one is an error that lists the known ones."""
        if name not in self.task_names:
            message = f"There is no task {name!r}; the tasks are {', '.join(self.task_names[:20])}."
            raise ColumnError(message)
        return self.task_names.index(name)

    def take(self, rows: Any) -> "Screen":
        """Return some conditions (integer or boolean rows) with all tasks."""
        rows = np.asarray(rows)
        return Screen(self.conditions.iloc[rows].reset_index(drop=True), self.tasks, self.targets.take(rows))

    def take_tasks(self, tasks: Any) -> "Screen":
        """Return all conditions with some tasks (integer positions)."""
        tasks = np.asarray(tasks, np.int64)
        every = np.arange(len(self))
        return Screen(self.conditions, self.tasks.iloc[tasks].reset_index(drop=True), self.targets.take(every, tasks))

    def where(self, keep: NDArray[np.bool_]) -> "Screen":
        """Return the same conditions and tasks with only some measured cells (order of `targets.cells`)."""
        return Screen(self.conditions, self.tasks, self.targets.where(keep))

    def to_anndata(self) -> "AnnData":
        """Return conditions as obs, tasks as var, values as X, relations as the layer "relation"."""
        from anndata import AnnData  # noqa: PLC0415

        obs = self.conditions.copy()
        obs.index = pd.Index([f"{place}" for place in range(len(obs))])
        var = self.tasks.set_index("name", drop=True)
        var.index = var.index.astype(str)
        var.index.name = None
        layers = {} if self.targets.relation is None else {"relation": self.targets.relation}
        adata = AnnData(X=self.targets.value, obs=obs, var=var, layers=layers)
        if self.targets.weight is not None:
            adata.obs["target_weight"] = self.targets.weight
        return adata

    @classmethod
    def from_anndata(cls, adata: "AnnData", factors: list[str] | None = None) -> "Screen":
        """Read conditions from obs, tasks from var, values from X (stored zeros and NaN as in `Targets`)."""
        obs = _without_categories(adata.obs.reset_index(drop=True))
        weight = obs.pop("target_weight").to_numpy(np.float32) if "target_weight" in obs else None
        tasks = _without_categories(adata.var)
        tasks.insert(0, "name", [str(name) for name in adata.var_names])
        targets = Targets(adata.X, adata.layers.get("relation"), weight)
        return make_screen(obs, targets, tasks.reset_index(drop=True), factors)

    def save(self, folder: Path) -> None:
        """Write ``conditions.parquet``, ``tasks.parquet`` and ``targets.npz`` (no pickle)."""
        folder = Path(folder)
        for name, frame in {"conditions": self.conditions, "tasks": self.tasks}.items():
            with atomic_path(folder / f"{name}.parquet") as draft:
                frame.to_parquet(draft, index=False)
        arrays: dict[str, Any] = {"shape": np.asarray(self.targets.shape)}
        for name in ("value", "relation", "weight"):
            array = getattr(self.targets, name)
            if issparse(array):
                arrays |= {f"{name}_data": array.data, f"{name}_indices": array.indices, f"{name}_indptr": array.indptr}
            elif array is not None:
                arrays[name] = array
        with atomic_path(folder / "targets.npz") as draft:
            np.savez_compressed(draft, **arrays)

    @classmethod
    def load(cls, folder: Path) -> "Screen":
        """Read what `save` wrote."""
        folder = Path(folder)
        paths = [folder / name for name in ("conditions.parquet", "tasks.parquet", "targets.npz")]
        for path in paths:
            if not path.exists():
                message = f"{path} does not exist; {folder} is not the folder of a saved screen."
                raise DataError(message)
        with np.load(paths[2], allow_pickle=False) as stored:
            shape = tuple(int(size) for size in stored["shape"])

            def array(name: str) -> Any:
                if f"{name}_data" in stored:
                    parts = tuple(stored[f"{name}_{part}"] for part in ("data", "indices", "indptr"))
                    return csr_array(parts, shape=shape)
                return stored.get(name)

            targets = Targets(array("value"), array("relation"), array("weight"))
        return cls(pd.read_parquet(paths[0]), pd.read_parquet(paths[1]), targets)


def task_column(tasks: pd.DataFrame, name: str) -> NDArray[Any]:
    """Return (t,) values of an optional column of a task table, with its default where it is absent or empty.

    Examples
    --------
    >>> task_column(pd.DataFrame({"name": ["a"], "target": ["EGFR"]}), "target").tolist()
    ['EGFR']
    >>> task_column(pd.DataFrame({"name": ["a"]}), "censored_weight").tolist()
    [1.0]
    """
    default = {**TASK_COLUMNS, **MORE_TASK_COLUMNS}[name]
    if name not in tasks.columns:
        return np.full(len(tasks), default, object if isinstance(default, str) else np.float64)
    column = tasks[name].fillna(default)
    return column.astype(str).to_numpy(object) if isinstance(default, str) else column.to_numpy(np.float64)


def _without_categories(frame: pd.DataFrame) -> pd.DataFrame:
    """h5ad files turn text columns into categories; here they are text."""
    kinds = {name: kind.categories.dtype for name, kind in frame.dtypes.items() if kind == "category"}
    return frame.astype(kinds)


def make_screen(
    conditions: pd.DataFrame,
    targets: Targets | NDArray[Any] | csr_array,
    tasks: pd.DataFrame | list[str],
    factors: list[str] | None = None,
) -> Screen:
    """Return a screen, with stable condition ids and complete task columns.

    Parameters
    ----------
    conditions
        (n,) factors and labels as columns; see `screenwise.condition.factor_columns`.
    targets
        (n, t) values (NaN = not measured), or `Targets`.
    tasks
        (t,) names, or a table with `name` and any of kind, unit, direction, weight.
    factors
        Columns that make a condition what it is; found by name when None.
    """
    conditions = conditions.reset_index(drop=True)
    if "condition_id" not in conditions.columns:
        conditions.insert(0, "condition_id", condition_ids(conditions, factors))
    table = tasks.reset_index(drop=True).copy() if isinstance(tasks, pd.DataFrame) else pd.DataFrame({"name": tasks})
    if "name" not in table.columns:
        message = f"The task table has no column `name`; found {list(table.columns)}."
        raise ColumnError(message)
    for column, default in TASK_COLUMNS.items():
        if column not in table.columns:
            table[column] = default
    targets = targets if isinstance(targets, Targets) else Targets(targets)
    return Screen(conditions, table, targets)
