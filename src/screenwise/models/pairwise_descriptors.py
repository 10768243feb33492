"""What is known of genes besides their effects: sets they belong to, or numbers; as similarities of genes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from screenwise.errors import ColumnError
from screenwise.models.pairwise_kernel import median_distance, squared_distance

SET_COLUMNS = ("go_id", "gene_set", "set", "term", "pathway", "complex")
"""Columns that name a set, in a table of one row per gene and set."""
LARGEST_SET = 39
"""Sets of more of the screen's genes say nothing about which of them are alike."""
STRENGTHS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Prior variance of what descriptors explain, in units of what they do not: 0 = reject them, the mean is left."""
WORTH = 0.995
"""Held-out errors above this share of the mean's: the descriptors are rejected."""


@dataclass(frozen=True)
class Descriptors:
    """A table of genes: one row per gene and set, or one row per gene with numbers.

    Examples
    --------
    >>> sets = pd.DataFrame({"gene": ["A", "A", "B", "C"], "go_id": ["x", "y", "x", "y"]})
    >>> table = Descriptors.from_table(sets)
    >>> table.similarity(np.array(["A", "new"]), np.array(["A", "B", "C"])).round(2).tolist()
    [[1.0, 0.71, 0.71], [0.0, 0.0, 0.0]]
    """

    genes: NDArray[np.str_]
    """(d,) ascending."""
    sets: csr_array | None = field(default=None, compare=False)
    """(d, s) ones; None = numbers."""
    numbers: NDArray[np.float64] | None = field(default=None, compare=False)
    """(d, k) numbers, standardised; None = sets."""

    @classmethod
    def from_table(cls, table: pd.DataFrame) -> Self:
        """Read a table with the column `gene` and either a column of sets (such as `go_id`) or numeric columns."""
        if "gene" not in table.columns:
            message = f"A table of gene descriptors needs the column 'gene'; found {list(map(str, table.columns))}."
            raise ColumnError(message)
        named = [name for name in SET_COLUMNS if name in table.columns]
        gene = table["gene"].astype("string").fillna("").str.strip().astype(str)
        if named:
            pairs = pd.DataFrame({"gene": gene, "set": table[named[0]].astype(str)}).drop_duplicates()
            codes, genes = pd.factorize(pairs["gene"], sort=True)
            sets, names = pd.factorize(pairs["set"], sort=True)
            ones = np.ones(len(pairs))
            return cls(np.asarray(genes, str), csr_array((ones, (codes, sets)), shape=(len(genes), len(names))))
        numeric = table.drop(columns="gene").select_dtypes("number")
        if numeric.shape[1] == 0:
            message = (
                f"A table of gene descriptors needs numeric columns or one of {', '.join(SET_COLUMNS)}; "
                f"found {list(map(str, table.columns))}."
            )
            raise ColumnError(message)
        mean = numeric.assign(gene=gene).groupby("gene", sort=True).mean()
        values = mean.to_numpy(np.float64)
        centre, spread = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        values = np.nan_to_num((values - centre) / np.where(spread > 0, spread, 1.0))
        return cls(mean.index.to_numpy(str), None, values)

    def knows(self, genes: NDArray[np.str_]) -> NDArray[np.bool_]:
        """Return (n,) which genes are in the table."""
        return np.isin(genes, self.genes)

    def similarity(self, asked: NDArray[np.str_], known: NDArray[np.str_]) -> NDArray[np.float64]:
        """Return (a, b) similarities of genes to the genes of a screen, 0 to 1; 0 where nothing is known.

        Sets: cosine of sets weighted by their rarity among `known`. Numbers: radial, at the median distance.
        """
        left, there = self._rows(asked)
        right, also = self._rows(known)
        if self.numbers is not None:
            distance = median_distance(right[also]) if also.any() else 1.0
            found = np.exp(squared_distance(left, right) / (-2.0 * distance))
        else:
            count = right.sum(axis=0)
            rare = (count >= 1) & (count <= LARGEST_SET)
            weight = np.where(rare, np.log((1 + len(known)) / np.maximum(count, 1)), 0.0)
            found = _unit(left * weight) @ _unit(right * weight).T
        return found * there[:, None] * also

    def restricted(self, genes: NDArray[np.str_]) -> "Descriptors":
        """Return the table with the sets that some gene of `genes` has: others never matter."""
        if self.sets is None:
            return self
        used = np.asarray(self.sets[np.isin(self.genes, genes)].sum(axis=0)).ravel() > 0
        return Descriptors(self.genes, csr_array(self.sets[:, np.flatnonzero(used)]))

    def save_arrays(self) -> dict[str, Any]:
        """Return arrays that `from_arrays` takes back."""
        if self.sets is None:
            return {"genes": self.genes, "numbers": self.numbers}
        return {
            "genes": self.genes,
            "indices": self.sets.indices,
            "indptr": self.sets.indptr,
            "width": self.sets.shape[1],
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> Self:
        """Read what `save_arrays` gave."""
        if "numbers" in arrays:
            return cls(arrays["genes"], None, arrays["numbers"])
        ones, shape = np.ones(len(arrays["indices"])), (len(arrays["genes"]), int(arrays["width"]))
        return cls(arrays["genes"], csr_array((ones, arrays["indices"], arrays["indptr"]), shape=shape))

    def _rows(self, genes: NDArray[np.str_]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        place = pd.Index(self.genes.astype(object)).get_indexer(genes.astype(object))
        table = self.numbers if self.sets is None else self.sets
        assert table is not None
        rows = table[np.maximum(place, 0)]
        dense = rows if isinstance(rows, np.ndarray) else rows.toarray()
        return np.where((place >= 0)[:, None], dense, 0.0), place >= 0


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.linalg.norm(rows, axis=1)[:, None]
    return rows / np.where(length > 0, length, 1.0)


@dataclass(frozen=True)
class Imputer:
    """Effects of genes without a single: kernel regression on descriptors about the mean of the measured singles."""

    mean: NDArray[np.float64]
    """(p,)"""
    coefficients: NDArray[np.float64]
    """(g, p) weights of the similarities to the measured genes."""
    held_out: NDArray[np.float64]
    """(g, p) what the other genes say of each measured single."""
    error: float
    """Root mean square length of the held-out errors."""
    strength: float
    """How much descriptors may explain, one of `STRENGTHS`; 0 = nothing: genes get the mean."""

    def predict(self, similarity: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (q, p) effects from (q, g) similarities."""
        return self.mean + similarity @ self.coefficients


def fit_imputer(single: NDArray[np.float64], similarity: NDArray[np.float64] | None) -> Imputer:
    """Learn how far descriptors tell single effects; leave-one-out errors decide, so that useless ones are rejected.

    Parameters
    ----------
    single
        (g, p) measured effects.
    similarity
        (g, g) of the measured genes, diagonal 1 where something is known; None = no descriptors.

    Examples
    --------
    >>> x = np.linspace(0, 3, 12)[:, None]
    >>> imputer = fit_imputer(np.sin(x), np.exp(-((x - x.T) ** 2)))
    >>> bool(imputer.strength > 0)
    True
    """
    mean = single.mean(axis=0)
    others = mean + (mean - single) / max(len(single) - 1, 1)
    best = Imputer(mean, np.zeros_like(single), others, _length(single - others), 0.0)
    if similarity is None or len(single) < 3:  # noqa: PLR2004
        return best
    for strength in STRENGTHS[1:]:
        # the unknown mean is a constant kernel: leaving a gene out leaves it out of the mean too
        wide = 100.0
        inverse = np.linalg.inv(strength * similarity + wide + np.eye(len(single)))
        alpha = inverse @ (single - mean)
        held = single - alpha / np.diagonal(inverse)[:, None]
        error = _length(single - held)
        # a hair better than the mean is chance
        if error < best.error * (1.0 if best.strength else WORTH):
            shift = wide * alpha.sum(axis=0)
            best = Imputer(mean + shift, strength * alpha, held, error, strength)
    return best


def _length(errors: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.square(errors).sum(axis=1).mean()))


def read_descriptors(path: Path) -> Descriptors:
    """Read a table of descriptors from CSV, TSV (also gzipped) or Parquet."""
    path = Path(path)
    if path.suffix == ".parquet":
        return Descriptors.from_table(pd.read_parquet(path))
    separator = "\t" if ".tsv" in path.suffixes or ".txt" in path.suffixes else ","
    return Descriptors.from_table(pd.read_csv(path, sep=separator))
