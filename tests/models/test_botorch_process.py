"""BoTorch and GPyTorch processes; skipped where they are not installed."""

import importlib.util
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from screenwise.errors import MissingDependency, ModelError
from screenwise.models.botorch_process import BotorchProcess
from screenwise.models.joint import JointAdapter
from screenwise.models.learners import Lesson
from screenwise.screen import make_screen

needs_botorch = pytest.mark.skipif(
    importlib.util.find_spec("botorch") is None,
    reason="BoTorch is not installed; `make test` installs it, and so does pip install 'screenwise[gp]'",
)
# theirs, of their own dependencies
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def screen(n=60):
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (n, 2))
    value = 5 + np.sin(2 * x[:, 0]) + 0.5 * x[:, 1] + 0.1 * rng.normal(size=n)
    conditions = pd.DataFrame({"gene": [f"G{i}" for i in range(n)], "feature:a": x[:, 0], "feature:b": x[:, 1]})
    return make_screen(conditions, value[:, None], ["growth"])


def plain_gpytorch(x, y, kernel=None):
    import gpytorch  # noqa: PLC0415

    class Exact(gpytorch.models.ExactGP):
        def __init__(self):
            super().__init__(x, y[:, 0], gpytorch.likelihoods.GaussianLikelihood())
            self.mean_module = gpytorch.means.ConstantMean()
            self.covar_module = gpytorch.kernels.ScaleKernel(kernel or gpytorch.kernels.RBFKernel())

        def forward(self, x):
            return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    model = Exact().double()
    likelihood = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(60):
        optimiser.zero_grad()
        loss = -likelihood(model(x), y[:, 0])
        loss.backward()
        optimiser.step()
    return model


@needs_botorch
@pytest.mark.parametrize("process", [BotorchProcess(), BotorchProcess(plain_gpytorch)], ids=["botorch", "gpytorch"])
def test_the_posterior_is_joint_and_in_the_units_of_the_task(process):
    model = JointAdapter(process).fit(screen().take(np.arange(40)))
    prediction, posterior = model.predict(screen().conditions), model.posterior(screen().conditions)
    value = screen().targets.dense()[:, 0]
    assert np.corrcoef(prediction.mean[40:, 0], value[40:])[0, 1] > 0.9
    assert 0.003 < posterior.noise < 0.05
    np.testing.assert_allclose(prediction.std[:, 0] ** 2, posterior.variance + posterior.noise, rtol=1e-3)
    covariance = np.stack([posterior.covariance(row) for row in range(60)])
    np.testing.assert_allclose(np.diagonal(covariance), posterior.variance, atol=1e-5)
    assert np.linalg.eigvalsh(covariance).min() > -1e-5
    part = model.posterior(screen().conditions.iloc[50:].reset_index(drop=True))
    np.testing.assert_allclose(part.covariance(3), covariance[53, 50:], atol=1e-5)


@needs_botorch
def test_kernels_of_shares_and_questions_about_the_rows_learned_from():
    import gpytorch  # noqa: PLC0415

    class Shared(gpytorch.kernels.Kernel):
        """Tanimoto's similarity of counts; of two rows without any it is 0 / 0."""

        def forward(self, a, b, diag=False, **_):
            both = (a * b).sum(-1) if diag else a @ b.transpose(-1, -2)
            one, other = a.square().sum(-1), b.square().sum(-1)
            return both / ((one + other if diag else one[..., :, None] + other[..., None, :]) - both)

    process = BotorchProcess(lambda x, y: plain_gpytorch(x, y, Shared()))
    smiles = ["C" * n + end for n in range(1, 11) for end in ("O", "N", "Cl")]
    value = np.array([len(one) + 2.0 * one.endswith("N") for one in smiles])
    value += 0.1 * np.random.default_rng(0).normal(size=len(value))
    compounds = make_screen(pd.DataFrame({"smiles": smiles}), value[:, None], ["activity"])
    model = JointAdapter(process).fit(compounds)
    assert 0 < model.posterior(compounds.conditions).noise < value.var()
    with warnings.catch_warnings():
        warnings.simplefilter("error", gpytorch.utils.warnings.GPInputWarning)
        found = model.predict(compounds.conditions)
    assert np.isfinite(found.std).all()
    assert np.corrcoef(found.mean[:, 0], value)[0, 1] > 0.9


@needs_botorch
@pytest.mark.filterwarnings("ignore")
def test_a_log_of_the_values_has_no_normal_posterior():
    from botorch.models import SingleTaskGP  # noqa: PLC0415
    from botorch.models.transforms import Log, Normalize  # noqa: PLC0415

    process = BotorchProcess(lambda x, y: SingleTaskGP(x, y, outcome_transform=Log(), input_transform=Normalize(2)))
    with pytest.raises(ModelError, match="no normal distribution"):
        JointAdapter(process).fit(screen())


def test_what_is_missing_is_said_with_the_cure(monkeypatch):
    for name in [one for one in sys.modules if one.split(".")[0] == "botorch"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "botorch", None)
    lesson = Lesson(np.ones((3, 1), np.float32), np.arange(3.0))
    with pytest.raises(MissingDependency, match=r"pip install 'screenwise\[gp\]'"):
        BotorchProcess().fit(lesson)
    with pytest.raises(ModelError, match="no weights"):
        BotorchProcess().fit(Lesson(lesson.x, lesson.y, np.ones(3)))
