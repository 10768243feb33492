"""Scores of classifiers by ranking and by calls at 0.5, in the form of `screenwise.evaluate.metrics`.

Each takes ``(value, prediction, task, tasks, *, weight)`` and returns (t,), or (t, b) for (m, b) weights;
values above 0.5 are positive, and a task with one class only has no score. SparseChem's names for the same
numbers are in `screenwise.evaluate.sparsechem_scores`, which returns them all at once.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from screenwise.evaluate.grouped import Scores, divide, group
from screenwise.evaluate.metrics import HALF, Metric, ranked_score
from screenwise.evaluate.sweep import (
    BEDROC_ALPHA,
    PROBABILITY_FIELDS,
    Ordered,
    early_recognition,
    kappa_of_counts,
    ordered,
    probability_scores,
)

PRIOR = 0.1
"""Share of positives that `auc_pr_calibrated` supposes, as SparseChem's pi_zero."""
BINS = 10


def auc_pr(value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None) -> Scores:
    """Return areas under the curve of precision over recall by trapezoids, (t,).

    Examples
    --------
    >>> auc_pr([1.0, 0.0, 1.0], [0.9, 0.8, 0.7], [0, 0, 0], 1).round(4).tolist()
    [0.7917]
    """
    return ranked_score(group(value, prediction, task, tasks, weight), "auc_pr", PRIOR)


def auc_pr_calibrated(
    value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None
) -> Scores:
    """Return `auc_pr` as it would be if a tenth of each task's cells were positive, (t,).

    So tasks of different rates of positives can be averaged (Siblini et al. 2020).

    Examples
    --------
    >>> auc_pr_calibrated([1.0, 0.0, 1.0], [0.9, 0.8, 0.7], [0, 0, 0], 1).round(4).tolist()
    [0.5382]
    """
    return ranked_score(group(value, prediction, task, tasks, weight), "auc_pr_cal", PRIOR)


def f1_best(value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None) -> Scores:
    """Return the F1 score at each task's best threshold, (t,).

    Examples
    --------
    >>> f1_best([1.0, 0.0, 1.0], [0.9, 0.8, 0.7], [0, 0, 0], 1).tolist()
    [0.8]
    """
    return ranked_score(group(value, prediction, task, tasks, weight), "f1_max", PRIOR)


def kappa_best(value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None) -> Scores:
    """Return Cohen's kappa at each task's best threshold, (t,).

    Examples
    --------
    >>> kappa_best([1.0, 0.0, 1.0], [0.9, 0.8, 0.7], [0, 0, 0], 1).round(4).tolist()
    [0.4]
    """
    return ranked_score(group(value, prediction, task, tasks, weight), "kappa_max", PRIOR)


def kappa(value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None) -> Scores:
    """Return Cohen's kappa of labels called at 0.5, (t,): 0 = no better than chance.

    Examples
    --------
    >>> kappa([1.0, 0.0, 0.0, 1.0], [0.9, 0.8, 0.1, 0.5], [0, 0, 0, 0], 1).tolist()
    [0.5]
    """
    return kappa_of_counts(*_called(value, prediction, task, tasks, weight))


def matthews(value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None) -> Scores:
    """Return Matthews correlations of labels called at 0.5, (t,); 0 where all are called alike.

    Examples
    --------
    >>> matthews([1.0, 0.0, 0.0, 1.0], [0.9, 0.8, 0.1, 0.5], [0, 0, 0, 0], 1).round(4).tolist()
    [0.5774]
    """
    tp, fp, tn, fn = _called(value, prediction, task, tasks, weight)
    size = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
    score = np.nan_to_num(divide(tp * tn - fp * fn, size))
    return np.where((tp + fn) * (tn + fp) > 0, score, np.nan)


def sensitivity(value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None) -> Scores:
    """Return shares of positives that are called positive at 0.5, (t,).

    Examples
    --------
    >>> sensitivity([1.0, 1.0, 0.0], [0.9, 0.1, 0.2], [0, 0, 0], 1).tolist()
    [0.5]
    """
    tp, _, _, fn = _called(value, prediction, task, tasks, weight)
    return divide(tp, tp + fn)


def specificity(value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None) -> Scores:
    """Return shares of negatives that are called negative at 0.5, (t,).

    Examples
    --------
    >>> specificity([1.0, 1.0, 0.0], [0.9, 0.1, 0.2], [0, 0, 0], 1).tolist()
    [1.0]
    """
    _, fp, tn, _ = _called(value, prediction, task, tasks, weight)
    return divide(tn, tn + fp)


def adaptive_calibration_error(
    value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None
) -> Scores:
    """Return mean distances of observed rates from predicted probabilities in ten bins of equal counts, (t,).

    Examples
    --------
    >>> adaptive_calibration_error([1.0, 0.0], [0.75, 0.25], [0, 0], 1).tolist()
    [0.25]
    """
    cells = _cells(value, prediction, task, tasks, weight)
    return _shaped(probability_scores(cells, BINS)[..., PROBABILITY_FIELDS.index("ace")], weight)


def bedroc(value: ArrayLike, prediction: ArrayLike, task: ArrayLike, tasks: int, *, weight: Any = None) -> Scores:
    """Return how early positives are recognised, (t,): BEDROC with alpha 20, 1 = all before any negative.

    The first 8 % of the ranking make 80 % of the score (Truchon & Bayly 2007).

    Examples
    --------
    >>> bedroc([1.0, 0.0, 0.0, 0.0], [0.9, 0.8, 0.7, 0.1], [0, 0, 0, 0], 1).round(6).tolist()
    [1.0]
    """
    cells = _cells(value, prediction, task, tasks, weight)
    return _shaped(early_recognition(cells, BEDROC_ALPHA), weight)


def _cells(value: Any, prediction: Any, task: Any, tasks: int, weight: Any) -> Ordered:
    cells = group(value, prediction, task, tasks, weight)
    return ordered(cells.value > HALF, cells.prediction, cells.task, tasks, cells.weight)


def _shaped(scores: NDArray[np.float64], weight: Any) -> Scores:
    return scores if np.ndim(weight) > 1 else scores[:, 0]


def _called(value: Any, prediction: Any, task: Any, tasks: int, weight: Any) -> list[Scores]:
    """Return tp, fp, tn, fn at 0.5, (t,) or (t, b) each."""
    cells = group(value, prediction, task, tasks, weight)
    positive, called = cells.value > HALF, cells.prediction >= HALF
    return [
        cells.total(one) for one in (called & positive, called & ~positive, ~called & ~positive, ~called & positive)
    ]


def _share(function: Any, *, low: float = 0.0, higher_is_better: bool = True) -> Metric:
    return Metric(function, "classification", higher_is_better=higher_is_better, bounds=(low, 1.0))


CLASSIFICATION_METRICS: dict[str, Metric] = {
    "auc_pr": _share(auc_pr),
    "auc_pr_calibrated": _share(auc_pr_calibrated),
    "bedroc": _share(bedroc),
    "f1_best": _share(f1_best),
    "kappa": _share(kappa, low=-1.0),
    "kappa_best": _share(kappa_best),
    "matthews": _share(matthews, low=-1.0),
    "sensitivity": _share(sensitivity),
    "specificity": _share(specificity),
    "ace": _share(adaptive_calibration_error, higher_is_better=False),
}
"""Name -> score, beside those of `screenwise.evaluate.metrics`."""
