"""The kernels between training conditions and with new ones, scaled alike."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.errors import ConfigError, StructureError
from screenwise.represent.default import default_kernels
from screenwise.represent.fingerprint import readable
from screenwise.represent.kernels import Kernel

STRUCTURE = re.compile(r"smiles(_[a-e])?")
"""Columns of structures, of which some may be unreadable."""


@dataclass(frozen=True)
class TrainingKernels:
    """Features of n training conditions under m kernels.

    Every kernel is divided by its mean diagonal over the training conditions, so that one prior
    suits the weights of all of them.
    """

    kernels: tuple[Kernel, ...]
    features: tuple[Any, ...]
    """m arrays (n, d_m), dense or `scipy.sparse.csr_array`."""
    scale: NDArray[np.float64]
    """(m,) mean diagonal of each kernel."""

    def __len__(self) -> int:
        return int(self.features[0].shape[0])

    def grams(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return (m, r, r) kernels among some training conditions, not yet scaled."""
        out = np.empty((len(self.kernels), len(rows), len(rows)), np.float32)
        for place, (kernel, features) in enumerate(zip(self.kernels, self.features, strict=True)):
            out[place] = kernel.gram(features[rows])
        return out

    def covariance(
        self, rows: NDArray[np.int64], weights: NDArray[np.float64], grams: NDArray[np.float32] | None = None
    ) -> NDArray[np.float64]:
        """Return the (r, r) weighted sum; without `grams` one kernel is in memory at a time."""
        out = np.zeros((len(rows), len(rows)))
        for place, weight in enumerate((weights / self.scale).astype(np.float32)):
            part = self.kernels[place].gram(self.features[place][rows]) if grams is None else grams[place]
            out += part * weight
        return out

    def own(self, features: Sequence[Any], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (q,) prior variances of conditions, given their features."""
        parts = [
            kernel.diagonal(one) * weight
            for kernel, one, weight in zip(self.kernels, features, weights / self.scale, strict=True)
        ]
        return np.asarray(np.sum(parts, axis=0), np.float64)

    def cross(
        self, features: Sequence[Any], rows: NDArray[np.int64] | None, weights: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Return (q, r) weighted sums between conditions and some training conditions."""
        known = self.features if rows is None else self.take(rows)
        return self.mix(features, known, weights)

    def mix(self, features: Sequence[Any], others: Sequence[Any], weights: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return (q, r) weighted sums between the conditions of two sets of features."""
        out = np.zeros((features[0].shape[0], others[0].shape[0]), np.float32)
        for place, weight in enumerate((weights / self.scale).astype(np.float32)):
            out += self.kernels[place].gram(features[place], others[place]) * weight
        return out

    def each(self, features: Sequence[Any]) -> NDArray[np.float32]:
        """Return (m, q, n) kernels between conditions and all training conditions, not yet scaled."""
        out = np.empty((len(self.kernels), features[0].shape[0], len(self)), np.float32)
        for place, (kernel, one, other) in enumerate(zip(self.kernels, features, self.features, strict=True)):
            out[place] = kernel.gram(one, other)
        return out

    def weigh(
        self, every: NDArray[np.float32], rows: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Return what `cross` returns, from the kernels that `each` computed."""
        out = np.zeros((every.shape[1], len(rows)), np.float32)
        for place, weight in enumerate((weights / self.scale).astype(np.float32)):
            out += np.take(every[place], rows, axis=1) * weight
        return out

    def take(self, rows: NDArray[np.int64]) -> tuple[Any, ...]:
        """Return the features of some training conditions."""
        return tuple(one[rows] for one in self.features)


def training_kernels(kernels: tuple[Kernel, ...], conditions: pd.DataFrame) -> TrainingKernels:
    """Compute the features of training conditions and each kernel's mean diagonal."""
    features = tuple(kernel.features(conditions) for kernel in kernels)
    scale = np.array([_mean_diagonal(kernel, one) for kernel, one in zip(kernels, features, strict=True)])
    return TrainingKernels(kernels, features, scale)


def _mean_diagonal(kernel: Kernel, features: Any) -> float:
    diagonal = np.asarray(kernel.diagonal(features), np.float64)
    mean = float(diagonal.mean()) if len(diagonal) else 1.0
    return mean if np.isfinite(mean) and mean > 0 else 1.0


def choose_kernels(conditions: pd.DataFrame, names: tuple[str, ...] | None) -> tuple[Kernel, ...]:
    """Return the kernels that the conditions' columns allow, all or those named."""
    known = default_kernels(conditions)
    if names is None:
        return known
    by_name = {kernel.name: kernel for kernel in known}
    unknown = [name for name in names if name not in by_name]
    if unknown or not names:
        message = f"There is no kernel {unknown} for these conditions; they allow {', '.join(by_name)}."
        raise ConfigError(message)
    return tuple(by_name[name] for name in names)


def readable_features(
    kernels: tuple[Kernel, ...], conditions: pd.DataFrame
) -> tuple[tuple[Any, ...], NDArray[np.bool_], NDArray[Any]]:
    """Return the features of the conditions that can be read, which those are, and why others cannot.

    Structures are looked at one by one only where a kernel refuses them: the usual case, none, costs nothing.

    Returns
    -------
    features
        One array (q, d) per kernel, of the readable conditions.
    readable
        (n,) bool.
    note
        (n,) text, empty where readable.
    """
    note = np.full(len(conditions), "", object)
    try:
        return tuple(kernel.features(conditions) for kernel in kernels), note == "", note
    except StructureError:
        for column in (name for name in map(str, conditions.columns) if STRUCTURE.fullmatch(name)):
            note[~readable(conditions[column])] = f"the structure in {column} cannot be read"
        if not (note != "").any():
            raise
    kept = note == ""
    return tuple(kernel.features(conditions[kept]) for kernel in kernels), kept, note


def chunks(rows: int, columns: int, *, layers: int = 1, budget: int = 2**28) -> Iterator[slice]:
    """Cut rows so that `layers` single-precision arrays (chunk, columns) stay within `budget` bytes.

    Examples
    --------
    >>> [part.stop for part in chunks(10, 2**20, budget=2**24)]
    [4, 8, 10]
    """
    size = int(np.clip(budget // max(1, 4 * columns * layers), 1, 8192))
    for first in range(0, rows, size):
        yield slice(first, min(first + size, rows))
