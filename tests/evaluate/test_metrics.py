import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from screenwise.errors import DataError
from screenwise.evaluate import metrics
from screenwise.evaluate.metrics import METRICS

TASKS = 5
REGRESSION = {
    "rmse": lambda y, p: np.sqrt(reference.mean_squared_error(y, p)),
    "mae": reference.mean_absolute_error,
    "r_squared": lambda y, p: reference.r2_score(y, p) if len(set(y)) > 1 else np.nan,
    "pearson": lambda y, p: stats.pearsonr(y, p)[0] if len(set(y)) > 1 and len(set(p)) > 1 else np.nan,
    "spearman": lambda y, p: stats.spearmanr(y, p)[0] if len(set(y)) > 1 and len(set(p)) > 1 else np.nan,
}
CLASSIFICATION = {
    "roc_auc": lambda y, p: reference.roc_auc_score(y, p) if len(set(y)) > 1 else np.nan,
    "average_precision": lambda y, p: reference.average_precision_score(y, p) if len(set(y)) > 1 else np.nan,
    "brier": lambda y, p: np.mean((y - p) ** 2),
    "log_loss": lambda y, p: reference.log_loss(y, p, labels=[0, 1]),
    "accuracy": lambda y, p: reference.accuracy_score(y, p >= 0.5),
    "balanced_accuracy": lambda y, p: reference.balanced_accuracy_score(y, p >= 0.5) if len(set(y)) > 1 else np.nan,
}


@st.composite
def sparse_cells(draw):
    """Random cells of a few tasks: few distinct values, so that ties, constants and empty tasks occur."""
    number = draw(st.integers(0, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    distinct = draw(st.sampled_from([2, 4, 1000]))
    value = rng.integers(0, distinct, number) / 7
    prediction = rng.integers(0, distinct, number) / 9
    offset = draw(st.sampled_from([0.0, 50.0]))
    return value + offset, prediction + offset, rng.integers(0, TASKS, number)


def per_task(function, value, prediction, task):
    scores = np.full(TASKS, np.nan)
    for t in range(TASKS):
        own = task == t
        if own.any():
            scores[t] = function(value[own], prediction[own])
    return scores


@pytest.mark.parametrize("name", REGRESSION)
@settings(max_examples=40, deadline=None)
@given(cells=sparse_cells())
def test_regression_equals_reference(name, cells):
    value, prediction, task = cells
    ours = METRICS[name].function(value, prediction, task, TASKS)
    np.testing.assert_allclose(ours, per_task(REGRESSION[name], value, prediction, task), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", CLASSIFICATION)
@settings(max_examples=40, deadline=None)
@given(cells=sparse_cells(), cut=st.floats(0, 1))
def test_classification_equals_reference(name, cells, cut):
    value, prediction, task = cells
    label = (value > np.quantile(value, cut)).astype(float) if len(value) else value
    chance = 1 / (1 + np.exp(-(prediction - prediction.mean()) if len(prediction) else prediction))
    ours = METRICS[name].function(label, chance, task, TASKS)
    np.testing.assert_allclose(ours, per_task(CLASSIFICATION[name], label, chance, task), rtol=1e-9, atol=1e-9)


def test_every_metric_is_checked_against_a_reference():
    assert set(METRICS) == {*REGRESSION, *CLASSIFICATION, "rmse_censored", "count"}


@pytest.mark.parametrize("name", [name for name in METRICS if name != "rmse_censored"])
@settings(max_examples=25, deadline=None)
@given(cells=sparse_cells(), seed=st.integers(0, 100))
def test_whole_weights_are_repeated_cells(name, cells, seed):
    """What the bootstrap rests on: b sets of weights at once = the plain metric of the repeated cells."""
    value, prediction, task = cells
    metric = METRICS[name]
    if metric.kind == "classification":
        value, prediction = (value > np.median(value)) * 1.0 if len(value) else value, prediction % 1
    weight = np.random.default_rng(seed).integers(0, 3, (len(value), 4))
    together = metric.function(value, prediction, task, TASKS, weight=weight)
    assert together.shape == (TASKS, 4)
    for column in range(4):
        times = weight[:, column]
        repeated = [np.repeat(array, times) for array in (value, prediction, task)]
        plain = metric.function(*repeated, TASKS)
        np.testing.assert_allclose(together[:, column], plain, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(metric.function(value, prediction, task, TASKS, weight=times), plain, atol=1e-6)


@given(cells=sparse_cells(), seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_order_of_cells_does_not_matter(cells, seed):
    order = np.random.default_rng(seed).permutation(len(cells[0]))
    for name in ("rmse", "spearman", "r_squared", "count"):
        straight = METRICS[name].function(*cells, TASKS)
        shuffled = METRICS[name].function(*(array[order] for array in cells), TASKS)
        np.testing.assert_allclose(shuffled, straight, rtol=1e-9, atol=1e-9)


def test_censored_cells_err_only_on_their_wrong_side():
    value, prediction = np.full(6, 5.0), np.array([4.0, 6.0, 4.0, 6.0, 4.0, 6.0])
    relation = [-1, -1, 0, 0, 1, 1]
    ours = metrics.rmse_censored(value, prediction, np.arange(6), 6, relation=relation)
    assert ours.tolist() == [0, 1, 1, 1, 1, 0]


def test_missing_values_and_predictions_are_left_out():
    value, prediction = [1.0, np.nan, 3.0, 4.0], [1.0, 2.0, np.nan, 6.0]
    assert metrics.rmse(value, prediction, [0, 0, 0, 0], 1)[0] == pytest.approx(np.sqrt(2))
    assert metrics.count(value, prediction, [0, 0, 0, 0], 1).tolist() == [2.0]


def test_no_cells_is_all_nan():
    for name, metric in METRICS.items():
        extra = {"relation": []} if metric.needs else {}
        scores = metric.function([], [], [], 3, **extra)
        assert scores.shape == (3,)
        assert np.isnan(scores).all() or name == "count"


def test_a_constant_is_seen_through_rounding():
    value, prediction = np.full(50, 0.1) + 1e6, np.linspace(0, 1, 50)
    for name in ("pearson", "spearman", "r_squared"):
        assert np.isnan(METRICS[name].function(value, prediction, np.zeros(50, int), 1)[0])


def test_wrong_lengths_and_task_indices_are_refused():
    with pytest.raises(DataError, match="lengths"):
        metrics.rmse([1.0, 2.0], [1.0], [0, 0], 1)
    with pytest.raises(DataError, match="0 to 0"):
        metrics.rmse([1.0], [1.0], [1], 1)
