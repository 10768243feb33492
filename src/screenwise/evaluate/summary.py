"""A comparison in few rows: means over tasks, intervals, paired differences to the best baseline."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.errors import ConfigError
from screenwise.evaluate.bootstrap import interval, paired_test, resample
from screenwise.evaluate.grouped import divide
from screenwise.evaluate.scoring import Measure, PredictedCells, measures
from screenwise.rng import stream

Seeds = Mapping[int, PredictedCells]
"""A model's predictions, one entry per seed."""
OWN_SLICES = ("in_domain", "out_of_domain")
"""Slices that each model draws for itself: scores on them compare no two models."""
WEIGHTS = 4_000_000
"""Largest number of weights, cells x replicates, held at once."""


@dataclass(frozen=True)
class Plan:
    """What to summarise."""

    kinds: NDArray[Any]
    """(t,) regression or classification."""
    baselines: tuple[str, ...]
    """Models to compare with; the best of those present is taken per metric."""
    metrics: tuple[str, ...] = ()
    """Empty = all."""
    replicates: int = 1000
    seed: int = 0


def summarise(models: Mapping[str, Seeds], plan: Plan) -> pd.DataFrame:
    """Return one row per model and metric of one split.

    The score of a task is that of its test predictions, those of all folds pooled, averaged over
    seeds; `mean` is its mean over tasks. Intervals (95 %) come from a bootstrap in which test
    conditions are drawn with all their cells and, for a random model, seeds are drawn as well: they
    say how the number would move with other conditions and seeds, for these tasks. Differences are
    model minus baseline on the cells that both predict, all with the same draws. `p_value` asks
    whether the difference over tasks is nought (Wilcoxon's signed ranks; below six tasks the bootstrap).

    Parameters
    ----------
    models
        Name -> seed -> predicted cells.
    plan
        Kinds of tasks, baselines, metrics, replicates, seed.

    Returns
    -------
    DataFrame
        model, metric, mean, lower, upper, seed_std (std of `mean` over seeds), tasks, cells, seeds,
        higher_is_better, baseline, difference, difference_lower, difference_upper, p_value, test,
        tasks_won (better than the baseline), tasks_compared. The baseline is empty beside the best
        baseline itself, for scores without a better side, and for slices that each model draws itself.
    """
    slices = list(dict.fromkeys(name for seeds in models.values() for cells in seeds.values() for name in cells.slices))
    chosen = _chosen(slices, plan)
    entries: dict[Any, _Entry] = {name: _entry(name, seeds, slices, plan.kinds) for name, seeds in models.items()}
    points = {(name, metric): entries[name].score(chosen[metric]) for name in models for metric in chosen}
    rivals = {metric: _best(points, measure, plan) for metric, measure in chosen.items()}
    pairs = _pairs(entries, {rival for rival in rivals.values() if rival is not None})
    rows = [
        _Row(name, chosen[metric], rivals[metric] or "", *pairs.get((name, rivals[metric]), (None, None)))
        for name, metric in points
        if np.isfinite(_over_seeds(points[name, metric])).any()
    ]
    points |= {
        (key, row.measure.name): entries[key].score(row.measure)
        for row in rows
        for key in (row.ours, row.theirs)
        if key is not None and (key, row.measure.name) not in points
    }
    points = {key: point for key, point in points.items() if np.isfinite(_over_seeds(point)).any()}
    drawn = _bootstrap(entries, rows, points, plan)
    return pd.DataFrame([row.table(entries[row.model], points, *drawn[place]) for place, row in enumerate(rows)])


@dataclass(frozen=True)
class _Entry:
    """All seeds of one model behind one another: seed s of task j is task s t + j."""

    model: str
    cells: PredictedCells
    seeds: int
    kinds: NDArray[Any]

    def score(self, measure: Measure, weight: Any = None) -> NDArray[np.float64]:
        """Return (seeds, t) scores, or (seeds, t, b)."""
        scores = measure.score(self.cells, np.tile(self.kinds, self.seeds), weight)
        return scores.reshape(self.seeds, len(self.kinds), *scores.shape[1:])

    def codes(self) -> NDArray[np.int64]:
        """Return (m,) numbers of the cells, the same for all seeds."""
        return self.cells.row * len(self.kinds) + self.cells.task % len(self.kinds)


@dataclass(frozen=True)
class _Row:
    """One row of the summary: a model, a measure, and the entries whose difference is taken."""

    model: str
    measure: Measure
    baseline: str
    ours: Any
    theirs: Any
    """Keys of entries restricted to the cells that both predict; None = no difference is taken."""

    def table(
        self, entry: _Entry, points: Mapping[Any, NDArray[np.float64]], means: Any, differences: Any
    ) -> dict[str, Any]:
        """Return the row; `means` and `differences` are (b,) replicates."""
        point, better = points[self.model, self.measure.name], self.measure.metric.higher_is_better
        tasks = _over_seeds(point)
        low, high = interval(means, float(_over_tasks(tasks)), bounds=self.measure.metric.bounds)
        by_seed = [float(_over_tasks(one)) for one in point]
        row = {"model": self.model, "metric": self.measure.name, "mean": float(_over_tasks(tasks))}
        row |= {"lower": low, "upper": high, "seed_std": float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else np.nan}
        row |= {"tasks": int(np.isfinite(tasks).sum()), "cells": _number(entry, self.measure), "seeds": entry.seeds}
        row |= {"higher_is_better": better}
        gap = self._gap(points)
        if gap is None:
            missing = dict.fromkeys(("difference", "difference_lower", "difference_upper", "p_value"), np.nan)
            return row | {"baseline": ""} | missing | {"test": "", "tasks_won": 0, "tasks_compared": 0}
        low, high = interval(differences, float(_over_tasks(gap)))
        p_value, test = paired_test(gap, differences)
        row |= {"baseline": self.baseline, "difference": float(_over_tasks(gap))}
        row |= {"difference_lower": low, "difference_upper": high, "p_value": p_value, "test": test}
        won = gap > 0 if better else gap < 0
        return row | {"tasks_won": int(won.sum()), "tasks_compared": int(np.isfinite(gap).sum())}

    def _gap(self, points: Mapping[Any, NDArray[np.float64]]) -> NDArray[np.float64] | None:
        keys = ((self.ours, self.measure.name), (self.theirs, self.measure.name))
        if self.ours is None or any(key not in points for key in keys):
            return None
        gap = _over_seeds(points[keys[0]]) - _over_seeds(points[keys[1]])
        return gap if np.isfinite(gap).any() else None


def _chosen(slices: list[str], plan: Plan) -> dict[str, Measure]:
    """Measures that are asked for; counts are no score."""
    known = {name: one for name, one in measures(plan.kinds, slices).items() if one.kind != "any"}
    wrong = [name for name in plan.metrics if name not in known]
    if wrong:
        message = f"There are no scores named {wrong} for these tasks; the scores are {', '.join(known)}."
        raise ConfigError(message)
    return {name: one for name, one in known.items() if not plan.metrics or name in plan.metrics}


def _entry(name: str, seeds: Seeds, slices: list[str], kinds: NDArray[Any]) -> _Entry:
    """Put a model's seeds behind one another; a slice that the model says nothing of is empty there."""
    parts = [replace(cells, task=cells.task + place * len(kinds)) for place, cells in enumerate(seeds.values())]
    names = ("row", "task", "value", "relation", "mean", "std")
    arrays = {one: np.concatenate([getattr(part, one) for part in parts]) for one in names}
    nowhere = {one: np.zeros(len(arrays["row"]), bool) for one in slices}
    said = {one: np.concatenate([part.slices[one] for part in parts]) for one in parts[0].slices}
    return _Entry(name, PredictedCells(**arrays, slices=nowhere | said), len(parts), kinds)


def _over_seeds(point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (t,) means over seeds."""
    return np.asarray(point.mean(axis=0))


def _over_tasks(scores: NDArray[np.float64], defined: Any = True) -> Any:  # noqa: FBT002 - broadcasts like a mask
    """Return the mean over the tasks that are defined, (t,) or (t, b); a replicate may lose some."""
    there = np.isfinite(scores) & defined
    return divide(np.where(there, scores, 0).sum(axis=0), there.sum(axis=0))


def _number(entry: _Entry, measure: Measure) -> int:
    """Return how many cells of the measure's kind and slice the model predicts (the first seed's)."""
    cells = entry.cells
    keep = np.isfinite(cells.mean) & (cells.task < len(entry.kinds))
    keep &= np.tile(entry.kinds, entry.seeds)[cells.task] == measure.kind
    return int((keep & cells.slices[measure.slice]).sum() if measure.slice is not None else keep.sum())


def _best(points: Mapping[Any, NDArray[np.float64]], measure: Measure, plan: Plan) -> str | None:
    """Return the best of the baselines that score the most tasks; None where no side is better."""
    better = measure.metric.higher_is_better
    if better is None or measure.slice in OWN_SLICES:
        return None
    ranked = []
    for name in plan.baselines:
        tasks = _over_seeds(points[name, measure.name]) if (name, measure.name) in points else np.zeros(0)
        if np.isfinite(tasks).any():
            ranked.append((int(np.isfinite(tasks).sum()), float(_over_tasks(tasks)) * (1 if better else -1), name))
    return max(ranked)[2] if ranked else None


def _pairs(entries: dict[Any, _Entry], rivals: set[str]) -> dict[Any, tuple[Any, Any]]:
    """Return (model, baseline) -> keys of their entries; adds entries where the two predict different cells."""
    pairs: dict[Any, tuple[Any, Any]] = {}
    predicted = {name: np.unique(entry.codes()[np.isfinite(entry.cells.mean)]) for name, entry in entries.items()}
    for name, cells in predicted.items():
        for rival in sorted(rivals - {name}):
            if np.array_equal(cells, predicted[rival]):
                pairs[name, rival] = (name, rival)
                continue
            common = np.intersect1d(cells, predicted[rival])
            keys = ((name, rival, "model"), (name, rival, "baseline"))
            for key, one in zip(keys, (name, rival), strict=True):
                entry = entries[one]
                entries[key] = replace(entry, cells=entry.cells.take(np.isin(entry.codes(), common)))
            pairs[name, rival] = keys
    return pairs


def _bootstrap(
    entries: Mapping[Any, _Entry], rows: list[_Row], points: Mapping[Any, NDArray[np.float64]], plan: Plan
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return, for each row, the replicates of its mean and of its difference, (replicates,) each."""
    defined = {key: np.isfinite(_over_seeds(point))[:, None] for key, point in points.items()}
    means: list[list[Any]] = [[] for _ in rows]
    gaps: list[list[Any]] = [[] for _ in rows]
    wanted = {(row.model, row.measure.name): row.measure for row in rows}
    wanted |= {(key, row.measure.name): row.measure for row in rows for key in (row.ours, row.theirs)}
    wanted = {key: measure for key, measure in wanted.items() if key in points}
    for scores in _replicates(entries, wanted, plan):
        for place, row in enumerate(rows):
            key = (row.model, row.measure.name)
            ours, theirs = (row.ours, row.measure.name), (row.theirs, row.measure.name)
            means[place].append(_over_tasks(scores[key], defined[key]))
            if ours in scores and theirs in scores:
                both = defined[ours] & defined[theirs]
                gaps[place].append(_over_tasks(scores[ours] - scores[theirs], both))
    return [(np.concatenate(a), np.concatenate(b) if b else np.zeros(0)) for a, b in zip(means, gaps, strict=True)]


def _replicates(
    entries: Mapping[Any, _Entry], wanted: Mapping[Any, Measure], plan: Plan
) -> Iterator[dict[Any, NDArray[np.float64]]]:
    """Yield, chunk by chunk, (entry, metric) -> (t, b) scores averaged over drawn seeds."""
    used = sorted({key for key, _ in wanted}, key=str)
    rows = np.unique(np.concatenate([entries[key].cells.row for key in used]))
    places = {key: np.searchsorted(rows, entries[key].cells.row) for key in used}
    largest = max(len(place) for place in places.values())
    chunk = int(np.clip(WEIGHTS // max(1, largest), 1, 100))
    seed_draws = {
        entries[key].model: stream(plan.seed, "bootstrap", "seeds", entries[key].model).multinomial(
            entries[key].seeds, np.full(entries[key].seeds, 1 / entries[key].seeds), plan.replicates
        )
        for key in used
    }
    done = 0
    for times in resample(len(rows), plan.replicates, stream(plan.seed, "bootstrap", "conditions"), chunk=chunk):
        now, scores = slice(done, done + times.shape[1]), {}
        done += times.shape[1]
        for key in used:
            entry, weight = entries[key], times[places[key]]
            share = seed_draws[entry.model][now].T[:, None, :] / entry.seeds
            for one, metric in wanted:
                if one == key:
                    scores[one, metric] = (entry.score(wanted[one, metric], weight) * share).sum(axis=0)
        yield scores
