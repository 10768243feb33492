"""The cells of an h5ad file, block by block: no more than one block is in memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from screenwise.errors import ColumnError, DataError

BLOCK_ENTRIES = 1 << 22
"""Values held at a time; about 50 MB while they are turned into a block."""
BLOCK_ROWS = 1 << 16
CSC_BLOCKS = 4
"""A file stored by gene is read once per block of cells, so its blocks are larger."""
CELL_ID = "cell_id"
"""Column that the index of obs becomes."""


@dataclass(frozen=True)
class CellFile:
    """An open h5ad file; made by `open_h5ad`."""

    path: Path
    genes: list[str]
    """(p,) in the file's order."""
    shape: tuple[int, int]
    """Cells, genes."""
    file: Any
    var: Any
    """Group with the columns of the genes."""
    matrix: Any
    """Group (sparse) or dataset (dense)."""
    kind: str
    """csr, csc or dense."""

    def blocks(self) -> Iterator[tuple[int, csr_array]]:
        """Give (first row, block) from the first to the last cell; values as in the file."""
        read = {"csr": self._csr, "csc": self._csc, "dense": self._dense}[self.kind]
        with told(self.path):
            yield from read()

    def obs_columns(self) -> list[str]:
        """Return the names of the columns of obs; its index is `CELL_ID`, unless a column has that name."""
        with told(self.path):
            found = [str(name) for name in self.file["obs"].attrs.get("column-order", ())]
        return found if CELL_ID in found else [CELL_ID, *found]

    def obs_tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Give columns of obs in runs of rows; categories as their values."""
        held = [self._column(name) for name in columns]
        for first in range(0, self.shape[0], BLOCK_ROWS):
            last = min(first + BLOCK_ROWS, self.shape[0])
            with told(self.path):
                arrays = [_values(element, first, last) for element in held]
            yield pa.table(dict(zip(columns, arrays, strict=True)))

    def var_table(self) -> pa.Table:
        """Return (p,) the genes as column "gene", and the columns of var that are text, numbers or categories."""
        columns = {"gene": pa.array(self.genes, pa.string())}
        with told(self.path):
            for name in map(str, self.var.attrs.get("column-order", ())):
                if name not in columns and name in self.var and _length(self.var[name]) == len(self.genes):
                    columns[name] = _values(self.var[name], 0, None)
        return pa.table(columns)

    def _column(self, name: str) -> Any:
        with told(self.path):
            obs = self.file["obs"]
            inside = name if name in obs else obs.attrs["_index"] if name == CELL_ID else None
            if inside is None:
                message = f"{self.path} has no obs column {name!r}; its columns are {', '.join(self.obs_columns())}."
                raise ColumnError(message)
            held = _length(obs[inside])
            if held is None:
                message = (
                    f"{self.path}: obs column {name!r} is encoded as {dict(obs[inside].attrs)}, which is not read; "
                )
                raise ColumnError(message + "name the columns that you need.")
            if held != self.shape[0]:
                raise damaged(self.path, f"obs column {name!r} has {held} values, the matrix {self.shape[0]} cells")
            return obs[inside]

    def _csr(self) -> Iterator[tuple[int, csr_array]]:
        indptr, indices, data = (self.matrix[name] for name in ("indptr", "indices", "data"))
        first = 0
        while first < self.shape[0]:
            ends = indptr[first : first + BLOCK_ROWS + 1].astype(np.int64)
            if (np.diff(ends) < 0).any() or ends[0] < 0 or ends[-1] > len(data):
                raise damaged(self.path, f"row pointers near cell {first} do not rise within {len(data)} values")
            held = max(int(np.searchsorted(ends, ends[0] + BLOCK_ENTRIES, side="right")) - 1, 1)
            low, high = int(ends[0]), int(ends[held])
            genes = indices[low:high]
            self._inside(genes, self.shape[1])
            yield (
                first,
                csr_array((_numbers(data[low:high]), genes, ends[: held + 1] - low), shape=(held, self.shape[1])),
            )
            first += held

    def _csc(self) -> Iterator[tuple[int, csr_array]]:
        ends, cells = self.matrix["indptr"][:].astype(np.int64), self.matrix["indices"]
        if (np.diff(ends) < 0).any() or ends[0] != 0 or ends[-1] != len(cells):
            raise damaged(self.path, f"gene pointers do not rise from 0 to {len(cells)}")
        filled = np.zeros(self.shape[0] + 1, np.int64)
        for low in range(0, len(cells), BLOCK_ENTRIES):
            found = cells[low : low + BLOCK_ENTRIES]
            self._inside(found, self.shape[0])
            filled[1:] += np.bincount(found, minlength=self.shape[0])
        np.cumsum(filled, out=filled)
        first = 0
        while first < self.shape[0]:
            wanted = filled[first] + CSC_BLOCKS * BLOCK_ENTRIES
            last = max(int(np.searchsorted(filled, wanted, side="right")) - 1, first + 1)
            yield first, self._rows_of_csc(ends, first, last)
            first = last

    def _rows_of_csc(self, ends: NDArray[np.int64], first: int, last: int) -> csr_array:
        rows, columns, values = [], [], []
        cells, data = self.matrix["indices"], self.matrix["data"]
        for low in range(0, len(cells), BLOCK_ENTRIES):
            found = cells[low : low + BLOCK_ENTRIES]
            inside = np.flatnonzero((found >= first) & (found < last))
            if len(inside):
                rows.append((found[inside] - first).astype(np.int32))
                columns.append((np.searchsorted(ends, inside + low, side="right") - 1).astype(np.int32))
                values.append(_numbers(data[low : low + BLOCK_ENTRIES][inside]))
        shape = (last - first, self.shape[1])
        if not rows:
            return csr_array(shape, dtype=data.dtype)
        return coo_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape).tocsr()

    def _dense(self) -> Iterator[tuple[int, csr_array]]:
        held = min(max(BLOCK_ENTRIES // self.shape[1], 1), BLOCK_ROWS)
        for first in range(0, self.shape[0], held):
            yield first, csr_array(_numbers(self.matrix[first : first + held]))

    def _inside(self, found: NDArray[Any], limit: int) -> None:
        if len(found) and (found.min() < 0 or found.max() >= limit):
            raise damaged(self.path, f"an index of the matrix is outside 0 to {limit - 1}")


@contextmanager
def open_h5ad(path: Path, *, layer: str | None = None) -> Iterator[CellFile]:
    """Open the cells of an h5ad file.

    Parameters
    ----------
    path
        File written by anndata >= 0.7.
    layer
        Name of a layer; "raw" = ``raw.X`` with its own genes; None = ``X``.

    Raises
    ------
    DataError
        The file is empty, cut short or damaged, has no such matrix, a gene twice, or values that are no numbers.
    """
    import h5py  # noqa: PLC0415

    path = Path(path)
    if not path.is_file():
        message = f"{path} does not exist, or is no file; give the name of an h5ad file."
        raise DataError(message)
    if path.stat().st_size == 0:
        message = f"{path} is empty (0 bytes); fetch or export it again."
        raise DataError(message)
    with told(path):
        file = h5py.File(path, "r")
    try:
        with told(path):
            found = _describe(path, file, layer)
        yield found
    finally:
        file.close()


def _describe(path: Path, file: Any, layer: str | None) -> CellFile:
    where = "X" if layer is None else "raw/X" if layer == "raw" else f"layers/{layer}"
    if where not in file:
        layers = ", ".join([*file.get("layers", {}), *(["raw"] if "raw/X" in file else [])]) or "none"
        message = f"{path} has no matrix {where!r}; its layers are: {layers}."
        raise DataError(message)
    var = file["raw/var" if layer == "raw" else "var"]
    if not all(hasattr(table, "keys") and "_index" in table.attrs for table in (var, file["obs"])):
        message = f"{path} is in the format of anndata < 0.7; read it with anndata and write it again."
        raise DataError(message)
    matrix = file[where]
    dense = not hasattr(matrix, "keys")
    kind = "dense" if dense else str(matrix.attrs.get("encoding-type", matrix.attrs.get("h5sparse_format", "")))[:3]
    if kind not in ("csr", "csc") and not dense:
        message = f"{path}: {where} is stored as {kind!r}; csr, csc and dense matrices are read."
        raise DataError(message)
    shape = matrix.shape if dense else matrix.attrs.get("shape", matrix.attrs.get("h5sparse_shape"))
    values = matrix if dense else matrix["data"]
    if values.dtype.kind not in "biuf":
        message = f"{path}: {where} holds values of type {values.dtype}; it must hold numbers."
        raise DataError(message)
    genes = _values(var[var.attrs["_index"]], 0, None).cast(pa.string()).to_pylist()
    cells = CellFile(path, genes, (int(shape[0]), int(shape[1])), file, var, matrix, kind)
    _check_sizes(cells, where)
    return cells


def _check_sizes(cells: CellFile, where: str) -> None:
    rows, columns = cells.shape
    if not rows or not columns:
        message = f"{cells.path}: {where} has {rows} cells and {columns} genes; there is nothing to read."
        raise DataError(message)
    if len(cells.genes) != columns:
        raise damaged(cells.path, f"{where} has {columns} columns, var names {len(cells.genes)} genes")
    check_genes(cells.genes, str(cells.path))
    if cells.kind != "dense":
        held = [len(cells.matrix[name]) for name in ("indptr", "indices", "data")]
        if held[0] != (rows if cells.kind == "csr" else columns) + 1 or held[1] != held[2]:
            raise damaged(cells.path, f"{where} has {held[0]} pointers, {held[1]} indices and {held[2]} values")


def _numbers(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.float32) if values.dtype == np.float16 else values  # SciPy has no sparse float16


def check_genes(genes: Sequence[str], where: str) -> None:
    """Refuse genes that stand twice: a column of numbers would have no one name."""
    values, counts = np.unique(np.asarray(genes, dtype=str), return_counts=True)
    doubled = values[counts > 1]
    if len(doubled):
        message = (
            f"{where}: {len(doubled)} genes stand more than once, such as {', '.join(doubled[:5])}. "
            "Make the names unique (anndata: var_names_make_unique) or use gene ids."
        )
        raise DataError(message)


def _length(element: Any) -> int | None:
    """Return the number of values of an encoded column; None = in an encoding that is not read."""
    if hasattr(element, "keys"):
        name = next((name for name in ("codes", "values") if name in element), None)
        return None if name is None else len(element[name])
    return len(element) if element.ndim == 1 and element.dtype.kind in "biufOS" else None


def _values(element: Any, first: int, last: int | None) -> pa.Array:
    """Return rows of an encoded column; text where text is categorised, null where nothing is known."""
    if hasattr(element, "keys"):
        if "codes" in element:
            codes = element["codes"][first:last]
            known = _values(element["categories"], 0, None)
            return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), known).cast(known.type)
        mask = element["mask"][first:last].astype(bool)
        return pa.array(_plain(element["values"], first, last), mask=mask)
    return pa.array(_plain(element, first, last))


def _plain(dataset: Any, first: int, last: int | None) -> NDArray[Any]:
    return dataset.asstr()[first:last] if dataset.dtype.kind in "OS" else dataset[first:last]


def damaged(path: Path, what: str) -> DataError:
    """Return the error of a file that contradicts itself."""
    return DataError(f"{path} is damaged: {what}. Fetch or export it again.")


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what HDF5 says of a broken file into an error that names it."""
    try:
        yield
    except (OSError, KeyError, RuntimeError) as error:
        reason = str(error).strip("'\"")
        message = f"{path} cannot be read as h5ad: {reason}. If it was cut short, fetch or export it again."
        raise DataError(message) from error
