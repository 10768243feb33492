"""Doubt and disagreement against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy as dense_entropy

from screenwise.design.information import (
    PROBABILITY_SCORES,
    bald,
    bald_regression,
    check_probability,
    entropy,
    stochastic_score,
    two_classes,
)
from screenwise.design.picking import pick_top
from screenwise.errors import ConfigError, DataError


def classes(seed, members=6, size=40, count=3):
    return np.random.default_rng(seed).dirichlet(np.full(count, 0.4), size=(members, size))


def keys_of(size, seed=0):
    return np.random.default_rng(seed).integers(2**63, size=size).astype(np.uint64)


@pytest.fixture(params=list(PROBABILITY_SCORES))
def score(request):
    return PROBABILITY_SCORES[request.param]


def test_doubt_is_one_where_all_classes_are_alike_and_zero_where_one_is_sure(score):
    for count in (2, 3, 7):
        found = score(np.stack([np.full(count, 1 / count), np.eye(count)[0], np.eye(count)[-1]]))
        np.testing.assert_allclose(found, [1.0, 0.0, 0.0], atol=1e-12)


def test_doubt_equals_its_formula():
    one = classes(0)[0]
    ordered = np.sort(one, axis=1)
    expected = {
        "least_confidence": (1 - ordered[:, -1]) * 1.5,
        "margin": 1 - ordered[:, -1] + ordered[:, -2],
        "ratio": ordered[:, -2] / ordered[:, -1],
        "entropy": dense_entropy(one, axis=1) / np.log(3),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(PROBABILITY_SCORES[name](one), value, rtol=1e-9, atol=1e-12)


def test_doubts_are_bounded_finite_and_order_two_classes_alike(score):
    chance = np.concatenate([np.linspace(0, 1, 101), [1e-300, 1 - 1e-16]])
    found = score(two_classes(chance))
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-12
    assert (np.diff(found[:51]) >= 0).all()
    assert (np.diff(found[50:101]) <= 0).all()


def test_candidates_without_probabilities_score_lowest_and_wrong_ones_are_told(score):
    assert score(np.array([[np.nan, np.nan], [0.5, 0.5]])).tolist()[0] == -np.inf
    with pytest.raises(DataError, match=r"Candidate 1 .* sum to 1"):
        score(np.array([[0.5, 0.5], [0.5, 0.6]]))
    with pytest.raises(DataError, match="shape"):
        check_probability(np.ones((3, 1)))


@pytest.mark.parametrize("members", [1, 2, 6])
def test_bald_is_the_mutual_information_of_its_table(members):
    draws = classes(1, members)
    # I(y; member) from the joint table p(member, y), another way to the same number
    joint = draws / members
    product = joint.sum(axis=0, keepdims=True) / members
    expected = np.where(joint > 0, joint * np.log(joint / product), 0.0).sum(axis=(0, 2))
    np.testing.assert_allclose(bald(draws), expected, atol=1e-12)


def test_bald_is_not_entropy():
    coin, quarrel = np.full((4, 1, 2), 0.5), np.eye(2)[[0, 1, 0, 1]][:, None]
    draws = np.concatenate([coin, quarrel], axis=1)
    np.testing.assert_allclose(entropy(draws.mean(axis=0)), [1.0, 1.0])
    np.testing.assert_allclose(bald(draws), [0.0, np.log(2)], atol=1e-12)
    unknown = draws.copy()
    unknown[:, 0] = np.nan
    assert bald(unknown)[0] == -np.inf
    with pytest.raises(DataError, match="members"):
        bald(draws[0])


def test_bald_of_a_regression_is_gaussian_information():
    variance, noise = np.array([0.0, 1.0, 4.0, np.nan]), np.array([0.5, 0.5, 8.0, 1.0])
    found = bald_regression(variance, noise)
    np.testing.assert_allclose(found[:3], 0.5 * np.log((variance + noise)[:3] / noise[:3]))
    assert found[3] == -np.inf
    with pytest.raises(DataError, match="above 0"):
        bald_regression(variance, 0.0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 39))
def test_order_and_chunks_change_no_score(seed, cut):
    draws, order = classes(seed), np.random.default_rng(seed).permutation(40)
    whole = bald(draws)
    np.testing.assert_array_equal(bald(draws[:, order]), whole[order])
    np.testing.assert_array_equal(np.concatenate([bald(draws[:, :cut]), bald(draws[:, cut:])]), whole)
    for score in PROBABILITY_SCORES.values():
        whole = score(draws[0])
        np.testing.assert_array_equal(score(draws[0][order]), whole[order])
        np.testing.assert_array_equal(np.concatenate([score(draws[0][:cut]), score(draws[0][cut:])]), whole)


@pytest.mark.parametrize(
    ("kind", "weights"), [("power", [1, 2, 5]), ("soft", np.exp([1, 2, 5])), ("rank", [1 / 3, 1 / 2, 1])]
)
def test_disturbed_scores_draw_by_their_weights(kind, weights):
    share = np.asarray(weights, float) / np.sum(weights)
    found = np.zeros(3)
    for seed in range(4000):
        found[pick_top(stochastic_score(np.array([1.0, 2.0, 5.0]), keys_of(3, seed), kind), 1, keys_of(3))[0]] += 1
    np.testing.assert_allclose(found / 4000, share, atol=0.03)


def test_disturbed_scores_freeze_and_know_their_limits():
    score, keys = np.array([3.0, 1.0, 2.0, 0.0, np.nan]), keys_of(5)
    assert pick_top(stochastic_score(score, keys, "soft", coldness=1e9), 3, keys).tolist() == [0, 2, 1]
    assert np.isneginf(stochastic_score(score, keys)[3:]).all()
    assert np.isneginf(stochastic_score(score, keys, "rank")).tolist() == [False] * 4 + [True]
    order = np.random.default_rng(0).permutation(5)
    for kind in ("power", "soft", "rank"):
        np.testing.assert_array_equal(
            stochastic_score(score[order], keys[order], kind), stochastic_score(score, keys, kind)[order]
        )
    with pytest.raises(ConfigError, match="coldness"):
        stochastic_score(score, keys, coldness=0.0)
    with pytest.raises(ConfigError, match="no kind"):
        stochastic_score(score, keys, "hard")
