"""A user's table of measurements -> a screen; what was left out stays in a table with its reason."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from screenwise.condition import condition_ids
from screenwise.data.chemistry import standardise
from screenwise.data.columns import Columns
from screenwise.data.components import TITLE as COMPONENTS
from screenwise.data.components import with_components
from screenwise.data.layout import DOSE_TITLE, Layout, find_factors, find_layout, key
from screenwise.data.loaders import is_wide
from screenwise.data.quantity import is_p_unit
from screenwise.data.reading import LABEL, Readings, gather, has_signed_labels, to_common_units
from screenwise.data.replicate import aggregate_replicates
from screenwise.data.table import Table, read_raw, read_table, typed
from screenwise.errors import DataError
from screenwise.screen import Cells, Screen, make_screen, targets_from_cells

__all__ = ["Assay", "Columns", "read_assay", "read_conditions", "read_table"]

_REJECTED = ["row", "column", "value", "reason"]
_SHOWN = 200
_NOTHING = ("", "nan", "none", "null", "n/a")
"""Texts that name no entity; "NA" is left to be a sodium label."""


@dataclass(frozen=True)
class Assay:
    """A table of measurements as read."""

    screen: Screen
    """Conditions (structures in standard form), tasks and measurements, replicates aggregated."""
    rejected: pd.DataFrame
    """What was left out: row (1 = the first below the titles), column, value, reason."""
    cells: pd.DataFrame
    """(m,) columns without another meaning, aligned with ``screen.targets.cells()``, and `replicates`."""
    notes: list[str] = field(default_factory=list)
    """What was guessed, converted or left out, in sentences."""
    source: str = ""
    """File or dataset that it was read from."""
    own: pd.DataFrame | None = None
    """(m,) the table's own columns that name a condition, as they stand there, aligned with `cells`."""


Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)``."""


def read_assay(path: Path, columns: Columns | None = None, *, jobs: int = 1, progress: Progress | None = None) -> Assay:
    r"""Read measurements from a wide or long table, a ChEMBL web export, a BindingDB table or an h5ad.

    Columns are found by the names people use where `columns` says nothing. Concentrations become p
    values (-log10 mol/L) and their qualifiers change sides. Structures get their standard form;
    replicates are aggregated (`screenwise.data.replicate`). Rows that cannot be used are returned
    with their reason.

    Parameters
    ----------
    path
        CSV, TSV (also .gz), Parquet or h5ad.
    columns
        Names of columns that differ from what is usual.
    jobs
        Processes for the standard form of many structures; a script that asks for more than 1 needs
        the usual ``if __name__ == "__main__"``.
    progress
        Called while structures are standardised.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.csv"
    >>> _ = path.write_text("smiles,Ki (nM)\nCCO,10\nOCC,>1000\nCCN,>1000\nC1CC,5\n")
    >>> assay = read_assay(path)
    >>> assay.screen.targets.value.ravel().tolist(), assay.screen.targets.relation.ravel().tolist()
    ([8.0, 6.0], [0, -1])
    >>> assay.rejected["reason"].tolist()
    ['SMILES cannot be read: ring 1 is never closed']
    """
    path, columns = Path(path), columns or Columns()
    if path.suffix == ".h5ad":
        return _read_anndata(path, columns)
    table, columns = with_components(read_raw(path), columns, path)
    layout = find_layout(table, columns, path)
    readings = gather(table.frame, layout)
    clean = partial(standardise, jobs=jobs, progress=progress)
    conditions, reasons, blamed = _conditions(table, layout.factors, clean)
    readings = readings.refuse(reasons[readings.row], blamed[readings.row])
    readings = to_common_units(readings, conditions, layout, path)
    return _assemble(_Read(path, table, layout), readings, conditions)


def read_conditions(
    path: Path, columns: Columns | None = None, *, jobs: int = 1, progress: Progress | None = None
) -> pd.DataFrame:
    """Read conditions to predict or to choose from: every row of the table, in its order.

    The parameters are those of `read_assay`.

    Returns
    -------
    The table's own columns, and: `condition_id` and factors (`smiles` in standard form, `gene`, ...;
    empty where unreadable), `note` (why a row cannot be used; empty where fine). Where one of the
    table's own columns is called `smiles` or `note`, its text is kept as `smiles_as_given` and so on.
    ``attrs["titles"]`` says of each of the table's own titles which column holds it now, and
    ``attrs["own"]`` lists those titles that name the conditions.
    """
    path = Path(path)
    columns = columns or Columns()
    whole = read_raw(path)
    table, named = with_components(whole, columns, path)
    factors, identifier = find_factors(table, named, path)
    conditions, reasons, _ = _conditions(table, factors, partial(standardise, jobs=jobs, progress=progress))
    own = whole.frame
    kept = {name: own[name] for name in own.columns if name in factors or name in (identifier, table.index)}
    numbers = typed(own.drop(columns=list(kept)))
    frame = pd.concat([numbers, pd.DataFrame(kept)], axis=1)[list(own.columns)].drop(
        columns="condition_id", errors="ignore"
    )
    moved = {name: f"{name}_as_given" for name in ("smiles", "smiles_a", "smiles_b", "note") if name in frame.columns}
    titles = {str(name): moved.get(name, str(name)) for name in frame.columns}
    frame = frame.rename(columns=moved)
    made = table.frame[[name for name in table.frame.columns if name not in own.columns and name != COMPONENTS]]
    frame = pd.concat([frame, made], axis=1)
    frame = frame.assign(**{name: conditions[name] for name in conditions.columns}, note=reasons)
    frame.attrs["titles"] = titles
    naming = named.components or _own_columns(table, factors, identifier).columns
    frame.attrs["own"] = [name for name in naming if name in titles]
    return frame


def _own_columns(table: Table, factors: dict[str, str], identifier: str | None) -> pd.DataFrame:
    """Return the columns by which the table itself names its rows."""
    names = {*factors, identifier, table.index} - {"condition_id", "note"}
    return table.frame[[name for name in table.frame.columns if name in names]]


@dataclass(frozen=True)
class _Read:
    path: Path
    table: Table
    layout: Layout


def _conditions(
    table: Table, factors: dict[str, str], standard_forms: Callable[[list[str]], pd.DataFrame]
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return the factors of each row with their condition_id, why a row has none, and the column to blame."""
    reasons = np.full(len(table.frame), "", dtype=object)
    blamed = np.full(len(table.frame), "", dtype=object)
    made: dict[str, object] = {}
    for column, factor in factors.items():
        texts = table.frame[column]
        if factor.startswith("smiles"):
            clean = standard_forms(texts.astype(object).where(texts.notna(), "").astype(str).tolist())
            member = factor.removeprefix("smiles")
            # a pair's second place may be empty: one compound alone
            problem = clean["reason"].where((member in ("", "_a")) | (texts.astype(str).str.strip() != ""), "")
            reasons = np.where(reasons == "", problem.to_numpy(object), reasons)
            blamed = np.where((blamed == "") & (reasons != ""), column, blamed)
            made[factor] = clean["smiles"].to_numpy(object)
        else:
            filled = typed(table.frame[[column]])[column]
            empty = filled.isna() | filled.astype(str).str.strip().str.lower().isin(_NOTHING)
            if factor in ("gene", "variant", "sequence", "protein", "entity", "gene_a"):
                filled = texts.astype(str).str.strip()
                reasons = np.where((reasons == "") & empty, f"no {factor} is named", reasons)
                blamed = np.where((blamed == "") & (reasons != ""), column, blamed)
            made[factor] = filled.to_numpy()
    frame = pd.DataFrame(made)
    ids = condition_ids(frame)
    frame.insert(0, "condition_id", np.where(reasons == "", ids, ""))
    return frame, reasons, blamed


def _assemble(read: _Read, readings: Readings, conditions: pd.DataFrame) -> Assay:
    rejected = _rejections(read, readings)
    good = readings.take(readings.reason == "")
    _refuse_shared_names(read, good)
    ids, _ = pd.factorize(conditions["condition_id"].to_numpy()[good.row])
    task, names = pd.factorize(good.task, sort=True)
    if not read.layout.long and read.layout.group is None:
        order = {name: place for place, name in enumerate(task_.name for task_ in read.layout.tasks)}
        names_sorted = np.array(sorted(names, key=lambda name: order[name]), dtype=object)
        task = pd.Index(names_sorted).get_indexer(good.task)
        names = names_sorted
    merged = aggregate_replicates(ids, task, good.value, good.relation)
    reading_of = _first_readings(ids, task, merged, len(names))
    refused = merged["reason"].to_numpy() != ""
    if refused.any():
        cell_of = np.searchsorted(merged["row"] * len(names) + merged["task"], ids * len(names) + task)
        bounds = good.take(refused[cell_of])
        bounds = bounds.refuse(merged["reason"].to_numpy(object)[cell_of[refused[cell_of]]], "")
        rejected = pd.concat([rejected, _rejections(read, bounds)]).sort_values("row", ignore_index=True)
        merged, reading_of = merged[~refused].reset_index(drop=True), reading_of[~refused]
    if merged.empty:
        raise DataError(_nothing(read, rejected))
    first = good.take(reading_of)
    screen, cells = _screen(read, first, merged, conditions, list(map(str, names)))
    own = _own_columns(read.table, read.layout.factors, read.layout.id).iloc[first.row].reset_index(drop=True)
    notes = [*read.table.notes, *_notes(read, screen, rejected, len(readings.row))]
    return Assay(screen, rejected, cells, notes, str(read.path), own)


def _refuse_shared_names(read: _Read, good: Readings) -> None:
    """Raise where an assay has the name that the labels of another get: the two would be one task."""
    if read.layout.label is None:
        return
    labels = good.column == read.layout.label
    both = sorted(set(good.task[labels]) & set(good.task[~labels]))
    if both:
        message = (
            f"{read.path}: {both[0]!r} names an assay, and the labels of {both[0].removesuffix(LABEL)!r} get the same "
            "name. Rename one of the two assays."
        )
        raise DataError(message)


def _first_readings(ids: np.ndarray, task: np.ndarray, merged: pd.DataFrame, tasks: int) -> np.ndarray:
    """Return the first reading of each aggregated cell, which carries the cell's further columns."""
    _, first = np.unique(ids * max(tasks, 1) + task, return_index=True)
    return first[: len(merged)]


def _screen(
    read: _Read, good: Readings, merged: pd.DataFrame, conditions: pd.DataFrame, names: list[str]
) -> tuple[Screen, pd.DataFrame]:
    codes, present = pd.factorize(merged["row"], sort=True)
    task, kept = pd.factorize(merged["task"], sort=True)
    names = [names[place] for place in kept]
    first = np.zeros(len(present), np.int64)
    first[codes[::-1]] = good.row[::-1]
    value = merged["value"].to_numpy(np.float64)
    units = pd.Series(good.unit).groupby(task).first().to_list()
    labels = pd.Series(good.column == read.layout.label).groupby(task).first().to_numpy(bool)
    kinds = np.where(labels, "classification", _kinds(value, task, units)).tolist()
    binary = np.asarray([kind == "classification" for kind in kinds])
    # of two readings that disagree on yes or no, yes counts
    value = np.where(binary[task], value >= 0.5, value)  # noqa: PLR2004
    shape = (len(present), len(names))
    arrays = Cells(codes, task, value.astype(np.float32), merged["relation"].to_numpy(np.int8))
    targets = targets_from_cells(arrays, shape, sparse=is_wide(len(merged), shape))
    directions = ["maximize" if is_p_unit(unit) else "" for unit in units]
    tasks = pd.DataFrame({"name": names, "kind": kinds, "unit": units, "direction": directions})
    tasks = tasks.assign(**_assays_and_targets(read, names, labels, (task, good.row)))
    frame = conditions.iloc[first].reset_index(drop=True)
    raw, layout = read.table.frame, read.layout
    features = [name for name in raw.columns if str(name).startswith("feature:")]
    labels = [layout.id] if layout.id is not None and layout.id not in frame.columns else []
    frame = pd.concat([frame, raw[labels].iloc[first].reset_index(drop=True)], axis=1)
    frame = pd.concat([frame, typed(raw[features].iloc[first].reset_index(drop=True))], axis=1)
    extra = [name for name in raw.columns if name not in layout.used and name not in features]
    cells = typed(raw[extra].iloc[good.row].reset_index(drop=True))
    return make_screen(frame, targets, tasks), cells.assign(replicates=merged["replicates"].to_numpy())


def _assays_and_targets(
    read: _Read, names: list[str], labels: np.ndarray, cells: tuple[np.ndarray, np.ndarray]
) -> dict[str, list[str]]:
    """Return the columns `assay` and `target` of the tasks, where the table says anything of them.

    Parameters
    ----------
    read
        The table and its layout.
    names, labels
        Of the tasks; whether they are labels.
    cells
        Task of each measured cell, and the row of the table it came from.
    """
    layout = read.layout
    if layout.label is None and layout.target is None:
        return {}
    found = {"assay": [name.removesuffix(LABEL) if label else name for name, label in zip(names, labels, strict=True)]}
    if layout.target is not None:
        column = read.table.frame[layout.target].fillna("").astype(str).str.strip()
        table = pd.DataFrame({"task": cells[0], "target": column.iloc[cells[1]].to_numpy(object)})
        table = table.groupby(["task", "target"], sort=True).size().reset_index(name="count")
        # a task with rows of several targets asks of the commonest
        best = table.sort_values("count", kind="stable").drop_duplicates("task", keep="last")
        found["target"] = best.sort_values("task")["target"].tolist()
    return found


def _kinds(value: np.ndarray, task: np.ndarray, units: list[str]) -> list[str]:
    """Return classification for tasks that hold both 0 and 1, nothing else and have no unit."""
    order = np.argsort(task, kind="stable")
    parts = np.split(value[order], np.flatnonzero(np.diff(task[order])) + 1)
    distinct = [set(np.unique(part)[:4].tolist()) for part in parts]
    yes_no = [
        not unit and found <= {0.0, 0.5, 1.0} and found >= {0.0, 1.0}
        for found, unit in zip(distinct, units, strict=True)
    ]
    return ["classification" if answer else "regression" for answer in yes_no]


def _rejections(read: _Read, readings: Readings) -> pd.DataFrame:
    bad = readings.take(readings.reason != "")
    columns = bad.column.astype(str) if len(bad.row) else np.array([], dtype=object)
    values = np.full(len(bad.row), "", dtype=object)
    for name in np.unique(columns):
        here = columns == name
        if name in read.table.frame.columns:
            values[here] = read.table.frame[name].iloc[bad.row[here]].astype(str).str.slice(0, _SHOWN).to_numpy(object)
    frame = pd.DataFrame({"row": bad.row + 1, "column": columns, "value": values, "reason": bad.reason})
    return frame[_REJECTED].sort_values("row", kind="stable", ignore_index=True)


def _nothing(read: _Read, rejected: pd.DataFrame) -> str:
    if rejected.empty:
        columns = ", ".join(repr(task.column) for task in read.layout.tasks[:5])
        return (
            f"{read.path}: column {columns} holds no value at all. Name the column of values with --tasks or --value."
        )
    reasons = Counter(rejected["reason"]).most_common(3)
    first = rejected.iloc[0]
    return (
        f"{read.path}: no measurement could be used. "
        + "; ".join(f"{reason} ({count})" for reason, count in reasons)
        + f". The first: row {first['row']}, column {first['column']!r}, value {first['value'][:60]!r}."
    )


def _notes(read: _Read, screen: Screen, rejected: pd.DataFrame, total: int) -> list[str]:
    layout = read.layout
    what = "long table" if layout.long else "wide table"
    values = ", ".join(task.column for task in layout.tasks[:5]) + (", ..." if len(layout.tasks) > 5 else "")  # noqa: PLR2004
    notes = [
        f"Read as a {what}: {', '.join(layout.factors)} = what was applied, {values} = what was read; "
        f"conditions: {len(screen)}, tasks: {len(screen.tasks)}, measurements: {len(screen.targets.cells())}."
    ]
    if layout.label is not None:
        notes.append(f"Labels (0 or 1) of the same assays are tasks of their own, named '...{LABEL}': {layout.label}.")
        if has_signed_labels(read.table.frame, layout.label):
            notes.append(f"{layout.label} has -1 and no 0: -1 is read as inactive.")
    if layout.target is not None:
        count = screen.tasks["target"].replace("", np.nan).nunique()
        notes.append(
            f"{layout.target} names the targets of the tasks: {count}; models may let their tasks learn together."
        )
    converted = [name for name, unit in zip(screen.task_names, screen.tasks["unit"], strict=True) if is_p_unit(unit)]
    if converted:
        shown = ", ".join(converted[:3]) + (", ..." if len(converted) > 3 else "")  # noqa: PLR2004
        notes.append(f"p values (-log10 mol/L, higher = more potent): {shown}.")
    doses = [str(name) for name in read.table.frame.columns if DOSE_TITLE.search(key(name))]
    unread = [name for name in doses if name not in layout.used]
    if unread:
        notes.append(
            f"Not read as doses: {', '.join(unread[:5])}. Rows that differ in them alone are averaged. A dose is read "
            "from a column dose_um (micromolar) or dose_m (molar), in a pair dose_um_a and dose_um_b."
        )
    if not layout.long and layout.group is None:
        lost = [task.name for task in layout.tasks if task.name not in set(screen.task_names)]
        frame = read.table.frame
        unused = [name for name in frame.columns if name not in layout.used]
        lost += [str(name) for name in unused if (frame[name].fillna("").astype(str).str.strip() == "").all()]
        if lost:
            notes.append(f"Left out, as nothing is measured: {', '.join(lost[:10])}.")
    spans = [name for place, name in enumerate(screen.task_names[:_SHOWN]) if _spans_decades(screen, place)]
    if spans:
        notes.append(
            f"No unit is given, values are taken as they are: {', '.join(spans[:3])}. Concentrations? --unit nM."
        )
    if len(rejected):
        reasons = Counter(reason.split(":")[0] for reason in rejected["reason"]).most_common(6)
        told = "; ".join(f"{reason} ({count})" for reason, count in reasons)
        notes.append(f"{len(rejected)} of {total} readings rejected: {told}.")
    return notes


def _spans_decades(screen: Screen, task: int) -> bool:
    """Return whether a task without a unit looks like concentrations: above zero, over three decades."""
    if screen.tasks["unit"].iloc[task] or screen.tasks["kind"].iloc[task] != "regression":
        return False
    values = screen.targets.task(task).value
    return bool(values.min() > 0 and values.max() > 1_000 * values.min())


def _read_anndata(path: Path, columns: Columns) -> Assay:
    from anndata import read_h5ad  # noqa: PLC0415

    table = read_raw(path)
    screen = Screen.from_anndata(read_h5ad(path))
    row = screen.targets.cells().row
    own = _own_columns(table, *find_factors(table, columns, path)).iloc[row].reset_index(drop=True)
    cells = pd.DataFrame(index=pd.RangeIndex(len(row)))
    nothing = pd.DataFrame(columns=_REJECTED)
    note = f"Read as AnnData: {len(screen)} conditions, {len(screen.tasks)} tasks."
    return Assay(screen, nothing, cells, [note], str(path), own)
