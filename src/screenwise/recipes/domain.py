"""Where to believe a run: conformal sets and intervals, nearest training conditions, achieved validity."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.condition import factor_columns
from screenwise.data.chemistry import standardising_once
from screenwise.data.table_parts import write_parts
from screenwise.errors import DataError
from screenwise.evaluate import conformal
from screenwise.evaluate.conformal import NONE, OWN, POOL
from screenwise.models.nearest import Neighbours, learn_neighbours, nearest
from screenwise.prediction import Prediction
from screenwise.processes import usual_jobs
from screenwise.recipes.fitted_run import columns_of, conditions_for, open_run, own_columns, seen_by, task_table
from screenwise.recipes.outcome import Outcome, Progress, silent
from screenwise.recipes.predictions import cells_in_domain, predict_chunks
from screenwise.recipes.settings import DomainSettings, Reading
from screenwise.recipes.tables import measured
from screenwise.recipes.trust import Trust, learn_trust
from screenwise.represent.fingerprint_store import computing

ERRORS = (0.1, 0.2, 0.3)
"""Error levels of the summary."""
SETS = np.array(["none", "0", "1", "0 or 1"], object)
"""What a conformal set says, by 1 x (holds 0) + 2 x (holds 1)."""


@dataclass(frozen=True)
class Truth:
    """Measured cells of conditions that the run has not seen, (m,) each, by row."""

    row: NDArray[np.int64]
    task: NDArray[np.int64]
    value: NDArray[np.float32]
    relation: NDArray[np.int8]


def domain(
    run: Path,
    table: str,
    out: Path,
    settings: DomainSettings = DomainSettings(),
    reading: Reading = Reading(),
    *,
    progress: Progress = silent,
) -> Outcome:
    """Say of every condition of a table and every task what can be concluded, and how near training lies.

    Parameters
    ----------
    run
        Folder of a finished fit.
    table
        Conditions; values that were measured show the achieved validity, of conditions that the fit has not seen.
    out
        Table to write, one row per condition and task.
    settings
        Share of sets and intervals that may be wrong.
    """
    model, every, error = open_run(run), task_table(run), settings.error
    trust = learn_trust(model, every, (error, *ERRORS))
    with standardising_once():  # the table is read as conditions, and once more as measurements
        conditions = conditions_for(run, table, reading, progress=progress)
        again = conditions["condition_id"].duplicated() & (conditions["note"] == "")
        own = own_columns(conditions)[~again].reset_index(drop=True)
        conditions = conditions[~again].reset_index(drop=True)
        truth, note = _truth(run, table, reading, (conditions, trust.tasks))
    tally = _Tally(trust, truth)
    with computing(jobs=usual_jobs(), progress=progress):
        known, names = _training(run, len(every), trust.main)
        parts = _parts((model, trust, error), (conditions, own), (known, names), tally, progress)
        rows = write_parts(parts, out)
    facts = {
        "rows": len(conditions),
        "tasks": len(trust.tasks),
        "cells": rows,
        "in domain": tally.share("inside"),
        "median similarity to training": tally.similarity(),
        "measured cells that the run has not seen": len(truth.row),
    }
    facts |= {f"tasks calibrated by {name}": int((trust.source == name).sum()) for name in (OWN, POOL, NONE)}
    notes = [*note, *_notes(trust, known, int(again.sum()))]
    return Outcome(facts, tally.summary(), notes, {"domain": str(out)})


def _training(run: Path, tasks: int, main: NDArray[np.int64]) -> tuple[Neighbours | None, NDArray[np.object_]]:
    """Return the run's training conditions and their names; none of a run that keeps their ids alone."""
    train = pd.read_parquet(run / "training.parquet")
    names = train["condition_id"].to_numpy(object)
    if not (run / "training_cells.parquet").exists():
        return None, names
    cells = pd.read_parquet(run / "training_cells.parquet")
    shown = [name for name in ("compound", "id", "name") if name in train.columns] or factor_columns(train)
    names = train[shown].astype(str).agg(" + ".join, axis=1).to_numpy(object)
    known = learn_neighbours(train, cells["row"].to_numpy(), cells["task"].to_numpy(), tasks)
    return None if known is None else replace(known, group_of=known.group_of[main]), names


def _truth(
    run: Path, table: str, reading: Reading, known: tuple[pd.DataFrame, pd.DataFrame]
) -> tuple[Truth, list[str]]:
    """Return what the table holds of measurements of the run's tasks, on conditions that are new to the run."""
    conditions, tasks = known
    none = np.zeros(0, np.int64)
    nothing = Truth(none, none, np.zeros(0, np.float32), np.zeros(0, np.int8))
    named = any(getattr(reading.columns, name) is not None for name in ("task", "value", "tasks", "label"))
    try:
        screen = measured(table, replace(reading, columns=columns_of(run, table, reading.columns))).screen
    except DataError:
        if named:  # the user says that there are measurements
            raise
        return nothing, [f"{table} holds no measured values of the run's tasks: validity is not known."]
    cells = screen.targets.cells()
    place = pd.Index(tasks["name"].astype(str)).get_indexer(screen.task_names)
    usable = conditions["note"] == ""
    row = pd.Series(np.flatnonzero(usable), conditions["condition_id"][usable])
    at = screen.conditions["condition_id"].map(row).fillna(-1).to_numpy(np.int64)
    seen = seen_by(run, screen.conditions)
    keep = (place[cells.task] >= 0) & ~seen[cells.row] & (at[cells.row] >= 0)
    order = np.flatnonzero(keep)[np.argsort(at[cells.row[keep]], kind="stable")]
    found = Truth(at[cells.row[order]], place[cells.task[order]], cells.value[order], cells.relation[order])
    known_rows = np.unique(cells.row[(place[cells.task] >= 0) & seen[cells.row]])
    if not len(order) and not len(known_rows):
        return found, [f"{table} holds no measured values of the run's tasks: validity is not known."]
    left = f"{len(known_rows)} measured conditions were used to fit the run; they are not counted in the validity."
    return found, [left] if len(known_rows) else []


def _parts(
    judge: tuple[Any, Trust, float],
    table: tuple[pd.DataFrame, pd.DataFrame],
    training: tuple[Neighbours | None, NDArray[np.object_]],
    tally: "_Tally",
    progress: Progress,
) -> Iterator[pd.DataFrame]:
    """Yield the rows of some conditions after the other, (chunk x t,)."""
    (model, trust, error), (conditions, own), (known, names) = judge, table, training
    t = len(trust.tasks)
    for first, every in predict_chunks(model, conditions, progress, width=t):
        prediction = every.take_tasks(trust.main)
        n = len(prediction.mean)
        task = np.tile(np.arange(t), n)
        mean, std = prediction.mean.ravel(), _std(prediction).ravel()
        p = trust.p_values(mean, task)
        row, similarity = np.full((n, t), -1), np.full((n, t), np.nan, np.float32)
        if known is not None:
            row, similarity = nearest(known, conditions.iloc[first : first + n].reset_index(drop=True))
        inside = cells_in_domain(prediction)
        tally.add(first, (mean, std, p), (similarity, inside))
        low, high = trust.ends(error, mean, std, task)
        sets = conformal.label_sets(p, error)
        says = np.where(trust.classes[task] & np.isfinite(mean), SETS[sets[:, 0] + 2 * sets[:, 1]], "")
        neighbour = np.where(row >= 0, names[row], "").astype(object) if len(names) else np.full((n, t), "", object)
        columns: dict[str, Any] = {
            "task": np.tile(trust.tasks["name"].to_numpy(object), n),
            "mean": mean,
            "variance": _variance(prediction).ravel(),
            "lower": low,
            "upper": high,
            "p_0": p[:, 0],
            "p_1": p[:, 1],
            "set": says,
            "single": pd.array(np.where(says == "", None, (says == "0") | (says == "1")), "boolean"),
            "calibration": np.tile(trust.source, n),
            "neighbour": neighbour.ravel(),
            "similarity": similarity.ravel(),
            "in_domain": pd.array(np.full(n * t, None) if inside is None else inside.ravel(), "boolean"),
            "note": np.repeat(np.full(n, "", object) if prediction.note is None else prediction.note, t),
        }
        mine = own.iloc[first : first + n]
        yield pd.concat([mine.loc[mine.index.repeat(t)].reset_index(drop=True), pd.DataFrame(columns)], axis=1)


def _std(prediction: Prediction) -> NDArray[np.float32]:
    return np.full_like(prediction.mean, np.nan) if prediction.std is None else prediction.std


def _variance(prediction: Prediction) -> NDArray[np.float32]:
    """Return (n, t) variance between the members of an ensemble; else the square of the std."""
    if prediction.draws is not None and len(prediction.draws) > 1:
        return prediction.draws.var(axis=0, ddof=1)
    return np.square(_std(prediction))


class _Tally:
    """Adds up what the summary says, part by part."""

    def __init__(self, trust: Trust, truth: Truth) -> None:
        self.trust, self.truth = trust, truth
        self.sums: dict[float, list[Any]] = {error: [0, 0] for error in ERRORS}
        self.counts = {"inside": 0, "told": 0}
        self.similar = np.zeros(101, np.int64)

    def add(self, first: int, cells: tuple[Any, Any, Any], where: tuple[Any, Any]) -> None:
        """Count the cells of some conditions from row `first` on: (mean, std, p-values), (similarity, in_domain)."""
        (mean, std, p), (similarity, inside) = cells, where
        t = len(self.trust.tasks)
        task = np.tile(np.arange(t), len(mean) // max(t, 1))
        value, relation = np.full(len(mean), np.nan, np.float32), np.zeros(len(mean), np.int8)
        mine = slice(*np.searchsorted(self.truth.row, [first, first + len(mean) // max(t, 1)]))
        at = (self.truth.row[mine] - first) * t + self.truth.task[mine]
        value[at], relation[at] = self.truth.value[mine], self.truth.relation[mine]
        classes = self.trust.classes[task] & np.isfinite(mean)
        for error, sums in self.sums.items():
            sets = conformal.label_sets(p[classes], error)
            sums[0] = sums[0] + conformal.label_counts(sets, task[classes], t, value[classes])
            ends = self.trust.ends(error, mean, std, task)
            sums[1] = sums[1] + conformal.interval_counts(ends, (task, value, relation), t)
        if inside is not None:
            self.counts["inside"] += int(inside.sum())
            self.counts["told"] += int(np.isfinite(mean).sum())
        there = np.isfinite(similarity)
        self.similar += np.bincount((similarity[there] * 100).astype(np.int64).clip(0, 100), minlength=101)

    def share(self, name: str) -> float | str:
        """Return the share of predictions in the domain."""
        told = self.counts["told"]
        return self.counts[name] / told if told else "this model does not say"

    def similarity(self) -> float | str:
        """Return the median similarity to the nearest training condition, to a hundredth."""
        total = int(self.similar.sum())
        return int(np.searchsorted(np.cumsum(self.similar), total / 2)) / 100 if total else "not known"

    def summary(self) -> list[dict[str, Any]]:
        """Return, per error level and kind of task, means over tasks: efficiency, and validity where measured."""
        rows = []
        for error, (labels, values) in self.sums.items():
            table = conformal.label_shares(labels)[self.trust.classes]
            if (table["cells"] > 0).any():
                rows.append(
                    {"error": error, "tasks": f"{int((table['cells'] > 0).sum())} of classes"}
                    | {"single label": _mean(table["efficiency"])}
                    | {f"valid for {label}": _mean(table[f"validity_{label}"]) for label in (0, 1)}
                )
            table = conformal.interval_shares(values)[~self.trust.classes]
            blank = self.trust.widths[error].blank[~self.trust.classes]
            if (table["cells"] > 0).any():
                rows.append(
                    {"error": error, "tasks": f"{int((table['cells'] > 0).sum())} of values"}
                    | {"width": _mean(table["width"] / np.where(blank > 0, blank, np.nan))}
                    | {"valid for values": _mean(table["validity"]), "for bounds": _mean(table["validity_bounds"])}
                )
        return rows


def _mean(column: pd.Series) -> float | None:
    """Return the mean over the tasks that have the number; None where none has."""
    return float(column.mean()) if column.notna().any() else None


def _notes(trust: Trust, known: Neighbours | None, doubled: int) -> list[str]:
    notes = []
    if len(trust.cells) == 0:
        notes.append(
            "The run's model keeps no predictions of cells that it did not learn from: it has no conformal sets or "
            "intervals. Fit gp, pooled_gp, ridge or multitask."
        )
    if len(trust.cells) and (trust.source == POOL).any():
        notes.append(
            f"{int((trust.source == POOL).sum())} tasks have too few calibration cells and borrow those of all tasks: "
            "their share of errors is less sure."
        )
    if known is None:
        notes.append("The run does not say what it learned from, or nothing tells how alike conditions are.")
    if doubled:
        notes.append(f"{doubled} rows repeat a condition; each condition is judged once.")
    notes.append(
        "Single label: share of sets that say one thing. Width: of intervals, over that of knowing the task's "
        "calibration values only. Valid: share of measured cells that sets and intervals hold; 1 - error is asked for."
    )
    return notes
