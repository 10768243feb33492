"""Where active begins: thresholds of each assay, auxiliary ones beside them, and the labels they give."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.assay_kinds import ADME, CATALOGUE, HTS, OTHER, PANEL, is_auxiliary
from screenwise.data.tune_settings import QuorumRules, ThresholdRules
from screenwise.data.tuner_tables import EXPERT
from screenwise.screen import ABOVE, BELOW, EXACT

AMBIGUOUS = 0
"""Label of a value whose bound leaves open on which side of the threshold it is."""
_MANY_EXPERTS = 3


def class_labels(value: Any, relation: Any, threshold: Any, *, low: Any = False) -> NDArray[np.int8]:
    """Return (m,) labels: 1 active, -1 inactive, 0 where the bound leaves it open.

    Active: the value is at least the threshold and no upper bound. Inactive: below it and no lower
    bound, or an upper bound just at it. Where `low`, less is active, and everything is mirrored.

    Parameters
    ----------
    value, relation, threshold
        (m,) numbers; relations are -1 true value below, 0 exact, 1 above.
    low
        Whether low values are active.

    Examples
    --------
    >>> class_labels([6.0, 6.0, 6.0, 5.0, 5.0, 7.0], [0, 1, -1, 0, 1, -1], 6.0).tolist()
    [1, 1, -1, -1, 0, 0]
    >>> class_labels([6.0, 6.0, 6.0, 5.0, 5.0, 7.0], [0, 1, -1, 0, 1, -1], 6.0, low=True).tolist()
    [1, -1, 1, 1, 0, 0]
    """
    sign = np.where(low, -1, 1)
    value, side, threshold = sign * np.asarray(value, np.float64), sign * np.asarray(relation), sign * threshold
    active = (value >= threshold) & (side != BELOW)
    inactive = ((value < threshold) & (side != ABOVE)) | ((value == threshold) & (side == BELOW))
    return np.select([active, inactive], [1, -1], AMBIGUOUS).astype(np.int8)


def hts_labels(value: Any, threshold: Any, direction: Any) -> NDArray[np.int8]:
    """Return (m,) labels of screening scores: beyond the threshold in the direction; without one, on either side.

    Bounds are not looked at.

    Examples
    --------
    >>> hts_labels([3.5, -3.5, 1.0], 3.0, np.array(["high", "", "low"])).tolist()
    [1, 1, -1]
    """
    value = np.asarray(value, np.float64)
    score = np.select([direction == "high", direction == "low"], [value, -value], np.abs(value))
    return np.where(score >= threshold, 1, -1).astype(np.int8)


def make_tasks(cells: pd.DataFrame, assays: pd.DataFrame, rules: ThresholdRules, quorum: QuorumRules) -> pd.DataFrame:
    """Return the classification tasks of assays that have cells: one for each of an assay's thresholds.

    - binary: one task, its values are the labels;
    - OTHER and NON-CATALOG-PANEL: more than 3 thresholds of experts, those; 1 to 3, those and two
      auxiliary ones, a step below the lowest and a step above the highest; none, the first automatic
      one with enough actives, inactives and share of actives (else the median, where a value that is
      a bound is moved by log10 2 to its side) and two auxiliary ones around it;
    - ADME: those of experts; else the median of the exact values, and their upper quartile (direction
      high or none) or lower one (low) if it differs; none with fewer than two exact values;
    - CATALOG-PANEL: those of experts, which partners share;
    - AUX_HTS: the one of the rules, its negative for direction low.

    Parameters
    ----------
    cells
        (m,) assay (row of `assays`), value, relation.
    assays
        (a,) table T0.
    rules, quorum
        Settings; an automatic threshold needs the quorum of ordinary tasks.

    Returns
    -------
    DataFrame: assay, threshold (NaN where binary), threshold_method (binary, expert, fixed_adaptive,
    median, quartile, fixed, aux_low, aux_high), is_auxiliary; sorted by assay and threshold.
    """
    measured = np.bincount(cells["assay"], minlength=len(assays)) > 0
    kind, binary = assays["assay_type"], assays["is_binary"].to_numpy(bool)
    dose, adme = (kind.isin([OTHER, PANEL]).to_numpy() & ~binary, (kind == ADME).to_numpy() & ~binary)
    expert = _expert(assays, measured & (dose | adme | (kind == CATALOGUE).to_numpy()) & ~binary)
    several = np.bincount(expert["assay"], minlength=len(assays))
    automatic = _automatic(cells, assays, measured & dose & (several == 0), rules, quorum)
    main = pd.concat([expert[dose[expert["assay"]]], automatic], ignore_index=True)
    whole = _one(np.flatnonzero(measured & binary), np.nan, "binary")
    hts = np.flatnonzero(measured & (kind == HTS).to_numpy() & ~binary)
    screens = _one(hts, np.where(assays["direction"].to_numpy()[hts] == "low", -rules.hts, rules.hts), "fixed")
    parts = [
        whole,
        expert,
        automatic,
        _around(main[several[main["assay"]] <= _MANY_EXPERTS], rules.step),
        _quartiles(cells, assays, measured & adme & (several == 0)),
        screens,
    ]
    tasks = pd.concat([part for part in parts if len(part)], ignore_index=True) if any(map(len, parts)) else whole
    tasks = tasks.sort_values(["assay", "threshold"], kind="stable", ignore_index=True)
    beside = tasks["threshold_method"].isin(["aux_low", "aux_high"]).to_numpy()
    tasks["is_auxiliary"] = beside | is_auxiliary(kind.to_numpy()[tasks["assay"]])
    return tasks


def label_cells(cells: pd.DataFrame, tasks: pd.DataFrame, assays: pd.DataFrame) -> pd.DataFrame:
    """Return a label for each cell of an assay in each of the assay's tasks.

    Parameters
    ----------
    cells
        (m,) assay, value, relation.
    tasks
        As `make_tasks` gives them, sorted by assay.
    assays
        (a,) table T0.

    Returns
    -------
    DataFrame: task (row of `tasks`), cell (row of `cells`), label (0 = ambiguous); sorted by task, then cell.
    """
    several = np.bincount(tasks["assay"], minlength=len(assays))
    first = np.cumsum(several) - several
    own = cells["assay"].to_numpy()
    cell = np.repeat(np.arange(len(cells)), several[own])
    start = np.cumsum(several[own]) - several[own]
    task = np.arange(len(cell)) - np.repeat(start - first[own], several[own])
    assay = own[cell]
    value, relation = cells["value"].to_numpy()[cell], cells["relation"].to_numpy()[cell]
    threshold, direction = tasks["threshold"].to_numpy()[task], assays["direction"].to_numpy()[assay]
    hts = (assays["assay_type"] == HTS).to_numpy()[assay]
    label = np.select(
        [np.isnan(threshold), hts],
        [value.astype(np.int8), hts_labels(value, np.abs(threshold), direction)],
        class_labels(value, relation, threshold, low=direction == "low"),
    ).astype(np.int8)
    out = pd.DataFrame({"task": task, "cell": cell, "label": label})
    return out.sort_values(["task", "cell"], kind="stable", ignore_index=True)


def _one(assay: NDArray[np.int64], threshold: Any, method: str) -> pd.DataFrame:
    return pd.DataFrame({"assay": assay, "threshold": threshold, "threshold_method": method}).astype(
        {"threshold": np.float64, "threshold_method": object}
    )


def _expert(assays: pd.DataFrame, chosen: NDArray[np.bool_]) -> pd.DataFrame:
    """Return the thresholds of experts, equal ones once."""
    numbers = assays[list(EXPERT)].to_numpy(np.float64)
    assay, place = np.nonzero(np.isfinite(numbers) & chosen[:, None])
    return _one(assay, numbers[assay, place], "expert").drop_duplicates(ignore_index=True)


def _automatic(
    cells: pd.DataFrame, assays: pd.DataFrame, chosen: NDArray[np.bool_], rules: ThresholdRules, quorum: QuorumRules
) -> pd.DataFrame:
    """Return one threshold for each chosen assay: the first of the list that suits, else the median."""
    some = cells[chosen[cells["assay"]]]
    assay, value, relation = (some[name].to_numpy() for name in ("assay", "value", "relation"))
    low = (assays["direction"] == "low").to_numpy()[assay]
    moved = value + relation * np.log10(2.0)
    threshold = _quantiles(assay, moved, 0.5, len(assays))
    open_ = chosen.copy()
    for trial in rules.automatic:
        label = class_labels(value, relation, trial, low=low)
        actives = np.bincount(assay[label == 1], minlength=len(assays))
        inactives = np.bincount(assay[label == -1], minlength=len(assays))
        suits = (actives >= quorum.actives) & (inactives >= quorum.inactives)
        suits &= open_ & (actives >= rules.share * (actives + inactives))
        threshold[suits] = trial
        open_ &= ~suits
    found = _one(np.flatnonzero(chosen), threshold[chosen], "fixed_adaptive")
    found.loc[open_[found["assay"]], "threshold_method"] = "median"
    return found


def _around(main: pd.DataFrame, step: float) -> pd.DataFrame:
    """Return auxiliary thresholds below the lowest and above the highest of each assay."""
    ends = main.groupby("assay")["threshold"].agg(["min", "max"])
    assay = ends.index.to_numpy(np.int64)
    parts = [
        _one(assay, ends["min"].to_numpy() - step, "aux_low"),
        _one(assay, ends["max"].to_numpy() + step, "aux_high"),
    ]
    return pd.concat(parts, ignore_index=True)


def _quartiles(cells: pd.DataFrame, assays: pd.DataFrame, chosen: NDArray[np.bool_]) -> pd.DataFrame:
    """Return the median of exact values and the quartile on the active side, if it differs."""
    some = cells[chosen[cells["assay"]] & (cells["relation"] == EXACT)]
    assay, value = some["assay"].to_numpy(), some["value"].to_numpy()
    enough = np.flatnonzero(np.bincount(assay, minlength=len(assays)) > 1)
    median = _quantiles(assay, value, 0.5, len(assays))[enough]
    low = (assays["direction"] == "low").to_numpy()[enough]
    ends = [_quantiles(assay, value, share, len(assays))[enough] for share in (0.25, 0.75)]
    quartile = np.where(low, *ends)
    other = quartile != median
    parts = [_one(enough, median, "median"), _one(enough[other], quartile[other], "quartile")]
    return pd.concat(parts, ignore_index=True)


def _quantiles(assay: NDArray[np.int64], value: NDArray[np.float64], share: float, size: int) -> NDArray[np.float64]:
    """Return (size,) linear quantiles of each assay's values; NaN where it has none."""
    order = np.lexsort((value, assay))
    count = np.bincount(assay, minlength=size)
    start = (np.cumsum(count) - count)[count > 0]
    place = share * (count[count > 0] - 1)
    below = np.floor(place).astype(np.int64)
    ranked, full = value[order], np.full(size, np.nan)
    lower = ranked[start + below]
    upper = ranked[start + np.ceil(place).astype(np.int64)]
    full[count > 0] = lower + (place - below) * (upper - lower)
    return full
