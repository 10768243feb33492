"""`screenwise sparsechem train` beside SparseChem's network in plain torch, and what it refuses."""

import json
from dataclasses import replace
from io import StringIO
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from scipy.sparse import csr_array, csr_matrix, load_npz, save_npz
from torch import nn

from screenwise.errors import ConfigError, DataError, ModelError
from screenwise.models.sparsechem import first_network
from screenwise.models.sparsechem_network import SparseChemTasks, network_shape, to_sparsechem
from screenwise.recipes import sparsechem as recipe
from screenwise.recipes.sparsechem_settings import SparseChemData, SparseChemFit, SparseChemNet, SparseChemScoring
from screenwise.rng import stream
from screenwise.train.sparse_store import write_rows

ROWS, COLUMNS, CLASSES, VALUES = 120, 60, 5, 3


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Rows whose labels depend on their features; sparse labels, bounds, weights, folds."""
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(3)
    x = (rng.random((ROWS, COLUMNS)) < 0.15) * rng.integers(1, 3, (ROWS, COLUMNS))
    outputs = x @ rng.normal(size=(COLUMNS, CLASSES + VALUES)) / 3
    there = rng.random(outputs.shape) < 0.6
    classes = np.where(outputs[:, :CLASSES] > 0, 1.0, -1.0) * there[:, :CLASSES]
    row, task = np.nonzero(there[:, CLASSES:])
    start = np.searchsorted(row, np.arange(ROWS + 1))
    values = csr_array((outputs[:, CLASSES:][row, task], task, start), shape=(ROWS, VALUES))
    values.data[:4] = 0.0
    censor = csr_array((rng.choice([-1.0, 0, 0, 1], len(row)), task, start), shape=(ROWS, VALUES))
    for name, matrix in {"x": x, "y_class": classes, "y_regr": values, "y_censor": censor}.items():
        save_npz(folder / f"{name}.npz", csr_matrix(matrix, dtype=np.float64))
    np.save(folder / "folding.npy", np.arange(ROWS) % 4)
    tasks = pd.DataFrame({"task_id": range(CLASSES), "training_weight": [1, 0.5, 0.2, 1, 0.7]})
    tasks.assign(catalog_id=["", "ID0", "", "ID1", ""]).to_csv(folder / "weights_class.csv", index=False)
    weights = pd.DataFrame({"task_id": [2, 0, 1], "training_weight": [0.3, 1, 0.6], "censored_weight": [1, 0.25, 0.5]})
    weights.to_csv(folder / "weights_regr.csv", index=False)
    return folder


def data_of(folder, **changes):
    names = ("y_class", "y_regr", "y_censor")
    given = {name: folder / f"{name}.npz" for name in names}
    given |= {name: folder / f"{name}.csv" for name in ("weights_class", "weights_regr")}
    return SparseChemData(folder / "x.npz", folder / "folding.npy", **{**given, "fold_te": (1,), **changes})


class Reference(nn.Module):
    """SparseChem's hybrid network, as its paper and options describe it, with dense inputs."""

    def __init__(self, conf):
        super().__init__()
        hidden, self.conf = conf["hidden_sizes"], conf
        self.first = nn.Linear(conf["input_size"], hidden[0])
        self.middle = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(hidden))
        self.heads = nn.ModuleDict()
        for kind, name in (("class", "class"), ("regr", "reg")):
            sizes = [hidden[-1], *(conf[f"last_hidden_sizes_{name}"] or ()), conf[f"{kind}_output_size"]]
            self.heads[kind] = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.shared = nn.Linear(hidden[-1], conf["cat_id_size"]) if conf["cat_id_size"] else None
        width, scaled = hidden[-1], np.isfinite(conf["scaling_regularizer"])
        self.scale, self.offset = (
            (nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))) if scaled else (None, None)
        )
        self.masks = torch.zeros(2, width)
        self.masks[0, : conf["class_feature_size"]] = 1
        self.masks[1, width - conf["regression_feature_size"] :] = 1

    def fill(self, state):
        names = {"net.0.net_freq": None} | {f"net.1.net.layer_{i}.2": layer for i, layer in enumerate(self.middle)}
        for kind in ("class", "regr"):
            prefix = "classLast" if kind == "class" else ("regrLast.0" if self.scale is None else "regrLast.1")
            layers = self.heads[kind]
            places = ["initial_layer", *(f"layer_{i}" for i in range(len(layers) - 2)), "last_layer"][: len(layers)]
            names |= {f"{prefix}.net.{place}.2": layer for place, layer in zip(places, layers, strict=True)}
        names |= {} if self.shared is None else {"catalogue": self.shared}
        with torch.no_grad():
            self.first.weight.copy_(state["net.0.net_freq.weight"].T)
            self.first.bias.copy_(state["net.0.net_freq.bias"])
            for name, layer in names.items():
                if layer is not None:
                    layer.weight.copy_(state[f"{name}.weight"])
                    layer.bias.copy_(state[f"{name}.bias"])
        return names

    def forward(self, x):
        act = torch.relu if self.conf["middle_non_linearity"] == "relu" else torch.tanh
        units = self.first(x)
        for layer in self.middle:
            units = layer(act(units))
        left, right = units * self.masks[0], units * self.masks[1]
        if self.scale is not None:
            right = right * self.scale + self.offset * self.masks[1]
        found = []
        for kind, units, act in (("class", left, torch.relu), ("regr", right, torch.tanh)):
            for layer in self.heads[kind]:
                units = layer(act(units))  # noqa: PLW2901 - as a network is read
            found.append(units)
        return *found, None if self.shared is None else self.shared(torch.relu(left))


def reference_loss(network, batch, fit, weights):
    """SparseChem's loss over the measured cells, without the divisor."""
    x, y, values, there, censor, ids = batch
    classes, regr, shared = network(x)
    entropy = nn.functional.binary_cross_entropy_with_logits
    losses = entropy(classes, (y + 1) / 2, reduction="none") * (y != 0)
    total = (losses * weights[0] * 2 * (1 - fit.regression_weight)).sum()
    if shared is not None:
        total = total + (entropy(shared, (y[:, ids] + 1) / 2, reduction="none") * (y[:, ids] != 0)).sum()
    error = values - regr
    if fit.censored_loss:
        error = torch.where(censor == 0, error, torch.relu(censor * error))
    weight = weights[1] * torch.where(censor == 0, 1.0, weights[2])
    total = total + (error**2 * there * weight * 2 * fit.regression_weight).sum()
    if network.scale is not None:
        total = total + network.conf["scaling_regularizer"] * torch.norm(network.scale - 1)
    return total


def train_reference(conf, start, folder, fit, *, epochs):
    network = Reference(conf)
    names = network.fill(start)
    x, y, values, censor = (
        torch.tensor(load_npz(folder / f"{name}.npz").toarray(), dtype=torch.float32)
        for name in ("x", "y_class", "y_regr", "y_censor")
    )
    there = csr_array(load_npz(folder / "y_regr.npz"))
    there.data[:] = 1
    there = torch.from_numpy(there.toarray())
    weights = (torch.tensor([1, 0.5, 0.2, 1, 0.7]), torch.tensor([1, 0.6, 0.3]), torch.tensor([0.25, 0.5, 1.0]))
    learn = np.flatnonzero(np.arange(ROWS) % 4 > 1)
    parameters = list(network.parameters())
    if fit.optimizer == "SGD":
        momentum = fit.optimizer_params[0] if fit.optimizer_params else 0.0
        optimiser = torch.optim.SGD(parameters, lr=fit.lr, momentum=momentum, weight_decay=fit.weight_decay)
    else:
        first, second, eps = fit.optimizer_params or (0.9, 0.999, 1e-8)
        kind = torch.optim.AdamW if fit.optimizer == "AdamW" else torch.optim.Adam
        optimiser = kind(parameters, lr=fit.lr, betas=(first, second), eps=eps, weight_decay=fit.weight_decay)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, list(fit.lr_steps), fit.lr_alpha)
    batch = int(np.ceil(fit.batch_ratio * len(learn)))
    parts = 1 if fit.internal_batch_max is None else int(np.ceil(batch / fit.internal_batch_max))
    batch = int(np.ceil(batch / parts))
    for epoch in range(epochs):
        order = learn[stream(fit.seed, "train", "sparsechem", "order", epoch).permutation(len(learn))]
        chunks = [order[first : first + batch] for first in range(0, len(order), batch)]
        for number, rows in enumerate(chunks):
            if number % parts == 0:
                optimiser.zero_grad()
            given = x[rows], y[rows], values[rows], there[rows], censor[rows], [1, 3]
            loss = reference_loss(network, given, fit, weights)
            (loss / (fit.normalize_loss or len(rows) * parts)).backward()
            if (number + 1) % parts == 0 or number + 1 == len(chunks):
                optimiser.step()
        schedule.step()
    return network, names


CASES = {
    "adam": ({}, {}),
    "two layers": ({"hidden_sizes": (12, 7), "dropouts_trunk": (0.0, 0.0), "middle_non_linearity": "tanh"}, {}),
    "hidden heads": ({"last_hidden_sizes": (6, 5), "dropouts_class": (0.0, 0.0), "dropouts_reg": (0.0, 0.0)}, {}),
    "units divided": ({"class_feature_size": 7, "regression_feature_size": 8}, {"regression_weight": 0.2}),
    "scaling": ({"scaling_regularizer": 0.1, "regression_feature_size": 9}, {}),
    "catalogue": ({"enable_cat_fusion": 1}, {"regression_weight": 0.7}),
    "decay": ({}, {"weight_decay": 1e-2}),
    "decoupled decay": ({}, {"weight_decay": 1e-2, "optimizer": "AdamW"}),
    "parameters": ({}, {"optimizer_params": (0.8, 0.99, 1e-6)}),
    "cannot wait": ({}, {"optimizer_params": (0.99, 0.9, 1e-6)}),
    "sgd": ({}, {"optimizer": "SGD", "lr": 0.1}),
    "momentum": ({}, {"optimizer": "SGD", "lr": 0.1, "optimizer_params": (0.9,), "weight_decay": 1e-3}),
    "parts": ({}, {"internal_batch_max": 5, "batch_ratio": 0.3}),
    "constant divisor": ({}, {"normalize_loss": 10.0, "internal_batch_max": 4}),
    "bounds as values": ({}, {"censored_loss": 0}),
}


@pytest.mark.parametrize("case", CASES)
def test_weights_are_those_of_sparsechem_in_plain_torch(files, tmp_path, case):
    shape, changes = CASES[case]
    epochs = 5  # of 6 steps
    net = replace(SparseChemNet((10,), (0.0,)), **shape)
    fit = SparseChemFit(**{"lr": 1e-2, "batch_ratio": 0.17, "epochs": epochs, "lr_steps": (2, 4), "seed": 5, **changes})
    recipe.train(data_of(files), net, fit, SparseChemScoring(tmp_path, "run", dev="cpu", verbose=0))
    conf = json.loads((tmp_path / "run.json").read_text())["conf"]
    tasks = SparseChemTasks(CLASSES, VALUES, np.array([1, 3] if conf["cat_id_size"] else [], int))
    start = to_sparsechem(first_network(COLUMNS, tasks, network_shape(conf), 5), tasks)
    network, names = train_reference(conf, start, files, fit, epochs=epochs)
    found = load_file(tmp_path / "run.safetensors")
    moved = (found["net.0.net_freq.weight"] - start["net.0.net_freq.weight"]).abs().max()
    assert moved > 1e-2
    torch.testing.assert_close(found["net.0.net_freq.weight"], network.first.weight.detach().T, atol=1e-4, rtol=0)
    for name, layer in names.items():
        if layer is not None and not (case in ("units divided", "scaling") and "initial" in name):
            torch.testing.assert_close(found[f"{name}.weight"], layer.weight.detach(), atol=1e-4, rtol=0)
    probe = torch.tensor(load_npz(files / "x.npz").toarray(), dtype=torch.float32)
    wanted = network(probe)
    network.fill(found)
    if network.scale is not None:
        network.scale.data, network.offset.data = found["scaling.weight"], found["scaling.bias"]
    for mine, theirs in zip(network(probe), wanted, strict=True):
        if mine is not None:
            torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=0)


def test_results_have_sparsechems_names(files, tmp_path):
    outcome = recipe.train(
        data_of(files, fold_va=(0, 2), fold_te=()),
        SparseChemNet((10,), (0.1,)),
        SparseChemFit(epochs=3, batch_ratio=0.2, normalize_regression=1),
        SparseChemScoring(
            tmp_path, eval_train=1, eval_frequency=2, dev="cuda:0", min_samples_class=2, min_samples_regr=2
        ),
    )
    name = "sc_run_h10_ldo_r_wd0.0_lr0.001_lrsteps10_ep3_fva0.2_fteNone"
    found = json.loads((tmp_path / f"{name}.json").read_text())
    assert set(found) == {"conf", "stats", "validation", "training"}
    assert found["conf"]["fold_va"] == [0, 2]
    assert found["conf"]["fold_te"] is None
    assert (found["conf"]["input_size"], found["conf"]["output_size"]) == (COLUMNS, CLASSES + VALUES)
    table = pd.read_json(StringIO(found["validation"]["classification"]))
    assert len(table) == CLASSES
    labels = load_npz(files / "y_class.npz").toarray()[np.arange(ROWS) % 2 == 0]
    np.testing.assert_array_equal(table["num_pos"], (labels > 0).sum(axis=0))
    means = json.loads(found["validation"]["classification_agg"])
    assert means["num_tasks_total"] == CLASSES
    assert {"roc_auc_score", "auc_pr_cal", "logloss"} <= set(means)
    assert {"rmse", "rmse_uncen", "mseloss"} <= set(json.loads(found["training"]["regression_agg"]))
    lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines if "valid" in line] == [1, 2]
    assert not torch.cuda.is_available()
    assert any("cuda:0" in note for note in outcome.notes)
    assert {"score", "mean", "median"} <= set(outcome.table[0])


def test_statistics_are_those_of_exact_values_of_training_folds(files, tmp_path):
    fit = SparseChemFit(epochs=1, batch_ratio=0.5, normalize_regression=1)
    recipe.train(data_of(files), SparseChemNet((4,), (0.0,)), fit, SparseChemScoring(tmp_path, "run", verbose=0))
    found = json.loads((tmp_path / "run.json").read_text())["stats"]
    learn = np.arange(ROWS) % 4 > 1
    values, censor = (load_npz(files / f"{name}.npz").tocoo() for name in ("y_regr", "y_censor"))
    for task in range(VALUES):
        own = (values.col == task) & learn[values.row] & (censor.data == 0)
        np.testing.assert_allclose(found["mean"][task], values.data[own].mean(), rtol=1e-5)
        np.testing.assert_allclose(found["var"][task], values.data[own].var(), rtol=1e-5)


def test_same_seed_same_bits_and_rows_on_disk_are_as_good(files, tmp_path):
    net, fit = SparseChemNet((8,), (0.3,)), SparseChemFit(epochs=2, batch_ratio=0.2, seed=1)
    write_rows(tmp_path / "rows", [csr_array(load_npz(files / "x.npz"))])
    runs = {
        "first": (data_of(files), fit),
        "second": (data_of(files), fit),
        "mapped": (replace(data_of(files), x=tmp_path / "rows"), fit),
        "other": (data_of(files), replace(fit, seed=2)),
    }
    for name, (data, settings) in runs.items():
        recipe.train(data, net, settings, SparseChemScoring(tmp_path, name, verbose=0))
    first, second, mapped, other = (load_file(tmp_path / f"{name}.safetensors") for name in runs)
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], atol=0, rtol=0)
        torch.testing.assert_close(value, mapped[name], atol=0, rtol=0)
    assert not torch.equal(first["net.0.net_freq.weight"], other["net.0.net_freq.weight"])


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(files, tmp_path, monkeypatch):
    net, fit = SparseChemNet((8,), (0.3,)), SparseChemFit(epochs=4, batch_ratio=0.2)
    scoring = SparseChemScoring(tmp_path, "whole", verbose=0)
    recipe.train(data_of(files), net, fit, scoring)
    steps, real = [], recipe.StepLoss.__call__

    def dies(self, positions):
        steps.append(0)
        if len(steps) == 12:
            raise MemoryError
        return real(self, positions)

    plain = recipe.SparseChemTraining.loop
    monkeypatch.setattr(recipe.SparseChemTraining, "loop", lambda *given: replace(plain(*given), checkpoint_seconds=0))
    monkeypatch.setattr(recipe.StepLoss, "__call__", dies)
    killed = replace(scoring, run_name="killed")
    with pytest.raises(MemoryError):
        recipe.train(data_of(files), net, fit, killed)
    assert not (tmp_path / "killed.safetensors").exists()
    monkeypatch.setattr(recipe.StepLoss, "__call__", real)
    with pytest.raises(ModelError, match="other data, settings or seed"):
        recipe.train(data_of(files), net, replace(fit, lr=2e-3), killed)
    recipe.train(data_of(files), net, fit, killed)
    whole, found = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "killed"))
    for name, value in whole.items():
        torch.testing.assert_close(found[name], value, atol=0, rtol=0)
    assert not (tmp_path / "killed" / "checkpoints").exists()


def test_best_epoch_keeps_the_least_validation_loss(files, tmp_path):
    fit = SparseChemFit(epochs=12, batch_ratio=0.2, lr=0.1, best_epoch=1)
    scoring = SparseChemScoring(tmp_path, "run", verbose=0, min_samples_regr=1)
    recipe.train(data_of(files), SparseChemNet((8,), (0.0,)), fit, scoring)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    best = min(lines, key=lambda line: line["valid"])
    found = json.loads(json.loads((tmp_path / "run.json").read_text())["validation"]["regression_agg"])
    assert best["epoch"] < 11
    np.testing.assert_allclose(found["rmse"], best["rmse"], rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        (
            {"y_class": None, "y_regr": None, "y_censor": None, "weights_class": None, "weights_regr": None},
            DataError,
            "--y_class",
        ),
        ({"y_regr": None}, DataError, "--y_censor"),
        ({"fold_va": (7,)}, DataError, "folds are 0, 1, 2, 3"),
        ({"fold_te": (0,)}, ConfigError, "Fold 0"),
        ({"fold_va": (0, 2, 3)}, DataError, "No row is left"),
        ({"fold_inputs": 0}, ConfigError, "fold_inputs"),
        ({"input_transform": "sqrt"}, ConfigError, "binarize"),
        ({"input_size_freq": 10}, ConfigError, "never worked"),
    ],
)
def test_data_that_make_no_sense_are_refused(files, tmp_path, changes, error, said):
    with pytest.raises(error, match=said):
        recipe.train(data_of(files, **changes), SparseChemNet((4,), (0.0,)), None, SparseChemScoring(tmp_path))
    assert not list(tmp_path.iterdir())


def test_tasks_of_which_the_training_rows_show_one_side_are_told(files, tmp_path):
    classes, bounds = load_npz(files / "y_class.npz").tocsc(), load_npz(files / "y_censor.npz").tocsc()
    classes.data[classes.indptr[3] : classes.indptr[4]] = 1
    bounds.data[bounds.indptr[1] : bounds.indptr[2]] = -1
    save_npz(tmp_path / "y.npz", classes.tocsr())
    save_npz(tmp_path / "c.npz", bounds.tocsr())
    data = data_of(files, y_class=tmp_path / "y.npz", y_censor=tmp_path / "c.npz")
    net, fit = SparseChemNet((4,), (0.0,)), SparseChemFit(epochs=1)
    told = recipe.train(data, net, fit, SparseChemScoring(tmp_path)).notes
    assert sum("1 of 5 classes have labels of one kind or none in the training folds (the first: 3)" in n for n in told)
    assert sum("1 of 3 regression tasks have no exact value in the training folds (the first: 1)" in n for n in told)
    plain = recipe.train(data_of(files), net, fit, SparseChemScoring(tmp_path)).notes
    assert not any("training folds (the first" in note for note in plain)


@pytest.mark.parametrize(
    ("net", "fit", "scoring", "said"),
    [
        ({"hidden_sizes": (4, 4)}, {}, {}, "hidden_sizes has 2 layers, --dropouts_trunk 1"),
        ({"last_hidden_sizes": (4,)}, {}, {}, "dropouts_class 0"),
        ({"last_hidden_sizes": (4,), "last_hidden_sizes_reg": (4,)}, {}, {}, "not both"),
        ({"class_feature_size": 1, "regression_feature_size": 1}, {}, {}, "cover"),
        ({"middle_non_linearity": "gelu"}, {}, {}, "relu, tanh"),
        ({}, {"optimizer": "rmsprop"}, {}, "adam, adamw, sgd"),
        ({}, {"optimizer_params": (0.9,)}, {}, "beta1, beta2, epsilon"),
        ({}, {"batch_ratio": 0.0}, {}, "batch_ratio"),
        ({}, {"censored_loss": 2}, {}, "0, 1"),
        ({}, {}, {"save_board": 1}, "TensorBoard|fails in SparseChem"),
        ({}, {}, {"profile": 1}, "fails in SparseChem"),
        ({}, {}, {"min_samples_auc": 5}, "min_samples_class"),
        ({}, {}, {"dev": "abacus"}, "abacus"),
    ],
)
def test_options_that_make_no_sense_are_refused(files, tmp_path, net, fit, scoring, said):
    with pytest.raises(ConfigError, match=said):
        recipe.train(
            data_of(files),
            replace(SparseChemNet((4,), (0.0,)), **net),
            SparseChemFit(**fit),
            SparseChemScoring(tmp_path, **scoring),
        )


def test_catalogue_fusion_needs_names(files, tmp_path):
    net = SparseChemNet((4,), (0.0,), enable_cat_fusion=1)
    with pytest.raises(ConfigError, match="catalog_id"):
        recipe.train(data_of(files, weights_class=None), net, None, SparseChemScoring(tmp_path))
