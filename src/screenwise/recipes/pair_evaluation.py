"""Held-out gene pairs: every model beside no change, the mean, plain and scaled addition, and the noise."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.columns import listed
from screenwise.data.labels import genes_of
from screenwise.data.pair_split import PAIR_SPLITS, PairFold, pair_folds, write_pair_folds
from screenwise.data.profile_screen import Profiles
from screenwise.data.table import write_table
from screenwise.errors import ConfigError, DataError
from screenwise.evaluate.bootstrap import interval, resample
from screenwise.evaluate.profile_metrics import PROFILE_METRICS, profile_scores
from screenwise.prediction import Z90
from screenwise.recipes.outcome import Outcome, Progress, silent
from screenwise.recipes.pair_settings import PairEvaluation, ProfileReading
from screenwise.recipes.perturbseq import (
    check_folder,
    check_models,
    control_level,
    need_singles,
    pair_model,
    read_data,
    read_known,
    screen_facts,
)
from screenwise.rng import stream
from screenwise.screen import Screen

BASELINES = ("no_change", "mean", "salt", "scaled_salt")
"""What every model must beat: the control, the mean of the training pairs, plain and scaled addition."""
NOISE = "noise"
"""Row of what a perfect prediction would score: the measured profiles' own sampling error."""
ALWAYS_SEEDED = ("cluster",)
"""Splits that do not depend on a seed: made once."""
SHOWN = ("l2", "pearson_delta", "departure_cosine", "coverage_90")
"""Metrics that the terminal shows."""
REPLICATES = 1000
DRAWN_CELLS = 200_000
"""Predicted features of one split and model that are kept for the pictures."""


@dataclass(frozen=True)
class Held:
    """What one model said of one fold's held-out conditions."""

    level: NDArray[np.float32]
    """(m, p) predicted levels."""
    std: NDArray[np.float32] | None
    """(m, p)"""
    profile_std: NDArray[np.float32] | None
    """(m,) 1.645 of it is meant to hold 90 % of the distances."""
    novelty: NDArray[np.int64]
    """(m,) unseen genes."""


def evaluate(
    data: str,
    out: Path,
    settings: PairEvaluation = PairEvaluation(),
    reading: ProfileReading = ProfileReading(),
    *,
    progress: Progress = silent,
) -> Outcome:
    """Score models of gene pairs on held-out pairs; write scores.csv, summary.csv, splits.json, report.html."""
    models = _names(settings.models)
    check_models(models)
    check_folder(out)
    known = read_known(settings.descriptors)
    profiles = read_data(data, reading, progress=progress)
    need_singles(profiles, data)
    screen = profiles.screen
    try:
        folds = all_folds(settings, screen)
    except DataError as error:
        message = f"{data}: {error}"
        raise DataError(message) from error
    names = list(dict.fromkeys([*BASELINES, *models]))
    scores, cells, drawn = [], [], []
    for step, (name, split, (number, fold)) in enumerate(_work(names, folds)):
        progress("Fitting models", step, len(names) * sum(map(len, folds.values())))
        held = _predict(name, screen, fold, known)
        parts = {"model": name, "split": split, "seed": fold.seed, "fold": number}
        scores.append(score_fold(held, profiles, fold).assign(**parts))
        cells.append(_distances(held, screen, fold).assign(**parts))
        if name in models and number == 0:
            drawn.append(_effects(held, screen, fold).assign(model=name, split=split))
    total = len(names) * sum(map(len, folds.values()))
    progress("Fitting models", total, total)
    scores += [
        noise_floor(profiles, fold).assign(split=split, fold=number)
        for split in folds
        for number, fold in enumerate(folds[split])
    ]
    table = pd.concat(scores, ignore_index=True)
    table = table[["model", "split", "seed", "fold", "condition", "metric", "value"]]
    summary = summarise(table)
    write_table(table, out / "scores.csv")
    write_table(summary, out / "summary.csv")
    write_table(pd.concat(cells, ignore_index=True), out / "distances.csv")
    write_table(pd.concat(drawn, ignore_index=True), out / "effects.parquet")
    write_pair_folds(out / "splits.json", [fold for split in folds.values() for fold in split], screen)
    from screenwise.recipes.pair_report import evaluation_report  # noqa: PLC0415

    evaluation_report(out, Path(data).name)
    facts = screen_facts(profiles) | {"held-out plans": [f"{name} x {len(split)}" for name, split in folds.items()]}
    files = {name: str(out / name) for name in ("scores.csv", "summary.csv", "splits.json", "report.html")}
    return Outcome(facts, _short(summary), profiles.notes, files)


def all_folds(settings: PairEvaluation, screen: Screen) -> dict[str, list[PairFold]]:
    """Return the folds of every split asked for, over its seeds."""
    asked = _names(settings.splits)
    unknown = [name for name in asked if name not in PAIR_SPLITS]
    if unknown or not asked:
        message = f"There is no split {(unknown or ['(none)'])[0]!r} of gene pairs; there are {', '.join(PAIR_SPLITS)}."
        raise ConfigError(message)
    if settings.seeds < 1:
        message = f"--seeds is {settings.seeds}; it must be at least 1."
        raise ConfigError(message)
    return {
        name: [
            fold
            for seed in range(1 if name in ALWAYS_SEEDED else settings.seeds)
            for fold in pair_folds(name, screen, seed=seed)
        ]
        for name in asked
    }


def score_fold(held: Held, profiles: Profiles, fold: PairFold) -> pd.DataFrame:
    """Return `condition, metric, value` of a fold's held-out conditions, calibration among them."""
    screen = profiles.screen
    truth, labels = screen.targets.dense()[fold.test], screen.conditions["condition"][fold.test]
    additive = _additive(screen, fold)
    scores = profile_scores(
        truth, held.level, control_level(screen), conditions=labels.tolist(), additive=additive,
        reference=screen.targets.dense()[fold.train].mean(axis=0),
    )  # fmt: skip
    rows = [scores]
    if held.profile_std is not None and np.isfinite(held.profile_std).all():
        distance = np.linalg.norm(truth - held.level, axis=1)
        inside = (distance <= Z90 * held.profile_std).astype(float)
        rows.append(pd.DataFrame({"condition": labels.to_numpy(), "metric": "coverage_90", "value": inside}))
        if len(distance) > 2 and np.ptp(held.profile_std) > 0 and np.ptp(distance) > 0:  # noqa: PLR2004
            rank = float(pd.Series(distance).corr(pd.Series(held.profile_std), method="spearman"))
            rows.append(pd.DataFrame({"condition": [""], "metric": "spread_rank_correlation", "value": [rank]}))
    return pd.concat(rows, ignore_index=True)


def noise_floor(profiles: Profiles, fold: PairFold) -> pd.DataFrame:
    """Return the expected distance of a perfect prediction: the held-out profiles' own standard errors."""
    squared = profiles.screen.conditions["squared_error"].to_numpy(float)[fold.test]
    rows = pd.DataFrame(
        {
            "model": NOISE,
            "seed": fold.seed,
            "condition": profiles.screen.conditions["condition"].to_numpy()[fold.test],
            "metric": "l2",
            "value": np.sqrt(squared),
        }
    )
    return rows[np.isfinite(rows["value"])]


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over held-out conditions of each metric, and the difference to the best baseline.

    Columns ``model, split, metric, mean, lower, upper, difference, difference_lower, difference_upper,
    baseline, conditions, seeds, higher_is_better``; 95 % intervals from resampled conditions, each with
    all the seeds that held it out, paired where models are compared.
    """
    rows = []
    scores = scores[np.isfinite(scores["value"])]
    for (split, metric), part in scores.groupby(["split", "metric"], sort=False):
        table = part.pivot_table(index="condition", columns="model", values="value", aggfunc=["sum", "count"])
        total, count = table["sum"].to_numpy(float), table["count"].to_numpy(float)
        models = list(table["sum"].columns)
        total, count = np.nan_to_num(total), np.nan_to_num(count)
        mean = total.sum(0) / count.sum(0)
        drawn = np.vstack(
            [
                (times.T @ total) / np.maximum(times.T @ count, 1e-12)
                for times in resample(len(table), REPLICATES, stream(0, "summary", str(split), str(metric)))
            ]
        )
        better = PROFILE_METRICS.get(str(metric), True)
        base = _best(models, mean, higher=better)
        seeds = part.groupby("model")["seed"].nunique()
        for place, model in enumerate(models):
            lower, upper = interval(drawn[:, place], mean[place])
            row = {"model": model, "split": split, "metric": metric, "mean": mean[place], "lower": lower}
            row |= {"upper": upper, "conditions": int((count[:, place] > 0).sum()), "seeds": int(seeds[model])}
            if base is not None and model not in (*BASELINES, NOISE):
                difference = mean[place] - mean[base]
                low, high = interval(drawn[:, place] - drawn[:, base], difference)
                row |= {"difference": difference, "difference_lower": low, "difference_upper": high}
                row |= {"baseline": models[base]}
            rows.append(row | {"higher_is_better": better})
    columns = ["model", "split", "metric", "mean", "lower", "upper", "difference", "difference_lower"]
    columns += ["difference_upper", "baseline", "conditions", "seeds", "higher_is_better"]
    return pd.DataFrame(rows).reindex(columns=columns)


def _best(models: list[str], mean: NDArray[np.float64], *, higher: bool) -> int | None:
    places = [place for place, name in enumerate(models) if name in BASELINES and np.isfinite(mean[place])]
    return (max if higher else min)(places, key=lambda place: mean[place]) if places else None


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(listed([text])))


def _work(names: list[str], folds: dict[str, list[PairFold]]) -> Iterator[tuple[str, str, tuple[int, PairFold]]]:
    return ((name, split, one) for split in folds for one in enumerate(folds[split]) for name in names)


def _predict(name: str, screen: Screen, fold: PairFold, known: Any) -> Held:
    train = screen.take(np.flatnonzero(fold.train))
    test = screen.conditions[fold.test].reset_index(drop=True)
    genes = {gene for one in genes_of(train.conditions) if len(one) == 1 for gene in one}
    novelty = np.array([sum(gene not in genes for gene in one) for one in genes_of(test)], np.int64)
    if name in ("no_change", "mean"):
        level = control_level(train)
        if name == "mean":
            size = np.array([len(one) for one in genes_of(train.conditions)])
            combined = size > 1 if (size > 1).any() else size == 1
            level = train.targets.dense()[combined].mean(axis=0)
        return Held(np.repeat(level[None], len(test), axis=0), None, None, novelty)
    answer = pair_model(name, known).fit(train, seed=fold.seed).predict_profile(test)
    return Held(answer.prediction.mean, answer.prediction.std, answer.profile_std, answer.novelty)


def _additive(screen: Screen, fold: PairFold) -> NDArray[np.float32]:
    train = screen.take(np.flatnonzero(fold.train))
    test = screen.conditions[fold.test].reset_index(drop=True)
    return np.asarray(pair_model("salt").fit(train).predict(test).mean)


def _distances(held: Held, screen: Screen, fold: PairFold) -> pd.DataFrame:
    truth = screen.targets.dense()[fold.test]
    labels = screen.conditions["condition"].to_numpy()[fold.test]
    error = np.linalg.norm(truth - held.level, axis=1)
    table = pd.DataFrame({"condition": labels, "novelty": held.novelty, "error": error})
    return table if held.profile_std is None else table.assign(profile_std=held.profile_std)


def _effects(held: Held, screen: Screen, fold: PairFold) -> pd.DataFrame:
    """Return the observed, predicted and added up effects of some held-out conditions, and their standard deviation."""
    control, features = control_level(screen), screen.task_names
    step = max(1, -(-int(fold.test.sum()) * len(features) // DRAWN_CELLS))
    rows = np.arange(0, int(fold.test.sum()), step)
    labels = screen.conditions["condition"].to_numpy()[fold.test][rows]
    observed = screen.targets.dense()[fold.test][rows] - control
    std = np.full(observed.shape, np.nan, np.float32) if held.std is None else held.std[rows]
    return pd.DataFrame(
        {
            "condition": np.repeat(labels, len(features)),
            "feature": np.tile(np.array(features, object), len(rows)),
            "observed": observed.ravel(),
            "predicted": (held.level[rows] - control).ravel(),
            "additive": (_additive(screen, fold)[rows] - control).ravel(),
            "std": std.ravel(),
        }
    )


def _short(summary: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    shown = summary[summary["metric"].isin(SHOWN)]
    for split, part in shown.groupby("split", sort=False):
        table = part.pivot_table(index="model", columns="metric", values="mean")
        table = table.reindex(columns=[name for name in SHOWN if name in table])
        for model, line in table.sort_values("l2", kind="stable").iterrows():
            values = {str(name): float(value) for name, value in line.items() if np.isfinite(value)}
            rows.append({"split": str(split), "model": str(model), **values})
    return rows
