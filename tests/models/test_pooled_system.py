"""The linear systems of a group, against dense algebra."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screenwise.models.pooled_system import exact_system, landmark_system


def covariance(rng, n):
    x = rng.normal(size=(n, 3))
    return np.exp(-0.5 * np.square(x[:, None] - x).sum(axis=2)) + 0.2


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 30), st.integers(1, 12), st.integers(0, 2**31))
def test_left_out_groups_are_those_of_a_smaller_system(n, groups, seed):
    rng = np.random.default_rng(seed)
    prior, noise = covariance(rng, n), rng.uniform(0.1, 1.0, n)
    code, y = rng.integers(0, groups, n), rng.normal(size=(n, 2))
    system = exact_system(prior.copy(), noise)
    residual, variance = system.left_out(system.solve(y), code)
    for group in np.unique(code):
        out, rest = code == group, code != group
        gain = prior[np.ix_(out, rest)] @ np.linalg.inv(prior[np.ix_(rest, rest)] + np.diag(noise[rest]))
        np.testing.assert_allclose(y[out] - residual[out], gain @ y[rest], atol=1e-6)
        left = prior[np.ix_(out, out)] - gain @ prior[np.ix_(rest, out)]
        np.testing.assert_allclose(variance[out], np.diag(left) + noise[out], atol=1e-6)


@pytest.mark.parametrize("landmarks", [5, 40])
def test_landmarks_are_the_covariance_that_they_imply(landmarks):
    rng = np.random.default_rng(0)
    prior, noise, y = covariance(rng, 40), rng.uniform(0.1, 0.5, 40), rng.normal(size=(40, 2))
    some = np.sort(rng.permutation(40)[:landmarks])
    system = landmark_system(lambda part: prior[part][:, some].astype(np.float32), 1.2, noise, some, step=7)
    low = prior[:, some] @ np.linalg.inv(prior[np.ix_(some, some)] + 1e-6 * np.eye(landmarks)) @ prior[some]
    whole = low + np.diag(noise + np.maximum(np.diag(prior - low), 0))
    inverse = np.linalg.inv(whole)
    np.testing.assert_allclose(system.solve(y), inverse @ y, atol=2e-2)
    residual, variance = system.left_out(system.solve(y), np.arange(40))
    np.testing.assert_allclose(variance, 1 / np.diag(inverse), rtol=2e-2)
    np.testing.assert_allclose(residual, (inverse @ y) / np.diag(inverse)[:, None], atol=3e-2)
    weights = system.weights(system.solve(y), y)
    np.testing.assert_allclose(prior[:, some] @ weights, system.fitted(system.solve(y), y), atol=0.3)
    expected = np.diag(prior) - np.diag(low) if landmarks < 40 else np.zeros(40)
    assert system.unexplained == pytest.approx(np.maximum(expected, 0).mean() / 1.2, abs=1e-3)
    known = system.explained(prior[:, some].astype(np.float32))
    assert (known <= 1.2 + 1e-3).all()
    if landmarks == 40:
        exact = exact_system(prior.copy(), noise)
        np.testing.assert_allclose(known, exact.explained(prior.astype(np.float32)), atol=1e-2)
