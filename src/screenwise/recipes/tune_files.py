"""What `screenwise tune` writes: a folder of matrices for each kind of model, tables, and what was rejected."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from screenwise.data.sparsechem import write_array, write_matrix
from screenwise.data.sparsechem_tasks import TaskWeights, write_task_weights
from screenwise.data.table import write_table
from screenwise.data.tuned_assays import SIGNS, TunedAssays, named_cells, without_auxiliary
from screenwise.represent.keyed_descriptor import Compounds

MODELS = ("cls", "reg", "hyb", "clsaux")
"""Classification; regression; both; classification with the auxiliary assays (AUX_HTS, AUX_PL)."""


@dataclass(frozen=True)
class ClassPart:
    """Classification tasks of one kind of model."""

    tasks: pd.DataFrame
    """(t,) rows of T8c."""
    task: NDArray[np.int64]
    """(m,) column of Y of each label."""
    compound: NDArray[np.int64]
    label: NDArray[np.int8]


@dataclass(frozen=True)
class ValuePart:
    """Regression tasks of one kind of model."""

    tasks: pd.DataFrame
    """(u,) rows of T8r."""
    task: NDArray[np.int64]
    compound: NDArray[np.int64]
    value: NDArray[np.float64]
    relation: NDArray[np.int8]


def write_models(folder: Path, tuned: TunedAssays, compounds: Compounds) -> list[dict[str, int | str]]:
    """Write the folders `cls`, `reg`, `hyb` and `clsaux`, those that have a task; return a row about each.

    Each holds SparseChem's files: x.npz, folding.npy, and y_class.npz with weights_class.csv, and y_regr.npz,
    y_censor.npz with weights_regr.csv; and compounds.csv, which says of each row of X whose it is. Rows are the
    compounds that have at least one label or value there.
    """
    plain, whole = (_classes(tuned, auxiliary=auxiliary) for auxiliary in (False, True))
    values = _values(tuned)
    auxiliary = len(whole.tasks) > len(plain.tasks)
    parts = {"cls": (plain, None), "reg": (None, values), "hyb": (plain, values), "clsaux": (whole, None)}
    told = []
    for name, (classes, regression) in parts.items():
        empty = [part is not None and not len(part.tasks) for part in (classes, regression)]
        if any(empty) or (name == "clsaux" and not auxiliary):
            continue
        told.append({"model": name, **_write_model(folder / name, compounds, classes, regression)})
    return told


def _write_model(
    folder: Path, compounds: Compounds, classes: ClassPart | None, values: ValuePart | None
) -> dict[str, int | str]:
    rows = np.unique(np.concatenate([part.compound for part in (classes, values) if part is not None]))
    write_matrix(folder / "x.npz", compounds.features[rows])
    write_array(folder / "folding.npy", compounds.fold[rows])
    about = pd.DataFrame({"row": np.arange(len(rows)), "descriptor_vector_id": rows, "fold_id": compounds.fold[rows]})
    write_table(about, folder / "compounds.csv")
    told: dict[str, int | str] = {"compounds": len(rows)}
    if classes is not None:
        row, shape = np.searchsorted(rows, classes.compound), (len(rows), len(classes.tasks))
        write_matrix(folder / "y_class.npz", _sparse(classes.label.astype(np.float32), row, classes.task, shape))
        write_task_weights(folder / "weights_class.csv", _class_weights(classes.tasks))
        told |= {"class tasks": shape[1], "labels": len(row)}
    if values is not None:
        row, shape = np.searchsorted(rows, values.compound), (len(rows), len(values.tasks))
        write_matrix(folder / "y_regr.npz", _sparse(values.value.astype(np.float32), row, values.task, shape))
        write_matrix(folder / "y_censor.npz", _sparse(values.relation.astype(np.int8), row, values.task, shape))
        write_task_weights(folder / "weights_regr.csv", _value_weights(values.tasks))
        told |= {"regression tasks": shape[1], "values": len(row)}
    return told


def _sparse(data: NDArray, row: NDArray[np.int64], column: NDArray[np.int64], shape: tuple[int, int]) -> csr_array:
    """Return a matrix whose stored zeros stay: an exact value has the bound 0, a value may be 0."""
    order = np.lexsort((column, row))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=shape[0]))])
    return csr_array((data[order], column[order].astype(np.int32), indptr.astype(np.int32)), shape=shape)


def _classes(tuned: TunedAssays, *, auxiliary: bool) -> ClassPart:
    chosen = tuned.classes["training_quorum_OK"].to_numpy(bool) & (auxiliary | without_auxiliary(tuned.classes))
    column = np.where(chosen, np.cumsum(chosen) - 1, -1)
    task = column[tuned.labels["task"]]
    labels = tuned.labels[task >= 0]
    return ClassPart(tuned.classes[chosen], task[task >= 0], labels["compound"].to_numpy(), labels["label"].to_numpy())


def _values(tuned: TunedAssays) -> ValuePart:
    chosen = (tuned.values["cont_regression_task_id"] >= 0).to_numpy() & without_auxiliary(tuned.values)
    column = np.full(len(tuned.assays), -1, np.int64)
    column[tuned.values["assay"][chosen]] = np.arange(int(chosen.sum()))
    task = column[tuned.cells["assay"]]
    cells = tuned.cells[task >= 0]
    arrays = (cells[name].to_numpy() for name in ("compound", "value", "relation"))
    return ValuePart(tuned.values[chosen], task[task >= 0], *arrays)


def _class_weights(tasks: pd.DataFrame) -> TaskWeights:
    return TaskWeights(
        tasks["weight"].to_numpy(np.float64),
        tasks["aggregation_weight"].to_numpy(np.float64),
        type=tasks["assay_type"].to_numpy(object),
        catalogue=tasks["catalog_task_id"].to_numpy(object) if (tasks["catalog_task_id"] != "").any() else None,
    )


def _value_weights(tasks: pd.DataFrame) -> TaskWeights:
    return TaskWeights(
        tasks["weight"].to_numpy(np.float64),
        tasks["aggregation_weight"].to_numpy(np.float64),
        tasks["censored_weight"].to_numpy(np.float64),
        tasks["assay_type"].to_numpy(object),
    )


def write_activity_tables(folder: Path, tuned: TunedAssays) -> None:
    """Write T4r, T8c, T8r, T10c and T10r."""
    write_table(named_cells(tuned), folder / "T4r.csv")
    write_table(tuned.classes.drop(columns="assay"), folder / "T8c.csv")
    write_table(tuned.values.drop(columns="assay"), folder / "T8r.csv")
    labels, column = tuned.labels, tuned.classes["cont_classification_task_id"].to_numpy()
    classes = {
        "cont_classification_task_id": column[labels["task"]],
        "descriptor_vector_id": labels["compound"],
        "fold_id": labels["fold"],
        "class_label": labels["label"],
    }
    write_table(pd.DataFrame(classes), folder / "T10c.csv")
    cells = tuned.regression_cells()
    values = {
        "cont_regression_task_id": cells["task"],
        "descriptor_vector_id": cells["compound"],
        "fold_id": cells["fold"],
        "standard_qualifier": cells["relation"].map(SIGNS),
        "standard_value": cells["value"],
    }
    write_table(pd.DataFrame(values), folder / "T10r.csv")


def write_structure_tables(folder: Path, structures: pd.DataFrame, row_of: NDArray[np.int64], made: Compounds) -> None:
    """Write T2 in parent form, T5 (whose descriptor is whose), and T6 (descriptors and folds; features in T6_x.npz)."""
    good = row_of >= 0
    write_table(structures.loc[good, ["input_compound_id", "canonical_smiles"]], folder / "T2_standardised.csv")
    fold = {"fold_id": made.fold[row_of[good]], "descriptor_vector_id": row_of[good]}
    write_table(structures.loc[good, ["input_compound_id"]].assign(**fold), folder / "T5.csv")
    several = np.bincount(row_of[good], minlength=len(made.fold))
    about = {"descriptor_vector_id": np.arange(len(made.fold)), "fold_id": made.fold, "compounds": several}
    write_table(pd.DataFrame(about | {"fold_text": made.text}), folder / "T6.csv")
    write_matrix(folder / "T6_x.npz", made.features)
