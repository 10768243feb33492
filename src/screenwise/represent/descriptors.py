"""Physical descriptors of molecules: size, polarity, lipophilicity, shape and charge on surfaces, as ranks.

They see what substructures do not: that two unlike molecules dissolve or permeate alike. The whole list has
electrotopological states and functional groups too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from threading import RLock
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from screenwise.data.chemistry import quiet_rdkit
from screenwise.errors import ColumnError, ConfigError
from screenwise.processes import Workers
from screenwise.represent.fingerprint_store import PARALLEL_FROM, how_computed

KNOTS = 512
"""Quantiles that stand for a descriptor's distribution."""
CHUNK = 500
"""Molecules that a process is given at a time."""
STORE_ROWS = 500_000
"""Molecules whose descriptors are kept in a process; beyond, the store starts afresh."""

_STORE: dict[str, NDArray[np.float32]] = {}
_LOCK = RLock()


@dataclass(frozen=True)
class MoleculeDescriptors:
    """RDKit's quick two-dimensional descriptors of a structure.

    The 43 of `rdMolDescriptors.Properties` (mass, donors, acceptors, rings, Crippen's log P and
    refractivity, polar and Labute's surface, connectivity and shape indices) and the surface shares by
    log P, refractivity and partial charge (Labute, J. Mol. Graph. Model. 2000, 18, 464): all computed
    by compiled code, about a millisecond a molecule. The whole list adds, for about half of that again, the
    electrotopological states (extremes, sums by surface, surfaces by state; Hall, Mohney and Kier, J. Chem.
    Inf. Comput. Sci. 1991, 31, 76) and the counts of RDKit's functional groups: what group contribution
    models of solubility and partition are made of. Inside `fingerprint_store.computing` thousands of molecules
    are shared among its processes.

    Examples
    --------
    >>> table = MoleculeDescriptors().transform(pd.DataFrame({"smiles": ["CCO", "not a structure"]}))
    >>> table.shape[0], round(float(table[0, 0]), 2), bool(np.isnan(table[1]).all())
    (2, 46.04, True)
    >>> MoleculeDescriptors(whole=True).transform(pd.DataFrame({"smiles": ["CCO"]})).shape[1] > table.shape[1]
    True
    """

    column: str = "smiles"
    whole: bool = False
    """Electrotopological states and functional groups too."""

    def transform(self, conditions: pd.DataFrame) -> NDArray[np.float32]:
        """Return (n, p) values; a row of NaN where a structure cannot be read.

        Raises
        ------
        ColumnError
            The conditions have no such column.
        """
        if self.column not in conditions.columns:
            message = f"Descriptors need the column {self.column!r}; there are {list(map(str, conditions.columns))}."
            raise ColumnError(message)
        codes, distinct = pd.factorize(conditions[self.column].astype("string"))
        table = np.vstack([_descriptors([str(text) for text in distinct]), np.full(len(_names()), np.nan, np.float32)])
        return np.asarray(table[codes, : None if self.whole else _quick()])


@dataclass(frozen=True)
class Ranked:
    """Columns of another representation as normal scores of their ranks in the data they were fitted to.

    A value becomes the normal quantile of its mid-rank, so that skewed and heavy-tailed columns count
    alike; NaN becomes 0, the middle. Columns that do not vary are left out.

    Examples
    --------
    >>> ranked = Ranked(MoleculeDescriptors()).fit(pd.DataFrame({"smiles": ["CCO", "CCCO", "CCCCO"]}))
    >>> [round(float(value), 2) for value in ranked.transform(pd.DataFrame({"smiles": ["CCO", "CCCO"]}))[:, 0]]
    [-0.97, 0.0]
    """

    base: Any
    """Has `transform(conditions)` to (n, p)."""
    knots: NDArray[np.float32] | None = field(default=None, compare=False)
    """(k, q) sorted values of the q columns that vary; None = not fitted."""
    columns: NDArray[np.int64] | None = field(default=None, compare=False)
    """(q,) their places in the base."""

    def fit(self, conditions: pd.DataFrame) -> Self:
        """Take the distributions from conditions."""
        table = self.base.transform(conditions).astype(np.float64)
        readable = table[~np.isnan(table).all(1)]
        if len(readable) == 0:
            return replace(self, knots=np.zeros((1, 0), np.float32), columns=np.zeros(0, np.int64))
        filled = np.where(np.isnan(readable), np.nanmedian(readable, axis=0), readable)
        varies = np.flatnonzero(filled.max(0) > filled.min(0))
        share = np.linspace(0, 1, min(KNOTS, len(filled)))
        knots = np.quantile(filled[:, varies], share, axis=0, method="nearest")
        return replace(self, knots=knots.astype(np.float32), columns=varies)

    def transform(self, conditions: pd.DataFrame) -> NDArray[np.float32]:
        """Return (n, q) normal scores."""
        if self.knots is None or self.columns is None:
            message = "These ranks are not fitted yet; call fit(conditions) first."
            raise ConfigError(message)
        table = self.base.transform(conditions)[:, self.columns]
        count = len(self.knots)
        scores = np.zeros(table.shape, np.float32)
        for place in range(table.shape[1]):
            known = ~np.isnan(table[:, place])
            below = np.searchsorted(self.knots[:, place], table[known, place], "left")
            upto = np.searchsorted(self.knots[:, place], table[known, place], "right")
            # mid-ranks, kept off 0 and 1 whose normal quantiles are infinite
            middle = ((below + upto) / 2).clip(0.5, count - 0.5) / count
            scores[known, place] = ndtri(middle)
        return scores


def _descriptors(texts: Sequence[str]) -> NDArray[np.float32]:
    with _LOCK:
        missing = [text for text in dict.fromkeys(texts) if text not in _STORE]
        if len(_STORE) + len(missing) > STORE_ROWS:
            _STORE.clear()
            missing = list(dict.fromkeys(texts))
        chunks = [missing[first : first + CHUNK] for first in range(0, len(missing), CHUNK)]
        jobs, progress = how_computed()
        tell = progress or _silent
        with Workers(_compute, None, jobs if len(missing) >= PARALLEL_FROM else 1) as workers:
            done = workers.in_order(
                chunks, lambda n: tell("Computing descriptors", min(n * CHUNK, len(missing)), len(missing))
            )
            for chunk, rows in zip(chunks, done, strict=True):
                _STORE.update(zip(chunk, rows, strict=True))
        found = [_STORE[text] for text in texts]
    return np.stack(found) if found else np.zeros((0, len(_names())), np.float32)


def _silent(what: str, done: int, total: int) -> None: ...


def _compute(_: None, texts: Sequence[str]) -> list[NDArray[np.float32]]:
    from rdkit import Chem  # noqa: PLC0415
    from rdkit.Chem import Fragments, rdMolDescriptors  # noqa: PLC0415
    from rdkit.Chem.EState import EState_VSA  # noqa: PLC0415
    from rdkit.Chem.EState.EState import EStateIndices  # noqa: PLC0415

    index: Any = EStateIndices
    by_state: Any = EState_VSA.EState_VSA_
    by_surface: Any = EState_VSA.VSA_EState_
    properties = rdMolDescriptors.Properties()
    surfaces = (rdMolDescriptors.SlogP_VSA_, rdMolDescriptors.SMR_VSA_, rdMolDescriptors.PEOE_VSA_)
    missing = np.full(len(_names()), np.nan, np.float32)
    rows = []
    with quiet_rdkit():
        for text in texts:
            molecule = Chem.MolFromSmiles(text)
            if molecule is None or molecule.GetNumAtoms() == 0:
                rows.append(missing)
                continue
            values = [*properties.ComputeProperties(molecule)]
            for surface in surfaces:
                values += surface(molecule)
            state = index(molecule)
            values += [state.max(), state.min(), np.abs(state).max(), np.abs(state).min()]
            # not forced: the states above are taken from the molecule
            values += [*by_state(molecule, force=0), *by_surface(molecule, force=0)]
            values += [count(molecule) for _, count in Fragments.fns]
            row = np.asarray(values, np.float32)
            rows.append(np.where(np.isfinite(row), row, np.nan))
    return rows


@cache
def _quick() -> int:
    """Return how many of the names are not of the whole list alone."""
    return next(place for place, name in enumerate(_names()) if name == "MaxEStateIndex")


@cache
def _names() -> tuple[str, ...]:
    from rdkit import Chem  # noqa: PLC0415
    from rdkit.Chem import Fragments, rdMolDescriptors  # noqa: PLC0415
    from rdkit.Chem.EState import EState_VSA  # noqa: PLC0415

    carbon = Chem.MolFromSmiles("C")
    names = list(rdMolDescriptors.Properties().GetPropertyNames())
    for kind in ("SlogP_VSA", "SMR_VSA", "PEOE_VSA"):
        names += [f"{kind}{place + 1}" for place in range(len(getattr(rdMolDescriptors, f"{kind}_")(carbon)))]
    names += ["MaxEStateIndex", "MinEStateIndex", "MaxAbsEStateIndex", "MinAbsEStateIndex"]
    names += [f"EState_VSA{place}" for place in range(1, len(EState_VSA.estateBins) + 2)]
    names += [f"VSA_EState{place}" for place in range(1, len(EState_VSA.vsaBins) + 2)]
    return (*names, *(name for name, _ in Fragments.fns))
