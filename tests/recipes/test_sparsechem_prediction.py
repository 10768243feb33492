"""`screenwise sparsechem predict`: its files, and what it refuses."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_array, csr_matrix, load_npz, random_array, save_npz
from scipy.special import expit

from screenwise.errors import ConfigError, DataError, ModelError
from screenwise.recipes.sparsechem import train
from screenwise.recipes.sparsechem_prediction import predict
from screenwise.recipes.sparsechem_settings import (
    SparseChemData,
    SparseChemFit,
    SparseChemNet,
    SparseChemPredict,
    SparseChemScoring,
)

ROWS, COLUMNS, CLASSES, VALUES = 50, 30, 4, 3


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("trained"), np.random.default_rng(8)
    save_npz(folder / "x.npz", csr_matrix(random_array((ROWS, COLUMNS), density=0.2, rng=rng)))
    save_npz(folder / "c.npz", csr_matrix(rng.choice([-1.0, 0, 1], (ROWS, CLASSES))))
    save_npz(folder / "r.npz", csr_matrix(rng.normal(5, 2, (ROWS, VALUES)) * (rng.random((ROWS, VALUES)) < 0.7)))
    np.save(folder / "f.npy", np.arange(ROWS) % 3)
    names = pd.DataFrame({"task_id": range(CLASSES), "training_weight": 1, "catalog_id": ["", "A", "", "B"]})
    names.to_csv(folder / "w.csv", index=False)
    train(
        SparseChemData(
            folder / "x.npz", folder / "f.npy", folder / "c.npz", folder / "r.npz", weights_class=folder / "w.csv"
        ),
        SparseChemNet((9,), (0.4,), enable_cat_fusion=1),
        SparseChemFit(epochs=2, batch_ratio=0.3, normalize_regression=1, lr=0.05),
        SparseChemScoring(folder, "m", verbose=0),
    )
    return folder


def asked(folder, tmp_path, **changes):
    given = SparseChemPredict(folder / "m.json", folder / "m.safetensors", folder / "x.npz", str(tmp_path / "out"))
    return replace(given, **changes)


def outputs(folder):
    """Units, log odds and standardised values by the names in the file, in plain numpy."""
    state = {name: value.numpy().astype(float) for name, value in load_file(folder / "m.safetensors").items()}
    units = load_npz(folder / "x.npz").toarray() @ state["net.0.net_freq.weight"] + state["net.0.net_freq.bias"]

    def linear(inner, name):
        return inner @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    rectified = np.maximum(units, 0)
    values = linear(np.tanh(units), "regrLast.0.net.initial_layer.2")
    return units, linear(rectified, "classLast.net.initial_layer.2"), linear(rectified, "catalogue"), values


def test_dense_arrays_are_plain_and_right(trained, tmp_path):
    outcome = predict(asked(trained, tmp_path, inverse_normalization=1, batch_size=7))
    _, odds, _, values = outputs(trained)
    stats = json.loads((trained / "m.json").read_text())["stats"]
    classes, found = (np.load(tmp_path / f"out-{kind}.npy", allow_pickle=False) for kind in ("class", "regr"))
    np.testing.assert_allclose(classes, expit(odds), atol=1e-5)
    np.testing.assert_allclose(found, values * np.sqrt(stats["var"]) + stats["mean"], atol=1e-4)
    assert set(outcome.files) == {"class", "regr"}
    predict(asked(trained, tmp_path))
    np.testing.assert_allclose(np.load(tmp_path / "out-regr.npy"), values, atol=1e-5)


def test_the_catalogue_speaks_where_the_table_of_tasks_is_given(trained, tmp_path):
    predict(asked(trained, tmp_path, weights_class=trained / "w.csv"))
    _, odds, shared, _ = outputs(trained)
    odds[:, [1, 3]] = shared
    np.testing.assert_allclose(np.load(tmp_path / "out-class.npy"), expit(odds), atol=1e-5)
    (tmp_path / "w.csv").write_text("task_id,training_weight,catalog_id\n0,1,\n1,1,A\n2,1,\n3,1,\n")
    with pytest.raises(DataError, match="trained with 2"):
        predict(asked(trained, tmp_path, weights_class=tmp_path / "w.csv"))


def test_cells_of_a_pattern_and_of_folds(trained, tmp_path):
    pattern = load_npz(trained / "c.npz")
    predict(asked(trained, tmp_path, y_class=trained / "c.npz", folding=trained / "f.npy", predict_fold=(0, 2)))
    found = load_npz(tmp_path / "out-class.npz")
    keep = np.isin(np.arange(ROWS) % 3, (0, 2))[:, None]
    np.testing.assert_allclose(found.toarray(), expit(outputs(trained)[1]) * (pattern.toarray() != 0) * keep, atol=1e-5)
    assert not (tmp_path / "out-regr.npz").exists()
    assert not (tmp_path / "out-regr.npy").exists()
    predict(asked(trained, tmp_path, y_regr=trained / "r.npz", batch_size=3))
    cells = load_npz(trained / "r.npz").tocsr()
    found = csr_array(load_npz(tmp_path / "out-regr.npz"))
    assert found.indices.tolist() == cells.indices.tolist()
    np.testing.assert_allclose(found.toarray()[cells.nonzero()], outputs(trained)[3][cells.nonzero()], atol=1e-5)


def test_some_tasks_in_the_order_asked_for(trained, tmp_path):
    predict(asked(trained, tmp_path, tasks_class=(3, 0), tasks_regr=(1,)))
    _, odds, _, values = outputs(trained)
    np.testing.assert_allclose(np.load(tmp_path / "out-class.npy"), expit(odds[:, [3, 0]]), atol=1e-5)
    np.testing.assert_allclose(np.load(tmp_path / "out-regr.npy"), values[:, [1]], atol=1e-5)
    with pytest.raises(ConfigError, match="--tasks_regr 3: the model has 3"):
        predict(asked(trained, tmp_path, tasks_regr=(3,)))


def test_embeddings_are_the_trunk_before_any_activation(trained, tmp_path):
    predict(asked(trained, tmp_path, trunk_embeddings=1))
    np.testing.assert_allclose(np.load(tmp_path / "out-hidden.npy"), outputs(trained)[0], atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["out-hidden.npy"]


def test_dropout_is_a_draw_of_the_seed(trained, tmp_path):
    found = []
    for seed in (0, 0, 1):
        predict(asked(trained, tmp_path, dropout=1, seed=seed))
        found.append(np.load(tmp_path / "out-class.npy"))
    assert (found[0] == found[1]).all()
    assert (found[0] != found[2]).any()


def test_a_model_of_sparsechem_is_refused_until_it_is_converted(trained, tmp_path):
    state = load_file(trained / "m.safetensors")
    torch.save(state, tmp_path / "m.pt")
    with pytest.raises(ModelError, match="pickled model") as refused:
        predict(asked(trained, tmp_path, model=tmp_path / "m.pt"))
    subprocess.run([sys.executable, "-c", str(refused.value).split('"')[1]], check=True, timeout=200)
    predict(asked(trained, tmp_path, model=tmp_path / "m.safetensors"))
    np.testing.assert_allclose(np.load(tmp_path / "out-class.npy"), expit(outputs(trained)[1]), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"folding": True}, ConfigError, "go together"),
        ({"predict_fold": (1,)}, ConfigError, "go together"),
        ({"folding": True, "predict_fold": (1,)}, ConfigError, "--y_class or --y_regr"),
        ({"batch_size": 0}, ConfigError, "batch_size"),
        ({"dropout": 2}, ConfigError, "0, 1"),
        ({"trunk_embeddings": 5}, ConfigError, "0, 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(trained, tmp_path, changes, error, said):
    changes = {name: trained / "f.npy" if value is True else value for name, value in changes.items()}
    with pytest.raises(error, match=said):
        predict(asked(trained, tmp_path, **changes))
    assert not list(tmp_path.iterdir())


def test_files_that_do_not_fit_are_named(trained, tmp_path):
    save_npz(tmp_path / "narrow.npz", csr_matrix((ROWS, COLUMNS - 1)))
    with pytest.raises(ModelError, match="29 columns, the model reads 30"):
        predict(asked(trained, tmp_path, x=tmp_path / "narrow.npz"))
    with pytest.raises(DataError, match="rows of X and tasks of the model"):
        predict(asked(trained, tmp_path, y_class=trained / "r.npz"))
    with pytest.raises(ModelError, match="does not exist"):
        predict(asked(trained, tmp_path, model=tmp_path / "none.safetensors"))
    with pytest.raises(ModelError, match="does not exist"):
        predict(asked(trained, tmp_path, model=tmp_path / "none.pt"))
    (tmp_path / "bad.safetensors").write_bytes(b"\x08")
    with pytest.raises(ModelError, match="not a readable model"):
        predict(asked(trained, tmp_path, model=tmp_path / "bad.safetensors"))
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="no weight"):
        predict(asked(trained, tmp_path, model=tmp_path / "other.safetensors"))
    (tmp_path / "conf.json").write_text("{}")
    with pytest.raises(DataError, match=r"conf\.json"):
        predict(asked(trained, tmp_path, conf=tmp_path / "conf.json"))
    with pytest.raises(DataError, match="pickled"):
        predict(asked(trained, tmp_path, conf=tmp_path / "conf.npy"))
    found = json.loads((trained / "m.json").read_text())
    del found["stats"]
    (tmp_path / "plain.json").write_text(json.dumps(found))
    with pytest.raises(ConfigError, match="no stats"):
        predict(asked(trained, tmp_path, conf=tmp_path / "plain.json", inverse_normalization=1))
