"""Which tasks have enough to be trained and scored, and how much each weighs."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.assay_kinds import ADME, CATALOGUE, PANEL, is_auxiliary
from screenwise.data.assay_replicates import fold_spread
from screenwise.data.tune_settings import QuorumRules, WeightRules
from screenwise.screen import EXACT


def judge_classes(
    tasks: pd.DataFrame,
    labels: pd.DataFrame,
    assays: pd.DataFrame,
    folds: int,
    rules: QuorumRules,
    weights: WeightRules,
) -> pd.DataFrame:
    """Return table T8c: classification tasks with their counts, quorums and weights.

    - trained: 25 actives and 25 inactives; of AUX types 10 and 10,000; a catalogue task 400 labels, and
      with fewer it is judged as one of NON-CATALOG-PANEL and loses its catalogue id;
    - scored: 10 actives and 10 inactives in every fold, and no auxiliary task;
    - weight: the trained tasks of one assay share 1 (AUX types 0.1); the aggregation weight is 1 where
      scored, else 0.

    Parameters
    ----------
    tasks
        (t,) as `make_tasks` gives them.
    labels
        (m,) task, label (1 or -1) and fold (0, 1, ...).
    assays
        (a,) table T0.
    folds
        Number of folds.
    rules, weights
        Settings.

    Returns
    -------
    DataFrame, one row per task: cont_classification_task_id (column of Y, -1 where not trained),
    classification_task_id, the assay's columns of T0, threshold, threshold_method, is_auxiliary, catalog_task_id,
    num_total_actives, num_fold_min_actives, num_total_inactives, num_fold_min_inactives, training_quorum_OK,
    evaluation_quorum_OK, n_tasks, weight, aggregation_weight, reason (why it is not trained).
    """
    own = assays.iloc[tasks["assay"]].reset_index(drop=True)
    out = pd.concat([own[_ASSAY], tasks[["threshold", "threshold_method", "is_auxiliary"]]], axis=1)
    for name, label in (("actives", 1), ("inactives", -1)):
        counts = _per_fold(labels["task"], labels["fold"], labels["label"] == label, (len(tasks), folds))
        out[f"num_total_{name}"], out[f"num_fold_min_{name}"] = counts.sum(axis=1), counts.min(axis=1)
    catalogue = (out["assay_type"] == CATALOGUE).to_numpy()
    total = (out["num_total_actives"] + out["num_total_inactives"]).to_numpy()
    short = catalogue & (total < rules.catalogue)
    out["assay_type"] = out["assay_type"].mask(short, PANEL)
    at = np.array(["binary" if np.isnan(each) else f"{each:g}" for each in out["threshold"]], dtype=object)
    shared = out["catalog_assay_id"].astype(object) + "_" + at
    out["catalog_task_id"] = shared.where(catalogue & ~short, "")
    auxiliary = is_auxiliary(out["assay_type"])
    need = [np.where(auxiliary, rules.auxiliary_actives, rules.actives)]
    need.append(np.where(auxiliary, rules.auxiliary_inactives, rules.inactives))
    enough = (out["num_total_actives"] >= need[0]) & (out["num_total_inactives"] >= need[1])
    trained = np.where(catalogue & ~short, True, enough)  # noqa: FBT003 - a value of np.where
    out["training_quorum_OK"] = trained
    out["evaluation_quorum_OK"] = (out["num_fold_min_actives"] >= rules.fold_actives) & (
        out["num_fold_min_inactives"] >= rules.fold_inactives
    )
    several = np.bincount(tasks["assay"], weights=trained, minlength=len(assays)).astype(np.int64)
    out["n_tasks"] = several[tasks["assay"]]
    out["weight"] = np.where(auxiliary, weights.auxiliary, 1.0) / np.maximum(out["n_tasks"], 1) * trained
    out["aggregation_weight"] = (trained & ~out["is_auxiliary"] & out["evaluation_quorum_OK"]).astype(np.float64)
    counted = (
        out["num_total_actives"].astype(str) + " actives and " + out["num_total_inactives"].astype(str) + " inactives"
    )
    asked = pd.Series(need[0]).astype(str) + " and " + pd.Series(need[1]).astype(str)
    out["reason"] = (counted + "; at least " + asked + " are needed").mask(trained, "")
    out.insert(0, "classification_task_id", np.arange(len(out)))
    out.insert(0, "cont_classification_task_id", _numbered(trained))
    return out


def judge_values(
    cells: pd.DataFrame, assays: pd.DataFrame, folds: int, rules: QuorumRules, weights: WeightRules
) -> pd.DataFrame:
    """Return table T8r: regression tasks, one per assay with values, with counts, quorums and weights.

    - trained: 50 values, 25 of them exact; not where `use_in_regression` is false, and never binary assays;
    - scored: 25 exact values in every fold, whose standard deviation is at least 0.5 in every fold (ADME
      is exempt), and no auxiliary assay;
    - weight 1, of AUX types 0.1; `censored_weight` as `censored_weights` gives it.

    Parameters
    ----------
    cells
        (m,) assay, value, relation, fold.
    assays
        (a,) table T0.
    folds
        Number of folds.
    rules, weights
        Settings.
    """
    assay, fold, value = (cells[name].to_numpy() for name in ("assay", "fold", "value"))
    exact = (cells["relation"] == EXACT).to_numpy()
    shape = (len(assays), folds)
    all_of, exact_of = _per_fold(assay, fold, np.ones(len(cells), bool), shape), _per_fold(assay, fold, exact, shape)
    out = assays[[*_ASSAY]].copy()
    out["is_auxiliary"] = is_auxiliary(assays["assay_type"])
    out["num_total"], out["num_uncensored_total"] = all_of.sum(axis=1), exact_of.sum(axis=1)
    out["num_uncensored_fold_min"] = exact_of.min(axis=1)
    enough = (out["num_total"] >= rules.values) & (out["num_uncensored_total"] >= rules.exact_values)
    wanted = out["use_in_regression"] & ~out["is_binary"]
    out["training_quorum_OK"] = enough
    out["evaluation_quorum_OK"] = out["num_uncensored_fold_min"] >= rules.fold_exact_values
    spread = fold_spread(assay[exact], value[exact], fold[exact], shape).min(axis=1)
    out["evaluation_stdv_quorum_OK"] = (spread >= rules.fold_spread) | (out["assay_type"] == ADME)
    scored = enough & wanted & out["evaluation_quorum_OK"] & out["evaluation_stdv_quorum_OK"] & ~out["is_auxiliary"]
    out["aggregation_weight"] = scored.astype(np.float64)
    out["weight"] = np.where(out["is_auxiliary"], weights.auxiliary, 1.0) * (enough & wanted)
    out["fraction_censored"] = 1 - out["num_uncensored_total"] / np.maximum(out["num_total"], 1)
    out["censored_weight"] = censored_weights(out["fraction_censored"], weights.censored)
    counted = out["num_total"].astype(str) + " values, " + out["num_uncensored_total"].astype(str) + " exact"
    short = counted + f"; at least {rules.values} and {rules.exact_values} are needed"
    why = np.select([~wanted.to_numpy(), ~enough.to_numpy()], ["not for regression", short], "")
    out["reason"] = why
    out.insert(0, "cont_regression_task_id", _numbered((enough & wanted).to_numpy()))
    return out[(out["num_total"] > 0).to_numpy()].reset_index(names="assay")


def censored_weights(fraction: Any, barrier: float = 0.05) -> NDArray[np.float64]:
    """Return weights of bounds: 1 up to a share b of bounds, then b (1 - f) / (f (1 - b)).

    Beyond it the bounds of a task weigh, against its exact values, as if they were the share b.

    Examples
    --------
    >>> censored_weights([0.0, 0.05, 0.5, 1.0]).round(4).tolist()
    [1.0, 1.0, 0.0526, 0.0]
    """
    fraction = np.asarray(fraction, np.float64)
    much = fraction > barrier
    lowered = barrier * (1 - fraction) / (np.where(much, fraction, 1.0) * (1 - barrier))
    return np.where(much, lowered, 1.0)


_ASSAY = [
    "input_assay_id",
    "assay_type",
    "use_in_regression",
    "is_binary",
    "direction",
    "catalog_assay_id",
    "parent_assay_id",
]
"""Columns of T0 that the tables of tasks repeat."""


def _per_fold(task: Any, fold: Any, counted: Any, shape: tuple[int, int]) -> NDArray[np.int64]:
    cell = np.asarray(task, np.int64) * shape[1] + np.asarray(fold, np.int64)
    return np.bincount(cell[np.asarray(counted, bool)], minlength=shape[0] * shape[1]).reshape(shape)


def _numbered(chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.where(chosen, np.cumsum(chosen) - 1, -1)
