"""Compounds as sparse counts of substructures: circular, atom pairs, torsions; unfolded or folded."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from screenwise.errors import ColumnError, ConfigError, StructureError
from screenwise.represent import fingerprint_store

KINDS = ("morgan", "feature_morgan", "atom_pair", "feature_atom_pair", "torsion", "feature_torsion")
"""What is counted; `feature_` kinds know atoms by their role (donor, acceptor, aromatic, ...) only."""
UNFOLDED = 2**63 - 1
"""Columns of an unfolded fingerprint: RDKit's feature ids themselves."""

_ATOMS = (2, 7)
_CHIRAL_ATOMS = 5


@dataclass(frozen=True)
class Fingerprint:
    """Sparse substructure counts of the compounds in a column of SMILES.

    Feature ids, and so the columns of an unfolded fingerprint, are RDKit's own: they mean the same
    in every process and never depend on the other rows. Fingerprints are kept in memory by SMILES,
    so that several models, splits and pools compute each once.

    References
    ----------
    Morgan (circular, ECFP and FCFP): Rogers and Hahn, J. Chem. Inf. Model. 50, 742 (2010).
    Atom pairs: Carhart et al., J. Chem. Inf. Comput. Sci. 25, 64 (1985). Topological torsions:
    Nilakantan et al., J. Chem. Inf. Comput. Sci. 27, 82 (1987). Computed by RDKit.

    Examples
    --------
    >>> ecfp4 = Fingerprint("morgan", radius=2)
    >>> counts = ecfp4.transform(pd.DataFrame({"smiles": ["CCO", "CCCO"]}))
    >>> counts.sum(axis=1).tolist()
    [6, 9]
    >>> Fingerprint("morgan", radius=2, counts=False, fold=1024).transform(pd.DataFrame({"smiles": ["CCO"]})).shape
    (1, 1024)
    """

    kind: str = "morgan"
    """One of `KINDS`."""
    radius: int = 3
    """Bonds around an atom (morgan kinds); the diameter of ECFP6 is twice this."""
    distance: int = 30
    """Most bonds between the atoms of a pair (atom pair kinds)."""
    atoms: int = 4
    """Atoms of a torsion (torsion kinds), at most 7, chiral at most 5: more do not fit a 63-bit id."""
    chiral: bool = False
    """Whether stereocentres make atoms different."""
    counts: bool = True
    """Counts of a feature in a compound; False = 1 where there is any."""
    fold: int = 0
    """Columns to fold the features onto; 0 = unfolded. Morgan kinds fold as RDKit does."""
    cap: int = 0
    """Most that a feature counts; 0 = no limit."""
    column: str = "smiles"
    """Column of the conditions that holds SMILES."""
    on_error: str = "raise"
    """A SMILES that cannot be read: "raise" a StructureError, or give an "empty" row."""
    jobs: int = field(default=1, compare=False)
    """Processes to use when there are thousands of new compounds."""
    family: tuple["Fingerprint", ...] = field(default=(), compare=False, repr=False)
    """Fingerprints that will be asked of the same compounds: each SMILES is then parsed once for all."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            message = f"There is no fingerprint {self.kind!r}; the kinds are {', '.join(KINDS)}."
            raise ConfigError(message)
        if self.on_error not in ("raise", "empty"):
            message = f'Fingerprint.on_error is {self.on_error!r}; it must be "raise" or "empty".'
            raise ConfigError(message)
        if self.radius < 0 or self.distance < 1 or not _ATOMS[0] <= self.atoms <= _ATOMS[1]:
            message = (
                f"A fingerprint of radius {self.radius}, distance {self.distance} and {self.atoms} atoms cannot be; "
                "radius must be >= 0, distance >= 1, atoms 2 to 7."
            )
            raise ConfigError(message)
        if self.kind.endswith("torsion") and self.chiral and self.atoms > _CHIRAL_ATOMS:
            message = f"A chiral torsion of {self.atoms} atoms does not fit a 63-bit id; at most {_CHIRAL_ATOMS} do."
            raise ConfigError(message)
        if min(self.fold, self.cap, self.jobs - 1) < 0:
            message = f"Fingerprint: fold ({self.fold}) and cap ({self.cap}) must be >= 0, jobs ({self.jobs}) >= 1."
            raise ConfigError(message)

    def transform(self, conditions: pd.DataFrame) -> csr_array:
        """Return (n, d) int32 counts; d = `fold`, or 2**63 - 1 with feature ids as columns.

        Parameters
        ----------
        conditions
            (n,) conditions with the column `column`.
        """
        if self.column not in conditions.columns:
            message = (
                f"A fingerprint needs the column {self.column!r}; found {list(map(str, conditions.columns))}. "
                "Say which column holds SMILES with --smiles."
            )
            raise ColumnError(message)
        rows = fingerprint_store.fetch(self._as_stored(), conditions[self.column], self._family(), self.jobs)
        if self.on_error == "raise" and not rows.readable.all():
            place = int(np.argmin(rows.readable))
            text = conditions[self.column].iloc[place]
            found = "empty" if pd.isna(text) or not str(text).strip() else f"{str(text)[:80]!r}"
            message = (
                f"Row {place} of {len(conditions)}: the SMILES in column {self.column!r} is {found} and cannot be read "
                f"({int((~rows.readable).sum())} such rows). Correct or leave out these rows."
            )
            raise StructureError(message)
        return self._finish(rows)

    def _as_stored(self) -> fingerprint_store.Settings:
        return fingerprint_store.Settings(self.kind, self.radius, self.distance, self.atoms, self.chiral)

    def _family(self) -> tuple[fingerprint_store.Settings, ...]:
        return tuple(member._as_stored() for member in self.family if member.column == self.column)

    def _finish(self, rows: fingerprint_store.Rows) -> csr_array:
        counts, ids = rows.counts, rows.ids
        if not self.fold:
            table = csr_array((counts, ids, rows.indptr), shape=(len(rows.indptr) - 1, UNFOLDED))
        else:
            table = csr_array((counts, _folded(ids, self), rows.indptr), shape=(len(rows.indptr) - 1, self.fold))
            table.sum_duplicates()
        if self.cap:
            np.minimum(table.data, self.cap, out=table.data)
        if not self.counts:
            table.data[:] = 1
        return table


def _folded(ids: NDArray[np.int64], settings: Fingerprint) -> NDArray[np.int64]:
    words = ids.astype(np.uint64)
    if not settings.kind.endswith("morgan"):
        # ids of pairs and torsions are packed bit fields: their low bits alone say little
        with np.errstate(over="ignore"):
            words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            words ^= words >> np.uint64(31)
    return (words % np.uint64(settings.fold)).astype(np.int64)


def readable(smiles: Any) -> NDArray[np.bool_]:
    """Return (n,) whether structures can be read; empty and missing ones cannot.

    Examples
    --------
    >>> readable(["CCO", "C1CC", ""]).tolist()
    [True, False, False]
    """
    return fingerprint_store.fetch(Fingerprint()._as_stored(), pd.Series(smiles, dtype=object), (), 1).readable


def together(*fingerprints: Fingerprint) -> tuple[Fingerprint, ...]:
    """Return the same fingerprints, each knowing the others, so that a SMILES is parsed once for all.

    Examples
    --------
    >>> [each.kind for each in together(Fingerprint("morgan"), Fingerprint("torsion"))]
    ['morgan', 'torsion']
    """
    alone = tuple(replace(each, family=()) for each in fingerprints)
    return tuple(replace(each, family=alone) for each in alone)


@dataclass(frozen=True)
class Vocabulary:
    """Columns worth keeping: the features that training rows have, as compact places 0, 1, 2, ...

    Examples
    --------
    >>> table = Fingerprint("morgan", radius=1).transform(pd.DataFrame({"smiles": ["CCO", "CCCO", "CCN"]}))
    >>> Vocabulary(min_count=2).fit(table).transform(table).shape
    (3, 5)
    """

    min_count: int = 1
    """Rows in which a feature must occur."""
    ids: NDArray[np.int64] | None = field(default=None, compare=False)
    """(d,) kept columns, ascending; None = not fitted."""

    def fit(self, features: csr_array) -> "Vocabulary":
        """Return a vocabulary of the columns that occur in at least `min_count` rows."""
        ids, rows = np.unique(features.indices, return_counts=True)
        return replace(self, ids=ids[rows >= self.min_count].astype(np.int64))

    def transform(self, features: csr_array) -> csr_array:
        """Return (n, d) the kept columns only."""
        if self.ids is None:
            message = "This vocabulary is not fitted yet; call fit(features) first."
            raise ConfigError(message)
        place = np.searchsorted(self.ids, features.indices)
        known = place < len(self.ids)
        known[known] = self.ids[place[known]] == features.indices[known]
        indptr = np.concatenate([[0], np.cumsum(known, dtype=np.int64)])[features.indptr]
        return csr_array((features.data[known], place[known], indptr), shape=(features.shape[0], len(self.ids)))
