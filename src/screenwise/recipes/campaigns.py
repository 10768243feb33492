"""A campaign from the command line: begin, propose, export, ingest, look, stop, check."""

import re
from pathlib import Path
from shlex import quote
from typing import Any

import pandas as pd

from screenwise.campaign.campaign import Campaign, CampaignSettings
from screenwise.campaign.named import check_policy
from screenwise.campaign.policy import Objective, policy_for
from screenwise.campaign.round import checked_tasks
from screenwise.campaign.rules import bench_of
from screenwise.data.columns import listed
from screenwise.data.table import write_table
from screenwise.design.plate import PlateRules
from screenwise.errors import CampaignError, ConfigError
from screenwise.recipes.campaign_notes import LISTED, class_notes, number_notes, plate_notes, same_notes
from screenwise.recipes.campaign_rules import read_rules, with_rules, write_rules
from screenwise.recipes.outcome import Outcome, Progress, silent
from screenwise.recipes.settings import CampaignOptions, Reading
from screenwise.recipes.tables import candidates
from screenwise.screen import Screen

SHOWN = 8
"""Proposed conditions that the terminal shows."""
EXPLAINED = 24
"""Explained wells that the terminal shows."""
NAME = 24
"""Letters of what passes for a name."""
TITLES = 4
"""Columns that tell candidates apart, at most."""
PLATE_SETTING = re.compile(r"\bplate\.(\w+)")
"""How errors of plate rules name a setting."""


def new(
    folder: Path,
    pool: str,
    options: CampaignOptions,
    reading: Reading = Reading(),
    *,
    constraints: Path | None = None,
    progress: Progress = silent,
) -> Outcome:
    """Begin a campaign over the readable candidates of a pool; the others are counted."""
    settings = _settings(options)
    if constraints is not None:
        settings = with_rules(settings, read_rules(constraints))
    policy, objective = policy_for(settings.model, settings.acquisition), Objective.parse(settings.objective)
    check_policy(settings.acquisition, policy, objective, costs=bool(settings.constraints.costs))
    conditions = candidates(pool, reading, progress=progress)
    unreadable = conditions["note"].astype(str) != ""
    usable = conditions[~unreadable].drop(columns="note")
    doubled = usable["condition_id"].duplicated()
    usable = usable[~doubled].reset_index(drop=True)
    campaign = Campaign.create(folder, usable, settings, titles=conditions.attrs.get("titles"))
    rules = settings.plate
    plates = bench_of(rules, min(settings.wells, len(usable)), {}, settings.constraints.plates).plates
    facts = {
        "campaign": str(campaign.folder),
        "objective": options.objective,
        "candidates": len(usable),
        "left out, unreadable": int(unreadable.sum()),
        "left out, the same condition twice": int(doubled.sum()),
        "plates of a round": f"{plates} of {rules.format} wells, each with up to {rules.capacity} candidates",
    }
    notes = [
        *same_notes(conditions[~unreadable]),
        *number_notes(usable, settings),
        *class_notes(settings),
        *plate_notes(settings, plates),
    ]
    return Outcome(facts, notes=[*notes, f"Next: screenwise campaign propose {quote(str(folder))}"])


def _settings(options: CampaignOptions) -> CampaignSettings:
    """Return the settings of a campaign; wrong ones are an error before the pool is read."""
    values = dict(vars(options)) | {"readouts": tuple(listed(options.readouts))}
    names = ("positive", "negative", "positive_id", "negative_id", "copies", "replicates", "edge")
    plate = {"format": values.pop("plate_format")} | {name: values.pop(name) for name in names}
    try:
        rules = PlateRules(**plate)
    except ConfigError as error:
        raise ConfigError(PLATE_SETTING.sub(_option, str(error))) from error
    settings = CampaignSettings(**values, plate=rules)
    checked_tasks(settings)
    return settings


def _option(setting: re.Match[str]) -> str:
    """Return what a setting of a plate is called on the command line."""
    return "--plate-format" if setting[1] == "format" else f"--{setting[1].replace('_', '-')}"


def rules(path: Path) -> Outcome:
    """Write an example of the rules of a campaign."""
    write_rules(path)
    return Outcome(notes=["Change what you need; what is left out keeps its default."], files={"rules": str(path)})


def propose(folder: Path, *, ahead: bool = False) -> Outcome:
    """Choose the wells of the next round."""
    campaign = Campaign.open(folder)
    proposal = campaign.propose(ahead=ahead)
    empty = [name for name in ("hit", "cost") if not proposal[name].fillna(0).any()]
    wells, _ = campaign.explain()
    shown = proposal.drop(columns=["round", "place", "condition_id", *empty])
    if "studied" in wells:
        shown.insert(1, "studied", wells["studied"].to_numpy())
    for place, title in enumerate(_titles(wells)):
        shown.insert(place, title, wells[title].to_numpy(object))
    facts: dict[str, Any] = {"round": int(proposal["round"].iloc[0]), "wells": len(proposal)}
    shown = _once(shown, "reason", facts).head(SHOWN)
    said = campaign.state().rounds[-1]
    facts |= {name: said[name] for name in ("plates", "cost", "expected") if said[name]}
    if "expected" in facts:
        facts["expected hits"] = facts.pop("expected")
    rows = [{str(name): value for name, value in row.items()} for row in shown.to_dict("records")]
    notes = [
        *_short_notes(campaign, len(proposal)),
        f"Next: screenwise campaign export {quote(str(folder))} --out plate.csv",
    ]
    return Outcome(_said_once(facts | _evidence(campaign) | _lean(wells)), rows, notes)


def _lean(wells: pd.DataFrame) -> dict[str, str]:
    """Return how a round leans to well-studied genes; nothing of other pools."""
    return {name: wells.attrs[name] for name in ("studied",) if name in wells.attrs}


def _short_notes(campaign: Campaign, wells: int) -> list[str]:
    """Say where a round is smaller than was asked for although candidates are left."""
    state = campaign.state()
    settings = state.settings
    asked = settings.start if state.round == 1 and settings.start is not None else settings.wells
    if wells >= min(asked, len(campaign.pool()) - len(state.proposals) + wells):
        return []
    return [f"{wells} of {asked} wells: no further candidate fits the rules and the plates of this round."]


def export(folder: Path, out: Path) -> Outcome:
    """Write the proposed round as a plate map."""
    campaign = Campaign.open(folder)
    sheet, tasks = campaign.export(out), campaign.state().tasks
    facts = {"wells": len(sheet), "plates": int(sheet["plate"].nunique())}
    facts |= {f"  {role}": int(count) for role, count in sheet["role"].value_counts().items()}
    columns = "the last column" if len(tasks) == 1 else f"the columns {', '.join(tasks)}"
    note = f"Fill in {columns} and run: screenwise campaign ingest {quote(str(folder))} {quote(str(out))}"
    return Outcome(facts, notes=[note], files={"plate map": str(out)})


def ingest(folder: Path, results: Path, *, accept: bool = False) -> Outcome:
    """Take results in; rows that match no exported well are kept aside with their reason."""
    taken = Campaign.open(folder).ingest(results, accept=accept)
    reasons, rejected, flagged = (taken.pop(name) for name in ("reasons", "rejected", "flagged"))
    notes = [f"Kept aside: {reason} ({count})" for reason, count in reasons.items()]
    notes += [
        f"Plate {plate} does not count and its candidates may be chosen again: {why} If you know better: "
        f"screenwise campaign accept {quote(str(folder))} {plate} --reason WHY"
        for plate, why in rejected.items()
    ]
    notes += [f"Plate {plate}: look at {', '.join(checks)}." for plate, checks in list(flagged.items())[:LISTED]]
    if flagged:
        notes.append(f"Plates to look at count; what their checks say: screenwise campaign status {quote(str(folder))}")
    facts = {**taken, "plates rejected": len(rejected), "plates to look at": len(flagged)}
    return Outcome(facts, notes=notes, details={"rejected": rejected, "flagged": flagged})


def judge(folder: Path, plate: str, reason: str, *, good: bool) -> Outcome:
    """Let a plate count, or not, whatever its checks say."""
    Campaign.open(folder).judge(plate, good=good, reason=reason)
    return Outcome({"plate": plate, "counts": "yes" if good else "no", "reason": reason})


def resume(folder: Path, reason: str) -> Outcome:
    """Go on with a stopped campaign."""
    campaign = Campaign.open(folder)
    campaign.resume(reason)
    state = campaign.state()
    return Outcome({"state": state.name, "rules set aside": ", ".join(state.waived) or "none"})


def explain(folder: Path, number: int | None = None, out: Path | None = None) -> Outcome:
    """Say of every well of a round why it was chosen, and what each rule cost."""
    campaign = Campaign.open(folder)
    wells, prices = campaign.explain(number)
    said = campaign.state()
    facts: dict[str, Any] = {"round": said.round if number is None else number, "wells": len(wells)}
    facts |= _told(wells.attrs["evidence"])
    facts |= _lean(wells)
    facts["outside the domain"] = int((wells["in_domain"].eq(False) & wells["mean"].notna()).sum())  # noqa: FBT003
    files: dict[str, str] = {}
    if out is not None:
        beside = out.with_name(f"{out.stem}_rules.csv")
        write_table(wells, out)
        write_table(prices, beside)
        files = {"wells": str(out), "price of the rules": str(beside)}
    unused = [name for name in ("hit", "cost") if not wells[name].fillna(0).any()]
    names = [
        "place",
        *_titles(wells),
        "score",
        *(["studied"] if "studied" in wells else []),
        "mean",
        "std",
        "hit",
        "in_domain",
    ]
    names += [*wells.attrs["groups"], "cost", "reason"]
    shown = wells[[name for name in dict.fromkeys(names) if name not in unused]]
    shown = _once(shown, "reason", facts).head(EXPLAINED)
    notes = [rule_price(line) for line in prices.to_dict("records")]
    if len(wells) > EXPLAINED:
        notes.append(f"The first {EXPLAINED} of {len(wells)} wells; --out FILE.csv writes all, --json too.")
    details = {"wells": _records(wells), "prices": _records(prices)}
    return Outcome(_said_once(facts), _records(shown), notes, files, details)


def _once(table: pd.DataFrame, name: str, facts: dict[str, Any]) -> pd.DataFrame:
    """Return a table without a column that says the same of all its rows: that is a fact."""
    if table[name].nunique() != 1:
        return table
    facts[f"{name} of every well"] = table[name].iloc[0]
    return table.drop(columns=name)


def _said_once(facts: dict[str, Any]) -> dict[str, Any]:
    """Return facts without a note that is the reason of every well."""
    echo = "note" in facts and facts["note"] == facts.get("reason of every well")
    return {name: value for name, value in facts.items() if not (echo and name == "note")}


def _titles(wells: pd.DataFrame) -> list[str]:
    """Return the columns a user knows candidates by.

    The first of his own with a value of its own for each, if short; else as many of his own as tell candidates apart,
    such as both genes of a pair or the parts of a reaction.
    """
    own = [str(name) for name in wells.columns[1 : list(wells.columns).index("reason")]]
    own.sort(key=lambda name: pd.api.types.is_float_dtype(wells[name]))  # names before numbers
    texts = {name: wells[name].astype(str) for name in own}
    named = [one for one, text in texts.items() if text.is_unique and text.str.len().median() <= NAME]
    named = [one for one in named if not pd.api.types.is_float_dtype(wells[one])]
    alone = [one for one in named if "smiles" not in one.lower()] or named
    if alone:
        return alone[:1]
    found: list[str] = []
    kinds = 0
    for name in own:
        more = len(wells[[*found, name]].drop_duplicates())
        if more > kinds and len(found) < TITLES:
            found, kinds = [*found, name], more
    return found or ["condition_id"]


def rule_price(line: dict[Any, Any]) -> str:
    """Say what a rule costs.

    Examples
    --------
    >>> rule_price({"rule": "at most 2 of one scaffold", "wells": 9, "score": 0.02, "hits": 0.31})
    'at most 2 of one scaffold: costs 0.31 expected hits; 9 wells would change without it'
    """
    if line["hits"] is None or line["hits"] != line["hits"]:
        return f"{line['rule']}: what it costs cannot be told"
    return f"{line['rule']}: costs {line['hits']:.2f} expected hits; {line['wells']} wells would change without it"


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    plain = table.astype(object).where(table.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]


def status(folder: Path) -> Outcome:
    """Say where the campaign stands: the screen shows the rounds, the JSON every detail."""
    said = Campaign.open(folder).status()
    facts = {name: value for name, value in said.items() if isinstance(value, str | int | float)}
    facts.pop("head")
    best = said["best"]
    if best:
        facts["best"] = " ".join(str(part) for name, part in best.items() if name != "condition_id" and part != "")
    if said["evidence"].get("signal") is False:
        facts["signal"] = "the measured wells show no usable signal: the proposals are no better than chance"
    last = {line["rule"]: line for line in said["rules"]}
    for rule, line in last.items():
        if line["limit"] is not None:
            value = "cannot be told" if line["value"] is None else f"{line['value']:.4g}"
            state = "stops" if line["fired"] else "set aside" if rule in said["waived"] else "goes on"
            facts[f"stop rule {rule}"] = f"{value}, limit {line['limit']:g}: {state}"
    notes = [f"{one['plate']}, {one['task']}, {one['check']}: {one['message']}" for one in said["flagged"]]
    notes += [f"Plate {plate} does not count: {why}" for plate, why in said["rejected"].items()]
    return Outcome(facts, said["by_round"], notes, details=said)


def stop(folder: Path, reason: str) -> Outcome:
    """End the campaign."""
    Campaign.open(folder).stop(reason)
    return Outcome({"stopped": reason})


def verify(folder: Path) -> Outcome:
    """Check every event and table against its hash; a difference is an error."""
    found = Campaign.open(folder).verify()
    if not found["ok"]:
        message = f"{folder} was changed since it was written: {' '.join(map(str, found['problems']))}"
        raise CampaignError(message)
    return Outcome(found)


def replay(folder: Path, *, progress: Progress = silent) -> Outcome:
    """Compute every proposal again; one that differs is an error."""
    found = Campaign.open(folder).replay(progress)
    rows = [{name: str(value) for name, value in line.items()} for line in found["rounds"]]
    if not found["ok"]:
        other = [
            f"round {line['round']} ({', '.join(line['differs'])})" for line in found["rounds"] if not line["same"]
        ]
        then = next((line["software"] for line in rows if line["software"] != "{}"), "the same as now")
        message = f"Computed again, the proposals differ: {'; '.join(other)}. They were made with versions {then}."
        raise CampaignError(message)
    return Outcome({"rounds the same bit for bit": len(rows)}, rows)


def _evidence(campaign: Campaign) -> dict[str, Any]:
    evidence = campaign.state().evidence
    said = evidence[-1] if evidence else {}
    return _told(said)


def _told(evidence: dict[Any, Any]) -> dict[str, Any]:
    """Return what a proposal says of its model, without what is empty."""
    plain = {str(name): value for name, value in evidence.items() if isinstance(value, str | int | float)}
    if "rows" in plain:
        plain["learned from"] = f"{plain.pop('rows')} conditions"
    return {name: value for name, value in plain.items() if value != ""}


def replayed_campaign(
    screen: Screen, objective: str, folder: Path, *, rounds: int = 6, seed: int = 0, progress: Progress = silent
) -> Path:
    """Run a campaign whose laboratory is a measured screen, and return the plate map of the round after.

    Each round goes out as a plate map and comes back filled in, as in a laboratory. Interrupted, the
    campaign stands where it was, and the same call goes on.

    Parameters
    ----------
    screen
        Measured conditions of one task.
    objective
        maximize:TASK, minimize:TASK or absolute:TASK.
    folder
        The campaign's; plate maps stand in ``plates`` beside it.
    rounds
        Rounds to measure; one more is designed.
    """
    rules = PlateRules(positive_id="reference compound", negative_id="vehicle")
    settings = CampaignSettings(
        objective=objective, wells=rules.capacity, start=32, rounds=rounds, seed=seed, plate=rules
    )
    begun = (folder / "campaign.sqlite").exists()
    campaign = Campaign.open(folder) if begun else Campaign.create(folder, screen.conditions, settings)
    task = Objective.parse(objective).task
    truth = pd.Series(screen.targets.dense()[:, screen.task_index(task)], screen.conditions["condition_id"])
    while True:
        if campaign.state().name != "exported":  # else interrupted while this round was out
            campaign.propose()
        number = campaign.state().round
        plate = folder.parent / "plates" / f"round_{number}.csv"
        sheet = campaign.export(plate)
        progress("Campaign rounds", min(number, rounds), rounds)
        if number > rounds:
            return plate
        filled = sheet.assign(**{task: sheet["condition_id"].map(truth)})
        results = plate.with_name(f"round_{number}_results.csv")
        write_table(filled, results)
        campaign.ingest(results)
