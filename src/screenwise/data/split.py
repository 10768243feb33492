"""Held-out plans: which measured cells a model may learn from, and which it is judged on."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.condition import CONTROL, ENTITIES, factor_columns
from screenwise.errors import ColumnError, ConfigError, DataError
from screenwise.rng import stream
from screenwise.screen import Screen

_SPLIT_TITLE = re.compile(r"(^|_)(fold|split|partition|subset)s?(_|$)|fold$|^fold")
_TIMES = ("date", "year", "document_year", "time")


@dataclass(frozen=True)
class Fold:
    """One part of a held-out plan: masks over ``screen.targets.cells()``; use ``screen.where(fold.train)``."""

    train: NDArray[np.bool_]
    """(m,)"""
    test: NDArray[np.bool_]
    """(m,), never true where `train` is."""


@dataclass(frozen=True)
class Plan:
    """What a split may need beyond the screen."""

    folds: int = 5
    """Parts to cut into."""
    seed: int = 0
    """Seed of splits that draw."""
    cells: pd.DataFrame | None = None
    """(m,) further columns of the measured cells, such as a published split or a date."""
    column: str | None = None
    """Column of `cells` (time) or of the conditions (leave_entity_out)."""


def random(screen: Screen, plan: Plan) -> list[Fold]:
    """Deal conditions at random: nothing of a test condition is known, on no task.

    Its weakness: close relatives of a test compound stay in training, so the scores flatter.
    """
    ids, _ = pd.factorize(screen.conditions["condition_id"])
    distinct = int(ids.max(initial=-1)) + 1
    fold_of = np.empty(distinct, np.int64)
    fold_of[stream(plan.seed, "split", "random").permutation(distinct)] = np.arange(distinct) % plan.folds
    return _by_condition(screen, fold_of[ids], plan, "conditions")


def scaffold(screen: Screen, plan: Plan) -> list[Fold]:
    """Deal Bemis-Murcko scaffolds, largest first, to the smallest fold: new chemistry.

    Deterministic; the seed has no effect. All compounds without a ring share one (empty) scaffold.
    """
    codes, names = pd.factorize(scaffolds(_smiles(screen, "scaffold")), sort=True)
    return _by_condition(screen, deal(codes, plan.folds)[codes], plan, f"scaffolds ({len(names)} in all)")


def cluster(screen: Screen, plan: Plan) -> list[Fold]:
    """Deal clusters of similar compounds (sphere exclusion), largest first, to the smallest fold."""
    from screenwise.data.cluster import similarity_clusters  # noqa: PLC0415

    codes, _ = pd.factorize(similarity_clusters(_smiles(screen, "cluster")), sort=True)
    return _by_condition(screen, deal(codes, plan.folds)[codes], plan, "clusters")


def time(screen: Screen, plan: Plan) -> list[Fold]:
    """Learn from the past, test on the next stretch of time; fold k has k stretches of past.

    Needs a date or a year per measured cell. All cells of one moment are on one side. Cells without
    a date are in no fold, and the oldest stretch is never tested.
    """
    cells = _cells_of(screen, plan, "time")
    column = plan.column or next((str(name) for name in cells.columns if _plain(name) in _TIMES), None)
    if column is None or column not in cells.columns:
        message = f"The split `time` needs a column with a date or a year; found {list(map(str, cells.columns))}."
        raise ColumnError(message)
    moment = _moments(cells[column])
    known = np.isfinite(moment)
    # Cut where a new moment begins, so that ties are never torn apart.
    levels = np.unique(moment[known])
    share = np.searchsorted(np.sort(moment[known]), levels) / max(known.sum(), 1)
    part_of_level = np.minimum((share * (plan.folds + 1)).astype(np.int64), plan.folds)
    part = np.full(len(moment), -1)
    part[known] = part_of_level[np.searchsorted(levels, moment[known])]
    folds = [Fold((part >= 0) & (part < test), part == test) for test in np.unique(part[part >= 0])[1:]]
    return _checked(folds, f"moments in column {column!r}")


def leave_entity_out(screen: Screen, plan: Plan) -> list[Fold]:
    """Hold out whole entities: compounds, genes, drugs, cell lines.

    In a pair both members count: a test pair has at least one held-out member, a training pair none,
    so a pair with one member held out here and one elsewhere is tested in both folds.
    """
    conditions = screen.conditions
    columns = _entity_columns(conditions, plan.column)
    stacked = pd.concat([conditions[name] for name in columns], ignore_index=True)
    controls = stacked.isna() | (len(columns) > 1) & stacked.astype(str).str.strip().isin(CONTROL)
    codes, names = pd.factorize(stacked.mask(controls))
    names_order = np.argsort(np.asarray(names, dtype=str), kind="stable")
    fold_of = np.empty(len(names), np.int64)
    drawn = stream(plan.seed, "split", "entity").permutation(len(names))
    fold_of[names_order[drawn]] = np.arange(len(names)) % plan.folds
    members = np.where(codes >= 0, fold_of[codes] if len(names) else -1, -1).reshape(len(columns), len(conditions))
    row = screen.targets.cells().row
    folds = []
    for fold in range(plan.folds):
        held = (members == fold).any(axis=0)
        folds.append(Fold(~held[row], held[row]))
    return _checked(folds, f"entities in {', '.join(columns)} ({len(names)} in all)")


SPLITS: dict[str, Callable[[Screen, Plan], list[Fold]]] = {
    "random": random,
    "scaffold": scaffold,
    "cluster": cluster,
    "time": time,
    "leave_entity_out": leave_entity_out,
}
"""Splits by name. A column of `cells` with train/test or fold numbers is a split too, by its own name."""


def make_folds(
    name: str,
    screen: Screen,
    *,
    folds: int = 5,
    seed: int = 0,
    cells: pd.DataFrame | None = None,
    column: str | None = None,
) -> list[Fold]:
    """Return the folds of a split.

    Parameters
    ----------
    name
        A key of `SPLITS`, or a column of `cells` that says train / test (one fold; other words such
        as valid are in neither) or fold numbers (each number is tested once).
    screen
        Measurements to cut.
    folds, seed
        Number of parts, and the seed of splits that draw.
    cells
        (m,) further columns of the measured cells, aligned with ``screen.targets.cells()``.
    column
        Column with times (`time`) or entities (`leave_entity_out`); found by its name when None.

    Examples
    --------
    >>> from screenwise.screen import make_screen
    >>> screen = make_screen(pd.DataFrame({"gene": list("ABCDEF")}), np.ones((6, 1)), ["growth"])
    >>> [int(fold.test.sum()) for fold in make_folds("random", screen, folds=3)]
    [2, 2, 2]
    """
    if folds < 2 and name in SPLITS:  # noqa: PLR2004
        message = f"A split has at least 2 folds, not {folds}."
        raise ConfigError(message)
    plan = Plan(folds, seed, cells, column)
    if name in SPLITS:
        return SPLITS[name](screen, plan)
    if cells is not None and name in cells.columns and name != "replicates":
        return _named(_cells_of(screen, plan, name)[name], name)
    known = [*SPLITS, *([] if cells is None else _named_splits(cells))]
    message = f"There is no split {name!r}; the splits here are {', '.join(known)}."
    raise ConfigError(message)


def scaffolds(smiles: Sequence[str]) -> NDArray[Any]:
    """Return (n,) Bemis-Murcko scaffolds as SMILES without stereochemistry; empty where there is no ring.

    An unreadable or missing structure has the empty scaffold too. Results are kept in memory by SMILES.

    References
    ----------
    Bemis and Murcko, J. Med. Chem. 1996, 39, 2887: ring systems and the linkers between them.

    Examples
    --------
    >>> scaffolds(["CCc1ccccc1", "Oc1ccccc1", "CCO"]).tolist()
    ['c1ccccc1', 'c1ccccc1', '']
    """
    from screenwise.data.chemistry import quiet_rdkit  # noqa: PLC0415

    with quiet_rdkit():
        codes, distinct = pd.factorize(np.asarray(list(smiles), dtype=object))
        found = np.array([*map(_scaffold, distinct), ""], dtype=object)  # the last answers for what is missing
    return found[codes]


@lru_cache(maxsize=200_000)
def _scaffold(smiles: str) -> str:
    from rdkit import Chem  # noqa: PLC0415
    from rdkit.Chem.rdmolops import MurckoDecompose  # noqa: PLC0415

    molecule = Chem.MolFromSmiles(smiles)
    # without stereochemistry: two enantiomers have one scaffold
    return "" if molecule is None else Chem.MolToSmiles(MurckoDecompose(molecule), isomericSmiles=False)


def deal(groups: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """Return the fold of each group: largest group first, each to the smallest fold so far.

    Ties between groups are settled by their number, between folds by the lower one.

    Examples
    --------
    >>> deal(np.array([0, 0, 0, 1, 1, 2]), 2).tolist()
    [0, 1, 1]
    """
    sizes = np.bincount(groups)
    load = np.zeros(folds, np.int64)
    fold_of = np.zeros(len(sizes), np.int64)
    for group in np.argsort(-sizes, kind="stable"):
        fold_of[group] = np.argmin(load)
        load[fold_of[group]] += sizes[group]
    return fold_of


def _by_condition(screen: Screen, fold_of: NDArray[np.int64], plan: Plan, what: str) -> list[Fold]:
    part = fold_of[screen.targets.cells().row]
    return _checked([Fold(part != fold, part == fold) for fold in range(plan.folds)], what)


def _checked(folds: list[Fold], what: str) -> list[Fold]:
    usable = [fold for fold in folds if fold.train.any() and fold.test.any()]
    if not folds or len(usable) < len(folds):
        message = f"Too few {what} for {len(folds)} folds: {len(usable)} of them have both sides. Use fewer folds."
        raise DataError(message)
    return folds


def _named(column: pd.Series, name: str) -> list[Fold]:
    words = column.astype("string").str.strip().str.lower().fillna("").to_numpy(object)
    if (words == "test").any():
        return _checked([Fold(words == "train", words == "test")], f"cells marked train or test in {name!r}")
    numbers = pd.to_numeric(pd.Series(words), errors="coerce").to_numpy(np.float64)
    known = np.isfinite(numbers)
    if not known.any() or (~known & (words != "")).any():
        message = f"Column {name!r} is no split: it must say train and test, or fold numbers; found {set(words[:50])}."
        raise ColumnError(message)
    levels = np.unique(numbers[known])
    return _checked([Fold(known & (numbers != level), numbers == level) for level in levels], f"folds in {name!r}")


def _named_splits(cells: pd.DataFrame) -> list[str]:
    """Return the columns that say train and test, or are called like a split."""
    called = [str(name) for name in cells.columns if _SPLIT_TITLE.search(_plain(name))]
    texts = cells.drop(columns=called).select_dtypes(exclude="number")
    said = [name for name in texts.columns if {"train", "test"} <= set(texts[name].astype(str).str.lower().unique())]
    return [str(name) for name in cells.columns if name in called or name in said]


def _cells_of(screen: Screen, plan: Plan, name: str) -> pd.DataFrame:
    if plan.cells is None:
        message = f"The split {name!r} needs the table of measured cells; this screen came without one."
        raise ColumnError(message)
    size = len(screen.targets.cells())
    if len(plan.cells) != size:
        message = f"The table of cells has {len(plan.cells)} rows, the screen {size} measured cells; they must agree."
        raise DataError(message)
    return plan.cells


def _smiles(screen: Screen, split: str) -> list[str]:
    if "smiles" not in screen.conditions.columns:
        message = f"The split {split!r} needs compounds (a column smiles); use random or leave_entity_out here."
        raise ColumnError(message)
    return screen.conditions["smiles"].fillna("").astype(str).tolist()


def _entity_columns(conditions: pd.DataFrame, column: str | None) -> list[str]:
    if column is not None and column in conditions.columns:
        return [column]
    name = column or next(
        (entity for entity in ENTITIES for found in factor_columns(conditions) if found in (entity, f"{entity}_a")), ""
    )
    members = [f"{name}{suffix}" for suffix in ("", "_a", "_b", "_c", "_d", "_e")]
    columns = [member for member in members if member in conditions.columns]
    if not columns:
        message = f"No column {column!r} in the conditions; found {list(map(str, conditions.columns))}."
        raise ColumnError(message)
    return columns


def _moments(column: pd.Series) -> NDArray[np.float64]:
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.notna().any() or not column.notna().any():
        return numbers.to_numpy(np.float64)
    dates = pd.to_datetime(column, errors="coerce", utc=True, format="mixed")
    seconds = dates.astype("int64").to_numpy(np.float64) / 1e9
    return np.where(dates.notna(), seconds, np.nan)


def _plain(name: object) -> str:
    return str(name).strip().lower().replace(" ", "_")
