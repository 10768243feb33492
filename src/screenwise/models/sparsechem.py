"""SparseChem's training on the sparse multi-task network: its cells, loss, optimisers and schedule.

Weights after a step are those that SparseChem's own code gives from the same start and order (dropout aside), at
the cost of the columns in use. What differs on purpose: values are standardised with exact values of the training
folds only (SparseChem takes bounds too), runs have a seed, and a killed one goes on.

References
----------
Heyndrickx et al., J. Chem. Inf. Model. 64, 2331 (2024); github.com/melloddy/SparseChem, version 1.0.0.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn

from screenwise.data.sparsechem import SparseChemLabels, fold_inputs
from screenwise.errors import ConfigError
from screenwise.models.multitask_cells import CellTable
from screenwise.models.multitask_loss import BatchLoss, task_factors
from screenwise.models.multitask_network import MultiTaskNetwork, NetworkShape
from screenwise.models.sparsechem_network import SparseChemTasks
from screenwise.rng import derive_seed
from screenwise.train.device import seeded
from screenwise.train.loop import Training
from screenwise.train.sparse import SparseLinear
from screenwise.train.sparse_adam import LEAST_EPS, DeferredAdam
from screenwise.train.sparse_store import MappedRows

OPTIMISERS = {"adam": 3, "adamw": 3, "sgd": 1}
"""Optimisers, and how many parameters they take: beta1, beta2, epsilon, or the momentum."""
FEWEST = 2
"""Exact values of which a task's spread can be told."""


@dataclass(frozen=True)
class SparseChemTraining:
    """How SparseChem trains; the defaults are its own."""

    epochs: int = 20
    """Passes over the training rows."""
    batch_ratio: float = 0.02
    """Rows of a step, as a share of the training rows."""
    internal_batch_max: int | None = None
    """Most rows that go through the network at once; a step adds up the gradients of its parts."""
    normalize_loss: float | None = None
    """Divides a step's summed loss; None = its rows."""
    regression_weight: float = 0.5
    """r: losses of classes count 2 (1 - r), of values 2 r."""
    censored_loss: bool = True
    """Whether bounds are bounds, or values."""
    optimizer: str = "adam"
    """adam, adamw (decoupled decay) or sgd."""
    optimizer_params: tuple[float, ...] = ()
    """beta1, beta2, epsilon; or the momentum."""
    lr: float = 1e-3
    """Learning rate."""
    weight_decay: float = 0.0
    """Decay of all weights."""
    lr_steps: tuple[int, ...] = (10,)
    """Epochs from which the rate is multiplied by `lr_alpha`, once more each."""
    lr_alpha: float = 0.3
    """See `lr_steps`."""
    mixed_precision: bool = False
    """Whether matrix products run in bfloat16."""
    best_epoch: bool = False
    """Whether the weights of the epoch with the least validation loss are kept, not the last."""

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMISERS:
            message = f"There is no optimizer {self.optimizer!r}; use {', '.join(OPTIMISERS)}."
            raise ConfigError(message)
        wanted = OPTIMISERS[self.optimizer]
        if len(self.optimizer_params) not in (0, wanted):
            message = (
                f"optimizer_params {self.optimizer_params}: {self.optimizer} takes {wanted} "
                f"({'momentum' if wanted == 1 else 'beta1, beta2, epsilon'}), or none."
            )
            raise ConfigError(message)
        if not 0 < self.batch_ratio <= 1 or not 0 <= self.regression_weight <= 1:
            message = (
                f"batch_ratio {self.batch_ratio} must be above 0 and at most 1, regression_weight "
                f"{self.regression_weight} from 0 to 1."
            )
            raise ConfigError(message)

    def batches(self, rows: int) -> tuple[int, int]:
        """Return the rows of a part of a step, and the parts of a step.

        Examples
        --------
        >>> SparseChemTraining(internal_batch_max=300).batches(50_000)
        (250, 4)
        """
        batch = math.ceil(self.batch_ratio * rows)
        most = self.internal_batch_max
        parts = 1 if most is None or most >= batch else math.ceil(batch / most)
        return math.ceil(batch / parts), parts

    def loop(self, rows: int) -> Training:
        """Return the settings of the training loop."""
        part, parts = self.batches(rows)
        return Training(
            epochs=self.epochs,
            batch_size=part * parts,
            learning_rate=self.lr,
            schedule="steps",
            milestones=self.lr_steps,
            step_factor=self.lr_alpha,
            warm_up=0.0,
            patience=self.epochs if self.best_epoch else None,
            precision="bfloat16" if self.mixed_precision else "float32",
        )


@dataclass(frozen=True)
class Statistics:
    """Mean and variance of u regression tasks; standardised values are (value - mean) / sqrt(variance)."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]

    @property
    def scale(self) -> NDArray[np.float64]:
        """(u,) standard deviations."""
        return np.sqrt(self.variance)


def learn_statistics(labels: SparseChemLabels) -> Statistics:
    """Return mean and variance of the exact values of each task.

    A task with fewer than two exact values takes its bounds as values, one without spread the median variance of
    the other tasks.
    """
    tasks = labels.y_regr.shape[1]
    task, value, exact = labels.y_regr.indices, labels.y_regr.data.astype(np.float64), labels.y_censor.data == 0
    used = exact | (np.bincount(task, exact, tasks) < FEWEST)[task]
    task, value = task[used], value[used]
    count = np.maximum(np.bincount(task, minlength=tasks), 1)
    mean = np.bincount(task, value, tasks) / count
    variance = np.bincount(task, (value - mean[task]) ** 2, tasks) / count
    spread = variance > 0
    variance[~spread] = np.median(variance[spread]) if spread.any() else 1.0
    return Statistics(mean, variance)


@dataclass(frozen=True)
class FoldedRows:
    """Rows on disk whose columns are folded and transformed when they are asked for."""

    rows: MappedRows
    columns: int | None
    transform: str

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns after folding."""
        rows, columns = self.rows.shape
        return rows, columns if self.columns is None else min(columns, self.columns)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Any) -> csr_array:
        return fold_inputs(self.rows[rows], self.columns, self.transform)

    def digest(self) -> str:
        """Name the content."""
        return f"{self.rows.digest()}-{self.columns}-{self.transform}"


def sparsechem_cells(
    x: Any, labels: SparseChemLabels, tasks: SparseChemTasks, statistics: Statistics | None, regression_weight: float
) -> CellTable:
    """Return inputs and the measured cells of all rows, with the weights that SparseChem gives them.

    Parameters
    ----------
    x
        (n, d) features: CSR, or rows on disk.
    labels
        Of the same n rows.
    tasks
        The network's outputs. A class of the catalogue has two cells where it is measured.
    statistics
        Standardise values; None = as they are.
    regression_weight
        See `SparseChemTraining`.
    """
    row = {
        name: np.repeat(np.arange(len(labels)), np.diff(getattr(labels, name).indptr)) for name in ("y_class", "y_regr")
    }
    label, own = (labels.y_class.data + 1) / 2, labels.y_class.indices.astype(np.int64)
    again = np.full(tasks.classes, -1)
    again[tasks.catalogue] = np.arange(len(tasks.catalogue)) + tasks.classes
    shared = np.flatnonzero(again[own] >= 0)
    value, task = labels.y_regr.data.astype(np.float64), labels.y_regr.indices.astype(np.int64)
    if statistics is not None:
        value = (value - statistics.mean[task]) / statistics.scale[task]
    bound = labels.y_censor.data
    classes, values = labels.class_tasks, labels.regr_tasks
    factor = np.ones(len(bound)) if values.censored is None else np.where(bound == 0, 1.0, values.censored[task])
    rows = np.concatenate([row["y_class"], row["y_class"][shared], row["y_regr"]])
    every = np.concatenate([own, again[own[shared]], task + tasks.first_value])
    balance = task_factors(
        tasks.binary, regression_weight, (np.arange(len(tasks.binary)) >= tasks.classes) & tasks.binary
    )
    weight = np.concatenate([classes.training[own], np.ones(len(shared)), values.training[task] * factor])
    order = np.argsort(rows, kind="stable")
    relation = np.concatenate([np.zeros(len(own) + len(shared)), bound])
    return CellTable(
        x,
        np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(labels)))]),
        every[order],
        np.concatenate([label, label[shared], value])[order].astype(np.float32),
        relation[order].astype(np.float32),
        (weight * balance[every])[order].astype(np.float32),
        tasks.binary,
    )


def first_network(features: int, tasks: SparseChemTasks, shape: NetworkShape, seed: int) -> MultiTaskNetwork:
    """Return a network with SparseChem's first weights, drawn from a seed."""
    with seeded(derive_seed(seed, "sparsechem", "weights"), torch.device("cpu")):
        return MultiTaskNetwork(features, tasks.binary, shape)


@dataclass(frozen=True)
class StepLoss:
    """The loss of a step over some rows of a table, part by part."""

    network: MultiTaskNetwork
    table: CellTable
    rows: NDArray[np.int64]
    """Rows of the table that are learned from."""
    training: SparseChemTraining

    def __call__(self, positions: NDArray[np.int64]) -> Tensor:
        """Return the loss of some training rows; all parts of it but the last are sent backward already."""
        part, parts = self.training.batches(len(self.rows))
        batch_loss = BatchLoss(self.training.normalize_loss)
        divisor = 1 if self.training.normalize_loss is not None else parts
        rows = self.rows[positions]
        before = torch.zeros((), device=self.network.first.bias.device)
        chunks = [rows[first : first + part] for first in range(0, len(rows), part)]
        for chunk in chunks[:-1]:
            loss = batch_loss(self.network, self.table, chunk) / divisor
            loss.backward()
            before = before + loss.detach()
        return batch_loss(self.network, self.table, chunks[-1]) / divisor + before


def learned_table(table: CellTable, training: SparseChemTraining) -> CellTable:
    """Return the cells as the loss sees them: without `censored_loss`, bounds are values."""
    return table if training.censored_loss else replace(table, relation=np.zeros_like(table.relation))


def make_sparsechem_optimisers(network: nn.Module, training: SparseChemTraining) -> list[torch.optim.Optimizer]:
    """Return the optimisers of all weights.

    Adam without decay, and AdamW, leave rows of columns that are not in use for later, with the same result. Adam's
    own decay and SGD's move every row in every step, and cost as much.
    """
    dense = list(network.parameters())
    if training.optimizer == "sgd":
        momentum = training.optimizer_params[0] if training.optimizer_params else 0.0
        found = torch.optim.SGD(dense, lr=training.lr, momentum=momentum, weight_decay=training.weight_decay)
        return [_with_whole_gradients(found) if momentum or training.weight_decay else found]
    first, second, eps = training.optimizer_params or (0.9, 0.999, 1e-8)
    numbers: dict[str, Any] = {
        "lr": training.lr,
        "betas": (first, second),
        "eps": eps,
        "weight_decay": training.weight_decay,
    }
    kind = torch.optim.AdamW if training.optimizer == "adamw" else torch.optim.Adam
    waits = training.optimizer == "adamw" or training.weight_decay == 0
    if not waits or not (first**2 < second and eps >= LEAST_EPS):
        return [_with_whole_gradients(kind(dense, fused=True, **numbers))]
    layers = [layer for layer in network.modules() if isinstance(layer, SparseLinear)]
    sparse = {id(layer.weight) for layer in layers}
    rest = [weight for weight in dense if id(weight) not in sparse]
    return [kind(rest, fused=True, **numbers), DeferredAdam(layers, **numbers)]


def _with_whole_gradients(optimiser: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Let an optimiser see zeros where a sparse layer's gradient has no row."""

    def fill(one: torch.optim.Optimizer, *_: Any) -> None:
        for group in one.param_groups:
            for weight in group["params"]:
                if weight.grad is not None and weight.grad.is_sparse:
                    weight.grad = weight.grad.to_dense()

    optimiser.register_step_pre_hook(fill)
    return optimiser
