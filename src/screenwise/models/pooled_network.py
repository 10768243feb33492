"""The pooled process and the multi-task network together: they err differently.

Scores of each model become z-scores within a task, with means and deviations of training cells that the model had
not learned from, so that nothing depends on what else is asked. A label's score is that of the process plus half
that of the network; its probability runs along the process's own curve, with one slope for all tasks that is
learned from the cells which neither model had learned from. A value is seven tenths of the process and three of
the network (weights: fsmol_chembl27, folds 0 and 1).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit

from screenwise.config import from_mapping, to_mapping
from screenwise.errors import ConfigError, ModelError
from screenwise.models.feature_store import read_arrays
from screenwise.models.multitask import MultiTask, MultiTaskConfig
from screenwise.models.pooled import PooledProcess, PooledProcessConfig
from screenwise.models.pooled_fit import coin
from screenwise.models.pooled_probability import learn_slope
from screenwise.prediction import CalibrationCells, Prediction
from screenwise.run import Run, atomic_path, read_json, write_json
from screenwise.screen import Screen

FEW = 20.0
"""A task's mean and deviation of scores are shrunk to those of all tasks, as by so many cells."""
_FURTHEST = 1e-6


@dataclass(frozen=True)
class PooledNetworkConfig:
    """Settings of the pooled process with a network."""

    process: PooledProcessConfig = PooledProcessConfig()  # noqa: RUF009 - frozen: one default serves all
    """Settings of the process."""
    network: MultiTaskConfig = MultiTaskConfig(members=3)  # noqa: RUF009
    """Settings of the network; of so few values a task, three that differ by their seed err less than one."""
    label_weight: float = 0.5
    """Weight of the network's z-score of a label, beside 1 of the process."""
    value_share: float = 0.3
    """Share of the network in a value."""

    def __post_init__(self) -> None:
        if self.label_weight < 0 or not 0 <= self.value_share <= 1:
            message = (
                f"PooledNetwork.Config: label_weight {self.label_weight} must be >= 0, "
                f"value_share {self.value_share} 0 to 1."
            )
            raise ConfigError(message)


@dataclass(frozen=True)
class Mixture:
    """How the scores of both models become one."""

    centre: NDArray[np.float64]
    """(2, t) means of the log odds of process and network."""
    spread: NDArray[np.float64]
    """(2, t) their standard deviations."""
    level: float
    """Added to all log odds."""
    slope: float
    """Of the mixed z-score, in deviations of the process's log odds."""


class PooledNetwork:
    """A pooled process and a network (see the module).

    Examples
    --------
    >>> from screenwise.screen import make_screen
    >>> chains = pd.DataFrame({"smiles": ["C" * length + "O" for length in range(2, 42)]})
    >>> value = chains["smiles"].str.len().to_numpy(float)[:, None]
    >>> tasks = pd.DataFrame({"name": ["Ki"], "target": ["EGFR"]})
    >>> config = PooledNetworkConfig(network=MultiTaskConfig(hidden=(8,), epochs=2))
    >>> PooledNetwork(config).fit(make_screen(chains, value, tasks)).predict(chains).mean.shape
    (40, 1)
    """

    Config = PooledNetworkConfig

    def __init__(self, config: PooledNetworkConfig | None = None) -> None:
        self.config = config or PooledNetworkConfig()
        self.process_ = PooledProcess(self.config.process)
        self.network_ = MultiTask(self.config.network)
        self.mixture_: Mixture | None = None

    def fit(self, screen: Screen, *, valid: Screen | None = None, run: Run | None = None, seed: int = 0) -> Self:
        """Fit the process, then the network, and learn how to mix them; `valid` is not used."""
        process = PooledProcess(self.config.process).fit(screen, run=run, seed=seed)
        network = MultiTask(self.config.network).fit(screen, run=run, seed=seed)
        return self.join(process, network, screen)

    def join(self, process: PooledProcess, network: MultiTask, screen: Screen) -> Self:
        """Mix two models that were fitted to this very screen, the network in this session."""
        self.process_, self.network_ = process, network
        self.tasks_ = process.tasks_
        self.labels_ = (self.tasks_["kind"] == "classification").to_numpy()
        self.reason_ = process.reason_
        tasks = len(self.tasks_)
        parts = [cells.take(self.labels_[cells.task]) for cells in (self._near(), network.calibration_cells())]
        moments = [_moments(_score(cells.mean), cells.task, tasks) for cells in parts]
        centre, spread = (np.stack([moment[place] for moment in moments]) for place in (0, 1))
        self.mixture_ = Mixture(centre, spread, 0.0, 1.0)
        cells, place = self._both(screen)
        held = process._state().held
        chosen = self.labels_[cells.task]
        score, base = self._mixed(held.mean[place[chosen]], cells.mean[chosen], cells.task[chosen])
        level, slope = learn_slope(score, cells.value[chosen].astype(np.float64), base)
        self.mixture_ = replace(self.mixture_, level=level, slope=slope)
        self._calibrated = self._join_cells(cells, held.far_mean[place])
        return self

    def predict(self, conditions: pd.DataFrame) -> Prediction:
        """Predict all tasks for (n,) conditions."""
        self._state()
        one, two = self.process_.predict(conditions), self.network_.predict(conditions)
        both = np.isfinite(one.mean) & np.isfinite(two.mean)
        row, task = np.nonzero(both)
        mean, std = np.full_like(one.mean, np.nan), np.full_like(one.mean, np.nan)
        assert one.std is not None
        mean[row, task], std[row, task] = self._join(one.mean[row, task], one.std[row, task], two.mean[row, task], task)
        return Prediction(mean, std, in_domain=one.in_domain, note=one.note)

    def predict_cells(
        self, conditions: pd.DataFrame, row: NDArray[np.int64], task: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Predict some cells only: mean and std, (m,) each, of conditions `row` and tasks `task`."""
        self._state()
        one, std = self.process_.predict_cells(conditions, row, task)
        two = self.network_.predict_cells(conditions, row, task)[0]
        return self._join(one, std, two, np.asarray(task))

    def calibration_cells(self) -> CalibrationCells:
        """Return the training cells that the network held out, as the mixture predicts them.

        The process has its part without their scaffold; the network held them out at random.
        """
        self._state()
        return self._calibrated

    def save(self, folder: Path) -> None:
        """Write ``pooled_network.json`` and ``.npz``, and both models in folders of their own."""
        folder, mixture = Path(folder), self._state()
        self.process_.save(folder / "process")
        self.network_.save(folder / "network")
        arrays = {"centre": mixture.centre, "spread": mixture.spread} | vars(self._calibrated)
        with atomic_path(folder / "pooled_network.npz") as draft:
            np.savez(draft, **arrays)
        head = {"config": to_mapping(self.config), "level": mixture.level, "slope": mixture.slope}
        write_json(folder / "pooled_network.json", head)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        folder = Path(folder)
        head, arrays = read_json(folder / "pooled_network.json"), read_arrays(folder / "pooled_network.npz")
        model = cls(from_mapping(PooledNetworkConfig, head["config"], str(folder / "pooled_network.json")))
        model.process_, model.network_ = PooledProcess.load(folder / "process"), MultiTask.load(folder / "network")
        model.tasks_, model.reason_ = model.process_.tasks_, model.process_.reason_
        model.labels_ = (model.tasks_["kind"] == "classification").to_numpy()
        model.mixture_ = Mixture(arrays.pop("centre"), arrays.pop("spread"), head["level"], head["slope"])
        model._calibrated = CalibrationCells(**arrays)
        return model

    def _state(self) -> Mixture:
        if self.mixture_ is None:
            message = "This model is not fitted yet; call fit(screen) first."
            raise ModelError(message)
        return self.mixture_

    def _mixed(
        self, one: NDArray[Any], two: NDArray[Any], task: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the mixed z-scores of labels, in deviations of the process, and the process's mean log odds."""
        mixture = self._state()
        z = [
            (_score(p) - mixture.centre[place, task]) / mixture.spread[place, task]
            for place, p in enumerate((one, two))
        ]
        return mixture.spread[0, task] * (z[0] + self.config.label_weight * z[1]), mixture.centre[0, task]

    def _join(
        self, one: NDArray[Any], std: NDArray[Any], two: NDArray[Any], task: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        mixture, label = self._state(), self.labels_[task]
        mean = (1.0 - self.config.value_share) * one + self.config.value_share * two
        score, base = self._mixed(one[label], two[label], task[label])
        mean[label] = expit(base + mixture.level + mixture.slope * score)
        return mean.astype(np.float32), np.where(label, coin(mean), std).astype(np.float32)

    def _near(self) -> CalibrationCells:
        """Return the process's predictions of its cells without their compound, as the network's are."""
        held = self.process_._state().held
        return CalibrationCells(held.task, held.value, held.relation, held.mean, held.std)

    def _both(self, screen: Screen) -> tuple[CalibrationCells, NDArray[np.int64]]:
        """Return the cells that the network held out, and their places among those that the process held out."""
        cells, held = self.network_.calibration_cells(), self.process_._state().held
        ids = screen.conditions["condition_id"].to_numpy(str)
        code = pd.factorize(np.concatenate([ids[held.row], self.network_.held_out_ids_]))[0].astype(np.int64)
        key = code * len(self.tasks_) + np.concatenate([held.task, cells.task])
        mine, asked = key[: len(held.row)], key[len(held.row) :]
        order = np.argsort(mine, kind="stable")
        place = np.minimum(np.searchsorted(mine[order], asked), len(mine) - 1)
        there = mine[order][place] == asked
        return cells.take(there), order[place[there]]

    def _join_cells(self, cells: CalibrationCells, mine: NDArray[np.float32]) -> CalibrationCells:
        held = self._near()
        spread = np.sqrt(np.bincount(held.task, held.std.astype(np.float64) ** 2, len(self.tasks_)))
        typical = spread / np.sqrt(np.maximum(np.bincount(held.task, minlength=len(self.tasks_)), 1))
        mean, std = self._join(mine, typical[cells.task], cells.mean, cells.task)
        return replace(cells, mean=mean, std=std)


def _score(probability: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(logit(np.clip(probability.astype(np.float64), _FURTHEST, 1.0 - _FURTHEST)))


def _moments(
    score: NDArray[np.float64], task: NDArray[np.int64], tasks: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (t,) means and standard deviations of scores by task, shrunk to those of all."""
    if not len(score):
        return np.zeros(tasks), np.ones(tasks)
    count = np.bincount(task, minlength=tasks)
    mean = (np.bincount(task, score, tasks) + FEW * score.mean()) / (count + FEW)
    squares = np.bincount(task, (score - mean[task]) ** 2, tasks)
    typical = max(squares.sum() / count.sum(), 1e-6)
    return mean, np.sqrt((squares + FEW * typical) / (count + FEW))
