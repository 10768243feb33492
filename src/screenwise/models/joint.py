"""Other libraries' Gaussian processes as models that know the joint posterior of a pool."""

import inspect
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.errors import ModelError
from screenwise.models.adapter import Adapter, AdapterConfig
from screenwise.models.gp_posterior import TaskPosterior
from screenwise.models.learners import Answer, Estimator, Lesson, Numbers
from screenwise.protocols import Representation

CHUNK = 1024
"""Rows whose covariances with some others are asked at a time."""


@runtime_checkable
class Process(Protocol):
    """A learner of one task that knows how its answers hang together."""

    def latent(self, learned: Any, x: Numbers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and variance, (n,) each, without measurement noise."""
        ...

    def covariance(self, learned: Any, a: Numbers, b: Numbers) -> NDArray[np.float64]:
        """Return (na, nb) posterior covariances."""
        ...

    def noise(self, learned: Any) -> float:
        """Return the variance of one measurement."""
        ...


class JointAdapter(Adapter):
    """An adapter with a joint posterior (`screenwise.protocols.HasPosterior`), for batches chosen together.

    Parameters
    ----------
    process
        scikit-learn's ``GaussianProcessRegressor``, or `screenwise.models.botorch_process.BotorchProcess`.
    representation, config
        As of `Adapter`.

    Examples
    --------
    >>> from sklearn.gaussian_process import GaussianProcessRegressor
    >>> from screenwise.screen import make_screen
    >>> genes = pd.DataFrame({"gene": ["A", "B", "C"], "feature:x": [-1.0, 0.0, 1.0]})
    >>> screen = make_screen(genes, np.array([[1.0], [2.0], [1.0]]), ["growth"])
    >>> posterior = JointAdapter(GaussianProcessRegressor(alpha=0.01)).fit(screen).posterior(genes)
    >>> bool(np.allclose(posterior.covariance(1)[1], posterior.variance[1], atol=1e-5)), round(posterior.noise, 3)
    (True, 0.01)
    """

    def __init__(
        self, process: Any, representation: Representation | None = None, config: AdapterConfig | None = None
    ) -> None:
        learner = process if isinstance(process, Process) else ProcessEstimator(process)
        super().__init__(learner, representation, config)
        self.process: Process = learner

    def posterior(self, conditions: pd.DataFrame, task: int = 0) -> TaskPosterior:
        """Return the joint posterior of one task over (n,) conditions; those that cannot be read have NaN."""
        learned = self._state()
        if task not in learned.parts:
            message = f"Nothing was measured of task {task} ({learned.tasks['name'].get(task)}); it has no posterior."
            raise ModelError(message)
        part, rows = learned.parts[task], learned.inputs.transform(conditions)
        x = rows.x[rows.readable].toarray()
        starts = range(0, len(x), CHUNK)
        moments = [self.process.latent(part, x[first : first + CHUNK]) for first in starts]
        mean, variance = np.concatenate(moments, axis=1) if moments else np.zeros((2, 0))

        def columns(asked: NDArray[np.int64]) -> NDArray[np.float32]:
            found = [self.process.covariance(part, x[first : first + CHUNK], x[asked]) for first in starts]
            return np.concatenate(found).astype(np.float32)

        whole = TaskPosterior(mean, np.maximum(variance, 0.0), self.process.noise(part), columns)
        return whole if rows.readable.all() else whole.spread(np.flatnonzero(rows.readable), len(conditions))


@dataclass(frozen=True)
class ProcessEstimator:
    """scikit-learn's ``GaussianProcessRegressor``, whose ``predict`` returns covariances."""

    estimator: Any
    joint: bool = False

    def __post_init__(self) -> None:
        if "return_cov" not in inspect.signature(getattr(self.estimator, "predict", self._none)).parameters:
            message = (
                f"A {type(self.estimator).__name__} gives no covariances; give a GaussianProcessRegressor or a "
                "BotorchProcess, or use Adapter."
            )
            raise ModelError(message)

    @staticmethod
    def _none() -> None: ...

    def fit(self, lesson: Lesson) -> tuple[Any, float]:
        """Return a fitted copy and the variance of one measurement."""
        fitted = Estimator(self.estimator).fit(lesson)
        scale = float(np.var(lesson.y)) if fitted.normalize_y else 1.0
        return fitted, (float(np.mean(fitted.alpha)) + _white(fitted.kernel_)) * (scale or 1.0)

    def predict(self, learned: tuple[Any, float], x: Numbers) -> Answer:
        """Return mean and standard deviation of a new measurement."""
        mean, variance = self.latent(learned, x)
        return mean, np.sqrt(variance + learned[1])

    def latent(self, learned: tuple[Any, float], x: Numbers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and variance without noise."""
        fitted, _ = learned
        mean, std = fitted.predict(x, return_std=True)
        return np.asarray(mean), np.maximum(std**2 - self._white_noise(learned), 0.0)

    def covariance(self, learned: tuple[Any, float], a: Numbers, b: Numbers) -> NDArray[np.float64]:
        """Return a block of the joint covariance."""
        both = learned[0].predict(np.concatenate([a, b]), return_cov=True)[1]
        return np.asarray(both[: len(a), len(a) :])

    def noise(self, learned: tuple[Any, float]) -> float:
        """Return the variance of one measurement."""
        return learned[1]

    @staticmethod
    def _white_noise(learned: tuple[Any, float]) -> float:
        """Return what a WhiteKernel adds to predicted variances, in the task's units."""
        fitted, noise = learned
        white = _white(fitted.kernel_)
        return noise * white / (white + float(np.mean(fitted.alpha))) if white else 0.0


def _white(kernel: Any) -> float:
    """Return the noise of the white terms of a sum of kernels."""
    if hasattr(kernel, "noise_level"):
        return float(kernel.noise_level)
    if type(kernel).__name__ == "Sum":
        return _white(kernel.k1) + _white(kernel.k2)
    return 0.0
