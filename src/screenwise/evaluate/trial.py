"""One trial: a model learns from the training cells of one fold and is asked about the test cells."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.errors import ConfigError, DataError, ModelError, ScreenwiseError
from screenwise.run import atomic_path
from screenwise.screen import Screen

if TYPE_CHECKING:
    from screenwise.data.split import Fold

CHUNK = 20_000_000
"""Largest number of predictions, rows x tasks, asked for at once."""


@runtime_checkable
class PredictsCells(Protocol):
    """A model that predicts some cells without predicting every task of every condition."""

    def predict_cells(self, conditions: pd.DataFrame, row: NDArray[Any], task: NDArray[Any]) -> Any:
        """Return mean and std, (m,) each, and, if it knows, in_domain (m,)."""
        ...


@dataclass(frozen=True)
class Contender:
    """A model that takes part in a comparison."""

    make: Callable[[], Any]
    """Returns an unfitted model; with more than one process a module's function or a `functools.partial`."""
    random: bool | None = None
    """Whether the seed changes the fit; None = what the model's own `random` says, else it is tried out."""
    tasks: tuple[str, ...] | None = None
    """The tasks that a slow model is given; None = all."""
    splits: tuple[str, ...] | None = None
    """The splits that a slow model takes part in; None = all."""
    also: Mapping[str, str] = field(default_factory=dict)
    """Further rows from the same fit: name in the tables -> method of the fitted model that returns a model."""


@dataclass(frozen=True)
class Trial:
    """Which model, on which fold of which split, with which seed."""

    model: str
    split: str
    fold: int
    seed: int

    def __str__(self) -> str:
        return f"{self.model} on the split {self.split}, fold {self.fold}, seed {self.seed}"


@dataclass(frozen=True)
class Work:
    """Everything trials need, handed to each process once."""

    screen: Screen
    contenders: Mapping[str, Contender]
    folds: "Mapping[str, list[Fold]]"
    folder: Path | None = None
    """Where finished trials are kept, so that an interrupted comparison goes on; None = nowhere."""


def run_trial(work: Work, trial: Trial) -> pd.DataFrame:
    """Return predictions of one trial's test cells, from the folder if it is finished.

    Returns
    -------
    DataFrame
        model, split, seed, fold, cell (position in ``screen.targets.cells()``), mean, std, in_domain
        (1, 0, or NaN where nothing was said), fit_seconds, predict_seconds (CPU).
    """
    path = None if work.folder is None else work.folder / f"{_digest(work, trial)}.parquet"
    if path is not None and path.exists():
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:
            message = f"{path} cannot be read ({error}); delete it to run {trial} again."
            raise DataError(message) from error
    try:
        frame = _fit_and_predict(work, trial)
    except ScreenwiseError as error:
        message = f"{trial}: {error}"
        raise type(error)(message) from error
    if path is not None:
        with atomic_path(path) as draft:
            frame.to_parquet(draft, index=False)
    return frame


def _fit_and_predict(work: Work, trial: Trial) -> pd.DataFrame:
    contender, fold = work.contenders[trial.model], work.folds[trial.split][trial.fold]
    screen, position = _given(work.screen, contender.tasks)
    train = screen.where(fold.train[position])
    # Test conditions leave the training screen: not even their structures may be learned from.
    train = train.take(np.unique(train.targets.cells().row))
    if len(train) == 0:
        message = "the fold has no training cells; give it fewer folds or another split."
        raise DataError(message)
    began = time.process_time()
    model = contender.make().fit(train, seed=trial.seed)
    fit_seconds = time.process_time() - began
    test = np.flatnonzero(fold.test[position])
    parts = []
    for name, method in {trial.model: "", **contender.also}.items():
        began = time.process_time()
        asked = getattr(model, method)() if method else model
        mean, std, in_domain = predict_cells(asked, screen, test)
        frame = pd.DataFrame({"model": name, "split": trial.split, "seed": trial.seed, "fold": trial.fold}, [0])
        frame = frame.loc[np.zeros(len(test), int)].reset_index(drop=True)
        frame["cell"], frame["mean"], frame["std"] = position[test], mean, std
        frame["in_domain"] = in_domain
        frame["fit_seconds"], frame["predict_seconds"] = fit_seconds, time.process_time() - began
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def _given(screen: Screen, tasks: tuple[str, ...] | None) -> tuple[Screen, NDArray[np.int64]]:
    """Return the screen of a contender's tasks, and the position of its cells among all."""
    every = screen.targets.cells()
    if tasks is None:
        return screen, np.arange(len(every))
    chosen = sorted(screen.task_index(name) for name in tasks)
    return screen.take_tasks(chosen), np.flatnonzero(np.isin(every.task, chosen))


def predict_cells(
    model: Any, screen: Screen, cells: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return mean, std and in_domain, (m,) each, of some measured cells; NaN where nothing is said.

    Parameters
    ----------
    model
        A fitted model; one with `predict_cells` is asked for these cells only, another for whole rows.
    screen
        Conditions and measured cells.
    cells
        (m,) positions in ``screen.targets.cells()``.
    """
    every = screen.targets.cells()
    row, task = every.row[cells], every.task[cells]
    rows, place = np.unique(row, return_inverse=True)
    conditions = screen.conditions.iloc[rows].reset_index(drop=True)
    if isinstance(model, PredictsCells):
        mean, std, *rest = model.predict_cells(conditions, place, task)
        return _told(mean, len(cells)), _told(std, len(cells)), _told(rest[0] if rest else None, len(cells))
    found = [np.full(len(cells), np.nan, np.float32) for _ in range(3)]
    size = max(1, CHUNK // max(1, len(screen.tasks)))
    for start in range(0, len(rows), size):
        mine = np.flatnonzero((place >= start) & (place < start + size))
        prediction = model.predict(conditions.iloc[start : start + size].reset_index(drop=True))
        at = (place[mine] - start, task[mine])
        if prediction.mean.shape[1] != len(screen.tasks):
            message = f"the model predicts {prediction.mean.shape[1]} tasks of {len(screen.tasks)}."
            raise ModelError(message)
        for array, values in zip(found, (prediction.mean, prediction.std, prediction.in_domain), strict=True):
            if values is not None:
                array[mine] = values[at] if values.ndim > 1 else values[at[0]]
    return found[0], found[1], found[2]


def _told(values: Any, number: int) -> NDArray[np.float32]:
    return np.full(number, np.nan, np.float32) if values is None else np.asarray(values, np.float32)


def is_random(contender: Contender) -> bool | None:
    """Return whether the seed changes the fit, as far as contender or model say; None = not said."""
    said = contender.random if contender.random is not None else getattr(contender.make(), "random", None)
    return said if isinstance(said, bool) else None


def _digest(work: Work, trial: Trial) -> str:
    """Name a trial by all that its result depends on: data, fold, model and settings, seed, version."""
    contender, fold = work.contenders[trial.model], work.folds[trial.split][trial.fold]
    model, cells = contender.make(), work.screen.targets.cells()
    words = hashlib.blake2b(digest_size=12)
    described = (
        str(trial),
        f"{type(model).__module__}.{type(model).__qualname__}",
        repr(getattr(model, "config", None)),
        repr((contender.tasks, sorted(contender.also.items()))),
        version("screenwise"),
        work.screen.tasks.to_csv(index=False),
    )
    words.update("\x1f".join(described).encode())
    hashed = pd.util.hash_pandas_object(work.screen.conditions, index=False).to_numpy()
    for array in (hashed, cells.row, cells.task, cells.value, cells.relation, fold.train, fold.test):
        words.update(np.ascontiguousarray(array).tobytes())
    return words.hexdigest()


def check(work: Work) -> None:
    """Refuse folds that do not fit the screen, and contenders whose names or tasks cannot be."""
    number = len(work.screen.targets.cells())
    for split, folds in work.folds.items():
        for place, fold in enumerate(folds):
            if fold.train.shape != (number,) or fold.test.shape != (number,):
                message = (
                    f"Fold {place} of the split {split} has masks of {fold.train.shape} and {fold.test.shape}; "
                    f"the screen has {number} measured cells. Make the folds from this very screen."
                )
                raise DataError(message)
            if (fold.train & fold.test).any():
                message = (
                    f"Fold {place} of the split {split} tests {int((fold.train & fold.test).sum())} cells it trains on."
                )
                raise DataError(message)
    names = [name for one, contender in work.contenders.items() for name in (one, *contender.also)]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        message = f"The model names {doubled} stand twice; give each row of the comparison its own name."
        raise ConfigError(message)
    for name, contender in work.contenders.items():
        for task in contender.tasks or ():
            work.screen.task_index(task)
        unknown = sorted(set(contender.splits or ()) - set(work.folds))
        if unknown or contender.splits == ():
            message = f"{name} is to take part in the splits {unknown}; there are {', '.join(work.folds)}."
            raise ConfigError(message)
