"""Covers, BADGE and LCMD against brute force, and their promises."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.design.diversity import badge, k_center, k_center_similarity, largest_cluster, relative_distance
from screenwise.errors import DataError


def keys_of(size, seed=0):
    return np.random.default_rng(seed).permutation(size).astype(np.uint64)


def brute(features, size, keys, measured=None):
    everything = np.sqrt(((features[:, None] - features[None]) ** 2).sum(-1))
    nearest = np.full(len(features), np.inf)
    if measured is not None:
        nearest = np.sqrt(((features[:, None] - measured[None]) ** 2).sum(-1)).min(axis=1)
    picks = []
    for _ in range(size):
        free = np.setdiff1d(np.arange(len(features)), picks)
        far = free[np.isclose(nearest[free], nearest[free].max(), rtol=1e-6)] if picks or measured is not None else free
        picks.append(int(far[np.argmin(keys[far])]))
        nearest = np.minimum(nearest, everything[picks[-1]])
    return picks, nearest.max()


@pytest.mark.parametrize("measured", [None, 1, 40])
def test_equals_brute_force(measured):
    rng = np.random.default_rng(3)
    features, keys = rng.normal(size=(300, 7)), keys_of(300)
    known = None if measured is None else rng.normal(size=(measured, 7))
    picks, radius = brute(features, 25, keys, known)
    cover = k_center(features, 25, keys, measured=known)
    assert cover.rows.tolist() == picks
    assert cover.left == pytest.approx(radius, rel=1e-4)
    assert (np.diff(cover.radius[1:]) <= 1e-6).all()


def test_the_first_pick_belongs_to_a_condition_and_not_to_a_place():
    features, keys = np.random.default_rng(0).normal(size=(50, 3)), keys_of(50, 1)
    order = np.random.default_rng(1).permutation(50)
    there = k_center(features, 8, keys).rows
    back = order[k_center(features[order], 8, keys[order]).rows]
    assert there.tolist() == back.tolist()


def test_similarities_give_the_same_picks():
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(80, 5))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    keys = keys_of(80)
    # 1 - cosine of unit rows is half their squared distance: the same order
    cover = k_center_similarity(lambda row: unit @ unit[row], 12, keys, nearest=unit @ unit[0])
    assert cover.rows.tolist() == k_center(unit, 12, keys, measured=unit[:1]).rows.tolist()
    asked = []
    k_center_similarity(lambda row: asked.append(row) or unit @ unit[row], 5, keys)
    assert len(asked) == 5


def test_rules_duplicates_and_the_end_of_the_pool():
    features = np.repeat(np.arange(3.0)[:, None], 2, axis=0)
    cover = k_center(features, 10, keys_of(6), allowed=np.array([1, 1, 1, 1, 1, 0], bool))
    assert sorted(cover.rows.tolist()) == [0, 1, 2, 3, 4]
    assert cover.left == 0
    one = k_center(features, 10, keys_of(6), allowed=lambda picks: np.full(6, len(picks) < 2))
    assert len(one.rows) == 2


def test_missing_numbers_are_an_error_with_the_row():
    features = np.zeros((4, 2))
    features[2, 1] = np.nan
    with pytest.raises(DataError, match="Row 2"):
        k_center(features, 2, keys_of(4))


def test_memory_beside_a_large_pool_is_a_few_vectors():
    features = np.random.default_rng(0).normal(size=(50_000, 128)).astype(np.float32)
    keys = keys_of(50_000)
    k_center(features[:300], 2, keys[:300])
    tracemalloc.start()
    cover = k_center(features, 100, keys, measured=features[:500])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(set(cover.rows.tolist())) == 100
    assert peak < 5e6


def test_relative_distance_is_the_nearest_measured_row():
    rng = np.random.default_rng(0)
    features, measured = rng.normal(size=(200, 9)), rng.normal(size=(30, 9))
    dense = np.sqrt(((features[:, None] - measured[None]) ** 2).sum(-1)).min(axis=1)
    np.testing.assert_allclose(relative_distance(features, measured), dense, rtol=1e-5)
    with pytest.raises(DataError, match="measured has 0"):
        relative_distance(features, measured[:0])


def test_badge_draws_by_the_squared_distance_of_gradients():
    rng = np.random.default_rng(0)
    hidden, probability = rng.normal(size=(6, 3)), rng.dirichlet([1, 1, 1], size=6)
    coefficient = probability - np.eye(3)[probability.argmax(axis=1)]
    gradient = (coefficient[:, :, None] * hidden[:, None, :]).reshape(6, 9)
    longest = int((gradient**2).sum(axis=1).argmax())
    share = ((gradient - gradient[longest]) ** 2).sum(axis=1)
    seconds = np.zeros(6)
    for seed in range(2000):
        rows = badge(hidden, 2, keys_of(6, seed) + np.uint64(7 * seed), probability=probability)
        assert rows[0] == longest
        seconds[rows[1]] += 1
    np.testing.assert_allclose(seconds / 2000, share / share.sum(), atol=0.04)


def test_badge_begins_with_the_longest_gradient_and_never_picks_unknown_candidates():
    hidden = np.array([[9.0, 9.0], [1.0, 0.0], [0.0, 1.0], [3.0, 3.0]])
    probability = np.array([[1.0, 0.0], [0.5, 0.5], [0.6, 0.4], [np.nan, np.nan]])
    rows = badge(hidden, 4, keys_of(4), probability=probability)
    assert rows[0] == 1
    assert sorted(rows.tolist()) == [0, 1, 2]


def brute_largest_cluster(features, size, measured):
    centres, picks = list(measured), []
    for _ in range(size):
        gaps = ((features[:, None] - np.array(centres)[None]) ** 2).sum(-1)
        label, far = gaps.argmin(axis=1), gaps.min(axis=1)
        far[picks] = 0
        heaviest = max(range(len(centres)), key=lambda one: far[label == one].sum())
        inside = np.flatnonzero(label == heaviest)
        picks.append(int(inside[far[inside].argmax()]))
        centres.append(features[picks[-1]])
    return picks


def test_largest_cluster_equals_brute_force():
    rng = np.random.default_rng(5)
    features, measured = rng.normal(size=(150, 4)), rng.normal(size=(6, 4))
    picks = largest_cluster(features, 20, keys_of(150), measured=measured)
    assert picks.tolist() == brute_largest_cluster(features, 20, measured)
    alone = largest_cluster(features, 3, keys_of(150))
    assert alone[0] == (features**2).sum(axis=1).argmax()


def spread(features, size, keys, *, allowed, first):
    probability = np.stack([0.5 + 0.4 * np.sin(features[:, 0]), 0.5 - 0.4 * np.sin(features[:, 0])], axis=1)
    return badge(features, size, keys, probability=probability, allowed=allowed, first=first)


def cover(features, size, keys, *, allowed, first):
    return k_center(features, size, keys, allowed=allowed, first=first).rows


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(12, 80), st.sampled_from([cover, badge, spread, largest_cluster]), st.booleans()
)
def test_the_order_of_candidates_changes_no_pick_even_among_twins(seed, size, pick, ruled):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(size, 5)).round(1)
    features[size // 2 :] = features[: size - size // 2]
    keys = rng.integers(2**63, size=size).astype(np.uint64)
    order, mask = rng.permutation(size), rng.random(size) < 0.9
    place, first = np.argsort(order), [int(rng.integers(size))]

    def rule(one):
        return (lambda picks: one) if ruled else one

    there = pick(features, 9, keys, allowed=rule(mask), first=first)
    moved = pick(features[order], 9, keys[order], allowed=rule(mask[order]), first=[int(place[first[0]])])
    assert there.tolist() == order[moved].tolist()
    assert there[0] == first[0]
    assert len(set(there.tolist())) == len(there)
    assert mask[there[1:]].all()
