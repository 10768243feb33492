import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array

from screenwise.train.device import limit_threads
from screenwise.train.sparse_sort import sort_by_column


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(0, 12),
    features=st.sampled_from([1, 2, 3, 2047, 2048, 2049, 5000, 4_194_304, 4_194_305, 2**31 - 1]),
    entries=st.integers(0, 40),
    threads=st.sampled_from([1, 2, 5]),
    seed=st.integers(0, 99),
)
def test_entries_are_in_order_of_column_then_row(rows, features, entries, threads, seed):
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.integers(0, entries + 1, max(rows - 1, 0)))
    indptr = np.concatenate([[0], ends, [entries] if rows else []]).astype(np.int64)
    count = int(indptr[-1])
    near = rng.integers(0, min(features, 5), count)
    indices = np.where(rng.random(count) < 0.5, near, rng.integers(0, features, count))
    data = rng.random(count).astype(np.float32)
    with limit_threads(threads):
        columns, starts, found_rows, values = sort_by_column(indptr, indices, data, features)
    row = np.repeat(np.arange(rows), np.diff(indptr)) if rows else np.empty(0, int)
    order = np.lexsort((row, indices))
    np.testing.assert_array_equal(np.repeat(columns, np.diff(starts)), indices[order])
    np.testing.assert_array_equal(found_rows, row[order])
    np.testing.assert_array_equal(np.sort(values), np.sort(data))
    assert (np.diff(columns) > 0).all()


def test_the_transpose_of_a_large_batch_is_scipys():
    table = csr_array(random_array((300, 70_000), density=0.002, rng=np.random.default_rng(0), dtype=np.float32))
    columns, starts, rows, values = sort_by_column(table.indptr, table.indices, table.data, 70_000)
    expected = table.tocsc()
    np.testing.assert_array_equal(columns, np.flatnonzero(np.diff(expected.indptr)))
    np.testing.assert_array_equal(starts[1:], np.cumsum(np.diff(expected.indptr)[columns]))
    np.testing.assert_array_equal(rows, expected.indices)
    np.testing.assert_array_equal(values, expected.data)
