"""Processes of other libraries: their joint posterior is one."""

import numpy as np
import pandas as pd
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import Ridge

from screenwise.errors import ModelError
from screenwise.models import joint
from screenwise.models.adapter import Adapter
from screenwise.models.joint import JointAdapter
from screenwise.protocols import Embeds, HasPosterior
from screenwise.screen import make_screen


def screen(n=50):
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (n, 2))
    value = 5 + 3 * np.sin(2 * x[:, 0]) + 0.3 * rng.normal(size=n)
    conditions = pd.DataFrame({"gene": [f"G{i}" for i in range(n)], "feature:a": x[:, 0], "feature:b": x[:, 1]})
    return make_screen(conditions, np.column_stack([value, np.full(n, np.nan)]), ["growth", "never"])


PROCESSES = {
    "noise in alpha": lambda: GaussianProcessRegressor(RBF(), alpha=0.1, normalize_y=True),
    "white kernel": lambda: GaussianProcessRegressor(ConstantKernel() * RBF() + WhiteKernel(0.1), normalize_y=True),
}


@pytest.mark.parametrize("name", list(PROCESSES))
def test_the_posterior_is_that_of_the_library(name, monkeypatch):
    monkeypatch.setattr(joint, "CHUNK", 7)
    model = JointAdapter(PROCESSES[name]()).fit(screen().take(np.arange(30)))
    assert isinstance(model, HasPosterior)
    posterior = model.posterior(screen().conditions)
    covariance = np.stack([posterior.covariance(row) for row in range(50)])
    fitted, noise = model.learned_.parts[0]
    x = model.learned_.inputs.transform(screen().conditions).x.toarray()
    mean, theirs = fitted.predict(x, return_cov=True)
    np.testing.assert_allclose(posterior.mean, mean, rtol=1e-5)
    np.fill_diagonal(theirs, posterior.variance)  # theirs holds the noise of white kernels, ours is of the function
    np.testing.assert_allclose(covariance, theirs, atol=1e-4)
    assert np.linalg.eigvalsh(covariance).min() > -1e-4
    assert posterior.noise == noise
    assert 0.03 < noise < 1.0
    np.testing.assert_allclose(model.predict(screen().conditions).std[:, 0] ** 2, posterior.variance + noise, rtol=1e-3)


def test_what_cannot_be_read_is_unknown_and_tasks_without_values_have_no_posterior():
    model = JointAdapter(PROCESSES["noise in alpha"]()).fit(screen())
    holes = screen().conditions.copy()
    holes.loc[4, "feature:a"] = np.nan
    posterior = model.posterior(holes)
    assert np.flatnonzero(np.isnan(posterior.mean)).tolist() == [4]
    assert np.flatnonzero(np.isnan(posterior.covariance(0))).tolist() == [4]
    with pytest.raises(ModelError, match="never"):
        model.posterior(holes, 1)


def test_capabilities_are_found_by_isinstance():
    assert not isinstance(Adapter(Ridge()), HasPosterior)
    assert isinstance(Adapter(Ridge()), Embeds)
    with pytest.raises(ModelError, match="use Adapter"):
        JointAdapter(Ridge())
