"""A process for pairs with one gene whose single was never measured: it learns from pretending.

Each measured double gives two rows, in each of which one of its genes is treated as unseen: its single is
replaced by what the other genes' singles and the descriptors say of it. Kernels: alike known genes, alike
descriptors of the unseen genes, and both.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from screenwise.models.pairwise_kernel import GeneMetric, learn_metric, principal_axes, squared_distance
from screenwise.models.pairwise_process import Evidence, Process, condition, fit_process
from screenwise.models.pairwise_singles import Singles

SHARE = 1.0 / 3.0
"""Weight of this process against the model on the imputed single (0, 1/3, 1/2, 1: mean distances 3.203, 3.197,
3.210, 3.314 over 15 random sets of 18 withheld genes of Norman et al. 2019, seeds 200-214)."""
MOST_PAIRS = 600
"""Measured doubles that are pretended on, at most, evenly chosen."""

Learnt = tuple[NDArray[np.float64], float, NDArray[np.float64], float]


@dataclass(frozen=True)
class Pretend:
    """The fitted process; made by `fit_pretend`."""

    metric: GeneMetric
    axes: NDArray[np.float64]
    """(p, r)"""
    known: NDArray[np.float64]
    """(2m, k) places of the known genes."""
    unseen: NDArray[np.int64]
    """(2m,) genes treated as unseen, among the measured singles."""
    process: Process

    @property
    def learnt(self) -> Learnt:
        """What the fit decided."""
        return self.process.weights, self.process.noise, self.process.beta, self.process.variance

    def predict(
        self, known: NDArray[np.float64], imputed: NDArray[np.float64], similarity: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return (n, p) effects.

        Parameters
        ----------
        known, imputed
            (n, p) effect of the gene with a single, and the imputed effect of the other.
        similarity
            (n, g) of the other to the measured genes, by descriptors.
        """
        cross = _kernels(self.metric, self.metric.place(known), self.known, similarity[:, self.unseen])
        mean = np.tensordot(self.process.beta, np.stack([known, imputed]), axes=1)
        return mean + self.process.departures(cross) @ self.axes.T


def fit_pretend(
    singles: Singles, place: NDArray[np.int64], effect: NDArray[np.float64], prior: float, learnt: Learnt | None = None
) -> Pretend:
    """Fit the process on measured doubles.

    Parameters
    ----------
    singles
        All measured singles.
    place, effect
        (m, 2) genes among them, and (m, p) effects, of the measured doubles.
    prior
        Prior mean of both coefficients.
    learnt
        What an earlier fit decided; None = decide.
    """
    if len(place) > MOST_PAIRS:
        some = np.linspace(0, len(place) - 1, MOST_PAIRS).round().astype(np.int64)
        place, effect = place[some], effect[some]
    metric = learn_metric(singles.single)
    axes, _ = principal_axes(np.vstack([singles.single, effect]))
    known, unseen = np.concatenate([place[:, 0], place[:, 1]]), np.concatenate([place[:, 1], place[:, 0]])
    where = metric.place(singles.single)[known]
    similarity = singles.similarity(singles.genes)[np.ix_(unseen, unseen)]
    means = np.stack([singles.single[known] @ axes, singles.imputer.held_out[unseen] @ axes])
    grams = _kernels(metric, where, where, similarity)
    evidence = Evidence(grams, means, np.vstack([effect, effect]) @ axes, np.array([prior, prior]))
    process = fit_process(evidence) if learnt is None else condition(evidence, learnt[:3], learnt[3])
    return Pretend(metric, axes, where, unseen, process)


def _kernels(
    metric: GeneMetric, left: NDArray[np.float64], right: NDArray[np.float64], similarity: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (k, a, b) kernels; those of descriptors are left out where nothing is alike."""
    known = np.exp(squared_distance(left, right) / (-2.0 * metric.gene_distance))
    return np.stack([known, known * similarity, similarity, np.ones_like(known)])
