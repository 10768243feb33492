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
    common: float = 0.0
    """Factor of a part of the output weights that all tasks of a kind share; 0 = there is none."""


class UnitScale(nn.Module):
    """A scale and an offset per unit, at first 1 and 0."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(units))
        self.bias = nn.Parameter(torch.zeros(units))

    def forward(self, units: Tensor) -> Tensor:
        """Return (b, h) scaled units."""
        return units * self.weight + self.bias


@dataclass(frozen=True)
class HeadTasks:
    """Which parts of their output weights the tasks of a head share."""

    kind: NDArray[np.int64]
    """(t,) number of each task's kind, 0, 1, ...: those of one share the common part."""
    target: NDArray[np.int64] | None = None
    """(t,) number of each task's target, 0, 1, ...; None = targets share nothing."""


class Head(nn.Module):
    """Layers on some of the trunk's units, then a linear output per task.

    The output weights of a task are its own part, plus that of its target, plus `HeadForm.common` times that of its
    kind: what few cells cannot tell of one task is learned from all.

    Parameters
    ----------
    form
        Units and layers.
    tasks
        The tasks, and what they share.

    Examples
    --------
    >>> head = Head(HeadForm((0, 4), (), (0.0,)), HeadTasks(np.zeros(3, np.int64), np.array([0, 0, 1]))).eval()
    >>> units, row, place = torch.randn(2, 4), torch.tensor([1, 0]), torch.tensor([2, 0])
    >>> every = head(units, torch.arange(3))
    >>> bool(torch.allclose(head.cells(units, row, place), every[row, place], atol=1e-6))
    True
    """

    def __init__(self, form: HeadForm, tasks: HeadTasks) -> None:
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
        self.own = nn.Linear(width, len(tasks.kind))
        self.shared = None if tasks.target is None else nn.Linear(width, int(tasks.target.max(initial=0)) + 1)
        self.factor = form.common
        self.common = nn.Linear(width, int(tasks.kind.max(initial=0)) + 1) if form.common else None
        part = tasks.kind if tasks.target is None else tasks.target
        self.register_buffer("part", torch.from_numpy(part), persistent=False)
        self.register_buffer("kind", torch.from_numpy(tasks.kind), persistent=False)

    def outputs(self) -> list[nn.Linear]:
        """Return the layers whose parts add up to the output weights."""
        return [layer for layer in (self.own, self.shared, self.common) if layer is not None]

    def forward(self, units: Tensor, place: Tensor) -> Tensor:
        """Return (b, p) outputs of the tasks at (p,) places."""
        inner = self._inner(units)
        found = nn.functional.linear(inner, self.own.weight[place], self.own.bias[place])
        if self.shared is not None:
            found = found + self.shared(inner)[:, self.part[place]]
        return found if self.common is None else found + self.factor * self.common(inner)[:, self.kind[place]]

    def cells(self, units: Tensor, row: Tensor, place: Tensor) -> Tensor:
        """Return (m,) outputs of rows `row` for the tasks at `place`."""
        inner = self._inner(units)
        found = cell_outputs(inner, self.own, row, place)
        if self.shared is not None:
            found = found + cell_outputs(inner, self.shared, row, self.part[place])
        return found if self.common is None else found + self.factor * self.common(inner)[row, self.kind[place]]

    def _inner(self, units: Tensor) -> Tensor:
        seen = units[:, self.seen]
        return self.body(seen if self.scale is None else self.scale(seen))
