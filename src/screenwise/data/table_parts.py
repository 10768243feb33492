"""Write a table that comes in parts, so that memory does not grow with it."""

import gzip
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd

from screenwise.data.table import written_kind
from screenwise.run import atomic_path


def write_parts(parts: Iterable[pd.DataFrame], path: Path) -> int:
    r"""Write parts with the same columns below each other, whole or not at all; return the number of rows.

    Parameters
    ----------
    parts
        At least one; columns of objects are written as text.
    path
        As of `screenwise.data.table.write_table`.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.csv"
    >>> write_parts((pd.DataFrame({"x": [number]}) for number in range(2)), path), path.read_text()
    (2, 'x\n0\n1\n')
    """
    path, kind = Path(path), written_kind(path)
    with atomic_path(path) as draft, ExitStack() as stack:
        if kind == ".parquet":
            return _parquet(parts, draft, stack)
        raw = stack.enter_context(draft.open("wb"))
        # no name and no time: the same table is the same file
        packed: Any = (
            stack.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0)) if path.suffix == ".gz" else raw
        )
        rows = 0
        for number, part in enumerate(parts):  # the first has the titles, even if it has no rows
            part.to_csv(packed, index=False, sep="\t" if kind == ".tsv" else ",", header=number == 0)
            rows += len(part)
        return rows


def _parquet(parts: Iterable[pd.DataFrame], draft: Path, stack: ExitStack) -> int:
    import pyarrow as pa  # noqa: PLC0415 - only where it is written
    from pyarrow.parquet import ParquetWriter  # noqa: PLC0415

    writer, rows = None, 0
    for part in parts:
        texts = {name: part[name].astype("string") for name in part.columns if part[name].dtype == object}
        table = pa.Table.from_pandas(part.assign(**texts), preserve_index=False)
        if writer is None:
            writer = stack.enter_context(ParquetWriter(draft, table.schema))
        writer.write_table(table.cast(writer.schema))
        rows += len(part)
    return rows
