"""The model of `--model auto`: chosen by what the training rows themselves say, and telling why."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.config import from_mapping, to_mapping
from screenwise.errors import ModelError
from screenwise.models.baseline import Mean
from screenwise.models.gp import GaussianProcess, GaussianProcessConfig
from screenwise.models.measured import HeldOut
from screenwise.models.pooled import PooledProcess, PooledProcessConfig
from screenwise.models.pooled_tasks import find_assays
from screenwise.models.ridge import Ridge
from screenwise.prediction import CalibrationCells, Prediction
from screenwise.protocols import Model, Posterior
from screenwise.run import Run, read_json, write_json
from screenwise.screen import Screen, task_column

CANDIDATES = ("gp", "ridge", "mean", "multitask", "pooled_gp")
"""What is chosen from: the pooled process where tasks name their targets, else `gp`, against the simpler models by
leave-one-out error; where a process does not fit, the network, against the simpler models on the rows it held out."""

MORE_TASKS = 4
"""So many times more tasks are compared where they are many and small: pooled ones."""


@dataclass(frozen=True)
class AutoConfig:
    """Settings of the choice."""

    process: GaussianProcessConfig = GaussianProcessConfig()  # noqa: RUF009 - frozen: one default serves all
    """Settings of the Gaussian process."""
    pooled: PooledProcessConfig = PooledProcessConfig()  # noqa: RUF009 - frozen: one default serves all
    """Settings of the process pooled by target."""
    most_rows: int = 20_000
    """A task with more measured rows goes to the network: an exact process needs their square in memory."""
    most_work: float = 2e13
    """Sum over tasks of rows cubed beyond which the network is taken: about ten minutes of one core."""
    most_simple_tasks: int = 200
    """With more tasks the network is not compared with ridge, whose weights are a number per task and substructure."""
    most_simple_rows: int = 200_000
    """With more conditions neither: their substructures would be counted once more."""
    compared_tasks: int = 8
    """Tasks, spread evenly over their sizes, on which ridge and mean are compared with the process or the network."""
    margin: float = 0.02
    """A simpler model is taken when its error, left out or held out, is smaller by this share."""


class Auto:
    """The Gaussian process, pooled where tasks name their targets, unless evidence or size speaks against it.

    The evidence is leave-one-out errors. Where size speaks for the network, it is errors on rows that it held out.
    With rows to validate on, or more tasks than ``most_simple_tasks``, the network is not compared.

    After `fit`: ``choice_`` (a name of `screenwise.models.MODELS`), ``reason_`` (a sentence),
    ``evidence_`` (table: model, task, rows, loo_rmse, relative = loo_rmse over that of the mean);
    beside the network loo_rmse is of held-out rows.

    Examples
    --------
    >>> from screenwise.screen import make_screen
    >>> x = np.linspace(0, 6, 40)
    >>> conditions = pd.DataFrame({"gene": [f"G{i}" for i in range(40)], "feature:x": x})
    >>> Auto().fit(make_screen(conditions, np.sin(x)[:, None], ["growth"])).choice_
    'gp'
    """

    Config = AutoConfig

    def __init__(self, config: AutoConfig | None = None) -> None:
        self.config = config or AutoConfig()

    def fit(self, screen: Screen, *, valid: Screen | None = None, run: Run | None = None, seed: int = 0) -> Self:
        """Fit the process that suits the screen, compare it with simpler models, and keep the best."""
        pooled = "smiles" in screen.conditions.columns and bool((task_column(screen.tasks, "target") != "").any())
        counts = np.bincount(screen.targets.cells().task, minlength=screen.targets.shape[1])
        too_much = self._too_much(screen, counts, pooled=pooled)
        if too_much:
            return self._network(screen, too_much, valid=valid, run=run, seed=seed)
        best = "pooled_gp" if pooled else "gp"
        process: Any = PooledProcess(self.config.pooled) if pooled else GaussianProcess(self.config.process)
        process.fit(screen, run=run, seed=seed)
        some = _spread(counts, self.config.compared_tasks * (MORE_TASKS if pooled else 1))
        part = screen.take_tasks(some)
        others = {name: model.fit(part, seed=seed) for name, model in self._others(pooled=pooled).items()}
        own = process.leave_one_out(some)[0] if pooled else process.leave_one_out()[0][:, some]
        held = {best: own} | {name: model.leave_one_out()[0] for name, model in others.items()}
        self.evidence_ = _compare(part, held)
        self.choice_, self.reason_ = self._choose(best)
        if pooled:
            self.reason_ += f" A column names the target of each task: {process.reason_}"
        whole = len(some) == screen.targets.shape[1] and not pooled
        fitted = {best: process} | (others if whole else {})
        self.model_ = fitted.get(self.choice_) or self._others(pooled=False)[self.choice_].fit(screen, seed=seed)
        if run is not None:
            run.log(model=self.choice_, reason=self.reason_)
        return self

    def _network(self, screen: Screen, why: str, *, valid: Screen | None, run: Run | None, seed: int) -> Self:
        """Fit the network, and leave it where ridge or the mean is better on the rows that it held out."""
        from screenwise.models import make_model  # noqa: PLC0415 - the network brings torch

        self.model_ = make_model("multitask").fit(screen, valid=valid, run=run, seed=seed)
        self.choice_, self.reason_ = "multitask", f"multitask: {why}"
        self.evidence_ = pd.DataFrame(columns=["model", "task", "rows", "loo_rmse", "relative"])
        held = pd.Index(screen.conditions["condition_id"]).get_indexer(self.model_.held_out_ids_)
        large = len(screen) > self.config.most_simple_rows or screen.targets.shape[1] > self.config.most_simple_tasks
        if valid is not None or not len(held) or large:
            return self
        cells = self.model_.calibration_cells()
        some = _spread(np.bincount(cells.task, minlength=screen.targets.shape[1]), self.config.compared_tasks)
        part, rows = screen.take_tasks(some), np.unique(held)
        asked = np.full((len(rows), screen.targets.shape[1]), np.nan, np.float32)
        asked[np.searchsorted(rows, held), cells.task] = cells.mean
        learned, judged = part.take(np.setdiff1d(np.arange(len(screen)), rows)), part.take(rows)
        simple: dict[str, Any] = {"ridge": Ridge(), "mean": Mean()}
        found = {"multitask": asked[:, some]}
        found |= {name: model.fit(learned, seed=seed).predict(judged.conditions).mean for name, model in simple.items()}
        self.evidence_ = _compare(judged, found)
        self.choice_, reason = self._choose("multitask")
        self.reason_ = f"{reason} No process fits: {why}"
        if self.choice_ != "multitask":
            self.model_ = simple[self.choice_].fit(screen, seed=seed)
        return self

    def _others(self, *, pooled: bool) -> dict[str, Any]:
        """Return what the process is compared with, not fitted; beside a pooled one, a process per task."""
        config = self.config.process
        # of two tasks of one assay, borrowing would tell the one from the other: a new compound has neither
        alone = {"gp": GaussianProcess(replace(config, borrow=False) if pooled else config)}
        return alone | {"ridge": Ridge(), "mean": Mean()}

    def _too_much(self, screen: Screen, counts: NDArray[np.int64], *, pooled: bool) -> str:
        """Return why the process does not fit this screen, empty where it does."""
        largest = int(counts.argmax())
        if counts[largest] > self.config.most_rows and not pooled:
            return (
                f"task {screen.task_names[largest]} has {counts[largest]} measured rows, more than the "
                f"{self.config.most_rows} that an exact Gaussian process holds."
            )
        rows = self._pooled_rows(screen, counts) if pooled else counts
        if float((rows.astype(np.float64) ** 3).sum()) > self.config.most_work:
            return (
                f"exact Gaussian processes of {np.count_nonzero(counts)} tasks with {counts.sum()} "
                "measured cells would take more than about ten minutes."
            )
        return ""

    def _pooled_rows(self, screen: Screen, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return rows of each target, of a value and its label once; large ones as many as cost what landmarks do."""
        assays = find_assays(screen.tasks)
        largest = np.zeros(len(assays))
        np.maximum.at(largest, assays.assay, counts)
        rows = np.bincount(assays.group, largest)
        config = self.config.pooled
        through_landmarks = np.cbrt(3.0 * rows * min(config.landmarks, config.exact_rows) ** 2)
        return np.where(rows > config.exact_rows, through_landmarks, rows)

    def _choose(self, process: str) -> tuple[str, str]:
        relative = self.evidence_.groupby("model", sort=False)["relative"].mean()
        best = min((name for name in relative.index if name != process), key=lambda name: relative[name])
        choice = best if relative[best] < (1 - self.config.margin) * relative[process] else process
        count = self.evidence_["task"].nunique()
        tasks = "1 task" if count == 1 else f"{count} tasks"
        errors = ", ".join(f"{name} {error:.3f}" for name, error in relative.items())
        held = "held-out" if process == "multitask" else "leave-one-out"
        reason = (
            f"{choice}: {held} error over that of the mean, on {tasks}: {errors}; "
            f"a simpler model is taken when it is better by {self.config.margin:.0%}."
        )
        return choice, reason

    def predict(self, conditions: pd.DataFrame) -> Prediction:
        """Predict with the chosen model."""
        return self._chosen().predict(conditions)

    def predict_cells(self, conditions: pd.DataFrame, row: NDArray[np.int64], task: NDArray[np.int64]) -> Any:
        """Return mean and std, and in_domain where it is known, (m,) each, of some (condition, task) cells."""
        return self._able("predict_cells").predict_cells(conditions, row, task)

    def leave_one_out(self) -> HeldOut:
        """Return mean and std, (n, t) each, of the training cells; NaN where not measured."""
        return self._able("leave_one_out").leave_one_out()

    def calibration_cells(self) -> CalibrationCells:
        """Return measured cells that the chosen model predicted without having learned from them."""
        return self._able("calibration_cells").calibration_cells()

    def posterior(self, conditions: pd.DataFrame, task: int = 0) -> Posterior:
        """Return the joint posterior of one task over a pool, where the chosen model knows it."""
        return self._able("posterior").posterior(conditions, task)

    def evidence(self) -> dict[str, list[Any]]:
        """Return what the chosen model says of its training rows, per task."""
        return self._able("evidence").evidence()

    def without_borrowing(self) -> "Auto":
        """Return the same fitted model that knows nothing of a new condition from other tasks."""
        other = copy.copy(self)
        if self.choice_ == "gp":
            other.model_ = self.model_.without_borrowing()
        return other

    def save(self, folder: Path) -> None:
        """Write ``auto.json`` and the chosen model in ``chosen/``."""
        folder = Path(folder)
        self._chosen().save(folder / "chosen")
        head = {"config": to_mapping(self.config), "choice": self.choice_, "reason": self.reason_}
        write_json(folder / "auto.json", head | {"evidence": self.evidence_.to_dict("list")})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        from screenwise.models import model_class  # noqa: PLC0415 - a choice names its class

        folder = Path(folder)
        head = read_json(folder / "auto.json")
        if head.get("choice") not in CANDIDATES:
            message = f"{folder / 'auto.json'} names the choice {head.get('choice')!r}; it must be one of {CANDIDATES}."
            raise ModelError(message)
        model = cls(from_mapping(AutoConfig, head["config"], str(folder / "auto.json")))
        model.choice_, model.reason_ = head["choice"], head["reason"]
        model.evidence_ = pd.DataFrame(head["evidence"])
        model.model_ = model_class(head["choice"]).load(folder / "chosen")
        return model

    def _chosen(self) -> Model:
        if not hasattr(self, "model_"):
            message = "This model is not fitted yet; call fit(screen) first."
            raise ModelError(message)
        return self.model_

    def _able(self, ability: str) -> Any:
        chosen = self._chosen()
        if not hasattr(chosen, ability):
            message = f"The chosen model {self.choice_} has no {ability}; fit --model gp where it is needed."
            raise ModelError(message)
        return chosen


def _spread(counts: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return at most so many of the tasks that have measured cells, ascending, spread evenly over their sizes."""
    measured = np.flatnonzero(counts)
    order = measured[np.argsort(counts[measured], kind="stable")]
    return np.sort(order[np.linspace(0, len(order) - 1, min(len(order), most)).round().astype(int)])


def _compare(screen: Screen, held: dict[str, NDArray[np.float32]]) -> pd.DataFrame:
    """Return a row per model and task that varies: RMSE of exact values, and relative to the mean's."""
    truth, cells = screen.targets.dense(), screen.targets.cells()
    known = np.zeros(truth.shape, bool)
    exact = (cells.relation == 0) & np.isfinite(cells.value)
    # a task of bounds alone has nothing better to be compared on
    chosen = exact | (np.isfinite(cells.value) & (np.bincount(cells.task, exact, truth.shape[1]) == 0)[cells.task])
    known[cells.row[chosen], cells.task[chosen]] = True
    rows = known.sum(axis=0)
    error = {}
    for name, mean in held.items():
        squares = np.where(known & np.isfinite(mean), (mean - truth) ** 2, np.nan)
        counted = np.isfinite(squares).sum(axis=0)
        error[name] = np.sqrt(np.nansum(squares, axis=0, dtype=np.float64) / np.maximum(counted, 1))
    base = np.where(error["mean"] > 0, error["mean"], 1.0)
    tables = [
        pd.DataFrame({"model": name, "task": screen.task_names, "rows": rows, "loo_rmse": one, "relative": one / base})
        for name, one in error.items()
    ]
    # a constant task says nothing, unless there is no other
    told = error["mean"] > 0 if (error["mean"] > 0).any() else rows >= 0
    return pd.concat([table[told] for table in tables], ignore_index=True)
