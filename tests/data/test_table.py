"""Reading tables: what is found out, and what is refused with file, row and cure."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from screenwise.data.table import read_raw, read_table, write_table
from screenwise.errors import DataError

ROWS = [["a 1", "C;C", "5.5"], ["ü2", "N,N", "6"]]


def write(path, separator, encoding="utf-8"):
    lines = ["id", "smiles", "value"], *ROWS
    text = "\n".join(separator.join(f'"{cell}"' for cell in line) for line in lines) + "\n"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_separators_and_encodings(tmp_path, separator, encoding):
    table = read_raw(write(tmp_path / "a.csv", separator, encoding))
    assert table.frame.to_numpy().tolist() == ROWS
    assert bool(table.notes) == (encoding in ("utf-16", "latin-1"))


def test_gzip_and_parquet_and_types(tmp_path):
    plain = write(tmp_path / "a.tsv", "\t")
    packed = tmp_path / "a.tsv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    frame = read_table(packed)
    assert frame["value"].dtype == np.float64
    frame.to_parquet(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "a.parquet"), frame)


def test_a_separator_at_the_end_of_each_row_is_no_column(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2,\n3,4,\n")
    assert read_table(path).to_numpy().tolist() == [[1, 2], [3, 4]]


def bad_files(folder):
    big = "x" * 10_000_000
    texts = {
        "empty.csv": (b"", "is empty"),
        "blank.csv": (b"\n \n", "is empty"),
        "titles.csv": (b"smiles,value\n", "no rows"),
        "ragged.csv": (b"a,b\n1,2\n1,2,3\n", "row 2 .* has 3 fields"),
        "first.csv": (b"a,b\n1,2,3\n1,2\n", "row 1 has 3 fields"),
        "quote.csv": (b'a,b\n1,2\n"1,2\n3,4\n', "never closed"),
        "big.csv": (f"smiles,value\nC,1\n{big},2\n".encode(), "row 2, column 'smiles': the cell has 10,000,000"),
        "bigtitle.csv": (big.encode(), "first line"),
        "binary.csv": (b"PK\x03\x04\x00\x00\x00\x00" * 50, "zero bytes"),
        "half.csv": (b"\xff\xfea", "UTF-8"),
        "broken.csv.gz": (b"not gzip at all", "damaged gzip"),
        "broken.parquet": (b"not parquet at all", "cannot be read"),
        "broken.h5ad": (b"not hdf5 at all", "cannot be read"),
        "sheet.xlsx": (b"PK", "Save the sheet as CSV"),
        "a.docx": (b"PK", "no known kind"),
    }
    for name, (data, reason) in texts.items():
        (folder / name).write_bytes(data)
        yield folder / name, reason
    (folder / "folder.csv").mkdir()
    yield folder / "folder.csv", "is a directory"
    yield folder / "absent.csv", "does not exist"


def test_bad_files_name_themselves_and_the_cure(tmp_path):
    for path, reason in bad_files(tmp_path):
        with pytest.raises(DataError, match=reason) as caught:
            read_raw(path)
        assert path.name in str(caught.value)
        assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("name", "said"), [(".", "is a folder"), ("a.xlsx", "a.xlsx does not say which kind"), ("table", "kind of table")]
)
def test_what_cannot_be_written_says_what_to_name(tmp_path, monkeypatch, name, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=said) as caught:
        write_table(pd.DataFrame({"x": [1]}), Path(name))
    assert "give the name of a file that ends in .csv, .tsv or .parquet" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
