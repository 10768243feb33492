"""BatchBALD against the joint entropy of all outcomes."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.design.batchbald import batch_bald
from screenwise.design.information import bald
from screenwise.errors import ConfigError


def keys_of(size, seed=0):
    return np.random.default_rng(seed).integers(2**63, size=size).astype(np.uint64)


def classes(seed, members=5, size=12, count=2):
    return np.random.default_rng(seed).dirichlet(np.full(count, 0.4), size=(members, size))


def information(draws, rows):
    """I(y of rows; member), by listing all outcomes."""
    count = draws.shape[2]
    joint = []
    for outcome in itertools.product(range(count), repeat=len(rows)):
        joint.append(np.prod([draws[:, row, one] for row, one in zip(rows, outcome, strict=True)], axis=0))
    joint = np.array(joint)  # (outcomes, members)
    total = joint.mean(axis=1)

    def entropy(p):
        return -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(axis=0)

    return entropy(total) - entropy(joint).mean()


def pick(draws, size, seed=0, **how):
    return batch_bald(draws, size, keys_of(draws.shape[1]), np.random.default_rng(seed), **how).tolist()


@pytest.mark.parametrize(("seed", "count"), [(0, 2), (1, 2), (2, 3), (3, 4)])
def test_each_pick_has_the_most_joint_information(seed, count):
    draws = classes(seed, count=count)
    picks = pick(draws, 5)
    assert picks[0] == bald(draws).argmax()
    for step in range(5):
        joint = {row: information(draws, [*picks[:step], row]) for row in range(12) if row not in picks[:step]}
        assert joint[picks[step]] == pytest.approx(max(joint.values()), abs=1e-9)


def test_drawn_outcomes_are_about_as_good_as_all():
    draws = classes(7, members=8, size=20)
    full = information(draws, pick(draws, 7))
    some = [information(draws, pick(draws, 7, seed, outcomes=16)) for seed in range(5)]
    assert np.mean(some) > 0.97 * full
    assert full > information(draws, bald(draws).argsort()[-7:].tolist())


def test_twins_count_once():
    base = classes(0, size=6)
    draws = np.concatenate([base, base], axis=1)
    assert len({row % 6 for row in pick(draws, 3)}) == 3


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([4, 1024]))
def test_the_order_of_candidates_changes_no_batch_even_among_twins(seed, outcomes):
    rng = np.random.default_rng(seed)
    draws = classes(seed, size=16)
    draws[:, 8:] = draws[:, :8]
    keys, order, mask = keys_of(16, seed), rng.permutation(16), rng.random(16) < 0.9
    there = batch_bald(draws, 6, keys, np.random.default_rng(1), allowed=mask, outcomes=outcomes)
    moved = batch_bald(
        draws[:, order], 6, keys[order], np.random.default_rng(1), allowed=mask[order], outcomes=outcomes
    )
    assert there.tolist() == order[moved].tolist()


def test_rules_missing_members_and_the_end_of_the_pool():
    draws = classes(3)
    draws[1, 4] = np.nan
    picks = pick(draws, 20, allowed=np.arange(12) != 2, first=[9])
    assert picks[0] == 9
    assert sorted(picks) == [row for row in range(12) if row not in (2, 4)]
    assert len(pick(np.broadcast_to(np.array([1.0, 0.0]), (3, 5, 2)), 4)) == 4
    with pytest.raises(ConfigError, match="outcomes is 1"):
        pick(draws, 2, outcomes=1)
