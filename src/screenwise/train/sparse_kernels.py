"""Compiled loops of the sparse first layer, each over a range of rows or columns that one thread takes.

A column's weight row is 1 to 2 kB at a random place of a table of gigabytes, so what a step costs is how
long it waits for memory. The loops therefore go over the batch column by column (each row of weights and
moments is read once per pass) and ask for the next column's rows while they work on the present one.
No result depends on how the ranges are cut.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from screenwise.train.threads import in_parts

FUSED = {"contract", "nsz"}
"""A product and a sum may round once; nothing is reordered."""
DIGIT = 11
"""Bits of one pass of the radix sort, and of the digit by which threads share it."""
LINE = 16
"""float32 values of a cache line."""
COLUMN_WORK = 4
"""Work of a column's update, in entries: its weights and moments are read and written."""
AHEAD, FAR = 3, 16
"""How many columns before its turn the sums ask for a column's rows, and before that for where they are (measured)."""


def aligned(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return uninitialised float32 memory that begins on a cache line, in large pages where the system has them.

    Examples
    --------
    >>> aligned((3, 2)).shape
    (3, 2)
    """
    count = math.prod(shape)
    held = np.empty(count + LINE, np.float32)
    first = -(held.ctypes.data // held.itemsize) % LINE
    return held[first : first + count].reshape(shape)


@intrinsic
def ask_for(typingctx: Any, array: Any, place: Any) -> Any:  # pragma: no cover
    """Tell the processor that ``array[place]`` will be read soon."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        held = context.make_array(signature.args[0])(context, builder, args[0])
        address = builder.bitcast(builder.gep(held.data, [args[1]]), ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address.type, word, word, word])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
        # to read, into the second cache (the first has too few places to wait in), as data
        builder.call(prefetch, [address, *(ir.Constant(word, number) for number in (0, 2, 1))])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@njit(inline="always")
def _ask(row: Any) -> None:  # pragma: no cover
    for place in range(0, row.shape[0], LINE):
        ask_for(row, place)


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
    """Sort by one digit, whose entries begin at `begins`; equal ones stay in order."""
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


@njit(cache=True, nogil=True, fastmath=FUSED, error_model="numpy")
def gather(batch: Any, weight: Any, out: Any, part: tuple[int, int]) -> None:  # pragma: no cover
    """Sum weight rows for the rows `part` of a CSR batch (indptr, indices, data)."""
    indptr, indices, data = batch
    for row in range(part[0], part[1]):
        total = out[row]
        total[:] = 0
        for entry in range(indptr[row], indptr[row + 1]):
            if entry + 4 < len(indices):
                _ask(weight[indices[entry + 4]])
            value, source = data[entry], weight[indices[entry]]
            for unit in range(total.shape[0]):
                total[unit] += value * source[unit]


@njit(inline="always")
def _add(entries: Any, rank: int, source: Any, out: Any, units: tuple[int, int]) -> None:  # pragma: no cover
    """Add a column's weights (units) to the sums of its rows."""
    for entry in range(entries[1][rank], entries[1][rank + 1]):
        value, total = entries[3][entry], out[entries[2][entry], units[0] : units[1]]
        for unit in range(source.shape[0]):
            total[unit] += value * source[unit]


@njit(cache=True, nogil=True, fastmath=FUSED, error_model="numpy")
def gather_deferred(
    entries: Any, table: Any, skipped: Any, now: int, out: Any, part: tuple[int, int]
) -> None:  # pragma: no cover
    """Sum the weight rows that dense Adam would have by now, for the cache lines `part` of every row.

    Nothing is written but ``out``: a row that waits goes on waiting. Threads share the units and not the rows of
    the batch, since rows have columns in common, which each thread would read.

    Parameters
    ----------
    entries
        What `sort_by_column` returned.
    table
        weight (d, h), moments (slots, 2, h), slot (d,) of a column's moments or -1, seen (d,) step of last use.
    skipped
        (steps, 5) what a row missed since each step, see `screenwise.train.sparse_skipped`.
    now
        Present step.
    out
        (b, h) sums.
    part
        First `LINE` of units, and the one after the last.
    """
    columns, starts, rows, values = entries
    weight, moments, slot, seen = table
    first, last = units = part[0] * LINE, min(part[1] * LINE, weight.shape[1])
    out[:, first:last] = 0
    current = np.empty(last - first, np.float32)
    for rank in range(len(columns)):
        if rank + FAR < len(columns):
            ask_for(slot, columns[rank + FAR])
            ask_for(seen, columns[rank + FAR])
        if rank + AHEAD < len(columns):
            column = columns[rank + AHEAD]
            _ask(weight[column, first:last])
            if slot[column] >= 0 and seen[column] < now:
                _ask(moments[slot[column], 0, first:last])
                _ask(moments[slot[column], 1, first:last])
        column = columns[rank]
        row = weight[column, first:last]
        if seen[column] == now:
            _add(entries, rank, row, out, units)
            continue
        keep, p0, p1, q0, q1 = skipped[seen[column]]
        if slot[column] < 0:
            for unit in range(current.shape[0]):
                current[unit] = keep * row[unit]
            _add(entries, rank, current, out, units)
            continue
        mean, square = moments[slot[column], 0, first:last], moments[slot[column], 1, first:last]
        if starts[rank + 1] == starts[rank] + 1:
            # most columns: without a buffer
            value, total = values[starts[rank]], out[rows[starts[rank]], first:last]
            for unit in range(current.shape[0]):
                root = np.sqrt(square[unit])
                moved = mean[unit] * (p0 + p1 * root) / (q0 + q1 * root + square[unit])
                total[unit] += value * (keep * row[unit] - moved)
            continue
        for unit in range(current.shape[0]):
            root = np.sqrt(square[unit])
            current[unit] = keep * row[unit] - mean[unit] * (p0 + p1 * root) / (q0 + q1 * root + square[unit])
        _add(entries, rank, current, out, units)


@njit(inline="always")
def _column_gradient(entries: Any, rank: int, upstream: Any, found: Any) -> None:  # pragma: no cover
    found[:] = 0
    for entry in range(entries[1][rank], entries[1][rank + 1]):
        value, source = entries[3][entry], upstream[entries[2][entry]]
        for unit in range(found.shape[0]):
            found[unit] += value * source[unit]


@njit(cache=True, nogil=True, fastmath=FUSED, error_model="numpy")
def column_gradients(entries: Any, upstream: Any, out: Any, part: tuple[int, int]) -> None:  # pragma: no cover
    """Write the weight gradient of the columns `part` of a batch to ``out`` (u, h)."""
    for rank in range(part[0], part[1]):
        _column_gradient(entries, rank, upstream, out[rank])


@njit(cache=True, nogil=True, fastmath=FUSED, error_model="numpy")
def squared_lengths(entries: Any, upstream: Any, out: Any, part: tuple[int, int]) -> None:  # pragma: no cover
    """Write the squared length of the weight gradient of the columns `part` of a batch to ``out`` (u,)."""
    gradient = np.empty(upstream.shape[1], np.float32)
    for rank in range(part[0], part[1]):
        _column_gradient(entries, rank, upstream, gradient)
        total = 0.0
        for unit in range(gradient.shape[0]):
            total += gradient[unit] * gradient[unit]
        out[rank] = total


@njit(cache=True, nogil=True)
def begin_columns(entries: Any, slot: Any, filled: int) -> Any:  # pragma: no cover
    """Give the new columns of a batch the next slots; return how many are filled, and the work until each column."""
    columns, starts = entries[:2]
    work = np.empty(len(starts), np.int64)
    work[0] = 0
    for rank in range(len(columns)):
        if rank + FAR < len(columns):
            ask_for(slot, columns[rank + FAR])
        work[rank + 1] = starts[rank + 1] + COLUMN_WORK * (rank + 1)
        if slot[columns[rank]] < 0:
            slot[columns[rank]] = filled
            filled += 1
    return filled, work


@njit(cache=True, nogil=True, fastmath=FUSED, error_model="numpy")
def update_columns(
    entries: Any, upstream: Any, table: Any, skipped: Any, numbers: Any, part: tuple[int, int]
) -> None:  # pragma: no cover
    """Catch up, and take one Adam step on, the weight rows of the columns `part` of a batch.

    The gradient of a column is summed where it is used and never stored.

    Parameters
    ----------
    entries, table, skipped, part
        As for `gather_deferred`; every column has a slot.
    upstream
        (b, h) gradient of the layer's sums.
    numbers
        now, slots filled before this step; rates of decay of the moments by steps missed (steps, 2);
        beta1, 1 - beta1, beta2, 1 - beta2, rate, root of 1 / (1 - beta2^t), eps, what decay keeps (8,).
    """
    columns = entries[0]
    weight, moments, slot, seen = table
    now, filled, powers, settings = numbers
    beta1, rest1, beta2, rest2, rate, correction, eps, keep_now = settings
    one = np.float32(1.0)
    gradient = np.empty(weight.shape[1], np.float32)
    for rank in range(part[0], part[1]):
        if rank + FAR < part[1]:
            ask_for(slot, columns[rank + FAR])
            ask_for(seen, columns[rank + FAR])
        if rank + 1 < part[1]:
            column = columns[rank + 1]
            _ask(weight[column])
            _ask(moments[slot[column], 0])
            _ask(moments[slot[column], 1])
        column = columns[rank]
        _column_gradient(entries, rank, upstream, gradient)
        row, mean, square = weight[column], moments[slot[column], 0], moments[slot[column], 1]
        keep, p0, p1, q0, q1 = skipped[seen[column]]
        if slot[column] >= filled:
            mean[:] = 0
            square[:] = 0
        elif seen[column] < now:
            fade1, fade2 = powers[now - seen[column]]
            for unit in range(gradient.shape[0]):
                root = np.sqrt(square[unit])
                row[unit] = keep * row[unit] - mean[unit] * (p0 + p1 * root) / (q0 + q1 * root + square[unit])
                mean[unit] *= fade1
                square[unit] *= fade2
            keep = one
        for unit in range(gradient.shape[0]):
            g = gradient[unit]
            m = beta1 * mean[unit] + rest1 * g
            v = beta2 * square[unit] + rest2 * g * g
            mean[unit], square[unit] = m, v
            row[unit] = keep_now * (keep * row[unit]) - rate * m / (np.sqrt(v) * correction + eps)
        seen[column] = now + 1


@njit(cache=True, nogil=True, fastmath=FUSED, error_model="numpy")
def catch_up(table: Any, skipped: Any, powers: Any, now: int, part: tuple[int, int]) -> None:  # pragma: no cover
    """Bring the weight rows and moments `part` to the present step; their count starts again at 0."""
    weight, moments, slot, seen = table
    for column in range(part[0], part[1]):
        row, missed = weight[column], now - seen[column]
        keep, p0, p1, q0, q1 = skipped[seen[column]]
        seen[column] = 0
        if missed == 0:
            continue
        if slot[column] < 0:
            if keep != 1:
                for unit in range(row.shape[0]):
                    row[unit] *= keep
            continue
        mean, square = moments[slot[column], 0], moments[slot[column], 1]
        fade1, fade2 = powers[missed]
        for unit in range(row.shape[0]):
            root = np.sqrt(square[unit])
            row[unit] = keep * row[unit] - mean[unit] * (p0 + p1 * root) / (q0 + q1 * root + square[unit])
            mean[unit] *= fade1
            square[unit] *= fade2
