"""Blind replay of measured screens: the default policy against random and a greedy random forest.

The two largest targets of chembl30 (32 random wells, then 6 rounds of 96; hits = best 5 %) and, where
gene descriptors are in the data folder, ifng (8 rounds of 128, the first at random; hits = strongest
5 % of either sign; forest and process read the same descriptors); with `--pools` the further pools of
`POOLS`, each from a random first round. All policies of a seed begin from
the same wells. Screens of genes also show `studied`: the most studied genes first, whatever was
measured. CPU seconds of one thread a seed; what is computed of a pool once (structures, tables of
similarities), apart, as `prepare_cpu_s`.
"""

import argparse
import json
import os
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

from dataclasses import replace  # noqa: E402 - after the number of threads
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from screenwise.campaign.policy import POLICIES, Objective, SimulatedPolicy  # noqa: E402
from screenwise.campaign.studied import how_studied  # noqa: E402
from screenwise.data.datasets import load_dataset  # noqa: E402
from screenwise.data.replicate import one_row_per_condition  # noqa: E402
from screenwise.evaluate.metrics import roc_auc  # noqa: E402
from screenwise.represent.features import join_features  # noqa: E402
from screenwise.simulate.curves import summarise_policies  # noqa: E402
from screenwise.simulate.replay import (  # noqa: E402
    ReplaySettings,
    choose_at_random,
    mark_hits,
    run_replay,
)

TARGETS = {"CHEMBL234_Ki": 0.55, "CHEMBL214_Ki": 0.69}
"""Target -> least share of hits that the default policy must find."""
POOLS = {
    "enamine10k": ("minimize:docking", 6, 100, 0.01, 5, 0.72),
    "gb1": ("maximize:fitness", 6, 96, 0.01, 5, 0.20),
    "horlbeck": ("absolute:gi_score", 6, 500, 0.05, 5, 0.105),
    "esol": ("maximize:log_solubility", 6, 15, 0.05, 5, 0.68),
    "freesolv": ("maximize:hydration_energy", 6, 10, 0.05, 15, 0.52),
    "lipophilicity": ("maximize:logD", 6, 40, 0.05, 15, 0.21),
    "hiv": ("maximize:hiv", 6, 100, 1e-4, 15, 0.32),
    "photoswitch": ("maximize:e_pipi", 6, 8, 0.05, 5, None),
    "tau": ("absolute:tau", 8, 128, 0.05, 5, None),
    "sarscov2": ("absolute:sarscov2", 8, 128, 0.05, 5, None),
    "nk": ("absolute:nk", 8, 128, 0.05, 5, None),
    "enamine50k": ("minimize:docking", 6, 200, 0.01, 1, 0.55),
}
"""Pool -> objective, rounds (the first at random), wells, share of hits (actives where the task is yes
or no), paired seeds, least share of hits that the default policy must find."""
SUBSET = {"hiv": 8000}
"""Pools of which so many random conditions are replayed."""
MOST_SECONDS = {"horlbeck": 5}
"""CPU seconds of a campaign that may be spent; 10 where nothing is said."""
DESCRIPTORS = ("gene_descriptors", "gene_pathways")
DATA = Path(os.environ.get("SCREENWISE_DATA", Path(__file__).parents[2] / "shared" / "data"))


def replay(screen, objective, settings, policies):
    """Return the summary of all policies and the CPU seconds a seed of each."""
    curves, seconds = [], {}
    known = how_studied(screen.conditions) is not None
    for policy in ("random", *policies, *(["studied"] if known and "studied" not in policies else [])):
        proposer = choose_at_random if policy == "random" else SimulatedPolicy(POLICIES[policy], objective)
        if policy != "random":
            seconds[f"{policy}_prepare"] = warm(proposer, screen, objective, settings)
        began = time.process_time()
        curves.append(run_replay({policy: proposer}, screen, settings))
        seconds[policy] = (time.process_time() - began) / len(settings.seeds)
    return summarise_policies(pd.concat(curves)).set_index("policy"), seconds


def warm(proposer, screen, objective, settings):
    """Load code and prepare the pool before the clock, once for all seeds; return the CPU seconds of the latter."""
    began = time.process_time()
    task = screen.task_index(objective.task)
    proposer.prepare(screen.take(screen.targets.task(task).row).conditions)
    spent = time.process_time() - began
    run_replay({"warm": proposer}, screen, replace(settings, rounds=1, seeds=(10_000,)))
    return spent


def fame(screen, objective, hits):
    """Return the area under the ROC curve of hits by how much a gene is studied alone."""
    known = how_studied(screen.conditions)
    if known is None:
        return {}
    value = screen.take_tasks([screen.task_index(objective.task)]).targets.dense()[:, 0]
    there = np.isfinite(value)
    hit = mark_hits(objective.utility(value[there]), hits)
    area = roc_auc(hit.astype(float), known.score[there], np.zeros(len(hit), int), 1)[0]
    return {"value": round(float(area), 4)}


def figures_of(name, table, seconds, bar=None, most_seconds=3):
    out = {}
    for policy, line in table.iterrows():
        out[f"{name}_{policy}"] = interval(line["hit_fraction"], line["lower"], line["upper"])
        out[f"{name}_{policy}_cpu_s"] = {"value": round(seconds[policy], 2)}
    out[f"{name}_auto_prepare_cpu_s"] = {"value": round(seconds["auto_prepare"], 2)}
    auto = table.loc["auto"]
    gain = interval(auto["over_greedy"], auto["over_greedy_lower"], auto["over_greedy_upper"])
    out[f"{name}_auto_over_greedy"] = gain | {"bar": "> 0"}
    out[f"{name}_auto_over_greedy_seeds_won"] = {"value": int(auto["won_greedy"])}
    out[f"{name}_auto_over_greedy_seeds_lost"] = {"value": int(auto["lost_greedy"])}
    if bar is not None:
        out[f"{name}_auto"]["bar"] = f">= {bar}"
        out[f"{name}_auto_cpu_s"]["bar"] = f"<= {most_seconds}"
    return out


def interval(value, lower, upper):
    """Return a figure; of one seed there is no interval."""
    numbers = {"value": value, "lower": lower, "upper": upper}
    return {key: round(float(number), 4) for key, number in numbers.items() if np.isfinite(number)}


def targets(seeds, policies):
    data, figures = load_dataset("chembl30"), {}
    for task, bar in TARGETS.items():
        objective = Objective("maximize", task)
        settings = ReplaySettings(task, objective.utility, rounds=6, wells=96, start=32, seeds=tuple(range(seeds)))
        table, seconds = replay(data.screen, objective, settings, policies)
        figures |= figures_of(task, table, seconds, bar)
    return figures


def genes(seeds, policies):
    data, figures = load_dataset("ifng"), {}
    objective = Objective("absolute", "ifng")
    settings = ReplaySettings("ifng", objective.utility, rounds=7, wells=128, start=128, seeds=tuple(range(seeds)))
    for name in DESCRIPTORS:
        path = DATA / "active_learning" / f"{name}.parquet"
        if not path.exists():
            continue
        conditions = join_features(data.screen.conditions, pd.read_parquet(path), "gene")
        table, seconds = replay(replace(data.screen, conditions=conditions), objective, settings, policies)
        figures |= figures_of(f"ifng_{name}", table, seconds)
        figures[f"ifng_{name}_studied_auroc"] = fame(replace(data.screen, conditions=conditions), objective, 0.05)
    return figures


def pools(names, seeds, policies):
    figures = {}
    for name in names:
        text, rounds, wells, hits, wanted, bar = POOLS[name]
        data, objective = load_dataset(name), Objective.parse(text)
        screen = one_row_per_condition(data.screen)
        if name in SUBSET:
            screen = screen.take(np.sort(np.random.default_rng(0).permutation(len(screen))[: SUBSET[name]]))
        path = DATA / "active_learning" / f"{DESCRIPTORS[0]}.parquet"
        if "gene" in screen.conditions and path.exists():
            screen = replace(screen, conditions=join_features(screen.conditions, pd.read_parquet(path), "gene"))
        settings = ReplaySettings(
            objective.task,
            objective.utility,
            rounds=rounds - 1,
            wells=wells,
            start=wells,
            hits=hits,
            seeds=tuple(range(seeds or wanted)),
        )
        table, seconds = replay(screen, objective, settings, policies)
        figures |= figures_of(name, table, seconds, bar, most_seconds=MOST_SECONDS.get(name, 10))
        print(table.to_string(), seconds, file=sys.stderr, flush=True)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seeds", type=int, default=5, help="paired seeds of the targets")
    parser.add_argument("--gene-seeds", type=int, default=15, help="paired seeds of ifng; 0 = leave it out")
    parser.add_argument("--policies", default="greedy,auto", help="policies beside random; greedy and auto are needed")
    parser.add_argument("--pools", default="", help=f"further pools, or all: {', '.join(POOLS)}")
    parser.add_argument("--pool-seeds", type=int, default=0, help="paired seeds of every pool; 0 = its own number")
    given = parser.parse_args()
    cpu, wall = time.process_time(), time.perf_counter()
    policies = given.policies.split(",")
    figures = targets(given.seeds, policies) if given.seeds else {}
    figures |= genes(given.gene_seeds, policies) if given.gene_seeds else {}
    names = list(POOLS) if given.pools == "all" else [name for name in given.pools.split(",") if name]
    figures |= pools(names, given.pool_seeds, policies)
    result = {
        "figures": figures,
        "units": "share of hits found; cpu_s: CPU seconds a seed; 95 % t intervals over seeds",
        "peer": "random wells, and a random forest that takes what it predicts best (greedy)",
        "data": "chembl30 and ifng (embedded); gene descriptors of Reactome and WikiPathways",
        "seeds": {"targets": given.seeds, "ifng": given.gene_seeds},
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "wall_seconds": round(time.perf_counter() - wall, 1),
    }
    print(json.dumps(result) if given.json else pd.DataFrame(figures).T.to_string())


if __name__ == "__main__":
    main()
