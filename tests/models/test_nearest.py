import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.models.nearest import learn_neighbours, nearest


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000))
def test_nearest_of_each_task_by_hand(seed):
    """One number per gene: the similarity falls with the distance."""
    rng = np.random.default_rng(seed)
    train = pd.DataFrame({"gene": [f"G{place}" for place in range(12)], "feature:x": rng.normal(size=12)})
    row, task = np.nonzero(rng.random((12, 4)) < 0.4)
    asked = pd.DataFrame({"gene": ["A", "B", "C"], "feature:x": rng.normal(size=3)})
    found, similarity = nearest(learn_neighbours(train, row, task, 5), asked)
    for one in range(5):
        mine = row[task == one]
        for place, x in enumerate(asked["feature:x"]):
            if len(mine) == 0:
                assert found[place, one] == -1
                assert np.isnan(similarity[place, one])
                continue
            away = np.abs(train["feature:x"].to_numpy()[mine] - x)
            assert np.isclose(np.abs(train["feature:x"][found[place, one]] - x), away.min(), rtol=1e-4)
            assert 0 <= similarity[place, one] <= 1 + 1e-6


def test_conditions_that_nothing_compares_have_no_neighbours():
    labels = pd.DataFrame({"condition_id": ["a", "b"]})
    assert learn_neighbours(labels, np.array([0, 1]), np.array([0, 0]), 1) is None
