"""What one model gains over another, task by task: differences, what they are worth, and how sure they are."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from screenwise.errors import DataError
from screenwise.evaluate.bootstrap import interval, resample, signed_rank
from screenwise.evaluate.grouped import Scores, divide
from screenwise.evaluate.metrics import HALF, Metric
from screenwise.evaluate.scoring import ALL_METRICS, Measure, PredictedCells
from screenwise.evaluate.significance import benjamini_yekutieli, delong_test, squared_error_test
from screenwise.evaluate.sparsechem_scores import Quorum
from screenwise.rng import stream
from screenwise.screen import EXACT

GAIN_METRICS = {
    "classification": ("roc_auc", "auc_pr", "auc_pr_calibrated", "bedroc", "brier"),
    "regression": ("rmse", "rmse_censored", "r_squared", "spearman"),
}
"""Scores whose differences are taken, by kind of task."""
LEVEL = 0.05
"""False discovery rate at which a task is called better or worse."""
WEIGHTS = 4_000_000
"""Largest number of weights, cells x replicates, held at once."""
LEAST_REPLICATES = 0.9
"""Share of replicates in which a task's scores must be defined for a standard error."""


@dataclass(frozen=True)
class PairedCells:
    """The same m measured cells beside what two models said of them."""

    row: NDArray[np.int64]
    """(m,) condition of each cell: what is resampled."""
    task: NDArray[np.int64]
    value: NDArray[np.float64]
    relation: NDArray[np.int8]
    first: NDArray[np.float64]
    second: NDArray[np.float64]

    def both(self) -> "PairedCells":
        """Return the cells that both models predict."""
        keep = np.isfinite(self.first) & np.isfinite(self.second)
        return PairedCells(**{name: array[keep] for name, array in vars(self).items()})

    def of(self, mean: NDArray[np.float64]) -> PredictedCells:
        """Return the cells with one of the predictions."""
        nothing = np.full(len(self.row), np.nan)
        return PredictedCells(self.row, self.task, self.value, self.relation, mean, nothing)


@dataclass(frozen=True)
class GainPlan:
    """How gains are summed up."""

    replicates: int = 1000
    """Bootstrap replicates over conditions."""
    seed: int = 0
    quorum: Quorum = field(default_factory=Quorum)
    """Tasks below it have no q value: their tests promise too much."""


def relative_improvement(first: ArrayLike, second: ArrayLike, *, higher_is_better: bool) -> NDArray[np.float64]:
    """Return (second - first) / |first|, signed so that above 0 the second is better; NaN where first is 0.

    Examples
    --------
    >>> relative_improvement([0.5, 2.0], [0.6, 1.0], higher_is_better=True).round(3).tolist()
    [0.2, -0.5]
    >>> relative_improvement([2.0], [1.0], higher_is_better=False).tolist()
    [0.5]
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    return np.asarray(divide(b - a, np.abs(a)) * (1 if higher_is_better else -1))


def improve_to_perfect(first: ArrayLike, second: ArrayLike, perfect: float) -> NDArray[np.float64]:
    """Return (second - first) / (perfect - first): 1 = all that was missing is gained, below 0 = worse.

    NaN where the first is perfect already, or nothing is perfect.

    Examples
    --------
    >>> improve_to_perfect([0.8, 1.0], [0.9, 1.0], 1.0).round(3).tolist()
    [0.5, nan]
    >>> improve_to_perfect([2.0], [1.0], 0.0).tolist()
    [0.5]
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    return np.asarray(divide(b - a, perfect - a)) if np.isfinite(perfect) else np.full(a.shape, np.nan)


def gain_tables(
    cells: PairedCells, tasks: pd.DataFrame, plan: GainPlan = GainPlan()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what the second model gains on each task, and over tasks.

    Parameters
    ----------
    cells
        Measured cells; those that one of the models does not predict are left out.
    tasks
        (t,) `name`, `kind` and, where there, `assay_type`, by which the summary is given as well.
    plan
        Replicates, seed, quorum.

    Returns
    -------
    deltas : DataFrame
        One row per task and score: task, kind, metric, a, b (scores of the first and the second model), delta
        (b - a), relative and improve_to_perfect (above 0 = the second is better), error (standard error of
        delta), p, q (Benjamini-Yekutieli over the tasks that reach the quorum), test, cells, and assay_type.
        Tests: DeLong's for `roc_auc`; Student's t of squared errors for `rmse`, `rmse_censored` and `brier`;
        for the others a normal test with the bootstrap's standard error.
    summary : DataFrame
        One row per score and group (`all`, or an assay type): group, metric, higher_is_better, a, b, delta
        (means over tasks), lower, upper (95 %, cluster bootstrap: conditions are drawn with all their cells),
        median (of delta), better (share of tasks on which the second is better, equal ones half), p_tasks
        (Wilcoxon's signed ranks over tasks), tasks, called_better, called_worse (tasks with q < 0.05).

    Examples
    --------
    >>> table = pd.DataFrame({"name": ["pIC50"], "kind": ["regression"]})
    >>> value, exact = np.arange(4.0), np.zeros(4, np.int8)
    >>> cells = PairedCells(np.arange(4), np.zeros(4, int), value, exact, value + 2, value + [1.0, 1, 1, -1])
    >>> deltas, summary = gain_tables(cells, table, GainPlan(replicates=20))
    >>> deltas.loc[0, ["a", "b", "delta", "improve_to_perfect"]].astype(float).tolist()
    [2.0, 1.0, -1.0, 0.5]
    """
    cells = cells.both()
    if not len(cells.row):
        message = "The two models predict no measured cell in common; there is nothing to compare."
        raise DataError(message)
    kinds = tasks["kind"].to_numpy(str)
    chosen = {name: one for name, one in _measures(kinds).items() if name != "rmse_censored" or _bounds(cells, kinds)}
    points = {name: _scores(cells, measure, kinds) for name, measure in chosen.items()}
    groups = groups_of(tasks)
    drawn = _Replicates.draw(cells, chosen, points, kinds, groups, plan)
    large = _large(cells, kinds, plan.quorum)
    tables = [_task_rows(cells, tasks, chosen[name], points[name], drawn.error[name], large) for name in chosen]
    deltas = pd.concat(tables, ignore_index=True)
    rows = [
        _group_row(deltas, group, chosen[name], drawn.means[group, name], member)
        for name in chosen
        for group, member in groups.items()
        if np.isfinite(points[name][1] - points[name][0])[member].any()
    ]
    return deltas, pd.DataFrame(rows)


def _measures(kinds: NDArray[Any]) -> dict[str, Measure]:
    names = [(name, kind) for kind, own in GAIN_METRICS.items() if kind in kinds for name in own]
    return {name: Measure(name, ALL_METRICS[name], kind) for name, kind in names}


def _bounds(cells: PairedCells, kinds: NDArray[Any]) -> bool:
    """Whether a regression task has bounds: without them `rmse_censored` is `rmse` once more."""
    return bool(((cells.relation != EXACT) & (kinds[cells.task] == "regression")).any())


def _scores(cells: PairedCells, measure: Measure, kinds: NDArray[Any], weight: Any = None) -> tuple[Scores, Scores]:
    one, other = (measure.score(cells.of(mean), kinds, weight) for mean in (cells.first, cells.second))
    return one, other


def groups_of(tasks: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Return group -> (t,) which tasks belong to it: all of them, and each assay type that a task says.

    Examples
    --------
    >>> groups_of(pd.DataFrame({"name": ["x", "y"], "assay_type": ["ADME", None]}))["ADME"].tolist()
    [True, False]
    """
    groups = {"all": np.ones(len(tasks), bool)}
    if "assay_type" in tasks:
        types = tasks["assay_type"].fillna("").astype(str)
        groups |= {name: (types == name).to_numpy() for name in sorted(set(types) - {"", "all"})}
    return groups


@dataclass(frozen=True)
class _Replicates:
    """What a bootstrap over conditions says."""

    error: dict[str, Scores]
    """Score -> (t,) standard error of each task's difference."""
    means: dict[tuple[str, str], NDArray[np.float64]]
    """(group, score) -> (b,) mean difference over the tasks of the group."""

    @classmethod
    def draw(
        cls,
        cells: PairedCells,
        chosen: dict[str, Measure],
        points: dict[str, tuple[Scores, Scores]],
        kinds: NDArray[Any],
        groups: dict[str, NDArray[np.bool_]],
        plan: GainPlan,
    ) -> "_Replicates":
        """Draw conditions with all their cells, score both models on them, and keep moments and means only."""
        sums = {name: np.zeros((3, len(kinds))) for name in chosen}
        means: dict[tuple[str, str], list[Any]] = {(group, name): [] for group in groups for name in chosen}
        for weight in _weights(cells, plan):
            for name, measure in chosen.items():
                one, other = _scores(cells, measure, kinds, weight)
                gap = other - one
                there = np.isfinite(gap) & np.isfinite(points[name][1] - points[name][0])[:, None]
                # around the estimate, so that the sums of squares keep their digits
                away = np.where(there, gap - np.nan_to_num(points[name][1] - points[name][0])[:, None], 0)
                sums[name] += there.sum(axis=1), away.sum(axis=1), (away**2).sum(axis=1)
                for group, member in groups.items():
                    inside = there & member[:, None]
                    means[group, name].append(divide(np.where(inside, gap, 0).sum(axis=0), inside.sum(axis=0)))
        error = {name: _error(one, plan.replicates) for name, one in sums.items()}
        return cls(error, {key: np.concatenate(parts) for key, parts in means.items()})


def _weights(cells: PairedCells, plan: GainPlan) -> Iterator[NDArray[np.float64]]:
    """Yield (m, b) how often each cell is drawn, chunk by chunk."""
    rows, place = np.unique(cells.row, return_inverse=True)
    chunk = int(np.clip(WEIGHTS // len(place), 1, 100))
    for times in resample(len(rows), plan.replicates, stream(plan.seed, "gain", "conditions"), chunk=chunk):
        yield times[place]


def _error(sums: NDArray[np.float64], replicates: int) -> Scores:
    """Return standard deviations from (3, t) number, sum and sum of squares."""
    number, total, square = sums
    variance = divide(square - divide(total**2, number), np.maximum(number - 1, 0))
    return np.where(number >= LEAST_REPLICATES * replicates, np.sqrt(np.maximum(variance, 0)), np.nan)


def _large(cells: PairedCells, kinds: NDArray[Any], quorum: Quorum) -> NDArray[np.bool_]:
    """Return (t,) which tasks have cells enough for a test."""
    exact, positive = cells.relation == EXACT, cells.value > HALF
    number = [np.bincount(cells.task[exact & one], minlength=len(kinds)) for one in (positive, ~positive)]
    few_classes = np.minimum(*number) < quorum.positives
    return np.where(kinds == "classification", ~few_classes, number[0] + number[1] >= quorum.exact)


def _task_rows(
    cells: PairedCells,
    tasks: pd.DataFrame,
    measure: Measure,
    scores: tuple[Scores, Scores],
    error: Scores,
    large: NDArray[np.bool_],
) -> pd.DataFrame:
    """Return the rows of one score: tasks where both models have it."""
    a, b = scores
    metric, kinds = measure.metric, tasks["kind"].to_numpy(str)
    found, test = _tested(cells, measure.name, kinds, b - a, error)
    there = np.isfinite(b - a)
    table = pd.DataFrame({"task": tasks["name"].astype(str), "kind": kinds, "metric": measure.name, "a": a, "b": b})
    table["delta"] = b - a
    table["relative"] = relative_improvement(a, b, higher_is_better=bool(metric.higher_is_better))
    table["improve_to_perfect"] = improve_to_perfect(a, b, _perfect(metric))
    table["error"], table["p"] = error, found
    table["q"] = benjamini_yekutieli(np.where(large & there, found, np.nan))
    table["test"] = np.where(np.isfinite(found), test, "")
    table["cells"] = np.bincount(cells.task, minlength=len(tasks))
    if "assay_type" in tasks:
        table["assay_type"] = tasks["assay_type"].fillna("").astype(str).to_numpy()
    return table[there]


def _perfect(metric: Metric) -> float:
    return metric.bounds[1] if metric.higher_is_better else metric.bounds[0]


def _tested(cells: PairedCells, name: str, kinds: NDArray[Any], delta: Scores, error: Scores) -> tuple[Scores, str]:
    """Return (t,) p-values of no difference, and the name of the test."""
    exact = cells.relation == EXACT
    arguments = (cells.task, len(kinds))
    if name == "roc_auc":
        own = np.where(exact, cells.value, np.nan)
        return delong_test(own, cells.first, cells.second, *arguments).p_value, "delong"
    if name in ("rmse", "rmse_censored", "brier"):
        value = cells.value if name != "brier" else (cells.value > HALF).astype(np.float64)
        if name != "rmse_censored":
            value = np.where(exact, value, np.nan)
        one, other = (_kept(cells, mean) for mean in (cells.first, cells.second))
        return squared_error_test(value, one, other, *arguments).p_value, "paired t"
    p = 2 * ndtr(-np.abs(divide(delta, error)))
    return np.where(delta == 0, 1.0, p), "bootstrap"


def _kept(cells: PairedCells, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return predictions with the bound itself in the place of one that keeps it: no error."""
    return np.where(cells.relation * (mean - cells.value) > 0, cells.value, mean)


def _group_row(
    deltas: pd.DataFrame, group: str, measure: Measure, replicates: NDArray[np.float64], member: NDArray[np.bool_]
) -> dict[str, Any]:
    own = deltas[(deltas["metric"] == measure.name) & ((group == "all") | (deltas.get("assay_type") == group))]
    delta = own["delta"].to_numpy(np.float64)
    sign = 1 if measure.metric.higher_is_better else -1
    low, high = interval(replicates, float(delta.mean()))
    called = own["q"].to_numpy(np.float64) < LEVEL
    return {
        "group": group,
        "metric": measure.name,
        "higher_is_better": bool(measure.metric.higher_is_better),
        "a": float(own["a"].mean()),
        "b": float(own["b"].mean()),
        "delta": float(delta.mean()),
        "lower": low,
        "upper": high,
        "median": float(np.median(delta)),
        "better": float(np.mean((sign * delta > 0) + (delta == 0) / 2)),
        "p_tasks": signed_rank(delta),
        "tasks": len(own),
        "called_better": int((called & (sign * delta > 0)).sum()),
        "called_worse": int((called & (sign * delta < 0)).sum()),
    }
