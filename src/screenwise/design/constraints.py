"""What a round may hold: caps per group, a budget, what must and must not be in; and what each rule costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.config import from_mapping, read_config
from screenwise.design.acquisition import pick_top
from screenwise.errors import ColumnError, ConfigError, DesignError


@dataclass(frozen=True)
class Constraints:
    """Rules of one round.

    Examples
    --------
    >>> parse_constraints({"caps": {"scaffold": 2}, "cost": "price", "budget": 500.0}).caps
    {'scaffold': 2}
    """

    caps: Mapping[str, int] = field(default_factory=dict)
    """Column of the pool -> most wells of one of its values (a scaffold, a pathway, a supplier).
    A candidate whose value is missing or empty belongs to no group."""
    cost: str = ""
    """Column with the cost of a candidate, in the budget's unit; empty = nothing costs anything."""
    budget: float | None = None
    """Most that one round may cost; None = no limit."""
    must_include: tuple[str, ...] = ()
    """condition_ids that are in, whatever they score, and before all others."""
    must_exclude: tuple[str, ...] = ()
    """condition_ids that are not in."""

    def __post_init__(self) -> None:
        wrong = {name: cap for name, cap in self.caps.items() if cap < 1}
        if wrong:
            message = f"Constraints.caps has {wrong}; a cap is at least 1. Leave candidates out with must_exclude."
            raise ConfigError(message)
        if self.budget is not None and not (self.budget > 0 and self.cost):
            message = (
                f"Constraints.budget is {self.budget} and cost names the column {self.cost!r}; "
                "a budget must be above 0 and needs a column of costs."
            )
            raise ConfigError(message)
        both = sorted(set(self.must_include) & set(self.must_exclude))
        if both:
            message = f"{both} stand in must_include and in must_exclude; take them out of one."
            raise ConfigError(message)


@dataclass(frozen=True)
class Rules:
    """Constraints applied to a pool of n candidates: what every `pick_...` function takes."""

    first: tuple[int, ...]
    """Rows that must be in."""
    open: NDArray[np.bool_]
    """(n,) what no rule forbids from the start."""
    groups: NDArray[np.int64]
    """(g, n) group of each candidate under each cap; -1 = none."""
    caps: NDArray[np.int64]
    """(g,)"""
    cost: NDArray[np.float64]
    """(n,)"""
    budget: float

    def allowed(self, picks: Sequence[int]) -> NDArray[np.bool_]:
        """Return the (n,) mask of what may follow some picks."""
        mask = self.open.copy()
        rows = np.asarray(picks, np.int64)
        for group, cap in zip(self.groups, self.caps, strict=True):
            taken = group[rows]
            codes, counts = np.unique(taken[taken >= 0], return_counts=True)
            full = codes[counts >= cap]
            if len(full):
                mask &= ~np.isin(group, full)
        if np.isfinite(self.budget):
            # a hair of slack: sums of prices differ in their last digits
            mask &= self.cost <= self.budget - self.cost[rows].sum() + 1e-9 * self.budget
        return mask

    def among(self, rows: NDArray[np.int64]) -> "Rules":
        """Return the rules of a part of the pool that holds all of `first`."""
        place = {int(row): position for position, row in enumerate(rows)}
        first = tuple(place[row] for row in self.first)
        return replace(self, first=first, open=self.open[rows], groups=self.groups[:, rows], cost=self.cost[rows])

    @property
    def free(self) -> bool:
        """Whether there is no rule at all beyond what is open."""
        return not len(self.caps) and not np.isfinite(self.budget)

    def mask_or_rule(self) -> NDArray[np.bool_] | Callable[[Sequence[int]], NDArray[np.bool_]]:
        """Return the plain mask when nothing depends on the picks: it is quicker."""
        return self.open if self.free else self.allowed


def parse_constraints(source: Mapping[str, Any] | Path | str) -> Constraints:
    """Read constraints from a mapping or a TOML file; a wrong name is an error that suggests the right one."""
    if isinstance(source, Mapping):
        return from_mapping(Constraints, dict(source), "constraints")
    return read_config(Path(source), Constraints)


def apply_constraints(constraints: Constraints, pool: pd.DataFrame) -> Rules:
    """Return the rules of a pool; `pool` has `condition_id` and every column that a rule names.

    Raises
    ------
    ColumnError
        A column is not there.
    DesignError
        An id is not in the pool, a cost is missing, or what must be in breaks a cap or the budget.
    """
    needed = [*constraints.caps, *([constraints.cost] if constraints.cost else [])]
    missing = [name for name in ["condition_id", *needed] if name not in pool.columns]
    if missing:
        message = f"The pool has no column {', '.join(missing)}; found {list(map(str, pool.columns))[:30]}."
        raise ColumnError(message)
    place = pd.Series(np.arange(len(pool)), index=pool["condition_id"].astype(str))
    place = place[~place.index.duplicated()]
    first = _rows(place, constraints.must_include, "must_include")
    closed = pool["condition_id"].astype(str).isin(constraints.must_exclude).to_numpy(bool)
    groups = (
        np.stack([_codes(pool[name]) for name in constraints.caps]) if constraints.caps else np.empty((0, len(pool)))
    )
    rules = Rules(
        tuple(first),
        ~closed,
        groups.astype(np.int64),
        np.asarray(list(constraints.caps.values()), np.int64),
        _costs(pool, constraints.cost),
        np.inf if constraints.budget is None else float(constraints.budget),
    )
    _check_first(rules, constraints)
    return rules


def _rows(place: pd.Series, ids: Sequence[str], name: str) -> list[int]:
    unknown = [one for one in ids if one not in place.index]
    if unknown:
        message = (
            f"{name} has {len(unknown)} ids that are not in the pool, such as {unknown[0]!r}. Check for measured ones."
        )
        raise DesignError(message)
    return [int(place[one]) for one in dict.fromkeys(ids)]


def _codes(column: pd.Series) -> NDArray[np.int64]:
    text = column.astype("string").str.strip()
    codes, _ = pd.factorize(text.mask(text == ""))
    return np.asarray(codes, np.int64)


def _costs(pool: pd.DataFrame, name: str) -> NDArray[np.float64]:
    if not name:
        return np.zeros(len(pool))
    cost = pd.to_numeric(pool[name], errors="coerce").to_numpy(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(cost) & (cost >= 0)))
    if len(wrong):
        message = (
            f"The cost {name!r} of {len(wrong)} candidates is missing, negative or no number "
            f"(first: {pool['condition_id'].iloc[wrong[0]]}, {pool[name].iloc[wrong[0]]!r}); fill it in."
        )
        raise DesignError(message)
    return cost


def _check_first(rules: Rules, constraints: Constraints) -> None:
    for count in range(len(rules.first)):
        if not rules.allowed(rules.first[:count])[rules.first[count]]:
            message = (
                f"must_include breaks a cap or the budget at its entry {count + 1}, "
                f"{constraints.must_include[count]!r}. Raise the cap or the budget, or take it out."
            )
            raise DesignError(message)


def constraint_prices(
    score: NDArray[np.float64],
    size: int,
    keys: NDArray[np.uint64],
    constraints: Constraints,
    pool: pd.DataFrame,
) -> pd.DataFrame:
    """Return what each rule costs: the score gained if it alone were lifted.

    Parameters
    ----------
    score
        (n,) as for `screenwise.design.acquisition.pick_top`; NaN and minus infinity are never picked.
    size
        Wells of the round.
    keys
        (n,) settle equal scores.
    constraints, pool
        The rules and the (n,) candidates.

    Returns
    -------
    DataFrame
        One row per rule, and "all rules": `rule`, `wells` (picks that would change), `score` (mean
        score per well gained without the rule, 0 = it binds nothing).

    Examples
    --------
    >>> pool = pd.DataFrame({"condition_id": ["a", "b", "c"], "scaffold": ["x", "x", "y"]})
    >>> rules = Constraints(caps={"scaffold": 1})
    >>> constraint_prices(np.array([3.0, 2.0, 1.0]), 2, np.arange(3, dtype=np.uint64), rules, pool).values.tolist()
    [['at most 1 of one scaffold', 1, 0.5], ['all rules', 1, 0.5]]
    """
    lifted: dict[str, Constraints] = {}
    for name, cap in constraints.caps.items():
        others = {other: value for other, value in constraints.caps.items() if other != name}
        lifted[f"at most {cap} of one {name}"] = replace(constraints, caps=others)
    if constraints.budget is not None:
        lifted[f"budget {constraints.budget:g}"] = replace(constraints, budget=None)
    if constraints.must_include:
        lifted["must_include"] = replace(constraints, must_include=())
    if constraints.must_exclude:
        lifted["must_exclude"] = replace(constraints, must_exclude=())
    lifted["all rules"] = Constraints()
    ruled = _picked(score, size, keys, apply_constraints(constraints, pool))
    lines = []
    for name, other in lifted.items():
        free = _picked(score, size, keys, apply_constraints(other, pool))
        lines.append((name, len(set(free) - set(ruled)), _mean_score(score, free) - _mean_score(score, ruled)))
    return pd.DataFrame(lines, columns=["rule", "wells", "score"])


def _picked(score: NDArray[np.float64], size: int, keys: NDArray[np.uint64], rules: Rules) -> list[int]:
    picks = pick_top(score, size, keys, allowed=rules.mask_or_rule(), first=rules.first)
    return [int(one) for one in picks]


def _mean_score(score: NDArray[np.float64], rows: list[int]) -> float:
    values = score[rows]
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else 0.0
