"""Constraints applied to a pool: which candidates may follow some picks, and what a round of them costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from screenwise.design.constraints import (
    Constraints,
    member_columns,
    no_column,
    number_column,
    value_codes,
)
from screenwise.errors import ColumnError, DesignError

SLACK = 1e-9
"""Share of a budget that may be overspent: sums of prices differ in their last digits."""


@dataclass(frozen=True)
class Bench:
    """What a round is laid out on, and what was used before it."""

    capacity: int | None = None
    """Candidates that fit on a plate; None = one plate takes all."""
    plates: int = 1
    """Plates of the round."""
    copies: int = 1
    """Wells of every candidate."""
    extra: int = 0
    """Wells of every plate that hold controls and further replicates."""
    used: Mapping[str, int] = field(default_factory=dict)
    """condition_id -> wells that it has had on exported plates."""
    wells: int | None = None
    """Candidates of the round; None = it fills its plates."""


@dataclass(frozen=True)
class Limit:
    """Most of each value of a column, or of several columns together."""

    codes: NDArray[np.int64]
    """(m, n) value of each candidate in m columns; -1 = none."""
    most: NDArray[np.float64]
    """(v,) of each value."""
    step: float = 1.0
    """How much of it a pick takes."""

    def full(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (n,) which candidates have no room beside some picks."""
        taken = self.codes[:, rows].reshape(-1)
        counts = np.bincount(taken[taken >= 0], minlength=len(self.most)) * self.step
        over = np.append(counts + self.step > self.most + SLACK, False)  # the last answers for -1
        return np.asarray(over[self.codes].any(axis=0))


@dataclass(frozen=True)
class PlateRule:
    """One value per plate."""

    codes: NDArray[np.int64]
    """(n,) combination of values of each candidate."""
    capacity: int
    plates: int
    wells: int | None = None
    """Candidates of the round; None = it fills its plates."""

    @property
    def fill(self) -> int:
        """Candidates that a plate of the round holds, all filled alike."""
        return self.capacity if self.wells is None else min(self.capacity, -(-self.wells // self.plates))

    def full(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (n,) which candidates would need a plate more than there are."""
        counts = np.bincount(self.codes[rows], minlength=int(self.codes.max(initial=-1)) + 1)
        if int(plates_of(counts, self.capacity)) < self.plates:
            return np.zeros(len(self.codes), bool)
        return np.asarray((counts % self.capacity == 0)[self.codes])


@dataclass(frozen=True)
class Prices:
    """What picks cost."""

    own: NDArray[np.float64]
    """(n,) of each candidate with its wells."""
    new: tuple[tuple[NDArray[np.int64], float], ...]
    """(m, n) codes of components, -1 = had before or none, and the cost of each new one."""
    plate: float
    """Of a plate with its controls and replicates."""
    capacity: int | None
    codes: NDArray[np.int64]
    """(n,) which candidates share plates."""
    budget: float

    def total(self, rows: NDArray[np.int64]) -> float:
        """Return the cost of some picks together."""
        cost = float(self.own[rows].sum())
        for codes, price in self.new:
            needed = np.unique(codes[:, rows])
            cost += price * int((needed >= 0).sum())
        if self.plate and len(rows):
            cost += self.plate * float(plates_of(np.bincount(self.codes[rows]), self.capacity or len(rows)))
        return cost

    def further(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (n,) what each candidate adds to the cost of some picks."""
        cost = self.own.copy()
        for codes, price in self.new:
            had = np.zeros(int(codes.max(initial=-1)) + 2, bool)
            had[codes[:, rows]] = True
            had[-1] = True  # answers for -1
            cost += price * (~had[codes]).sum(axis=0)
        if self.plate:
            counts = np.bincount(self.codes[rows], minlength=int(self.codes.max(initial=-1)) + 1)
            begun = counts > 0 if self.capacity is None else counts % self.capacity != 0
            cost += self.plate * ~begun[self.codes]
        return cost


@dataclass(frozen=True)
class Rules:
    """Constraints applied to a pool of n candidates: what every `pick_...` function takes."""

    first: tuple[int, ...]
    """Rows that must be in."""
    open: NDArray[np.bool_]
    """(n,) what no rule forbids from the start."""
    limits: tuple[Limit, ...] = ()
    """Caps and stock."""
    plates: PlateRule | None = None
    prices: Prices | None = None
    """None = nothing costs anything."""

    def allowed(self, picks: Sequence[int]) -> NDArray[np.bool_]:
        """Return the (n,) mask of what may follow some picks."""
        mask = self.open.copy()
        rows = np.asarray(picks, np.int64)
        for limit in self.limits:
            mask &= ~limit.full(rows)
        if self.plates is not None:
            mask &= ~self.plates.full(rows)
        if self.prices is not None and np.isfinite(self.prices.budget):
            left = self.prices.budget * (1 + SLACK) - self.prices.total(rows)
            mask &= self.prices.further(rows) <= left
        return mask

    def among(self, rows: NDArray[np.int64]) -> "Rules":
        """Return the rules of a part of the pool that holds all of `first`."""
        place = {int(row): position for position, row in enumerate(rows)}
        prices = self.prices
        if prices is not None:
            new = tuple((codes[:, rows], price) for codes, price in prices.new)
            prices = replace(prices, own=prices.own[rows], new=new, codes=prices.codes[rows])
        return Rules(
            tuple(place[row] for row in self.first),
            self.open[rows],
            tuple(replace(limit, codes=limit.codes[:, rows]) for limit in self.limits),
            None if self.plates is None else replace(self.plates, codes=self.plates.codes[rows]),
            prices,
        )

    @property
    def free(self) -> bool:
        """Whether there is no rule at all beyond what is open."""
        spends = self.prices is not None and np.isfinite(self.prices.budget)
        return not self.limits and self.plates is None and not spends

    def mask_or_rule(self) -> NDArray[np.bool_] | Callable[[Sequence[int]], NDArray[np.bool_]]:
        """Return the plain mask when nothing depends on the picks: it is quicker."""
        return self.open if self.free else self.allowed

    def with_plates(self, score: NDArray[np.float64], hit: NDArray[np.float64] | None = None) -> "Rules":
        """Return the rules once it is decided which values the round's plates have.

        Taken one by one, the first picks would open a plate each for the values that they happen to have.
        So the plates are chosen as wholes: each value's candidates fill plates from the highest score down, as far
        as the round fills them and as caps and stock let a value's candidates stand together, a plate is worth the
        hits it promises, and the plates worth most are taken. Where no
        probabilities of hits are known, ``1 / (1 + exp((edge - score) / sd))`` stands for them, edge the lowest score
        of a round without the rule.

        Parameters
        ----------
        score
            (n,) higher = sooner; NaN = never picked.
        hit
            (n,) probabilities of being a hit; NaN counts as 0.

        Examples
        --------
        >>> rules = Rules((), np.ones(5, bool), plates=PlateRule(np.array([0, 0, 1, 1, 1]), 2, 1))
        >>> rules.with_plates(np.array([9.0, 0.0, 7.0, 7.0, 1.0])).allowed([]).tolist()
        [False, False, True, True, True]
        """
        if self.plates is None:
            return self
        rule, codes = self.plates, self.plates.codes
        known = np.flatnonzero(self.open & np.isfinite(score))
        most = np.zeros(int(codes.max(initial=-1)) + 1)
        forced = np.bincount(codes[list(self.first)], minlength=len(most)) if self.first else np.zeros(len(most), int)
        most += -(-forced // rule.capacity)
        if len(known):
            values = score[known]
            edge = np.sort(values)[-min(rule.fill * rule.plates, len(values))]
            chance = expit((values - edge) / (values.std() or 1.0)) if hit is None else np.nan_to_num(hit[known])
            order = np.lexsort((-values, codes[known]))
            order = order[self._together(known[order])]
            code, worth = codes[known][order], chance[order]
            start = np.searchsorted(code, code)
            block = (np.arange(len(code)) - start) // rule.fill
            table = pd.DataFrame({"code": code, "block": block, "worth": worth})
            blocks = table.groupby(["code", "block"], as_index=False)["worth"].sum()
            # plates that hold what must be in are there already: the best blocks of their value
            blocks = blocks[blocks["block"].to_numpy() >= most[blocks["code"].to_numpy()]]
            blocks = blocks.sort_values(["worth", "code"], ascending=[False, True], kind="stable")
            chosen = blocks["code"].to_numpy()[: max(0, rule.plates - int(most.sum()))]
            most += np.bincount(chosen, minlength=len(most))
        limit = Limit(codes[None], most * rule.capacity)
        return replace(self, open=self.open & (most > 0)[codes], plates=None, limits=(*self.limits, limit))

    def _together(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places of rows, the best of each plate value first, that caps and stock let stand on its plates.

        What must be in goes before all others. Each limit is looked at by itself, and each value of the plates too: a
        cap that two values share is settled when candidates are picked.
        """
        places = np.arange(len(rows))
        if self.plates is None:
            return places
        forced = np.isin(rows, self.first)
        places = np.concatenate([places[forced], places[~forced]])
        for limit in self.limits:
            room = np.floor((limit.most + SLACK) / limit.step)
            for codes in limit.codes:
                code = codes[rows[places]]
                before = pd.DataFrame({"plate": self.plates.codes[rows[places]], "code": code})
                rank = before.groupby(["plate", "code"]).cumcount().to_numpy()
                places = places[(code < 0) | (rank < room[code])]
        return np.sort(places)


def plates_of(counts: NDArray[Any], capacity: int) -> int:
    """Return the plates that (v,) numbers of candidates need, none shared.

    Examples
    --------
    >>> plates_of(np.array([3, 0, 4]), 2)
    4
    """
    return int((-(-counts // capacity)).sum())


NOTHING_USED = Bench()
"""One plate, nothing used before."""


def apply_constraints(constraints: Constraints, pool: pd.DataFrame, bench: Bench = NOTHING_USED) -> Rules:
    """Return the rules of a pool; `pool` has `condition_id` and every column that a rule names.

    Parameters
    ----------
    constraints
        As the user wrote them.
    pool
        (n,) candidates.
    bench
        Plates of the round, and what was used before.

    Raises
    ------
    ColumnError
        A column is not there.
    DesignError
        An id is not in the pool, a cost is missing, or what must be in breaks a cap or the budget.
    """
    if "condition_id" not in pool.columns:
        message = f"The pool has no column condition_id; found {list(map(str, pool.columns))[:30]}."
        raise ColumnError(message)
    ids = pool["condition_id"].astype(str)
    place = pd.Series(np.arange(len(pool)), index=ids)
    place = place[~place.index.duplicated()]
    first = _rows(place, constraints.must_include, "must_include")
    closed = ids.isin(constraints.must_exclude).to_numpy(bool)
    used = ids.map(dict(bench.used)).fillna(0).to_numpy(np.float64) if bench.used else np.zeros(len(pool))
    limits = [_cap(pool, name, cap) for name, cap in constraints.caps.items()]
    limits += [_stock(pool, pair, used, bench.copies) for pair in constraints.stock.items()]
    together = plate_codes(pool, constraints.one_per_plate)
    plates = None
    if constraints.one_per_plate:
        plates = PlateRule(together, bench.capacity or max(len(pool), 1), bench.plates, bench.wells)
    prices = _prices(pool, constraints, bench, (used, together)) if constraints.costs else None
    rules = Rules(tuple(first), ~closed, tuple(limits), plates, prices)
    _check_first(rules, constraints)
    return rules


def plate_codes(pool: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.int64]:
    """Return (n,) codes of the combination of values of some columns; an empty value is one of its own.

    Examples
    --------
    >>> plate_codes(pd.DataFrame({"line": ["a", "b", "a", None]}), ["line"]).tolist()
    [1, 2, 1, 0]
    """
    missing = [name for name in columns if name not in pool.columns]
    if missing:
        raise no_column(pool, missing[0])
    if not columns:
        return np.zeros(len(pool), np.int64)
    parts = [pool[name].astype("string").fillna("").str.strip() for name in columns]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined + "\x1f" + part
    return np.asarray(pd.factorize(joined, sort=True)[0], np.int64)


def _rows(place: pd.Series, ids: Sequence[str], name: str) -> list[int]:
    unknown = [one for one in ids if one not in place.index]
    if unknown:
        message = (
            f"{name} has {len(unknown)} ids that are not in the pool, such as {unknown[0]!r}. Check for measured ones."
        )
        raise DesignError(message)
    return [int(place[one]) for one in dict.fromkeys(ids)]


def _cap(pool: pd.DataFrame, name: str, cap: int) -> Limit:
    codes, values = value_codes(pool, member_columns(pool, name))
    return Limit(codes, np.full(len(values), float(cap)))


def _stock(pool: pd.DataFrame, pair: tuple[str, str], used: NDArray[np.float64], copies: int) -> Limit:
    """Wells that each value has left: the least number that any of its candidates states, less what was used."""
    name, amount = pair
    columns, amounts = member_columns(pool, name), member_columns(pool, amount)
    if len(amounts) not in (1, len(columns)):
        message = f"The stock of {', '.join(columns)} stands in {', '.join(amounts)}; give one column for each."
        raise ColumnError(message)
    codes, values = value_codes(pool, columns)
    most = np.full(len(values), np.inf)
    for place, code in enumerate(codes):
        left = number_column(pool, amounts[place if len(amounts) > 1 else 0], empty=np.inf)
        np.minimum.at(most, code[code >= 0], left[code >= 0])
    for code in codes:
        np.subtract.at(most, code[code >= 0], used[code >= 0])
    return Limit(codes, most, float(copies))


def _prices(
    pool: pd.DataFrame, constraints: Constraints, bench: Bench, known: tuple[NDArray[np.float64], NDArray[np.int64]]
) -> Prices:
    used, together = known
    own = number_column(pool, constraints.cost) if constraints.cost else np.zeros(len(pool))
    new = []
    for name, price in constraints.cost_of_new.items():
        codes, values = value_codes(pool, member_columns(pool, name))
        had = np.zeros(len(values) + 1, bool)
        had[codes[:, used > 0]] = True
        had[-1] = True
        new.append((np.where(had[codes], -1, codes), float(price)))
    return Prices(
        own + bench.copies * constraints.cost_per_well,
        tuple(new),
        constraints.cost_per_plate + bench.extra * constraints.cost_per_well,
        bench.capacity,
        together,
        np.inf if constraints.budget is None else float(constraints.budget),
    )


def _check_first(rules: Rules, constraints: Constraints) -> None:
    for count in range(len(rules.first)):
        if not rules.allowed(rules.first[:count])[rules.first[count]]:
            message = (
                f"must_include breaks a cap, the stock, the plates or the budget at its entry {count + 1}, "
                f"{constraints.must_include[count]!r}. Raise the limit, or take it out."
            )
            raise DesignError(message)
