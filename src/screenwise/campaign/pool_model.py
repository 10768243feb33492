"""The Gaussian process of the design loop: kernels of a whole pool, fitted to what is measured of it.

The kernels take their statistics (scales, rarities) from the pool, which is known before anything is
measured, and stay the same in all rounds. Of a pool that answers again and again (a replay), all
similarities can be kept, so that a round costs a factorisation and no more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from threadpoolctl import threadpool_limits

from screenwise.campaign.columns import KeptColumns
from screenwise.errors import ModelError
from screenwise.protocols import Posterior
from screenwise.rng import stream

if TYPE_CHECKING:
    from screenwise.models.gp_kernels import TrainingKernels
    from screenwise.models.gp_posterior import Factor
    from screenwise.models.gp_task import TaskFit
    from screenwise.represent.kernels import Kernel

KEPT_BYTES = 2**30
"""Similarities of a pool with itself, or of larger pools with what is measured, are kept up to this size."""
BLOCK = 2**23
"""Covariances of candidates with measured conditions that are in memory at a time."""
FIRST_ROWS = 64
"""Measured rows that first bounds of variances are made of; every further bound takes twice as many."""
MARGIN = 1e-3
"""By how much a bound must fall short, in standard deviations of the target, for single precision to be sure."""
PRIOR_WEIGHT, PRIOR_NOISE = 0.5, 0.5
"""Prior medians of the kernels' sum and of the noise, in units of the scaled target's variance."""
OFFSET = 0.1
"""Prior variance of the unknown mean."""
EVALUATIONS = 25
"""Most evaluations of the marginal likelihood in one round."""
MOST_ROWS = 20_000
"""Measured rows beyond which an exact process does not fit in memory."""


@dataclass(frozen=True)
class PoolKernels:
    """A pool's kernels and features."""

    conditions: pd.DataFrame
    """(n,)"""
    training: "TrainingKernels"
    """Over the q readable conditions."""
    place: NDArray[np.int64]
    """(n,) position among the readable ones; -1 = cannot be read."""
    note: NDArray[Any]
    """(n,) why not; empty where readable."""
    columns: KeptColumns | None = None
    """Similarities with measured conditions, for a pool that answers many rounds."""

    def rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the positions of condition ids among the readable conditions; -1 = not there."""
        found = self._index.get_indexer(pd.Index([str(one) for one in ids]))
        return np.where(found < 0, -1, self.place[found])

    @cached_property
    def _index(self) -> pd.Index:
        return pd.Index(self.conditions["condition_id"].astype(str))


@dataclass(frozen=True)
class _Positions:
    """In place of features: where a condition stands."""

    def transform(self, conditions: pd.DataFrame) -> NDArray[np.int64]:
        return np.arange(len(conditions))[:, None]


@dataclass(frozen=True)
class _Table:
    """In place of a similarity: a table of all of them."""

    values: NDArray[np.float32]

    def __call__(self, a: NDArray[np.int64], b: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        return self.values[a[:, 0][:, None], (a if b is None else b)[:, 0]]

    def diagonal(self, a: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.values[a[:, 0], a[:, 0]]


def prepare_pool(pool: pd.DataFrame, *, keep: bool = False) -> PoolKernels:
    """Return the kernels of a pool, fitted to it.

    Parameters
    ----------
    pool
        (n,) conditions with `condition_id`.
    keep
        Keep all similarities, up to a gigabyte: for a pool that answers many rounds.
    """
    from screenwise.models.gp_factored import factored_kernels  # noqa: PLC0415
    from screenwise.models.gp_kernels import TrainingKernels, readable_features, training_kernels  # noqa: PLC0415
    from screenwise.represent.default import descriptor_kernels  # noqa: PLC0415
    from screenwise.represent.kernels import default_kernels  # noqa: PLC0415

    kernels = default_kernels(pool)
    if "smiles" in pool.columns:
        kernels = (*kernels, *descriptor_kernels(pool))
    parts = factored_kernels(kernels, pool)
    if parts is not None:
        return PoolKernels(pool, parts, np.arange(len(pool)), np.full(len(pool), "", object))
    features, readable, note = readable_features(kernels, pool)
    scale = training_kernels(kernels, pool[readable] if not readable.all() else pool).scale
    count = int(readable.sum())
    if count == 0:
        message = f"None of the {len(pool)} conditions of the pool can be read ({note[0]}); check its structures."
        raise ModelError(message)
    if keep and 4 * len(kernels) * count**2 <= KEPT_BYTES:
        kernels, features = _kept(kernels, features)
        keep = False
    place = np.where(readable, np.cumsum(readable) - 1, -1)
    training = TrainingKernels(tuple(kernels), tuple(_numbered(one) for one in features), scale)
    return PoolKernels(pool, training, place, note, KeptColumns(training, KEPT_BYTES) if keep else None)


def _numbered(features: Any) -> Any:
    """Return sparse features with columns 0, 1, 2, ... in place of ids, which every comparison would number again."""
    if not issparse(features):
        return features
    codes, ids = pd.factorize(features.indices)
    table = csr_array((features.data, codes, features.indptr), shape=(features.shape[0], max(len(ids), 1)))
    table.sort_indices()
    return table


def _kept(kernels: "tuple[Kernel, ...]", features: tuple[Any, ...]) -> "tuple[tuple[Kernel, ...], tuple[Any, ...]]":
    """Return kernels that look their values up, and places as features."""
    from screenwise.represent.kernels import Kernel  # noqa: PLC0415

    with threadpool_limits(1, user_api="blas"):
        tables = [kernel.gram(one) for kernel, one in zip(kernels, features, strict=True)]
    places = np.arange(len(tables[0]))[:, None]
    named = zip(kernels, tables, strict=True)
    return tuple(Kernel(kernel.name, _Positions(), _Table(table)) for kernel, table in named), (places,) * len(kernels)


@dataclass(frozen=True)
class PoolModel:
    """A Gaussian process fitted to the measured conditions of a pool."""

    pool: PoolKernels
    fit: "TaskFit"
    factor: "Factor"

    def moments(
        self, rows: NDArray[np.int64], *, given: int | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and latent variance, (r,) each, of conditions, chunk by chunk; -1 = NaN.

        Parameters
        ----------
        rows
            (r,) positions among the readable conditions.
        given
            Variances given only so many of the measured rows: no less than the true ones, and quicker.
        """
        from screenwise.models.gp_posterior import whiten  # noqa: PLC0415

        mean, variance = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
        there, step = np.flatnonzero(rows >= 0), max(256, BLOCK // len(self.fit.rows))
        # a triangular factor: its first rows are the factor of the first measured ones
        factor = replace(self.factor, inverse=self.factor.inverse[:given, :given])
        for first in range(0, len(there), step):
            part = there[first : first + step]
            cross, own = self._cross(rows[part]), self._own(rows[part])
            mean[part] = self._mean(cross)
            with threadpool_limits(1, user_api="blas"):
                explained = whiten(factor, cross[:, :given])
            left = own - np.einsum("ij,ij->j", explained, explained)
            variance[part] = np.maximum(left, 1e-9 * own) * self.fit.sd**2
        return mean, variance

    def leading(
        self, rows: NDArray[np.int64], kappa: float, wells: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the mean of conditions, and the latent variance of those that may be among the best `wells`.

        By the bound ``mean + kappa std``: a candidate whose bound lies below the `wells`-th best mean is not
        chosen, however the spreads of others shrink. Its variance given all measured rows is at most that
        given some, so that candidates drop out while ever more rows are taken in, and few need them all.

        Parameters
        ----------
        rows
            (r,) positions among the readable conditions; -1 = NaN.
        kappa
            Standard deviations that are added to the mean; 0 = no variance is needed.
        wells
            Candidates to be chosen among these.

        Returns
        -------
        mean, variance
            (r,) each; the variance is NaN where the candidate cannot win.
        """
        mean, variance = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
        there = np.flatnonzero(rows >= 0)
        quick = self._quick_means(rows[there])
        if quick is not None:
            mean[there] = quick
            if kappa == 0:
                return mean, variance
        step, seen = max(256, BLOCK // len(self.fit.rows)), np.zeros(0)
        for first in range(0, len(there), step):
            part = there[first : first + step]
            if quick is not None:
                part = part[self._may_win(mean[part], self._own(rows[part]), kappa, _floor(quick, wells))]
            cross = self._cross(rows[part])
            if quick is None:
                mean[part] = self._mean(cross)
                seen = np.sort(np.append(seen, mean[part]))[-wells:]
            if kappa > 0:
                floor = _floor(seen if quick is None else quick, wells)
                variance[part] = self._left(cross, self._own(rows[part]), (mean[part], kappa, floor))
        return mean, variance

    def _quick_means(self, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Return means where they cost next to nothing."""
        from screenwise.models.gp_factored import FactoredKernels  # noqa: PLC0415

        fit, training = self.fit, self.pool.training
        if not isinstance(training, FactoredKernels):
            return None
        with threadpool_limits(1, user_api="blas"):
            found = training.times(training.take(rows), fit.rows, fit.weights.kernel, fit.alpha)
        return fit.mean + fit.sd * (found + OFFSET * fit.alpha.sum())

    def _own(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.pool.training.own(self.pool.training.take(rows), self.fit.weights.kernel) + OFFSET

    def _cross(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        training, columns, weights = self.pool.training, self.pool.columns, self.fit.weights.kernel
        with threadpool_limits(1, user_api="blas"):
            if columns is None:
                out = training.cross(training.take(rows), self.fit.rows, weights)
            else:
                out = columns.cross(rows, self.fit.rows, weights)
        out += np.float32(OFFSET)
        return out

    def _mean(self, cross: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(self.fit.mean + self.fit.sd * (cross.astype(np.float64) @ self.fit.alpha))

    def _may_win(
        self, mean: NDArray[np.float64], variance: NDArray[np.float64], kappa: float, floor: float
    ) -> NDArray[np.bool_]:
        """Return whether bounds with these variances, in units of the scaled target, reach the floor."""
        return np.asarray(mean + kappa * self.fit.sd * np.sqrt(variance) >= floor - MARGIN * self.fit.sd)

    def _left(
        self, cross: NDArray[np.float32], own: NDArray[np.float64], race: tuple[NDArray[np.float64], float, float]
    ) -> NDArray[np.float64]:
        """Return (q,) latent variances of the candidates that stay in the race: their means, kappa, the floor."""
        mean, kappa, floor = race
        inverse = self.factor.inverse.astype(np.float32, copy=False)
        out, left = np.full(len(own), np.nan), own.copy()
        alive, last = np.arange(len(own)), 0
        while last < len(inverse) and len(alive):
            first, last = last, min(max(2 * last, FIRST_ROWS), len(inverse))
            # a triangular factor: what the first rows explain needs nothing of the others
            with threadpool_limits(1, user_api="blas"):
                explained = cross[:, :last] @ inverse[first:last, :last].T
            left -= np.einsum("ij,ij->i", explained, explained)
            left = np.maximum(left, 1e-9 * own)
            stay = self._may_win(mean, left, kappa, floor)
            if not stay.all():
                alive, cross, own, left, mean = alive[stay], cross[stay], own[stay], left[stay], mean[stay]
        out[alive] = left * self.fit.sd**2
        return out

    def posterior(self, rows: NDArray[np.int64]) -> Posterior:
        """Return the joint posterior of conditions, positions among the readable ones; -1 = NaN."""
        from screenwise.models.gp_task import task_posterior  # noqa: PLC0415

        there = np.flatnonzero(rows >= 0)
        features = self.pool.training.take(rows[there])
        with threadpool_limits(1, user_api="blas"):
            found = task_posterior(self.pool.training, self.fit, self.factor, features, OFFSET)
        return found if len(there) == len(rows) else found.spread(there, len(rows))

    @property
    def noise(self) -> float:
        """Variance of one measurement, on the target's scale."""
        return float(self.fit.weights.noise * self.fit.sd**2)

    def in_domain(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether conditions are near enough to measured ones to believe their predictions; -1 = no."""
        from screenwise.models.gp_task import predict_task  # noqa: PLC0415

        training, weights = self.pool.training, self.fit.weights.kernel
        there = rows >= 0
        inside = np.zeros(len(rows), bool)
        features = training.take(rows[there])
        with threadpool_limits(1, user_api="blas"):
            cross = training.cross(features, self.fit.rows, weights)
            found = predict_task(self.fit, self.factor, cross, training.own(features, weights), OFFSET)
        inside[there] = found.in_domain
        return inside

    def evidence(self) -> dict[str, Any]:
        """Return what the measured rows say of the fit: rows, leave-one-out, noise, weights."""
        from screenwise.models.gp_task import task_evidence  # noqa: PLC0415

        names = [kernel.name for kernel in self.pool.training.kernels]
        held = (self.fit.mean + self.fit.sd * self.fit.held_mean).astype(np.float32)
        return task_evidence(self.fit, names, held)


def _floor(mean: NDArray[np.float64], wells: int) -> float:
    """Return the `wells`-th best mean."""
    return float(np.partition(mean, -wells)[-wells]) if len(mean) >= wells else -np.inf


@dataclass(frozen=True)
class PoolModelSettings:
    """How the weights of the kernels are learned."""

    rows_for_weights: int = 400
    """Random measured rows on which the marginal likelihood is computed; all rows predict."""
    prior_sd: float = 2.0
    """Prior standard deviation of the logarithm of each weight and of the noise."""


def fit_pool_model(
    pool: PoolKernels,
    rows: NDArray[np.int64],
    target: NDArray[np.float64],
    settings: PoolModelSettings,
    seed: int,
) -> PoolModel:
    """Fit the process to readable conditions of the pool.

    Parameters
    ----------
    pool
        Kernels of the pool.
    rows
        (m,) positions among its readable conditions.
    target
        (m,) numbers to learn, of mean about 0 and variance about 1.
    settings
        How weights are learned.
    seed
        Chooses the rows that learn the weights.
    """
    from screenwise.models.gp_task import TaskData, TaskSettings, fit_task  # noqa: PLC0415
    from screenwise.models.gp_weights import Prior  # noqa: PLC0415

    if len(rows) > MOST_ROWS:
        message = (
            f"{len(rows)} measured conditions are more than an exact Gaussian process holds ({MOST_ROWS}). "
            "Choose another model for the campaign, such as multitask."
        )
        raise ModelError(message)
    prior = Prior(PRIOR_WEIGHT, PRIOR_NOISE, settings.prior_sd, OFFSET)
    how = TaskSettings(prior, settings.rows_for_weights, (EVALUATIONS, 0), conformal=False, domain_quantile=0.05)
    with threadpool_limits(1, user_api="blas"):
        data = TaskData(rows, target, np.ones(len(rows)), None, 1.0)
        fit, factor = fit_task(pool.training, data, how, stream(seed, "weights"))
    return PoolModel(pool, fit, factor)
