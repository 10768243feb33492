"""What held-out cells say of a multi-task network's errors: noise of each task, width of intervals, temperature."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from screenwise.evaluate.calibration import limited_factor
from screenwise.models.multitask_cells import CellTable, outputs
from screenwise.models.multitask_network import MultiTaskNetwork

PRIOR_CELLS = 20.0
"""Held-out cells of a task at which its own residuals weigh as much as those of all tasks."""
TEMPERATURES = np.geomspace(0.25, 8.0, 61)
"""Divisors of log odds that are tried."""
DOMAIN_QUANTILE = 0.05
"""Share of held-out conditions that may know less than the domain asks."""
CHUNK = 4096


@dataclass(frozen=True)
class Calibration:
    """What held-out cells say of the network's errors."""

    noise: NDArray[np.float64]
    """(t,) standard deviation that the members' spread leaves unexplained, in units of the tasks' scale."""
    factor: float
    """Makes mean +- 1.645 std hold 90 % of the held-out values."""
    temperature: float
    """Divides log odds, so that probabilities are as often right as they say."""
    known: float
    """Least share of known features inside the domain."""

    def std(self, members: NDArray[np.float32], task: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the standard deviation of (k, ..., t) outputs, without the first axis."""
        return self.factor * np.sqrt(_spread(members) + self.noise[task] ** 2)


def calibrate(
    members: NDArray[np.float32], table: CellTable, rows: NDArray[np.int64], known: NDArray[np.float32]
) -> Calibration:
    """Learn the width of intervals from cells that no member saw.

    Parameters
    ----------
    members
        (k, m) predictions of the members' heads for the cells of these rows (`member_outputs`).
    table, rows
        Held-out conditions; without any, a prediction is as uncertain as its task.
    known
        (n,) shares of known features of held-out conditions.
    """
    cells, _ = table.where(rows)
    target, task = table.target[cells], table.task[cells]
    classes = table.binary[task]
    exact = (table.relation[cells] == 0) & ~classes
    residual = members.mean(axis=0)[exact] - target[exact]
    noise = _noise(residual, _spread(members[:, exact]), task[exact], len(table.binary))
    draft = Calibration(noise, 1.0, 1.0, 0.0)
    # auxiliary tasks are not what intervals and probabilities must be right for
    main = np.ones(len(task), bool) if table.aggregation is None else table.aggregation[task] > 0
    scored = main[exact] if main[exact].any() else ~main[exact]
    factor = limited_factor((residual / draft.std(members[:, exact], task[exact]))[scored])
    classes &= main if (classes & main).any() else classes
    temperature = _temperature(members[:, classes], target[classes])
    return Calibration(noise, factor, temperature, float(np.quantile(known, DOMAIN_QUANTILE)))


def _spread(members: NDArray[np.float32]) -> NDArray[np.float64]:
    """Variance over the first axis, of k members; 0 of one."""
    ddof = 1 if len(members) > 1 else 0
    return np.asarray(members.var(axis=0, ddof=ddof, dtype=np.float64))


def member_outputs(
    networks: Sequence[MultiTaskNetwork], table: CellTable, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return (k, m) outputs of all heads for the cells of some rows."""
    parts = np.split(rows, range(CHUNK, len(rows), CHUNK)) if len(rows) else []
    found: list[NDArray[np.float32]] = [np.zeros((sum(network.shape.heads for network in networks), 0), np.float32)]
    with torch.no_grad():
        for part in parts:
            found.append(np.concatenate([outputs(network, table, part)[0].cpu().numpy() for network in networks]))
    return np.concatenate(found, axis=1)


def _noise(
    residual: NDArray[np.float64], spread: NDArray[np.float64], task: NDArray[np.int64], tasks: int
) -> NDArray[np.float64]:
    """Return (t,) residual standard deviations beyond the spread, shrunk to that of all tasks."""
    if len(residual) == 0:
        return np.ones(tasks)
    # at least a quarter of the residual variance: members that disagree do not measure better
    beyond = residual.astype(np.float64) ** 2 - spread
    floor = 0.25 * float(np.mean(residual.astype(np.float64) ** 2))
    overall = max(float(beyond.mean()), floor, 1e-6)
    counts = np.bincount(task, minlength=tasks)
    own = np.bincount(task, beyond, tasks)
    return np.sqrt(np.maximum((own + PRIOR_CELLS * overall) / (counts + PRIOR_CELLS), 0.25 * overall))


def _temperature(logits: NDArray[np.float32], label: NDArray[np.float32]) -> float:
    """Return the temperature of least cross-entropy of the members' mean probability; 1 for few labels."""
    if len(label) < PRIOR_CELLS or label.min() == label.max():
        return 1.0
    losses = []
    for temperature in TEMPERATURES:
        p = np.clip((1 / (1 + np.exp(-np.clip(logits / temperature, -30, 30)))).mean(axis=0), 1e-7, 1 - 1e-7)
        losses.append(-float(np.mean(np.where(label > 0.5, np.log(p), np.log1p(-p)))))  # noqa: PLR2004
    return float(TEMPERATURES[int(np.argmin(losses))])
