"""How alike two gene pairs are: their singles in a whitened metric, seen as a product and as a sum."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WHITENING = 0.1
"""Axes of the singles are divided by their variance to this power: weak axes count a little more."""
NORM_POWER = 0.3
"""Genes are divided by their length to this power: a gene's direction counts more than its strength."""
LEAST_VARIANCE = 1e-10
"""Axes below this share of the largest variance are left out."""
MOST_AXIS_ROWS = 1500
"""Rows that decide principal axes, the largest effects first: the cost grows with their square."""
PRODUCT_SCALES = (0.5, 1.0, 2.0)
"""Squared length scales of the product view, in units of the median squared distance of genes."""
SUM_SCALES = (0.25, 0.5, 1.0)
"""Those of the sum view, in units of the median squared distance of pairs."""
MEDIAN_ROWS = 2000
"""Rows that decide a median distance."""


@dataclass(frozen=True)
class GeneMetric:
    """Where a gene with a given single effect lies: z = (S V) v^-0.1, divided by |z|^0.3."""

    axes: NDArray[np.float64]
    """(p, k) principal axes of the singles, each divided by its variance to the power `WHITENING`."""
    gene_distance: float
    """Median squared distance of two genes."""

    def place(self, single: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n, k) places of (n, p) single effects.

        Examples
        --------
        >>> metric = learn_metric(np.random.default_rng(0).normal(size=(9, 4)))
        >>> metric.place(np.zeros((1, 4))).tolist()
        [[0.0, 0.0, 0.0, 0.0]]
        """
        place = single @ self.axes
        length = np.linalg.norm(place, axis=1)[:, None]
        return place / np.where(length > 0, length, 1.0) ** NORM_POWER


def learn_metric(single: NDArray[np.float64]) -> GeneMetric:
    """Learn the metric from (g, p) singles."""
    axes, variance = principal_axes(single)
    weighted = axes * np.where(variance > 0, variance, 1.0) ** -WHITENING
    return GeneMetric(weighted, median_distance(GeneMetric(weighted, 1.0).place(single)))


def principal_axes(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (p, k) axes of (n, p) rows about their mean and their variances (k,), largest first.

    The axes span all rows, their mean too, so that nothing of a row is lost; the sign of each is fixed.
    """
    if len(rows) > MOST_AXIS_ROWS:
        strong = np.argsort(-np.square(rows).sum(axis=1), kind="stable")[:MOST_AXIS_ROWS]
        rows = rows[np.sort(strong)]
    mean = rows.mean(axis=0)
    _, length, axes = np.linalg.svd(rows - mean, full_matrices=False)
    variance = length**2 / len(rows)
    keep = variance > LEAST_VARIANCE * max(variance[0], 1e-300)
    keep[0] = True  # rows that are all the same still need a frame
    axes, variance = axes[keep], variance[keep]
    rest = mean - axes.T @ (axes @ mean)
    size = float(np.linalg.norm(rest))
    if size > 1e-9 * max(float(np.linalg.norm(mean)), 1e-300):
        # few rows about their mean do not hold the mean itself: one more axis, of the least variance
        axes = np.vstack([axes, rest / size])
        variance = np.append(variance, variance.min() if len(variance) else size**2)
    largest = np.abs(axes).argmax(axis=1)
    sign = np.sign(axes[np.arange(len(axes)), largest])
    return (axes * sign[:, None]).T, variance


def median_distance(place: NDArray[np.float64]) -> float:
    """Return the median squared distance of two rows, 1 where it is 0.

    Examples
    --------
    >>> median_distance(np.array([[0.0], [1.0], [3.0]]))
    4.0
    """
    step = max(1, len(place) // MEDIAN_ROWS)
    distance = squared_distance(place[::step], place[::step])
    upper = distance[np.triu_indices(len(distance), 1)]
    median = float(np.median(upper)) if len(upper) else 0.0
    return median if median > 0 else 1.0


def squared_distance(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (a, b) squared distances between rows."""
    own = np.square(left).sum(axis=1)[:, None] + np.square(right).sum(axis=1)
    return np.maximum(own - 2.0 * left @ right.T, 0.0)


@dataclass(frozen=True)
class Places:
    """Gene pairs as places of their genes."""

    genes: NDArray[np.float64]
    """(g, k) places of all genes that occur."""
    first: NDArray[np.int64]
    """(n,) among them."""
    second: NDArray[np.int64]
    """(n,)"""

    def sums(self) -> NDArray[np.float64]:
        """Return (n, k) sums of both places."""
        return self.genes[self.first] + self.genes[self.second]


def product_kernels(left: Places, right: Places, distance: float) -> NDArray[np.float64]:
    """Return (3, a, b) ``k(a,c) k(b,d) + k(a,d) k(b,c)``, one per scale; the order inside a pair is free.

    Examples
    --------
    >>> genes = np.array([[0.0], [1.0], [5.0]])
    >>> straight = Places(genes, np.array([0]), np.array([1]))
    >>> swapped = Places(genes, np.array([1]), np.array([0]))
    >>> bool((product_kernels(straight, straight, 1.0) == product_kernels(swapped, straight, 1.0)).all())
    True
    """
    apart = squared_distance(left.genes, right.genes) / (-2.0 * distance)
    out = np.empty((len(PRODUCT_SCALES), len(left.first), len(right.first)))
    for layer, scale in enumerate(PRODUCT_SCALES):
        gene = np.exp(apart / scale)
        first, second = gene[left.first], gene[left.second]
        out[layer] = first[:, right.first] * second[:, right.second] + first[:, right.second] * second[:, right.first]
    return out


def product_diagonal(pairs: Places, distance: float) -> NDArray[np.float64]:
    """Return (3, n) product kernels of each pair with itself."""
    apart = np.square(pairs.genes[pairs.first] - pairs.genes[pairs.second]).sum(axis=1) / (-2.0 * distance)
    return 1.0 + np.exp(2.0 * apart / np.array(PRODUCT_SCALES)[:, None])


def sum_kernels(left: Places, right: Places, distance: float) -> NDArray[np.float64]:
    """Return (3, a, b) radial kernels between the sums of both places, one per scale."""
    apart = squared_distance(left.sums(), right.sums()) / (-2.0 * distance)
    return np.stack([np.exp(apart / scale) for scale in SUM_SCALES])
