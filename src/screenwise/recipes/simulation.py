"""Replay measured screens with several policies, from the same starts."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from screenwise.campaign.laboratory import Laboratory
from screenwise.campaign.named import check_policy, named_policy
from screenwise.campaign.policy import POLICIES, Objective, SimulatedPolicy
from screenwise.campaign.rules import checked_rules
from screenwise.campaign.state import CampaignSettings
from screenwise.campaign.studied import MostStudied, how_studied, names_genes, surely_studied
from screenwise.condition import factor_columns
from screenwise.config import to_mapping
from screenwise.data.columns import listed
from screenwise.data.datasets import POOLS, Pool
from screenwise.data.replicate import one_row_per_condition
from screenwise.data.table import write_table
from screenwise.design.constraints import SCAFFOLD, Constraints, member_columns
from screenwise.errors import ConfigError, DataError
from screenwise.recipes.campaign_rules import CampaignRules, read_rules
from screenwise.recipes.outcome import Outcome, Progress, silent
from screenwise.recipes.reporting import replay_sections
from screenwise.recipes.settings import Reading, SimulateSettings
from screenwise.recipes.tables import candidates, measured, without_features
from screenwise.report.curves import replay_curves
from screenwise.report.html import write_report
from screenwise.report.ink import write_figure
from screenwise.rng import stream
from screenwise.run import write_json
from screenwise.screen import Screen
from screenwise.simulate.curves import mean_curves, summarise_policies
from screenwise.simulate.replay import ReplaySettings, run_replay
from screenwise.simulate.start import OWN_SIZE

ALWAYS = ("random", "greedy")
"""Policies that every replay shows: chance, and the forest that takes what it predicts best."""
USUAL = {"rounds": 6, "wells": 96, "start": 32, "hits": 0.05}
"""Budget and hits of a screen that says nothing else: a lab's first plates."""
SHOWN = ["pool", "policy", "hits", "hit_fraction", "lower", "upper", "area", "saved_random"]
SHOWN += ["cost", "hits_per_cost", "over_greedy", "over_greedy_lower", "over_greedy_upper"]
"""Columns of ``summary.csv`` that the terminal shows."""


@dataclass(frozen=True)
class Plan:
    """One pool, and what is played on it."""

    name: str
    screen: Screen
    objective: Objective
    replay: ReplaySettings
    policies: dict[str, SimulatedPolicy]
    notes: tuple[str, ...] = ()


def simulate(
    pool: str,
    out: Path,
    settings: SimulateSettings,
    reading: Reading = Reading(),
    *,
    constraints: Path | None = None,
    progress: Progress = silent,
) -> Outcome:
    """Replay measured screens: files, or datasets by their names, several separated by commas.

    Finished replays (one of a pool, policy and seed) are kept in ``replays`` in `out`: after an interruption the
    same call goes on. Every pool, policy and setting is checked before the first replay begins.

    Parameters
    ----------
    pool
        Names, separated by commas.
    out
        Folder.
    settings
        Policies and budget.
    reading
        How files are read.
    constraints
        Rules as of a campaign (`read_rules`): every round of every policy keeps them, and costs are told. When to
        stop is not played.
    progress
        Told of replays.
    """
    _check(settings, out)
    rules = None if constraints is None else read_rules(constraints)
    plans = [_plan(name, settings, reading, (rules, progress)) for name in _pools(pool)]
    curves = _run(plans, settings, out, progress)
    write_report(out / "report.html", f"Replay of {', '.join(plan.name for plan in plans)}", replay_sections(out))
    summary = pd.read_csv(out / "summary.csv")
    names = ["summary.csv", "curves.csv", "mean_curves.csv", *_pictures(curves).values(), "report.html"]
    facts: dict[str, Any] = {}
    for plan in plans:
        facts |= _facts(plan, f"{plan.name}: " if len(plans) > 1 else "")
    facts["seeds"] = settings.seeds
    shown = summary[[name for name in SHOWN if name in summary and (name != "pool" or len(plans) > 1)]]
    rows = [{str(name): value for name, value in row.items()} for row in shown.to_dict("records")]
    notes = [note for plan in plans for note in plan.notes]
    return Outcome(facts, rows, notes, {name: str(out / name) for name in names})


def _facts(plan: Plan, before: str) -> dict[str, Any]:
    """Return what is played on one pool, `before` in front of each name."""
    kind, size = plan.replay.start_with, plan.replay.start
    start = f"{kind} start" if kind in OWN_SIZE else f"{size} {'at random' if kind == 'random' else kind}"
    return {
        f"{before}objective": str(plan.objective),
        f"{before}candidates": len(plan.screen),
        f"{before}budget": f"{start} + {plan.replay.rounds} x {plan.replay.wells}",
        f"{before}hits": f"best {100 * plan.replay.hits:.3g} %",
    }


def simulate_screen(
    screen: Screen, settings: SimulateSettings, out: Path, *, pool: Pool | None = None, progress: Progress = silent
) -> pd.DataFrame:
    """Run the policies, random and greedy among them, on one screen; write curves, summary and picture."""
    _check(settings, out)
    return _run([_plan_screen("screen", screen, settings, pool)], settings, out, progress)


def _check(settings: SimulateSettings, out: Path) -> None:
    if out.is_file():
        message = f"{out} is a file; --out wants a folder."
        raise DataError(message)
    if settings.jobs < 1:
        message = f"--jobs is {settings.jobs}; it must be at least 1."
        raise ConfigError(message)
    _policies(settings)


def _pools(text: str) -> list[str]:
    """Return the pools of a list; a file may have a comma in its name."""
    names = [text] if Path(text).exists() else listed([text])
    labels = [_label(name) for name in names]
    doubled = [label for label in labels if labels.count(label) > 1]
    if doubled or not names:
        what = f"names {doubled[0]!r} twice" if doubled else "names no pool"
        message = f"--pool {text} {what}; give each screen once, under a name of its own, separated by commas."
        raise ConfigError(message)
    return names


def _label(name: str) -> str:
    return name if name in POOLS and not Path(name).exists() else Path(name).name.partition(".")[0]


def _plan(name: str, settings: SimulateSettings, reading: Reading, how: tuple[CampaignRules | None, Progress]) -> Plan:
    """Read one pool and say what is played on it."""
    rules, progress = how
    data = measured(name, reading, progress=progress)
    known = POOLS[name].pool if name in POOLS and not Path(name).exists() else None
    screen = data.screen
    if known is not None and 0 < known.candidates < len(screen):
        drawn = stream(0, "candidates", name).permutation(len(screen))[: known.candidates]
        screen = screen.take(np.sort(drawn))
    if rules is not None:
        screen = _with_columns(screen, rules.constraints, lambda: candidates(name, reading, progress=progress))
    plan = _plan_screen(_label(name), screen, settings, known, rules)
    return replace(plan, notes=(*data.notes, *plan.notes))


def _with_columns(screen: Screen, constraints: Constraints, read: Callable[[], pd.DataFrame]) -> Screen:
    """Return a screen whose conditions have the columns that rules name, from the user's table."""
    lacking = [name for name in constraints.columns if name not in screen.conditions and name != SCAFFOLD]
    if not lacking:
        return screen
    own = read().drop_duplicates("condition_id").set_index("condition_id")
    named = [column for name in lacking for column in member_columns(own, name)]
    found = own[[name for name in dict.fromkeys(named) if name not in screen.conditions]]
    conditions = screen.conditions.join(found, on="condition_id")
    return Screen(conditions, screen.tasks, screen.targets)


def _plan_screen(
    name: str, screen: Screen, settings: SimulateSettings, pool: Pool | None, rules: CampaignRules | None = None
) -> Plan:
    screen = one_row_per_condition(screen)  # before hits are counted
    objective, replay = replay_plan(settings, screen, pool)
    value = screen.targets.dense()[:, screen.task_index(objective.task)]
    value = value[np.isfinite(value)]
    classes = screen.tasks["kind"].iloc[screen.task_index(objective.task)] == "classification"
    classes = bool(classes or np.isin(value, (0.0, 1.0)).all())
    policies, laboratory = _beside_fame(_policies(settings), screen), None
    if rules is not None:
        screen = screen.take(screen.targets.task(screen.task_index(objective.task)).row)  # what is replayed
        wanted = CampaignSettings(str(objective), wells=replay.wells, plate=rules.plate, constraints=rules.constraints)
        wanted, conditions = checked_rules(wanted, screen.conditions)
        screen = Screen(conditions, screen.tasks, screen.targets)
        laboratory = Laboratory(wanted.constraints, wanted.plate)
        replay = replace(replay, cost=laboratory.cost if wanted.constraints.costs else None)
    for one, policy in policies.items():
        check_policy(one, policy, objective, classes=classes, costs=replay.cost is not None)
        if isinstance(policy, MostStudied):
            surely_studied(screen.conditions)
    simulated = {one: SimulatedPolicy(policy, objective, laboratory) for one, policy in policies.items()}
    notes: tuple[str, ...] = ()
    if names_genes(screen.conditions) and without_features(screen.conditions).all():
        notes = (f"Models know the genes of {name} by their symbols alone; --features gene_sets joins public sets.",)
    elif factor_columns(screen.conditions) == ["entity"] and without_features(screen.conditions).all():
        notes = (
            f"Models know the conditions of {name} by their names alone, and no policy can tell them apart; call "
            "columns of numbers feature:NAME, or give them with --features.",
        )
    return Plan(name, screen, objective, replay, simulated, notes)


def _run(plans: list[Plan], settings: SimulateSettings, out: Path, progress: Progress) -> pd.DataFrame:
    """Play every plan, and write what came of it."""
    kept = out / "replays"
    if not settings.resume and kept.is_dir():
        shutil.rmtree(kept)
    parts, units = [], [len(plan.policies) * len(plan.replay.seeds) for plan in plans]
    for place, plan in enumerate(plans):
        tell = partial(_tell, progress, sum(units[:place]), sum(units))
        found = run_replay(plan.policies, plan.screen, plan.replay, jobs=settings.jobs, progress=tell, folder=kept)
        found.insert(0, "pool", plan.name)
        parts.append(found)
    curves = pd.concat(parts, ignore_index=True)
    write_table(curves, out / "curves.csv")
    write_table(mean_curves(curves), out / "mean_curves.csv")
    write_table(summarise_policies(curves), out / "summary.csv")
    for pool, file in _pictures(curves).items():
        title = pool if len(plans) > 1 else ""
        write_figure(out / file, replay_curves(curves[curves["pool"] == pool], title=title))
    write_json(out / "replay.json", {plan.name: _said(plan) for plan in plans})
    return curves


def _tell(progress: Progress, before: int, total: int, what: str, done: int, _: int) -> None:
    """Count one pool's replays among those of all."""
    progress(what, before + done, total)


def _said(plan: Plan) -> dict[str, Any]:
    names = ("rounds", "wells", "start", "start_with", "hits", "seeds")
    said = {"objective": str(plan.objective)} | {name: getattr(plan.replay, name) for name in names}
    laboratory = next(iter(plan.policies.values())).laboratory
    return said if laboratory is None else said | {"rules": to_mapping(laboratory)}


def _pictures(curves: pd.DataFrame) -> dict[str, str]:
    """Return the file of each pool's picture."""
    pools = list(dict.fromkeys(curves["pool"]))
    return {pools[0]: "curves.svg"} if len(pools) == 1 else {pool: f"curves_{pool}.svg" for pool in pools}


def _policies(settings: SimulateSettings) -> dict[str, Any]:
    return {name: named_policy(name) for name in dict.fromkeys([*listed([settings.policy]), *ALWAYS])}


def _beside_fame(policies: dict[str, Any], screen: Screen) -> dict[str, Any]:
    """Return the policies, of genes with the order of how much they are studied among them, where that is known."""
    if how_studied(screen.conditions) is None:
        return policies
    asked = {name: policy for name, policy in policies.items() if name not in ALWAYS}
    return {**asked, "studied": POLICIES["studied"], **policies}


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
    wanted, seeds = Objective.parse(objective), tuple(range(settings.seeds))
    return wanted, ReplaySettings(wanted.task, wanted.utility, **usual, start_with=settings.start_with, seeds=seeds)


def _objective(screen: Screen) -> str:
    names = screen.task_names
    if len(names) > 1:
        message = f"The screen has {len(names)} tasks; say which with --objective, such as maximize:{names[0]}."
        raise ConfigError(message)
    return f"{screen.tasks['direction'].iloc[0] or 'maximize'}:{names[0]}"
