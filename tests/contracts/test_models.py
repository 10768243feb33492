"""What every model in `MODELS` must do; a new member is tested here without a line of its own."""

from dataclasses import fields, is_dataclass

import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ColumnError
from screenwise.models import MODELS, load_model, make_model, model_class, save_model
from screenwise.protocols import Model
from screenwise.screen import make_screen

CHAINS = [("C" * length) + tail for length in range(1, 16) for tail in ("O", "N", "C(=O)O", "Cl", "c1ccccc1")]
RANDOM = ("multitask", "forest")
"""Models whose fit draws random numbers: another seed must give another prediction."""
QUICK = {
    "multitask": {"epochs": 40, "hidden": (32,), "members": 2, "batch_size": 16, "minimum_count": 1},
    "forest": {"trees": 30},
}
"""Smaller settings of slow models; a name that the model's Config does not have fails here."""


def toy_screen(rows=None):
    """Tasks: length of the chain, its opposite with half missing, one never measured."""
    smiles = CHAINS if rows is None else [CHAINS[row] for row in rows]
    length = np.array([text.count("C") for text in smiles], np.float32)
    rng = np.random.default_rng(0)
    value = np.column_stack([length / 5, -length / 5, np.full(len(length), np.nan)]).astype(np.float32)
    value += rng.normal(0, 0.02, value.shape).astype(np.float32)
    value[::2, 1] = np.nan
    return make_screen(pd.DataFrame({"smiles": smiles}), value, ["long", "short", "never"])


@pytest.fixture(scope="module", params=list(MODELS))
def name(request):
    return request.param


def build(name):
    config = model_class(name).Config
    settings = QUICK.get(name, {})
    unknown = set(settings) - {field.name for field in fields(config)}
    assert not unknown, f"QUICK names settings that {config} does not have: {unknown}"
    return make_model(name, config(**settings))


@pytest.fixture(scope="module")
def fitted(name):
    return build(name).fit(toy_screen(), seed=1)


def test_is_a_model_with_frozen_settings(name):
    config = model_class(name).Config
    assert isinstance(build(name), Model)
    assert is_dataclass(config)
    assert config.__dataclass_params__.frozen


def test_shapes_and_missing_task(fitted):
    screen = toy_screen()
    prediction = fitted.predict(screen.conditions)
    n, t = len(screen), 3
    assert prediction.mean.shape == (n, t)
    assert np.isfinite(prediction.mean[:, :2]).all()
    assert np.isnan(prediction.mean[:, 2]).all(), "a task without measurements cannot be predicted"
    assert prediction.std is not None, "every model says how sure it is"
    assert (prediction.std[:, :2] > 0).all()
    if prediction.draws is not None:
        assert prediction.draws.shape[1:] == (n, t)
    if prediction.in_domain is not None:
        assert prediction.in_domain.shape in ((n,), (n, t))


def test_same_seed_same_prediction_other_seed_differs(name, fitted):
    screen = toy_screen()
    again = build(name).fit(screen, seed=1).predict(screen.conditions)
    np.testing.assert_array_equal(again.mean, fitted.predict(screen.conditions).mean)
    if name in RANDOM:
        other = build(name).fit(screen, seed=2).predict(screen.conditions)
        assert not np.array_equal(other.mean, again.mean)


def test_row_order_permutes_the_prediction(fitted):
    conditions = toy_screen().conditions
    order = np.random.default_rng(3).permutation(len(conditions))
    straight, shuffled = fitted.predict(conditions), fitted.predict(conditions.iloc[order].reset_index(drop=True))
    np.testing.assert_allclose(shuffled.mean, straight.mean[order], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(shuffled.std, straight.std[order], rtol=1e-4, atol=1e-5)


def test_one_row_at_a_time_is_the_same(fitted):
    conditions = toy_screen().conditions.iloc[:3]
    together = fitted.predict(conditions)
    for row in range(3):
        alone = fitted.predict(conditions.iloc[[row]].reset_index(drop=True))
        np.testing.assert_allclose(alone.mean[0], together.mean[row], rtol=1e-5, atol=1e-5)


def test_saved_and_loaded_is_equal_and_no_pickle(name, fitted, tmp_path):
    save_model(fitted, name, tmp_path / "model")
    conditions = toy_screen().conditions
    loaded = load_model(tmp_path / "model").predict(conditions)
    before = fitted.predict(conditions)
    np.testing.assert_array_equal(loaded.mean, before.mean)
    np.testing.assert_array_equal(loaded.std, before.std)
    kinds = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert kinds <= {".json", ".npz", ".safetensors", ".parquet"}


def test_beats_the_mean_on_a_learnable_toy(name):
    if name == "mean":
        pytest.skip("the mean is what must be beaten")
    rows = np.random.default_rng(4).permutation(len(CHAINS))
    train, test = toy_screen(rows[:55]), toy_screen(rows[55:])
    truth = test.targets.dense()[:, 0]
    error = build(name).fit(train).predict(test.conditions).mean[:, 0] - truth
    assert np.square(error).mean() < 0.7 * np.square(truth - train.targets.dense()[:, 0].mean()).mean()


def test_wrong_columns_are_refused(name, fitted):
    if name == "mean":
        pytest.skip("the mean needs no column")
    with pytest.raises(ColumnError, match="smiles"):
        fitted.predict(pd.DataFrame({"condition_id": ["x"], "gene": ["TP53"]}))


def test_unreadable_structure_is_a_note_not_a_number(name, fitted):
    if name == "mean":
        pytest.skip("the mean reads no structure")
    conditions = pd.DataFrame({"condition_id": ["a", "b"], "smiles": ["CCO", ""]})
    prediction = fitted.predict(conditions)
    assert np.isfinite(prediction.mean[0, 0])
    assert np.isnan(prediction.mean[1]).all()
    assert prediction.note is not None
    assert prediction.note[1]


def test_classification_gives_probabilities(name):
    screen = toy_screen()
    label = (screen.targets.dense()[:, [0]] > 1.5).astype(np.float32)
    tasks = pd.DataFrame({"name": ["active"], "kind": ["classification"]})
    screen = make_screen(screen.conditions[["smiles"]], label, tasks)
    mean = build(name).fit(screen).predict(screen.conditions).mean
    assert ((mean >= 0) & (mean <= 1)).all()


def test_numbers_in_place_of_structures(name):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(60, 3))
    conditions = pd.DataFrame({"gene": [f"G{i}" for i in range(60)]} | {f"feature:x{j}": x[:, j] for j in range(3)})
    screen = make_screen(conditions, (x[:, [0]] * 2).astype(np.float32), ["effect"])
    if name == "svr":
        pytest.skip("the published SVM is a model of compounds")
    prediction = build(name).fit(screen).predict(screen.conditions)
    assert np.isfinite(prediction.mean).all()
