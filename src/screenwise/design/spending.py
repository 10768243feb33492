"""The most expected hits for a budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from screenwise.design.picking import Allowed, best_left, check_size, open_mask
from screenwise.design.rules import Rules
from screenwise.errors import DesignError

WITHIN = 1e-9
"""Difference of two costs, over the larger, that the order of a sum makes."""
HALVINGS = 60
"""Halvings of the price of money: as many as double precision tells apart."""


@dataclass(frozen=True)
class Purchase:
    """What a budget buys."""

    rows: NDArray[np.int64]
    """(k,) picks, most hits per cost first."""
    hits: float
    """Expected hits among them."""
    cost: float
    bound: float
    """No choice within the budget and the wells, under the rules that a mask can say, has more expected hits."""


def buy_hits(  # noqa: PLR0913 -- what is bought, for how much, and the form of all pickers
    probability: NDArray[Any],
    cost: NDArray[Any],
    budget: float,
    size: int,
    keys: NDArray[np.uint64],
    *,
    allowed: Allowed = None,
    first: Sequence[int] = (),
) -> Purchase:
    """Pick candidates of the most expected hits that a budget and the wells allow.

    A knapsack with a limit on the number of items, ``max sum p`` with ``sum cost <= budget`` and at most
    `size` picks. Hits are additive, so its relaxation is solved by one price of money: the best `size`
    candidates by ``p - price x cost``, at the lowest price at which they are affordable (Lagrange; Martello
    and Toth, Knapsack Problems (1990), section 2.2). What is left of the budget is filled up. At most about two of
    the largest p are lost against the best choice, and `bound` says how much at most. O(60 n).

    Parameters
    ----------
    probability
        (n,) of being a hit; NaN = never picked.
    cost
        (n,) >= 0, in the budget's unit.
    budget
        Most that all picks may cost.
    size
        Wells.
    keys
        (n,) settle ties.
    allowed
        (n,) mask, or a function from the picks so far to the mask of what may follow; with a function, picks
        are taken one by one in the order of ``p - price x cost``.
    first
        Candidates that are in; they are paid from the budget.

    Examples
    --------
    >>> bought = buy_hits(np.array([0.9, 0.5, 0.5]), np.array([10.0, 4.0, 5.0]), 10.0, 3, np.arange(3, dtype=np.uint64))
    >>> bought.rows.tolist(), bought.hits, bought.cost
    ([1, 2], 1.0, 9.0)
    """
    hits, price = np.asarray(probability, np.float64), np.asarray(cost, np.float64)
    check_size(len(hits), keys=len(keys), cost=len(price))
    if not (np.isfinite(price).all() and (price >= 0).all()):
        row = int(np.flatnonzero(~(np.isfinite(price) & (price >= 0)))[0])
        message = f"Candidate {row} costs {price[row]}; costs must be finite and at least 0."
        raise DesignError(message)
    forced = [int(one) for one in first][:size]
    money = budget - price[forced].sum()
    if money < 0:
        message = f"What must be in costs {price[forced].sum():g}, the budget is {budget:g}; raise it or take some out."
        raise DesignError(message)
    mask = open_mask(allowed, forced, len(hits)) & np.isfinite(hits)
    worth, bound = _price_of_money(hits[mask], price[mask], money, size - len(forced))
    plans = [_fill(hits - one * price, (price, money, size), keys, (allowed, mask), forced) for one in worth]
    rows = max(plans, key=lambda picks: float(hits[picks[len(forced) :]].sum()))
    return Purchase(
        rows, float(np.nansum(hits[rows])), float(price[rows].sum()), float(np.nansum(hits[forced])) + bound
    )


def leave_for_rest(rules: Rules, picks: Sequence[int], wells: int) -> NDArray[np.bool_]:
    """Return the (n,) mask of what may follow some picks and leaves money for the other wells of the round.

    Taken in the order of their scores, candidates that need something new spend a tight budget on the first
    wells and leave the others empty, although candidates that need nothing new would cost next to nothing. So
    a pick must leave the lowest price for each further well, for as many as there are candidates at that price.
    Where no candidate does, the plain rules hold.

    Parameters
    ----------
    rules
        Of n candidates.
    picks
        So far.
    wells
        Of the round.

    Examples
    --------
    >>> from screenwise.design.rules import Prices
    >>> own, scaffold = np.ones(4), np.array([[0, 1, -1, -1]])
    >>> prices = Prices(own, ((scaffold, 10.0),), 0.0, None, np.zeros(4, np.int64), 23.0)
    >>> rules = Rules((), np.ones(4, bool), prices=prices)
    >>> rules.allowed([0]).tolist(), leave_for_rest(rules, [0], 4).tolist()
    ([True, True, True, True], [False, False, True, True])
    """
    mask = rules.allowed(picks)
    prices, after = rules.prices, wells - len(picks) - 1
    if prices is None or not np.isfinite(prices.budget) or after < 1:
        return mask
    rows = np.asarray(picks, np.int64)
    mask[rows] = False
    if not mask.any():
        return mask
    further = prices.further(rows)
    least = float(further[mask].min())
    cheap = mask & (further <= least * (1 + WITHIN))
    left = prices.budget - prices.total(rows)
    # one of the cheap ones is not left for later when it is taken now
    rest = least * np.minimum(after, int(cheap.sum()) - cheap)
    kept = mask & (further + rest <= left * (1 + WITHIN))
    return kept if kept.any() else mask


def _price_of_money(
    hits: NDArray[np.float64], cost: NDArray[np.float64], money: float, wells: int
) -> tuple[list[float], float]:
    """Return prices of money worth trying and the least upper bound of the hits that money can buy."""
    if not len(hits) or wells < 1:
        return [0.0], 0.0
    low, high = 0.0, float((hits / np.maximum(cost, np.finfo(float).tiny))[cost > 0].max(initial=0.0)) + 1.0
    bound = np.inf
    for turn in range(HALVINGS):
        middle = 0.0 if turn == 0 else 0.5 * (low + high)
        gain = hits - middle * cost
        best = np.argpartition(-gain, wells - 1)[:wells] if wells < len(gain) else np.arange(len(gain))
        best = best[gain[best] > 0]
        bound = min(bound, float(gain[best].sum()) + (middle * money if middle else 0.0))
        if cost[best].sum() <= money:
            high = middle
            if turn == 0:
                break
        else:
            low = middle
    return [high, low, 0.0], bound


def _fill(
    gain: NDArray[np.float64],
    cost_money_size: tuple[NDArray[np.float64], float, int],
    keys: NDArray[np.uint64],
    allowed_and_mask: tuple[Allowed, NDArray[np.bool_]],
    forced: list[int],
) -> NDArray[np.int64]:
    """Take what fits, the highest gain first."""
    cost, money, size = cost_money_size
    allowed, mask = allowed_and_mask
    picks = list(forced)
    if not callable(allowed):
        rows = np.flatnonzero(mask)
        rows = rows[np.lexsort((keys[rows], -gain[rows]))]
        return np.concatenate([forced, rows[_affordable(cost[rows], money, size - len(forced))]]).astype(np.int64)
    while len(picks) < size:
        fits = mask & open_mask(allowed, picks, len(gain)) & (cost <= money)
        pick = best_left(gain, keys, fits)
        if pick is None:
            break
        picks.append(pick)
        money -= cost[pick]
    return np.asarray(picks, np.int64)


@njit(cache=True)
def _affordable(cost: Any, money: float, wells: int) -> Any:
    """Return which of (r,) costs are paid, in their order."""
    out = np.zeros(cost.shape[0], np.bool_)
    for place in range(cost.shape[0]):
        if wells > 0 and cost[place] <= money:
            out[place] = True
            money -= cost[place]
            wells -= 1
    return out
