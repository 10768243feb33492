"""The weight rows of a sparse layer under Adam, where a row that a batch does not use waits and is caught up later.

What a waiting row would be by now is worked out where it is read, and written only when the row is used again
or all rows are caught up; so reading early or often, saving and going on changes no bit.
"""

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from screenwise.train.sparse_batch import SparseBatch
from screenwise.train.sparse_kernels import (
    aligned,
    begin_columns,
    catch_up,
    gather_deferred,
    squared_lengths,
    update_columns,
)
from screenwise.train.sparse_skipped import Skipped
from screenwise.train.sparse_sort import sort_by_column
from screenwise.train.threads import in_parts


class DeferredRows(Protocol):
    """What a sparse layer asks of the rows that an optimiser keeps."""

    skipped: Skipped

    def sums(self, batch: SparseBatch) -> Tensor:
        """Return (b, h) sums of the weight rows as dense Adam would have them by now."""

    def squared_length(self) -> float:
        """Return the squared length of the gradient that waits for `step`."""

    def scale(self, factor: float) -> None:
        """Multiply the gradient that waits for `step`."""

    def drop(self) -> None:
        """Forget the gradient that waits for `step`."""

    def step(self, rate: float) -> None:
        """Update the rows that the gradient names; without a gradient no time passes."""

    def catch_up(self) -> None:
        """Bring all rows to the present step."""

    def to_state(self) -> dict[str, Any]:
        """Return tensors and numbers; `fill` takes them up."""

    def fill(self, state: dict[str, Any]) -> None:
        """Take up what `to_state` of either form returned."""


class KernelRows:
    """Rows (d, h) of a float32 weight on the CPU.

    Moments are kept for columns that were ever used, in the order of their first use, so that memory grows
    with the columns seen.
    """

    def __init__(self, weight: nn.Parameter, skipped: Skipped) -> None:
        self.skipped = skipped
        self.weight = weight
        features, hidden = weight.shape
        # not touched before it is used, and so not yet taken from the system
        self.moments = aligned((features, 2, hidden))
        self.slot = np.full(features, -1, np.int32)
        self.seen = np.zeros(features, np.int32)
        self.filled = 0
        self.powers = skipped.powers.astype(np.float32)
        self.pending: list[tuple[Any, Any]] = []

    def sums(self, batch: SparseBatch) -> Tensor:
        """Return (b, h) sums of the present weight rows."""
        return _DeferredSum.apply(self.weight, batch, self)

    def squared_length(self) -> float:
        """Return the squared length of the gradient that waits for `step`."""
        if not self.pending:
            return 0.0
        entries, upstream = self._joined()
        found = np.empty(len(entries[0]))
        in_parts(squared_lengths, entries, upstream, found, work=entries[1])
        return float(found.sum())

    def scale(self, factor: float) -> None:
        """Multiply the gradient that waits for `step`."""
        self.pending = [(entries, upstream * np.float32(factor)) for entries, upstream in self.pending]

    def drop(self) -> None:
        """Forget the gradient that waits for `step`."""
        self.pending.clear()

    def step(self, rate: float) -> None:
        """Update the rows that the gradient names; without a gradient no time passes."""
        if not self.pending:
            return
        entries, upstream = self._joined()
        self.drop()
        numbers = self.skipped.now, self.filled, self.powers, self.skipped.step_numbers(rate)
        self.filled, work = begin_columns(entries, self.slot, self.filled)
        in_parts(update_columns, entries, upstream, self._table(), self.skipped.table, numbers, work=work)
        self.skipped.advance(rate)
        if self.skipped.full:
            self.catch_up()

    def catch_up(self) -> None:
        """Bring all rows to the present step."""
        now = self.skipped.now
        if now:
            work = np.arange(len(self.slot) + 1)
            in_parts(catch_up, self._table(), self.skipped.table, self.powers, now, work=work)
            self.skipped.restart()

    def to_state(self) -> dict[str, Any]:
        """Return tensors and numbers; `fill` takes them up."""
        own = {"moments": self.moments[: self.filled], "slot": self.slot, "seen": self.seen}
        return tensors(own | self.skipped.to_state())

    def fill(self, state: dict[str, Any]) -> None:
        """Take up what `to_state` returned."""
        found = arrays(state)
        self.skipped.fill(found)
        self.filled = len(found["moments"])
        self.moments[: self.filled] = found["moments"]
        self.slot[:], self.seen[:] = found["slot"], found["seen"]

    def present(self, entries: Any, work: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return (b, h) sums; `work` (b + 1,) says where each row's entries begin."""
        out = np.empty((len(work) - 1, self.weight.shape[1]), np.float32)
        in_parts(gather_deferred, entries, self._table(), self.skipped.table, self.skipped.now, out, work=work)
        return out

    def _table(self) -> tuple[Any, ...]:
        return self.weight.detach().numpy(), self.moments, self.slot, self.seen

    def _joined(self) -> tuple[Any, Any]:
        """Return the entries of all backward passes since the last step as those of one."""
        if len(self.pending) > 1:
            columns = np.concatenate([np.repeat(entries[0], np.diff(entries[1])) for entries, _ in self.pending])
            shifts = np.cumsum([0, *(len(upstream) for _, upstream in self.pending)])
            rows = np.concatenate([part[2] + shift for (part, _), shift in zip(self.pending, shifts[:-1], strict=True)])
            values = np.concatenate([entries[3] for entries, _ in self.pending])
            order = np.argsort(columns, kind="stable")
            found = np.unique(columns)
            starts = np.searchsorted(columns[order], np.append(found, found[-1:] + 1))
            entries = found, starts, rows[order].astype(np.int32), values[order]
            self.pending = [(entries, np.concatenate([upstream for _, upstream in self.pending]))]
        return self.pending[0]


class _DeferredSum(torch.autograd.Function):
    """Sums of present weight rows; the gradient goes to the rows, which wait for `step`."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, batch: SparseBatch, rows: KernelRows) -> Tensor:
        arrays = batch.arrays()
        ctx.rows, ctx.entries = rows, sort_by_column(*arrays, weight.shape[0])
        return torch.from_numpy(rows.present(ctx.entries, arrays[0]))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, None]:
        ctx.rows.pending.append((ctx.entries, np.ascontiguousarray(grads[0].detach().numpy())))
        return None, None, None


def tensors(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state whose arrays are tensors.

    Examples
    --------
    >>> tensors({"steps": 3, "seen": np.arange(2)})
    {'steps': 3, 'seen': tensor([0, 1])}
    """
    return {name: torch.from_numpy(one) if isinstance(one, np.ndarray) else one for name, one in state.items()}


def arrays(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state whose tensors are arrays.

    Examples
    --------
    >>> arrays({"steps": 3, "seen": torch.arange(2)})
    {'steps': 3, 'seen': array([0, 1])}
    """
    return {name: one.cpu().numpy() if isinstance(one, Tensor) else one for name, one in state.items()}
