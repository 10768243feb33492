"""SparseChem's network as ours, and its weights under its own names."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from screenwise.errors import ConfigError, ModelError
from screenwise.models.multitask_head import Head, make_activation
from screenwise.models.multitask_network import MultiTaskNetwork, NetworkShape

FIRST = "net.0.net_freq"
"""The sparse layer."""
CATALOGUE = "catalogue"
"""Our name for the outputs of the catalogue head."""
Pair = tuple[Tensor, Tensor]
"""Weight and bias of a layer."""
PREFIXES = {"0.0.net_freq": FIRST, "1.net.2": "net.2.net.2"}
"""Names of federated models, and what they are in others."""


@dataclass(frozen=True)
class SparseChemTasks:
    """Outputs of a network: of classes, of those classes that partners share once more, of values."""

    classes: int
    values: int
    catalogue: NDArray[np.int64]
    """(c,) classes that have an output in the catalogue head too."""

    @property
    def binary(self) -> NDArray[np.bool_]:
        """(t,) which outputs are log odds: of classes and catalogue, before those of values."""
        return np.arange(self.classes + len(self.catalogue) + self.values) < self.first_value

    @property
    def first_value(self) -> int:
        """Place of the first output of a value."""
        return self.classes + len(self.catalogue)

    def shown(self, *, catalogue: bool = True) -> NDArray[np.int64]:
        """Return (classes,) which output speaks for each class: that of the catalogue where there is one."""
        place = np.arange(self.classes)
        if catalogue:
            place[self.catalogue] = self.classes + np.arange(len(self.catalogue))
        return place


def network_shape(conf: Mapping[str, Any]) -> NetworkShape:
    """Return the form of the network that a ``conf`` describes.

    Parameters
    ----------
    conf
        SparseChem's options by its names, those of its older versions too.

    Examples
    --------
    >>> network_shape({"hidden_sizes": [8], "dropouts_trunk": [0.2]}).regression_activation
    'tanh'
    """
    hidden = tuple(conf["hidden_sizes"])
    older = "dropouts_trunk" not in conf
    # before version 0.9.6: one head for all, one dropout between layers and one before the head
    trunk = (*[conf.get("middle_dropout", 0.0)] * (len(hidden) - 1), conf.get("last_dropout", 0.0))
    last = conf.get("last_non_linearity", "relu")
    heads: dict[str, Any] = {}
    for ours, theirs in (("class", "class"), ("regression", "reg")):
        layers = tuple(conf.get(f"last_hidden_sizes_{theirs}") or conf.get("last_hidden_sizes") or ())
        given = tuple(conf.get(f"dropouts_{theirs}") or ())[: len(layers)]
        heads |= {f"{ours}_hidden": layers, f"{ours}_dropouts": given or (0.0,)}
        units = conf.get(f"{ours}_feature_size", -1)
        heads |= {f"{ours}_units": None if units in (-1, None, hidden[-1]) else units}
    scaling = conf.get("scaling_regularizer", float("inf"))
    return NetworkShape(
        hidden,
        trunk if older else tuple(conf["dropouts_trunk"]),
        activation="relu" if older else conf.get("middle_non_linearity", "relu"),
        class_activation=last if older else "relu",
        regression_activation=last if older else "tanh",
        scaling=None if scaling is None or np.isinf(scaling) else float(scaling),
        start="xavier",
        **heads,
    )


def to_sparsechem(network: MultiTaskNetwork, tasks: SparseChemTasks) -> dict[str, Tensor]:
    """Return the weights under SparseChem's names, as the ``state_dict`` of its SparseFFN has them.

    Units that a head does not see have weights 0 there. Outputs of the catalogue are ``catalogue.weight`` and
    ``catalogue.bias``, for which SparseChem has other names.
    """
    state = {f"{FIRST}.weight": network.first.weight, f"{FIRST}.bias": network.first.bias}
    for number, layer in enumerate(_linear(network.trunk)):
        state |= _named(f"net.1.net.layer_{number}.2", layer.weight, layer.bias)
    for kind, head in _heads(network, tasks).items():
        prefix = _prefix(kind, network.shape)
        layers = _layers(head, network.shape, kind)
        weight, bias = layers[-1]
        if kind == "class":
            state |= _named(CATALOGUE, weight[tasks.classes :], bias[tasks.classes :]) if len(tasks.catalogue) else {}
            layers[-1] = weight[: tasks.classes], bias[: tasks.classes]
        seen, width = _seen(network.shape, kind), network.shape.hidden[-1]
        layers[0] = _widened(layers[0][0], seen, width), layers[0][1]
        for name, (weight, bias) in zip(_names(prefix, len(layers)), layers, strict=True):
            state |= _named(name, weight, bias)
        if head is not None and head.scale is not None:
            scale = torch.ones(width, device=head.scale.weight.device), torch.zeros(width)
            scale[0][seen], scale[1][seen] = head.scale.weight.detach(), head.scale.bias.detach().cpu()
            state |= _named("regrLast.0", *scale) | _named("scaling", *scale)
        mask = torch.zeros(1, width)
        mask[:, seen] = 1
        state["classmask" if kind == "class" else "regmask"] = mask
    return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}


@torch.no_grad()
def fill_network(network: MultiTaskNetwork, tasks: SparseChemTasks, state: Mapping[str, Tensor], where: str) -> None:
    """Fill a network with weights under SparseChem's names, those of its federated and older models too.

    Parameters
    ----------
    network
        Of the shape that the model's ``conf`` describes.
    tasks
        Its outputs.
    state
        Weights by name.
    where
        Names the file in errors.

    Raises
    ------
    ModelError
        A weight is missing or has another shape than the ``conf`` says.
    """
    found = _plain_names(state, network.shape, tasks, where)
    trunk = {f"net.1.net.layer_{number}.2": layer for number, layer in enumerate(_linear(network.trunk))}
    wanted: list[tuple[str, Pair, Pair]] = [
        (name, (layer.weight, layer.bias), _pair(found, name, where))
        for name, layer in {FIRST: network.first, **trunk}.items()
    ]
    for kind, head in _heads(network, tasks).items():
        wanted += [] if head is None else _head_weights(head, kind, network.shape, tasks, found, where)
    for name, into, values in wanted:
        for end, parameter, value in zip(("weight", "bias"), into, values, strict=True):
            if value.shape != parameter.shape:
                message = (
                    f"{where}: {name}.{end} is {tuple(value.shape)}; the conf describes {tuple(parameter.shape)}. "
                    "Give the conf (.json) that was written with this model."
                )
                raise ModelError(message)
            parameter.copy_(value)


def _head_weights(
    head: Head, kind: str, shape: NetworkShape, tasks: SparseChemTasks, found: Mapping[str, Tensor], where: str
) -> list[tuple[str, Pair, Pair]]:
    """Return names, parameters and values of a head."""
    layers = _layers(head, shape, kind)
    names = _names(_prefix(kind, shape), len(layers))
    given = [_pair(found, name, where) for name in names]
    seen = _seen(shape, kind)
    scale = None if head.scale is None else _pair(found, "regrLast.0", where)
    given[0] = _narrowed(given[0], seen, scale, shape.regression_activation)
    if kind == "class" and len(tasks.catalogue):
        more = _pair(found, CATALOGUE, where)
        given[-1] = torch.cat([given[-1][0], more[0]]), torch.cat([given[-1][1], more[1]])
    wanted = list(zip(names, layers, given, strict=True))
    if head.scale is not None and scale is not None:
        own = head.scale.weight, head.scale.bias
        wanted.append(("regrLast.0", own, (scale[0][seen], scale[1][seen])))
    return wanted


def _pair(found: Mapping[str, Tensor], name: str, where: str) -> Pair:
    for end in ("weight", "bias"):
        if f"{name}.{end}" not in found:
            message = (
                f"{where} has no weight {name}.{end}. Its conf describes another network, "
                "or it is no model of SparseChem's."
            )
            raise ModelError(message)
    return found[f"{name}.weight"].float(), found[f"{name}.bias"].float()


def _plain_names(
    state: Mapping[str, Tensor], shape: NetworkShape, tasks: SparseChemTasks, where: str
) -> dict[str, Tensor]:
    """Return the weights under the names of version 1.0.0."""
    found = {}
    for name, value in state.items():
        before = next((old for old in PREFIXES if name.startswith(f"{old}.")), None)
        found[name if before is None else PREFIXES[before] + name[len(before) :]] = value
    if "net.2.net.2.weight" in found:  # one head: classes, then values
        if shape.class_hidden or shape.regression_hidden:
            message = f"{where} has one linear head, its conf one with hidden layers. Give the conf of this model."
            raise ModelError(message)
        for end in ("weight", "bias"):
            both = found.pop(f"net.2.net.2.{end}")
            found[f"{_names('classLast', 1)[0]}.{end}"] = both[: tasks.classes]
            found[f"{_names('regrLast.0', 1)[0]}.{end}"] = both[tasks.classes :]
    return found


def _heads(network: MultiTaskNetwork, tasks: SparseChemTasks) -> dict[str, Head | None]:
    """Return the head of classes and that of values, None where there are no such tasks."""
    shape = network.shape
    if shape.heads != 1:
        message = f"SparseChem's networks have one set of heads, this one {shape.heads}."
        raise ConfigError(message)
    heads: list[Any] = list(network.copies[0])
    if tasks.classes and tasks.values and len(heads) == 1:
        message = "Of SparseChem's networks with one head, those with classes only or values only can be read."
        raise ModelError(message)
    return {
        "class": heads[0] if tasks.classes else None,
        "regr": heads[-1] if tasks.values else None,
    }


def _layers(head: Head | None, shape: NetworkShape, kind: str) -> list[Pair]:
    """Return the linear layers of a head; of one that is not there, as SparseChem has it: without outputs."""
    if head is not None:
        return [(layer.weight, layer.bias) for layer in [*_linear(head.body), head.own]]
    seen = _seen(shape, kind)
    sizes = [seen.stop - seen.start, *(shape.class_hidden if kind == "class" else shape.regression_hidden), 0]
    return [(torch.zeros(after, before), torch.zeros(after)) for before, after in pairwise(sizes)]


def _linear(module: nn.Module) -> list[nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


def _prefix(kind: str, shape: NetworkShape) -> str:
    if kind == "class":
        return "classLast"
    return "regrLast.0" if shape.scaling is None else "regrLast.1"


def _names(prefix: str, layers: int) -> list[str]:
    middle = [f"layer_{number}" for number in range(layers - 2)]
    return [f"{prefix}.net.{name}.2" for name in ["initial_layer", *middle, "last_layer"][:layers]]


def _named(name: str, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    return {f"{name}.weight": weight, f"{name}.bias": bias}


def _seen(shape: NetworkShape, kind: str) -> slice:
    return slice(*(shape.class_form if kind == "class" else shape.regression_form).units)


def _widened(weight: Tensor, seen: slice, width: int) -> Tensor:
    wide = torch.zeros((len(weight), width), device=weight.device)
    wide[:, seen] = weight.detach()
    return wide


def _narrowed(layer: Pair, seen: slice, scale: Pair | None, activation: str) -> Pair:
    """Return a head's first layer for the units it sees; what hidden units add, always the same, goes into the bias."""
    weight, bias = layer
    if scale is not None:
        hidden = torch.ones(len(scale[1]), dtype=torch.bool)
        hidden[seen] = False
        bias = bias + weight[:, hidden] @ make_activation(activation)(scale[1][hidden])
    return weight[:, seen], bias
