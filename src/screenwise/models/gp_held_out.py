"""What a fitted Gaussian process says of its own training cells without having learned from them."""

import numpy as np
from numpy.typing import NDArray

from screenwise.models.gp_store import Fitted
from screenwise.models.gp_task import TaskFit
from screenwise.prediction import CalibrationCells


def held_out_scores(fits: dict[int, TaskFit]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return row, task and leave-one-out residual over its std, (m,) each, of the training cells of all tasks."""
    row = np.concatenate([fit.rows for fit in fits.values()])
    task = np.concatenate([np.full(len(fit.rows), one) for one, fit in fits.items()])
    score = np.concatenate([(fit.y - fit.held_mean) / fit.held_std for fit in fits.values()])
    return row, task, score


def left_out_cells(fitted: Fitted) -> CalibrationCells:
    """Return the training cells, each predicted without the rows of its group (scaffold), nothing borrowed.

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
