"""Training kernels of conditions made of few distinct parts: covariances by look-ups in small tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.models.gp_kernels import TrainingKernels
from screenwise.represent.factored import Factored, factor_kernels
from screenwise.represent.kernels import Kernel


@dataclass(frozen=True)
class FactoredKernels(TrainingKernels):
    """`TrainingKernels` whose features are codes of parts, (n, s), and whose kernels are tables of them."""

    factored: Factored

    def grams(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return (m, r, r) kernels among some training conditions, not yet scaled."""
        codes = self.factored.codes[rows]
        return np.stack([self.factored.gram(codes, place) for place in range(len(self.kernels))])

    def covariance(
        self, rows: NDArray[np.int64], weights: NDArray[np.float64], grams: NDArray[np.float32] | None = None
    ) -> NDArray[np.float64]:
        """Return the (r, r) weighted sum, of all kernels at once."""
        codes = self.factored.codes[rows]
        return self.factored.cross(codes, codes, weights / self.scale).astype(np.float64)

    def own(self, features: Sequence[Any], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (q,) prior variances of conditions, given their codes."""
        out = np.zeros(len(features[0]))
        for place, weight in enumerate(weights / self.scale):
            out += weight * self.factored.diagonal(features[0], place)
        return out

    def mix(self, features: Sequence[Any], others: Sequence[Any], weights: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return (q, r) weighted sums between the conditions of two sets of codes."""
        return self.factored.cross(features[0], others[0], weights / self.scale)

    def times(
        self, features: Sequence[Any], rows: NDArray[np.int64], weights: NDArray[np.float64], alpha: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return (q,) the matrix of `cross` times a vector, mostly without making the matrix."""
        return self.factored.times(features[0], self.factored.codes[rows], weights / self.scale, alpha)


def factored_kernels(kernels: tuple[Kernel, ...], conditions: pd.DataFrame) -> FactoredKernels | None:
    """Return kernels of conditions made of few distinct parts; None where they are not.

    Parameters
    ----------
    kernels
        Fitted.
    conditions
        (n,) conditions.

    Examples
    --------
    >>> from screenwise.represent.kernels import default_kernels
    >>> variants = pd.DataFrame({"variant": ["VDGV", "ADGV", "VDGA"]})
    >>> found = factored_kernels(default_kernels(variants), variants)
    >>> (3 * found.grams(np.arange(3))[0]).round().astype(int).tolist()
    [[3, 2, 2], [2, 3, 1], [2, 1, 3]]
    """
    factored = factor_kernels(kernels, conditions)
    if factored is None:
        return None
    means = np.array([factored.diagonal(factored.codes, place).mean() for place in range(len(kernels))])
    scale = np.where(np.isfinite(means) & (means > 0), means, 1.0)
    return FactoredKernels(kernels, (factored.codes,), scale, factored)
