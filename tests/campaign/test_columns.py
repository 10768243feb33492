"""Columns that are kept between rounds are what the kernels say."""

import numpy as np
import pandas as pd
import pytest

from screenwise.campaign.columns import KeptColumns
from screenwise.campaign.pool_model import prepare_pool

RNG = np.random.default_rng(0)
POOL = pd.DataFrame({"gene": [f"{family}{number}" for family in ("PSM", "RPL", "NDU") for number in range(40)]})
POOL = POOL.assign(**{f"feature:x{place}": RNG.normal(size=120) for place in range(3)})
POOL.insert(0, "condition_id", POOL["gene"])
TRAINING = prepare_pool(POOL).training


@pytest.mark.parametrize("most", [0, 3, 25, 1000])
def test_whatever_memory_there_is_the_sums_are_the_same(most):
    kept = KeptColumns(TRAINING, most * 4 * len(TRAINING.kernels) * 120)
    assert kept.capacity == most
    rounds = [np.arange(0, 20, 2), np.arange(20), np.arange(100, 70, -1), np.arange(5, 15), np.array([], np.int64)]
    for rows in rounds:
        asked, weights = RNG.permutation(120)[:31], RNG.exponential(size=len(TRAINING.kernels))
        expected = TRAINING.cross(TRAINING.take(asked), rows, weights)
        np.testing.assert_allclose(kept.cross(asked, rows, weights), expected, rtol=1e-5, atol=1e-5)
        assert len(kept.place) <= most
        assert len(set(kept.place.values())) == len(kept.place)


def test_a_column_is_computed_once():
    kept, rows = KeptColumns(TRAINING, 2**20), np.arange(30)
    first = kept.cross(np.arange(120), rows, np.ones(len(TRAINING.kernels)))
    before = dict(kept.place)
    again = kept.cross(np.arange(120), rows[::-1], np.ones(len(TRAINING.kernels)))
    assert kept.place == before
    np.testing.assert_array_equal(again[:, ::-1], first)
