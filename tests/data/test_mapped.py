"""Arrays on disk, and the rows asked of them."""

import numpy as np
import pytest

from screenwise.data.mapped import asked_rows, map_array
from screenwise.errors import DataError


@pytest.mark.parametrize(
    ("rows", "said"),
    [([3], "rows are 0 to 2"), ([-1], "Row -1"), ([0.5], "whole numbers"), ([True, False], "3 booleans")],
)
def test_rows_that_are_not_there_are_refused(rows, said):
    with pytest.raises(DataError, match=said):
        asked_rows(rows, 3)


def test_no_rows_are_rows():
    assert asked_rows([], 3).tolist() == []


def test_an_empty_file_maps_to_an_empty_array(tmp_path):
    path = tmp_path / "nothing.bin"
    path.write_bytes(b"")
    assert map_array(path, np.dtype("<f4"), 0).shape == (0,)


def test_a_mapped_array_cannot_be_written(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(np.ones(4, "<f4").tobytes())
    with pytest.raises(ValueError, match="read-only"):
        map_array(path, np.dtype("<f4"), 4)[0] = 2
