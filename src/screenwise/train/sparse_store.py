"""Rows of a sparse matrix on disk, memory-mapped: training data of any size in the memory of a batch.

A folder holds ``indptr.bin`` (int64), ``indices.bin`` (uint32), ``data.bin`` (float32; not there when every
value is 1) and ``header.json``, written last: without it the folder is no store.
"""

import hashlib
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from screenwise.data.mapped import asked_rows, map_array
from screenwise.errors import DataError
from screenwise.run import read_json, write_json
from screenwise.train.sparse_kernels import LINE, ask_for

HEADER = "header.json"
FORMAT = "screenwise rows 1"
MOST_COLUMNS = 1 << 32
PIECE = 1 << 24
"""Entries read or written at a time."""
AHEAD = 8
"""Rows that a read asks for in advance: they lie anywhere."""
TYPES: dict[str, np.dtype[Any]] = {"indptr": np.dtype("<i8"), "indices": np.dtype("<u4"), "data": np.dtype("<f4")}


@dataclass(frozen=True)
class Header:
    """What a folder of rows holds."""

    rows: int
    columns: int
    entries: int
    ones: bool
    """Whether every value is 1, and none is stored."""
    digest: str
    """Names the content."""
    format: str = FORMAT


@dataclass(frozen=True, eq=False, repr=False)
class MappedRows:
    """Rows (n) by columns (d) on disk; `write_rows` makes them, `MappedRows.open` opens them.

    Rows are asked for as of a `csr_array`, whose place it can take in training: ``rows[[5, 2]]``.

    Examples
    --------
    >>> import tempfile
    >>> table = csr_array(np.array([[0, 1.0, 1], [1, 0, 0], [0, 1, 0]]))
    >>> rows = write_rows(Path(tempfile.mkdtemp()) / "x", [table])
    >>> rows[[2, 0]].toarray().tolist()
    [[0.0, 1.0, 0.0], [0.0, 1.0, 1.0]]
    >>> rows.keep(rows.frequent_columns(2))[[0]].toarray().tolist()
    [[1.0]]
    """

    folder: Path
    header: Header
    indptr: NDArray[np.int64]
    """(n + 1,) where each row begins."""
    indices: NDArray[np.uint32]
    """(m,) column of each entry, as stored."""
    values: NDArray[np.float32]
    """(m,) value of each entry; empty when all are 1."""
    kept: NDArray[np.int64] | None = None
    """(k,) stored columns that are the columns of this view, ascending; None = all."""
    place: NDArray[np.int32] | None = None
    """(d,) column of this view of each stored one, -1 = left out."""

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a folder; files that are not as long as its header says are refused."""
        folder = Path(folder)
        path = folder / HEADER
        if not path.exists():
            message = f"{folder} holds no rows, or writing them did not end: it has no {HEADER}. Write them again."
            raise DataError(message)
        found = read_json(path)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            message = f"{path} is not the header of sparse rows ({FORMAT}). Write them again."
            raise DataError(message)
        header = Header(**found)
        lengths = {"indptr": header.rows + 1, "indices": header.entries, "data": 0 if header.ones else header.entries}
        return cls(folder, header, *(_mapped(folder, name, length) for name, length in lengths.items()))

    def __len__(self) -> int:
        return self.header.rows

    def __repr__(self) -> str:
        rows, columns = self.shape
        return f"MappedRows({str(self.folder)!r}, {rows:,} rows x {columns:,} columns)"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns of this view."""
        return self.header.rows, self.header.columns if self.kept is None else len(self.kept)

    @property
    def data(self) -> NDArray[np.float32]:
        """(m,) value of each stored entry, not to be written to."""
        return np.broadcast_to(np.float32(1), (self.header.entries,)) if self.header.ones else self.values

    def __getitem__(self, rows: ArrayLike) -> csr_array:
        """Return some rows, float32, in the order asked for, repeats allowed; or those where (n,) booleans are true."""
        asked = asked_rows(rows, len(self))
        place = np.empty(0, np.int32) if self.place is None else self.place
        most = int(np.maximum(self.indptr[asked + 1] - self.indptr[asked], 0).sum())
        starts, columns, values = (
            np.zeros(len(asked) + 1, np.int64),
            np.empty(most, np.int32),
            np.ones(most, np.float32),
        )
        stored = self.indptr, self.indices, self.values
        if not _take(stored, asked, place, self.header.columns, (starts, columns, values)):
            message = f"{self.folder} is damaged: its pointers or columns lead outside. Write the rows again."
            raise DataError(message)
        end = starts[-1]
        return csr_array((values[:end], columns[:end], starts), shape=(len(asked), self.shape[1]))

    def count_columns(self) -> NDArray[np.int64]:
        """Return (d,) how many rows have an entry in each stored column, read piece by piece."""
        found = np.zeros(self.header.columns, np.int64)
        for first in range(0, self.header.entries, PIECE):
            piece = self.indices[first : first + PIECE]
            if len(piece) and int(piece.max()) >= self.header.columns:
                message = f"{self.folder} is damaged: it names column {int(piece.max())}. Write the rows again."
                raise DataError(message)
            _count(piece, found)
        return found

    def frequent_columns(self, minimum_count: int) -> NDArray[np.int64]:
        """Return the columns that at least `minimum_count` rows have, ascending: a vocabulary for `keep`.

        A column that one training row has cannot help another row, and half of all substructures are such.
        """
        return np.flatnonzero(self.count_columns() >= minimum_count)

    def keep(self, columns: ArrayLike) -> Self:
        """Return a view with some of the stored columns, in ascending order, as 0, 1, 2, ...; nothing is copied."""
        kept = np.unique(np.asarray(columns, np.int64))
        if len(kept) and (kept[0] < 0 or kept[-1] >= self.header.columns):
            message = f"Columns are 0 to {self.header.columns - 1}; {kept[0]} to {kept[-1]} were asked for."
            raise DataError(message)
        place = np.full(self.header.columns, -1, np.int32)
        place[kept] = np.arange(len(kept), dtype=np.int32)
        return replace(self, kept=kept, place=place)

    def digest(self) -> str:
        """Return a name of the content, without reading it: the one it was given when it was written."""
        view = b"" if self.kept is None else self.kept.tobytes()
        return hashlib.blake2b(self.header.digest.encode() + view, digest_size=16).hexdigest()


def write_rows(folder: Path, blocks: Iterable[csr_array], columns: int | None = None) -> MappedRows:
    """Write rows to a folder, block by block, and open it.

    Parameters
    ----------
    folder
        Where the files go; one with rows already is refused.
    blocks
        Consecutive rows as CSR matrices, of equal width, no column twice in a row.
    columns
        Width of the matrix; None = that of the first block.

    Raises
    ------
    DataError
        Blocks of different width, or wider than 2^32 columns.
    """
    folder = Path(folder)
    if (folder / HEADER).exists():
        message = f"{folder} holds rows already. Choose another folder, or delete it."
        raise DataError(message)
    folder.mkdir(parents=True, exist_ok=True)
    names = {name: hashlib.blake2b(digest_size=16) for name in TYPES}
    rows = entries = 0
    ones = True
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / f"{name}.bin").open("wb")) for name in TYPES}
        files["indptr"].write(np.zeros(1, TYPES["indptr"]).data)
        for block in blocks:
            columns = _same_width(block, columns)
            arrays = {
                "indptr": entries + block.indptr[1:].astype(np.int64),
                "indices": block.indices,
                "data": block.data,
            }
            if ones and not (block.data == 1).all():
                ones = False
                for first in range(0, entries, PIECE):
                    files["data"].write(np.ones(min(PIECE, entries - first), TYPES["data"]).data)
            for name, array in arrays.items():
                plain = np.ascontiguousarray(array, TYPES[name])
                names[name].update(plain.data)
                if name != "data" or not ones:
                    files[name].write(plain.data)
            rows, entries = rows + block.shape[0], entries + len(block.indices)
    if ones:
        (folder / "data.bin").unlink()
    digest = "".join(one.hexdigest() for one in names.values())
    write_json(folder / HEADER, asdict(Header(rows, columns or 0, entries, ones, digest)))
    return MappedRows.open(folder)


def _same_width(block: csr_array, columns: int | None) -> int:
    width = int(block.shape[1])
    if width != (width if columns is None else columns) or width > MOST_COLUMNS:
        message = f"A block of rows has {width} columns; {columns} were expected, and 2^32 is the most."
        raise DataError(message)
    return width


def _mapped(folder: Path, name: str, length: int) -> NDArray[Any]:
    if not length:
        return np.empty(0, TYPES[name])
    path, size = folder / f"{name}.bin", length * TYPES[name].itemsize
    found = path.stat().st_size if path.exists() else None
    if found != size:
        held = "is missing" if found is None else f"has {found:,} bytes instead of {size:,}"
        message = f"{folder} holds no whole rows: {path.name} {held}. Write them again."
        raise DataError(message)
    return map_array(path, TYPES[name], length)


@njit(cache=True, nogil=True)
def _take(stored: Any, rows: Any, place: Any, width: int, out: Any) -> bool:  # pragma: no cover
    indptr, indices, data = stored
    starts, columns, values = out
    target = 0
    for row in range(len(rows)):
        if row + 2 * AHEAD < len(rows):
            ask_for(indptr, rows[row + 2 * AHEAD])
        if row + AHEAD < len(rows):
            first, last = indptr[rows[row + AHEAD]], indptr[rows[row + AHEAD] + 1]
            for entry in range(max(first, 0), min(last, len(indices)), LINE):
                ask_for(indices, entry)
        first, last = indptr[rows[row]], indptr[rows[row] + 1]
        if first < 0 or last < first or last > len(indices):
            return False
        for entry in range(first, last):
            column = np.int64(indices[entry])
            if column >= width:
                return False
            if len(place):
                column = np.int64(place[column])
            if column >= 0:
                columns[target] = column
                if len(data):
                    values[target] = data[entry]
                target += 1
        starts[row + 1] = target
    return True


@njit(cache=True, nogil=True)
def _count(columns: Any, found: Any) -> None:  # pragma: no cover
    for entry in range(len(columns)):
        found[columns[entry]] += 1
