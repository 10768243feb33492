"""Conformal sets and intervals against crepes, against counting by hand, and against their promise."""

import crepes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.errors import DataError
from screenwise.evaluate.conformal import (
    NONE,
    OWN,
    POOL,
    calibration_cells,
    class_p_values,
    class_source,
    conformal_table,
    interval_table,
    label_sets,
    learn_widths,
    residual_scores,
)
from screenwise.prediction import CalibrationCells

TASKS = 3


def values(number, seed, *, scale=1.0, bounds=0.0):
    """Return the truth of Gaussian residuals and calibration cells; a share `bounds` is only known to be below."""
    rng = np.random.default_rng(seed)
    std = rng.uniform(0.5, 2, number)
    mean = rng.normal(size=number)
    truth = mean + scale * std * rng.normal(size=number)
    below = rng.random(number) < bounds
    value = np.where(below, truth + rng.exponential(size=number), truth)
    return truth, CalibrationCells(np.arange(number) % TASKS, value, np.where(below, -1, 0), mean, std)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), digits=st.integers(1, 6))
def test_p_values_and_sets_equal_crepes(seed, digits):
    """Few digits make ties between calibration and new scores."""
    rng = np.random.default_rng(seed)
    score, label, task = rng.random(120).round(digits), rng.integers(0, 2, 120), rng.integers(0, TASKS, 120)
    new, new_task = rng.random(40).round(digits), rng.integers(0, TASKS, 40)
    other = crepes.ConformalClassifier().fit(np.where(label == 1, -score, score), bins=task * 2 + label)
    expected = np.column_stack(
        [
            other.predict_p((sign * new)[:, None], bins=new_task * 2 + side, smoothing=False)[:, 0]
            for side, sign in ((0, 1), (1, -1))
        ]
    )
    seen = calibration_cells(task, label, score)
    ours = class_p_values(seen, new, new_task, least=1, tau=1.0)
    np.testing.assert_allclose(ours, expected, rtol=1e-12)
    np.testing.assert_array_equal(label_sets(ours, 0.23), expected > 0.23)
    interpolated = class_p_values(seen, new, new_task, least=1)
    assert (interpolated <= ours).all(), "sets are never larger than the safe ones"


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), digits=st.integers(1, 6))
def test_smoothed_p_values_equal_crepes_with_the_same_random_numbers(seed, digits):
    rng = np.random.default_rng(seed)
    score, new = rng.random(50).round(digits), rng.random(20).round(digits)
    positive = calibration_cells(np.zeros(50, int), np.ones(50), score)
    other = crepes.ConformalClassifier().fit(-score)
    expected = other.predict_p(-new[:, None], smoothing=True, seed=seed)
    tau = np.random.RandomState(seed).rand(20)  # crepes draws so
    ours = class_p_values(positive, new, np.zeros(20, int), least=1, tau=tau)
    np.testing.assert_allclose(ours[:, [1]], expected, rtol=1e-12)


def test_p_values_run_from_one_calibration_score_to_the_next():
    seen = calibration_cells(np.zeros(4, int), np.zeros(4), [0.2, 0.4, 0.4, 0.8])
    asked = [0.9, 0.8, 0.7, 0.5, 0.4, 0.3, 0.25, 0.2, 0.1]
    p = class_p_values(seen, asked, np.zeros(9, int), least=1)[:, 0]
    #        beyond, tie, a quarter of the way down, three quarters, tie of two, half, three quarters, tie, below all
    np.testing.assert_allclose(p * 5, [1, 2, 1.25, 1.75, 4, 3.5, 3.75, 5, 5])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), order=st.randoms(use_true_random=False))
def test_p_values_depend_on_nothing_but_the_score(seed, order):
    rng = np.random.default_rng(seed)
    score, label, task = rng.random(60), rng.integers(0, 2, 60), rng.integers(0, TASKS, 60)
    new, new_task = rng.random(30), rng.integers(0, TASKS, 30)
    places, asked = list(range(60)), list(range(30))
    order.shuffle(places)
    order.shuffle(asked)
    seen, shuffled = (
        calibration_cells(task, label, score),
        calibration_cells(task[places], label[places], score[places]),
    )
    whole = class_p_values(seen, new, new_task, least=1)
    np.testing.assert_array_equal(class_p_values(shuffled, new[asked], new_task[asked], least=1), whole[asked])
    np.testing.assert_array_equal(class_p_values(seen, new[:1], new_task[:1], least=1), whole[:1])
    rising = np.linspace(0, 1, 500)
    p = class_p_values(seen, rising, np.zeros(500, int), least=1)
    assert (np.diff(p[:, 0]) <= 0).all()
    assert (np.diff(p[:, 1]) >= 0).all()


@pytest.mark.parametrize("number", [11, 18, 40])
@pytest.mark.parametrize("shape", ["normal", "exponential", "uniform"])
def test_few_cells_rule_out_as_many_labels_as_asked(number, shape):
    """Where (n + 1) x error is no whole number, counting the cell itself in full rules out too few."""
    rng, tasks = np.random.default_rng(0), 4000
    task = np.repeat(np.arange(tasks), number)
    seen = calibration_cells(task, np.ones(len(task)), getattr(rng, shape)(size=len(task)))
    new, new_task = getattr(rng, shape)(size=10 * tasks), np.repeat(np.arange(tasks), 10)
    p, safe, chance = (
        class_p_values(seen, new, new_task, least=1, tau=tau)[:, 1] for tau in (None, 1.0, rng.random(10 * tasks))
    )
    for error in (0.1, 0.2, 0.3):
        assert (p <= error).mean() == pytest.approx(error, abs=0.012)
        assert (chance <= error).mean() == pytest.approx(error, abs=0.008)
        assert (safe <= error).mean() == pytest.approx(np.floor(error * (number + 1) + 1e-9) / (number + 1), abs=0.008)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), digits=st.integers(0, 3), order=st.randoms(use_true_random=False))
def test_ties_are_shared_as_tau_says_whatever_the_order(seed, digits, order):
    rng = np.random.default_rng(seed)
    score, label, task = rng.random(60).round(digits), rng.integers(0, 2, 60), rng.integers(0, TASKS, 60)
    new, new_task, tau = rng.random(20).round(digits), rng.integers(0, TASKS, 20), rng.random(20)
    places = list(range(60))
    order.shuffle(places)
    shuffled = calibration_cells(task[places], label[places], score[places])
    ours = class_p_values(shuffled, new, new_task, least=1, tau=tau)
    for cell in range(20):
        for side, sign in ((0, 1), (1, -1)):
            known = sign * score[(task == new_task[cell]) & (label == side)]
            if len(known):
                x = sign * new[cell]
                by_hand = (np.sum(known > x) + tau[cell] * (np.sum(known == x) + 1)) / (len(known) + 1)
                assert ours[cell, side] == pytest.approx(by_hand, rel=1e-12)


def test_smoothed_p_values_are_uniform_where_every_score_is_tied():
    """A model that says the same of all: without tau nothing is ever ruled out, with it errors are as asked."""
    seen = calibration_cells(np.zeros(40, int), np.arange(40) % 2, np.full(40, 0.5))
    task, score = np.zeros(20_000, int), np.full(20_000, 0.5)
    assert (class_p_values(seen, score, task) == 1).all()
    smooth = class_p_values(seen, score, task, tau=np.random.default_rng(0).random(20_000))
    np.testing.assert_allclose(1 - label_sets(smooth, 0.2).mean(axis=0), 0.2, atol=0.01)


def test_sets_are_valid_in_each_class_also_when_one_is_rare():
    rng = np.random.default_rng(0)
    label = (rng.random(60_000) < 0.1).astype(int)
    score, task = rng.normal(size=60_000) + label, rng.integers(0, TASKS, 60_000)
    seen = calibration_cells(task[:30_000], label[:30_000], score[:30_000])
    sets = label_sets(class_p_values(seen, score[30_000:], task[30_000:]), error=0.2)
    table = conformal_table(sets, task[30_000:], TASKS, label[30_000:])
    np.testing.assert_allclose(table[["validity_0", "validity_1"]], 0.8, atol=0.05)
    assert (table["efficiency"] < 0.9).all()
    assert table["positives"].sum() == label[30_000:].sum()


def test_a_class_with_few_cells_borrows_those_of_all_tasks_and_says_so():
    task, label = np.repeat([0, 1], 30), np.tile([0, 1], 30)
    label[task == 1] = 0
    score = np.random.default_rng(0).random(60)
    seen = calibration_cells(task, label, score)
    assert class_source(seen, 3).tolist() == [[OWN, OWN], [OWN, POOL], [POOL, POOL]]
    assert class_source(seen.take([0, 1]), 1).tolist() == [[NONE, NONE]]
    alone, lent = (class_p_values(seen, [0.4], [one]) for one in (0, 1))
    assert lent[0, 1] == alone[0, 1], "all positives are of task 0"
    everything = calibration_cells(np.zeros(60, int), label, score)
    assert class_p_values(seen, [0.4], [2])[0].tolist() == class_p_values(everything, [0.4], [0])[0].tolist()


def test_no_prediction_has_no_label_and_no_calibration_rules_nothing_out():
    seen = calibration_cells([0], [1], [0.5])
    p = class_p_values(seen, [np.nan, 0.5], [0, 1], least=1)
    assert np.isnan(p[0]).all()
    assert p[1].tolist() == [1.0, 1.0]
    assert label_sets(p, 0.1).tolist() == [[False, False], [True, True]]
    nothing = seen.take(slice(0, 0))
    assert class_p_values(nothing, [0.5], [0]).tolist() == [[1.0, 1.0]]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_table_by_hand(seed):
    rng = np.random.default_rng(seed)
    sets, task = rng.random((50, 2)) < 0.5, rng.integers(0, TASKS, 50)
    label = rng.choice([0.0, 1.0, np.nan], 50)
    table = conformal_table(sets, task, TASKS + 1, label)
    for one in range(TASKS):
        mine, known = sets[task == one], label[task == one]
        single = mine.sum(axis=1) == 1
        assert table["efficiency"][one] == pytest.approx(single.mean())
        assert table["efficiency_1"][one] == pytest.approx((single & mine[:, 1]).mean())
        assert table["efficiency_some"][one] == pytest.approx(single.sum() / mine.any(axis=1).sum())
        assert table["none"][one] == pytest.approx((~mine.any(axis=1)).mean())
        if (known == 0).any():
            assert table["validity_0"][one] == pytest.approx(mine[known == 0, 0].mean())
    assert table["cells"][TASKS] == 0
    assert np.isnan(table["efficiency"][TASKS])


def test_exact_values_alone_give_the_intervals_of_crepes():
    """Where 23 % of 99 + 1 is a whole number; else ours lie between those of crepes and the next narrower ones."""
    _, cells = values(99 * TASKS, 0)
    residual = cells.value - cells.mean
    other = crepes.ConformalRegressor().fit(residuals=residual, sigmas=cells.std, bins=cells.task)
    rank = np.arange(TASKS)

    def theirs(confidence):
        return other.predict_int(y_hat=0 * rank, sigmas=1 + 0 * rank, bins=rank, confidence=confidence)[:, 1]

    np.testing.assert_allclose(learn_widths(cells, TASKS, 0.23).factor, theirs(0.77), rtol=1e-12)
    between = learn_widths(cells, TASKS, 0.2325).factor
    np.testing.assert_allclose(between, 0.25 * theirs(0.76) + 0.75 * theirs(0.77), rtol=1e-12)


@pytest.mark.parametrize("bounds", [0.0, 0.4])
@pytest.mark.parametrize("error", [0.1, 0.3])
def test_intervals_hold_values_and_bounds_as_often_as_asked(bounds, error):
    truth, cells = values(60_000, 1, scale=1.7, bounds=bounds)
    seen, new = cells.take(slice(0, 30_000)), cells.take(slice(30_000, None))
    factor = learn_widths(seen, TASKS, error).factor[new.task]
    ends = new.mean - factor * new.std, new.mean + factor * new.std
    table = interval_table(ends, (new.task, new.value, new.relation), TASKS)
    np.testing.assert_allclose(table["validity"], 1 - error, atol=0.02)
    held = (truth[30_000:] >= ends[0]) & (truth[30_000:] <= ends[1])
    assert held.mean() == pytest.approx(1 - error, abs=0.012), "what a bound hides is not held less often"
    if bounds:
        assert (table["validity_bounds"] > 1 - error).all()


def test_bounds_that_the_model_overshoots_widen_the_intervals():
    value = np.zeros(100)
    exact = CalibrationCells(np.zeros(100, int), value, np.zeros(100, int), np.full(100, 0.1), np.ones(100))
    relation, mean = np.repeat([0, -1], 50), np.repeat([0.1, 3.0], 50)
    overshot = CalibrationCells(exact.task, value, relation, mean, exact.std)
    assert learn_widths(exact, 1, 0.2).factor[0] == pytest.approx(0.1)
    assert learn_widths(overshot, 1, 0.2).factor[0] == pytest.approx(3.0)
    right = CalibrationCells(exact.task, value, relation, np.repeat([0.1, -3.0], 50), exact.std)
    assert learn_widths(right, 1, 0.2).factor[0] == pytest.approx(0.1), "bounds on the right side never make it narrow"


def test_above_mirrors_below():
    _, cells = values(50, 3, bounds=0.5)
    mirror = CalibrationCells(cells.task, -cells.value, -cells.relation, -cells.mean, cells.std)
    np.testing.assert_array_equal(residual_scores(cells), residual_scores(mirror))


def test_a_task_with_few_values_borrows_widths_in_units_of_its_own_std():
    _, cells = values(300, 4)
    few = cells.take((cells.task != 2) | (np.arange(300) < 15))
    widths = learn_widths(few, TASKS + 1, 0.1)
    assert widths.source.tolist() == [OWN, OWN, POOL, POOL]
    assert widths.factor[2] == widths.factor[3]
    assert np.isnan(widths.blank[3])
    assert learn_widths(few, TASKS, 0.001).source.tolist() == [NONE] * TASKS, "one in a thousand wants 999 cells"
    assert np.isinf(learn_widths(few, TASKS, 0.001).factor).all()


def test_what_knowing_nothing_costs():
    value = np.arange(101.0)
    cells = CalibrationCells(np.zeros(101, int), value, np.zeros(101, int), value, np.ones(101))
    assert learn_widths(cells, 1, 0.1).blank[0] == pytest.approx(90, abs=1)


@pytest.mark.parametrize("error", [0.0, 1.0, 10.0])
def test_error_levels_are_checked(error):
    with pytest.raises(DataError, match="between 0 and 1"):
        label_sets(np.ones((1, 2)), error)
    with pytest.raises(DataError, match="between 0 and 1"):
        learn_widths(values(10, 0)[1], TASKS, error)
