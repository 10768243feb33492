"""Single readings taken out of a table, and brought to one unit per task."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.chemistry import molecular_weights
from screenwise.data.layout import DOSE, P_DOSE, Layout, TaskColumn, key
from screenwise.data.quantity import (
    MISSING,
    MOLAR,
    is_concentration,
    is_p_unit,
    p_value,
    plain_unit,
    read_numbers,
    read_relations,
)
from screenwise.errors import ColumnError

_VALID = frozenset({"", "manually validated"})
_NO_UNIT = "no unit"
LABEL = " active"
"""Behind the name of a task: the task of its labels."""
_P_TITLES = ("p value", "pvalue", "p activity", "pactivity")
_YES_NO = {"true": "1", "active": "1", "false": "0", "inactive": "0"}


@dataclass(frozen=True)
class Readings:
    """Readings in file order, (m,) each."""

    row: NDArray[np.int64]
    """Row of the table, from 0."""
    column: NDArray[Any]
    """Column the value stood in, or that the reason is about."""
    task: NDArray[Any]
    type: NDArray[Any]
    """Kind of value, such as IC50; empty = unknown."""
    value: NDArray[np.float64]
    relation: NDArray[np.int8]
    unit: NDArray[Any]
    reason: NDArray[Any]
    """Why it is not used; empty where fine."""

    def take(self, keep: Any) -> "Readings":
        """Return some readings."""
        return Readings(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))

    def refuse(self, reasons: NDArray[Any], column: str | NDArray[Any]) -> "Readings":
        """Return readings with further reasons, where there is none yet; "" keeps the column of the value."""
        new = (self.reason == "") & (reasons != "")
        columns = np.where(new & (np.asarray(column, dtype=object) != ""), column, self.column)
        return replace(self, reason=np.where(new, reasons, self.reason), column=columns)


def gather(frame: pd.DataFrame, layout: Layout) -> Readings:
    """Return one reading per row (long) or per filled cell (wide)."""
    parts = [_of_column(frame, layout, task) for task in layout.tasks]
    if layout.label is not None:
        parts.append(_labels(frame, layout, layout.label))
    merged = [np.concatenate([getattr(part, name) for part in parts]) for name in Readings.__dataclass_fields__]
    readings = Readings(*merged)
    if layout.comment is not None:
        comment = _texts(frame[layout.comment])[readings.row]
        invalid = ~np.isin(np.char.lower(comment.astype(str)), [*_VALID, *MISSING])
        reasons = np.where(invalid, np.array([f"data validity comment: {text}" for text in comment], dtype=object), "")
        readings = readings.refuse(reasons, layout.comment)
    return readings


def _of_column(frame: pd.DataFrame, layout: Layout, task: TaskColumn) -> Readings:
    numbers = read_numbers(frame[task.column])
    value, relation, reason = numbers.value, numbers.relation.copy(), numbers.reason
    size = len(frame)
    column = np.full(size, task.column, dtype=object)
    unit = np.full(size, task.unit, dtype=object) if layout.unit is None else _texts(frame[layout.unit])
    unit = np.where(numbers.unit != "", numbers.unit, unit)
    if task.relation is not None:
        stated, why = read_relations(frame[task.relation])
        clash = (relation != 0) & (stated != 0) & (relation != stated)
        relation = np.where(relation != 0, relation, stated)
        why = np.where(clash, "the qualifier and the value's own sign disagree", why)
        column = np.where((reason == "") & (why != ""), task.relation, column)
        reason = np.where(reason == "", why, reason)
    names = _task_names(frame, layout, task)
    if layout.type is not None:
        types = _texts(frame[layout.type])
    else:
        # a long table without a column of kinds may say IC50 in the task's name
        named = _matches(names, DOSE) | _matches(names, P_DOSE)
        types = np.where(named & layout.long, names, task.name)
        if layout.long and (P_DOSE.search(task.name) or key(task.name) in _P_TITLES):
            # pchembl_value beside "EGFR Ki": the title of the value says that it is a p value of that Ki
            unit = np.where(named & (unit == ""), "p", unit)
    if layout.pchembl is not None:
        value, unit, reason, relation = _with_pchembl(frame, layout, (value, unit, reason, relation))
    keep = slice(None) if layout.long else np.flatnonzero(reason != "empty value")
    all_rows = np.arange(size)
    return Readings(all_rows, column, names, types, value, relation.astype(np.int8), unit, reason).take(keep)


def has_signed_labels(frame: pd.DataFrame, label: str) -> bool:
    """Return whether a column of labels has -1 for inactive, as SparseChem's classes have, and no 0.

    Examples
    --------
    >>> has_signed_labels(pd.DataFrame({"label": ["-1", "1", ""]}), "label")
    True
    >>> has_signed_labels(pd.DataFrame({"label": ["-1", "0", "1"]}), "label")
    False
    """
    value = read_numbers(pd.Series(_texts(frame[label])).str.lower().replace(_YES_NO)).value
    return bool((value == -1).any() and not (value == 0).any())


def _labels(frame: pd.DataFrame, layout: Layout, label: str) -> Readings:
    """Return the labels that stand beside the values of a long table, as readings of tasks of their own."""
    texts = pd.Series(_texts(frame[label]))
    numbers = read_numbers(texts.str.lower().replace(_YES_NO))
    signed = has_signed_labels(frame, label)
    value = np.where((numbers.value == -1) & signed, 0.0, numbers.value)
    wrong = (numbers.reason == "") & ~(np.isin(value, (0.0, 1.0)) & (numbers.relation == 0))
    reason = np.where(wrong, "a label must be -1 or 1 here" if signed else "a label must be 0 or 1", numbers.reason)
    names = _task_names(frame, layout, layout.tasks[0])
    # a label without the name of an assay is refused as its value is
    names = np.where(names == "", "", names + LABEL)
    nothing, size = np.full(len(frame), "", dtype=object), len(frame)
    column, exact = np.full(size, label, dtype=object), np.zeros(size, np.int8)
    whole = Readings(np.arange(size), column, names, nothing, value, exact, nothing, reason)
    return whole.take(np.flatnonzero(reason != "empty value"))


def _with_pchembl(frame: pd.DataFrame, layout: Layout, parts: tuple[Any, Any, Any, Any]) -> tuple[Any, Any, Any, Any]:
    """Use ChEMBL's own p value where the value itself has no unit that could be converted."""
    value, unit, reason, relation = parts
    given = read_numbers(frame[layout.pchembl])
    codes, units = pd.factorize(unit)
    convertible = np.array([is_concentration(text) or is_p_unit(text) for text in units] or [False])[codes]
    use = (given.reason == "") & (~convertible | (reason == "empty value"))
    # ChEMBL gives pchembl_value for exact readings only, so its relation is "="
    return (
        np.where(use, given.value, value),
        np.where(use, "p", unit),
        np.where(use & (reason == "empty value"), "", reason),
        np.where(use, 0, relation),
    )


def _task_names(frame: pd.DataFrame, layout: Layout, task: TaskColumn) -> NDArray[Any]:
    parts = [] if layout.group is None else [_texts(frame[layout.group])]
    if layout.type is not None:
        kinds = _texts(frame[layout.type])
        codes, distinct = pd.factorize(kinds)
        plain = [text[1:] if P_DOSE.search(text) and text[:1] == "p" else text for text in distinct]
        parts.append(np.array(plain or [""], dtype=object)[codes])
    elif not layout.long or not parts:
        parts.append(np.full(len(frame), task.name, dtype=object))
    joined = parts[0].astype(object)
    for part in parts[1:]:
        joined = np.where(joined == "", part, np.where(part == "", joined, joined + "_" + part))
    return joined


def _texts(column: pd.Series) -> NDArray[Any]:
    texts = column.astype(object).where(column.notna(), "").astype(str).str.strip()
    return texts.mask(texts.str.lower().isin(["none", "nan"]), "").to_numpy(object)


def to_common_units(readings: Readings, conditions: pd.DataFrame, layout: Layout, path: Path) -> Readings:
    """Return readings with one unit per task: concentrations as p values, qualifiers turned with them.

    Raises
    ------
    ColumnError
        Where a whole column of concentrations says nothing of its unit.
    """
    codes, units = pd.factorize(readings.unit)
    dose_of, p_of = _matches(readings.type, DOSE), _matches(readings.type, P_DOSE)
    molar = np.array([is_concentration(unit) for unit in units] or [False])[codes]
    already = np.array([is_p_unit(unit) for unit in units] or [False])[codes]
    bare = readings.unit == ""
    already |= bare & p_of
    readings = readings.refuse(np.where(readings.task == "", "the task has no name", "").astype(object), "")
    unknown = bare & dose_of & ~p_of & (readings.reason == "") & ~_answers(readings)
    if unknown.any() and not (molar | already)[readings.reason == ""].any():
        raise ColumnError(_ask_for_unit(readings, layout, unknown, path))
    readings = readings.refuse(np.where(unknown, _NO_UNIT, "").astype(object), "")
    linear = molar & ~dose_of & np.isin(readings.type, _linear_types(readings.type))
    value, reason = _as_p(readings, units, codes, molar & ~linear, conditions)
    to_p = molar & ~linear
    value = np.where(linear, _as_nm(readings.value, readings.unit, linear), value)
    unit = np.where(to_p | (already & bare), _p_names(readings.type), np.where(linear, "nM", readings.unit))
    relation = np.where(to_p, -readings.relation, readings.relation).astype(np.int8)
    readings = replace(readings, value=value, unit=unit.astype(object), relation=relation)
    return _one_unit_per_task(readings.refuse(reason, ""))


def _answers(readings: Readings) -> NDArray[np.bool_]:
    """Return (m,) whether a reading is of a column that says yes or no: every value is 0 or 1, NF-kB's name or not."""
    other = (readings.reason == "") & ~np.isin(readings.value, (0, 1))
    codes, columns = pd.factorize(readings.column)
    return np.asarray(np.bincount(codes, other, len(columns))[codes] == 0)


def _as_p(
    readings: Readings, units: Sequence[str], codes: NDArray[Any], chosen: NDArray[np.bool_], conditions: pd.DataFrame
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    value, reason = readings.value.copy(), np.full(len(codes), "", dtype=object)
    for code in np.unique(codes[chosen]):
        here = np.flatnonzero(chosen & (codes == code) & (readings.reason == ""))
        weight = None
        if plain_unit(units[code]) not in MOLAR:
            if "smiles" not in conditions.columns:
                reason[here] = f"{units[code]} needs a structure to become molar"
                continue
            weight = molecular_weights(conditions["smiles"].to_numpy()[readings.row[here]].tolist())
        value[here] = p_value(readings.value[here], units[code], weight=weight)
    reason[chosen & (readings.value <= 0)] = "a concentration must be above zero"
    return value, reason


def _as_nm(value: NDArray[np.float64], unit: NDArray[Any], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    codes, units = pd.factorize(unit)
    factor = np.array([MOLAR.get(plain_unit(text), np.nan) / MOLAR["nm"] for text in units] or [np.nan])
    return np.where(chosen, value * factor[codes], value)


def _linear_types(types: NDArray[Any]) -> list[str]:
    """Return kinds of value that are amounts, not potencies: they stay on their own scale."""
    return [text for text in pd.unique(pd.Series(types)) if text.lower() in {"cmax", "css", "solubility", "conc"}]


def _matches(texts: NDArray[Any], pattern: Any) -> NDArray[np.bool_]:
    codes, distinct = pd.factorize(texts)
    return np.array([pattern.search(text) is not None for text in distinct] or [False])[codes]


def _p_names(types: NDArray[Any]) -> NDArray[Any]:
    codes, distinct = pd.factorize(types)
    names = []
    for text in distinct:
        match = P_DOSE.search(text) or DOSE.search(text)
        names.append("p" + match[1] if match else "p")
    return np.array(names or [""], dtype=object)[codes]


def _one_unit_per_task(readings: Readings) -> Readings:
    """Refuse readings whose unit is not the commonest of their task."""
    good = np.flatnonzero(readings.reason == "")
    codes, units = pd.factorize(readings.unit[good])
    plain = np.array(["p" if is_p_unit(unit) else plain_unit(unit) for unit in units] or [""], dtype=object)
    table = pd.DataFrame({"task": readings.task[good], "unit": plain[codes]})
    counts = table.groupby(["task", "unit"], sort=True).size().reset_index(name="count")
    best = counts.sort_values("count", kind="stable").drop_duplicates("task", keep="last").set_index("task")["unit"]
    usual = table["task"].map(best)
    other = np.flatnonzero((table["unit"] != usual).to_numpy())
    reasons = np.full(len(readings.row), "", dtype=object)
    reasons[good[other]] = [
        f"unit {own or 'none'!r} cannot be converted to the task's {wanted or 'none'!r}"
        for own, wanted in zip(readings.unit[good[other]], usual.iloc[other], strict=True)
    ]
    return readings.refuse(reasons, "")


def _ask_for_unit(readings: Readings, layout: Layout, unknown: NDArray[np.bool_], path: Path) -> str:
    first = int(np.flatnonzero(unknown)[0])
    name, title = readings.column[first], layout.tasks[0].column
    values = readings.value[unknown]
    kind = readings.type[first] or title
    word = DOSE.search(kind)
    return (
        f"{path}, row {readings.row[first] + 1}, column {name!r}: {kind} is a concentration, but nothing says its unit "
        f"(values from {values.min():g} to {values.max():g}). Say --unit nM (or a column with the units), or put it "
        f"into the title: '{title} (nM)'; -log10 values are called p{word[1] if word else kind}."
    )
