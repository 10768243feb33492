"""Cell stores from h5ad files, in one pass and bounded memory, and from matrices."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet
from scipy.sparse import csr_array, issparse

from screenwise.data.cellstore import CellStore
from screenwise.data.cellstore_writer import Writer, draft_folder, told_disk, write_alone
from screenwise.data.h5ad import CellFile, check_genes, open_h5ad
from screenwise.errors import ColumnError, DataError

Progress = Callable[[str, int, int], None]
LOOKED_AT = 1 << 20
"""Values of a store that say whether they are whole numbers."""


def convert_h5ad(
    path: Path,
    folder: Path,
    *,
    columns: Sequence[str] | None = None,
    layer: str | None = None,
    counts: bool | None = None,
    progress: Progress | None = None,
) -> CellStore:
    """Write the cells of an h5ad file as a store, in one pass and bounded memory.

    The store appears when it is whole; after a conversion that was killed, convert again: what it left
    (a hidden folder beside `folder`) is written over.

    Parameters
    ----------
    path
        h5ad file; its matrix by cell (CSR), by gene (CSC: read several times) or dense.
    folder
        Folder to make; it must not exist, or be empty.
    columns
        obs columns to keep; None = all, and the index as ``cell_id``.
    layer
        Name of a layer, or "raw"; None = ``X``.
    counts
        True = the values must be counts; False = they are on another scale, stored as float32; None = found
        out: counts if all are whole.
    progress
        Called as ``progress("Reading cells", done, total)``.

    Returns
    -------
    The open store. Columns of var are kept with the genes where they are text, numbers or categories.

    Raises
    ------
    DataError
        The file is empty, damaged or cut short, a gene stands twice, a value is no finite number, or a count
        is negative or no whole number.
    ColumnError
        A column of obs is missing.
    """
    with open_h5ad(path, layer=layer) as cells:
        wanted = list(columns) if columns is not None else cells.obs_columns()
        obs = _readable(cells, wanted)
        with (
            draft_folder(folder) as draft,
            Writer.create(draft, cells.var_table(), source=str(path), counts=counts) as writer,
        ):
            _copy_cells(cells, writer, None, progress)
            writer.finish(obs)
    return CellStore.open(folder)


def append_h5ad(folder: Path, path: Path, *, layer: str | None = None, progress: Progress | None = None) -> CellStore:
    """Add the cells of an h5ad file behind those of a store; killed half-way, the store is as before.

    The file needs the genes of the store, in any order, its obs columns, and values of its kind (counts or not).
    Stores that are open keep what they show. One process appends at a time.

    Returns
    -------
    The store, opened anew.

    Raises
    ------
    DataError
        As `convert_h5ad`; other genes; counts to other values, or the reverse; another process appends.
    ColumnError
        A column of the store is missing in the file, or of another type.
    """
    folder = Path(folder)
    with open_h5ad(path, layer=layer) as cells, _extended(folder, str(path)) as (store, writer):
        order = _gene_order(writer.genes, cells.genes, folder, cells.path)
        schema = parquet.read_schema(folder / store.header.obs[0])
        obs = (_cast(table, schema, cells.path) for table in _readable(cells, schema.names))
        _copy_cells(cells, writer, order, progress)
        _same_scale(store, writer)
        writer.finish(obs)
    return CellStore.open(folder)


def from_matrix(
    folder: Path, matrix: Any, *, genes: Sequence[str], obs: pd.DataFrame | None = None, counts: bool | None = None
) -> CellStore:
    """Write a matrix in memory as a store.

    Parameters
    ----------
    folder
        Folder to make; it must not exist, or be empty.
    matrix
        (n, p) values, dense or sparse.
    genes
        (p,) names.
    obs
        (n,) columns of the cells; its index is left out.
    counts
        See `convert_h5ad`.
    """
    return from_blocks(folder, [matrix], genes=genes, obs=obs, counts=counts)


def from_blocks(
    folder: Path,
    blocks: Iterable[Any],
    *,
    genes: Sequence[str],
    obs: pd.DataFrame | None = None,
    counts: bool | None = None,
) -> CellStore:
    """Write blocks of cells, each (b, p), as they come, such as from a simulator; see `from_matrix`.

    `obs` has one row per cell of all blocks together.
    """
    if not len(genes):
        message = "A cell store needs at least one gene."
        raise DataError(message)
    check_genes(genes, "genes")
    var = pa.table({"gene": pa.array([str(gene) for gene in genes], pa.string())})
    with draft_folder(folder) as draft, Writer.create(draft, var, counts=counts) as writer:
        for block in blocks:
            writer.write(_as_block(block))
        frame = obs if obs is not None else pd.DataFrame(index=range(writer.rows))
        if len(frame) != writer.rows:
            message = f"obs has {len(frame)} rows, the matrix {writer.rows} cells; they must be as many."
            raise DataError(message)
        writer.finish([_as_table(frame)])
    return CellStore.open(folder)


@contextmanager
def _extended(folder: Path, source: str) -> Iterator[tuple[CellStore, Writer]]:
    CellStore.open(folder)
    with told_disk(folder), write_alone(folder):
        # Opened again: another process may have added cells before this one held the folder.
        store = CellStore.open(folder)
        with Writer.extend(store, source=source) as writer:
            yield store, writer


def _copy_cells(cells: CellFile, writer: Writer, order: NDArray[np.int64] | None, progress: Progress | None) -> None:
    for first, block in cells.blocks():
        writer.write(block if order is None else block[:, order])
        if progress is not None:
            progress("Reading cells", first + block.shape[0], cells.shape[0])


def _same_scale(store: CellStore, writer: Writer) -> None:
    """Refuse counts behind values on another scale; the reverse is refused value by value."""
    before = store.data[:LOOKED_AT]
    if not store.counts and writer.only_counts and not (before == np.rint(before)).all():
        message = (
            f"{writer.source} holds counts (all its values are whole), {store.folder} values on another scale. "
            "Bring the cells to the same scale first."
        )
        raise DataError(message)


def _as_block(matrix: Any) -> csr_array:
    block = matrix if issparse(matrix) else np.asarray(matrix)
    if block.ndim != 2 or block.dtype.kind not in "biuf":  # noqa: PLR2004 - cells by genes
        message = f"The cells are {block.dtype} of shape {block.shape}; they must be numbers, (cells, genes)."
        raise DataError(message)
    return csr_array(block.astype(np.float32) if block.dtype == np.float16 else block, copy=True)


def _readable(cells: CellFile, columns: list[str]) -> Iterator[pa.Table]:
    """Return the columns; one that is missing or cannot be read is told before any cell is copied."""
    tables = cells.obs_tables(columns)
    first = next(tables)

    def every() -> Iterator[pa.Table]:
        yield first
        yield from tables

    return every()


def _as_table(frame: pd.DataFrame) -> pa.Table:
    plain = {}
    for name, column in frame.items():
        categories = isinstance(column.dtype, pd.CategoricalDtype)
        plain[str(name)] = column.astype(column.cat.categories.dtype) if categories else column
    try:
        table = pa.Table.from_pandas(pd.DataFrame(plain, index=frame.index), preserve_index=False)
    except pa.ArrowException as error:
        message = f"obs cannot be stored: {error}. Give each column values of one type."
        raise ColumnError(message) from error
    kinds = [pa.string() if pa.types.is_large_string(kind) else kind for kind in table.schema.types]
    return table.cast(pa.schema(list(zip(table.column_names, kinds, strict=True))))


def _cast(table: pa.Table, schema: pa.Schema, path: Path) -> pa.Table:
    try:
        return table.cast(schema)
    except pa.ArrowException as error:
        message = f"{path}: an obs column is of another type than in the store: {error}."
        raise ColumnError(message) from error


def _gene_order(held: list[str], given: list[str], folder: Path, path: Path) -> NDArray[np.int64] | None:
    """Return the place of each gene of the store among those given; None where they stand alike."""
    if held == given:
        return None
    missing, further = sorted(set(held) - set(given)), sorted(set(given) - set(held))
    if missing or further:
        message = (
            f"{path} has other genes than {folder}: {len(missing)} of the store are missing "
            f"({', '.join(missing[:5]) or '-'}), {len(further)} are not in it ({', '.join(further[:5]) or '-'}). "
            "Bring the file to the genes of the store first."
        )
        raise DataError(message)
    place = {gene: number for number, gene in enumerate(given)}
    return np.array([place[gene] for gene in held], np.int64)
