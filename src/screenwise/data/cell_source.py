"""Cells in an AnnData object or an h5ad file, read in blocks of rows: X is never loaded whole."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from screenwise.errors import ColumnError, DataError

if TYPE_CHECKING:
    from anndata import AnnData

BLOCK = 4_000_000
"""Entries of X held at a time."""
LARGEST_BY_COLUMN = 50_000_000
"""Entries of an X stored by columns (CSC) that are turned round in memory."""
SYMBOLS = ("gene_symbols", "gene_symbol", "gene_name", "gene_names", "feature_name", "symbol")
"""Columns of var where gene symbols stand when the names of var are other ids."""


@dataclass(frozen=True)
class CellColumns:
    """Where the cells' labels, batches and counts stand."""

    condition: str = "condition"
    """Column of obs with the label of each cell, such as KLF1+MAP2K6."""
    control: str = "ctrl"
    """Label of control cells."""
    batch: str | None = None
    """Column of obs whose groups each have controls of their own: a plate, a lane, a cell line."""
    layer: str | None = None
    """Layer to read; X when None."""
    separator: str | None = None
    """Text between the names of a label; found out when None."""
    counts: bool | None = None
    """True: counts, to be normalised; False: log1p values, taken as they are; None: found out."""
    covariate: str | None = None
    """COLUMN=VALUE: only cells with this value of a column of obs, such as cell_type=A172."""
    total: str | None = None
    """Column of obs with a cell's count over all genes; found by its usual names when None, "" = none."""


@dataclass
class Factor:
    """A column of obs whose levels are numbered as they are met."""

    read: Callable[[int, int], Any]
    """``read(start, stop)``: integer codes where `fixed`, else the values."""
    levels: list[str] = field(default_factory=list)
    """Text of each number."""
    fixed: bool = False
    """Whether the file numbers its levels itself."""

    def codes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return (stop - start,) numbers of levels; -1 = missing."""
        block = self.read(start, stop)
        if self.fixed:
            return np.asarray(block, np.int64)
        codes, values = pd.factorize(np.asarray(block, object))
        known = {level: place for place, level in enumerate(self.levels)}
        places = np.full(len(values) + 1, -1, np.int64)
        for place, value in enumerate(values):
            text = _level(value)
            if text not in known:
                known[text] = len(self.levels)
                self.levels.append(text)
            places[place] = known[text]
        return places[codes]


def _level(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    # 1.0 and 1 are one level: a missing value elsewhere makes a column of whole numbers one of floats
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


@dataclass(frozen=True)
class CellSource:
    """An open set of cells."""

    name: str
    """What messages call it."""
    shape: tuple[int, int]
    """Cells, features."""
    features: list[str]
    """Names of var."""
    symbols: list[str] | None
    """Gene symbols, where they stand in a column of var."""
    columns: list[str]
    """Columns of obs."""
    factor: Callable[[str], Factor]
    """The levels of a column of obs."""
    numbers: Callable[[str, int, int], NDArray[Any]]
    """``numbers(column, start, stop)`` of obs."""
    cell_name: Callable[[int], str]
    rows: Callable[[int, int], csr_array]
    """Rows start to stop of X or the layer."""
    entries: float
    """Mean number of entries of a row, for the size of blocks."""

    def blocks(self, most: int | None = None) -> Iterator[tuple[int, csr_array]]:
        """Yield (first row, rows) of all cells in order, about `BLOCK` entries and at most `most` rows each."""
        n, p = self.shape
        step = int(np.clip(BLOCK / max(self.entries, 1.0), 1, 65_536))
        step = min(step, most or step)
        for start in range(0, n, step):
            rows = self.rows(start, min(start + step, n))
            if len(rows.indices) and (rows.indices.min() < 0 or rows.indices.max() >= p):
                message = f"{self.name}: X names columns beyond its {p} features; the file is damaged, fetch it again."
                raise DataError(message)
            yield start, rows

    def need(self, column: str, what: str) -> None:
        """Raise where a column of obs is absent."""
        if column not in self.columns:
            found = ", ".join(self.columns[:30]) or "none"
            message = f"{self.name} has no column {column!r} in obs ({what}); its columns are {found}."
            raise ColumnError(message)


@contextmanager
def open_cells(source: "AnnData | Path | str", layer: str | None = None) -> Iterator[CellSource]:
    """Open an AnnData object (in memory or backed) or an h5ad file; a damaged file is a `DataError`.

    Examples
    --------
    >>> from anndata import AnnData
    >>> cells = AnnData(np.eye(3, dtype=np.float32), obs=pd.DataFrame({"batch": list("aba")}, index=list("xyz")))
    >>> with open_cells(cells) as source:
    ...     source.shape, source.factor("batch").codes(0, 3).tolist()
    ((3, 3), [0, 1, 0])
    """
    path = _path_of(source)
    if path is None:
        yield _of_object(source, layer)
        return
    import h5py  # noqa: PLC0415

    if not path.is_file():
        message = f"{path} is a directory; give an h5ad file." if path.is_dir() else f"{path} does not exist."
        raise DataError(message)
    try:
        with h5py.File(path, "r") as file:
            try:
                opened = _of_file(file, path, layer)
            except (KeyError, AttributeError, TypeError) as error:
                message = f"{path} is HDF5 but not a whole h5ad file ({error}); write it again."
                raise DataError(message) from error
            yield opened
    except OSError as error:  # h5py's error for a file cut short, also while rows are read
        damage = "is cut short" if "truncated" in str(error) else "cannot be read as h5ad"
        message = f"{path} {damage} ({error}); fetch or write it again."
        raise DataError(message) from error


def _path_of(source: Any) -> Path | None:
    """Return the file of a path or a backed object; None for cells in memory."""
    if isinstance(source, str | Path):
        return Path(source)
    if not hasattr(source, "obs") or not hasattr(source, "var_names"):
        message = f"Cells are an AnnData object or the path of an h5ad file, not {type(source).__name__}."
        raise DataError(message)
    if not getattr(source, "isbacked", False):
        return None
    if source.is_view:
        message = "A view of a backed AnnData object cannot be streamed; give the whole object, or view.to_memory()."
        raise DataError(message)
    return Path(source.filename)


def _of_object(adata: Any, layer: str | None) -> CellSource:
    if layer is not None and layer not in adata.layers:
        raise ColumnError(_no_layer("The AnnData object", layer, list(adata.layers)))
    matrix = adata.X if layer is None else adata.layers[layer]
    if matrix is None:
        message = "The AnnData object has no X; name a layer."
        raise DataError(message)
    if issparse(matrix):
        matrix = csr_array(matrix)
    elif not isinstance(matrix, np.ndarray):
        message = f"X is a {type(matrix).__name__}; make it a NumPy array or a SciPy sparse matrix."
        raise DataError(message)
    obs = adata.obs

    def factor(column: str) -> Factor:
        values = obs[column]
        if isinstance(values.dtype, pd.CategoricalDtype):
            codes = values.cat.codes.to_numpy()
            levels = [_level(level) for level in values.cat.categories]
            return Factor(lambda start, stop: codes[start:stop], levels, fixed=True)
        return Factor(lambda start, stop: values.iloc[start:stop].to_numpy(object))

    return CellSource(
        "The AnnData object",
        matrix.shape,
        [str(name) for name in adata.var_names],
        _symbols(adata.var, [str(name) for name in adata.var.columns]),
        [str(name) for name in obs.columns],
        factor,
        lambda column, start, stop: pd.to_numeric(obs[column].iloc[start:stop], errors="coerce").to_numpy(float),
        lambda row: str(adata.obs_names[row]),
        lambda start, stop: csr_array(matrix[start:stop]),
        (matrix.nnz if issparse(matrix) else matrix.size) / max(matrix.shape[0], 1),
    )


def _of_file(file: Any, path: Path, layer: str | None) -> CellSource:
    from anndata.io import read_elem  # noqa: PLC0415

    missing = [name for name in ("X", "obs", "var") if name not in file and not (name == "X" and layer is not None)]
    if missing:
        message = f"{path} is HDF5 but not an h5ad file: it has no {', '.join(missing)}."
        raise DataError(message)
    if not hasattr(file["obs"], "keys"):
        message = f"{path} was written by an AnnData older than 0.7; read it there and write it again."
        raise DataError(message)
    if layer is not None and layer not in file.get("layers", {}):
        raise ColumnError(_no_layer(str(path), layer, list(file.get("layers", {}))))
    obs, var = file["obs"], file["var"]
    features = [str(name) for name in read_elem(var[_text(var.attrs.get("_index", "_index"))])]
    index = obs[_text(obs.attrs.get("_index", "_index"))]
    matrix = _Matrix(file["X"] if layer is None else file["layers"][layer], str(path), len(features))
    if len(features) != matrix.shape[1] or len(index) != matrix.shape[0]:
        message = (
            f"{path}: X is {matrix.shape[0]} x {matrix.shape[1]}, but obs has {len(index)} rows and var "
            f"{len(features)}; the file is damaged, write it again."
        )
        raise DataError(message)
    columns = [name for name in map(str, obs.keys()) if name not in ("__categories", obs.attrs.get("_index"))]
    held = [name for name in SYMBOLS if name in var]
    return CellSource(
        str(path),
        matrix.shape,
        features,
        [str(name) for name in read_elem(var[held[0]])] if held else None,
        columns,
        lambda column: _stored_factor(obs, column, path),
        lambda column, start, stop: _stored_numbers(obs[column], start, stop),
        lambda row: _level(index[row]),
        matrix.rows,
        matrix.entries,
    )


def _no_layer(name: str, layer: str, found: list[str]) -> str:
    return f"{name} has no layer {layer!r}; its layers are {', '.join(found) or 'none'}. Leave it out to read X."


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _symbols(var: pd.DataFrame, columns: list[str]) -> list[str] | None:
    held = [name for name in SYMBOLS if name in columns]
    return [str(name) for name in var[held[0]]] if held else None


def _stored_factor(obs: Any, column: str, path: Path) -> Factor:
    from anndata.io import read_elem  # noqa: PLC0415

    stored = obs[column]
    if hasattr(stored, "keys"):
        if "codes" in stored:
            levels = [_level(level) for level in read_elem(stored["categories"])]
            return Factor(lambda start, stop: stored["codes"][start:stop], levels, fixed=True)
        if "values" in stored and "mask" in stored:
            return Factor(lambda start, stop: _masked(stored, start, stop))
    elif "categories" in stored.attrs:  # the place of categories before AnnData 0.8
        levels = [_level(level) for level in obs.file[stored.attrs["categories"]][:]]
        return Factor(lambda start, stop: stored[start:stop], levels, fixed=True)
    elif stored.ndim == 1:
        return Factor(lambda start, stop: stored[start:stop])
    message = f"{path}: column {column!r} of obs is stored in an unknown way; make it text or a category."
    raise ColumnError(message)


def _masked(stored: Any, start: int, stop: int) -> NDArray[Any]:
    values = np.asarray(stored["values"][start:stop], object)
    values[stored["mask"][start:stop]] = None
    return values


def _stored_numbers(stored: Any, start: int, stop: int) -> NDArray[np.float64]:
    if not hasattr(stored, "keys"):
        return np.asarray(stored[start:stop], float)
    values = np.asarray(stored["values"][start:stop], float)
    return np.where(stored["mask"][start:stop], np.nan, values)


class _Matrix:
    """X as it is stored: by rows (CSR), dense, or a small one by columns."""

    def __init__(self, stored: Any, name: str, width: int) -> None:
        self.stored, self.name = stored, name
        kind = _text(stored.attrs.get("encoding-type", stored.attrs.get("h5sparse_format", "array")))
        self.sparse = hasattr(stored, "keys")
        if not self.sparse:
            self.shape = (int(stored.shape[0]), int(stored.shape[1]))
            # finding the entries of a dense block takes several times its own memory
            self.entries = 4.0 * self.shape[1]
            return
        shape = stored.attrs.get("shape", stored.attrs.get("h5sparse_shape"))
        number = int(stored["data"].shape[0])
        self.shape = (int(shape[0]), int(shape[1]))
        self.entries = number / max(self.shape[0], 1)
        pointers, by_column = stored["indptr"], kind.startswith("csc")
        if (
            len(pointers) != self.shape[by_column] + 1
            or int(pointers[-1]) != number
            or len(stored["indices"]) != number
        ):
            message = f"{name}: the parts of X do not fit each other; the file is damaged, fetch or write it again."
            raise DataError(message)
        self.whole = self._turned(number) if by_column else None
        self.width = width

    def _turned(self, number: int) -> csr_array:
        """Return an X stored by columns, by rows."""
        if number > LARGEST_BY_COLUMN:
            message = (
                f"{self.name}: X is stored by columns (CSC), with {number:,} entries too many to be turned round in "
                "memory. Write it by rows: adata.X = adata.X.tocsr(); adata.write_h5ad(...)."
            )
            raise DataError(message)
        from scipy.sparse import csc_array  # noqa: PLC0415

        parts = tuple(self.stored[name][:] for name in ("data", "indices", "indptr"))
        return csr_array(csc_array(parts, shape=self.shape))

    def rows(self, start: int, stop: int) -> csr_array:
        """Return some rows."""
        if not self.sparse:
            return csr_array(self.stored[start:stop])
        if self.whole is not None:
            return self.whole[start:stop]
        pointers = self.stored["indptr"][start : stop + 1].astype(np.int64)
        low, high = int(pointers[0]), int(pointers[-1])
        if (np.diff(pointers) < 0).any():
            message = f"{self.name}: the rows of X do not follow each other; the file is damaged, fetch it again."
            raise DataError(message)
        data, indices = self.stored["data"][low:high], self.stored["indices"][low:high]
        return csr_array((data, indices, pointers - low), shape=(stop - start, self.shape[1]), copy=False)
