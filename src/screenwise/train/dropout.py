"""Dropout at memory speed on the CPU: the mask is computed where it is used, by as many threads as there are."""

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor, nn

from screenwise.errors import ConfigError
from screenwise.rng import GOLDEN
from screenwise.train.sparse import compiled
from screenwise.train.threads import in_parts

_HALF = np.uint64(32)


class Dropout(nn.Module):
    """Silence a share of the units of (b, h) in training, and scale the others up by as much.

    As `torch.nn.Dropout`, whose draws on one thread cost a tenth of a training step of a sparse network. One
    number comes from torch's generator; unit i is silent where word i of that stream of splitmix64 is low, in
    the forward and the backward pass alike, so that no mask is stored and no bit depends on the threads.

    Parameters
    ----------
    share
        Of units silenced, in [0, 1).

    References
    ----------
    Srivastava et al., JMLR 15, 1929 (2014).

    Examples
    --------
    >>> layer = Dropout(0.25)
    >>> kept = layer(torch.ones(400, 100)) > 0
    >>> bool(abs(kept.float().mean() - 0.75) < 0.01), layer.eval()(torch.ones(2, 1)).tolist()
    (True, [[1.0], [1.0]])
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        if not 0 <= share < 1:
            message = f"The share of units silenced is {share}; it must be in [0, 1)."
            raise ConfigError(message)
        self.share = share

    def forward(self, units: Tensor) -> Tensor:
        """Return the units with some silenced, in training; else as they are."""
        if not self.training or self.share == 0:
            return units
        if not compiled(units) or units.ndim < 2 or not len(units):  # noqa: PLR2004 - rows are what threads share
            return nn.functional.dropout(units, self.share)
        return _Masked.apply(units, self.share, int(torch.randint(2**62, ())))


class _Masked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, units: Tensor, share: float, seed: int) -> Tensor:
        ctx.draw = share, seed
        return _masked(units.detach(), share, seed)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _masked(grads[0].contiguous(), *ctx.draw), None, None


def _masked(units: Tensor, share: float, seed: int) -> Tensor:
    out = torch.empty_like(units)
    flat, target = units.numpy().reshape(len(units), -1), out.numpy().reshape(len(units), -1)
    numbers = np.uint64(seed), np.uint64(round(share * 2**32)), np.float32(1 / (1 - share))
    in_parts(_silence, flat, target, numbers, work=np.arange(len(flat) + 1))
    return out


@njit(cache=True, nogil=True)
def _silence(units: Any, out: Any, numbers: Any, part: tuple[int, int]) -> None:  # pragma: no cover
    seed, bound, scale = numbers
    nothing = np.float32(0.0)
    for row in range(part[0], part[1]):
        first, source, target = np.uint64(row) * np.uint64(units.shape[1]), units[row], out[row]
        for unit in range(source.shape[0]):
            # splitmix64: word i is the finaliser of seed + i x golden ratio
            word = seed + (first + np.uint64(unit)) * GOLDEN
            word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            word ^= word >> np.uint64(31)
            target[unit] = source[unit] * scale if (word >> _HALF) >= bound else nothing
