import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from torch import nn

from screenwise.errors import ColumnError, ConfigError, ModelError
from screenwise.models.adapter import (
    PUBLISHED_C,
    Adapter,
    AdapterConfig,
    Forest,
    ForestConfig,
    SupportVector,
    SupportVectorConfig,
)
from screenwise.models.learners import Functions, TorchNetwork
from screenwise.protocols import Model
from screenwise.represent.fingerprint import Fingerprint
from screenwise.screen import Targets, make_screen
from screenwise.train.loop import Training


def line_screen(n=80, noise=0.3, relation=None, kind="regression", weight=None):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 2))
    y = 2 * x[:, 0] + rng.normal(0, noise, n)
    value = np.column_stack([y, np.where(np.arange(n) % 2, -y, np.nan), np.full(n, np.nan)])
    if kind == "classification":
        value = np.where(np.isnan(value), np.nan, value > 0)
    conditions = pd.DataFrame({"gene": [f"G{i}" for i in range(n)]} | {f"feature:x{j}": x[:, j] for j in range(2)})
    tasks = pd.DataFrame({"name": ["up", "down", "never"], "kind": kind})
    return make_screen(conditions, Targets(value.astype(np.float32), relation, weight), tasks)


def network(d, t):
    return nn.Sequential(nn.Linear(d, 16), nn.Tanh(), nn.Linear(16, t))


def least_squares(x, y, seed):
    return np.linalg.lstsq(x, y, rcond=None)[0]


LEARNERS = {
    "ridge": Ridge,
    "forest": lambda: RandomForestRegressor(20),
    "boosting": lambda: GradientBoostingRegressor(n_estimators=20),
    "process": lambda: GaussianProcessRegressor(alpha=0.1),
    "torch": lambda: TorchNetwork(network, Training(epochs=60, batch_size=16, learning_rate=0.01)),
    "functions": lambda: Functions(least_squares, lambda learned, x: x @ learned),
}


@pytest.mark.parametrize("name", list(LEARNERS))
def test_any_library_is_a_model(name):
    screen = line_screen()
    model = Adapter(LEARNERS[name]())
    assert isinstance(model, Model)
    prediction = model.fit(screen.take(np.arange(60)), seed=3).predict(screen.conditions)
    truth = screen.targets.dense()
    error = (prediction.mean - truth)[60:, :2]
    assert np.sqrt(np.nanmean(error**2)) < 0.6 * np.nanstd(truth[60:, :2])
    assert np.isnan(prediction.mean[:, 2]).all()
    assert (prediction.std[:, :2] > 0).all()
    assert prediction.note[0] == "nothing was measured of never"
    again = Adapter(LEARNERS[name]()).fit(screen.take(np.arange(60)), seed=3).predict(screen.conditions)
    np.testing.assert_array_equal(again.mean, prediction.mean)
    row, task = np.array([5, 70, 5]), np.array([1, 0, 0])
    mean, std = model.predict_cells(screen.conditions, row, task)
    np.testing.assert_allclose(mean, prediction.mean[row, task], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(std, prediction.std[row, task], rtol=1e-5, atol=1e-5)
    with pytest.raises(ModelError, match="cannot be saved"):
        model.save("nowhere")


@pytest.mark.parametrize("name", ["forest", "torch"])
def test_another_seed_is_another_prediction(name):
    screen = line_screen()
    first, second = (Adapter(LEARNERS[name]()).fit(screen, seed=seed).predict(screen.conditions) for seed in (0, 1))
    assert not np.array_equal(first.mean, second.mean)


def test_spread_of_errors_is_that_of_held_out_rows():
    screen = line_screen(n=1000, noise=0.5)
    prediction = Adapter(LinearRegression()).fit(screen).predict(screen.conditions)
    assert prediction.std[0, 0] == pytest.approx(0.5, rel=0.15)
    assert len(set(prediction.std[:, 0].tolist())) == 1


def test_the_estimators_own_std_is_used():
    screen = line_screen()
    prediction = Adapter(GaussianProcessRegressor(alpha=1.0)).fit(screen).predict(screen.conditions)
    assert len(np.unique(prediction.std[:, 0])) > 10


def test_classes_are_probabilities():
    screen = line_screen(kind="classification")
    for estimator in (LogisticRegression(), Ridge()):
        mean = Adapter(estimator).fit(screen).predict(screen.conditions).mean
        assert ((mean[:, :2] >= 0) & (mean[:, :2] <= 1)).all()
        assert ((mean[:, 0] > 0.5) == screen.targets.dense()[:, 0]).mean() > 0.85


def test_a_single_class_does_not_stop_a_classifier():
    screen = line_screen(kind="classification")
    only = make_screen(screen.conditions, np.ones((len(screen), 1)), screen.tasks.iloc[:1])
    assert (Adapter(LogisticRegression()).fit(only).predict(only.conditions).mean == 1).all()


def test_bounds_are_values_or_nothing():
    plain = line_screen()
    relation = np.zeros((80, 3), np.int8)
    relation[:40, 0] = -1
    screen = make_screen(plain.conditions, Targets(plain.targets.value, relation), plain.tasks)
    as_value = Adapter(LinearRegression()).fit(screen).predict(screen.conditions)
    dropped = Adapter(LinearRegression(), config=AdapterConfig(bounds="drop")).fit(screen).predict(screen.conditions)
    all_exact = Adapter(LinearRegression()).fit(plain).predict(plain.conditions)
    np.testing.assert_array_equal(as_value.mean, all_exact.mean)
    assert not np.array_equal(dropped.mean[:, 0], as_value.mean[:, 0])
    with pytest.raises(ConfigError, match='"value" or "drop"'):
        AdapterConfig(bounds="keep")


def test_weights_reach_the_estimator():
    weight = (np.arange(80) < 40).astype(np.float32) + 1e-6
    half = Adapter(LinearRegression()).fit(line_screen().take(np.arange(40))).predict(line_screen().conditions)
    weighted = Adapter(LinearRegression()).fit(line_screen(weight=weight)).predict(line_screen().conditions)
    np.testing.assert_allclose(weighted.mean[:, 0], half.mean[:, 0], atol=1e-3)


def test_own_representations():
    smiles = pd.DataFrame({"smiles": ["C" * n + "O" for n in range(1, 30)]})
    screen = make_screen(smiles, np.arange(29.0)[:, None], ["length"])
    bits = Adapter(Ridge(), Fingerprint(radius=1, fold=256)).fit(screen)
    assert np.corrcoef(bits.predict(smiles).mean[:, 0], np.arange(29))[0, 1] > 0.95

    class Length:
        def transform(self, conditions):
            return np.array([[len(text) if text else np.nan] for text in conditions["smiles"]])

    model = Adapter(LinearRegression(), Length()).fit(screen)
    prediction = model.predict(pd.DataFrame({"smiles": ["CCCO", ""]}))
    assert prediction.mean[0, 0] == pytest.approx(2.0, abs=1e-4)
    assert np.isnan(prediction.mean[1, 0])
    assert prediction.note[1] == "a number is missing"


def test_joint_functions_see_all_tasks():
    seen = []

    def fit(x, y, seed):
        seen.append(y.shape)
        return np.nan_to_num(y).mean(axis=0)

    model = Adapter(Functions(fit, lambda mean, x: np.tile(mean, (len(x), 1)), joint=True)).fit(line_screen())
    assert seen[0] == (80, 3)
    assert np.isfinite(model.predict(line_screen().conditions).mean[:, :2]).all()


def test_forest_answers_as_scikit_learn_does():
    screen = line_screen()
    model = Forest(ForestConfig(trees=15, max_features=1.0)).fit(screen, seed=2)
    rows = model.learned_.inputs.transform(screen.conditions)
    theirs = RandomForestRegressor(15, random_state=0).fit(rows.x.toarray(), screen.targets.dense()[:, 0])
    ours = model.predict(screen.conditions).mean[:, 0]
    assert np.corrcoef(theirs.predict(rows.x.toarray()), ours)[0, 1] > 0.99


@pytest.mark.parametrize("make", [lambda: Forest(ForestConfig(trees=10)), SupportVector])
def test_saved_models_are_arrays_and_answer_the_same(make, tmp_path):
    smiles = pd.DataFrame({"smiles": ["C" * n + "O" for n in range(1, 30)]})
    screen = make_screen(smiles, np.column_stack([np.arange(29.0), np.full(29, np.nan)]), ["length", "never"])
    model = make().fit(screen)
    model.save(tmp_path)
    loaded = type(model).load(tmp_path)
    for part in ("mean", "std"):
        np.testing.assert_array_equal(getattr(loaded.predict(smiles), part), getattr(model.predict(smiles), part))
    assert loaded.config == model.config
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "adapter.json",
        "adapter.npz",
        "domain.json",
        "domain.npz",
    ]
    (tmp_path / "adapter.npz").write_bytes(b"broken")
    with pytest.raises(ModelError, match="cannot be read"):
        type(model).load(tmp_path)


def test_an_adapter_is_not_loaded(tmp_path):
    (tmp_path / "adapter.json").write_text("{}")
    with pytest.raises(ModelError, match="fit it again"):
        Adapter.load(tmp_path)


def test_published_costs_are_used_for_their_tasks():
    model = SupportVector()
    assert model.learner.c["CHEMBL2835_Ki"] == 10_000
    assert len(PUBLISHED_C) == 3
    assert SupportVector(SupportVectorConfig(c=3.0)).learner.c == {"": 3.0}


def test_missing_columns_are_named():
    model = Adapter(Ridge()).fit(line_screen())
    with pytest.raises(ColumnError, match="feature:x1"):
        model.predict(line_screen().conditions.drop(columns="feature:x1"))
    with pytest.raises(ModelError, match="not fitted"):
        Adapter(Ridge()).predict(line_screen().conditions)


def test_answers_that_are_no_numbers_are_an_error():
    diverged = Functions(lambda x, y, seed: np.nan, lambda learned, x: np.full(len(x), learned))
    with pytest.raises(ModelError, match=r"Functions answers NaN or infinity for 80 of 80 conditions of .*rate"):
        Adapter(diverged).fit(line_screen()).predict(line_screen().conditions)


def test_torch_networks_start_from_the_seed_only():
    screen = line_screen()
    torch.manual_seed(0)
    first = Adapter(LEARNERS["torch"]()).fit(screen).predict(screen.conditions)
    torch.manual_seed(1)
    second = Adapter(LEARNERS["torch"]()).fit(screen).predict(screen.conditions)
    np.testing.assert_array_equal(first.mean, second.mean)
