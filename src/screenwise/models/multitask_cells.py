"""The measured cells that a multi-task network learns from and is judged by, beside the rows of its input."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from screenwise.train.device import device_of
from screenwise.train.sparse_batch import SparseBatch
from screenwise.train.sparse_store import MappedRows

if TYPE_CHECKING:
    from screenwise.models.multitask_network import MultiTaskNetwork

SAMPLE = 10_000
"""Rows from which the typical length of a row is told."""


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
    aggregation: NDArray[np.float32] | None = None
    """(t,) how much a task counts where the network is judged; 0 = auxiliary, None = all the same."""

    def __len__(self) -> int:
        return len(self.start) - 1

    def where(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the cells of some rows, and the place of each cell's row among them."""
        counts = self.start[rows + 1] - self.start[rows]
        ends = np.cumsum(counts)
        cells = np.repeat(self.start[rows] - (ends - counts), counts) + np.arange(ends[-1] if len(ends) else 0)
        return cells, np.repeat(np.arange(len(rows)), counts)

    def digest(self, *rows: NDArray[np.int64]) -> str:
        """Name the data, and which of its rows are used, so that a checkpoint of other data is refused."""
        state = hashlib.blake2b(digest_size=16)
        mapped = isinstance(self.x, MappedRows)
        state.update(self.x.digest().encode() if mapped else b"")
        x = () if mapped else (self.x.indptr, self.x.indices, self.x.data)
        judged = () if self.aggregation is None else (self.aggregation,)
        cells = (self.start, self.task, self.target, self.relation, self.weight, self.binary)
        for array in (*rows, *x, *cells, *judged):
            state.update(np.ascontiguousarray(array).data)
        return state.hexdigest()


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
        return f"{self.table.digest(self.rows)}-{self.judge.digest(self.held)}"


def typical_length(x: csr_array | MappedRows) -> float:
    """Return the mean squared length of the rows of a table, from at most `SAMPLE` of them, evenly spread.

    Examples
    --------
    >>> typical_length(csr_array(np.array([[3.0, 4.0], [0.0, 1.0]])))
    13.0
    """
    n = x.shape[0]
    rows = x[np.unique(np.linspace(0, n - 1, min(n, SAMPLE)).astype(np.int64))]
    return float(np.square(rows.data, dtype=np.float64).sum()) / max(rows.shape[0], 1)


def outputs(network: "MultiTaskNetwork", table: CellTable, rows: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int64]]:
    """Return the network's (heads, c) outputs for the measured cells of some rows, and which cells those are."""
    device = device_of(network)
    cells, place = table.where(rows)
    batch = SparseBatch.from_csr(table.x[rows], device)
    task = torch.from_numpy(table.task[cells]).to(device)
    return network.cells(batch, torch.from_numpy(place).to(device), task), cells
