"""What the multi-task network reads of conditions: several kinds of substructure counts side by side, and numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from screenwise.models.inputs import InputRows, Inputs
from screenwise.represent.features import FEATURE
from screenwise.represent.fingerprint import Fingerprint, together


@dataclass(frozen=True)
class JoinedInputs:
    """Columns of several fingerprints, log2(1 + count) each, then standardised numbers (columns ``feature:``).

    Examples
    --------
    >>> train = pd.DataFrame({"smiles": ["CCO", "CCCO", "CCCCO"]})
    >>> inputs = make_inputs(("morgan", "torsion"), 1, minimum_count=2, equal_length=True).fit(train)
    >>> x = inputs.transform(train).x
    >>> x.shape, bool(np.ptp(x.multiply(x).sum(axis=1)) < 1e-5)
    ((3, 7), True)
    """

    parts: tuple[Inputs, ...]
    """One for each kind of fingerprint; only the first has numbers."""
    equal_length: bool = False
    """Whether the counts of a compound are scaled to the same Euclidean length, the median of the training rows."""
    length: float = 0.0
    """That length; 0 = not learned."""

    def fit(self, conditions: pd.DataFrame) -> "JoinedInputs":
        """Return the inputs with the columns that these (n,) conditions have."""
        first = self.parts[0].fit(conditions)
        if not first.compounds:
            return replace(self, parts=(first,), equal_length=False)
        structures = _structures(conditions)
        fitted = replace(self, parts=(first, *(part.fit(structures) for part in self.parts[1:])), length=0.0)
        if not self.equal_length:
            return fitted
        lengths = np.sqrt(fitted._squares(fitted.transform(conditions).x))
        known = lengths[lengths > 0]
        return replace(fitted, length=float(np.median(known)) if len(known) else 0.0)

    @property
    def width(self) -> int:
        """Number of columns d."""
        return sum(part.width for part in self.parts)

    def transform(self, conditions: pd.DataFrame) -> InputRows:
        """Return (n, d) rows; missing columns are an error, unreadable rows are marked."""
        first = self.parts[0].transform(conditions)
        rows = [first, *(part.transform(_structures(conditions)) for part in self.parts[1:])]
        x: Any = first.x if len(rows) == 1 else csr_array(hstack([one.x for one in rows], format="csr"))
        if self.length > 0:
            squares = self._squares(x)
            factor = np.where(squares > 0, self.length / np.sqrt(np.maximum(squares, 1e-12)), 1.0).astype(np.float32)
            x.data *= np.where(self._counted(x), np.repeat(factor, np.diff(x.indptr)), np.float32(1))
        known = np.stack([one.known for one in rows]).mean(axis=0)
        return InputRows(csr_array(x, dtype=np.float32), first.readable, first.note, known)

    def to_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return what JSON and arrays hold of the inputs; `from_state` reads it."""
        states = [part.to_state() for part in self.parts]
        arrays = {f"{place}.{name}": array for place, (_, own) in enumerate(states) for name, array in own.items()}
        facts = {"parts": [facts for facts, _ in states], "equal_length": self.equal_length, "length": self.length}
        return facts, arrays

    @classmethod
    def from_state(cls, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> "JoinedInputs":
        """Return the inputs that `to_state` described."""
        parts = []
        for place, own in enumerate(facts["parts"]):
            start = f"{place}."
            mine = {name[len(start) :]: array for name, array in arrays.items() if name.startswith(start)}
            parts.append(Inputs.from_state(own, mine))
        known = _together([part.fingerprint for part in parts])
        parts = [replace(part, fingerprint=own) for part, own in zip(parts, known, strict=True)]
        return cls(tuple(parts), facts["equal_length"], facts["length"])

    def _counted(self, x: csr_array) -> NDArray[np.bool_]:
        """Return (m,) which stored entries are counts and not numbers."""
        last = self.parts[0].width
        return (x.indices < last - len(self.parts[0].numbers)) | (x.indices >= last)

    def _squares(self, x: csr_array) -> NDArray[np.float64]:
        """Return (n,) squared lengths of the counts."""
        row = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
        return np.bincount(row, np.square(x.data) * self._counted(x), x.shape[0]).astype(np.float64)


def make_inputs(
    kinds: Sequence[str], radius: int, *, chiral: bool = False, minimum_count: int = 1, equal_length: bool = False
) -> JoinedInputs:
    """Return inputs, not fitted, of unfolded fingerprints (`screenwise.represent.fingerprint.KINDS`).

    Parameters
    ----------
    kinds
        What is counted.
    radius
        Bonds around an atom, of the circular kinds.
    chiral
        Whether stereocentres make substructures different.
    minimum_count
        Training compounds that a substructure must occur in.
    equal_length
        Whether all compounds have rows of the same length.
    """
    known = _together([Fingerprint(kind, radius=radius, chiral=chiral) for kind in kinds])
    return JoinedInputs(tuple(Inputs(each, minimum_count, logarithm=True) for each in known), equal_length)


def _together(fingerprints: list[Fingerprint]) -> tuple[Fingerprint, ...]:
    return together(*fingerprints) if len(fingerprints) > 1 else tuple(fingerprints)


def _structures(conditions: pd.DataFrame) -> pd.DataFrame:
    """Return the conditions without their numbers, which only the first part reads."""
    return conditions.loc[:, [name for name in conditions.columns if not str(name).startswith(FEATURE)]]
