"""What every model in `MODELS` must do; a new member is tested here without a line of its own."""

from dataclasses import fields, is_dataclass

import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ColumnError
from screenwise.models import MODELS, load_model, make_model, model_class, save_model
from screenwise.models.multitask import MultiTaskConfig
from screenwise.protocols import HasCalibration, Model
from screenwise.screen import make_screen

CHAINS = [("C" * length) + tail for length in range(1, 16) for tail in ("O", "N", "C(=O)O", "Cl", "c1ccccc1")]
PAIRWISE = ("salt", "scaled_salt", "peper_gp", "peper", "growth_interaction")
"""Models of gene combinations: their toy is a profile screen."""
GENES = tuple("ABCDEFGHIJKL")
DOUBLES = [(one, other) for place, one in enumerate(GENES) for other in GENES[place + 1 :]]
RANDOM = ("multitask", "gp_network", "forest", "peper")
"""Models whose fit draws random numbers: another seed must give another prediction."""
QUICK = {
    "multitask": {"epochs": 40, "hidden": (32,), "members": 2, "batch_size": 16, "minimum_count": 1},
    "gp_network": {"network": MultiTaskConfig(epochs=40, hidden=(32,), batch_size=16, minimum_count=1)},
    "forest": {"trees": 30},
    "peper": {"members": 2, "epochs": 20, "hidden": 16},
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


def profile_screen(rows=None):
    """Control, twelve singles and doubles whose effects add and saturate; two features, one never measured."""
    effect = dict(zip(GENES, np.random.default_rng(1).normal(size=(len(GENES), 2)), strict=True))
    doubles = DOUBLES[:48] if rows is None else [DOUBLES[row] for row in rows]
    names = [("", ""), *((gene, "") for gene in GENES), *doubles]
    value = [2 * np.tanh(0.5 * sum((effect[gene] for gene in pair if gene), np.zeros(2))) for pair in names]
    level = np.column_stack([np.array(value) + 1.0, np.full(len(names), np.nan)]).astype(np.float32)
    return make_screen(pd.DataFrame(names, columns=["gene_a", "gene_b"]), level, ["up", "down", "never"])


def toy(name, rows=None):
    return profile_screen(rows) if name in PAIRWISE else toy_screen(rows)


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
    return build(name).fit(toy(name), seed=1)


def test_is_a_model_with_frozen_settings(name):
    config = model_class(name).Config
    assert isinstance(build(name), Model)
    assert is_dataclass(config)
    assert config.__dataclass_params__.frozen


def test_shapes_and_missing_task(name, fitted):
    screen = toy(name)
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
    screen = toy(name)
    again = build(name).fit(screen, seed=1).predict(screen.conditions)
    np.testing.assert_array_equal(again.mean, fitted.predict(screen.conditions).mean)
    if name in RANDOM:
        other = build(name).fit(screen, seed=2).predict(screen.conditions)
        assert not np.array_equal(other.mean, again.mean)


def test_row_order_permutes_the_prediction(name, fitted):
    conditions = toy(name).conditions
    order = np.random.default_rng(3).permutation(len(conditions))
    straight, shuffled = fitted.predict(conditions), fitted.predict(conditions.iloc[order].reset_index(drop=True))
    np.testing.assert_allclose(shuffled.mean, straight.mean[order], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(shuffled.std, straight.std[order], rtol=1e-4, atol=1e-5)


def test_one_row_at_a_time_is_the_same(name, fitted):
    conditions = toy(name).conditions.iloc[:3]
    together = fitted.predict(conditions)
    for row in range(3):
        alone = fitted.predict(conditions.iloc[[row]].reset_index(drop=True))
        np.testing.assert_allclose(alone.mean[0], together.mean[row], rtol=1e-5, atol=1e-5)


def test_saved_and_loaded_is_equal_and_no_pickle(name, fitted, tmp_path):
    save_model(fitted, name, tmp_path / "model")
    conditions = toy(name).conditions
    loaded = load_model(tmp_path / "model").predict(conditions)
    before = fitted.predict(conditions)
    np.testing.assert_array_equal(loaded.mean, before.mean)
    np.testing.assert_array_equal(loaded.std, before.std)
    kinds = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert kinds <= {".json", ".npz", ".safetensors", ".parquet"}


def test_calibration_cells_are_measured_ones_and_saved(name, fitted, tmp_path):
    if not isinstance(fitted, HasCalibration):
        pytest.skip("this model keeps no predictions of cells that it did not learn from")
    cells, known = fitted.calibration_cells(), toy(name).targets.cells()
    assert np.isfinite(cells.mean).all()
    assert set(zip(cells.task, cells.value.round(4), strict=True)) <= set(
        zip(known.task, known.value.round(4), strict=True)
    )
    assert (cells.mean != fitted.predict(toy(name).conditions).mean[known.row, known.task][: len(cells)]).any()
    save_model(fitted, name, tmp_path / "model")
    again = load_model(tmp_path / "model").calibration_cells()
    for column, array in vars(cells).items():
        np.testing.assert_array_equal(getattr(again, column), array)


def test_beats_the_mean_on_a_learnable_toy(name):
    if name == "mean":
        pytest.skip("the mean is what must be beaten")
    rows = np.random.default_rng(4).permutation(len(DOUBLES) if name in PAIRWISE else len(CHAINS))
    train, test = toy(name, rows[:55]), toy(name, rows[55:])
    truth = test.targets.dense()[:, 0]
    error = build(name).fit(train).predict(test.conditions).mean[:, 0] - truth
    assert np.square(error).mean() < 0.7 * np.square(truth - train.targets.dense()[:, 0].mean()).mean()


def test_wrong_columns_are_refused(name, fitted):
    if name == "mean":
        pytest.skip("the mean needs no column")
    asked, wanted = ("smiles", "gene_a") if name in PAIRWISE else ("gene", "smiles")
    with pytest.raises(ColumnError, match=wanted):
        fitted.predict(pd.DataFrame({"condition_id": ["x"], asked: ["TP53"]}))


def test_unreadable_structure_is_a_note_not_a_number(name, fitted):
    if name == "mean":
        pytest.skip("the mean reads no structure")
    if name in PAIRWISE:
        pytest.skip("any gene can be asked for; without a single it is imputed and told (tests/models)")
    conditions = pd.DataFrame({"condition_id": ["a", "b"], "smiles": ["CCO", ""]})
    prediction = fitted.predict(conditions)
    assert np.isfinite(prediction.mean[0, 0])
    assert np.isnan(prediction.mean[1]).all()
    assert prediction.note is not None
    assert prediction.note[1]


def test_classification_gives_probabilities(name):
    if name in PAIRWISE:
        pytest.skip("profiles are levels")
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
    if name in ("svr", "pooled_gp", "gp_network") or name in PAIRWISE:
        pytest.skip(
            "the published SVM and the pooled process are models of compounds, a pairwise model one of profiles"
        )
    prediction = build(name).fit(screen).predict(screen.conditions)
    assert np.isfinite(prediction.mean).all()
