"""Rows known by what they hold."""

import numpy as np
from scipy.sparse import csr_array

from screenwise.represent.row_content import row_content


def test_equal_rows_and_only_those_have_equal_numbers():
    rng = np.random.default_rng(0)
    dense = rng.random((2_000, 12)) < 0.5
    content = row_content(csr_array(dense.astype(np.uint8)))
    _, expected = np.unique(dense, axis=0, return_inverse=True)
    _, found = np.unique(content, axis=0, return_inverse=True)
    pairs = set(zip(expected.ravel().tolist(), found.ravel().tolist(), strict=True))
    assert len(pairs) == expected.max() + 1 == found.max() + 1


def test_the_order_of_columns_and_the_other_rows_are_nothing():
    one = csr_array((np.ones(3), [5, 1, 9], [0, 3]), shape=(1, 10))
    other = csr_array((np.ones(4), [7, 1, 5, 9], [0, 1, 4, 4]), shape=(3, 10))
    assert row_content(one)[0].tolist() == row_content(other)[1].tolist()
    assert row_content(other)[2].tolist() == [0, 0]
