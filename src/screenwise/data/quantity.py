"""Qualifiers, numbers and units as people write them: "> 10 µM" is one relation, one value, one unit."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.errors import DataError
from screenwise.screen import ABOVE, BELOW, EXACT

RELATIONS = {
    **dict.fromkeys(("", "=", "==", "~", "≈"), EXACT),
    **dict.fromkeys(("<", "<=", "<<", "≤"), BELOW),
    **dict.fromkeys((">", ">=", ">>", "≥"), ABOVE),
}
"""Qualifier -> relation; anything else is no qualifier."""
MISSING = frozenset({"", "na", "n/a", "nan", "<na>", "null", "none", "nd", "n.d.", "-", "--", "?"})
"""What stands for "not measured", in lower case."""
MOLAR = {"m": 1.0, "mm": 1e-3, "um": 1e-6, "nm": 1e-9, "pm": 1e-12, "fm": 1e-15}
"""Molar units in lower case -> mol/L. Case is not kept in practice: "NM" and "uM" mean what they say."""
_PER_VOLUME = {"g/l": 1.0, "mg/ml": 1.0, "mg/l": 1e-3, "ug/ml": 1e-3, "ug/l": 1e-6, "ng/ml": 1e-6, "pg/ml": 1e-9}
_P_UNITS = frozenset({"p", "-log10(m)", "-log10m", "-logm", "-log(m)", "log10(1/m)", "pchembl"})
_P_NAME = re.compile(r"^p(ki|kd|kb|km|(ic|ec|ac|xc|cc|lc|gi|tc|tgi|ed|id|ld|td)\d\d|chembl|mic\d*|potency)$")
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_CELL = re.compile(rf"^([<>=~≤≥≈]*)\s*({_NUMBER}|[+-]?inf(?:inity)?)\s*([a-z\u00b5\u03bc%(][^<>=~]*)?$", re.IGNORECASE)
_COMMA = re.compile(r"^[<>=~]*\s*[+-]?\d+,\d+$")


@dataclass(frozen=True)
class Quantities:
    """Cells of a table taken apart, (m,) each."""

    value: NDArray[np.float64]
    """NaN where nothing was measured or the cell was refused."""
    relation: NDArray[np.int8]
    """Written before the number, as in ">10"; 0 where nothing is."""
    unit: NDArray[Any]
    """Written after the number, as in "10 nM"; empty where nothing is."""
    reason: NDArray[Any]
    """Why a cell was refused; empty where fine."""


def read_numbers(column: Any) -> Quantities:
    """Take cells such as "5.3", ">10", "0.3 uM" apart; what is not a number gets its reason.

    Examples
    --------
    >>> cells = read_numbers(["5.3", "> 10", "0.3 uM", "inf", "n/a", "ten"])
    >>> cells.value.tolist(), cells.relation.tolist(), cells.unit.tolist()
    ([5.3, 10.0, 0.3, nan, nan, nan], [0, 1, 0, 0, 0, 0], ['', '', 'uM', '', '', ''])
    >>> cells.reason.tolist()
    ['', '', '', 'infinite', 'empty value', 'not a number']
    """
    series = column if isinstance(column, pd.Series) else pd.Series(column, dtype=object)
    value = pd.to_numeric(series, errors="coerce").to_numpy(np.float64, copy=True)
    relation = np.zeros(len(series), np.int8)
    unit = np.full(len(series), "", dtype=object)
    reason = np.full(len(series), "", dtype=object)
    odd = np.flatnonzero(~np.isfinite(value))
    texts = series.iloc[odd].fillna("").astype(str).str.strip()
    codes, distinct = pd.factorize(texts)
    parts = [_read_cell(text) for text in distinct]
    for target, field in ((value, 0), (relation, 1), (unit, 2), (reason, 3)):
        column_of = np.array([part[field] for part in parts] or [0], dtype=target.dtype)
        target[odd] = column_of[codes]
    return Quantities(value, relation, unit, reason)


def _read_cell(text: str) -> tuple[float, int, str, str]:
    if text.lower() in MISSING:
        return np.nan, EXACT, "", "empty value"
    match = _CELL.match(text)
    if match is None:
        hint = "not a number (a decimal comma? write 5.3)" if _COMMA.match(text) else "not a number"
        return np.nan, EXACT, "", hint
    qualifier, number, unit = match.groups()
    if qualifier not in RELATIONS:
        return np.nan, EXACT, "", f"{qualifier!r} is not a qualifier (< <= << > >= >> = ~)"
    value = float(number)
    if not np.isfinite(value):
        return np.nan, EXACT, "", "infinite"
    return value, RELATIONS[qualifier], (unit or "").strip(), ""


def read_relations(column: Any) -> tuple[NDArray[np.int8], NDArray[Any]]:
    """Return relations (-1 below, 0 exact, 1 above) of qualifiers, and the reason where one is none.

    ChEMBL's quotes around a qualifier are taken off.

    Examples
    --------
    >>> relation, reason = read_relations(["'<='", ">", "", "~", "=>"])
    >>> relation.tolist(), reason[-1]
    ([-1, 1, 0, 0, 0], "'=>' is not a qualifier (< <= << > >= >> = ~)")
    """
    series = pd.Series(column, dtype=object).fillna("").astype(str)
    codes, distinct = pd.factorize(series)
    cleaned = [text.strip().strip("'\"").strip() for text in distinct]
    cleaned = ["" if text.lower() in {"none", "nan", "na", "null", "<na>"} else text for text in cleaned]
    relation = np.array([RELATIONS.get(text, EXACT) for text in cleaned] or [0], np.int8)
    reason = [("" if text in RELATIONS else f"{text!r} is not a qualifier (< <= << > >= >> = ~)") for text in cleaned]
    return relation[codes], np.array(reason or [""], dtype=object)[codes]


def plain_unit(unit: str) -> str:
    """Return a unit written one way: lower case, ASCII micro, no dots, ``mol/l`` as ``m``.

    Examples
    --------
    >>> [plain_unit(unit) for unit in ("µM", "ug.mL-1", "nmol/L", "microg/mL")]
    ['um', 'ug/ml', 'nm', 'ug/ml']
    """
    text = unit.strip().strip("()[]").replace("\u00b5", "u").replace("\u03bc", "u").lower().replace("micro", "u")
    text = re.sub(r"\s+", "", text).replace(".", "").replace("^", "")
    text = re.sub(r"(ml|l|dl)-1$", r"/\1", text)
    return re.sub(r"^([munpf]?)mol/l$", r"\1m", text)


def is_concentration(unit: str) -> bool:
    """Return whether a unit is a concentration that can become a p value.

    Examples
    --------
    >>> is_concentration("nM"), is_concentration("ug.mL-1"), is_concentration("%")
    (True, True, False)
    """
    return plain_unit(unit) in MOLAR or plain_unit(unit) in _PER_VOLUME


def is_p_unit(unit: str) -> bool:
    """Return whether values in this unit are -log10 of molar already.

    Examples
    --------
    >>> is_p_unit("pKi"), is_p_unit("-Log10 M"), is_p_unit("pM")
    (True, True, False)
    """
    plain = plain_unit(unit)
    return plain in _P_UNITS or _P_NAME.match(plain) is not None


def p_value(value: Any, unit: str, *, weight: Any = None) -> NDArray[np.float64]:
    """Return -log10 of concentrations in mol/L: pKi, pIC50, pEC50.

    A bound changes sides: a concentration above 10 uM is a p value below 5.

    Parameters
    ----------
    value
        (m,) concentrations, or p values already where `unit` is such as "pKi".
    unit
        fM, pM, nM, uM, mM, M, or mass per volume (ug/mL, ng/mL, mg/L, ...), in any usual spelling.
    weight
        Molecular weights in g/mol, needed for mass per volume.

    Examples
    --------
    >>> p_value([10.0, 1000.0], "nM").round(6).tolist()
    [8.0, 6.0]
    >>> p_value([46.07], "ug/mL", weight=[46.07]).round(6).tolist()
    [3.0]
    """
    value = np.asarray(value, np.float64)
    plain = plain_unit(unit)
    if is_p_unit(unit):
        return value
    if plain in MOLAR:
        molar = value * MOLAR[plain]
    elif plain in _PER_VOLUME and weight is not None:
        molar = value * _PER_VOLUME[plain] / np.asarray(weight, np.float64)
    elif plain in _PER_VOLUME:
        message = f"{unit} is mass per volume; give molecular weights to make it molar."
        raise DataError(message)
    else:
        message = f"{unit!r} is not a concentration; use one of {', '.join([*MOLAR, *_PER_VOLUME])}, or a p value."
        raise DataError(message)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = -np.log10(molar)
    return np.where(np.isfinite(p), p, np.nan)
