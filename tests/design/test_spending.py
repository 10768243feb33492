"""Expected hits for a budget against the best of all choices."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.design.spending import buy_hits
from screenwise.errors import DesignError


def keys_of(size, seed=0):
    return np.random.default_rng(seed).integers(2**63, size=size).astype(np.uint64)


def best_of_all(chance, cost, budget, wells):
    return max(
        chance[list(rows)].sum()
        for size in range(wells + 1)
        for rows in itertools.combinations(range(len(chance)), size)
        if cost[list(rows)].sum() <= budget
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.booleans())
def test_a_purchase_is_affordable_near_the_best_and_bounded(seed, wells, ruled):
    rng = np.random.default_rng(seed)
    chance, cost = rng.random(10), rng.integers(0, 6, 10).astype(float)
    budget = float(rng.integers(0, 20))
    allowed = (lambda picks: np.ones(10, bool)) if ruled else None
    bought = buy_hits(chance, cost, budget, wells, keys_of(10), allowed=allowed)
    best = best_of_all(chance, cost, budget, wells)
    assert bought.cost == cost[bought.rows].sum() <= budget
    assert bought.hits == pytest.approx(chance[bought.rows].sum())
    assert len(set(bought.rows.tolist())) == len(bought.rows) <= wells
    assert bought.hits <= best + 1e-9 <= bought.bound + 2e-9
    assert best - bought.hits <= 2 * chance.max()
    order = rng.permutation(10)
    moved = buy_hits(chance[order], cost[order], budget, wells, keys_of(10)[order], allowed=allowed)
    assert order[moved.rows].tolist() == bought.rows.tolist()


def test_many_small_costs_come_within_a_hair_of_the_bound():
    rng = np.random.default_rng(0)
    bought = buy_hits(rng.random(5000), rng.uniform(1, 30, 5000), 900.0, 96, keys_of(5000))
    assert bought.hits > 0.99 * bought.bound


def test_without_a_budget_the_likeliest_win():
    chance = np.random.default_rng(0).random(50)
    rows = buy_hits(chance, np.ones(50), np.inf, 5, keys_of(50)).rows
    assert sorted(rows.tolist()) == sorted(chance.argsort()[-5:].tolist())


def test_forced_missing_and_wrong_candidates():
    chance, cost = np.array([0.1, np.nan, 0.9, 0.8]), np.array([3.0, 1.0, 4.0, 4.0])
    bought = buy_hits(chance, cost, 7.5, 3, keys_of(4), first=[0])
    assert bought.rows.tolist() == [0, 2]
    assert bought.hits == pytest.approx(1.0)
    assert bought.bound >= 1.0
    with pytest.raises(DesignError, match="must be in costs 8"):
        buy_hits(chance, cost, 7.5, 3, keys_of(4), first=[2, 3])
    with pytest.raises(DesignError, match="Candidate 1 costs -1"):
        buy_hits(chance, np.array([1.0, -1.0, 1.0, 1.0]), 7.5, 3, keys_of(4))
