"""The types of assays that partners share a vocabulary of, and what each type's values may be."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.tune_settings import ValueRules

ADME = "ADME"
OTHER = "OTHER"
PANEL = "NON-CATALOG-PANEL"
CATALOGUE = "CATALOG-PANEL"
HTS = "AUX_HTS"
PSEUDO_LABELS = "AUX_PL"
KINDS = (ADME, PANEL, CATALOGUE, OTHER, HTS, PSEUDO_LABELS)
"""Types of assays, as `assay_type` of table T0 names them."""
AUXILIARY = (HTS, PSEUDO_LABELS)
"""Types whose tasks help to train and are never scored."""
DOSE_RESPONSE = (PANEL, CATALOGUE, OTHER)
"""Types whose values are p values (-log10 of molar concentrations)."""


def is_auxiliary(kind: Any) -> NDArray[np.bool_]:
    """Return (n,) whether types are auxiliary ones.

    Examples
    --------
    >>> is_auxiliary(["ADME", "AUX_HTS"]).tolist()
    [False, True]
    """
    return pd.Series(kind, dtype=object).isin(AUXILIARY).to_numpy(bool)


def incredible(value: NDArray[np.float64], kind: Any, binary: Any, rules: ValueRules) -> NDArray[Any]:
    """Return (n,) why values cannot be believed; empty where they can.

    Parameters
    ----------
    value
        (n,) values, NaN where there is none.
    kind, binary
        (n,) the type of each value's assay, and whether it has only two outcomes.
    rules
        The range of each type.

    Examples
    --------
    >>> incredible(np.array([12.0, 6.0, 0.5]), ["OTHER", "OTHER", "ADME"], [False, False, True], ValueRules()).tolist()
    ['12 is outside 3 to 10', '', 'a binary assay has the values -1 and 1, not 0.5']
    """
    value, binary = np.asarray(value, np.float64), np.asarray(binary, bool)
    kind = pd.Series(kind, dtype=object)
    reason = np.full(len(value), "", dtype=object)
    ranges = dict.fromkeys(DOSE_RESPONSE, rules.panel) | {HTS: rules.hts, ADME: rules.adme}
    for name, (low, high) in ranges.items():
        wrong = (kind == name).to_numpy() & ~binary & ~((value >= low) & (value <= high))
        reason[wrong] = _said(value[wrong], f"{{:g}} is outside {low:g} to {high:g}")
    wrong = binary & (np.abs(value) != 1)
    reason[wrong] = _said(value[wrong], "a binary assay has the values -1 and 1, not {:g}")
    return reason


def _said(value: NDArray[np.float64], sentence: str) -> NDArray[Any]:
    distinct, codes = np.unique(value, return_inverse=True)
    return np.array([sentence.format(each) for each in distinct] or [""], dtype=object)[codes]
