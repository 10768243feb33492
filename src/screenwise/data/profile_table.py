"""Tables of profiles: one row per condition, one numeric column per feature."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.labels import Labels, canonical, is_control, listing, parse_labels
from screenwise.data.matched_control import GroupMeans, matched_levels, sums_by
from screenwise.data.profile_screen import ProfileFacts, Profiles, make_profiles
from screenwise.data.table import Table, column_of, read_raw
from screenwise.errors import ColumnError, DataError

NOT_FEATURES = frozenset(
    (
        *(
            "condition",
            "condition_id",
            "gene_a",
            "gene_b",
            "gene_c",
            "gene_d",
            "gene_e",
            "n_genes",
            "n_genes_perturbed",
        ),
        *("n_cells", "ncells", "cells", "squared_error", "batch", "replicate", "plate", "source_label", "index"),
        *("seed", "split", "fold", "in_domain", "profile_std", "novelty", "note"),
    )
)
"""Columns that say something of a row and are no features, also where they hold numbers."""
_COUNTED = ("n_cells", "ncells")
_EMPTY = ("", "nan", "none", "null", "n/a", "na")


def read_profiles(
    path: Path,
    condition_column: str = "condition",
    control: str = "ctrl",
    batch_column: str | None = None,
    *,
    separator: str | None = None,
) -> Profiles:
    r"""Read profiles from a table (CSV, TSV, also .gz; Parquet): labels, and one numeric column per feature.

    Columns of text and those of `NOT_FEATURES` are set aside. Several rows of one condition are
    averaged, weighted by `n_cells` where it is there; with batches, each is compared with the control
    rows of its own batch first. Values may have any sign.

    Parameters
    ----------
    path
        The table.
    condition_column
        Column of labels (`screenwise.data.labels`).
    control
        Label of control rows.
    batch_column
        Column of batches; `batch` where it is there. Without one, rows are compared with all control rows.
    separator
        Text between the genes of a label; found out when None.

    Raises
    ------
    DataError
        No control; no feature; a cell of a feature that is no number (with row and column).

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.csv"
    >>> _ = path.write_text("condition,kind,pc1,pc2\nctrl,c,1,0\nA+ctrl,p,2,-1\nB+A,p,3,4\n")
    >>> profiles = read_profiles(path)
    >>> profiles.screen.conditions["condition"].tolist(), profiles.effect.tolist()
    (['ctrl', 'A', 'A+B'], [[0.0, 0.0], [1.0, -1.0], [2.0, 4.0]])
    """
    path = Path(path)
    table = read_raw(path)
    labels = _labels(table, path, condition_column, control, separator)
    if batch_column is None and "batch" in table.frame.columns:
        batch_column = "batch"
    batch = None if batch_column is None else _texts(column_of(table, batch_column, path, "--batch-column"))
    own = [name for name in (condition_column, batch_column) if name is not None]
    features, values, notes = _features(table, path, own)
    weight, more = _weights(table, path)
    rows = np.flatnonzero(labels.kept & (weight != 0))
    genes = [one for one in (labels.genes[row] for row in rows) if one is not None]
    if () not in genes:
        message = f"{path}: no row of the control has cells; every effect is a difference from it."
        raise DataError(message)
    known = np.isfinite(weight).all()
    used = weight[rows] if known else np.ones(len(rows))
    batches = [""] * len(rows) if batch is None else [str(one) for one in batch[rows]]
    matched = matched_levels(GroupMeans(genes, batches, used, values[rows]))
    notes += [*more, *_repeated(genes, matched.condition, weighted=bool(known))]
    facts = ProfileFacts(
        n_cells=matched.weight if known else _known_cells(weight[rows], matched.condition, len(matched.genes)),
        rejected=labels.rejected,
        notes=[*table.notes, *labels.notes, *notes, *matched.notes],
    )
    return make_profiles(matched.genes, matched.level, features, facts)


def _texts(column: Any) -> NDArray[Any]:
    return np.asarray(column.fillna("").astype(str).str.strip().to_numpy(object))


def _labels(table: Table, path: Path, column: str, control: str, separator: str | None) -> Labels:
    texts = _texts(column_of(table, column, path, "--condition-column"))
    try:
        return parse_labels(
            texts.tolist(), control=control, separator=separator, known=list(table.frame.columns), need_control=True
        )
    except DataError as error:
        message = f"{path}, column {column!r}: {error}"
        raise DataError(message) from error


def _features(table: Table, path: Path, own: list[str]) -> tuple[list[str], NDArray[np.float64], list[str]]:
    """Return names and (rows, p) values of the columns that are features, and what was set aside."""
    frame = table.frame
    features, columns, aside = [], [], []
    for place, name in enumerate(frame.columns):
        # the row numbers that pandas writes have no title
        if name in NOT_FEATURES or name in own or (place == 0 and name in ("column 1", "Unnamed: 0")):
            if name not in own and name not in _COUNTED:
                aside.append(str(name))
            continue
        numbers = _numbers(frame[name], str(name), path)
        if numbers is None:
            aside.append(str(name))
            continue
        if name in table.doubled:
            message = f"{path}: the column title {name!r} stands more than once. Rename one of them."
            raise ColumnError(message)
        features.append(str(name))
        columns.append(numbers)
    if not features:
        found = ", ".join(map(str, frame.columns[:20]))
        message = f"{path} has no numeric column of a feature; its columns are {found}."
        raise DataError(message)
    notes = [listing(aside, "Columns that are no features were set aside")] if aside else []
    return features, np.column_stack(columns), notes


def _numbers(column: pd.Series, name: str, path: Path) -> NDArray[np.float64] | None:
    """Return a column of numbers; None for text; an error where a few cells are no numbers."""
    if pd.api.types.is_bool_dtype(column):
        return None
    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(np.float64, na_value=np.nan)
    else:
        texts = column.fillna("").astype(str).to_numpy(object)
        try:
            values = texts.astype(np.float64)
        except ValueError:
            values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
            empty = np.isin(np.char.lower(np.char.strip(texts.astype(str))), _EMPTY)
            # mostly words: a label of the row
            if 2 * (np.isfinite(values) | empty).sum() <= len(values) or empty.all():
                return None
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        message = (
            f"{path}, row {row + 1}, column {name!r} holds {str(column.iloc[row])!r}; a feature needs a finite "
            "number in every row. Fill or leave out the row or the column."
        )
        raise DataError(message)
    return np.asarray(values)


def _weights(table: Table, path: Path) -> tuple[NDArray[np.float64], list[str]]:
    """Return (rows,) numbers of cells, NaN where unknown."""
    found = [name for name in _COUNTED if name in table.frame.columns]
    if not found:
        return np.full(len(table.frame), np.nan), []
    texts = _texts(table.frame[found[0]])
    numbers = pd.to_numeric(pd.Series(texts), errors="coerce").to_numpy(np.float64)
    unknown = np.array([text.lower() in _EMPTY for text in texts])
    bad = (~np.isfinite(numbers) & ~unknown) | (numbers < 0)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        message = (
            f"{path}, row {row + 1}, column {found[0]!r} holds {texts[row]!r}; it must be the number of cells of the "
            "row, 0 or more, or empty."
        )
        raise DataError(message)
    notes = []
    if (numbers == 0).any():
        notes.append(f"{int((numbers == 0).sum())} rows without cells (n_cells = 0) were left out.")
    if unknown.any() and not unknown.all():
        notes.append(f"{found[0]} is empty in {int(unknown.sum())} rows; rows of one condition count the same.")
    return numbers, notes


def _known_cells(weight: NDArray[np.float64], condition: NDArray[np.int64], number: int) -> NDArray[np.float64]:
    """Return (n,) sums of known numbers of cells; NaN where a row's is unknown."""
    return np.asarray(sums_by(condition, weight[:, None], number)[:, 0])


def _repeated(genes: list[tuple[str, ...]], condition: NDArray[np.int64], *, weighted: bool) -> list[str]:
    rows = np.bincount(condition)
    labels = np.array([canonical(one) for one in genes], object)
    several = sorted(set(labels[rows[condition] > 1]), key=lambda label: (not is_control(label), label))
    how = "weighted by their cells" if weighted else "all rows alike"
    return [listing(several, f"Conditions with several rows, averaged ({how})")] if several else []
