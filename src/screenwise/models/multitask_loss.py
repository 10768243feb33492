"""Losses of a multi-task network over the measured cells of a batch: classes, values, bounds."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from screenwise.models.multitask_cells import CellTable, outputs
from screenwise.models.multitask_network import MultiTaskNetwork
from screenwise.rng import GOLDEN, scramble

LEAST_LOG_NOISE = -4.0
"""A task's noise is at least exp(-4) of its scale: a task fitted perfectly must not outweigh all others."""


def cell_losses(
    output: Tensor, target: Tensor, relation: Tensor, binary: Tensor, *, log_noise: Tensor | None = None
) -> Tensor:
    """Return the losses of measured cells, in the shape of `output`.

    Classes: binary cross-entropy of log odds. Values: squared error; of a bound only the error on its
    wrong side, relu(relation x (target - output))^2, so that relation +1 (the true value is above)
    punishes only an output below the target (SparseChem, censored MSE). With `log_noise`, values have the
    Tobit likelihood instead: - log of the normal density of an exact value, or of the probability of the side of
    the bound on which the true value is.

    Parameters
    ----------
    output
        (..., m) log odds, or values.
    target, relation
        (m,) classes 0 and 1, or values; -1 true value below, 0 exact, +1 above.
    binary
        (m,) which cells are classes.
    log_noise
        (m,) logarithm of the standard deviation of a cell's task.

    References
    ----------
    Tobin, Estimation of relationships for limited dependent variables, Econometrica 26, 24 (1958).

    Examples
    --------
    >>> value, above = torch.tensor([2.0, 2.0]), torch.tensor([1.0, 1.0])
    >>> cell_losses(torch.tensor([1.0, 3.0]), value, above, torch.tensor([False, False])).tolist()
    [1.0, 0.0]
    >>> noise = torch.zeros(2)
    >>> cell_losses(torch.tensor([1.0, 3.0]), value, above, torch.tensor([False, False]), log_noise=noise).tolist()
    [1.841..., 0.172...]
    """
    error = target - output
    if log_noise is None:
        losses = torch.where(relation == 0, error, functional.relu(relation * error)).square()
    else:
        log_noise = log_noise.clamp(min=LEAST_LOG_NOISE)
        scaled = error * torch.exp(-log_noise)
        # where() alone would let the infinite slope of the side not taken through as NaN
        bound = torch.where(relation == 0, torch.zeros_like(scaled), -relation * scaled)
        beyond = -torch.special.log_ndtr(bound)
        losses = torch.where(relation == 0, 0.5 * scaled.square() + log_noise, beyond)
    if not bool(binary.any()):
        return losses
    entropy = functional.binary_cross_entropy_with_logits(
        output, target.clamp(0, 1).expand_as(output), reduction="none"
    )
    return torch.where(binary, entropy, losses)


def task_factors(
    binary: ArrayLike, regression_weight: float = 0.5, catalogue: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return (t,) factors of the tasks' weights that balance values and classes, as SparseChem does.

    Parameters
    ----------
    binary
        (t,) which tasks are classes.
    regression_weight
        r: classes count 2 (1 - r), values 2 r.
    catalogue
        (t,) which tasks are shared with partners: their losses are added as they are.

    Examples
    --------
    >>> task_factors([True, False, True], 0.25, [False, False, True]).tolist()
    [1.5, 0.5, 1.0]
    """
    factor = np.where(np.asarray(binary, bool), 2 * (1 - regression_weight), 2 * regression_weight)
    return factor if catalogue is None else np.where(np.asarray(catalogue, bool), 1.0, factor)


@dataclass(frozen=True)
class BatchLoss:
    """How the losses of a batch's cells become one number.

    Sum of weighted losses (mean over heads), plus the network's penalty, divided by the number of rows, as
    SparseChem does, or by `divisor`.
    """

    divisor: float | None = None
    """Divides the sum; None = rows of the batch."""
    resample: int | None = None
    """Seed of the weights, exponential with mean 1, by which each head sees the cells differently (Rubin,
    The Bayesian bootstrap, Annals of Statistics 9, 130, 1981); None = all heads see them alike."""
    bounds_are_values: bool = False
    """Whether a bound is learned as if it were the value."""
    judging: bool = False
    """Whether the network is judged: tasks count by their `aggregation`, nothing is resampled, no penalty added."""

    def __call__(self, network: MultiTaskNetwork, table: CellTable, rows: NDArray[np.int64]) -> Tensor:
        """Return the loss of some rows of a table."""
        output, cells = outputs(network, table, rows)
        task = table.task[cells]
        weight = table.weight[cells]
        if self.judging and table.aggregation is not None:
            weight = weight * table.aggregation[task]

        def tensor(array: Any) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(output.device)

        binary = tensor(table.binary[task])
        noise = None if network.log_noise is None else network.log_noise[tensor(task)]
        relation = table.relation[cells] * (0 if self.bounds_are_values else 1)
        losses = cell_losses(output, tensor(table.target[cells]), tensor(relation), binary, log_noise=noise)
        if self.resample is not None and not self.judging:
            weight = weight * exponential_weights(self.resample, len(output), cells)
        total = (losses * tensor(weight)).sum() / len(output)
        if not self.judging:
            total = total + network.penalty()
        return total / (len(rows) if self.divisor is None else self.divisor)


def exponential_weights(seed: int, heads: int, cells: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return (heads, m) exponential numbers of mean 1 that depend on seed, head and cell only.

    Examples
    --------
    >>> weight = exponential_weights(0, 2, np.arange(1000))
    >>> weight.shape, bool(abs(weight.mean() - 1) < 0.1)
    ((2, 1000), True)
    >>> bool((weight[:, :3] == exponential_weights(0, 2, np.arange(3))).all())
    True
    """
    with np.errstate(over="ignore"):
        first = scramble(np.uint64(seed) + GOLDEN * (np.arange(heads, dtype=np.uint64) + np.uint64(1)))
        words = scramble(first[:, None] + GOLDEN * cells.astype(np.uint64)[None])
    share = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53  # in [0, 1)
    return -np.log1p(-share).astype(np.float32)
