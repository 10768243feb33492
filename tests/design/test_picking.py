"""Keys, rules and the best that is left."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.design.picking import best_left, check_size, key_words, open_mask, pick_top, tie_keys, uniform
from screenwise.errors import DataError


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


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30))
def test_the_order_of_candidates_changes_no_pick(seed, size):
    rng = np.random.default_rng(seed)
    score, keys = rng.integers(0, 4, 40).astype(float), rng.integers(2**63, size=40).astype(np.uint64)
    score[rng.integers(40)] = np.nan
    order = rng.permutation(40)
    mask = rng.random(40) < 0.8
    there = pick_top(score, size, keys, allowed=mask)
    back = order[pick_top(score[order], size, keys[order], allowed=mask[order])]
    assert there.tolist() == back.tolist()
    one_by_one = pick_top(score, size, keys, allowed=lambda picks: open_mask(mask, picks, 40))
    assert one_by_one.tolist() == there.tolist()


def test_words_of_keys_are_uniform_and_new_at_every_step():
    keys = np.arange(20_000, dtype=np.uint64)
    first, second = uniform(key_words(keys, 0)), uniform(key_words(keys, 1))
    for one in (first, second):
        assert one.min() > 0
        assert one.max() < 1
        np.testing.assert_allclose(np.quantile(one, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.02)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    assert uniform(np.array([2**64 - 1], np.uint64))[0] < 1


def test_the_best_left_may_be_near_the_highest():
    score, keys = np.array([1.0, 1.0 - 1e-9, 0.5, -np.inf]), np.array([3, 1, 0, 0], np.uint64)
    everything = np.ones(4, bool)
    assert best_left(score, keys, everything) == 0
    assert best_left(score, keys, everything, close=1e-8) == 1
    assert best_left(score, keys, score == -np.inf) is None
    assert best_left(np.array([np.inf, 0.0, np.inf, 0.0]), keys, everything, close=1.0) == 2


def test_lengths_that_differ_are_told():
    with pytest.raises(DataError, match="keys has 3 rows for 4"):
        check_size(4, keys=3)
