import gzip

import numpy as np
import pandas as pd
import pytest

from screenwise.data.table import read_table, write_table
from screenwise.data.table_parts import write_parts
from screenwise.errors import DataError

FRAME = pd.DataFrame(
    {
        "name": ["a, b", "", "c"],
        "value": [1.5, np.nan, 3.0],
        "inside": pd.array([True, None, False], "boolean"),
        "note": [None, "x", ""],
    }
)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.parquet"])
def test_parts_are_the_same_table_as_the_whole(tmp_path, name):
    rows = write_parts((FRAME.iloc[[row]] for row in range(3)), tmp_path / "parts" / name)
    write_table(FRAME, tmp_path / name)
    assert rows == 3
    whole, parts = (read_table(tmp_path / folder / name).fillna({"note": ""}) for folder in ("", "parts"))
    pd.testing.assert_frame_equal(parts, whole, check_dtype=False)
    if name.endswith(".gz"):
        before, after = ((tmp_path / folder / name).read_bytes() for folder in ("", "parts"))
        assert gzip.decompress(after) == gzip.decompress(before)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_part_without_rows_adds_none(tmp_path, name):
    rows = write_parts((FRAME.iloc[first:last] for first, last in ((0, 0), (0, 2), (2, 2), (2, 3))), tmp_path / name)
    assert rows == len(read_table(tmp_path / name)) == 3
    assert read_table(tmp_path / name)["value"].tolist() == pytest.approx([1.5, np.nan, 3.0], nan_ok=True)


def test_nothing_is_left_of_a_table_whose_second_part_fails(tmp_path):
    def parts():
        yield FRAME
        message = "the model failed"
        raise DataError(message)

    with pytest.raises(DataError, match="the model failed"):
        write_parts(parts(), tmp_path / "t.csv")
    assert list(tmp_path.iterdir()) == []
