import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from screenwise.errors import DataError
from screenwise.evaluate.significance import (
    benjamini_hochberg,
    benjamini_yekutieli,
    delong_test,
    squared_error_test,
)

TASKS = 4


def delong_by_hand(label, first, second):
    """Variance of a difference of areas from the whole covariance of structural components, pair by pair."""
    components = []
    for score in (first, second):
        high, low = score[label == 1], score[label == 0]
        wins = (high[:, None] > low[None, :]) + 0.5 * (high[:, None] == low[None, :])
        components.append((wins.mean(axis=1), wins.mean(axis=0), wins.mean()))
    (a10, a01, auc_a), (b10, b01, auc_b) = components
    covariance = np.cov(a10, b10) / len(a10) + np.cov(a01, b01) / len(a01)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return auc_b - auc_a, variance


@st.composite
def two_models(draw):
    number = draw(st.integers(0, 90))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    label = (rng.random(number) < 0.4) * 1.0
    first, second = label + rng.normal(size=number), label + rng.normal(size=number)
    decimals = draw(st.sampled_from([0, 1, 12]))
    return label, first.round(decimals), second.round(decimals), rng.integers(0, TASKS, number)


@settings(max_examples=60, deadline=None)
@given(cells=two_models())
def test_delong_equals_all_pairs(cells):
    label, first, second, task = cells
    found = delong_test(label, first, second, task, TASKS)
    for t in range(TASKS):
        own = task == t
        y = label[own]
        if min((y == 1).sum(), (y == 0).sum()) < 2:
            assert np.isnan(found.p_value[t])
            continue
        difference, variance = delong_by_hand(y, first[own], second[own])
        assert found.difference[t] == pytest.approx(difference, abs=1e-9)
        gap = roc_auc_score(y, second[own]) - roc_auc_score(y, first[own])
        assert found.difference[t] == pytest.approx(gap, abs=1e-9)
        assert found.error[t] ** 2 == pytest.approx(variance, abs=1e-9)
        if variance > 1e-9:
            wanted = 2 * stats.norm.sf(abs(difference) / np.sqrt(variance))
            assert found.p_value[t] == pytest.approx(wanted, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(cells=two_models())
def test_squared_errors_equal_a_paired_t_test(cells):
    value, first, second, task = cells
    found = squared_error_test(value, first, second, task, TASKS)
    for t in range(TASKS):
        own = task == t
        a, b = (first[own] - value[own]) ** 2, (second[own] - value[own]) ** 2
        if len(a) < 2:
            assert np.isnan(found.p_value[t])
        elif np.ptp(b - a) > 1e-9:
            assert found.difference[t] == pytest.approx((b - a).mean(), abs=1e-9)
            assert found.p_value[t] == pytest.approx(stats.ttest_rel(b, a).pvalue, abs=1e-9)


def test_no_difference_is_called_as_seldom_as_promised():
    rng = np.random.default_rng(0)
    tasks, cells = 2000, 60
    task = np.repeat(np.arange(tasks), cells)
    label = (rng.random(len(task)) < 0.4) * 1.0
    shared = label + rng.normal(size=len(task))
    first, second = (shared + 0.7 * rng.normal(size=len(task)) for _ in range(2))
    for found in (
        delong_test(label, first, second, task, tasks),
        squared_error_test(label, first, second, task, tasks),
    ):
        assert 0.03 < np.mean(found.p_value < 0.05) < 0.075
    better = label + 0.5 * rng.normal(size=len(task))
    assert np.mean(delong_test(label, first, better, task, tasks).p_value < 0.05) > 0.7


def test_the_same_predictions_differ_by_nothing():
    label, score, task = np.array([1.0, 0, 1, 0]), np.array([0.4, 0.1, 0.3, 0.35]), np.zeros(4, int)
    for test in (delong_test, squared_error_test):
        found = test(label, score, score, task, 1)
        assert (found.difference[0], found.p_value[0]) == (0.0, 1.0)


def test_a_certain_but_unvaried_difference_has_no_p_value():
    label, task = np.array([1.0, 1, 0, 0]), np.zeros(4, int)
    assert np.isnan(delong_test(label, 1 - label, label, task, 1).p_value[0])


def test_cells_that_one_model_does_not_predict_are_left_out():
    rng = np.random.default_rng(1)
    label, first, second = (rng.random(40) < 0.5) * 1.0, rng.random(40), rng.random(40)
    kept = delong_test(label[5:-5], first[5:-5], second[5:-5], np.zeros(30, int), 1)
    first[:5], second[-5:] = np.nan, np.nan
    assert delong_test(label, first, second, np.zeros(40, int), 1).p_value[0] == kept.p_value[0]
    with pytest.raises(DataError, match="same cells"):
        delong_test(label, first, second[:-1], np.zeros(40, int), 1)


@pytest.mark.parametrize(("correct", "method"), [(benjamini_hochberg, "bh"), (benjamini_yekutieli, "by")])
@given(p=st.lists(st.floats(0, 1), max_size=30))
def test_false_discovery_rates_equal_scipy(correct, method, p):
    ours = correct([*p, np.nan])
    assert np.isnan(ours[-1])
    wanted = stats.false_discovery_control(p, method=method) if p else np.zeros(0)
    np.testing.assert_allclose(ours[:-1], wanted, atol=1e-12)
