"""The entries of a sparse batch in order of their columns, by a radix sort that threads share."""

from typing import Any

import numpy as np
from numba import njit

from screenwise.train.threads import in_parts

DIGIT = 11
"""Bits of one pass, and of the digit by which threads share the work."""


def sort_by_column(indptr: Any, indices: Any, data: Any, features: int) -> Any:
    """Sort the entries of CSR rows by column, rows ascending within a column (radix sort).

    Returns
    -------
    tuple
        (u,) columns that occur, ascending, int32; (u + 1,) where each begins; (m,) row of each entry; (m,) value.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> rows = csr_array(np.array([[0, 2.0, 0, 0, 1.0], [0, 3.0, 0, 0, 0]], np.float32))
    >>> [part.tolist() for part in sort_by_column(rows.indptr, rows.indices, rows.data, 5)]
    [[1, 4], [0, 2, 3], [0, 1, 0], [2.0, 3.0, 1.0]]
    """
    shift = max(0, (features - 1).bit_length() - DIGIT)
    work = _count_digits(indices, shift)
    out = tuple(np.empty(len(indices), kind) for kind in (np.int32, np.int32, np.float32))
    in_parts(_sort_part, (indptr, indices, data), shift, work, out, work=work)
    return (*_runs(out[0]), out[1], out[2])


@njit(cache=True, nogil=True)
def _count_digits(indices: Any, shift: int) -> Any:  # pragma: no cover
    """Return where the entries of each highest digit will begin."""
    ends = np.zeros((1 << DIGIT) + 1, np.int64)
    for entry in range(len(indices)):
        ends[(indices[entry] >> shift) + 1] += 1
    for digit in range(1 << DIGIT):
        ends[digit + 1] += ends[digit]
    return ends


@njit(cache=True, nogil=True)
def _sort_part(batch: Any, shift: int, begins: Any, out: Any, part: tuple[int, int]) -> None:  # pragma: no cover
    """Sort the entries whose highest digit is in `part` to their places in ``out``."""
    count = begins[part[1]] - begins[part[0]]
    found = np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.float32)
    other = np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.float32)
    low = min(DIGIT, shift)
    _first_digit(batch, shift, part, (1 << low) - 1, found)
    while low < shift:
        bits = min(DIGIT, shift - low)
        _move(found, low, _begins(found[0], low, bits), (1 << bits) - 1, other)
        found, other = other, found
        low += bits
    _move(found, shift, begins[:-1].copy(), (1 << DIGIT) - 1, out)


@njit(cache=True, nogil=True)
def _first_digit(batch: Any, shift: int, part: tuple[int, int], mask: int, out: Any) -> None:  # pragma: no cover
    """Sort the entries whose highest digit is in `part` by their lowest one."""
    indptr, indices, data = batch
    first, last = part[0] << shift, part[1] << shift
    ends = np.zeros(mask + 2, np.int64)
    for entry in range(len(indices)):
        if first <= indices[entry] < last:
            ends[(indices[entry] & mask) + 1] += 1
    for digit in range(mask + 1):
        ends[digit + 1] += ends[digit]
    for row in range(len(indptr) - 1):
        for entry in range(indptr[row], indptr[row + 1]):
            column = indices[entry]
            if first <= column < last:
                target = ends[column & mask]
                ends[column & mask] = target + 1
                out[0][target], out[1][target], out[2][target] = column, row, data[entry]


@njit(cache=True, nogil=True)
def _begins(keys: Any, low: int, bits: int) -> Any:  # pragma: no cover
    """Return where the keys of each digit will begin."""
    ends = np.zeros((1 << bits) + 1, np.int64)
    for entry in range(len(keys)):
        ends[((keys[entry] >> low) & ((1 << bits) - 1)) + 1] += 1
    for digit in range(1 << bits):
        ends[digit + 1] += ends[digit]
    return ends


@njit(cache=True, nogil=True)
def _move(entries: Any, low: int, begins: Any, mask: int, out: Any) -> None:  # pragma: no cover
    """Sort by one digit, whose entries begin at `begins` (which is overwritten); equal ones stay in order."""
    keys, rows, values = entries
    for entry in range(len(keys)):
        digit = (keys[entry] >> low) & mask
        target = begins[digit]
        begins[digit] = target + 1
        out[0][target], out[1][target], out[2][target] = keys[entry], rows[entry], values[entry]


@njit(cache=True, nogil=True)
def _runs(keys: Any) -> Any:  # pragma: no cover
    """Return the different keys of a sorted list, and where each begins."""
    starts = np.empty(len(keys) + 1, np.int64)
    found = 0
    for entry in range(1, len(keys)):
        # written always and counted where a key is new: nothing for the processor to guess
        starts[found + 1] = entry
        found += keys[entry] != keys[entry - 1]
    found += len(keys) > 0
    starts[0], starts[found] = 0, len(keys)
    return keys[starts[:found]], starts[: found + 1].copy()
