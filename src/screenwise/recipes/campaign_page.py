"""The page of a campaign: where it stands, plates and their checks, signal and stop rules by round, price of rules."""

from pathlib import Path
from typing import Any

import pandas as pd

from screenwise.campaign.campaign import Campaign
from screenwise.campaign.lean import HITS, lean_by_round
from screenwise.campaign.state import State
from screenwise.campaign.studied import ABSENT, how_studied, names_genes
from screenwise.campaign.summary import SIGNS
from screenwise.recipes.campaigns import rule_price
from screenwise.report.html import Picture, Section, Table
from screenwise.report.platemap import plate_map

LAST = 20
"""Last readings that the page shows."""


def sections(folder: Path) -> list[Section]:
    """Return the parts of a page about a campaign."""
    campaign = Campaign.open(folder)
    said, state = campaign.status(), campaign.state()
    parts = [_standing(campaign, said), _rounds(said, state), *_fame(campaign.pool(), state)]
    if len(campaign.qc()):
        parts.append(_plates(campaign, said, state))
    if state.round:
        parts.append(_choice(campaign, state))
    return parts


def _standing(campaign: Campaign, said: dict[str, Any]) -> Section:
    facts = {name: said[name] for name in ("round", "pool", "measured", "pending", "quarantined")}
    facts["best"] = said["best"]["value"] if said["best"] else None
    facts |= {name: said[name] for name in ("hits", "spent") if said[name]}
    text = f"It looks for {said['objective']} and is {said['state']}; next: {said['next']}. "
    text += f"Head of its log: {said['head']}."
    if said["stopped"]:
        text += f" It was stopped: {said['stopped']}."
    if said["evidence"].get("signal") is False:
        text += " The measured wells show no usable signal: its proposals are no better than chance."
    results = _last_results(campaign)
    return Section("The campaign", text, [], [Table(results, "The last results")] if len(results) else [], facts)


def _last_results(campaign: Campaign) -> pd.DataFrame:
    """Return the last readings, first what was tested, as its laboratory calls it, last the ids of the records."""
    results = campaign.results().tail(LAST)
    own = list(results.columns[list(results.columns).index("file") + 1 :])
    records = ["condition_id", "file", "row", "sequence"]
    results = results.assign(relation=results["relation"].map(SIGNS))
    empty = [name for name in ("relation", "note") if (results[name] == "").all()]
    front = [*own, *(name for name in results.columns if name not in (*own, *records, *empty))]
    return results[[*front, *records]]


def _rounds(said: dict[str, Any], state: State) -> Section:
    text = (
        "The signal of a round is the leave-one-out rank correlation of the model that chose it, over all wells "
        "measured before: whether they teach anything, not how good the model is. Empty = chosen without a model."
    )
    rounds = pd.DataFrame(said["by_round"])
    costs = pd.DataFrame(
        [{name: one[name] for name in ("round", "plates", "cost", "expected")} for one in state.rounds]
    )
    if len(rounds) and len(costs):
        costs = costs.rename(columns={"expected": "expected hits"})
        rounds = rounds.merge(costs, on="round", how="left")
    tables: list[Any] = [Table(rounds, "Round by round")] if len(rounds) else []
    rules = pd.DataFrame(said["rules"])
    if len(rules):
        table = rules.pivot_table(index="rule", columns="round", values="value", aggfunc="last", sort=False)
        limits = rules.drop_duplicates("rule", keep="last").set_index("rule")
        table.columns = [f"round {number}" for number in table.columns]
        table.insert(0, "limit", limits["limit"].astype(float))
        table["says"] = limits["why"].where(limits["why"] != "", "go on").where(limits["limit"].notna(), "not set")
        tables.append(Table(table.reset_index(), "Stop rules: their value before each round"))
    return Section("Rounds, signal and stop rules", text, [], tables)


def _plates(campaign: Campaign, said: dict[str, Any], state: State) -> Section:
    checks = campaign.qc()
    text = "Every plate was checked when its results came."
    text += "".join(f"\n- {plate} does not count: {why}" for plate, why in said["rejected"].items())
    judged = {plate: one for plate, one in state.judged.items() if one["good"]}
    text += "".join(f"\n- {plate} counts, a person said: {one['reason']}" for plate, one in judged.items())
    bad = checks[checks["ok"].eq(False).fillna(False).to_numpy(bool)]  # noqa: FBT003
    tables = [Table(bad, "Findings")] if len(bad) else []
    return Section(
        "Plates that came back", text.replace("came.\n", "came.\n\n"), [], [*tables, Table(checks, "All checks")]
    )


def _fame(pool: pd.DataFrame, state: State) -> list[Section]:
    """Return what the rounds found beside what being well studied explains; nothing of pools without genes."""
    if not names_genes(pool):
        return []
    title, studied = "Well-studied genes", how_studied(pool)
    if studied is None:
        return [Section(title, f"How much these genes are studied is {ABSENT}")]
    text = (
        f"Part of what a ranking of genes finds is fame. How much a gene is studied is told by its {studied.words}, "
        "as the share of the pool that is studied less (0 to 1). A round found something of its own as far as it has "
        "more hits than as many wells of the most studied genes among all that is measured by then. auroc: how well "
        "being studied alone tells the hits so far from the rest; 0.5 = not at all. Wells were chosen, not drawn: "
        "this compares, and proves nothing."
    )
    if state.settings.threshold is None:
        text += f" Without a threshold, hits are the best {100 * HITS:g} % of what is measured now."
    rounds = lean_by_round(state, pool, studied)
    return [Section(title, text, [], [Table(rounds, "Hits and fame, round by round", digits=2)] if len(rounds) else [])]


def _choice(campaign: Campaign, state: State) -> Section:
    wells, prices = campaign.explain()
    pictures = []
    if state.layouts:
        last = state.wells[state.wells["round"] == max(state.layouts)]
        scores = state.proposals.drop_duplicates("condition_id", keep="last").set_index("condition_id")["score"]
        last = last.assign(score=last["condition_id"].map(scores).astype(float))
        pictures = [Picture(plate_map(last), f"The plates of round {max(state.layouts)}.", wide=True)]
    lines = [rule_price(line) for line in prices.to_dict("records")]
    text = "What each rule costs, as the hits that the best round without it promises more:\n\n- " + "\n- ".join(lines)
    text = text if lines else "No rule limits the rounds."
    if "studied" in wells:
        text = f"How much its genes are studied: {wells.attrs['studied']}.\n\n{text}"
    tables: list[Any] = [Table(wells.drop(columns="condition_id"), f"Why the wells of round {state.round}")]
    return Section(f"Round {state.round}, and why", text, pictures, tables)
