"""From a fitted run and a pool to a plate map."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from screenwise.campaign.lean import how_it_leans
from screenwise.campaign.policy import Objective, Proposal, Request, policy_for, propose_from
from screenwise.campaign.round import RESERVED, plate_columns
from screenwise.design.choose import BATCHES
from screenwise.design.plate import PlateRules, layout, write_plate
from screenwise.errors import ConfigError, DataError
from screenwise.recipes.fitted_run import conditions_for, open_run, own_columns, run_tasks, task_table
from screenwise.recipes.outcome import Outcome, Progress, silent
from screenwise.recipes.settings import Ask, Reading
from screenwise.screen import Screen, Targets

SHOWN = 8
"""Chosen candidates that the terminal shows."""


def propose(
    run: Path, pool: str, out: Path, ask: Ask = Ask(), reading: Reading = Reading(), *, progress: Progress = silent
) -> Outcome:
    """Choose wells from a pool with a fitted run, leave out what it was fitted on, and write the plate map."""
    if ask.wells < 1:
        message = f"--wells is {ask.wells}; it must be at least 1."
        raise ConfigError(message)
    policy, model, tasks = policy_for("auto", ask.acquisition), open_run(run), run_tasks(run)
    objective = Objective.parse(ask.objective or _only(tasks))
    if objective.task not in tasks:
        message = f"The run knows no task {objective.task!r}; it knows {', '.join(tasks)}. Name one of them."
        raise ConfigError(message)
    conditions = conditions_for(run, pool, reading, progress=progress)
    usable = (conditions["note"].astype(str) == "") & ~conditions["condition_id"].duplicated()
    # a pool may be most of the memory: it is copied only where rows must go
    open_pool = conditions if usable.all() else conditions[usable].reset_index(drop=True)
    learnt = pd.read_parquet(run / "training.parquet")
    measured = open_pool["condition_id"].isin(learnt["condition_id"])
    _some_left(measured, conditions["note"].astype(str), (pool, run))
    proposal = propose_from(
        model,
        tasks.index(objective.task),
        open_pool,
        Request(objective, ask.wells, seed=ask.seed),
        policy=policy,
        measured=_measured(open_pool[measured], learnt, task_table(run)),
    )
    studied, lean = how_it_leans(open_pool, proposal.rows, ~measured.to_numpy(bool))
    said = _said(proposal, studied)
    rows = open_pool.iloc[proposal.rows].reset_index(drop=True)
    rows.attrs = conditions.attrs
    plate = plate_columns(rows.drop(columns="note"), conditions.attrs.get("titles", {}), {*RESERVED, *said})
    write_plate(layout(plate.assign(**said), PlateRules(), ask.seed), out, [objective.task])
    chosen = own_columns(rows).assign(**said)
    facts = {
        "objective": str(objective),
        "candidates": len(open_pool),
        "already measured": int(measured.sum()),
        "left out, unreadable or doubled": int((~usable).sum()),
        "chosen": len(chosen),
        **lean,
    }
    table = [{str(name): value for name, value in row.items()} for row in chosen.head(SHOWN).to_dict("records")]
    notes = []
    if len(chosen) < ask.wells:
        notes.append(f"Only {len(chosen)} of {ask.wells} wells are filled: the pool has no more open candidates.")
    if "embedding" in BATCHES[policy.acquisition].needs and not _describes(learnt):
        notes.append(_knows_some(policy.acquisition, int(measured.sum())))
    return Outcome(facts, table, notes, {"plate map": str(out)})


def _said(proposal: Proposal, studied: dict[str, Any]) -> dict[str, Any]:
    """Return what is said of each chosen candidate, by title."""
    said = {"score": proposal.score, **studied, "predicted": proposal.mean, "std": proposal.std}
    return said | {"in_domain": proposal.in_domain, "reason": proposal.reason}


def _knows_some(acquisition: str, inside: int) -> str:
    """Say that a run of an earlier release knows where only some of its training conditions lie."""
    return (
        f"The run keeps only the names of what it learned from: {acquisition} knows where the {inside} of them lie "
        "that are in the pool. Fit the run again to have it know all."
    )


def _measured(inside: pd.DataFrame, learnt: pd.DataFrame, tasks: pd.DataFrame) -> Screen:
    """Return what was measured, in the pool or not, and of what kind the tasks are; the values are the model's."""
    rows = (learnt if _describes(learnt) else inside).reset_index(drop=True)
    return Screen(rows, tasks, Targets(np.full((len(rows), len(tasks)), np.nan)))


def _describes(learnt: pd.DataFrame) -> bool:
    """Whether a run says what its training conditions are; those of releases before 0.2 hold their ids alone."""
    return len(learnt.columns) > 1


def _some_left(measured: pd.Series, notes: pd.Series, names: tuple[str, Path]) -> None:
    """Refuse a pool in which nothing can be chosen, and say why not."""
    pool, run = names
    if len(measured) == 0:
        message = f"None of the {len(notes)} rows of {pool} can be used; the first: {notes.iloc[0]}."
        raise DataError(message)
    if measured.all():
        message = (
            f"All {len(measured)} candidates of {pool} were measured already: {run} was fitted on them. "
            "Give a pool with candidates that were not."
        )
        raise DataError(message)


def _only(tasks: list[str]) -> str:
    if len(tasks) > 1:
        message = f"The run has {len(tasks)} tasks; say which with --objective, such as maximize:{tasks[0]}."
        raise ConfigError(message)
    return f"maximize:{tasks[0]}"
