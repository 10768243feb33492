"""Variants and sequences as numbers: residues per site, their properties, short words."""

import re
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from screenwise.errors import ColumnError, ConfigError, StructureError
from screenwise.represent.fingerprint import UNFOLDED
from screenwise.represent.similarity import hamming

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
MOST_READ = 2_000
"""Texts that are read to find out what kind they are."""
UNKNOWN = 0
"""Code of what is no residue: gaps, stops, X."""

_PROPERTIES = np.array(
    [
        # hydropathy (Kyte-Doolittle), volume (A^3, Zamyatnin), charge at pH 7, polarity (Grantham),
        # helix and sheet propensity (Chou-Fasman), aromatic, beta-branched
        [1.8, 88.6, 0.0, 8.1, 1.42, 0.83, 0, 0],  # A
        [2.5, 108.5, 0.0, 5.5, 0.70, 1.19, 0, 0],  # C
        [-3.5, 111.1, -1.0, 13.0, 1.01, 0.54, 0, 0],  # D
        [-3.5, 138.4, -1.0, 12.3, 1.51, 0.37, 0, 0],  # E
        [2.8, 189.9, 0.0, 5.2, 1.13, 1.38, 1, 0],  # F
        [-0.4, 60.1, 0.0, 9.0, 0.57, 0.75, 0, 0],  # G
        [-3.2, 153.2, 0.1, 10.4, 1.00, 0.87, 1, 0],  # H
        [4.5, 166.7, 0.0, 5.2, 1.08, 1.60, 0, 1],  # I
        [-3.9, 168.6, 1.0, 11.3, 1.16, 0.74, 0, 0],  # K
        [3.8, 166.7, 0.0, 4.9, 1.21, 1.30, 0, 0],  # L
        [1.9, 162.9, 0.0, 5.7, 1.45, 1.05, 0, 0],  # M
        [-3.5, 114.1, 0.0, 11.6, 0.67, 0.89, 0, 0],  # N
        [-1.6, 112.7, 0.0, 8.0, 0.57, 0.55, 0, 0],  # P
        [-3.5, 143.8, 0.0, 10.5, 1.11, 1.10, 0, 0],  # Q
        [-4.5, 173.4, 1.0, 10.5, 0.98, 0.93, 0, 0],  # R
        [-0.8, 89.0, 0.0, 9.2, 0.77, 0.75, 0, 0],  # S
        [-0.7, 116.1, 0.0, 8.6, 0.83, 1.19, 0, 1],  # T
        [4.2, 140.0, 0.0, 5.9, 1.06, 1.70, 0, 1],  # V
        [-0.9, 227.8, 0.0, 5.4, 1.08, 1.37, 1, 0],  # W
        [-1.3, 193.6, 0.0, 6.2, 0.69, 1.47, 1, 0],  # Y
    ]
)
_CODES = np.full(256, UNKNOWN, np.uint8)
_CODES[[ord(letter) for letter in RESIDUES]] = np.arange(1, len(RESIDUES) + 1)
_CODES[[ord(letter) for letter in RESIDUES.lower()]] = np.arange(1, len(RESIDUES) + 1)
_MUTATION = re.compile(r"^(?:p\.)?([A-Za-z*]?)(\d+)([A-Za-z*-])$")
_APART = re.compile(r"[\s,;:+/|_]+")
_WILD = ("", "wt", "wild-type", "wildtype", "wild type", "_wt", "p.=")


def is_mutation_list(texts: Any) -> bool:
    """Return whether most texts are like "V39A:D40G", not sequences.

    Examples
    --------
    >>> is_mutation_list(["V39A:D40G", "wt"]), is_mutation_list(["VDGV", "VDGA"])
    (True, False)
    """
    every = list(texts)
    # some of very many, spread evenly, tell as well as all
    some = every[:: max(1, len(every) // MOST_READ)]
    named = [text for text in map(_text, some) if text.lower() not in _WILD]
    return sum(_mutations(text) is not None for text in named) * 2 > len(named)


@dataclass(frozen=True)
class Sites:
    """Residues at the sites that vary: (n, v + 1) codes, the last one counting changes anywhere else.

    Reads sequences of one length, or lists of mutations ("V39A:D40G", "wt").

    Examples
    --------
    >>> table = pd.DataFrame({"variant": ["V39A", "V39A:D40G", "wt"]})
    >>> Sites("variant").fit(table).transform(table).tolist()
    [[1, 3, 0], [1, 6, 0], [18, 3, 0]]
    """

    column: str
    mutations: bool = False
    """Whether the column lists mutations; found when fitted."""
    wild: NDArray[np.uint8] | None = field(default=None, compare=False)
    """Codes of the commonest residue of every site (sequences) or of the varying ones (mutations)."""
    sites: NDArray[np.int64] | None = field(default=None, compare=False)
    """(v,) sites that vary: places in the sequence, or numbers as written."""

    def fit(self, conditions: pd.DataFrame) -> Self:
        """Take the sites from conditions."""
        texts = _texts(conditions, self.column)
        if is_mutation_list(texts):
            wild = {site: old for text in texts for old, site, _ in _read(text) if old}
            sites = sorted({site for text in texts for _, site, _ in _read(text)})
            codes = np.array([_CODES[ord(wild.get(site, "X"))] for site in sites], np.uint8)
            return replace(self, mutations=True, wild=codes, sites=np.array(sites, np.int64))
        codes = _sequence_codes(texts, len(texts[0]) if texts else 0)
        counts = np.stack([(codes == residue).sum(axis=0) for residue in range(len(RESIDUES) + 1)])
        wild = counts.argmax(axis=0).astype(np.uint8)
        return replace(self, mutations=False, wild=wild, sites=np.flatnonzero((codes != wild).any(axis=0)))

    def transform(self, conditions: pd.DataFrame) -> NDArray[np.uint8]:
        """Return (n, v + 1) codes."""
        if self.sites is None or self.wild is None:
            message = "These sites are not fitted yet; call fit(conditions) first."
            raise ConfigError(message)
        texts = _texts(conditions, self.column)
        if self.mutations:
            return _mutated(texts, self.wild, self.sites)
        codes = _sequence_codes(texts, len(self.wild))
        elsewhere = np.ones(len(self.wild), bool)
        elsewhere[self.sites] = False
        other = (codes[:, elsewhere] != self.wild[elsewhere]).sum(axis=1)
        return np.column_stack([codes[:, self.sites], np.minimum(other, 255)]).astype(np.uint8)


@dataclass(frozen=True)
class SiteProperties:
    """Eight properties of the residue at each site that varies, standardised over the 20 residues.

    Examples
    --------
    >>> table = pd.DataFrame({"variant": ["VD", "VG", "AD"]})
    >>> SiteProperties(Sites("variant")).fit(table).transform(table).shape
    (3, 17)
    """

    sites: Sites

    def fit(self, conditions: pd.DataFrame) -> Self:
        """Take the sites from conditions."""
        return replace(self, sites=self.sites.fit(conditions))

    def transform(self, conditions: pd.DataFrame) -> NDArray[np.float32]:
        """Return (n, 8 v + 1) numbers, the last one the changes at other sites."""
        codes = self.sites.transform(conditions)
        scaled = (_PROPERTIES - _PROPERTIES.mean(axis=0)) / _PROPERTIES.std(axis=0)
        table = np.vstack([np.zeros(scaled.shape[1]), scaled]).astype(np.float32)
        values = table[codes[:, :-1]].reshape(len(codes), -1)
        return np.column_stack([values, codes[:, -1]]).astype(np.float32)


@dataclass(frozen=True)
class SharedSites:
    """Share of equal sites: the inner product of one-hot residues, every substitution has its own effect."""

    def __call__(self, a: NDArray[np.uint8], b: NDArray[np.uint8] | None = None) -> NDArray[np.float32]:
        """Return (na, nb)."""
        return 1 - hamming(a, b) / np.float32(max(a.shape[1], 1))

    def diagonal(self, a: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (n,) ones."""
        return np.ones(a.shape[0], np.float32)


@dataclass(frozen=True)
class Words:
    """Counts of words of k letters in sequences of any length.

    Examples
    --------
    >>> Words("sequence", 2).transform(pd.DataFrame({"sequence": ["ACAC", "AC"]})).sum(axis=1).tolist()
    [3, 1]
    """

    column: str
    k: int = 3

    def transform(self, conditions: pd.DataFrame) -> csr_array:
        """Return (n, d) int32 counts; columns are the words' codes."""
        letters = [
            np.frombuffer(text.upper().encode("latin-1", "replace"), np.uint8)
            for text in _texts(conditions, self.column)
        ]
        length = np.array([max(len(row) - self.k + 1, 0) for row in letters], np.int64)
        flat = np.concatenate([*letters, np.zeros(self.k, np.uint8)]).astype(np.int64)
        start = np.concatenate([[0], np.cumsum([len(row) for row in letters])])[:-1].astype(np.int64)
        indptr = np.concatenate([[0], np.cumsum(length)])
        first = np.repeat(start - indptr[:-1], length) + np.arange(indptr[-1])
        words = sum((flat[first + place] << (8 * place) for place in range(self.k)), np.zeros(len(first), np.int64))
        table = csr_array((np.ones(len(words), np.int32), words, indptr), shape=(len(letters), UNFOLDED))
        table.sum_duplicates()
        return table


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value).strip()


def _texts(conditions: pd.DataFrame, column: str) -> list[str]:
    if column not in conditions.columns:
        message = f"The model needs the column {column!r}; found {list(map(str, conditions.columns))}."
        raise ColumnError(message)
    values = conditions[column]
    missing = values.isna().to_numpy(bool)
    return ["" if gone else str(value).strip() for gone, value in zip(missing, values.tolist(), strict=True)]


def _mutations(text: str) -> list[tuple[str, int, str]] | None:
    """Return (old residue or "", site, new residue) of each mutation; None when it is no list of mutations."""
    if text.lower() in _WILD:
        return []
    found = [_MUTATION.match(part) for part in _APART.split(text) if part]
    if not found or not all(found):
        return None
    return [(match[1].upper(), int(match[2]), match[3].upper()) for match in found if match]


def _read(text: str) -> list[tuple[str, int, str]]:
    found = _mutations(text)
    if found is None:
        message = f"{text[:60]!r} is not a list of mutations like V39A:D40G (or wt). Correct or leave out the row."
        raise StructureError(message)
    return found


def _mutated(texts: list[str], wild: NDArray[np.uint8], sites: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return (n, v + 1) codes of lists of mutations."""
    place = {site: at for at, site in enumerate(sites.tolist())}
    codes, distinct = pd.factorize(np.array(texts, dtype=object))
    out = np.zeros((len(distinct), len(sites) + 1), np.uint8)
    out[:, :-1] = wild
    for row, text in enumerate(distinct):
        for _, site, new in _read(text):
            if site in place:
                out[row, place[site]] = _CODES[ord(new)]
            else:
                out[row, -1] = min(int(out[row, -1]) + 1, 255)
    return out[codes]


def _sequence_codes(texts: list[str], length: int) -> NDArray[np.uint8]:
    wrong = next((row for row, text in enumerate(texts) if len(text) != length), None)
    if wrong is not None:
        message = (
            f"Row {wrong} of {len(texts)}: a sequence of {len(texts[wrong])} letters, where the model compares site by "
            f"site and needs {length}. Align the sequences, or leave out the row."
        )
        raise StructureError(message)
    flat = np.frombuffer("".join(texts).encode("latin-1", "replace"), np.uint8)
    return _CODES[flat].reshape(len(texts), length)
