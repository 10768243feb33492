from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from screenwise.errors import ConfigError
from screenwise.models.multitask_cells import CellTable, Lots, typical_length
from screenwise.models.multitask_loss import BatchLoss
from screenwise.models.multitask_network import MultiTaskNetwork, NetworkShape
from screenwise.train import sparse_head
from screenwise.train.sparse_batch import SparseBatch
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


def test_few_cells_and_many_cells_give_the_same_outputs_and_gradients(monkeypatch):
    table, _ = make_table()
    network = random_heads(MultiTaskNetwork(8, table.binary, NetworkShape((4, 3)), target=np.array([0, 0, 1, 1, 1])))
    found = []
    for share in (0.0, 2.0):
        monkeypatch.setattr(sparse_head, "PAIRS_BELOW", share)
        network.zero_grad()
        loss = BatchLoss()(network, table, np.arange(6))
        loss.backward()
        head = network.copies[0][0]
        found.append((loss.item(), head.own.weight.grad.clone(), head.shared.weight.grad.clone()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    torch.testing.assert_close(found[0][1:], found[1][1:])


def test_rows_without_cells():
    table, row = make_table()
    cells, place = table.where(np.array([3, 3, 1]))
    assert row[cells].tolist() == np.repeat([3, 3, 1], [(row == 3).sum()] * 2 + [(row == 1).sum()]).tolist()
    assert set(place.tolist()) <= {0, 1, 2}
    assert len(table.where(np.zeros(0, int))[0]) == 0


def test_rows_on_disk_train_and_name_the_same_data(tmp_path):
    table, _ = make_table()
    mapped = replace(table, x=write_rows(tmp_path / "x", [table.x]))
    network = random_heads(MultiTaskNetwork(8, table.binary, NetworkShape((4, 3))))
    rows = np.array([4, 1, 5])
    with torch.no_grad():
        assert float(BatchLoss()(network, mapped, rows)) == float(BatchLoss()(network, table, rows))
    other = replace(table, x=write_rows(tmp_path / "y", [2 * table.x]))
    digests = [Lots(one, rows, one, rows).digest() for one in (table, mapped, other)]
    assert len(set(digests)) == 3
    assert typical_length(mapped.x) == typical_length(table.x)
    assert typical_length(other.x) == pytest.approx(4 * typical_length(table.x))


def random_heads(network):
    """Outputs that do not start at 0."""
    with torch.no_grad():
        for weight in network.copies.parameters():
            weight.normal_()
    return network.eval()


def batch_of(x):
    return SparseBatch.from_csr(csr_array(x))


def test_sparsechems_hybrid_network_written_out():
    """Trunk 6-5, heads 4 (ReLU) and 3 (tanh) of their own, units split with an overlap of 1, scaled values."""
    shape = NetworkShape(
        (6, 5), (0.1, 0.2), class_hidden=(4,), regression_hidden=(3,), class_units=3, regression_units=3,
        regression_activation="tanh", scaling=0.5, start="xavier",
    )  # fmt: skip
    binary = np.array([False, True, False, True, True])
    network = MultiTaskNetwork(8, binary, shape).eval()
    x = np.random.default_rng(0).random((7, 8)).astype(np.float32)
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    scale = np.array([1.5, 0.5, 2.0], np.float32)
    network.copies[0][1].scale.weight.data[:] = torch.from_numpy(scale)

    def linear(rows, name):
        return rows @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    units = linear(np.maximum(x @ weights["first.weight"] + weights["first.bias"], 0), "trunk.2")
    classes = linear(np.maximum(units[:, :3], 0), "copies.0.0.body.2")
    values = linear(np.tanh(scale * units[:, 2:]), "copies.0.1.body.2")
    expected = np.empty((7, 5), np.float32)
    expected[:, binary] = linear(np.maximum(classes, 0), "copies.0.0.own")
    expected[:, ~binary] = linear(np.tanh(values), "copies.0.1.own")
    with torch.no_grad():
        np.testing.assert_allclose(network(batch_of(x))[0].numpy(), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(network.units(batch_of(x)).numpy(), units, rtol=1e-4, atol=1e-5)
    assert network.penalty().item() == pytest.approx(0.5 * np.sqrt(0.25 + 0.25 + 1.0), rel=1e-6)


def test_first_weights_of_sparsechem():
    network = MultiTaskNetwork(3000, [True, False], NetworkShape((200, 100), (0.0,), start="xavier"))
    assert network.first.weight.abs().max().item() == pytest.approx(np.sqrt(2 * 6 / 3200), rel=1e-3)
    assert network.trunk[2].weight.abs().max().item() == pytest.approx(np.sqrt(2 * 6 / 300), rel=1e-2)
    assert network.copies[0][0].own.weight.abs().max().item() == pytest.approx(np.sqrt(6 / 102), rel=0.05)
    biases = [value for name, value in network.named_parameters() if name.endswith("bias")]
    assert all((bias == 0.1).all() for bias in biases)


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("split", [{}, {"class_hidden": (3,), "scaling": 1.0}, {"layer_norm": True, "common": 0.4}])
@pytest.mark.parametrize("target", [None, np.array([0, 1, 0, 1, 1])])
def test_cells_and_some_tasks_are_those_of_all(heads, split, target):
    network = random_heads(
        MultiTaskNetwork(8, [True, False, False, True, False], NetworkShape((6,), heads=heads, **split), target=target)
    )
    batch = batch_of(np.random.default_rng(1).random((5, 8)))
    row, task = torch.tensor([4, 0, 0, 2]), torch.tensor([2, 4, 0, 3])
    with torch.no_grad():
        every = network(batch)
        assert every.shape == (heads, 5, 5)
        torch.testing.assert_close(network.cells(batch, row, task), every[:, row, task])
        torch.testing.assert_close(network(batch, torch.tensor([3, 1])), every[:, :, [3, 1]])
        torch.testing.assert_close(network.cells(batch, row[:1], task[:1]), every[:, [4], [2]])


def test_tasks_of_one_target_share_a_part_and_kinds_do_not():
    network = MultiTaskNetwork(4, [True, True, False, True], NetworkShape((6,)), target=np.array([7, 7, 7, 2]))
    shared = network.copies[0][0]
    assert shared.shared.out_features == 3
    assert shared.part[0] == shared.part[1]
    assert len({shared.part[0].item(), shared.part[2].item(), shared.part[3].item()}) == 3


def test_heads_see_the_cells_differently():
    table, _ = make_table()
    network = MultiTaskNetwork(8, table.binary, NetworkShape((4,), (0.0,), heads=2))
    with torch.no_grad():
        network.copies[1][0].own.weight.copy_(network.copies[0][0].own.weight)
        network.copies[1][0].own.bias.copy_(network.copies[0][0].own.bias)
    BatchLoss(resample=3)(network, table, np.arange(6)).backward()
    first, second = (copy[0].own.weight.grad for copy in network.copies)
    assert not torch.allclose(first, second)
    network.zero_grad()
    BatchLoss()(network, table, np.arange(6)).backward()
    torch.testing.assert_close(*(copy[0].own.weight.grad for copy in network.copies))


def test_units_that_do_not_cover_the_trunk_are_refused():
    with pytest.raises(ConfigError, match="must lie in the trunk's 4 last units and cover them"):
        NetworkShape((4,), class_units=1, regression_units=2)
    with pytest.raises(ConfigError, match="one for each of 2"):
        NetworkShape((4, 4), (0.1, 0.2, 0.3))
    with pytest.raises(ConfigError, match="at least 1 unit"):
        NetworkShape((4, 0))
    with pytest.raises(ConfigError, match="no activation 'selu'"):
        MultiTaskNetwork(4, [True], NetworkShape((4,), class_activation="selu"))
