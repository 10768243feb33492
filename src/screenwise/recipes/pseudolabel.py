"""What one model is sure of, as auxiliary tasks that another may learn from.

The recipe of MELLODDY's auxiliary data: a model of other inputs (cell images) is asked about compounds without
assay data; labels that its conformal predictor says alone become tasks of small weight.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.auxiliary import WEIGHT, auxiliary_tasks
from screenwise.data.table_parts import write_parts
from screenwise.errors import ConfigError, ModelError
from screenwise.evaluate.conformal import NONE, label_sets
from screenwise.prediction import Prediction
from screenwise.processes import usual_jobs
from screenwise.recipes.fitted_run import conditions_for, open_run, own_columns, seen_by, task_table
from screenwise.recipes.outcome import Outcome, Progress, silent
from screenwise.recipes.predictions import predict_chunks
from screenwise.recipes.settings import PseudolabelSettings, Reading
from screenwise.recipes.trust import Trust, learn_trust
from screenwise.represent.fingerprint_store import computing
from screenwise.screen import Screen, make_screen

SUFFIX = " (pseudo)"
"""What follows a task's name where its labels were predicted."""


def pseudo_labels(
    model: Any, tasks: pd.DataFrame, conditions: pd.DataFrame, *, error: float = 0.1, weight: float = WEIGHT
) -> Screen:
    """Return labels that a fitted model is sure of, as auxiliary tasks.

    Sure: the conformal set at the error level is one label. Tasks without calibration give none, nor does
    a task of which all sure labels are the same.

    Parameters
    ----------
    model
        Fitted, with calibration cells (`screenwise.protocols.HasCalibration`).
    tasks
        (t,) name and kind of the model's tasks; classes only are labelled.
    conditions
        (n,) what nobody measured.
    error
        Share of each class whose set may miss its label.
    weight
        Of the auxiliary tasks in training.

    Returns
    -------
    Screen
        (n, classes), ready for `screenwise.data.auxiliary.with_auxiliary`.
    """
    trust = _sure(model, tasks, error, weight)
    label = _labels(trust, model.predict(conditions), error)
    there = np.flatnonzero(trust.classes)
    kinds = pd.DataFrame({"name": _names(trust)[there], "kind": "classification"})
    screen = make_screen(conditions.reset_index(drop=True), label[:, there], kinds)
    return auxiliary_tasks(screen, np.full(len(screen.targets.cells()), weight))


def pseudolabel(
    run: Path,
    table: str,
    out: Path,
    settings: PseudolabelSettings = PseudolabelSettings(),
    reading: Reading = Reading(),
    *,
    progress: Progress = silent,
) -> Outcome:
    """Write what a run is sure of as a long table that ``screenwise fit --auxiliary`` reads.

    Parameters
    ----------
    run
        Folder of a finished fit with a classification task.
    table
        Conditions; those that the run was fitted on are left out.
    out
        Table to write: the table's own columns, task, value (0 or 1), weight.
    settings
        Error level of the sets, and weight of the tasks.
    """
    model, error = open_run(run), settings.error
    trust = _sure(model, task_table(run), error, settings.weight)
    conditions = conditions_for(run, table, reading, progress=progress)
    seen = seen_by(run, conditions)
    fresh = ~seen & (conditions["note"] == "") & ~conditions["condition_id"].duplicated()
    own = own_columns(conditions)[fresh].drop(columns="condition_id").reset_index(drop=True)
    conditions = conditions[fresh].reset_index(drop=True)
    names, counts = _names(trust), np.zeros((len(trust.tasks), 2), np.int64)

    def parts() -> Iterator[pd.DataFrame]:
        for first, prediction in predict_chunks(model, conditions, progress, width=len(trust.tasks)):
            label = _labels(trust, prediction, error)
            row, task = np.nonzero(np.isfinite(label))
            np.add.at(counts, (task, label[row, task].astype(np.int64)), 1)
            said = {"task": names[task], "value": label[row, task].astype(np.int64), "weight": settings.weight}
            yield pd.concat([own.iloc[first + row].reset_index(drop=True), pd.DataFrame(said)], axis=1)

    with computing(jobs=usual_jobs(), progress=progress):
        write_parts(parts(), out)
    asked = len(conditions) * int(trust.classes.sum())
    facts = {
        "conditions": len(conditions),
        "left out because the run was fitted on them": int(seen.sum()),
        "pseudo-labels": int(counts.sum()),
        "share of cells": float(counts.sum() / asked) if asked else 0.0,
        "tasks with both labels": int((counts > 0).all(axis=1).sum()),
    }
    note = (
        f"About {error:.0%} of each class's compounds get a set without their label if the new compounds are like "
        "the calibration ones; of a rare class that can still be most of its pseudo-labels. "
        f"Teach with them: screenwise fit TABLE --model multitask --auxiliary {out}"
    )
    return Outcome(facts, notes=[note], files={"pseudo-labels": str(out)})


def _sure(model: Any, tasks: pd.DataFrame, error: float, weight: float) -> Trust:
    if not weight > 0:
        message = f"The weight of pseudo-labels is {weight}; it must be above 0."
        raise ConfigError(message)
    trust = learn_trust(model, tasks, (error,))
    usable = trust.classes & (trust.source != NONE)
    if not usable.any():
        classes = int(trust.classes.sum())
        message = (
            f"This run has {classes} classification tasks, none with enough labels that its model was not taught: "
            "it can give no pseudo-labels. They want classes (0 and 1), and a model such as gp, ridge or multitask."
        )
        raise ModelError(message)
    return trust


def _labels(trust: Trust, prediction: Prediction, error: float) -> NDArray[np.float32]:
    """Return (n, t) sure labels of the tasks asked about; NaN where the set is empty or both, and for values."""
    prediction = prediction.take_tasks(trust.main)
    n, t = prediction.mean.shape
    usable = np.tile(trust.classes & (trust.source != NONE), n)
    mean, task = prediction.mean.ravel()[usable], np.tile(np.arange(t), n)[usable]
    sets = label_sets(trust.p_values(mean, task), error)
    label = np.full(n * t, np.nan, np.float32)
    label[usable] = np.where(sets[:, 0] != sets[:, 1], sets[:, 1], np.nan)
    return label.reshape(n, t)


def _names(trust: Trust) -> NDArray[np.object_]:
    return np.array([f"{name}{SUFFIX}" for name in trust.tasks["name"]], object)
