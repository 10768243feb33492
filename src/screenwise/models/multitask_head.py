"""A head of the multi-task network: layers of its own on some of the trunk's units, and one output per task."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from screenwise.errors import ConfigError
from screenwise.train.dropout import Dropout
from screenwise.train.sparse_head import cell_outputs

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


def make_activation(name: str) -> nn.Module:
    """Return the activation of a name; an unknown one is an error.

    Examples
    --------
    >>> make_activation("tanh")
    Tanh()
    """
    if name not in ACTIVATIONS:
        message = f"There is no activation {name!r}; use {' or '.join(ACTIVATIONS)}."
        raise ConfigError(message)
    return ACTIVATIONS[name]()


@dataclass(frozen=True)
class HeadForm:
    """Form of one head."""

    units: tuple[int, int]
    """First of the trunk's last units that it sees, and the one after the last."""
    hidden: tuple[int, ...]
    """Units of its own layers."""
    dropouts: tuple[float, ...]
    """Dropout of the trunk's units, then of each own layer."""
    activation: str = "relu"
    """Of the trunk's units and of its own layers."""
    layer_norm: bool = False
    """Whether its own layers are normalised."""
    scaled: bool = False
    """Whether each unit that it sees has a scale and an offset before its activation."""


class UnitScale(nn.Module):
    """A scale and an offset per unit, at first 1 and 0."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(units))
        self.bias = nn.Parameter(torch.zeros(units))

    def forward(self, units: Tensor) -> Tensor:
        """Return (b, h) scaled units."""
        return units * self.weight + self.bias


class Head(nn.Module):
    """Layers on some of the trunk's units, then a linear output per task.

    Parameters
    ----------
    form
        Units and layers.
    target
        (t,) which part each task shares, 0, 1, ...: a task's weights are its own part plus that part. Or the
        number of tasks, where nothing is shared.

    Examples
    --------
    >>> head = Head(HeadForm((0, 4), (), (0.0,)), np.array([0, 0, 1])).eval()
    >>> units, row, place = torch.randn(2, 4), torch.tensor([1, 0]), torch.tensor([2, 0])
    >>> bool(torch.allclose(head.cells(units, row, place), head(units, torch.arange(3))[row, place], atol=1e-6))
    True
    """

    def __init__(self, form: HeadForm, target: NDArray[np.int64] | int) -> None:
        super().__init__()
        self.seen = slice(*form.units)
        width = form.units[1] - form.units[0]
        self.scale = UnitScale(width) if form.scaled else None
        layers: list[nn.Module] = [make_activation(form.activation), Dropout(form.dropouts[0])]
        for units, share in zip(form.hidden, form.dropouts[1:], strict=True):
            layers += [nn.Linear(width, units), *([nn.LayerNorm(units)] if form.layer_norm else [])]
            layers += [make_activation(form.activation), Dropout(share)]
            width = units
        self.body = nn.Sequential(*layers)
        tasks = target if isinstance(target, int) else len(target)
        self.own = nn.Linear(width, tasks)
        self.shared = None if isinstance(target, int) else nn.Linear(width, int(target.max(initial=0)) + 1)
        part = np.zeros(0, np.int64) if isinstance(target, int) else target
        self.register_buffer("part", torch.from_numpy(part), persistent=False)

    def forward(self, units: Tensor, place: Tensor) -> Tensor:
        """Return (b, p) outputs of the tasks at (p,) places."""
        inner = self._inner(units)
        found = nn.functional.linear(inner, self.own.weight[place], self.own.bias[place])
        if self.shared is None:
            return found
        part = self.part[place]
        return found + nn.functional.linear(inner, self.shared.weight, self.shared.bias)[:, part]

    def cells(self, units: Tensor, row: Tensor, place: Tensor) -> Tensor:
        """Return (m,) outputs of rows `row` for the tasks at `place`."""
        inner = self._inner(units)
        found = cell_outputs(inner, self.own, row, place)
        return found if self.shared is None else found + cell_outputs(inner, self.shared, row, self.part[place])

    def _inner(self, units: Tensor) -> Tensor:
        seen = units[:, self.seen]
        return self.body(seen if self.scale is None else self.scale(seen))
