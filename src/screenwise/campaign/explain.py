"""Why each well of a round was chosen, and what the rules cost."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.campaign.lean import how_it_leans
from screenwise.campaign.round import plate_columns
from screenwise.campaign.state import State
from screenwise.design.constraints import member_columns
from screenwise.errors import CampaignError

DOMAIN = {True: "inside", False: "outside: unlike what was measured"}
PRICES = ["rule", "wells", "score", "hits"]


def explained(state: State, pool: pd.DataFrame, number: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a line per candidate of a round, in the order of choice, and a line per rule.

    Parameters
    ----------
    state
        Where the campaign stands.
    pool
        (n,) conditions.
    number
        Round.

    Returns
    -------
    wells
        place, the pool's own columns, condition_id, reason, score, studied (of genes: share of the pool that is
        studied less), mean, std (uncertainty of a new measurement), hit (probability; missing without a threshold),
        in_domain, domain (in words), group columns that the rules name, cost (what it added to the round), plate and
        well once exported (its first well), standing. Its attrs: evidence, groups, and of genes studied (how the
        round leans to well-studied ones, in words).
    prices
        rule, wells (that would change without it), score (gained a well), hits (expected hits gained).
    """
    part = state.proposals[state.proposals["round"] == number]
    if part.empty:
        there = f"rounds 1 to {state.round} are" if state.round > 1 else f"{state.round or 'no'} round is"
        message = f"There is no round {number} to explain: {there} proposed. Run propose first."
        raise CampaignError(message)
    facts = next((said for said in state.rounds if said["round"] == number), {})
    evidence = state.evidence[number - 1] if number <= len(state.evidence) else {}
    rows = pd.Index(pool["condition_id"]).get_indexer(part["condition_id"])
    own = plate_columns(pool, state.titles).iloc[rows].reset_index(drop=True).drop(columns="condition_id")
    table = _choices(state, part, number)
    names = [name for name in rule_columns(state, pool) if name not in own]
    groups = pool[names].iloc[rows].reset_index(drop=True)
    studied, leans = how_it_leans(pool, rows, _open_before(state, pool, number))
    table = table.assign(**studied)
    front = ["place", "reason", "score", *studied, "mean", "std", "hit", "in_domain", "domain", "cost"]
    back = ["plate", "well", "standing", "condition_id"]
    own = own.rename(columns={name: f"pool_{name}" for name in own.columns if name in table.columns})
    wells_table = pd.concat([table[front[:1]], own, table[front[1:]], groups, table[back]], axis=1)
    prices = pd.DataFrame(facts.get("prices") or [], columns=PRICES)
    wells_table.attrs |= {"evidence": evidence, "groups": rule_columns(state, pool), **leans}
    return wells_table, prices


def _choices(state: State, part: pd.DataFrame, number: int) -> pd.DataFrame:
    """Return what is recorded of the choices of a round: domain in words, standing, plate and well."""
    table = part.drop(columns="round").reset_index(drop=True)
    # a round at random has no model that could say where it may be trusted
    modelled = np.isfinite(table["mean"].to_numpy())
    table["domain"] = np.where(modelled, table["in_domain"].map(DOMAIN), "no model yet")
    if state.settings.threshold is None:
        table["hit"] = np.nan
    standing = state.by_round()
    standing = standing[standing["round"] == number].set_index("condition_id")["standing"]
    table["standing"] = table["condition_id"].map(standing)
    wells = state.wells[(state.wells["round"] == number) & (state.wells["role"] == "sample")].set_index("condition_id")
    for name in ("plate", "well"):
        table[name] = table["condition_id"].map(wells[name]) if len(wells) else ""
    return table


def _open_before(state: State, pool: pd.DataFrame, number: int) -> NDArray[np.bool_]:
    """Return (n,) what no earlier round had chosen."""
    before = state.proposals.loc[state.proposals["round"] < number, "condition_id"]
    return np.asarray(~pool["condition_id"].isin(before), bool)


def rule_columns(state: State, pool: pd.DataFrame) -> list[str]:
    """Return the columns of the pool by which rules group candidates."""
    constraints = state.settings.constraints
    named: list[Any] = [*constraints.caps, *constraints.cost_of_new, *constraints.stock, *constraints.one_per_plate]
    return list(dict.fromkeys(column for name in named for column in member_columns(pool, name)))
