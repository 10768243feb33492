"""A campaign in a few lines: what `status` says."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from screenwise.campaign.objective import Objective
from screenwise.campaign.rules import spent
from screenwise.campaign.state import TESTED, State
from screenwise.campaign.store import Event
from screenwise.campaign.verdict import plate_checks
from screenwise.screen import ABOVE, BELOW, EXACT

EVENTS = 5
"""Last events that a status lists."""
SIGNS = {BELOW: "<", EXACT: "", ABOVE: ">"}
"""Relation -> what stands before the value."""
NEXT = {
    "created": "propose the first round",
    "proposed": "export the round as a plate map",
    "exported": "ingest the results of the round",
    "partially_ingested": "ingest the rest of the round, or propose the next one",
    "ingested": "propose the next round",
    "stopped": "nothing: the campaign is stopped (late results are still taken in; resume goes on)",
}
"""State -> what comes next."""


def summarise(state: State, pool: pd.DataFrame, events: list[Event]) -> dict[str, Any]:
    """Return the status of a campaign in plain values that JSON can hold.

    Returns
    -------
    dict: state, next, stopped, round, rounds (planned), objective, pool, measured, pending, failed,
    candidates (numbers of conditions), wells (proposed, measured, failed, pending), best, threshold, hits,
    quarantined, evidence (of the last model), by_round (with the signal that each round was chosen by), flagged
    (plates whose checks failed), rejected (plates that do not count -> why), spent (cost of what was exported), rules
    (value, limit, fired and why of every stop rule before every round), waived (stop rules set aside), events (the last
    ones), head (hash of the last event).
    """
    standing = state.standing()
    counts = {name: int((standing == name).sum()) for name in ("measured", "pending", "failed")}
    values = _values(state)
    threshold = state.settings.threshold
    objective = Objective.parse(state.settings.objective)
    hits = None if threshold is None else int(objective.reached(values["value"], values["relation"], threshold).sum())
    return {
        "state": state.name,
        "next": NEXT[state.name],
        "stopped": state.stopped,
        "round": state.round,
        "rounds": state.settings.rounds,
        "objective": state.settings.objective,
        "pool": len(pool),
        **counts,
        "candidates": len(pool) - counts["measured"] - counts["pending"],
        "wells": _wells(state),
        "best": _best(values, objective, pool),
        "threshold": threshold,
        "hits": hits,
        "quarantined": len(state.quarantined),
        "evidence": state.evidence[-1] if state.evidence else {},
        "by_round": _by_round(state, values, objective),
        "flagged": flagged(state),
        "rejected": state.rejected,
        "spent": spent(state),
        "rules": stop_history(state),
        "waived": list(state.waived),
        "events": [
            {"sequence": event.sequence, "time": event.time, "actor": event.actor, "kind": event.kind}
            for event in events[-EVENTS:]
        ],
        "head": events[-1].hash,
    }


def stop_history(state: State) -> list[dict[str, Any]]:
    """Return a line per round and stop rule: round, rule, value, limit, fired, why; the halted round is the last."""
    rounds = [*state.rounds, *([state.halt] if state.halt else [])]
    return [{"round": said["round"], **line} for said in rounds for line in said["stop"] or []]


def flagged(state: State) -> list[dict[str, Any]]:
    """Return the plate checks that failed; `rejected` of the status says which plates do not count for it."""
    checks = plate_checks(state)
    bad = checks[checks["ok"].eq(False).fillna(False).to_numpy(bool)]  # noqa: FBT003
    return [
        {"plate": plate, "task": task, "check": check, "value": round(float(value), 4), "message": message}
        for plate, task, check, value, message in zip(
            bad["plate"], bad["task"], bad["check"], bad["value"], bad["message"], strict=True
        )
    ]


def flagged_plates(state: State, plates: Collection[str]) -> dict[str, list[str]]:
    """Return plate -> names of its checks that failed, of some plates; those without any are left out."""
    found: dict[str, list[str]] = {}
    for line in flagged(state) if plates else ():
        if line["plate"] in plates:
            checks = found.setdefault(line["plate"], [])
            checks += [line["check"]] if line["check"] not in checks else []
    return found


def _values(state: State) -> pd.DataFrame:
    """Measured values of the objective's task: condition_id, value, relation."""
    cells = state.cells()
    return cells[(cells["task"] == state.tasks[0]) & (cells["reason"] == "")]


def _wells(state: State) -> dict[str, int]:
    wells = state.wells[state.wells["role"].isin(TESTED)]
    current = state.counted()
    current = current[(current["task"] == state.tasks[0]) & current["role"].isin(TESTED)]
    failed = int(current["failed"].sum())
    awaited = ~pd.MultiIndex.from_frame(wells[["plate", "well"]]).isin(
        pd.MultiIndex.from_frame(current[["plate", "well"]])
    )
    return {
        "exported": len(wells),
        "controls": len(state.wells) - len(wells),
        "measured": len(current) - failed,
        "failed": failed,
        "pending": int(np.sum(awaited)),
    }


def _best(values: pd.DataFrame, objective: Objective, pool: pd.DataFrame) -> dict[str, Any] | None:
    if values.empty:
        return None
    # A bound says less than a number: among equals the exact value is shown.
    utility = np.asarray(objective.utility(values["value"].to_numpy()), np.float64)
    order = np.lexsort((values["relation"] != EXACT, -utility))
    first = values.iloc[order[0]]
    row = pool[pool["condition_id"] == first["condition_id"]].iloc[0]
    own = {str(name): str(row[name]) for name in pool.columns if not name.startswith("feature:")}
    return {"value": float(first["value"]), "relation": SIGNS[int(first["relation"])], **own}


def _by_round(state: State, values: pd.DataFrame, objective: Objective) -> list[dict[str, Any]]:
    rounds = state.by_round().merge(values[["condition_id", "value"]], on="condition_id", how="left")
    rounds["value"] = rounds["value"].where(rounds["standing"] == "measured")
    lines = []
    for number, part in rounds.groupby("round"):
        line: dict[str, Any] = {"round": int(number), "proposed": len(part)}
        line |= {name: int((part["standing"] == name).sum()) for name in ("measured", "pending", "failed")}
        known = part["value"].dropna().to_numpy()
        utility = np.asarray(objective.utility(known), np.float64)
        said = state.evidence[int(str(number)) - 1] if int(str(number)) <= len(state.evidence) else {}
        signal = {name: said.get(name) for name in ("loo_rank_correlation", "signal")}
        lines.append({**line, "best": float(known[utility.argmax()]) if len(known) else None, **signal})
    return lines
