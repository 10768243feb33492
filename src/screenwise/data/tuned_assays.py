"""Measurements of compounds in assays -> tasks with labels and values, every cell left out with its reason."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.assay_kinds import incredible, is_auxiliary
from screenwise.data.assay_replicates import aggregate_by_type, flat_assays
from screenwise.data.quorum import judge_classes, judge_values
from screenwise.data.thresholds import AMBIGUOUS, label_cells, make_tasks
from screenwise.data.tune_settings import TuneSettings
from screenwise.data.tuner_tables import TunerTables

SIGNS = {-1: "<", 0: "=", 1: ">"}
"""How tables write relations."""
_FLAT = "the values do not differ in every fold"
_FLAT_CATALOGUE = "the values do not differ in every fold: left out of regression"
_AMBIGUOUS = "the bound leaves open on which side of the threshold the value is"


@dataclass(frozen=True)
class TunedAssays:
    """What was made of the measurements; `compound` is a row of the descriptors, `fold` its fold."""

    cells: pd.DataFrame
    """(m,) T4r: assay, compound, fold, value, relation, replicates; one per assay and compound."""
    assays: pd.DataFrame
    """(a,) T0, `use_in_regression` false for catalogue assays whose values do not differ."""
    classes: pd.DataFrame
    """(t,) T8c: classification tasks, as `quorum.judge_classes` gives them, and `assay`."""
    labels: pd.DataFrame
    """T10c: task (row of `classes`), compound, fold, label, of trained tasks."""
    values: pd.DataFrame
    """(u,) T8r: regression tasks, as `quorum.judge_values` gives them."""
    rejected: dict[str, pd.DataFrame]
    """Step -> what was left out there, with its reason."""
    counts: dict[str, int]
    """What came out of each step."""

    def regression_cells(self) -> pd.DataFrame:
        """Return T10r: the cells of trained regression tasks, with `task` (column of Y)."""
        place = np.full(len(self.assays), -1, np.int64)
        place[self.values["assay"]] = self.values["cont_regression_task_id"]
        task = place[self.cells["assay"]]
        return self.cells.assign(task=task)[task >= 0].reset_index(drop=True)


def tune_assays(
    tables: TunerTables,
    row_of: NDArray[np.int64],
    why_not: NDArray[Any],
    fold: NDArray[np.int64],
    settings: TuneSettings,
) -> TunedAssays:
    """Take measurements through every step: credible, aggregated, differing, thresholded, judged, weighed.

    Parameters
    ----------
    tables
        T0, T1 and T2.
    row_of
        (n,) row of the descriptors of each structure of T2; -1 where it was rejected.
    why_not
        (n,) why it was; empty where fine.
    fold
        (d,) fold of each row of the descriptors.
    settings
        Every rule.
    """
    rejected: dict[str, pd.DataFrame] = {}
    used, rejected["activities"] = _credible(tables, row_of, why_not, settings)
    cells, rejected["replicates"] = _aggregated(used, fold, tables.assays)
    counts = {"activities": len(tables.activities), "credible": len(used), "aggregated": len(cells)}
    cells, assays, rejected["assays"] = _differing(cells, tables.assays, settings)
    counts["of differing assays"] = len(cells)
    tasks = make_tasks(cells, assays, settings.thresholds, settings.quorum)
    labels = label_cells(cells, tasks, assays)
    rejected["labels"] = _ambiguous(labels, tasks, cells, assays)
    labels = labels[labels["label"] != AMBIGUOUS].reset_index(drop=True)
    at = labels["cell"].to_numpy()
    labels = labels.assign(compound=cells["compound"].to_numpy()[at], fold=cells["fold"].to_numpy()[at])
    classes = judge_classes(tasks, labels, assays, settings.folds.folds, settings.quorum, settings.weights)
    classes["assay"] = tasks["assay"]
    values = judge_values(cells, assays, settings.folds.folds, settings.quorum, settings.weights)
    rejected["tasks"] = _untrained(classes, values)
    trained = classes["training_quorum_OK"].to_numpy(bool)[labels["task"]]
    counts |= {"labels": len(labels), "labels of trained tasks": int(trained.sum())}
    labels = labels.loc[trained, ["task", "compound", "fold", "label"]].reset_index(drop=True)
    return TunedAssays(cells, assays, classes, labels, values, rejected, counts)


def _credible(
    tables: TunerTables, row_of: NDArray[np.int64], why_not: NDArray[Any], settings: TuneSettings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    given, assays = tables.activities, tables.assays
    reason = given["reason"].to_numpy(object).copy()
    fine = np.flatnonzero(reason == "")
    structure = why_not[given["compound"].to_numpy()[fine]]
    reason[fine] = np.where(structure == "", "", "structure rejected: " + structure)
    fine = np.flatnonzero(reason == "")
    own = given["assay"].to_numpy()[fine]
    kind, binary = assays["assay_type"].to_numpy(object)[own], assays["is_binary"].to_numpy(bool)[own]
    reason[fine] = incredible(given["value"].to_numpy()[fine], kind, binary, settings.values)
    good = reason == ""
    columns = ["input_compound_id", "input_assay_id", "standard_qualifier", "standard_value"]
    out = given.loc[~good, columns].assign(reason=reason[~good])
    out.insert(0, "row", np.flatnonzero(~good) + 1)
    used = given.loc[good, ["assay", "compound", "value", "relation"]]
    return used.assign(compound=row_of[used["compound"]]).reset_index(drop=True), out.reset_index(drop=True)


def _aggregated(used: pd.DataFrame, fold: NDArray[np.int64], assays: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    assay, compound, value, relation = (used[name].to_numpy() for name in ("assay", "compound", "value", "relation"))
    cells = aggregate_by_type(assay, compound, value, relation, assays)
    cells["fold"] = fold[cells["compound"]]
    bad = (cells["reason"] != "").to_numpy()
    out = _named(cells[bad], assays)[["input_assay_id", "descriptor_vector_id", "fold_id", "replicates"]]
    return cells[~bad].drop(columns="reason").reset_index(drop=True), out.assign(reason=cells["reason"][bad].to_numpy())


def _differing(
    cells: pd.DataFrame, assays: pd.DataFrame, settings: TuneSettings
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    fold = cells["fold"].to_numpy()
    out, only_classes = flat_assays(cells, fold, settings.folds.folds, assays, settings.values.spread)
    count = np.bincount(cells["assay"], minlength=len(assays))
    told = assays.loc[out | only_classes, ["input_assay_id", "assay_type"]]
    place = told.index.to_numpy()
    told = told.assign(values=count[place], reason=np.where(out[place], _FLAT, _FLAT_CATALOGUE))
    kept = cells[~out[cells["assay"]]].reset_index(drop=True)
    assays = assays.assign(use_in_regression=assays["use_in_regression"] & ~only_classes)
    return kept, assays, told.reset_index(drop=True)


def _ambiguous(labels: pd.DataFrame, tasks: pd.DataFrame, cells: pd.DataFrame, assays: pd.DataFrame) -> pd.DataFrame:
    open_ = labels[labels["label"] == AMBIGUOUS]
    named = _named(cells.iloc[open_["cell"]], assays).reset_index(drop=True)
    named["threshold"] = tasks["threshold"].to_numpy()[open_["task"]]
    named.insert(0, "classification_task_id", open_["task"].to_numpy())
    return named.drop(columns="replicates").assign(reason=_AMBIGUOUS)


def _untrained(classes: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    shared = ["input_assay_id", "assay_type", "reason"]
    parts = [
        classes.loc[classes["reason"] != "", [*shared, "classification_task_id", "threshold"]].assign(kind="class"),
        values.loc[values["reason"] != "", shared].assign(kind="regression"),
    ]
    columns = ["kind", "input_assay_id", "assay_type", "classification_task_id", "threshold", "reason"]
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True).reindex(columns=columns)


def _named(cells: pd.DataFrame, assays: pd.DataFrame) -> pd.DataFrame:
    """Return cells with the columns that tables of partners have."""
    return pd.DataFrame(
        {
            "input_assay_id": assays["input_assay_id"].to_numpy(object)[cells["assay"]],
            "descriptor_vector_id": cells["compound"].to_numpy(),
            "fold_id": cells["fold"].to_numpy(),
            "standard_qualifier": cells["relation"].map(SIGNS).to_numpy(object),
            "standard_value": cells["value"].to_numpy(),
            "replicates": cells["replicates"].to_numpy(),
        }
    )


def named_cells(tuned: TunedAssays) -> pd.DataFrame:
    """Return T4r as a table: input_assay_id, descriptor_vector_id, fold_id, qualifier, value, replicates."""
    return _named(tuned.cells, tuned.assays)


def without_auxiliary(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Return (t,) which tasks are of assays of no auxiliary type."""
    return ~is_auxiliary(table["assay_type"])
