"""What a network or an estimator reads of conditions: substructures of their compounds and numbers given with them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack, issparse

from screenwise.errors import ColumnError
from screenwise.represent.features import FEATURE
from screenwise.represent.fingerprint import Fingerprint, Vocabulary

CHUNK = 4096
"""Rows that are dense at a time."""


@dataclass(frozen=True)
class InputRows:
    """n conditions as numbers; a row that cannot be read is empty."""

    x: csr_array
    """(n, d) float32."""
    readable: NDArray[np.bool_]
    """(n,)"""
    note: NDArray[Any]
    """(n,) why a row cannot be read; empty text where it can."""
    known: NDArray[np.float32]
    """(n,) share of a condition's features that training conditions had: substructures that are in the
    vocabulary, numbers inside the range seen."""


def dense_chunks(rows: InputRows) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield the places of some readable rows and their (r, d) numbers, until all were there."""
    readable = np.flatnonzero(rows.readable)
    for first in range(0, len(readable), CHUNK):
        part = readable[first : first + CHUNK]
        yield part, rows.x[part].toarray()


@dataclass(frozen=True)
class Inputs:
    """Columns of a model's input, learned from its training conditions.

    Compounds (column ``smiles``) give substructure counts, unfolded ones kept if frequent enough;
    columns ``feature:<name>`` give numbers, standardised. Where both are there, both are read.

    Examples
    --------
    >>> train = pd.DataFrame({"smiles": ["CCO", "CCCO", "CCCCO"]})
    >>> inputs = Inputs(Fingerprint(radius=1), minimum_count=2).fit(train)
    >>> rows = inputs.transform(pd.DataFrame({"smiles": ["CCCCCO", "C1CC"]}))
    >>> rows.x.shape, rows.readable.tolist(), rows.note.tolist()
    ((2, 7), [True, False], ['', 'the SMILES cannot be read'])
    """

    fingerprint: Fingerprint
    """What is counted in compounds."""
    minimum_count: int = 1
    """Training rows that an unfolded substructure must occur in."""
    logarithm: bool = False
    """Whether counts c enter as log2(1 + c)."""
    ids: NDArray[np.int64] | None = None
    """(v,) substructures kept; None = folded ones, all kept, or no compounds."""
    compounds: bool = False
    """Whether conditions have compounds."""
    numbers: tuple[str, ...] = ()
    """Columns that hold numbers."""
    span: NDArray[np.float64] | None = None
    """(4, p) mean, scale, lowest and highest value of each column of numbers."""

    def fit(self, conditions: pd.DataFrame) -> "Inputs":
        """Return the inputs with the columns that these (n,) conditions have."""
        numbers = tuple(str(name) for name in conditions.columns if str(name).startswith(FEATURE))
        compounds = self.fingerprint.column in conditions.columns
        if not compounds and not numbers:
            message = (
                f"This model reads a column {self.fingerprint.column!r} or columns {FEATURE}<name>; "
                f"found {list(map(str, conditions.columns))}. Give numbers with --features, or use --model gp."
            )
            raise ColumnError(message)
        ids = None
        if compounds and not self.fingerprint.fold:
            ids = Vocabulary(self.minimum_count).fit(self._counts(conditions)).ids
        span = _span(_numbers(conditions, numbers)) if numbers else None
        return replace(self, ids=ids, compounds=compounds, numbers=numbers, span=span)

    @property
    def width(self) -> int:
        """Number of columns d."""
        words = (self.fingerprint.fold or len(self._known_ids())) if self.compounds else 0
        return words + len(self.numbers)

    def transform(self, conditions: pd.DataFrame) -> InputRows:
        """Return (n, d) rows; missing columns are an error, unreadable rows are marked."""
        self._check(conditions)
        readable = np.ones(len(conditions), bool)
        note = np.full(len(conditions), "", object)
        parts, seen, total = [], np.zeros(len(conditions)), np.zeros(len(conditions))
        if self.compounds:
            counts = self._counts(conditions)
            every = np.diff(counts.indptr)
            readable &= every > 0
            given = conditions[self.fingerprint.column].astype("string").str.strip().fillna("") != ""
            note[~readable] = np.where(given[~readable], "the SMILES cannot be read", "no structure is given")
            kept = counts if self.fingerprint.fold else Vocabulary(ids=self._known_ids()).transform(counts)
            seen, total = seen + np.diff(kept.indptr), total + every
            parts.append(self._scaled(kept))
        if self.span is not None:
            values = _numbers(conditions, self.numbers)
            given_numbers = np.isfinite(values).all(axis=1)
            note[readable & ~given_numbers] = "a number is missing"
            readable &= given_numbers
            with np.errstate(invalid="ignore"):
                seen += ((values >= self.span[2]) & (values <= self.span[3])).sum(axis=1)
            total += values.shape[1]
            parts.append(csr_array(np.where(readable[:, None], (values - self.span[0]) / self.span[1], 0.0)))
        x = parts[0] if len(parts) == 1 else csr_array(hstack(parts, format="csr"))
        known = (seen / np.maximum(total, 1)).astype(np.float32)
        return InputRows(csr_array(x, dtype=np.float32), readable, note, np.where(readable, known, 0))

    def to_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return what JSON and arrays hold of the inputs; `from_state` reads it."""
        words = {name: getattr(self.fingerprint, name) for name in _FINGERPRINT_FIELDS}
        facts = {
            "fingerprint": words,
            "minimum_count": self.minimum_count,
            "logarithm": self.logarithm,
            "compounds": self.compounds,
            "numbers": list(self.numbers),
        }
        arrays = {name: getattr(self, name) for name in ("ids", "span") if getattr(self, name) is not None}
        return facts, arrays

    @classmethod
    def from_state(cls, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> "Inputs":
        """Return the inputs that `to_state` described."""
        settings = facts | {"fingerprint": Fingerprint(**facts["fingerprint"]), "numbers": tuple(facts["numbers"])}
        return cls(**settings, ids=arrays.get("ids"), span=arrays.get("span"))

    def _known_ids(self) -> NDArray[np.int64]:
        return np.empty(0, np.int64) if self.ids is None else self.ids

    def _counts(self, conditions: pd.DataFrame) -> csr_array:
        return replace(self.fingerprint, on_error="empty").transform(conditions)

    def _scaled(self, counts: csr_array) -> csr_array:
        data = counts.data.astype(np.float32)
        return csr_array((np.log2(1 + data) if self.logarithm else data, counts.indices, counts.indptr), counts.shape)

    def _check(self, conditions: pd.DataFrame) -> None:
        wanted = [self.fingerprint.column] if self.compounds else []
        missing = [name for name in [*wanted, *self.numbers] if name not in conditions.columns]
        if missing:
            message = (
                f"The model was fitted with columns {missing} that are not there; "
                f"found {list(map(str, conditions.columns))}. Add them, or fit again without."
            )
            raise ColumnError(message)


_FINGERPRINT_FIELDS = ("kind", "radius", "distance", "atoms", "chiral", "counts", "fold", "cap", "column")


def _numbers(conditions: pd.DataFrame, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Return (n, p) numbers, NaN where there is none."""
    found = [pd.to_numeric(conditions[name], errors="coerce").to_numpy(np.float64, na_value=np.nan) for name in names]
    return np.column_stack(found)


def _span(values: NDArray[np.float64]) -> NDArray[np.float64]:
    good = values[np.isfinite(values).all(axis=1)]
    if len(good) == 0:
        message = (
            f"No condition has all its {values.shape[1]} numbers (columns {FEATURE}<name>); "
            "fill in what is missing, or leave out the emptiest columns."
        )
        raise ColumnError(message)
    scale = good.std(axis=0)
    return np.stack([good.mean(axis=0), np.where(scale > 0, scale, 1.0), good.min(axis=0), good.max(axis=0)])


@dataclass(frozen=True)
class Given:
    """Any `screenwise.protocols.Representation` as inputs; a row with NaN cannot be read."""

    representation: Any

    def fit(self, conditions: pd.DataFrame) -> "Given":
        """Return itself: nothing is learned."""
        return self

    def transform(self, conditions: pd.DataFrame) -> InputRows:
        """Return what the representation gives for (n,) conditions."""
        found = self.representation.transform(conditions)
        x: Any = csr_array(found, dtype=np.float32) if issparse(found) else np.asarray(found, np.float32)
        bad = np.zeros(len(conditions), bool)
        if issparse(x):
            bad[np.repeat(np.arange(len(bad)), np.diff(x.indptr))[~np.isfinite(x.data)]] = True
        else:
            bad = ~np.isfinite(x).all(axis=1)
            x = csr_array(np.where(bad[:, None], 0.0, x).astype(np.float32))
        note = np.where(bad, "a number is missing", "").astype(object)
        return InputRows(x, ~bad, note, np.ones(len(conditions), np.float32))
