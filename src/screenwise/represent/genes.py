"""Genes as numbers: families by the beginning of their symbol, and the sets they belong to."""

import re
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from screenwise.errors import ColumnError, ConfigError
from screenwise.represent.fingerprint import UNFOLDED
from screenwise.represent.reduction import principal_scores

MOST_GENES = 300
"""A beginning shared by more genes than this says nothing about a family."""
SHORTEST = 3
"""Letters of the shortest beginning; the letters before the first digit count whatever their number."""

_ROOT = re.compile(r"^[A-Z]+")


@dataclass(frozen=True)
class Tokens:
    """Weights of tokens: log((1 + n) / (1 + genes that have it)), as fitted; unseen ones weigh the most."""

    ids: NDArray[np.int64] = field(compare=False)
    """(m,) ascending."""
    weight: NDArray[np.float32] = field(compare=False)
    """(m,)"""
    unseen: float

    def weigh(self, table: csr_array) -> csr_array:
        """Return the table with a token's weight in place of each of its ones; weightless ones left out."""
        place = np.minimum(np.searchsorted(self.ids, table.indices), max(len(self.ids) - 1, 0))
        known = self.ids[place] == table.indices if len(self.ids) else np.zeros(table.nnz, bool)
        data = np.full(table.nnz, self.unseen, np.float32)
        data[known] = self.weight[place[known]]
        keep = data > 0
        indptr = np.concatenate([[0], np.cumsum(keep)])[table.indptr]
        return csr_array((data[keep], table.indices[keep], indptr), shape=table.shape)


def token_weights(table: csr_array, most: int | None = None) -> Tokens:
    """Return inverse frequencies of the columns of (n, d) ones; columns of more than `most` rows weigh 0.

    Examples
    --------
    >>> token_weights(csr_array(np.array([[1, 1], [1, 0], [1, 0]]))).weight.round(2).tolist()
    [0.0, 0.6899999976158142]
    """
    ids, rows = np.unique(table.indices, return_counts=True)
    weight = np.log((1 + table.shape[0]) / (1 + rows))
    if most is not None:
        weight[rows > most] = 0.0
    return Tokens(ids.astype(np.int64), weight.astype(np.float32), float(np.log(1 + table.shape[0])))


@dataclass(frozen=True)
class SymbolPrefixes:
    """Gene symbols by their beginnings, weighted by rarity: paralogues and complexes share them.

    Beginnings of three letters or more, shorter than the symbol, and the letters before the first
    digit. They reach genes of which nothing else is known.

    Examples
    --------
    >>> prefixes("PSMB10")
    ['PSM', 'PSMB', 'PSMB1']
    """

    column: str = "gene"
    tokens: Tokens | None = None
    """Weights; None = not fitted."""

    def fit(self, conditions: pd.DataFrame) -> Self:
        """Take the weights from the distinct symbols of conditions."""
        distinct = pd.DataFrame({self.column: pd.unique(_symbols(conditions, self.column))})
        return replace(self, tokens=token_weights(self._table(distinct), MOST_GENES))

    def transform(self, conditions: pd.DataFrame) -> csr_array:
        """Return (n, d) weights; columns are 63-bit codes of beginnings."""
        if self.tokens is None:
            message = "These symbol prefixes are not fitted yet; call fit(conditions) first."
            raise ConfigError(message)
        return self.tokens.weigh(self._table(conditions))

    def _table(self, conditions: pd.DataFrame) -> csr_array:
        codes, distinct = pd.factorize(_symbols(conditions, self.column))
        return _token_table([prefixes(symbol) for symbol in distinct])[codes]


@dataclass(frozen=True)
class GeneSets:
    """The sets (pathways, complexes) that genes belong to, weighted by rarity.

    Made by `from_table`, it knows the sets of all genes of that table; else conditions carry them in
    a column `sets:<name>` (see `join_features`). Genes in no set have an empty row.

    Examples
    --------
    >>> long = pd.DataFrame({"gene": ["A1", "A2", "A2", "B"], "gene_set": ["s", "s", "t", "t"]})
    >>> sets = GeneSets.from_table(long)
    >>> np.diff(sets.transform(pd.DataFrame({"gene": ["A2", "A1", "new"]})).indptr).tolist()
    [2, 1, 0]
    """

    column: str = "gene"
    sets: str = ""
    """Column of the conditions that names sets, parted by `|`; "" = this object's own table."""
    names: NDArray[Any] | None = field(default=None, compare=False)
    """(g,) genes of the own table, sorted."""
    table: csr_array | None = field(default=None, compare=False)
    """(g, d) ones; columns are 63-bit codes of sets."""
    tokens: Tokens | None = None
    """Weights; None = not fitted."""

    @classmethod
    def from_table(cls, long: pd.DataFrame, gene: str = "gene", gene_set: str = "gene_set") -> Self:
        """Read one row per gene and set."""
        for name in (gene, gene_set):
            if name not in long.columns:
                message = f"A table of gene sets needs the column {name!r}; found {list(map(str, long.columns))}."
                raise ColumnError(message)
        pairs = pd.DataFrame({"gene": _symbols(long, gene), "set": long[gene_set].astype(str)}).drop_duplicates()
        grouped = pairs.groupby("gene", sort=True)["set"].agg(list)
        table = _token_table(grouped.tolist())
        return cls(gene, "", grouped.index.to_numpy(str), table, token_weights(table))

    def fit(self, conditions: pd.DataFrame) -> Self:
        """Take the weights from conditions, where they carry the sets; an own table has its own."""
        if not self.sets:
            return self
        distinct = conditions.drop_duplicates(self.column) if self.column in conditions.columns else conditions
        return replace(self, tokens=token_weights(self._table(distinct)))

    def transform(self, conditions: pd.DataFrame) -> csr_array:
        """Return (n, d) weights; columns are 63-bit codes of sets."""
        if self.tokens is None:
            message = "These gene sets are not fitted yet; call fit(conditions) or make them with from_table."
            raise ConfigError(message)
        return self.tokens.weigh(self._table(conditions))

    def descriptors(self, dimensions: int = 128) -> pd.DataFrame:
        """Return gene, `pw000`, ... and `n_sets` of the own table: a truncated singular value decomposition.

        A table for `join_features`. Signs are fixed, so that the same table gives the same columns.
        """
        if self.names is None or self.table is None or self.tokens is None:
            message = "Only gene sets made by from_table have descriptors."
            raise ConfigError(message)
        weighted = self.tokens.weigh(self.table)
        codes = pd.factorize(weighted.indices)[0]
        matrix = csr_array(
            (weighted.data.astype(np.float64), codes, weighted.indptr), shape=(len(self.names), codes.max() + 1)
        )
        scores = principal_scores(matrix, dimensions)
        frame = pd.DataFrame(scores.astype(np.float32), columns=[f"pw{place:03d}" for place in range(scores.shape[1])])
        frame.insert(0, "gene", self.names.astype(object))
        return frame.assign(n_sets=np.diff(self.table.indptr))

    def _table(self, conditions: pd.DataFrame) -> csr_array:
        if self.sets:
            if self.sets not in conditions.columns:
                message = (
                    f"The model needs the column {self.sets!r}; found {list(map(str, conditions.columns))}. "
                    "Join the same --features table that the model was fitted with."
                )
                raise ColumnError(message)
            codes, distinct = pd.factorize(conditions[self.sets].astype("string").fillna("").astype(str))
            return _token_table([[name for name in text.split("|") if name] for text in distinct])[codes]
        if self.names is None or self.table is None:
            message = "These gene sets have no table; make them with from_table."
            raise ConfigError(message)
        place = pd.Index(self.names.astype(object)).get_indexer(_symbols(conditions, self.column))
        # an empty row at the end is what genes without any set take
        indptr = np.append(self.table.indptr, self.table.indptr[-1])
        padded = csr_array((self.table.data, self.table.indices, indptr), shape=(len(self.names) + 1, UNFOLDED))
        return padded[np.where(place < 0, len(self.names), place)]


@dataclass(frozen=True)
class Annotation:
    """How much is known of a gene: whether it is in no set at all, and log(1 + number of its sets).

    A baseline and a covariate: part of what models of genes find is how well a gene is studied.
    """

    sets: GeneSets

    def fit(self, conditions: pd.DataFrame) -> Self:
        """Fit the sets."""
        return replace(self, sets=self.sets.fit(conditions))

    def transform(self, conditions: pd.DataFrame) -> NDArray[np.float32]:
        """Return (n, 2)."""
        count = np.diff(self.sets.transform(conditions).indptr)
        return np.column_stack([count == 0, np.log1p(count)]).astype(np.float32)


def prefixes(symbol: str) -> list[str]:
    """Return the beginnings of a gene symbol that name its family, shortest first.

    Examples
    --------
    >>> prefixes("TP53")
    ['TP', 'TP5']
    """
    root = _ROOT.match(symbol)
    found = {symbol[:length] for length in range(SHORTEST, len(symbol))}
    return sorted(found | ({root[0]} if root else set()), key=len)


def _symbols(conditions: pd.DataFrame, column: str) -> NDArray[Any]:
    if column not in conditions.columns:
        message = f"The model needs the column {column!r}; found {list(map(str, conditions.columns))}."
        raise ColumnError(message)
    return conditions[column].astype("string").fillna("").str.strip().str.upper().to_numpy(object)


def _token_table(rows: list[list[str]]) -> csr_array:
    """Return (n, d) ones; a token's column is its 63-bit hash, the same in every process."""
    length = np.fromiter((len(row) for row in rows), np.int64, len(rows))
    codes, distinct = pd.factorize(np.array([token for row in rows for token in row], dtype=object))
    hashed = (pd.util.hash_array(np.asarray(distinct, dtype=object)) >> np.uint64(1)).astype(np.int64)
    indptr = np.concatenate([[0], np.cumsum(length)])
    table = csr_array((np.ones(len(codes), np.float32), hashed[codes], indptr), shape=(len(rows), UNFOLDED))
    table.sort_indices()
    return table
