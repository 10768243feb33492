"""Replay a measured screen with several policies, from the same random starts."""

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd

from screenwise.campaign.policy import POLICIES, Objective, SimulatedPolicy
from screenwise.data.assay import Assay
from screenwise.data.datasets import DATASETS
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
from screenwise.run import write_json
from screenwise.screen import Screen
from screenwise.simulate.replay import ReplaySettings, run_replay, summarise_curves

ALWAYS = ("random", "greedy")
"""Policies that every replay shows: chance, and the forest that takes what it predicts best."""
NATURAL = {"ifng": "absolute", "tau": "absolute", "nk": "absolute", "horlbeck": "absolute", "sarscov2": "maximize"}
"""Datasets whose hits are not simply the highest values."""


def simulate(
    pool: str, out: Path, settings: SimulateSettings, reading: Reading = Reading(), *, progress: Progress = silent
) -> Outcome:
    """Replay a measured screen: a file, or a dataset by its name.

    Finished replays are kept in ``replays`` in `out`: after an interruption the same call goes on.
    """
    data = measured(pool, reading, progress=progress)
    settings = replace(settings, objective=settings.objective or _objective(pool, data))
    curves = simulate_screen(data.screen, settings, out, progress=progress)
    write_report(out / "report.html", f"Replay of {Path(pool).name}", replay_sections(out))
    ends = summarise_curves(curves)
    files = {name: str(out / name) for name in ("curves.csv", "curves.svg", "report.html")}
    facts = {"objective": settings.objective, "seeds": settings.seeds}
    rows = [{str(name): value for name, value in row.items()} for row in ends.to_dict("records")]
    return Outcome(facts, rows, data.notes, files)


def simulate_screen(
    screen: Screen, settings: SimulateSettings, out: Path, *, progress: Progress = silent
) -> pd.DataFrame:
    """Run the policies, random and greedy among them; write ``curves.csv`` and ``curves.svg``."""
    if out.is_file():
        message = f"{out} is a file; --out wants a folder."
        raise DataError(message)
    if settings.jobs < 1:
        message = f"--jobs is {settings.jobs}; it must be at least 1."
        raise ConfigError(message)
    objective = Objective.parse(settings.objective or "")
    replay = ReplaySettings(
        task=objective.task,
        utility=objective.utility,
        rounds=settings.rounds,
        wells=settings.wells,
        start=settings.start,
        hits=settings.hits,
        seeds=tuple(range(settings.seeds)),
    )
    policies = {name: SimulatedPolicy(POLICIES[name], objective) for name in _policies(settings)}
    kept = out / "replays"
    if not settings.resume and kept.is_dir():
        shutil.rmtree(kept)
    curves = run_replay(
        policies, one_row_per_condition(screen), replay, jobs=settings.jobs, progress=progress, folder=kept
    )
    write_table(curves, out / "curves.csv")
    write_figure(out / "curves.svg", replay_curves(curves))
    write_json(out / "replay.json", {"objective": str(objective), "hits": settings.hits, "start": settings.start})
    return curves


def _policies(settings: SimulateSettings) -> list[str]:
    asked = [name.strip() for name in settings.policy.split(",") if name.strip()]
    unknown = [name for name in asked if name not in POLICIES]
    if unknown:
        message = f"There is no policy {unknown[0]!r}; the policies are {', '.join(POLICIES)}."
        raise ConfigError(message)
    return list(dict.fromkeys([*asked, *ALWAYS]))


def _objective(pool: str, data: Assay) -> str:
    names = data.screen.task_names
    if len(names) > 1:
        message = f"{pool} has {len(names)} tasks; say which with --objective, such as maximize:{names[0]}."
        raise ConfigError(message)
    stated = data.screen.tasks["direction"].iloc[0] or "maximize"
    return f"{NATURAL.get(pool, stated) if pool in DATASETS else stated}:{names[0]}"
