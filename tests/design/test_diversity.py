"""k-center against a brute force, and its promises."""

import numpy as np
import pytest

from screenwise.design.diversity import k_center, k_center_similarity
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


def test_memory_and_time_of_a_large_pool():
    import time  # noqa: PLC0415
    import tracemalloc  # noqa: PLC0415

    features = np.random.default_rng(0).normal(size=(50_000, 128)).astype(np.float32)
    keys = keys_of(50_000)
    tracemalloc.start()
    began = time.process_time()
    cover = k_center(features, 100, keys, measured=features[:500])
    spent, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(set(cover.rows.tolist())) == 100
    assert peak < 200e6
    assert spent < 6
