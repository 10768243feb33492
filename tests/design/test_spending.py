"""Expected hits for a budget against the best of all choices."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.design.rules import Prices, Rules
from screenwise.design.spending import buy_hits, leave_for_rest
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


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.floats(1.0, 60.0))
def test_money_for_the_other_wells_is_left_where_something_costs_little(seed, wells, budget):
    rng = np.random.default_rng(seed)
    scaffold = rng.integers(-1, 8, (1, 30))
    prices = Prices(np.ones(30), ((scaffold, 10.0),), 0.0, None, np.zeros(30, np.int64), budget)
    rules, order = Rules((), np.ones(30, bool), prices=prices), rng.permutation(30)
    rounds = []
    for rule in (rules.allowed, lambda picks: leave_for_rest(rules, picks, wells)):
        picks = []
        while len(picks) < wells:
            mask = rule(picks)
            follows = [row for row in order if mask[row] and row not in picks]
            if not follows:
                break
            picks.append(int(follows[0]))
        rounds.append(picks)
    plain, saving = rounds
    assert prices.total(np.asarray(saving, np.int64)) <= budget * (1 + 1e-6)
    # as many wells as there are candidates that need nothing new are never given up
    assert len(saving) >= min(wells, int((scaffold < 0).sum()), int(budget))
    assert len(saving) >= len(plain)
    if budget >= 11 * wells:
        assert saving == plain


def test_without_a_budget_all_that_is_open_may_follow():
    rules = Rules((), np.array([True, False, True]))
    assert leave_for_rest(rules, [], 3).tolist() == [True, False, True]
