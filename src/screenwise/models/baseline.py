"""What every model must beat: the mean (or prevalence) and the nearest neighbours."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.config import from_mapping, to_mapping
from screenwise.models.feature_store import pack_features, part_of, unpack_features
from screenwise.models.gp_kernels import chunks, readable_features
from screenwise.models.measured import (
    HeldOut,
    Measured,
    cell_std,
    held_out_cells,
    hold,
    load_baseline,
    mean_of_others,
    measured,
    missing_note,
    no_cells,
    one_kernel,
    pack_cells,
    save_baseline,
    task_spread,
    unpack_cells,
)
from screenwise.models.neighbourhood import Neighbourhood
from screenwise.prediction import CalibrationCells, Prediction
from screenwise.represent.kernels import kernel_from_state, kernel_state
from screenwise.rng import stream
from screenwise.run import Run
from screenwise.screen import Screen

HELD_OUT_ROWS = 5000
"""Neighbours: most rows of a task that are held out to learn the spread."""


@dataclass(frozen=True)
class MeanConfig:
    """The mean has no settings."""


class Mean:
    """Every condition is the task's mean; of a classification task, the prevalence.

    Examples
    --------
    >>> from screenwise.screen import make_screen
    >>> genes = pd.DataFrame({"gene": ["A", "B"]})
    >>> Mean().fit(make_screen(genes, np.array([[1.0], [2.0]]), ["growth"])).predict(genes).mean.ravel().tolist()
    [1.5, 1.5]
    """

    Config = MeanConfig

    def __init__(self, config: MeanConfig | None = None) -> None:
        self.config = config or MeanConfig()

    def fit(self, screen: Screen, *, valid: Screen | None = None, run: Run | None = None, seed: int = 0) -> Self:
        """Take the mean and the spread of each task."""
        data = measured(screen)
        self.tasks_, self.domain_ = data.tasks, Neighbourhood(screen, seed=seed)
        self.mean_, self.std_ = np.full(len(data.tasks), np.nan), np.full(len(data.tasks), np.nan)
        self.held_out_ = no_cells(data)
        for task, value in data.value.items():
            held = mean_of_others(value)
            self.mean_[task] = value.mean()
            self.std_[task] = task_spread(data, task, held)
            hold(self.held_out_, data, task, held, self.std_[task])
        self.cells_ = held_out_cells(screen, self.held_out_)
        return self

    def predict(self, conditions: pd.DataFrame) -> Prediction:
        """Give each task's mean to (n,) conditions of any kind."""
        rows = np.ones((len(conditions), 1), np.float32)
        return Prediction(
            rows * self.mean_.astype(np.float32),
            rows * self.std_.astype(np.float32),
            in_domain=self.domain_.inside(conditions),
            note=np.full(
                len(conditions), missing_note(self.tasks_, set(np.flatnonzero(np.isfinite(self.mean_)))), object
            ),
        )

    def predict_cells(
        self, conditions: pd.DataFrame, row: NDArray[np.int64], task: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Predict some cells only: (m,) rows of `conditions` and tasks -> mean and std, (m,) each."""
        return self.mean_[task].astype(np.float32), self.std_[task].astype(np.float32)

    def leave_one_out(self) -> HeldOut:
        """Return mean and std, (n, t) each, of the training cells; NaN where not measured."""
        return self.held_out_

    def calibration_cells(self) -> CalibrationCells:
        """Return the training cells that were held out, with what was predicted of them."""
        return self.cells_

    def save(self, folder: Path) -> None:
        """Write ``baseline.json`` and ``baseline.npz``, and the domain's files."""
        arrays = {"mean": self.mean_, "std": self.std_, "held_mean": self.held_out_[0], "held_std": self.held_out_[1]}
        head = {"config": to_mapping(self.config), "tasks": self.tasks_.to_dict("list")}
        save_baseline(folder, head, arrays | pack_cells(self.cells_))
        self.domain_.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        head, arrays = load_baseline(folder)
        model = cls(from_mapping(MeanConfig, head["config"]))
        model.tasks_, model.mean_, model.std_ = pd.DataFrame(head["tasks"]), arrays["mean"], arrays["std"]
        model.held_out_ = arrays["held_mean"], arrays["held_std"]
        model.domain_, model.cells_ = Neighbourhood.load(folder), unpack_cells(arrays)
        return model


@dataclass(frozen=True)
class NeighboursConfig:
    """Settings of the nearest neighbours."""

    neighbours: int = 5
    """How many measured conditions speak."""
    power: float = 3.0
    """A neighbour's weight is its similarity to this power."""
    kernel: str | None = None
    """Name of the similarity; None = that of structures, of given numbers, or the first there is."""


class Neighbours:
    """Mean of the most similar measured conditions, weighted by a power of the similarity.

    A task's standard deviation is one number, from leave-one-out residuals.

    Examples
    --------
    >>> from screenwise.screen import make_screen
    >>> compounds = pd.DataFrame({"smiles": ["CCO", "CCCO", "c1ccccc1", "Cc1ccccc1"]})
    >>> screen = make_screen(compounds, np.array([[1.0], [1.0], [5.0], [5.0]]), ["potency"])
    >>> bool(Neighbours().fit(screen).predict(pd.DataFrame({"smiles": ["CCCCO"]})).mean[0, 0] < 2)
    True
    """

    Config = NeighboursConfig

    def __init__(self, config: NeighboursConfig | None = None) -> None:
        self.config = config or NeighboursConfig()

    def fit(self, screen: Screen, *, valid: Screen | None = None, run: Run | None = None, seed: int = 0) -> Self:
        """Keep the measured conditions, and hold each out to learn the spread."""
        data = measured(screen)
        self.data_ = data
        self.kernel_ = one_kernel(screen.conditions, self.config.kernel)
        self.features_ = self.kernel_.features(screen.conditions)
        self.domain_ = Neighbourhood(screen, self.kernel_, seed)
        self.std_ = np.full(len(data.tasks), np.nan)
        self.held_out_ = no_cells(data)
        for task, rows in data.rows.items():
            some = np.arange(len(rows))
            if len(rows) > HELD_OUT_ROWS:
                some = np.sort(stream(seed, "neighbours", task).permutation(len(rows))[:HELD_OUT_ROWS])
            held = np.full(len(rows), np.nan)
            held[some] = self._ask(task, self.features_[rows[some]], without=some)
            self.std_[task] = task_spread(data, task, held)
            hold(self.held_out_, data, task, held, self.std_[task])
        self.cells_ = held_out_cells(screen, self.held_out_)
        return self

    def _ask(self, task: int, features: Any, without: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Return (q,) means of the neighbours; `without` (q,) = the measured row each may not use."""
        known = self.features_[self.data_.rows[task]]
        value = self.data_.value[task]
        out = np.empty(features.shape[0])
        root = np.sqrt(np.maximum(self.kernel_.diagonal(known), 1e-12))
        for part in chunks(len(out), len(value), layers=3):
            similarity = self.kernel_.gram(features[part], known) / root
            if without is not None:
                similarity[np.arange(len(similarity)), without[part]] = 0.0
            most = min(self.config.neighbours, len(value))
            # a stable order of ties keeps the answer free of how rows were cut into chunks
            near = np.argsort(-similarity, axis=1, kind="stable")[:, :most]
            own = np.sqrt(np.maximum(self.kernel_.diagonal(features[part]), 1e-12))[:, None]
            weight = np.maximum(np.take_along_axis(similarity, near, 1) / own, 0.0) ** self.config.power
            total = weight.sum(axis=1)
            mean = np.einsum("ij,ij->i", weight, value[near]) / np.where(total > 0, total, 1.0)
            # the sum of rounded shares may leave the range by a hair: a probability must not
            out[part] = np.clip(np.where(total > 0, mean, value.mean()), value.min(), value.max())
        return out

    def predict(self, conditions: pd.DataFrame) -> Prediction:
        """Predict all tasks for (n,) conditions."""
        (features,), readable, note = readable_features((self.kernel_,), conditions)
        mean = np.full((len(conditions), len(self.std_)), np.nan)
        std = np.full_like(mean, np.nan)
        for task in self.data_.rows:
            mean[readable, task] = self._ask(task, features)
            std[readable, task] = cell_std(self.data_.tasks, task, mean[readable, task], self.std_[task])
        note[readable] = missing_note(self.data_.tasks, set(self.data_.rows))
        inside = self.domain_.inside(conditions)
        return Prediction(mean.astype(np.float32), std.astype(np.float32), in_domain=inside, note=note)

    def predict_cells(
        self, conditions: pd.DataFrame, row: NDArray[np.int64], task: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Predict some cells only: (m,) rows of `conditions` and tasks -> mean and std, (m,) each."""
        asked, place = np.unique(np.asarray(row), return_inverse=True)
        (features,), readable, _ = readable_features((self.kernel_,), conditions.iloc[asked].reset_index(drop=True))
        position = np.cumsum(readable) - 1
        mean, std = np.full(len(place), np.nan), np.full(len(place), np.nan)
        for one in self.data_.rows:
            mine = np.flatnonzero((np.asarray(task) == one) & readable[place])
            mean[mine] = self._ask(one, features[position[place[mine]]])
            std[mine] = cell_std(self.data_.tasks, one, mean[mine], self.std_[one])
        return mean.astype(np.float32), std.astype(np.float32)

    def leave_one_out(self) -> HeldOut:
        """Return mean and std, (n, t) each, of the training cells that were held out; NaN elsewhere."""
        return self.held_out_

    def calibration_cells(self) -> CalibrationCells:
        """Return the training cells that were held out, with what was predicted of them."""
        return self.cells_

    def save(self, folder: Path) -> None:
        """Write ``baseline.json`` and ``baseline.npz``, and the domain's files."""
        state, own = kernel_state(self.kernel_)
        arrays = {f"kernel_{name}": array for name, array in own.items()}
        arrays |= {f"features_{name}": array for name, array in pack_features(self.features_).items()}
        arrays |= {f"rows{task}": rows for task, rows in self.data_.rows.items()}
        arrays |= {f"value{task}": value for task, value in self.data_.value.items()}
        arrays |= {"std": self.std_, "held_mean": self.held_out_[0], "held_std": self.held_out_[1]}
        head = {"config": to_mapping(self.config), "tasks": self.data_.tasks.to_dict("list"), "kernel": state}
        save_baseline(
            folder, head | {"size": self.data_.size, "spread": self.data_.spread}, arrays | pack_cells(self.cells_)
        )
        self.domain_.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        head, arrays = load_baseline(folder)
        model = cls(from_mapping(NeighboursConfig, head["config"]))
        tasks = pd.DataFrame(head["tasks"])
        there = [task for task in range(len(tasks)) if f"rows{task}" in arrays]
        model.data_ = Measured(
            tasks,
            head["size"],
            {task: arrays[f"rows{task}"] for task in there},
            {task: arrays[f"value{task}"] for task in there},
            head["spread"],
        )
        model.kernel_ = kernel_from_state(head["kernel"], part_of(arrays, "kernel_"))
        model.features_ = unpack_features(part_of(arrays, "features_"))
        model.std_, model.held_out_ = arrays["std"], (arrays["held_mean"], arrays["held_std"])
        model.domain_, model.cells_ = Neighbourhood.load(folder), unpack_cells(arrays)
        return model
