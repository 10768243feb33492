"""What a run knows of its own reliability, learned from cells that its model was not taught."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.evaluate import conformal
from screenwise.evaluate.conformal import NONE, OWN, POOL, Widths
from screenwise.prediction import CalibrationCells
from screenwise.protocols import HasCalibration
from screenwise.recipes.predictions import main_tasks


@dataclass(frozen=True)
class Trust:
    """What a run knows of its own reliability."""

    main: NDArray[np.int64]
    """(t,) which of the run's tasks are asked about: not the auxiliary ones."""
    tasks: pd.DataFrame
    """(t,) name, kind."""
    cells: CalibrationCells
    """Their `task` counts these tasks."""
    widths: dict[float, Widths]
    """By error level."""
    classes: NDArray[np.bool_]
    """(t,) which tasks are classes."""
    source: NDArray[np.object_]
    """(t,) whose cells calibrate a task: "own", "pool" (of all tasks), "none"."""

    @property
    def labels(self) -> CalibrationCells:
        """Calibration cells of classes."""
        return self.cells.take(self.classes[self.cells.task])

    def p_values(self, mean: NDArray[np.floating[Any]], task: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return p-values of 0 and 1 of some cells, (m, 2); NaN for values."""
        p = np.full((len(mean), 2), np.nan)
        mine = self.classes[task]
        p[mine] = conformal.class_p_values(self.labels, mean[mine], task[mine])
        return p

    def ends(
        self, error: float, mean: NDArray[np.floating[Any]], std: NDArray[np.floating[Any]], task: NDArray[np.int64]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the ends of conformal intervals, (m,) each; NaN for classes and where nothing calibrates them."""
        factor = np.where(self.classes, np.nan, self.widths[error].factor)
        half = np.where(np.isfinite(factor), factor, np.nan)[task] * std
        return mean - half, mean + half


def learn_trust(model: Any, tasks: pd.DataFrame, errors: tuple[float, ...]) -> Trust:
    """Learn from a model's calibration cells how wide intervals must be; a model without any knows nothing."""
    empty = np.zeros(0, np.float32)
    cells = CalibrationCells(np.zeros(0, np.int64), empty, np.zeros(0, np.int8), empty, empty)
    if isinstance(model, HasCalibration):
        cells = model.calibration_cells()
    main = main_tasks(tasks)
    place = np.full(len(tasks), -1)
    place[main] = np.arange(len(main))
    cells = replace(cells, task=place[cells.task]).take(place[cells.task] >= 0)
    tasks = tasks.iloc[main].reset_index(drop=True)
    classes = (tasks["kind"] == "classification").to_numpy(bool)
    values = cells.take(~classes[cells.task])
    widths = {error: conformal.learn_widths(values, len(tasks), error) for error in errors}
    labels = conformal.class_source(cells.take(classes[cells.task]), len(tasks))
    worse = np.where((labels == NONE).any(axis=1), NONE, np.where((labels == POOL).any(axis=1), POOL, OWN))
    return Trust(main, tasks, cells, widths, classes, np.where(classes, worse, widths[errors[0]].source).astype(object))
