"""Learning a pooled process: from a screen to the weights of all groups, their scales and their held-out cells."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from screenwise.errors import ColumnError
from screenwise.evaluate.calibration import FACTOR_ROWS, limited_factor
from screenwise.models.gp_held_out import scaffold_codes, series_apart
from screenwise.models.pooled_counts import Columns, Counts, learn_columns
from screenwise.models.pooled_group import LABELS, GroupFit, GroupOutcome, LeftOut, Lesson, Shape, fit_group
from screenwise.models.pooled_probability import Curves, learn_curves
from screenwise.models.pooled_targets import Scales, in_units, learn_scales, make_targets
from screenwise.models.pooled_tasks import Assays, PooledCells, find_assays, learn_signs, pool_cells
from screenwise.screen import Screen

SMILES = "smiles"
LARGE = 6000
"""Groups of more rows than this are factorised one after another, with all threads of the library."""


@dataclass(frozen=True)
class Held:
    """The training cells, predicted by a model that had not learned from them, in the order of the screen's, (m,) each.

    Without its compound, a cell tells how the model predicts compounds much like those that it knows; without
    all compounds of its scaffold, how it predicts new chemistry.
    """

    row: NDArray[np.int64]
    task: NDArray[np.int64]
    value: NDArray[np.float32]
    relation: NDArray[np.int8]
    mean: NDArray[np.float32]
    """Without the compound."""
    std: NDArray[np.float32]
    far_mean: NDArray[np.float32]
    """Without the scaffold."""
    far_std: NDArray[np.float32]


@dataclass(frozen=True)
class Pooled:
    """Everything that a fitted `screenwise.models.pooled.PooledProcess` knows."""

    size: int
    """Conditions of the screen it was fitted on."""
    shape: Shape
    columns: Columns
    counts: Counts
    """Of the training compounds."""
    assays: Assays
    signs: NDArray[np.int8]
    """(t,) -1 where a label runs against its values."""
    valued: NDArray[np.bool_]
    """(t,) labels whose assay has values."""
    scales: Scales
    curves: Curves
    factor: NDArray[np.float64]
    """(t,) factor of the standard deviations of values that are given out."""
    start: NDArray[np.int64]
    """(g + 1,) first cell of each group."""
    lesson: Lesson
    """Of all groups one after another; without targets."""
    fit: GroupFit
    """Of all groups."""
    unexplained: NDArray[np.float64]
    """(g,) share of prior variance that landmarks leave; 0 = exact."""
    held: Held

    def lesson_of(self, group: int) -> Lesson:
        """Return what one group was taught."""
        part = slice(self.start[group], self.start[group + 1])
        return Lesson(*(getattr(self.lesson, name)[part] for name in Lesson.__dataclass_fields__))

    def fit_of(self, group: int) -> GroupFit:
        """Return what one group learned."""
        part, fit = slice(self.start[group], self.start[group + 1]), self.fit
        return GroupFit(fit.weights[part], fit.support[part])


def learn_pooled(
    screen: Screen, shape: Shape, label_share: float, threads: int, tell: Callable[[int, int], None]
) -> Pooled:
    """Learn all groups.

    Parameters
    ----------
    screen
        Measured conditions with a column ``smiles``.
    shape
        Settings of the process.
    label_share
        Share of a label in its own target.
    threads
        Groups at the same time.
    tell
        Called with the number of groups that are done, and of all.
    """
    assays = find_assays(screen.tasks)
    compound, counts, columns = _compounds(screen)
    cells = pool_cells(screen, assays, compound >= 0)
    signs, scales = learn_signs(cells, assays), learn_scales(cells, assays)
    target = make_targets(cells, assays, signs, scales, (shape.treatment, label_share))
    known = np.isfinite(cells.value)
    lesson = Lesson(compound[cells.row], cells.assay, target, known, cells.relation, cells.noise)
    group = assays.group[cells.assay]
    scaffold = scaffold_codes(screen.conditions[SMILES].iloc[cells.row])
    scaffold = series_apart(scaffold, lesson.compound, group)
    start = np.searchsorted(group, np.arange(int(assays.group.max()) + 2))
    weights, support, unexplained = np.zeros_like(target), np.zeros(len(cells), bool), np.zeros(len(start) - 1)
    near, far = (LeftOut(np.zeros_like(target), np.zeros(len(cells))) for _ in range(2))

    def work(one: int) -> GroupOutcome:
        part = slice(start[one], start[one + 1])
        own = Lesson(*(getattr(lesson, name)[part] for name in Lesson.__dataclass_fields__))
        return fit_group(counts, columns.width, own, scaffold[part], shape)

    for done, (one, found) in enumerate(over_groups(work, np.diff(start), threads), 1):
        part = slice(start[one], start[one + 1])
        weights[part], support[part], unexplained[one] = found.fit.weights, found.fit.support, found.unexplained
        for every, own in ((near, found.near), (far, found.far)):
            every.mean[part], every.variance[part] = own.mean, own.variance
        tell(done, int((np.diff(start) > 0).sum()))
    curves, factor, held = _held_out(screen, cells, assays, (signs, scales, shape), (near, far))
    bare = Lesson(lesson.compound, lesson.assay, target[:, :0], known, cells.relation, cells.noise)
    there = np.isin(np.arange(len(assays)), cells.assay[known])
    valued = (assays.slot >= 0) & there[assays.assay]
    return Pooled(
        len(screen), shape, columns, counts, assays, signs, valued, scales, curves, factor, start, bare,
        GroupFit(weights, support), unexplained, held,
    )  # fmt: skip


def over_groups(
    work: Callable[[int], Any], sizes: NDArray[np.int64], threads: int, groups: Iterable[int] | None = None
) -> Iterator[tuple[int, Any]]:
    """Yield (group, ``work(group)``), the small groups several at a time, as they are done.

    Parameters
    ----------
    work
        Spends its time where the interpreter is released.
    sizes
        (g,) rows; groups without any are left out.
    threads
        Groups at a time.
    groups
        Those to do; None = all.
    """
    chosen = np.arange(len(sizes)) if groups is None else np.unique(np.fromiter(groups, np.int64))
    chosen = chosen[sizes[chosen] > 0]
    order = chosen[np.argsort(-sizes[chosen], kind="stable")].tolist()
    for one in (one for one in order if sizes[one] > LARGE):
        yield one, work(one)
    small = [one for one in order if sizes[one] <= LARGE]
    with threadpool_limits(1, user_api="blas"):
        if threads == 1:
            yield from ((one, work(one)) for one in small)
            return
        with ThreadPoolExecutor(threads, "screenwise-pooled") as pool:
            waiting = {pool.submit(work, one): one for one in small}
            for future in as_completed(waiting):
                yield waiting[future], future.result()


def check_smiles(conditions: pd.DataFrame) -> None:
    """Refuse conditions without structures."""
    if SMILES not in conditions.columns:
        message = (
            f"The pooled process compares compounds and needs the column {SMILES!r}; "
            f"found {list(map(str, conditions.columns))}. Name it with --smiles, or use --model gp."
        )
        raise ColumnError(message)


def _compounds(screen: Screen) -> tuple[NDArray[np.int64], Counts, Columns]:
    """Return (n,) place of each measured condition's compound, -1 where it cannot be read, and what is counted."""
    check_smiles(screen.conditions)
    measured = np.unique(screen.targets.cells().row)
    code, smiles = pd.factorize(screen.conditions[SMILES].iloc[measured])
    counts, columns = learn_columns(pd.DataFrame({SMILES: np.asarray(smiles, object)}))
    compound = np.full(len(screen), -1)
    compound[measured] = np.where((code >= 0) & np.append(counts.readable, values=False)[code], code, -1)
    return compound, counts, columns


def _held_out(
    screen: Screen,
    cells: PooledCells,
    assays: Assays,
    learned: tuple[NDArray[np.int8], Scales, Shape],
    left: tuple[LeftOut, LeftOut],
) -> tuple[Curves, NDArray[np.float64], Held]:
    """Learn the curves of probabilities and the factors of deviations, and predict the training cells with them."""
    signs, scales, shape = learned
    every = screen.targets.cells()
    row, task = every.row[cells.used], every.task[cells.used]
    value, relation = every.value[cells.used], every.relation[cells.used]
    slot, tasks = assays.slot[task], len(assays.assay)
    label = slot >= 0
    own = cells.of_cell[~label]

    def scores(held: LeftOut) -> NDArray[np.float64]:
        return np.asarray((signs[task] * held.mean[cells.of_cell, np.maximum(LABELS + slot, 0)])[label])

    def raw(held: LeftOut) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        mean, std = np.empty(len(row)), np.ones(len(row))
        mean[label] = curves.probability(scores(held), task[label])
        found = in_units(held.mean[own], held.variance[own] + shape.noise, cells.assay[own], scales, shape.treatment)
        mean[~label], std[~label] = found.point, found.std
        return mean, std

    curves = learn_curves(scores(left[0]), value[label].astype(np.float64), task[label], tasks)
    both = [raw(held) for held in left]
    factor = _factors((value - both[0][0]) / both[0][1], task, ~label & (relation == 0), tasks)
    told = [
        part.astype(np.float32)
        for mean, std in both
        for part in (mean, np.where(label, coin(mean), std * factor[task]))
    ]
    return curves, factor, Held(row, task, value, relation, *told)


def coin(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviation of a label with this probability."""
    return np.sqrt(np.maximum(probability * (1.0 - probability), 1e-4))


def _factors(
    scores: NDArray[np.float64], task: NDArray[np.int64], chosen: NDArray[np.bool_], tasks: int
) -> NDArray[np.float64]:
    """Return (t,) factors; a task of few exact cells takes that of all together."""
    scores, task = scores[chosen], task[chosen]
    factor = np.full(tasks, limited_factor(scores))
    order = np.argsort(task, kind="stable")
    ends = np.cumsum(np.bincount(task, minlength=tasks))
    for one in np.flatnonzero(np.bincount(task, minlength=tasks) >= FACTOR_ROWS):
        factor[one] = limited_factor(scores[order[(ends[one - 1] if one else 0) : ends[one]]])
    return factor
