"""Rows of a sparse matrix as tensors."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from screenwise.errors import DataError


@dataclass(frozen=True)
class SparseBatch:
    """Rows of a sparse matrix as tensors, b rows with m stored entries."""

    indptr: Tensor
    """(b + 1,) int64: where each row begins."""
    indices: Tensor
    """(m,) int32 or int64, as the matrix has them: column of each entry."""
    data: Tensor
    """(m,) float32: value of each entry."""

    @classmethod
    def from_csr(cls, rows: csr_array, device: torch.device | str = "cpu") -> "SparseBatch":
        """Return the rows of a CSR matrix on a device; on the CPU they share its memory where types agree."""
        kinds = ((rows.indptr, np.int64), (rows.indices, None), (rows.data, np.float32))
        return cls(*(torch.from_numpy(np.require(part, kind, "W")).to(device) for part, kind in kinds))

    def arrays(self) -> tuple[Any, Any, Any]:
        """Return indptr, indices and data as arrays that share the tensors' memory."""
        return self.indptr.numpy(), self.indices.numpy(), self.data.numpy()

    def check(self, features: int) -> None:
        """Refuse a batch that names a column beyond `features`.

        Raises
        ------
        DataError
            The rows come from a wider matrix than the layer reads.

        Examples
        --------
        >>> SparseBatch.from_csr(csr_array(np.array([[0, 0, 1.0]]))).check(2)
        Traceback (most recent call last):
        ...
        screenwise.errors.DataError: A row has a value in column 2, but the layer reads 2 columns, 0 to 1. Give it ...
        """
        if not len(self.indices):
            return
        low, high = (int(one) for one in self.indices.aminmax())
        if low < 0 or high >= features:
            message = (
                f"A row has a value in column {low if low < 0 else high}, but the layer reads {features} columns, "
                f"0 to {features - 1}. Give it the matrix with the columns that it was made for."
            )
            raise DataError(message)
