"""Three tables of a partner: T0 what the assays are, T1 what was measured, T2 what the compounds are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.assay_kinds import CATALOGUE, KINDS, PSEUDO_LABELS
from screenwise.data.quantity import read_numbers, read_relations
from screenwise.data.table import Table, column_of, read_raw
from screenwise.errors import ColumnError, DataError
from screenwise.screen import EXACT

EXPERT = tuple(f"expert_threshold_{place}" for place in range(1, 6))
"""Columns of T0 with thresholds that an expert set."""
OTHER_COMPOUND = "the compound is not in T2"
OTHER_ASSAY = "the assay is not in T0"
_TRUE = ("true", "1", "1.0", "yes", "y", "t")
_FALSE = ("false", "0", "0.0", "no", "n", "f", "")
_SHOWN = 60


@dataclass(frozen=True)
class TunerTables:
    """The three tables, read and checked."""

    assays: pd.DataFrame
    """(a,) T0: input_assay_id, assay_type, use_in_regression, is_binary, expert_threshold_1..5, direction (high, low
    or ""), catalog_assay_id, parent_assay_id."""
    activities: pd.DataFrame
    """(m,) T1 in file order: input_compound_id, input_assay_id, standard_qualifier and standard_value as texts, and
    what was read of them: compound (row of `structures`), assay (row of `assays`), relation, value, reason."""
    structures: pd.DataFrame
    """(n,) T2: input_compound_id, smiles."""


def read_tables(t0: Path, t1: Path, t2: Path) -> TunerTables:
    """Read T0, T1 and T2; CSV, TSV (also .gz) or Parquet.

    A row of T1 that cannot be used has its reason in `activities`. What is wrong with T0 or T2 is an
    error, since it would concern every measurement of an assay or a compound.

    Raises
    ------
    ColumnError
        A column is missing or doubled.
    DataError
        An id stands twice or is empty, an entry of T0 is none of those it may be, or no row of T1 can be used.
    """
    assays, structures = read_assays(Path(t0)), read_structures(Path(t2))
    return TunerTables(assays, read_activities(Path(t1), assays, structures), structures)


def read_assays(path: Path) -> pd.DataFrame:
    """Read T0: `input_assay_id` and `assay_type`; the other columns where there are any.

    Raises
    ------
    ColumnError, DataError
        As `read_tables` does; the message names file, row and column.
    """
    table = _table(path, "T0")
    found = {"input_assay_id": _ids(table, "input_assay_id", path, "T0")}
    found["assay_type"] = _of_list(table, "assay_type", path, KINDS, required=True)
    found["use_in_regression"] = _switches(table, "use_in_regression", path, empty=True)
    found["is_binary"] = _switches(table, "is_binary", path, empty=False)
    found |= {name: _thresholds(table, name, path) for name in EXPERT}
    found["direction"] = _of_list(table, "direction", path, ("high", "low", ""), required=False)
    found |= {name: _texts(table, name, path) for name in ("catalog_assay_id", "parent_assay_id")}
    assays = pd.DataFrame(found)
    _check_assays(assays, path)
    return assays


def _check_assays(assays: pd.DataFrame, path: Path) -> None:
    catalogue = (assays["assay_type"] == CATALOGUE).to_numpy()
    named = (assays["catalog_assay_id"] != "").to_numpy()
    bare = assays[list(EXPERT)].isna().all(axis=1).to_numpy() & ~assays["is_binary"].to_numpy(bool)
    again = assays["catalog_assay_id"].where(catalogue & named).duplicated().to_numpy() & catalogue & named
    for wrong, column, says in (
        (catalogue & ~named, "catalog_assay_id", "is empty; an assay of the type CATALOG-PANEL needs the partners' id"),
        (catalogue & bare, EXPERT[0], "is empty; an assay of the type CATALOG-PANEL needs the partners' thresholds"),
        (again, "catalog_assay_id", "stands twice; join the measurements of one catalogue assay under one id"),
        (
            (assays["assay_type"] == PSEUDO_LABELS).to_numpy() & ~assays["is_binary"].to_numpy(bool),
            "is_binary",
            "is not true; an assay of the type AUX_PL has labels (-1 and 1)",
        ),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            message = (
                f"{path}, row {row + 1} (assay {assays['input_assay_id'][row]!r}), column {column!r}: {says}. "
                f"{int(wrong.sum())} such rows."
            )
            raise DataError(message)


def read_structures(path: Path) -> pd.DataFrame:
    """Read T2: `input_compound_id`, each once, and `smiles` (a missing structure is rejected later, not here).

    Raises
    ------
    ColumnError, DataError
        As `read_tables` does; the message names file, row and column.
    """
    table = _table(path, "T2")
    ids = _ids(table, "input_compound_id", path, "T2")
    return pd.DataFrame({"input_compound_id": ids, "smiles": _column(table, "smiles", path, "T2")})


def read_activities(path: Path, assays: pd.DataFrame, structures: pd.DataFrame) -> pd.DataFrame:
    """Read T1: `input_compound_id`, `input_assay_id`, `standard_qualifier`, `standard_value`.

    Raises
    ------
    ColumnError, DataError
        A column is missing, or no row can be used.
    """
    table = _table(path, "T1")
    names = ("input_compound_id", "input_assay_id", "standard_qualifier", "standard_value")
    frame = pd.DataFrame({name: _column(table, name, path, "T1") for name in names})
    numbers = read_numbers(frame["standard_value"])
    stated, wrong_sign = read_relations(frame["standard_qualifier"])
    compound = pd.Index(structures["input_compound_id"]).get_indexer(frame["input_compound_id"])
    assay = pd.Index(assays["input_assay_id"]).get_indexer(frame["input_assay_id"])
    own = numbers.relation
    clash = (own != EXACT) & (stated != EXACT) & (own != stated)
    reason = np.select(
        [numbers.reason != "", wrong_sign != "", clash, assay < 0, compound < 0],
        [
            "standard_value: " + numbers.reason,
            "standard_qualifier: " + wrong_sign,
            "the qualifier and the value's own sign disagree",
            OTHER_ASSAY,
            OTHER_COMPOUND,
        ],
        "",
    ).astype(object)
    frame["compound"], frame["assay"] = compound, assay
    frame["relation"] = np.where(own != EXACT, own, stated).astype(np.int8)
    frame["value"] = numbers.value
    frame["reason"] = reason
    if not (reason == "").any():
        often = pd.Series(reason).value_counts()
        first = int(np.flatnonzero(reason == often.index[0])[0])
        message = (
            f"{path}: none of the {len(frame)} rows can be used; most often: {often.index[0]} (row {first + 1}: "
            f"compound {frame['input_compound_id'][first]!r}, assay {frame['input_assay_id'][first]!r}). Ids must be "
            "written the same way in T0, T1 and T2."
        )
        raise DataError(message)
    return frame


def _table(path: Path, name: str) -> Table:
    if not path.exists():
        message = f"{path} does not exist; it must be table {name}."
        raise DataError(message)
    table = read_raw(path)
    if not len(table.frame):
        message = f"{path} has column titles and no rows; table {name} must have at least one row."
        raise DataError(message)
    return table


def _column(table: Table, name: str, path: Path, which: str) -> NDArray[Any]:
    column = column_of(table, name, path, f"table {which}")
    plain = column.astype(object)
    return plain.where(plain.notna(), "").astype(str).str.strip().to_numpy(object)


def _texts(table: Table, name: str, path: Path) -> NDArray[Any]:
    """Return a column that may be missing; empty texts then."""
    if name not in table.frame.columns:
        return np.full(len(table.frame), "", dtype=object)
    texts = pd.Series(_column(table, name, path, "T0"), dtype=object)
    return texts.mask(texts.str.lower().isin(["nan", "none", "null", "<na>"]), "").to_numpy(object)


def _ids(table: Table, name: str, path: Path, which: str) -> NDArray[Any]:
    ids = _column(table, name, path, which)
    empty = np.flatnonzero(ids == "")
    if len(empty):
        message = f"{path}, row {empty[0] + 1}, column {name!r}: the id is empty ({len(empty)} such rows). Give it one."
        raise DataError(message)
    again = np.flatnonzero(pd.Series(ids).duplicated())
    if len(again):
        row = int(again[0])
        first = int(np.flatnonzero(ids == ids[row])[0])
        message = (
            f"{path}, row {row + 1}, column {name!r}: {ids[row]!r} stands in row {first + 1} already "
            f"({len(again)} such rows). Table {which} has one row for each id; delete the others."
        )
        raise DataError(message)
    return ids


def _of_list(table: Table, name: str, path: Path, allowed: tuple[str, ...], *, required: bool) -> NDArray[Any]:
    texts = _column(table, name, path, "T0") if required else _texts(table, name, path)
    wrong = np.flatnonzero(~np.isin(texts.astype(str), allowed))
    if len(wrong):
        _refuse(path, int(wrong[0]), name, texts[wrong[0]], f"it must be {', '.join(allowed).rstrip(', ')}")
    return texts


def _switches(table: Table, name: str, path: Path, *, empty: bool) -> NDArray[np.bool_]:
    texts = pd.Series(_texts(table, name, path)).str.lower().to_numpy(object)
    wrong = np.flatnonzero(~np.isin(texts.astype(str), (*_TRUE, *_FALSE)))
    if len(wrong):
        _refuse(path, int(wrong[0]), name, texts[wrong[0]], "it must be true or false")
    return np.isin(texts.astype(str), _TRUE) | ((texts == "") & empty)


def _thresholds(table: Table, name: str, path: Path) -> NDArray[np.float64]:
    texts = _texts(table, name, path)
    numbers = pd.to_numeric(pd.Series(texts), errors="coerce").to_numpy(np.float64)
    wrong = np.flatnonzero((texts != "") & ~np.isfinite(numbers))
    if len(wrong):
        _refuse(path, int(wrong[0]), name, texts[wrong[0]], "it must be a number or empty")
    return numbers


def _refuse(path: Path, row: int, name: str, found: str, cure: str) -> None:
    message = f"{path}, row {row + 1}, column {name!r}: got {found[:_SHOWN]!r}; {cure}."
    raise ColumnError(message) if found == "" else DataError(message)
