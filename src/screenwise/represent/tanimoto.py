"""Count Tanimoto similarity by inverted index: the kernel that compounds are compared with."""

from typing import Any

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array

from screenwise.errors import DataError

DENSE_SHARE = 0.06
"""Features in more than this share of the rows are compared as whole columns, which a processor does in one go."""

FEW_COLUMNS = 2**22
"""Up to so many columns their places serve as codes; more, such as unfolded feature ids, are numbered first."""

_BLOCK = 64


def count_tanimoto(a: csr_array, b: csr_array | None = None) -> NDArray[np.float32]:
    """Return (na, nb) count Tanimoto (MinMax) similarities: sum of minima over sum of maxima.

    An inverted index is walked: for each feature of a row, the rows that share it. Cost is the
    number of shared features of all pairs, not rows x rows x columns. Two empty rows have
    similarity 1, an empty and another one 0.

    Parameters
    ----------
    a, b
        (na, d) and (nb, d) counts >= 0; columns may be any 63-bit ids. b None = a, at half the cost.

    References
    ----------
    Ralaivola et al., Neural Networks 18, 1093 (2005), equation 12.

    Examples
    --------
    >>> a = csr_array(np.array([[2, 0, 1], [1, 1, 1]]))
    >>> count_tanimoto(a).round(3).tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    """
    query, index, sums = _prepare(a, b)
    out = np.empty((a.shape[0], (a if b is None else b).shape[0]), np.float32)
    if b is None:
        _fill_symmetric(query, index, sums[0], out)
    else:
        _fill(query, index, sums, out)
    return out


def count_tanimoto_nearest(
    a: csr_array, b: csr_array | None = None, k: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the k most similar rows of `b` for each row of `a`, without the whole matrix in memory.

    Parameters
    ----------
    a, b
        (na, d) and (nb, d) counts >= 0. b None = the other rows of a.
    k
        Neighbours, at most the rows there are.

    Returns
    -------
    index, similarity
        (na, k) each, most similar first; of equal ones the first row.

    Examples
    --------
    >>> a = csr_array(np.array([[2, 0, 1], [1, 1, 1], [2, 0, 2]]))
    >>> count_tanimoto_nearest(a)[0].ravel().tolist()
    [2, 0, 0]
    """
    there = a.shape[0] - 1 if b is None else b.shape[0]
    if not 1 <= k <= there:
        message = f"Asked for {k} nearest rows among {there}; k must be 1 to {there}."
        raise DataError(message)
    query, index, sums = _prepare(a, b)
    nearest = np.empty((a.shape[0], k), np.int64)
    similarity = np.full((a.shape[0], k), -1, np.float32)
    _nearest(query, index, sums, (nearest, similarity), b is None)
    return nearest, similarity


def _prepare(a: csr_array, b: csr_array | None) -> tuple[Any, Any, Any]:
    """Return the rows asked about, the inverted index of the rows known, and the sums of both."""
    known = a if b is None else b
    whole = all(np.issubdtype(side.dtype, np.integer) or side.dtype == bool for side in (a, known))
    kind = np.int32 if whole else np.float64
    for side in (a, known):
        if side.nnz and side.data.min() < 0:
            message = f"Count Tanimoto needs counts >= 0; found {side.data.min()}."
            raise DataError(message)
    own, asked, columns = _columns(a, known)
    rows = csr_array((known.data.astype(kind), own, known.indptr), shape=(known.shape[0], columns)).tocsc()
    data = rows.data if b is None else a.data.astype(kind)
    if b is None:
        data = known.data.astype(kind)
    query = (a.indptr.astype(np.int64), asked, data)
    sums = (_row_sums(query), _row_sums((known.indptr.astype(np.int64), own, known.data.astype(kind))))
    return query, (*_whole_columns(rows), rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data), sums


def _columns(a: csr_array, known: csr_array) -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
    """Return codes of the known rows' features, of those of `a`, and how many the known rows have."""
    if max(a.shape[1], known.shape[1]) <= FEW_COLUMNS:
        return known.indices.astype(np.int32), a.indices.astype(np.int32), max(a.shape[1], known.shape[1])
    # one pass over all ids: those that only `a` has are numbered after the known ones
    ids = known.indices if known is a else np.concatenate([known.indices, a.indices])
    codes = pd.factorize(ids)[0].astype(np.int32)
    own, asked = codes[: known.nnz], codes if known is a else codes[known.nnz :]
    return own, asked, int(own.max()) + 1 if len(own) else 0


def _whole_columns(rows: Any) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Return each column's place among the frequent ones (-1 = rare), and those as (f, n) numbers."""
    frequent = np.flatnonzero(np.diff(rows.indptr) > DENSE_SHARE * rows.shape[0])
    place = np.full(rows.shape[1], -1, np.int32)
    place[frequent] = np.arange(len(frequent))
    return place, np.ascontiguousarray(rows[:, frequent].T.toarray())


def _row_sums(rows: Any) -> NDArray[Any]:
    indptr, _, data = rows
    total = np.concatenate([np.zeros(1, data.dtype if data.dtype.kind == "f" else np.int64), np.cumsum(data)])
    return total[indptr[1:]] - total[indptr[:-1]]


@njit(cache=True)
def _share(query: Any, index: Any, row: int, most: int, shared: Any) -> None:  # pragma: no cover
    """Write the sums of minima of one row with the known rows 0 .. most - 1."""
    indptr, codes, data = query
    place, whole, start, rows, counts = index
    shared[:most] = 0
    for at in range(indptr[row], indptr[row + 1]):
        code, count = codes[at], data[at]
        if code >= len(place):
            continue
        if place[code] >= 0:
            column = whole[place[code]]
            for other in range(most):
                shared[other] += min(count, column[other])
        else:
            for posting in range(start[code], start[code + 1]):
                other = rows[posting]
                if other >= most:
                    break
                shared[other] += min(count, counts[posting])


@njit(cache=True)
def _fill(query: Any, index: Any, sums: Any, out: Any) -> None:  # pragma: no cover
    own, known = sums
    shared = np.zeros(out.shape[1], query[2].dtype)
    for row in range(out.shape[0]):
        _share(query, index, row, out.shape[1], shared)
        for other in range(out.shape[1]):
            union = own[row] + known[other] - shared[other]
            out[row, other] = shared[other] / union if union > 0 else 1.0


@njit(cache=True)
def _fill_symmetric(query: Any, index: Any, sums: Any, out: Any) -> None:  # pragma: no cover
    n = out.shape[0]
    shared = np.zeros(n, query[2].dtype)
    for row in range(n):
        _share(query, index, row, row, shared)
        for other in range(row):
            union = sums[row] + sums[other] - shared[other]
            out[row, other] = shared[other] / union if union > 0 else 1.0
        out[row, row] = 1.0
    # mirrored by blocks: columns of a row-major matrix are slow to walk
    for top in range(0, n, _BLOCK):
        for left in range(0, top + 1, _BLOCK):
            for row in range(top, min(top + _BLOCK, n)):
                for other in range(left, min(left + _BLOCK, row)):
                    out[other, row] = out[row, other]


@njit(cache=True)
def _nearest(query: Any, index: Any, sums: Any, found: Any, alone: bool) -> None:  # noqa: FBT001  # pragma: no cover
    own, known = sums
    nearest, similarity = found
    k = nearest.shape[1]
    shared = np.zeros(len(known), query[2].dtype)
    for row in range(nearest.shape[0]):
        _share(query, index, row, len(known), shared)
        for other in range(len(known)):
            if alone and other == row:
                continue
            union = own[row] + known[other] - shared[other]
            value = np.float32(shared[other] / union if union > 0 else 1.0)
            if value <= similarity[row, k - 1]:
                continue
            place = k - 1
            while place > 0 and similarity[row, place - 1] < value:
                similarity[row, place] = similarity[row, place - 1]
                nearest[row, place] = nearest[row, place - 1]
                place -= 1
            similarity[row, place] = value
            nearest[row, place] = other
