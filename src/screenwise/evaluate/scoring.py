"""Which scores are taken of predicted cells: by kind of task, on all cells and on slices of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.errors import DataError
from screenwise.evaluate.calibration import CALIBRATION_METRICS
from screenwise.evaluate.classification import CLASSIFICATION_METRICS
from screenwise.evaluate.grouped import Scores
from screenwise.evaluate.metrics import METRICS, Metric
from screenwise.screen import EXACT, Screen

ALL_METRICS: dict[str, Metric] = METRICS | CLASSIFICATION_METRICS | CALIBRATION_METRICS
"""Name -> score, of predictions and of their spread."""
DETAILS = ("bedroc", "f1_best", "kappa", "kappa_best", "matthews", "sensitivity", "specificity", "ace")
"""Scores that stand in the files and on pages of one run, and not in tables that people take in at a glance."""
SLICED = ("rmse", "coverage", "roc_auc", "brier", "count")
"""Scores that are repeated on each slice, as `rmse_cliff`."""


@dataclass(frozen=True)
class PredictedCells:
    """Measured cells beside what a model said of them, (m,) each."""

    row: NDArray[np.int64]
    task: NDArray[np.int64]
    value: NDArray[np.float64]
    relation: NDArray[np.int8]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    """NaN where the model says no spread."""
    slices: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    """Name -> which cells belong to it."""

    def __len__(self) -> int:
        return len(self.row)

    def take(self, keep: NDArray[Any]) -> "PredictedCells":
        """Return some cells (positions or a mask)."""
        arrays = {name: getattr(self, name)[keep] for name in ("row", "task", "value", "relation", "mean", "std")}
        return PredictedCells(**arrays, slices={name: mask[keep] for name, mask in self.slices.items()})


@dataclass(frozen=True)
class Measure:
    """One score on one kind of task, on all cells or on a slice."""

    name: str
    """As it stands in the tables: `rmse`, `rmse_cliff`."""
    metric: Metric
    kind: str
    """regression or classification; any for counts."""
    slice: str | None = None

    def score(self, cells: PredictedCells, kinds: NDArray[Any], weight: Any = None) -> Scores:
        """Return (t,) scores of t tasks whose kinds are given, or (t, b) for (m, b) weights.

        Scores of exact values leave out censored cells; `rmse_censored` and `count` take all.
        """
        keep = np.ones(len(cells), bool) if self.slice is None else cells.slices[self.slice].copy()
        if self.kind != "any":
            keep &= (kinds == self.kind)[cells.task]
            if self.metric.needs != "relation":
                keep &= cells.relation == EXACT
        extra = {self.metric.needs: getattr(cells, self.metric.needs)[keep]} if self.metric.needs else {}
        arguments = (cells.value[keep], cells.mean[keep], cells.task[keep], len(kinds))
        return self.metric.function(*arguments, weight=None if weight is None else weight[keep], **extra)


def measures(kinds: NDArray[Any], slices: Any = ()) -> dict[str, Measure]:
    """Return the measures that tasks of these kinds have, with those of the slices.

    Examples
    --------
    >>> [name for name in measures(np.array(["classification"]), ["cliff"]) if "brier" in name]
    ['brier', 'brier_cliff']
    """
    fitting = {name: metric for name, metric in ALL_METRICS.items() if metric.kind == "any" or metric.kind in kinds}
    found = {name: Measure(name, metric, metric.kind) for name, metric in fitting.items()}
    for part in slices:
        found |= {
            f"{name}_{part}": Measure(f"{name}_{part}", metric, metric.kind, part)
            for name, metric in fitting.items()
            if name in SLICED
        }
    return found


def task_kinds(screen: Screen) -> NDArray[Any]:
    """Return (t,) kinds of the tasks; a word that is neither kind is an error."""
    kinds = screen.tasks["kind"].to_numpy(str)
    wrong = sorted(set(kinds) - {"regression", "classification"})
    if wrong:
        message = f"The task kinds {wrong} are unknown; a task is regression or classification."
        raise DataError(message)
    return kinds


def with_domain(cells: PredictedCells, in_domain: NDArray[Any]) -> PredictedCells:
    """Add the slices `in_domain` and `out_of_domain`; `in_domain` (m,) is 1, 0, or NaN where nothing was said."""
    inside = np.asarray(in_domain, np.float64)
    parts = {"in_domain": inside == 1, "out_of_domain": inside == 0}
    return replace(cells, slices={**cells.slices, **parts})


def score_cells(screen: Screen, mean: Any, std: Any = None, *, in_domain: Any = None) -> pd.DataFrame:
    """Return the scores of predictions of a screen's measured cells.

    Parameters
    ----------
    screen
        What was measured.
    mean, std
        (m,) predictions in the order of ``screen.targets.cells()``; NaN = not predicted.
    in_domain
        (m,) whether the model may be trusted there; adds `rmse_in_domain` and the like.

    Returns
    -------
    DataFrame
        task, metric, value; scores that are not defined (a task with one class) are left out.

    Examples
    --------
    >>> from screenwise.screen import make_screen
    >>> screen = make_screen(pd.DataFrame({"gene": ["A", "B"]}), np.array([[1.0], [3.0]]), ["growth"])
    >>> scores = score_cells(screen, np.array([1.0, 1.0]))
    >>> scores.loc[scores["metric"] == "mae", "value"].tolist()
    [1.0]
    """
    cells, kinds = screen.targets.cells(), task_kinds(screen)
    spread = np.full(len(cells), np.nan) if std is None else np.asarray(std, np.float64)
    predicted = PredictedCells(
        cells.row, cells.task, cells.value.astype(np.float64), cells.relation, np.asarray(mean, np.float64), spread
    )
    if in_domain is not None:
        predicted = with_domain(predicted, in_domain)
    return _long(predicted, kinds, screen.task_names)


def _long(cells: PredictedCells, kinds: NDArray[Any], names: list[str]) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"task": names, "metric": name, "value": measure.score(cells, kinds)})
        for name, measure in measures(kinds, cells.slices).items()
    ]
    table = pd.concat(parts, ignore_index=True)
    counted = ~table["metric"].str.startswith("count") | (table["value"] > 0)
    return table[table["value"].notna() & counted].reset_index(drop=True)
