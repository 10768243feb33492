"""The rules of a campaign in one round: what is on the bench, what a round costs, whether to stop, what rules cost."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.campaign.objective import Objective
from screenwise.campaign.proposal import Proposal, Request
from screenwise.campaign.state import TESTED, CampaignSettings, State
from screenwise.design.constraints import Constraints, resolved, with_scaffold
from screenwise.design.picking import tie_keys
from screenwise.design.plate import PlateRules
from screenwise.design.prices import Scored, constraint_prices, lifted_rules
from screenwise.design.rules import Bench, Rules, apply_constraints, plate_codes, plates_of
from screenwise.design.stop import Outcomes, judge
from screenwise.errors import ConfigError
from screenwise.rng import stream

NEEDS_THRESHOLD = ("hits_per_plate", "worth_of_hit", "recall")
"""Stop rules that must know what a hit is."""


def checked_rules(settings: CampaignSettings, pool: pd.DataFrame) -> tuple[CampaignSettings, pd.DataFrame]:
    """Return settings whose names are ids, and the pool with the columns that rules compute; raise for wrong rules."""
    unset = [name for name in NEEDS_THRESHOLD if getattr(settings.stop, name) is not None]
    if unset and settings.threshold is None:
        message = f"The stop rule {unset[0]} must know what a hit is; set threshold."
        raise ConfigError(message)
    if settings.stop.worth_of_hit is not None and not settings.constraints.costs:
        message = (
            "The stop rule worth_of_hit compares with costs, but nothing costs anything; set cost_per_well or others."
        )
        raise ConfigError(message)
    if settings.constraints.plates is not None and not settings.constraints.one_per_plate:
        message = (
            "The rule plates says how many values one_per_plate may have in a round; name its columns, or drop it."
        )
        raise ConfigError(message)
    if settings.constraints == Constraints():
        return settings, pool
    pool = with_scaffold(pool, settings.constraints)
    settings = replace(settings, constraints=resolved(settings.constraints, pool))
    wells = max(settings.wells, settings.start or 0)
    # what must be in is asked for round by round, as far as it goes
    apply_constraints(
        replace(settings.constraints, must_include=()),
        pool,
        bench_of(settings.plate, wells, {}, settings.constraints.plates),
    )
    return settings, pool


def bench_of(plate: PlateRules, wells: int, used: Mapping[str, int], plates: int | None = None) -> Bench:
    """Return the plates of a round of so many wells: as few as they need, or as many as are asked for.

    Examples
    --------
    >>> bench_of(PlateRules(1536), 300, {}).plates, bench_of(PlateRules(1536), 300, {}, 3).plates
    (1, 3)
    """
    extra = plate.positive + plate.negative + plate.replicates
    return Bench(plate.capacity, max(plates or 1, -(-wells // plate.capacity)), plate.copies, extra, used, wells)


def wells_used(state: State) -> dict[str, int]:
    """Return condition_id -> wells it has had, those of a round that is not exported yet too."""
    wells = state.wells.loc[state.wells["role"].isin(TESTED), "condition_id"].value_counts()
    used = {str(name): int(count) for name, count in wells.items()}
    if state.round and state.round not in state.layouts:
        coming = state.proposals.loc[state.proposals["round"] == state.round, "condition_id"]
        for one in coming:
            used[one] = used.get(one, 0) + state.settings.plate.copies
    return used


def constraints_now(state: State, closed: pd.Series, wells: int) -> Constraints:
    """Return the constraints of the next round: what must be in is asked for until it is chosen.

    Parameters
    ----------
    state
        Where the campaign stands.
    closed
        (n,) bool by condition_id: measured or pending.
    wells
        Of the round.
    """
    constraints = state.settings.constraints
    left = [one for one in constraints.must_include if not closed.get(one, False)]
    return replace(constraints, must_include=tuple(left[:wells]))


def spent(state: State) -> float:
    """Return the cost of all rounds that were exported: a round that is only proposed has cost nothing yet."""
    return float(sum(said["cost"] or 0.0 for said in state.rounds if said["round"] in state.layouts))


def round_cost(rules: Rules, rows: NDArray[np.int64]) -> tuple[float, NDArray[np.float64]]:
    """Return what a round costs, and what each pick added to it, in the order of the picks."""
    if rules.prices is None:
        return 0.0, np.zeros(len(rows))
    totals = np.array([rules.prices.total(rows[: count + 1]) for count in range(len(rows))])
    return float(totals[-1]) if len(totals) else 0.0, np.diff(totals, prepend=0.0)


def round_facts(state: State, pool: pd.DataFrame, request: Request, proposal: Proposal) -> dict[str, Any]:
    """Return what is noted beside a proposal: cost, plates, expected hits, judgements of stop rules, prices of rules.

    `added` and `hit`, (k,) each, belong to the proposal's rows.
    """
    rows = np.asarray(proposal.rows, np.int64)
    settings, outlook = state.settings, proposal.outlook
    rules = apply_constraints(request.constraints, pool, request.bench)
    cost, added = round_cost(rules, rows)
    together = plate_codes(pool.iloc[rows], request.constraints.one_per_plate)
    plates = plates_of(np.bincount(together), settings.plate.capacity)
    known = settings.threshold is not None and outlook is not None
    hit = np.full(len(rows), np.nan) if outlook is None else outlook.hit[rows]
    expected = float(np.nansum(hit)) if known else None
    unfound = float(np.nansum(outlook.hit)) if known and outlook is not None else None
    outcomes = replace(
        past_outcomes(state),
        signals=(*(said.get("signal") for said in state.evidence), proposal.evidence.get("signal")),
        cost=cost,
        plates=plates,
        hits=expected,
        unfound=unfound,
        improvement=None if outlook is None else outlook.improvement,
        better=None if outlook is None else outlook.better,
    )
    return {
        "cost": cost,
        "plates": plates,
        "expected": expected,
        "stop": [asdict(one) for one in judge(settings.stop, outcomes)],
        "prices": rule_prices(pool, request, proposal),
        "added": added,
        "hit": hit,
    }


def past_outcomes(state: State) -> Outcomes:
    """Return what the rounds so far brought."""
    settings, objective = state.settings, Objective.parse(state.settings.objective)
    cells = state.cells()
    cells = cells[(cells["task"] == state.tasks[0]) & (cells["reason"] == "")]
    first = state.by_round()
    first = first[first["standing"] == "measured"].drop_duplicates("condition_id")
    values = first.merge(cells[["condition_id", "value", "relation"]], on="condition_id")
    utility = np.asarray(objective.utility(values["value"].to_numpy()), np.float64)
    number = values["round"].to_numpy(np.int64)
    rounds = tuple(tuple(utility[number == one].tolist()) for one in np.unique(number))
    found = 0
    if settings.threshold is not None:
        found = int(objective.reached(values["value"], values["relation"], settings.threshold).sum())
    return Outcomes(state.round, spent(state), found=found, utilities=rounds)


def rule_prices(pool: pd.DataFrame, request: Request, proposal: Proposal) -> list[dict[str, Any]]:
    """Return what each rule costs the round in score and expected hits; nothing without rules or a model."""
    outlook = proposal.outlook
    if outlook is None or len(lifted_rules(request.constraints)) == 1:
        return []
    keys = tie_keys(pool["condition_id"].astype(str).to_numpy(object), stream(request.seed, "ties"))
    scored = Scored(outlook.score, keys, outlook.hit)
    table = constraint_prices(scored, request.wells, request.constraints, pool, request.bench)
    return [{str(name): value for name, value in line.items()} for line in table.to_dict("records")]


def layout_rules(state: State, pool: pd.DataFrame, chosen: pd.Series) -> dict[str, Any]:
    """Return which chosen conditions share plates and which may be measured once more, as `layout` takes them."""
    constraints = state.settings.constraints
    rows = pd.Index(pool["condition_id"]).get_indexer(chosen)
    own = pool.iloc[rows].reset_index(drop=True)
    codes = plate_codes(own, constraints.one_per_plate) if constraints.one_per_plate else None
    if not constraints.stock:
        return {"together": codes}
    # a replicate takes a well more of every component: given out in the order of choice while there is any
    bench = replace(bench_of(state.settings.plate, len(own), wells_used(state)), copies=1)
    limits = apply_constraints(Constraints(stock=constraints.stock), pool, bench).limits
    spare: list[int] = []
    for place, row in enumerate(rows):
        if not any(limit.full(np.asarray([*rows[spare]], np.int64))[row] for limit in limits):
            spare.append(place)
    return {"together": codes, "spare": np.isin(np.arange(len(own)), spare)}
