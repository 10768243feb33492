"""Where a campaign stands, worked out from its events alone."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from screenwise.campaign.store import Event
from screenwise.config import from_mapping
from screenwise.data.replicate import aggregate_replicates
from screenwise.design.constraints import Constraints
from screenwise.design.plate import PlateRules
from screenwise.design.stop import StopRules
from screenwise.errors import CampaignError

TESTED = ("sample", "replicate")
"""Roles of wells that hold a condition of the pool; the others are controls."""
KEY = ["plate", "well", "task"]
"""What names a reading: a later one of the same key supersedes the earlier one."""
WELLS = {"round": "int64", "plate": "object", "well": "object", "role": "object", "condition_id": "object"}
READINGS = {
    **WELLS,
    "task": "object",
    "value": "float64",
    "relation": "int8",
    "failed": "bool",
    "note": "object",
    "row": "int64",
}
PROPOSALS = {
    "round": "int64",
    "place": "int64",
    "condition_id": "object",
    "score": "float64",
    "mean": "float64",
    "std": "float64",
    "in_domain": "bool",
    "reason": "object",
    "hit": "float64",
    "cost": "float64",
}
ROUND_FACTS = ("round", "cost", "plates", "expected", "stop", "prices")
"""What the event of a proposal says beside its table; missing in campaigns of older releases."""
QUARANTINE = {"row": "int64", "reason": "object", "content": "object"}


@dataclass(frozen=True)
class CampaignSettings:
    """What a campaign looks for, with what, in how many wells; fixed when it is created."""

    objective: str
    """maximize:TASK, minimize:TASK or absolute:TASK."""
    model: str = "auto"
    """Model that learns from the results."""
    acquisition: str = "auto"
    """How candidates are scored."""
    wells: int = 96
    """Wells of one round, controls and replicates not counted."""
    start: int | None = None
    """Wells of the first round; `wells` when None."""
    rounds: int | None = None
    """Rounds planned (6 where None): the weight of exploring falls until then. The campaign may go on past them."""
    seed: int = 0
    """Seed of everything random."""
    threshold: float | None = None
    """A measured value at least this good (in the direction of the objective) is a hit."""
    readouts: tuple[str, ...] = ()
    """Tasks read beside the objective's: they get a column on the plate and are kept."""
    plate: PlateRules = field(default_factory=PlateRules)
    """Format, controls, replicates and edge rules of the plates."""
    constraints: Constraints = field(default_factory=Constraints)
    """Caps, costs, stock, one value per plate, what is in and out."""
    stop: StopRules = field(default_factory=StopRules)
    """When the campaign stops by itself."""


def empty(kinds: dict[str, str]) -> pd.DataFrame:
    """Return a table without rows.

    Examples
    --------
    >>> list(empty(QUARANTINE))
    ['row', 'reason', 'content']
    """
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})


@dataclass(frozen=True)
class State:
    """Everything the events say."""

    settings: CampaignSettings
    tasks: tuple[str, ...]
    """The objective's task first."""
    pool: str
    """Digest of the pool."""
    titles: dict[str, str] = field(default_factory=dict)
    """Title in the user's table of the pool -> column of the pool; empty = all its columns as they are called."""
    proposals: pd.DataFrame = field(default_factory=lambda: empty(PROPOSALS))
    wells: pd.DataFrame = field(default_factory=lambda: empty(WELLS))
    """Exported wells, a row each."""
    readings: pd.DataFrame = field(default_factory=lambda: empty({**READINGS, "sequence": "int64", "file": "object"}))
    """Every reading ever taken in, oldest first, superseded ones too."""
    quarantined: pd.DataFrame = field(
        default_factory=lambda: empty({**QUARANTINE, "sequence": "int64", "file": "object"})
    )
    files: dict[str, int] = field(default_factory=dict)
    """SHA-256 of each file taken in -> its event."""
    layouts: dict[int, str] = field(default_factory=dict)
    """Round -> digest of its exported layout."""
    evidence: tuple[dict[str, Any], ...] = ()
    """What each proposal said of its model."""
    rounds: tuple[dict[str, Any], ...] = ()
    """Of each proposal: round, cost, plates, expected (hits), stop (judgements of the rules), prices."""
    verdicts: dict[str, str] = field(default_factory=dict)
    """Plate -> why its checks put it aside; empty = they did not."""
    judged: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Plate -> good (bool) and reason, as a person judged it: that counts before the checks."""
    waived: tuple[str, ...] = ()
    """Stop rules that a person set aside."""
    halt: dict[str, Any] | None = None
    """Rule, round and judgements, where a rule stopped the campaign."""
    stopped: str | None = None

    @property
    def round(self) -> int:
        """The last proposed round; 0 before the first."""
        return int(self.proposals["round"].max()) if len(self.proposals) else 0

    @property
    def name(self) -> str:
        """created, proposed, exported, partially_ingested, ingested or stopped."""
        if self.stopped is not None:
            return "stopped"
        if not self.round:
            return "created"
        if self.round not in self.layouts:
            return "proposed"
        if not (self.readings["round"] == self.round).any():
            return "exported"
        rounds = self.by_round()
        done = rounds.loc[rounds["round"] == self.round, "standing"] != "pending"
        return "ingested" if done.all() else "partially_ingested"

    def current(self) -> pd.DataFrame:
        """Return the readings that count: the last one of each plate, well and task."""
        return self.readings.drop_duplicates(KEY, keep="last").reset_index(drop=True)

    @property
    def rejected(self) -> dict[str, str]:
        """Plate -> why its readings do not count and its conditions may be chosen again."""
        found = {plate: why for plate, why in self.verdicts.items() if why and plate not in self.judged}
        return found | {plate: said["reason"] for plate, said in self.judged.items() if not said["good"]}

    def counted(self) -> pd.DataFrame:
        """Return the readings that count, those of rejected plates as failed."""
        current, rejected = self.current(), self.rejected
        if not rejected:
            return current
        return current.assign(failed=current["failed"] | current["plate"].isin(list(rejected)))

    def cells(self) -> pd.DataFrame:
        """Return one measurement per condition and task: condition_id, task, value, relation, replicates, reason.

        Controls, failed wells and rejected plates are left out; replicates become their median, bounds respected.
        """
        current = self.counted()
        valid = current[~current["failed"] & current["role"].isin(TESTED)]
        row, conditions = pd.factorize(valid["condition_id"])
        task, tasks = pd.factorize(valid["task"])
        cells = aggregate_replicates(row, task, valid["value"].to_numpy(), valid["relation"].to_numpy())
        names = np.asarray(conditions, object)[cells["row"]], np.asarray(tasks, object)[cells["task"]]
        return cells.drop(columns="row").assign(condition_id=names[0], task=names[1])

    def by_round(self) -> pd.DataFrame:
        """Return round, condition_id, standing (measured, failed, pending) of every proposed condition.

        A condition is measured by one valid reading of the objective's task, failed when every
        exported well of it in that round failed or stands on a rejected plate, else pending.
        """
        proposed = self.proposals[["round", "condition_id"]]
        current = self.counted()
        current = current[(current["task"] == self.tasks[0]) & current["role"].isin(TESTED)]
        sound = self.cells()
        sound = sound.loc[(sound["task"] == self.tasks[0]) & (sound["reason"] == ""), "condition_id"]
        # Readings that contradict each other are no measurement: the condition counts as failed.
        valid = current[~current["failed"] & current["condition_id"].isin(sound)]
        spent = pd.MultiIndex.from_frame(current[["plate", "well"]])
        wells = self.wells[self.wells["role"].isin(TESTED)]
        awaited = wells[~pd.MultiIndex.from_frame(wells[["plate", "well"]]).isin(spent)]

        def among(other: pd.DataFrame) -> Any:
            keys = pd.MultiIndex.from_frame(other[["round", "condition_id"]])
            return pd.MultiIndex.from_frame(proposed).isin(keys)

        waiting = among(awaited) | ~proposed["round"].isin(list(self.layouts)).to_numpy(bool)
        standing = np.select([among(valid), waiting], ["measured", "pending"], "failed")
        return proposed.assign(standing=standing.astype(object))

    def standing(self) -> pd.Series:
        """Return condition_id -> measured, pending or failed, over all rounds; failed ones may be proposed again."""
        ranks = {"measured": 0, "pending": 1, "failed": 2}
        rounds = self.by_round()
        best = rounds["standing"].map(ranks).groupby(rounds["condition_id"], sort=False).min()
        return best.map({rank: name for name, rank in ranks.items()})


def fold(events: list[Event], load: Callable[[str], pd.DataFrame]) -> State:
    """Return the state after some events.

    Parameters
    ----------
    events
        From the first on.
    load
        Returns the table of a digest, such as `Store.get`.
    """
    if not events or events[0].kind != "created":
        message = "The campaign has no beginning: its first event is not `created`. Bring the folder back from a copy."
        raise CampaignError(message)
    first = events[0].payload
    settings = from_mapping(CampaignSettings, first["settings"], "the campaign's settings")
    state = State(settings, tuple(first["tasks"]), first["objects"]["pool"], dict(first.get("titles", [])))
    for event in events[1:]:
        if event.kind not in _STEPS:
            message = f"Event {event.sequence} is of unknown kind {event.kind!r}; install a newer release."
            raise CampaignError(message)
        state = _STEPS[event.kind](state, event, load)
    return state


Load = Callable[[str], pd.DataFrame]


def _proposed(state: State, event: Event, load: Load) -> State:
    table = load(event.payload["objects"]["proposal"])
    return replace(
        state,
        proposals=_joined(state.proposals, table),
        evidence=(*state.evidence, event.payload["evidence"]),
        rounds=(*state.rounds, {name: event.payload.get(name) for name in ROUND_FACTS}),
    )


def _exported(state: State, event: Event, load: Load) -> State:
    digest = event.payload["objects"]["layout"]
    layouts = {**state.layouts, int(event.payload["round"]): digest}
    return replace(state, wells=_joined(state.wells, load(digest)[list(WELLS)]), layouts=layouts)


def _ingested(state: State, event: Event, load: Load) -> State:
    objects, about = event.payload["objects"], {"sequence": event.sequence, "file": event.payload["file"]}
    good = {"good": True, "reason": "accepted with its results"}
    return replace(
        state,
        readings=_joined(state.readings, load(objects["readings"]).assign(**about)),
        quarantined=_joined(state.quarantined, load(objects["quarantine"]).assign(**about)),
        files={**state.files, event.payload["digest"]: event.sequence},
        verdicts={**state.verdicts, **event.payload.get("plates", {})},
        judged={**state.judged, **dict.fromkeys(event.payload.get("accepted", []), good)},
    )


def _judged(state: State, event: Event, load: Load) -> State:
    said = {name: event.payload[name] for name in ("good", "reason")}
    return replace(state, judged={**state.judged, event.payload["plate"]: said})


def _stopped(state: State, event: Event, load: Load) -> State:
    return replace(state, stopped=event.payload["reason"], halt=event.payload.get("halt"))


def _resumed(state: State, event: Event, load: Load) -> State:
    return replace(state, stopped=None, halt=None, waived=(*state.waived, *event.payload["waived"]))


def _joined(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    if new.empty:
        return old
    return pd.concat([old, new], ignore_index=True) if len(old) else new.reset_index(drop=True)


_STEPS: dict[str, Callable[[State, Event, Load], State]] = {
    "proposed": _proposed,
    "exported": _exported,
    "ingested": _ingested,
    "judged": _judged,
    "stopped": _stopped,
    "resumed": _resumed,
}
"""Kind of event -> what it does to the state."""
