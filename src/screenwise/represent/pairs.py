"""Several entities, doses and contexts in one condition: products and symmetric sums of kernels."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from screenwise.condition import CONTROL
from screenwise.errors import ColumnError

LEAST_DOSE_UM = 1e-6
"""Doses below this, and missing ones, count as this: far from any dose that does something."""


@dataclass(frozen=True)
class Parts:
    """Features of n conditions in several parts, indexed together by rows."""

    parts: tuple[Any, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """(n, number of parts)."""
        return self.parts[0].shape[0], len(self.parts)

    def __len__(self) -> int:
        return int(self.parts[0].shape[0])

    def __getitem__(self, rows: Any) -> "Parts":
        return Parts(tuple(part[rows] for part in self.parts))


@dataclass(frozen=True)
class Members:
    """Features of n conditions of k members each, where few distinct members occur in many conditions."""

    distinct: Any
    """(m, d) features of the distinct members."""
    codes: NDArray[np.int64]
    """(n, k) rows of `distinct`; -1 = no member."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n, k)."""
        return self.codes.shape[0], self.codes.shape[1]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Any) -> "Members":
        return Members(self.distinct, self.codes[rows])

    def used(self) -> "Members":
        """Return the same conditions with only those distinct members that they have."""
        rows, codes = np.unique(self.codes, return_inverse=True)
        absent = int(len(rows) > 0 and rows[0] < 0)
        return Members(self.distinct[rows[absent:]], codes.reshape(self.codes.shape) - absent)


@dataclass(frozen=True)
class Together:
    """Several representations of the same conditions side by side."""

    representations: tuple[Any, ...]

    def fit(self, conditions: pd.DataFrame) -> Self:
        """Fit those representations that have statistics."""
        fitted = (each.fit(conditions) if hasattr(each, "fit") else each for each in self.representations)
        return replace(self, representations=tuple(fitted))

    def transform(self, conditions: pd.DataFrame) -> Parts:
        """Return `Parts` of (n, ...) features."""
        return Parts(tuple(each.transform(conditions) for each in self.representations))


@dataclass(frozen=True)
class Product:
    """Product of similarities, one per part."""

    similarities: tuple[Any, ...]

    def fit(self, features: Parts) -> Self:
        """Fit those similarities that learn from features."""
        return _fit_parts(self, features)

    def __call__(self, a: Parts, b: Parts | None = None) -> NDArray[np.float32]:
        """Return (na, nb)."""
        others = (None,) * len(a.parts) if b is None else b.parts
        out = self.similarities[0](a.parts[0], others[0])
        for similarity, part, other in zip(self.similarities[1:], a.parts[1:], others[1:], strict=True):
            out = out * similarity(part, other)
        return out

    def diagonal(self, a: Parts) -> NDArray[np.float32]:
        """Return (n,)."""
        found = [s.diagonal(part) for s, part in zip(self.similarities, a.parts, strict=True)]
        return np.asarray(np.prod(found, axis=0), np.float32)


@dataclass(frozen=True)
class Average:
    """Mean of similarities, one per part."""

    similarities: tuple[Any, ...]

    def fit(self, features: Parts) -> Self:
        """Fit those similarities that learn from features."""
        return _fit_parts(self, features)

    def __call__(self, a: Parts, b: Parts | None = None) -> NDArray[np.float32]:
        """Return (na, nb)."""
        others = (None,) * len(a.parts) if b is None else b.parts
        found = [s(part, other) for s, part, other in zip(self.similarities, a.parts, others, strict=True)]
        return np.asarray(np.mean(found, axis=0), np.float32)

    def diagonal(self, a: Parts) -> NDArray[np.float32]:
        """Return (n,)."""
        found = [s.diagonal(part) for s, part in zip(self.similarities, a.parts, strict=True)]
        return np.asarray(np.mean(found, axis=0), np.float32)


@dataclass(frozen=True)
class EachMember:
    """Features of the members of a condition: columns `<name>_a`, `<name>_b` read as `<name>`.

    A member whose entity is empty or a control ("", ctrl, ...) is absent. Order plays no part.

    Examples
    --------
    >>> pairs = pd.DataFrame({"gene_a": ["TP53", "MYC"], "gene_b": ["MYC", ""]})
    >>> EachMember("gene", Category(("gene",))).transform(pairs).codes.tolist()
    [[1, 0], [0, -1]]
    """

    entity: str
    """The column that names a member, such as `gene` or `smiles`, without suffix."""
    representation: Any
    """Of one member."""
    columns: tuple[str, ...] = ()
    """Further columns that make a member what it is, such as `dose_um`, without suffix."""
    carried: tuple[str, ...] = ()
    """Columns that follow from the entity and are read too, such as its `feature:` columns, without suffix."""
    suffixes: tuple[str, ...] = ("_a", "_b")

    @property
    def members(self) -> tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """What makes up the members: equal for representations that see the same members in the same order."""
        return self.entity, self.columns, self.carried, self.suffixes

    def fit(self, conditions: pd.DataFrame) -> Self:
        """Fit the members' representation on all members that occur."""
        if not hasattr(self.representation, "fit"):
            return self
        return replace(self, representation=self.representation.fit(self.distinct(conditions)[0]))

    def transform(self, conditions: pd.DataFrame) -> Members:
        """Return `Members`."""
        distinct, codes = self.distinct(conditions)
        return Members(self.representation.transform(distinct), codes)

    def distinct(self, conditions: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.int64]]:
        """Return the distinct members (ordered by value, so that row order plays no part), and (n, k) codes."""
        keys = [self.entity, *self.columns]
        names = [*keys, *self.carried]
        absent = [name + suffix for suffix in self.suffixes for name in names if name + suffix not in conditions]
        if absent:
            message = f"These pairs need the columns {absent}; found {list(map(str, conditions.columns))}."
            raise ColumnError(message)
        every = [conditions[[name + suffix for name in names]].set_axis(names, axis=1) for suffix in self.suffixes]
        place, first = _as_written([pd.concat([part[name] for part in every]) for name in keys])
        at, member = first % max(len(conditions), 1), first // max(len(conditions), 1)
        # few are looked at in earnest: each way of writing a member once, in the order of their appearance
        few = pd.concat([part.iloc[at[member == one]] for one, part in enumerate(every)], ignore_index=True)
        entity = few[self.entity].astype("string").str.strip()
        there = ~entity.str.lower().isin([name.lower() for name in CONTROL]) & entity.notna()
        there = there.fillna(value=False).to_numpy(bool)
        codes = np.full(len(few), -1, np.int64)
        codes[there] = few[there].groupby(keys, dropna=False, sort=True).ngroup().to_numpy()
        rows = np.unique(codes, return_index=True)[1][int(not there.all() and len(codes) > 0) :]
        return few.iloc[rows].reset_index(drop=True), codes[place].reshape(len(self.suffixes), -1).T


def _as_written(columns: list[pd.Series]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (n,) codes of distinct rows in the order of their appearance, and the first row of each."""
    place = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        codes, values = pd.factorize(column, use_na_sentinel=False)
        place = pd.factorize(place * max(len(values), 1) + codes)[0].astype(np.int64)
    return place, np.unique(place, return_index=True)[1]


@dataclass(frozen=True)
class SymmetricProduct:
    """S(a, c) S(b, d) + S(a, d) S(b, c), halved: similar when both members are, in whichever order.

    Two absent members count as the same.
    """

    similarity: Any
    """Of two members."""

    def fit(self, features: Members) -> Self:
        """Fit the members' similarity."""
        return _fit_member(self, features)

    def __call__(self, a: Members, b: Members | None = None) -> NDArray[np.float32]:
        """Return (na, nb)."""
        table, left, right = _between(self.similarity, a, b, absent=1.0)
        out = np.empty((len(left), len(right)), np.float32)
        _multiply(table, left, right, out)
        return out

    def diagonal(self, a: Members) -> NDArray[np.float32]:
        """Return (n,)."""
        table, left, _ = _between(self.similarity, a, None, absent=1.0)
        first, second = left[:, 0], left[:, 1]
        product = table[first, first] * table[second, second] + table[first, second] ** 2
        return np.asarray(product / 2, np.float32)


@dataclass(frozen=True)
class SymmetricSum:
    """(S(a, c) + S(a, d) + S(b, c) + S(b, d)) / 2: every member adds its own effect, absent ones none."""

    similarity: Any
    """Of two members."""

    def fit(self, features: Members) -> Self:
        """Fit the members' similarity."""
        return _fit_member(self, features)

    def __call__(self, a: Members, b: Members | None = None) -> NDArray[np.float32]:
        """Return (na, nb)."""
        table, left, right = _between(self.similarity, a, b, absent=0.0)
        # members are summed on one side first: two gathers in place of k x k
        rows = sum(table[left[:, member]] for member in range(left.shape[1]))
        columns = np.ascontiguousarray(np.asarray(rows).T)
        out = np.asarray(sum(columns[right[:, member]] for member in range(right.shape[1])), np.float32)
        return np.ascontiguousarray(out.T) / np.float32(2)

    def diagonal(self, a: Members) -> NDArray[np.float32]:
        """Return (n,)."""
        table, left, _ = _between(self.similarity, a, None, absent=0.0)
        k = range(left.shape[1])
        every = [table[left[:, one], left[:, two]] for one in k for two in k]
        return np.asarray(np.sum(every, axis=0) / 2, np.float32)


@dataclass(frozen=True)
class Category:
    """Names (cell lines, donors, genes, ...) as codes that compare only as same or different."""

    columns: tuple[str, ...]

    def transform(self, conditions: pd.DataFrame) -> NDArray[np.uint64]:
        """Return (n, c) codes that are the same in every process."""
        absent = [name for name in self.columns if name not in conditions.columns]
        if absent:
            message = f"The model needs the columns {absent}; found {list(map(str, conditions.columns))}."
            raise ColumnError(message)
        codes = [
            pd.util.hash_array(conditions[name].astype("string").fillna("").str.strip().to_numpy(object))
            for name in self.columns
        ]
        return np.column_stack(codes)


@dataclass(frozen=True)
class Same:
    """1 where all codes are equal, else 0."""

    def __call__(self, a: NDArray[Any], b: NDArray[Any] | None = None) -> NDArray[np.float32]:
        """Return (na, nb)."""
        b = a if b is None else b
        out = np.ones((len(a), len(b)), bool)
        for column in range(a.shape[1]):
            out &= a[:, column, None] == b[None, :, column]
        return out.astype(np.float32)

    def diagonal(self, a: NDArray[Any]) -> NDArray[np.float32]:
        """Return (n,) ones."""
        return np.ones(len(a), np.float32)


@dataclass(frozen=True)
class Doses:
    """Decimal logarithms of doses in micromolar.

    Examples
    --------
    >>> Doses("dose_um").transform(pd.DataFrame({"dose_um": [10.0, 0.1]})).ravel().tolist()
    [1.0, -1.0]
    """

    column: str = "dose_um"
    """`dose_um` (micromolar) or `dose_m` (molar)."""
    unit_um: float = field(default=1.0)
    """Micromolar in one unit of the column."""

    def transform(self, conditions: pd.DataFrame) -> NDArray[np.float32]:
        """Return (n, 1)."""
        if self.column not in conditions.columns:
            message = (
                f"The model needs doses in the column {self.column!r}; found {list(map(str, conditions.columns))}."
            )
            raise ColumnError(message)
        dose = pd.to_numeric(conditions[self.column], errors="coerce").to_numpy(np.float64) * self.unit_um
        dose = np.where(dose > LEAST_DOSE_UM, dose, LEAST_DOSE_UM)
        return np.log10(dose).astype(np.float32)[:, None]


def _fit_parts(similarity: Any, features: Parts) -> Any:
    pairs = zip(similarity.similarities, features.parts, strict=True)
    return replace(similarity, similarities=tuple(s.fit(part) if hasattr(s, "fit") else s for s, part in pairs))


def _fit_member(similarity: Any, features: Members) -> Any:
    if not hasattr(similarity.similarity, "fit"):
        return similarity
    return replace(similarity, similarity=similarity.similarity.fit(features.distinct))


def _between(
    similarity: Any, a: Members, b: Members | None, *, absent: float
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return similarities of distinct members, with a last row and column for absent ones, and both sides' codes."""
    left = a.used()
    right = left if b is None else b.used()
    table = member_table(similarity, left.distinct, None if b is None else right.distinct, absent=absent)
    return table, left.codes, right.codes


def member_table(similarity: Any, a: Any, b: Any, *, absent: float) -> NDArray[np.float32]:
    """Return (na + 1, nb + 1) similarities of members, the last row and column those of an absent one.

    Parameters
    ----------
    similarity
        Of two members.
    a, b
        Features of (na,) and (nb,) members; b None = a.
    absent
        Similarity of two absent members; to any other they have 0.
    """
    table = np.zeros((a.shape[0] + 1, (a if b is None else b).shape[0] + 1), np.float32)
    table[-1, -1] = absent
    if min(table.shape) > 1:
        table[:-1, :-1] = similarity(a, b)
    return table


@njit(cache=True)
def _multiply(table: Any, left: Any, right: Any, out: Any) -> None:  # pragma: no cover
    for row in range(len(left)):
        # two rows of the table at a time stay in the processor's nearest memory
        first, second = table[left[row, 0]], table[left[row, 1]]
        for other in range(len(right)):
            c, d = right[other, 0], right[other, 1]
            out[row, other] = (first[c] * second[d] + first[d] * second[c]) / 2
