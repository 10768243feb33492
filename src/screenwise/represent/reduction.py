"""Many sparse columns as few dense ones, the same numbers each time."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from screenwise.rng import derive_seed

ITERATIONS = 7
"""Power iterations: enough for singular values that fall slowly."""


def principal_scores(table: csr_array, dimensions: int) -> NDArray[np.float64]:
    """Return (n, k) left singular vectors times singular values, largest first; k = `dimensions` or the rank's limit.

    Directions of equal singular values may be turned into one another; a fixed start makes the choice
    the same in every process. Signs are fixed by the first entry of more than half the largest size.

    References
    ----------
    Halko, Martinsson and Tropp, SIAM Review 53, 217 (2011), algorithm 4.4. Lanczos methods (ARPACK) start
    again from unseeded random numbers where singular values are equal.

    Examples
    --------
    >>> principal_scores(csr_array(np.array([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]])), 1).round(6).ravel().tolist()
    [3.0, 0.0, 0.0]
    """
    from sklearn.utils.extmath import randomized_svd  # noqa: PLC0415 - slow to import

    size = min(dimensions, *table.shape)
    seed = derive_seed(0, "principal scores") % 2**32
    left, value, _ = randomized_svd(table, size, n_iter=ITERATIONS, random_state=seed)
    scores = left * value
    # the first entry of some size decides the sign: a maximum may be shared by both signs
    first = (np.abs(scores) > np.abs(scores).max(axis=0) / 2).argmax(axis=0)
    return np.asarray(scores * np.where(scores[first, np.arange(size)] < 0, -1.0, 1.0), np.float64)
