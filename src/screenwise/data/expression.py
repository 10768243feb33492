"""Values of cells: counts or log1p values? Found out, checked entry by entry, brought to one scale."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array

from screenwise.data.cell_source import CellColumns, CellSource
from screenwise.errors import ColumnError, DataError

DEPTH = 1e4
"""Counts that a cell is scaled to before log1p."""
TOTALS = ("total_counts", "n_counts", "ncounts", "nCount_RNA", "n_umis", "UMI_count")
"""Columns of obs that hold a cell's count over all genes."""
LOG_LIMIT = 20.0
"""No log1p of normalised counts is that large: it would be half a thousand million."""
_ENOUGH = 200
"""Entries from which whole numbers alone tell counts."""


@dataclass
class Expression:
    """How the values of a source become log1p(count * 1e4 / total); checks every entry on the way."""

    source: CellSource
    counts: bool | None
    """True: counts; False: log values; None: not known yet."""
    total: str | None
    """Column of obs with a cell's count over all genes; None: the sum of its row."""
    guessed: bool = False
    fractions: int = 0
    """Entries of counts that are not whole."""
    negative: int = 0
    """Negative entries of log values."""
    empty: int = 0
    """Cells without any count."""

    def scale(self, first: int, rows: csr_array) -> NDArray[np.float64]:
        """Return (r,) factors of counts, 0 for an empty cell; -1 where values are log already."""
        found = _look(rows.indptr, rows.indices, rows.data)
        self._check(found, first, rows)
        if not self.counts:
            return np.full(rows.shape[0], -1.0)
        sums = found.sums
        if self.total is None:
            totals = sums
        else:
            totals = self.source.numbers(self.total, first, first + rows.shape[0])
            self._check_totals(totals, sums, first)
        self.empty += int((totals <= 0).sum())
        return np.divide(DEPTH, totals, out=np.zeros_like(sums), where=totals > 0)

    @property
    def floor(self) -> float | None:
        """Smallest value there can be: 0 of counts, and of log values without a negative one; else None."""
        return 0.0 if self.counts or not self.negative else None

    def notes(self) -> list[str]:
        """Return what was guessed and found, in sentences."""
        if not self.counts:
            how = "Read as log1p values (not whole numbers), taken as they are" if self.guessed else "Log values"
            notes = [f"{how}."] if self.guessed else []
            return notes + ([f"{self.negative} log values are below 0."] if self.negative else [])
        by = f"obs[{self.total!r}]" if self.total else "the sum of its row"
        guess = " (all are whole numbers)" if self.guessed else ""
        notes = [f"Read as counts{guess}: log1p(count * 1e4 / total), a cell's total from {by}."]
        if self.fractions:
            notes.append(f"{self.fractions} counts are not whole numbers; they are used as they are.")
        if self.empty:
            notes.append(f"{self.empty} cells without any count were left out.")
        return notes

    def _check(self, found: "_Look", first: int, rows: csr_array) -> None:
        if found.odd >= 0:
            raise self._refuse(found.odd, first, rows, "Mend or leave out that cell.")
        if self.counts is None and found.entries:
            self.counts, self.guessed = self._guess(found, first, rows), True
        if self.counts is None:
            return
        if not self.counts:
            self._check_log(found)
            self.negative += found.negatives
            return
        if found.below >= 0:
            cure = "Counts cannot be negative: choose the layer that holds counts, or say --no-counts for log values."
            raise self._refuse(found.below, first, rows, cure)
        if self.guessed and found.fraction >= 0:
            cure = (
                "All values before it are whole numbers: say whether these are counts (--counts) or not (--no-counts)."
            )
            raise self._refuse(found.fraction, first, rows, cure)
        if 2 * found.fractions > found.entries and found.largest < LOG_LIMIT:
            cure = (
                "The values were declared as counts, but most are not whole numbers and none reaches "
                f"{LOG_LIMIT:g}: they look like log values. Say --no-counts, or choose the layer of counts."
            )
            raise self._refuse(found.fraction, first, rows, cure)
        self.fractions += found.fractions

    def _guess(self, found: "_Look", first: int, rows: csr_array) -> bool:
        if found.below >= 0:
            cure = (
                "That is neither a count nor log1p of one: choose a layer of counts, or say --no-counts to take the "
                "values as they are."
            )
            raise self._refuse(found.below, first, rows, cure)
        if found.fraction >= 0 and found.largest > LOG_LIMIT:
            cure = (
                f"Values up to {found.largest:g} that are not whole are neither counts nor log1p values: say "
                "--counts to normalise them like counts, or take log1p first."
            )
            raise self._refuse(found.fraction, first, rows, cure)
        return found.fraction < 0

    def _check_log(self, found: "_Look") -> None:
        whole = not self.guessed and found.entries >= _ENOUGH and found.fraction < 0
        if found.largest > LOG_LIMIT or whole:
            message = (
                f"{self.source.name}: the values were {'read' if self.guessed else 'declared'} as log1p values, but "
                f"reach {found.largest:g}{' and are whole numbers' if whole else ''}. If they are counts, say "
                "--counts; if they are normalised, take log1p first."
            )
            raise DataError(message)

    def _check_totals(self, totals: NDArray[np.float64], sums: NDArray[np.float64], first: int) -> None:
        # a total of another matrix (after filtering, or of another layer) would scale cells wrongly
        bad = ~np.isfinite(totals) | (totals < sums * (1 - 1e-6) - 1e-3)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            message = (
                f"{self.source.name}, row {first + row + 1} (cell {self.source.cell_name(first + row)!r}): "
                f"obs[{self.total!r}] is {totals[row]:g}, but the counts of the row add up to {sums[row]:g}. Name the "
                'column of the counts over all genes, or say total="" to use the sum of each row.'
            )
            raise DataError(message)

    def _refuse(self, entry: int, first: int, rows: csr_array, cure: str) -> DataError:
        """Return the error of one entry of a block: where it stands, what it is, what to do."""
        row = int(np.searchsorted(rows.indptr, entry, side="right")) - 1
        column = int(rows.indices[entry])
        return DataError(
            f"{self.source.name}, row {first + row + 1} (cell {self.source.cell_name(first + row)!r}), column "
            f"{column + 1} ({self.source.features[column]!r}) holds {rows.data[entry]:g}. {cure}"
        )


def expression_of(source: CellSource, columns: CellColumns) -> Expression:
    """Return how to read a source's values, from `counts` and `total` of the columns."""
    total = columns.total
    if total:
        source.need(total, "total counts of a cell")
    elif total is None:
        total = next((name for name in TOTALS if name in source.columns), None)
    return Expression(source, columns.counts, total or None)


def log_rows(rows: csr_array, scale: NDArray[np.float64]) -> csr_array:
    """Return rows with counts brought to log1p(count * scale); log values as they are.

    Examples
    --------
    >>> log_rows(csr_array(np.array([[1.0, 0.0], [0.0, 3.0]])), np.array([np.e - 1, -1.0])).toarray().tolist()
    [[1.0, 0.0], [0.0, 3.0]]
    """
    factor = np.repeat(scale, np.diff(rows.indptr))
    data = np.asarray(rows.data, np.float64)
    values = np.where(factor >= 0, np.log1p(data * np.maximum(factor, 0)), data)
    return csr_array((values.astype(np.float32), rows.indices, rows.indptr), shape=rows.shape)


@dataclass(frozen=True)
class _Look:
    """What a block of entries is like; places are -1 where there is none."""

    sums: NDArray[np.float64]
    """(r,) sums of rows."""
    largest: float
    entries: int
    """Entries that are not 0."""
    odd: int
    """Place of the first NaN or infinity."""
    below: int
    """Place of the first negative entry."""
    negatives: int
    fraction: int
    """Place of the first entry that is not whole."""
    fractions: int


def _look(indptr: NDArray[Any], indices: NDArray[Any], data: NDArray[Any]) -> _Look:
    if data.dtype.kind not in "fiub":
        message = f"X holds {data.dtype}; it must hold numbers."
        raise ColumnError(message)
    values = data if data.dtype in (np.float32, np.float64) else data.astype(np.float32)
    sums = np.zeros(len(indptr) - 1)
    largest, *places = _scan(indptr.astype(np.int64), values, sums)
    entries, odd, below, negatives, fraction, fractions = (int(place) for place in places)
    return _Look(sums, float(largest), entries, odd, below, negatives, fraction, fractions)


@njit(cache=True)
def _scan(indptr, data, sums):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    largest = 0.0
    entries = negatives = fractions = 0
    odd = below = fraction = -1
    for row in range(len(indptr) - 1):
        total = 0.0
        for place in range(indptr[row], indptr[row + 1]):
            value = np.float64(data[place])
            total += value
            entries += value != 0
            largest = max(largest, value)
            # one test for whole and small numbers, which nearly all entries are
            if not (value == math.floor(value) and value >= 0):
                if not math.isfinite(value):
                    if odd < 0:
                        odd = place
                elif value < 0:
                    negatives += 1
                    if below < 0:
                        below = place
                if math.isfinite(value) and value != math.floor(value):
                    fractions += 1
                    if fraction < 0:
                        fraction = place
            elif value == math.inf and odd < 0:
                odd = place
        sums[row] = total
    return largest, entries, odd, below, negatives, fraction, fractions
