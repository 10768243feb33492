"""The process over pairs: its gradient, and leave-one-out against doing it."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from screenwise.models.pairwise_process import Evidence, band_columns, condition, fit_process, log_likelihood


@pytest.fixture(scope="module")
def evidence():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(18, 3))
    apart = np.square(x[:, None] - x[None]).sum(axis=2)
    grams = np.stack([np.exp(-apart), np.exp(-apart / 4), np.ones((18, 18))])
    total = rng.normal(size=(18, 7))
    y = 0.8 * total + np.sin(x @ rng.normal(size=(3, 7))) + 0.1 * rng.normal(size=(18, 7))
    return Evidence(grams, band_columns(total), y, np.array([0.85, 0.85]))


def test_the_gradient_is_that_of_the_likelihood(evidence):
    theta = np.array([-0.5, 0.3, -1.0, -1.2, 0.8, 0.6])
    _, slope = log_likelihood(evidence, theta, 1.3)
    numeric = approx_fprime(theta, lambda at: log_likelihood(evidence, at, 1.3)[0], 1e-6)
    np.testing.assert_allclose(slope, numeric, rtol=1e-4, atol=1e-3)


def test_leave_one_out_is_what_leaving_out_gives(evidence):
    process = fit_process(evidence)
    error, variance = process.held_out()
    for row in (0, 7, 17):
        rest = np.delete(np.arange(18), row)
        part = Evidence(
            evidence.grams[:, rest[:, None], rest], evidence.means[:, rest], evidence.y[rest], evidence.prior
        )
        smaller = condition(part, (process.weights, process.noise, process.beta), process.variance)
        cross, own = evidence.grams[:, [row]][:, :, rest], evidence.grams[:, [row], [row]]
        told = np.tensordot(process.beta, evidence.means[:, row], axes=1) + smaller.departures(cross)[0]
        np.testing.assert_allclose(evidence.y[row] - told, error[row], atol=1e-8)
        np.testing.assert_allclose(smaller.variances(cross, own), variance[row], rtol=1e-8)


def test_bands_add_up_to_the_whole():
    total = np.random.default_rng(1).normal(size=(4, 33))
    columns = band_columns(total)
    assert len(columns) == 3
    np.testing.assert_array_equal(columns.sum(axis=0), total)
