"""Growth of gene pairs in numbers: a curve of the singles, gene effects, low-rank completion, a process over pairs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CURVE_TERMS = 7
"""Terms of `curve_terms`."""
GENE_PAIRS = 2.0
"""Pairs that the prior of a gene's effect, zero, counts as."""
OWN_SHARE = 0.3
"""Of the gene kernel: what each gene has for itself, beside the unit of what it shares with similar genes."""
COMMON_SHARE = 0.3
"""Of the gene kernel: what all genes share."""
VARIANCE_AXES = 16
"""Axes of the gene kernel whose posterior is exact in the predicted variance; the rest keeps its prior."""


@dataclass(frozen=True)
class Pairs:
    """Measured pairs of k genes, (m,) each: positions a, b (a < b) and effect y; each pair at most once."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    y: Floats
    size: int
    """k"""

    def __len__(self) -> int:
        return len(self.y)

    def take(self, keep: NDArray[Any]) -> "Pairs":
        """Return some pairs."""
        return Pairs(self.a[keep], self.b[keep], self.y[keep], self.size)

    def less(self, fitted: Floats) -> "Pairs":
        """Return the pairs with what a (k, k) table says taken off."""
        return Pairs(self.a, self.b, self.y - fitted[self.a, self.b], self.size)

    def table(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the (k, k) symmetric table, 0 where not measured, and where it is."""
        value, there = np.zeros((self.size, self.size)), np.zeros((self.size, self.size), bool)
        value[self.a, self.b] = value[self.b, self.a] = self.y
        there[self.a, self.b] = there[self.b, self.a] = True
        return value, there


def fill_singles(single: Floats, pairs: Pairs) -> Floats:
    """Return (k,) singles, the missing ones (NaN) estimated from the gene's pairs as if these added up.

    Ridge regression towards the mean of the known ones, `GENE_PAIRS` pairs strong.

    Examples
    --------
    >>> pairs = Pairs(np.array([0]), np.array([1]), np.array([3.0]), 2)
    >>> fill_singles(np.array([1.0, np.nan]), pairs).round(3).tolist()
    [1.0, 1.333]
    """
    missing = np.isnan(single)
    if not missing.any():
        return single
    start = float(single[~missing].mean()) if (~missing).any() else float(pairs.y.mean()) / 2 if len(pairs) else 0.0
    filled = np.where(missing, start, single)
    rest = pairs.y - filled[pairs.a] - filled[pairs.b]
    there = pairs.table()[1].astype(np.float64)
    normal = (there + np.diag(there.sum(axis=1) + GENE_PAIRS))[np.ix_(missing, missing)]
    right = np.bincount(pairs.a, rest, pairs.size) + np.bincount(pairs.b, rest, pairs.size)
    filled[missing] += np.linalg.solve(normal, right[missing])
    return filled


def curve_terms(first: Floats, second: Floats) -> Floats:
    """Return (..., 7) terms of the curve: 1, sum, sum^2, product, |difference|, sum^3, product x sum of two singles."""
    total, product = first + second, first * second
    return np.stack(
        [np.ones_like(total), total, total**2, product, np.abs(first - second), total**3, product * total], axis=-1
    )


def fit_curve(single: Floats, pairs: Pairs) -> Floats:
    """Return (7,) coefficients of `curve_terms` whose prior is plain addition, one pair strong in each term.

    The quadratic of Horlbeck et al. (Cell 2018, 174, 953) with a cubic term, one for all genes.
    """
    terms = curve_terms(single[pairs.a], single[pairs.b])
    scale = np.sqrt(np.mean(terms**2, axis=0)) if len(pairs) else np.ones(CURVE_TERMS)
    scale[scale == 0] = 1.0
    unit = terms / scale
    departure = pairs.y - single[pairs.a] - single[pairs.b]
    found = np.linalg.solve(unit.T @ unit + np.eye(CURVE_TERMS), unit.T @ departure) / scale
    found[1] += 1.0
    return found


def gene_effects(pairs: Pairs) -> Floats:
    """Return (k,) effects g, ridge-fitted so that y of a pair is about g_a + g_b."""
    there = pairs.table()[1].astype(np.float64)
    normal = there + np.diag(there.sum(axis=1) + GENE_PAIRS)
    right = np.bincount(pairs.a, pairs.y, pairs.size) + np.bincount(pairs.b, pairs.y, pairs.size)
    return np.linalg.solve(normal, right)


def complete(pairs: Pairs, rank: int, shrinkage: float, rounds: int) -> Floats:
    """Return the (k, k) low-rank table that fits the pairs, by soft-thresholded eigenvalues.

    Alternates between filling what was not measured (diagonal included) with the current table and
    taking the leading eigenvectors, one subspace step a round from the last one's.

    Parameters
    ----------
    pairs
        Residuals; the diagonal is never measured.
    rank
        Most eigenvectors.
    shrinkage
        What eigenvalues lose, in units of the standard deviation of the pairs times sqrt(k): the largest
        eigenvalue of pure noise is 2.
    rounds
        Number of alternations.

    References
    ----------
    Mazumder, Hastie and Tibshirani, J. Mach. Learn. Res. 2010, 11, 2287 (soft imputation).
    """
    value, there = pairs.table()
    threshold = shrinkage * float(pairs.y.std()) * np.sqrt(pairs.size)
    values, vectors = np.linalg.eigh(value)
    leading = np.argsort(-np.abs(values), kind="stable")[: rank + 8]
    basis, table = vectors[:, leading], np.zeros_like(value)
    for _ in range(rounds):
        filled = np.where(there, value, table)
        basis = np.linalg.qr(filled @ basis)[0]
        values, inner = np.linalg.eigh(basis.T @ filled @ basis)
        leading = np.argsort(-np.abs(values), kind="stable")[:rank]
        kept = np.sign(values[leading]) * np.maximum(np.abs(values[leading]) - threshold, 0.0)
        vectors = basis @ inner[:, leading]
        table = (vectors * kept) @ vectors.T
    return (table + table.T) / 2


def gene_kernel(profile: Floats, single: Floats, pairs: Pairs, length: float) -> Floats:
    """Return the (k, k) similarity of genes by their interaction profiles and singles.

    exp(-|l_a - l_b|^2 / (2 length m)) x exp(-(s_a - s_b)^2 / (4 v)) + `OWN_SHARE` (a = b) + `COMMON_SHARE`,
    with l the rows of the completed table, m the median squared distance, v the variance of singles; scaled
    so that the prior variance of a measured pair, K_aa K_bb + K_ab^2, is 1 on average.
    """
    rows = profile - np.diag(np.diag(profile))
    norm = np.einsum("ij,ij->i", rows, rows)
    squared = np.maximum(norm[:, None] + norm - 2 * rows @ rows.T, 0.0)
    median = float(np.median(squared[np.triu_indices(len(rows), 1)])) if len(rows) > 1 else 0.0
    spread = float(single.var())
    kernel = np.exp(-squared / (2 * length * median)) if median > 0 else np.ones_like(squared)
    if spread > 0:
        kernel = kernel * np.exp(-np.square(single[:, None] - single) / (4 * spread))
    kernel = kernel + COMMON_SHARE + OWN_SHARE * np.eye(len(rows))
    prior = kernel[pairs.a, pairs.a] * kernel[pairs.b, pairs.b] + kernel[pairs.a, pairs.b] ** 2
    return kernel / np.sqrt(prior.mean())


@dataclass(frozen=True)
class PairProcess:
    """A Gaussian process over unordered pairs: cov(ab, cd) = K_ac K_bd + K_ad K_bc, solved without that matrix."""

    kernel: Floats
    """(k, k)"""
    noise: float
    """Variance of a measurement, in units of the prior variance of a pair."""

    def mean(self, pairs: Pairs, *, rounds: int = 200, tolerance: float = 1e-3) -> Floats:
        """Return the (k, k) posterior mean of all pairs.

        Conjugate gradients on the measured entries; a product costs two multiplications of (k, k)
        matrices, because the covariance acts on a symmetric table V as K V K. Preconditioned with the inverse
        for the complete table, known from the eigenvectors of K.
        """
        value, there = pairs.table()
        mask = there.astype(np.float64)
        values, vectors = np.linalg.eigh(self.kernel)
        values = np.maximum(values, 0.0)
        whole = 1.0 / (values[:, None] * values + self.noise)

        def solve_whole(table: Floats) -> Floats:
            return mask * (vectors @ ((vectors.T @ table @ vectors) * whole) @ vectors.T)

        found, rest = np.zeros_like(value), value.copy()
        size = float(np.sqrt(np.vdot(value, value)))
        near = solve_whole(rest)
        step, dot = near, float(np.vdot(rest, near))
        for _ in range(rounds):
            if float(np.sqrt(np.vdot(rest, rest))) <= tolerance * size:
                break
            image = mask * (self.kernel @ step @ self.kernel) + self.noise * step
            length = dot / float(np.vdot(step, image))
            found += length * step
            rest -= length * image
            near = solve_whole(rest)
            last, dot = dot, float(np.vdot(rest, near))
            step = near + (dot / last) * step
        mean = self.kernel @ found @ self.kernel
        return (mean + mean.T) / 2

    def variance(self, pairs: Pairs, *, axes: int = VARIANCE_AXES, chunk: int = 20_000) -> Floats:
        """Return (k, k) posterior variances of all pairs, noise not included.

        The posterior of the process in which only the leading `axes` of K are shared by pairs, and what lies
        outside them is each pair's own (fully independent conditionals; Quinonero-Candela and Rasmussen,
        J. Mach. Learn. Res. 2005, 6, 1939). Exact with as many axes as genes.
        """
        values, vectors = np.linalg.eigh(self.kernel)
        axes = min(axes, len(values))
        scaled = vectors[:, -axes:] * np.sqrt(np.maximum(values[-axes:], 0.0))
        diagonal = np.diag(self.kernel)

        def shared(a: NDArray[np.int64], b: NDArray[np.int64]) -> tuple[Floats, Floats]:
            part = pair_features(scaled, a, b)
            prior = diagonal[a] * diagonal[b] + self.kernel[a, b] ** 2
            return part, np.maximum(prior - np.einsum("ij,ij->i", part, part), 0.0)

        precision = np.eye(axes * (axes + 1) // 2)
        for start in range(0, len(pairs), chunk):
            part, own = shared(pairs.a[start : start + chunk], pairs.b[start : start + chunk])
            precision += part.T @ (part / (self.noise + own)[:, None])
        root = np.linalg.inv(np.linalg.cholesky(precision))
        rows, columns = np.triu_indices(pairs.size)
        out = np.empty(len(rows))
        for start in range(0, len(rows), chunk):
            part, own = shared(rows[start : start + chunk], columns[start : start + chunk])
            out[start : start + chunk] = np.square(part @ root.T).sum(axis=1) + own
        table = np.empty((pairs.size, pairs.size))
        table[rows, columns] = table[columns, rows] = out
        return table


def pair_features(scaled: Floats, a: NDArray[np.int64], b: NDArray[np.int64]) -> Floats:
    """Return (m, r (r + 1) / 2) features whose products are K_ac K_bd + K_ad K_bc for K = scaled @ scaled.T.

    Examples
    --------
    >>> scaled = np.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]])
    >>> one, two = pair_features(scaled, np.array([0, 0]), np.array([1, 2]))
    >>> kernel = scaled @ scaled.T
    >>> bool(np.isclose(one @ two, kernel[0, 0] * kernel[1, 2] + kernel[0, 2] * kernel[1, 0]))
    True
    """
    i, j = np.triu_indices(scaled.shape[1])
    first, second = scaled[a], scaled[b]
    return (first[:, i] * second[:, j] + first[:, j] * second[:, i]) * np.where(i == j, np.sqrt(0.5), 1.0)
