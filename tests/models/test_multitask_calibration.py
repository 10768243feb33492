import numpy as np
import pytest

from screenwise.models.multitask_calibration import Calibration, _noise, _temperature


def test_noise_is_shrunk_to_that_of_all_tasks():
    rng = np.random.default_rng(0)
    task = np.repeat([0, 1], [2000, 2])
    residual = np.where(task == 0, rng.normal(0, 1, 2002), 10.0)
    noise = _noise(residual, np.zeros(2002), task, 3)
    assert noise[0] == pytest.approx(1.0, abs=0.05)
    assert 1.5 < noise[1] < 6
    assert noise[2] == pytest.approx(np.sqrt(np.mean(residual**2)), rel=1e-6)


def test_spread_and_noise_add_up_to_the_residuals():
    rng = np.random.default_rng(1)
    members = rng.normal(0, 0.5, (5, 4000)).astype(np.float32)
    truth = rng.normal(0, 1, 4000)
    residual = members.mean(axis=0) - truth
    task = np.zeros(4000, int)
    noise = _noise(residual, members.var(axis=0, ddof=1).astype(float), task, 1)
    std = Calibration(noise, 1.0, 1.0, 0.0).std(members, task)
    assert np.mean(std**2) == pytest.approx(np.mean(residual**2), rel=1e-3)


def test_temperature_undoes_overconfidence():
    rng = np.random.default_rng(2)
    logit = rng.normal(0, 1, 20_000)
    label = (rng.random(20_000) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    assert _temperature((3 * logit)[None].astype(np.float32), label) == pytest.approx(3.0, rel=0.1)
    assert _temperature(np.zeros((1, 3), np.float32), label[:3]) == 1.0
