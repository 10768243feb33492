"""Probabilities of scores: calibrated where there is much to learn from, careful where there is little."""

import numpy as np
from scipy.special import expit

from screenwise.models.pooled_probability import learn_curves, learn_slope


def drawn(level, slope, count, seed=0):
    rng = np.random.default_rng(seed)
    score = rng.normal(size=count)
    return score, (rng.random(count) < expit(level + slope * score)).astype(float)


def test_many_cells_give_the_curve_they_were_drawn_from():
    parts = [drawn(-1.0, 2.0, 4000, 1), drawn(0.5, 1.5, 4000, 2)]
    score, label = (np.concatenate([part[place] for part in parts]) for place in (0, 1))
    curves = learn_curves(score, label, np.repeat([0, 1], 4000), 2)
    np.testing.assert_allclose(curves.level, [-1.0, 0.5], atol=0.15)
    np.testing.assert_allclose(curves.slope, [2.0, 1.5], atol=0.2)


def test_few_cells_take_the_slope_of_all_tasks_and_never_fall():
    score, label = drawn(0.0, 2.0, 3000)
    few_score, few_label = np.array([-1.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])
    curves = learn_curves(
        np.append(score, few_score), np.append(label, few_label), np.append(np.zeros(3000, int), [1, 1, 1]), 3
    )
    assert 0.8 < curves.slope[1] < 2.0
    assert (curves.slope > 0).all()
    assert np.isfinite(curves.probability(np.array([0.3]), np.array([2]))).all(), "a task that was never seen"


def test_one_class_keeps_finite_odds():
    curves = learn_curves(np.array([0.0, 0.1, 0.2]), np.ones(3), np.zeros(3, int), 1)
    assert 0.5 < curves.probability(np.array([0.1]), np.array([0]))[0] < 1.0


def test_slope_beside_given_levels():
    score, label = drawn(0.7, 1.2, 20_000)
    level, slope = learn_slope(score, label, np.full(20_000, 0.7))
    assert abs(level) < 0.06
    assert abs(slope - 1.2) < 0.06
