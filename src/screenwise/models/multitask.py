"""A sparse multi-task network: one trunk for all tasks, values and classes, bounds respected.

The network that MELLODDY's SparseChem trains (Heyndrickx et al., J. Chem. Inf. Model. 64, 2331, 2024),
on unfolded substructure counts: every measured cell of every task teaches one shared trunk. For screens
of up to some 20,000 conditions the Gaussian process is better; this model takes millions.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from screenwise.config import from_mapping, to_mapping
from screenwise.errors import ConfigError, ModelError
from screenwise.models.inputs import InputRows, Inputs
from screenwise.models.measured import missing_note
from screenwise.models.multitask_cells import CellTable, Lots, typical_length
from screenwise.models.multitask_loss import BatchLoss
from screenwise.models.multitask_network import MultiTaskNetwork, NetworkShape
from screenwise.models.multitask_scale import Calibration, Scaling, calibrate, cell_table, learn_scaling
from screenwise.prediction import Prediction
from screenwise.represent.fingerprint import Fingerprint
from screenwise.rng import derive_seed, stream
from screenwise.run import Run
from screenwise.screen import Screen
from screenwise.train.checkpoint import read_checkpoint, write_checkpoint
from screenwise.train.device import choose_device, seeded
from screenwise.train.loop import Job, Training, train
from screenwise.train.sparse_batch import SparseBatch

CHUNK = 4096
"""Rows predicted at a time."""
FEW_STEPS = 1500
"""Small screens are gone through often enough for about so many steps."""
ALL_ROWS_SHARE = 0.25
"""Share of the epochs that come after the calibration and learn the held-out conditions too."""
HOLD_OUT_FROM = 20
"""Fewer conditions than this are all needed to learn from."""


@dataclass(frozen=True)
class MultiTaskConfig:
    """Settings of the multi-task network."""

    radius: int = 3
    """Bonds around an atom that a substructure reaches (3 = ECFP6)."""
    chiral: bool = False
    """Whether stereocentres make substructures different."""
    minimum_count: int = 3
    """Training compounds that a substructure must occur in to have weights of its own."""
    hidden: tuple[int, ...] = (400, 400)
    """Units of each hidden layer."""
    dropout: float = 0.3
    """Share of hidden units silenced in training."""
    members: int = 1
    """Networks that differ by their seed; their mean predicts, more than one give draws."""
    epochs: int | None = None
    """Passes over the training conditions; None = 12, and more for small screens."""
    batch_size: int = 256
    """Conditions of one step, at most an eighth of the screen."""
    learning_rate: float = 2e-3
    """Of Adam, at its highest."""
    weight_decay: float = 0.0
    """Decoupled decay of weight matrices."""
    patience: int | None = None
    """Stop after so many epochs without gain on held-out cells and keep the best; None = all epochs."""
    held_out: float = 0.1
    """Share of the conditions kept from training to learn how wide intervals must be; not with `valid`."""
    censored_weight: float = 1.0
    """Weight of a bound against that of an exact value."""
    device: str = "auto"
    """"auto" = an accelerator when there is one, else the CPU."""
    precision: str = "float32"
    """Of matrix products in training: "float32" or "bfloat16"."""
    threads: int | None = None
    """Threads in training; None = torch's own choice."""
    checkpoint_seconds: float = 60.0
    """Seconds between two checkpoints, when the fit has a run."""

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1 or min(self.members, self.batch_size) < 1:
            message = (
                f"MultiTaskConfig: hidden {self.hidden}, members {self.members} and batch_size {self.batch_size} "
                "must all be at least 1."
            )
            raise ConfigError(message)
        if not (0 <= self.dropout < 1 and 0 <= self.held_out < 1):
            message = f"MultiTaskConfig: dropout {self.dropout} and held_out {self.held_out} must be in [0, 1)."
            raise ConfigError(message)


@dataclass(frozen=True)
class Fitted:
    """What `MultiTask.fit` learned."""

    tasks: pd.DataFrame
    """(t,) name, kind."""
    inputs: Inputs
    scaling: Scaling
    calibration: Calibration
    networks: tuple[MultiTaskNetwork, ...]


class MultiTask:
    """Ensemble of sparse multi-task networks (see the module).

    A tenth of the conditions is held out in the first three quarters of the training, to learn how wide
    intervals must be, and learned with all others in the last quarter. A value's `std` joins the members'
    spread with that of held-out residuals of its task, scaled so that ``mean +- 1.645 std`` holds 90 % of
    them; a probability's is that of a coin. A condition is in the domain when the share of its
    substructures that training knew is not below what 95 % of the held-out conditions have.

    Examples
    --------
    >>> from screenwise.screen import make_screen
    >>> x = np.linspace(-1, 1, 64)
    >>> conditions = pd.DataFrame({"gene": [f"G{i}" for i in range(64)], "feature:x": x})
    >>> screen = make_screen(conditions, np.stack([x, 1 - x], 1), ["growth", "death"])
    >>> model = MultiTask(MultiTaskConfig(hidden=(32,), epochs=100, batch_size=8, dropout=0.0)).fit(screen)
    >>> bool(np.abs(model.predict(conditions).mean[:, 0] - x).max() < 0.2)
    True
    """

    Config = MultiTaskConfig

    def __init__(self, config: MultiTaskConfig | None = None) -> None:
        self.config = config or MultiTaskConfig()
        self.fitted_: Fitted | None = None

    def fit(self, screen: Screen, *, valid: Screen | None = None, run: Run | None = None, seed: int = 0) -> Self:
        """Train the members one after another; with a `run`, a killed fit goes on where it was.

        Parameters
        ----------
        screen
            Measured conditions; only measured cells enter the loss.
        valid
            Conditions with the same tasks that stop the training early and calibrate; None = a share
            of `screen` is held out.
        run
            Where metrics and checkpoints go.
        seed
            Decides first weights, dropout, the order of rows and what is held out.
        """
        fingerprint = Fingerprint(radius=self.config.radius, chiral=self.config.chiral)
        inputs = Inputs(fingerprint, self.config.minimum_count, logarithm=True).fit(screen.conditions)
        screen, read = _usable(screen, inputs)
        scaling = learn_scaling(screen)
        table = cell_table(screen, read.x, scaling, self.config.censored_weight)
        lots = self._divide(table, scaling, inputs, valid, seed)
        networks = [self._first_network(table, seed, member) for member in range(self.config.members)]
        for member, network in enumerate(networks):
            self._train(network, lots, f"member-{member}", (run, seed))
        known = read.known[lots.held] if lots.judge is table and len(lots.held) else read.known
        calibration = calibrate(networks, lots.judge, lots.held, known)
        if lots.judge is table and len(lots.held) and self.config.patience is None:
            every = Lots(table, np.arange(len(table)), table, lots.held[:0])
            for member, network in enumerate(networks):
                self._train(network, every, f"member-{member}-all", (run, seed))
        tasks = screen.tasks[["name", "kind"]].reset_index(drop=True)
        self.fitted_ = Fitted(tasks, inputs, scaling, calibration, tuple(networks))
        if run is not None:
            run.log(fit="calibration", factor=calibration.factor, temperature=calibration.temperature)
        return self

    def predict(self, conditions: pd.DataFrame) -> Prediction:
        """Predict all tasks, in chunks; `draws` are the members, if there is more than one."""
        fitted = self._state()
        rows = fitted.inputs.transform(conditions)
        shape = (len(conditions), len(fitted.tasks))
        mean, std = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
        draws = np.full((self.config.members, *shape), np.nan, np.float32) if self.config.members > 1 else None
        every = np.arange(shape[1])
        for part in _chunks(rows.readable):
            members = self._members(rows.x[part], None)
            mean[part], std[part], each = self._finish(members, every)
            if draws is not None:
                draws[:, part] = each
        return Prediction(mean, std, draws, self._inside(rows), self._note(rows))

    def predict_cells(
        self, conditions: pd.DataFrame, row: NDArray[np.int64], task: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Predict some cells only: mean and std, (m,) each, of conditions `row` and tasks `task`."""
        fitted = self._state()
        row, task = np.asarray(row), np.asarray(task)
        asked, place = np.unique(row, return_inverse=True)
        rows = fitted.inputs.transform(conditions.iloc[asked])
        mean, std = np.full(len(row), np.nan, np.float32), np.full(len(row), np.nan, np.float32)
        for part in _chunks(rows.readable):
            position = np.full(len(asked), -1)
            position[part] = np.arange(len(part))
            mine = np.flatnonzero(position[place] >= 0)
            members = self._members(rows.x[part], (position[place[mine]], task[mine]))
            mean[mine], std[mine], _ = self._finish(members, task[mine])
        return mean, std

    def embed(self, conditions: pd.DataFrame) -> NDArray[np.float32]:
        """Return (n, members x h): what the tasks are linear in, member beside member; NaN where unreadable."""
        fitted = self._state()
        rows = fitted.inputs.transform(conditions)
        width = self.config.hidden[-1]
        found = np.full((len(conditions), self.config.members * width), np.nan, np.float32)
        device = choose_device(self.config.device)
        for part in _chunks(rows.readable):
            batch = SparseBatch.from_csr(rows.x[part], device)
            with torch.no_grad():
                found[part] = torch.cat([network.embed(batch) for network in fitted.networks], dim=1).cpu().numpy()
        return found

    def save(self, folder: Path) -> None:
        """Write ``multitask.safetensors``: settings and learned state in one file."""
        fitted = self._state()
        facts, arrays = fitted.inputs.to_state()
        tensors = {f"inputs.{name}": torch.from_numpy(array) for name, array in arrays.items()}
        tensors |= {f"scaling.{name}": torch.from_numpy(array) for name, array in vars(fitted.scaling).items()}
        tensors["noise"] = torch.from_numpy(fitted.calibration.noise)
        for member, network in enumerate(fitted.networks):
            tensors |= {f"member{member}.{name}": value for name, value in network.state_dict().items()}
        numbers = {name: value for name, value in vars(fitted.calibration).items() if name != "noise"}
        head = {
            "config": to_mapping(self.config),
            "tasks": fitted.tasks.to_dict("list"),
            "inputs": facts,
            "calibration": numbers,
        }
        write_checkpoint(Path(folder) / "multitask.safetensors", tensors, head)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        path = Path(folder) / "multitask.safetensors"
        tensors, head = read_checkpoint(path)
        model = cls(from_mapping(MultiTaskConfig, head["config"], str(path)))

        def under(prefix: str) -> dict[str, Any]:
            return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

        inputs = Inputs.from_state(head["inputs"], {name: value.numpy() for name, value in under("inputs.").items()})
        scaling = Scaling(**{name: value.numpy() for name, value in under("scaling.").items()})
        calibration = Calibration(noise=tensors["noise"].numpy(), **head["calibration"])
        tasks = pd.DataFrame(head["tasks"])
        networks = []
        for member in range(model.config.members):
            shape = NetworkShape(model.config.hidden, (model.config.dropout,))
            network = MultiTaskNetwork(inputs.width, scaling.binary, shape)
            network.load_state_dict(under(f"member{member}."))
            networks.append(network.to(choose_device(model.config.device)).eval())
        model.fitted_ = Fitted(tasks, inputs, scaling, calibration, tuple(networks))
        return model

    def _state(self) -> Fitted:
        if self.fitted_ is None:
            message = "This multi-task network is not fitted yet; call fit(screen) first."
            raise ModelError(message)
        return self.fitted_

    def _divide(self, table: CellTable, scaling: Scaling, inputs: Inputs, valid: Screen | None, seed: int) -> Lots:
        """Say which conditions are learned from, and which calibrate."""
        every = np.arange(len(table))
        if valid is not None:
            if len(valid.task_names) != len(table.binary):
                message = f"`valid` has {len(valid.task_names)} tasks, the screen {len(table.binary)}; give the same."
                raise ModelError(message)
            valid, read = _usable(valid, inputs)
            judge = cell_table(valid, read.x, scaling, self.config.censored_weight)
            return Lots(table, every, judge, np.arange(len(judge)))
        if len(table) < HOLD_OUT_FROM:
            return Lots(table, every, table, every[:0])
        order = stream(seed, "multitask", "held out").permutation(every)
        count = math.ceil(self.config.held_out * len(table))
        return Lots(table, np.sort(order[count:]), table, np.sort(order[:count]))

    def _first_network(self, table: CellTable, seed: int, member: int) -> MultiTaskNetwork:
        # substructures of a compound come together: twice the squared length keeps first outputs small
        active = 2 * typical_length(table.x)
        shape = NetworkShape(self.config.hidden, (self.config.dropout,))
        with seeded(derive_seed(seed, "multitask", "weights", member), torch.device("cpu")):
            network = MultiTaskNetwork(table.x.shape[1], table.binary, shape, active=active)
        return network.to(choose_device(self.config.device))

    def _train(self, network: MultiTaskNetwork, lots: Lots, name: str, context: tuple[Run | None, int]) -> None:
        run, seed = context

        def validate() -> float:
            parts = np.split(lots.held, range(CHUNK, len(lots.held), CHUNK))
            judge = BatchLoss(judging=True)
            return sum(float(judge(network, lots.judge, part)) * len(part) for part in parts) / len(lots.held)

        job = Job(
            network,
            lambda rows: BatchLoss()(network, lots.table, lots.rows[rows]),
            rows=len(lots.rows),
            validate=validate if len(lots.held) else None,
            name=name,
            key=lots.digest(),
        )
        train(job, self._training(lots), seed=seed, run=run)

    def _training(self, lots: Lots) -> Training:
        config, rows = self.config, len(lots.table)
        batch_size = min(config.batch_size, max(8, rows // 8))
        epochs = config.epochs or max(12, math.ceil(FEW_STEPS * batch_size / rows))
        rate = config.learning_rate
        if lots.judge is lots.table and config.patience is None:
            last = round(epochs * ALL_ROWS_SHARE)
            if len(lots.held):
                epochs -= last
            elif rows >= HOLD_OUT_FROM:
                epochs, rate = max(1, last), rate / 2
        return Training(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=rate,
            weight_decay=config.weight_decay,
            patience=config.patience,
            precision=config.precision,
            threads=config.threads,
            checkpoint_seconds=config.checkpoint_seconds,
        )

    def _members(self, x: csr_array, cells: tuple[Any, Any] | None) -> NDArray[np.float32]:
        """Return (k, b, t) outputs of the members, or (k, m) of some cells."""
        device = choose_device(self.config.device)
        batch = SparseBatch.from_csr(x, device)
        with torch.no_grad():
            if cells is None:
                found = [network(batch) for network in self._state().networks]
            else:
                row, task = (torch.from_numpy(np.asarray(part, np.int64)).to(device) for part in cells)
                found = [network.cells(batch, row, task) for network in self._state().networks]
        return torch.cat(found).cpu().numpy()

    def _finish(self, members: NDArray[np.float32], task: NDArray[np.int64]) -> tuple[Any, Any, Any]:
        """Return mean, std and each member's prediction, in the units of the tasks (last axis)."""
        fitted = self._state()
        scaling, calibration = fitted.scaling, fitted.calibration
        probability = 1 / (1 + np.exp(-np.clip(members / calibration.temperature, -30, 30)))
        value = scaling.centre[task] + scaling.scale[task] * members
        each = np.where(scaling.binary[task], probability, value)
        each = np.where(scaling.measured[task], each, np.nan).astype(np.float32)
        mean = each.mean(axis=0)
        spread = calibration.std(members, task) * scaling.scale[task]
        coin = np.sqrt(
            np.maximum(mean * (1 - mean), 1e-4), where=scaling.binary[task] & np.isfinite(mean), out=spread.copy()
        )
        return mean, np.where(np.isfinite(mean), coin, np.nan), each

    def _inside(self, rows: InputRows) -> NDArray[np.bool_]:
        return rows.readable & (rows.known >= self._state().calibration.known)

    def _note(self, rows: InputRows) -> NDArray[Any]:
        fitted = self._state()
        there = set(np.flatnonzero(fitted.scaling.measured).tolist())
        return np.where(rows.readable, missing_note(fitted.tasks, there), rows.note).astype(object)


def _chunks(readable: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    rows = np.flatnonzero(readable)
    return np.split(rows, range(CHUNK, len(rows), CHUNK)) if len(rows) else []


def _usable(screen: Screen, inputs: Inputs) -> tuple[Screen, InputRows]:
    """Return the conditions with a measured value that can be read, and their inputs."""
    cells = screen.targets.cells()
    usable = np.zeros(len(screen), bool)
    usable[cells.row[np.isfinite(cells.value)]] = True
    if screen.targets.weight is not None:
        usable &= screen.targets.weight > 0
    read = inputs.transform(screen.conditions)
    usable &= read.readable
    if not usable.any():
        message = "No condition has both a measured value and a readable structure; there is nothing to learn from."
        raise ModelError(message)
    return screen.take(usable), InputRows(read.x[usable], read.readable[usable], read.note[usable], read.known[usable])
