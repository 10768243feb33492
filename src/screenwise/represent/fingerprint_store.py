"""Fingerprints computed once per process: unfolded counts by kind and SMILES, in bounded memory."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from threading import RLock
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.chemistry import quiet_rdkit
from screenwise.processes import Workers

STORE_BYTES = 2**30
"""Beyond this the store starts afresh; what a call returns does not depend on it."""
PARALLEL_FROM = 4_000
"""New compounds below this number are not worth starting processes for."""

_BLOCK = 50_000
_CHUNK = 1_000
_ENTRY_BYTES = 150
_MOST = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class Settings:
    """What is stored apart: one kind of unfolded counts."""

    kind: str
    radius: int
    distance: int
    atoms: int
    chiral: bool


@dataclass(frozen=True)
class Rows:
    """Unfolded counts of n compounds."""

    indptr: NDArray[np.int64]
    """(n + 1,)"""
    ids: NDArray[np.int64]
    """(m,) feature ids, ascending in a row."""
    counts: NDArray[np.int32]
    """(m,)"""
    readable: NDArray[np.bool_]
    """(n,)"""


@dataclass
class _Table:
    """One kind's rows, appended as compounds come."""

    place: dict[str, int] = field(default_factory=dict)
    start: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    length: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    ids: NDArray[Any] = field(default_factory=lambda: np.zeros(0, np.uint32))
    counts: NDArray[np.uint16] = field(default_factory=lambda: np.zeros(0, np.uint16))
    filled: int = 0

    def add(self, smiles: Sequence[str], ids: NDArray[np.int64], counts: NDArray[Any], length: NDArray[Any]) -> None:
        rows, end = len(self.place), self.filled + len(ids)
        if len(ids) and int(ids.max()) > np.iinfo(self.ids.dtype).max:
            self.ids = self.ids.astype(np.int64)
        self.start = _grown(self.start, rows + len(smiles))
        self.length = _grown(self.length, rows + len(smiles))
        self.ids, self.counts = _grown(self.ids, end), _grown(self.counts, end)
        self.start[rows : rows + len(smiles)] = self.filled + np.cumsum(np.maximum(length, 0)) - np.maximum(length, 0)
        self.length[rows : rows + len(smiles)] = length
        self.ids[self.filled : end] = ids
        self.counts[self.filled : end] = np.minimum(counts, _MOST)
        self.filled = end
        self.place.update(zip(smiles, range(rows, rows + len(smiles)), strict=True))

    def take(self, rows: NDArray[np.int64]) -> Rows:
        length = np.maximum(self.length[rows], 0).astype(np.int64)
        indptr = np.concatenate([[0], np.cumsum(length)])
        where = np.repeat(self.start[rows] - indptr[:-1], length) + np.arange(indptr[-1])
        return Rows(
            indptr, self.ids[where].astype(np.int64), self.counts[where].astype(np.int32), self.length[rows] >= 0
        )

    @property
    def nbytes(self) -> int:
        return int(self.ids.nbytes + self.counts.nbytes + _ENTRY_BYTES * len(self.place))


_TABLES: dict[Settings, _Table] = {}
_LOCK = RLock()


def fetch(settings: Settings, smiles: pd.Series, family: Sequence[Settings] = (), jobs: int = 1) -> Rows:
    """Return the unfolded counts of compounds, computing those not seen before.

    Parameters
    ----------
    settings
        The kind of fingerprint.
    smiles
        (n,) SMILES; missing and unreadable ones give an empty row that is marked.
    family
        Kinds to compute in the same pass, because they will be asked for next.
    jobs
        Processes; more where the call is inside `computing`.
    """
    codes, distinct = pd.factorize(smiles)
    texts = [str(text) for text in distinct]
    parts = []
    with _LOCK:
        for first in range(0, max(len(texts), 1), _BLOCK):
            block = texts[first : first + _BLOCK]
            table = _table(settings)
            missing = list(dict.fromkeys(text for text in block if text not in table.place))
            if missing:
                _fill(settings, missing, family, _Call(jobs, first + len(block) - len(missing), len(texts)))
            parts.append(table.take(np.fromiter((table.place[text] for text in block), np.int64, len(block))))
            if sum(each.nbytes for each in _TABLES.values()) > STORE_BYTES:
                _TABLES.clear()
    return _scatter(_joined(parts), codes)


@contextmanager
def computing(*, jobs: int = 1, progress: Callable[[str, int, int], None] | None = None) -> Iterator[None]:
    """Say how fingerprints are computed inside the block, whichever model asks for them.

    What is computed does not depend on it.

    Parameters
    ----------
    jobs
        Processes for thousands of new compounds.
    progress
        Called as ``progress("Computing fingerprints", done, total)``.

    Examples
    --------
    >>> told = []
    >>> with computing(progress=lambda *what: told.append(what)):
    ...     rows = fetch(Settings("morgan", 1, 30, 4, chiral=False), pd.Series(["CCCCBr"]))
    >>> told[-1]
    ('Computing fingerprints', 1, 1)
    """
    before = _HOW.set((jobs, progress))
    try:
        yield
    finally:
        _HOW.reset(before)


def how_computed() -> tuple[int, Callable[[str, int, int], None] | None]:
    """Return the processes and the progress that `computing` says, for whatever else is computed of structures.

    Examples
    --------
    >>> with computing(jobs=2):
    ...     how_computed()
    (2, None)
    """
    return _HOW.get()


_HOW: ContextVar[tuple[int, Callable[[str, int, int], None] | None]] = ContextVar("_HOW", default=(1, None))
"""What `computing` says."""


@dataclass(frozen=True)
class _Call:
    """One call of `fetch`: its processes, and where it stands when compounds are computed."""

    jobs: int
    done: int
    total: int

    def tell(self, compounds: int) -> None:
        progress = _HOW.get()[1]
        if progress is not None:
            progress("Computing fingerprints", self.done + compounds, self.total)


def forget() -> None:
    """Empty the store."""
    with _LOCK:
        _TABLES.clear()


def _table(settings: Settings) -> _Table:
    return _TABLES.setdefault(settings, _Table())


def _fill(settings: Settings, missing: list[str], family: Sequence[Settings], call: _Call) -> None:
    kinds = [settings]
    for other in family:
        if other not in kinds and not any(text in _table(other).place for text in missing):
            kinds.append(other)
    call.tell(0)
    chunks = [missing[first : first + _CHUNK] for first in range(0, len(missing), _CHUNK)]
    jobs = max(call.jobs, _HOW.get()[0]) if len(missing) >= PARALLEL_FROM else 1
    with Workers(_compute, tuple(kinds), jobs) as workers:
        results = workers.in_order(chunks, lambda done: call.tell(min(done * _CHUNK, len(missing))))
        for chunk, result in zip(chunks, results, strict=True):
            for kind, (ids, counts, length) in zip(kinds, result, strict=True):
                _table(kind).add(chunk, ids, counts, length)


def _compute(
    kinds: tuple[Settings, ...], smiles: list[str]
) -> list[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]]:
    """Return ids, counts and row lengths (-1 = unreadable) of each kind."""
    from rdkit.Chem import MolFromSmiles  # noqa: PLC0415

    counters = [_generator(kind).GetSparseCountFingerprint for kind in kinds]
    ids = [array("q") for _ in kinds]
    counts = [array("i") for _ in kinds]
    length = np.full((len(kinds), len(smiles)), -1, np.int32)
    with quiet_rdkit():
        for row, text in enumerate(smiles):
            molecule = MolFromSmiles(text)
            if molecule is None or molecule.GetNumAtoms() == 0:
                continue
            for kind, count in enumerate(counters):
                found = count(molecule).GetNonzeroElements()
                ids[kind].extend(found.keys())
                counts[kind].extend(found.values())
                length[kind, row] = len(found)
    return [
        (np.array(one, np.int64), np.array(two, np.int32), rows)
        for one, two, rows in zip(ids, counts, length, strict=True)
    ]


@lru_cache(maxsize=64)
def _generator(settings: Settings) -> Any:
    from rdkit.Chem import rdFingerprintGenerator as rd  # noqa: PLC0415

    roles = rd.GetMorganFeatureAtomInvGen() if settings.kind.startswith("feature") else None
    shared = {"includeChirality": settings.chiral} | ({} if roles is None else {"atomInvariantsGenerator": roles})
    if settings.kind.endswith("morgan"):
        return rd.GetMorganGenerator(radius=settings.radius, **shared)
    if settings.kind.endswith("atom_pair"):
        return rd.GetAtomPairGenerator(maxDistance=settings.distance, **shared)
    return rd.GetTopologicalTorsionGenerator(torsionAtomCount=settings.atoms, **shared)


def _grown(old: NDArray[Any], size: int) -> NDArray[Any]:
    """Return an array with room for `size` entries; room grows by half, so that appending stays cheap."""
    if size <= len(old):
        return old
    new = np.zeros(max(size, len(old) + len(old) // 2), old.dtype)
    new[: len(old)] = old
    return new


def _joined(parts: list[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    length = np.concatenate([np.diff(part.indptr) for part in parts])
    return Rows(
        np.concatenate([[0], np.cumsum(length)]),
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.readable for part in parts]),
    )


def _scatter(rows: Rows, codes: NDArray[np.int64]) -> Rows:
    """Return a row per code; -1 = an empty, unreadable row."""
    if len(codes) == len(rows.readable) and np.array_equal(codes, np.arange(len(codes))):
        return rows
    length = np.diff(rows.indptr, append=rows.indptr[-1])[codes]  # code -1 takes the zero at the end
    indptr = np.concatenate([[0], np.cumsum(length)])
    where = np.repeat(rows.indptr[codes] - indptr[:-1], length) + np.arange(indptr[-1])
    readable = np.append(rows.readable, values=False)[codes]
    return Rows(indptr, rows.ids[where], rows.counts[where], readable)
