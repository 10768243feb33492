"""The growing files of a cell store: what is written counts once the header says so."""

import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet
from scipy.sparse import csr_array

from screenwise.data.cellstore import GENES, HEADER, CellStore, Header, checksum
from screenwise.errors import DataError
from screenwise.run import write_json

COUNT = np.dtype("<u2")
OTHER = np.dtype("<f4")
LARGEST_COUNT = 1 << 24
"""Whole numbers up to here are exact as float32."""
COPIED_VALUES = 1 << 22


class Writer:
    """Adds blocks of cells behind those of a store; they count from `finish` on, and without it never were there.

    Parameters
    ----------
    folder
        Where the files are; written by one process at a time (`write_alone`).
    header
        What is there already.
    genes, source
        Names of the genes, and where the cells come from: for messages.
    counts
        What the values must be; None = counts as long as all are whole.
    """

    def __init__(
        self, folder: Path, header: Header, genes: list[str], *, source: str = "the matrix", counts: bool | None
    ) -> None:
        self.folder, self.header, self.genes, self.source, self.declared = folder, header, genes, source, counts
        self.rows, self.entries, self.counts = header.rows, header.entries, header.counts
        self.dtype = np.dtype(header.data).newbyteorder("<")
        self.crc32 = dict(header.crc32)
        self.only_counts = True
        """Whether all values added are whole and some above 1."""

    @classmethod
    def create(cls, folder: Path, var: pa.Table, *, source: str = "the matrix", counts: bool | None) -> Self:
        """Begin a store of the genes in column "gene" of `var`."""
        genes = var.column("gene").to_pylist()
        parquet.write_table(var, folder / GENES)
        data = OTHER if counts is False else COUNT
        header = Header(0, len(genes), 0, counts is not False, data.name, (), {}, {})
        return cls(folder, header, genes, source=source, counts=counts)

    @classmethod
    def extend(cls, store: CellStore, *, source: str) -> Self:
        """Begin to add to a store."""
        return cls(store.folder, store.header, store.genes, source=source, counts=store.counts)

    def __enter__(self) -> Self:
        names = ("indptr.bin", "indices.bin", self.header.data_file)
        self.streams = {name: self._opened(name) for name in names}
        if not self.header.rows:
            self._put("indptr.bin", np.zeros(1, "<i8"))
        return self

    def __exit__(self, *problem: object) -> None:
        for stream in self.streams.values():
            stream.close()
        if problem[0] is not None and self.dtype.name != self.header.data:
            (self.folder / f"data-{self.dtype.name}.bin").unlink(missing_ok=True)

    def _opened(self, name: str) -> Any:
        # What stands behind the size in the header is the rest of an append that did not end.
        size = self.header.size.get(name, 0)
        stream = (self.folder / name).open("r+b" if size else "wb")
        stream.truncate(size)
        stream.seek(size)
        return stream

    def _put(self, name: str, values: NDArray[Any]) -> None:
        held = np.ascontiguousarray(values).view(np.uint8).data
        self.streams[name].write(held)
        self.crc32[name] = zlib.crc32(held, self.crc32.get(name, 0))

    def write(self, block: csr_array) -> None:
        """Add (b, p) cells; `block` may be changed."""
        if block.shape[1] != len(self.genes):
            message = f"A block of cells has {block.shape[1]} columns; there are {len(self.genes)} genes."
            raise DataError(message)
        block.sum_duplicates()
        block.eliminate_zeros()
        if len(block.data):
            self._check(block)
        self._put("indptr.bin", (block.indptr[1:].astype(np.int64) + self.entries).astype("<i8"))
        self._put("indices.bin", block.indices.astype(self.header.indices))
        self._put(f"data-{self.dtype.name}.bin", block.data.astype(self.dtype))
        self.rows += block.shape[0]
        self.entries += len(block.data)

    def _check(self, block: csr_array) -> None:
        """Refuse what is no number or no count; go over to float32 where counts do not fit."""
        values = block.data
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            self._refuse(block, ~np.isfinite(values), "finite numbers")
        whole = values.dtype.kind != "f" or bool((values == np.rint(values)).all())
        if self.declared or (self.counts and whole):
            if not whole:
                self._refuse(block, values != np.rint(values), "counts, as declared or as in the cells before")
            if (values < 0).any():
                self._refuse(block, values < 0, "counts, which are never negative")
            if values.max() > LARGEST_COUNT:
                self._refuse(block, values > LARGEST_COUNT, f"counts, at most {LARGEST_COUNT:,}")
        self.counts = self.counts and whole
        self.only_counts = self.only_counts and whole and bool((values >= 0).all())
        if self.dtype == COUNT and not (self.counts and values.max() <= np.iinfo(COUNT).max):
            self._widen()

    def _refuse(self, block: csr_array, wrong: NDArray[np.bool_], what: str) -> None:
        entry = int(wrong.argmax())
        row = self.rows - self.header.rows + int(np.searchsorted(block.indptr, entry, side="right")) - 1
        message = (
            f"{self.source}: the value of cell {row} (from 0), gene {self.genes[block.indices[entry]]} is "
            f"{block.data[entry]}; it must be one of {what}. Choose another layer or mend the cells; values on "
            "another scale than counts go into a store made with counts=False."
        )
        raise DataError(message)

    def _widen(self) -> None:
        """Write the values so far as float32, into a file of another name: the old one counts until `finish`."""
        narrow, wide = (f"data-{kind.name}.bin" for kind in (self.dtype, OTHER))
        self.streams.pop(narrow).close()
        self.crc32.pop(narrow, None)
        self.streams[wide], self.dtype = self._opened(wide), OTHER
        with (self.folder / narrow).open("rb") as stream:
            while len(values := np.frombuffer(stream.read(COPIED_VALUES * COUNT.itemsize), COUNT)):
                self._put(wide, values.astype(OTHER))

    def finish(self, obs: Iterable[pa.Table]) -> None:
        """Write the columns of the cells added, then the header."""
        if self.rows == self.header.rows:
            message = f"{self.source} holds no cells; there is nothing to store."
            raise DataError(message)
        part = f"obs-{len(self.header.obs):05d}.parquet"
        _write_parts(self.folder / part, obs)
        size = {name: stream.tell() for name, stream in self.streams.items()}
        for name in (GENES, *self.header.obs, part):
            size[name] = self.header.size.get(name) or (self.folder / name).stat().st_size
            self.crc32.setdefault(name, checksum(self.folder / name, size[name]))
        for stream in self.streams.values():
            stream.flush()
        for name in size:
            _flush(self.folder / name)
        header = replace(
            self.header,
            rows=self.rows,
            entries=self.entries,
            counts=self.counts,
            data=self.dtype.name,
            obs=(*self.header.obs, part),
            size=size,
            crc32={name: self.crc32[name] for name in size},
        )
        write_json(self.folder / HEADER, header.record())
        if header.data != self.header.data:
            (self.folder / self.header.data_file).unlink()


def _write_parts(path: Path, tables: Iterable[pa.Table]) -> None:
    writer = None
    try:
        for table in tables:
            writer = writer or parquet.ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def draft_folder(folder: Path) -> Iterator[Path]:
    """Give a hidden folder beside `folder` that takes its place on success; what a killed one left is removed."""
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        message = f"{folder} exists and is not empty; choose another folder, or append to the store."
        raise DataError(message)
    draft = folder.with_name(f".{folder.name}.unfinished")
    with told_disk(folder):
        draft.mkdir(parents=True, exist_ok=True)
        with write_alone(draft):
            try:
                for left in draft.iterdir():
                    left.unlink()
                yield draft
                draft.rename(folder)
                _flush(folder.parent)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise


@contextmanager
def write_alone(folder: Path) -> Iterator[None]:
    """Hold a folder while it is written, so that two processes do not mix their cells."""
    import fcntl  # noqa: PLC0415 - POSIX only; reading needs none

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        message = f"{folder} is being written by another process; wait until it has ended."
        raise DataError(message) from error
    finally:
        os.close(handle)


@contextmanager
def told_disk(folder: Path) -> Iterator[None]:
    """Turn what the system says of a full or closed disk into an error that names the store."""
    try:
        yield
    except OSError as error:
        message = f"Cannot write {folder}: {error.strerror or error}. Free space or choose another place."
        raise DataError(message) from error
