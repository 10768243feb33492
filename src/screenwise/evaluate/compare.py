"""Models x splits x folds x seeds, always beside the baselines.

Folds are given, so that all models and seeds are judged on the very same cells; seeds vary the model
only. A model whose fit the seed does not change is fitted once, with the first seed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.errors import ConfigError, DataError
from screenwise.evaluate.scoring import PredictedCells, measures, score_cells, task_kinds, with_domain
from screenwise.evaluate.summary import Plan, summarise
from screenwise.evaluate.trial import Contender, Trial, Work, check, is_random, run_trial
from screenwise.processes import Workers, check_sendable
from screenwise.run import atomic_path, write_json
from screenwise.screen import Screen

if TYPE_CHECKING:
    from screenwise.data.split import Fold

__all__ = ["BASELINES", "Comparison", "Contender", "compare", "score_cells", "write_comparison"]

BASELINES = ("mean", "neighbours", "ridge")
"""Names of the models that every other one must beat; the best of those present is compared against."""
SCORE_COLUMNS = ["model", "split", "seed", "fold", "task", "metric", "value"]
PREDICTION_COLUMNS = ["model", "split", "seed", "fold", "cell", "mean", "std", "in_domain"]


@dataclass(frozen=True)
class Comparison:
    """What a comparison found."""

    screen: Screen
    predictions: pd.DataFrame
    """model, split, seed, fold, cell (position in ``screen.targets.cells()``), mean, std, in_domain (1, 0, NaN)."""
    fits: pd.DataFrame
    """model, split, seed, fold, train_cells, test_cells, fit_seconds, predict_seconds (CPU)."""
    slices: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    """Name -> (m,) which measured cells are scored on their own as well."""
    notes: tuple[str, ...] = ()
    """What a reader must know: which models were fitted once, which on some tasks only."""

    @property
    def scores(self) -> pd.DataFrame:
        """One row per model, split, seed, fold, task and metric; undefined scores are left out."""
        return _scores(self, ["model", "split", "seed", "fold"])

    def task_scores(self) -> pd.DataFrame:
        """Return model, split, task, metric, value: the folds' predictions pooled, the mean over seeds.

        These are the numbers whose mean over tasks `summary` gives.
        """
        pooled = _scores(self, ["model", "split", "seed"])
        keys = ["model", "split", "task", "metric"]
        return pooled.groupby(keys, sort=False, observed=True)["value"].mean().reset_index()

    def summary(
        self,
        metrics: Sequence[str] | None = None,
        *,
        against: str | None = None,
        replicates: int = 1000,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Return means over tasks with intervals and paired differences, one row per split, model, metric.

        See `screenwise.evaluate.summary.summarise` for the columns and how the intervals are made.

        Parameters
        ----------
        metrics
            Some metrics only; None = all.
        against
            Compare with this model in place of the best baseline.
        replicates
            Bootstrap replicates.
        seed
            Of the bootstrap.
        """
        baselines = (against,) if against is not None else BASELINES
        parts = []
        for split, frame in self.predictions.groupby("split", sort=False, observed=True):
            models = {
                str(model): self.predicted(own) for model, own in frame.groupby("model", sort=False, observed=True)
            }
            plan = Plan(task_kinds(self.screen), baselines, tuple(metrics or ()), replicates, seed)
            table = summarise(models, plan)
            table.insert(0, "split", str(split))
            parts.append(table)
        return pd.concat(parts, ignore_index=True)

    def predicted(self, frame: pd.DataFrame) -> dict[int, PredictedCells]:
        """Return rows of `predictions` beside what was measured, one entry per seed."""
        return {int(seed): self._cells(own) for seed, own in frame.groupby("seed", sort=True)}

    def _cells(self, frame: pd.DataFrame) -> PredictedCells:
        at, cells = frame["cell"].to_numpy(), self.screen.targets.cells()
        found = PredictedCells(
            cells.row[at],
            cells.task[at],
            cells.value[at].astype(np.float64),
            cells.relation[at],
            frame["mean"].to_numpy(np.float64),
            frame["std"].to_numpy(np.float64),
            {name: mask[at] for name, mask in self.slices.items()},
        )
        domain = frame["in_domain"].to_numpy(np.float64)
        return with_domain(found, domain) if np.isfinite(domain).any() else found


def compare(  # noqa: PLR0913 - the promised signature: all but the first three have defaults
    screen: Screen,
    models: "Mapping[str, Callable[[], Any] | Contender]",
    folds: "Mapping[str, list[Fold]]",
    *,
    seeds: Sequence[int] = (0,),
    jobs: int = 1,
    cells: pd.DataFrame | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    folder: Path | None = None,
) -> Comparison:
    """Fit every model on every fold of every split with every seed, and predict the test cells.

    Parameters
    ----------
    screen
        What was measured.
    models
        Name -> function that returns an unfitted model, or a `Contender`; "mean" must be among them,
        and `BASELINES` should be.
    folds
        Name of a split -> its folds, masks over ``screen.targets.cells()``. One list of folds serves
        all seeds.
    seeds
        Seeds of the models; a model that draws no random numbers is fitted with the first only.
    jobs
        Processes. With more than one, the models' functions must be importable (no lambdas).
    cells
        (m, ...) further columns of the measured cells; each true / false column becomes a slice that is
        scored on its own, such as `cliff` -> `rmse_cliff`.
    progress
        Called as ``progress("Fitting models", done, total)``; the total grows once by the further seeds of
        each model that does not say whether it is random and turns out to be.
    folder
        Where finished fits are kept, so that the same call goes on where it was interrupted.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from screenwise.prediction import Prediction
    >>> from screenwise.screen import make_screen
    >>> class Middle:
    ...     random = False
    ...     def fit(self, screen, *, valid=None, run=None, seed=0):
    ...         self.mean_ = np.nanmean(screen.targets.dense(), axis=0)
    ...         return self
    ...     def predict(self, conditions):
    ...         return Prediction(np.tile(self.mean_, (len(conditions), 1)))
    >>> screen = make_screen(pd.DataFrame({"gene": list("ABCD")}), np.arange(4.0)[:, None], ["growth"])
    >>> half = np.array([True, True, False, False])
    >>> found = compare(screen, {"mean": Middle}, {"named": [SimpleNamespace(train=half, test=~half)]})
    >>> found.scores.query("metric == 'mae'")["value"].tolist()
    [2.0]
    """
    if "mean" not in models:
        message = (
            f"A comparison needs the baseline 'mean'; found {', '.join(models) or 'no model'}. Add it to the models."
        )
        raise ConfigError(message)
    if not seeds or not folds or not all(folds.values()):
        message = "A comparison needs at least one seed, one split, and one fold in each split."
        raise ConfigError(message)
    contenders = {name: one if isinstance(one, Contender) else Contender(one) for name, one in models.items()}
    work = Work(screen, contenders, folds, None if folder is None else Path(folder))
    check(work)
    if jobs > 1:
        for name, contender in contenders.items():
            check_sendable(contender.make, f"The function that makes {name!r}")
    slices = _slices(screen, cells)
    frames, once = _run_all(work, tuple(dict.fromkeys(seeds)), jobs, progress or _silent)
    order = {name: place for place, name in enumerate(n for one, c in contenders.items() for n in (one, *c.also))}
    frames.sort(key=lambda frame: (order[frame["model"].iloc[0]], list(folds).index(frame["split"].iloc[0])))
    found = pd.concat(frames, ignore_index=True)
    return Comparison(screen, found[PREDICTION_COLUMNS], _fits(found, folds), slices, _notes(contenders, once, seeds))


def _silent(what: str, done: int, total: int) -> None: ...


def _slices(screen: Screen, cells: pd.DataFrame | None) -> dict[str, NDArray[np.bool_]]:
    if cells is None:
        return {}
    if len(cells) != len(screen.targets.cells()):
        message = f"`cells` has {len(cells)} rows; the screen has {len(screen.targets.cells())} measured cells."
        raise DataError(message)
    return {str(name): cells[name].to_numpy(bool) for name in cells.columns if pd.api.types.is_bool_dtype(cells[name])}


def _run_all(
    work: Work, seeds: tuple[int, ...], jobs: int, progress: Callable[[str, int, int], None]
) -> tuple[list[pd.DataFrame], list[str]]:
    """Run every trial; return their predictions, and the names of the models that were fitted once."""
    places = {name: _places(work, contender) for name, contender in work.contenders.items()}
    said = {name: is_random(contender) for name, contender in work.contenders.items()}
    unsure = [name for name in said if said[name] is None and len(seeds) > 1]
    # first what decides whether the seed changes a model, so that the number of fits is known soon
    trials = [Trial(name, *places[name][0], seed) for name in unsure for seed in seeds[:2]]
    trials += [Trial(name, *place, seeds[0]) for name, own in places.items() for place in own]
    trials += [Trial(n, *p, s) for n in said if said[n] for s in seeds[1:] for p in places[n]]
    planned, begun = list(dict.fromkeys(trials)), 0
    done: dict[Trial, pd.DataFrame] = {}
    found: dict[str, bool] = {}
    progress("Fitting models", 0, len(planned))
    with Workers(run_trial, work, jobs) as workers:
        while begun < len(planned):
            batch, begun = planned[begun:], len(planned)
            for trial, frame in workers.as_done(batch):
                done[trial] = frame
                if trial.model in unsure and trial.model not in found:
                    own = places[trial.model]
                    found |= _changed(done, trial.model, own[0], seeds)
                    if found.get(trial.model):
                        further = [Trial(trial.model, *place, seed) for seed in seeds[1:] for place in own]
                        planned += [one for one in further if one not in done]
                progress("Fitting models", len(done), len(planned))
    once = [name for name in said if said[name] is False or found.get(name) is False]
    kept = sorted(done, key=lambda trial: (seeds.index(trial.seed), trial.fold))
    return [done[trial] for trial in kept if trial.seed == seeds[0] or trial.model not in once], once


def _places(work: Work, contender: Contender) -> list[tuple[str, int]]:
    """Return the (split, fold) pairs that a contender takes part in."""
    chosen = [split for split in work.folds if contender.splits is None or split in contender.splits]
    return [(split, fold) for split in chosen for fold in range(len(work.folds[split]))]


def _changed(
    done: dict[Trial, pd.DataFrame], name: str, place: tuple[str, int], seeds: tuple[int, ...]
) -> dict[str, bool]:
    """Return name -> whether two seeds gave other predictions; nothing as long as one of them is not done."""
    pair = [done.get(Trial(name, *place, seed)) for seed in seeds[:2]]
    if any(frame is None for frame in pair):
        return {}
    one, other = (frame[["mean", "std"]].to_numpy() for frame in pair if frame is not None)
    return {name: not np.array_equal(one, other, equal_nan=True)}


def _scores(comparison: Comparison, keys: list[str]) -> pd.DataFrame:
    """Score every group of predictions at once: a task of a group is a task of its own."""
    table = comparison.predictions
    kinds, names = task_kinds(comparison.screen), np.asarray(comparison.screen.task_names, object)
    groups = table.groupby(keys, sort=False, observed=True)
    place, heads = groups.ngroup().to_numpy(), groups.size().index.to_frame(index=False)
    cells = comparison._cells(table)
    apart = PredictedCells(**{**vars(cells), "task": place * len(kinds) + cells.task})
    parts = []
    for name, measure in measures(kinds, cells.slices).items():
        value = measure.score(apart, np.tile(kinds, len(heads)))
        there = np.flatnonzero(np.isfinite(value) & ((value > 0) | ("count" not in name)))
        part = heads.iloc[there // len(kinds)].reset_index(drop=True)
        part["task"], part["metric"], part["value"] = names[there % len(kinds)], name, value[there]
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _fits(found: pd.DataFrame, folds: "Mapping[str, list[Fold]]") -> pd.DataFrame:
    groups = found.groupby(["model", "split", "seed", "fold"], sort=False)
    fits = groups.agg(
        test_cells=("cell", "size"), fit_seconds=("fit_seconds", "first"), predict_seconds=("predict_seconds", "first")
    ).reset_index()
    train = [int(folds[split][fold].train.sum()) for split, fold in zip(fits["split"], fits["fold"], strict=True)]
    fits.insert(4, "train_cells", train)
    return fits


def _notes(contenders: Mapping[str, Contender], once: list[str], seeds: Sequence[int]) -> tuple[str, ...]:
    notes = []
    if once and len(seeds) > 1:
        notes.append(f"The seed does not change {', '.join(once)}: fitted once, with seed {seeds[0]}.")
    for name, contender in contenders.items():
        if contender.tasks is not None:
            notes.append(f"{name} was fitted on {len(contender.tasks)} tasks only: {', '.join(contender.tasks)}.")
        if contender.splits is not None:
            notes.append(f"{name} took part in the split {', '.join(contender.splits)} only.")
    return tuple(notes)


def write_comparison(comparison: Comparison, folder: Path, summary: pd.DataFrame | None = None) -> pd.DataFrame:
    """Write the tables of a comparison and return its summary.

    ``scores.csv`` (model, split, seed, fold, task, metric, value), ``summary.csv``, ``task_scores.csv``,
    ``fits.csv``, ``predictions.parquet`` and ``comparison.json`` (notes).

    Parameters
    ----------
    comparison
        What was found.
    folder
        Made if it is not there.
    summary
        ``comparison.summary()`` if it is there already.
    """
    folder = Path(folder)
    summary = comparison.summary() if summary is None else summary
    tables = {
        "scores": comparison.scores[SCORE_COLUMNS],
        "summary": summary,
        "task_scores": comparison.task_scores(),
        "fits": comparison.fits,
    }
    for name, table in tables.items():
        with atomic_path(folder / f"{name}.csv") as draft:
            table.to_csv(draft, index=False, float_format="%.7g")
    cells, screen = comparison.screen.targets.cells(), comparison.screen
    at = comparison.predictions["cell"].to_numpy()
    told = comparison.predictions.assign(
        condition_id=screen.conditions["condition_id"].to_numpy()[cells.row[at]],
        task=np.asarray(screen.task_names, object)[cells.task[at]],
        value=cells.value[at],
        relation=cells.relation[at],
    )
    with atomic_path(folder / "predictions.parquet") as draft:
        told.to_parquet(draft, index=False)
    write_json(folder / "comparison.json", {"notes": list(comparison.notes)})
    return summary
