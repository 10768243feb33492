"""Similarities of a whole pool with what is measured, kept from round to round while memory lasts."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from screenwise.models.gp_kernels import TrainingKernels

CHUNK = 2**20
"""Similarities of one kernel that are in memory twice while they are computed."""


class KeptColumns:
    """Columns of m kernels over the n conditions of a pool, computed when they are first asked for.

    Weights change from round to round, similarities do not, and most of what a round has measured the last
    one had too. Beyond the bytes given, columns are computed afresh each time.
    """

    def __init__(self, training: "TrainingKernels", most_bytes: int) -> None:
        shape = len(training.kernels), len(training)
        self.training = training
        self.capacity = most_bytes // (4 * shape[0] * max(shape[1], 1))
        # memory is taken when a column is written
        self.table = np.empty((self.capacity, *shape), np.float32)
        self.place: dict[int, int] = {}
        """Pool row -> which column."""

    def cross(
        self, asked: NDArray[np.int64], rows: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Return (q, r) weighted sums of the kernels, as `TrainingKernels.cross` does.

        Parameters
        ----------
        asked, rows
            (q,) and (r,) rows of the pool; columns of the latter are kept.
        weights
            (m,)
        """
        self._keep(rows)
        column = np.array([self.place.get(int(row), -1) for row in rows], np.int64)
        out, kept = np.empty((len(asked), len(rows)), np.float32), column >= 0
        found = np.empty((int(kept.sum()), len(asked)), np.float32)
        _weigh(self.table, column[kept], asked, (weights / self.training.scale).astype(np.float32), found)
        out[:, kept] = found.T
        if not kept.all():
            out[:, ~kept] = self.training.cross(self.training.take(asked), rows[~kept], weights)
        return out

    def _keep(self, rows: NDArray[np.int64]) -> None:
        missing = [int(row) for row in rows if int(row) not in self.place]
        if not missing:
            return
        if len(self.place) + len(missing) > self.capacity:
            wanted = set(rows.tolist())
            self.place = {row: at for row, at in self.place.items() if row in wanted}
        taken = set(self.place.values())
        free = [at for at in range(self.capacity) if at not in taken][: len(missing)]
        fresh = np.asarray(missing[: len(free)], np.int64)
        if not len(fresh):
            return
        size, step = len(self.training), max(256, CHUNK // len(fresh))
        with threadpool_limits(1, user_api="blas"):
            for number, (kernel, features) in enumerate(
                zip(self.training.kernels, self.training.features, strict=True)
            ):
                known = features[fresh]
                for first in range(0, size, step):
                    part = slice(first, first + step)
                    self.table[free, number, part] = kernel.gram(features[part], known).T
        self.place.update(zip(fresh.tolist(), free, strict=True))


@njit(cache=True)
def _weigh(table: Any, columns: Any, asked: Any, weights: Any, out: Any) -> None:  # pragma: no cover
    for place in range(len(columns)):
        line = out[place]
        line[:] = 0
        for kernel in range(len(weights)):
            similarity, weight = table[columns[place], kernel], weights[kernel]
            for row in range(len(asked)):
                line[row] += weight * similarity[asked[row]]
