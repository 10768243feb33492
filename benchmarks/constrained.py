#!/usr/bin/env python
"""What rules cost a campaign: hits found under them, beside the same campaign without any.

Compounds (ChEMBL): controls and replicates on every plate, few of one scaffold, a cost per new scaffold with a
budget. Drug pairs (O'Neil): one cell line per plate, few pairs with one drug. Every round is proposed by the default
policy; the wells of candidates are the same with and without rules, seeds are paired.
"""

import argparse
import json
import os
import sys
import time

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


def replay(screen, objective, constraints, seed, kernels, plates=1):
    """Return the hits found after each round, and whether a rule was broken."""
    pool = with_scaffold(screen.conditions, constraints)
    value = screen.targets.dense()[:, 0]
    hit = mark_hits(objective.utility(value), 0.05)
    known = np.zeros(len(pool), bool)
    known[start_rows(pool, START, seed)] = True
    curve, broken = [int(hit[known].sum())], 0
    wells = plates * PLATE.capacity
    most = START + ROUNDS * wells
    for number in range(1, ROUNDS + 1):
        used = dict.fromkeys(pool["condition_id"][known], 1)
        extra = PLATE.positive + PLATE.negative + PLATE.replicates
        bench = Bench(PLATE.capacity, plates, 1, extra, used)
        turn = (known.sum() / most, derive_seed(seed, "round", number))
        request = Request(objective, wells, *turn, constraints=constraints, bench=bench)
        rows = propose_round(POLICIES["auto"], screen.take(known), pool, request, kernels=kernels).rows
        rules = apply_constraints(constraints, pool, bench)
        broken += sum(not rules.allowed(rows[:count])[rows[count]] for count in range(len(rows)))
        known[rows] = True
        curve.append(int(hit[known].sum()))
    return curve, int(hit.sum()), broken


def compare(name, screen, objective, rules, seeds, plates=1):
    """Return figures of each set of rules over none."""
    kernels = prepare_pool(screen.conditions, keep=True)
    figures, ends = {}, {}
    for label, constraints in {"free": Constraints(), **rules}.items():
        began = time.process_time()
        runs = [replay(screen, objective, constraints, seed, kernels, plates) for seed in range(seeds)]
        ends[label] = np.array([curve[-1] for curve, _, _ in runs], float)
        share = ends[label] / runs[0][1]
        seconds = (time.process_time() - began) / seeds
        figures[f"{name}_{label}"] = {"value": round(float(share.mean()), 4), "cpu_s": round(seconds, 2)}
        if label != "free":
            kept = ends[label] / ends["free"]
            wide = float(student.ppf(0.975, seeds - 1) * kept.std(ddof=1) / np.sqrt(seeds)) if seeds > 1 else np.nan
            figures[f"{name}_{label}_kept"] = {
                "value": round(float(ends[label].sum() / ends["free"].sum()), 4),
                "lower": round(float(kept.mean()) - wide, 4),
                "upper": round(float(kept.mean()) + wide, 4),
                "bar": f">= {BAR}",
            }
            figures[f"{name}_{label}_rules_broken"] = {"value": sum(run[2] for run in runs), "bar": "0"}
        print(name, label, ends[label].tolist(), round(seconds, 1), file=sys.stderr, flush=True)
    return figures


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
                budget=750.0,
            ),
        }
        figures |= compare(task, screen, Objective("maximize", task), rules, seeds)
    return figures


def drug_pairs(seeds, size):
    data = load_dataset("oneil")
    screen = data.screen.take_tasks([data.screen.task_index("loewe")])
    screen = screen.take(screen.targets.task(0).row)
    if size and size < len(screen):  # whole cell lines, so that plates of one line can be full
        lines = np.random.default_rng(0).permutation(screen.conditions["cell_line"].unique())
        counts = screen.conditions["cell_line"].value_counts()[lines].cumsum()
        screen = screen.take(screen.conditions["cell_line"].isin(counts.index[counts <= size]).to_numpy())
    rules = {
        "one_line_a_plate": Constraints(one_per_plate=("cell_line",)),
        "one_line_and_drug_cap": Constraints(one_per_plate=("cell_line",), caps={"compound": 20}),
    }
    figures, objective = {}, Objective("maximize", "loewe")
    for plates in (1, 4):
        figures |= compare(f"oneil_loewe_{plates}_plates", screen, objective, rules, seeds, plates)
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
        "without, all seeds together, with a 95 % t interval over seeds",
        "peer": "the same policy without rules",
        "data": "chembl30 (embedded); O'Neil drug pairs (shared data folder)",
        "seeds": given.seeds,
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "wall_seconds": round(time.perf_counter() - wall, 1),
    }
    print(json.dumps(result) if given.json else pd.DataFrame(figures).T.to_string())


if __name__ == "__main__":
    main()
