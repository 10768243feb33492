"""One Gaussian process per protein: all assays that ask of it learn from each other, values and labels together.

For many tasks of few values each. Tasks that name the same `target` (a column of the screen's task table) are
one group with one factorisation over its (compound, assay) cells; a task without target is a group of its own.
The covariance of two cells is the kernel of their compounds (the squared mean of four count Tanimoto
similarities), times 0.75 between two assays, plus 0.2 within one. An assay's value and its labels are learned
together: a label's target is half its own standard score and half that of the value, turned where the label
runs against the values. Nothing is tuned to a table, so that fitting costs one factorisation per group.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.config import from_mapping, to_mapping
from screenwise.errors import ConfigError, ModelError
from screenwise.models.measured import missing_note
from screenwise.models.neighbourhood import Neighbourhood
from screenwise.models.pooled_answers import Answers
from screenwise.models.pooled_counts import Counts
from screenwise.models.pooled_fit import SMILES, Pooled, check_smiles, learn_pooled
from screenwise.models.pooled_group import TREATMENTS, Shape
from screenwise.models.pooled_store import load_pooled, save_pooled
from screenwise.models.pooled_targets import Hurdle
from screenwise.prediction import CalibrationCells, Prediction
from screenwise.processes import cores
from screenwise.run import Run
from screenwise.screen import Screen

CELLS = 2**21
"""(condition, task) cells that `predict` holds at a time."""


@dataclass(frozen=True)
class PooledProcessConfig:
    """Settings of the pooled process; their defaults suit any table (fsmol_chembl27, docs)."""

    censored: str = "hurdle"
    """What is learned from bounds: "hurdle" = the value if it is exact, and the chance that it is beyond a bound;
    "tobit" = a Gaussian behind the bound; "squared" = SparseChem's loss; "value" = the bound as a value;
    "drop" = nothing."""
    label_share: float = 0.5
    """Share of a label in its own target where its assay's value was read too."""
    other_assay: float = 0.75
    """Covariance of two assays of one target, over that of one assay with itself."""
    offset: float = 0.2
    """Variance of an assay's unknown mean, in units of its variance."""
    noise: float = 0.3
    """Variance of the noise, in units of the assay's variance."""
    exact_rows: int = 20_000
    """Groups of more cells know them through landmarks: memory would grow with their square, time with their cube."""
    landmarks: int = 3_000
    """Cells that stand for all others in such a group."""
    threads: int | None = None
    """Groups at the same time; None = one per core."""

    def __post_init__(self) -> None:
        if self.censored not in TREATMENTS:
            message = f"PooledProcess.Config.censored is {self.censored!r}; it must be one of {', '.join(TREATMENTS)}."
            raise ConfigError(message)
        if not (0 <= self.label_share <= 1 and 0 <= self.other_assay <= 1 and self.offset >= 0 and self.noise > 0):
            message = (
                f"PooledProcess.Config: label_share {self.label_share} and other_assay {self.other_assay} must be 0 "
                f"to 1, offset {self.offset} must be >= 0, noise {self.noise} above 0."
            )
            raise ConfigError(message)
        if min(self.exact_rows, self.landmarks) < 1 or (self.threads is not None and self.threads < 1):
            message = (
                f"PooledProcess.Config: exact_rows {self.exact_rows}, landmarks {self.landmarks} and threads "
                f"{self.threads} must be at least 1."
            )
            raise ConfigError(message)


class PooledProcess:
    """Gaussian processes pooled by target (see the module).

    A classification task's mean is a probability: a logistic curve of its score, learned from scores of
    training cells predicted without their compound. A value's std is scaled so that ``mean +- 1.645 std``
    holds 90 % of the exact training values predicted so. After `fit`, ``reason_`` says in a sentence what
    was pooled, and how many labels run against their values.

    Examples
    --------
    >>> from screenwise.screen import make_screen
    >>> chains = pd.DataFrame({"smiles": ["C" * length + "O" for length in range(2, 22)]})
    >>> length = chains["smiles"].str.len().to_numpy(float)[:, None]
    >>> tasks = pd.DataFrame({"name": ["Ki", "IC50"], "target": ["EGFR", "EGFR"]})
    >>> model = PooledProcess().fit(make_screen(chains, np.hstack([length, 2 * length]), tasks))
    >>> bool(np.abs(model.predict(chains).mean - np.hstack([length, 2 * length])).mean() < 2)
    True
    """

    Config = PooledProcessConfig

    def __init__(self, config: PooledProcessConfig | None = None) -> None:
        self.config = config or PooledProcessConfig()
        self.fitted_: Pooled | None = None
        self.reason_ = ""
        self._asked: Answers | None = None

    def fit(self, screen: Screen, *, valid: Screen | None = None, run: Run | None = None, seed: int = 0) -> Self:
        """Learn all groups from their measured cells.

        Parameters
        ----------
        screen
            Measured compounds (column ``smiles``; doses and other context are not read). Conditions of weight 0
            and structures that cannot be read are left out.
        valid
            Not used: predictions of training cells without their compound are exact and free.
        run
            Takes a line of metrics, and shows progress.
        seed
            Decides the landmarks of groups beyond `Config.exact_rows`.
        """
        config = self.config
        shape = Shape(
            config.other_assay, config.offset, config.noise, config.exact_rows, config.landmarks, config.censored, seed
        )

        def tell(done: int, total: int) -> None:
            if run is not None and run.progress is not None:
                run.progress("Fitting groups of assays", done, total)

        fitted = learn_pooled(screen, shape, config.label_share, self._threads(), tell)
        self.fitted_, self._asked = fitted, None
        self.tasks_ = screen.tasks[["name", "kind"]].reset_index(drop=True)
        self.domain_ = Neighbourhood(screen, seed=seed)
        self.reason_ = _sentence(fitted)
        if run is not None:
            run.log(fit="pooled", reason=self.reason_)
        return self

    def predict(self, conditions: pd.DataFrame) -> Prediction:
        """Predict all tasks for (n,) conditions; nothing depends on which others are asked about."""
        counts = self._counts(conditions)
        shape = (len(conditions), len(self.tasks_))
        mean, std = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
        there = np.flatnonzero(self._measured())
        for rows in _parts(np.flatnonzero(counts.readable), len(there)):
            row, task = np.repeat(rows, len(there)), np.tile(there, len(rows))
            mean[row, task], std[row, task] = self._answers().cells(counts, row, task)
        note = np.full(len(conditions), missing_note(self.tasks_, set(there.tolist())), object)
        given = conditions[SMILES].astype("string").str.strip().fillna("") != ""
        unread = ~counts.readable
        note[unread] = np.where(given[unread], "the structure in smiles cannot be read", "no structure is given")
        return Prediction(mean, std, in_domain=self.domain_.inside(conditions), note=note)

    def predict_cells(
        self, conditions: pd.DataFrame, row: NDArray[np.int64], task: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Predict some cells only: mean and std, (m,) each, of conditions `row` and tasks `task`."""
        mean, std = self._ask(conditions, np.asarray(row), np.asarray(task), self._answers().cells, 2)
        return mean, std

    def predict_hurdle(self, conditions: pd.DataFrame, row: NDArray[np.int64], task: NDArray[np.int64]) -> Hurdle:
        """Predict some cells of regression tasks in parts: the value if it is exact, and whether it is beyond a bound.

        Parameters
        ----------
        conditions
            (n,) compounds.
        row, task
            (m,) positions among the conditions and the tasks.

        Returns
        -------
        Hurdle
            (m,) each, in the unit of the task; NaN where there is no prediction.
        """
        task = np.asarray(task)
        if (self._state().assays.slot[task] >= 0).any():
            message = "predict_hurdle is of values; a classification task has a probability only (predict_cells)."
            raise ModelError(message)

        def parts(counts: Counts, rows: NDArray[np.int64], tasks: NDArray[np.int64]) -> tuple[Any, ...]:
            return tuple(vars(self._answers().hurdle(counts, rows, tasks)).values())

        found = self._ask(conditions, np.asarray(row), task, parts, len(fields(Hurdle)))
        return Hurdle(*(part.astype(np.float64) for part in found))

    def leave_one_out(self, tasks: NDArray[np.int64] | None = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and std, (n, t) each, of every training cell predicted from all other compounds; else NaN.

        Parameters
        ----------
        tasks
            Those wanted, as columns of the answer; None = all.
        """
        fitted = self._state()
        held = fitted.held
        wanted = np.arange(len(self.tasks_)) if tasks is None else np.asarray(tasks)
        column = np.full(len(self.tasks_), -1)
        column[wanted] = np.arange(len(wanted))
        mean, std = (np.full((fitted.size, len(wanted)), np.nan, np.float32) for _ in range(2))
        some = column[held.task] >= 0
        at = (held.row[some], column[held.task[some]])
        mean[at], std[at] = held.mean[some], held.std[some]
        return mean, std

    def calibration_cells(self) -> CalibrationCells:
        """Return the training cells, each predicted from the compounds of all other scaffolds."""
        held = self._state().held
        return CalibrationCells(held.task, held.value, held.relation, held.far_mean, held.far_std)

    def evidence(self) -> dict[str, list[Any]]:
        """Return, per task, how well held-out training cells are predicted, and how its group was solved."""
        fitted, held = self._state(), self._state().held
        count = np.bincount(held.task, minlength=len(self.tasks_))
        squares = np.bincount(held.task, (held.mean.astype(np.float64) - held.value) ** 2, len(self.tasks_))
        there = np.flatnonzero(count)
        group = fitted.assays.group[fitted.assays.assay[there]]
        return {
            "task": self.tasks_["name"].iloc[there].tolist(),
            "rows": count[there].tolist(),
            "loo_rmse": np.sqrt(squares[there] / count[there]).tolist(),
            "rows_of_target": np.diff(fitted.start)[group].tolist(),
            "label_sign": fitted.signs[there].tolist(),
            "unexplained_by_landmarks": fitted.unexplained[group].tolist(),
        }

    def save(self, folder: Path) -> None:
        """Write ``pooled.json``, ``pooled.npz`` and the domain's files."""
        save_pooled(folder, to_mapping(self.config), self.tasks_, self._state())
        self.domain_.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        config, tasks, fitted = load_pooled(folder)
        model = cls(from_mapping(PooledProcessConfig, config, str(Path(folder) / "pooled.json")))
        model.tasks_, model.fitted_, model.domain_ = tasks, fitted, Neighbourhood.load(folder)
        model.reason_ = _sentence(fitted)
        return model

    def _state(self) -> Pooled:
        if self.fitted_ is None:
            message = "This pooled process is not fitted yet; call fit(screen) first."
            raise ModelError(message)
        return self.fitted_

    def _threads(self) -> int:
        return cores() if self.config.threads is None else self.config.threads

    def _measured(self) -> NDArray[np.bool_]:
        there = np.zeros(len(self.tasks_), bool)
        there[self._state().held.task] = True
        return there

    def _counts(self, conditions: pd.DataFrame) -> Counts:
        fitted = self._state()
        check_smiles(conditions)
        return fitted.columns.transform(conditions)

    def _answers(self) -> Answers:
        if self._asked is None:
            self._asked = Answers(self._state(), self._threads())
        return self._asked

    def _ask(
        self, conditions: pd.DataFrame, row: NDArray[np.int64], task: NDArray[np.int64], answer: Any, parts: int
    ) -> tuple[NDArray[np.float32], ...]:
        """Return (m,) arrays of what `answer` says of the cells that can be predicted, NaN of the others."""
        asked, place = np.unique(row, return_inverse=True)
        counts = self._counts(conditions.iloc[asked])
        out = tuple(np.full(len(row), np.nan, np.float32) for _ in range(parts))
        good = np.flatnonzero(counts.readable[place] & self._measured()[task])
        for some in _parts(good, 1):
            for whole, part in zip(out, answer(counts, place[some], task[some]), strict=True):
                whole[some] = part
        return out


def _parts(rows: NDArray[np.int64], cells: int) -> Iterator[NDArray[np.int64]]:
    """Yield rows a part at a time, each row with so many cells."""
    step = max(1, CELLS // max(cells, 1))
    for first in range(0, len(rows), step):
        yield rows[first : first + step]


def _sentence(fitted: Pooled) -> str:
    """Return what was pooled, and what the labels said of the values."""
    sizes = np.diff(fitted.start)
    labels, against = int(fitted.valued.sum()), int(((fitted.signs < 0) & fitted.valued).sum())
    text = (
        f"{len(fitted.assays)} assays of {int((sizes > 0).sum())} targets share {len(fitted.counts)} compounds; "
        f"the largest target has {sizes.max()} rows"
    )
    if against:
        text += f"; {against} of {labels} labels run against their values, which is learned and allowed for"
    if fitted.unexplained.any():
        worst = fitted.unexplained.max()
        text += f"; large targets are solved through landmarks, which leave up to {worst:.1%} of the prior variance"
    return text + "."
