"""Ridge and logistic regression: the linear model."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from screenwise.config import from_mapping, to_mapping
from screenwise.models.feature_store import part_of
from screenwise.models.feature_table import KernelColumns, feature_table, learn_columns, table_kernels
from screenwise.models.gp_kernels import readable_features
from screenwise.models.measured import (
    HeldOut,
    cell_std,
    held_out_cells,
    hold,
    load_baseline,
    measured,
    missing_note,
    no_cells,
    pack_cells,
    save_baseline,
    task_spread,
    unpack_cells,
)
from screenwise.models.neighbourhood import Neighbourhood
from screenwise.models.ridge_fit import fit_logistic, fit_ridge, probability
from screenwise.prediction import CalibrationCells, Prediction
from screenwise.represent.flat import flat_features
from screenwise.represent.kernels import kernel_from_state, kernel_state
from screenwise.rng import stream
from screenwise.run import Run
from screenwise.screen import Screen


@dataclass(frozen=True)
class RidgeConfig:
    """Settings of ridge regression."""

    kernels: tuple[str, ...] | None = None
    """Names of the kernels whose features are used; None = the first one, given numbers, and the context."""
    min_count: int = 2
    """Training conditions in which a sparse feature must occur."""


class Ridge:
    """Ridge regression on logarithms of counts (or standardised numbers), penalty by leave-one-out error.

    A classification task is ridge regression on 0/1 followed by a logistic function fitted on its
    leave-one-out scores (Platt 1999), so that the mean is a calibrated probability.

    Examples
    --------
    >>> from screenwise.screen import make_screen
    >>> x = np.linspace(0, 1, 20)
    >>> conditions = pd.DataFrame({"gene": [f"G{i}" for i in range(20)], "feature:x": x})
    >>> screen = make_screen(conditions, 2 * x[:, None], ["growth"])
    >>> bool(np.abs(Ridge().fit(screen).predict(conditions).mean[:, 0] - 2 * x).max() < 0.05)
    True
    """

    Config = RidgeConfig

    def __init__(self, config: RidgeConfig | None = None) -> None:
        self.config = config or RidgeConfig()

    def fit(self, screen: Screen, *, valid: Screen | None = None, run: Run | None = None, seed: int = 0) -> Self:
        """Fit each task's linear function."""
        data = measured(screen)
        self.tasks_, self.domain_ = data.tasks, Neighbourhood(screen, seed=seed)
        self.kernels_ = table_kernels(screen.conditions, self.config.kernels)
        raw = [kernel.features(screen.conditions) for kernel in self.kernels_]
        self.columns_ = [learn_columns(flat_features(one), self.config.min_count) for one in raw]
        features = feature_table(self.columns_, raw)
        t = len(data.tasks)
        self.weight_, self.constant_ = np.zeros((t, features.shape[1])), np.full(t, np.nan)
        self.std_, self.logistic_ = np.full(t, np.nan), np.full((t, 2), np.nan)
        self.held_out_ = no_cells(data)
        for task, rows in data.rows.items():
            with threadpool_limits(1, user_api="blas"):
                fit = fit_ridge(features[rows], data.value[task], stream(seed, "ridge", task))
            self.weight_[task], self.constant_[task] = fit.weight, fit.constant
            held = fit.held_mean
            if data.tasks["kind"][task] == "classification":
                self.logistic_[task] = fit_logistic(held, data.value[task])
                held = probability(held, *self.logistic_[task])
            self.std_[task] = task_spread(data, task, held)
            hold(self.held_out_, data, task, held, self.std_[task])
        self.cells_ = held_out_cells(screen, self.held_out_)
        return self

    def predict(self, conditions: pd.DataFrame) -> Prediction:
        """Predict all tasks for (n,) conditions."""
        raw, readable, note = readable_features(self.kernels_, conditions)
        table = feature_table(self.columns_, raw)
        mean = np.full((len(conditions), len(self.std_)), np.nan)
        std = np.full_like(mean, np.nan)
        learned = self._learned()
        for task in learned:
            mean[readable, task], std[readable, task] = self._ask(task, table)
        note[readable] = missing_note(self.tasks_, set(learned))
        inside = self.domain_.inside(conditions)
        return Prediction(mean.astype(np.float32), std.astype(np.float32), in_domain=inside, note=note)

    def predict_cells(
        self, conditions: pd.DataFrame, row: NDArray[np.int64], task: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Predict some cells only: (m,) rows of `conditions` and tasks -> mean and std, (m,) each."""
        asked, place = np.unique(np.asarray(row), return_inverse=True)
        raw, readable, _ = readable_features(self.kernels_, conditions.iloc[asked].reset_index(drop=True))
        table, position = feature_table(self.columns_, raw), np.cumsum(readable) - 1
        mean, std = np.full(len(place), np.nan), np.full(len(place), np.nan)
        for one in self._learned():
            mine = np.flatnonzero((np.asarray(task) == one) & readable[place])
            mean[mine], std[mine] = self._ask(one, table[position[place[mine]]])
        return mean.astype(np.float32), std.astype(np.float32)

    def _learned(self) -> list[int]:
        return [int(task) for task in np.flatnonzero(np.isfinite(self.constant_))]

    def _ask(self, task: int, table: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (q,) means and standard deviations of one task."""
        mean = np.asarray(table @ self.weight_[task]) + self.constant_[task]
        if np.isfinite(self.logistic_[task, 0]):
            mean = probability(mean, *self.logistic_[task])
        return mean, cell_std(self.tasks_, task, mean, self.std_[task])

    def leave_one_out(self) -> HeldOut:
        """Return mean and std, (n, t) each, of the training cells; NaN where not measured."""
        return self.held_out_

    def calibration_cells(self) -> CalibrationCells:
        """Return the training cells that were held out, with what was predicted of them."""
        return self.cells_

    def save(self, folder: Path) -> None:
        """Write ``baseline.json`` and ``baseline.npz``, and the domain's files."""
        kernels: list[Any] = []
        arrays: dict[str, Any] = {}
        for place, (kernel, columns) in enumerate(zip(self.kernels_, self.columns_, strict=True)):
            state, own = kernel_state(kernel)
            kernels.append(state)
            arrays |= {f"kernel{place}.{name}": array for name, array in own.items()}
            arrays |= {f"columns{place}.{field.name}": getattr(columns, field.name) for field in fields(KernelColumns)}
        arrays |= {"weight": self.weight_, "constant": self.constant_, "std": self.std_, "logistic": self.logistic_}
        arrays |= {"held_mean": self.held_out_[0], "held_std": self.held_out_[1]}
        head = {"config": to_mapping(self.config), "tasks": self.tasks_.to_dict("list"), "kernels": kernels}
        save_baseline(folder, head, arrays | pack_cells(self.cells_))
        self.domain_.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        head, arrays = load_baseline(folder)
        model = cls(from_mapping(RidgeConfig, head["config"]))
        model.tasks_ = pd.DataFrame(head["tasks"])
        states = list(enumerate(head["kernels"]))
        model.kernels_ = tuple(kernel_from_state(one, part_of(arrays, f"kernel{place}.")) for place, one in states)
        columns = [part_of(arrays, f"columns{place}.") for place, _ in states]
        model.columns_ = [
            KernelColumns(one["ids"], one["centre"], one["size"], float(one["length"])) for one in columns
        ]
        model.weight_, model.constant_ = arrays["weight"], arrays["constant"]
        model.std_, model.logistic_ = arrays["std"], arrays["logistic"]
        model.held_out_ = arrays["held_mean"], arrays["held_std"]
        model.domain_, model.cells_ = Neighbourhood.load(folder), unpack_cells(arrays)
        return model
