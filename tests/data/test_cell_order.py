"""Orders of cells: every cell once a pass, shared among ranks, nothing stored."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.data.cell_order import SMALL_ROUNDS, Order, permute, weigh
from screenwise.errors import ConfigError


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 3000),
    kind=st.sampled_from(["random", "block", "sequential"]),
    block=st.integers(1, 70),
    window=st.integers(1, 9),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 3),
)
def test_each_pass_holds_every_cell_once(rows, kind, block, window, seed, epoch):
    order = Order(kind, seed=seed, block=block, window=window)
    found = order.rows_at(np.arange(rows), rows, epoch)
    np.testing.assert_array_equal(np.sort(found), np.arange(rows))
    some = np.array([rows - 1, 0, rows // 2])
    np.testing.assert_array_equal(order.rows_at(some, rows, epoch), found[some])


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 500), size=st.integers(1, 70), world=st.integers(1, 5), drop_last=st.booleans())
def test_ranks_are_disjoint_and_together_cover(rows, size, world, drop_last):
    orders = [Order(rank=rank, world=world, drop_last=drop_last) for rank in range(world)]
    steps = orders[0].steps(rows, size)
    shares = [order.share(rows, size, step) for step in range(steps) for order in orders]
    seen = np.concatenate([np.arange(*share) for share in shares]) if shares else np.arange(0)
    np.testing.assert_array_equal(seen, np.arange(len(seen)))
    assert max((last - first for first, last in shares), default=0) <= size
    if drop_last:
        assert all(last - first == size for first, last in shares)
        assert rows - len(seen) < size * world
    else:
        assert len(seen) == rows


def test_a_billion_rows_need_no_memory():
    rows = 1_000_000_007
    places = np.random.default_rng(0).choice(rows, 100_000, replace=False).astype(np.uint64)
    found = permute(places, rows, np.uint64(5))
    assert found.max() < rows
    assert len(np.unique(found)) == len(places)
    # Uniform over the store: each of 100 stretches holds its hundredth (standard deviation 32).
    counts = np.bincount((found * np.uint64(100) // np.uint64(rows)).astype(int), minlength=100)
    assert abs(counts - 1000).max() < 160


def test_small_permutations_are_uniform():
    # 120 permutations of 5, 12,000 keys: chi-square with 119 degrees of freedom, 99.99 % at 183.
    keys = np.arange(12_000, dtype=np.uint64)
    drawn = np.stack(
        [
            permute(np.full(len(keys), place, np.uint64), np.full(len(keys), 5), keys, rounds=SMALL_ROUNDS)
            for place in range(5)
        ]
    )
    counts = np.unique(drawn.T @ 5 ** np.arange(5), return_counts=True)[1]
    assert len(counts) == 120
    assert ((counts - 100.0) ** 2 / 100).sum() < 183


def test_neighbours_do_not_stay_neighbours():
    rows = 20_000
    found = Order(seed=3).rows_at(np.arange(rows), rows, 0)
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.03
    assert abs(np.corrcoef(found, np.arange(rows))[0, 1]) < 0.03
    assert (np.abs(np.diff(found)) == 1).sum() < 12


def test_runs_of_a_block_order_stay_together_in_a_window():
    order = Order("block", block=16, window=4)
    found = order.rows_at(np.arange(6400), 6400, 0)
    start = np.sort(found[:64]).reshape(4, 16)
    assert (np.diff(start, axis=1) % 6400 == 1).all()
    assert (np.diff(found[:64]) == 1).mean() < 0.2


def test_seeds_passes_and_kinds_differ():
    made = [
        Order(seed=0).rows_at(np.arange(1000), 1000, 0),
        Order(seed=1).rows_at(np.arange(1000), 1000, 0),
        Order(seed=0).rows_at(np.arange(1000), 1000, 1),
        Order("block", seed=0).rows_at(np.arange(1000), 1000, 0),
        Order("block", seed=0).rows_at(np.arange(1000), 1000, 1),
    ]
    assert len({tuple(rows) for rows in made}) == len(made)


def test_weights_are_the_shares_of_the_draws():
    codes = np.repeat([0, 1, 2, -1], [10, 1000, 100, 50])
    groups = weigh(codes, ["a", "b", "c"], {"a": 1.0, "b": 3.0})
    drawn = groups.draw(np.arange(40_000), Order().key(0))
    share = np.bincount(codes[drawn], minlength=3) / len(drawn)
    np.testing.assert_allclose(share, [0.25, 0.75, 0], atol=0.01)
    within = np.bincount(drawn[codes[drawn] == 0], minlength=10)
    assert abs(within / within.mean() - 1).max() < 0.15
    even = weigh(codes, ["a", "b", "c"], None).draw(np.arange(30_000), Order().key(0))
    np.testing.assert_allclose(np.bincount(codes[even]) / len(even), 1 / 3, atol=0.01)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "shuffled"}, "shuffled"),
        ({"seed": -1}, "seed = -1"),
        ({"block": 0}, "block = 0"),
        ({"rank": 2, "world": 2}, "rank 2 of 2"),
        ({"weights": {"a": 1}}, "without the column"),
        ({"column": "condition", "kind": "block"}, "use kind = 'random'"),
    ],
)
def test_wrong_orders_are_told(settings, said):
    with pytest.raises(ConfigError, match=said):
        Order(**settings)


@pytest.mark.parametrize("weights", [{"c": 1.0}, {"a": -1.0}, {"a": np.nan}, {"a": 0.0}, {"b": 1.0}])
def test_wrong_weights_are_told(weights):
    with pytest.raises(ConfigError, match="weights"):
        weigh(np.array([0, 0, -1]), ["a", "b"], weights)
