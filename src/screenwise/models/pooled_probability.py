"""Scores of classification tasks as probabilities: one logistic curve per task, shrunk to one of all tasks.

Platt, Probabilistic outputs for support vector machines, 1999; here with held-out scores, and with a prior
that many small tasks share. A curve always rises, so that it never changes the order within a task.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

SPREAD_LEVEL = 0.5
"""Prior standard deviation of a task's level around that of all tasks, in logits beside its prevalence."""
SPREAD_SLOPE = 0.5
"""That of the logarithm of its slope."""
ROUNDS = 30


@dataclass(frozen=True)
class Curves:
    """Probability of a task's positive class: expit(level + slope x score)."""

    level: NDArray[np.float64]
    """(t,)"""
    slope: NDArray[np.float64]
    """(t,) above 0."""

    def probability(self, score: NDArray[np.float64], task: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (m,) probabilities of scores and their tasks."""
        return np.asarray(expit(self.level[task] + self.slope[task] * score))


def learn_curves(score: NDArray[np.float64], label: NDArray[np.float64], task: NDArray[np.int64], tasks: int) -> Curves:
    """Learn the curves from scores of m cells that the model did not learn from.

    Parameters
    ----------
    score
        (m,) higher = more likely positive.
    label
        (m,) 0 or 1.
    task
        (m,)
    tasks
        Number of tasks t.

    Examples
    --------
    >>> score = np.linspace(-2, 2, 41)
    >>> curves = learn_curves(score, (score > 0.5).astype(float), np.zeros(41, int), 1)
    >>> curves.probability(np.array([-2.0, 2.0]), np.array([0, 0])).round(1).tolist()
    [0.0, 1.0]
    """
    count, positive = np.bincount(task, minlength=tasks), _sum(label, task, tasks)
    everything = (positive.sum() + 1.0) / (count.sum() + 2.0)
    base = logit((positive + 2.0 * everything) / (count + 2.0))
    shared = _shared_curve(score, label, base[task])
    level, log_slope = np.zeros(tasks), np.zeros(tasks)
    for _ in range(ROUNDS):
        slope = np.exp(shared[1] + log_slope)
        p = expit(base[task] + shared[0] + level[task] + slope[task] * score)
        error, spread, along = p - label, p * (1 - p), slope[task] * score
        gradient = np.stack([_sum(error, task, tasks), _sum(error * along, task, tasks)])
        gradient += np.stack([level / SPREAD_LEVEL**2, log_slope / SPREAD_SLOPE**2])
        a = _sum(spread, task, tasks) + SPREAD_LEVEL**-2
        b = _sum(spread * along, task, tasks)
        c = _sum(spread * along**2, task, tasks) + SPREAD_SLOPE**-2
        # Gauss-Newton: the curvature left out may be negative, what is kept never is
        determinant = a * c - b * b
        level -= np.clip((c * gradient[0] - b * gradient[1]) / determinant, -1.0, 1.0)
        log_slope -= np.clip((a * gradient[1] - b * gradient[0]) / determinant, -0.5, 0.5)
    return Curves(base + shared[0] + level, np.exp(shared[1] + log_slope))


def learn_slope(
    score: NDArray[np.float64], label: NDArray[np.float64], base: NDArray[np.float64]
) -> tuple[float, float]:
    """Return level and slope of one curve of m cells, ``expit(base + level + slope x score)``.

    Examples
    --------
    >>> level, slope = learn_slope(np.linspace(-1, 1, 400), np.linspace(-1, 1, 400) > 0, np.zeros(400))
    >>> abs(round(level, 3)), slope > 3
    (0.0, True)
    """
    level, log_slope = _shared_curve(score, label, base)
    return level, float(np.exp(log_slope))


def _shared_curve(
    score: NDArray[np.float64], label: NDArray[np.float64], base: NDArray[np.float64]
) -> tuple[float, float]:
    """Return level and logarithm of the slope of all tasks together, the level beside each task's own."""
    level, log_slope = 0.0, 0.0
    for _ in range(ROUNDS):
        along = np.exp(log_slope) * score
        p = expit(base + level + along)
        error, spread = p - label, p * (1 - p)
        # a weak prior keeps the slope of tasks without any signal, or without any error, in bounds
        gradient = error.sum() + level, (error * along).sum() + log_slope
        a, b, c = spread.sum() + 1.0, (spread * along).sum(), (spread * along**2).sum() + 1.0
        determinant = a * c - b * b
        level -= float(np.clip((c * gradient[0] - b * gradient[1]) / determinant, -1.0, 1.0))
        log_slope -= float(np.clip((a * gradient[1] - b * gradient[0]) / determinant, -0.5, 0.5))
    return level, log_slope


def _sum(x: NDArray[np.float64], task: NDArray[np.int64], tasks: int) -> NDArray[np.float64]:
    return np.bincount(task, x, tasks).astype(np.float64)  # integers where there is no cell
