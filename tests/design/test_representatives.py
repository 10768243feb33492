"""Representatives: clusters, medoids and typical members."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.design.representatives import (
    cluster_means,
    mean_representatives,
    medoid_representatives,
    typical_representatives,
)


def keys_of(size, seed=0):
    return np.random.default_rng(seed).integers(2**63, size=size).astype(np.uint64)


def islands(counts, seed=0):
    """Well-parted groups of rows; which group each row is of."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(counts)), counts)
    return 40.0 * np.eye(len(counts))[group] + rng.normal(size=(len(group), len(counts))), group


def test_clusters_are_a_fixed_point_of_k_means():
    features = np.random.default_rng(0).normal(size=(300, 4))
    found = cluster_means(features, 12, keys_of(300), turns=200)
    gaps = ((features[:, None] - found.centre[None].astype(float)) ** 2).sum(-1)
    np.testing.assert_array_equal(found.label, gaps.argmin(axis=1))
    np.testing.assert_allclose(found.distance, gaps.min(axis=1), rtol=1e-4, atol=1e-5)
    for cluster in range(12):
        np.testing.assert_allclose(found.centre[cluster], features[found.label == cluster].mean(axis=0), atol=1e-5)


def test_clusters_find_islands_and_end_where_rows_do():
    features, group = islands([50, 30, 20, 10])
    found = cluster_means(features, 4, keys_of(110))
    assert len({(a, b) for a, b in zip(found.label, group, strict=True)}) == 4
    assert len(cluster_means(np.repeat(np.arange(3.0)[:, None], 4, axis=0), 10, keys_of(12)).centre) == 3


@pytest.mark.parametrize("pick", [mean_representatives, medoid_representatives, typical_representatives])
def test_one_of_each_island_the_largest_first(pick):
    features, group = islands([50, 30, 20, 10])
    assert group[pick(features, 4, keys_of(110))].tolist() == [0, 1, 2, 3]


def test_a_mean_representative_is_the_row_nearest_to_the_mean():
    features, group = islands([50, 30, 20])
    for row in mean_representatives(features, 3, keys_of(100)):
        own = features[group == group[row]]
        gaps = ((own - own.mean(axis=0)) ** 2).sum(axis=1)
        assert ((features[row] - own.mean(axis=0)) ** 2).sum() == pytest.approx(gaps.min(), rel=1e-5)


def test_a_medoid_has_the_least_sum_of_distances_in_its_island():
    features, group = islands([50, 30, 20])
    for row in medoid_representatives(features, 3, keys_of(100)):
        own = features[group == group[row]]
        sums = np.sqrt(((own[:, None] - own[None]) ** 2).sum(-1)).sum(axis=1)
        assert np.sqrt(((own - features[row]) ** 2).sum(-1)).sum() == pytest.approx(sums.min(), rel=1e-6)


def test_a_typical_row_has_the_nearest_neighbours_and_measured_islands_wait():
    features, group = islands([50, 30, 20])
    rows = typical_representatives(features, 2, keys_of(100), measured=features[:1] + 0.01, neighbours=5)
    assert group[rows].tolist() == [1, 2]
    for row in rows:
        own = features[group == group[row]]
        gaps = np.sort(np.sqrt(((own[:, None] - own[None]) ** 2).sum(-1)), axis=1)[:, 1:6].mean(axis=1)
        assert np.sort(np.sqrt(((own - features[row]) ** 2).sum(-1)))[1:6].mean() == pytest.approx(gaps.min(), rel=1e-5)


def typical(features, size, keys, *, allowed, first):
    return typical_representatives(features, size, keys, measured=np.ones((2, 3)), allowed=allowed, first=first)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(12, 80),
    st.sampled_from([mean_representatives, medoid_representatives, typical]),
    st.booleans(),
)
def test_the_order_of_candidates_changes_no_pick_even_among_twins(seed, size, pick, ruled):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(size, 3)).round(1)
    features[size // 2 :] = features[: size - size // 2]
    keys, order, mask = keys_of(size, seed), rng.permutation(size), rng.random(size) < 0.9
    place, first = np.argsort(order), [int(rng.integers(size))]

    def rule(one):
        return (lambda picks: one) if ruled else one

    there = pick(features, 9, keys, allowed=rule(mask), first=first)
    moved = pick(features[order], 9, keys[order], allowed=rule(mask[order]), first=[int(place[first[0]])])
    assert there.tolist() == order[moved].tolist()
    assert there[0] == first[0]
    assert len(set(there.tolist())) == len(there) == min(9, len({*first, *np.flatnonzero(mask)}))
    assert mask[there[1:]].all()


@pytest.mark.parametrize("pick", [mean_representatives, medoid_representatives, typical_representatives])
def test_a_round_fills_up_where_clusters_are_closed_or_alike(pick):
    features, group = islands([20, 10])
    rows = pick(features, 6, keys_of(30), allowed=group == 0)
    assert (group[rows] == 0).all()
    assert len(set(rows.tolist())) == 6
    same = np.zeros((7, 2))
    assert sorted(pick(same, 9, keys_of(7)).tolist()) == list(range(7))
