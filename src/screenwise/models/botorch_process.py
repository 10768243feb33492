"""BoTorch and GPyTorch processes as learners of one task (`pip install 'screenwise[gp]'`)."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from screenwise.errors import MissingDependency, ModelError
from screenwise.models.learners import Answer, Lesson, Numbers
from screenwise.train.device import seeded


def fit_single_task(x: Tensor, y: Tensor) -> Any:
    """Return BoTorch's ``SingleTaskGP`` fitted by the marginal likelihood; inputs scaled, values standardised.

    Parameters
    ----------
    x
        (m, d) float64.
    y
        (m, 1) float64.
    """
    try:
        # an extra, imported by name so that types are checked alike with and without it
        models, transforms = import_module("botorch.models"), import_module("botorch.models.transforms")
        fit, mlls = import_module("botorch.fit"), import_module("gpytorch.mlls")
    except ImportError as error:
        message = "BoTorch is not installed; type: pip install 'screenwise[gp]'"
        raise MissingDependency(message) from error
    # with one value there is no spread to standardise by
    outcome = transforms.Standardize(m=1) if len(y) > 1 else None
    scaled = transforms.Normalize(d=x.shape[1])
    model = models.SingleTaskGP(x, y, outcome_transform=outcome, input_transform=scaled)
    fit.fit_gpytorch_mll(mlls.ExactMarginalLogLikelihood(model.likelihood, model))
    return model


@dataclass(frozen=True)
class BotorchProcess:
    """A Gaussian process of BoTorch or GPyTorch for `screenwise.models.joint.JointAdapter`.

    Computes in float64 on the CPU. The std is that of a new measurement: latent variance and noise.
    """

    make: Callable[[Tensor, Tensor], Any] = fit_single_task
    """``make(x (m, d), y (m, 1))`` returns a fitted model: BoTorch's, with ``posterior``, or GPyTorch's ``ExactGP``
    with its ``likelihood``."""
    joint: bool = False

    def fit(self, lesson: Lesson) -> Any:
        """Make and fit the process of one task."""
        if lesson.weight is not None:
            message = "A BotorchProcess takes no weights, and the screen has some. Drop them, or take another model."
            raise ModelError(message)
        with seeded(lesson.seed, torch.device("cpu")):
            learned = self.make(_tensor(lesson.x), torch.from_numpy(lesson.y.astype(np.float64))[:, None])
        learned.eval()
        return learned

    def predict(self, learned: Any, x: Numbers) -> Answer:
        """Return mean and standard deviation of a new measurement."""
        mean, variance = self.latent(learned, x)
        return mean, np.sqrt(variance + self.noise(learned))

    def latent(self, learned: Any, x: Numbers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and variance without noise."""
        with torch.no_grad():
            found = _distribution(learned, _tensor(x))
            return _array(found.mean), np.maximum(_array(found.variance), 0.0)

    def covariance(self, learned: Any, a: Numbers, b: Numbers) -> NDArray[np.float64]:
        """Return a block of the joint covariance."""
        with torch.no_grad():
            both = _distribution(learned, _tensor(np.concatenate([a, b]))).covariance_matrix
            return both[..., : len(a), len(a) :].reshape(len(a), len(b)).numpy()

    def noise(self, learned: Any) -> float:
        """Return the variance of one measurement, in the task's units."""
        # a row that was learned from: kernels of shares, such as Tanimoto's, know nothing of a row of zeros
        one = learned.train_inputs[0].reshape(-1, learned.train_inputs[0].shape[-1])[:1]
        with torch.no_grad():
            latent = _distribution(learned, one).variance
            return float((_distribution(learned, one, noise=True).variance - latent).sum())


def _distribution(learned: Any, x: Tensor, *, noise: bool = False) -> Any:
    """Return the normal distribution of the function, or of measurements, at (n, d) rows."""
    if not hasattr(learned, "posterior"):
        # checked, GPyTorch takes a question about the very rows it learned from for a mistake
        with import_module("gpytorch.settings").debug(state=False):
            found = learned(x)
        return learned.likelihood(found) if noise else found
    posterior = learned.posterior(x, observation_noise=noise)
    if not hasattr(posterior, "distribution"):
        message = (
            f"The posterior of {type(learned).__name__} is no normal distribution (an outcome transform such as Log "
            "changes it). Transform the values of the screen instead."
        )
        raise ModelError(message)
    return posterior.distribution


def _tensor(x: Numbers) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, np.float64))


def _array(found: Tensor) -> NDArray[np.float64]:
    return found.reshape(-1).numpy().astype(np.float64)
