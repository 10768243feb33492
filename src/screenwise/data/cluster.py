"""Groups of similar compounds by sphere exclusion: no measurement decides, only structures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

BITS = 1024
"""Length of the folded fingerprint."""
SIMILARITY = 0.4
"""Tanimoto similarity (radius 2, 1,024 bits) from which a compound joins a leader."""


def similarity_clusters(smiles: Sequence[str], similarity: float = SIMILARITY) -> NDArray[np.int64]:
    """Return (n,) cluster numbers; compounds of one cluster resemble the same leader.

    Leaders are found by sphere exclusion in an order that depends only on the structures: a compound
    that resembles no leader so far becomes one. Then every compound joins its most similar leader.

    Parameters
    ----------
    smiles
        n structures, in standard form.
    similarity
        Tanimoto similarity to a leader from which a compound is not a leader itself.

    References
    ----------
    Leader-follower clustering with reassignment as in ChemFold (MELLODDY), there with several radii.

    Examples
    --------
    >>> clusters = similarity_clusters(["CCCCCCO", "c1ccccc1C(=O)N", "CCCCCCCO"])
    >>> bool(clusters[0] == clusters[2]), bool(clusters[0] == clusters[1])
    (True, False)
    """
    words = _fingerprints(smiles)
    # Many-featured compounds first: a leader then tends to be the full member of a series.
    counts = np.bitwise_count(words).sum(axis=1)
    order = np.lexsort((np.asarray(list(smiles), dtype=str), -counts.astype(np.int64)))
    leader = _nearest_leader(words[order], counts[order].astype(np.int64), similarity)
    clusters = np.empty(len(order), np.int64)
    clusters[order] = leader
    return clusters


def _fingerprints(smiles: Sequence[str]) -> NDArray[np.uint64]:
    from rdkit import Chem, DataStructs  # noqa: PLC0415
    from rdkit.Chem import rdFingerprintGenerator  # noqa: PLC0415

    from screenwise.data.chemistry import quiet_rdkit  # noqa: PLC0415

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=BITS)
    packed = np.zeros((len(smiles), BITS // 8), np.uint8)
    with quiet_rdkit():
        for place, text in enumerate(smiles):
            molecule = Chem.MolFromSmiles(text)
            if molecule is not None:
                bits = DataStructs.BitVectToBinaryText(generator.GetFingerprint(molecule))
                packed[place] = np.frombuffer(bits, np.uint8)
    return packed.view(np.uint64)


@njit(cache=True)
def _popcount(word: Any) -> Any:  # pragma: no cover - compiled
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@njit(cache=True)
def _tanimoto(a: Any, b: Any, size_a: int, size_b: int) -> float:  # pragma: no cover - compiled
    both = np.uint64(0)
    for word in range(a.shape[0]):
        both += _popcount(a[word] & b[word])
    shared = float(both)
    union = size_a + size_b - shared
    return shared / union if union > 0 else 1.0


@njit(cache=True)
def _nearest_leader(words: Any, counts: Any, similarity: float) -> Any:  # pragma: no cover - compiled
    size = words.shape[0]
    leaders = np.empty(size, np.int64)
    found = 0
    for place in range(size):
        alone = True
        for rank in range(found):
            other = leaders[rank]
            low, high = min(counts[place], counts[other]), max(counts[place], counts[other])
            # |A and B| <= the smaller set: skip the pairs that cannot be similar enough
            if low >= similarity * high and (
                _tanimoto(words[place], words[other], counts[place], counts[other]) >= similarity
            ):
                alone = False
                break
        if alone:
            leaders[found] = place
            found += 1
    nearest = np.empty(size, np.int64)
    for place in range(size):
        best, choice = -1.0, 0
        for rank in range(found):
            other = leaders[rank]
            low, high = min(counts[place], counts[other]), max(counts[place], counts[other])
            if low > best * high or best < 0:
                value = _tanimoto(words[place], words[other], counts[place], counts[other])
                if value > best:
                    best, choice = value, rank
        nearest[place] = choice
    return nearest
