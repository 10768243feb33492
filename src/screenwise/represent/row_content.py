"""Rows of sparse features known by what they hold: the same columns, the same number."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from screenwise.rng import GOLDEN, scramble


def row_content(features: csr_array) -> NDArray[np.uint64]:
    """Return (n, 2) numbers of 64 bits that depend on the columns stored in a row alone, not on their order.

    Each column has two random-looking numbers, and a row is their sums modulo 2^64: two different rows of a million
    have the same pair with a chance below 1e-26.

    Examples
    --------
    >>> content = row_content(csr_array(np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]])))
    >>> bool((content[0] == content[2]).all()), bool((content[0] == content[1]).any())
    (True, False)
    """
    columns = features.indices.astype(np.uint64) + np.uint64(1)
    sums = np.empty((features.shape[0], 2), np.uint64)
    with np.errstate(over="ignore"):
        for place, step in enumerate((GOLDEN, ~GOLDEN)):
            total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(scramble(columns * step), dtype=np.uint64)])
            sums[:, place] = total[features.indptr[1:]] - total[features.indptr[:-1]]
    return sums
