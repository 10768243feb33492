"""A kernel: a representation and a similarity under one name."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True)
class Kernel:
    """Similarity of conditions: a positive semidefinite function of two of them.

    Examples
    --------
    >>> from screenwise.represent.fingerprint import Fingerprint
    >>> from screenwise.represent.similarity import CountTanimoto
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
