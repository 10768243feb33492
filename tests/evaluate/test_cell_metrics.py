"""Distances of sets of cells, halves, and the curve of found interactions: against loops and other libraries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_curve

from screenwise.errors import DataError
from screenwise.evaluate.cell_metrics import BANDWIDTHS, edistance, half_means, interaction_curve, mmd, tpr_at_fdp


def two_sets(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(100, 1, size=(30, 4)), rng.normal(100.5, 2, size=(21, 4))


@given(st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_distances_equal_all_pairs(seed):
    x, y = two_sets(seed)
    for squared, metric in ((True, "sqeuclidean"), (False, "euclidean")):
        pairs = [cdist(a, b, metric).mean() for a, b in ((x, y), (x, x), (y, y))]
        assert edistance(x, y, squared=squared) == pytest.approx(2 * pairs[0] - pairs[1] - pairs[2], rel=1e-6)
    squares = cdist(x, x, "sqeuclidean")
    scale = np.median(squares[np.triu_indices(len(x), 1)])

    def mean(a, b):
        return np.mean([np.exp(-cdist(a, b, "sqeuclidean") / (2 * w * scale)).mean() for w in BANDWIDTHS])

    assert mmd(x, y) == pytest.approx(mean(x, x) + mean(y, y) - 2 * mean(x, y), rel=1e-6)


def test_blocks_change_nothing(monkeypatch):
    x, y = two_sets(0)
    whole = edistance(x, y, squared=False), mmd(x, y)
    monkeypatch.setattr("screenwise.evaluate.cell_metrics.CHUNK", 50)
    np.testing.assert_allclose((edistance(x, y, squared=False), mmd(x, y)), whole, rtol=1e-10)


def test_spread_is_seen_only_without_squares():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 3))
    y = 3 * (x - x.mean(axis=0)) + x.mean(axis=0)
    assert edistance(x, y) == pytest.approx(0, abs=1e-12)
    assert edistance(x, y, squared=False) > 0.3
    assert mmd(x, y) > 0.05


def test_unusable_cells_are_told():
    with pytest.raises(DataError, match="same features"):
        edistance(np.ones((3, 2)), np.ones((3, 4)))
    with pytest.raises(DataError, match="all the same"):
        mmd(np.ones((3, 2)), np.zeros((3, 2)))


@given(st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_halves_are_disjoint_equal_and_make_the_whole(seed):
    rng = np.random.default_rng(seed)
    condition = rng.integers(0, 3, 40)
    cells = rng.normal(size=(40, 2))
    one, two = half_means(cells, condition, 4, np.random.default_rng(seed))
    sparse = half_means(csr_array(cells), condition, 4, np.random.default_rng(seed))
    np.testing.assert_allclose(one, sparse[0])
    for code in range(3):
        own = cells[condition == code]
        if len(own) > 1:
            first = (len(own) + 1) // 2
            together = (one[code] * first + two[code] * (len(own) - first)) / len(own)
            np.testing.assert_allclose(together, own.mean(axis=0))
    assert np.isnan(one[3]).all()


@given(st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_curve_agrees_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    called = rng.random(60) < 0.3
    called[:2] = [True, False]
    score = (called + rng.normal(size=60)).round(1)
    score[score == 0] = 0.1
    curve = interaction_curve(called, score)
    fpr, tpr, threshold = roc_curve(called, np.abs(score), drop_intermediate=False)
    np.testing.assert_allclose(curve["threshold"], threshold[1:])
    np.testing.assert_allclose(curve["tpr"], tpr[1:])
    found = tpr * called.sum() + fpr * (~called).sum()
    np.testing.assert_allclose(curve["found"], found[1:])
    np.testing.assert_allclose(curve["fdp"], (fpr * (~called).sum() / np.maximum(found, 1))[1:])
    assert tpr_at_fdp(curve, 1.0) == curve["tpr"].max()


def test_what_is_not_predicted_is_not_found():
    curve = interaction_curve([[True, False], [True, True]], [[0.0, 0.0], [2.0, 1.0]])
    assert curve["found"].tolist() == [1, 2]
    assert curve["tpr"].tolist() == pytest.approx([1 / 3, 2 / 3])
    assert len(interaction_curve(np.ones(5000, bool), np.arange(1, 5001), most=100)) == 100
    assert len(interaction_curve([True], [0.0])) == 0
    assert tpr_at_fdp(interaction_curve([True], [0.0])) == 0
    with pytest.raises(DataError, match="same entries"):
        interaction_curve([True], [1.0, 2.0])
