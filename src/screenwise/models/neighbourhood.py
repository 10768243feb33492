"""The applicability domain of a fitted model: as near to what it learned as that lies to its own nearest."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from screenwise.errors import ColumnError, StructureError
from screenwise.evaluate.domain import learn_threshold, learn_thresholds
from screenwise.models.feature_store import pack_features, part_of, read_arrays, unpack_features
from screenwise.models.gp_kernels import chunks, readable_features
from screenwise.models.measured import one_kernel
from screenwise.represent.kernels import Kernel, kernel_from_state, kernel_state
from screenwise.rng import stream
from screenwise.run import atomic_path, read_json, write_json
from screenwise.screen import Screen
from screenwise.train.threads import in_parts

MOST_SAMPLED = 6_000
"""Training conditions whose nearest other one is looked for, at most."""
PER_GROUP = 200
"""Of them, those of each group of tasks when there are ten groups or more; of one group 2,000."""
LEAST_CELLS = 20
"""With fewer nearest others a task takes the threshold of all tasks together."""
HAIR = 1e-6
"""A similarity this little below the threshold counts as in; a similarity of 0 never does."""
BLOCK_BYTES = 2**23
"""Similarities that are in memory at a time, in each thread: what stays in a processor's cache."""


@dataclass(frozen=True)
class Known:
    """Training conditions, for which tasks they were measured, and how near is near enough."""

    kernel: Kernel
    features: Any
    """Of n training conditions."""
    start: NDArray[np.int64]
    """(n + 1,) where the groups of each training condition begin in `group`."""
    group: NDArray[np.int64]
    """(m,) groups of tasks in which a condition was measured."""
    group_of: NDArray[np.int64]
    """(t,) group of each task; tasks measured on the same conditions share one; -1 = never measured."""
    threshold: NDArray[np.float64]
    """(g,) least similarity to the nearest training condition of the group."""


class Neighbourhood:
    """Says which conditions are as near to a task's training conditions as 95 % of these are to each other.

    Similarity is that of structures, of given numbers, or of what else conditions have, between 0 and 1
    (1 = the same condition). Thresholds are learned when they are first asked for: a comparison that
    wants predictions alone does not pay for them.

    Examples
    --------
    >>> from screenwise.screen import make_screen
    >>> chains = pd.DataFrame({"smiles": ["C" * length + "O" for length in range(2, 12)]})
    >>> known = Neighbourhood(make_screen(chains, np.ones((10, 1)), ["potency"]))
    >>> known.inside(pd.DataFrame({"smiles": ["CCCCCCO", "c1ccc2ncccc2c1", "C1CC"]})).ravel().tolist()
    [True, False, False]
    """

    def __init__(self, screen: Screen | None, kernel: Kernel | None = None, seed: int = 0) -> None:
        self._source = None if screen is None else (screen, kernel, seed)
        self._learned: Known | None = None

    def inside(self, conditions: pd.DataFrame) -> NDArray[np.bool_] | None:
        """Return (n, t) whether conditions are in the domain; None where nothing tells how alike they are."""
        learned = self._state()
        if learned is None:
            return None
        try:
            (features,), readable, _ = readable_features((learned.kernel,), conditions)
        except ColumnError:
            return None
        found = np.zeros((features.shape[0], len(learned.threshold) + 1), bool)
        with threadpool_limits(1, user_api="blas"):  # threads share the rows, not the products
            in_parts(_look, learned, features, found, work=np.arange(len(found) + 1))
        inside = np.zeros((len(conditions), len(learned.group_of)), bool)
        inside[readable] = found[:, learned.group_of]
        return inside

    def save(self, folder: Path) -> None:
        """Write ``domain.json`` and ``domain.npz``, or nothing where nothing can be said."""
        learned = self._state()
        if learned is None:
            return
        state, arrays = kernel_state(learned.kernel)
        stored: dict[str, Any] = {f"kernel_{name}": array for name, array in arrays.items()}
        stored |= {f"features_{name}": array for name, array in pack_features(learned.features).items()}
        stored |= {name: getattr(learned, name) for name in _ARRAYS}
        with atomic_path(Path(folder) / "domain.npz") as draft:
            np.savez(draft, **stored)
        write_json(Path(folder) / "domain.json", {"kernel": state})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        model = cls(None)
        if (Path(folder) / "domain.json").exists():
            arrays = read_arrays(Path(folder) / "domain.npz")
            kernel = kernel_from_state(read_json(Path(folder) / "domain.json")["kernel"], part_of(arrays, "kernel_"))
            features = unpack_features(part_of(arrays, "features_"))
            model._learned = Known(kernel, features, **{name: arrays[name] for name in _ARRAYS})
        return model

    def _state(self) -> Known | None:
        if self._source is not None:
            try:
                self._learned = learn(*self._source)
            except (ColumnError, StructureError):  # the mean learns from conditions of any kind
                self._learned = None
            self._source = None
        return self._learned


_ARRAYS = ("start", "group", "group_of", "threshold")


def learn(screen: Screen, kernel: Kernel | None, seed: int) -> Known:
    """Learn the thresholds of a screen's tasks; `kernel` None = `screenwise.models.measured.one_kernel`."""
    cells = screen.targets.cells()
    keep = np.isfinite(cells.value)
    rows, row = np.unique(cells.row[keep], return_inverse=True)
    conditions = screen.conditions.iloc[rows].reset_index(drop=True)
    kernel = one_kernel(conditions, None) if kernel is None else kernel
    (features,), readable, _ = readable_features((kernel,), conditions)
    group_of = _groups(row, cells.task[keep], screen.targets.shape[1])
    pairs = np.unique(np.stack([row, group_of[cells.task[keep]]]), axis=1)
    pairs = pairs[:, readable[pairs[0]]]
    place = np.cumsum(readable) - 1
    start = np.concatenate([[0], np.cumsum(np.bincount(place[pairs[0]], minlength=int(readable.sum())))])
    known = Known(kernel, features, start.astype(np.int64), pairs[1], group_of, np.ones(int(group_of.max()) + 1))
    return replace(known, threshold=_thresholds(known, seed))


def _groups(row: NDArray[np.int64], task: NDArray[np.int64], tasks: int) -> NDArray[np.int64]:
    """Return (t,) one code for tasks that were measured on the same conditions, -1 for those never measured."""
    order = np.lexsort((row, task))
    parts = np.split(row[order], np.cumsum(np.bincount(task, minlength=tasks))[:-1])
    codes = np.full(tasks, -1)
    there = np.flatnonzero([len(part) for part in parts])
    codes[there] = pd.factorize(np.array([parts[one].tobytes() for one in there], object))[0]
    return codes


def _thresholds(known: Known, seed: int) -> NDArray[np.float64]:
    """Return (g,) thresholds from the nearest other one of a sample of training conditions."""
    groups, n = len(known.threshold), len(known.start) - 1
    sample = _sample(known, groups, stream(seed, "domain"))
    begin = np.diff(known.start)[sample]
    where = np.repeat(known.start[sample] - np.cumsum(begin) + begin, begin) + np.arange(begin.sum())
    group, nearest, done = known.group[where], np.empty(len(where)), 0
    for part in chunks(len(sample), n, layers=2):
        some = sample[part]
        similar = similarities(known.kernel, known.features[some], known.features)
        similar[np.arange(len(some)), some] = -1.0
        _nearest_others(similar, some, (known.start, known.group), groups, nearest[done:])
        done += int(begin[part].sum())
    nearest[nearest < 0] = np.nan
    every = learn_threshold(nearest)
    own = learn_thresholds(nearest, group, groups)
    few = np.bincount(group[np.isfinite(nearest)], minlength=groups) < LEAST_CELLS
    found = np.where(few, every, own)
    # where nothing has another one beside it, only the same condition is near
    return np.clip(np.where(np.isfinite(found), found, 1.0) - HAIR, HAIR, None)


def _sample(known: Known, groups: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return training conditions drawn at random, so that each group has its share."""
    n = len(known.start) - 1
    rank = rng.permutation(n)
    row = np.repeat(np.arange(n), np.diff(known.start))
    order = np.lexsort((rank[row], known.group))
    size = np.bincount(known.group, minlength=groups)
    within = np.arange(len(order)) - np.repeat(np.cumsum(size) - size, size)
    chosen = np.unique(row[order[within < max(PER_GROUP, 10 * PER_GROUP // groups)]])
    return np.sort(chosen[np.argsort(rank[chosen])[:MOST_SAMPLED]])


def similarities(kernel: Kernel, a: Any, b: Any) -> NDArray[np.float32]:
    """Return (na, nb) a kernel over the roots of both variances: 1 = the same condition.

    Examples
    --------
    >>> from screenwise.represent.kernels import molecule_kernels
    >>> kernel = molecule_kernels()[0]
    >>> counts = kernel.features(pd.DataFrame({"smiles": ["CCO", "CCN"]}))
    >>> similarities(kernel, counts, counts).diagonal().tolist()
    [1.0, 1.0]
    """
    left = np.sqrt(np.maximum(kernel.diagonal(a), 1e-12))
    right = np.sqrt(np.maximum(kernel.diagonal(b), 1e-12))
    found = kernel.gram(a, b) / left[:, None]
    found /= right
    return np.asarray(found, np.float32)


def _look(learned: Known, features: Any, found: NDArray[np.bool_], rows: tuple[int, int]) -> None:
    """Mark some rows, block by block."""
    first, last = rows
    for part in chunks(last - first, learned.features.shape[0], layers=2, budget=BLOCK_BYTES):
        here = slice(first + part.start, first + part.stop)
        similar = similarities(learned.kernel, features[here], learned.features)
        _mark(similar, learned.start, learned.group, learned.threshold, found[here])


@njit(cache=True, nogil=True)
def _mark(similar: Any, start: Any, group: Any, threshold: Any, inside: Any) -> None:  # pragma: no cover
    """Mark the groups in which a row is near enough to some training condition."""
    lowest = threshold.min()
    for row in range(similar.shape[0]):
        for other in range(similar.shape[1]):
            if similar[row, other] < lowest:
                continue
            for at in range(start[other], start[other + 1]):
                if similar[row, other] >= threshold[group[at]]:
                    inside[row, group[at]] = True


@njit(cache=True)
def _nearest_others(similar: Any, rows: Any, measured: Any, groups: int, found: Any) -> None:  # pragma: no cover
    """Write the similarity of each sampled row to its nearest other one, group by group; -1 = there is none."""
    start, group = measured
    best, place = np.empty(groups), 0
    for row in range(similar.shape[0]):
        best[:] = -1.0
        for other in range(similar.shape[1]):
            for at in range(start[other], start[other + 1]):
                best[group[at]] = max(best[group[at]], similar[row, other])
        for at in range(start[rows[row]], start[rows[row] + 1]):
            found[place] = best[group[at]]
            place += 1
