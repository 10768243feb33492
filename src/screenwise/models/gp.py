"""The default model: one exact Gaussian process per task, a weighted sum of kernels, residuals borrowed across tasks.

Weights of the kernels and the noise maximise the marginal likelihood; leave-one-out predictions and
the calibration of intervals come from the same factor. Works for whatever has kernels: compounds,
genes, pairs, variants, numbers. Classification tasks are regressed on their 0/1 labels and the mean,
clipped to [0, 1], is given as the probability. Bounds ("<", ">") are taken as values.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from screenwise.condition import condition_ids
from screenwise.config import from_mapping, to_mapping
from screenwise.errors import ConfigError, ModelError
from screenwise.models.borrow import learn_borrowing
from screenwise.models.gp_held_out import held_out_scores, left_out_cells, scaffold_codes, series_apart
from screenwise.models.gp_kernels import choose_kernels, chunks, readable_features, training_kernels
from screenwise.models.gp_posterior import Factor, TaskPosterior
from screenwise.models.gp_store import Fitted, load_fitted, save_fitted
from screenwise.models.gp_task import (
    Raw,
    TaskData,
    TaskFit,
    TaskSettings,
    fit_task,
    predict_task,
    refactor,
    task_evidence,
    task_posterior,
    typical_spread,
)
from screenwise.models.gp_weights import Prior
from screenwise.prediction import CalibrationCells, Prediction
from screenwise.rng import stream
from screenwise.run import Run
from screenwise.screen import Screen

FACTOR_BYTES = 2**29
"""Factors beyond this are computed again when they are needed."""
ONE_THREAD_ROWS = 6000
"""Up to this many rows one BLAS thread is as fast as many, and never spins."""


@dataclass(frozen=True)
class GaussianProcessConfig:
    """Settings of the Gaussian process."""

    kernels: tuple[str, ...] | None = None
    """Names of the kernels to sum, of those that the conditions' columns allow; None = all of the default ones."""
    borrow: bool = True
    """Let a condition's measurements on other tasks correct its predictions."""
    rows_for_weights: int = 1000
    """Random rows of a task on which kernel weights and noise are learned; all rows are used to predict."""
    evaluations: tuple[int, int] = (30, 12)
    """Most evaluations of the marginal likelihood, on the first 400 rows and then on all rows for weights."""
    max_rows: int = 20_000
    """Most measured rows of a task: memory grows with their square, time with their cube."""
    prior_weight: float = 1.5
    """Prior median of the sum of the kernel weights, in units of the task's variance."""
    prior_noise: float = 0.15
    """Prior median of the noise variance, in units of the task's variance."""
    prior_sd: float = 3.0
    """Prior standard deviation of the logarithm of each weight and of the noise (design loop: 2)."""
    offset: float = 0.1
    """Prior variance of the unknown mean, in units of the task's variance."""
    conformal: bool = True
    """Scale intervals so that they hold 90 % of held-out training rows; off = the process's own intervals."""
    leave_out: str = "scaffold"
    """What is held out for that: rows of one "scaffold" together where there are SMILES, or "one" row."""
    domain_quantile: float = 0.05
    """Share of training conditions that may be farther from their nearest neighbour than the domain reaches."""


Config = GaussianProcessConfig


class GaussianProcess:
    """Exact Gaussian process with a weighted sum of kernels (see the module).

    Rasmussen and Williams, Gaussian Processes for Machine Learning (2006); count Tanimoto kernels:
    Ralaivola et al., Neural Networks 18 (2005). Measured rows of a task: at most `Config.max_rows`.

    Examples
    --------
    >>> from screenwise.screen import make_screen
    >>> x = np.linspace(0, 3, 30)
    >>> conditions = pd.DataFrame({"gene": [f"G{i}" for i in range(30)], "feature:x": x})
    >>> model = GaussianProcess().fit(make_screen(conditions, np.sin(x)[:, None], ["growth"]))
    >>> bool(np.abs(model.predict(conditions).mean[:, 0] - np.sin(x)).max() < 0.1)
    True
    """

    Config = GaussianProcessConfig

    def __init__(self, config: GaussianProcessConfig | None = None) -> None:
        self.config = config or GaussianProcessConfig()
        if self.config.leave_out not in ("scaffold", "one"):
            message = f'GaussianProcess.Config.leave_out is {self.config.leave_out!r}; it must be "scaffold" or "one".'
            raise ConfigError(message)
        self.fitted_: Fitted | None = None
        self._factors: dict[int, Factor] = {}

    def fit(self, screen: Screen, *, valid: Screen | None = None, run: Run | None = None, seed: int = 0) -> Self:
        """Learn one process per task from its measured cells.

        Parameters
        ----------
        screen
            Measured conditions; a task may be measured on any part of them. Conditions of weight 0 are left out.
        valid
            Not used: leave-one-out predictions are exact and free.
        run
            Takes one line of metrics per task, and shows progress.
        seed
            Decides which rows learn the weights, where a task has more than `Config.rows_for_weights`.
        """
        cells = screen.targets.cells()
        weight = np.ones(len(screen)) if screen.targets.weight is None else screen.targets.weight.astype(float)
        keep = np.isfinite(cells.value) & (weight[cells.row] > 0)
        row, task, value = cells.row[keep], cells.task[keep], cells.value[keep].astype(np.float64)
        relation = cells.relation[keep]
        _check_size(screen, task, self.config.max_rows)
        used, place = np.unique(row, return_inverse=True)
        conditions = screen.conditions.iloc[used].reset_index(drop=True)
        training = training_kernels(choose_kernels(conditions, self.config.kernels), conditions)
        groups = self._groups(conditions)
        scale = typical_spread(task, value)
        fits: dict[int, TaskFit] = {}
        self._factors = {}
        for one in np.unique(task).tolist():
            mine = np.flatnonzero(task == one)
            rows = place[mine]
            together = None if groups is None else series_apart(groups[rows], rows)
            data = TaskData(rows, value[mine], 1.0 / weight[row[mine]], together, scale, relation[mine])
            with _blas(len(mine)):
                fits[one], factor = fit_task(training, data, self._settings(), stream(seed, "gp", one))
            self._keep(one, factor)
            _tell(run, str(screen.tasks["name"][one]), (one + 1, screen.targets.shape[1]), fits[one])
        ids = conditions["condition_id"].to_numpy(str)
        tasks = screen.tasks[["name", "kind"]].reset_index(drop=True)
        borrowing = learn_borrowing(ids, *held_out_scores(fits), len(tasks))
        self.fitted_ = Fitted(tasks, len(screen), used, ids, training, fits, borrowing)
        return self

    def predict(self, conditions: pd.DataFrame) -> Prediction:
        """Predict all tasks, in chunks of bounded memory."""
        fitted = self._state()
        shape = (len(conditions), len(fitted.tasks))
        mean, std = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
        inside = np.zeros(shape, bool)
        note = np.full(len(conditions), "", object)
        ids = _ids(conditions)
        missing = [f"nothing was measured of {fitted.tasks['name'][one]}" for one in self._unmeasured()]
        layers = 3 + len(fitted.training.kernels)
        for part in chunks(len(conditions), len(fitted.training), layers=layers):
            features, readable, note[part] = readable_features(fitted.training.kernels, conditions.iloc[part])
            rows = np.arange(part.start, part.stop)[readable]
            note[rows] = "; ".join(missing)
            code = fitted.borrowing.codes(ids[rows])
            with _blas(self._largest()):
                every = fitted.training.each(features) if self._shares_rows() else None
                for one in fitted.fits:
                    raw = self._predict_task(one, features, every)
                    mean[rows, one], std[rows, one] = self._finish(raw, code, np.full(len(rows), one))
                    inside[rows, one] = raw.in_domain
        return Prediction(mean, std, in_domain=inside, note=note)

    def predict_cells(
        self, conditions: pd.DataFrame, row: NDArray[np.int64], task: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        """Predict some (condition, task) cells only, which costs what they cost and not rows x tasks.

        Parameters
        ----------
        conditions
            (n,) conditions.
        row, task
            (m,) positions among the conditions and the tasks.

        Returns
        -------
        mean, std, in_domain
            (m,) each, as `predict` gives them.
        """
        fitted = self._state()
        row, task = np.asarray(row), np.asarray(task)
        mean, std = np.full(len(row), np.nan, np.float32), np.full(len(row), np.nan, np.float32)
        inside = np.zeros(len(row), bool)
        asked, place = np.unique(row, return_inverse=True)
        features, readable, _ = readable_features(fitted.training.kernels, conditions.iloc[asked])
        position = np.cumsum(readable) - 1
        code = fitted.borrowing.codes(_ids(conditions.iloc[asked]))
        for one, fit in fitted.fits.items():
            mine = np.flatnonzero((task == one) & readable[place])
            for part in chunks(len(mine), len(fit.rows), layers=4):
                some = mine[part]
                questions = tuple(each[position[place[some]]] for each in features)
                with _blas(self._largest()):
                    raw = self._predict_task(one, questions, None)
                mean[some], std[some] = self._finish(raw, code[place[some]], task[some])
                inside[some] = raw.in_domain
        return mean, std, inside

    def leave_one_out(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and std, (n, t) each, of every training cell predicted from all others; NaN elsewhere."""
        fitted = self._state()
        shape = (fitted.size, len(fitted.tasks))
        mean, std = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
        code = fitted.borrowing.codes(fitted.ids)
        for one, fit in fitted.fits.items():
            raw = Raw(fit.mean + fit.sd * fit.held_mean, fit.sd * fit.held_std, np.ones(len(fit.y), bool))
            where = fitted.rows[fit.rows]
            tasks = np.full(len(where), one)
            mean[where, one], std[where, one] = self._finish(raw, code[fit.rows], tasks, held_out=True)
        return mean, std

    def calibration_cells(self) -> CalibrationCells:
        """Return the training cells, each predicted without its scaffold (`Config.leave_out`) and without borrowing."""
        return left_out_cells(self._state())

    def without_borrowing(self) -> "GaussianProcess":
        """Return the same fitted processes with borrowing off: what is known of a new condition only."""
        other = copy.copy(self)
        other.config = replace(self.config, borrow=False)
        return other

    def posterior(self, conditions: pd.DataFrame, task: int = 0) -> TaskPosterior:
        """Return the joint posterior of one task over a pool; conditions that cannot be read have NaN.

        Of the task's own process: without borrowing, as candidates of a pool are measured nowhere.
        """
        fitted = self._state()
        if task not in fitted.fits:
            message = f"Nothing was measured of task {task} ({fitted.tasks['name'].get(task)}); it has no posterior."
            raise ModelError(message)
        features, readable, _ = readable_features(fitted.training.kernels, conditions)
        with _blas(self._largest()):
            whole = task_posterior(fitted.training, fitted.fits[task], self._factor(task), features, self.config.offset)
        return whole if readable.all() else whole.spread(np.flatnonzero(readable), len(conditions))

    def evidence(self) -> dict[str, list[Any]]:
        """Return, per fitted task, what the training rows say of the model; ready for a table.

        `loo_rank_correlation` near or below 0: the measured rows show no usable signal. The log
        marginal likelihood is of the rows that learned the weights.
        """
        fitted = self._state()
        held, _ = self.leave_one_out()
        names = [kernel.name for kernel in fitted.training.kernels]
        rows = [
            {"task": str(fitted.tasks["name"][one])} | task_evidence(fit, names, held[fitted.rows[fit.rows], one])
            for one, fit in fitted.fits.items()
        ]
        return {column: [row[column] for row in rows] for column in rows[0]}

    def save(self, folder: Path) -> None:
        """Write ``gp.json`` and ``gp.npz``: settings, features of the training conditions, what was learned."""
        save_fitted(folder, to_mapping(self.config), self._state())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; factors are computed again when they are needed."""
        settings, fitted = load_fitted(folder)
        model = cls(from_mapping(GaussianProcessConfig, settings, str(folder)))
        model.fitted_ = fitted
        return model

    def _state(self) -> Fitted:
        if self.fitted_ is None:
            message = "This Gaussian process is not fitted yet; call fit(screen) first."
            raise ModelError(message)
        return self.fitted_

    def _settings(self) -> TaskSettings:
        config = self.config
        prior = Prior(config.prior_weight, config.prior_noise, config.prior_sd, config.offset)
        return TaskSettings(
            prior, config.rows_for_weights, config.evaluations, config.conformal, config.domain_quantile
        )

    def _groups(self, conditions: pd.DataFrame) -> NDArray[np.int64] | None:
        """Return (n,) codes of conditions that are left out together; None = each alone."""
        if not (self.config.conformal and self.config.leave_out == "scaffold" and "smiles" in conditions.columns):
            return None
        return scaffold_codes(conditions["smiles"])

    def _unmeasured(self) -> list[int]:
        fitted = self._state()
        return [one for one in range(len(fitted.tasks)) if one not in fitted.fits]

    def _largest(self) -> int:
        return max(len(fit.rows) for fit in self._state().fits.values())

    def _shares_rows(self) -> bool:
        """Whether kernels with all training conditions at once cost less than task by task."""
        fitted = self._state()
        return len(fitted.fits) > 1 and sum(len(fit.rows) for fit in fitted.fits.values()) > len(fitted.training)

    def _keep(self, task: int, factor: Factor) -> None:
        kept = sum(other.inverse.nbytes for other in self._factors.values())
        if kept + factor.inverse.nbytes <= FACTOR_BYTES or not self._factors:
            self._factors[task] = factor

    def _factor(self, task: int) -> Factor:
        if task not in self._factors:
            fitted = self._state()
            factor = refactor(fitted.training, fitted.fits[task], self.config.offset)
            self._keep(task, factor)
            return factor
        return self._factors[task]

    def _predict_task(self, task: int, features: Sequence[Any], every: NDArray[np.float32] | None) -> Raw:
        fitted = self._state()
        fit, training = fitted.fits[task], fitted.training
        own = training.own(features, fit.weights.kernel)
        if every is None:
            cross = training.cross(features, fit.rows, fit.weights.kernel)
        else:
            cross = training.weigh(every, fit.rows, fit.weights.kernel)
        return predict_task(fit, self._factor(task), cross, own, self.config.offset)

    def _finish(
        self, raw: Raw, code: NDArray[np.int64], task: NDArray[np.int64], *, held_out: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Borrow, calibrate, and keep probabilities in [0, 1]; (m,) cells of one task."""
        fitted = self._state()
        mean, std = raw.mean, raw.std
        if len(mean) == 0:
            return mean.astype(np.float32), std.astype(np.float32)
        if self.config.borrow:
            # a process that saw the cell itself has nothing to learn from other tasks' residuals
            seen = np.zeros(len(code), bool) if held_out else fitted.borrowing.measured(code, task)
            mean, std = fitted.borrowing.correct(np.where(seen, -1, code), task, mean, std)
        one = int(task[0])
        if fitted.tasks["kind"][one] == "classification":
            mean = np.clip(mean, 0.0, 1.0)
        return mean.astype(np.float32), (std * fitted.fits[one].calibration).astype(np.float32)


def _blas(rows: int) -> threadpool_limits:
    """One BLAS thread for small factors: more only spin and wait for each other."""
    return threadpool_limits(1 if rows <= ONE_THREAD_ROWS else None, user_api="blas")


def _ids(conditions: pd.DataFrame) -> NDArray[np.str_]:
    known = "condition_id" in conditions.columns
    return (conditions["condition_id"].to_numpy() if known else condition_ids(conditions)).astype(str)


def _check_size(screen: Screen, task: NDArray[np.int64], most: int) -> None:
    if len(task) == 0:
        message = "No task has a measured value; the Gaussian process has nothing to learn from."
        raise ModelError(message)
    counts = np.bincount(task)
    if counts.max() > most:
        name = screen.tasks["name"][int(counts.argmax())]
        message = (
            f"Task {name!r} has {counts.max()} measured rows; an exact Gaussian process holds at most {most} "
            "(memory grows with the square). Use --model multitask, or raise Config.max_rows on a large machine."
        )
        raise ModelError(message)


def _tell(run: Run | None, task: str, progress: tuple[int, int], fit: TaskFit) -> None:
    if run is None:
        return
    if run.progress is not None:
        run.progress("fitting tasks", *progress)
    run.log(
        task=task,
        rows=len(fit.y),
        log_marginal_likelihood=fit.weights.log_likelihood,
        noise=fit.weights.noise,
        calibration=fit.calibration,
    )
