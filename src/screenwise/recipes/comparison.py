"""Compare models on a user's table, always beside the baselines."""

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from screenwise.data.assay import Assay
from screenwise.data.columns import listed
from screenwise.data.split import SPLITS, Fold, make_folds
from screenwise.data.table import write_table
from screenwise.errors import ConfigError
from screenwise.evaluate.compare import BASELINES, Comparison, write_comparison
from screenwise.evaluate.compare import compare as run_comparison
from screenwise.models import MODELS, make_model
from screenwise.recipes.outcome import Outcome, Progress, silent
from screenwise.recipes.settings import CompareSettings, Reading
from screenwise.recipes.tables import measured

AUTO = ("auto", "forest")
"""What is compared when nobody names models: the default, and the forest that most people would try."""


def compare(
    table: str, out: Path, settings: CompareSettings, reading: Reading = Reading(), *, progress: Progress = silent
) -> Outcome:
    """Compare models on one table and write scores.csv, summary.csv and report.html.

    The baselines (mean, nearest neighbours, ridge) are always among the models. An interrupted
    comparison goes on where it was.
    """
    data = measured(table, reading, progress=progress)
    names = _models(settings)
    folds, notes = _splits(settings, data)
    found = run_comparison(
        data.screen,
        {name: partial(make_model, name) for name in names},
        folds,
        seeds=tuple(range(settings.seeds)),
        jobs=settings.jobs,
        cells=data.cells,
        progress=progress,
        folder=out / "fits",
    )
    summary = write_comparison(found, out)
    if len(data.rejected):
        write_table(data.rejected, out / "rejected.csv")
    from screenwise.recipes.reporting import comparison_report  # noqa: PLC0415

    comparison_report(out, f"Comparison on {Path(table).name}")
    files = {name: str(out / name) for name in ("scores.csv", "summary.csv", "report.html")}
    return Outcome(_facts(data, found), short(summary), [*data.notes, *notes, *found.notes], files)


def short(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the few rows a terminal shows: the main metric of each kind of task, best model first."""
    rows = []
    for metric in ("rmse", "roc_auc"):
        part = summary[summary["metric"] == metric]
        for split, one in part.groupby("split", sort=False):
            better = bool(one["higher_is_better"].iloc[0])
            rows += [_row(str(split), line) for _, line in one.sort_values("mean", ascending=not better).iterrows()]
    return rows


def _row(split: str, line: pd.Series) -> dict[str, Any]:
    compared = pd.notna(line["difference"])
    against = f"{line['difference']:+.3f} ({line['difference_lower']:+.3f} to {line['difference_upper']:+.3f})"
    return {
        "split": split,
        "model": str(line["model"]),
        "metric": str(line["metric"]),
        "mean over tasks": float(line["mean"]),
        "95 % interval": f"{line['lower']:.3f} to {line['upper']:.3f}",
        "difference to best baseline": f"{against}, {line['baseline']}" if compared else "",
    }


def _models(settings: CompareSettings) -> list[str]:
    asked = list(AUTO) if settings.models == "auto" else listed([settings.models])
    unknown = [name for name in asked if name not in MODELS]
    if unknown:
        message = f"There is no model {unknown[0]!r}; the models are {', '.join(MODELS)}."
        raise ConfigError(message)
    return list(dict.fromkeys([*asked, *BASELINES]))


def _splits(settings: CompareSettings, data: Assay) -> tuple[dict[str, list[Fold]], list[str]]:
    asked = listed([settings.splits])
    notes = []
    if settings.splits == CompareSettings().splits and "smiles" not in data.screen.conditions.columns:
        asked.remove("scaffold")
        notes.append("There are no structures, so only the random split is used.")
    options = {"folds": settings.folds, "seed": settings.seed, "cells": data.cells}
    folds = {name: make_folds(name, data.screen, **options) for name in asked}
    if "random" in folds and "scaffold" in SPLITS and "scaffold" in folds:
        notes.append("Random folds keep close relatives on both sides; the scaffold row is what new chemistry gets.")
    return folds, notes


def _facts(data: Assay, found: Comparison) -> dict[str, Any]:
    screen = data.screen
    return {
        "read": f"{len(screen)} conditions, {len(screen.tasks)} tasks, {len(screen.targets.cells())} values",
        "rows left out": len(data.rejected),
        "fits": len(found.fits),
    }
