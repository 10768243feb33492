"""Caps, budgets, what must and must not be in, and what that costs."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.design.acquisition import pick_batch_ucb, pick_top, tie_keys
from screenwise.design.constraints import Constraints, parse_constraints, resolved, with_scaffold
from screenwise.design.prices import Scored, constraint_prices
from screenwise.design.rules import Bench, apply_constraints
from screenwise.errors import ColumnError, ConfigError, DesignError

POOL = pd.DataFrame(
    {
        "condition_id": [f"c{place}" for place in range(8)],
        "scaffold": ["x", "x", "x", "y", "y", "", None, "z"],
        "price": [5.0, 1.0, 1.0, 1.0, 9.0, 1.0, 1.0, 1.0],
    }
)
SCORE = np.arange(8, 0, -1.0)
KEYS = np.arange(8, dtype=np.uint64)


def picked(constraints, size=4):
    rules = apply_constraints(constraints, POOL)
    return pick_top(SCORE, size, KEYS, allowed=rules.mask_or_rule(), first=rules.first).tolist()


def test_caps_count_per_value_and_leave_the_nameless_alone():
    assert picked(Constraints(caps={"scaffold": 1}), 8) == [0, 3, 5, 6, 7]
    assert picked(Constraints(caps={"scaffold": 2}), 5) == [0, 1, 3, 4, 5]


def test_budget_is_kept_and_spent_to_the_last():
    assert picked(Constraints(cost="price", budget=7.0), 8) == [0, 1, 2]
    assert picked(Constraints(cost="price", budget=4.0), 8) == [1, 2, 3, 5]


def test_include_comes_first_and_exclude_never():
    assert picked(Constraints(must_include=("c7", "c4"), must_exclude=("c0",))) == [7, 4, 1, 2]


def test_what_must_be_in_counts_for_caps_and_budget():
    assert picked(Constraints(caps={"scaffold": 1}, must_include=("c2",)), 8) == [2, 3, 5, 6, 7]
    with pytest.raises(DesignError, match="entry 2"):
        apply_constraints(Constraints(caps={"scaffold": 1}, must_include=("c2", "c1")), POOL)


def test_greedy_equals_the_definition_for_any_rules():
    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 1000), st.integers(1, 3), st.integers(1, 3), st.floats(2, 20))
    def check(seed, cap_a, cap_b, budget):
        rng = np.random.default_rng(seed)
        pool = pd.DataFrame(
            {"condition_id": np.arange(30).astype(str), "a": rng.integers(0, 5, 30), "b": rng.integers(0, 4, 30)}
        ).assign(price=rng.uniform(0.5, 3, 30))
        score = rng.normal(size=30)
        rules = apply_constraints(Constraints({"a": cap_a, "b": cap_b}, "price", budget), pool)
        found = pick_top(score, 12, np.arange(30, dtype=np.uint64), allowed=rules.mask_or_rule()).tolist()
        slow, spent = [], 0.0
        for row in np.argsort(-score):
            same_a, same_b = [(pool[name][slow] == pool[name][row]).sum() for name in ("a", "b")]
            if len(slow) < 12 and same_a < cap_a and same_b < cap_b and spent + pool["price"][row] <= budget:
                slow.append(int(row))
                spent += pool["price"][row]
        assert found == slow

    check()


def test_batches_keep_the_rules_too():
    class Flat:
        mean, variance, noise = SCORE, np.ones(8), 0.1

        def covariance(self, candidate):
            return np.eye(8)[candidate]

    rules = apply_constraints(Constraints(caps={"scaffold": 1}), POOL)
    assert pick_batch_ucb(Flat(), 8, 1.0, rules.mask_or_rule()).tolist() == [0, 3, 5, 6, 7]


def test_prices_are_the_score_that_a_rule_takes():
    constraints = Constraints(caps={"scaffold": 1}, must_include=("c7",), must_exclude=("c3",))
    table = constraint_prices(Scored(SCORE, KEYS), 3, constraints, POOL).set_index("rule")
    ruled = picked(constraints, 3)
    assert ruled == [7, 0, 4]
    assert table.loc["all rules", "score"] == pytest.approx(np.mean([8, 7, 6]) - SCORE[ruled].mean())
    assert table.loc["must_include", "score"] == pytest.approx((8 + 4 + 3) / 3 - SCORE[ruled].mean())
    assert (table["score"] >= 0).all()
    assert constraint_prices(Scored(SCORE, KEYS), 3, Constraints(), POOL)["score"].tolist() == [0.0]


def test_a_part_of_the_pool_keeps_its_rules():
    constraints = Constraints(
        caps={"scaffold": 1}, cost="price", budget=7.5, must_include=("c4",), must_exclude=("c1",)
    )
    for rules, names in ((apply_constraints(Constraints(must_include=("c4",)), POOL), {"c4"}),):
        part = rules.among(np.array([2, 4, 6]))
        assert {f"c{[2, 4, 6][row]}" for row in part.first} == names
    with pytest.raises(DesignError):
        apply_constraints(constraints, POOL)


def test_settings_come_from_toml_and_wrong_ones_are_named(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text('cost = "price"\nbudget = 12.5\nmust_exclude = ["c1"]\n[caps]\nscaffold = 3\n')
    assert parse_constraints(path) == Constraints({"scaffold": 3}, "price", 12.5, (), ("c1",))
    path.write_text("caps_ = 1\n")
    with pytest.raises(ConfigError, match="caps"):
        parse_constraints(path)
    for wrong in (
        {"caps": {"scaffold": 0}},
        {"budget": 3.0},
        {"cost": "price", "budget": -1.0},
        {"must_include": ("a",), "must_exclude": ("a",)},
        {"caps": {"scaffold": 2.5}},
        {"cost_of_new": {"compound": "dear"}},
        {"stock": {"compound": 3}},
        {"cost_per_well": -1.0},
    ):
        with pytest.raises(ConfigError):
            parse_constraints(wrong)


def test_errors_of_a_pool_name_what_is_wrong():
    with pytest.raises(ColumnError, match="pathway"):
        apply_constraints(Constraints(caps={"pathway": 1}), POOL)
    with pytest.raises(DesignError, match="nobody"):
        apply_constraints(Constraints(must_include=("nobody",)), POOL)
    for value in (np.nan, -1.0, "cheap"):
        pool = POOL.assign(price=[value, *itertools.repeat(1.0, 7)])
        with pytest.raises(DesignError, match="c0"):
            apply_constraints(Constraints(cost="price", budget=3.0), pool)


def test_ids_of_a_pool_may_be_any_text():
    keys = tie_keys(["ä", "", "1.0"], np.random.default_rng(0))
    assert len(set(keys.tolist())) == 3


PAIRS = pd.DataFrame(
    {
        "condition_id": [f"p{place}" for place in range(6)],
        "compound_a": ["A", "A", "A", "B", "B", "C"],
        "compound_b": ["B", "C", "", "C", "D", "D"],
        "left_a": [3, 3, 3, 9, 9, 2],
        "left_b": [9, 2, "", 2, "", ""],
        "line": ["x", "y", "x", "y", "x", "y"],
    }
)


def pick(constraints, bench=None, size=6, pool=PAIRS, score=None):
    rules = apply_constraints(constraints, pool, bench or Bench())
    score = np.arange(len(pool), 0, -1.0) if score is None else score
    rules = rules.with_plates(score)
    keys = np.arange(len(pool), dtype=np.uint64)
    return pick_top(score, size, keys, allowed=rules.mask_or_rule(), first=rules.first).tolist()


def test_a_cap_on_a_pair_counts_both_members():
    assert pick(Constraints(caps={"compound": 1})) == [0, 5]
    assert pick(Constraints(caps={"compound": 2})) == [0, 1, 3]


def test_stock_is_that_of_the_least_statement_less_what_was_used():
    stock = {"compound": "left"}
    assert pick(Constraints(stock=stock)) == [0, 1, 2, 3, 4]  # C has two wells: 1 and 3 take them
    assert pick(Constraints(stock=stock), Bench(used={"p0": 2, "p5": 1})) == [0, 3, 4]  # one well of A and of C is left
    assert pick(Constraints(stock=stock), Bench(copies=2)) == [0, 3, 4]


def test_new_components_wells_and_plates_are_paid():
    new = Constraints(cost_of_new={"compound": 10.0}, budget=30.0)
    assert pick(new) == [0, 1, 2, 3]  # A, B, C are bought once; D is one too many
    assert pick(new, Bench(used={"p4": 1})) == [0, 1, 2, 3, 4, 5]  # B and D are there already
    wells = Constraints(cost_per_well=1.0, cost_per_plate=5.0, budget=21.0)
    assert pick(wells, Bench(capacity=2, plates=3, extra=3)) == [
        0,
        1,
        2,
        3,
    ]  # 2 x (5 + 3) + 4, a third plate costs 9 more
    priced = apply_constraints(wells, PAIRS, Bench(capacity=2, plates=3, extra=3)).prices
    assert priced.total(np.array([0, 1, 2])) == 19.0


def test_one_value_per_plate_takes_the_plates_worth_most():
    score = np.array([9.0, 5.0, 1.0, 5.0, 1.0, 5.0])
    rule = Constraints(one_per_plate=("line",))
    assert pick(rule, Bench(capacity=3, plates=1), score=score) == [1, 3, 5]
    assert sorted(pick(rule, Bench(capacity=3, plates=2), score=score)) == [0, 1, 2, 3, 4, 5]
    forced = Constraints(one_per_plate=("line",), must_include=("p2",))
    assert set(pick(forced, Bench(capacity=3, plates=1), score=score)) == {0, 2, 4}
    with pytest.raises(DesignError, match="entry 2"):
        apply_constraints(
            Constraints(one_per_plate=("line",), must_include=("p0", "p1")), PAIRS, Bench(capacity=3, plates=1)
        )


def test_a_plate_is_worth_what_the_round_puts_on_it():
    # six wells on a large plate: the line of six good ones, not that of thirty middling ones
    score = np.concatenate([np.full(6, 3.0), np.zeros(24), np.full(30, 1.0)])
    pool = pd.DataFrame({"condition_id": np.arange(60).astype(str), "line": np.repeat(["few", "many"], 30)})
    rule = Constraints(one_per_plate=("line",))
    assert sorted(pick(rule, Bench(1456, 1, wells=6), 6, pool, score)) == list(range(6))
    assert set(pick(rule, Bench(30, 1, wells=30), 30, pool, score)) == set(range(30, 60)), "a full plate"
    # two plates may hold both, and take the best of each
    both = pick(rule, Bench(1456, 2, wells=12), 12, pool, score)
    assert set(both[:6]) == set(range(6))
    assert set(pool["line"].iloc[both]) == {"few", "many"}
    for wrong in (0, 1.5):
        with pytest.raises(ConfigError, match=r"Constraints\.plates"):
            Constraints(one_per_plate=("line",), plates=wrong)


def test_a_plate_is_worth_what_caps_and_stock_leave_on_it():
    # line a is best throughout, but only three of it may be had: the second plate is another line's
    pool = pd.DataFrame(
        {"condition_id": np.arange(20).astype(str), "line": np.repeat(["a", "b"], 10), "lot": "", "left": ""}
    )
    score, bench = np.arange(20, 0, -1.0), Bench(8, 2, wells=10)
    alone = Constraints(one_per_plate=("line",))
    assert pick(alone, bench, 10, pool, score) == list(range(10))
    capped = Constraints(one_per_plate=("line",), caps={"line": 3})
    assert pick(capped, bench, 10, pool, score) == [0, 1, 2, 10, 11, 12]
    pool.loc[:9, ["lot", "left"]] = ["of a", 3]
    stock = Constraints(one_per_plate=("line",), stock={"lot": "left"})
    assert pick(stock, bench, 10, pool, score) == [0, 1, 2, *range(10, 17)]
    forced = Constraints(one_per_plate=("line",), caps={"line": 3}, must_include=("9",))
    assert pick(forced, bench, 10, pool, score) == [9, 0, 1, 10, 11, 12], "what must be in takes one of the three"


def test_rules_on_plates_hold_for_any_order_of_the_pool():
    rng = np.random.default_rng(0)
    for seed in range(20):
        pool = pd.DataFrame({"condition_id": np.arange(60).astype(str), "line": rng.choice(list("abcdef"), 60)})
        score = rng.normal(size=60)
        rule, bench = Constraints(one_per_plate=("line",), caps={"line": 9}), Bench(capacity=7, plates=3)
        picks = pick(rule, bench, 21, pool, score)
        order = np.random.default_rng(seed).permutation(60)
        again = pick(rule, bench, 21, pool.iloc[order].reset_index(drop=True), score[order])
        assert sorted(order[again]) == sorted(picks)
        counts = pool["line"].iloc[picks].value_counts()
        assert (-(-counts // 7)).sum() <= 3
        assert counts.max() <= 9


def test_prices_tell_expected_hits_and_what_cannot_be_told():
    hit = np.array([0.9, 0.8, 0.7, 0.2, 0.1, 0.1, 0.1, 0.1])
    table = constraint_prices(Scored(SCORE, KEYS, hit), 3, Constraints(caps={"scaffold": 1}), POOL).set_index("rule")
    assert table.loc["all rules", "hits"] == pytest.approx(2.4 - (0.9 + 0.2 + 0.1))
    unseen = np.where(np.arange(8) == 0, np.nan, SCORE)
    table = constraint_prices(Scored(unseen, KEYS, hit), 3, Constraints(must_exclude=("c0",)), POOL).set_index("rule")
    assert np.isnan(table.loc["must_exclude", "hits"])


def test_names_of_candidates_become_ids_and_scaffolds_are_computed():
    pool = pd.DataFrame(
        {"condition_id": ["i", "j"], "smiles": ["CCc1ccccc1", "CCO"], "name": ["toluol", "spirit"], "kind": ["x", "x"]}
    )
    assert resolved(Constraints(must_include=("spirit",), must_exclude=("i",)), pool).must_include == ("j",)
    for wrong, said in (("x", "fits 2"), ("gin", "not in the pool")):
        with pytest.raises(DesignError, match=said):
            resolved(Constraints(must_include=(wrong,)), pool)
    assert with_scaffold(pool, Constraints(caps={"scaffold": 1}))["scaffold"].tolist() == ["c1ccccc1", ""]
    assert "scaffold" not in with_scaffold(pool, Constraints(caps={"kind": 1}))
