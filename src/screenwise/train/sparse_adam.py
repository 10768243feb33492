"""Adam for the weights of sparse layers: equal to dense Adam, at the cost of the columns in use."""

from collections.abc import Iterable
from typing import Any

import torch

from screenwise.errors import ConfigError
from screenwise.train.sparse import SparseLinear, compiled
from screenwise.train.sparse_compact import CompactRows
from screenwise.train.sparse_rows import DeferredRows, KernelRows
from screenwise.train.sparse_skipped import Skipped

LEAST_EPS = 1e-15
"""Its square must be a float32."""


class DeferredAdam(torch.optim.Optimizer):
    """Adam, or with `weight_decay` AdamW, for the weights of sparse layers.

    Dense Adam moves every row in every step, also those without a gradient, by what their moments say.
    Here a row that the batch does not use waits. What it missed is one sum for all rows last used in the
    same step (`screenwise.train.sparse_skipped`), and the layer reads waiting rows as they would be, so that
    outputs, gradients and weights are those of dense Adam to rounding, under any schedule of the rate.

    While the optimiser is there, the gradient of a layer goes from the backward pass into `step`, and is never
    found in ``weight.grad``; ``weight`` itself holds the present values after `catch_up`.

    Parameters
    ----------
    layers
        The layers whose weights are trained; their biases are not.
    lr, betas, eps, weight_decay
        As in `torch.optim.AdamW`; the decay is decoupled from the gradient.
    compact
        True = through compact tables also where the compiled loops could work (float32 on the CPU).

    References
    ----------
    Kingma and Ba, Adam, ICLR 2015; Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> from screenwise.train.sparse_batch import SparseBatch
    >>> layer = SparseLinear(1000, 2)
    >>> optimiser = DeferredAdam([layer], lr=0.1)
    >>> batch = SparseBatch.from_csr(csr_array((np.ones(1), np.array([7]), np.array([0, 1])), shape=(1, 1000)))
    >>> for _ in range(200):
    ...     layer(batch).square().sum().backward()
    ...     optimiser.step()
    >>> optimiser.close()
    >>> bool(layer(batch).abs().max() < 1e-3)
    True
    """

    def __init__(
        self,
        layers: Iterable[SparseLinear],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        compact: bool = False,
    ) -> None:
        self.layers = list(layers)
        first, second = betas
        if not (0 <= first < 1 and first**2 < second < 1 and eps >= LEAST_EPS):
            message = (
                f"betas {betas} and eps {eps} cannot be deferred: use 0 <= beta1 < 1, beta1^2 < beta2 < 1 and "
                f"eps >= {LEAST_EPS}."
            )
            raise ConfigError(message)
        super().__init__(
            [layer.weight for layer in self.layers],
            {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay},
        )
        if any(layer.deferred is not None for layer in self.layers):
            message = "A layer has a DeferredAdam already; close() that one first."
            raise ConfigError(message)
        for layer in self.layers:
            kind = CompactRows if compact or not compiled(layer.weight) else KernelRows
            layer.deferred = kind(layer.weight, Skipped(betas, eps, weight_decay))

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Update the rows that were used since the last step; a layer that was not used at all stays."""
        for rows in self._rows():
            rows.step(float(self.param_groups[0]["lr"]))

    def zero_grad(self, set_to_none: bool = True) -> None:  # noqa: FBT001, FBT002 - torch's signature
        """Forget the gradients of backward passes since the last step."""
        super().zero_grad(set_to_none=set_to_none)
        for rows in self._rows():
            rows.drop()

    def catch_up(self) -> None:
        """Bring every row of every weight to the present step."""
        for rows in self._rows():
            rows.catch_up()

    def close(self) -> None:
        """Catch up, and give the layers back; moments are gone."""
        self.catch_up()
        for layer in self.layers:
            layer.deferred = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every layer; with the weights as they are now, training goes on with the same bits."""
        groups = [{name: value for name, value in group.items() if name != "params"} for group in self.param_groups]
        return {"state": {place: rows.to_state() for place, rows in enumerate(self._rows())}, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` returned; the weights must be those of the same moment."""
        for place, rows in enumerate(self._rows()):
            rows.fill(state_dict["state"][place])
        for group, found in zip(self.param_groups, state_dict["param_groups"], strict=True):
            group.update({name: value for name, value in found.items() if name != "params"})

    def _rows(self) -> list[DeferredRows]:
        return [layer.deferred for layer in self.layers if layer.deferred is not None]
