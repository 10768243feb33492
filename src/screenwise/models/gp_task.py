"""One task's Gaussian process: learn weights, factorise, hold out, calibrate, mark the domain."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from screenwise.evaluate.calibration import limited_factor
from screenwise.evaluate.metrics import rank_correlation
from screenwise.models.gp_kernels import TrainingKernels
from screenwise.models.gp_posterior import (
    SAFE_NOISE,
    Factor,
    TaskPosterior,
    factorise,
    leave_group_out,
    leave_one_out,
    predict_latent,
    whiten,
)
from screenwise.models.gp_weights import Prior, Weights, learn_weights, prior_weights

LEARN_ROWS = 5
"""With fewer rows the weights stay at the prior's medians."""
SMALL = 500
"""Factors of fewer rows stay in double precision: they cost nothing."""


@dataclass(frozen=True)
class TaskData:
    """What was measured of one task."""

    rows: NDArray[np.int64]
    """(n,) positions among the training conditions."""
    value: NDArray[np.float64]
    """(n,) in the task's units."""
    noise: NDArray[np.float64]
    """(n,) factors of the noise variance (1 / weight of the condition)."""
    groups: NDArray[np.int64] | None
    """(n,) conditions of one code are left out together for calibration; None = one by one."""
    scale: float
    """Standard deviation that stands in where the values have none."""
    relation: NDArray[np.int8] | None = None
    """(n,) -1 true value below, 0 exact, +1 above; None = all exact. Kept, not learned from."""


def typical_spread(task: NDArray[np.int64], value: NDArray[np.float64]) -> float:
    """Return the median standard deviation of the tasks: what a task without spread is given.

    Examples
    --------
    >>> typical_spread(np.array([0, 0, 1]), np.array([1.0, 3.0, 5.0]))
    1.0
    """
    spreads = [float(np.std(value[task == one])) for one in np.unique(task)]
    spreads = [one for one in spreads if one > 0]
    return float(np.median(spreads)) if spreads else 1.0


@dataclass(frozen=True)
class TaskFit:
    """What one task learned. Standardised: values minus `mean`, over `sd`."""

    rows: NDArray[np.int64]
    """(n,) positions among the training conditions."""
    y: NDArray[np.float64]
    """(n,) standardised values."""
    noise: NDArray[np.float64]
    """(n,) factors of the noise variance."""
    mean: float
    sd: float
    weights: Weights
    alpha: NDArray[np.float64]
    """(n,) C^-1 y."""
    own: NDArray[np.float64]
    """(n,) prior variances without the constant's."""
    held_mean: NDArray[np.float64]
    """(n,) leave-one-out means, standardised."""
    held_std: NDArray[np.float64]
    """(n,) leave-one-out total standard deviations, standardised, not calibrated."""
    out_mean: NDArray[np.float64]
    """(n,) means with all rows of the same group left out, standardised; of no groups the leave-one-out means."""
    out_std: NDArray[np.float64]
    """(n,) their total standard deviations, not calibrated."""
    relation: NDArray[np.int8]
    """(n,) -1 true value below, 0 exact, +1 above."""
    calibration: float
    """Factor of every standard deviation that is given out."""
    domain: float
    """Least similarity to the nearest training condition of what is in the domain."""


@dataclass(frozen=True)
class TaskSettings:
    """The settings of `screenwise.models.gp.Config` that one task needs."""

    prior: Prior
    rows_for_weights: int
    evaluations: tuple[int, int]
    conformal: bool
    domain_quantile: float


def fit_task(
    training: TrainingKernels, data: TaskData, settings: TaskSettings, rng: np.random.Generator
) -> tuple[TaskFit, Factor]:
    """Fit one task with at least one measured row."""
    mean = float(data.value.mean())
    spread = float(data.value.std()) if len(data.value) > 1 else 0.0
    constant = not spread > 1e-9 * max(1.0, abs(mean))
    sd = data.scale if constant else spread
    y = (data.value - mean) / sd
    weights, covariance = _learn(training, data, y if not constant else y[:0], settings, rng)
    own = np.diagonal(covariance).copy()
    domain = domain_threshold(covariance, own, settings.domain_quantile)
    factor = factorise(_with_noise(covariance, weights, data.noise, settings.prior.offset), y)
    held_mean, variance = leave_one_out(factor, y)
    out_mean, out_variance = (held_mean, variance) if data.groups is None else leave_group_out(factor, y, data.groups)
    out_std = np.sqrt(out_variance)
    fit = TaskFit(
        rows=data.rows,
        y=y,
        noise=data.noise,
        mean=mean,
        sd=sd,
        weights=weights,
        alpha=factor.alpha,
        own=own,
        held_mean=held_mean,
        held_std=np.sqrt(variance),
        out_mean=out_mean,
        out_std=out_std,
        relation=np.zeros(len(y), np.int8) if data.relation is None else data.relation,
        calibration=limited_factor((y - out_mean) / out_std) if settings.conformal else 1.0,
        domain=domain,
    )
    return fit, _compact(factor, weights)


def _learn(
    training: TrainingKernels,
    data: TaskData,
    y: NDArray[np.float64],
    settings: TaskSettings,
    rng: np.random.Generator,
) -> tuple[Weights, NDArray[np.float64]]:
    """Return weights and the covariance of all rows without noise; few `y` = keep the prior's medians."""
    if len(y) < LEARN_ROWS:
        weights = prior_weights(len(training.kernels), settings.prior)
        return weights, training.covariance(data.rows, weights.kernel)
    some = rng.permutation(len(y))[: settings.rows_for_weights]
    every = len(some) == len(y)
    grams = training.grams(data.rows if every else data.rows[some])
    shuffled = grams[:, some[:, None], some] if every else grams
    weights = learn_weights(
        shuffled / training.scale.astype(np.float32)[:, None, None],
        y[some],
        settings.prior,
        row_noise=data.noise[some],
        evaluations=settings.evaluations,
    )
    return weights, training.covariance(data.rows, weights.kernel, grams if every else None)


def refactor(training: TrainingKernels, fit: TaskFit, offset: float) -> Factor:
    """Compute the factor of a fitted task again, the same to the last bit."""
    covariance = training.covariance(fit.rows, fit.weights.kernel)
    return _compact(factorise(_with_noise(covariance, fit.weights, fit.noise, offset), fit.y), fit.weights)


def _with_noise(
    covariance: NDArray[np.float64], weights: Weights, noise: NDArray[np.float64], offset: float
) -> NDArray[np.float64]:
    covariance += offset
    covariance.flat[:: len(noise) + 1] += weights.noise * noise
    return covariance


def _compact(factor: Factor, weights: Weights) -> Factor:
    """Keep large factors in single precision where the noise makes that safe: half the memory and time."""
    if len(factor.alpha) < SMALL or weights.noise < SAFE_NOISE * max(1.0, float(weights.kernel.sum())):
        return factor
    return Factor(factor.inverse.astype(np.float32), factor.alpha, factor.precision)


def domain_threshold(covariance: NDArray[np.float64], own: NDArray[np.float64], quantile: float) -> float:
    """Return the similarity that all but a share `quantile` of training conditions have to their nearest other.

    Similarity is the weighted kernel over the root of both prior variances: 1 = the same condition.

    Examples
    --------
    >>> domain_threshold(np.array([[1.0, 0.5], [0.5, 1.0]]), np.ones(2), 0.05)
    0.5
    """
    if len(own) < 2:  # noqa: PLR2004
        return 0.0
    root = np.sqrt(np.maximum(own, 1e-12))
    similarity = covariance / root[:, None]
    similarity /= root[None, :]
    np.fill_diagonal(similarity, -np.inf)
    return float(np.quantile(similarity.max(axis=1), quantile))


@dataclass(frozen=True)
class Raw:
    """A task's own prediction of q conditions, before borrowing and calibration, in the task's units."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    in_domain: NDArray[np.bool_]


def predict_task(
    fit: TaskFit, factor: Factor, cross: NDArray[np.float32], own: NDArray[np.float64], offset: float
) -> Raw:
    """Predict q conditions from their (q, n) covariances with the task's rows, overwritten, and prior variances."""
    scaled = cross / np.sqrt(np.maximum(fit.own, 1e-12)).astype(np.float32)
    nearest = scaled.max(axis=1) / np.sqrt(np.maximum(own, 1e-12))
    cross += np.float32(offset)
    mean, variance = predict_latent(factor, cross, own + offset)
    # a hair below the threshold counts as in: the sums behind both differ in their last digits
    return Raw(
        fit.mean + fit.sd * mean,
        fit.sd * np.sqrt(variance + fit.weights.noise),
        nearest >= fit.domain - 1e-5,
    )


def task_posterior(
    training: TrainingKernels, fit: TaskFit, factor: Factor, features: Sequence[Any], offset: float
) -> TaskPosterior:
    """Return the joint posterior over q conditions with these features, in the task's units."""
    cross = training.cross(features, fit.rows, fit.weights.kernel)
    cross += np.float32(offset)
    own = training.own(features, fit.weights.kernel) + offset
    explained = whiten(factor, cross)  # (n, q)
    left = own - np.einsum("ij,ij->j", explained, explained)
    mean = fit.mean + fit.sd * (cross.astype(np.float64) @ fit.alpha)
    unit = (fit.sd * fit.calibration) ** 2

    def columns(asked: NDArray[np.int64]) -> NDArray[np.float32]:
        block = training.mix(features, tuple(one[asked] for one in features), fit.weights.kernel)
        block += np.float32(offset)
        with threadpool_limits(1, user_api="blas"):
            block -= explained.T @ explained[:, asked]
        return unit * block

    return TaskPosterior(mean, unit * np.maximum(left, 1e-9 * own), unit * fit.weights.noise, columns)


def task_evidence(fit: TaskFit, kernels: Sequence[str], held_mean: NDArray[np.float32]) -> dict[str, Any]:
    """Return what a task's training rows say of its model; `held_mean` (n,) in the task's units."""
    value = fit.mean + fit.sd * fit.y
    held = held_mean.astype(np.float64)
    return {
        "rows": len(value),
        "log_marginal_likelihood": fit.weights.log_likelihood,
        "loo_rmse": float(np.sqrt(np.mean((held - value) ** 2))),
        "loo_rank_correlation": rank_correlation(value, held),
        "noise": fit.weights.noise,
        "calibration": fit.calibration,
        "weights": dict(zip(kernels, fit.weights.kernel.tolist(), strict=True)),
    }
