"""Which condition and experimental batch each cell belongs to: labels counted first, then read."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.cell_source import CellColumns, CellSource, Factor
from screenwise.data.labels import Labels, canonical, condition_columns, listing, parse_labels
from screenwise.errors import ColumnError, ConfigError, DataError

USUAL_CONDITION = ("perturbation", "perturbation_name", "target_gene", "guide_identity", "gene", "perturbations")
"""Columns where labels stand in scPerturb's, pertpy's and other files, tried where `condition` is absent."""
LINES = ("cell_type", "cell_line", "celltype", "donor", "donor_id", "tissue", "organism")
"""Columns whose levels should not be pooled without a word."""
_SPAN = 100_000
_ABSENT = -2
"""A level that no cell has; -1 is a missing value."""


@dataclass
class Grouping:
    """Which condition and batch each cell belongs to."""

    groups: pd.DataFrame
    """(g,) condition, gene_a, gene_b, ..., batch, n_cells; the control's first, then by number of genes."""
    rejected: pd.DataFrame
    """Labels that were not read: label, count, reason."""
    notes: list[str]
    cells: "_Cells"
    table: NDArray[np.int64]
    """(labels + 1, batches + 1) number of the group, -1 = left out; the last row and column: missing values."""

    def of(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return (stop - start,) numbers of groups; -1 = left out."""
        label, batch = self.cells.codes(start, stop)
        return self.table[label, batch]


@dataclass
class _Cells:
    """Levels of the columns that make a group."""

    label: Factor
    batch: Factor | None
    covariate: Factor | None
    value: str

    def codes(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return labels (-1 = missing or left out) and batches of some cells."""
        label = self.label.codes(start, stop)
        batch = np.zeros(stop - start, np.int64) if self.batch is None else self.batch.codes(start, stop)
        if self.covariate is None:
            return label, batch
        own = self.covariate.codes(start, stop)
        levels = self.covariate.levels
        return np.where(own == (levels.index(self.value) if self.value in levels else _ABSENT), label, -1), batch


def group_cells(source: CellSource, columns: CellColumns, *, need_control: bool = True) -> Grouping:
    """Return the groups of a source's cells.

    Raises
    ------
    ColumnError
        Columns of obs that are not there.
    DataError
        Doubled features, no cell with the covariate's value, or no control where it is needed.
    """
    if not source.shape[0]:
        message = f"{source.name} has no cells; give a file with cells."
        raise DataError(message)
    _check_features(source)
    condition, notes = _condition_column(source, columns)
    if columns.batch is not None:
        source.need(columns.batch, "--batch-column")
    kept, value = _covariate(source, columns)
    cells = _Cells(
        source.factor(condition),
        None if columns.batch is None else source.factor(columns.batch),
        None if kept is None else source.factor(kept),
        value,
    )
    tally: Counter[tuple[int, int]] = Counter()
    for start, stop in _spans(source.shape[0]):
        labels_here, batches_here = cells.codes(start, stop)
        # one number for both, -1 included: sorting pairs would take ten times as long
        pairs, number = np.unique(((labels_here + 1) << 32) + batches_here + 1, return_counts=True)
        for pair, count in zip(pairs.tolist(), number.tolist(), strict=True):
            tally[(pair >> 32) - 1, (pair & 0xFFFFFFFF) - 1] += count
    if cells.covariate is not None and value not in cells.covariate.levels:
        found = ", ".join(cells.covariate.levels[:20])
        message = f"{source.name}: no cell has {kept} = {value!r}; it has {found}."
        raise DataError(message)
    numbers = np.zeros(len(cells.label.levels) + 1, np.int64)
    for (label, _), count in tally.items():
        numbers[label] += count
    labels = _labels(source, columns, cells.label.levels, numbers[:-1], need_control=need_control)
    notes += [] if kept is not None else _pooled(source, columns)
    if numbers[-1] and kept is None:
        notes.append(f"{numbers[-1]} cells without a label were left out.")
    groups, table = _groups(cells, labels, tally)
    return Grouping(groups, labels.rejected, [*notes, *labels.notes], cells, table)


def _check_features(source: CellSource) -> None:
    names = pd.Series(source.features)
    doubled = names[names.duplicated()].unique().tolist()
    if doubled:
        message = (
            f"{source.name}: {listing(doubled, 'names of var stand more than once')} Add their columns up, or make "
            "the names differ (adata.var_names_make_unique())."
        )
        raise DataError(message)


def _condition_column(source: CellSource, columns: CellColumns) -> tuple[str, list[str]]:
    if columns.condition in source.columns:
        return columns.condition, []
    usual = [name for name in USUAL_CONDITION if name in source.columns]
    if columns.condition == CellColumns().condition and usual:
        return usual[0], [f"Labels of cells are read from obs[{usual[0]!r}]."]
    source.need(columns.condition, "--condition-column")
    raise AssertionError


def _covariate(source: CellSource, columns: CellColumns) -> tuple[str | None, str]:
    if columns.covariate is None:
        return None, ""
    name, sign, value = (part.strip() for part in columns.covariate.partition("="))
    if not sign or not value:
        message = (
            f"The covariate is {columns.covariate!r}; write COLUMN=VALUE, such as cell_type=A172. To keep all values "
            "and compare each with controls of its own, name the column as the batch."
        )
        raise ConfigError(message)
    source.need(name, "--covariate")
    return name, value


def _spans(cells: int) -> Iterator[tuple[int, int]]:
    for start in range(0, cells, _SPAN):
        yield start, min(start + _SPAN, cells)


def _labels(
    source: CellSource, columns: CellColumns, levels: list[str], numbers: NDArray[np.int64], *, need_control: bool
) -> Labels:
    """Read the levels that cells have."""
    there = np.flatnonzero(numbers)
    known = {*source.features, *(source.symbols or [])}
    try:
        read = parse_labels(
            [levels[place] for place in there],
            control=columns.control,
            separator=columns.separator,
            known=known,
            counts=numbers[there].tolist(),
            need_control=need_control,
        )
    except DataError as error:
        message = f"{source.name}: {error}"
        raise DataError(message) from error
    genes: list[tuple[str, ...] | None] = [None] * len(levels)
    for place, one in zip(there, read.genes, strict=True):
        genes[place] = one
    return Labels(genes, read.rejected, read.notes)


def _pooled(source: CellSource, columns: CellColumns) -> list[str]:
    """Return a note for each column of cell lines and the like whose levels are pooled."""
    notes = []
    for name in [name for name in LINES if name in source.columns and name not in (columns.batch, columns.condition)]:
        try:
            factor = source.factor(name)
        except ColumnError:
            continue
        counts: Counter[int] = Counter()
        for start, stop in _spans(source.shape[0]):
            codes = factor.codes(start, stop)
            counts.update(dict(enumerate(np.bincount(codes[codes >= 0]).tolist())))
        held = [(factor.levels[place], count) for place, count in counts.most_common() if count]
        if len(held) > 1:
            shown = ", ".join(f"{level} ({count})" for level, count in held[:5])
            notes.append(
                f"Cells of several {name} are pooled: {shown}. Keep one with covariate {name}={held[0][0]}, or compare "
                f"each with controls of its own: batch {name}."
            )
    return notes


def _groups(cells: _Cells, labels: Labels, tally: Counter[tuple[int, int]]) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return the groups that cells fall into, and the table that finds them."""
    batches = [""] if cells.batch is None else [*cells.batch.levels, "(no batch)"]
    table = np.full((len(labels.genes) + 1, max(len(batches), 1)), -1, np.int64)
    cell_counts: Counter[tuple[tuple[str, ...], str]] = Counter()
    for (label, batch), count in tally.items():
        genes = labels.genes[label] if label >= 0 else None
        if genes is not None:
            cell_counts[genes, batches[batch]] += count
    order = sorted(cell_counts, key=lambda key: (len(key[0]), canonical(key[0]), key[1]))
    number = {key: place for place, key in enumerate(order)}
    for label, batch in tally:
        genes = labels.genes[label] if label >= 0 else None
        if genes is not None:
            table[label, batch] = number[genes, batches[batch]]
    groups = condition_columns([genes for genes, _ in order])
    groups["batch"] = [batch for _, batch in order]
    groups["n_cells"] = [cell_counts[key] for key in order]
    return groups, table
