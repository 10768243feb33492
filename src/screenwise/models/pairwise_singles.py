"""Single effects as models use them: shrunk by their known noise, and imputed for genes without a single."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from screenwise.models.pairwise_descriptors import Descriptors, Imputer, fit_imputer
from screenwise.models.pairwise_scale import Scale, shrink_singles
from screenwise.models.pairwise_table import PAIR, ProfileTable, gene_places

MEASURED, FROM_COMBINATIONS, FROM_DESCRIPTORS, FROM_MEAN = 0, 1, 2, 3
SOURCE_NOTE = {
    FROM_COMBINATIONS: "estimated from its measured combinations",
    FROM_DESCRIPTORS: "taken from its descriptors",
    FROM_MEAN: "unknown: the mean of all singles stands in",
}
"""What is said of a gene whose single was not measured."""


@dataclass(frozen=True)
class Asked:
    """n conditions that are asked for, by the effects of their genes."""

    genes: NDArray[np.str_]
    """(q,) distinct genes."""
    single: NDArray[np.float64]
    """(q, p) their effects."""
    source: NDArray[np.int64]
    """(q,) where the effect comes from: 0 measured, else a key of `SOURCE_NOTE`."""
    place: NDArray[np.int64]
    """(n, widest) genes of each condition; -2 = no gene there."""

    @property
    def size(self) -> NDArray[np.int64]:
        """(n,) number of genes."""
        return (self.place >= 0).sum(axis=1)

    @property
    def novelty(self) -> NDArray[np.int64]:
        """(n,) number of genes without a measured single."""
        unmeasured = np.append(self.source != MEASURED, [False, False])
        return unmeasured[self.place].sum(axis=1)

    def total(self) -> NDArray[np.float64]:
        """Return (n, p) sums of the effects."""
        padded = np.vstack([self.single, np.zeros((2, self.single.shape[1]))])
        total = np.zeros((len(self.place), self.single.shape[1]))
        for member in range(self.place.shape[1]):  # a few genes, not rows
            total += padded[self.place[:, member]]
        return total

    def length(self, unmeasured: float) -> NDArray[np.float64]:
        """Return (n,) root of the summed squared effects; a gene without a single counts `unmeasured` squared."""
        squared = np.square(self.single).sum(axis=1)
        squared = np.where(self.source == MEASURED, squared, np.maximum(squared, unmeasured**2))
        return np.sqrt(np.append(squared, [0.0, 0.0])[self.place].sum(axis=1))


@dataclass(frozen=True)
class Singles:
    """Effects of all genes that a model can say something of; made by `learn_singles`."""

    genes: NDArray[np.str_]
    """(g,) genes with a measured single."""
    single: NDArray[np.float64]
    """(g, p) their effects, shrunk where their noise is known."""
    shrunk: bool
    """Whether the noise of some single was known."""
    descriptors: Descriptors | None
    imputer: Imputer
    partial: NDArray[np.str_]
    """(h,) genes that occur in measured doubles only."""
    partial_single: NDArray[np.float64]
    """(h, p) their effects, estimated from those doubles."""

    @property
    def typical(self) -> float:
        """Root mean square length of a single effect."""
        return float(np.sqrt(np.square(self.single).sum(axis=1).mean()))

    def similarity(self, genes: NDArray[np.str_]) -> NDArray[np.float64]:
        """Return (q, g) similarities of genes by their descriptors; 0 without."""
        if self.descriptors is None:
            return np.zeros((len(genes), len(self.genes)))
        return self.descriptors.similarity(genes, self.genes)

    def ask(self, combinations: list[tuple[str, ...]]) -> Asked:
        """Look the genes of n conditions up, and impute those without a single."""
        names = np.array(sorted({gene for genes in combinations for gene in genes}), dtype=str)
        place = gene_places(names, tuple(combinations))
        effect = np.zeros((len(names), self.single.shape[1]))
        source = np.full(len(names), FROM_MEAN)
        known, where = _lookup(self.genes, names)
        effect[known], source[known] = self.single[where], MEASURED
        rest = ~known
        if rest.any():
            similarity = self.similarity(names[rest])
            effect[rest] = self.imputer.predict(similarity)
            told = (similarity > 0).any(axis=1) & (self.imputer.strength > 0)
            source[rest] = np.where(told, FROM_DESCRIPTORS, FROM_MEAN)
            half, where = _lookup(self.partial, names)
            half &= rest
            effect[half], source[half] = self.partial_single[where], FROM_COMBINATIONS
        return Asked(names, effect, source, place)


def _lookup(known: NDArray[np.str_], names: NDArray[np.str_]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which names are known, and the places of those."""
    place = np.searchsorted(known, names)
    there = np.zeros(len(names), bool)
    inside = place < len(known)
    there[inside] = known[place[inside]] == names[inside]
    return there, place[there]


def learn_singles(table: ProfileTable, descriptors: Descriptors | None, *, shrink: bool = True) -> Singles:
    """Shrink the singles by their known noise and learn to impute others from descriptors."""
    known = bool(np.isfinite(table.single_error).any()) and shrink
    single = shrink_singles(table.single, table.single_error) if known else table.single
    similarity = None
    if descriptors is not None:
        descriptors = descriptors.restricted(table.genes)
        similarity = descriptors.similarity(table.genes, table.genes)
    nothing = np.array([], dtype=str)
    imputer = fit_imputer(single, similarity)
    return Singles(table.genes, single, known, descriptors, imputer, nothing, single[:0])


def with_partial(singles: Singles, table: ProfileTable, scale: Scale) -> Singles:
    """Return singles that also know genes which occur in doubles only, each with a gene whose single was measured.

    Such a double leaves (effect - offset) / coefficient - the other's single; n of them are averaged and
    weigh n / (n + 1) against what descriptors, or the mean, say.
    """
    places = table.places
    one_known = (places >= 0).sum(axis=1) == 1
    rows = np.flatnonzero(one_known & ((places >= -1).sum(axis=1) == PAIR))
    if len(rows) == 0:
        return singles
    other = places[rows].max(axis=1)
    known = frozenset(table.genes.tolist())
    names = np.array([next(gene for gene in table.combinations[row] if gene not in known) for row in rows], dtype=str)
    genes, code = np.unique(names, return_inverse=True)
    left = (table.effect[rows] - scale.offset) / max(scale.coefficient, 0.1) - singles.single[other]
    total = np.zeros((len(genes), left.shape[1]))
    np.add.at(total, code, left)
    count = np.bincount(code)[:, None]
    prior = singles.imputer.predict(singles.similarity(genes))
    estimate = (total + prior) / (count + 1)
    return Singles(singles.genes, singles.single, singles.shrunk, singles.descriptors, singles.imputer, genes, estimate)
