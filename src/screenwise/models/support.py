"""Support vector regression with a Gaussian kernel, kept as its support vectors and their coefficients."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from screenwise.models.learners import Answer, Lesson, Numbers

WHOLE_KERNEL_ROWS = 10_000
"""Up to this many rows the kernel is computed at once, which is several times faster."""


@dataclass(frozen=True)
class SupportVectors:
    """What is learned of one task: f(x) = sum_s coefficient_s exp(-gamma |x - x_s|^2) + intercept."""

    vectors: csr_array
    """(s, d)"""
    coefficients: NDArray[np.float64]
    """(s,)"""
    intercept: float
    gamma: float


@dataclass(frozen=True)
class SupportLearner:
    """Epsilon-insensitive support vector regression (Drucker et al. 1997) of one task."""

    c: Mapping[str, float]
    """Cost of an error by task name; "" = of any other task."""
    gamma: float
    epsilon: float
    joint: bool = False

    def fit(self, lesson: Lesson) -> SupportVectors:
        """Solve the dual problem and keep the support vectors."""
        from sklearn.svm import SVR  # noqa: PLC0415 - slow to import

        whole = len(lesson.x) <= WHOLE_KERNEL_ROWS
        machine = SVR(
            C=self.c.get(lesson.task, self.c[""]),
            epsilon=self.epsilon,
            gamma=self.gamma,
            kernel="precomputed" if whole else "rbf",
        )
        x = gaussian(csr_array(lesson.x), lesson.x, self.gamma) if whole else lesson.x
        machine.fit(x, lesson.y, sample_weight=lesson.weight)
        vectors = csr_array(lesson.x[machine.support_])
        return SupportVectors(vectors, machine.dual_coef_[0].copy(), float(machine.intercept_[0]), self.gamma)

    def predict(self, learned: SupportVectors, x: Numbers) -> Answer:
        """Return the means; how sure they are is not known."""
        if not len(learned.coefficients):
            return np.full(len(x), learned.intercept), None
        kernel = gaussian(learned.vectors, x, learned.gamma)
        return learned.coefficients @ kernel + learned.intercept, None

    def pack(self, learned: SupportVectors) -> dict[str, NDArray[Any]]:
        """Return arrays for a file."""
        vectors = learned.vectors
        return {
            "data": vectors.data,
            "indices": vectors.indices.astype(np.int32),
            "indptr": vectors.indptr.astype(np.int32),
            "shape": np.array(vectors.shape),
            "coefficients": learned.coefficients,
            "numbers": np.array([learned.intercept, learned.gamma]),
        }

    def unpack(self, arrays: dict[str, NDArray[Any]]) -> SupportVectors:
        """Read what `pack` gave."""
        parts = (arrays["data"], arrays["indices"], arrays["indptr"])
        vectors = csr_array(parts, shape=tuple(int(size) for size in arrays["shape"]))
        return SupportVectors(vectors, arrays["coefficients"], float(arrays["numbers"][0]), float(arrays["numbers"][1]))


def gaussian(a: csr_array, b: Numbers, gamma: float) -> NDArray[np.float64]:
    """Return (na, nb) exp(-gamma |a_i - b_j|^2).

    Examples
    --------
    >>> gaussian(csr_array(np.array([[1.0, 0.0]])), np.array([[0.0, 1.0], [1.0, 0.0]]), 0.5).round(4).tolist()
    [[0.3679, 1.0]]
    """
    length_a = np.asarray(a.multiply(a).sum(axis=1), np.float64).ravel()
    length_b = np.square(b, dtype=np.float64).sum(axis=1)
    distance = length_a[:, None] + length_b - 2 * np.asarray(a @ b.T, np.float64)
    return np.exp(-gamma * np.maximum(distance, 0))
