"""Deferred Adam on any device and number type: the columns of a batch as a compact table.

torch's embedding bag sums rows of the compact table, which are the weights at the present step, and torch's
fused Adam updates the table's rows and moments in one pass; the rows are then put back.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from screenwise.train.sparse_batch import SparseBatch
from screenwise.train.sparse_rows import arrays, tensors
from screenwise.train.sparse_skipped import Skipped


class CompactRows:
    """Rows (d, h) of a weight of any device and type, as a table of the columns in use."""

    def __init__(self, weight: nn.Parameter, skipped: Skipped) -> None:
        self.skipped, self.weight = skipped, weight
        features, hidden = weight.shape
        self.moments = torch.zeros((features, 2, hidden), dtype=weight.dtype, device=weight.device)
        self.seen = torch.zeros(features, dtype=torch.int64, device=weight.device)
        self.pending: list[tuple[Tensor, Tensor]] = []

    def sums(self, batch: SparseBatch) -> Tensor:
        """Return (b, h) sums of the present weight rows."""
        columns, place = torch.unique(batch.indices, return_inverse=True)
        table, _ = self._present(columns)
        if torch.is_grad_enabled() and self.weight.requires_grad:
            table.requires_grad_()
            self.pending.append((columns, table))
        values = batch.data.to(table.dtype)
        return nn.functional.embedding_bag(place, table, batch.indptr[:-1], mode="sum", per_sample_weights=values)

    def squared_length(self) -> float:
        """Return the squared length of the gradient that waits for `step`."""
        found = self._joined()
        return 0.0 if found is None else float(found[1].square().sum())

    def scale(self, factor: float) -> None:
        """Multiply the gradient that waits for `step`."""
        for _, table in self.pending:
            if table.grad is not None:
                table.grad *= factor

    def drop(self) -> None:
        """Forget the gradient that waits for `step`."""
        self.pending.clear()

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Update the rows that the gradient names; without a gradient no time passes."""
        found = self._joined()
        self.drop()
        if found is None:
            return
        columns, gradient = found
        table, moments = self._present(columns)
        mean, square = moments.unbind(dim=1)
        mean, square = mean.contiguous(), square.contiguous()
        beta1, beta2 = self.skipped.betas
        adamw(
            [table],
            [gradient],
            [mean],
            [square],
            [],
            [torch.tensor(float(self.skipped.steps), device=table.device)],
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=rate,
            weight_decay=self.skipped.weight_decay,
            eps=self.skipped.eps,
            maximize=False,
        )
        self.weight[columns] = table
        self.moments[columns] = torch.stack([mean, square], dim=1)
        self.seen[columns] = self.skipped.now + 1
        self.skipped.advance(rate)
        if self.skipped.full:
            self.catch_up()

    @torch.no_grad()
    def catch_up(self) -> None:
        """Bring all rows to the present step."""
        if self.skipped.now:
            # in pieces: the whole table at once would need its size again several times
            for columns in torch.arange(len(self.seen), device=self.seen.device).split(1 << 16):
                self.weight[columns], self.moments[columns] = self._present(columns)
            self.seen.zero_()
            self.skipped.restart()

    def to_state(self) -> dict[str, Any]:
        """Return tensors and numbers; `fill` takes them up."""
        slot = np.arange(len(self.seen), dtype=np.int32)
        seen = self.seen.to("cpu", torch.int32)
        return {"moments": self.moments, "seen": seen} | tensors({"slot": slot} | self.skipped.to_state())

    def fill(self, state: dict[str, Any]) -> None:
        """Take up what `to_state` returned."""
        self.skipped.fill(arrays(state))
        known = state["slot"].to(torch.int64)
        used = known >= 0
        self.moments.zero_()
        self.moments[used.to(self.moments.device)] = state["moments"][known[used]].to(self.moments)
        self.seen.copy_(state["seen"])

    @torch.no_grad()
    def _present(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Return (u, h) weights and (u, 2, h) moments of some columns at the present step."""
        seen = self.seen[columns]
        used = slice(0, self.skipped.now + 1)
        exact = torch.from_numpy(self.skipped.exact[used]).to(self.weight)[seen]
        keep, p0, p1, q0, q1 = exact[:, :, None].unbind(dim=1)
        moments = self.moments[columns]
        mean, square = moments.unbind(dim=1)
        root = square.sqrt()
        table = keep * self.weight[columns] - mean * (p0 + p1 * root) / (q0 + q1 * root + square)
        fade = torch.from_numpy(self.skipped.powers[used]).to(self.weight)[self.skipped.now - seen]
        return table, moments * fade[:, :, None]

    def _joined(self) -> tuple[Tensor, Tensor] | None:
        """Return the columns and gradient of all backward passes since the last step."""
        parts = [(columns, table.grad) for columns, table in self.pending if table.grad is not None]
        if len(parts) <= 1:
            return parts[0] if parts else None
        columns, place = torch.unique(torch.cat([columns for columns, _ in parts]), return_inverse=True)
        total = torch.zeros((len(columns), self.weight.shape[1]), dtype=self.weight.dtype, device=self.weight.device)
        return columns, total.index_add_(0, place, torch.cat([gradient for _, gradient in parts]))
