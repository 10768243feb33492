"""A fitted run opened again: its model, its tasks, what it has seen, and tables read as at its fit."""

from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.condition import factor_columns
from screenwise.config import from_mapping
from screenwise.data.assay import Assay
from screenwise.data.columns import Columns, listed
from screenwise.data.table import read_titles
from screenwise.errors import ColumnError, ModelError
from screenwise.models import load_model
from screenwise.recipes.outcome import Progress, silent
from screenwise.recipes.settings import Reading
from screenwise.recipes.tables import candidates, with_features
from screenwise.run import Run, read_json
from screenwise.screen import Screen


def open_run(run: Path) -> Any:
    """Return the fitted model of a run."""
    if not (run / "done.json").exists():
        message = f"{run} is not the folder of a finished fit; run `screenwise fit TABLE --out {run}` first."
        raise ModelError(message)
    if (run / "screen").is_dir():
        message = f"{run} is a fit of gene pairs; use `screenwise perturbseq predict {run} ASK` or `... suggest {run}`."
        raise ModelError(message)
    return load_model(Run(run).model_folder)


def task_table(run: Path) -> pd.DataFrame:
    """Return a run's tasks (name, kind, unit, ...), in the order of its predictions."""
    return pd.read_parquet(run / "tasks.parquet")


def run_tasks(run: Path) -> list[str]:
    """Return the names of a run's tasks, in the order of its predictions."""
    return [str(name) for name in task_table(run)["name"]]


def seen_by(run: Path, conditions: pd.DataFrame) -> NDArray[np.bool_]:
    """Return (n,) whether a run was fitted on a condition, known by its `condition_id`."""
    learnt = pd.read_parquet(run / "training.parquet", columns=["condition_id"])["condition_id"]
    return np.asarray(conditions["condition_id"].isin(learnt), bool)


def conditions_for(run: Path, table: str, reading: Reading, *, progress: Progress = silent) -> pd.DataFrame:
    """Read conditions for a fitted run: its columns and features unless the user names others."""
    columns = columns_of(run, table, reading.columns)
    conditions = candidates(table, replace(reading, columns=columns), progress=progress)
    if columns.components is not None:
        return _with_unused_components(run, conditions)
    return with_run_features(run, conditions)


def _with_unused_components(run: Path, conditions: pd.DataFrame) -> pd.DataFrame:
    """Add the choices of components that the run learned from and this table does not use: nowhere taken."""
    learnt = pd.read_parquet(run / "training.parquet").columns
    unused = [name for name in learnt if str(name).startswith("feature:") and name not in conditions.columns]
    return conditions.assign(**dict.fromkeys(unused, np.float32(0)))


def columns_of(run: Path, table: str, given: Columns) -> Columns:
    """Take what the user says now; else what was said at the fit, where the table has it."""
    before = from_mapping(Columns, read_json(run / "config.json")["columns"])
    said = {name: value for name, value in vars(before).items() if value is not None and getattr(given, name) is None}
    if not said or not Path(table).is_file():
        return given
    there = read_titles(Path(table))
    keep: dict[str, Any] = {
        name: value for name, value in said.items() if all(_named(one, there) for one in _listed(value, there))
    }
    return replace(given, **keep)


def with_run_features(run: Path, conditions: pd.DataFrame) -> pd.DataFrame:
    """Join the features that the run was fitted with, where the conditions have none of their own."""
    path = run / "features.parquet"
    joined = any(str(name).startswith("feature:") for name in conditions.columns)
    if joined or not path.exists():
        return conditions
    before = from_mapping(Columns, read_json(run / "config.json")["columns"])
    return with_features(conditions, path, before.id)


def own_columns(conditions: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that a prediction table repeats: the user's id and SMILES, and `condition_id`."""
    titles = conditions.attrs.get("titles", {name: name for name in conditions.columns})
    names = conditions.attrs["own"] if "own" in conditions.attrs else naming_columns(conditions)
    own = {name: conditions[titles[name]] for name in names}
    return pd.DataFrame({**own, "condition_id": conditions["condition_id"]})


def own_cell_columns(data: Assay, screen: Screen) -> pd.DataFrame:
    """Return the same of each measured cell of a screen that was read, (m,) rows."""
    row = screen.targets.cells().row
    own = screen.conditions[naming_columns(screen.conditions)].iloc[row] if data.own is None else data.own
    return own.reset_index(drop=True).assign(condition_id=screen.conditions["condition_id"].to_numpy()[row])


def naming_columns(conditions: pd.DataFrame) -> list[str]:
    """Return what names a condition where no table of a user's does: of a dataset."""
    try:
        return factor_columns(conditions)
    except ColumnError:
        return []


def _listed(value: str | tuple[str, ...], known: list[str]) -> list[str]:
    return [value] if isinstance(value, str) else listed(value, known)


def _named(pattern: str, titles: list[str]) -> bool:
    """Return whether a table has a column of this name, or, as with --tasks, of this pattern."""
    return any(title == pattern or fnmatchcase(title, pattern) for title in titles)
