"""Arrays on disk, memory-mapped, and the rows that are asked of them."""

import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from screenwise.errors import DataError


def map_array(path: Path, kind: np.dtype[Any], length: int) -> NDArray[Any]:
    """Return (length,) values of a file, read from disk when they are looked at; an empty one maps nothing.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.bin"
    >>> _ = path.write_bytes(np.arange(3, dtype="<i8").tobytes())
    >>> map_array(path, np.dtype("<i8"), 2).tolist()
    [0, 1]
    """
    if not length:
        return np.empty(0, kind)
    with path.open("rb") as stream:
        held = mmap.mmap(stream.fileno(), length * kind.itemsize, access=mmap.ACCESS_READ)
    return np.frombuffer(held, kind, length)


def asked_rows(rows: ArrayLike, count: int) -> NDArray[np.int64]:
    """Return the numbers of the rows asked for, of a table of `count` rows.

    Parameters
    ----------
    rows
        (b,) whole numbers from 0, in any order, repeats allowed; or (count,) booleans, true for those wanted.
    count
        Rows of the table.

    Raises
    ------
    DataError
        Something else, or a row that is not there.

    Examples
    --------
    >>> asked_rows([2, 0], 3).tolist(), asked_rows([True, False, True], 3).tolist()
    ([2, 0], [0, 2])
    """
    asked = np.asarray(rows)
    if asked.dtype == np.bool_ and asked.shape == (count,):
        asked = np.flatnonzero(asked)
    if asked.ndim != 1 or (len(asked) and asked.dtype.kind not in "iu"):
        message = f"Rows are asked for by whole numbers, or {count} booleans; got {asked.dtype} {asked.shape}."
        raise DataError(message)
    if len(asked) and (asked.min() < 0 or asked.max() >= count):
        wrong = asked.min() if asked.min() < 0 else asked.max()
        message = f"Row {wrong} is asked for; rows are 0 to {count - 1}."
        raise DataError(message)
    return asked.astype(np.int64)
