import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ModelError
from screenwise.models import MODELS
from screenwise.models.auto import CANDIDATES, Auto, AutoConfig
from screenwise.screen import make_screen

SMILES = [("C" * length) + tail for length in range(1, 16) for tail in ("O", "N", "Cl", "c1ccccc1")]
LENGTH = np.array([text.count("C") for text in SMILES], float)


def screen_of(value, names=None):
    return make_screen(pd.DataFrame({"smiles": SMILES}), value, names or [f"t{p}" for p in range(value.shape[1])])


@pytest.fixture(scope="module")
def fitted():
    value = np.column_stack([np.sin(LENGTH / 3), LENGTH / 5, np.full(len(LENGTH), np.nan)])
    value[::3, 1] = np.nan
    return Auto().fit(screen_of(value))


def test_takes_the_process_where_it_learns_and_says_so(fitted):
    assert fitted.choice_ == "gp"
    assert fitted.reason_.startswith("gp: ")
    assert set(fitted.evidence_["model"]) == {"gp", "ridge", "mean"}
    assert set(fitted.evidence_["task"]) == {"t0", "t1"}
    assert (fitted.evidence_.loc[fitted.evidence_["model"] == "gp", "relative"] < 0.6).all()


def test_delegates(fitted):
    conditions = screen_of(LENGTH[:, None]).conditions
    whole = fitted.predict(conditions)
    mean, std, _ = fitted.predict_cells(conditions, np.array([4]), np.array([1]))
    assert mean[0] == pytest.approx(whole.mean[4, 1], rel=1e-5)
    assert std[0] == pytest.approx(whole.std[4, 1], rel=1e-4)
    assert fitted.posterior(conditions, 0).mean.shape == (len(SMILES),)
    assert fitted.leave_one_out()[0].shape == (len(SMILES), 3)
    assert fitted.evidence()["task"] == ["t0", "t1"]
    assert not fitted.without_borrowing().model_.config.borrow


def test_saved_and_loaded_is_equal(fitted, tmp_path):
    fitted.save(tmp_path)
    loaded = Auto.load(tmp_path)
    conditions = screen_of(LENGTH[:, None]).conditions
    np.testing.assert_array_equal(loaded.predict(conditions).mean, fitted.predict(conditions).mean)
    assert loaded.reason_ == fitted.reason_
    assert loaded.config == fitted.config
    pd.testing.assert_frame_equal(loaded.evidence_, fitted.evidence_)


def test_noise_gets_the_mean():
    value = np.random.default_rng(0).normal(size=(len(SMILES), 1))
    model = Auto(AutoConfig(margin=0.0)).fit(screen_of(value))
    relative = model.evidence_.set_index("model")["relative"]
    assert model.choice_ == relative.idxmin()
    if model.choice_ == "mean":
        with pytest.raises(ModelError, match="posterior"):
            model.posterior(screen_of(value).conditions)


def test_size_speaks_for_the_network(monkeypatch):
    asked = []

    class Network:
        def fit(self, screen, **_):
            return self

    monkeypatch.setattr("screenwise.models.make_model", lambda name: asked.append(name) or Network())
    model = Auto(AutoConfig(most_rows=10)).fit(screen_of(LENGTH[:, None]))
    assert asked == ["multitask"]
    assert model.choice_ == "multitask"
    assert "60 measured rows" in model.reason_
    assert "minutes" in Auto(AutoConfig(most_work=10.0)).fit(screen_of(LENGTH[:, None])).reason_


def test_choices_are_registered_models():

    assert set(CANDIDATES) <= set(MODELS)


def test_unfitted_is_an_error():
    with pytest.raises(ModelError, match="not fitted"):
        Auto().predict(pd.DataFrame({"smiles": ["CCO"]}))
