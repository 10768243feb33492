"""The sparse multi-task network: a trunk that all tasks share, and heads of classes and of values on its last units."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from screenwise.errors import ConfigError
from screenwise.models.multitask_head import Head, HeadForm, HeadTasks, make_activation
from screenwise.train.dropout import Dropout
from screenwise.train.sparse import SparseLinear
from screenwise.train.sparse_batch import SparseBatch

STARTS = ("rows", "xavier")


@dataclass(frozen=True)
class NetworkShape:
    """Form of a multi-task network.

    The last layer of the trunk has no activation of its own: each head begins with one, and with the trunk's
    last dropout. A list of dropouts of one number means that number everywhere.

    Examples
    --------
    SparseChem's hybrid network (models.py of version 1.0.0), on bits and with its first weights:

    >>> shape = NetworkShape((400,), (0.2,), regression_activation="tanh", start="xavier")
    >>> shape.class_form == shape.regression_form
    False
    """

    hidden: tuple[int, ...] = (400, 400)
    """Units of each layer of the trunk."""
    dropouts: tuple[float, ...] = (0.3,)
    """Share of the units of each layer of the trunk that is silenced in training."""
    activation: str = "relu"
    """Between the layers of the trunk: "relu" or "tanh"."""
    layer_norm: bool = False
    """Whether each hidden layer's sums are normalised (Ba et al., arXiv:1607.06450) before its activation."""
    class_hidden: tuple[int, ...] = ()
    """Units of the hidden layers that only classes have."""
    class_dropouts: tuple[float, ...] = (0.0,)
    """Of those."""
    class_activation: str = "relu"
    """Of the trunk's last units, and of those layers, where classes read them."""
    class_units: int | None = None
    """How many of the trunk's last units, from the left, classes see; None = all."""
    regression_hidden: tuple[int, ...] = ()
    """Units of the hidden layers that only values have."""
    regression_dropouts: tuple[float, ...] = (0.0,)
    """Of those."""
    regression_activation: str = "relu"
    """Of the trunk's last units, and of those layers, where values read them."""
    regression_units: int | None = None
    """How many of the trunk's last units, from the right, values see; None = all."""
    scaling: float | None = None
    """Weight of the penalty |scale - 1| on a scale per unit that values have before their activation, with an
    offset; None = there is no such scale."""
    common: float = 0.0
    """Factor of a part of the output weights that all classes share, and one that all values share; 0 = none."""
    heads: int = 1
    """Copies of all heads, which differ by their first weights and by what they see of the data."""
    learned_noise: bool = False
    """Whether each value task has a standard deviation of its own to learn (Tobit likelihood)."""
    start: str = "rows"
    """First weights: "rows" = of the sparse layer for rows as long as they are, and outputs that start at 0, so that
    what a task of few cells says at the end was learned; "xavier" = SparseChem's, for all layers: Xavier-uniform
    over all columns with the gain of ReLU, of 1 in the heads, and offsets of 0.1."""

    def __post_init__(self) -> None:
        for name in ("hidden", "class_hidden", "regression_hidden"):
            if any(units < 1 for units in getattr(self, name)):
                message = f"NetworkShape.{name} is {getattr(self, name)}; layers need at least 1 unit each."
                raise ConfigError(message)
        if not self.hidden or self.heads < 1 or self.start not in STARTS:
            message = (
                f"NetworkShape: hidden {self.hidden} and heads {self.heads} must be at least 1, "
                f"start {self.start!r} one of {STARTS}."
            )
            raise ConfigError(message)
        for name, layers in (("dropouts", "hidden"), ("class_dropouts", "class_hidden")):
            _each(getattr(self, name), getattr(self, layers), name)
        _each(self.regression_dropouts, self.regression_hidden, "regression_dropouts")
        width = self.hidden[-1]
        seen = [width if units is None else units for units in (self.class_units, self.regression_units)]
        if min(seen) < 1 or max(seen) > width or sum(seen) < width:
            message = (
                f"NetworkShape: class_units {self.class_units} from the left and regression_units "
                f"{self.regression_units} from the right must lie in the trunk's {width} last units and cover them."
            )
            raise ConfigError(message)

    @property
    def trunk_dropouts(self) -> tuple[float, ...]:
        """A dropout for each layer of the trunk."""
        return _each(self.dropouts, self.hidden, "dropouts")

    @property
    def class_form(self) -> HeadForm:
        """Form of the head of classes."""
        drops = self.trunk_dropouts[-1], *_each(self.class_dropouts, self.class_hidden, "class_dropouts")
        units = 0, self.hidden[-1] if self.class_units is None else self.class_units
        return HeadForm(units, self.class_hidden, drops, self.class_activation, self.layer_norm, common=self.common)

    @property
    def regression_form(self) -> HeadForm:
        """Form of the head of values."""
        drops = (
            self.trunk_dropouts[-1],
            *_each(self.regression_dropouts, self.regression_hidden, "regression_dropouts"),
        )
        width = self.hidden[-1]
        units = width - (width if self.regression_units is None else self.regression_units), width
        scaled = self.scaling is not None
        activation, norm = self.regression_activation, self.layer_norm
        return HeadForm(units, self.regression_hidden, drops, activation, norm, scaled, self.common)


def _each(dropouts: tuple[float, ...], layers: tuple[int, ...], name: str) -> tuple[float, ...]:
    found = dropouts * len(layers) if len(dropouts) == 1 else dropouts
    if len(found) != len(layers) or not all(0 <= share < 1 for share in dropouts):
        message = f"NetworkShape.{name} is {dropouts}; give one share in [0, 1), or one for each of {len(layers)}."
        raise ConfigError(message)
    return found


class MultiTaskNetwork(nn.Module):
    """A sparse first layer, dense layers and one linear output per task.

    Parameters
    ----------
    features
        Columns of the input.
    tasks_are_binary
        (t,) whether a task is a class or a value.
    shape
        Units, dropouts and heads.
    active
        Typical squared length of an input row; not used where weights start as "xavier".
    target
        (t,) number of the protein that each task asks of: outputs of classes (and those of values) that ask of
        one are linear in the units by a part of their own plus a part of the protein. None = only their own.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> network = MultiTaskNetwork(5, [True, False, False], NetworkShape((8, 4)))
    >>> batch = SparseBatch.from_csr(csr_array(np.eye(2, 5)))
    >>> tuple(network(batch).shape), tuple(network.cells(batch, torch.tensor([1]), torch.tensor([2])).shape)
    ((1, 2, 3), (1, 1))
    """

    def __init__(
        self,
        features: int,
        tasks_are_binary: ArrayLike,
        shape: NetworkShape = NetworkShape(),
        *,
        active: float = 64.0,
        target: NDArray[np.int64] | None = None,
    ) -> None:
        super().__init__()
        self.shape = shape
        binary = np.asarray(tasks_are_binary, bool)
        xavier = shape.start == "xavier"
        # Xavier's bound counts all columns
        self.first = SparseLinear(features, shape.hidden[0], features if xavier else active)
        layers: list[nn.Module] = [nn.LayerNorm(shape.hidden[0])] if shape.layer_norm else []
        for (before, after), share in zip(pairwise(shape.hidden), shape.trunk_dropouts[:-1], strict=True):
            layers += [make_activation(shape.activation), Dropout(share), nn.Linear(before, after)]
            layers += [nn.LayerNorm(after)] if shape.layer_norm else []
        self.trunk = nn.Sequential(*layers)
        forms = _forms(shape, binary)
        self.copies = nn.ModuleList(
            nn.ModuleList(Head(form, _head_tasks(tasks, binary, target)) for form, tasks in forms)
            for _ in range(shape.heads)
        )
        head, place = np.zeros(len(binary), np.int64), np.zeros(len(binary), np.int64)
        for number, (_, tasks) in enumerate(forms):
            head[tasks], place[tasks] = number, np.arange(len(tasks))
        self.register_buffer("head", torch.from_numpy(head), persistent=False)
        self.register_buffer("place", torch.from_numpy(place), persistent=False)
        self.log_noise = nn.Parameter(torch.zeros(len(binary))) if shape.learned_noise else None
        if xavier:
            _start_as_sparsechem(self)
        else:
            _start_at_zero(self)

    def units(self, batch: SparseBatch) -> Tensor:
        """Return (b, hidden[-1]): the trunk's last units, before any activation."""
        return self.trunk(self.first(batch))

    def embed(self, batch: SparseBatch) -> Tensor:
        """Return (b, hidden[-1]): the trunk's last units behind its activation."""
        return make_activation(self.shape.activation)(self.units(batch))

    def forward(self, batch: SparseBatch, tasks: Tensor | None = None) -> Tensor:
        """Return (heads, b, t) outputs: standardised values, or log odds of classes; of (t,) some tasks, or all."""
        units = self.units(batch)
        asked = torch.arange(len(self.head), device=units.device) if tasks is None else tasks
        parts = self._parts(asked)
        order = torch.argsort(torch.cat([mine for _, mine, _ in parts])) if len(parts) > 1 else None
        found = []
        for copy in self.copies:
            wide = torch.cat([copy[number](units, place) for number, _, place in parts], dim=1)
            found.append(wide if order is None else wide[:, order])
        return torch.stack(found)

    def cells(self, batch: SparseBatch, row: Tensor, task: Tensor) -> Tensor:
        """Return (heads, m) outputs of some cells of a batch, at a cost of m and not b x t where they are few."""
        units = self.units(batch)
        parts = self._parts(task)
        order = torch.argsort(torch.cat([mine for _, mine, _ in parts])) if len(parts) > 1 else None
        found = []
        for copy in self.copies:
            flat = torch.cat([copy[number].cells(units, row[mine], place) for number, mine, place in parts])
            found.append(flat if order is None else flat[order])
        return torch.stack(found)

    def penalty(self) -> Tensor:
        """Return the penalty on the scales of the units that values see; 0 without them."""
        scales = [head.scale for copy in self.copies for head in copy if head.scale is not None]
        found = torch.zeros((), device=self.first.bias.device)
        for scale in scales:
            found = found + (self.shape.scaling or 0.0) * torch.linalg.vector_norm(scale.weight - 1) / self.shape.heads
        return found

    def _parts(self, task: Tensor) -> list[tuple[int, Tensor, Tensor]]:
        """Return, of each head that is asked: its number, where its tasks stand in `task`, their places in it."""
        count = len(self.copies[0])
        if count == 1:
            return [(0, torch.arange(len(task), device=task.device), self.place[task])]
        head = self.head[task]
        every = [(number, torch.nonzero(head == number)[:, 0]) for number in range(count)]
        asked = [(number, mine) for number, mine in every if len(mine)] or every[:1]
        return [(number, mine, self.place[task[mine]]) for number, mine in asked]


def _forms(shape: NetworkShape, binary: NDArray[np.bool_]) -> list[tuple[HeadForm, NDArray[np.int64]]]:
    """Return each head's form and its tasks: one head of all where classes and values would read the same units."""
    classes, values = np.flatnonzero(binary), np.flatnonzero(~binary)
    if not len(values):
        return [(shape.class_form, classes)]
    if not len(classes):
        return [(shape.regression_form, values)]
    plain = not shape.class_hidden and shape.scaling is None
    if plain and shape.class_form == shape.regression_form:
        return [(shape.class_form, np.arange(len(binary)))]
    return [(shape.class_form, classes), (shape.regression_form, values)]


def _head_tasks(tasks: NDArray[np.int64], binary: NDArray[np.bool_], target: NDArray[np.int64] | None) -> HeadTasks:
    """Return what a head's tasks share: a target's classes and its values each have a part of their own."""
    kind = np.unique(binary[tasks], return_inverse=True)[1].reshape(-1)
    if target is None:
        return HeadTasks(kind)
    both = np.column_stack([kind, np.asarray(target)[tasks]])
    return HeadTasks(kind, np.unique(both, axis=0, return_inverse=True)[1].reshape(-1))


@torch.no_grad()
def _start_as_sparsechem(network: MultiTaskNetwork) -> None:
    within = {id(layer) for layer in network.copies.modules()}
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight, gain=1.0 if id(layer) in within else float(np.sqrt(2.0)))
            layer.bias.fill_(0.1)


@torch.no_grad()
def _start_at_zero(network: MultiTaskNetwork) -> None:
    for copy in network.copies:
        for head in copy:
            for layer in head.outputs():
                layer.weight.zero_()
                layer.bias.zero_()
