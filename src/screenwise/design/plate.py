"""From picked candidates to wells: controls, replicates, edges, randomised places, a file and back."""

import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.errors import ColumnError, ConfigError, DataError, DesignError
from screenwise.rng import stream
from screenwise.run import atomic_path

SHAPES = {96: (8, 12), 384: (16, 24), 1536: (32, 48)}
"""Wells of a plate -> rows, columns."""
EDGES = ("any", "controls", "empty")
ROLES = ("sample", "positive", "negative", "replicate")
FIRST_COLUMNS = ["well", "plate", "role", "condition_id"]
TRIES = 200
"""Swaps that may be tried to part a replicate from its sample."""


@dataclass(frozen=True)
class PlateRules:
    """How a plate is laid out."""

    format: int = 96
    """Wells of a plate: 96, 384 or 1536."""
    positive: int = 4
    """Wells of the positive control on every plate."""
    negative: int = 4
    """Wells of the negative control on every plate."""
    positive_id: str = ""
    """What the positive control is (a condition_id or a name of your own)."""
    negative_id: str = ""
    """What the negative control is."""
    copies: int = 1
    """Wells of every candidate; those beyond the first have the role replicate."""
    replicates: int = 4
    """Further candidates of every plate, chosen at random, that are measured once more: they show the noise."""
    edge: str = "any"
    """What the outer wells hold: any, controls (controls first, never samples), or empty."""
    plate_name: str = "P"
    """Plates are called this and a number from 1."""

    def __post_init__(self) -> None:
        if self.format not in SHAPES:
            message = f"plate.format is {self.format}; it must be one of {', '.join(map(str, SHAPES))}."
            raise ConfigError(message)
        if self.edge not in EDGES:
            message = f"plate.edge is {self.edge!r}; it must be one of {', '.join(EDGES)}."
            raise ConfigError(message)
        for name, least in {"positive": 0, "negative": 0, "replicates": 0, "copies": 1}.items():
            if getattr(self, name) < least:
                message = f"plate.{name} is {getattr(self, name)}; it must be at least {least}."
                raise ConfigError(message)
        if self.capacity < 1:
            message = (
                f"A plate of {self.format} wells with edge {self.edge!r} has no well left for a sample beside "
                f"{self.positive + self.negative} controls and {self.replicates} replicates. Ask for fewer of them."
            )
            raise ConfigError(message)

    @property
    def capacity(self) -> int:
        """Candidates that fit on one plate.

        Examples
        --------
        >>> PlateRules(96, positive=4, negative=4, replicates=4).capacity
        84
        >>> PlateRules(96, positive=4, negative=4, replicates=0, edge="empty").capacity
        52
        """
        samples, controls = _areas(self)
        shared = max(0, self.positive + self.negative - len(controls)) if self.edge == "controls" else 0
        shared = self.positive + self.negative if self.edge != "controls" else shared
        left = len(samples) - shared
        # replicates are of candidates on the plate: never more of them than candidates
        return max(0, (left - min(self.replicates, left // 2)) // self.copies)


def well_names(format: int) -> list[str]:
    """Return the names of a plate's wells, row by row: A01 ... H12; rows past Z are AA, AB ...

    Examples
    --------
    >>> well_names(96)[:2], well_names(96)[-1], well_names(1536)[-1]
    (['A01', 'A02'], 'H12', 'AF48')
    """
    rows, columns = SHAPES[format]
    return [f"{row_letters(row)}{column + 1:02d}" for row in range(rows) for column in range(columns)]


def row_letters(row: int) -> str:
    """Return the letters of a plate's row, counted from 0.

    Examples
    --------
    >>> row_letters(0), row_letters(25), row_letters(31)
    ('A', 'Z', 'AF')
    """
    letters = string.ascii_uppercase
    return letters[row] if row < len(letters) else "A" + letters[row - len(letters)]


def layout(
    candidates: pd.DataFrame,
    rules: PlateRules,
    seed: int = 0,
    *,
    together: NDArray[np.int64] | None = None,
    spare: NDArray[np.bool_] | None = None,
) -> pd.DataFrame:
    """Give every candidate its wells, on as many plates as it takes.

    Candidates are dealt to plates at random and evenly; on a plate, samples stand in random order,
    controls are spread over rows, columns and halves (and stand elsewhere on every plate, so that two
    swapped plates are seen), and a replicate shares neither row nor column with its sample. Same seed,
    same layout.

    Parameters
    ----------
    candidates
        (k,) `condition_id`, once each, and any columns to be carried along.
    rules
        Format, controls, replicates, edge.
    seed
        Decides places and which candidates are measured twice.
    together
        (k,) codes: candidates of different codes never share a plate; None = all may.
    spare
        (k,) which candidates may be measured once more as `rules.replicates`; None = all.

    Returns
    -------
    DataFrame
        One row per used well, by plate and well: `well, plate, role, condition_id` and the
        candidates' own columns (empty for controls; `well`, `plate` and `role` of their own become
        `pool_well` and so on). Wells left empty are not listed.

    Examples
    --------
    >>> chosen = pd.DataFrame({"condition_id": [f"c{i}" for i in range(80)]})
    >>> plate = layout(chosen, PlateRules(96))
    >>> plate["role"].value_counts().to_dict()
    {'sample': 80, 'positive': 4, 'negative': 4, 'replicate': 4}
    """
    _check_candidates(candidates)
    dealt = _dealt(len(candidates), rules.capacity, together, stream(seed, "plate"))
    spare = np.ones(len(candidates), bool) if spare is None else spare
    seen = np.zeros((2, rules.format))
    parts = []
    for number, members in enumerate(dealt):
        part = _one_plate((members, spare[members]), rules, seen, stream(seed, "plate", number))
        part["plate"] = f"{rules.plate_name}{number + 1}"
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    names = np.asarray(well_names(rules.format), object)
    # as objects, so that whole numbers stay whole beside the empty cells of controls
    own = candidates.rename(columns={name: f"pool_{name}" for name in ("well", "plate", "role")}).astype(object)
    carried = own.reset_index(drop=True).reindex(table["candidate"].to_numpy()).reset_index(drop=True)
    control = table["candidate"].to_numpy() < 0
    ids = carried.pop("condition_id").astype(object)
    ids[control] = [getattr(rules, f"{role}_id") for role in table["role"][control]]
    first = pd.DataFrame(
        {"well": names[table["place"].to_numpy()], "plate": table["plate"], "role": table["role"], "condition_id": ids}
    )
    return pd.concat([first, carried], axis=1)


def _dealt(
    size: int, capacity: int, together: NDArray[np.int64] | None, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Deal candidates to plates at random, evenly, those of one code to plates of their own."""
    order = rng.permutation(size)
    if together is None:
        return list(np.array_split(order, -(-size // capacity)))
    groups = [order[together[order] == code] for code in np.unique(together)]
    return [part for group in groups for part in np.array_split(group, -(-len(group) // capacity))]


def _check_candidates(candidates: pd.DataFrame) -> None:
    if "condition_id" not in candidates.columns:
        message = f"Candidates need a column condition_id; found {list(map(str, candidates.columns))[:20]}."
        raise ColumnError(message)
    doubled = candidates["condition_id"][candidates["condition_id"].duplicated()]
    if len(doubled):
        message = f"Candidate {doubled.iloc[0]!r} stands twice; list it once and set plate.copies."
        raise DesignError(message)
    if len(candidates) == 0:
        message = "There is no candidate to lay out; propose some first."
        raise DesignError(message)


def _areas(rules: PlateRules) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the wells that samples may take and those that controls may take, column by column."""
    rows, columns = SHAPES[rules.format]
    places = np.arange(rules.format).reshape(rows, columns)
    every = places.T.reshape(-1)
    if rules.edge == "any":
        return every, every
    inner = places[1:-1, 1:-1].T.reshape(-1)
    return inner, (inner if rules.edge == "empty" else every[~np.isin(every, inner)])


def _one_plate(
    members_and_spare: tuple[NDArray[np.int64], NDArray[np.bool_]],
    rules: PlateRules,
    seen: NDArray[np.float64],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return place, role and candidate (-1 = control) of one plate's used wells; marks its controls in `seen`."""
    samples, for_controls = _areas(rules)
    wanted = rules.positive + rules.negative
    members, spare = members_and_spare
    again = rng.permutation(members[spare])[: min(rules.replicates, len(members))]
    copied = np.concatenate([np.repeat(members, rules.copies - 1), again])
    if rules.edge == "controls":
        # sample wells help out where the edge is too small
        area = np.concatenate([for_controls, samples[: max(0, wanted - len(for_controls))]])
    else:
        area = samples[: len(members) + len(copied) + wanted]
    controls = _spread_controls(area, rules, seen, rng)
    free = samples[~np.isin(samples, controls)]
    used = rng.permutation(free[: len(members) + len(copied)])
    candidate = np.concatenate([members, copied])
    candidate = _part_replicates(candidate, used, SHAPES[rules.format][1], rng)
    # the first well of a candidate in plate order is its sample, the others its replicates
    order = np.argsort(used)
    used, candidate = used[order], candidate[order]
    role = np.where(pd.Series(candidate).duplicated().to_numpy(), "replicate", "sample").astype(object)
    kinds = np.repeat(["positive", "negative"], [rules.positive, rules.negative]).astype(object)
    table = pd.DataFrame(
        {
            "place": np.concatenate([used, controls]),
            "role": np.concatenate([role, kinds]),
            "candidate": np.concatenate([candidate, np.full(wanted, -1)]).astype(np.int64),
        }
    )
    return table.sort_values("place", kind="stable", ignore_index=True)


def _spread_controls(
    area: NDArray[np.int64], rules: PlateRules, seen: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Choose wells of all positive, then all negative controls, one of each kind in turn.

    The next well is the one whose row, column, quarter and neighbourhood hold the fewest controls,
    above all of its own kind; wells that held that kind on an earlier plate come later.
    """
    rows, columns = SHAPES[rules.format]
    row, column = np.divmod(area, columns)
    quarter = (row >= rows / 2) * 2 + (column > np.median(column))
    taken: list[list[int]] = [[], []]
    left = [rules.positive, rules.negative]
    while sum(left):
        kind = int(np.argmax(left))
        left[kind] -= 1
        cost = 0.3 * seen[kind][area] + 1e-3 * rng.random(len(area))
        for other, weight in ((kind, 2.0), (1 - kind, 1.0)):
            held = np.asarray(taken[other], np.int64)
            # squared: a third one in a row is worse than a second one in each of two rows
            for line in (row, column):
                cost += weight * np.bincount(line[held], minlength=columns)[line] ** 2
            cost += weight * np.bincount(quarter[held], minlength=4)[quarter] / 4
            for one in held:
                cost += weight * ((np.abs(row - row[one]) <= 1) & (np.abs(column - column[one]) <= 1))
        cost[taken[0] + taken[1]] = np.inf
        taken[kind].append(int(np.argmin(cost)))
        seen[kind][area[taken[kind][-1]]] += 1
    return area[np.asarray(taken[0] + taken[1], np.int64)]


def _part_replicates(
    candidate: NDArray[np.int64], used: NDArray[np.int64], columns: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Swap wells until no candidate has two in one row or column, as far as the plate allows."""
    candidate = candidate.copy()
    row, column = np.divmod(used, columns)

    def clash(place: int) -> bool:
        others = np.flatnonzero(candidate == candidate[place])
        others = others[others != place]
        return bool(((row[others] == row[place]) | (column[others] == column[place])).any())

    doubled = np.flatnonzero(pd.Series(candidate).duplicated(keep=False).to_numpy())
    for place in doubled.tolist():
        for _ in range(TRIES):
            if not clash(place):
                break
            other = int(rng.integers(len(candidate)))
            candidate[[place, other]] = candidate[[other, place]]
            if clash(other):
                candidate[[place, other]] = candidate[[other, place]]
    return candidate


def write_plate(table: pd.DataFrame, path: Path, tasks: list[str]) -> None:
    """Write a layout as CSV: `well, plate, role, condition_id`, its own columns, an empty column per task.

    A column of its own that is called like a task is left out: that column is for the new values.
    """
    missing = [name for name in FIRST_COLUMNS if name not in table.columns]
    if missing:
        message = f"A layout needs the columns {', '.join(FIRST_COLUMNS)}; {', '.join(missing)} is missing."
        raise ColumnError(message)
    own = [name for name in table.columns if name not in {*FIRST_COLUMNS, *tasks}]
    with atomic_path(Path(path)) as draft:
        table[FIRST_COLUMNS + own].assign(**dict.fromkeys(tasks, "")).to_csv(draft, index=False)


def read_plate(path: Path, tasks: list[str] | None = None) -> pd.DataFrame:
    """Read what `write_plate` wrote, filled in or not; also as a spreadsheet saves it again.

    Separators ``,``, ``;`` and tab and a byte order mark are understood. Every column comes back as
    text, as it was typed (empty = empty): what a value means is for the reader of results to say.

    Parameters
    ----------
    path
        CSV file.
    tasks
        Columns that must be there beside `well, plate, role, condition_id`.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read as a plate map: {error}. Save it as CSV (UTF-8)."
        raise DataError(message) from error
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    table = _parse(path, separator)
    missing = [name for name in [*FIRST_COLUMNS, *(tasks or [])] if name not in table.columns]
    if missing:
        message = (
            f"{path} has no column {', '.join(missing)}; a plate map has {', '.join(FIRST_COLUMNS)} and one per task."
        )
        raise ColumnError(message)
    wrong = table.index[~table["role"].isin(ROLES)]
    if len(wrong):
        message = (
            f"{path}, line {wrong[0] + 2}: role is {table['role'][wrong[0]]!r}; it must be one of {', '.join(ROLES)}."
        )
        raise DataError(message)
    doubled = table.index[table.duplicated(["plate", "well"])]
    if len(doubled):
        line = table.loc[doubled[0]]
        message = f"{path}, line {doubled[0] + 2}: well {line['well']} of plate {line['plate']} stands twice."
        raise DataError(message)
    return table


def _parse(path: Path, separator: str) -> pd.DataFrame:
    options: dict[str, Any] = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
    try:
        table = pd.read_csv(path, sep=separator, **options)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        message = f"{path} is not a table: {error}"
        raise DataError(message) from error
    table.columns = [str(name).strip() for name in table.columns]
    return table.apply(lambda column: column.str.strip())
