"""The sparse multi-task network and its loss over the measured cells of a batch."""

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.nn import functional

from screenwise.train.device import device_of
from screenwise.train.dropout import Dropout
from screenwise.train.sparse import SparseLinear
from screenwise.train.sparse_batch import SparseBatch
from screenwise.train.sparse_head import cell_outputs
from screenwise.train.sparse_store import MappedRows


class MultiTaskNetwork(nn.Module):
    """A sparse first layer, dense layers and one linear output per task.

    Every hidden layer is followed by ReLU and dropout.

    Parameters
    ----------
    features
        Columns of the input.
    hidden
        Units of each hidden layer.
    tasks
        Number of outputs.
    dropout
        Share of units silenced in training.
    active
        Typical squared length of an input row.
    """

    def __init__(
        self, features: int, hidden: tuple[int, ...], tasks: int, *, dropout: float = 0.0, active: float = 64.0
    ) -> None:
        super().__init__()
        self.first = SparseLinear(features, hidden[0], active)
        layers: list[nn.Module] = [nn.ReLU(), Dropout(dropout)]
        for before, after in pairwise(hidden):
            layers += [nn.Linear(before, after), nn.ReLU(), Dropout(dropout)]
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Linear(hidden[-1], tasks)

    def embed(self, batch: SparseBatch) -> Tensor:
        """Return (b, hidden[-1]): what the tasks' outputs are linear in."""
        return self.trunk(self.first(batch))

    def forward(self, batch: SparseBatch) -> Tensor:
        """Return (b, t) outputs: standardised values, or log odds of classes."""
        return self.head(self.embed(batch))

    def cells(self, batch: SparseBatch, row: Tensor, task: Tensor) -> Tensor:
        """Return the (m,) outputs of some cells of a batch, at a cost of m and not b x t where they are few."""
        return cell_outputs(self.embed(batch), self.head, row, task)


@dataclass(frozen=True)
class CellTable:
    """Inputs of n rows and their m measured cells, sorted by row."""

    x: csr_array | MappedRows
    """(n, d) float32, in memory or on disk."""
    start: NDArray[np.int64]
    """(n + 1,) where a row's cells begin."""
    task: NDArray[np.int64]
    """(m,)"""
    target: NDArray[np.float32]
    """(m,) standardised values, or classes 0 and 1."""
    relation: NDArray[np.float32]
    """(m,) -1 true value below, 0 exact, +1 above."""
    weight: NDArray[np.float32]
    """(m,)"""
    binary: NDArray[np.bool_]
    """(t,) which tasks are classes."""

    def __len__(self) -> int:
        return len(self.start) - 1

    def where(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the cells of some rows, and the place of each cell's row among them."""
        counts = self.start[rows + 1] - self.start[rows]
        ends = np.cumsum(counts)
        cells = np.repeat(self.start[rows] - (ends - counts), counts) + np.arange(ends[-1] if len(ends) else 0)
        return cells, np.repeat(np.arange(len(rows)), counts)


@dataclass(frozen=True)
class Lots:
    """Which conditions are learned from, and which judge the network."""

    table: CellTable
    rows: NDArray[np.int64]
    """Rows of `table` that are learned from."""
    judge: CellTable
    """The same table, or that of the conditions given as `valid`."""
    held: NDArray[np.int64]
    """Rows of `judge` that are not learned from."""

    def digest(self) -> str:
        """Name the data, so that a checkpoint of other data is refused."""
        state = hashlib.blake2b(digest_size=16)
        for rows, table in ((self.rows, self.table), (self.held, self.judge)):
            cells = (table.start, table.task, table.target, table.relation, table.weight, table.binary)
            mapped = isinstance(table.x, MappedRows)
            state.update(table.x.digest().encode() if mapped else b"")
            x = () if mapped else (table.x.indptr, table.x.indices, table.x.data)
            for array in (rows, *x, *cells):
                state.update(np.ascontiguousarray(array).data)
        return state.hexdigest()


def outputs(network: MultiTaskNetwork, table: CellTable, rows: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int64]]:
    """Return the network's outputs for the measured cells of some rows, and which cells those are."""
    device = device_of(network)
    cells, place = table.where(rows)
    batch = SparseBatch.from_csr(table.x[rows], device)
    task = torch.from_numpy(table.task[cells]).to(device)
    return network.cells(batch, torch.from_numpy(place).to(device), task), cells


def batch_loss(network: MultiTaskNetwork, table: CellTable, rows: NDArray[np.int64]) -> Tensor:
    """Return the sum of the measured cells' losses divided by the number of rows, as SparseChem does."""
    output, cells = outputs(network, table, rows)
    device = output.device

    def tensor(array: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array[cells])).to(device)

    binary = torch.from_numpy(table.binary[table.task[cells]]).to(device)
    losses = cell_losses(output, tensor(table.target), tensor(table.relation), binary)
    return (losses * tensor(table.weight)).sum() / len(rows)


def cell_losses(output: Tensor, target: Tensor, relation: Tensor, binary: Tensor) -> Tensor:
    """Return the (m,) losses of measured cells.

    Classes: binary cross-entropy of log odds. Values: squared error; of a bound only the error on its
    wrong side, relu(relation x (target - output))^2, so that relation +1 (the true value is above)
    punishes only an output below the target (SparseChem, censored MSE).

    Examples
    --------
    >>> value, above = torch.tensor([2.0, 2.0]), torch.tensor([1.0, 1.0])
    >>> cell_losses(torch.tensor([1.0, 3.0]), value, above, torch.tensor([False, False])).tolist()
    [1.0, 0.0]
    """
    error = target - output
    squared = torch.where(relation == 0, error, functional.relu(relation * error)).square()
    if not bool(binary.any()):
        return squared
    entropy = functional.binary_cross_entropy_with_logits(output, target.clamp(0, 1), reduction="none")
    return torch.where(binary, entropy, squared)
