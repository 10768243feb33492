#!/usr/bin/env python
"""What rules cost a campaign: hits found under them, beside the same campaign without any.

Compounds (ChEMBL): controls and replicates on every plate, few of one scaffold, a cost per new scaffold with a
budget that binds, so that some wells stay empty. Drug pairs (O'Neil): one cell line per plate, few pairs with one
drug. Every round is proposed by the default policy; seeds are paired, and so, but for the budget, are the wells.

A pair was measured at 4 x 4 doses, so that 84 pairs of one cell line and 12 places for controls and replicates are
a plate of 1,536 wells, and a round is a plate for each of some lines in culture. The headline is four plates a round
until 18 % of the pool are measured, about as much as of the compounds. Beside it stand the same until 36 %, and one
plate a round, so that a round sees one line only. Two bounds say what can be kept: `all_known`, the best plates of
one line for somebody who knows every answer, and, for one plate a round, `line_in_hindsight`: the rounds of the same
policy, of the line in which its plate finds most.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from scipy.stats import t as student

from screenwise.campaign.policy import POLICIES, Objective, Request, propose_round
from screenwise.campaign.pool_model import prepare_pool
from screenwise.data.datasets import load_dataset
from screenwise.design.constraints import Constraints, with_scaffold
from screenwise.design.plate import PlateRules
from screenwise.design.rules import Bench, apply_constraints
from screenwise.rng import derive_seed
from screenwise.simulate.replay import mark_hits
from screenwise.simulate.start import start_rows

PLATE = PlateRules(96, positive=4, negative=4, replicates=4)
ROUNDS, START = 6, 84
BAR = 0.9
PAIR_ROUNDS = ((4, 3), (4, 6), (1, 6))
"""Plates a round, and rounds, of the drug pairs; the first is the headline."""
DRUG_CAP = 20
"""Most pairs with one drug for each plate of a round; an equal share of the drugs would be 4.4."""
HINDSIGHT_SEEDS = 5
"""Seeds of the rounds in hindsight, which are proposed for every line."""


def replay(screen, objective, constraints, seed, how):
    """Return the hits found after each round, all there are, and how often a rule was broken.

    `how` = kernels of the pool, plates a round, rounds, and whether rounds are chosen in hindsight.
    """
    kernels, plates, rounds, hindsight = how
    pool = with_scaffold(screen.conditions, constraints)
    hit = mark_hits(objective.utility(screen.targets.dense()[:, 0]), 0.05)
    known = np.zeros(len(pool), bool)
    known[start_rows(pool, START, seed)] = True
    curve, broken = [int(hit[known].sum())], 0
    wells = plates * PLATE.capacity
    most = START + rounds * wells
    for number in range(1, rounds + 1):
        used = dict.fromkeys(pool["condition_id"][known], 1)
        extra = PLATE.positive + PLATE.negative + PLATE.replicates
        bench = Bench(PLATE.capacity, plates, 1, extra, used)
        turn = (known.sum() / most, derive_seed(seed, "round", number))
        options = [
            propose_round(
                POLICIES["auto"],
                screen.take(known),
                pool,
                Request(objective, wells, *turn, constraints=rules, bench=bench),
                kernels=kernels,
                outlook=False,
            ).rows
            for rules in (of_each_value(constraints, pool) if hindsight else [constraints])
        ]
        rows = max(options, key=lambda picks: hit[picks].sum())
        rules = apply_constraints(constraints, pool, bench)
        broken += sum(not rules.allowed(rows[:count])[rows[count]] for count in range(len(rows)))
        known[rows] = True
        curve.append(int(hit[known].sum()))
    return curve, int(hit.sum()), broken


def of_each_value(constraints, pool):
    """Return the rules with all but one value of the plates' column left out, for each value."""
    (column,) = constraints.one_per_plate
    ids = pool["condition_id"]
    return [
        replace(constraints, must_exclude=tuple(ids[pool[column] != value])) for value in sorted(pool[column].unique())
    ]


def all_known(screen, objective, plates, seed):
    """Return the most hits that plates of one cell line can hold beside the start."""
    pool = screen.conditions
    hit = mark_hits(objective.utility(screen.targets.dense()[:, 0]), 0.05)
    known = np.zeros(len(pool), bool)
    known[start_rows(pool, START, seed)] = True
    left = pd.Series(hit & ~known).groupby(pool["cell_line"].to_numpy()).sum().to_numpy()
    full = [np.clip(left - PLATE.capacity * number, 0, PLATE.capacity) for number in range(plates)]
    return int(hit[known].sum() + np.sort(np.concatenate(full))[::-1][:plates].sum())


def compare(name, game, rules, seeds, times=(1, ROUNDS)):
    """Return figures of each set of rules over none, and the hits found without.

    `game` = screen, objective, kernels; `times` = plates a round, and rounds.
    """
    screen, objective, kernels = game
    figures, ends = {}, {}
    for label, constraints in {"free": Constraints(), **rules}.items():
        hindsight = label.endswith("in_hindsight")
        some = min(seeds, HINDSIGHT_SEEDS) if hindsight else seeds
        began = time.process_time()
        how = (kernels, *times, hindsight)
        runs = [replay(screen, objective, constraints, seed, how) for seed in range(some)]
        ends[label] = np.array([curve[-1] for curve, _, _ in runs], float)
        share = ends[label] / runs[0][1]
        seconds = (time.process_time() - began) / some
        figures[f"{name}_{label}"] = {"value": round(float(share.mean()), 4), "cpu_s": round(seconds, 2)}
        if label != "free":
            kept = kept_of(ends[label], ends["free"])
            figures[f"{name}_{label}_kept"] = kept if hindsight else kept | {"bar": f">= {BAR}"}
            figures[f"{name}_{label}_rules_broken"] = {"value": sum(run[2] for run in runs), "bar": "0"}
        print(name, label, ends[label].tolist(), round(seconds, 1), file=sys.stderr, flush=True)
    return figures, ends["free"]


def kept_of(found, free):
    """Return hits found over those found without rules, all seeds together, with a t interval over seeds."""
    free = free[: len(found)]
    kept, count = found / free, len(found)
    figure = {"value": round(float(found.sum() / free.sum()), 4)}
    if count > 1:
        wide = float(student.ppf(0.975, count - 1) * kept.std(ddof=1) / np.sqrt(count))
        figure |= {"lower": round(float(kept.mean()) - wide, 4), "upper": round(float(kept.mean()) + wide, 4)}
    return figure


def compounds(seeds):
    data, figures = load_dataset("chembl30"), {}
    for task in ("CHEMBL234_Ki", "CHEMBL214_Ki"):
        index = data.screen.task_index(task)
        screen = data.screen.take(data.screen.targets.task(index).row).take_tasks([index])
        rules = {
            "scaffold_cap": Constraints(caps={"scaffold": 6}),
            "scaffold_cap_and_budget": Constraints(
                caps={"scaffold": 6},
                cost_of_new={"scaffold": 10.0},
                cost_per_well=1.0,
                cost_per_plate=50.0,
                budget=450.0,
            ),
        }
        kernels = prepare_pool(screen.conditions, keep=True)
        figures |= compare(task, (screen, Objective("maximize", task), kernels), rules, seeds)[0]
    return figures


def drug_pairs(seeds, size):
    data = load_dataset("oneil")
    screen = data.screen.take_tasks([data.screen.task_index("loewe")])
    screen = screen.take(screen.targets.task(0).row)
    if size and size < len(screen):  # whole cell lines, so that plates of one line can be full
        lines = np.random.default_rng(0).permutation(screen.conditions["cell_line"].unique())
        counts = screen.conditions["cell_line"].value_counts()[lines].cumsum()
        screen = screen.take(screen.conditions["cell_line"].isin(counts.index[counts <= size]).to_numpy())
    figures, objective = {}, Objective("maximize", "loewe")
    kernels = prepare_pool(screen.conditions, keep=True)
    for plates, rounds in PAIR_ROUNDS:
        line = Constraints(one_per_plate=("cell_line",))
        rules = {"one_line_a_plate": line, "one_line_and_drug_cap": replace(line, caps={"compound": DRUG_CAP * plates})}
        if plates == 1:
            rules["line_in_hindsight"] = line
        name = f"oneil_loewe_{plates}_plates_{rounds}_rounds"
        found, free = compare(name, (screen, objective, kernels), rules, seeds, (plates, rounds))
        most = np.array([all_known(screen, objective, plates * rounds, seed) for seed in range(seeds)], float)
        figures |= found | {f"{name}_all_known_kept": kept_of(most, free)}
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seeds", type=int, default=5, help="paired seeds")
    parser.add_argument("--pairs", type=int, default=6000, help="drug pairs of O'Neil, whole cell lines; 0 = all")
    parser.add_argument("--only", default="compounds,drug_pairs")
    given = parser.parse_args()
    cpu, wall = time.process_time(), time.perf_counter()
    figures = compounds(given.seeds) if "compounds" in given.only else {}
    figures |= drug_pairs(given.seeds, given.pairs) if "drug_pairs" in given.only else {}
    result = {
        "figures": figures,
        "units": "share of the hits (best 5 %) found from 84 random candidates and 6 rounds "
        "of one plate of 84 (or as named); kept: hits under rules over hits "
        "without, all seeds together, with a 95 % t interval over seeds; all_known and line_in_hindsight are bounds",
        "headline": f"oneil_loewe_{PAIR_ROUNDS[0][0]}_plates_{PAIR_ROUNDS[0][1]}_rounds_one_line_a_plate_kept",
        "peer": "the same policy without rules",
        "data": "chembl30 (embedded); O'Neil drug pairs (shared data folder)",
        "seeds": given.seeds,
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "wall_seconds": round(time.perf_counter() - wall, 1),
    }
    print(json.dumps(result) if given.json else pd.DataFrame(figures).T.to_string())


if __name__ == "__main__":
    main()
