"""What a model says of conditions: mean, spread, joint draws, and where not to believe it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from screenwise.errors import DataError

Z90 = 1.6448536269514722
"""Standard normal quantile of a two-sided 90 % interval."""


@dataclass(frozen=True)
class Prediction:
    """Predictions for n conditions and t tasks.

    A classification task's `mean` is the probability of the positive class. A condition that cannot
    be predicted has NaN everywhere and its reason in `note`.
    """

    mean: NDArray[np.float32]
    """(n, t), in the units of the tasks."""
    std: NDArray[np.float32] | None = None
    """(n, t) total standard deviation (noise included), calibrated so that
    ``mean +- 1.645 std`` is meant to hold 90 % of new measurements."""
    draws: NDArray[np.float32] | None = None
    """(s, n, t) joint draws: draw s is the same function on every chunk of a pool."""
    in_domain: NDArray[np.bool_] | None = None
    """(n,) or (n, t): whether the model may be trusted there."""
    note: NDArray[Any] | None = None
    """(n,) text: why a row has no prediction, or what to know of it; empty where nothing."""

    def __post_init__(self) -> None:
        if self.mean.ndim != 2:  # noqa: PLR2004
            message = f"Prediction.mean has shape {self.mean.shape}; it must be (conditions, tasks)."
            raise DataError(message)
        n, t = self.mean.shape
        shapes = {
            "std": (self.std, [(n, t)]),
            "draws": (None if self.draws is None else self.draws[0], [(n, t)]),
            "in_domain": (self.in_domain, [(n,), (n, t)]),
            "note": (self.note, [(n,)]),
        }
        for name, (array, allowed) in shapes.items():
            if array is not None and array.shape not in allowed:
                message = f"Prediction.{name} has shape {array.shape}; it must fit the mean, {(n, t)}."
                raise DataError(message)

    def interval(self, z: float = Z90) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return lower and upper bounds, (n, t) each, at `z` standard deviations.

        Examples
        --------
        >>> p = Prediction(np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32))
        >>> lower, upper = p.interval(z=2.0)
        >>> float(lower[0, 0]), float(upper[0, 0])
        (-2.0, 2.0)
        """
        if self.std is None:
            missing = np.full_like(self.mean, np.nan)
            return missing, missing
        half = np.float32(z) * self.std
        return self.mean - half, self.mean + half

    def take(self, rows: Any) -> "Prediction":
        """Return the predictions of some conditions (integer or boolean rows)."""

        def part(array: Any) -> Any:
            return None if array is None else array[rows]

        return Prediction(
            self.mean[rows],
            part(self.std),
            None if self.draws is None else self.draws[:, rows],
            part(self.in_domain),
            part(self.note),
        )

    def take_tasks(self, tasks: Any) -> "Prediction":
        """Return the predictions of some tasks (integer positions).

        Examples
        --------
        >>> Prediction(np.array([[1.0, 2.0]], np.float32)).take_tasks([1]).mean.tolist()
        [[2.0]]
        """
        inside = self.in_domain
        return Prediction(
            self.mean[:, tasks],
            None if self.std is None else self.std[:, tasks],
            None if self.draws is None else self.draws[:, :, tasks],
            inside if inside is None or inside.ndim == 1 else inside[:, tasks],
            self.note,
        )


@dataclass(frozen=True)
class CalibrationCells:
    """m measured cells that a fitted model predicted without having learned from them, (m,) each.

    What a new prediction is worth is read off them: conformal sets and intervals, calibrated factors.
    """

    task: NDArray[np.int64]
    """Column of the task among the model's tasks."""
    value: NDArray[np.float32]
    """Measured, in the task's unit; 0 or 1 of a classification task."""
    relation: NDArray[np.int8]
    """-1 true value below, 0 exact, +1 above."""
    mean: NDArray[np.float32]
    """Predicted, as `Prediction.mean`."""
    std: NDArray[np.float32]
    """Predicted, as `Prediction.std`; NaN where the model does not say."""

    def __post_init__(self) -> None:
        lengths = {name: len(array) for name, array in vars(self).items()}
        if len(set(lengths.values())) > 1:
            message = f"CalibrationCells have lengths {lengths}; there must be one of each per cell."
            raise DataError(message)

    def __len__(self) -> int:
        return len(self.task)

    def take(self, cells: Any) -> "CalibrationCells":
        """Return some cells (integer or boolean)."""
        return CalibrationCells(**{name: array[cells] for name, array in vars(self).items()})
