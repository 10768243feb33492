"""The loop that lasts: propose, export, take results in, again; for months, without losing a fact."""

import getpass
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from screenwise.campaign.explain import explained
from screenwise.campaign.ingest import read_results
from screenwise.campaign.policy import propose_round
from screenwise.campaign.repeat import replayed, software
from screenwise.campaign.round import (
    Proposer,
    checked_pool,
    checked_tasks,
    laid_out,
    measured_screen,
    pending_conditions,
    plate_columns,
    proposed,
    sheet_of,
)
from screenwise.campaign.rules import checked_rules
from screenwise.campaign.state import CampaignSettings, State, fold
from screenwise.campaign.store import Event, Store
from screenwise.campaign.summary import flagged_plates, summarise
from screenwise.campaign.verdict import plate_checks, verdicts
from screenwise.config import to_mapping
from screenwise.design.plate import write_plate
from screenwise.errors import CampaignError
from screenwise.run import file_sha256
from screenwise.screen import Screen

__all__ = ["Campaign", "CampaignSettings", "Proposer"]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user data base
        return "unknown"


class Campaign:
    """A discovery campaign in a folder: everything it knows is in the folder's events.

    Every method reads the events, does one thing, and adds at most one event; a process killed at any
    moment leaves the campaign before or after that event. One process writes at a time.

    Examples
    --------
    >>> pool = pd.DataFrame({"gene": [f"G{i}" for i in range(200)]})
    >>> folder = Path(tempfile.mkdtemp()) / "ifng"
    >>> campaign = Campaign.create(folder, pool, CampaignSettings("maximize:secretion", wells=80))
    >>> proposal = campaign.propose()
    >>> len(proposal), campaign.status()["state"]
    (80, 'proposed')
    """

    def __init__(self, store: Store, proposer: Proposer | None = None, actor: str | None = None) -> None:
        self.store = store
        self.proposer: Proposer = propose_round if proposer is None else proposer
        self.actor = _user() if actor is None else actor

    @classmethod
    def create(
        cls,
        folder: Path,
        pool: pd.DataFrame,
        settings: CampaignSettings,
        *,
        titles: Mapping[str, str] | None = None,
        proposer: Proposer | None = None,
        on_commit: Callable[[Event], None] | None = None,
    ) -> "Campaign":
        """Begin a campaign in a folder that is not there yet.

        Parameters
        ----------
        folder
            New, or empty.
        pool
            (n,) candidates, each once: factors (see `screenwise.condition`), own columns, numbers named
            ``feature:...``, and `condition_id`, which is made from the factors where it is missing. A
            column called like a task is left out: values known beforehand are not used.
        settings
            Fixed from here on.
        titles
            Title on plate maps -> column of the pool, where the pool has more columns than the user's
            own table, or other ones (SMILES in standard form); None = all its columns as they are called.
        proposer
            Chooses candidates; the settings' model and acquisition by default.
        on_commit
            Called with each event once it is safe on the disk.
        """
        folder = Path(folder).absolute()
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            message = f"{folder} exists already; give the name of a new folder for the campaign."
            raise CampaignError(message)
        tasks = checked_tasks(settings)
        settings, pool = checked_rules(settings, checked_pool(pool, tasks))
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        except OSError as error:
            message = f"Cannot make {folder}: {error.strerror or error}. Choose another place."
            raise CampaignError(message) from error
        try:
            # Built beside and renamed, so that there is a whole campaign or none.
            store = Store.create(draft / "campaign")
            payload = {"settings": to_mapping(settings), "tasks": tasks, "conditions": len(pool), **software()}
            # pairs: a mapping would lose its order in the event
            payload["titles"] = [list(pair) for pair in (titles or {}).items()]
            with store.writing(_user()) as writer:
                event = writer.append("created", {**payload, "objects": {"pool": store.put(pool)}})
            store.folder.replace(folder)
        except OSError as error:
            message = f"Cannot make {folder}: {error.strerror or error}. Choose another place."
            raise CampaignError(message) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        if on_commit is not None:
            on_commit(event)
        return cls.open(folder, proposer=proposer, on_commit=on_commit)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        proposer: Proposer | None = None,
        actor: str | None = None,
        on_commit: Callable[[Event], None] | None = None,
    ) -> "Campaign":
        """Open a campaign, also one that was moved or whose process was killed."""
        return cls(Store.open(folder, on_commit), proposer, actor)

    @property
    def folder(self) -> Path:
        """Where the campaign is."""
        return self.store.folder

    def state(self) -> State:
        """Return what the events say now."""
        return fold(self.store.events(), self.store.get)

    def pool(self) -> pd.DataFrame:
        """Return all conditions, as they were when the campaign began."""
        return self.store.get(self.state().pool)

    def propose(self, *, ahead: bool = False) -> pd.DataFrame:
        """Choose the conditions of the next round; a round not exported yet is returned as it is.

        Conditions that were measured or await their result are not chosen again; failed ones may be.

        Parameters
        ----------
        ahead
            Propose although nothing of the last round has come back.

        Returns
        -------
        DataFrame: round, place (1 = first choice), condition_id, score, mean, std, in_domain, reason, hit
        (probability; NaN where there is no model), cost (what it adds to the round).

        Raises
        ------
        CampaignError
            The campaign is stopped, also where a stop rule did so just now; or there is nothing to propose.
        """
        halt = None
        with self.store.writing(self.actor) as writer:
            state = fold(writer.events, self.store.get)
            _refuse_to_propose(state, ahead=ahead)
            if state.name != "proposed":
                table, about = proposed(state, self.store.get(state.pool), self.proposer)
                halt = _halt(state, about)
                if halt is None:
                    digest = self.store.put(table)
                    writer.append("proposed", {**about, **software(), "objects": {"proposal": digest}})
                else:
                    reason = f"{halt['rule']}: {halt['why']}"
                    writer.append("stopped", {"reason": reason, "round": state.round, "halt": halt})
                state = fold([*writer.events, *writer.added], self.store.get)
        if halt is not None:
            message = f"The campaign stops by its rule {state.stopped}. `campaign resume` goes on without that rule."
            raise CampaignError(message)
        return _of_round(state.proposals, state.round)

    def export(self, path: Path) -> pd.DataFrame:
        """Write the last round as a plate map (CSV); asked again, the same plates are written again.

        Plates are called R1P1, R1P2 (round 1), so that a plate's name is enough to find a well.

        Returns
        -------
        DataFrame: well, plate, role, condition_id, the pool's own columns; the file has an empty
        column per task besides.
        """
        with self.store.writing(self.actor) as writer:
            state = fold(writer.events, self.store.get)
            if not state.round:
                message = f"There is nothing to export from {self.folder}: propose a round first."
                raise CampaignError(message)
            wells = _of_round(state.wells, state.round)
            if state.round not in state.layouts:
                wells = laid_out(state, self.store.get(state.pool))
                about = {"round": state.round, "file": Path(path).name, "wells": len(wells), "tasks": state.tasks}
                writer.append("exported", {**about, "objects": {"layout": self.store.put(wells)}})
            sheet = sheet_of(wells, self.store.get(state.pool), state.titles)
            # Inside the transaction: without the file on the disk the round does not count as exported.
            write_plate(sheet, Path(path), list(state.tasks))
        return sheet

    def ingest(self, path: Path, *, accept: bool = False) -> dict[str, Any]:
        """Take in a filled plate map or an id,value table; see `screenwise.campaign.ingest`.

        The same file, or the same results in another file, change nothing. Another value for a well
        supersedes the one before, which stays in the history. A plate whose controls or places cannot be
        believed is rejected (`screenwise.campaign.verdict`): its readings are kept and do not count, its
        conditions may be chosen again.

        Parameters
        ----------
        path
            File.
        accept
            Let the plates of this file count whatever their checks say.

        Returns
        -------
        dict: file, rows, new, corrected, failed, unchanged, quarantined (numbers), repeated (was this
        file taken in before), state, rejected (plate -> why), flagged (plate -> checks that failed, of the
        others), and the quarantined rows' reasons.
        """
        path = Path(path)
        with self.store.writing(self.actor) as writer:
            state = fold(writer.events, self.store.get)
            if not state.layouts:
                message = "No round was exported yet, so no result can belong to a well. Run propose and export first."
                raise CampaignError(message)
            digest = file_sha256(path) if path.is_file() else ""
            repeated = digest in state.files
            results = read_results(path, state, self.store.get(state.pool), repeated=repeated)
            about = {"file": path.name, **results.counts, "repeated": repeated}
            if len(results.readings) or len(results.quarantine):
                objects = {"readings": self.store.put(results.readings)}
                objects["quarantine"] = self.store.put(results.quarantine)
                said: dict[str, Any] = {"plates": verdicts(state, results.readings)}
                said["accepted"] = sorted(results.readings["plate"].unique()) if accept else []
                writer.append("ingested", {**about, **said, "digest": digest, "objects": objects})
                state = fold([*writer.events, *writer.added], self.store.get)
        reasons = results.quarantine["reason"].value_counts().to_dict()
        told = set(results.readings["plate"])
        here = {plate: why for plate, why in state.rejected.items() if plate in told}
        counted = {str(reason): int(count) for reason, count in reasons.items()}
        odd = flagged_plates(state, told - set(here))
        return {**about, "state": state.name, "rejected": here, "flagged": odd, "reasons": counted}

    def judge(self, plate: str, *, good: bool, reason: str) -> None:
        """Let a plate count, or not, whatever its checks say; who said so and why is kept.

        The conditions of a plate that does not count may be chosen again.
        """
        with self.store.writing(self.actor) as writer:
            state = fold(writer.events, self.store.get)
            plates = [str(one) for one in state.wells["plate"].unique()]
            if plate not in plates:
                message = f"There is no exported plate {plate!r}; they are {', '.join(plates) or 'none yet'}."
                raise CampaignError(message)
            if not reason.strip():
                message = f"Say why plate {plate} is judged {'good' if good else 'bad'}."
                raise CampaignError(message)
            writer.append("judged", {"plate": plate, "good": good, "reason": reason})

    def resume(self, reason: str = "resumed by the user") -> None:
        """Go on with a stopped campaign; the rule that stopped it, if one did, counts no more."""
        with self.store.writing(self.actor) as writer:
            state = fold(writer.events, self.store.get)
            if state.stopped is None:
                message = "The campaign is not stopped; propose goes on."
                raise CampaignError(message)
            waived = [] if state.halt is None else [state.halt["rule"]]
            writer.append("resumed", {"reason": reason, "waived": waived, "round": state.round})

    def explain(self, number: int | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Say of every well of a round why it was chosen, and what each rule of the campaign cost.

        Parameters
        ----------
        number
            The round; the last one when None.

        Returns
        -------
        wells, prices
            See `screenwise.campaign.explain.explained`.
        """
        state = self.state()
        return explained(state, self.store.get(state.pool), state.round if number is None else number)

    def stop(self, reason: str = "stopped by the user") -> None:
        """End the campaign: nothing is proposed any more, late results are still taken in."""
        with self.store.writing(self.actor) as writer:
            state = fold(writer.events, self.store.get)
            if state.stopped is not None:
                message = f"The campaign is stopped already ({state.stopped})."
                raise CampaignError(message)
            writer.append("stopped", {"reason": reason, "round": state.round})

    def verify(self) -> dict[str, Any]:
        """Recompute the hashes of all events and tables; see `Store.verify`."""
        return self.store.verify()

    def replay(self, progress: Callable[[str, int, int], None] | None = None) -> dict[str, Any]:
        """Compute every proposal again from the events and compare bit for bit.

        Returns
        -------
        dict: ok, and rounds: a list of round, same (bool), differs (columns), software (of then, where
        it was another).
        """
        return replayed(self.store, self.proposer, progress)

    def measured(self) -> Screen:
        """Return what was measured: valid readings of samples and replicates, one value per condition and task."""
        state = self.state()
        return measured_screen(state, self.store.get(state.pool))

    def pending(self) -> pd.DataFrame:
        """Return the conditions that are proposed and not measured yet, with the pool's columns."""
        state = self.state()
        return pending_conditions(state, self.store.get(state.pool))

    def results(self, *, history: bool = False) -> pd.DataFrame:
        """Return the readings with the pool's own columns: those that count, or all ever taken in (oldest first)."""
        state = self.state()
        readings = state.readings if history else state.current()
        own = plate_columns(self.store.get(state.pool), state.titles)
        own = own.drop(columns=list(readings.columns.drop("condition_id")), errors="ignore")
        return readings.merge(own, on="condition_id", how="left")

    def quarantined(self) -> pd.DataFrame:
        """Return the rows that matched no exported well: file, row, reason, content (JSON of the line)."""
        return self.state().quarantined[["file", "row", "reason", "content"]]

    def qc(self) -> pd.DataFrame:
        """Return the checks of all plates that have readings; see `screenwise.campaign.qc`."""
        return plate_checks(self.state())

    def status(self) -> dict[str, Any]:
        """Say where the campaign stands, in plain values that JSON can hold."""
        events = self.store.events()
        state = fold(events, self.store.get)
        return {
            "folder": str(self.folder),
            **summarise(state, plate_columns(self.store.get(state.pool), state.titles), events),
        }


def _halt(state: State, about: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the first stop rule that fires and was not set aside, with the judgements of all."""
    fired = [one for one in about["stop"] if one["fired"] and one["rule"] not in state.waived]
    if not fired:
        return None
    told = {name: about[name] for name in ("round", "stop", "cost", "plates", "expected")}
    return {"rule": fired[0]["rule"], "why": fired[0]["why"], **told}


def _of_round(table: pd.DataFrame, number: int) -> pd.DataFrame:
    return table[table["round"] == number].reset_index(drop=True)


def _refuse_to_propose(state: State, *, ahead: bool) -> None:
    if state.stopped is not None:
        message = f"The campaign is stopped ({state.stopped}); nothing more is proposed. `campaign resume` goes on."
        raise CampaignError(message)
    if state.name == "exported" and not ahead:
        message = (
            f"Round {state.round} is exported and no result of it is back. Ingest results first, or propose ahead "
            "of them (`campaign propose --ahead`, in Python propose(ahead=True))."
        )
        raise CampaignError(message)
