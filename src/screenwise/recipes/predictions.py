"""The table of predictions: the user's own columns, then what the model says."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.columns import listed
from screenwise.errors import ColumnError
from screenwise.prediction import Prediction
from screenwise.protocols import Model, PredictsTasks
from screenwise.recipes.outcome import Progress
from screenwise.screen import task_column

CHUNK_ROWS = 20_000
"""Conditions predicted at a time, at most, so that memory does not grow with the table."""
CHUNK_CELLS = 1_000_000
"""Predictions (conditions x tasks) at a time, at most."""


def predict_chunks(
    model: Model,
    conditions: pd.DataFrame,
    progress: Progress,
    *,
    width: int,
    tasks: NDArray[np.int64] | None = None,
) -> Iterator[tuple[int, Prediction]]:
    """Yield (first row, prediction) for blocks of conditions, of some tasks (places) or of all; `width` counts them."""
    rows = int(np.clip(CHUNK_CELLS // max(width, 1), 1, CHUNK_ROWS))
    for first in range(0, max(len(conditions), 1), rows):
        block = conditions.iloc[first : first + rows].reset_index(drop=True)
        if tasks is not None and isinstance(model, PredictsTasks):
            prediction = model.predict_tasks(block, tasks)
        else:
            prediction = model.predict(block) if tasks is None else model.predict(block).take_tasks(tasks)
        yield first, without_unreadable(prediction, block)
        progress("Predicting rows", min(first + rows, len(conditions)), len(conditions))


def without_unreadable(prediction: Prediction, conditions: pd.DataFrame) -> Prediction:
    """Take back what was said of rows that could not be read, and give the reading's reason instead."""
    reason = conditions["note"].to_numpy(object) if "note" in conditions.columns else np.full(len(conditions), "")
    bad = reason != ""
    if not bad.any():
        return prediction
    mean, std = prediction.mean.copy(), None if prediction.std is None else prediction.std.copy()
    for array in (mean, std):
        if array is not None:
            array[bad] = np.nan
    return replace(prediction, mean=mean, std=std, note=np.where(bad, reason, _notes(prediction)))


def main_tasks(tasks: pd.DataFrame) -> NDArray[np.int64]:
    """Return the positions of tasks that are asked about; auxiliary ones only teach. All, where all are auxiliary.

    Examples
    --------
    >>> main_tasks(pd.DataFrame({"name": ["a", "b"], "aggregation_weight": [0.0, 1.0]})).tolist()
    [1]
    """
    main = np.flatnonzero(task_column(tasks, "aggregation_weight") > 0)
    return main if len(main) else np.arange(len(tasks))


def asked_tasks(tasks: pd.DataFrame, only: Sequence[str]) -> NDArray[np.int64]:
    """Return the positions of the tasks that are named, in the run's order; without names, of `main_tasks`.

    Parameters
    ----------
    tasks
        (t,) `name`.
    only
        Names, or patterns such as ``EGFR*``; one that fits no task is an error.

    Examples
    --------
    >>> asked_tasks(pd.DataFrame({"name": ["EGFR Ki", "JAK2 Ki", "EGFR IC50"]}), ["EGFR*"]).tolist()
    [0, 2]
    """
    if not only:
        return main_tasks(tasks)
    names = [str(name) for name in tasks["name"]]
    only = listed(only, names)
    fits = [[name == one or fnmatchcase(name, one) for name in names] for one in only]
    for one, found in zip(only, fits, strict=True):
        if not any(found):
            message = f"The run has no task {one!r}; it has {', '.join(names[:20])}. Correct --only."
            raise ColumnError(message)
    return np.flatnonzero(np.any(fits, axis=0))


def long_table(own: pd.DataFrame, prediction: Prediction, tasks: pd.DataFrame) -> pd.DataFrame:
    """Return one row per condition and task: own columns, task, mean, std, lower, upper, in_domain, note.

    Parameters
    ----------
    own
        (n,) columns that are repeated.
    prediction
        (n, t)
    tasks
        (t,) `name` and `kind`; intervals of a classification task end at 0 and 1.
    """
    n, t = prediction.mean.shape
    lower, upper = _bounds(prediction, tasks)
    table = own.loc[own.index.repeat(t)].reset_index(drop=True)
    table["task"] = np.tile(tasks["name"].to_numpy(object), n)
    std = prediction.std if prediction.std is not None else np.full((n, t), np.nan, np.float32)
    for name, values in {"mean": prediction.mean, "std": std, "lower": lower, "upper": upper}.items():
        table[name] = values.ravel()
    inside = cells_in_domain(prediction)
    table["in_domain"] = np.full(n * t, None, object) if inside is None else inside.ravel()
    table["note"] = np.repeat(_notes(prediction), t)
    return table


def wide_table(own: pd.DataFrame, prediction: Prediction, tasks: pd.DataFrame) -> pd.DataFrame:
    """Return one row per condition: own columns, TASK, TASK_std, TASK_lower, TASK_upper, in_domain, note.

    `in_domain` is true where all predictions of the row are in the domain; parameters as of `long_table`.
    """
    lower, upper = _bounds(prediction, tasks)
    columns: dict[str, object] = {}
    for place, task in enumerate(tasks["name"].astype(str)):
        columns[task] = prediction.mean[:, place]
        if prediction.std is not None:
            columns[f"{task}_std"] = prediction.std[:, place]
            columns[f"{task}_lower"], columns[f"{task}_upper"] = lower[:, place], upper[:, place]
    known, inside = np.isfinite(prediction.mean), cells_in_domain(prediction)
    every = None if inside is None else (inside | ~known).all(axis=1) & known.any(axis=1)
    columns["in_domain"] = np.full(len(own), None, object) if every is None else every
    columns["note"] = _notes(prediction)
    return pd.concat([own.reset_index(drop=True), pd.DataFrame(columns)], axis=1)


def cells_in_domain(prediction: Prediction) -> NDArray[np.bool_] | None:
    """Return (n, t) whether predictions may be trusted, None where the model does not say.

    What is not predicted is not in the domain.

    Examples
    --------
    >>> mean = np.array([[1.0, np.nan], [2.0, 3.0]], np.float32)
    >>> cells_in_domain(Prediction(mean, in_domain=np.array([True, False]))).tolist()
    [[True, False], [False, False]]
    """
    inside = prediction.in_domain
    if inside is None:
        return None
    return np.isfinite(prediction.mean) & (inside if inside.ndim == 2 else inside[:, None])  # noqa: PLR2004


def _bounds(prediction: Prediction, tasks: pd.DataFrame) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the ends of the 90 % intervals, (n, t) each; probabilities stay in [0, 1]."""
    lower, upper = prediction.interval()
    chance = (tasks["kind"] == "classification").to_numpy(bool)
    return np.where(chance, np.maximum(lower, 0), lower), np.where(chance, np.minimum(upper, 1), upper)


def _notes(prediction: Prediction) -> NDArray[np.object_]:
    if prediction.note is None:
        return np.full(len(prediction.mean), "", object)
    return prediction.note
