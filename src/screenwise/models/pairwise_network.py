"""The network of Peper: a symmetric encoder of two genes whose last layer starts at zero."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from screenwise.train.device import device_of


class PairNetwork(nn.Module):
    """f(a, b) = f(b, a): both genes through one encoder, then their sum, product and distance through a head.

    Until it is trained it gives zeros, so that what it is added to stands alone.

    Parameters
    ----------
    inputs, outputs
        Numbers of a gene, and of a departure.
    hidden
        Units of every layer.
    dropout
        Share of units silenced in training.

    Examples
    --------
    >>> network = PairNetwork(3, 2, 8, dropout=0.0).eval()
    >>> network(torch.ones(1, 3), torch.zeros(1, 3)).tolist()
    [[0.0, 0.0]]
    """

    def __init__(self, inputs: int, outputs: int, hidden: int, *, dropout: float) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(inputs, hidden), nn.SiLU(), nn.Dropout(dropout), nn.Linear(hidden, hidden)
        )
        self.head = nn.Sequential(nn.Linear(3 * hidden, hidden), nn.SiLU(), nn.Dropout(dropout))
        self.last = nn.Linear(hidden, outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (b, outputs) departures of pairs, from (b, inputs) each."""
        one, other = self.encoder(first), self.encoder(second)  # (b, hidden) each
        together = torch.cat([one + other, one * other, (one - other).abs()], dim=1)  # (b, 3 hidden)
        return self.last(self.head(together))


@dataclass(frozen=True)
class PairTable:
    """Pairs to learn from: places of genes and departures, on the network's device."""

    genes: Tensor
    """(g, inputs)"""
    place: Tensor
    """(m, 2)"""
    departure: Tensor
    """(m, outputs)"""

    def loss(self, network: PairNetwork, rows: NDArray[np.int64]) -> Tensor:
        """Return the mean squared length of the error of some pairs, over the number of outputs."""
        some = torch.from_numpy(rows).to(self.place.device)
        place = self.place[some]
        return (network(self.genes[place[:, 0]], self.genes[place[:, 1]]) - self.departure[some]).square().mean()

    def digest(self) -> str:
        """Name the data, so that a checkpoint of other data is refused."""
        state = hashlib.blake2b(digest_size=16)
        for tensor in (self.genes, self.place, self.departure):
            state.update(tensor.cpu().numpy().tobytes())
        return state.hexdigest()


def outputs(
    networks: tuple[PairNetwork, ...], genes: NDArray[np.float32], place: NDArray[np.int64], chunk: int = 8192
) -> NDArray[np.float64]:
    """Return (k, n, outputs) departures that k networks give to n pairs."""
    device = device_of(networks[0])
    table = torch.from_numpy(genes).to(device)
    found = []
    with torch.no_grad():
        for start in range(0, max(len(place), 1), chunk):
            part = torch.from_numpy(place[start : start + chunk]).to(device)
            pair = table[part[:, 0]], table[part[:, 1]]
            found.append(torch.stack([network(*pair) for network in networks]).cpu().numpy())
    return np.concatenate(found, axis=1).astype(np.float64)
