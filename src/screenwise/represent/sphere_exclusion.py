"""Clusters by sphere exclusion over sparse features: leaders and followers, by inverted index."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array

from screenwise.data.split import deal
from screenwise.errors import ConfigError
from screenwise.represent.row_content import row_content


def sphere_folds(
    features: csr_array, radii: tuple[float, ...], folds: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (n,) folds and (n,) clusters: clusters are dealt largest first, each to the smallest fold so far.

    The clusters are this table's own: partners with other compounds have others.

    Examples
    --------
    >>> rows = csr_array(np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1]]))
    >>> fold, cluster = sphere_folds(rows, (0.4,), 2)
    >>> (fold[0] == fold[1], fold[0] == fold[2])
    (np.True_, np.False_)
    """
    cluster = sphere_clusters(features, radii)
    return deal(cluster, folds)[cluster], cluster


def sphere_clusters(features: csr_array, radii: tuple[float, ...]) -> NDArray[np.int64]:
    """Return (n,) clusters 0, 1, ... of rows by Tanimoto distance.

    Rows are gone through in an order of their own content (those with most features first). One that is
    further than the radius from every leader so far becomes a leader. Then every row joins its nearest leader.
    With several growing radii, the leaders of one are clustered with the next, and rows follow their leader.

    Parameters
    ----------
    features
        (n, d) features; what is stored counts as present.
    radii
        Tanimoto distances, growing, below 1.

    References
    ----------
    Butina, J. Chem. Inf. Comput. Sci. 39, 747 (1999); leader-follower with an inverted index and growing radii as
    in ChemFold (MELLODDY).

    Examples
    --------
    >>> rows = csr_array(np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1]]))
    >>> sphere_clusters(rows, (0.4,)).tolist()
    [0, 0, 1]
    """
    if list(radii) != sorted(radii) or any(not 0 <= radius < 1 for radius in radii):
        message = f"The radii of sphere exclusion must grow from 0 to below 1; got {tuple(radii)}."
        raise ConfigError(message)
    rows = csr_array(features)
    rows.sort_indices()
    order = _own_order(rows)
    member = np.empty(len(order), np.int64)
    member[order] = np.arange(len(order))
    rows = rows[order]
    for radius in radii:
        leaders, nearest = _cluster(rows, radius)
        member, rows = nearest[member], rows[leaders]
    # numbered by first appearance, so that the same groups have the same numbers
    _, first, codes = np.unique(member, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return rank[codes]


def _own_order(rows: csr_array) -> NDArray[np.int64]:
    """Return an order of rows that depends on what they hold, not on where they stand: most features first."""
    content = row_content(rows)
    return np.lexsort((content[:, 1], content[:, 0], -np.diff(rows.indptr)))


def _cluster(rows: csr_array, radius: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the leaders (rows, ascending) and the place of each row's nearest leader among them."""
    indptr, indices = rows.indptr.astype(np.int64), rows.indices.astype(np.int64)
    often = np.bincount(indices, minlength=rows.shape[1])
    start = np.concatenate([[0], np.cumsum(often)])
    found = _leaders(indptr, indices, start, 1 - radius)
    leaders = np.flatnonzero(found)
    return leaders, _followers(indptr, indices, start, leaders)


@njit(cache=True)
def _leaders(indptr: Any, indices: Any, start: Any, similarity: float) -> Any:  # pragma: no cover
    n = len(indptr) - 1
    filled = start[:-1].copy()
    posting = np.empty(start[-1], np.int64)
    shared = np.zeros(n, np.int64)
    touched = np.empty(n, np.int64)
    leader = np.zeros(n, np.bool_)
    for row in range(n):
        own = indptr[row + 1] - indptr[row]
        count = _count_shared(indptr, indices, row, start, filled, posting, shared, touched)
        alone = True
        for place in range(count):
            other = touched[place]
            union = own + indptr[other + 1] - indptr[other] - shared[other]
            if shared[other] >= similarity * union:
                alone = False
            shared[other] = 0
        if alone:
            leader[row] = True
            for at in range(indptr[row], indptr[row + 1]):
                posting[filled[indices[at]]] = row
                filled[indices[at]] += 1
    return leader


@njit(cache=True)
def _followers(indptr: Any, indices: Any, start: Any, leaders: Any) -> Any:  # pragma: no cover
    n = len(indptr) - 1
    filled = start[:-1].copy()
    posting = np.empty(start[-1], np.int64)
    place_of = np.zeros(n, np.int64)
    for place in range(len(leaders)):
        place_of[leaders[place]] = place
        for at in range(indptr[leaders[place]], indptr[leaders[place] + 1]):
            posting[filled[indices[at]]] = leaders[place]
            filled[indices[at]] += 1
    shared = np.zeros(n, np.int64)
    touched = np.empty(n, np.int64)
    nearest = np.empty(n, np.int64)
    for row in range(n):
        own = indptr[row + 1] - indptr[row]
        count = _count_shared(indptr, indices, row, start, filled, posting, shared, touched)
        best, choice = -1.0, row if count == 0 else 0
        for place in range(count):
            other = touched[place]
            value = shared[other] / (own + indptr[other + 1] - indptr[other] - shared[other])
            if value > best or (value == best and other < choice):
                best, choice = value, other
            shared[other] = 0
        nearest[row] = place_of[choice]
    return nearest


@njit(cache=True)
def _count_shared(  # noqa: PLR0913, PLR0917 - compiled, and the arrays are one index
    indptr: Any, indices: Any, row: int, start: Any, filled: Any, posting: Any, shared: Any, touched: Any
) -> int:  # pragma: no cover
    """Count the features that a row shares with each row of the index; return how many share any."""
    count = 0
    for at in range(indptr[row], indptr[row + 1]):
        column = indices[at]
        for one in range(start[column], filled[column]):
            other = posting[one]
            if shared[other] == 0:
                touched[count] = other
                count += 1
            shared[other] += 1
    return count
