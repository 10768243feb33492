"""Batches from a joint posterior against dense linear algebra."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.design.batch import (
    LinearPosterior,
    bait,
    pick_batch_ucb,
    pick_maxdet,
    pick_variance_reduction,
)
from screenwise.errors import ConfigError


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


def keys_of(size, seed=0):
    return np.random.default_rng(seed).integers(2**63, size=size).astype(np.uint64)


def conditioned(covariance, picks, noise):
    for pick in picks:
        column = covariance[pick]
        covariance = covariance - np.outer(column, column) / (covariance[pick, pick] + noise)
    return covariance


@pytest.mark.parametrize("seed", range(5))
def test_maxdet_takes_the_largest_determinant_one_by_one(seed):
    posterior = Toy(seed=seed)
    picks = pick_maxdet(posterior, 8, keys_of(30))
    for step in range(8):
        volumes = {
            row: np.linalg.slogdet(posterior.full[np.ix_(rows, rows)] + posterior.noise * np.eye(len(rows)))[1]
            for row in range(30)
            if row not in picks[:step]
            for rows in [[*picks[:step], row]]
        }
        assert volumes[picks[step]] == pytest.approx(max(volumes.values()), abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_variance_reduction_takes_the_largest_fall_of_the_targets_variances(seed):
    posterior, targets = Toy(seed=seed), [0, 3, 11, 28]
    picks = pick_variance_reduction(posterior, 6, keys_of(30), targets=targets)
    for step in range(6):
        before = conditioned(posterior.full, picks[:step], posterior.noise)
        fall = {
            row: np.trace((before - conditioned(before, [row], posterior.noise))[np.ix_(targets, targets)])
            for row in range(30)
            if row not in picks[:step]
        }
        assert fall[picks[step]] == pytest.approx(max(fall.values()), rel=1e-4)


def test_linear_posterior_is_bayesian_regression():
    rng = np.random.default_rng(0)
    features, measured = rng.normal(size=(20, 4)), rng.normal(size=(7, 4))
    posterior = LinearPosterior.of(features, measured=measured, noise=0.3, prior=2.0)
    dense = features @ np.linalg.inv(np.eye(4) / 2.0 + measured.T @ measured / 0.3) @ features.T
    np.testing.assert_allclose(posterior.variance, np.diagonal(dense), rtol=1e-4)
    np.testing.assert_allclose(np.stack([posterior.covariance(row) for row in range(20)]), dense, atol=1e-4)
    with pytest.raises(ConfigError, match="noise is 0"):
        LinearPosterior.of(features, noise=0.0)


@pytest.mark.parametrize("seed", range(4))
def test_bait_lowers_the_whole_pool_s_variance_most(seed):
    rng = np.random.default_rng(seed)
    posterior = LinearPosterior.of(rng.normal(size=(40, 5)), noise=0.5)
    dense = np.stack([posterior.covariance(row) for row in range(40)])
    picks = bait(posterior, 7, keys_of(40))
    for step in range(7):
        before = conditioned(dense, picks[:step], 0.5)
        left = {row: np.trace(conditioned(before, [row], 0.5)) for row in range(40) if row not in picks[:step]}
        assert left[picks[step]] == pytest.approx(min(left.values()), rel=1e-5)
    assert picks.tolist() == pick_variance_reduction(posterior, 7, keys_of(40), targets=range(40)).tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(20, 90), st.booleans())
def test_the_order_of_candidates_changes_no_batch_even_among_twins(seed, size, forced):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(size, 6))
    features[size // 2 :] = features[: size - size // 2]
    keys, order, mask = keys_of(size, seed), rng.permutation(size), rng.random(size) < 0.9
    place = np.argsort(order)
    first = [3] if forced else []
    for pick in (pick_maxdet, pick_variance_reduction, bait, by_bound):
        here, there = LinearPosterior.of(features, noise=0.3), LinearPosterior.of(features[order], noise=0.3)
        rows = pick(here, 10, keys, allowed=mask, first=first)
        again = order[pick(there, 10, keys[order], allowed=mask[order], first=[int(place[one]) for one in first])]
        assert rows.tolist() == again.tolist()
        assert len(set(rows.tolist())) == 10


def by_bound(posterior, size, keys, *, allowed, first):
    posterior.mean = posterior.variance.round(1)
    return pick_batch_ucb(posterior, size, 1.0, allowed, keys=keys, first=first)


def test_unknown_candidates_are_never_picked_and_rules_hold():
    posterior = Toy()
    posterior.variance[3] = np.nan
    for pick in (pick_maxdet, pick_variance_reduction):
        rows = pick(posterior, 40, keys_of(30), allowed=np.arange(30) != 4, first=[7])
        assert rows[0] == 7
        assert sorted(rows.tolist()) == [row for row in range(30) if row not in (3, 4)]
