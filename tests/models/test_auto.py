import math

import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ModelError
from screenwise.models import MODELS
from screenwise.models.auto import CANDIDATES, Auto, AutoConfig
from screenwise.models.pooled import PooledProcessConfig
from screenwise.screen import Targets, make_screen

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
        held_out_ids_ = np.empty(0, str)

        def fit(self, screen, **_):
            return self

    monkeypatch.setattr("screenwise.models.make_model", lambda name: asked.append(name) or Network())
    model = Auto(AutoConfig(most_rows=10)).fit(screen_of(LENGTH[:, None]))
    assert asked == ["multitask"]
    assert model.choice_ == "multitask"
    assert "60 measured rows" in model.reason_
    assert "minutes" in Auto(AutoConfig(most_work=10.0)).fit(screen_of(LENGTH[:, None])).reason_


def test_the_network_is_left_where_its_held_out_rows_speak_for_a_simpler_model(tmp_path):
    value = np.random.default_rng(4).normal(size=(len(SMILES), 2))
    screen = screen_of(value)
    model = Auto(AutoConfig(most_rows=10)).fit(screen)
    relative = model.evidence_.groupby("model")["relative"].mean()
    assert set(relative.index) == {"multitask", "ridge", "mean"}
    assert model.evidence_["rows"].max() <= math.ceil(len(SMILES) / 10)
    kept = relative["multitask"] <= relative.min() / (1 - model.config.margin)
    assert model.choice_ == ("multitask" if kept else relative.idxmin())
    assert "held-out error" in model.reason_
    model.save(tmp_path)
    assert Auto.load(tmp_path).choice_ == model.choice_


@pytest.mark.parametrize("least", [{"most_simple_tasks": 1}, {"most_simple_rows": 10}])
def test_the_network_is_not_compared_where_ridge_would_cost_too_much(least):
    value = np.random.default_rng(4).normal(size=(len(SMILES), 2))
    few = Auto(AutoConfig(most_rows=10, **least)).fit(screen_of(value))
    assert few.choice_ == "multitask"
    assert few.evidence_.empty


def test_choices_are_registered_models():

    assert set(CANDIDATES) <= set(MODELS)


def test_unfitted_is_an_error():
    with pytest.raises(ModelError, match="not fitted"):
        Auto().predict(pd.DataFrame({"smiles": ["CCO"]}))


def targets_screen(target):
    """Six assays that each measured the same quantity of ten compounds; the label of the last runs against it."""
    rng = np.random.default_rng(0)
    value = np.full((len(SMILES), 6), np.nan)
    value[rng.permutation(len(SMILES)), np.arange(len(SMILES)) % 6] = 0.0
    value += np.sin(LENGTH / 2)[:, None] + np.arange(6) + rng.normal(0, 0.3, value.shape)
    label = np.where(np.isnan(value), np.nan, value > np.nanmedian(value, axis=0))
    label[:, 5] = 1 - label[:, 5]
    names = [f"a{place}" for place in range(6)]
    tasks = pd.DataFrame({"name": [*names, *(f"{name} active" for name in names)], "assay": names * 2})
    tasks = tasks.assign(target=target, kind=np.repeat(["regression", "classification"], 6))
    return make_screen(pd.DataFrame({"smiles": SMILES}), np.hstack([value, label]), tasks)


def test_targets_of_tasks_bring_the_pooled_process_and_its_evidence(tmp_path):
    screen = targets_screen("EGFR")
    model = Auto().fit(screen)
    assert model.choice_ == "pooled_gp"
    assert set(model.evidence_["model"]) == {"pooled_gp", "gp", "ridge", "mean"}
    assert "names the target" in model.reason_
    assert "1 of 6 labels run against their values" in model.reason_
    model.save(tmp_path)
    np.testing.assert_array_equal(
        Auto.load(tmp_path).predict(screen.conditions).mean, model.predict(screen.conditions).mean
    )


def test_the_pooled_process_is_left_where_its_own_evidence_is_worse():
    config = AutoConfig(pooled=PooledProcessConfig(noise=50.0))
    model = Auto(config).fit(targets_screen("EGFR"))
    relative = model.evidence_.groupby("model")["relative"].mean()
    assert model.choice_ == relative.idxmin() != "pooled_gp"


def test_a_constant_task_is_no_evidence():
    value = np.stack([np.sin(LENGTH / 2), np.ones(len(LENGTH))], 1)
    model = Auto().fit(screen_of(value))
    assert model.evidence_["task"].nunique() == 1
    assert "mean 1.000" in model.reason_
    assert set(Auto().fit(screen_of(value[:, 1:])).evidence_["relative"]) == {0.0}


def test_without_targets_nothing_is_pooled():
    assert Auto().fit(targets_screen("")).choice_ != "pooled_gp"


def test_errors_are_of_exact_values():
    screen = targets_screen("EGFR").take_tasks([0])
    value = screen.targets.dense().copy()
    relation = np.zeros(value.shape, np.int8)
    value[LENGTH > 12], relation[LENGTH > 12] = 100.0, -1
    value[np.isnan(screen.targets.dense())] = np.nan
    model = Auto().fit(make_screen(screen.conditions[["smiles"]], Targets(value, relation), ["a"]))
    known = value[np.isfinite(value)].astype(float)
    others = (known.sum() - known) / (len(known) - 1)
    expected = np.sqrt(np.mean((others - known)[known < 100] ** 2))
    assert model.evidence_.set_index("model").loc["mean", "loo_rmse"] == pytest.approx(expected, rel=1e-5)
