"""A sparse multi-task network: one trunk for all tasks, values and classes, bounds respected.

The network that MELLODDY's SparseChem trains (Heyndrickx et al., J. Chem. Inf. Model. 64, 2331, 2024),
on unfolded substructure counts: every measured cell of every task teaches one shared trunk. For screens
of up to some 20,000 conditions the Gaussian process is better; this model takes millions.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from screenwise.errors import ModelError
from screenwise.models.inputs import InputRows
from screenwise.models.measured import missing_note
from screenwise.models.multitask_calibration import calibrate, member_outputs
from screenwise.models.multitask_cells import CellTable, Lots
from screenwise.models.multitask_config import (
    Labels,
    MultiTaskConfig,
    Settled,
    network_shape,
    settle,
    training_settings,
)
from screenwise.models.multitask_fit import divide, first_network, is_held_out, schedule, train_network
from screenwise.models.multitask_inputs import JoinedInputs, make_inputs
from screenwise.models.multitask_kernel import fit_kernel, weigh
from screenwise.models.multitask_loss import BatchLoss
from screenwise.models.multitask_network import MultiTaskNetwork
from screenwise.models.multitask_scale import (
    Scaling,
    cell_table,
    finite_cells,
    label_notes,
    learn_scaling,
    learn_signs,
    paired_values,
    target_codes,
    without_bounds,
)
from screenwise.models.multitask_store import Fitted, load_fitted, save_fitted
from screenwise.prediction import CalibrationCells, Prediction
from screenwise.represent.features import FEATURE
from screenwise.rng import derive_seed
from screenwise.run import Run
from screenwise.screen import Screen
from screenwise.train.device import choose_device
from screenwise.train.sparse_batch import SparseBatch

__all__ = ["MultiTask", "MultiTaskConfig"]

CHUNK = 4096
"""Rows predicted at a time."""
LABELS_NOTE = {
    "beside": "The screen has labels beside values: values weigh {settled.regression_weight:g} against 1 - that",
    "alone": "The screen has labels alone, of which nothing tells which run the other way: tasks share the trunk only",
}
SETTINGS_NOTE = (
    "; networks: {settled.members}, each of {settled.epochs} epochs or more, batches of {settled.batch_size} at rate "
    "{settled.learning_rate:g}, decay {settled.weight_decay:g}, where the settings leave it open."
)
"""Told of the settings that a screen of values alone would not have."""


class MultiTask:
    """Ensemble of sparse multi-task networks (see the module).

    A tenth of the conditions is held out in the first three quarters of the training, to learn how wide
    intervals must be, and learned with all others in the last quarter; where there are labels, whose tasks are often
    small, the networks are trained anew on all conditions instead. A value's `std` joins the spread of
    members and heads with that of held-out residuals of its task, scaled so that ``mean +- 1.645 std`` holds 90 % of
    them; a probability's is that of a coin. A condition is in the domain when the share of its
    substructures that training knew is not below what 95 % of the held-out conditions have.

    Where compounds have values alone, kernel ridge regression of each task by itself (`KernelRidge`) has a share in
    their prediction, learned from the held-out cells: many small tasks say more of their own compounds than of each
    other's. It learns from exact values only, so that bounds count by the network's share.

    Tasks of one `assay`, a value and a label, may run in opposite directions: which labels do is learned from
    the training rows, so that what tasks of one `target` share means the same for all of them, and told in
    ``notes_``. Tasks of `aggregation_weight` 0 are learned and predicted; they do not stop the training, and
    intervals are not made to fit them.

    Examples
    --------
    >>> from screenwise.screen import make_screen
    >>> x = np.linspace(-1, 1, 64)
    >>> conditions = pd.DataFrame({"gene": [f"G{i}" for i in range(64)], "feature:x": x})
    >>> screen = make_screen(conditions, np.stack([x, 1 - x], 1), ["growth", "death"])
    >>> model = MultiTask(MultiTaskConfig(hidden=(32,), epochs=100, batch_size=8, dropout=0.0)).fit(screen)
    >>> bool(np.abs(model.predict(conditions).mean[:, 0] - x).max() < 0.2)
    True
    >>> model.predict_tasks(conditions, [1]).mean.shape
    (64, 1)
    """

    Config = MultiTaskConfig

    def __init__(self, config: MultiTaskConfig | None = None) -> None:
        self.config = config or MultiTaskConfig()
        self.fitted_: Fitted | None = None
        self.held_out_ids_: NDArray[np.str_] = np.empty(0, str)
        """(m,) after `fit`, the conditions of `calibration_cells`; a loaded model does not know them."""

    def fit(self, screen: Screen, *, valid: Screen | None = None, run: Run | None = None, seed: int = 0) -> Self:
        """Train the members one after another; with a `run`, a killed fit goes on where it was.

        Parameters
        ----------
        screen
            Measured conditions; only measured cells enter the loss.
        valid
            Conditions with the same tasks (of one fold, or of several joined) that stop the training early and
            calibrate; None = a share of `screen` is held out.
        run
            Where metrics and checkpoints go.
        seed
            Decides first weights, dropout, the order of rows and what is held out.
        """
        paired = bool((paired_values(screen.tasks) >= 0).any())
        numbers = any(str(name).startswith(FEATURE) for name in screen.conditions.columns)
        alone = bool((screen.tasks["kind"] == "classification").all())
        labels: Labels = "beside" if paired else "alone" if alone else "none"
        settled = settle(self.config, len(screen), labels=labels, numbers=numbers)
        inputs = self._inputs(settled).fit(screen.conditions)
        screen, read = self._usable(screen, inputs)
        sign, mixed = learn_signs(screen)
        scaling = learn_scaling(screen, sign)
        table = self._table(screen, read, scaling, settled)
        judged, known = screen, read.known
        if valid is not None:
            judged, seen = self._usable(_same_tasks(valid, screen), inputs)
            known, judge = seen.known, self._table(judged, seen, scaling, settled)
        lots = divide(table, None if valid is None else judge, self.config.held_out, seed)
        target = target_codes(screen.tasks) if settled.share_targets else None
        networks = self._train(lots, settled, target, (run, seed))
        known = known[lots.held] if len(lots.held) else read.known
        again = is_held_out(lots) and self.config.patience is None
        members, kernel = member_outputs(networks, lots.judge, lots.held), None
        if settled.kernel:
            kernel, said = fit_kernel(lots, every=again, bounds_are_values=self.config.censored == "value")
        if kernel is not None:
            kernel, members = weigh(kernel, members, lots, said)
        calibration = calibrate(members, lots.judge, lots.held, known)
        held = _held_cells(lots, judged)
        row = finite_cells(judged.targets).row[lots.judge.where(lots.held)[0]]
        self.held_out_ids_ = judged.conditions["condition_id"].to_numpy(str)[row]
        if again:
            every = Lots(table, np.arange(len(table)), table, lots.held[:0])
            if settled.anew:
                networks = self._train(every, settled, target, (run, seed), end="-all")
            else:
                self._train_all(networks, every, settled, (run, seed))
        notes = label_notes(screen, sign, mixed)
        if labels in LABELS_NOTE:
            notes.insert(0, (LABELS_NOTE[labels] + SETTINGS_NOTE).format(settled=settled))
        tasks = screen.tasks[["name", "kind"]].reset_index(drop=True)
        self.fitted_ = Fitted(
            tasks, settled, inputs, scaling, calibration, held, target, tuple(networks), kernel, tuple(notes)
        )
        mean, std, _ = self._finish(members, held.task)
        self.fitted_ = replace(self.fitted_, seen=replace(held, mean=mean, std=std))
        if run is not None:
            run.log(fit="calibration", factor=calibration.factor, temperature=calibration.temperature)
        return self

    @property
    def notes_(self) -> tuple[str, ...]:
        """What a user should know of the fit: settings chosen by the screen, labels that run against values."""
        return self._state().notes

    def predict(self, conditions: pd.DataFrame) -> Prediction:
        """Predict all tasks, in chunks; `draws` are members and heads, if there is more than one."""
        return self.predict_tasks(conditions, np.arange(len(self._state().tasks)))

    def predict_tasks(self, conditions: pd.DataFrame, tasks: Sequence[int] | NDArray[np.int64]) -> Prediction:
        """Predict some tasks only (c places among the model's tasks), at their cost: (n, c) numbers."""
        fitted = self._state()
        rows = fitted.inputs.transform(conditions)
        asked = np.asarray(tasks, np.int64)
        shape = (len(conditions), len(asked))
        mean, std = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
        count = fitted.settled.members * self.config.heads
        draws = np.full((count, *shape), np.nan, np.float32) if count > 1 else None
        for part in _chunks(rows.readable):
            members = self._members(rows.x[part], asked)
            mean[part], std[part], each = self._finish(members, asked)
            if draws is not None:
                draws[:, part] = each
        there = set(np.flatnonzero(fitted.scaling.measured[asked]).tolist())
        missing = missing_note(fitted.tasks.iloc[asked].reset_index(drop=True), there)
        note = np.where(rows.readable, missing, rows.note).astype(object)
        return Prediction(mean, std, draws, rows.readable & (rows.known >= fitted.calibration.known), note)

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
            members = self._members(rows.x[part], task[mine], position[place[mine]])
            mean[mine], std[mine], _ = self._finish(members, task[mine])
        return mean, std

    def calibration_cells(self) -> CalibrationCells:
        """Return the held-out cells, predicted before they were learned: of `valid`, or a tenth of the conditions."""
        return self._state().seen

    def embed(self, conditions: pd.DataFrame) -> NDArray[np.float32]:
        """Return (n, members x h): the trunk's last units, member beside member; NaN where unreadable."""
        fitted = self._state()
        rows = fitted.inputs.transform(conditions)
        found = np.full((len(conditions), fitted.settled.members * fitted.settled.hidden[-1]), np.nan, np.float32)
        device = choose_device(self.config.device)
        for part in _chunks(rows.readable):
            batch = SparseBatch.from_csr(rows.x[part], device)
            with torch.no_grad():
                found[part] = torch.cat([network.embed(batch) for network in fitted.networks], dim=1).cpu().numpy()
        return found

    def save(self, folder: Path) -> None:
        """Write ``multitask.safetensors``: settings and learned state in one file."""
        save_fitted(Path(folder) / "multitask.safetensors", self.config, self._state())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        config, fitted = load_fitted(Path(folder) / "multitask.safetensors")
        model = cls(config)
        model.fitted_ = fitted
        return model

    def _state(self) -> Fitted:
        if self.fitted_ is None:
            message = "This multi-task network is not fitted yet; call fit(screen) first."
            raise ModelError(message)
        return self.fitted_

    def _inputs(self, settled: Settled) -> JoinedInputs:
        config = self.config
        return make_inputs(
            config.kinds,
            config.radius,
            chiral=config.chiral,
            minimum_count=settled.minimum_count,
            equal_length=config.equal_length,
        )

    def _usable(self, screen: Screen, inputs: JoinedInputs) -> tuple[Screen, InputRows]:
        """Return the conditions with a measured value that can be read, and their inputs."""
        if self.config.censored == "drop":
            screen = without_bounds(screen)
        usable = np.zeros(len(screen), bool)
        usable[finite_cells(screen.targets).row] = True
        if screen.targets.weight is not None:
            usable &= screen.targets.weight > 0
        read = inputs.transform(screen.conditions)
        usable &= read.readable
        if not usable.any():
            message = "No condition has both a measured value and a readable structure; there is nothing to learn from."
            raise ModelError(message)
        used = InputRows(read.x[usable], read.readable[usable], read.note[usable], read.known[usable])
        return screen.take(usable), used

    def _table(self, screen: Screen, read: InputRows, scaling: Scaling, settled: Settled) -> CellTable:
        return cell_table(
            screen,
            read.x,
            scaling,
            censored_weight=self.config.censored_weight,
            regression_weight=settled.regression_weight,
        )

    def _train(
        self,
        lots: Lots,
        settled: Settled,
        target: NDArray[np.int64] | None,
        context: tuple[Run | None, int],
        end: str = "",
    ) -> list[MultiTaskNetwork]:
        """Return the members, trained on all rows that are not held out."""
        run, seed = context
        shape = network_shape(self.config, settled)
        training = schedule(training_settings(self.config, settled), lots, steps=settled.steps, anew=settled.anew)
        networks = []
        for member in range(settled.members):
            own = derive_seed(seed, "multitask", member)
            networks.append(first_network(lots.table, shape, own, target=target, device=self.config.device))
            train_network(networks[-1], lots, self._loss(own), training, (f"member-{member}{end}", run, seed))
        return networks

    def _train_all(
        self, networks: list[MultiTaskNetwork], every: Lots, settled: Settled, context: tuple[Run | None, int]
    ) -> None:
        """Teach the members the held-out rows too."""
        run, seed = context
        asked = training_settings(self.config, settled)
        training = schedule(asked, every, steps=settled.steps, last=True)
        for member, network in enumerate(networks):
            loss = self._loss(derive_seed(seed, "multitask", member))
            train_network(network, every, loss, training, (f"member-{member}-all", run, seed))

    def _loss(self, seed: int) -> BatchLoss:
        return BatchLoss(
            resample=seed if self.config.heads > 1 else None, bounds_are_values=self.config.censored == "value"
        )

    def _members(
        self, x: csr_array, task: NDArray[np.int64], row: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Return (k, b, c) outputs of all heads of c tasks, or with `row` (k, m) of some cells, kernel included."""
        device = choose_device(self.config.device)
        batch = SparseBatch.from_csr(x, device)
        asked = torch.from_numpy(task).to(device)
        with torch.no_grad():
            if row is None:
                found = [network(batch, asked) for network in self._state().networks]
            else:
                place = torch.from_numpy(row).to(device)
                found = [network.cells(batch, place, asked) for network in self._state().networks]
        outputs, kernel = torch.cat(found).cpu().numpy(), self._state().kernel
        return outputs if kernel is None else kernel.blend(x, outputs, task, row)

    def _finish(self, members: NDArray[np.float32], task: NDArray[np.int64]) -> tuple[Any, Any, Any]:
        """Return mean, std and each member's prediction, in the units of the tasks (last axis)."""
        fitted = self._state()
        scaling, calibration = fitted.scaling, fitted.calibration
        each = scaling.each(members, task, calibration.temperature)
        mean = each.mean(axis=0)
        spread = calibration.std(members, task) * scaling.scale[task]
        coin = np.sqrt(
            np.maximum(mean * (1 - mean), 1e-4), where=scaling.binary[task] & np.isfinite(mean), out=spread.copy()
        )
        return mean, np.where(np.isfinite(mean), coin, np.nan).astype(np.float32), each


def _chunks(readable: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    rows = np.flatnonzero(readable)
    return np.split(rows, range(CHUNK, len(rows), CHUNK)) if len(rows) else []


def _same_tasks(valid: Screen, screen: Screen) -> Screen:
    if valid.task_names != screen.task_names:
        message = (
            f"`valid` has {len(valid.task_names)} tasks, the screen {len(screen.task_names)}; "
            "give the same, in the same order."
        )
        raise ModelError(message)
    return valid


def _held_cells(lots: Lots, judged: Screen) -> CalibrationCells:
    """Return the held-out cells, with no predictions yet."""
    cells, _ = lots.judge.where(lots.held)
    known = finite_cells(judged.targets)
    empty = np.zeros(len(cells), np.float32)
    task, value, relation = known.task[cells], known.value[cells], known.relation[cells]
    return CalibrationCells(task.astype(np.int64), value, relation, empty, empty)
