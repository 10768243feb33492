"""Replay a measured screen with several policies, from the same random starts."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from screenwise.campaign.policy import POLICIES, Objective, SimulatedPolicy
from screenwise.data.datasets import POOLS, Pool
from screenwise.data.replicate import one_row_per_condition
from screenwise.data.table import write_table
from screenwise.errors import ConfigError, DataError
from screenwise.recipes.outcome import Outcome, Progress, silent
from screenwise.recipes.reporting import replay_sections
from screenwise.recipes.settings import Reading, SimulateSettings
from screenwise.recipes.tables import measured
from screenwise.report.curves import replay_curves
from screenwise.report.html import write_report
from screenwise.report.ink import write_figure
from screenwise.rng import stream
from screenwise.run import write_json
from screenwise.screen import Screen
from screenwise.simulate.replay import ReplaySettings, run_replay, summarise_curves

ALWAYS = ("random", "greedy")
"""Policies that every replay shows: chance, and the forest that takes what it predicts best."""
USUAL = {"rounds": 6, "wells": 96, "start": 32, "hits": 0.05}
"""Budget and hits of a screen that says nothing else: a lab's first plates."""


def simulate(
    pool: str, out: Path, settings: SimulateSettings, reading: Reading = Reading(), *, progress: Progress = silent
) -> Outcome:
    """Replay a measured screen: a file, or a dataset by its name.

    Finished replays are kept in ``replays`` in `out`: after an interruption the same call goes on.
    """
    data = measured(pool, reading, progress=progress)
    known = POOLS[pool].pool if pool in POOLS and not Path(pool).exists() else None
    screen = data.screen
    if known is not None and 0 < known.candidates < len(screen):
        drawn = stream(0, "candidates", pool).permutation(len(screen))[: known.candidates]
        screen = screen.take(np.sort(drawn))
    curves = simulate_screen(screen, settings, out, pool=known, progress=progress)
    write_report(out / "report.html", f"Replay of {Path(pool).name}", replay_sections(out))
    ends = summarise_curves(curves)
    files = {name: str(out / name) for name in ("curves.csv", "curves.svg", "report.html")}
    objective, plan = replay_plan(settings, screen, known)
    facts = {
        "objective": str(objective),
        "candidates": len(screen),
        "budget": f"{plan.start} at random + {plan.rounds} x {plan.wells}",
        "hits": f"best {100 * plan.hits:.3g} %",
        "seeds": settings.seeds,
    }
    rows = [{str(name): value for name, value in row.items()} for row in ends.to_dict("records")]
    return Outcome(facts, rows, data.notes, files)


def simulate_screen(
    screen: Screen, settings: SimulateSettings, out: Path, *, pool: Pool | None = None, progress: Progress = silent
) -> pd.DataFrame:
    """Run the policies, random and greedy among them; write ``curves.csv`` and ``curves.svg``."""
    if out.is_file():
        message = f"{out} is a file; --out wants a folder."
        raise DataError(message)
    if settings.jobs < 1:
        message = f"--jobs is {settings.jobs}; it must be at least 1."
        raise ConfigError(message)
    objective, replay = replay_plan(settings, screen, pool)
    policies = {name: SimulatedPolicy(POLICIES[name], objective) for name in _policies(settings)}
    kept = out / "replays"
    if not settings.resume and kept.is_dir():
        shutil.rmtree(kept)
    curves = run_replay(
        policies, one_row_per_condition(screen), replay, jobs=settings.jobs, progress=progress, folder=kept
    )
    write_table(curves, out / "curves.csv")
    write_figure(out / "curves.svg", replay_curves(curves))
    write_json(out / "replay.json", {"objective": str(objective), "hits": replay.hits, "start": replay.start})
    return curves


def _policies(settings: SimulateSettings) -> list[str]:
    asked = [name.strip() for name in settings.policy.split(",") if name.strip()]
    unknown = [name for name in asked if name not in POLICIES]
    if unknown:
        message = f"There is no policy {unknown[0]!r}; the policies are {', '.join(POLICIES)}."
        raise ConfigError(message)
    return list(dict.fromkeys([*asked, *ALWAYS]))


def replay_plan(
    settings: SimulateSettings, screen: Screen, pool: Pool | None = None
) -> tuple[Objective, ReplaySettings]:
    """Return what is looked for and the budget: what the user said, else the pool's own, else the usual.

    Parameters
    ----------
    settings
        Of the user.
    screen
        What is replayed.
    pool
        How a named pool is replayed; None = a user's screen.
    """
    objective = settings.objective or (pool.objective if pool is not None else _objective(screen))
    usual: dict[str, Any] = dict(USUAL)
    if pool is not None:
        usual |= {"rounds": pool.rounds, "wells": pool.wells, "start": pool.start, "hits": pool.hits}
        if objective == pool.objective:
            value = screen.targets.dense()[:, screen.task_index(pool.task)]
            usual["hits"] = pool.hit_share(value[np.isfinite(value)])
    usual |= {name: value for name in USUAL if (value := getattr(settings, name)) is not None}
    wanted = Objective.parse(objective)
    return wanted, ReplaySettings(wanted.task, wanted.utility, **usual, seeds=tuple(range(settings.seeds)))


def _objective(screen: Screen) -> str:
    names = screen.task_names
    if len(names) > 1:
        message = f"The screen has {len(names)} tasks; say which with --objective, such as maximize:{names[0]}."
        raise ConfigError(message)
    return f"{screen.tasks['direction'].iloc[0] or 'maximize'}:{names[0]}"
