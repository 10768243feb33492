"""One sort per set of tasks, one sweep over it: every score of a classifier from the same ordered cells.

Cells are grouped by task and ordered by falling probability; a sweep down that order knows, at each
distinct probability, how many positives and negatives stand above it. Tied cells enter together. What
depends on the order within ties (bins of equal counts, early recognition) takes its mean over all orders,
so that no score depends on the order of a file. Weights count a cell so many times.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from screenwise.evaluate.grouped import Scores, divide

RANKING_FIELDS = (
    "roc_auc_score",
    "auc_pr",
    "avg_prec_score",
    "f1_max",
    "p_f1_max",
    "kappa_max",
    "p_kappa_max",
    "auc_pr_cal",
)
"""What `ranking_scores` returns, in order."""
PROBABILITY_FIELDS = ("bceloss", "ece", "ace", "std_ece", "std_ace", "brier", "tp", "fp", "tn", "fn")
"""What `probability_scores` returns, in order; the last four count labels called at 0.5."""

BEDROC_ALPHA = 20.0
"""With it the first 8 % of a ranking make 80 % of the score."""
LARGEST_RATE = 0.99
"""A task's positive rate is taken to be at most this by the calibrated precision."""


@dataclass(frozen=True)
class Ordered:
    """Cells of all tasks, by task, then by falling score."""

    score: NDArray[np.float64]
    """(m,)"""
    positive: NDArray[np.float64]
    """(m,) 1 or 0."""
    weight: NDArray[np.float64]
    """(m, b)"""
    first: NDArray[np.int64]
    """(t + 1,) where each task begins."""


def ordered(
    positive: NDArray[Any], score: NDArray[Any], task: NDArray[Any], tasks: int, weight: NDArray[Any] | None = None
) -> Ordered:
    """Return cells in the order of a sweep; there must be no NaN among the scores.

    Examples
    --------
    >>> cells = ordered(np.array([1, 0, 1]), np.array([0.2, 0.3, 0.9]), np.array([1, 0, 1]), 2)
    >>> cells.score.tolist(), cells.first.tolist()
    ([0.3, 0.9, 0.2], [0, 1, 3])
    """
    scores = np.ascontiguousarray(score, np.float64)
    order, first = order_by_task(scores, np.ascontiguousarray(task, np.int64), tasks)
    times = np.ones(len(scores)) if weight is None else np.asarray(weight, np.float64)
    times = np.ascontiguousarray((times[:, None] if times.ndim == 1 else times)[order])
    return Ordered(scores[order], np.asarray(positive, np.float64)[order], times, first)


def ranking_scores(cells: Ordered, prior: float) -> Scores:
    """Return (t, b, 8) scores that depend on the ranking only, `RANKING_FIELDS`; NaN for one class.

    Parameters
    ----------
    cells
        As `ordered` gives them.
    prior
        The share of positives that the calibrated precision supposes.
    """
    return _ranking(cells.score, cells.positive, cells.weight, cells.first, prior)


def probability_scores(cells: Ordered, bins: int) -> Scores:
    """Return (t, b, 10) scores of the probabilities themselves, `PROBABILITY_FIELDS`; NaN without cells."""
    bounds = np.linspace(0, 1, bins + 1)
    return _probabilities(cells.score, cells.positive, cells.weight, cells.first, bounds)


def early_recognition(cells: Ordered, alpha: float) -> Scores:
    """Return (t, b) BEDROC of Truchon & Bayly (2007), equation 36; NaN for one class.

    Positives within a tie count with the mean of their weights over all orders of the tied cells.
    """
    return _early(cells.score, cells.positive, cells.weight, cells.first, alpha)


def kappa_of_counts(tp: Any, fp: Any, tn: Any, fn: Any) -> Any:
    """Return Cohen's kappa of called against true labels, (t,) or (t, b); NaN where there is one class only.

    Examples
    --------
    >>> float(kappa_of_counts(3.0, 1.0, 3.0, 1.0))
    0.5
    """
    total = tp + fp + tn + fn
    expected = (tp + fn) * (tp + fp) + (fp + tn) * (tn + fn)
    kappa = divide((tp + tn) * total - expected, total**2 - expected)
    return np.where((tp + fn == 0) | (fp + tn == 0), np.nan, kappa)


@njit(cache=True)
def order_by_task(score: Any, task: Any, tasks: int) -> Any:
    """Return the order of cells by task, then by falling score, (m,), and where each task begins in it, (t + 1,)."""
    first = np.zeros(tasks + 1, np.int64)
    for i in range(len(task)):
        first[task[i] + 1] += 1
    first = np.cumsum(first)
    place = first[:-1].copy()
    order = np.empty(len(task), np.int64)
    for i in range(len(task)):
        order[place[task[i]]] = i
        place[task[i]] += 1
    for t in range(tasks):
        own = order[first[t] : first[t + 1]]
        if len(own) > 1:
            order[first[t] : first[t + 1]] = own[np.argsort(-score[own])]
    return order, first


@njit(cache=True)
def _totals(positive: Any, weight: Any, low: int, high: int, b: int) -> Any:
    hits, all_cells = 0.0, 0.0
    for i in range(low, high):
        all_cells += weight[i, b]
        hits += positive[i] * weight[i, b]
    return hits, all_cells - hits


@njit(cache=True)
def _kappa(tp: float, fp: float, number: float, negatives: float) -> float:
    """Cohen's kappa, with the additions in SparseChem's order so that equal maxima stay equal."""
    total = number + negatives
    tn, fn = negatives - fp, number - tp
    expected = number / total * (tp + fp) / total + negatives / total * (tn + fn) / total
    return ((tp + tn) / total - expected) / (1 - expected)


@njit(cache=True, error_model="numpy")
def _ranking(score: Any, positive: Any, weight: Any, first: Any, prior: float) -> Any:
    tasks, columns = len(first) - 1, weight.shape[1]
    out = np.full((tasks, columns, 8), np.nan)
    for t in range(tasks):
        for b in range(columns):
            number, negatives = _totals(positive, weight, first[t], first[t + 1], b)
            if number > 0 and negatives > 0:
                _sweep(score, positive, weight[:, b], (first[t], first[t + 1]), (number, negatives, prior), out[t, b])
    return out


@njit(cache=True, error_model="numpy")
def _sweep(score: Any, positive: Any, weight: Any, span: Any, known: Any, out: Any) -> None:
    number, negatives, prior = known
    rate = min(number / (number + negatives), LARGEST_RATE)
    odds = rate * (1 - prior) / (prior * (1 - rate))
    tp, fp, recall, precision, calibrated = 0.0, 0.0, 0.0, 1.0, 1.0
    roc, area, area_cal, average = 0.0, 0.0, 0.0, 0.0
    best_f1, at_f1 = 0.0, np.nan
    best_kappa, at_kappa = _kappa(0.0, 0.0, number, negatives), 1.0
    i = span[0]
    while i < span[1]:
        here, hits, misses = score[i], 0.0, 0.0
        while i < span[1] and score[i] == here:
            hits += positive[i] * weight[i]
            misses += (1 - positive[i]) * weight[i]
            i += 1
        if hits + misses == 0:
            continue
        roc += misses * (tp + hits / 2)
        tp += hits
        fp += misses
        new_recall, new_precision = tp / number, tp / (tp + fp)
        new_calibrated = 1 / ((1 / new_precision - 1) * odds + 1) if tp > 0 else 0.0
        area += (new_recall - recall) * (new_precision + precision) / 2
        area_cal += (new_recall - recall) * (new_calibrated + calibrated) / 2
        average += (new_recall - recall) * new_precision
        recall, precision, calibrated = new_recall, new_precision, new_calibrated
        if tp > 0:
            f1 = 2 * (precision * recall) / (precision + recall)
            if f1 >= best_f1:  # of equal ones the lowest threshold
                best_f1, at_f1 = f1, here
        kappa = _kappa(tp, fp, number, negatives)
        if kappa > best_kappa:  # of equal ones the highest
            best_kappa, at_kappa = kappa, here
    out[0], out[1], out[2] = roc / (number * negatives), area, average
    out[3], out[4], out[5], out[6], out[7] = best_f1, at_f1, best_kappa, at_kappa, area_cal


@njit(cache=True)
def _probabilities(score: Any, positive: Any, weight: Any, first: Any, bounds: Any) -> Any:
    tasks, columns = len(first) - 1, weight.shape[1]
    out = np.full((tasks, columns, 10), np.nan)
    for t in range(tasks):
        for b in range(columns):
            number, negatives = _totals(positive, weight, first[t], first[t + 1], b)
            if number + negatives > 0:
                own = slice(first[t], first[t + 1])
                _one_by_one(score[own], positive[own], weight[own, b], bounds, out[t, b])
                _equal_bins(score[own], positive[own], weight[own, b], number + negatives, (len(bounds) - 1, out[t, b]))
    return out


@njit(cache=True)
def _one_by_one(score: Any, positive: Any, weight: Any, bounds: Any, out: Any) -> None:
    """Fill in everything but the bins of equal counts: sums over cells, and bins of equal width."""
    bins = len(bounds) - 1
    edge = np.finfo(np.float64).eps
    hits, number, chance = np.zeros(bins), np.zeros(bins), np.zeros(bins)
    loss, square, tp, fp, tn, fn = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(len(score)):
        p, y, w = score[i], positive[i], weight[i]
        right = min(max(p if y > 0 else 1 - p, edge), 1 - edge)
        loss -= w * np.log(right)
        square += w * (p - y) ** 2
        if p >= 0.5:  # noqa: PLR2004 - a label is called at even odds
            tp += w * y
            fp += w * (1 - y)
        else:
            fn += w * y
            tn += w * (1 - y)
        place = min(max(int(np.ceil(p * bins)) - 1, 0), bins - 1)
        # The bounds are floating-point numbers: a probability equal to one belongs below it.
        while place > 0 and p <= bounds[place]:
            place -= 1
        while place < bins - 1 and p > bounds[place + 1]:
            place += 1
        hits[place] += w * y
        number[place] += w
        chance[place] += w * p
    total, gap, spread = number.sum(), 0.0, 0.0
    for k in range(bins):
        if number[k] > 0:
            gap += abs(hits[k] - chance[k])
            spread += hits[k] * (number[k] - hits[k]) / (number[k] * (number[k] + 1))
    out[0], out[1], out[3], out[5] = loss / total, gap / total, np.sqrt(spread), square / total
    out[6], out[7], out[8], out[9] = tp, fp, tn, fn


@njit(cache=True)
def _equal_bins(score: Any, positive: Any, weight: Any, total: float, into: Any) -> None:
    """Fill in the error over bins of equal counts; by rising probability the first bins are larger by one."""
    bins, out = into
    base = np.floor(total / bins)
    larger = total - base * bins
    k, room = 0, base + min(1.0, larger)
    inside, hits, chance, gap, spread = 0.0, 0.0, 0.0, 0.0, 0.0
    i = len(score) - 1
    while i >= 0:
        here, tied, tied_hits = score[i], 0.0, 0.0
        while i >= 0 and score[i] == here:
            tied += weight[i]
            tied_hits += positive[i] * weight[i]
            i -= 1
        rate = tied_hits / tied if tied > 0 else 0.0
        while tied > 0:
            part = min(tied, room - inside) if k < bins - 1 else tied
            inside, hits, chance = inside + part, hits + part * rate, chance + part * here
            tied -= part
            if k < bins - 1 and inside >= room:
                gap += abs(hits - chance)
                spread += hits * (inside - hits) / (inside * (inside + 1))
                k += 1
                room = base + min(1.0, max(larger - k, 0.0))
                if room == 0:
                    k = bins - 1
                inside, hits, chance = 0.0, 0.0, 0.0
    if inside > 0:
        gap += abs(hits - chance)
        spread += hits * (inside - hits) / (inside * (inside + 1))
    out[2], out[4] = gap / total, np.sqrt(max(spread, 0.0))


@njit(cache=True)
def _early(score: Any, positive: Any, weight: Any, first: Any, alpha: float) -> Any:
    tasks, columns = len(first) - 1, weight.shape[1]
    out = np.full((tasks, columns), np.nan)
    for t in range(tasks):
        for b in range(columns):
            number, negatives = _totals(positive, weight, first[t], first[t + 1], b)
            if number > 0 and negatives > 0:
                own = slice(first[t], first[t + 1])
                early = _weighted_hits(score[own], positive[own], weight[own, b], alpha / (number + negatives))
                share = number / (number + negatives)
                worst = (1 - np.exp(alpha * share)) / (share * (1 - np.exp(alpha)))
                best = (1 - np.exp(-alpha * share)) / (share * (1 - np.exp(-alpha)))
                mean = (1 - np.exp(-alpha)) / np.expm1(alpha / (number + negatives)) / (number + negatives)
                out[t, b] = (early / number / mean - worst) / (best - worst)
    return out


@njit(cache=True)
def _weighted_hits(score: Any, positive: Any, weight: Any, step: float) -> float:
    """Sum exp(-step x rank) over positives; those of a tie take the mean over the ranks of the tie."""
    above, total, i = 0.0, 0.0, 0
    while i < len(score):
        here, hits, tied = score[i], 0.0, 0.0
        while i < len(score) and score[i] == here:
            hits += positive[i] * weight[i]
            tied += weight[i]
            i += 1
        if hits > 0:
            geometric = np.exp(-step * (above + 1)) * np.expm1(-step * tied) / np.expm1(-step)
            total += hits / tied * geometric
        above += tied
    return total
