"""What a fitted Gaussian process says of its own training cells without having learned from them."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.split import scaffolds
from screenwise.models.gp_store import Fitted
from screenwise.models.gp_task import TaskFit
from screenwise.prediction import CalibrationCells

MOST_TOGETHER = 4000
"""Rows of one scaffold that are left out together at most: the cost grows with the cube of their number."""


def scaffold_codes(smiles: pd.Series) -> NDArray[np.int64]:
    """Return (m,) codes of scaffolds; without a ring a compound is a scaffold of its own, and each missing one is.

    Examples
    --------
    >>> scaffold_codes(pd.Series(["Cc1ccccc1", "CCO", "Oc1ccccc1", "CO", "CCO", None, None])).tolist()
    [0, 1, 0, 2, 1, 4, 5]
    """
    compound, texts = pd.factorize(smiles.fillna(""))
    found = scaffolds(texts.tolist())
    codes = np.asarray(pd.factorize(np.where(found == "", texts, found))[0][compound], np.int64)
    missing = np.asarray(texts == "")[compound]
    codes[missing] = codes.max(initial=-1) + 1 + np.arange(missing.sum())
    return codes


def series_apart(
    scaffold: NDArray[np.int64], own: NDArray[np.int64], group: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Return (m,) codes of what is left out together: scaffolds, but no scaffold that has most rows of its group.

    Without a series that is more than half of what is known, little is left to predict it from, in the limit one
    and the same value for all; and what will be asked is more of the series. Its rows are left out one by one.

    Parameters
    ----------
    scaffold
        (m,) codes.
    own
        (m,) codes of what is left out then: rows, or compounds of several rows.
    group
        (m,) codes of what is learned together; None = all.

    Examples
    --------
    >>> series_apart(np.array([0, 0, 0, 1, 2]), np.arange(5), np.array([0, 0, 0, 0, 1])).tolist()
    [3, 4, 5, 1, 7]
    """
    group = np.zeros_like(scaffold) if group is None else group
    codes = int(scaffold.max(initial=-1)) + 1
    _, pair, count = np.unique(group * codes + scaffold, return_inverse=True, return_counts=True)
    many = (2 * count[pair] > np.bincount(group)[group]) | (count[pair] > MOST_TOGETHER)
    return np.where(many, codes + own, scaffold)


def held_out_scores(fits: dict[int, TaskFit]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return row, task and leave-one-out residual over its std, (m,) each, of the training cells of all tasks."""
    row = np.concatenate([fit.rows for fit in fits.values()])
    task = np.concatenate([np.full(len(fit.rows), one) for one, fit in fits.items()])
    score = np.concatenate([(fit.y - fit.held_mean) / fit.held_std for fit in fits.values()])
    return row, task, score


def left_out_cells(fitted: Fitted) -> CalibrationCells:
    """Return the training cells, each predicted without its scaffold (`series_apart`), nothing borrowed.

    As a condition that nobody measured would be predicted: bounds stay bounds, probabilities in [0, 1].
    """
    fits = fitted.fits
    task = np.concatenate([np.full(len(fit.rows), one, np.int64) for one, fit in fits.items()])
    value = np.concatenate([fit.mean + fit.sd * fit.y for fit in fits.values()])
    mean = np.concatenate([fit.mean + fit.sd * fit.out_mean for fit in fits.values()])
    std = np.concatenate([fit.calibration * fit.sd * fit.out_std for fit in fits.values()])
    relation = np.concatenate([fit.relation for fit in fits.values()])
    chance = (fitted.tasks["kind"] == "classification").to_numpy(bool)[task]
    mean[chance] = np.clip(mean[chance], 0.0, 1.0)
    value[chance] = np.round(value[chance])  # it was standardised and back
    return CalibrationCells(task, value.astype(np.float32), relation, mean.astype(np.float32), std.astype(np.float32))
