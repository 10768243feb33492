"""A first layer for inputs of many columns, few of them non-zero, and an optimiser that touches only those.

The layer sums the weight rows of a sample's non-zero columns; its gradient names only the columns of
the batch, and the optimiser updates only them. On the CPU both run as compiled loops over the CSR
arrays; elsewhere they are torch's embedding bag and row updates.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit
from scipy.sparse import csr_array
from torch import Tensor, nn


@dataclass(frozen=True)
class SparseBatch:
    """Rows of a sparse matrix as tensors, b rows with m stored entries."""

    indptr: Tensor
    """(b + 1,) int64: where each row begins."""
    indices: Tensor
    """(m,) int64: column of each entry."""
    data: Tensor
    """(m,) float32: value of each entry."""

    @classmethod
    def from_csr(cls, rows: csr_array, device: torch.device | str = "cpu") -> "SparseBatch":
        """Return the rows of a CSR matrix on a device."""
        indptr = torch.from_numpy(rows.indptr.astype(np.int64)).to(device)
        indices = torch.from_numpy(rows.indices.astype(np.int64)).to(device)
        return cls(indptr, indices, torch.from_numpy(rows.data.astype(np.float32)).to(device))


class SparseLinear(nn.Module):
    """Linear layer over sparse rows: (b, features) CSR -> (b, hidden).

    Weights start as SparseChem's: Xavier-uniform with ReLU gain, but for a row of `active` non-zero
    columns, since that many and not all columns feed a unit.

    Parameters
    ----------
    features
        Columns of the input.
    hidden
        Units of the output.
    active
        Typical squared length of an input row (number of non-zero columns, where they are 0 or 1).

    Examples
    --------
    >>> layer = SparseLinear(5, 3)
    >>> batch = SparseBatch.from_csr(csr_array(np.array([[0, 2.0, 0, 0, 1.0]])))
    >>> expected = 2 * layer.weight[1] + layer.weight[4] + layer.bias
    >>> bool(torch.allclose(layer(batch)[0], expected))
    True
    """

    def __init__(self, features: int, hidden: int, active: float = 64.0) -> None:
        super().__init__()
        bound = math.sqrt(2.0) * math.sqrt(6.0 / (active + hidden))
        self.weight = nn.Parameter(torch.empty(features, hidden).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.full((hidden,), 0.1))
        self._buffer = np.empty((0, hidden), np.float32)

    def forward(self, batch: SparseBatch) -> Tensor:
        """Return (b, hidden) sums of weight rows plus the bias."""
        if self.weight.device.type == "cpu":
            return _GatherSum.apply(self.weight, batch, self) + self.bias
        summed = nn.functional.embedding_bag(
            batch.indices,
            self.weight,
            batch.indptr[:-1],
            mode="sum",
            sparse=True,
            per_sample_weights=batch.data,
        )
        return summed + self.bias

    def scratch(self, rows: int) -> Any:
        """Return memory for a gradient of some rows: fresh memory every step costs more than the sums."""
        if len(self._buffer) < rows:
            self._buffer = np.empty((rows + rows // 4, self.weight.shape[1]), np.float32)
        return self._buffer[:rows]


class _GatherSum(torch.autograd.Function):
    """Sums of weight rows, with a gradient that holds only the rows of the batch."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, batch: SparseBatch, layer: SparseLinear) -> Tensor:
        ctx.batch, ctx.layer = batch, layer
        out = np.zeros((len(batch.indptr) - 1, weight.shape[1]), np.float32)
        _gather(*_arrays(batch), weight.detach().numpy(), out)
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        features, hidden = ctx.layer.weight.shape
        columns, starts, rows, values = _by_column(*_arrays(ctx.batch), features)
        out = ctx.layer.scratch(len(columns))
        _scatter(starts, rows, values, grads[0].contiguous().numpy(), out)
        index = torch.from_numpy(columns)[None]
        size = (features, hidden)
        return (
            torch.sparse_coo_tensor(index, torch.from_numpy(out), size, is_coalesced=True, check_invariants=False),
            None,
            None,
        )


def _arrays(batch: SparseBatch) -> tuple[Any, Any, Any]:
    return batch.indptr.numpy(), batch.indices.numpy(), batch.data.numpy()


@njit(cache=True)
def _gather(indptr: Any, indices: Any, data: Any, weight: Any, out: Any) -> None:
    for row in range(len(indptr) - 1):
        for entry in range(indptr[row], indptr[row + 1]):
            column, value = indices[entry], data[entry]
            for unit in range(weight.shape[1]):
                out[row, unit] += value * weight[column, unit]


@njit(cache=True)
def _by_column(indptr: Any, indices: Any, data: Any, features: int) -> Any:
    """Sort the entries by column (counting sort); columns that occur, and where each begins."""
    place = np.zeros(features, np.int64)
    for entry in range(len(indices)):
        place[indices[entry]] += 1
    columns = np.flatnonzero(place)
    starts = np.zeros(len(columns) + 1, np.int64)
    for rank in range(len(columns)):
        starts[rank + 1] = starts[rank] + place[columns[rank]]
        place[columns[rank]] = starts[rank]
    rows, values = np.empty(len(indices), np.int64), np.empty(len(indices), np.float32)
    for row in range(len(indptr) - 1):
        for entry in range(indptr[row], indptr[row + 1]):
            target = place[indices[entry]]
            rows[target], values[target] = row, data[entry]
            place[indices[entry]] = target + 1
    return columns, starts, rows, values


@njit(cache=True)
def _scatter(starts: Any, rows: Any, values: Any, grad: Any, out: Any) -> None:
    for rank in range(len(starts) - 1):
        for unit in range(grad.shape[1]):
            out[rank, unit] = 0.0
        for entry in range(starts[rank], starts[rank + 1]):
            row, value = rows[entry], values[entry]
            for unit in range(grad.shape[1]):
                out[rank, unit] += value * grad[row, unit]


class LazyAdam(torch.optim.Optimizer):
    """Adam that updates only the rows that a sparse gradient names; others rest, moments included.

    Kingma and Ba (2015) with decoupled weight decay on the touched rows. It is not Adam for a row
    between its uses, where Adam would let the momentum run on. Bias is corrected by the step.

    Parameters
    ----------
    params
        Dense parameters (rows, width) whose gradients are sparse over rows.
    lr, betas, eps, weight_decay
        As in `torch.optim.AdamW`.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Update the rows named by the gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["step"] = torch.tensor(0.0)
                    state["exp_avg"] = torch.zeros_like(parameter)
                    state["exp_avg_sq"] = torch.zeros_like(parameter)
                state["step"] += 1
                gradient = parameter.grad if parameter.grad.is_coalesced() else parameter.grad.coalesce()
                rows, values = gradient.indices()[0], gradient.values()
                update = _update_rows_cpu if parameter.device.type == "cpu" else _update_rows
                update(parameter, (rows, values), state, group)


def _update_rows_cpu(parameter: Tensor, gradient: tuple[Tensor, Tensor], state: Any, group: Any) -> None:
    first, second = group["betas"]
    step = float(state["step"])
    numbers = np.array(
        [
            first,
            second,
            group["lr"] / (1 - first**step),
            1 / math.sqrt(1 - second**step),
            group["eps"],
            1 - group["lr"] * group["weight_decay"],
        ],
        np.float32,
    )
    moments = state["exp_avg"].numpy(), state["exp_avg_sq"].numpy()
    _adam_rows(parameter.numpy(), *moments, gradient[0].numpy(), gradient[1].numpy(), numbers)


@njit(cache=True)
def _adam_rows(weight: Any, mean: Any, square: Any, rows: Any, gradient: Any, numbers: Any) -> None:
    first, second, rate, correction, eps, decay = numbers
    one = np.float32(1.0)
    for place in range(len(rows)):
        row = rows[place]
        for unit in range(weight.shape[1]):
            g = gradient[place, unit]
            m = first * mean[row, unit] + (one - first) * g
            v = second * square[row, unit] + (one - second) * g * g
            mean[row, unit] = m
            square[row, unit] = v
            weight[row, unit] = decay * weight[row, unit] - rate * m / (np.sqrt(v) * correction + eps)


def _update_rows(parameter: Tensor, gradient: tuple[Tensor, Tensor], state: Any, group: Any) -> None:
    rows, values = gradient
    first, second = group["betas"]
    step = float(state["step"])
    mean = state["exp_avg"][rows] * first + values * (1 - first)
    square = state["exp_avg_sq"][rows] * second + values * values * (1 - second)
    state["exp_avg"][rows], state["exp_avg_sq"][rows] = mean, square
    size = group["lr"] / (1 - first**step)
    scale = square.sqrt() / math.sqrt(1 - second**step) + group["eps"]
    parameter[rows] = parameter[rows] * (1 - group["lr"] * group["weight_decay"]) - size * mean / scale
