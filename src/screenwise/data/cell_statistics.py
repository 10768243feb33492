"""Sufficient statistics of cells by condition and batch, streamed: one pass, memory that does not grow with cells."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from screenwise.data.cell_groups import group_cells
from screenwise.data.cell_source import CellColumns, CellSource, open_cells
from screenwise.data.expression import expression_of
from screenwise.data.labels import genes_of
from screenwise.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData

LARGEST = 8 << 30
"""Bytes of sums that are still kept."""


@dataclass(frozen=True)
class Statistics:
    """Sums over the cells of g groups (condition x batch) and p features, of log1p-normalised values."""

    groups: pd.DataFrame
    """(g,) condition, gene_a, gene_b, ..., batch ("" = one batch), n_cells; the control's groups first."""
    count: NDArray[np.int64]
    """(g,) cells."""
    total: NDArray[np.float64]
    """(g, p) sums."""
    squares: NDArray[np.float64]
    """(g, p) sums of squares."""
    features: list[str]
    symbols: list[str] | None = None
    """(p,) gene symbols, where features have other names."""
    rejected: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["label", "count", "reason"]))
    """Labels that were not read."""
    notes: list[str] = field(default_factory=list)
    floor: float | None = None
    """Smallest value that a feature can have; None: not known."""

    @property
    def mean(self) -> NDArray[np.float64]:
        """(g, p) means."""
        return self.total / np.maximum(self.count, 1)[:, None]

    @property
    def genes(self) -> list[tuple[str, ...]]:
        """(g,) genes of each group."""
        return genes_of(self.groups)


def cell_statistics(
    source: "AnnData | Path | str",
    columns: CellColumns | None = None,
    *,
    chunk: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Statistics:
    """Return count, sum and sum of squares of each condition and batch, in one pass over the cells.

    Counts become log1p(count * 1e4 / total); log1p values stay as they are. Of an h5ad file (or a
    backed object) only blocks of rows are in memory.

    Parameters
    ----------
    source
        AnnData object, in memory or backed, or path of an h5ad file.
    columns
        Where labels, batches and counts stand.
    chunk
        Most rows read at a time; by the size of rows when None.
    progress
        Called as ``progress(what, done, total)``.

    Raises
    ------
    DataError
        No or one control cell; NaN, negative counts, log values declared as counts (with file, row
        and column); doubled genes; a damaged file.

    Examples
    --------
    >>> from anndata import AnnData
    >>> obs = pd.DataFrame({"condition": ["ctrl", "ctrl", "KLF1+ctrl"]}, index=list("abc"))
    >>> found = cell_statistics(AnnData(np.array([[1.0, 3], [2, 2], [0, 5]], np.float32), obs=obs))
    >>> found.groups["condition"].tolist(), found.count.tolist()
    (['ctrl', 'KLF1'], [2, 1])
    """
    columns = columns or CellColumns()
    with open_cells(source, columns.layer) as cells:
        grouping = group_cells(cells, columns, need_control=True)
        _check_size(cells, len(grouping.groups))
        expression = expression_of(cells, columns)
        shape = (len(grouping.groups), cells.shape[1])
        count = np.zeros(shape[0], np.int64)
        sums = np.zeros((2, *shape))
        for first, rows in cells.blocks(chunk):
            scale = expression.scale(first, rows)
            group = grouping.of(first, first + rows.shape[0])
            group[scale == 0] = -1
            count += np.bincount(group[group >= 0], minlength=shape[0])
            data = rows.data if rows.data.dtype in (np.float32, np.float64) else rows.data.astype(np.float32)
            _add(rows.indptr.astype(np.int64), rows.indices, data, group, scale, sums)
            if progress is not None:
                progress("Reading cells", first + rows.shape[0], cells.shape[0])
        notes = [*grouping.notes, *expression.notes()]
        groups = grouping.groups.assign(n_cells=count)
        _check_control(cells, groups)
        read = (cells.features, cells.symbols, grouping.rejected, notes, expression.floor)
        return Statistics(groups, count, sums[0], sums[1], *read)


@njit(cache=True)
def _add(indptr, indices, data, group, scale, sums):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    for row in range(len(indptr) - 1):
        own = group[row]
        if own < 0:
            continue
        factor = scale[row]
        for place in range(indptr[row], indptr[row + 1]):
            value = float(data[place])
            if factor > 0:
                value = math.log1p(value * factor)
            sums[0, own, indices[place]] += value
            sums[1, own, indices[place]] += value * value


def _check_size(cells: CellSource, groups: int) -> None:
    need = 16 * groups * cells.shape[1]
    if need > LARGEST:
        message = (
            f"{cells.name}: sums of {groups:,} groups (condition x batch) and {cells.shape[1]:,} features need "
            f"{need / 2**30:.0f} GiB, more than {LARGEST / 2**30:.0f}. Keep fewer features (highly variable genes), or "
            "leave the batch out."
        )
        raise DataError(message)


def _check_control(cells: CellSource, groups: pd.DataFrame) -> None:
    control = groups["n_cells"].to_numpy()[groups["gene_a"].to_numpy() == ""].sum()
    if control < 2:  # noqa: PLR2004
        message = (
            f"{cells.name}: the control has {control} cell{'s' if control != 1 else ''} with counts; every effect is a "
            "difference from it. Give at least two, better 100, or name another control (--control)."
        )
        raise DataError(message)
