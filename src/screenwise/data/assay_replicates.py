"""Many readings of one compound in one assay -> one, by the rule of the assay's type."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.assay_kinds import ADME, CATALOGUE, DOSE_RESPONSE, OTHER, PANEL
from screenwise.screen import ABOVE, BELOW, EXACT

TIE = "as many bounds below as above, and no exact value"
_DECIMALS = 2


def replicate_rules(assays: pd.DataFrame) -> NDArray[Any]:
    """Return (a,) how each assay's replicates become one reading.

    - ``majority`` (binary): -1 or 1, whichever is more often; 1 on a tie;
    - ``max`` (OTHER, NON-CATALOG-PANEL; further types with direction high): the largest value, and its
      bound; values that are "<" count only where there is nothing else;
    - ``median`` (ADME): the median of all values, with the commonest of "=", "<" and ">"; "=" wins ties,
      and a tie of "<" with ">" fails;
    - ``min`` (further types with direction low): the mirror image of ``max``;
    - ``absmax`` (further types without a direction): the value furthest from zero, and its bound.

    Of equal values "=" is taken before ">" before "<", and 3 before -3, so that the order of rows is nothing.

    Examples
    --------
    >>> assays = pd.DataFrame({"assay_type": ["OTHER", "ADME", "AUX_HTS"], "is_binary": False, "direction": "low"})
    >>> replicate_rules(assays).tolist()
    ['max', 'median', 'min']
    """
    kind, direction = assays["assay_type"], assays["direction"]
    rules = [assays["is_binary"], kind.isin([OTHER, PANEL]), kind == ADME, direction == "low", direction == "high"]
    return np.select([rule.to_numpy(bool) for rule in rules], ["majority", "max", "median", "min", "max"], "absmax")


def aggregate_by_type(
    assay: NDArray[np.int64], compound: NDArray[np.int64], value: Any, relation: Any, assays: pd.DataFrame
) -> pd.DataFrame:
    """Return one reading per assay and compound, sorted by them.

    Parameters
    ----------
    assay, compound
        (m,) rows of `assays`, and any integers >= 0.
    value, relation
        (m,) finite numbers; -1 true value below, 0 exact, 1 above.
    assays
        (a,) with assay_type, is_binary and direction.

    Returns
    -------
    DataFrame: assay, compound, value (two decimals for dose-response types), relation, replicates, reason
    (empty where fine).

    Examples
    --------
    >>> assays = pd.DataFrame({"assay_type": ["OTHER"], "is_binary": [False], "direction": [""]})
    >>> zero = np.zeros(3, int)
    >>> aggregate_by_type(zero, zero, [5.0, 6.126, 7.0], [1, 0, -1], assays)[["value", "relation"]].values.tolist()
    [[6.13, 0.0]]
    """
    value, relation = np.asarray(value, np.float64), np.asarray(relation, np.int8)
    span = int(np.max(compound, initial=0)) + 1
    group, keys = pd.factorize(np.asarray(assay, np.int64) * span + compound, sort=True)
    rule = replicate_rules(assays)[assay] if len(assays) else np.zeros(0, dtype=object)
    first = _chosen(group, value, relation, rule)
    out = pd.DataFrame(
        {
            "assay": keys // span,
            "compound": keys % span,
            "value": value[first],
            "relation": relation[first],
            "replicates": np.bincount(group, minlength=len(keys)),
            "reason": np.full(len(keys), "", dtype=object),
        }
    )
    own = rule[first]
    out.loc[own == "median", ["value"]] = _medians(group, value, len(keys))[own == "median"]
    side, tie = _commonest(group, relation, len(keys))
    out["relation"] = np.where(own == "median", side, out["relation"]).astype(np.int8)
    out.loc[(own == "median") & tie, "reason"] = TIE
    votes = np.bincount(group, weights=value, minlength=len(keys))
    out["value"] = np.where(own == "majority", np.where(votes >= 0, 1.0, -1.0), out["value"])
    out["relation"] = np.where(own == "majority", EXACT, out["relation"]).astype(np.int8)
    rounded = assays["assay_type"].isin(DOSE_RESPONSE).to_numpy()[out["assay"]] & (own != "majority")
    out["value"] = np.where(rounded, out["value"].round(_DECIMALS), out["value"])
    return out


def _chosen(
    group: NDArray[np.int64], value: NDArray[np.float64], relation: NDArray[np.int8], rule: NDArray[Any]
) -> NDArray[np.int64]:
    """Return (groups,) the reading that the rules max, min and absmax take; any one for the other rules."""
    falling = np.select([rule == "max", rule == "min"], [-value, value], -np.abs(value))
    weak = ((rule == "max") & (relation == BELOW)) | ((rule == "min") & (relation == ABOVE))
    # equal values: exact before a bound above before a bound below
    liking = np.select([relation == EXACT, relation == ABOVE], [0, 1], 2)
    order = np.lexsort((-value, liking, falling, weak, group))
    return order[np.flatnonzero(np.diff(group[order], prepend=-1))]


def _medians(group: NDArray[np.int64], value: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    order = np.lexsort((value, group))
    count = np.bincount(group, minlength=size)
    start = np.cumsum(count) - count
    ranked = value[order]
    return (ranked[start + (count - 1) // 2] + ranked[start + count // 2]) / 2


def _commonest(
    group: NDArray[np.int64], relation: NDArray[np.int8], size: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the commonest relation of each group, exact on ties, and where below ties with above alone."""
    below, exact, above = (np.bincount(group, relation == side, size) for side in (BELOW, EXACT, ABOVE))
    most = np.maximum(np.maximum(below, exact), above)
    side = np.select([exact == most, above == most], [EXACT, ABOVE], BELOW)
    return side, (below == above) & (below == most) & (exact < most)


def flat_assays(
    cells: pd.DataFrame, fold: NDArray[np.int64], folds: int, assays: pd.DataFrame, least: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return (a,) which assays say nothing in some fold, and which of the others are left out of regression for it.

    An assay is out if the standard deviation of its values is not above `least` in every fold (a fold with
    one value or none has none). An assay of the type CATALOG-PANEL is only left out of regression.

    Parameters
    ----------
    cells
        (m,) assay and value.
    fold
        (m,) fold of each cell.
    folds
        Number of folds.
    assays
        (a,) with assay_type.
    least
        A number >= 0.

    Examples
    --------
    >>> cells = pd.DataFrame({"assay": [0, 0, 0, 0, 1, 1, 1, 1], "value": [1, 2, 1, 2, 1, 2, 3, 3.0]})
    >>> kinds = pd.DataFrame({"assay_type": ["ADME", "ADME"]})
    >>> flat_assays(cells, np.array([0, 0, 1, 1] * 2), 2, kinds, 1e-12)[0].tolist()
    [False, True]
    """
    spread = fold_spread(cells["assay"].to_numpy(), cells["value"].to_numpy(), fold, (len(assays), folds))
    flat = ~(spread > least).all(axis=1)
    measured = np.bincount(cells["assay"], minlength=len(assays)) > 0
    catalogue = (assays["assay_type"] == CATALOGUE).to_numpy()
    return flat & ~catalogue & measured, flat & catalogue & measured


def fold_spread(
    assay: NDArray[np.int64], value: NDArray[np.float64], fold: NDArray[np.int64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Return (a, folds) standard deviations (n - 1) of an assay's values in each fold; 0 for fewer than two.

    Examples
    --------
    >>> fold_spread(np.zeros(3, int), np.array([1.0, 3.0, 5.0]), np.array([0, 0, 1]), (1, 2)).round(3).tolist()
    [[1.414, 0.0]]
    """
    cell, size = assay * shape[1] + fold, shape[0] * shape[1]
    count = np.bincount(cell, minlength=size)
    mean = np.bincount(cell, weights=value, minlength=size) / np.maximum(count, 1)
    square = np.bincount(cell, weights=np.square(value - mean[cell]), minlength=size)
    return np.sqrt(np.where(count > 1, square / np.maximum(count - 1, 1), 0.0)).reshape(shape)
