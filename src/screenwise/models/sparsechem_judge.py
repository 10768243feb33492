"""What a SparseChem network is worth: its scores on measured rows, and which tasks count in their means."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import expit

from screenwise.data.sparsechem import SparseChemLabels
from screenwise.evaluate.sparsechem_scores import aggregate, classification_scores, regression_scores
from screenwise.models.multitask_cells import CellTable, outputs
from screenwise.models.multitask_network import MultiTaskNetwork
from screenwise.models.sparsechem import Statistics
from screenwise.models.sparsechem_network import SparseChemTasks

CHUNK = 4096
"""Rows scored at a time."""
SHOWN = ("roc_auc_score", "auc_pr", "auc_pr_cal", "f1_max", "rmse", "rmse_uncen", "rsquared", "corrcoef")
"""Means that are logged after an epoch."""


@dataclass(frozen=True)
class Judging:
    """How scores are made of outputs."""

    tasks: SparseChemTasks
    statistics: Statistics | None = None
    """Of values that were standardised to be learned, and are scored in their own units; None = as learned."""
    class_weight: NDArray[np.float64] | None = None
    """(t,) weight of each class's scores in the mean."""
    regr_weight: NDArray[np.float64] | None = None
    """(u,) the same of each regression task."""
    prior: float = 0.1
    """pi_zero of the calibrated precision."""
    bins: int = 10
    """Of the calibration errors."""


@dataclass(frozen=True)
class SparseChemScores:
    """Scores of some rows under SparseChem's names."""

    classification: pd.DataFrame
    """(t,) rows."""
    classification_agg: pd.Series
    """Weighted means over tasks, logloss, num_tasks_total, num_tasks_agg."""
    classification_robust: pd.DataFrame
    """Median and mean over tasks that reach a quorum, beside the mean."""
    regression: pd.DataFrame
    """(u,) rows."""
    regression_agg: pd.Series
    """Weighted means over tasks, mseloss, num_tasks_total, num_tasks_agg."""
    regression_robust: pd.DataFrame
    """As `classification_robust`."""
    loss: float
    """What training minimises, per row, without a penalty."""

    def to_json(self) -> dict[str, str]:
        """Return each table as JSON text, as in SparseChem's results."""
        tables = {name: table for name, table in vars(self).items() if name != "loss"}
        return {name: table.to_json() for name, table in tables.items()}

    def line(self) -> dict[str, float]:
        """Return what is logged after an epoch."""
        means = {**self.classification_agg.to_dict(), **self.regression_agg.to_dict()}
        return {"valid": self.loss} | {
            name: float(means[name]) for name in SHOWN if np.isfinite(means.get(name, np.nan))
        }


def aggregation_weights(
    labels: SparseChemLabels, min_samples_class: int, min_samples_regr: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return which classes and which regression tasks count in the means, as SparseChem decides it.

    Those that the table of tasks weighs; without it, classes with enough positives and negatives, and
    regression tasks with enough exact values, in every fold.
    """
    folds, fold = np.unique(labels.folding, return_inverse=True)

    def enough(matrix: Any, keep: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
        row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))[keep]
        tasks = matrix.shape[1]
        place = fold[row] * tasks + matrix.indices[keep]
        counts = np.bincount(place, minlength=len(folds) * tasks).reshape(len(folds), tasks)
        return np.asarray((counts >= least).all(axis=0))

    classes, values = labels.class_tasks.aggregation, labels.regr_tasks.aggregation
    if classes is None:
        active = labels.y_class.data > 0
        both = [enough(labels.y_class, one, min_samples_class) for one in (active, ~active)]
        classes = (both[0] & both[1]).astype(np.float64)
    if values is None:
        values = enough(labels.y_regr, labels.y_censor.data == 0, min_samples_regr).astype(np.float64)
    return classes, values


def score_rows(network: MultiTaskNetwork, table: CellTable, rows: NDArray[np.int64], how: Judging) -> SparseChemScores:
    """Return the scores of a network on some rows of a table.

    Parameters
    ----------
    network
        In evaluation mode.
    table
        Measured cells.
    rows
        Rows of the table.
    how
        Outputs, scales and weights.
    """
    cells, output = _measured(network, table, rows)
    task, target, weight = table.task[cells], table.target[cells].astype(np.float64), table.weight[cells]
    relation, tasks = table.relation[cells], how.tasks
    error = target - output
    squared = np.where(relation == 0, error, np.maximum(relation * error, 0)) ** 2
    binary = tasks.binary[task]
    losses = np.where(binary, np.logaddexp(0, output) - target * output, squared)
    speaker = tasks.shown()
    class_of = np.full(len(tasks.binary), -1)
    class_of[speaker] = np.arange(tasks.classes)
    one = np.flatnonzero(class_of[task] >= 0)
    classes = classification_scores(
        target[one], expit(output[one]), class_of[task[one]], tasks.classes, prior=how.prior, bins=how.bins
    )
    two = np.flatnonzero(~binary)
    place = task[two] - tasks.first_value
    scale, centre = (1.0, 0.0) if how.statistics is None else (how.statistics.scale[place], how.statistics.mean[place])
    values = regression_scores(
        target[two] * scale + centre, output[two] * scale + centre, relation[two], place, tasks.values
    )
    class_table, class_means = _means(classes, how.class_weight)
    value_table, value_means = _means(values, how.regr_weight)
    class_means["logloss"] = _weighted(losses[one], weight[one])
    value_means["mseloss"] = _weighted(losses[two] * np.square(scale), weight[two])
    total = float((losses * weight).sum()) / max(len(rows), 1)
    return SparseChemScores(classes, class_means, class_table, values, value_means, value_table, total)


def _means(scores: pd.DataFrame, weight: NDArray[np.float64] | None) -> tuple[pd.DataFrame, pd.Series]:
    table = aggregate(scores, weight)
    means = table["mean"].copy()
    means["num_tasks_total"] = len(scores)
    means["num_tasks_agg"] = len(scores) if weight is None else int((weight > 0).sum())
    return table, means


def _weighted(losses: NDArray[np.float64], weight: NDArray[Any]) -> float:
    return float(np.average(losses, weights=weight)) if weight.sum() > 0 else float("nan")


@torch.no_grad()
def _measured(
    network: MultiTaskNetwork, table: CellTable, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    parts = [rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK)]
    found = [outputs(network, table, part) for part in parts]
    cells = [cell for _, cell in found] or [np.zeros(0, np.int64)]
    values = [output[0].float().cpu().numpy() for output, _ in found] or [np.zeros(0, np.float32)]
    return np.concatenate(cells), np.concatenate(values).astype(np.float64)
