from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from screenwise.models.multitask_network import CellTable, Lots, MultiTaskNetwork, batch_loss, cell_losses
from screenwise.train import sparse_head
from screenwise.train.sparse_store import write_rows


def make_table(rows=6, tasks=5, seed=0):
    rng = np.random.default_rng(seed)
    x = csr_array((rng.random((rows, 8)) < 0.5).astype(np.float32))
    there = rng.random((rows, tasks)) < 0.6
    row, task = np.nonzero(there)
    start = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    m = len(row)
    binary = np.arange(tasks) == 1
    target = np.where(binary[task], rng.integers(0, 2, m), rng.normal(size=m)).astype(np.float32)
    relation = np.where(binary[task], 0, rng.integers(-1, 2, m)).astype(np.float32)
    return CellTable(x, start, task, target, relation, rng.random(m).astype(np.float32), binary), row


def test_loss_is_that_of_sparsechem_written_out():
    table, row = make_table()
    network = MultiTaskNetwork(8, (4,), 5).eval()
    some = np.array([4, 0, 2])
    dense = torch.from_numpy(table.x.toarray())
    with torch.no_grad():
        outputs = network.head(network.trunk(dense @ network.first.weight + network.first.bias)).numpy()
    total = 0.0
    for cell in np.flatnonzero(np.isin(row, some)):
        f, y, c = outputs[row[cell], table.task[cell]], table.target[cell], table.relation[cell]
        if table.binary[table.task[cell]]:
            loss = np.log1p(np.exp(f)) - y * f
        else:
            loss = (y - f) ** 2 if c == 0 else max(c * (y - f), 0) ** 2
        total += table.weight[cell] * loss
    assert batch_loss(network, table, some).item() == pytest.approx(total / 3, rel=1e-5)


def test_signs_of_bounds():
    value = torch.tensor([2.0, 2.0, 2.0, 2.0])
    relation = torch.tensor([1.0, 1.0, -1.0, -1.0])
    losses = cell_losses(torch.tensor([0.0, 5.0, 0.0, 5.0]), value, relation, torch.zeros(4, dtype=torch.bool))
    assert losses.tolist() == [4.0, 0.0, 0.0, 9.0]


def test_few_cells_and_many_cells_give_the_same_outputs_and_gradients(monkeypatch):
    table, _ = make_table()
    network = MultiTaskNetwork(8, (4, 3), 5).eval()
    found = []
    for share in (0.0, 2.0):
        monkeypatch.setattr(sparse_head, "PAIRS_BELOW", share)
        network.zero_grad()
        loss = batch_loss(network, table, np.arange(6))
        loss.backward()
        found.append((loss.item(), network.head.weight.grad.clone()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1])


def test_rows_without_cells():
    table, row = make_table()
    cells, place = table.where(np.array([3, 3, 1]))
    assert row[cells].tolist() == np.repeat([3, 3, 1], [(row == 3).sum()] * 2 + [(row == 1).sum()]).tolist()
    assert set(place.tolist()) <= {0, 1, 2}
    assert len(table.where(np.zeros(0, int))[0]) == 0


def test_rows_on_disk_train_and_name_the_same_data(tmp_path):
    table, _ = make_table()
    mapped = replace(table, x=write_rows(tmp_path / "x", [table.x]))
    network = MultiTaskNetwork(8, (4, 3), 5).eval()
    rows = np.array([4, 1, 5])
    with torch.no_grad():
        assert float(batch_loss(network, mapped, rows)) == float(batch_loss(network, table, rows))
    other = replace(table, x=write_rows(tmp_path / "y", [2 * table.x]))
    digests = [Lots(one, rows, one, rows).digest() for one in (table, mapped, other)]
    assert len(set(digests)) == 3
