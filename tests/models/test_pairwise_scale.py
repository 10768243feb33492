"""The scaled sum: its formula, leaving out, wider combinations, and weighing candidates."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from screenwise.models.pairwise_scale import (
    OFFSET_DOUBLES,
    SCALE_DOUBLES,
    extended,
    learn_scale,
    leave_one_out_scale,
)
from screenwise.models.pairwise_spread import SUM_RATIO, learn_shape, learn_width, prior_shape
from screenwise.models.pairwise_weigh import weigh
from screenwise.prediction import Z90


def by_formula(total, effect, prior):
    coefficient, offset = prior, np.zeros(total.shape[1])
    weight = np.square(total).sum(axis=1).mean()
    for _ in range(10):
        offset = (effect - coefficient * total).sum(axis=0) / (len(total) + OFFSET_DOUBLES)
        along = (total * (effect - offset)).sum() + SCALE_DOUBLES * weight * prior
        coefficient = along / (np.square(total).sum() + SCALE_DOUBLES * weight)
    return coefficient, offset


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 12), st.integers(0, 10_000))
def test_scale_and_leave_one_out_by_formula(count, seed):
    rng = np.random.default_rng(seed)
    total, effect = rng.normal(size=(count, 5)), rng.normal(size=(count, 5))
    scale = learn_scale(total, effect, np.full(count, 2), 0.85)
    coefficient, offset = by_formula(total, effect, 0.85)
    np.testing.assert_allclose(scale.coefficient, coefficient, rtol=1e-10)
    np.testing.assert_allclose(scale.offset, offset, atol=1e-10)
    held = leave_one_out_scale(total, effect, 0.85)
    for row in range(count):
        rest = np.delete(np.arange(count), row)
        one, shift = by_formula(total[rest], effect[rest], 0.85)
        np.testing.assert_allclose(held[row], one * total[row] + shift, atol=1e-9)


def test_each_doubling_of_genes_multiplies_the_prior():
    np.testing.assert_allclose(extended(0.85, np.array([1, 2, 3, 4])), [1, 0.85, 0.85 ** np.log2(3), 0.85**2])


def test_noise_in_wider_combinations_gives_their_mean():
    rng = np.random.default_rng(0)
    total, common = rng.normal(size=(12, 30)), 3 * rng.normal(size=30)
    noisy = common + 0.3 * rng.normal(size=(12, 30))
    scale = learn_scale(total, noisy, np.full(12, 3), 0.85)
    assert scale.wider[3].share < 0.3
    clean = learn_scale(total, 0.7 * total, np.full(12, 3), 0.85)
    assert clean.wider[3].share > 0.9


def test_weights_are_the_optimum_of_the_simplex():
    rng = np.random.default_rng(2)
    errors = rng.normal(size=(3, 25, 4)) * np.array([1.0, 1.2, 0.9])[:, None, None] + rng.normal(size=(25, 4))
    found = weigh(errors, trust=0.0)
    products = np.einsum("cmp,dmp->cd", errors, errors)
    solved = minimize(
        lambda w: w @ products @ w,
        np.full(3, 1 / 3),
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-12},
    )
    np.testing.assert_allclose(found, solved.x, atol=1e-4)


def test_widths_hold_ninety_percent_and_are_wide_where_little_is_known():
    rng = np.random.default_rng(3)
    truth = np.array([3.0, 1.0, 1.0, 0.5])
    size = rng.uniform(1, 4, 600)
    errors = rng.normal(size=(600, 4)) * truth * size[:, None]
    shape = learn_shape(prior_shape(rng.normal(size=(20, 4))), errors[:300], size[:300])
    width = learn_width(errors[:300], size[:300], shape, 1.0)
    inside = np.linalg.norm(errors[300:], axis=1) <= Z90 * width.profile * size[300:]
    assert 0.85 < inside.mean() < 0.95
    cells = np.abs(errors[300:]) <= Z90 * width.feature * size[300:, None] * shape / 2
    np.testing.assert_allclose(cells.mean(), 0.9, atol=0.04)
    np.testing.assert_allclose(cells.mean(axis=0), 0.9, atol=0.12)
    nothing = learn_width(errors[:0], size[:0], shape, SUM_RATIO)
    assert Z90 * nothing.profile > 1.5 * SUM_RATIO
