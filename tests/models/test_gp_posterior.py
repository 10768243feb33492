import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from screenwise.errors import ModelError
from screenwise.models.gp_posterior import (
    TaskPosterior,
    factorise,
    leave_group_out,
    leave_one_out,
    predict_latent,
)


def problem(n=30, q=7, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 6, n + q)
    prior = np.exp(-0.5 * (x[:, None] - x) ** 2) + 0.1
    y = np.sin(x[:n]) + rng.normal(0, 0.3, n)
    return prior, y, 0.09


def brute(prior, y, noise, known, asked):
    """Posterior mean and total variance by the textbook formula."""
    inner = np.linalg.inv(prior[np.ix_(known, known)] + noise * np.eye(len(known)))
    cross = prior[np.ix_(asked, known)]
    covariance = prior[np.ix_(asked, asked)] - cross @ inner @ cross.T
    return cross @ inner @ y[known], covariance


def test_prediction_agrees_with_scikit_learn():

    rng = np.random.default_rng(1)
    x, new = rng.normal(size=(50, 3)), rng.normal(size=(9, 3))
    y = x[:, 0] + rng.normal(0, 0.2, 50)
    kernel = ConstantKernel(2.0, "fixed") * RBF(1.5, "fixed")
    peer = GaussianProcessRegressor(kernel, alpha=0.04, optimizer=None).fit(x, y)
    mean, std = peer.predict(new, return_std=True)
    factor = factorise(kernel(x) + 0.04 * np.eye(50), y)
    ours, variance = predict_latent(factor, kernel(new, x).astype(np.float32), kernel.diag(new))
    np.testing.assert_allclose(ours, mean, atol=1e-5)
    np.testing.assert_allclose(np.sqrt(variance), std, atol=1e-5)


def test_leave_one_out_is_a_refit_without_the_row():
    prior, y, noise = problem()
    n = len(y)
    factor = factorise(prior[:n, :n] + noise * np.eye(n), y)
    mean, variance = leave_one_out(factor, y)
    for row in range(n):
        expected, covariance = brute(prior, y, noise, np.delete(np.arange(n), row), [row])
        assert mean[row] == pytest.approx(expected[0], abs=1e-8)
        assert variance[row] == pytest.approx(covariance[0, 0] + noise, abs=1e-8)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=30, max_size=30))
def test_leave_group_out_is_a_refit_without_the_group(codes):
    prior, y, noise = problem(seed=2)
    n, groups = len(y), np.array(codes)
    if len(set(codes)) == 1:
        return
    factor = factorise(prior[:n, :n] + noise * np.eye(n), y)
    mean, variance = leave_group_out(factor, y, groups)
    for group in set(codes):
        mine = np.flatnonzero(groups == group)
        expected, covariance = brute(prior, y, noise, np.flatnonzero(groups != group), mine)
        np.testing.assert_allclose(mean[mine], expected, atol=1e-7)
        np.testing.assert_allclose(variance[mine], np.diag(covariance) + noise, atol=1e-7)


def test_one_group_of_all_rows_is_the_prior():
    prior, y, noise = problem(n=12)
    factor = factorise(prior[:12, :12] + noise * np.eye(12), y)
    mean, variance = leave_group_out(factor, y, np.zeros(12, np.int64))
    np.testing.assert_allclose(mean, 0, atol=1e-8)
    np.testing.assert_allclose(variance, np.diag(prior)[:12] + noise, atol=1e-8)


def test_not_positive_definite_is_our_error():
    with pytest.raises(ModelError, match="not positive definite"):
        factorise(np.array([[1.0, 2.0], [2.0, 1.0]]), np.zeros(2))


def test_posterior_computes_columns_once_and_in_blocks():
    rng = np.random.default_rng(4)
    root = rng.normal(size=(600, 10))
    whole = (root @ root.T).astype(np.float32)
    calls = []

    def columns(asked):
        calls.append(len(asked))
        return whole[:, asked]

    posterior = TaskPosterior(rng.normal(size=600), np.diag(whole).astype(float), 0.1, columns)
    best = np.argsort(-(posterior.mean + np.sqrt(posterior.variance)))
    for candidate in best[:50]:
        np.testing.assert_allclose(posterior.covariance(candidate), whole[:, candidate])
    assert len(calls) == 1
    np.testing.assert_allclose(posterior.covariance(int(best[-1])), whole[:, best[-1]])
    assert len(calls) == 2


def test_spread_posterior_has_nan_where_nothing_is_known():
    posterior = TaskPosterior(
        np.array([1.0, 2.0]), np.ones(2), 0.1, lambda asked: np.eye(2, dtype=np.float32)[:, asked]
    )
    wide = posterior.spread(np.array([0, 2]), 3)
    assert np.isnan(wide.mean[1])
    assert wide.mean[2] == 2.0
    np.testing.assert_array_equal(wide.covariance(2), [0.0, np.nan, 1.0])
    assert np.isnan(wide.covariance(1)).all()
