"""Scores of candidates and the picking of batches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from screenwise.design.acquisition import (
    ACQUISITIONS,
    draw_functions,
    expected_improvement,
    log_expected_improvement,
    pick_batch_ucb,
    pick_thompson,
    pick_top,
    probability_of_hit,
    tie_keys,
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


class Toy:
    """The exact posterior of a random pool, from dense linear algebra."""

    def __init__(self, size=30, seed=0, noise=0.3):
        rng = np.random.default_rng(seed)
        root = rng.normal(size=(size, size // 2))
        self.full = root @ root.T / size + 0.01 * np.eye(size)
        self.mean = rng.normal(size=size)
        self.variance = np.diagonal(self.full).copy()
        self.noise = noise

    def covariance(self, candidate):
        return self.full[candidate].copy()


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


@pytest.mark.parametrize("name", ["ucb", "ei", "probability_of_hit", "thompson"])
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


def test_ties_are_settled_by_conditions_and_not_by_place():
    ids = np.array([f"c{place}" for place in range(500)], object)
    order = np.random.default_rng(0).permutation(500)
    keys = tie_keys(ids, np.random.default_rng(1))
    there = ids[pick_top(np.zeros(500), 40, keys)]
    back = ids[order][pick_top(np.zeros(500), 40, tie_keys(ids[order], np.random.default_rng(1)))]
    assert there.tolist() == back.tolist()
    places = [pick_top(np.zeros(500), 40, tie_keys(ids, np.random.default_rng(seed))).mean() for seed in range(100)]
    assert abs(np.mean(places) - 249.5) < 15


def test_pick_top_keeps_masks_rules_and_what_must_be_in():
    keys = np.arange(6, dtype=np.uint64)
    values = np.array([5.0, 4.0, 3.0, 2.0, 1.0, -np.inf])
    assert pick_top(values, 3, keys).tolist() == [0, 1, 2]
    assert pick_top(values, 3, keys, allowed=np.array([0, 1, 0, 1, 1, 1], bool)).tolist() == [1, 3, 4]
    assert pick_top(values, 3, keys, first=(4,)).tolist() == [4, 0, 1]
    assert pick_top(values, 9, keys).tolist() == [0, 1, 2, 3, 4]

    def one_apart(picks):
        mask = np.ones(6, bool)
        for pick in picks:
            mask[max(0, pick - 1) : pick + 2] = False
        return mask

    assert pick_top(values, 9, keys, allowed=one_apart, first=(1,)).tolist() == [1, 3]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 3.0), st.integers(1, 12))
def test_batch_ucb_is_that_of_dense_conditioning(seed, kappa, size):
    posterior = Toy(seed=seed)
    picks = pick_batch_ucb(posterior, size, kappa)
    covariance, left = posterior.full.copy(), np.ones(30, bool)
    for pick in picks:
        bound = posterior.mean + kappa * np.sqrt(np.maximum(np.diagonal(covariance), 0))
        assert left[pick]
        assert bound[pick] >= bound[left].max() - 1e-4
        column = covariance[pick]
        covariance = covariance - np.outer(column, column) / (covariance[pick, pick] + posterior.noise)
        left[pick] = False
    assert len(picks) == size


def test_batch_ucb_without_kappa_is_greedy_and_with_it_avoids_twins():
    posterior = Toy()
    posterior.mean[:] = 0.0
    twins = np.ones((30, 30))
    posterior.full = np.where(np.arange(30)[:, None] // 15 == np.arange(30) // 15, twins, 0.0)
    posterior.variance, posterior.noise = np.ones(30), 0.01
    keys = np.arange(30, dtype=np.uint64)
    assert pick_batch_ucb(posterior, 3, 0.0, keys=keys).tolist() == [0, 1, 2]
    assert pick_batch_ucb(posterior, 2, 1.0, keys=keys).tolist() == [0, 15]


def test_batch_ucb_never_picks_unknown_candidates_and_keeps_the_rules():
    posterior = Toy()
    posterior.mean[:3] = np.nan
    posterior.variance[3] = np.nan
    allowed = np.ones(30, bool)
    allowed[4] = False
    picks = pick_batch_ucb(posterior, 40, 1.0, allowed, first=[7])
    assert picks[0] == 7
    assert sorted(picks.tolist()) == list(range(5, 30))
    assert set(pick_batch_ucb(posterior, 2, 1.0, lambda picks: np.arange(30) == 9 + len(picks)).tolist()) == {9, 10}
    assert pick_batch_ucb(posterior, 3, 1.0, np.zeros(30, bool)).tolist() == []


def test_a_pool_of_fifty_thousand_is_quick():
    import time  # noqa: PLC0415

    rng = np.random.default_rng(0)
    posterior = Toy(4)
    posterior.mean, posterior.variance = rng.normal(size=50_000), rng.uniform(0.1, 1, 50_000)
    common = np.sqrt(0.5 * posterior.variance).astype(np.float32)
    posterior.covariance = lambda candidate: common * common[candidate]
    began = time.process_time()
    assert len(np.unique(pick_batch_ucb(posterior, 100, 1.0))) == 100
    assert time.process_time() - began < 3


def test_thompson_slots_take_the_best_left_of_their_own_function():
    draws = np.random.default_rng(0).normal(size=(5, 40))
    draws[2, 7] = np.nan
    picks = pick_thompson(draws, 12, np.arange(40, dtype=np.uint64))
    assert len(set(picks.tolist())) == 12
    assert 7 not in picks
    for slot, pick in enumerate(picks):
        left = np.setdiff1d(np.arange(40), [7, *picks[:slot]])
        assert draws[slot % 5, pick] == draws[slot % 5, left].max()


def test_drawn_functions_have_the_posterior_s_moments():
    posterior = Toy(8)
    draws = draw_functions(posterior, np.arange(6), 40_000, np.random.default_rng(0))
    np.testing.assert_allclose(draws.mean(axis=0), posterior.mean[:6], atol=0.03)
    np.testing.assert_allclose(np.cov(draws.T), posterior.full[:6, :6], atol=0.03)


def test_ucb_weighs_the_spread():
    assert ucb(prediction([1.0, 0.0], [0.0, 3.0]), kappa=0.5).tolist() == [1.0, 1.5]
