"""The table of predictions: the user's own columns, then what the model says."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from screenwise.prediction import Prediction
from screenwise.protocols import Model
from screenwise.recipes.outcome import Progress

CHUNK_ROWS = 20_000
"""Conditions predicted at a time, so that memory does not grow with the table."""


def predict_chunks(model: Model, conditions: pd.DataFrame, progress: Progress) -> Iterator[tuple[int, Prediction]]:
    """Yield (first row, prediction) for blocks of conditions."""
    for first in range(0, max(len(conditions), 1), CHUNK_ROWS):
        block = conditions.iloc[first : first + CHUNK_ROWS].reset_index(drop=True)
        yield first, without_unreadable(model.predict(block), block)
        progress("Predicting rows", min(first + CHUNK_ROWS, len(conditions)), len(conditions))


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


def long_table(own: pd.DataFrame, prediction: Prediction, tasks: list[str]) -> pd.DataFrame:
    """Return one row per condition and task: own columns, task, mean, std, lower, upper, in_domain, note."""
    n, t = prediction.mean.shape
    lower, upper = prediction.interval()
    table = own.loc[own.index.repeat(t)].reset_index(drop=True)
    table["task"] = np.tile(np.asarray(tasks, object), n)
    std = prediction.std if prediction.std is not None else np.full((n, t), np.nan, np.float32)
    for name, values in {"mean": prediction.mean, "std": std, "lower": lower, "upper": upper}.items():
        table[name] = values.ravel()
    table["in_domain"] = _in_domain(prediction).ravel()
    table["note"] = np.repeat(_notes(prediction), t)
    return table


def wide_table(own: pd.DataFrame, prediction: Prediction, tasks: list[str]) -> pd.DataFrame:
    """Return one row per condition: own columns, TASK, TASK_std, TASK_lower, TASK_upper, in_domain, note."""
    lower, upper = prediction.interval()
    columns: dict[str, object] = {}
    for place, task in enumerate(tasks):
        columns[task] = prediction.mean[:, place]
        if prediction.std is not None:
            columns[f"{task}_std"] = prediction.std[:, place]
            columns[f"{task}_lower"], columns[f"{task}_upper"] = lower[:, place], upper[:, place]
    columns["in_domain"] = _in_domain(prediction, every=True)
    columns["note"] = _notes(prediction)
    return pd.concat([own.reset_index(drop=True), pd.DataFrame(columns)], axis=1)


def _in_domain(prediction: Prediction, *, every: bool = False) -> np.ndarray:
    """Return whether predictions may be trusted, (n, t), or (n,) with `every`: all known tasks of a row.

    Empty where the model does not say; a row without prediction is outside.
    """
    known = np.isfinite(prediction.mean)
    if prediction.in_domain is None:
        return np.full(known.shape[:1] if every else known.shape, None, object)
    inside = prediction.in_domain
    inside = known & (inside if inside.ndim == 2 else inside[:, None])  # noqa: PLR2004
    return np.asarray(inside.all(axis=1)) if every else inside


def _notes(prediction: Prediction) -> np.ndarray:
    if prediction.note is None:
        return np.full(len(prediction.mean), "", object)
    return prediction.note
