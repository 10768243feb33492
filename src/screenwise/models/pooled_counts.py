"""Capped substructure counts of compounds in four kinds, and the one kernel made of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array

from screenwise.represent.fingerprint import Fingerprint, together

CAP = 8
"""Most that a substructure counts."""
WIDE = 0.03
"""Substructures in more than this share of the rows are compared as whole columns of bytes."""
KINDS = together(
    Fingerprint("morgan", radius=2, cap=CAP, on_error="empty"),
    Fingerprint("feature_morgan", radius=2, cap=CAP, on_error="empty"),
    Fingerprint("torsion", cap=CAP, on_error="empty"),
    Fingerprint("atom_pair", fold=8192, cap=CAP, on_error="empty"),
)
"""What is counted: circular substructures of two bonds, the same by the roles of atoms, torsions, atom pairs."""


@dataclass(frozen=True)
class Counts:
    """Counts of n compounds, the kinds of a compound one after another, columns numbered across kinds."""

    start: NDArray[np.int64]
    """(n, k + 1) where the kinds of each compound begin and end in `code`."""
    code: NDArray[np.int32]
    """(m,) columns; those that the vocabulary does not have are left out."""
    count: NDArray[np.uint8]
    """(m,)"""
    total: NDArray[np.float32]
    """(n, k) sums of all counts, also of columns left out; 0 of a compound that cannot be read."""

    def __len__(self) -> int:
        return len(self.start)

    @property
    def readable(self) -> NDArray[np.bool_]:
        """(n,) whether a compound has any atom."""
        return self.total[:, 0] > 0


@dataclass(frozen=True)
class Columns:
    """The substructures that training compounds have."""

    ids: tuple[NDArray[np.int64], ...]
    """(v,) of each kind, as RDKit names them."""

    @property
    def width(self) -> int:
        """All columns."""
        return sum(len(one) for one in self.ids)

    def transform(self, conditions: pd.DataFrame) -> Counts:
        """Return the counts of (n,) conditions with a column ``smiles``.

        Examples
        --------
        >>> compounds = pd.DataFrame({"smiles": ["CCO", "CCCO"]})
        >>> counts, columns = learn_columns(compounds)
        >>> bool((columns.transform(compounds).total == counts.total).all()), counts.readable.tolist()
        (True, [True, True])
        """
        first, parts = 0, []
        for kind, ids in zip(KINDS, self.ids, strict=True):
            table = kind.transform(conditions)
            code = pd.Index(ids).get_indexer(pd.Index(table.indices))
            parts.append((table, np.where(code < 0, -1, code + first)))
            first += len(ids)
        return _joined(parts)


def learn_columns(conditions: pd.DataFrame) -> tuple[Counts, Columns]:
    """Return the counts of training conditions and the columns that they have."""
    first, parts, every = 0, [], []
    for kind in KINDS:
        table = kind.transform(conditions)
        code, ids = pd.factorize(table.indices)
        parts.append((table, code + first))
        every.append(np.asarray(ids, np.int64))
        first += len(ids)
    return _joined(parts), Columns(tuple(every))


def _joined(parts: list[tuple[csr_array, NDArray[np.int64]]]) -> Counts:
    """Lay the kinds of each compound side by side, without the columns -1."""
    rows = parts[0][0].shape[0]
    total = np.empty((rows, len(parts)), np.float32)
    length = np.empty((rows, len(parts)), np.int64)
    for kind, (table, code) in enumerate(parts):
        ends = np.concatenate([[0], np.cumsum(table.data, dtype=np.int64)])[table.indptr]
        known = np.concatenate([[0], np.cumsum(code >= 0)])[table.indptr]
        total[:, kind], length[:, kind] = np.diff(ends), np.diff(known)
    start = np.zeros((rows, len(parts) + 1), np.int64)
    start[1:, 0] = np.cumsum(length.sum(axis=1))[:-1]
    start[:, 1:] = start[:, :1] + np.cumsum(length, axis=1)
    codes = np.empty(int(length.sum()), np.int32)
    count = np.empty(len(codes), np.uint8)
    for kind, (table, own) in enumerate(parts):
        keep = own >= 0
        before = np.cumsum(length[:, kind]) - length[:, kind]
        where = np.repeat(start[:, kind] - before, length[:, kind]) + np.arange(int(length[:, kind].sum()))
        codes[where], count[where] = own[keep], table.data[keep]
    return Counts(start, codes, count, total)


def take(counts: Counts, rows: NDArray[np.int64]) -> Counts:
    """Return some compounds.

    Examples
    --------
    >>> counts, columns = learn_columns(pd.DataFrame({"smiles": ["CCO", "CCCO", "CCN"]}))
    >>> bool((take(counts, np.array([2, 0])).total == counts.total[[2, 0]]).all())
    True
    """
    length = counts.start[rows, -1] - counts.start[rows, 0]
    first = np.concatenate([[0], np.cumsum(length)])
    where = np.repeat(counts.start[rows, 0] - first[:-1], length) + np.arange(first[-1])
    start = counts.start[rows] - counts.start[rows, :1] + first[:-1, None]
    return Counts(start, counts.code[where], counts.count[where], counts.total[rows])


def similarity(
    known: Counts, rows: NDArray[np.int64], width: int, other: Counts | None = None, asked: Any = None
) -> NDArray[np.float32]:
    """Return squared means of the count Tanimoto similarities of all kinds: the process's kernel.

    Parameters
    ----------
    known, rows
        Training compounds and (r,) some of them.
    width
        Columns of the vocabulary.
    other, asked
        Compounds and (q,) some of them to compare with; None = the rows among themselves.

    Returns
    -------
    (q, r), or (r, r).

    Examples
    --------
    >>> counts, columns = learn_columns(pd.DataFrame({"smiles": ["CCO", "CCO", "c1ccncc1"]}))
    >>> similarity(counts, np.arange(3), columns.width).round(3).tolist()
    [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    # one step is worth 32 compounds of a whole column, which is why a tiny group has no whole columns
    index = _index(known.start, known.code, known.count, rows, width, max(WIDE * len(rows), 4.0))
    own = np.ascontiguousarray(known.total[rows].T)
    if other is None:
        out = np.empty((len(rows), len(rows)), np.float32)
        _among((known.start, known.code, known.count), rows, own, index, out)
    else:
        out = np.empty((len(asked), len(rows)), np.float32)
        given = (other.start, other.code, other.count)
        _across(given, other.total, asked, own, index, out)
    return out


@njit(cache=True, nogil=True)
def _index(start: Any, code: Any, count: Any, rows: Any, width: int, limit: float) -> Any:  # pragma: no cover
    """Return each column's place among the frequent ones (-1 = rare), those as bytes, and lists of the rare ones."""
    n, last = len(rows), start.shape[1] - 1
    used = np.zeros(width, np.int32)
    for row in rows:
        for at in range(start[row, 0], start[row, last]):
            used[code[at]] += 1
    place = np.full(width, -1, np.int32)
    begin = np.zeros(width + 1, np.int32)
    wide = 0
    for column in range(width):
        begin[column + 1] = begin[column]
        if used[column] > limit:
            place[column] = wide
            wide += 1
        else:
            begin[column + 1] += used[column]
    whole = np.zeros((wide, n), np.uint8)
    who, many = np.empty(begin[width], np.int32), np.empty(begin[width], np.uint8)
    fill = begin[:-1].copy()
    for place_of in range(n):
        row = rows[place_of]
        for at in range(start[row, 0], start[row, last]):
            column = code[at]
            if place[column] >= 0:
                whole[place[column], place_of] = count[at]
            else:
                who[fill[column]], many[fill[column]] = place_of, count[at]
                fill[column] += 1
    return place, whole, begin, who, many


@njit(cache=True, nogil=True)
def _share(code: Any, count: Any, part: Any, index: Any, shared: Any) -> None:  # pragma: no cover
    """Write the sums of minima of one kind of one compound with as many known rows as `shared` holds."""
    place, whole, begin, who, many = index
    most = len(shared)
    shared[:] = 0
    for at in range(part[0], part[1]):
        column, own = code[at], count[at]
        if place[column] >= 0:
            counts = whole[place[column]]
            for other in range(most):
                shared[other] += counts[other] if counts[other] < own else own
        else:
            for listed in range(begin[column], begin[column + 1]):
                if who[listed] >= most:
                    break
                shared[who[listed]] += many[listed] if many[listed] < own else own


@njit(cache=True, nogil=True, fastmath=True)
def _add(shared: Any, own: Any, known: Any, out: Any) -> None:  # pragma: no cover
    """Add a kind's count Tanimoto similarities; two compounds without any feature of the kind are alike."""
    for other in range(len(shared)):
        both = np.float32(shared[other])
        union = own + known[other] - both
        out[other] += both / union if union > 0 else np.float32(1.0)


@njit(cache=True, nogil=True, fastmath=True)
def _among(given: Any, rows: Any, known: Any, index: Any, out: Any) -> None:  # pragma: no cover
    start, code, count = given
    n, kinds = len(rows), known.shape[0]
    shared = np.zeros(n, np.uint16)
    for row in range(n):
        line = out[row, :row]
        line[:] = 0
        for kind in range(kinds):
            part = (start[rows[row], kind], start[rows[row], kind + 1])
            _share(code, count, part, index, shared[:row])
            _add(shared[:row], known[kind, row], known[kind], line)
        for other in range(row):
            line[other] = (line[other] / np.float32(kinds)) ** 2
        out[row, row] = 1.0
    # mirrored by blocks: columns of a row-major matrix are slow to walk
    for top in range(0, n, 64):
        for left in range(0, top + 1, 64):
            for row in range(top, min(top + 64, n)):
                for other in range(left, min(left + 64, row)):
                    out[other, row] = out[row, other]


@njit(cache=True, nogil=True, fastmath=True)
def _across(given: Any, total: Any, asked: Any, known: Any, index: Any, out: Any) -> None:  # pragma: no cover
    start, code, count = given
    kinds = known.shape[0]
    shared = np.zeros(known.shape[1], np.uint16)
    for row in range(len(asked)):
        line = out[row]
        line[:] = 0
        for kind in range(kinds):
            part = (start[asked[row], kind], start[asked[row], kind + 1])
            _share(code, count, part, index, shared)
            _add(shared, total[asked[row], kind], known[kind], line)
        for other in range(len(line)):
            line[other] = (line[other] / np.float32(kinds)) ** 2
