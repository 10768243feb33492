"""What a fitted pooled process answers about (compound, task) cells, in the units of the tasks."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from screenwise.models.gp_posterior import Factor
from screenwise.models.pooled_counts import Counts
from screenwise.models.pooled_fit import Pooled, coin, over_groups
from screenwise.models.pooled_group import LABELS, Question, explain_group, predict_group, value_system
from screenwise.models.pooled_system import Exact, System
from screenwise.models.pooled_targets import Hurdle, in_units

SYSTEM_BYTES = 2**30
"""Systems that variances are computed with are kept up to this, and made again beyond it."""


class Answers:
    """Answers about compounds that are given as counts.

    Parameters
    ----------
    fitted
        What was learned.
    threads
        Groups at a time.
    """

    def __init__(self, fitted: Pooled, threads: int) -> None:
        self.fitted, self.threads = fitted, threads
        self._systems: dict[int, System] = {}
        self._bytes = 0

    def cells(
        self, counts: Counts, row: NDArray[np.int64], task: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and std, (m,) each, of cells of readable compounds and measured tasks."""
        fitted = self.fitted
        assays = fitted.assays
        (pair_row, pair_assay), which = _pairs(row, assays.assay[task], len(assays))
        found = self._means(counts, pair_row, pair_assay)
        slot = assays.slot[task]
        label = slot >= 0
        mean, std = np.empty(len(row)), np.empty(len(row))
        score = fitted.signs[task[label]] * found[which[label], LABELS + slot[label]]
        mean[label] = fitted.curves.probability(score, task[label])
        std[label] = coin(mean[label])
        if not label.all():
            some, place = np.unique(which[~label], return_inverse=True)
            values = self._hurdle(counts, (pair_row[some], pair_assay[some]), found[some])
            mean[~label] = values.point[place]
            std[~label] = values.std[place] * fitted.factor[task[~label]]
        return mean, std

    def hurdle(self, counts: Counts, row: NDArray[np.int64], task: NDArray[np.int64]) -> Hurdle:
        """Return the values of cells of regression tasks in parts, (m,) each."""
        assay = self.fitted.assays.assay[task]
        found = self._hurdle(counts, (row, assay), self._means(counts, row, assay))
        return Hurdle(found.exact, found.std * self.fitted.factor[task], found.below, found.above, found.point)

    def _hurdle(
        self, counts: Counts, pairs: tuple[NDArray[np.int64], NDArray[np.int64]], found: NDArray[np.float64]
    ) -> Hurdle:
        shape = self.fitted.shape
        latent = self._variances(counts, *pairs)
        return in_units(found, latent + shape.noise, pairs[1], self.fitted.scales, shape.treatment)

    def _means(self, counts: Counts, row: NDArray[np.int64], assay: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (p, 4 + l) standardised answers."""
        fitted = self.fitted
        out = np.empty((len(row), fitted.fit.weights.shape[1]))
        cells = _by_group(fitted, assay)
        known = (fitted.counts, fitted.columns.width)

        def work(group: int) -> NDArray[np.float64]:
            question = Question(row[cells[group]], assay[cells[group]])
            lesson, fit = fitted.lesson_of(group), fitted.fit_of(group)
            return predict_group(known, lesson, fit, counts, question, fitted.shape)

        for group, found in self._each(work, cells):
            out[cells[group]] = found
        return out

    def _variances(self, counts: Counts, row: NDArray[np.int64], assay: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (p,) latent variances of standardised values."""
        fitted = self.fitted
        out = np.empty(len(row))
        cells = _by_group(fitted, assay)
        known = (fitted.counts, fitted.columns.width)

        def work(group: int) -> tuple[NDArray[np.float64], System]:
            question = Question(row[cells[group]], assay[cells[group]])
            lesson, system = fitted.lesson_of(group), self._systems.get(group)
            if system is None:
                system = _compact(value_system(*known, lesson, fitted.shape))
            return explain_group(known, lesson, system, counts, question, fitted.shape), system

        for group, (found, system) in self._each(work, cells):
            out[cells[group]] = found
            size = system.factor.inverse.nbytes if isinstance(system, Exact) else system.columns.nbytes
            if group not in self._systems and self._bytes + size <= SYSTEM_BYTES:
                self._systems[group], self._bytes = system, self._bytes + size
        return out

    def _each(self, work, groups: Iterable[int]):  # type: ignore[no-untyped-def]
        return over_groups(work, np.diff(self.fitted.start), self.threads, groups)


def _by_group(fitted: Pooled, assay: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Return the places of each group among (p,) pairs."""
    group = fitted.assays.group[assay]
    order = np.argsort(group, kind="stable")
    distinct, first = np.unique(group[order], return_index=True)
    return dict(zip(distinct.tolist(), np.split(order, first[1:]), strict=True))


def _pairs(
    row: NDArray[np.int64], assay: NDArray[np.int64], assays: int
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]:
    """Return the distinct (row, assay) pairs and which of them each cell is."""
    key, which = np.unique(row * assays + assay, return_inverse=True)
    return (key // assays, key % assays), which


def _compact(system: System) -> System:
    """Keep factors in single precision, which the noise makes safe: half the memory."""
    if not isinstance(system, Exact):
        return system
    factor = system.factor
    return Exact(Factor(factor.inverse.astype(np.float32), factor.alpha, factor.precision), system.noise)
