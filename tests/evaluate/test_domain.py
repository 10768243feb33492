import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.errors import DataError
from screenwise.evaluate import domain


@settings(max_examples=40, deadline=None)
@given(number=st.integers(1, 200), share=st.floats(0.01, 1), seed=st.integers(0, 99), digits=st.integers(1, 5))
def test_stated_share_of_training_conditions_is_inside(number, share, seed, digits):
    similarity = np.random.default_rng(seed).random(number).round(digits)
    threshold = domain.learn_threshold(similarity, share)
    assert domain.domain_flag(similarity, threshold).mean() >= share - 1e-9
    higher = similarity[similarity > threshold]
    if len(higher):
        assert domain.domain_flag(similarity, higher.min()).mean() < share, "no higher threshold would do"


def test_thresholds_per_task_equal_those_of_each_alone():
    rng = np.random.default_rng(0)
    similarity, task = rng.random(500), rng.integers(0, 7, 500)
    similarity[::50] = np.nan
    together = domain.learn_thresholds(similarity, task, 8, 0.9)
    for t in range(7):
        alone = similarity[task == t]
        assert together[t] == domain.learn_threshold(alone[~np.isnan(alone)], 0.9)
    assert together[7] == np.inf


def test_flags_per_task_and_missing_similarity():
    flags = domain.domain_flag(np.array([[0.4, 0.4], [np.nan, 0.9]]), np.array([0.3, 0.5]))
    assert flags.tolist() == [[True, False], [False, True]]


def test_nearest_other_is_not_the_condition_itself():
    rng = np.random.default_rng(1)
    similarity = rng.random((20, 20))
    expected = [np.delete(similarity[i], i).max() for i in range(20)]
    before = similarity.copy()
    np.testing.assert_array_equal(domain.nearest_others(similarity), expected)
    np.testing.assert_array_equal(similarity, before)
    assert np.isnan(domain.nearest_others([[1.0]])).all()


def test_errors_by_similarity_by_hand():
    similarity = np.array([0.1, 0.29, 0.3, 0.95, np.nan, 0.5])
    value, mean = np.zeros(6), np.array([3.0, 4.0, 1.0, 0.5, 9.0, np.nan])
    table = domain.errors_by_similarity(similarity, value, mean, np.full(6, 1.0))
    assert table["cells"].tolist() == [2, 1, 0, 0, 0, 1]
    assert table["rmse"].iloc[0] == pytest.approx(np.sqrt(12.5))
    assert table["mae"].iloc[0] == pytest.approx(3.5)
    assert table["coverage"].iloc[[0, 1, 5]].tolist() == [0, 1, 1]
    assert np.isnan(table["rmse"].iloc[2])
    assert (table["expected_rmse"].dropna() == 1).all()


def test_errors_by_spread_rise_for_a_model_that_knows():
    rng = np.random.default_rng(2)
    std = rng.uniform(0.2, 2, 4_000)
    std[0] = np.nan
    table = domain.errors_by_spread(rng.normal(size=4_000) * std, np.zeros(4_000), std)
    assert table["cells"].sum() == 3_999
    assert table["rmse"].is_monotonic_increasing
    assert (table["high"].to_numpy()[:-1] <= table["low"].to_numpy()[1:]).all()
    np.testing.assert_allclose(table["coverage"], 0.9, atol=0.03)
    np.testing.assert_allclose(table["rmse"], table["expected_rmse"], rtol=0.06)


def test_wrong_shapes_and_shares_are_refused():
    with pytest.raises(DataError, match=r"\(n, n\)"):
        domain.nearest_others(np.zeros((2, 3)))
    with pytest.raises(DataError, match="share"):
        domain.learn_threshold([0.5], 95)
    with pytest.raises(DataError, match="rise"):
        domain.errors_by_similarity([0.5], [0.0], [0.0], edges=[0.5, 0.4])


def test_no_cells_is_an_empty_table():
    assert domain.errors_by_spread([], [], [])["cells"].sum() == 0
    assert domain.errors_by_similarity([], [], [])["cells"].sum() == 0
