import crepes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from screenwise.errors import DataError
from screenwise.evaluate import calibration
from screenwise.prediction import Z90

TASKS = 3


def gaussian(number, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    std = rng.uniform(0.5, 2, number)
    return rng.normal(size=number) * std * scale, np.zeros(number), std


@settings(max_examples=30, deadline=None)
@given(number=st.integers(20, 300), seed=st.integers(0, 1000), error=st.sampled_from([0.07, 0.13, 0.31]))
def test_normalised_intervals_equal_crepes(number, seed, error):
    value, mean, std = gaussian(number, seed)
    other = crepes.ConformalRegressor().fit(residuals=value - mean, sigmas=std)
    _, new_mean, new_std = gaussian(10, seed + 1)
    expected = other.predict_int(y_hat=new_mean, sigmas=new_std, confidence=1 - error)
    bound = calibration.conformal_quantile(np.abs(value - mean) / std, error)
    ours = np.column_stack([new_mean - bound * new_std, new_mean + bound * new_std])
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(number=st.integers(30, 200), seed=st.integers(0, 1000))
def test_intervals_per_task_equal_crepes_bins(number, seed):
    value, mean, std = gaussian(number, seed)
    task = np.arange(number) % TASKS
    other = crepes.ConformalRegressor().fit(residuals=value - mean, sigmas=std, bins=task)
    expected = other.predict_int(y_hat=mean, sigmas=std, bins=task, confidence=0.77)
    score = np.abs(value - mean) / std
    bound = calibration.conformal_quantiles(score, 0.23, task, TASKS)[task]
    np.testing.assert_allclose(np.column_stack([mean - bound * std, mean + bound * std]), expected, rtol=1e-12)


def test_conformal_bound_holds_at_small_numbers():
    """19 calibration scores: the new one stays under the bound in 90 % of 4,000 draws."""
    score = np.random.default_rng(1).exponential(size=(4_000, 20))
    task = np.repeat(np.arange(4_000), 19)
    bound = calibration.conformal_quantiles(score[:, :19].ravel(), 0.1, task, 4_000)
    assert np.mean(score[:, 19] <= bound) == pytest.approx(0.9, abs=0.015)


def test_bounds_are_infinite_where_scores_are_too_few_and_missing_scores_are_left_out():
    assert calibration.conformal_quantile([1.0] * 8, 0.1) == np.inf
    assert calibration.conformal_quantile([1.0] * 9, 0.1) == 1.0
    assert calibration.conformal_quantile([1.0] * 8 + [np.nan], 0.1) == np.inf
    with pytest.raises(DataError, match="error level"):
        calibration.conformal_quantile([1.0], 90)


def test_factor_mends_a_spread_that_is_too_small():
    value, mean, std = gaussian(4_000, 2, scale=1.5)
    factor = calibration.conformal_factor(np.abs(value - mean) / std)
    assert factor == pytest.approx(1.5, rel=0.05)
    held = calibration.interval_coverage(value, mean, np.zeros(4_000, int), 1, std=factor * std)
    assert held[0] == pytest.approx(0.9, abs=0.002)


def test_interval_scores_of_a_perfect_gaussian():
    value, mean, std = gaussian(20_000, 4)
    task = np.arange(20_000) % 2
    assert calibration.interval_coverage(value, mean, task, 2, std=std) == pytest.approx([0.9, 0.9], abs=0.01)
    width = calibration.interval_width(value, mean, task, 2, std=std)
    assert width[0] == pytest.approx(2 * 1.6448536 * std[::2].mean())
    nll = calibration.negative_log_likelihood(value, mean, task, 2, std=std)
    assert nll[0] == pytest.approx(-stats.norm.logpdf(value, mean, std)[::2].mean())
    assert calibration.error_rank_correlation(value, mean, task, 2, std=std)[0] > 0.2
    curve = calibration.calibration_curve(value, mean, std)
    np.testing.assert_allclose(curve["observed"], curve["nominal"], atol=0.015)
    assert stats.kstest(calibration.probability_integral(value, mean, std), "uniform").pvalue > 0.01


def test_a_prediction_without_spread_has_no_interval_score():
    missing = np.full(2, np.nan)
    for name, metric in calibration.CALIBRATION_METRICS.items():
        if metric.needs == "std":
            assert np.isnan(metric.function([1.0, 2.0], [1.0, 1.0], [0, 0], 1, std=missing)[0]), name


def test_calibration_error_by_hand_and_weighted():
    probability, label = np.array([0.12, 0.15, 0.92, 0.95, 1.0]), np.array([0, 1, 1, 1, 0])
    expected = 2 / 5 * abs(0.5 - 0.135) + 3 / 5 * abs(2 / 3 - (0.92 + 0.95 + 1) / 3)
    task = np.zeros(5, int)
    assert calibration.expected_calibration_error(label, probability, task, 1)[0] == pytest.approx(expected)
    weight = np.array([[1, 0], [1, 0], [1, 0], [1, 2], [1, 1]])
    both = calibration.expected_calibration_error(label, probability, task, 1, weight=weight)
    assert both[0].tolist() == pytest.approx([expected, abs(2 / 3 - 2.9 / 3)])
    table = calibration.reliability(label, probability)
    assert table["cells"].tolist() == [2, 3]
    assert table["observed"].tolist() == pytest.approx([0.5, 2 / 3])


def test_limited_factor_makes_nine_of_ten_fit():
    rng = np.random.default_rng(3)
    scores = np.abs(rng.normal(0, 1.2, 5000))
    factor = calibration.limited_factor(scores)
    assert factor == pytest.approx(1.2, abs=0.04)
    assert np.mean(scores <= factor * Z90) == pytest.approx(0.9, abs=0.001)
    assert calibration.limited_factor(scores * 10) == 1.4
    assert calibration.limited_factor(scores / 10) == 0.8
