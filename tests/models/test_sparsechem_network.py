"""SparseChem's names of weights, there and back, of each form of its network."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from screenwise.errors import ModelError
from screenwise.models.sparsechem import first_network
from screenwise.models.sparsechem_network import SparseChemTasks, fill_network, network_shape, to_sparsechem
from screenwise.train.sparse_batch import SparseBatch

BATCH = SparseBatch.from_csr(csr_array(np.random.default_rng(0).integers(0, 2, (6, 20)).astype(float)))
CONFS = {
    "one layer": {},
    "three layers": {"hidden_sizes": [9, 6, 8], "dropouts_trunk": [0.1, 0.1, 0.1]},
    "hidden heads": {"last_hidden_sizes_class": [5], "dropouts_class": [0.2], "last_hidden_sizes_reg": [4, 3, 7]},
    "units divided": {"class_feature_size": 5, "regression_feature_size": 4},
    "scaling": {"scaling_regularizer": 0.5, "regression_feature_size": 6},
}


def network_of(conf, tasks, seed=0):
    shape = network_shape(
        {
            "hidden_sizes": [8],
            "dropouts_trunk": [0.3],
            **conf,
            "dropouts_reg": [0.1] * len(conf.get("last_hidden_sizes_reg", [])),
        }
    )
    network = first_network(20, tasks, shape, seed).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    return network


@pytest.mark.parametrize("conf", CONFS.values(), ids=CONFS)
@pytest.mark.parametrize("counts", [(3, 2, [1]), (3, 2, []), (3, 0, [0, 2]), (0, 2, [])])
def test_there_and_back_outputs_are_the_same(conf, counts):
    tasks = SparseChemTasks(counts[0], counts[1], np.array(counts[2], int))
    one, other = network_of(conf, tasks), network_of(conf, tasks, seed=1)
    state = to_sparsechem(one, tasks)
    fill_network(other, tasks, state, "model")
    torch.testing.assert_close(other(BATCH), one(BATCH))
    assert state["net.0.net_freq.weight"].shape == (20, one.shape.hidden[0])
    width = one.shape.hidden[-1]
    assert state["regmask"].shape == state["classmask"].shape == (1, width)
    outputs = {name: value for name, value in state.items() if "Last" in name and name.endswith(".weight")}
    assert all(value.is_contiguous() for value in state.values())
    # heads without tasks are there, without outputs, as in SparseChem
    assert any(name.startswith("classLast.") for name in outputs)
    assert any(name.startswith("regrLast.") for name in outputs)


def test_names_are_those_of_sparsechem():
    tasks = SparseChemTasks(3, 2, np.zeros(0, int))
    names = set(to_sparsechem(network_of(CONFS["hidden heads"], tasks), tasks))
    first = {"net.0.net_freq", "classLast.net.initial_layer.2", "classLast.net.last_layer.2"}
    first |= {f"regrLast.0.net.{name}.2" for name in ("initial_layer", "layer_0", "layer_1", "last_layer")}
    assert names == {f"{name}.{end}" for name in first for end in ("weight", "bias")} | {"classmask", "regmask"}
    names = set(to_sparsechem(network_of(CONFS["scaling"], tasks), tasks))
    assert {"scaling.weight", "regrLast.0.bias", "regrLast.1.net.initial_layer.2.weight"} <= names


def test_units_that_a_head_does_not_see_may_have_any_weight():
    """SparseChem masks units before the scale: what tanh(offset) of a hidden unit adds is the same for all rows."""
    conf, tasks = CONFS["scaling"], SparseChemTasks(0, 2, np.zeros(0, int))
    network = network_of(conf, tasks)
    state = to_sparsechem(network, tasks)
    state["regrLast.0.bias"] = torch.linspace(-1, 1, 8)
    weight = state["regrLast.1.net.initial_layer.2.weight"]
    weight += torch.randn(weight.shape)
    fill_network(network, tasks, state, "model")
    units = network.units(BATCH) * state["regmask"]
    scaled = torch.tanh(units * state["regrLast.0.weight"] + state["regrLast.0.bias"])
    wanted = scaled @ weight.T + state["regrLast.1.net.initial_layer.2.bias"]
    torch.testing.assert_close(network(BATCH)[0], wanted)


@pytest.mark.parametrize("federated", [False, True])
def test_older_and_federated_models_have_one_head(federated):
    conf = {"hidden_sizes": [8], "last_dropout": 0.2, "middle_dropout": 0.0, "last_non_linearity": "tanh"}
    tasks = SparseChemTasks(3, 0, np.zeros(0, int))
    network = first_network(20, tasks, network_shape(conf), 0).eval()
    weight, bias = torch.randn(3, 8), torch.randn(3)
    head = "1.net.2" if federated else "net.2.net.2"
    first = "0.0.net_freq" if federated else "net.0.net_freq"
    state = {f"{head}.weight": weight, f"{head}.bias": bias}
    state |= {f"{first}.weight": torch.randn(20, 8), f"{first}.bias": torch.randn(8)}
    fill_network(network, tasks, state, "model")
    torch.testing.assert_close(network(BATCH)[0], torch.tanh(network.units(BATCH)) @ weight.T + bias)


def test_weights_that_do_not_fit_are_named():
    tasks = SparseChemTasks(3, 2, np.zeros(0, int))
    network = network_of({}, tasks)
    state = to_sparsechem(network, tasks)
    with pytest.raises(ModelError, match=r"m\.safetensors has no weight net\.0\.net_freq\.bias"):
        fill_network(network, tasks, {k: v for k, v in state.items() if k != "net.0.net_freq.bias"}, "m.safetensors")
    smaller = {"classLast.net.initial_layer.2.weight": torch.zeros(2, 8)}
    with pytest.raises(ModelError, match=r"classLast.*is \(2, 8\); the conf describes \(3, 8\)"):
        fill_network(network, tasks, state | smaller, "m.safetensors")
    with pytest.raises(ModelError, match="no weight"):
        fill_network(network, tasks, {"layer.weight": torch.zeros(1)}, "m.safetensors")


def test_the_catalogue_speaks_for_its_classes():
    tasks = SparseChemTasks(4, 1, np.array([3, 1]))
    assert tasks.shown().tolist() == [0, 5, 2, 4]
    assert tasks.shown(catalogue=False).tolist() == [0, 1, 2, 3]
    assert tasks.binary.tolist() == [True] * 6 + [False]
