"""Scores of predicted profiles, one number per condition, under the names that the field uses.

All take levels: truth and prediction (n, p) of n conditions and p features, control (p,). They return (n,)
float64, NaN where the score is not defined. A feature that is not a number in the truth, the prediction or the
control of any condition must be left out before (`profile_scores` does so). Scores of cells are in
`screenwise.evaluate.cell_metrics`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from screenwise.errors import DataError
from screenwise.evaluate.grouped import divide
from screenwise.evaluate.profile_ranks import (
    Floats,
    changes,
    checked,
    cosine_logfc_rank,
    discrimination_score_l1,
    rmse_rank,
)

TOP_EXPRESSED = 1000
"""Features of `l2_top1000`."""
TOP_CHANGED = 20
"""Features of `mse_top20_de`."""
OVERLAP = 50
"""Features of `overlap_at_50`."""


def l2(truth: ArrayLike, prediction: ArrayLike) -> Floats:
    """Return |y - yhat|, (n,): the length of the error over all features.

    Examples
    --------
    >>> l2([[1.0, 2.0]], [[4.0, 6.0]]).tolist()
    [5.0]
    """
    return np.sqrt(np.square(_difference(truth, prediction)).sum(axis=1))


def l2_top1000(truth: ArrayLike, prediction: ArrayLike, control: ArrayLike, top: int = TOP_EXPRESSED) -> Floats:
    """Return |y - yhat| over the `top` features with the highest level in the control, (n,).

    Ahlmann-Eltze, Huber and Anders, Nature Methods 2025. With fewer features it is `l2`.

    Examples
    --------
    >>> l2_top1000([[1.0, 2.0]], [[4.0, 6.0]], [0.0, 9.0], top=1).tolist()
    [4.0]
    """
    chosen = np.argsort(-np.asarray(control, np.float64), kind="stable")[:top]
    return np.sqrt(np.square(_difference(truth, prediction)[:, chosen]).sum(axis=1))


def mse_top20_de(truth: ArrayLike, prediction: ArrayLike, strength: ArrayLike, top: int = TOP_CHANGED) -> Floats:
    """Return the mean squared error over each condition's own `top` most changed features, (n,).

    Roohani, Huang and Leskovec, Nature Biotechnology 2024 (GEARS).

    Parameters
    ----------
    truth, prediction
        (n, p)
    strength
        (n, p) how strongly each feature changed: z scores of a test, or effects where none are known.
    top
        Features of each condition.

    Examples
    --------
    >>> mse_top20_de([[1.0, 2.0]], [[4.0, 6.0]], [[-5.0, 1.0]], top=1).tolist()
    [9.0]
    """
    chosen = _strongest(strength, top)
    return np.take_along_axis(np.square(_difference(truth, prediction)), chosen, axis=1).mean(axis=1)


def rmse(truth: ArrayLike, prediction: ArrayLike) -> Floats:
    """Return root mean squared errors over features, (n,) (PerturBench's `rmse`).

    Examples
    --------
    >>> rmse([[1.0, 2.0]], [[4.0, 6.0]]).round(4).tolist()
    [3.5355]
    """
    return np.sqrt(np.square(_difference(truth, prediction)).mean(axis=1))


def mae(truth: ArrayLike, prediction: ArrayLike) -> Floats:
    """Return mean absolute errors over features, (n,) (cell-eval's `mae`).

    Examples
    --------
    >>> mae([[1.0, 2.0]], [[4.0, 6.0]]).tolist()
    [3.5]
    """
    return np.abs(_difference(truth, prediction)).mean(axis=1)


def pearson_delta(truth: ArrayLike, prediction: ArrayLike, reference: ArrayLike) -> Floats:
    """Return cor(y - r, yhat - r) over features, (n,); NaN where either change is constant, as for "no change".

    With r the control it is `pearson_delta` (Ahlmann-Eltze et al. 2025 and others). With r the mean profile of
    the perturbed training conditions it is `pearson_delta_perturbed_ref` (Systema, Vinas Torne et al., Nature
    Biotechnology 2025), which gives nothing for the shift that all perturbations share.

    Examples
    --------
    >>> pearson_delta([[1.0, 2.0, 3.0]], [[1.0, 2.0, 2.5]], [1.0, 1.0, 1.0]).round(4).tolist()
    [0.982]
    """
    y, guess = changes(truth, prediction, reference)
    return _cosine(_centred(y), _centred(guess))


def cosine_logfc(truth: ArrayLike, prediction: ArrayLike, control: ArrayLike) -> Floats:
    """Return cos(y - c, yhat - c), (n,); NaN where either is zero (Wu et al. 2024, PerturBench).

    Examples
    --------
    >>> cosine_logfc([[2.0, 1.0]], [[3.0, 1.0]], [1.0, 1.0]).tolist()
    [1.0]
    """
    return _cosine(*changes(truth, prediction, control))


def sign_accuracy(truth: ArrayLike, prediction: ArrayLike, control: ArrayLike, top: int | None = None) -> Floats:
    """Return the share of features whose change has the right sign, (n,).

    Of each condition's `top` most changed features, or all; features that did not change are left out
    (He et al. 2025, MORPH).

    Examples
    --------
    >>> sign_accuracy([[2.0, 0.0, 1.0]], [[3.0, 2.0, 1.0]], [1.0, 1.0, 1.0]).tolist()
    [0.5]
    """
    y, guess = changes(truth, prediction, control)
    chosen = _strongest(y, y.shape[1] if top is None else top)
    y, guess = np.take_along_axis(y, chosen, axis=1), np.take_along_axis(guess, chosen, axis=1)
    moved = y != 0
    return divide(((np.sign(y) == np.sign(guess)) & moved).sum(axis=1), moved.sum(axis=1))


def overlap_at_n(truth: ArrayLike, prediction: ArrayLike, control: ArrayLike, top: int = OVERLAP) -> Floats:
    """Return the share of each condition's `top` most changed features that are predicted to be among them, (n,).

    cell-eval's `overlap_at_N`, with features ranked by their change, not by a test on cells.

    Examples
    --------
    >>> overlap_at_n([[9.0, 5.0, 0.0, 0.0]], [[9.0, 0.0, 5.0, 0.0]], np.zeros(4), top=2).tolist()
    [0.5]
    """
    y, guess = changes(truth, prediction, control)
    # a feature without any predicted change is no part of a predicted list
    picked = np.zeros(guess.shape, bool)
    np.put_along_axis(picked, _strongest(guess, top), values=True, axis=1)
    picked &= guess != 0
    return np.take_along_axis(picked, _strongest(y, top), axis=1).mean(axis=1)


def departure_cosine(truth: ArrayLike, prediction: ArrayLike, additive: ArrayLike) -> Floats:
    """Return cos(y - a, yhat - a), (n,), with a (n, p) the sum of the singles; 0 where no departure is predicted.

    Examples
    --------
    >>> departure_cosine([[2.0, 0.0], [1.0, 1.0]], [[3.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]).round(4).tolist()
    [0.8944, 0.0]
    """
    y, guess = changes(truth, prediction, additive)
    return np.where((guess == 0).all(axis=1), 0.0, _cosine(y, guess))


PROFILE_METRICS: dict[str, bool] = {
    "l2": False,
    "l2_top1000": False,
    "mse_top20_de": False,
    "rmse": False,
    "rmse_rank": False,
    "mae": False,
    "pearson_delta": True,
    "pearson_delta_perturbed_ref": True,
    "cosine_logfc": True,
    "cosine_logfc_rank": False,
    "discrimination_score_l1": True,
    "overlap_at_50": True,
    "sign_accuracy": True,
    "sign_accuracy_top50": True,
    "departure_cosine": True,
}
"""Scores of `profile_scores` by name -> whether higher is better."""


@dataclass(frozen=True)
class _Profiles:
    truth: Floats
    prediction: Floats
    control: Floats
    additive: Floats | None
    reference: Floats | None
    strength: Floats | None
    excluded: NDArray[np.bool_] | None


_OF: dict[str, Callable[[_Profiles], Floats | None]] = {
    "l2": lambda p: l2(p.truth, p.prediction),
    "l2_top1000": lambda p: l2_top1000(p.truth, p.prediction, p.control),
    "mse_top20_de": lambda p: mse_top20_de(
        p.truth, p.prediction, p.truth - p.control if p.strength is None else p.strength
    ),
    "rmse": lambda p: rmse(p.truth, p.prediction),
    "rmse_rank": lambda p: rmse_rank(p.truth, p.prediction),
    "mae": lambda p: mae(p.truth, p.prediction),
    "pearson_delta": lambda p: pearson_delta(p.truth, p.prediction, p.control),
    "pearson_delta_perturbed_ref": lambda p: (
        None if p.reference is None else pearson_delta(p.truth, p.prediction, p.reference)
    ),
    "cosine_logfc": lambda p: cosine_logfc(p.truth, p.prediction, p.control),
    "cosine_logfc_rank": lambda p: cosine_logfc_rank(p.truth, p.prediction, p.control),
    "discrimination_score_l1": lambda p: discrimination_score_l1(p.truth, p.prediction, p.excluded),
    "overlap_at_50": lambda p: overlap_at_n(p.truth, p.prediction, p.control),
    "sign_accuracy": lambda p: sign_accuracy(p.truth, p.prediction, p.control),
    "sign_accuracy_top50": lambda p: sign_accuracy(p.truth, p.prediction, p.control, OVERLAP),
    "departure_cosine": lambda p: None if p.additive is None else departure_cosine(p.truth, p.prediction, p.additive),
}


def profile_scores(  # noqa: PLR0913 - the three profiles, and what some scores need beside them
    truth: ArrayLike,
    prediction: ArrayLike,
    control: ArrayLike,
    additive: ArrayLike | None = None,
    *,
    conditions: Sequence[str] | None = None,
    reference: ArrayLike | None = None,
    strength: ArrayLike | None = None,
    excluded: ArrayLike | None = None,
    metrics: Sequence[str] = tuple(PROFILE_METRICS),
) -> pd.DataFrame:
    """Return all scores of predicted profiles.

    Parameters
    ----------
    truth, prediction
        (n, p) levels. A condition without any prediction has NaN scores; then features with a value missing
        anywhere are left out.
    control
        (p,) level of the control.
    additive
        (n, p) level that plain addition gives; without it no `departure_cosine`, NaN where a row has gaps.
    conditions
        (n,) labels; 0, 1, ... when None.
    reference
        (p,) mean level of the perturbed training conditions; without it no `pearson_delta_perturbed_ref`.
    strength
        (n, p) how strongly each feature changed, for `mse_top20_de`; the change itself when None.
    excluded
        (n, p) features left out of `discrimination_score_l1`: the perturbed genes' own.
    metrics
        Names of `PROFILE_METRICS`.

    Returns
    -------
    DataFrame
        condition, metric, value; a score that is not defined is NaN. Ranks are among the n conditions given.

    Examples
    --------
    >>> profile_scores([[1.0, 2.0]], [[4.0, 6.0]], [0.0, 0.0], metrics=["l2", "mae"])["value"].tolist()
    [5.0, 3.5]
    """
    unknown = [name for name in metrics if name not in PROFILE_METRICS]
    if unknown:
        message = f"There is no score {unknown[0]!r} of profiles; the scores are {', '.join(PROFILE_METRICS)}."
        raise DataError(message)
    y, guess = checked(truth, prediction)
    labels = [str(row) for row in range(len(y))] if conditions is None else [str(label) for label in conditions]
    rows = [np.asarray(one, np.float64) for one in (control, reference) if one is not None]
    tables = [np.asarray(one, np.float64) for one in (additive, strength, excluded) if one is not None]
    if any(one.shape != y.shape[1:] for one in rows) or any(one.shape != y.shape for one in tables):
        found = [one.shape for one in (*rows, *tables)]
        message = f"Profiles are {y.shape}, what stands beside them {found}; features, and conditions, must agree."
        raise DataError(message)
    if len(labels) != len(y):
        message = f"There are {len(labels)} labels of {len(y)} profiles; give one of each."
        raise DataError(message)
    asked = np.isfinite(y).any(axis=1) & np.isfinite(guess).any(axis=1)
    used = np.logical_and.reduce(
        [np.isfinite(one).all(axis=0) for one in (y[asked], guess[asked])] + [np.isfinite(one) for one in rows]
    )
    if not asked.any() or not used.any():
        message = "No feature has a number in all profiles; leave out features or conditions with gaps."
        raise DataError(message)

    def part(one: ArrayLike | None) -> Any:
        table = None if one is None else np.asarray(one)[..., used]
        return table if table is None or table.ndim == 1 else table[asked]

    profiles = _Profiles(part(y), part(guess), *map(part, (control, additive, reference, strength, excluded)))
    scored = {}
    for name in metrics:
        value = _OF[name](profiles)
        if value is not None:
            scored[name] = np.full(len(y), np.nan)
            scored[name][asked] = value
    frames = [pd.DataFrame({"condition": labels, "metric": name, "value": value}) for name, value in scored.items()]
    return pd.concat(frames, ignore_index=True)


def _difference(truth: ArrayLike, prediction: ArrayLike) -> Floats:
    y, guess = checked(truth, prediction)
    return y - guess


def _cosine(a: Floats, b: Floats) -> Floats:
    size = np.sqrt(np.square(a).sum(axis=1) * np.square(b).sum(axis=1))
    return np.clip(divide(np.einsum("ij,ij->i", a, b), size), -1, 1)


def _centred(x: Floats) -> Floats:
    """Return rows less their means; a constant row is exactly 0."""
    return np.where(np.ptp(x, axis=1, keepdims=True) > 0, x - x.mean(axis=1, keepdims=True), 0.0)


def _strongest(strength: ArrayLike, top: int) -> NDArray[np.int64]:
    """Return (n, top) places of each row's largest absolute values; ties by place, NaN last."""
    size = np.nan_to_num(np.abs(np.asarray(strength, np.float64)), nan=-1.0)
    return np.argsort(-size, axis=1, kind="stable")[:, :top]
