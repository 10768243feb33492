"""Features of any form as one plain table, for models that want numbers per condition and not kernels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from screenwise.represent.fingerprint import UNFOLDED
from screenwise.represent.pairs import Members, Parts
from screenwise.rng import GOLDEN, scramble


def flat_features(features: Any) -> Any:
    """Return (n, d) numbers: a dense array, or a `csr_array` of 63-bit columns.

    Codes (of categories, of residues) become ones in a column per code. Members of a condition are
    summed, so that their order plays no part. Parts stand side by side.

    Examples
    --------
    >>> members = Members(np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[0, 1], [1, -1]]))
    >>> flat_features(members).tolist()
    [[4.0, 7.0], [3.0, 5.0]]
    """
    if isinstance(features, Members):
        return _summed(flat_features(features.distinct), features.codes)
    if isinstance(features, Parts):
        parts = [flat_features(part) for part in features.parts]
        if not any(issparse(part) for part in parts):
            return np.hstack(parts)
        return _side_by_side([part if issparse(part) else _sparse(part) for part in parts])
    if not issparse(features) and np.issubdtype(features.dtype, np.unsignedinteger):
        return _ones(features)
    return features


def _ones(codes: NDArray[Any]) -> csr_array:
    """Return a one per (column, code)."""
    n, columns = codes.shape
    ids = _mixed(codes.astype(np.uint64), np.arange(columns, dtype=np.uint64)[None, :])
    return csr_array((np.ones(n * columns, np.float32), ids.ravel(), np.arange(n + 1) * columns), shape=(n, UNFOLDED))


def _summed(table: Any, codes: NDArray[np.int64]) -> Any:
    if not issparse(table):
        padded = np.vstack([table, np.zeros((1, table.shape[1]), table.dtype)])
        return padded[codes].sum(axis=1)
    padded = csr_array((table.data, table.indices, np.append(table.indptr, table.indptr[-1])), shape=_taller(table))
    return _beside([padded[codes[:, member]] for member in range(codes.shape[1])])


def _taller(table: csr_array) -> tuple[int, int]:
    return table.shape[0] + 1, table.shape[1]


def _sparse(table: NDArray[Any]) -> csr_array:
    return csr_array(table.astype(np.float32))


def _side_by_side(parts: list[csr_array]) -> csr_array:
    """Give every part columns of its own, then put them beside each other."""
    own = [
        csr_array((part.data, _mixed(part.indices.astype(np.uint64), np.uint64(place)), part.indptr), shape=part.shape)
        for place, part in enumerate(parts)
    ]
    return _beside(own)


def _beside(parts: list[csr_array]) -> csr_array:
    """Return the sum of tables whose columns are 63-bit ids."""
    n = parts[0].shape[0]
    row = np.concatenate([np.repeat(np.arange(n), np.diff(part.indptr)) for part in parts])
    order = np.argsort(row, kind="stable")
    ids = np.concatenate([part.indices for part in parts])[order]
    data = np.concatenate([part.data for part in parts])[order]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n))])
    out = csr_array((data, ids.astype(np.int64), indptr), shape=(n, UNFOLDED))
    out.sum_duplicates()
    return out


def _mixed(ids: Any, place: Any) -> NDArray[np.int64]:
    """Return 63-bit ids that differ between places."""
    with np.errstate(over="ignore"):
        return (scramble(ids + (place + np.uint64(1)) * GOLDEN) >> np.uint64(1)).astype(np.int64)
