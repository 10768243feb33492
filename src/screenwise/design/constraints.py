"""What a round may hold, as a user writes it: caps, costs, stock, one value per plate, what is in or out."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.config import from_mapping, read_config
from screenwise.errors import ColumnError, ConfigError, DesignError

MEMBERS = ("_a", "_b", "_c", "_d", "_e")
"""Endings of the columns of a pair's members: a rule on `gene` holds for gene_a and gene_b together."""
SCAFFOLD = "scaffold"
"""Column that is computed from `smiles` where a rule names it and the pool does not have it."""
NUMBERS = (int, float)


@dataclass(frozen=True)
class Constraints:
    """Rules of one round.

    A rule on a column that the pool has only in members (`gene_a`, `gene_b`) counts both of them.

    Examples
    --------
    >>> parse_constraints({"caps": {"scaffold": 2}, "cost": "price", "budget": 500.0}).caps
    {'scaffold': 2}
    """

    caps: Mapping[str, int] = field(default_factory=dict)
    """Column of the pool -> most candidates of one of its values in a round, such as {scaffold = 3}. A candidate
    whose value is missing or empty belongs to no group; `scaffold` is computed from structures."""
    cost: str = ""
    """Column with the cost of having a candidate in a round, in the budget's unit; empty = none."""
    budget: float | None = None
    """Most that one round may cost; None = no limit."""
    must_include: tuple[str, ...] = ()
    """Candidates that are in before all others, whatever they score, until they are measured: by condition_id
    or by a name that only they have."""
    must_exclude: tuple[str, ...] = ()
    """Candidates that are never in."""
    cost_per_well: float = 0.0
    """Cost of every well, of controls and replicates too."""
    cost_per_plate: float = 0.0
    """Cost of every plate beside its wells."""
    cost_of_new: Mapping[str, float] = field(default_factory=dict)
    """Column -> cost of each of its values that no exported plate has held yet, such as {compound = 120.0}:
    a reagent that has to be bought or made once."""
    stock: Mapping[str, str] = field(default_factory=dict)
    """Column -> column with the number of wells for which its value lasts in all, such as
    {compound = "wells_left"}; an empty number = as many as wanted."""
    one_per_plate: tuple[str, ...] = ()
    """Columns that have one value on a plate (cell_line, temperature_c); several = one combination of them."""
    plates: int | None = None
    """Plates of a round, for one_per_plate: most values that it may have at once, although its wells would fit on
    fewer plates; by default as few as the wells need, which on large plates may be one."""

    def __post_init__(self) -> None:
        wrong = {name: cap for name, cap in self.caps.items() if type(cap) is not int or cap < 1}
        if wrong:
            message = (
                f"Constraints.caps has {wrong}; a cap is a whole number of at least 1. "
                "Leave candidates out with must_exclude."
            )
            raise ConfigError(message)
        if self.plates is not None and (type(self.plates) is not int or self.plates < 1):
            message = f"Constraints.plates is {self.plates}; it must be a whole number of at least 1."
            raise ConfigError(message)
        prices = {"cost_per_well": self.cost_per_well, "cost_per_plate": self.cost_per_plate, **self.cost_of_new}
        odd_prices = {name: one for name, one in prices.items() if type(one) not in NUMBERS or not 0 <= one < np.inf}
        if odd_prices:
            message = f"Constraints has the costs {odd_prices}; a cost is a number of at least 0."
            raise ConfigError(message)
        if self.budget is not None and not (self.budget > 0 and self.costs):
            message = (
                f"Constraints.budget is {self.budget} and cost names the column {self.cost!r}; a budget must be above "
                "0 and needs costs: cost, cost_per_well, cost_per_plate or cost_of_new."
            )
            raise ConfigError(message)
        odd = [name for name in self.stock.values() if not isinstance(name, str)]
        if odd:
            message = f"Constraints.stock has {odd[0]!r}; it names a column with numbers of wells, not a number."
            raise ConfigError(message)
        both = sorted(set(self.must_include) & set(self.must_exclude))
        if both:
            message = f"{both} stand in must_include and in must_exclude; take them out of one."
            raise ConfigError(message)

    @property
    def costs(self) -> bool:
        """Whether anything costs something."""
        return bool(self.cost or self.cost_per_well or self.cost_per_plate or self.cost_of_new)

    @property
    def columns(self) -> list[str]:
        """Names of columns that the rules use."""
        own = [*self.caps, *self.cost_of_new, *self.stock, *self.stock.values(), *self.one_per_plate]
        return list(dict.fromkeys([*own, *([self.cost] if self.cost else [])]))


def parse_constraints(source: Mapping[str, Any] | Path | str) -> Constraints:
    """Read constraints from a mapping or a TOML file; a wrong name is an error that suggests the right one."""
    if isinstance(source, Mapping):
        return from_mapping(Constraints, dict(source), "constraints")
    return read_config(Path(source), Constraints)


def no_column(pool: pd.DataFrame, name: str) -> ColumnError:
    """Return the error of a rule on a column that the pool lacks.

    Examples
    --------
    >>> print(no_column(pd.DataFrame(columns=["condition_id", "gene", "feature:x", "line"]), "cell_line"))
    The rules name the column 'cell_line', which the pool lacks; it has gene, line. Did you mean 'line'?
    """
    there = [one for one in map(str, pool.columns) if one != "condition_id" and not one.startswith("feature:")]
    near = difflib.get_close_matches(name, there, n=1)
    cure = f" Did you mean {near[0]!r}?" if near else ""
    return ColumnError(
        f"The rules name the column {name!r}, which the pool lacks; it has {', '.join(there[:30])}.{cure}"
    )


def member_columns(pool: pd.DataFrame, name: str) -> list[str]:
    """Return the columns that a rule's name stands for: itself, or those of the members of a pair.

    Examples
    --------
    >>> member_columns(pd.DataFrame(columns=["gene_a", "gene_b", "dose"]), "gene")
    ['gene_a', 'gene_b']
    """
    found = [name] if name in pool.columns else [name + end for end in MEMBERS if name + end in pool.columns]
    if not found:
        raise no_column(pool, name)
    return found


def with_scaffold(pool: pd.DataFrame, constraints: Constraints) -> pd.DataFrame:
    """Return the pool with the column `scaffold` where a rule needs it and structures are there.

    Examples
    --------
    >>> with_scaffold(pd.DataFrame({"smiles": ["CCc1ccccc1"]}), Constraints({"scaffold": 1}))["scaffold"].tolist()
    ['c1ccccc1']
    """
    if SCAFFOLD not in constraints.columns or SCAFFOLD in pool.columns or "smiles" not in pool.columns:
        return pool
    from screenwise.data.split import scaffolds  # noqa: PLC0415

    return pool.assign(**{SCAFFOLD: scaffolds(pool["smiles"].astype(str).tolist())})


def resolved(constraints: Constraints, pool: pd.DataFrame) -> Constraints:
    """Return constraints whose must_include and must_exclude are condition_ids.

    Raises
    ------
    DesignError
        A name fits no candidate, or several.
    """
    if not (constraints.must_include or constraints.must_exclude):
        return constraints
    ids = pool["condition_id"].astype(str)
    wanted = {*constraints.must_include, *constraints.must_exclude} - set(ids)
    names: dict[str, set[str]] = {}
    for column in pool.columns if wanted else ():
        if not (str(column).startswith("feature:") or pd.api.types.is_float_dtype(pool[column])):
            texts = pool[column].astype(str)
            for text, one in zip(texts[texts.isin(wanted)], ids[texts.isin(wanted)], strict=True):
                names.setdefault(text, set()).add(one)

    def ids_of(given: Sequence[str], rule: str) -> tuple[str, ...]:
        bad = [one for one in given if one in wanted and len(names.get(one, ())) != 1]
        if bad:
            why = f"fits {len(names[bad[0]])} candidates; use condition_id" if bad[0] in names else "is not in the pool"
            message = f"{rule} has {len(bad)} names that do not name one candidate: {bad[0]!r} {why}."
            raise DesignError(message)
        return tuple(dict.fromkeys(next(iter(names[one])) if one in wanted else one for one in given))

    return replace(
        constraints,
        must_include=ids_of(constraints.must_include, "must_include"),
        must_exclude=ids_of(constraints.must_exclude, "must_exclude"),
    )


def value_codes(pool: pd.DataFrame, columns: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return (m, n) codes of m columns' values, -1 = empty, and the values in their own order.

    Codes follow the sorted values, so that they do not depend on the order of the pool.
    """
    texts = [pool[name].astype("string").str.strip() for name in columns]
    joined = pd.concat([text.mask(text == "") for text in texts], ignore_index=True)
    codes, values = pd.factorize(joined, sort=True)
    table = np.asarray(codes, np.int64).reshape(len(texts), len(pool))
    for later in range(1, len(table)):  # twice the same member counts once
        table[later][(table[:later] == table[later]).any(axis=0)] = -1
    return table, np.asarray(values, object)


def number_column(pool: pd.DataFrame, name: str, *, empty: float | None = None) -> NDArray[np.float64]:
    """Return a column of costs or amounts, (n,) numbers of at least 0; `empty` stands for what is missing."""
    if name not in pool.columns:
        raise no_column(pool, name)
    number = pd.to_numeric(pool[name], errors="coerce").to_numpy(np.float64)
    if empty is not None:
        blank = pool[name].astype("string").str.strip().fillna("").eq("").to_numpy(bool)
        number = np.where(blank, empty, number)
    wrong = np.flatnonzero(~(number >= 0) | (np.isinf(number) if empty is None else False))
    if len(wrong):
        first = f"{_named(pool.drop(columns=name), int(wrong[0]))}, {name} {str(pool[name].iloc[wrong[0]])!r}"
        message = (
            f"The {name!r} of {len(wrong)} candidates is missing, negative or no number (first: {first}); correct it."
        )
        raise DesignError(message)
    return np.asarray(number, np.float64)


def _named(pool: pd.DataFrame, row: int) -> str:
    """Return what a user knows a candidate by: the first column whose text only it has, else its condition_id."""
    for name in map(str, pool.columns):
        if name != "condition_id" and not (name.startswith("feature:") or pd.api.types.is_numeric_dtype(pool[name])):
            texts = pool[name].astype(str)
            if (texts == texts.iloc[row]).sum() == 1:
                return f"{name} {texts.iloc[row]}"
    return str(pool["condition_id"].iloc[row])
