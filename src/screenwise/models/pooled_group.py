"""One group of assays: one factorisation, many targets: labels with values, values, bounds, what is beyond them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import log_ndtr

from screenwise.models.pooled_counts import Counts, similarity
from screenwise.models.pooled_system import IGNORED, System, exact_system, landmark_system, spread_kernel
from screenwise.rng import stream

VALUE, BEYOND, BELOW, ABOVE, LABELS = range(5)
"""Columns of targets, weights and predictions: the value (of a hurdle: if it is exact), the value if it may be beyond
its bound, whether it is below one, above one; then the labels."""
TREATMENTS = ("hurdle", "tobit", "squared", "value", "drop")
"""How bounds are learned from."""
ROUNDS = 12
"""Times that the values behind bounds are estimated."""
_CHUNK_BYTES = 2**27


@dataclass(frozen=True)
class Shape:
    """Settings of the process that a group needs."""

    other_assay: float
    offset: float
    noise: float
    exact_rows: int
    landmarks: int
    treatment: str
    seed: int

    @property
    def own(self) -> float:
        """Prior variance of a cell."""
        return 1.0 + self.offset


@dataclass(frozen=True)
class Lesson:
    """What was measured of the n (compound, assay) cells of one group."""

    compound: NDArray[np.int64]
    """(n,) places among the training compounds."""
    assay: NDArray[np.int64]
    """(n,)"""
    target: NDArray[np.float64]
    """(n, 4 + l) by column; 0 where nothing was read."""
    known: NDArray[np.bool_]
    """(n,) whether a value was read."""
    relation: NDArray[np.int8]
    """(n,)"""
    noise: NDArray[np.float64]
    """(n,) relative noise."""


@dataclass(frozen=True)
class GroupFit:
    """What was learned of one group."""

    weights: NDArray[np.float64]
    """(n, 4 + l); 0 of cells that are no support."""
    support: NDArray[np.bool_]
    """(n,) cells that predictions are made from."""


@dataclass(frozen=True)
class LeftOut:
    """What was predicted of each cell of a group without learning from it."""

    mean: NDArray[np.float64]
    """(n, 4 + l)"""
    variance: NDArray[np.float64]
    """(n,) latent variances of the value."""


@dataclass(frozen=True)
class GroupOutcome:
    """One group's fit, and what it says of its own cells."""

    fit: GroupFit
    near: LeftOut
    """Each cell predicted without its compound."""
    far: LeftOut
    """Each cell predicted without all compounds of its scaffold."""
    unexplained: float
    """Share of the prior variance that landmarks leave; 0 = exact."""


def fit_group(counts: Counts, width: int, lesson: Lesson, scaffold: NDArray[np.int64], shape: Shape) -> GroupOutcome:
    """Learn the weights of all columns, and predict every cell without its compound, and without its scaffold.

    Parameters
    ----------
    counts, width
        Training compounds, and columns of their vocabulary.
    lesson
        What was measured.
    scaffold
        (n,) codes of the compounds' scaffolds.
    shape
        Settings.
    """
    maker = _Maker(counts, width, lesson, shape)
    noise = shape.noise * lesson.noise
    out = _Outcome(np.zeros_like(lesson.target), (lesson.compound, scaffold))
    bounded = lesson.relation != 0
    hurdle = shape.treatment == "hurdle"
    whole = maker.system(noise)
    valued = whole if lesson.known.all() else maker.system(np.where(lesson.known, noise, IGNORED))
    labels = np.arange(LABELS, lesson.target.shape[1])
    if len(labels):
        out.learn(whole, labels, lesson.target[:, labels])
    beyond = lesson.target[:, [BEYOND if hurdle else VALUE]]
    if shape.treatment in ("hurdle", "tobit", "squared") and bounded.any():
        beyond = _behind_bounds(valued, beyond, lesson.relation, shape)
    if hurdle:
        asked = np.concatenate([beyond, lesson.target[:, [BELOW, ABOVE]]], axis=1)
        out.learn(valued, np.array([BEYOND, BELOW, ABOVE]), asked)
    last = valued
    if shape.treatment in ("hurdle", "drop"):
        if (bounded & lesson.known).any():
            last = maker.system(np.where(lesson.known & ~bounded, noise, IGNORED))
        beyond = lesson.target[:, [VALUE]]
    variances = out.learn(last, np.array([VALUE]), beyond)
    support = np.zeros(len(noise), bool)
    support[maker.support] = True
    near, far = (LeftOut(mean, variance - last.noise) for mean, variance in zip(out.held, variances, strict=True))
    return GroupOutcome(GroupFit(out.weights, support), near, far, whole.unexplained)


def value_system(counts: Counts, width: int, lesson: Lesson, shape: Shape) -> System:
    """Return the system that the value was learned with, for the variance of predictions."""
    taught = lesson.known & ((lesson.relation == 0) | (shape.treatment not in ("hurdle", "drop")))
    noise = shape.noise * lesson.noise
    return _Maker(counts, width, lesson, shape).system(np.where(taught, noise, IGNORED))


class _Maker:
    """Makes systems of one group that differ in what teaches."""

    def __init__(self, counts: Counts, width: int, lesson: Lesson, shape: Shape) -> None:
        self.counts, self.width, self.lesson, self.shape = counts, width, lesson, shape
        n = len(lesson.compound)
        self.support = np.arange(n)
        if n > shape.exact_rows:
            some = stream(shape.seed, "pooled", "landmarks", n).permutation(n)[: shape.landmarks]
            self.support = np.sort(some)
        self.compounds, self.place = np.unique(lesson.compound[self.support], return_inverse=True)
        self.kernel = None if n > shape.exact_rows else similarity(counts, self.compounds, width)

    def system(self, noise: NDArray[np.float64]) -> System:
        """Return the system with these (n,) variances of noise."""
        lesson, shape = self.lesson, self.shape
        columns = (self.place, lesson.assay[self.support])
        if self.kernel is not None:
            covariance = np.empty((len(noise), len(noise)))
            spread_kernel(self.kernel, columns, columns, shape.other_assay, shape.offset, covariance)
            return exact_system(covariance, noise)

        def cross(part: slice) -> NDArray[np.float32]:
            distinct, place = np.unique(lesson.compound[part], return_inverse=True)
            kernel = similarity(self.counts, self.compounds, self.width, self.counts, distinct)
            out = np.empty((len(place), len(self.support)), np.float32)
            spread_kernel(kernel, (place, lesson.assay[part]), columns, shape.other_assay, shape.offset, out)
            return out

        return landmark_system(cross, shape.own, noise, self.support)


class _Outcome:
    """What a group learns, column by column.

    Parameters
    ----------
    weights
        (n, 4 + l) zeros.
    codes
        (n,) arrays; what has one code is left out together, and `held` has the predictions of each.
    """

    def __init__(self, weights: NDArray[np.float64], codes: tuple[NDArray[np.int64], ...]) -> None:
        self.weights, self.codes = weights, codes
        self.held = [np.zeros_like(weights) for _ in codes]

    def learn(self, system: System, columns: NDArray[np.int64], y: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Write weights and held-out means of some columns; return the (n,) held-out variances by codes."""
        dual = system.solve(y)
        self.weights[system.support[:, None], columns] = system.weights(dual, y)
        variances = []
        for held, code in zip(self.held, self.codes, strict=True):
            residual, variance = system.left_out(dual, code)
            held[:, columns] = y - residual
            variances.append(variance)
        return variances


def _behind_bounds(
    system: System, y: NDArray[np.float64], relation: NDArray[np.int8], shape: Shape
) -> NDArray[np.float64]:
    """Return (n, 1) targets in which each bound is replaced by what is expected behind it.

    Rounds of expectation: of a value known to be below its bound ("tobit", also in a hurdle; Tobin,
    Econometrica 26, 24, 1958), or the nearest value that agrees with the bound ("squared", the minimiser
    of SparseChem's censored squares).
    """
    found = y.copy()
    rows = np.flatnonzero(relation)
    side, bound, sd = relation[rows].astype(np.float64), y[rows, 0], np.sqrt(shape.noise)
    for _ in range(ROUNDS):
        mean = system.fitted(system.solve(found), found)[rows, 0]
        if shape.treatment == "squared":
            found[rows, 0] = np.where(side < 0, np.minimum(mean, bound), np.maximum(mean, bound))
        else:
            at = side * (mean - bound) / sd
            # density over distribution, in logarithms: both vanish far behind the bound
            hazard = np.exp(-0.5 * at**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(at))
            found[rows, 0] = mean + side * sd * hazard
    return found


@dataclass(frozen=True)
class Question:
    """Cells of one group to predict: compounds among those asked about, and assays."""

    compound: NDArray[np.int64]
    """(c,) places in `asked`."""
    assay: NDArray[np.int64]
    """(c,)"""


def predict_group(
    known: tuple[Counts, int], lesson: Lesson, fit: GroupFit, asked: Counts, question: Question, shape: Shape
) -> NDArray[np.float64]:
    """Return (c, 4 + l) posterior means of the cells asked about."""
    counts, width = known
    support = np.flatnonzero(fit.support)
    compounds, place = np.unique(lesson.compound[support], return_inverse=True)
    weights, assay = fit.weights[support], lesson.assay[support]
    outputs = weights.shape[1]
    wanted, which = np.unique(question.assay, return_inverse=True)
    # all cells of a compound speak through `shared`, those of the assay itself once more through `own`
    shared = np.zeros((len(compounds), outputs))
    np.add.at(shared, place, weights)
    inside = np.isin(assay, wanted)
    column = np.searchsorted(wanted, assay[inside])[:, None] * outputs + np.arange(outputs)
    rows = np.repeat(place[inside], outputs)
    size = (len(compounds), len(wanted) * outputs)
    own = csr_array((weights[inside].ravel(), (rows, column.ravel())), shape=size).astype(np.float32)
    level = np.asarray(shape.offset * own.sum(axis=0)).reshape(len(wanted), outputs)
    out = np.empty((len(question.compound), outputs))
    for some, cells, at in _chunks(question.compound, len(compounds) + len(wanted) * outputs):
        kernel = similarity(counts, compounds, width, asked, some)
        mean = shape.other_assay * (kernel @ shared.astype(np.float32))[at]
        each = np.asarray((own.T @ kernel.T).T).reshape(len(some), len(wanted), outputs)
        out[cells] = mean + (1.0 - shape.other_assay) * each[at, which[cells]] + level[which[cells]]
    return out


def explain_group(
    known: tuple[Counts, int], lesson: Lesson, system: System, asked: Counts, question: Question, shape: Shape
) -> NDArray[np.float64]:
    """Return (c,) latent variances of the values of the cells asked about."""
    counts, width = known
    compounds, place = np.unique(lesson.compound[system.support], return_inverse=True)
    columns = (place, lesson.assay[system.support])
    out = np.empty(len(question.compound))
    step = max(1, _CHUNK_BYTES // (12 * len(place)))
    for some, cells, at in _chunks(question.compound, len(compounds)):
        kernel = similarity(counts, compounds, width, asked, some)
        for first in range(0, len(cells), step):
            part = cells[first : first + step]
            cross = np.empty((len(part), len(place)), np.float32)
            own = (at[first : first + step], question.assay[part])
            spread_kernel(kernel, own, columns, shape.other_assay, shape.offset, cross)
            out[part] = shape.own - system.explained(cross)
    return np.maximum(out, 1e-6)


def _chunks(compound: NDArray[np.int64], columns: int) -> Iterator[tuple[Any, Any, Any]]:
    """Yield compounds a part at a time, the cells that ask about them, and the cells' places in the part."""
    distinct, place = np.unique(compound, return_inverse=True)
    order = np.argsort(place, kind="stable")
    ends = np.cumsum(np.bincount(place, minlength=len(distinct)))
    step = int(np.clip(_CHUNK_BYTES // (4 * columns), 1, 4096))
    for first in range(0, len(distinct), step):
        last = min(first + step, len(distinct))
        cells = order[(ends[first - 1] if first else 0) : ends[last - 1]]
        yield distinct[first:last], cells, place[cells] - first
