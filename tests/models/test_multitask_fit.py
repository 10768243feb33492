import numpy as np
import pytest
from scipy.sparse import csr_array

from screenwise.models.multitask_cells import CellTable, Lots
from screenwise.models.multitask_fit import divide, first_network, schedule, train_network
from screenwise.models.multitask_loss import BatchLoss
from screenwise.models.multitask_network import NetworkShape
from screenwise.train.loop import Training
from screenwise.train.sparse_store import write_rows


def make_table(rows=60, tasks=3):
    rng = np.random.default_rng(0)
    x = csr_array((rng.random((rows, 20)) < 0.3).astype(np.float32))
    m = rows * tasks
    target = rng.normal(size=m).astype(np.float32)
    every = np.zeros(m, np.float32)
    start = np.arange(0, m + 1, tasks)
    return CellTable(x, start, np.tile(np.arange(tasks), rows), target, every, every + 1, np.zeros(tasks, bool))


def test_rows_on_disk_give_the_same_weights_as_rows_in_memory(tmp_path):
    table = make_table()
    mapped = CellTable(**{**vars(table), "x": write_rows(tmp_path / "x", [table.x])})
    found = []
    for one in (table, mapped):
        lots = divide(one, None, 0.2, seed=1)
        network = first_network(one, NetworkShape((8,)), 3)
        train_network(network, lots, BatchLoss(), Training(epochs=2, batch_size=16), ("network", None, 3))
        found.append([value.clone() for value in network.state_dict().values()])
    assert all(one.equal(other) for one, other in zip(*found, strict=True))


def test_rows_are_held_out_once_and_few_rows_are_not():
    table = make_table()
    lots = divide(table, None, 0.2, seed=1)
    assert len(lots.held) == 12
    assert sorted([*lots.rows, *lots.held]) == list(range(60))
    small = make_table(rows=19)
    assert len(divide(small, None, 0.2, seed=1).held) == 0
    other = divide(table, small, 0.2, seed=1)
    assert len(other.rows) == 60
    assert other.held.tolist() == list(range(19))


def test_epochs_of_small_screens_and_of_the_two_parts_of_a_fit():
    table = make_table()
    lots = divide(table, None, 0.1, seed=0)
    asked = Training(epochs=12, batch_size=256, learning_rate=1.0)
    first = schedule(asked, lots)
    assert (first.batch_size, first.epochs, first.learning_rate) == (8, 9, 1.0)
    every = Lots(table, np.arange(60), table, lots.held[:0])
    last = schedule(asked, every, last=True)
    assert (last.epochs, last.learning_rate) == (3, 0.5)
    assert schedule(asked, every).epochs == 12
    assert schedule(asked, every, steps=600).epochs == pytest.approx(600 * 8 / 60)
    early = schedule(Training(epochs=12, patience=2), lots)
    assert early.epochs == 12
