"""Candidates weighed by their held-out errors."""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

TRUST = 0.2
"""Held-out profiles that the preference for the first candidate counts as."""
ROUNDING = 1e-12


def weigh(errors: NDArray[np.float64], trust: float = TRUST) -> NDArray[np.float64]:
    """Return weights (c,) >= 0 of sum 1 that make the least squared held-out error; the first is preferred.

    Parameters
    ----------
    errors
        (c, m, p) held-out errors of c candidates.
    trust
        Rows that the preference counts as.

    References
    ----------
    Breiman, Stacked regressions, Machine Learning 24, 49 (1996).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weigh(np.stack([rng.normal(size=(50, 9)), 9 * rng.normal(size=(50, 9))])).round(1).tolist()
    [1.0, 0.0]
    """
    products = np.einsum("cmp,dmp->cd", errors, errors)
    candidates = len(products)
    prefer = np.zeros(candidates)
    prefer[0] = 1.0
    ridge = trust * float(np.diagonal(products).min()) / max(errors.shape[1], 1)
    matrix, vector = products + ridge * np.eye(candidates), ridge * prefer
    best, least = prefer, np.inf
    for count in range(1, candidates + 1):  # 7 subsets of 3 candidates: the exact optimum without a solver
        for some in combinations(range(candidates), count):
            weights = _on_plane(matrix, vector, list(some))
            cost = float(weights @ matrix @ weights - 2 * weights @ vector)
            if (weights >= -ROUNDING).all() and cost < least:
                best, least = np.maximum(weights, 0.0), cost
    return best / best.sum()


def _on_plane(matrix: NDArray[np.float64], vector: NDArray[np.float64], some: list[int]) -> NDArray[Any]:
    """Return the weights of least cost among those of sum 1 that are 0 outside `some`."""
    part = matrix[np.ix_(some, some)] + 1e-12 * (np.trace(matrix) + 1e-300) * np.eye(len(some))
    free, pull = np.linalg.solve(part, np.stack([np.ones(len(some)), vector[some]], axis=1)).T
    weights = np.zeros(len(matrix))
    weights[some] = pull + free * (1.0 - pull.sum()) / free.sum()
    return weights
