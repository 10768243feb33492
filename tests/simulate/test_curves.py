"""Areas and savings against values worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from screenwise.simulate.curves import area_under_curve, mean_curves, saved_share, summarise_policies

WELLS = [10, 20, 40]


def curve(hits, policy="mine", seed=0, pool="p", total=10):
    size = len(hits)
    return pd.DataFrame(
        {
            "pool": pool,
            "policy": policy,
            "seed": seed,
            "round": range(size),
            "measured": WELLS[:size],
            "hits": hits,
            "hit_fraction": np.asarray(hits) / total,
            "best": np.asarray(hits, float),
        }
    )


def test_the_area_is_that_of_trapezoids_over_the_wells_used():
    one = curve([0, 4, 8])
    by_hand = ((0.0 + 0.4) / 2 * 10 + (0.4 + 0.8) / 2 * 20) / 30
    assert area_under_curve(one["measured"], one["hit_fraction"]) == pytest.approx(by_hand)
    flat = curve([3])
    assert area_under_curve(flat["measured"], flat["hit_fraction"]) == pytest.approx(0.3)


def test_wells_saved_are_those_that_reach_the_baselines_hits():
    mine, other = curve([0, 6, 9]), curve([0, 2, 3])
    assert saved_share(mine, other) == pytest.approx(1 - 15 / 40)
    assert saved_share(other, mine) == pytest.approx(-(1 - 15 / 40))
    assert saved_share(mine, curve([0, 0, 0])) == 0
    assert saved_share(curve([0, 0, 8]), curve([0, 4, 4])) == pytest.approx(-1 / 3)


RISING = st.lists(st.integers(0, 5), min_size=3, max_size=3).map(lambda steps: np.cumsum(steps).tolist())


@given(RISING, RISING)
def test_what_one_saves_the_other_loses(first, second):
    one, other = curve(first), curve(second)
    saved = saved_share(one, other)
    assert -1 < saved < 1
    assert saved == -saved_share(other, one)
    assert saved_share(one, one) == 0


def test_one_row_of_each_pool_and_policy_with_paired_differences():
    parts = [
        curve([0, 2, 2 + seed + more], name, seed, pool)
        for pool in ("p", "q")
        for name, more in (("random", 0), ("mine", 2))
        for seed in range(3)
    ]
    table = summarise_policies(pd.concat(parts)).set_index(["pool", "policy"])
    assert list(table.index) == [("p", "random"), ("p", "mine"), ("q", "random"), ("q", "mine")]
    mine = table.loc[("p", "mine")]
    assert (mine["hits"], mine["hit_fraction"], mine["measured"], mine["seeds"]) == (5, 0.5, 40, 3)
    assert mine["lower"] == pytest.approx(0.5 - 4.302652729911275 * 0.1 / np.sqrt(3))
    assert mine[["over_random", "over_random_lower", "over_random_upper"]].tolist() == pytest.approx([0.2, 0.2, 0.2])
    assert (mine["won_random"], mine["lost_random"]) == (3, 0)
    assert mine[["over_greedy", "saved_greedy"]].isna().all()
    assert table.loc[("q", "random"), "saved_random"] == 0


def test_one_pool_needs_no_name_and_seeds_are_paired():
    ends = {"greedy": [2, 4, 6], "auto": [3, 5, 6]}
    parts = [curve([0, 1, end], name, seed) for name, found in ends.items() for seed, end in enumerate(found)]
    curves = pd.concat(parts).drop(columns="pool")
    table = summarise_policies(curves).set_index("policy")
    auto = table.loc["auto"]
    assert auto["over_greedy"] == pytest.approx(0.2 / 3)
    half = 4.302652729911275 * np.std([0.1, 0.1, 0.0], ddof=1) / np.sqrt(3)
    assert auto["over_greedy_upper"] - auto["over_greedy"] == pytest.approx(half)
    assert (auto["won_greedy"], auto["lost_greedy"], table.loc["greedy", "over_greedy"]) == (2, 0, 0)
    alone = summarise_policies(curves[(curves["seed"] == 0) & (curves["policy"] == "auto")])
    assert alone["hit_fraction"].tolist() == [0.3]
    assert alone[["lower", "over_greedy"]].isna().all(axis=None)
    assert len(mean_curves(curves)) == 6


def test_mean_curves_have_intervals_over_seeds():
    table = mean_curves(pd.concat([curve([0, 2, 4], seed=0), curve([0, 4, 8], seed=1)]))
    assert table["hit_fraction"].tolist() == pytest.approx([0, 0.3, 0.6])
    assert (table["measured"].tolist(), set(table["seeds"])) == (WELLS, {2})
    half = 12.706204736432095 * 0.1  # of a mean of 0.3: the interval ends where shares do
    assert table[["lower", "upper"]].iloc[1].tolist() == [0.0, 1.0]
    near = mean_curves(pd.concat([curve([0, 2, 4], seed=0), curve([0, 2.1, 4], seed=1)]))
    assert near["upper"].iloc[1] - near["lower"].iloc[1] == pytest.approx(2 * half * 0.05)
    assert mean_curves(curve([0, 2, 4]))["lower"].isna().all()
