"""Results as they come back: filled plate maps and plain id,value tables, matched to the exported wells.

A file is read whole and checked before anything is kept. A row that belongs to no exported well is
quarantined with its reason; a cell that is no number is an error, because a typing mistake must be
mended, not guessed.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from screenwise.campaign.round import plate_columns
from screenwise.campaign.state import KEY, QUARANTINE, READINGS, TESTED, State
from screenwise.condition import ENTITIES, condition_ids, factor_columns
from screenwise.data.quantity import MISSING, read_numbers, read_relations
from screenwise.data.table import Table, column_of, read_raw
from screenwise.errors import ColumnError, DataError

YES = frozenset({"1", "true", "yes", "y", "x", "failed", "fail"})
NO = frozenset({"", "0", "false", "no", "n", "ok"})
SHOWN = 3
"""Mistakes that one message spells out."""

_NOT_IDS = frozenset({"well", "plate", "role", "value", "task", "relation", "failed", "note"})
_WELL = re.compile(r"^([a-z]{1,2})0*(\d{1,2})$", re.IGNORECASE)


@dataclass(frozen=True)
class Results:
    """What a file adds to a campaign."""

    readings: pd.DataFrame
    """New, corrected and failed readings, columns `READINGS`."""
    quarantine: pd.DataFrame
    """Rows that match no exported well and were not quarantined before: row, reason, content."""
    counts: dict[str, int]
    """rows, new, corrected, unchanged, failed, quarantined."""


def read_results(path: Path, state: State, pool: pd.DataFrame, *, repeated: bool = False) -> Results:
    """Read a results file and compare it with what is known.

    Parameters
    ----------
    path
        The filled plate map (`well` and `plate`, a column per task), or a table with an id and a value
        (`value`, or a column named like the task; long tables have `task`, and may have `relation`).
        A column `failed` (yes or no) marks wells that did not work; `note` says why.
    state
        Where the campaign stands.
    pool
        The pool's conditions with their own columns, by which a row may name a condition.
    repeated
        This very file was taken in before: what it says of wells that have a reading is old news, not a
        correction.

    Raises
    ------
    DataError
        A cell cannot be read, a well stands twice with different values, or nothing is filled in.
    """
    table = read_raw(path)
    rows = _rows(table, path, state)
    placed = _placed(rows, state, _resolved(table.frame, state, pool))
    kept = placed[placed["reason"] == ""]
    cells = _numbers(kept, path)
    cells = _with_failures(cells, state)
    if cells.empty and len(kept):
        message = f"{path} holds no result: columns {', '.join(state.tasks)} are empty. Fill them in, then try again."
        raise DataError(message)
    cells = _once(cells, path)
    cells, unchanged = _changes(cells, state, repeated=repeated)
    quarantine = _quarantine(placed[placed["reason"] != ""], table.frame, state)
    before = pd.MultiIndex.from_frame(state.current()[KEY])
    known = pd.MultiIndex.from_frame(cells[KEY]).isin(before) if len(cells) else np.zeros(0, bool)
    failed = cells["failed"].to_numpy(bool)
    counts = {
        "rows": len(table.frame),
        "new": int((~known & ~failed).sum()),
        "corrected": int((known & ~failed).sum()),
        "failed": int(failed.sum()),
        "unchanged": unchanged,
        "quarantined": len(quarantine),
    }
    return Results(cells[list(READINGS)].astype(READINGS), quarantine, counts)


def well_name(names: pd.Series) -> pd.Series:
    """Return wells written one way, "a1" and "A001" as "A01"; what is no well stays as it is.

    Examples
    --------
    >>> well_name(pd.Series(["a1", "H012", "AF48", "blank"])).tolist()
    ['A01', 'H12', 'AF48', 'blank']
    """
    distinct = {name: _WELL.match(name.strip()) for name in names.unique()}
    written = {name: f"{found[1].upper()}{int(found[2]):02d}" if found else name for name, found in distinct.items()}
    return names.map(written)


def _text(column: Any) -> pd.Series:
    """Cells as text; whole numbers of a number column without their point."""
    texts = column.astype("string").fillna("").str.strip()
    if pd.api.types.is_float_dtype(column):
        texts = texts.str.replace(r"\.0$", "", regex=True)
    return texts.astype(object)


def _column(table: Table, name: str, path: Path) -> pd.Series:
    """Return a column by its title in any case, empty where there is none."""
    found = [title for title in table.frame.columns if title.strip().lower() == name.lower()]
    if len(found) > 1 and name not in found:
        message = f"{path}: the columns {', '.join(found)} all mean {name!r}. Keep one of them."
        raise ColumnError(message)
    if not found:
        return pd.Series([""] * len(table.frame), dtype=object)
    return _text(column_of(table, name if name in found else found[0], path, name)).reset_index(drop=True)


def _rows(table: Table, path: Path, state: State) -> pd.DataFrame:
    """One row per line and task: row, plate, well, condition, task, text, relation, failed, note."""
    shared = pd.DataFrame(
        {name: _column(table, name, path) for name in ("plate", "well", "failed", "note", "relation")}
    )
    shared.insert(0, "row", np.arange(1, len(shared) + 1))
    shared["well"] = well_name(shared["well"])
    titles = {title.strip().lower() for title in table.frame.columns}
    wide = [task for task in state.tasks if task.lower() in titles]
    if wide:
        frames = [shared.assign(task=task, text=_column(table, task, path)) for task in wide]
        return _with_flags(pd.concat(frames, ignore_index=True), path)
    if "value" not in titles:
        message = (
            f"{path} has no column with results; found {list(map(str, table.frame.columns))[:20]}. "
            f"Name one {' or '.join(repr(task) for task in state.tasks)} (or `value`)."
        )
        raise ColumnError(message)
    task = _column(table, "task", path) if "task" in titles else pd.Series([""] * len(shared), dtype=object)
    if (task == "").any() and len(state.tasks) > 1:
        message = f"{path}: `value` of which task? Add a column `task` with {', '.join(state.tasks)}."
        raise ColumnError(message)
    task = task.mask(task == "", state.tasks[0])
    return _with_flags(shared.assign(task=task, text=_column(table, "value", path)), path)


def _with_flags(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    said = rows["failed"].str.lower().str.replace(r"\.0$", "", regex=True)
    odd = rows[~said.isin(YES | NO)]
    if len(odd):
        first = odd.iloc[0]
        message = (
            f"{path}, row {first['row']}, column 'failed': {first['failed']!r} is neither yes nor no. "
            "Write yes or leave it empty; the reason belongs in a column `note`."
        )
        raise DataError(message)
    return rows.assign(failed=said.isin(YES))


def _resolved(frame: pd.DataFrame, state: State, pool: pd.DataFrame) -> pd.Series:
    """Return the condition each line names: "" where it names none, "?" where its name fits several.

    Names are tried in turn: condition_id, each column of the pool that is an id there (text or whole
    numbers, each value once), a column `id` of either kind, and the factors together (a pair, a dose).
    """
    named = pd.Series([""] * len(frame), dtype=object)
    titles = {title.strip().lower(): title for title in frame.columns}
    as_given = plate_columns(pool, state.titles, ())
    own = [("condition_id", pool["condition_id"])]
    for names in (as_given, pool):  # the user's own text first, then the pool's (SMILES in standard form)
        own += [(str(name), names[name]) for name in names.columns if _is_id(str(name), names[name], state)]
    alone = [("id", texts) for _, texts in own if all(name != "id" for name, _ in own)]
    for title, known in [*own, *alone]:
        if title.lower() in titles:
            texts = _text(frame[titles[title.lower()]]).reset_index(drop=True)
            found = texts.map(_lookup(pool, known, state)).fillna("")
            better = named.isin(["", "?"]) & (texts != "") & (found != "")
            named = named.mask(better & ~((named == "?") & (found == "?")), found)
    columns = pool.drop(columns=[name for name in pool.columns if str(name).startswith("feature:")])
    factors = factor_columns(columns) if set(columns) & {*ENTITIES, *(f"{name}_a" for name in ENTITIES)} else []
    if factors and all(name.lower() in titles for name in factors):
        lines = frame[[titles[name.lower()] for name in factors]].set_axis(factors, axis=1)
        for name in (name for name in factors if name in as_given):
            texts, standard = _text(lines[name]), dict(zip(_text(as_given[name]), pool[name], strict=True))
            lines[name] = texts.map(standard).where(texts.isin(list(standard)), lines[name])
        ids = pd.Series(condition_ids(lines.replace("", None), factors), dtype=object)
        named = named.mask(named.isin(["", "?"]) & ids.isin(pool["condition_id"]), ids)
    return named


def _is_id(name: str, column: pd.Series, state: State) -> bool:
    """Return whether a column of the pool may name its conditions: text, or whole numbers."""
    if name.startswith("feature:") or name.lower() in _NOT_IDS or name in state.tasks:
        return False
    return not pd.api.types.is_float_dtype(column)


def _lookup(pool: pd.DataFrame, known: pd.Series, state: State) -> pd.Series:
    """Return text -> condition_id of one column of names, controls among them."""
    names = pd.Series(pool["condition_id"].to_numpy(), index=_text(known).to_numpy(), dtype=object)
    if known.name == "condition_id":
        controls = state.wells.loc[~state.wells["role"].isin(TESTED), "condition_id"].unique()
        names = pd.concat([names, pd.Series(controls, index=controls, dtype=object)])
    alone = names[~names.index.duplicated()]
    # One doubled value makes a column no id: its other values may be single by chance (one of a pair, a cell line).
    return alone if names.index[names.index != ""].is_unique else alone.mask(alone.index != "", "?")


def _placed(rows: pd.DataFrame, state: State, named: pd.Series) -> pd.DataFrame:
    """Find each row's well, or the reason why there is none."""
    rows = rows.assign(named=named.to_numpy()[rows["row"].to_numpy() - 1])
    plates = [str(plate) for plate in state.wells["plate"].unique()]
    rows["plate"] = rows["plate"].map({text: text for text in rows["plate"]} | _spellings(rows["plate"], plates))
    if len(plates) == 1:
        rows["plate"] = rows["plate"].mask((rows["plate"] == "") & (rows["well"] != ""), plates[0])
    has_well = rows["well"] != ""
    parts = [_by_well(rows[has_well], state, plates)] if has_well.any() else []
    parts += [_by_name(rows[~has_well], state)] if not has_well.all() else []
    table = pd.concat(parts, ignore_index=True).sort_values(["row", "task"], kind="stable", ignore_index=True)
    foreign = (table["reason"] == "") & ~table["task"].isin(state.tasks)
    table["reason"] = table["reason"].mask(foreign, "task " + table["task"] + " is none of " + ", ".join(state.tasks))
    return table


def _spellings(found: pd.Series, plates: list[str]) -> dict[str, str]:
    """Return plate names in another case -> as exported."""
    exported = {plate.casefold(): plate for plate in plates}
    return {text: exported[text.casefold()] for text in found.unique() if text.casefold() in exported}


def _by_well(rows: pd.DataFrame, state: State, plates: list[str]) -> pd.DataFrame:
    known = state.wells.assign(written=well_name(state.wells["well"].astype(str)))
    rows = rows.rename(columns={"well": "written"}).merge(known, on=["plate", "written"], how="left")
    holds = rows["condition_id"].fillna("").astype(str)
    # A row whose own names say another condition than its well was shifted, or the plate was mistaken.
    other = ~rows["named"].isin(["", "?"]) & (rows["named"] != holds) & rows["role"].isin(TESTED)
    rows["reason"] = np.select(
        [rows["plate"] == "", rows["role"].isna(), other],
        [
            "the row names a well but no plate; plates are " + ", ".join(plates[:10]),
            "no exported well " + rows["written"] + " on plate " + rows["plate"],
            "the well holds " + holds + ", the row names " + rows["named"],
        ],
        "",
    )
    rows["well"] = rows["well"].fillna(rows["written"])
    return rows.drop(columns="written").assign(by_name=False)


def _by_name(rows: pd.DataFrame, state: State) -> pd.DataFrame:
    """Give the k-th row of a condition its k-th well, of the last round that has it; further rows are extra wells."""
    wells = state.wells[state.wells["round"] == state.wells.groupby("condition_id")["round"].transform("max")]
    wells = wells.assign(place=wells.groupby("condition_id").cumcount())
    rows = rows.drop(columns=["well", "plate"])
    rows = rows.assign(place=rows.groupby(["named", "task"]).cumcount())
    size = rows["named"].map(wells.groupby("condition_id").size()).fillna(0).astype("int64")
    extra = (rows["place"] - size + 1).clip(lower=0)
    rows["place"] = rows["place"].mask(extra > 0, 0)
    rows = rows.merge(wells.rename(columns={"condition_id": "named"}), on=["named", "place"], how="left")
    rows["condition_id"] = rows["named"]
    rows["well"] = rows["well"].mask(extra > 0, rows["well"] + "+" + extra.astype(str))
    proposed = rows["named"].isin(state.proposals["condition_id"])
    rows["reason"] = np.select(
        [
            rows["named"].eq(""),
            rows["named"].eq("?"),
            rows["role"].isna() & proposed,
            rows["role"].isna(),
        ],
        [
            "names no condition of the pool and no well",
            "its name fits several conditions of the pool; use condition_id",
            "condition " + rows["named"] + " is proposed but not exported",
            "condition " + rows["named"] + " was never on an exported plate",
        ],
        "",
    )
    return rows.drop(columns="place").assign(by_name=True)


def _numbers(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Read the values; every mistake is named before anything is kept."""
    cells = read_numbers(rows["text"])
    beside, odd = read_relations(rows["relation"])
    faults = pd.Series(cells.reason, index=rows.index)
    faults = faults.mask(rows["text"].str.lower().isin(MISSING), "")
    unit = pd.Series(cells.unit, index=rows.index)
    faults = faults.mask((faults == "") & (unit != ""), "has a unit; write the number alone, in the task's unit")
    faults = faults.mask((faults == "") & (odd != ""), odd)
    clash = (cells.relation != 0) & (beside != 0) & (cells.relation != beside)
    faults = faults.mask((faults == "") & clash, "contradicts the column `relation`")
    wrong = rows[faults != ""]
    if len(wrong):
        said = [
            f"row {row}, column {task!r}: {text!r} {'is ' if fault.startswith(('not', 'inf')) else ''}{fault}"
            for row, task, text, fault in zip(
                wrong["row"], wrong["task"], wrong["text"], faults[wrong.index], strict=True
            )
        ]
        more = f"; and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
        message = (
            f"{path}, {'; '.join(said[:SHOWN])}{more}. "
            "Write a number such as 5.3 or >10, or leave the cell empty if the well failed. Nothing was taken in."
        )
        raise DataError(message)
    relation = np.where(cells.relation != 0, cells.relation, beside).astype(np.int8)
    return rows.assign(value=cells.value, relation=relation)


def _with_failures(cells: pd.DataFrame, state: State) -> pd.DataFrame:
    """Keep values and failures. An empty cell is a failure where its plate was read for that task.

    A plate without any value in this file was not read yet: its empty cells say nothing.
    """
    if cells.empty:
        return cells.assign(stated=False)
    has = cells["value"].notna()
    group = cells["plate"].mask(cells["by_name"], "")
    read = has.groupby([group, cells["task"]]).transform("any")
    stated = cells["failed"] | (~has & cells["note"].ne(""))
    failed = stated | (~has & read)
    cells = cells.assign(failed=failed, stated=stated, value=cells["value"].mask(failed))[has | failed]
    return _spread(cells, state)


def _spread(cells: pd.DataFrame, state: State) -> pd.DataFrame:
    """Where a condition named once has failed, let it fail in all of its wells of that round."""
    alone = cells.groupby(["named", "task"])["row"].transform("size").eq(1)
    lost = cells[cells["by_name"] & alone & cells["failed"]]
    if lost.empty:
        return cells
    wells = lost.drop(columns=["plate", "well", "role"]).merge(state.wells, on=["round", "condition_id"])
    return pd.concat([cells.drop(index=lost.index), wells], ignore_index=True)


def _once(cells: pd.DataFrame, path: Path) -> pd.DataFrame:
    """One reading per well and task: the same one twice is one, an empty one beside a value is none."""
    cells = cells.sort_values("stated", kind="stable", ascending=False)
    valued = cells["value"].notna().groupby([cells[name] for name in KEY]).transform("any")
    empty_twin = ~cells["stated"] & cells["failed"] & valued
    cells = cells[~empty_twin].drop_duplicates([*KEY, "value", "relation", "failed"])
    twice = cells[cells.duplicated(KEY, keep=False)].sort_values([*KEY, "row"])
    if len(twice):
        first = twice[(twice[KEY] == twice[KEY].iloc[0]).all(axis=1)]
        rows = " and ".join(str(row) for row in first["row"])
        message = (
            f"{path}, rows {rows}, column {first['task'].iloc[0]!r}: well {first['well'].iloc[0]} of plate "
            f"{first['plate'].iloc[0]} stands more than once with different results. Keep one. Nothing was taken in."
        )
        raise DataError(message)
    return cells.sort_values(["row", "task"], kind="stable", ignore_index=True)


def _changes(cells: pd.DataFrame, state: State, *, repeated: bool) -> tuple[pd.DataFrame, int]:
    """Leave out what is known already; an empty cell never takes the place of a value."""
    before = state.current()[[*KEY, "value", "relation", "failed"]]
    both = cells[KEY].merge(before, on=KEY, how="left")
    known = both["relation"].notna().to_numpy()
    value, was = cells["value"].to_numpy(float), both["value"].to_numpy(float)
    failed, had_failed = cells["failed"].to_numpy(bool), both["failed"].eq(True).to_numpy()  # noqa: FBT003
    alike = (value == was) & (cells["relation"].to_numpy() == both["relation"].to_numpy())
    same = known & (alike | (failed & had_failed) | repeated)
    silent = known & failed & ~cells["stated"].to_numpy(bool) & ~had_failed
    return cells[~(same | silent)].reset_index(drop=True), int(same.sum())


def _quarantine(rows: pd.DataFrame, frame: pd.DataFrame, state: State) -> pd.DataFrame:
    """One entry per line, with the line as it stood; lines quarantined before are not doubled."""
    rows = rows[(rows["text"] != "") | (rows["named"] != "") | (rows["well"].fillna("") != "")]
    rows = rows.drop_duplicates("row")
    lines = frame.iloc[rows["row"].to_numpy(np.int64) - 1].astype("string").fillna("").to_dict("records")
    content = [json.dumps(line, ensure_ascii=False, sort_keys=True) for line in lines]
    table = rows[["row", "reason"]].assign(content=content).astype(QUARANTINE)
    known = state.quarantined["reason"] + "\x1f" + state.quarantined["content"]
    fresh = ~(table["reason"] + "\x1f" + table["content"]).isin(known)
    return table[fresh].reset_index(drop=True)
