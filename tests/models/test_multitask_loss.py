import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.stats import norm

from screenwise.models.multitask_cells import CellTable
from screenwise.models.multitask_loss import BatchLoss, cell_losses, task_factors
from screenwise.models.multitask_network import MultiTaskNetwork, NetworkShape


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


def outputs_of(network, table):
    dense = torch.from_numpy(table.x.toarray())
    with torch.no_grad():
        units = torch.relu(dense @ network.first.weight + network.first.bias)
        return network.copies[0][0].own(units).numpy()


def test_loss_is_that_of_sparsechem_written_out():
    table, row = make_table()
    network = MultiTaskNetwork(8, table.binary, NetworkShape((4,), start="xavier")).eval()
    some, outputs, total = np.array([4, 0, 2]), outputs_of(network, table), 0.0
    for cell in np.flatnonzero(np.isin(row, some)):
        f, y, c = outputs[row[cell], table.task[cell]], table.target[cell], table.relation[cell]
        if table.binary[table.task[cell]]:
            loss = np.log1p(np.exp(f)) - y * f
        else:
            loss = (y - f) ** 2 if c == 0 else max(c * (y - f), 0) ** 2
        total += table.weight[cell] * loss
    assert BatchLoss()(network, table, some).item() == pytest.approx(total / 3, rel=1e-5)
    assert BatchLoss(divisor=10.0)(network, table, some).item() == pytest.approx(total / 10, rel=1e-5)


def test_tobit_loss_is_that_of_scipy():
    table, row = make_table(seed=1)
    network = MultiTaskNetwork(8, table.binary, NetworkShape((4,), learned_noise=True, start="xavier")).eval()
    with torch.no_grad():
        network.log_noise.copy_(torch.tensor([0.3, 0.0, -0.5, 0.1, 0.2]))
    noise, outputs, total = np.exp(network.log_noise.detach().numpy()), outputs_of(network, table), 0.0
    for cell in range(len(row)):
        task, y, c = table.task[cell], table.target[cell], table.relation[cell]
        f = outputs[row[cell], task]
        if table.binary[task]:
            loss = np.log1p(np.exp(f)) - y * f
        elif c == 0:
            loss = -norm.logpdf(y, f, noise[task]) - 0.5 * np.log(2 * np.pi)
        else:
            loss = -norm.logcdf(y, f, noise[task]) if c < 0 else -norm.logsf(y, f, noise[task])
        total += table.weight[cell] * loss
    assert BatchLoss()(network, table, np.arange(6)).item() == pytest.approx(total / 6, rel=1e-5)


def test_tobit_slopes_stay_finite_far_from_bounds_and_values():
    output = torch.tensor([-60.0, 60.0, -60.0, 60.0, 200.0], requires_grad=True)
    relation = torch.tensor([1.0, 1.0, -1.0, -1.0, 0.0])
    noise = torch.zeros(5, requires_grad=True)
    cell_losses(output, torch.zeros(5), relation, torch.zeros(5, dtype=torch.bool), log_noise=noise).sum().backward()
    assert torch.isfinite(output.grad).all()
    assert torch.isfinite(noise.grad).all()
    assert output.grad[:2].tolist() == pytest.approx([-60.0, 0.0], abs=0.1)


def test_signs_of_bounds():
    value = torch.tensor([2.0, 2.0, 2.0, 2.0])
    relation = torch.tensor([1.0, 1.0, -1.0, -1.0])
    losses = cell_losses(torch.tensor([0.0, 5.0, 0.0, 5.0]), value, relation, torch.zeros(4, dtype=torch.bool))
    assert losses.tolist() == [4.0, 0.0, 0.0, 9.0]


def test_auxiliary_tasks_teach_and_do_not_judge():
    table, _ = make_table()
    judged = CellTable(**{**vars(table), "aggregation": np.array([1, 0, 0, 1, 1], np.float32)})
    network = MultiTaskNetwork(8, table.binary, NetworkShape((4,), scaling=1.0, start="xavier")).eval()
    rows, main = np.arange(6), np.isin(table.task, [0, 3, 4])
    without = CellTable(**{**vars(table), "weight": np.where(main, table.weight, 0).astype(np.float32)})
    with torch.no_grad():
        judgement = float(BatchLoss(judging=True)(network, judged, rows))
        assert judgement == pytest.approx(float(BatchLoss()(network, without, rows)))
        assert float(BatchLoss()(network, judged, rows)) == float(BatchLoss()(network, table, rows))


def test_factors_of_one_half_change_nothing():
    assert task_factors([True, False]).tolist() == [1.0, 1.0]
    assert task_factors([True, False], 1.0).tolist() == [0.0, 2.0]
