"""Many torch functions at once: ensembles in one kernel, and dropout whose masks stay the same.

Both are learners of all tasks together for `screenwise.models.adapter.Adapter`. What differs between
functions (weights, masks) is stacked, and `torch.func.vmap` runs them as one batched product, so that eight
small networks cost little more than one.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from screenwise.errors import ConfigError, ModelError
from screenwise.models.learners import Answer, Lesson, Numbers, TorchNetwork, TorchTable
from screenwise.rng import derive_seed, stream
from screenwise.train.device import choose_device, seeded
from screenwise.train.loop import Job, Training, train

State = dict[str, Tensor]
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class StackedMembers(nn.Module):
    """s modules of one form as one module; weight k of all members is one tensor of first length s."""

    def __init__(self, modules: list[nn.Module]) -> None:
        super().__init__()
        weights, buffers = stack_module_state(modules)
        self.names, self.buffer_names = list(weights), list(buffers)
        self.weights = nn.ParameterList([weights[name].detach() for name in weights])
        for place, name in enumerate(self.buffer_names):
            self.register_buffer(f"buffer{place}", buffers[name])
        # out of sight of nn.Module: its weights are placeholders, not to be trained, moved or kept
        self.skeleton = (copy.deepcopy(modules[0]).to("meta"),)

    def forward(self, x: Tensor, *, shared: bool = True) -> Tensor:
        """Return (s, b, t) of inputs (b, d) that all members share, or (s, b, d) of their own."""
        buffers = {name: getattr(self, f"buffer{place}") for place, name in enumerate(self.buffer_names)}
        skeleton = self.skeleton[0].train(self.training)

        def one(weights: State, rest: State, rows: Tensor) -> Tensor:
            return functional_call(skeleton, (weights, rest), (rows,))

        weights = dict(zip(self.names, self.weights, strict=True))
        return vmap(one, in_dims=(0, 0, None if shared else 0), randomness="different")(weights, buffers, x)


@dataclass(frozen=True)
class TorchEnsemble:
    """Networks of one form that start from different weights and see the rows in different orders.

    Deep ensemble (Lakshminarayanan et al. 2017), trained as one (`StackedMembers`). The mean is that of the
    members; they are the draws. Batch normalisation is refused: its running means belong to no function. The
    limit `clip` and, unlike alone, the decay of weights count biases of all members too.

    Examples
    --------
    >>> ensemble = TorchEnsemble(nn.Linear, members=3, training=Training(epochs=60, batch_size=4, learning_rate=0.05))
    >>> x = np.linspace(-1, 1, 16, dtype=np.float32)[:, None]
    >>> learned = ensemble.fit(Lesson(x, 3.0 * x.astype(float)))
    >>> (mean, _), draws = ensemble.predict_draws(learned, x)
    >>> draws.shape, bool(np.abs(mean - 3 * x).max() < 0.2)
    ((3, 16, 1), True)
    """

    build: Callable[[int, int], nn.Module]
    """``build(d, t)`` returns a new module from (b, d) to (b, t)."""
    members: int = 8
    training: Training = Training()  # noqa: RUF009 - frozen, so that one default serves all
    device: str = "auto"
    joint: bool = True

    def __post_init__(self) -> None:
        if self.members < 2:  # noqa: PLR2004 - one network has nobody to disagree with
            message = f"An ensemble of {self.members} members cannot disagree; members must be at least 2."
            raise ConfigError(message)

    def fit(self, lesson: Lesson) -> Any:
        """Build the members and train them together on all tasks."""
        device = choose_device(self.device)
        table = TorchTable.of(lesson, device)
        stacked = StackedMembers([self._member(lesson, place) for place in range(self.members)]).to(device)
        orders = [stream(lesson.seed, "order", place).permutation(len(table.x)) for place in range(self.members)]
        order = torch.from_numpy(np.stack(orders)).to(device)  # (s, m)

        def loss(rows: NDArray[np.int64]) -> Tensor:
            some = order[:, torch.from_numpy(rows).to(device)]  # (s, b)
            # a sum over members: each one's gradient is what it would be alone
            return table.loss(stacked(table.x[some], shared=False), some) / len(rows)

        train(Job(stacked, loss, rows=len(table.x)), self.training, seed=lesson.seed)
        return stacked, table.units

    def predict(self, learned: Any, x: Numbers) -> Answer:
        """Return the (n, t) mean of the members."""
        return self.predict_draws(learned, x)[0]

    def predict_draws(self, learned: Any, x: Numbers) -> tuple[Answer, NDArray[np.float64]]:
        """Return their mean and the (s, n, t) outputs of the members in the units of the tasks."""
        stacked, units = learned
        with torch.no_grad():
            found = stacked(torch.from_numpy(np.ascontiguousarray(x)).to(choose_device(self.device)))
        each = units.back(found)
        return (each.mean(axis=0), None), each

    def _member(self, lesson: Lesson, place: int) -> nn.Module:
        with seeded(derive_seed(lesson.seed, "member", place), torch.device("cpu")):
            module = self.build(lesson.x.shape[1], lesson.y.shape[1])
        if any(isinstance(layer, BATCH_NORMS) for layer in module.modules()):
            message = (
                "An ensemble cannot have batch normalisation: its running means change with the rows it sees. "
                "Use nn.LayerNorm or nn.GroupNorm."
            )
            raise ModelError(message)
        return module


class FixedDropout(nn.Module):
    """Dropout that drops units at random in training and by a given mask afterwards."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.width: tuple[int, ...] | None = None
        """Shape of what passes, without the rows; known after the first pass."""
        self.register_buffer("mask", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return x (b, ...) with units dropped and the others made larger to keep the mean."""
        if self.width is not None and self.width != tuple(x.shape[1:]):
            message = (
                f"One nn.Dropout is passed by shapes {self.width} and {tuple(x.shape[1:])}; give each layer its own."
            )
            raise ModelError(message)
        self.width = tuple(x.shape[1:])
        return nn.functional.dropout(x, self.rate) if self.training else x * self.mask


@dataclass(frozen=True)
class DropoutNetwork:
    """A torch module whose dropout stays on: each mask is one function (Gal and Ghahramani, ICML 2016).

    Masks are drawn once, after training, for units and not for rows: draw s drops the same units whatever
    rows are asked and in whatever chunks, so that draws are joint (the consistent dropout of BatchBALD,
    Kirsch et al., NeurIPS 2019). The mean is that of the draws. It knows dropout of the kind nn.Dropout.

    Examples
    --------
    >>> def build(d, t):
    ...     return nn.Sequential(nn.Linear(d, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, t))
    >>> network = DropoutNetwork(build, masks=4, training=Training(epochs=5))
    >>> x = np.linspace(-1, 1, 16, dtype=np.float32)[:, None]
    >>> learned = network.fit(Lesson(x, 3.0 * x.astype(float)))
    >>> whole, part = network.predict_draws(learned, x)[1], network.predict_draws(learned, x[3:5])[1]
    >>> whole.shape, bool(np.allclose(whole[:, 3:5], part, atol=1e-6))
    ((4, 16, 1), True)
    """

    build: Callable[[int, int], nn.Module]
    """``build(d, t)`` returns a new module from (b, d) to (b, t) with nn.Dropout in it."""
    masks: int = 32
    training: Training = Training()  # noqa: RUF009 - frozen, so that one default serves all
    device: str = "auto"
    joint: bool = True

    def fit(self, lesson: Lesson) -> Any:
        """Train one network, then draw its masks."""
        network, units = TorchNetwork(self._build, self.training, self.device).fit(lesson)
        device = choose_device(self.device)
        with torch.no_grad():
            network(torch.zeros((1, lesson.x.shape[1]), device=device))  # tells each dropout its width
        rng = torch.Generator().manual_seed(derive_seed(lesson.seed, "masks"))
        masks: State = {}
        for name, layer in network.named_modules():
            if isinstance(layer, FixedDropout) and layer.width is not None:
                kept = torch.rand((self.masks, *layer.width), generator=rng) >= layer.rate
                masks[f"{name}.mask"] = (kept / (1.0 - layer.rate)).to(device)
        return network, units, masks

    def predict(self, learned: Any, x: Numbers) -> Answer:
        """Return the (n, t) mean of the draws."""
        return self.predict_draws(learned, x)[0]

    def predict_draws(self, learned: Any, x: Numbers) -> tuple[Answer, NDArray[np.float64]]:
        """Return their mean and the (s, n, t) outputs under each mask in the units of the tasks."""
        network, units, masks = learned
        rows = torch.from_numpy(np.ascontiguousarray(x)).to(choose_device(self.device))
        with torch.no_grad():
            found = vmap(lambda mask: functional_call(network, mask, (rows,)))(masks)
        each = units.back(found)
        return (each.mean(axis=0), None), each

    def _build(self, d: int, t: int) -> nn.Module:
        network = self.build(d, t)
        places = [name for name, layer in network.named_modules() if isinstance(layer, nn.Dropout) and layer.p > 0]
        if not places:
            message = "The network has no nn.Dropout with p > 0, so it is one function; add one, or use TorchEnsemble."
            raise ModelError(message)
        for name in places:
            parent, _, own = name.rpartition(".")
            setattr(network.get_submodule(parent), own, FixedDropout(network.get_submodule(name).p))
        return network
