"""Is a plate good: controls, position effects, replicates, missing wells, plates beside their peers."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from screenwise.campaign.order import BETTER, exchanged_rows, other_map
from screenwise.campaign.state import TESTED
from screenwise.design.plate import SHAPES, row_letters
from screenwise.rng import stream

COLUMNS = {
    "plate": "object",
    "task": "object",
    "check": "object",
    "value": "float64",
    "threshold": "float64",
    "ok": "boolean",
    "message": "object",
}
"""Columns of the table of checks; `ok` is missing where a plate holds too little to judge."""
ENOUGH = 3
"""Wells of a kind below which a check is not made."""
ENOUGH_SAMPLES = 16
"""Sample wells below which position effects are not looked for."""
PREDICTED = 0.8
"""Share of the samples that must have been predicted for the errors to be tested in place of the values."""
TO_SD = 1.4826
"""Median absolute deviation -> standard deviation of a normal distribution."""


@dataclass(frozen=True)
class QcRules:
    """Where a plate is flagged."""

    z_prime: float = 0.5
    """Least Z' of positive against negative controls (Zhang, Chung and Oldenburg 1999: 0.5 is excellent)."""
    missing: float = 0.1
    """Largest share of sample and replicate wells without a value."""
    position: float = 0.005
    """Least permutation p value of row, column and edge effects."""
    drift: float = 3.0
    """Largest distance of a plate's controls from other plates' in standard deviations of a control well."""
    replicate: float = 0.5
    """Least share of variance between conditions that replicates leave (1 = replicates agree exactly)."""
    outlier: float = 4.0
    """Largest distance of a plate's median sample from the other plates of its round, in standard errors."""
    permutations: int = 1999
    """Permutations of the position tests."""


def check_plates(
    wells: pd.DataFrame,
    readings: pd.DataFrame,
    rules: QcRules | None = None,
    *,
    seed: int = 0,
    expected: Mapping[tuple[int, str], float] | None = None,
    rejected: Collection[str] = (),
) -> pd.DataFrame:
    """Return one line per plate, task and check.

    Parameters
    ----------
    wells
        Exported wells: round, plate, well, role (sample, replicate, positive, negative), condition_id.
    readings
        Those that count: plate, well, task, value, failed.
    rules
        Thresholds.
    seed
        Of the permutations.
    expected
        (round, condition_id) -> what was predicted of it before it was measured.
    rejected
        Plates that do not count: no other plate is held against their controls and values, but to see whether
        the two were exchanged.

    Returns
    -------
    DataFrame: plate, task, check, value, threshold, ok (missing where not judged), message. A plate
    without any reading of a task is not judged for it.

    Examples
    --------
    >>> wells = pd.DataFrame({"round": 1, "plate": "R1P1", "well": ["A01", "A02"], "role": "sample",
    ...                       "condition_id": ["c1", "c2"]})
    >>> readings = pd.DataFrame({"plate": ["R1P1"], "well": ["A01"], "task": ["t"], "value": [1.0],
    ...                          "failed": [False]})
    >>> table = check_plates(wells, readings)
    >>> table.loc[table["check"] == "missing wells", ["value", "ok"]].to_numpy().tolist()
    [[0.5, False]]
    """
    rules = QcRules() if rules is None else rules
    lines: list[dict[str, Any]] = []
    valid = readings[~readings["failed"].astype(bool)]
    for task in readings["task"].unique():
        table = wells.merge(
            valid.loc[valid["task"] == task, ["plate", "well", "value"]], on=["plate", "well"], how="left"
        )
        touched = table["plate"].isin(readings.loc[readings["task"] == task, "plate"])
        names = zip(table["round"], table["condition_id"], strict=True)
        table["expected"] = [(expected or {}).get((int(number), str(name)), np.nan) for number, name in names]
        table = _with_positions(table[touched])
        for plate, part in table.groupby("plate", sort=False):
            beside = table[(table["plate"] == plate) | ~table["plate"].isin(list(rejected))]
            checks = [
                _missing(part, rules),
                *_z_prime(part, rules),
                *_drift(part, beside, rules),
                *_positions(part, rules, seed),
                _replicates(part, beside, rules),
                _outlier(part, beside, rules),
                *_order(part, table),
            ]
            lines += [{"plate": plate, "task": task, **check} for check in checks]
    return pd.DataFrame(lines, columns=list(COLUMNS)).astype(COLUMNS)


def _line(check: str, value: float, threshold: float, problem: str, *, least: bool) -> dict[str, Any]:
    fine = value >= threshold if least else value <= threshold
    return {
        "check": check,
        "value": value,
        "threshold": threshold,
        "ok": bool(fine),
        "message": "" if fine else problem,
    }


def _unjudged(check: str, threshold: float, why: str) -> dict[str, Any]:
    return {"check": check, "value": np.nan, "threshold": threshold, "ok": pd.NA, "message": f"not judged: {why}"}


def _with_positions(table: pd.DataFrame) -> pd.DataFrame:
    """Add line (row of the plate), column and edge; wells of no grid (extra readings) have none."""
    parts = table["well"].astype(str).str.extract(r"^([A-Z]+)(\d+)$")
    letters = parts[0].fillna("").to_numpy()
    line = np.array(
        [sum((ord(mark) - 64) * 26**place for place, mark in enumerate(reversed(text))) for text in letters]
    )
    column = pd.to_numeric(parts[1]).fillna(0).to_numpy(np.int64)
    table = table.assign(line=line, column=column)
    grouped = table.groupby("plate")
    # The outermost used wells count as the edge where the format's own edge is left empty.
    edge = np.zeros(len(table), bool)
    for name in ("line", "column"):
        places = table[name]
        edge |= (places == grouped[name].transform("min")) | (places == grouped[name].transform("max"))
    return table.assign(edge=edge)


def _missing(part: pd.DataFrame, rules: QcRules) -> dict[str, Any]:
    part = part[part["role"].isin(TESTED)]
    lost = int(part["value"].isna().sum())
    problem = f"{lost} of {len(part)} wells have no value; look for a failed dispense or an incomplete file."
    return _line("missing wells", lost / max(len(part), 1), rules.missing, problem, least=False)


def _z_prime(part: pd.DataFrame, rules: QcRules) -> list[dict[str, Any]]:
    """Z', and the same of medians and median absolute deviations, which one bad well does not spoil."""
    positive, negative = (part.loc[part["role"] == role, "value"].dropna() for role in ("positive", "negative"))
    if min(len(positive), len(negative)) < ENOUGH:
        why = f"{len(positive)} positive and {len(negative)} negative controls have values, {ENOUGH} of each are needed"
        return [_unjudged(name, rules.z_prime, why) for name in ("z prime", "robust z prime")]
    gap = abs(positive.mean() - negative.mean())
    value = 1 - 3 * (positive.std() + negative.std()) / gap if gap > 0 else -np.inf
    problem = (
        f"Z' is {value:.2f}: the controls do not stand apart. Look for exchanged controls or plates, noise or a dead "
        "reagent before trusting this plate."
    )
    classic = _line("z prime", float(value), rules.z_prime, problem, least=True)
    middle = float(positive.median()), float(negative.median())
    spread = sum(TO_SD * float((one - one.median()).abs().median()) for one in (positive, negative))
    gap = abs(middle[0] - middle[1])
    robust = 1 - 3 * spread / gap if gap > 0 else -np.inf
    problem = f"robust Z' is {robust:.2f}: most controls of a kind do not stand apart from those of the other."
    return [classic, _line("robust z prime", float(robust), rules.z_prime, problem, least=True)]


def _order(part: pd.DataFrame, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Look whether the values belong to another plate of the round, or two rows were exchanged."""
    table = table[(table["round"] == part["round"].iloc[0]) & (table["line"] > 0)]
    own = part[part["line"] > 0]
    if int(own["value"].notna().sum()) < ENOUGH_SAMPLES:
        why = f"{int(own['value'].notna().sum())} wells have values, {ENOUGH_SAMPLES} are needed"
        return [_unjudged(name, limit, why) for name, limit in (("plate order", BETTER), ("row order", np.nan))]
    name = str(part["plate"].iloc[0])
    shape = next(
        shape for shape in SHAPES.values() if shape[0] >= table["line"].max() and shape[1] >= table["column"].max()
    )
    other = other_map(name, table, shape)
    problem = f"its values fit {other.where} better than its own: look for exchanged plates or files."
    lines = [_line("plate order", other.value, other.limit, problem, least=False)]
    rows = exchanged_rows(own)
    if rows is None:
        return [*lines, _unjudged("row order", np.nan, "nothing was predicted of its wells and few are repeated")]
    one, two = (row_letters(int(row)) for row in rows.where.split(","))
    problem = f"its values fit better with rows {one} and {two} exchanged; look at the dispense and at the file."
    return [*lines, _line("row order", rows.value, rows.limit, problem, least=False)]


def _drift(part: pd.DataFrame, table: pd.DataFrame, rules: QcRules) -> list[dict[str, Any]]:
    lines = []
    for role in ("positive", "negative"):
        controls = table[(table["role"] == role) & table["value"].notna()]
        here = controls["plate"] == part["plate"].iloc[0]
        own, others = controls.loc[here, "value"], controls.loc[~here]
        name = f"{role} control drift"
        if min(len(own), len(others)) < ENOUGH:
            continue
        medians = others.groupby("plate")["value"].median()
        spread = _pooled_sd(controls)
        gap = abs(float(own.median() - medians.median()))
        distance = gap / spread if spread > 0 else (np.inf if gap > 0 else 0.0)
        problem = f"the {role} controls are {distance:.1f} standard deviations from those of other plates."
        lines.append(_line(name, distance, rules.drift, problem, least=False))
    return lines


def _pooled_sd(controls: pd.DataFrame) -> float:
    within = controls["value"] - controls.groupby("plate")["value"].transform("mean")
    freedom = len(controls) - controls["plate"].nunique()
    return float(np.sqrt((within**2).sum() / freedom)) if freedom > 0 else 0.0


def _positions(part: pd.DataFrame, rules: QcRules, seed: int) -> list[dict[str, Any]]:
    """Permutation tests on ranks: what stands where is random, so a pattern comes from the plate.

    The statistic is Kruskal and Wallis's, which grows with the F of an analysis of variance on ranks;
    ranks keep a few strong hits from looking like a pattern. Where nearly all was predicted before it was
    measured, the errors of the predictions are ranked: they differ less than the values, and show a smaller effect.
    """
    names = {"row effect": "line", "column effect": "column", "edge effect": "edge"}
    samples = part[(part["role"] == "sample") & part["value"].notna() & (part["line"] > 0)]
    if len(samples) < ENOUGH_SAMPLES:
        why = f"{len(samples)} samples have values, {ENOUGH_SAMPLES} are needed"
        return [_unjudged(check, rules.position, why) for check in names]
    known = samples["expected"].notna()
    if known.mean() >= PREDICTED and known.sum() >= ENOUGH_SAMPLES:
        samples = samples[known]
        ranks = rankdata(samples["value"] - samples["expected"])
    else:
        ranks = rankdata(samples["value"])
    plate = str(part["plate"].iloc[0])
    draws = stream(seed, "qc", plate).permuted(np.tile(ranks, (rules.permutations, 1)), axis=1)
    lines = []
    for check, column in names.items():
        p, worst = _permutation_p(ranks, draws, samples[column].to_numpy())
        where = {
            "line": f"row {row_letters(max(worst - 1, 0))} stands out most",
            "column": f"column {worst} stands out most",
            "edge": "the edge differs from the inside",
        }[column]
        problem = f"values depend on where the well is (p = {p:.4f}; {where})."
        lines.append(_line(check, p, rules.position, problem, least=True))
    return lines


def _permutation_p(ranks: NDArray[Any], draws: NDArray[Any], groups: NDArray[Any]) -> tuple[float, int]:
    """Return the p value, and the group that differs most from the others (0 where there is one only)."""
    names, codes = np.unique(groups, return_inverse=True)
    if len(names) == 1:
        return 1.0, 0
    member = np.eye(len(names))[codes]  # (n, g)
    size = member.sum(axis=0)
    middle = ranks.mean()

    def between(rows: NDArray[Any]) -> NDArray[np.float64]:
        return ((rows - middle) @ member) ** 2 / size

    own = between(ranks[None])[0]
    above = int((between(draws).sum(axis=1) >= own.sum() - 1e-9).sum())
    return (above + 1) / (len(draws) + 1), int(names[own.argmax()])


def _replicates(part: pd.DataFrame, table: pd.DataFrame, rules: QcRules) -> dict[str, Any]:
    """Compare the conditions of this plate that have several readings, wherever those stand."""
    tested = table[table["role"].isin(TESTED) & table["value"].notna()]
    tested = tested[tested["condition_id"].isin(part["condition_id"])]
    several = tested[tested.groupby("condition_id")["value"].transform("size") > 1]
    count = several["condition_id"].nunique()
    if count < ENOUGH:
        return _unjudged(
            "replicate agreement", rules.replicate, f"{count} conditions have replicates, {ENOUGH} are needed"
        )
    within = several["value"] - several.groupby("condition_id")["value"].transform("mean")
    noise = float((within**2).sum() / (len(several) - count))
    total = float(tested.groupby("condition_id")["value"].mean().var())
    value = 1.0 - noise / total if total > 0 else 0.0
    problem = f"replicates differ almost as much as conditions do (noise standard deviation {np.sqrt(noise):.3g})."
    return _line("replicate agreement", value, rules.replicate, problem, least=True)


def _outlier(part: pd.DataFrame, table: pd.DataFrame, rules: QcRules) -> dict[str, Any]:
    """Plates of one round hold a random share of it, so that their medians should agree."""
    samples = table[(table["role"] == "sample") & table["value"].notna() & (table["round"] == part["round"].iloc[0])]
    here = samples["plate"] == part["plate"].iloc[0]
    own, others = samples.loc[here, "value"], samples.loc[~here, "value"]
    if min(len(own), len(others)) < ENOUGH_SAMPLES:
        return _unjudged("plate median", rules.outlier, "no other plate of its round has enough values")
    spread = TO_SD * float((samples["value"] - samples["value"].median()).abs().median())
    # The standard error of a median is sqrt(pi / 2) that of a mean.
    error = spread * np.sqrt(np.pi / 2 * (1 / len(own) + 1 / len(others)))
    distance = abs(float(own.median() - others.median())) / error if error > 0 else 0.0
    problem = (
        f"its median is {distance:.1f} standard errors from the other plates of its round; look for a plate effect."
    )
    return _line("plate median", distance, rules.outlier, problem, least=False)
