"""Sphere exclusion against a loop over pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from screenwise.errors import ConfigError
from screenwise.represent.sphere_exclusion import sphere_clusters, sphere_folds


def tanimoto(one, other):
    union = (one | other).sum()
    return (one & other).sum() / union if union else 0.0


def same_groups(one, other):
    return len(set(zip(one, other, strict=True))) == len(set(one)) == len(set(other))


def dense_rows(seed, size=60, width=40):
    rng = np.random.default_rng(seed)
    centres = rng.random((6, width)) < 0.3
    return centres[rng.integers(0, 6, size)] ^ (rng.random((size, width)) < 0.08)


@given(st.integers(0, 20))
@settings(max_examples=10, deadline=None)
def test_the_order_of_rows_is_nothing(seed):
    dense = dense_rows(seed)
    dense = np.unique(dense, axis=0)
    shuffled = np.random.default_rng(seed).permutation(len(dense))
    first = sphere_clusters(csr_array(dense.astype(np.uint8)), (0.3, 0.6))
    second = sphere_clusters(csr_array(dense[shuffled].astype(np.uint8)), (0.3, 0.6))
    assert same_groups(first[shuffled].tolist(), second.tolist())


def brute(dense, radius, order):
    leaders = []
    for row in order:
        if all(tanimoto(dense[row], dense[other]) < 1 - radius for other in leaders):
            leaders.append(row)
    return [max(leaders, key=lambda other: tanimoto(dense[row], dense[other])) for row in range(len(dense))], leaders


def test_rows_of_different_sizes_as_a_loop_does():
    rng = np.random.default_rng(0)
    # rows of different sizes, so that the order (most features first) is the same in both; no ties in similarity
    dense = np.zeros((25, 400), bool)
    for row, size in enumerate(rng.permutation(np.arange(40, 65))):
        dense[row, rng.choice(90, size, replace=False)] = True
    order = np.argsort(-dense.sum(axis=1), kind="stable")
    nearest, leaders = brute(dense, 0.55, order)
    ours = sphere_clusters(csr_array(dense.astype(np.uint8)), (0.55,))
    assert 1 < len(leaders) < 25
    assert same_groups(ours.tolist(), nearest)


def test_growing_radii_join_clusters():
    rows = csr_array(dense_rows(1).astype(np.uint8))
    fine, coarse = sphere_clusters(rows, (0.2,)), sphere_clusters(rows, (0.2, 0.7))
    assert coarse.max() < fine.max()
    assert len(set(zip(fine.tolist(), coarse.tolist(), strict=True))) == fine.max() + 1


def test_empty_rows_and_equal_rows():
    dense = np.array([[0, 0], [1, 1], [0, 0], [1, 1]], np.uint8)
    cluster = sphere_clusters(csr_array(dense), (0.4,))
    assert cluster[1] == cluster[3] != cluster[0]


def test_clusters_are_whole_in_folds_and_radii_are_checked():
    rows = csr_array(dense_rows(2).astype(np.uint8))
    fold, cluster = sphere_folds(rows, (0.5,), 3)
    assert len(set(zip(cluster.tolist(), fold.tolist(), strict=True))) == cluster.max() + 1
    assert set(fold.tolist()) <= {0, 1, 2}
    for radii in ((0.6, 0.2), (1.0,), (-0.1,)):
        with pytest.raises(ConfigError, match="radii"):
            sphere_clusters(rows, radii)
