"""Kernels: a representation and a similarity under one name, and which ones suit given conditions."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.represent.fingerprint import Fingerprint, together
from screenwise.represent.similarity import Cosine, CountTanimoto, ExpHamming, Linear, Rbf
from screenwise.represent.state import pack, unpack


@dataclass(frozen=True)
class Kernel:
    """Similarity of conditions: a positive semidefinite function of two of them.

    Examples
    --------
    >>> kernel = Kernel("ecfp6", Fingerprint("morgan"), CountTanimoto())
    >>> features = kernel.features(pd.DataFrame({"smiles": ["CCO", "CCCO"]}))
    >>> kernel.gram(features)
    array([[1. , 0.5],
           [0.5, 1. ]], dtype=float32)
    """

    name: str
    representation: Any
    """Has `transform(conditions)`; also `fit(conditions)` where it needs statistics of the data."""
    similarity: Any
    """Called with one or two sets of features; has `diagonal(features)` and perhaps `fit(features)`."""

    def fit(self, conditions: pd.DataFrame) -> Self:
        """Return the kernel with its statistics (scales, lengths, frequencies) taken from conditions."""
        representation = self.representation
        if hasattr(representation, "fit"):
            representation = representation.fit(conditions)
        similarity = self.similarity
        if hasattr(similarity, "fit"):
            similarity = similarity.fit(representation.transform(conditions))
        return replace(self, representation=representation, similarity=similarity)

    def features(self, conditions: pd.DataFrame) -> Any:
        """Return the features of (n,) conditions: indexable by rows, with a shape."""
        return self.representation.transform(conditions)

    def gram(self, a: Any, b: Any = None) -> NDArray[np.float32]:
        """Return (na, nb) similarities of features; b None = a."""
        return np.asarray(self.similarity(a, b), np.float32)

    def diagonal(self, a: Any) -> NDArray[np.float32]:
        """Return (n,) similarities of conditions with themselves."""
        return np.asarray(self.similarity.diagonal(a), np.float32)


def molecule_kernels(*, jobs: int = 1) -> tuple[Kernel, ...]:
    """Return count Tanimoto on chiral ECFP6, FCFP6, atom pairs and torsions, all unfolded.

    Examples
    --------
    >>> [kernel.name for kernel in molecule_kernels()]
    ['chiral_ecfp6', 'fcfp6', 'atom_pairs', 'torsions']
    """
    kinds = together(
        Fingerprint("morgan", radius=3, chiral=True, jobs=jobs),
        Fingerprint("feature_morgan", radius=3, jobs=jobs),
        Fingerprint("atom_pair", jobs=jobs),
        Fingerprint("torsion", jobs=jobs),
    )
    names = ("chiral_ecfp6", "fcfp6", "atom_pairs", "torsions")
    return tuple(Kernel(name, kind, CountTanimoto()) for name, kind in zip(names, kinds, strict=True))


def default_kernels(conditions: pd.DataFrame) -> tuple[Kernel, ...]:
    """Return kernels that suit the columns of conditions, fitted to these conditions."""
    return tuple(kernel.fit(conditions) for kernel in molecule_kernels())


def kernel_state(kernel: Kernel) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return a kernel as a JSON-able mapping and the arrays it holds.

    Examples
    --------
    >>> kernel = molecule_kernels()[0]
    >>> kernel_from_state(*kernel_state(kernel)) == kernel
    True
    """
    arrays: dict[str, NDArray[Any]] = {}
    return pack(kernel, arrays), arrays


def kernel_from_state(state: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Kernel:
    """Return the kernel that `kernel_state` took apart."""
    return unpack(state, arrays, PARTS)


PARTS: dict[str, Any] = {
    part.__name__: part for part in (Kernel, Fingerprint, CountTanimoto, Linear, Cosine, Rbf, ExpHamming)
}
"""What kernels are made of, by name: what a saved model may name."""
