"""From a file's name or a dataset's name to a screen or a pool, with features joined."""

import difflib
from dataclasses import replace
from pathlib import Path

import pandas as pd

from screenwise.data.assay import Assay, read_assay, read_conditions, read_table
from screenwise.data.auxiliary import auxiliary_tasks
from screenwise.data.datasets import DATASETS, KNOWN, load_dataset
from screenwise.errors import DataError, DatasetError
from screenwise.processes import usual_jobs
from screenwise.recipes.outcome import Progress, silent
from screenwise.recipes.settings import Reading
from screenwise.represent.features import FEATURE, SETS, join_features
from screenwise.screen import Screen


def measured(table: str, reading: Reading, *, progress: Progress = silent) -> Assay:
    """Read measurements from a file, or a dataset by its name."""
    if table in DATASETS and not Path(table).exists():
        dataset = load_dataset(table)
        nothing = pd.DataFrame(columns=["row", "column", "value", "reason"])
        read = Assay(dataset.screen, nothing, dataset.cells, source=f"dataset {table}")
    else:
        _check_name(table)
        read = read_assay(Path(table), reading.columns, jobs=usual_jobs(), progress=progress)
    if len(read.screen) < 2:  # noqa: PLR2004
        message = f"{table} has measurements of {len(read.screen)} condition; nothing can be learnt from fewer than 2."
        raise DataError(message)
    if reading.features is None:
        return read
    conditions, notes = _known_features(read.screen.conditions, reading.features, reading.columns.id)
    screen = Screen(conditions, read.screen.tasks, read.screen.targets)
    return replace(read, screen=screen, notes=[*read.notes, *notes])


def candidates(pool: str, reading: Reading, *, progress: Progress = silent) -> pd.DataFrame:
    """Read conditions to predict or to choose from: every row of the file, in its order."""
    if pool in DATASETS and not Path(pool).exists():
        conditions = load_dataset(pool).screen.conditions.assign(note="")
    else:
        _check_name(pool)
        conditions = read_conditions(Path(pool), reading.columns, jobs=usual_jobs(), progress=progress)
    return (
        conditions if reading.features is None else _known_features(conditions, reading.features, reading.columns.id)[0]
    )


def _check_name(table: str) -> None:
    """Refuse a name that is neither a file nor a dataset, with the nearest one; its reader tells of a missing file."""
    if Path(table).suffix or Path(table).exists():
        return
    near = difflib.get_close_matches(table, list(DATASETS), n=1)
    cure = f"did you mean {near[0]!r}? " if near else ""
    message = f"{table!r} is neither a file nor a dataset; {cure}`screenwise datasets` lists the datasets."
    raise DatasetError(message)


def auxiliary(table: Path, reading: Reading, *, progress: Progress = silent) -> Screen:
    """Read auxiliary tasks, such as a library screen or pseudo-labels; a column `weight` says how much they teach."""
    read = measured(str(table), Reading(features=reading.features), progress=progress)
    weight = read.cells["weight"] if "weight" in read.cells.columns else None
    if weight is not None and not pd.api.types.is_numeric_dtype(weight):
        message = f"{table}: the column weight must hold numbers; found {weight.iloc[0]!r}."
        raise DataError(message)
    return auxiliary_tasks(read.screen, None if weight is None else weight.to_numpy(float))


def read_features(path: Path) -> pd.DataFrame:
    """Read a table of numbers or sets per entity: a file, or public knowledge of genes by its name."""
    if path.exists() or path.suffix:
        return read_table(path)
    if str(path) not in KNOWN:
        message = f"--features {path} is neither a file nor public knowledge of genes: {', '.join(KNOWN)}."
        raise DatasetError(message)
    return KNOWN[str(path)]()


def with_features(conditions: pd.DataFrame, path: Path, own: str | None = None) -> pd.DataFrame:
    """Join a table of numbers onto conditions, by the entity that both name; `own` is what the user calls it."""
    features = read_features(path)
    names = ("gene", "variant", "sequence", "compound", "entity")
    key = next((name for name in names if name in conditions or f"{name}_a" in conditions), None)
    if key is None:
        message = (
            f"{path} gives numbers per entity, but the table names no gene, variant, compound or entity to join on."
        )
        raise DataError(message)
    if own in features and key not in features:
        features = features.rename(columns={own: key})
    joined = join_features(conditions, features, key)
    joined.attrs = conditions.attrs  # which columns are the user's own
    return joined


def without_features(conditions: pd.DataFrame) -> pd.Series:
    """Return whether nothing was joined onto a condition: neither a number nor a set."""
    numbers = [name for name in conditions if str(name).startswith(FEATURE)]
    sets = [name for name in conditions if str(name).startswith(SETS)]
    return conditions[numbers].isna().all(axis=1) & (conditions[sets] == "").all(axis=1)


def _known_features(conditions: pd.DataFrame, path: Path, own: str | None) -> tuple[pd.DataFrame, list[str]]:
    """Join features that the user names, and say how many conditions have none; none at all is an error."""
    joined = with_features(conditions, path, own)
    count, total = int(without_features(joined).sum()), len(joined)
    if count == total:
        message = f"{path} names none of the {total} conditions of the table. Both must write the names the same way."
        raise DataError(message)
    return joined, [f"{count} of {total} conditions have no features in {path}."] if count else []
