"""The main job: from a real multi-target screen to the next plate, and one page about it."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.datasets import Dataset, load_dataset
from screenwise.data.split import Fold, make_folds, scaffolds
from screenwise.evaluate.compare import Comparison, Contender, compare, write_comparison
from screenwise.models import make_model
from screenwise.models.multitask import MultiTaskConfig
from screenwise.recipes import reporting
from screenwise.recipes.campaigns import replayed_campaign
from screenwise.recipes.learn import environment
from screenwise.recipes.outcome import Outcome, Progress, silent
from screenwise.recipes.settings import SimulateSettings
from screenwise.recipes.simulation import simulate_screen
from screenwise.report.html import Section, Table, write_report
from screenwise.represent.fingerprint import Fingerprint
from screenwise.represent.similarity import count_tanimoto_nearest
from screenwise.screen import Screen

TARGET = "CHEMBL234_Ki"
"""Dopamine D3: the largest table of the screen, replayed round by round."""
CELL, COMPOUND = "gp", "gp, compound"
"""The default model with and without what other tasks know of a test compound."""
SHOWN = ("rmse", "rmse_cliff", "coverage", "coverage_cliff", "width", "rmse_in_domain", "rmse_out_of_domain")
"""Scores that the page summarises with intervals; ``scores.csv`` has all."""
STEPS = "Main job: campaign, comparison, replay, page"
"""What the bar of the whole job is called; it stands also where a step has no bar of its own."""
PUBLISHED = "moleculeace"
"""The split that came with the screen."""


@dataclass(frozen=True)
class Plan:
    """How much the main job does; smaller in tests."""

    tasks: int = 30
    """Targets compared, the largest first."""
    slow_tasks: int = 3
    """Targets that the forest is given, large and small: it costs many times what the others do."""
    new_tasks: int = 10
    """Targets on which new compounds and new scaffolds are predicted, spread over the others."""
    network_seeds: int = 3
    network_epochs: int = 8
    """Four fewer than the network's default: two thirds of its time."""
    replay_seeds: int = 3
    rounds: int = 6
    wells: int = 96
    jobs: int = 2


def demo(out: Path, *, seed: int = 0, plan: Plan = Plan(), progress: Progress = silent) -> Outcome:
    """Compare, calibrate, replay, design the next plate, and write ``report.html``.

    What is finished is kept in `out`: after an interruption the same call goes on.
    """
    progress(STEPS, 0, 4)
    data = load_dataset("chembl30")
    screen, cells = _largest(data, plan.tasks)
    one = data.screen.take_tasks([data.screen.task_index(TARGET)])
    one = one.take(np.unique(one.targets.cells().row))
    objective = f"maximize:{TARGET}"
    plate = replayed_campaign(one, objective, out / "campaign", rounds=plan.rounds, seed=seed, progress=progress)
    progress(STEPS, 1, 4)
    found = _compare(screen, cells, out / "comparison", (seed, plan), progress)
    progress(STEPS, 2, 4)
    replay = SimulateSettings(
        "auto", rounds=plan.rounds, wells=plan.wells, seeds=plan.replay_seeds, objective=objective, jobs=plan.jobs
    )
    curves = simulate_screen(one, replay, out / "replay", progress=progress)
    progress(STEPS, 3, 4)
    summary = pd.read_csv(out / "comparison" / "summary.csv")
    sections = [
        _headline(summary),
        _screen_section(data, screen),
        *reporting.comparison_sections(out / "comparison"),
        _domain_section(found),
        *reporting.replay_sections(out / "replay"),
        *reporting.campaign_sections(out / "campaign"),
    ]
    title = "From a screen to the next plate"
    provenance = {"data": "chembl30", "seed": seed} | environment()
    path = write_report(out / "report.html", title, sections, lead=LEAD, provenance=provenance)
    progress(STEPS, 4, 4)
    return Outcome(_facts(summary, curves), _rows(summary), list(found.notes), _files(path, plate, out))


LEAD = """The main job of Screenwise, run on 30 ChEMBL targets: which model to believe and where, what a blind replay \
finds, and the next plate."""


def _largest(data: Dataset, tasks: int) -> tuple[Screen, pd.DataFrame]:
    """Return the screen with its largest tasks, and the further columns of its cells."""
    cells = data.screen.targets.cells()
    size = np.bincount(cells.task, minlength=len(data.screen.tasks))
    chosen = np.sort(np.argsort(-size, kind="stable")[:tasks])
    keep = np.isin(cells.task, chosen)
    screen = data.screen.where(keep).take_tasks(chosen)
    rows = np.unique(screen.targets.cells().row)
    return screen.take(rows), data.cells[keep].reset_index(drop=True)


def _compare(
    screen: Screen, cells: pd.DataFrame, folder: Path, how: tuple[int, Plan], progress: Progress
) -> Comparison:
    """Compare all models on the published split, the default and the baselines on new compounds too."""
    seed, plan = how
    folds = {PUBLISHED: make_folds(PUBLISHED, screen, cells=cells)}
    # One fold of five of each kind, on some of the targets, so that the page is there in minutes.
    some = np.isin(screen.targets.cells().task, _spread(len(screen.tasks), plan.new_tasks))
    for name in ("random", "scaffold"):
        fold = make_folds(name, screen, seed=seed)[0]
        folds[name] = [Fold(fold.train & some, fold.test & some)]
    slow = tuple(screen.task_names[place] for place in _spread(len(screen.tasks), plan.slow_tasks))
    network = MultiTaskConfig(epochs=plan.network_epochs)
    models = {
        "multitask": Contender(partial(make_model, "multitask", network), random=True, splits=(PUBLISHED,)),
        "forest": Contender(partial(make_model, "forest"), random=True, tasks=slow, splits=(PUBLISHED,)),
        CELL: Contender(partial(make_model, "gp"), random=False, also={COMPOUND: "without_borrowing"}),
        "svr": Contender(partial(make_model, "svr"), random=False, splits=(PUBLISHED,)),
        **{name: Contender(partial(make_model, name), random=False) for name in ("ridge", "neighbours", "mean")},
    }
    seeds = tuple(range(seed, seed + plan.network_seeds))
    options: dict[str, Any] = {"seeds": seeds, "jobs": plan.jobs, "cells": cells[["cliff"]], "folder": folder / "fits"}
    found = compare(screen, models, folds, progress=progress, **options)
    write_comparison(found, folder, found.summary(SHOWN))
    return found


def _spread(tasks: int, some: int) -> list[int]:
    """Return the positions of some tasks, spread over all."""
    return [int(place) for place in np.linspace(0, tasks - 1, min(some, tasks))]


def _value(summaries: pd.DataFrame, split: str, model: str, metric: str) -> float:
    rows = summaries[(summaries["split"] == split) & (summaries["model"] == model) & (summaries["metric"] == metric)]
    return float(rows["mean"].iloc[0]) if len(rows) else float("nan")


def _rows(summaries: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the protocols side by side: one row per split and model."""
    counted = summaries[(summaries["split"] == "scaffold") & (summaries["metric"] == "rmse")]["tasks"]
    tasks = int(counted.max())
    order = [
        (PUBLISHED, CELL, "published split; other tasks know 40 % of the test compounds"),
        (PUBLISHED, COMPOUND, "published split; nothing known of a test compound"),
        ("random", CELL, f"new compounds, relatives known (fold 1 of 5, {tasks} targets)"),
        ("scaffold", CELL, f"new scaffolds (fold 1 of 5, {tasks} targets): what a chemist should expect"),
    ]
    table = []
    for split, model, what in order:
        row: dict[str, Any] = {"protocol": what}
        for name, metric in (("RMSE", "rmse"), ("on cliffs", "rmse_cliff"), ("90 % intervals hold", "coverage")):
            row[name] = _value(summaries, split, model, metric)
        row["on cliffs, they hold"] = _value(summaries, split, model, "coverage_cliff")
        for name in ("ridge", "neighbours", "mean"):
            row[name] = _value(summaries, split, name, "rmse")
        table.append(row)
    return table


def _headline(summaries: pd.DataFrame) -> Section:
    rows = pd.DataFrame(_rows(summaries))
    facts = {
        "RMSE on new scaffolds, log units": _value(summaries, "scaffold", CELL, "rmse"),
        "90 % intervals hold there": _value(summaries, "scaffold", CELL, "coverage"),
        "RMSE on the published split": _value(summaries, PUBLISHED, CELL, "rmse"),
    }
    text = (
        "The number to expect for new chemistry is the one on new scaffolds. The published split interpolates: most of "
        "its test compounds share a scaffold with a training compound, and two in five are measured on another target. "
        "On activity cliffs (near twins with very different potency) the intervals hold less than they promise, for "
        "every model; nothing should be staked on a cliff. The two lower rows are one fold of five on some targets, so "
        "that this page is there in minutes; all targets and folds are in benchmarks/RESULTS.md."
    )
    return Section("What to expect", text, [], [Table(rows, "Mean over targets; ridge, neighbours, mean: RMSE")], facts)


def _screen_section(data: Dataset, screen: Screen) -> Section:
    cells = data.screen.targets.cells()
    names = scaffolds(data.screen.conditions["smiles"].tolist())
    facts = {
        "compounds": len(data.screen),
        "targets": len(data.screen.tasks),
        "measurements": len(cells),
        "share of cells measured": len(cells) / (len(data.screen) * len(data.screen.tasks)),
        "scaffolds": len(np.unique(names)),
    }
    text = f"{data.info.title}. Source: {data.info.source}. Licence: {data.info.licence}. "
    text += f"Values are pKi or pEC50 (-log10 mol/L, higher = more potent). Compared: {len(screen.tasks)} targets."
    return Section("The screen", text, facts=facts)


def _domain_section(found: Comparison) -> Section:
    """Return errors by similarity to the nearest training compound of the same target, on the published split."""
    own = found.predictions
    own = own[(own["model"] == COMPOUND) & (own["split"] == PUBLISHED)].reset_index(drop=True)
    measured = found.screen.targets.cells()
    at = own["cell"].to_numpy()
    own["value"] = measured.value[at]
    train = np.ones(len(measured), bool)
    train[at] = False
    similarity = _nearest(found.screen, measured, train, at)
    text = (
        "How far a test compound is from what the model learnt says how wrong it may be. Predictions carry the flag "
        "in_domain: false where the nearest training compound is farther than 95 % of the training compounds are "
        "from theirs."
    )
    return Section("Where to believe it", text, [reporting.similarity_errors(own, similarity)])


def _nearest(screen: Screen, measured: Any, train: NDArray[np.bool_], at: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (k,) similarities of test cells to the nearest training compound of their task."""
    counts = Fingerprint("morgan", radius=3, chiral=True).transform(screen.conditions)
    found = np.full(len(at), np.nan)
    for task in np.unique(measured.task[at]):
        mine = np.flatnonzero(measured.task[at] == task)
        known = measured.row[train & (measured.task == task)]
        found[mine] = count_tanimoto_nearest(counts[measured.row[at[mine]]], counts[known])[1][:, 0]
    return found


def _facts(summaries: pd.DataFrame, curves: pd.DataFrame) -> dict[str, Any]:
    last = curves[curves["round"] == curves["round"].max()].groupby("policy")["hit_fraction"].mean()
    found = ", ".join(f"{name} {share:.2f}" for name, share in last.sort_values(ascending=False).items())
    return {
        "RMSE on new scaffolds (log units)": _value(summaries, "scaffold", CELL, "rmse"),
        f"share of the best 5 % of {TARGET} found in the replay": found,
    }


def _files(report: Path, plate: Path, out: Path) -> dict[str, str]:
    return {
        "report": str(report),
        "next plate": str(plate),
        "campaign": str(out / "campaign"),
        "scores": str(out / "comparison" / "scores.csv"),
    }
