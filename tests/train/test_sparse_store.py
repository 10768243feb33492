from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array, vstack

from screenwise.errors import DataError
from screenwise.train.sparse import SparseLinear
from screenwise.train.sparse_batch import SparseBatch
from screenwise.train.sparse_store import MappedRows, write_rows


def block(rows, columns=40, *, ones=False, seed=0):
    table = csr_array(random_array((rows, columns), density=0.2, rng=np.random.default_rng(seed), dtype=np.float32))
    if ones:
        table.data[:] = 1
    return table


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=5),
    asked=st.lists(st.integers(0, 10**6), max_size=12),
    least=st.integers(1, 4),
)
def test_any_rows_and_columns_are_those_of_the_matrix(tmp_path_factory, sizes, asked, least):
    blocks = [block(rows, ones=ones, seed=place) for place, (rows, ones) in enumerate(sizes)]
    table = csr_array(vstack(blocks))
    folder = tmp_path_factory.mktemp("rows") / "x"
    rows = write_rows(folder, blocks)
    assert rows.shape == table.shape
    wanted = np.array([one % table.shape[0] for one in asked], int) if table.shape[0] else np.empty(0, int)
    np.testing.assert_array_equal(rows[wanted].toarray(), table.toarray()[wanted])
    frequent = np.flatnonzero((table.toarray() != 0).sum(axis=0) >= least)
    np.testing.assert_array_equal(rows.frequent_columns(least), frequent)
    np.testing.assert_array_equal(rows.keep(frequent)[wanted].toarray(), table.toarray()[wanted][:, frequent])
    assert (folder / "data.bin").exists() == bool((table.data != 1).any())
    np.testing.assert_array_equal(rows.data, table.data)


def test_a_layer_reads_mapped_rows_as_it_reads_the_matrix(tmp_path):
    table = block(20)
    rows = write_rows(tmp_path / "x", [table])
    layer = SparseLinear(40, 3)
    mask = np.arange(20) % 3 == 0
    torch.testing.assert_close(
        layer(SparseBatch.from_csr(rows[mask])), layer(SparseBatch.from_csr(table[np.flatnonzero(mask)]))
    )


def test_the_digest_names_content_and_view_but_not_the_blocks(tmp_path):
    table = block(20)
    whole = write_rows(tmp_path / "a", [table])
    other = table.copy()
    other.data[3] += 1
    changed = write_rows(tmp_path / "b", [other])
    again = write_rows(tmp_path / "c", [table[:7], table[7:]])
    assert whole.digest() == again.digest() == MappedRows.open(tmp_path / "a").digest()
    assert len({whole.digest(), changed.digest(), whole.keep([1, 2]).digest(), whole.keep([1, 3]).digest()}) == 4


def test_what_was_not_written_to_the_end_is_refused(tmp_path):
    def broken():
        yield block(5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_rows(tmp_path / "x", broken())
    with pytest.raises(DataError, match=r"has no header\.json"):
        MappedRows.open(tmp_path / "x")
    write_rows(tmp_path / "x", [block(5)])
    with pytest.raises(DataError, match="holds rows already"):
        write_rows(tmp_path / "x", [block(5)])


@pytest.mark.parametrize("name", ["indices.bin", "data.bin", "indptr.bin"])
def test_a_shortened_or_missing_file_is_named(tmp_path, name):
    write_rows(tmp_path / "x", [block(5)])
    path = tmp_path / "x" / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"{name} has"):
        MappedRows.open(tmp_path / "x")
    path.unlink()
    with pytest.raises(DataError, match=rf"{name} is missing"):
        MappedRows.open(tmp_path / "x")


def test_damaged_pointers_and_columns_never_read_outside(tmp_path):
    rows = write_rows(tmp_path / "x", [block(5)])
    wrong = rows.indptr.copy()
    wrong[2] = 10**9
    with pytest.raises(DataError, match="damaged"):
        replace(rows, indptr=wrong)[[0, 1]]
    columns = rows.indices.copy()
    columns[0] = 4000
    damaged = replace(rows, indices=columns)
    with pytest.raises(DataError, match="damaged"):
        damaged[[0]]
    with pytest.raises(DataError, match="column 4000"):
        damaged.frequent_columns(1)


def test_wrong_questions_are_answered(tmp_path):
    rows = write_rows(tmp_path / "x", [block(5)])
    with pytest.raises(DataError, match="Row 5 is asked for; rows are 0 to 4"):
        rows[[5]]
    with pytest.raises(DataError, match="whole numbers"):
        rows[[0.5]]
    with pytest.raises(DataError, match="Columns are 0 to 39"):
        rows.keep([40])
    with pytest.raises(DataError, match="41 columns; 40 were expected"):
        write_rows(tmp_path / "y", [block(2), block(2, 41)])
    (Path(tmp_path) / "z").mkdir()
    (Path(tmp_path) / "z" / "header.json").write_text('{"format": "other"}')
    with pytest.raises(DataError, match="not the header"):
        MappedRows.open(tmp_path / "z")
