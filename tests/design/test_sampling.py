"""Drawn functions: what is picked from them, and that they are the posterior's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.design.process import RbfProcess
from screenwise.design.sampling import (
    draw_functions,
    draw_paths,
    hit_probability,
    pick_thompson,
    probability_of_optimality,
)
from screenwise.errors import ConfigError


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
    posterior = Toy()
    draws = draw_functions(posterior, np.arange(6), 40_000, np.random.default_rng(0))
    np.testing.assert_allclose(draws.mean(axis=0), posterior.mean[:6], atol=0.03)
    np.testing.assert_allclose(np.cov(draws.T), posterior.full[:6, :6], atol=0.03)


class Toy:
    """A joint posterior of 6 candidates."""

    def __init__(self):
        root = np.random.default_rng(0).normal(size=(6, 3))
        self.full = root @ root.T / 6 + 0.01 * np.eye(6)
        self.mean, self.variance, self.noise = np.arange(6.0), np.diagonal(self.full), 0.3

    def covariance(self, candidate):
        return self.full[candidate].copy()


def exact(process, measured, target, features):
    def kernel(a, b):
        gap = ((a[:, None] - b[None]) ** 2).sum(-1)
        return process.variance * np.exp(-0.5 * gap / process.length**2)

    inverse = np.linalg.inv(kernel(measured, measured) + process.noise * np.eye(len(measured)))
    cross = kernel(features, measured)
    return cross @ inverse @ target, kernel(features, features) - cross @ inverse @ cross.T


def test_paths_have_the_moments_of_the_exact_posterior():
    rng = np.random.default_rng(1)
    measured, features = rng.normal(size=(12, 3)), rng.normal(size=(9, 3))
    target, process = np.sin(measured[:, 0]), RbfProcess(1.3, 1.5, 0.05)
    draws = draw_paths(process, measured, target, 5_000, rng, waves=2048).at(features)
    mean, covariance = exact(process, measured, target, features)
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.05)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.1)


def test_paths_are_the_same_functions_on_any_chunk_in_any_order():
    rng = np.random.default_rng(2)
    measured, features = rng.normal(size=(40, 8)).astype("f4"), rng.normal(size=(2500, 8)).astype("f4")
    paths = draw_paths(RbfProcess(2.0), measured, measured[:, 0], 5, np.random.default_rng(3), waves=64)
    whole = paths.at(features)
    order = rng.permutation(2500)
    np.testing.assert_array_equal(paths.at(features[order]), whole[:, order])
    chunks = [paths.at(features[first : first + 700]) for first in range(0, 2500, 700)]
    np.testing.assert_array_equal(np.concatenate(chunks, axis=1), whole)
    again = draw_paths(RbfProcess(2.0), measured, measured[:, 0], 5, np.random.default_rng(3), waves=64)
    np.testing.assert_array_equal(again.at(features), whole)


def test_paths_without_measured_rows_are_the_prior_s():
    features = np.random.default_rng(0).normal(size=(5, 2))
    draws = draw_paths(RbfProcess(1.0, 2.0), np.empty((0, 2)), np.empty(0), 5_000, np.random.default_rng(1)).at(
        features
    )
    np.testing.assert_allclose(draws.var(axis=0), 2.0, rtol=0.1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 5))
def test_scores_of_draws_are_counts_in_any_order(seed, count, top):
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, 6, (count, 12)).astype(float)
    score = probability_of_optimality(draws, top=top)
    expected = np.zeros(12)
    for draw in draws:
        for row in range(12):
            above, level = (draw > draw[row]).sum(), (draw == draw[row]).sum()
            expected[row] += np.clip((top - above) / level, 0, 1) / count
    np.testing.assert_allclose(score, expected)
    order, keys = rng.permutation(12), rng.integers(2**63, size=12).astype(np.uint64)
    np.testing.assert_array_equal(probability_of_optimality(draws[:, order], top=top), score[order])
    np.testing.assert_array_equal(hit_probability(draws, 3.0), (draws > 3).mean(axis=0))
    there = pick_thompson(draws, 7, keys)
    assert there.tolist() == order[pick_thompson(draws[:, order], 7, keys[order])].tolist()


def test_missing_draws_score_lowest():
    draws = np.array([[1.0, np.nan, 0.0], [0.0, 1.0, 2.0]])
    assert probability_of_optimality(draws).tolist() == [0.5, -np.inf, 0.5]
    assert hit_probability(draws, 0.5).tolist() == [0.5, -np.inf, 0.5]
    assert probability_of_optimality(draws[:, 1:2]).tolist() == [-np.inf]
    with pytest.raises(ConfigError, match="top is 0"):
        probability_of_optimality(draws, top=0)
