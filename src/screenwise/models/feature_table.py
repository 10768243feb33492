"""One table of numbers per condition, for linear models: features of a few kernels, scaled alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack, issparse

from screenwise.models.gp_kernels import choose_kernels
from screenwise.represent.fingerprint import Vocabulary
from screenwise.represent.flat import flat_features
from screenwise.represent.kernels import Kernel
from screenwise.represent.pairs import Same

MOST_COLUMNS = 2**16
"""Sparse features kept of a kernel, the most frequent ones."""


def table_kernels(conditions: pd.DataFrame, names: tuple[str, ...] | None) -> tuple[Kernel, ...]:
    """Return the kernels whose features a linear model is given.

    Unnamed: the first one (compounds: chiral ECFP6 counts; pairs: which members), those of given
    numbers and those of the context.

    Examples
    --------
    >>> [kernel.name for kernel in table_kernels(pd.DataFrame({"smiles": ["CCO"], "feature:logp": [0.3]}), None)]
    ['chiral_ecfp6', 'features_linear']
    """
    if names is not None:
        return choose_kernels(conditions, names)
    first, *others = choose_kernels(conditions, None)
    linear = [kernel for kernel in others if kernel.name.removesuffix(")").endswith("_linear")]
    return (first, *linear, *(kernel for kernel in others if isinstance(kernel.similarity, Same)))


@dataclass(frozen=True)
class KernelColumns:
    """Which columns of one kernel's flat features are used, and how they are scaled."""

    ids: NDArray[np.int64]
    """(d,) sparse: the columns kept; dense: empty."""
    centre: NDArray[np.float64]
    """(d,) dense: means; sparse: empty."""
    size: NDArray[np.float64]
    """(d,) dense: standard deviations; sparse: empty."""
    length: float
    """Root mean squared length of the training rows, which becomes 1."""

    def transform(self, flat: Any) -> Any:
        """Return (n, d): log(1 + count) of counts, sparse numbers as they are, dense ones standardised."""
        if not issparse(flat):
            return (np.asarray(flat, np.float64) - self.centre) / (self.size * self.length)
        kept = Vocabulary(ids=self.ids).transform(flat)
        data = kept.data.astype(np.float64)
        data = np.log1p(data) if np.issubdtype(kept.data.dtype, np.integer) else data
        return csr_array((data / self.length, kept.indices, kept.indptr), shape=kept.shape)


def learn_columns(flat: Any, min_count: int) -> KernelColumns:
    """Learn from the (n, d) flat features of training conditions.

    Examples
    --------
    >>> columns = learn_columns(np.array([[1.0, 5.0], [3.0, 5.0]]), 1)
    >>> columns.transform(np.array([[1.0, 5.0]])).tolist()
    [[-1.0, 0.0]]
    """
    none = np.zeros(0)
    if issparse(flat):
        ids, rows = np.unique(flat.indices, return_counts=True)
        ids, rows = ids[rows >= min_count], rows[rows >= min_count]
        raw = KernelColumns(
            np.sort(ids[np.argsort(-rows, kind="stable")[:MOST_COLUMNS]]).astype(np.int64), none, none, 1.0
        )
    else:
        dense = np.asarray(flat, np.float64)
        spread = dense.std(axis=0)
        raw = KernelColumns(np.zeros(0, np.int64), dense.mean(axis=0), np.where(spread > 0, spread, 1.0), 1.0)
    table = raw.transform(flat)
    squares = np.square(table.data if issparse(table) else table).sum() / max(1, table.shape[0])
    return KernelColumns(raw.ids, raw.centre, raw.size, float(np.sqrt(squares)) if squares > 0 else 1.0)


def feature_table(blocks: Sequence[KernelColumns], features: Sequence[Any]) -> Any:
    """Return (n, d) numbers of all kernels side by side, sparse where one of them is."""
    tables = [columns.transform(flat_features(one)) for columns, one in zip(blocks, features, strict=True)]
    if len(tables) == 1:
        return tables[0]
    if not any(issparse(table) for table in tables):
        return np.hstack(tables)
    return csr_array(hstack([csr_array(table) for table in tables], format="csr"))
