"""Conditions against conditions: the similarities that kernels, domains and splits are made of.

The functions compare arrays; the small classes carry a similarity's settings inside a
`screenwise.represent.kernels.Kernel`: called with one or two sets of features they give the matrix,
`diagonal` gives what a condition has with itself, and `fit` learns a length from features.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from screenwise.represent.tanimoto import count_tanimoto, count_tanimoto_nearest

__all__ = [
    "Cosine",
    "CosineRbf",
    "CountTanimoto",
    "ExpHamming",
    "Linear",
    "Rbf",
    "cosine",
    "count_tanimoto",
    "count_tanimoto_nearest",
    "exp_hamming",
    "hamming",
    "linear",
    "median_distance",
    "rbf",
    "squared_distance",
]

MEDIAN_ROWS = 1_000
"""Rows that a median distance is taken over; spread evenly, so that no random number is needed."""


def linear(a: Any, b: Any = None) -> NDArray[np.float32]:
    """Return (na, nb) inner products of dense or sparse rows; sparse columns may be any 63-bit ids.

    Examples
    --------
    >>> linear(np.array([[1.0, 2.0], [0.0, 1.0]])).tolist()
    [[5.0, 2.0], [2.0, 1.0]]
    """
    if not issparse(a):
        other = a if b is None else b
        return np.asarray(a, np.float32) @ np.asarray(other, np.float32).T
    left, right = _compact(a, b)
    return np.asarray((left @ right.T).toarray(), np.float32)


def cosine(a: Any, b: Any = None) -> NDArray[np.float32]:
    """Return (na, nb) cosines of dense or sparse rows; an empty row has cosine 0 with all.

    Examples
    --------
    >>> cosine(np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[6.0, 8.0]])).round(3).tolist()
    [[1.0], [0.0]]
    """
    left = _norms(a)
    right = left if b is None else _norms(b)
    return linear(a, b) / left[:, None] / right[None, :]


def squared_distance(a: NDArray[Any], b: NDArray[Any] | None = None) -> NDArray[np.float32]:
    """Return (na, nb) squared Euclidean distances of dense rows.

    Examples
    --------
    >>> squared_distance(np.array([[0.0, 0.0], [3.0, 4.0]])).tolist()
    [[0.0, 25.0], [25.0, 0.0]]
    """
    left = np.asarray(a, np.float64)
    right = left if b is None else np.asarray(b, np.float64)
    products = left @ right.T
    out = np.empty(products.shape, np.float32)
    _subtract_products(products, np.square(left).sum(axis=1), np.square(right).sum(axis=1), out)
    if b is None:
        np.fill_diagonal(out, 0.0)
    return out


@njit(cache=True, nogil=True)
def _subtract_products(products: Any, left: Any, right: Any, out: Any) -> None:  # pragma: no cover
    """Write |a|^2 + |b|^2 - 2 ab, at least 0, in one pass over what is much larger than a cache."""
    for row in range(products.shape[0]):
        for other in range(products.shape[1]):
            out[row, other] = max(-2.0 * products[row, other] + left[row] + right[other], 0.0)


def rbf(a: NDArray[Any], b: NDArray[Any] | None = None, length: float = 1.0) -> NDArray[np.float32]:
    """Return (na, nb) exp(-d^2 / (2 length^2)), d the Euclidean distance of dense rows.

    Examples
    --------
    >>> rbf(np.array([[0.0], [1.0]]), length=1.0).round(4)
    array([[1.    , 0.6065],
           [0.6065, 1.    ]], dtype=float32)
    """
    return np.exp(squared_distance(a, b) / np.float32(-2 * length**2))


def hamming(a: NDArray[np.uint8], b: NDArray[np.uint8] | None = None) -> NDArray[np.float32]:
    """Return (na, nb) numbers of places where rows of codes differ.

    Examples
    --------
    >>> hamming(np.array([[1, 2, 3], [1, 0, 0]], np.uint8)).tolist()
    [[0.0, 2.0], [2.0, 0.0]]
    """
    left = np.ascontiguousarray(a)
    right = left if b is None else np.ascontiguousarray(b)
    out = np.empty((left.shape[0], right.shape[0]), np.float32)
    _count_differences(left, right, out)
    return out


def exp_hamming(a: NDArray[np.uint8], b: NDArray[np.uint8] | None = None, length: float = 1.0) -> NDArray[np.float32]:
    """Return (na, nb) exp(-differences / length).

    Examples
    --------
    >>> exp_hamming(np.array([[1, 2], [1, 3]], np.uint8), length=0.5).round(2)
    array([[1.  , 0.14],
           [0.14, 1.  ]], dtype=float32)
    """
    return np.exp(hamming(a, b) / np.float32(-length))


def median_distance(features: NDArray[Any]) -> float:
    """Return the median Euclidean distance of distinct rows (of at most `MEDIAN_ROWS`), 1.0 where there is none.

    Examples
    --------
    >>> median_distance(np.array([[0.0], [1.0], [3.0]]))
    2.0
    """
    some = _spread_rows(features)
    between = squared_distance(some)[np.triu_indices(len(some), 1)]
    between = between[between > 0]
    return float(np.sqrt(np.median(between))) if len(between) else 1.0


@dataclass(frozen=True)
class CountTanimoto:
    """Count Tanimoto of sparse counts, to a power."""

    power: float = 1.0

    def __call__(self, a: csr_array, b: csr_array | None = None) -> NDArray[np.float32]:
        """Return (na, nb)."""
        out = count_tanimoto(a, b)
        return out if self.power == 1.0 else out**self.power

    def diagonal(self, a: csr_array) -> NDArray[np.float32]:
        """Return (n,) ones."""
        return np.ones(a.shape[0], np.float32)


@dataclass(frozen=True)
class Linear:
    """Inner product."""

    def __call__(self, a: Any, b: Any = None) -> NDArray[np.float32]:
        """Return (na, nb)."""
        return linear(a, b)

    def diagonal(self, a: Any) -> NDArray[np.float32]:
        """Return (n,) squared norms."""
        return _squared_norms(a).astype(np.float32)


@dataclass(frozen=True)
class Cosine:
    """Cosine; rows without any feature are similar to nothing."""

    def __call__(self, a: Any, b: Any = None) -> NDArray[np.float32]:
        """Return (na, nb)."""
        return cosine(a, b)

    def diagonal(self, a: Any) -> NDArray[np.float32]:
        """Return (n,) 1, or 0 for an empty row."""
        return (_squared_norms(a) > 0).astype(np.float32)


@dataclass(frozen=True)
class CosineRbf:
    """Squared exponential of the distance of rows of norm 1; rows without any feature lie at zero."""

    length: float = 0.7

    def __call__(self, a: Any, b: Any = None) -> NDArray[np.float32]:
        """Return (na, nb)."""
        left = (_squared_norms(a) > 0).astype(np.float32)
        right = left if b is None else (_squared_norms(b) > 0).astype(np.float32)
        distance = left[:, None] + right[None, :] - 2 * cosine(a, b)
        return np.exp(np.maximum(distance, 0.0) / np.float32(-2 * self.length**2))

    def diagonal(self, a: Any) -> NDArray[np.float32]:
        """Return (n,) ones."""
        return np.ones(a.shape[0], np.float32)


@dataclass(frozen=True)
class Rbf:
    """Squared exponential of the Euclidean distance."""

    factor: float = 1.0
    """The length is this times the median distance of the rows that were fitted; 0 = stays as it is."""
    length: float = 1.0
    """The length in use."""

    def fit(self, features: NDArray[Any]) -> Self:
        """Return the same similarity with its length set from features."""
        return replace(self, length=self.factor * median_distance(features)) if self.factor else self

    def __call__(self, a: NDArray[Any], b: NDArray[Any] | None = None) -> NDArray[np.float32]:
        """Return (na, nb)."""
        return rbf(a, b, self.length)

    def diagonal(self, a: NDArray[Any]) -> NDArray[np.float32]:
        """Return (n,) ones."""
        return np.ones(a.shape[0], np.float32)


@dataclass(frozen=True)
class ExpHamming:
    """Exponential of the number of differing places."""

    length: float = 1.0
    """Differences that bring the similarity to 1/e."""

    def fit(self, features: NDArray[np.uint8]) -> Self:
        """Return the same similarity with a quarter of the median difference as its length, 1 at least."""
        some = _spread_rows(features)
        between = hamming(some)[np.triu_indices(len(some), 1)]
        return replace(self, length=max(1.0, float(np.median(between)) / 4 if len(between) else 1.0))

    def __call__(self, a: NDArray[np.uint8], b: NDArray[np.uint8] | None = None) -> NDArray[np.float32]:
        """Return (na, nb)."""
        return exp_hamming(a, b, self.length)

    def diagonal(self, a: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (n,) ones."""
        return np.ones(a.shape[0], np.float32)


def _spread_rows(features: NDArray[Any]) -> NDArray[Any]:
    n = features.shape[0]
    return features if n <= MEDIAN_ROWS else features[np.linspace(0, n - 1, MEDIAN_ROWS).astype(np.int64)]


def _squared_norms(a: Any) -> NDArray[np.float64]:
    if not issparse(a):
        return np.square(np.asarray(a, np.float64)).sum(axis=1)
    total = np.concatenate([[0.0], np.cumsum(np.square(a.data.astype(np.float64)))])
    return total[a.indptr[1:]] - total[a.indptr[:-1]]


def _norms(a: Any) -> NDArray[np.float32]:
    norms = np.sqrt(_squared_norms(a))
    return np.where(norms > 0, norms, 1.0).astype(np.float32)


def _compact(a: csr_array, b: csr_array | None) -> tuple[csr_array, csr_array]:
    """Give columns the places 0, 1, 2, ...: a product wants an array as long as there are columns."""
    other = a if b is None else b
    codes = pd.factorize(np.concatenate([a.indices, other.indices]))[0]
    width = int(codes.max(initial=-1)) + 1
    left = csr_array((a.data.astype(np.float32), codes[: a.nnz], a.indptr), shape=(a.shape[0], width))
    right = csr_array((other.data.astype(np.float32), codes[a.nnz :], other.indptr), shape=(other.shape[0], width))
    return left, right


@njit(cache=True)
def _count_differences(left: Any, right: Any, out: Any) -> None:  # pragma: no cover
    for row in range(out.shape[0]):
        for other in range(out.shape[1]):
            different = 0
            for site in range(left.shape[1]):
                different += left[row, site] != right[other, site]
            out[row, other] = different
