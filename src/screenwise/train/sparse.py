"""A first layer for inputs of many columns, few of them non-zero.

The layer sums the weight rows of a sample's non-zero columns, and its gradient names only the columns of the
batch. While a `screenwise.train.sparse_adam.DeferredAdam` trains it, rows of columns that are not used wait:
the layer's outputs are always those of dense Adam, `weight` itself is so after ``catch_up()`` of the optimiser.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from screenwise.train.sparse_batch import SparseBatch
from screenwise.train.sparse_kernels import aligned, column_gradients, gather
from screenwise.train.sparse_rows import DeferredRows
from screenwise.train.sparse_sort import sort_by_column
from screenwise.train.threads import in_parts


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
    >>> from scipy.sparse import csr_array
    >>> layer = SparseLinear(5, 3)
    >>> batch = SparseBatch.from_csr(csr_array(np.array([[0, 2.0, 0, 0, 1.0]])))
    >>> expected = 2 * layer.weight[1] + layer.weight[4] + layer.bias
    >>> bool(torch.allclose(layer(batch)[0], expected))
    True
    """

    def __init__(self, features: int, hidden: int, active: float = 64.0) -> None:
        super().__init__()
        bound = math.sqrt(2.0) * math.sqrt(6.0 / (active + hidden))
        self.weight = nn.Parameter(torch.from_numpy(aligned((features, hidden))).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.full((hidden,), 0.1))
        self.deferred: DeferredRows | None = None
        """The weight's rows, while an optimiser keeps them."""

    def forward(self, batch: SparseBatch) -> Tensor:
        """Return (b, hidden) sums of weight rows plus the bias."""
        if self.weight.device.type == "cpu":
            batch.check(len(self.weight))
        if self.deferred is not None:
            return self.deferred.sums(batch) + self.bias
        if compiled(self.weight):
            return _GatherSum.apply(self.weight, batch) + self.bias
        summed = nn.functional.embedding_bag(
            batch.indices.long(),
            self.weight,
            batch.indptr[:-1],
            mode="sum",
            sparse=True,
            per_sample_weights=batch.data.to(self.weight.dtype),
        )
        return summed + self.bias


def compiled(weight: Tensor) -> bool:
    """Say whether the compiled loops can work on a weight: float32 on the CPU.

    Examples
    --------
    >>> compiled(torch.zeros(2)), compiled(torch.zeros(2, dtype=torch.float64))
    (True, False)
    """
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.is_contiguous()


class _GatherSum(torch.autograd.Function):
    """Sums of weight rows, with a gradient that holds only the rows of the batch."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, batch: SparseBatch) -> Tensor:
        ctx.batch, ctx.shape = batch, weight.shape
        arrays = batch.arrays()
        out = np.empty((len(arrays[0]) - 1, weight.shape[1]), np.float32)
        in_parts(gather, arrays, weight.detach().numpy(), out, work=arrays[0])
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        indptr, indices, data = ctx.batch.arrays()
        entries = sort_by_column(indptr, indices, data, ctx.shape[0])
        out = np.empty((len(entries[0]), ctx.shape[1]), np.float32)
        in_parts(column_gradients, entries, grads[0].contiguous().numpy(), out, work=entries[1])
        index = torch.from_numpy(entries[0].astype(np.int64))[None]
        values = torch.from_numpy(out)
        return torch.sparse_coo_tensor(index, values, ctx.shape, is_coalesced=True, check_invariants=False), None
