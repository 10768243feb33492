"""What a SparseChem network predicts of rows, whether they were measured or not."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from screenwise.errors import ModelError
from screenwise.models.multitask_network import MultiTaskNetwork
from screenwise.train.device import device_of
from screenwise.train.dropout import Dropout
from screenwise.train.sparse_batch import SparseBatch


@dataclass(frozen=True)
class Asked:
    """What a network is asked for."""

    network: MultiTaskNetwork
    x: Any
    """(n, d) features: CSR, or rows on disk."""
    batch_size: int = 4000
    dropout: bool = False
    """Whether units are silenced at random, as in training (one pass; torch's generator decides)."""

    def __post_init__(self) -> None:
        width = self.network.first.weight.shape[0]
        if self.x.shape[1] != width:
            message = (
                f"X has {self.x.shape[1]} columns, the model reads {width}. Give features made in the same way as "
                "those it was trained on."
            )
            raise ModelError(message)
        self.network.eval()
        for layer in self.network.modules():
            if isinstance(layer, Dropout):
                layer.train(self.dropout)

    def batches(self) -> Iterator[tuple[slice, SparseBatch]]:
        """Give the rows in order, so many at a time."""
        device, rows = device_of(self.network), self.x.shape[0]
        for first in range(0, rows, self.batch_size):
            part = slice(first, min(first + self.batch_size, rows))
            yield part, SparseBatch.from_csr(self.x[np.arange(part.start, part.stop)], device)


@torch.no_grad()
def predict_outputs(asked: Asked, output: NDArray[np.int64]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Give rows, and their (b, t) outputs of some tasks: log odds, or values as they were learned."""
    wanted = torch.from_numpy(np.asarray(output)).to(device_of(asked.network))
    for part, batch in asked.batches():
        yield part, asked.network(batch, wanted)[0].float().cpu().numpy()


@torch.no_grad()
def predict_hidden(asked: Asked) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Give rows, and the (b, h) outputs of the trunk, before any activation."""
    for part, batch in asked.batches():
        yield part, asked.network.units(batch).float().cpu().numpy()


@torch.no_grad()
def predict_cells(asked: Asked, indptr: NDArray[Any], output: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return (m,) outputs of the cells of a sparse pattern, at the cost of those cells.

    Parameters
    ----------
    asked
        The network, and the n rows.
    indptr
        (n + 1,) where the cells of each row begin.
    output
        (m,) which output each cell asks for.
    """
    found = np.empty(len(output), np.float32)
    for part, batch in asked.batches():
        first, last = indptr[part.start], indptr[part.stop]
        counts = np.diff(indptr[part.start : part.stop + 1])
        row = torch.from_numpy(np.repeat(np.arange(len(counts)), counts)).to(batch.indptr.device)
        task = torch.from_numpy(output[first:last].astype(np.int64)).to(batch.indptr.device)
        if last > first:
            found[first:last] = asked.network.cells(batch, row, task)[0].float().cpu().numpy()
    return found
