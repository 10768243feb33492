"""Scores of a prediction against integrals and closed forms."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from screenwise.design.acquisition import (
    ACQUISITIONS,
    OVER_INCUMBENT,
    expected_improvement,
    log_expected_improvement,
    pick_top,
    probability_of_hit,
    probability_of_improvement,
    standard_deviation,
    ucb,
)
from screenwise.errors import DataError
from screenwise.prediction import Prediction


def prediction(mean, std=None, draws=None):
    mean = np.asarray(mean, np.float32)[:, None]
    std = None if std is None else np.broadcast_to(np.asarray(std, np.float32), len(mean))[:, None].copy()
    return Prediction(mean, std, draws)


def toy(size=60, seed=0):
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=size)
    return prediction(mean, rng.uniform(0.1, 2, size), rng.normal(size=(8, size, 1)).astype(np.float32) + mean[:, None])


@pytest.fixture(params=list(ACQUISITIONS))
def acquisition(request):
    return ACQUISITIONS[request.param]


def score(acquisition, asked, seed=3):
    return acquisition(asked, best=0.5, rng=np.random.default_rng(seed))


def test_every_acquisition_is_finite_and_has_the_shape(acquisition):
    for mean in ([0.0, 1e6, -1e6], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]):
        for std in (0.0, 1e-30, 1e-6, 1.0, 1e6):
            found = score(acquisition, prediction(mean, std))
            assert found.shape == (3,)
            assert np.isfinite(found).all()


def test_every_acquisition_is_monotone_in_the_mean_at_equal_spread(acquisition):
    mean = np.sort(np.random.default_rng(0).normal(size=200) * 3)
    found = score(acquisition, prediction(mean, 0.7))
    assert (np.diff(found) >= 0).all()


def test_every_acquisition_is_free_of_order_and_of_chunks(acquisition):
    asked = toy()
    order = np.random.default_rng(1).permutation(60)
    whole = score(acquisition, asked)
    np.testing.assert_array_equal(score(acquisition, asked.take(order)), whole[order])
    if asked.draws is None or acquisition is not ACQUISITIONS["thompson"]:
        halves = [score(acquisition, asked.take(part)) for part in (slice(0, 25), slice(25, 60))]
        np.testing.assert_allclose(np.concatenate(halves), whole)


def test_thompson_without_draws_is_free_of_order_and_chunks_and_really_random():
    asked = Prediction(toy().mean, toy().std)
    whole = score(ACQUISITIONS["thompson"], asked)
    halves = [score(ACQUISITIONS["thompson"], asked.take(part)) for part in (slice(0, 25), slice(25, 60))]
    np.testing.assert_array_equal(np.concatenate(halves), whole)
    many = np.array([score(ACQUISITIONS["thompson"], asked, seed) for seed in range(400)])
    np.testing.assert_allclose(many.mean(axis=0), asked.mean[:, 0], atol=0.45)
    np.testing.assert_allclose(many.std(axis=0), asked.std[:, 0], rtol=0.25)
    assert abs(np.corrcoef(many[:, 0], many[:, 1])[0, 1]) < 0.2


def test_missing_predictions_score_lowest_and_are_never_picked(acquisition):
    asked = prediction([np.nan, 0.0, 1.0], [1.0, 1.0, np.nan])
    found = score(acquisition, asked)
    assert found[[0, 2]].tolist() == [-np.inf, -np.inf]
    assert pick_top(found, 3, np.arange(3, dtype=np.uint64)).tolist() == [1]


@pytest.mark.parametrize("name", [name for name in ACQUISITIONS if name not in ("random", "greedy", "log_ei")])
def test_no_spread_is_an_error_that_names_the_acquisition(name):
    with pytest.raises(DataError, match=name):
        score(ACQUISITIONS[name], prediction([0.0, 1.0]))


def test_several_tasks_are_refused():
    with pytest.raises(DataError, match="one task"):
        ACQUISITIONS["greedy"](Prediction(np.zeros((2, 2), np.float32)), best=0.0, rng=np.random.default_rng(0))


@pytest.mark.parametrize("best", [-1.0, 0.0, 3.0])
@pytest.mark.parametrize("std", [0.3, 1.0, 2.5])
def test_expected_improvement_is_its_integral(best, std):
    mean = 0.4
    integral = quad(lambda y: (y - best) * norm.pdf(y, mean, std), best, mean + 12 * std + abs(best))[0]
    asked = Prediction(np.full((1, 1), mean, np.float64), np.full((1, 1), std, np.float64))
    assert expected_improvement(asked, best=best)[0] == pytest.approx(integral, rel=1e-6)
    assert probability_of_hit(asked, best=best)[0] == pytest.approx(norm.sf(best, mean, std), rel=1e-9)


def test_log_expected_improvement_is_smooth_where_its_forms_meet():
    z = np.concatenate([np.linspace(-60, 3, 2001), [-50.0, -50.0001, -1.0, -1.0001]])
    found = log_expected_improvement(Prediction(z[:, None], np.ones((len(z), 1))), best=0.0)
    order = np.argsort(z)
    assert (np.diff(found[order]) >= 0).all()
    np.testing.assert_allclose(np.exp(found[z > -6]), (norm.pdf(z) + z * norm.cdf(z))[z > -6], rtol=1e-5)


def test_ucb_weighs_the_spread():
    assert ucb(prediction([1.0, 0.0], [0.0, 3.0]), kappa=0.5).tolist() == [1.0, 1.5]


@pytest.mark.parametrize("best", [-1.0, 0.0, 3.0])
def test_improvements_read_the_incumbent(best):
    asked = toy()
    mean, std = asked.mean[:, 0].astype(float), asked.std[:, 0].astype(float)
    z = (mean - best) / std
    np.testing.assert_allclose(expected_improvement(asked, best=best), (mean - best) * norm.cdf(z) + std * norm.pdf(z))
    np.testing.assert_allclose(probability_of_improvement(asked, best=best), norm.logcdf(z), rtol=1e-9)
    np.testing.assert_allclose(probability_of_hit(asked, best=best), norm.sf(best, mean, std), rtol=1e-9)


def test_far_below_the_incumbent_logarithms_still_order_candidates():
    asked = prediction([-100.0, -99.0, -98.0], 1.0)
    for name in ("log_ei", "pi"):
        found = score(ACQUISITIONS[name], asked)
        assert np.isfinite(found).all()
        assert (np.diff(found) > 0).all()
    assert set(OVER_INCUMBENT) < set(ACQUISITIONS)


def test_the_standard_deviation_ignores_means():
    assert standard_deviation(prediction([5.0, 0.0], [1.0, 2.0])).tolist() == [1.0, 2.0]
