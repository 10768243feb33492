"""The pooled process with a network: what the mixture is made of, and that it is kept whole."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from screenwise.errors import ConfigError, ModelError
from screenwise.models import load_model, save_model
from screenwise.models.multitask import MultiTaskConfig
from screenwise.models.pooled_network import PooledNetwork, PooledNetworkConfig
from screenwise.screen import make_screen

TAILS = ("O", "N", "Cl", "c1ccccc1", "C(=O)O", "S", "C#N")
SMILES = [("C" * length) + tail for length in range(1, 16) for tail in TAILS]
LENGTH = np.array([text.count("C") for text in SMILES], float)
QUICK = MultiTaskConfig(hidden=(32,), epochs=30, batch_size=32, minimum_count=1, threads=1)


def toy():
    rng = np.random.default_rng(0)
    value = LENGTH[:, None] / 4 + rng.normal(0, 0.2, (len(SMILES), 1))
    tasks = pd.DataFrame({"name": ["a", "a active"], "assay": "a", "target": "EGFR"})
    tasks["kind"] = ["regression", "classification"]
    return make_screen(pd.DataFrame({"smiles": SMILES}), np.hstack([value, value > np.median(value)]), tasks)


@pytest.fixture(scope="module")
def fitted():
    return PooledNetwork(PooledNetworkConfig(network=QUICK)).fit(toy())


def test_the_mixture_is_of_both_models(fitted):
    conditions = toy().conditions
    one, two = (model.predict(conditions) for model in (fitted.process_, fitted.network_))
    whole = fitted.predict(conditions)
    np.testing.assert_allclose(whole.mean[:, 0], 0.7 * one.mean[:, 0] + 0.3 * two.mean[:, 0], rtol=1e-5)
    # log odds are linear in those of both, the network counting half in deviations
    odds = [logit(each.mean[:, 1].astype(float).clip(1e-6, 1 - 1e-6)) for each in (whole, one, two)]
    fit, *_ = np.linalg.lstsq(np.column_stack([odds[1], odds[2], np.ones(len(SMILES))]), odds[0], rcond=None)
    spread = fitted.mixture_.spread[:, 1]
    assert fit[1] * spread[1] == pytest.approx(0.5 * fit[0] * spread[0], rel=0.02)


def test_one_compound_is_predicted_as_among_many(fitted):
    conditions = toy().conditions
    whole = fitted.predict(conditions)
    mean, std = fitted.predict_cells(conditions, np.array([5, 9]), np.array([1, 0]))
    np.testing.assert_allclose(mean, whole.mean[[5, 9], [1, 0]], rtol=1e-4)
    np.testing.assert_allclose(std, whole.std[[5, 9], [1, 0]], rtol=1e-4)


def test_calibration_cells_were_learned_by_neither(fitted, tmp_path):
    cells = fitted.calibration_cells()
    assert len(cells) == len(fitted.network_.calibration_cells())
    truth = toy().targets.dense()
    assert set(cells.value[cells.task == 0].round(4)) <= set(truth[:, 0].round(4))
    label = cells.task == 1
    assert cells.mean[label & (cells.value == 1)].mean() > cells.mean[label & (cells.value == 0)].mean() + 0.3


def test_kept_and_read_again(fitted, tmp_path):
    save_model(fitted, "gp_network", tmp_path / "model")
    again, conditions = load_model(tmp_path / "model"), toy().conditions
    np.testing.assert_array_equal(again.predict(conditions).mean, fitted.predict(conditions).mean)
    np.testing.assert_array_equal(again.calibration_cells().mean, fitted.calibration_cells().mean)


def test_a_cell_without_structure_has_no_answer(fitted):
    prediction = fitted.predict(pd.DataFrame({"smiles": ["CCO", "C1CC"]}))
    assert np.isfinite(prediction.mean[0]).all()
    assert np.isnan(prediction.mean[1]).all()
    assert prediction.note[1]


def test_what_cannot_be_done_is_said():
    with pytest.raises(ConfigError, match="value_share"):
        PooledNetworkConfig(value_share=2.0)
    with pytest.raises(ModelError, match="not fitted"):
        PooledNetwork().predict(pd.DataFrame({"smiles": ["CCO"]}))
