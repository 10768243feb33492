"""Cells as memory-mapped sparse rows on disk: random batches at memory speed, of any number of cells.

A folder holds ``indptr.bin``, ``indices.bin`` and ``data-*.bin`` (the three arrays of a CSR matrix, little-endian),
``genes.parquet``, one ``obs-*.parquet`` per part that was added, and ``header.json``, written last: what the header
does not count is not there. Stores are made by `screenwise.data.cellstore_convert`.
"""

import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numba import njit
from numpy.typing import ArrayLike, NDArray
from pyarrow import parquet
from scipy.sparse import csr_array

from screenwise.data.cell_order import Groups, Order, weigh
from screenwise.data.mapped import asked_rows, map_array
from screenwise.errors import ColumnError, DataError
from screenwise.run import read_json

HEADER = "header.json"
GENES = "genes.parquet"
FORMAT = "screenwise cells 1"
PLANNED_ROWS = 8192
"""Cells whose rows are found in one go; few enough that a resumed pass begins at once."""
CHECKED_BYTES = 1 << 22


@dataclass(frozen=True)
class Header:
    """What a store holds; everything beyond is the rest of a write that did not end."""

    rows: int
    genes: int
    entries: int
    """Stored values."""
    counts: bool
    """True: whole numbers >= 0; False: measured on another scale."""
    data: str
    """Type of the values: uint16 or float32."""
    obs: tuple[str, ...]
    """Parquet files with the columns of the cells, one per part, in order."""
    size: dict[str, int]
    """File -> bytes."""
    crc32: dict[str, int]
    """File -> checksum of those bytes."""
    format: str = FORMAT

    @property
    def indices(self) -> np.dtype:
        """The smallest type that holds the number of every gene."""
        return np.min_scalar_type(self.genes - 1).newbyteorder("<")

    @property
    def data_file(self) -> str:
        """Name of the file with the values."""
        return f"data-{self.data}.bin"

    def record(self) -> dict[str, Any]:
        """Return the header as it is written."""
        return asdict(self)


class CellBatch(NamedTuple):
    """One batch of a pass; ask for ``start=batch.position + 1`` to go on after it."""

    position: int
    """Batches of this rank before it, over all passes."""
    rows: NDArray[np.int64]
    """(b,) rows of the store."""
    matrix: Any
    """(b, p) float32, dense or `csr_array`."""


@dataclass(frozen=True, eq=False, repr=False)
class CellStore:
    """Cells (n) by genes (p) on disk; open it with `CellStore.open`.

    Examples
    --------
    >>> import tempfile
    >>> from screenwise.data.cellstore_convert import from_matrix
    >>> store = from_matrix(Path(tempfile.mkdtemp()) / "cells", [[0, 3], [1, 0], [0, 2]], genes=["KLF1", "CEBPA"])
    >>> store.shape, store.rows([2, 0]).tolist()
    ((3, 2), [[0.0, 2.0], [0.0, 3.0]])
    >>> [batch.rows.tolist() for batch in store.batches(2, Order("sequential"))]
    [[0, 1], [2]]
    """

    folder: Path
    header: Header
    indptr: NDArray[np.int64]
    """(n + 1,) where each cell's values begin."""
    indices: NDArray[Any]
    """(entries,) gene of each value."""
    data: NDArray[Any]
    """(entries,) uint16 or float32."""

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a store; files shorter than the header says are refused (`verify` reads all bytes)."""
        folder = Path(folder)
        header = read_header(folder)
        for name, size in header.size.items():
            path = folder / name
            found = path.stat().st_size if path.exists() else None
            if found is None or found < size:
                held = "is missing" if found is None else f"has {found:,} bytes of {size:,}"
                message = f"{folder} is no whole cell store: {name} {held}. Convert the cells again."
                raise DataError(message)
        return cls(
            folder,
            header,
            map_array(folder / "indptr.bin", np.dtype("<i8"), header.rows + 1),
            map_array(folder / "indices.bin", header.indices, header.entries),
            map_array(folder / header.data_file, np.dtype(header.data).newbyteorder("<"), header.entries),
        )

    def __len__(self) -> int:
        return self.header.rows

    def __repr__(self) -> str:
        cells, genes = self.shape
        return f"CellStore({str(self.folder)!r}, {cells:,} cells x {genes:,} genes, {self.header.entries:,} values)"

    @property
    def shape(self) -> tuple[int, int]:
        """Cells, genes."""
        return self.header.rows, self.header.genes

    @property
    def counts(self) -> bool:
        """Whether the values are counts."""
        return self.header.counts

    @property
    def var(self) -> pd.DataFrame:
        """(p,) columns of the genes, by name."""
        return parquet.read_table(self.folder / GENES).to_pandas().set_index("gene")

    @property
    def genes(self) -> list[str]:
        """(p,) names of the genes."""
        names = parquet.read_table(self.folder / GENES, columns=["gene"]).column("gene").to_pylist()
        return [str(name) for name in names]

    def obs(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return (n,) columns of the cells (None = all); text comes as categories.

        Raises
        ------
        ColumnError
            A column is not there.
        """
        schema = parquet.read_schema(self.folder / self.header.obs[0])
        missing = [name for name in columns or () if name not in schema.names]
        if missing:
            message = f"{self.folder} has no obs column {missing[0]!r}; its columns are {', '.join(schema.names)}."
            raise ColumnError(message)
        wanted = schema.names if columns is None else list(columns)
        text = [name for name in wanted if pa.types.is_string(schema.field(name).type)]
        tables = [
            parquet.read_table(self.folder / name, columns=wanted, read_dictionary=text) for name in self.header.obs
        ]
        if not wanted:
            return pd.DataFrame(index=pd.RangeIndex(len(self)))
        return pa.concat_tables(tables).unify_dictionaries().to_pandas()

    def rows(self, rows: ArrayLike, *, dense: bool = True) -> Any:
        """Return (b, p) float32 values of some cells, in the order asked for.

        Parameters
        ----------
        rows
            (b,) numbers of rows, repeats allowed; or (n,) true for those wanted.
        dense
            True = an array; False = a `csr_array`.

        Raises
        ------
        DataError
            A row that is not there, or a store whose arrays contradict each other.
        """
        return self._gather(asked_rows(rows, len(self)), dense=dense)

    def batches(
        self,
        size: int,
        order: Order | None = None,
        *,
        start: int = 0,
        epochs: int | None = 1,
        dense: bool = True,
        workers: int = 0,
    ) -> Iterator[CellBatch]:
        """Give the cells in batches of `size`; see `Order` for which, when and on which rank.

        Parameters
        ----------
        size
            Cells of a batch on this rank; the last of a pass may be smaller, even empty where there are more
            ranks than cells left (``Order(drop_last=True)`` leaves it out).
        order
            None = random, seed 0.
        start
            Position to go on from: the batches before it are skipped at no cost.
        epochs
            Passes over the cells, counted from position 0; None = without end.
        dense
            True = arrays; False = `csr_array`.
        workers
            Threads that prepare batches ahead, two each; 0 = prepared when asked for.
        """
        order = order or Order()
        if size < 1 or start < 0 or workers < 0:
            message = f"size = {size}, start = {start}, workers = {workers}: use >= 1, >= 0, >= 0."
            raise DataError(message)
        plan = self._plan(size, order, start, epochs)
        if not workers:
            return (CellBatch(position, rows, self._gather(rows, dense=dense)) for position, rows in plan)
        return self._ahead(plan, workers, dense=dense)

    def _plan(self, size: int, order: Order, start: int, epochs: int | None) -> Iterator[tuple[int, NDArray[np.int64]]]:
        steps = order.steps(len(self), size)
        groups = self._groups(order)
        epoch, step = divmod(start, max(steps, 1))
        while steps and (epochs is None or epoch < epochs):
            upto = min(step + max(PLANNED_ROWS // size, 1), steps)
            shares = [order.share(len(self), size, each) for each in range(step, upto)]
            positions = np.concatenate([np.arange(*share, dtype=np.int64) for share in shares])
            if groups is None:
                rows = order.rows_at(positions, len(self), epoch)
            else:
                rows = groups.draw(positions, order.key(epoch))
            ends = np.cumsum([last - first for first, last in shares])[:-1]
            for each, own in zip(range(step, upto), np.split(rows, ends), strict=True):
                yield epoch * steps + each, own
            epoch, step = (epoch + 1, 0) if upto == steps else (epoch, upto)

    def _groups(self, order: Order) -> Groups | None:
        if order.column is None:
            return None
        codes, names = pd.factorize(self.obs([order.column])[order.column], sort=True)
        return weigh(codes, [str(name) for name in names], order.weights)

    def _ahead(
        self, plan: Iterator[tuple[int, NDArray[np.int64]]], workers: int, *, dense: bool
    ) -> Iterator[CellBatch]:
        def prepare(one: tuple[int, NDArray[np.int64]]) -> CellBatch:
            return CellBatch(one[0], one[1], self._gather(one[1], dense=dense))

        pool = ThreadPoolExecutor(workers)
        try:
            waiting = deque(pool.submit(prepare, one) for one in islice(plan, 2 * workers))
            while waiting:
                done = waiting.popleft().result()
                waiting.extend(pool.submit(prepare, one) for one in islice(plan, 1))
                yield done
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def verify(self) -> None:
        """Read the whole store and compare it with its checksums.

        Raises
        ------
        DataError
            A file was changed or damaged after it was written.
        """
        for name, size in self.header.size.items():
            if checksum(self.folder / name, size) != self.header.crc32[name]:
                message = f"{self.folder}: {name} was changed or damaged after it was written. Convert the cells again."
                raise DataError(message)

    def _gather(self, rows: NDArray[np.int64], *, dense: bool) -> Any:
        arrays = self.indptr, self.indices, self.data
        if dense:
            matrix = np.zeros((len(rows), self.header.genes), np.float32)
            sound = _spread(*arrays, rows, matrix)
        else:
            ends = np.zeros(len(rows) + 1, np.int64)
            np.cumsum(np.maximum(self.indptr[rows + 1] - self.indptr[rows], 0), out=ends[1:])
            genes, values = np.empty(ends[-1], np.int32), np.empty(ends[-1], np.float32)
            sound = _copy(*arrays, rows, (ends, genes, values), self.header.genes)
            matrix = csr_array((values, genes, ends), shape=(len(rows), self.header.genes))
        if not sound:
            message = f"{self.folder} is damaged: its pointers or indices lead outside. Convert the cells again."
            raise DataError(message)
        return matrix


@njit(cache=True, nogil=True)
def _spread(indptr: Any, indices: Any, data: Any, rows: Any, out: Any) -> bool:  # pragma: no cover
    for place in range(len(rows)):
        first, last = indptr[rows[place]], indptr[rows[place] + 1]
        if first < 0 or last < first or last > len(indices):
            return False
        for entry in range(first, last):
            gene = indices[entry]
            if gene >= out.shape[1]:
                return False
            out[place, gene] = data[entry]
    return True


@njit(cache=True, nogil=True)
def _copy(indptr: Any, indices: Any, data: Any, rows: Any, out: Any, width: int) -> bool:  # pragma: no cover
    ends, genes, values = out
    for place in range(len(rows)):
        first, last = indptr[rows[place]], indptr[rows[place] + 1]
        if first < 0 or last < first or last > len(indices):
            return False
        shift = ends[place] - first
        for entry in range(first, last):
            if indices[entry] >= width:
                return False
            genes[shift + entry] = indices[entry]
            values[shift + entry] = data[entry]
    return True


def read_header(folder: Path) -> Header:
    """Read what a store holds; a folder without a whole header is refused."""
    path = Path(folder) / HEADER
    if not path.exists():
        message = f"{folder} is no cell store, or its conversion did not end: it has no {HEADER}. Convert the cells."
        raise DataError(message)
    found = read_json(path)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        message = f"{path} is not the header of a cell store ({FORMAT}). Convert the cells again."
        raise DataError(message)
    try:
        return Header(**found | {"obs": tuple(found["obs"])})
    except (TypeError, KeyError) as error:
        message = f"{path} is not the header of a cell store: {error}. Convert the cells again."
        raise DataError(message) from error


def checksum(path: Path, size: int) -> int:
    """Return the CRC-32 of the first `size` bytes of a file; -1 if it is shorter."""
    found, left = 0, size
    with path.open("rb") as stream:
        while left and (piece := stream.read(min(left, CHECKED_BYTES))):
            found, left = zlib.crc32(piece, found), left - len(piece)
    return -1 if left else found
