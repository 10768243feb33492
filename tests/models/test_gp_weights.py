import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from screenwise.models.gp_weights import NOISE_BOUNDS, Prior, learn_weights, log_marginal_likelihood


def kernels(n=40, m=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(m, n, 4))
    distance = ((x[:, :, None] - x[:, None]) ** 2).sum(-1)
    return np.exp(-distance / 4), rng


def test_likelihood_is_that_of_a_normal_distribution():
    grams, rng = kernels()
    y = rng.normal(size=40)
    theta, factors, offset = np.array([0.1, -0.5, -1.0, -1.5]), rng.uniform(0.5, 2, 40), 0.3
    covariance = np.tensordot(np.exp(theta[:-1]), grams, 1) + np.diag(np.exp(theta[-1]) * factors) + offset
    expected = multivariate_normal(np.zeros(40), covariance).logpdf(y)
    assert log_marginal_likelihood(grams, y, theta, factors, offset)[0] == pytest.approx(expected, abs=1e-8)


def test_gradient_is_that_of_finite_differences():
    grams, rng = kernels(seed=1)
    y, factors = rng.normal(size=40), rng.uniform(0.5, 2, 40)
    theta = np.array([0.3, -2.0, -0.2, -1.0])
    numeric = approx_fprime(theta, lambda at: log_marginal_likelihood(grams, y, at, factors, 0.1)[0], 1e-6)
    np.testing.assert_allclose(log_marginal_likelihood(grams, y, theta, factors, 0.1)[1], numeric, atol=2e-4)


def test_weights_agree_with_scikit_learn():
    """One kernel, flat prior: amplitude and noise that GaussianProcessRegressor finds."""

    rng = np.random.default_rng(2)
    x = rng.uniform(0, 8, (120, 1))
    y = np.sin(x[:, 0]) * 1.2 + rng.normal(0, 0.4, 120)
    gram = np.exp(-0.5 * (x - x.T) ** 2)
    learned = learn_weights(gram[None].astype(np.float32), y, Prior(sd=1e3, offset=0.0), evaluations=(60, 60))
    peer = GaussianProcessRegressor(ConstantKernel(1.0) * RBF(1.0, "fixed") + WhiteKernel(0.1)).fit(x, y)
    amplitude, noise = np.exp(peer.kernel_.theta)
    assert learned.kernel[0] == pytest.approx(amplitude, rel=0.02)
    assert learned.noise == pytest.approx(noise, rel=0.02)
    assert learned.log_likelihood == pytest.approx(peer.log_marginal_likelihood_value_, abs=0.01)


def test_two_stages_end_where_one_long_search_ends():
    grams, rng = kernels(n=700, m=2, seed=3)
    y = rng.multivariate_normal(np.zeros(700), 0.8 * grams[0] + 0.2 * np.eye(700))
    short = learn_weights(grams.astype(np.float32), y, Prior(), first_rows=300)
    long = learn_weights(grams.astype(np.float32), y, Prior(), first_rows=700, evaluations=(200, 200))
    assert short.kernel[0] == pytest.approx(long.kernel[0], rel=0.05)
    assert short.noise == pytest.approx(long.noise, rel=0.05)
    assert short.rows == long.rows == 700


def test_targets_without_noise_and_without_signal_stay_finite():
    grams, rng = kernels(n=60, m=1, seed=4)
    exact = rng.multivariate_normal(np.zeros(60), grams[0] + 1e-9 * np.eye(60))
    assert learn_weights(grams.astype(np.float32), exact, Prior()).noise >= NOISE_BOUNDS[0] * 0.999
    noise = learn_weights(grams.astype(np.float32), rng.normal(size=60), Prior())
    assert np.isfinite(noise.kernel).all()
    assert noise.noise > 0.3


def test_a_strong_prior_keeps_the_medians():
    grams, rng = kernels(seed=5)
    learned = learn_weights(grams.astype(np.float32), rng.normal(size=40), Prior(weight=1.5, noise=0.15, sd=1e-4))
    np.testing.assert_allclose(learned.kernel, 0.5, rtol=0.01)
    assert learned.noise == pytest.approx(0.15, rel=0.01)
