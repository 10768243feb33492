import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from screenwise.evaluate.calibration import expected_calibration_error
from screenwise.evaluate.classification import CLASSIFICATION_METRICS
from screenwise.evaluate.scoring import ALL_METRICS, DETAILS, measures
from screenwise.evaluate.sparsechem_scores import classification_scores

TASKS = 4
SAME = {"auc_pr": "auc_pr", "auc_pr_calibrated": "auc_pr_cal", "f1_best": "f1_max", "kappa": "kappa"}
SAME |= {"kappa_best": "kappa_max", "ace": "ace", "bedroc": "bedroc"}


@st.composite
def labelled(draw):
    number = draw(st.integers(0, 80))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    chance = rng.random(number)
    coarse = draw(st.booleans())
    return (rng.random(number) < 0.4) * 1.0, chance.round(1) if coarse else chance, rng.integers(0, TASKS, number)


@settings(max_examples=40, deadline=None)
@given(cells=labelled())
def test_the_same_numbers_as_under_sparsechems_names(cells):
    scores = classification_scores(*cells, TASKS)
    one_class = (scores["num_pos"] == 0) | (scores["num_neg"] == 0)
    for name, field in SAME.items():
        ours = CLASSIFICATION_METRICS[name].function(*cells, TASKS)
        np.testing.assert_allclose(ours[~one_class], scores[field][~one_class], rtol=1e-12, err_msg=name)
        assert name == "ace" or np.isnan(ours[one_class]).all()
    ece = expected_calibration_error(*cells, TASKS)
    np.testing.assert_allclose(ece[~one_class], scores["ece"][~one_class], atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(cells=labelled())
def test_calls_at_even_odds_equal_scikit_learn(cells):
    label, chance, task = cells
    ours = {name: CLASSIFICATION_METRICS[name].function(*cells, TASKS) for name in CLASSIFICATION_METRICS}
    for t in range(TASKS):
        y, called = label[task == t], chance[task == t] >= 0.5
        if len(set(y)) < 2:
            assert np.isnan(ours["matthews"][t])
            continue
        assert ours["matthews"][t] == pytest.approx(reference.matthews_corrcoef(y, called), abs=1e-9)
        assert ours["sensitivity"][t] == pytest.approx(reference.recall_score(y, called), abs=1e-9)
        assert ours["specificity"][t] == pytest.approx(reference.recall_score(y, called, pos_label=0), abs=1e-9)


@pytest.mark.parametrize("name", CLASSIFICATION_METRICS)
@settings(max_examples=25, deadline=None)
@given(cells=labelled(), seed=st.integers(0, 100))
def test_whole_weights_are_repeated_cells(name, cells, seed):
    function = CLASSIFICATION_METRICS[name].function
    weight = np.random.default_rng(seed).integers(0, 3, (len(cells[0]), 3))
    together = function(*cells, TASKS, weight=weight)
    assert together.shape == (TASKS, 3)
    for column in range(3):
        repeated = [np.repeat(array, weight[:, column]) for array in cells]
        plain = function(*repeated, TASKS)
        np.testing.assert_allclose(together[:, column], plain, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(function(*cells, TASKS, weight=weight[:, column]), plain, rtol=1e-9, atol=1e-9)


def test_every_score_is_in_the_products_table_and_details_are_scores():
    assert set(CLASSIFICATION_METRICS) < set(ALL_METRICS)
    assert set(DETAILS) < set(CLASSIFICATION_METRICS)
    assert "auc_pr_calibrated" in measures(np.array(["classification"]))
    assert "auc_pr" not in measures(np.array(["regression"]))
