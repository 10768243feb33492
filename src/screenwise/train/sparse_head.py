"""Outputs of a linear layer for some (row, task) cells only, at the cost of those cells where they are few."""

from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor, nn

from screenwise.train.sparse import compiled
from screenwise.train.threads import in_parts

PAIRS_BELOW = 0.07
"""Share of all cells below which compiled loops over the cells asked for are faster than the dense product
(measured, one thread, 400 units, forward and backward: twice as fast at 0.05, as fast at 0.05 to 0.2)."""
GATHERED_BELOW = 0.003
"""The same for gathers and products of torch, elsewhere than float32 on the CPU."""


def cell_outputs(embedded: Tensor, head: nn.Linear, row: Tensor, task: Tensor) -> Tensor:
    """Return the (m,) outputs ``head(embedded)[row, task]``.

    Parameters
    ----------
    embedded
        (b, h) inputs of the head.
    head
        Linear layer with a bias, h units to t tasks.
    row, task
        (m,) int64 cells; any order, repeats allowed.

    Examples
    --------
    >>> head = nn.Linear(4, 50)
    >>> x, row, task = torch.rand(3, 4), torch.tensor([0, 2]), torch.tensor([7, 49])
    >>> bool(torch.allclose(cell_outputs(x, head, row, task), head(x)[row, task]))
    True
    """
    share = len(row) / max(1, embedded.shape[0] * head.out_features)
    if not compiled(head.weight):
        if share >= GATHERED_BELOW:
            return head(embedded)[row, task]
        return (embedded[row] * head.weight[task]).sum(dim=1) + head.bias[task]
    if share >= PAIRS_BELOW:
        return head(embedded)[row, task]
    return _CellProducts.apply(embedded.float(), head.weight, row, task) + head.bias[task]


class _CellProducts(torch.autograd.Function):
    """Products of rows of two matrices (b, h) and (t, h)."""

    @staticmethod
    def forward(ctx: Any, embedded: Tensor, weight: Tensor, row: Tensor, task: Tensor) -> Tensor:
        ctx.save_for_backward(embedded, weight, row, task)
        out = np.empty(len(row), np.float32)
        arrays = _arrays(embedded, weight, row, task)
        in_parts(_products, *arrays, out, work=np.arange(len(out) + 1))
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        embedded, weight, row, task = _arrays(*ctx.saved_tensors)
        upstream = np.ascontiguousarray(grads[0].numpy())
        below = _weighted_sums(row, task, upstream, weight, len(embedded)) if ctx.needs_input_grad[0] else None
        own = _weighted_sums(task, row, upstream, embedded, len(weight)) if ctx.needs_input_grad[1] else None
        return below, own, None, None


def _arrays(*parts: Tensor) -> list[Any]:
    return [part.detach().contiguous().numpy() for part in parts]


def _weighted_sums(
    to: NDArray[np.int64], of: NDArray[np.int64], factor: NDArray[np.float32], source: NDArray[np.float32], rows: int
) -> Tensor:
    """Return (rows, h): row ``to[i]`` is the sum of ``factor[i] source[of[i]]``."""
    starts, others, factors, work = _sorted_cells(to, of, factor, rows)
    out = np.empty((rows, source.shape[1]), np.float32)
    in_parts(_sum_rows, starts, others, factors, source, out, work=work)
    return torch.from_numpy(out)


@njit(cache=True, nogil=True)
def _sorted_cells(to: Any, of: Any, factor: Any, rows: int) -> Any:  # pragma: no cover
    """Return where the cells of each row begin, `of` and `factor` in order of `to`, and the work until each row."""
    starts, others, factors = np.zeros(rows + 1, np.int64), np.empty_like(of), np.empty_like(factor)
    for cell in range(len(to)):
        starts[to[cell] + 1] += 1
    for row in range(rows):
        starts[row + 1] += starts[row]
    ends = starts.copy()
    for cell in range(len(to)):
        target = ends[to[cell]]
        ends[to[cell]] = target + 1
        others[target], factors[target] = of[cell], factor[cell]
    return starts, others, factors, starts + np.arange(rows + 1)


@njit(cache=True, nogil=True, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
def _products(
    embedded: Any, weight: Any, row: Any, task: Any, out: Any, part: tuple[int, int]
) -> None:  # pragma: no cover
    for cell in range(part[0], part[1]):
        first, second = embedded[row[cell]], weight[task[cell]]
        total = np.float32(0.0)
        for unit in range(first.shape[0]):
            total += first[unit] * second[unit]
        out[cell] = total


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"}, error_model="numpy")
def _sum_rows(
    starts: Any, of: Any, factor: Any, source: Any, out: Any, part: tuple[int, int]
) -> None:  # pragma: no cover
    for row in range(part[0], part[1]):
        total = out[row]
        total[:] = 0
        for cell in range(starts[row], starts[row + 1]):
            value, other = factor[cell], source[of[cell]]
            for unit in range(total.shape[0]):
                total[unit] += value * other[unit]
