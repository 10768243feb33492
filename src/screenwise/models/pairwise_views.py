"""Departures of gene pairs from their scaled sum, seen through two similarities; the mean of both predicts.

Recipe: genes lie where their single effects are, mildly whitened; pairs are alike when their genes are
(product view) or when their sums are (sum view). Each view is one process (`pairwise_process`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from screenwise.models.pairwise_kernel import (
    GeneMetric,
    Places,
    learn_metric,
    median_distance,
    principal_axes,
    product_diagonal,
    product_kernels,
    sum_kernels,
)
from screenwise.models.pairwise_process import Evidence, Process, band_columns, condition, fit_process

VIEWS = ("product", "sum")
LEARN_ROWS = 800
"""Random pairs that decide weights and coefficients, where there are more; all predict."""
CHUNK_CELLS = 8_000_000
"""Numbers of one block of kernels: pools of any size are asked in bounded memory."""

Learnt = dict[str, tuple[NDArray[np.float64], float, NDArray[np.float64], float]]
"""View -> weights, noise, coefficients, variance: all that a fit decides."""


@dataclass(frozen=True)
class Pairs:
    """n gene pairs and the effects of their genes."""

    single: NDArray[np.float64]
    """(g, p) effects of all genes that occur."""
    place: NDArray[np.int64]
    """(n, 2) genes of each pair among them."""

    def total(self) -> NDArray[np.float64]:
        """Return (n, p) sums of both effects."""
        return self.single[self.place[:, 0]] + self.single[self.place[:, 1]]

    def part(self, rows: Any) -> "Pairs":
        """Return some of the pairs."""
        return Pairs(self.single, self.place[rows])


@dataclass(frozen=True)
class Guess:
    """What the views say of n pairs."""

    mean: NDArray[np.float64]
    """(n, p) effects."""
    departure: NDArray[np.float64]
    """(n, p) the part of the mean that similar pairs taught: without coefficient and offset."""
    std: NDArray[np.float64]
    """(n,) root mean square standard deviation of a feature, noise included, of the product view."""
    support: NDArray[np.float64]
    """(n,) share of a pair's prior variance that measured pairs explain, 0 to 1, of the product view."""
    strength: NDArray[np.float64]
    """(n,) what was given of the measured pairs, averaged with their squared similarity in the product view."""


@dataclass(frozen=True)
class Views:
    """Both fitted views; made by `fit_views`."""

    metric: GeneMetric
    axes: NDArray[np.float64]
    """(p, r) principal axes of singles and training doubles."""
    training: Places
    sum_distance: float
    scale: NDArray[np.float64]
    """(3,) mean diagonals of the product kernels."""
    processes: dict[str, Process]

    @property
    def learnt(self) -> Learnt:
        """What the fit decided; `fit_views` takes it back."""
        return {
            view: (process.weights, process.noise, process.beta, process.variance)
            for view, process in self.processes.items()
        }

    def predict(self, pairs: Pairs, strength: NDArray[np.float64] | None = None) -> Guess:
        """Predict pairs in blocks of bounded memory; `strength` (m,): a number of each measured pair to average."""
        strength = np.ones(len(self.training.first)) if strength is None else strength
        size = max(1, CHUNK_CELLS // (4 * len(self.training.first) + 4 * pairs.single.shape[1]))
        blocks = [
            self._predict(pairs.part(slice(start, start + size)), strength)
            for start in range(0, max(len(pairs.place), 1), size)
        ]
        return Guess(*(np.concatenate([getattr(one, name) for one in blocks]) for name in Guess.__annotations__))

    def _predict(self, pairs: Pairs, strength: NDArray[np.float64]) -> Guess:
        used, place = np.unique(pairs.place, return_inverse=True)
        place = place.reshape(pairs.place.shape)
        asked = Places(self.metric.place(pairs.single[used]), place[:, 0], place[:, 1])
        total = pairs.total()
        rotated = total @ self.axes
        rest = total - rotated @ self.axes.T
        columns = band_columns(rotated)
        mean, departure = np.zeros_like(total), np.zeros_like(total)
        std = support = supporters = np.zeros(len(total))
        for view, process in self.processes.items():
            cross = self.kernels(view, asked)
            learnt = process.departures(cross)
            constant = process.weights[-1] * process.alpha.sum(axis=0)
            known = np.tensordot(process.beta, columns, axes=1) + learnt
            mean += (known @ self.axes.T + process.beta[-1] * rest) / len(self.processes)
            departure += (learnt - constant) @ self.axes.T / len(self.processes)
            if view == "product":
                own = np.vstack(
                    [product_diagonal(asked, self.metric.gene_distance) / self.scale[:, None], one_row(asked)]
                )
                variance = process.variances(cross, own) / process.variance - process.noise
                std = np.sqrt(process.variance * (variance + process.noise))
                support = 1.0 - variance / process.weigh(own)
                alike = np.tensordot(process.weights[:-1], cross[:-1], axes=1) ** 2
                supporters = alike @ strength / np.maximum(alike.sum(axis=1), 1e-300)
        return Guess(mean, departure, std, support, supporters)

    def kernels(self, view: str, asked: Places) -> NDArray[np.float64]:
        """Return (k, q, m) kernels of a view between asked and training pairs; the constant is the last."""
        if view == "product":
            layers = product_kernels(asked, self.training, self.metric.gene_distance) / self.scale[:, None, None]
        else:
            layers = sum_kernels(asked, self.training, self.sum_distance)
        return np.concatenate([layers, np.ones((1, *layers.shape[1:]))])

    def held_out(self) -> Guess:
        """Return leave-one-out errors as `mean` (m, p): measured minus predicted; spread and support of each."""
        errors = []
        std = support = np.zeros(0)
        for view, process in self.processes.items():
            error, variance = process.held_out()
            errors.append(error @ self.axes.T)
            if view == "product":
                diagonal = product_diagonal(self.training, self.metric.gene_distance) / self.scale[:, None]
                own = process.weigh(np.vstack([diagonal, one_row(self.training)]))
                std = np.sqrt(variance)
                support = 1.0 - np.maximum(variance / process.variance - process.noise, 0.0) / own
        error = np.mean(errors, axis=0)
        return Guess(error, np.zeros_like(error), std, support, np.zeros_like(std))


def one_row(pairs: Places) -> NDArray[np.float64]:
    """Return (1, n) ones: the constant kernel of pairs with themselves."""
    return np.ones((1, len(pairs.first)))


def fit_views(
    pairs: Pairs,
    effect: NDArray[np.float64],
    prior: float,
    *,
    learnt: Learnt | None = None,
    rng: np.random.Generator | None = None,
) -> Views:
    """Fit both views to measured pairs.

    Parameters
    ----------
    pairs
        (m,) measured pairs; its singles, all measured ones, make the metric.
    effect
        (m, p) measured effects.
    prior
        Prior mean of the coefficients of the sum.
    learnt
        What an earlier fit on the same pairs decided; None = decide.
    rng
        Chooses the pairs that decide, where there are more than `LEARN_ROWS`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> single = rng.normal(size=(12, 6))
    >>> place = np.array([(a, b) for a in range(12) for b in range(a)])
    >>> pairs = Pairs(single, place)
    >>> effect = 0.7 * pairs.total() + np.tanh(single[place].prod(axis=1))
    >>> views = fit_views(pairs.part(slice(0, 50)), effect[:50], 0.85)
    >>> swapped = Pairs(single, place[:, ::-1])
    >>> bool((views.predict(pairs).mean == views.predict(swapped).mean).all())
    True
    """
    metric = learn_metric(pairs.single)
    axes, _ = principal_axes(np.vstack([pairs.single, effect]))
    training = Places(metric.place(pairs.single), pairs.place[:, 0], pairs.place[:, 1])
    scale = product_diagonal(training, metric.gene_distance).mean(axis=1)
    frame = Views(metric, axes, training, median_distance(training.sums()), scale, {})
    y, columns = effect @ axes, band_columns(pairs.total() @ axes)
    some = np.arange(len(y))
    if len(y) > LEARN_ROWS:
        some = np.sort((rng or np.random.default_rng(0)).permutation(len(y))[:LEARN_ROWS])
    processes = {}
    for view in VIEWS:
        whole = Evidence(frame.kernels(view, training), columns, y, np.full(len(columns), prior))
        if learnt is not None:
            processes[view] = condition(whole, learnt[view][:3], learnt[view][3])
        elif len(some) == len(y):
            processes[view] = fit_process(whole)
        else:
            part = Evidence(whole.grams[:, some[:, None], some], columns[:, some], y[some], whole.prior)
            processes[view] = fit_process(part, whole)
    return Views(metric, axes, training, frame.sum_distance, scale, processes)
