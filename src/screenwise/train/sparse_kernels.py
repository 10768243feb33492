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

FUSED = {"contract", "nsz"}
"""A product and a sum may round once; nothing is reordered."""
LINE = 16
"""float32 values of a cache line."""
COLUMN_WORK = 4
"""Work of a column's update, in entries: its weights and moments are read and written."""
FAR = 16
"""How many columns before a column's turn its slot and last use are asked for; its rows, which they lead to, one."""


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


@njit(inline="always")
def _ask_place(table: Any, column: int) -> None:  # pragma: no cover
    ask_for(table[2], column)
    ask_for(table[3], column)


@njit(inline="always")
def _ask_column(table: Any, column: int, before: int) -> None:  # pragma: no cover
    """Ask for a column's weights, and for its moments where it was last used before some step."""
    weight, moments, slot, seen = table
    _ask(weight[column])
    if slot[column] >= 0 and seen[column] < before:
        _ask(moments[slot[column], 0])
        _ask(moments[slot[column], 1])


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
def _columns_within(entries: Any, part: tuple[int, int]) -> Any:  # pragma: no cover
    """Return (n, 3) the columns with entries in the rows `part`, the first of them, and the one after the last."""
    columns, starts, rows, _ = entries
    found = np.empty((len(starts) - 1, 3), np.int64)
    count = 0
    for rank in range(len(starts) - 1):
        begin, end = starts[rank], starts[rank + 1]
        while begin < end and rows[begin] < part[0]:
            begin += 1
        while end > begin and rows[end - 1] >= part[1]:
            end -= 1
        found[count, 0], found[count, 1], found[count, 2] = columns[rank], begin, end
        count += begin < end
    return found[:count]


@njit(inline="always")
def _add(entries: Any, begin: int, end: int, source: Any, out: Any) -> None:  # pragma: no cover
    """Add a column's weights to the sums of its rows."""
    for entry in range(begin, end):
        value, total = entries[3][entry], out[entries[2][entry]]
        for unit in range(source.shape[0]):
            total[unit] += value * source[unit]


@njit(inline="always")
def _add_present(row: Any, moments: Any, skipped: Any, value: float, total: Any) -> None:  # pragma: no cover
    """Add to a sum the weights of a column that waited, as dense Adam would have them by now."""
    mean, square = moments
    keep, p0, p1, q0, q1 = skipped
    for unit in range(row.shape[0]):
        root = np.sqrt(square[unit])
        total[unit] += value * (keep * row[unit] - mean[unit] * (p0 + p1 * root) / (q0 + q1 * root + square[unit]))


@njit(cache=True, nogil=True, fastmath=FUSED, error_model="numpy")
def gather_deferred(
    entries: Any, table: Any, skipped: Any, now: int, out: Any, part: tuple[int, int]
) -> None:  # pragma: no cover
    """Sum the weight rows that dense Adam would have by now, for the rows `part` of a batch; they go on waiting.

    Parameters
    ----------
    entries
        What `screenwise.train.sparse_sort.sort_by_column` returned.
    table
        weight (d, h), moments (slots, 2, h), slot (d,) of a column's moments or -1, seen (d,) step of last use.
    skipped
        (steps, 5) what a row missed since each step, see `screenwise.train.sparse_skipped`.
    now
        Present step.
    out
        (b, h) sums.
    part
        First row, and the one after the last.
    """
    weight, moments, slot, seen = table
    out[part[0] : part[1]] = 0
    current = np.empty(weight.shape[1], np.float32)
    own = _columns_within(entries, part)
    for place in range(len(own)):
        if place + FAR < len(own):
            _ask_place(table, own[place + FAR, 0])
        if place + 1 < len(own):
            _ask_column(table, own[place + 1, 0], now)
        column, begin, end = own[place]
        row = weight[column]
        if seen[column] == now:
            _add(entries, begin, end, row, out)
            continue
        keep, p0, p1, q0, q1 = skipped[seen[column]]
        if slot[column] < 0:
            for unit in range(current.shape[0]):
                current[unit] = keep * row[unit]
            _add(entries, begin, end, current, out)
            continue
        mean, square = moments[slot[column], 0], moments[slot[column], 1]
        if end == begin + 1:
            # most columns that waited have one entry; writing them to the buffer first took a fifth of the time
            _add_present(row, (mean, square), skipped[seen[column]], entries[3][begin], out[entries[2][begin]])
            continue
        for unit in range(current.shape[0]):
            root = np.sqrt(square[unit])
            current[unit] = keep * row[unit] - mean[unit] * (p0 + p1 * root) / (q0 + q1 * root + square[unit])
        _add(entries, begin, end, current, out)


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
            _ask_place(table, columns[rank + FAR])
        if rank + 1 < part[1]:
            _ask_column(table, columns[rank + 1], now + 1)
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
