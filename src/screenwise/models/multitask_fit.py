"""Training of the members of a multi-task network, in memory or from disk, with checkpoints and held-out rows."""

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from screenwise.models.multitask_cells import CellTable, Lots, typical_length
from screenwise.models.multitask_loss import BatchLoss
from screenwise.models.multitask_network import MultiTaskNetwork, NetworkShape
from screenwise.rng import derive_seed, stream
from screenwise.run import Run
from screenwise.train.device import choose_device, seeded
from screenwise.train.loop import Job, Training, train

CHUNK = 4096
"""Rows judged at a time."""
ALL_ROWS_SHARE = 0.25
"""Share of the epochs that come after the calibration and learn the held-out conditions too."""
NORMALISED = 13.0
"""Times the squared length of a row, for which first weights are made where sums are normalised."""
HOLD_OUT_FROM = 20
"""Fewer conditions than this are all needed to learn from."""


def first_network(
    table: CellTable, shape: NetworkShape, seed: int, *, target: NDArray[np.int64] | None = None, device: str = "cpu"
) -> MultiTaskNetwork:
    """Return a network for the rows and tasks of a table, with first weights that only `seed` decides."""
    # substructures of a compound come together: twice the squared length keeps first outputs small; where sums are
    # normalised their size is free, and smaller first weights leave less of them in columns that few rows have
    active = (NORMALISED if shape.layer_norm else 2.0) * typical_length(table.x)
    with seeded(derive_seed(seed, "weights"), torch.device("cpu")):
        network = MultiTaskNetwork(table.x.shape[1], table.binary, shape, active=active, target=target)
    return network.to(choose_device(device))


def train_network(
    network: MultiTaskNetwork, lots: Lots, loss: BatchLoss, settings: Training, context: tuple[str, Run | None, int]
) -> None:
    """Train a network in place; a killed fit with the same run goes on where it was.

    Parameters
    ----------
    network
        On its device.
    lots
        Rows that are learned from, and rows that judge after every epoch.
    loss
        Of a batch; the same, judging, of held-out rows.
    settings
        Of the training loop.
    context
        Name of the checkpoint, run (None = nothing is kept), and seed of orders and dropout.
    """
    name, run, seed = context
    judge = replace(loss, judging=True, divisor=None)

    def validate() -> float:
        parts = np.split(lots.held, range(CHUNK, len(lots.held), CHUNK))
        return sum(float(judge(network, lots.judge, part)) * len(part) for part in parts) / len(lots.held)

    job = Job(
        network,
        lambda rows: loss(network, lots.table, lots.rows[rows]),
        rows=len(lots.rows),
        validate=validate if len(lots.held) else None,
        name=name,
        key=f"{lots.digest()} {loss} {network.shape}",
    )
    train(job, settings, seed=seed, run=run)


def divide(table: CellTable, judge: CellTable | None, share: float, seed: int) -> Lots:
    """Say which rows of a table are learned from, and which judge: all of another table, or a share of the same."""
    every = np.arange(len(table))
    if judge is not None:
        return Lots(table, every, judge, np.arange(len(judge)))
    if len(table) < HOLD_OUT_FROM:
        return Lots(table, every, table, every[:0])
    order = stream(seed, "multitask", "held out").permutation(every)
    count = math.ceil(share * len(table))
    return Lots(table, np.sort(order[count:]), table, np.sort(order[:count]))


def is_held_out(lots: Lots) -> bool:
    """Say whether rows of the table itself are held out, which the last epochs then learn too."""
    return lots.judge is lots.table and len(lots.held) > 0


def schedule(training: Training, lots: Lots, *, steps: int = 0, last: bool = False, anew: bool = False) -> Training:
    """Return the settings for a screen of that size: smaller batches, and its share of the epochs.

    Parameters
    ----------
    training
        What was asked for.
    lots
        The rows.
    steps
        A small screen is gone through often enough for about so many steps.
    last
        Whether these are the epochs after the calibration, which learn all rows.
    anew
        Whether the training after the calibration begins anew, so that none of the epochs is kept for it.
    """
    rows = len(lots.table)
    batch_size = min(training.batch_size, max(8, rows // 8))
    epochs = max(training.epochs, math.ceil(steps * batch_size / rows))
    rate = training.learning_rate
    if training.patience is None and not anew and (last or is_held_out(lots)):
        share = round(epochs * ALL_ROWS_SHARE)
        epochs, rate = (max(1, share), rate / 2) if last else (epochs - share, rate)
    return replace(training, epochs=epochs, batch_size=batch_size, learning_rate=rate)
