"""The posterior of an embedding against dense linear algebra."""

import numpy as np
import pytest

from screenwise.design.batch import pick_batch_ucb
from screenwise.design.process import RbfPosterior, RbfProcess
from screenwise.errors import ConfigError, DataError


def case(seed=0, size=60):
    rng = np.random.default_rng(seed)
    features, measured = rng.normal(size=(size, 3)), rng.normal(size=(15, 3))
    return RbfProcess(1.2, 1.7, 0.05), features, measured, np.sin(2 * measured[:, 0])


def dense(process, features, measured, target):
    def kernel(a, b):
        return process.variance * np.exp(-0.5 * ((a[:, None] - b[None]) ** 2).sum(-1) / process.length**2)

    inverse = np.linalg.inv(kernel(measured, measured) + process.noise * np.eye(len(measured)))
    cross = kernel(features, measured)
    return cross @ inverse @ target, kernel(features, features) - cross @ inverse @ cross.T


def test_moments_and_columns_are_those_of_dense_algebra():
    posterior = RbfPosterior.of(*case())
    mean, covariance = dense(*case())
    np.testing.assert_allclose(posterior.mean, mean, atol=2e-4)
    np.testing.assert_allclose(posterior.variance, np.diagonal(covariance), atol=2e-4)
    np.testing.assert_allclose(np.stack([posterior.covariance(row) for row in range(60)]), covariance, atol=2e-4)


@pytest.mark.parametrize("seed", range(5))
def test_equal_candidates_are_equal_to_the_last_digit_wherever_they_stand(seed):
    process, features, measured, target = case(seed, 700)
    features[350:] = features[:350]
    order = np.random.default_rng(seed).permutation(700)
    here = RbfPosterior.of(process, features, measured, target)
    there = RbfPosterior.of(process, features[order], measured, target)
    np.testing.assert_array_equal(there.mean, here.mean[order])
    np.testing.assert_array_equal(there.variance, here.variance[order])
    np.testing.assert_array_equal(there.covariance(0), here.covariance(order[0])[order])
    keys = np.random.default_rng(seed).integers(2**63, size=700).astype(np.uint64)
    picks = pick_batch_ucb(here, 12, 1.0, keys=keys)
    assert picks.tolist() == order[pick_batch_ucb(there, 12, 1.0, keys=keys[order])].tolist()


def test_what_is_no_process_is_told():
    with pytest.raises(ConfigError, match="not above 0"):
        RbfProcess(0.0)
    process, features, measured, target = case()
    with pytest.raises(DataError, match="target has 14 rows for 15"):
        RbfPosterior.of(process, features, measured, target[:14])
