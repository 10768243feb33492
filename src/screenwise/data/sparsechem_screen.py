"""A screen as SparseChem's files, and back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from screenwise.data.sparsechem import (
    SparseChemFiles,
    SparseChemLabels,
    read_labels,
    read_matrix,
    write_array,
    write_matrix,
)
from screenwise.data.sparsechem_tasks import TaskWeights, write_task_weights
from screenwise.errors import DataError
from screenwise.run import atomic_path
from screenwise.screen import MORE_TASK_COLUMNS, Cells, Screen, make_screen, targets_from_cells, task_column

CONDITIONS, TASKS = "conditions.parquet", "tasks.parquet"
"""Names of rows and tasks, which SparseChem's files do not hold; SparseChem does not read them."""

_DEFAULTS: dict[str, Any] = {**MORE_TASK_COLUMNS, "assay_type": ""}


@dataclass(frozen=True)
class SparseChemScreen:
    """What SparseChem's files hold: a screen, its features and its folds."""

    screen: Screen
    """(n, t + u): classification tasks, then regression tasks; their `assay_type` is what weights say of it."""
    x: csr_array
    """(n, d) features."""
    folding: NDArray[np.int64]
    """(n,) fold of each condition."""


def screen_to_sparsechem(
    screen: Screen, x: Any, folder: Path, *, folding: NDArray[np.int64] | None = None
) -> SparseChemFiles:
    """Write a screen as SparseChem's files and return where they are.

    Classification tasks become the columns of ``y_class.npz``, regression tasks those of ``y_regr.npz`` with
    ``y_censor.npz``, in the order of the screen. Names of conditions and tasks go into ``conditions.parquet`` and
    ``tasks.parquet``, from which `screen_from_sparsechem` takes them back.

    Parameters
    ----------
    screen
        n conditions; classes are 0 and 1. Weights of tasks must lie in [0, 1].
    x
        (n, d) sparse features of the conditions.
    folder
        Where the files go.
    folding
        (n,) folds from 0; None = no folds.

    Raises
    ------
    DataError
        Rows disagree, a class is not 0 or 1, a weight is above 1, or a condition has a weight of its own.

    Examples
    --------
    >>> import tempfile
    >>> screen = make_screen(pd.DataFrame({"compound": ["a", "b"]}), np.array([[1.0, np.nan], [0, 5.5]]),
    ...     pd.DataFrame({"name": ["active", "pIC50"], "kind": ["classification", "regression"]}))
    >>> files = screen_to_sparsechem(screen, csr_array(np.eye(2)), Path(tempfile.mkdtemp()))
    >>> screen_from_sparsechem(files).screen.targets.dense().tolist()
    [[1.0, nan], [0.0, 5.5]]
    """
    folder = Path(folder)
    _check(screen, x, folding)
    cells = screen.targets.cells()
    binary = (screen.tasks["kind"] == "classification").to_numpy(bool)
    place = np.where(binary, np.cumsum(binary), np.cumsum(~binary)) - 1
    write_matrix(folder / "x.npz", csr_array(x, dtype=np.float32))
    files: dict[str, Path] = {"x": folder / "x.npz"}
    for kind, mine in (("class", binary), ("regr", ~binary)):
        if not mine.any():
            continue
        own = mine[cells.task]
        value = cells.value[own] * 2 - 1 if kind == "class" else cells.value[own]
        matrix = _matrix((len(screen), int(mine.sum())), cells.row[own], place[cells.task[own]], value)
        write_matrix(folder / f"y_{kind}.npz", matrix)
        files[f"y_{kind}"] = folder / f"y_{kind}.npz"
        if kind == "regr":
            bounds = _matrix(matrix.shape, cells.row[own], place[cells.task[own]], cells.relation[own])
            write_matrix(folder / "y_censor.npz", bounds)
            files["y_censor"] = folder / "y_censor.npz"
        write_task_weights(folder / f"weights_{kind}.csv", _weights(screen.tasks[mine], kind))
        files[f"weights_{kind}"] = folder / f"weights_{kind}.csv"
    if folding is not None:
        write_array(folder / "folding.npy", np.asarray(folding, np.int64))
        files["folding"] = folder / "folding.npy"
    for name, table in ((CONDITIONS, screen.conditions), (TASKS, screen.tasks)):
        with atomic_path(folder / name) as draft:
            table.to_parquet(draft, index=False)
    return SparseChemFiles(**files)


def screen_from_sparsechem(files: SparseChemFiles) -> SparseChemScreen:
    """Read SparseChem's files as a screen.

    Names come from ``conditions.parquet`` and ``tasks.parquet`` beside X, where `screen_to_sparsechem` wrote them; else
    conditions are ``row0``, ``row1``, ... and tasks ``class0``, ..., ``regr0``, ...

    Parameters
    ----------
    files
        Where they are; X must be a file, and fit into memory.

    Raises
    ------
    DataError
        As `screenwise.data.sparsechem.read_labels`; or the names are of other rows or tasks.
    """
    x = read_matrix(files.x, repeats=True)
    labels = read_labels(files, x.shape[0])
    classes, values = labels.y_class.shape[1], labels.y_regr.shape[1]
    row = [np.repeat(np.arange(len(labels)), np.diff(one.indptr)) for one in (labels.y_class, labels.y_regr)]
    cells = Cells(
        np.concatenate(row),
        np.concatenate([labels.y_class.indices, labels.y_regr.indices + classes]).astype(np.int64),
        np.concatenate([(labels.y_class.data + 1) / 2, labels.y_regr.data]),
        np.concatenate([np.zeros(labels.y_class.nnz, np.int8), labels.y_censor.data]),
    )
    folder = Path(files.x).parent
    tasks = _task_table(labels, folder / TASKS)
    conditions = pd.DataFrame({"compound": [f"row{number}" for number in range(len(labels))]})
    if (folder / CONDITIONS).exists():
        conditions = _names(folder / CONDITIONS, len(labels), "rows")
    targets = targets_from_cells(cells, (len(labels), classes + values), sparse=True)
    return SparseChemScreen(make_screen(conditions, targets, tasks), x, labels.folding)


def _check(screen: Screen, x: Any, folding: NDArray[np.int64] | None) -> None:
    for what, rows in (("The features", x.shape[0]), ("The folds", len(screen) if folding is None else len(folding))):
        if rows != len(screen):
            message = f"{what} have {rows} rows, the screen {len(screen)} conditions; they must be the same."
            raise DataError(message)
    if screen.targets.weight is not None:
        message = "SparseChem's files hold no weights of conditions. Give a screen without `targets.weight`."
        raise DataError(message)
    weight = task_column(screen.tasks, "weight")
    if not ((weight >= 0) & (weight <= 1)).all():
        name = screen.tasks["name"].iloc[int(np.flatnonzero(~((weight >= 0) & (weight <= 1)))[0])]
        message = f"Task {name!r} weighs {weight.max():g}; SparseChem's training_weight is from 0 to 1. Divide all."
        raise DataError(message)
    cells = screen.targets.cells()
    binary = (screen.tasks["kind"] == "classification").to_numpy(bool)[cells.task]
    wrong = np.flatnonzero(binary & ~np.isin(cells.value, (0.0, 1.0)))
    if len(wrong):
        cell = wrong[0]
        name = screen.tasks["name"].iloc[int(cells.task[cell])]
        message = f"Classification task {name!r}, condition {cells.row[cell]}: {cells.value[cell]:g} is not 0 or 1."
        raise DataError(message)


def _matrix(shape: tuple[int, int], row: NDArray[Any], column: NDArray[Any], value: NDArray[Any]) -> csr_array:
    """Return a matrix with these entries, zeros too."""
    order = np.lexsort((column, row))
    start = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=shape[0]))])
    return csr_array((value[order].astype(np.float32), column[order], start), shape=shape)


def _weights(tasks: pd.DataFrame, kind: str) -> TaskWeights:
    given = {"aggregation": "aggregation_weight", "catalogue": "catalogue", "censored": "censored_weight"}
    found: dict[str, Any] = {ours: task_column(tasks, name) for ours, name in given.items() if name in tasks.columns}
    if kind == "class":
        found.pop("censored", None)
    if "assay_type" in tasks.columns:
        found["type"] = tasks["assay_type"].fillna("").astype(str).to_numpy(object)
    return TaskWeights(task_column(tasks, "weight"), **found)


def _task_table(labels: SparseChemLabels, path: Path) -> pd.DataFrame:
    """Return names, kinds and weights of classes, then of regression tasks."""
    parts = []
    for kind, weights in (("classification", labels.class_tasks), ("regression", labels.regr_tasks)):
        prefix = "class" if kind == "classification" else "regr"
        part = pd.DataFrame({"name": [f"{prefix}{number}" for number in range(len(weights))], "kind": kind})
        part["weight"] = weights.training
        more = {
            "aggregation_weight": weights.aggregation,
            "censored_weight": weights.censored,
            "catalogue": weights.catalogue,
            "assay_type": weights.type,
        }
        parts.append(part.assign(**{name: column for name, column in more.items() if column is not None}))
    tasks = pd.concat([part for part in parts if len(part)], ignore_index=True)
    if not path.exists():
        return tasks.fillna({name: default for name, default in _DEFAULTS.items() if name in tasks})
    named = _names(path, len(tasks), "tasks")
    order = np.argsort(named["kind"].to_numpy() != "classification", kind="stable")
    named = named.iloc[order].reset_index(drop=True)
    if (named["kind"] != tasks["kind"]).any():
        message = f"{path} has other kinds of tasks than the labels. Delete it, or write the screen again."
        raise DataError(message)
    for name in tasks.columns.drop(["name", "kind"]):
        # a column that one kind's file lacks is as it was
        kept = named[name] if name in named else pd.Series(_DEFAULTS.get(name, 1.0), named.index)
        named[name] = tasks[name].fillna(kept.fillna(_DEFAULTS.get(name, 1.0)))
    return named


def _names(path: Path, rows: int, what: str) -> pd.DataFrame:
    table = pd.read_parquet(path)
    if len(table) != rows:
        message = f"{path} names {len(table)} {what}, the files hold {rows}. Delete it, or write the screen again."
        raise DataError(message)
    return table
