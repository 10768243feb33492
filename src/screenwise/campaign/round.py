"""One round: what a proposal is computed from, and what leaves for the lab."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.campaign.objective import Objective
from screenwise.campaign.policy import policy_for
from screenwise.campaign.proposal import Policy, Proposal, Request
from screenwise.campaign.rules import bench_of, constraints_now, layout_rules, round_facts, wells_used
from screenwise.campaign.state import PROPOSALS, TESTED, WELLS, CampaignSettings, State
from screenwise.condition import condition_ids, factor_columns
from screenwise.design.constraints import Constraints
from screenwise.design.plate import layout
from screenwise.design.rules import apply_constraints
from screenwise.errors import CampaignError, ColumnError, ConfigError, DataError
from screenwise.represent.features import FEATURE, SETS
from screenwise.rng import derive_seed
from screenwise.screen import Cells, Screen, make_screen, targets_from_cells

SHOWN = 5
"""Names that a message spells out."""
ROUNDS = 6
"""Rounds that a campaign is taken to last where its settings do not say: the weight of exploring falls until then."""
RESERVED = ("well", "plate", "role", "failed", "note", "relation", "value", "task")
"""Columns with a meaning on a plate map; the pool's own ones of these names are exported as ``pool_...``."""


class Proposer(Protocol):
    """Chooses a round, as `screenwise.campaign.policy.propose_round` does."""

    def __call__(self, policy: Policy, measured: Screen, pool: pd.DataFrame, request: Request) -> Proposal:
        """Return at most `request.wells` rows of `pool`, neither measured nor pending.

        The same arguments must give the same bits: a replay of the campaign asks again.
        """
        ...


def checked_tasks(settings: CampaignSettings) -> list[str]:
    """Return the tasks that a campaign reads, the objective's first; wrong settings are an error."""
    least = {"wells": settings.wells, "start": settings.start, "rounds": settings.rounds}
    for name, value in least.items():
        if value is not None and value < 1:
            message = f"The setting {name} of a campaign is {value}; it must be at least 1."
            raise ConfigError(message)
    if settings.threshold is not None and not np.isfinite(settings.threshold):
        message = f"The setting threshold of a campaign is {settings.threshold}; it must be a finite number."
        raise ConfigError(message)
    if settings.seed < 0:
        message = f"The setting seed of a campaign is {settings.seed}; it must be at least 0."
        raise ConfigError(message)
    policy_for(settings.model, settings.acquisition)
    tasks = [Objective.parse(settings.objective).task, *settings.readouts]
    taken = {"condition_id", *RESERVED}
    odd = [task for task in tasks if task.strip().lower() in taken or tasks.count(task) > 1 or not task.strip()]
    if odd:
        message = (
            f"The task {odd[0]!r} cannot be a column of a plate map: it stands twice or means something else there "
            f"({', '.join(sorted(taken))}). Rename it."
        )
        raise ConfigError(message)
    return tasks


def checked_pool(pool: pd.DataFrame, tasks: list[str]) -> pd.DataFrame:
    """Return a pool fit for a campaign: not empty, each condition once, with its id.

    Examples
    --------
    >>> checked_pool(pd.DataFrame({"gene": ["MYC", "MYC"]}), ["t"])
    Traceback (most recent call last):
    ...
    screenwise.errors.DataError: The pool holds conditions more than once: MYC (2 rows). Keep one row of each.
    """
    if pool.empty:
        message = "The pool has no rows; give at least one candidate."
        raise DataError(message)
    applied = set(tasks) & set(pool.columns) and set(tasks) & set(factor_columns(pool))
    if applied:
        message = f"The task {min(applied)!r} is a column that says what is applied; name what is read from the wells."
        raise ConfigError(message)
    pool = pool.reset_index(drop=True).drop(columns=tasks, errors="ignore")
    if not pool.columns.is_unique:
        doubled = pool.columns[pool.columns.duplicated()].tolist()
        message = f"The pool's columns {doubled[:SHOWN]} stand twice; rename one of each."
        raise ColumnError(message)
    if "condition_id" not in pool.columns:
        pool.insert(0, "condition_id", condition_ids(pool))
    ids = pool["condition_id"]
    blank = ids.isna() | (ids.astype(str).str.strip() == "")
    if blank.any():
        message = f"Row {int(blank.to_numpy().argmax()) + 1} of the pool has no condition_id; name it or leave it out."
        raise DataError(message)
    pool["condition_id"] = ids.astype(str).astype(object)
    doubled = pool["condition_id"].duplicated(keep=False)
    if doubled.any():
        label = next((name for name in pool.columns if name != "condition_id"), "condition_id")
        sizes = pool[doubled].groupby("condition_id", sort=False)[label].agg(["first", "size"])
        names = [f"{name} ({size} rows)" for name, size in sizes.head(SHOWN).itertuples(index=False)]
        more = f" and {len(sizes) - SHOWN} more" if len(sizes) > SHOWN else ""
        message = f"The pool holds conditions more than once: {', '.join(names)}{more}. Keep one row of each."
        raise DataError(message)
    return pool


def measured_screen(state: State, pool: pd.DataFrame) -> Screen:
    """Return the valid measurements as a screen, conditions in the pool's order."""
    cells = state.cells()
    cells = cells[cells["reason"] == ""]
    known = pool["condition_id"].isin(cells["condition_id"]).to_numpy(bool)
    conditions = pool[known].reset_index(drop=True)
    row = pd.Index(conditions["condition_id"]).get_indexer(cells["condition_id"])
    task = pd.Index(state.tasks).get_indexer(cells["task"])
    value, relation = cells["value"].to_numpy(np.float32), cells["relation"].to_numpy(np.int8)
    targets = targets_from_cells(Cells(row, task, value, relation), (len(conditions), len(state.tasks)))
    return make_screen(conditions, targets, list(state.tasks))


def pending_conditions(state: State, pool: pd.DataFrame) -> pd.DataFrame:
    """Return the conditions that await their result, in the pool's order."""
    standing = state.standing()
    waiting = standing.index[standing == "pending"]
    return pool[pool["condition_id"].isin(waiting)].reset_index(drop=True)


def proposed(state: State, pool: pd.DataFrame, proposer: Proposer) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Compute the round after `state`: the table of the proposal, and what to note beside it.

    Depends on nothing but its arguments, so that a replay gives the same.
    """
    settings, number, standing = state.settings, state.round + 1, state.standing()
    closed = pool["condition_id"].isin(standing.index[standing != "failed"]).to_numpy(bool)
    if closed.all():
        message = (
            f"The pool of {len(pool)} is used up: {int((standing == 'measured').sum())} are measured, "
            f"{int((standing == 'pending').sum())} await their result. Ingest what is missing, or stop the campaign."
        )
        raise CampaignError(message)
    request, asked = _request(state, standing, int((~closed).sum()))
    rules = apply_constraints(request.constraints, pool, request.bench) if request.bench.used else None
    if rules is not None and not rules.allowed([])[~closed].any():
        message = (
            "The rules of the campaign leave no candidate open: look at stock, budget and must_exclude, or stop it."
        )
        raise CampaignError(message)
    measured = measured_screen(state, pool)
    proposal = proposer(policy_for(settings.model, settings.acquisition), measured, pool, request)
    if not len(proposal.rows) and settings.constraints != Constraints():
        message = (
            "No open candidate fits the rules of the campaign: look at budget and costs, stock, caps and must_exclude. "
            "Rules are fixed; a new campaign with others can begin from this one's pool."
        )
        raise CampaignError(message)
    table = _table(proposal, pool, closed, request.wells).assign(round=number)
    facts = round_facts(state, pool, request, proposal)
    table = table.assign(hit=facts.pop("hit"), cost=facts.pop("added"))
    about = {
        "round": number,
        "wells": len(table),
        "asked": asked,
        "seed": request.seed,
        "progress_share": request.progress_share,
        "measured": _digest(measured),
        "pending": hashlib.sha256("\n".join(request.pending).encode()).hexdigest(),
        "evidence": proposal.evidence,
        **facts,
    }
    return table[list(PROPOSALS)].astype(PROPOSALS), about


def _request(state: State, standing: pd.Series, left: int) -> tuple[Request, int]:
    """Return what the next round asks of the policy, and how many wells it has; `left` candidates are open."""
    settings, number = state.settings, state.round + 1
    first = settings.wells if settings.start is None else settings.start
    wells = first if number == 1 else settings.wells
    planned = first + (max(settings.rounds or ROUNDS, 2) - 1) * settings.wells
    wanted = min(wells, left)
    request = Request(
        Objective.parse(settings.objective),
        wanted,
        min(1.0, len(state.proposals) / planned),
        derive_seed(settings.seed, "round", number),
        tuple(sorted(standing.index[standing == "pending"])),
        constraints_now(state, standing != "failed", wanted),
        bench_of(settings.plate, wanted, wells_used(state), settings.constraints.plates),
        settings.threshold,
    )
    return request, wells


def _table(proposal: Proposal, pool: pd.DataFrame, closed: NDArray[np.bool_], wells: int) -> pd.DataFrame:
    rows = np.asarray(proposal.rows)
    size = len(rows)
    sound = rows.ndim == 1 and np.issubdtype(rows.dtype, np.integer) and 0 < size <= wells
    if not sound or rows.min() < 0 or rows.max() >= len(pool) or len(np.unique(rows)) != size or closed[rows].any():
        message = (
            f"The policy proposed rows {rows[:SHOWN].tolist()} ... of a pool of {len(pool)} for {wells} wells; they "
            "must be different row numbers, at most one per well, neither measured nor pending."
        )
        raise CampaignError(message)
    return pd.DataFrame(
        {
            "place": np.arange(1, size + 1),
            "condition_id": pool["condition_id"].to_numpy(object)[rows],
            "score": np.asarray(proposal.score, np.float64),
            "mean": np.asarray(proposal.mean, np.float64),
            "std": np.asarray(proposal.std, np.float64),
            "in_domain": np.asarray(proposal.in_domain, bool),
            "reason": np.asarray(proposal.reason, object),
        }
    )


def _digest(screen: Screen) -> str:
    """Return a digest of what was known: ids, values and relations."""
    cells = screen.targets.cells()
    parts = ["\n".join(screen.conditions["condition_id"]).encode(), cells.row.astype("<i8").tobytes()]
    parts += [cells.task.astype("<i8").tobytes(), cells.value.astype("<f4").tobytes(), cells.relation.tobytes()]
    return hashlib.sha256(b"\x00".join(parts)).hexdigest()


def laid_out(state: State, pool: pd.DataFrame) -> pd.DataFrame:
    """Return the wells of the last round: round, plate, well, role, condition_id."""
    number = state.round
    chosen = state.proposals.loc[state.proposals["round"] == number, ["condition_id"]].reset_index(drop=True)
    rules = replace(state.settings.plate, plate_name=f"R{number}{state.settings.plate.plate_name}")
    how = layout_rules(state, pool, chosen["condition_id"])
    wells = layout(chosen, rules, derive_seed(state.settings.seed, "plate", number), **how)
    wells["condition_id"] = wells["condition_id"].fillna("")
    return wells.assign(round=number)[list(WELLS)].astype(WELLS)


def sheet_of(wells: pd.DataFrame, pool: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """Return a plate map: well, plate, role, condition_id and the pool's own columns, empty for controls."""
    own = plate_columns(pool, titles)
    tested = wells["role"].isin(TESTED).to_numpy(bool)
    places = np.where(tested, pd.Index(own["condition_id"]).get_indexer(wells["condition_id"]), -1)
    # As objects, so that whole numbers stay whole beside the empty cells of controls.
    carried = own.drop(columns="condition_id").astype(object).reindex(places).reset_index(drop=True)
    first = wells[["well", "plate", "role", "condition_id"]].reset_index(drop=True)
    return pd.concat([first, carried], axis=1)


def plate_columns(pool: pd.DataFrame, titles: Mapping[str, str], reserved: Collection[str] = RESERVED) -> pd.DataFrame:
    """Return `condition_id` and the columns that the user's own table of the pool has, as it has them.

    Parameters
    ----------
    pool
        (n,) conditions.
    titles
        Title in the user's table -> column of the pool that holds it; empty = all columns but features and sets.
    reserved
        Titles that mean something else on a plate map: there they are called ``pool_...``.

    Examples
    --------
    >>> pool = pd.DataFrame({"condition_id": ["a"], "smiles": ["CCO"], "smiles_as_given": ["OCC"], "note": [""]})
    >>> plate_columns(pool, {"smiles": "smiles_as_given"}).to_dict("list")
    {'condition_id': ['a'], 'smiles': ['OCC']}
    """
    every = {name: name for name in map(str, pool.columns)}
    named = {title: name for title, name in (titles or every).items() if name in every and title != "condition_id"}
    own = pool[["condition_id", *named.values()]].set_axis(["condition_id", *named], axis=1)
    own = own.drop(columns=[name for name in own.columns if name.startswith((FEATURE, SETS))])
    return own.rename(columns={name: f"pool_{name}" for name in own.columns if name.lower() in reserved})
