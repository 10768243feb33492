"""The main job: from a real multi-target screen to the next plate, and one page about it."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from screenwise.data.datasets import Dataset, load_dataset
from screenwise.data.split import Fold, make_folds
from screenwise.evaluate.compare import Comparison, Contender, compare, write_comparison
from screenwise.models import make_model
from screenwise.recipes import reporting
from screenwise.recipes.campaigns import replayed_campaign
from screenwise.recipes.learn import environment
from screenwise.recipes.outcome import Outcome, Progress, silent
from screenwise.recipes.simulation import run_policies
from screenwise.report.html import Section, Table, write_report
from screenwise.represent.fingerprint import Fingerprint
from screenwise.represent.similarity import count_tanimoto

TARGET = "CHEMBL234_Ki"
"""Dopamine D3: the largest table of the screen, replayed round by round."""
SLOW_TASKS = 5
"""Targets that the forest is given: it costs a hundred times the others."""
NETWORK_SEEDS = 3


@dataclass(frozen=True)
class Plan:
    """How much the main job does; smaller in tests."""

    tasks: int = 30
    """Targets compared, the first ones by name."""
    replay_seeds: int = 3
    rounds: int = 6
    wells: int = 96
    start: int = 32
    jobs: int = 2


def demo(out: Path, *, seed: int = 0, plan: Plan = Plan(), progress: Progress = silent) -> Outcome:
    """Compare, calibrate, replay, design the next plate, and write ``report.html``.

    What is finished is kept in `out`: after an interruption the same call goes on.
    """
    data = load_dataset("chembl30")
    screen, cells = _part(data, plan.tasks)
    published, summary = _published(screen, cells, out / "published", seed, plan, progress)
    _, new_summary = _new_compounds(screen, cells, out / "new_compounds", seed, plan, progress)
    one = data.screen.take_tasks([data.screen.task_index(TARGET)])
    one = one.take(np.unique(one.targets.cells().row))
    curves = run_policies(one, f"maximize:{TARGET}", out / "replay", plan.replay(seed), progress=progress)
    campaign = replayed_campaign(one, TARGET, out / "campaign", plan.replay(seed), progress=progress)
    sections = [
        _screen_section(data, screen),
        _headline(summary, new_summary),
        *reporting.comparison_sections(out / "published"),
        _domain_section(published),
        *reporting.comparison_sections(out / "new_compounds"),
        *reporting.replay_sections(out / "replay"),
        *reporting.campaign_sections(out / "campaign"),
    ]
    path = write_report(
        out / "report.html", "Screenwise: from a screen to the next plate", sections, provenance=environment()
    )
    return Outcome(_facts(summary, new_summary, curves), [], [], {"report": str(path), "next plate": str(campaign)})
