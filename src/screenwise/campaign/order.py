"""Do values stand where the plate map says: another plate's map, a plate turned round, two rows exchanged."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

TESTED = ("sample", "replicate")
LEAST = 3
"""Wells, pairs or predictions of a kind below which they say nothing."""
BETTER = 15.0
"""How much better another map must fit: chance alone gets there for one map in a thousand (chi-square, 4 degrees)."""
TO_SD = 1.4826
"""Median absolute deviation -> standard deviation of a normal distribution."""
LEAST_COLUMNS = 6
"""Columns in which two rows must both be known to be compared."""
LEAST_Z = 1.0
"""How much better than chance two exchanged rows must fit."""
LEAST_SPREAD = 0.5
"""Standard deviation of the fits of pairs of rows below which it is not believed."""
ROW_LEVEL = 0.01
"""Chance that any two rows of a plate look exchanged."""


@dataclass(frozen=True)
class Misfit:
    """How much better than its own a plate's values fit another order."""

    value: float
    limit: float
    where: str


def fit_of(value: NDArray[Any], wells: pd.DataFrame) -> float:
    """Return how well values fit a map: a sum of squares of standard normal numbers where they have nothing in common.

    Four things should hold, whatever their sign: positive and negative controls lie elsewhere than samples (Mann and
    Whitney's z), wells of one condition agree and predictions made before agree (correlations of ranks).

    Parameters
    ----------
    value
        (w,) values of the wells of a map; NaN = none.
    wells
        (w,) rows with role, condition_id and expected (NaN = not predicted).
    """
    role = wells["role"].to_numpy(object)
    known = np.isfinite(value)
    samples = known & np.isin(role, TESTED)
    total = 0.0
    for kind in ("positive", "negative"):
        controls = known & (role == kind)
        if min(controls.sum(), samples.sum()) >= LEAST:
            total += _apart(value[controls], value[samples]) ** 2
    table = pd.DataFrame({"name": wells["condition_id"].to_numpy(object)[samples], "rank": rankdata(value[samples])})
    groups = table.groupby("name")["rank"].agg(["first", "last", "size"])
    pairs = groups[groups["size"] > 1]
    total += _agreement(pairs["first"].to_numpy(), pairs["last"].to_numpy(), len(table)) ** 2
    expected = wells["expected"].to_numpy(np.float64)
    both = samples & np.isfinite(expected) & (role == "sample")
    if both.sum() >= LEAST:
        total += max(0.0, _correlation(value[both], expected[both])) ** 2 * (both.sum() - 1)
    return float(total)


def other_map(plate: str, table: pd.DataFrame, shape: tuple[int, int]) -> Misfit:
    """Return how much better a plate's values fit the map of another plate, or its own turned by half.

    Parameters
    ----------
    plate
        Whose values.
    table
        All wells of the round: plate, line, column (from 1), role, condition_id, expected, value.
    shape
        Rows and columns of the plate.
    """
    own = table[table["plate"] == plate]
    value = pd.Series(own["value"].to_numpy(np.float64), pd.MultiIndex.from_frame(own[["line", "column"]]))
    before, best, where = fit_of(value.to_numpy(), own), -np.inf, ""
    turned = own.assign(line=shape[0] + 1 - own["line"], column=shape[1] + 1 - own["column"])
    maps = {str(name): part for name, part in table.groupby("plate", sort=True) if name != plate}
    for name, part in {**maps, "": turned}.items():
        found = value.reindex(pd.MultiIndex.from_frame(part[["line", "column"]])).to_numpy(np.float64)
        fit = fit_of(found, part) - before
        if fit > best:
            best, where = fit, f"those of plate {name}" if name else "its own wells turned by half"
    return Misfit(float(best), BETTER, where)


def exchanged_rows(own: pd.DataFrame) -> Misfit | None:
    """Return how much better a plate's values fit with two of its rows exchanged; None = nothing to compare with.

    Of rows i and j, ``-sum (v_i - v_j)(e_i - e_j)`` over columns, with e what is expected of a well: other wells of its
    condition, its control's median, else its prediction. The sign of every term is chance where values have
    nothing to do with the map, which gives its standard deviation.
    """
    rows, columns = int(own["line"].max()), int(own["column"].max())
    value, expected = np.full((2, rows, columns), np.nan)
    place = own["line"].to_numpy() - 1, own["column"].to_numpy() - 1
    value[place] = own["value"].to_numpy(np.float64)
    expected[place] = _expected(own)
    known = np.isfinite(value) & np.isfinite(expected)
    first, second = np.triu_indices(rows, 1)
    enough = (known[first] & known[second]).sum(axis=1) >= LEAST_COLUMNS
    first, second = first[enough], second[enough]
    if len(first) < LEAST:
        return None
    step_v = np.where(known[first] & known[second], value[first] - value[second], 0.0)
    step_e = np.where(known[first] & known[second], expected[first] - expected[second], 0.0)
    terms = step_v * step_e
    spread = np.sqrt((terms**2).sum(axis=1))
    z = np.divide(-terms.sum(axis=1), spread, out=np.zeros(len(first)), where=spread > 0)
    middle = float(np.median(z))
    wide = max(TO_SD * float(np.median(np.abs(z - middle))), LEAST_SPREAD)
    worst = int(z.argmax())
    # a pair that does not fit the other way better by itself is in order, however odd it is beside the others
    found = (float(z[worst]) - middle) / wide if z[worst] > LEAST_Z else 0.0
    return Misfit(found, float(norm.isf(ROW_LEVEL / len(first))), f"{first[worst]},{second[worst]}")


def _expected(own: pd.DataFrame) -> NDArray[np.float64]:
    """Return (w,) what is expected of each well from everything but its own value."""
    value = own["value"]
    sample = own["role"].isin(TESTED)
    group = own["condition_id"].where(sample, "\x1f" + own["role"])
    valued = value.notna().groupby(group).transform("sum")
    others = (value.groupby(group).transform("sum") - value.fillna(0.0)) / (valued - value.notna()).replace(0, np.nan)
    median = value.groupby(group).transform("median")
    found = others.where(sample, median.where(valued >= LEAST))
    return np.asarray(found.fillna(own["expected"]), np.float64)


def _apart(controls: NDArray[Any], samples: NDArray[Any]) -> float:
    ranks = rankdata(np.concatenate([controls, samples]))
    a, b = len(controls), len(samples)
    return float((ranks[:a].sum() - a * (a + b + 1) / 2) / np.sqrt(a * b * (a + b + 1) / 12))


def _agreement(first: NDArray[Any], second: NDArray[Any], wells: int) -> float:
    """Return a z of pairs of ranks: near 0 where partners are any two wells."""
    if len(first) < LEAST:
        return 0.0
    middle, variance = (wells + 1) / 2, (wells**2 - 1) / 12
    z = float(((first - middle) * (second - middle)).sum() / (variance * np.sqrt(len(first))))
    return max(0.0, z)


def _correlation(value: NDArray[Any], expected: NDArray[Any]) -> float:
    ranks = rankdata(value), rankdata(expected)
    if min(one.std() for one in ranks) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])
