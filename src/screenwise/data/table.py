"""Tables as people have them: separator, encoding and quoting found out, damage named by file and row."""

import csv
import gzip
import io
import re
import warnings
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from screenwise.errors import ColumnError, DataError
from screenwise.run import atomic_path

TEXT = (".csv", ".tsv", ".txt", ".tab")
KINDS = (*TEXT, ".parquet", ".h5ad")
MAX_CELL = 1_000_000
"""Characters; a longer cell is damage (a quote never closed, a file pasted into a field)."""

OBS_NAMES = "obs_names"
"""What the names of an h5ad table's rows are called where its index has no name of its own."""

_LEADING_ZERO = re.compile(r"^[+-]?0\d")


@dataclass(frozen=True)
class Table:
    """A table as it stands in a file."""

    frame: pd.DataFrame
    """Text tables: every cell as text, empty = empty; other formats: their own types."""
    doubled: frozenset[str] = frozenset()
    """Column titles that stand more than once; the second one is called "title (2)"."""
    notes: list[str] = field(default_factory=list)
    index: str | None = None
    """h5ad: the column that was the index of `obs`, the rows' own names."""


def read_table(path: Path) -> pd.DataFrame:
    r"""Read CSV, TSV, Parquet or h5ad (CSV and TSV also as .gz); columns of numbers become numbers.

    Separator (comma, semicolon, tab, bar), encoding (UTF-8, UTF-16, else Western European) and quotes
    are found out. An h5ad table is its `obs`.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.csv"
    >>> _ = path.write_text("id;x\n007;1.5\n")
    >>> read_table(path).to_dict("list")
    {'id': ['007'], 'x': [1.5]}
    """
    return typed(read_raw(path).frame)


def read_titles(path: Path) -> list[str]:
    r"""Return the column titles of a table, of Parquet without reading its rows.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.csv"
    >>> _ = path.write_text("id;x\n007;1.5\n")
    >>> read_titles(path)
    ['id', 'x']
    """
    if _kind(path) != ".parquet":
        return list(read_raw(path).frame.columns)
    from pyarrow.parquet import read_schema  # noqa: PLC0415

    try:
        return [str(name) for name in read_schema(path).names]
    except Exception as error:  # pyarrow and the system have errors of their own
        message = f"{path} cannot be read as .parquet: {error}."
        raise DataError(message) from error


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with numbers as numbers and True or False as such; ids with leading zeros stay text."""
    changed = {}
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column) or isinstance(column.dtype, pd.CategoricalDtype):
            continue
        texts = column.fillna("").astype(str).str.strip()
        filled = texts[texts != ""]
        if filled.empty or _LEADING_ZERO.match(filled.iloc[0]) or filled.str.match(_LEADING_ZERO).any():
            continue
        numbers = pd.to_numeric(filled, errors="coerce")
        if filled.isin(["True", "False"]).all() and len(filled) == len(texts):
            changed[name] = texts == "True"
        elif numbers.notna().all():
            changed[name] = pd.to_numeric(texts.where(texts != ""), errors="coerce")
    return frame.assign(**changed)


def read_raw(path: Path) -> Table:
    """Read a table without interpreting its cells; see `read_table` for what is found out."""
    path = Path(path)
    kind = _kind(path)
    try:
        if kind == ".parquet":
            return _non_empty(Table(_plain_titles(pd.read_parquet(path))), path)
        if kind == ".h5ad":
            return _non_empty(_read_obs(path), path)
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        message = f"{path} is a damaged gzip file ({error}); fetch or export it again."
        raise DataError(message) from error
    except DataError:
        raise
    except Exception as error:  # pyarrow, h5py and the system each have errors of their own
        message = f"{path} cannot be read as {kind or 'a table'}: {error}."
        raise DataError(message) from error
    return _non_empty(_parse(_decode(data, path), path), path)


def _kind(path: Path) -> str:
    if path.is_dir():
        message = f"{path} is a directory; give the name of a table ({', '.join(KINDS)})."
        raise DataError(message)
    if not path.exists():
        message = f"{path} does not exist."
        raise DataError(message)
    kind = (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()
    if kind not in KINDS or (path.suffix == ".gz" and kind not in TEXT):
        hint = " Save the sheet as CSV." if kind in (".xls", ".xlsx", ".ods") else ""
        message = f"{path.name} is of no known kind; use {', '.join(KINDS)} (text also as .gz).{hint}"
        raise DataError(message)
    if path.stat().st_size == 0:
        message = f"{path} is empty: it must have a line of column titles and rows below it."
        raise DataError(message)
    return kind


def _non_empty(table: Table, path: Path) -> Table:
    if table.frame.empty:
        message = f"{path} has no rows below its column titles {list(map(str, table.frame.columns))[:20]}."
        raise DataError(message)
    return table


def _read_obs(path: Path) -> Table:
    from anndata import read_h5ad  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata speaks of its own formats; what matters raises
        obs = read_h5ad(path, backed="r").obs
    if list(obs.index) == [str(place) for place in range(len(obs))]:
        return Table(_plain_titles(obs.reset_index(drop=True)))  # written without names of rows
    name = str(obs.index.name or OBS_NAMES)
    name = name if name not in map(str, obs.columns) else OBS_NAMES
    if name in map(str, obs.columns):
        return Table(_plain_titles(obs.reset_index(drop=True)))
    return Table(_plain_titles(obs.rename_axis(name).reset_index()), index=name)


def _plain_titles(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.set_axis([str(name) for name in frame.columns], axis=1)


def _decode(data: bytes, path: Path) -> tuple[str, list[str]]:
    """Return the text, and a note where the encoding is not UTF-8."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            try:
                notes = [] if encoding == "utf-8-sig" else [f"{path.name} is in UTF-16, read as such."]
                return data.decode(encoding), notes
            except UnicodeDecodeError as error:
                message = f"{path} begins like {encoding} but is not ({error.reason}); save it as UTF-8."
                raise DataError(message) from error
    if b"\x00" in data[:100_000]:
        message = f"{path} is not a text table (it holds zero bytes); save it as CSV in UTF-8."
        raise DataError(message)
    try:
        return data.decode("utf-8"), []
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start)
        note = f"{path.name} is not UTF-8 (first at row {row}); read as Western European (Windows-1252)."
        return data.decode("cp1252", errors="replace"), [note]


def _parse(decoded: tuple[str, list[str]], path: Path) -> Table:
    text, notes = decoded
    if not text.strip():
        message = f"{path} is empty: it must have a line of column titles and rows below it."
        raise DataError(message)
    separator = _separator(text, path)
    try:
        lines = csv.reader(io.StringIO(text), delimiter=separator)
        titles, first = next(lines, []), next(lines, [])
    except csv.Error:
        titles, first = next(csv.reader([text.lstrip().split("\n", 1)[0]], delimiter=separator)), []
    names, doubled = _titles([title.strip() for title in titles])
    # A separator at the end of every row is no column; anything else there is damage.
    surplus = first[len(names) :]
    if any(cell.strip() for cell in surplus):
        message = (
            f"{path}, row 1 has {len(first)} fields, the column titles are {len(names)}. "
            "Put quotes around a cell that contains the separator."
        )
        raise DataError(message)
    try:
        frame = pd.read_csv(
            io.StringIO(text),
            sep=separator,
            names=[*names, *(f"surplus {place}" for place in range(len(surplus)))],
            header=0,
            dtype=str,
            keep_default_na=False,
            index_col=False,
            on_bad_lines="error",
        )[names].fillna("")
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame(columns=names)
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error) as error:
        raise DataError(_bad_line(str(error), path, len(names))) from error
    _check_cells(frame, len(text), path)
    return Table(frame, doubled, notes)


def _separator(text: str, path: Path) -> str:
    line = text.lstrip("\ufeff\r\n").split("\n", 1)[0]
    if len(line) > MAX_CELL:
        message = f"{path}: its first line has {len(line)} characters; it must be column titles."
        raise DataError(message)
    bare = re.sub(r'"[^"]*"', "", line)
    prefer = "\t" if ".tsv" in path.name or ".tab" in path.name else ","
    counts = {mark: bare.count(mark) for mark in (prefer, "\t", ";", ",", "|")}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] else prefer


def _titles(titles: list[str]) -> tuple[list[str], frozenset[str]]:
    seen: dict[str, int] = {}
    names = []
    for place, title in enumerate(titles):
        name = title or f"column {place + 1}"
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names, frozenset(name for name, count in seen.items() if count > 1)


def _bad_line(problem: str, path: Path, width: int) -> str:
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", problem)
    if found:
        line = int(found[2])
        return (
            f"{path}, row {line - 1} (line {line}) has {found[3]} fields, the column titles are {width}. "
            "Put quotes around a cell that contains the separator."
        )
    inside = re.search(r"EOF inside string starting at row (\d+)", problem)
    if inside:
        return f"{path}, row {int(inside[1]) + 1}: a quote is opened and never closed. Close or delete it."
    return f"{path} cannot be read as a table: {problem.strip()}."


def _check_cells(frame: pd.DataFrame, size: int, path: Path) -> None:
    if size < MAX_CELL:
        return
    for name in frame.columns:
        lengths = frame[name].str.len()
        if lengths.max() > MAX_CELL:
            row = int(lengths.to_numpy().argmax())
            message = (
                f"{path}, row {row + 1}, column {name!r}: the cell has {int(lengths.max()):,} characters, more than "
                f"{MAX_CELL:,}. A quote that is never closed, or a file pasted into a cell? Mend that row."
            )
            raise DataError(message)


def column_of(table: Table, name: str, path: Path, option: str) -> Any:
    """Return a column by its title; a missing or doubled one is an error that names file and cure."""
    if name in table.doubled:
        message = f"{path}: the column title {name!r} stands more than once. Rename one of them."
        raise ColumnError(message)
    if name not in table.frame.columns:
        found = ", ".join(list(map(str, table.frame.columns))[:30])
        message = f"{path} has no column {name!r} ({option}); its columns are {found}."
        raise ColumnError(message)
    return table.frame[name]


def write_table(frame: pd.DataFrame, path: Path) -> None:
    r"""Write a table, whole or not at all, as the file's name says: .csv, .tsv (also .gz) or .parquet.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.tsv"
    >>> write_table(pd.DataFrame({"x": [1.5]}), path)
    >>> path.read_text()
    'x\n1.5\n'
    """
    path, kind = Path(path), written_kind(path)
    with atomic_path(path) as draft:
        if kind == ".parquet":
            frame.to_parquet(draft, index=False)
        else:
            compression: Any = {"method": "gzip", "mtime": 0} if path.suffix == ".gz" else None
            frame.to_csv(draft, index=False, sep="\t" if kind == ".tsv" else ",", compression=compression)


def written_kind(path: Path) -> str:
    """Return .csv, .tsv or .parquet, as a table of this name is written; another name is an error."""
    path = Path(path)
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if kind not in (".csv", ".tsv", ".parquet"):
        what = "is a folder" if path.is_dir() else "does not say which kind of table to write"
        message = f"{path} {what}; give the name of a file that ends in .csv, .tsv or .parquet."
        raise DataError(message)
    return kind
