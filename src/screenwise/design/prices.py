"""What each rule of a round costs: the score, and the expected hits, of the round without it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.design.constraints import Constraints
from screenwise.design.picking import pick_top
from screenwise.design.rules import NOTHING_USED, Bench, Rules, apply_constraints


@dataclass(frozen=True)
class Scored:
    """Candidates as an acquisition saw them."""

    score: NDArray[np.float64]
    """(n,) as for `screenwise.design.picking.pick_top`; NaN and minus infinity are never picked."""
    keys: NDArray[np.uint64]
    """(n,) settle equal scores."""
    hit: NDArray[np.float64] | None = None
    """(n,) probability of being a hit; None = not known."""


def constraint_prices(
    scored: Scored, size: int, constraints: Constraints, pool: pd.DataFrame, bench: Bench = NOTHING_USED
) -> pd.DataFrame:
    """Return what each rule costs: what the round would gain if it alone were lifted.

    Rounds are compared as the best by score, one candidate at a time, with and without the rule. Expected
    hits are the sum of the probabilities, which holds whatever the candidates have to do with each other.

    Parameters
    ----------
    scored
        Scores, keys and probabilities of the n candidates.
    size
        Wells of the round.
    constraints, pool, bench
        The rules, the (n,) candidates, and the plates.

    Returns
    -------
    DataFrame
        One row per rule, and "all rules": `rule`, `wells` (picks that would change), `score` (mean
        score per well gained without the rule, 0 = it binds nothing), `hits` (expected hits gained in the
        round; NaN where no probabilities are known, and for must_exclude where its candidates have no score).

    Examples
    --------
    >>> pool = pd.DataFrame({"condition_id": ["a", "b", "c"], "scaffold": ["x", "x", "y"]})
    >>> rules = Constraints(caps={"scaffold": 1})
    >>> scored = Scored(np.array([3.0, 2.0, 1.0]), np.arange(3, dtype=np.uint64), np.array([0.5, 0.4, 0.1]))
    >>> constraint_prices(scored, 2, rules, pool).round(6).values.tolist()
    [['at most 1 of one scaffold', 1, 0.5, 0.3], ['all rules', 1, 0.5, 0.3]]
    """
    ruled = _picked(scored, size, apply_constraints(constraints, pool, bench))
    lines = []
    excluded = pool["condition_id"].isin(constraints.must_exclude).to_numpy(bool)
    unseen = bool(excluded.any()) and not np.isfinite(scored.score[excluded]).any()
    for name, other in lifted_rules(constraints).items():
        if name == "must_exclude" and unseen:
            lines.append((name, 0, np.nan, np.nan))
            continue
        free = _picked(scored, size, apply_constraints(other, pool, bench))
        score = _sum(scored.score, free, np.mean) - _sum(scored.score, ruled, np.mean)
        hits = np.nan if scored.hit is None else _sum(scored.hit, free, np.sum) - _sum(scored.hit, ruled, np.sum)
        lines.append((name, len(set(free) - set(ruled)), score, hits))
    return pd.DataFrame(lines, columns=["rule", "wells", "score", "hits"])


def lifted_rules(constraints: Constraints) -> dict[str, Constraints]:
    """Return rule in words -> all others; the last is "all rules" -> none.

    Examples
    --------
    >>> list(lifted_rules(Constraints(caps={"gene": 2}, one_per_plate=("cell_line",))))
    ['at most 2 of one gene', 'one cell_line per plate', 'all rules']
    """
    lifted: dict[str, Constraints] = {}
    for name, cap in constraints.caps.items():
        lifted[f"at most {cap} of one {name}"] = replace(constraints, caps=_without(constraints.caps, name))
    if constraints.budget is not None:
        lifted[f"budget {constraints.budget:g}"] = replace(constraints, budget=None)
    for name in constraints.stock:
        lifted[f"stock of {name}"] = replace(constraints, stock=_without(constraints.stock, name))
    if constraints.one_per_plate:
        lifted[f"one {' and '.join(constraints.one_per_plate)} per plate"] = replace(constraints, one_per_plate=())
    if constraints.must_include:
        lifted["must_include"] = replace(constraints, must_include=())
    if constraints.must_exclude:
        lifted["must_exclude"] = replace(constraints, must_exclude=())
    return {**lifted, "all rules": Constraints()}


def _without(rules: Any, name: str) -> dict[str, Any]:
    return {other: value for other, value in rules.items() if other != name}


def _picked(scored: Scored, size: int, rules: Rules) -> list[int]:
    rules = rules.with_plates(scored.score, scored.hit)
    picks = pick_top(scored.score, size, scored.keys, allowed=rules.mask_or_rule(), first=rules.first)
    return [int(one) for one in picks]


def _sum(values: NDArray[np.float64], rows: list[int], how: Callable[[Any], Any]) -> float:
    known = values[rows]
    known = known[np.isfinite(known)]
    return float(how(known)) if len(known) else 0.0
