"""Products of a pool's rows with vectors and matrices, whose last digits do not depend on a row's place.

A matrix product treats the last rows of an array differently from the others, so that two equal
candidates come out a hair apart, and the hair settles what keys should. Here a product is made in
blocks of one size, the last one filled up with zeros, or row by row.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from screenwise.design.cover import SAFE

BLOCK = 512
"""Rows of one product."""


def row_blocks(features: NDArray[Any]) -> Any:
    """Yield (first row, number of rows, (BLOCK, d) rows filled up with zeros) of a pool."""
    for first in range(0, len(features), BLOCK):
        part = features[first : first + BLOCK]
        if len(part) == BLOCK:
            yield first, BLOCK, part
        else:
            padded = np.zeros((BLOCK, features.shape[1]), features.dtype)
            padded[: len(part)] = part
            yield first, len(part), padded


def row_products(features: NDArray[Any], matrix: NDArray[Any]) -> NDArray[Any]:
    """Return (n, k) products of n rows with a (d, k) matrix, in the precision of the rows.

    Examples
    --------
    >>> row_products(np.ones((3, 2), np.float32), np.eye(2)).tolist()
    [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    """
    out = np.empty((len(features), matrix.shape[1]), features.dtype)
    right = np.ascontiguousarray(matrix, features.dtype)
    for first, count, rows in row_blocks(features):
        out[first : first + count] = (rows @ right)[:count]
    return out


@njit(cache=True, fastmath=SAFE)
def row_dots(features: Any, vector: Any) -> Any:
    """Return (n,) products of n rows with a vector, in its precision."""
    out = np.zeros(features.shape[0], vector.dtype)
    for row in range(features.shape[0]):
        total = vector[0] * 0
        for column in range(features.shape[1]):
            total += features[row, column] * vector[column]
        out[row] = total
    return out


def ordered_gram(features: NDArray[Any], order: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the (d, d) sum of outer products of rows, added up in a given order, in double precision.

    Examples
    --------
    >>> ordered_gram(np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([1, 0])).tolist()
    [[1.0, 2.0], [2.0, 5.0]]
    """
    out = np.zeros((features.shape[1], features.shape[1]))
    for first in range(0, len(order), BLOCK):
        part = features[order[first : first + BLOCK]].astype(np.float64)
        out += part.T @ part
    return out
