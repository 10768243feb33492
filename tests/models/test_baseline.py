import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ModelError
from screenwise.models.baseline import Mean, Neighbours, NeighboursConfig
from screenwise.screen import make_screen

TAILS = ("O", "N", "C(=O)O", "Cl", "c1ccccc1", "C1CCNCC1")
SMILES = [("C" * length) + tail for length in range(1, 13) for tail in TAILS]
LENGTH = np.array([text.count("C") for text in SMILES], float)


def screen_of(value, kind="regression"):
    tasks = pd.DataFrame({"name": [f"t{place}" for place in range(value.shape[1])], "kind": kind})
    return make_screen(pd.DataFrame({"smiles": SMILES}), value, tasks)


def test_mean_is_the_mean_of_what_was_measured():
    value = np.column_stack([LENGTH, np.where(LENGTH > 4, LENGTH, np.nan), np.full(len(LENGTH), np.nan)])
    model = Mean().fit(screen_of(value))
    prediction = model.predict(pd.DataFrame({"smiles": ["CCO", ""]}))
    np.testing.assert_allclose(prediction.mean[:, :2], [np.nanmean(value[:, :2], axis=0)] * 2, rtol=1e-6)
    assert np.isnan(prediction.mean[:, 2]).all()
    assert "t2" in prediction.note[0]


def test_mean_interval_holds_nine_of_ten():
    value = np.random.default_rng(0).normal(3, 2, (len(SMILES), 1))
    prediction = Mean().fit(screen_of(value)).predict(screen_of(value).conditions)
    held = np.abs(value - prediction.mean) <= 1.645 * prediction.std
    assert held.mean() == pytest.approx(0.9, abs=0.05)


def test_leave_one_out_leaves_the_row_out():
    value = LENGTH[:, None].copy()
    mean, _ = Mean().fit(screen_of(value)).leave_one_out()
    assert mean[5, 0] == pytest.approx(np.delete(LENGTH, 5).mean(), rel=1e-6)
    nearest, _ = Neighbours().fit(screen_of(value)).leave_one_out()
    rest = np.delete(np.arange(len(SMILES)), 5)
    screen = screen_of(value)
    alone = Neighbours().fit(screen.take(rest)).predict(screen.conditions.iloc[[5]])
    assert nearest[5, 0] == pytest.approx(alone.mean[0, 0], rel=1e-5)


def test_prevalence_and_its_spread():
    label = (LENGTH > 6).astype(float)[:, None]
    for model in (Mean(), Neighbours()):
        prediction = model.fit(screen_of(label, "classification")).predict(screen_of(label).conditions)
        assert ((prediction.mean >= 0) & (prediction.mean <= 1)).all()
        assert (prediction.std > 0).all()
        assert (prediction.std <= 0.501).all()


def test_nearest_neighbour_is_the_row_itself():
    value = LENGTH[:, None] * 1.0
    model = Neighbours(NeighboursConfig(neighbours=1)).fit(screen_of(value))
    np.testing.assert_allclose(model.predict(screen_of(value).conditions).mean, value, rtol=1e-6)


def test_nothing_alike_gets_the_mean():
    model = Neighbours().fit(screen_of(LENGTH[:, None]))
    assert model.predict(pd.DataFrame({"smiles": ["[Au]"]})).mean[0, 0] == pytest.approx(LENGTH.mean(), rel=1e-6)


def test_one_row_and_constant_tasks():
    value = np.full((len(SMILES), 2), np.nan)
    value[3, 0], value[:, 1] = 4.0, 2.0
    for model in (Mean(), Neighbours()):
        prediction = model.fit(screen_of(value)).predict(screen_of(value).conditions)
        np.testing.assert_allclose(prediction.mean, [[4.0, 2.0]] * len(SMILES), rtol=1e-6)
        assert (prediction.std > 0).all()


@pytest.mark.parametrize("model", [Mean, Neighbours])
def test_saved_and_loaded_is_equal(model, tmp_path):
    screen = screen_of(np.column_stack([LENGTH, np.full(len(LENGTH), np.nan)]))
    fitted = model().fit(screen)
    fitted.save(tmp_path)
    loaded = model.load(tmp_path)
    np.testing.assert_array_equal(loaded.predict(screen.conditions).mean, fitted.predict(screen.conditions).mean)
    np.testing.assert_array_equal(loaded.leave_one_out()[1], fitted.leave_one_out()[1])


def test_nothing_measured_is_an_error():
    with pytest.raises(ModelError, match="nothing to learn"):
        Mean().fit(screen_of(np.full((len(SMILES), 1), np.nan)))
