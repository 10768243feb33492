"""The measured cells of a screen by task, and what the simple models share."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.errors import ModelError
from screenwise.evaluate.calibration import limited_factor
from screenwise.models.feature_store import part_of, read_arrays
from screenwise.models.gp_kernels import STRUCTURE, choose_kernels
from screenwise.prediction import CalibrationCells
from screenwise.represent.fingerprint import Fingerprint
from screenwise.represent.kernels import Kernel
from screenwise.run import atomic_path, read_json, write_json
from screenwise.screen import Screen

HeldOut = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Leave-one-out mean and std, (n, t) each; NaN where not measured."""


@dataclass(frozen=True)
class Measured:
    """The measured cells of a screen, by task."""

    tasks: pd.DataFrame
    """(t,) name, kind."""
    size: int
    rows: dict[int, NDArray[np.int64]]
    """Task -> rows of the screen; a task without measurements is not there."""
    value: dict[int, NDArray[np.float64]]
    spread: float
    """Standard deviation that stands in where values have none."""


def measured(screen: Screen) -> Measured:
    """Return the measured values by task; none at all is an error."""
    rows, value = {}, {}
    for task in range(screen.targets.shape[1]):
        cells = screen.targets.task(task)
        finite = np.isfinite(cells.value)
        if finite.any():
            rows[task], value[task] = cells.row[finite], cells.value[finite].astype(np.float64)
    if not rows:
        message = "No task has a measured value; there is nothing to learn from."
        raise ModelError(message)
    spreads = [float(one.std()) for one in value.values() if one.std() > 0]
    tasks = screen.tasks[["name", "kind"]].reset_index(drop=True)
    return Measured(tasks, len(screen), rows, value, float(np.median(spreads)) if spreads else 1.0)


def held_out_std(residual: NDArray[np.float64], otherwise: float) -> float:
    """Return one standard deviation for all rows, so that 1.645 of it holds 90 % of held-out residuals.

    Parameters
    ----------
    residual
        (n,) of rows held out.
    otherwise
        What is returned where the residuals have no spread.

    Examples
    --------
    >>> round(held_out_std(np.linspace(-1, 1, 1001), 1.0), 3)
    0.548
    """
    residual = residual[np.isfinite(residual)]
    spread = float(np.sqrt(np.mean(residual**2))) if len(residual) else 0.0
    if not spread > 0:
        return otherwise
    return spread * limited_factor(residual / spread)


def unexplained_std(residual: NDArray[np.float64], spread: NDArray[np.float64], otherwise: float) -> float:
    """Return the std of held-out errors that the (n,) spread of draws does not explain."""
    explained = np.square(spread[np.isfinite(residual)])
    whole = held_out_std(residual, otherwise)
    return float(np.sqrt(max(whole**2 - (explained.mean() if len(explained) else 0.0), 0.0)))


def task_spread(data: Measured, task: int, held: NDArray[np.float64]) -> float:
    """Return a task's standard deviation from its (n,) held-out predictions."""
    return held_out_std(held - data.value[task], data.spread)


def cell_std(tasks: pd.DataFrame, task: int, mean: NDArray[np.float64], std: float) -> NDArray[np.float64]:
    """Return (q,) standard deviations: one number of the task, or that of a coin where classes are predicted."""
    if tasks["kind"][task] == "classification":
        return np.sqrt(np.maximum(mean * (1.0 - mean), 1e-4))
    return np.full(len(mean), std)


def no_cells(data: Measured) -> HeldOut:
    """Return empty leave-one-out predictions."""
    shape = (data.size, len(data.tasks))
    return np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)


def hold(held_out: HeldOut, data: Measured, task: int, mean: NDArray[np.float64], std: float) -> None:
    """Write a task's (n,) leave-one-out predictions into `held_out`."""
    rows = data.rows[task]
    held_out[0][rows, task] = mean
    held_out[1][rows, task] = np.where(np.isfinite(mean), cell_std(data.tasks, task, mean, std), np.nan)


def held_out_cells(screen: Screen, held_out: HeldOut) -> CalibrationCells:
    """Return the measured cells of a screen that were held out, with what was predicted of them."""
    cells = screen.targets.cells()
    mean, std = (array[cells.row, cells.task] for array in held_out)
    there = np.isfinite(cells.value) & np.isfinite(mean)
    every = CalibrationCells(cells.task.astype(np.int64), cells.value, cells.relation, mean, std)
    return every.take(there)


def pack_cells(cells: CalibrationCells) -> dict[str, NDArray[Any]]:
    """Return arrays for a file, under ``calibration_...``; `unpack_cells` reads them."""
    return {f"calibration_{name}": array for name, array in vars(cells).items()}


def unpack_cells(arrays: dict[str, Any]) -> CalibrationCells:
    """Read what `pack_cells` gave."""
    return CalibrationCells(**part_of(arrays, "calibration_"))


def mean_of_others(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n,) means of all other values; the value itself where it is alone.

    Examples
    --------
    >>> mean_of_others(np.array([1.0, 2.0, 6.0])).tolist()
    [4.0, 3.5, 1.5]
    """
    return (value.sum() - value) / (len(value) - 1) if len(value) > 1 else value.copy()


def missing_note(tasks: pd.DataFrame, there: set[int]) -> str:
    """Return what to know of every row: which tasks could not be learned."""
    return "; ".join(f"nothing was measured of {name}" for task, name in enumerate(tasks["name"]) if task not in there)


def one_kernel(conditions: pd.DataFrame, name: str | None) -> Kernel:
    """Return the named kernel; unnamed, that of structures, or of given numbers, or the first there is."""
    if name is not None:
        return _alone(choose_kernels(conditions, (name,))[0])
    known = choose_kernels(conditions, None)
    if any(STRUCTURE.fullmatch(str(column)) for column in conditions.columns):
        return _alone(known[0])
    return next((kernel for kernel in known if "_far" in kernel.name), known[0])


def _alone(kernel: Kernel) -> Kernel:
    """Return the kernel whose fingerprint computes no others in the same pass."""
    if not isinstance(kernel.representation, Fingerprint):
        return kernel
    return replace(kernel, representation=replace(kernel.representation, family=()))


def save_baseline(folder: Path, head: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Write ``baseline.json`` and ``baseline.npz``."""
    folder = Path(folder)
    with atomic_path(folder / "baseline.npz") as draft:
        np.savez(draft, **arrays)
    write_json(folder / "baseline.json", head)


def load_baseline(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what `save_baseline` wrote."""
    folder = Path(folder)
    return read_json(folder / "baseline.json"), read_arrays(folder / "baseline.npz")
