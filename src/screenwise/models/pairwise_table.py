"""A profile screen as arrays: the control, the effects of singles, and those of combinations."""

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.labels import is_control
from screenwise.errors import ColumnError, DataError, ModelError
from screenwise.screen import Screen

_MEMBER = re.compile(r"^gene_[a-z]$")
PAIR = 2
"""Genes of a double."""


@dataclass(frozen=True)
class ProfileTable:
    """What a profile screen measured, as effects: level of the condition minus level of the control.

    Made by `read_profile_screen`. Only features measured in the control and in some other condition are
    here; p counts these.
    """

    tasks: pd.DataFrame
    """(t,) name and kind of all tasks."""
    used: NDArray[np.bool_]
    """(t,) which tasks are features here; p of them."""
    size: int
    """Conditions of the screen."""
    control: NDArray[np.float64]
    """(p,) level of the control."""
    genes: NDArray[np.str_]
    """(g,) genes with a measured single, ascending."""
    single: NDArray[np.float64]
    """(g, p) effects of the singles, as measured."""
    single_error: NDArray[np.float64]
    """(g,) squared standard error of a single's effect, the control's included, summed over features; NaN unknown."""
    combinations: tuple[tuple[str, ...], ...]
    """(m,) genes of the measured combinations, two or more each, ascending."""
    effect: NDArray[np.float64]
    """(m, p) effects of the combinations, in their order."""
    rows: NDArray[np.int64]
    """(m,) their rows in the screen."""
    filled: int = 0
    """Cells that were not measured although their condition and feature were; they hold a neutral guess."""

    @property
    def places(self) -> NDArray[np.int64]:
        """(m, widest) position of each combination's genes among `genes`; -1 = no single, -2 = no gene."""
        return gene_places(self.genes, self.combinations)

    def take(self, keep: NDArray[Any]) -> "ProfileTable":
        """Return the table with some combinations only (integer or boolean positions); all singles stay."""
        chosen = np.arange(len(self.rows))[keep]
        return replace(
            self,
            combinations=tuple(self.combinations[place] for place in chosen.tolist()),
            effect=self.effect[chosen],
            rows=self.rows[chosen],
        )

    def level(self, effect: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return (n, t) levels of (n, p) effects, NaN where a task is no feature."""
        return self.spread(self.control + effect)

    def spread(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return (n, t) of (n, p) values, NaN where a task is no feature."""
        out = np.full((len(values), len(self.used)), np.nan, np.float32)
        out[:, self.used] = values
        return out


def read_genes(conditions: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the genes of (n,) conditions, ascending and each once; () = the control.

    Read from `gene_a`, `gene_b`, ... , else from `gene`, else from the label `condition` ("A+B").

    Examples
    --------
    >>> read_genes(pd.DataFrame({"gene_a": ["B", "A", ""], "gene_b": ["A", "ctrl", ""]}))
    [('A', 'B'), ('A',), ()]
    >>> read_genes(pd.DataFrame({"condition": ["ctrl", "KLF1+ctrl", "KLF1+BAK1+SET"]}))
    [(), ('KLF1',), ('BAK1', 'KLF1', 'SET')]
    """
    members = [str(name) for name in conditions.columns if _MEMBER.match(str(name))]
    if not members:
        members = [name for name in ("gene", "condition") if name in conditions.columns][:1]
    if not members:
        message = (
            "Gene combinations need the columns gene_a, gene_b (or a column condition with labels such as A+B); "
            f"found {list(map(str, conditions.columns))}."
        )
        raise ColumnError(message)
    joined = conditions[members[0]].astype("string").fillna("").astype(str)
    for name in members[1:]:
        joined = joined + "+" + conditions[name].astype("string").fillna("").astype(str)
    codes, labels = pd.factorize(joined)
    distinct = [_genes_of(str(label)) for label in labels]
    return [distinct[code] for code in codes.tolist()]


def _genes_of(label: str) -> tuple[str, ...]:
    names = {part.strip() for part in label.split("+")}
    return tuple(sorted(name for name in names if name and not is_control(name)))


def gene_places(genes: NDArray[np.str_], combinations: tuple[tuple[str, ...], ...]) -> NDArray[np.int64]:
    """Return (m, widest) positions among sorted `genes`; -1 = not among them, -2 = no gene there.

    Examples
    --------
    >>> gene_places(np.array(["A", "B"]), (("A", "B"), ("B", "C", "D"))).tolist()
    [[0, 1, -2], [1, -1, -1]]
    """
    widest = max([PAIR, *map(len, combinations)])
    flat = np.array([name for names in combinations for name in names], dtype=object)
    place = pd.Index(genes.astype(object)).get_indexer(flat)
    length = np.fromiter(map(len, combinations), np.int64, len(combinations))
    out = np.full((len(combinations), widest), -2, np.int64)
    out[np.arange(widest) < length[:, None]] = place
    return out


def read_profile_screen(screen: Screen) -> ProfileTable:
    """Return the arrays of a profile screen; see `ProfileTable`.

    Raises
    ------
    DataError
        Without a control, with two rows of one condition, or without any measured single.
    """
    genes = read_genes(screen.conditions)
    value = screen.targets.dense().astype(np.float64)
    value[~np.isfinite(value)] = np.nan
    there = np.isfinite(value).any(axis=1)
    if screen.targets.weight is not None:
        there &= screen.targets.weight > 0
    kept = np.flatnonzero(there)
    names = [genes[row] for row in kept.tolist()]
    length = np.fromiter(map(len, names), np.int64, len(names))
    _check(names, length)
    control_row = kept[length == 0][0]
    control = value[control_row]
    used = np.isfinite(control) & np.isfinite(value[kept[length > 0]]).any(axis=0)
    if not used.any():
        message = "No feature was measured both in the control and in a perturbed condition; nothing can be learned."
        raise ModelError(message)
    singles = kept[length == 1]
    order = np.argsort(np.array([genes[row][0] for row in singles], dtype=str), kind="stable")
    singles = singles[order]
    combined = kept[length > 1]
    control = control[used]
    single, combination = value[np.ix_(singles, used)] - control, value[np.ix_(combined, used)] - control
    error = _squared_error(screen.conditions)
    table = ProfileTable(
        screen.tasks[["name", "kind"]].reset_index(drop=True),
        used,
        len(screen),
        control,
        np.array([genes[row][0] for row in singles], dtype=str),
        single,
        error[singles] + error[control_row],
        tuple(genes[row] for row in combined.tolist()),
        combination,
        combined,
        int(np.isnan(single).sum() + np.isnan(combination).sum()),
    )
    return _fill(table)


def _check(names: list[tuple[str, ...]], length: NDArray[np.int64]) -> None:
    if not (length == 0).any():
        message = (
            "The screen has no control: effects are differences from it. Add one row whose condition is ctrl, "
            "or name yours with --control."
        )
        raise DataError(message)
    doubled = pd.Series(names)[pd.Series(names).duplicated()]
    if len(doubled):
        label = "+".join(doubled.iloc[0]) or "ctrl"
        message = f"The condition {label} stands in several rows; average its rows before fitting."
        raise DataError(message)
    if not (length == 1).any():
        message = "The screen has no single perturbation; a combination is predicted from those of its genes. Add some."
        raise DataError(message)


def _squared_error(conditions: pd.DataFrame) -> NDArray[np.float64]:
    if "squared_error" not in conditions.columns:
        return np.full(len(conditions), np.nan)
    return pd.to_numeric(conditions["squared_error"], errors="coerce").to_numpy(np.float64)


def _fill(table: ProfileTable) -> ProfileTable:
    """Put a neutral guess where a cell is missing: the mean of the singles, the sum for combinations."""
    if not table.filled:
        return table
    known = np.isfinite(table.single)
    mean = np.where(known, table.single, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    single = np.where(known, table.single, mean)
    padded = np.vstack([single, mean, np.zeros_like(mean)])
    places = table.places
    total = padded[np.where(places < 0, len(single) - 1 - places, places)].sum(axis=1)
    return replace(table, single=single, effect=np.where(np.isfinite(table.effect), table.effect, total))
