import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor

from screenwise.errors import ConfigError, ModelError
from screenwise.models.adapter import Adapter, Forest, ForestConfig
from screenwise.models.ensemble import DeepEnsemble, EnsembleConfig
from screenwise.models.multitask import MultiTask, MultiTaskConfig
from screenwise.protocols import Model
from screenwise.run import Run
from screenwise.screen import make_screen

TWO = EnsembleConfig(members=2)


def screen(n=60):
    x = np.random.default_rng(0).normal(size=(n, 2))
    conditions = pd.DataFrame({"gene": [f"G{i}" for i in range(n)], "feature:a": x[:, 0], "feature:b": x[:, 1]})
    return make_screen(conditions, np.column_stack([x[:, 0], np.full(n, np.nan)]), ["effect", "never"])


def forest():
    return Forest(ForestConfig(trees=5))


def test_members_are_draws_and_their_spread_adds_to_the_variance():
    model = DeepEnsemble(forest, EnsembleConfig(members=4))
    assert isinstance(model, Model)
    prediction = model.fit(screen(), seed=1).predict(screen().conditions)
    alone = [member.predict(screen().conditions) for member in model.members_]
    np.testing.assert_array_equal(prediction.draws, np.stack([one.mean for one in alone]))
    np.testing.assert_allclose(prediction.mean[:, 0], prediction.draws[:, :, 0].mean(axis=0), rtol=1e-6)
    expected = np.mean([one.std**2 for one in alone], axis=0) + prediction.draws.var(axis=0, ddof=1)
    np.testing.assert_allclose(prediction.std[:, 0] ** 2, expected[:, 0], rtol=1e-4)
    assert np.isnan(prediction.mean[:, 1]).all()
    assert prediction.note[0] == "nothing was measured of never"


def test_draws_are_the_same_functions_on_every_chunk():
    model = DeepEnsemble(forest, TWO).fit(screen())
    whole, part = model.predict(screen().conditions), model.predict(screen().conditions.iloc[5:9])
    np.testing.assert_allclose(part.draws, whole.draws[:, 5:9], rtol=1e-6)


def test_same_seed_same_prediction_other_seed_differs():
    first, same, other = (
        DeepEnsemble(forest, TWO).fit(screen(), seed=seed).predict(screen().conditions) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.mean, same.mean)
    assert not np.array_equal(first.mean, other.mean)


def test_saved_and_loaded_is_equal(tmp_path):
    model = DeepEnsemble(forest, TWO).fit(screen())
    model.save(tmp_path)
    loaded = DeepEnsemble.load(tmp_path)
    np.testing.assert_array_equal(loaded.predict(screen().conditions).std, model.predict(screen().conditions).std)
    assert loaded.factory().config == ForestConfig(trees=5)


def test_members_of_other_libraries_are_not_saved(tmp_path):
    model = DeepEnsemble(lambda: Adapter(RandomForestRegressor(3)), TWO).fit(screen())
    with pytest.raises(ModelError, match="cannot be saved"):
        model.save(tmp_path)
    with pytest.raises(ModelError, match="not fitted"):
        DeepEnsemble(forest).predict(screen().conditions)
    with pytest.raises(ModelError, match="not fitted"):
        DeepEnsemble(forest).save(tmp_path)
    with pytest.raises(ConfigError, match="at least 2"):
        EnsembleConfig(members=1)


def test_members_keep_their_checkpoints_apart(tmp_path):
    settings = MultiTaskConfig(hidden=(8,), epochs=2, threads=1)
    model = DeepEnsemble(lambda: MultiTask(settings), TWO).fit(screen(), run=Run(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["member-0", "member-1"]
    prediction = model.predict(screen().conditions)
    assert prediction.in_domain.shape == (60,)
