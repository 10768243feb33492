"""Scores of many tasks: ours, all tasks at once, against a loop over tasks with scikit-learn and SciPy.

Both get the same cells, one thread, and must agree to 1e-6. The last figure is the bootstrap of a
comparison: 1,000 replicates of the mean RMSE over 30 tasks and 9,802 cells, for four models.
"""

import argparse
import json
import os
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402 - after the number of threads
import sklearn  # noqa: E402
from scipy import stats  # noqa: E402
from sklearn import metrics as peer  # noqa: E402

from screenwise.evaluate.metrics import METRICS  # noqa: E402
from screenwise.evaluate.scoring import PredictedCells  # noqa: E402
from screenwise.evaluate.summary import Plan, summarise  # noqa: E402

SEED = 0
TASKS, CELLS = 3_000, 600_000
"""Tasks of unequal size, as in ChEMBL: a few large, most small."""
PEERS = {
    "rmse": lambda y, p: np.sqrt(peer.mean_squared_error(y, p)),
    "r_squared": peer.r2_score,
    "spearman": lambda y, p: stats.spearmanr(y, p)[0],
    "roc_auc": peer.roc_auc_score,
    "average_precision": peer.average_precision_score,
}


def cells():
    rng = np.random.default_rng(SEED)
    size = rng.pareto(1.5, TASKS) + 0.5
    task = rng.choice(TASKS, CELLS, p=size / size.sum())
    value = rng.normal(size=CELLS)
    return value, (value + rng.normal(size=CELLS)).round(2), task


def score(name, value, prediction, task):
    if METRICS[name].kind == "classification":
        value, prediction = (value > 1).astype(float), 1 / (1 + np.exp(-prediction))
    began = time.process_time()
    ours = METRICS[name].function(value, prediction, task, TASKS)
    ours_seconds = time.process_time() - began
    began = time.process_time()
    theirs = np.full(TASKS, np.nan)
    order = np.argsort(task, kind="stable")
    ends = np.cumsum(np.bincount(task, minlength=TASKS))
    for t, (low, high) in enumerate(zip(np.concatenate([[0], ends[:-1]]), ends, strict=True)):
        own = order[low:high]
        if len(own) > 1 and np.ptp(value[own]) > 0:
            theirs[t] = PEERS[name](value[own], prediction[own])
    peer_seconds = time.process_time() - began
    both = np.isfinite(ours) & np.isfinite(theirs)
    gap = float(np.abs(ours - theirs)[both].max())
    assert gap < 1e-6, f"{name} differs by {gap}"
    return {"ours_cpu_seconds": ours_seconds, "peer_cpu_seconds": peer_seconds, "tasks": int(both.sum()), "gap": gap}


def bootstrap():
    rng = np.random.default_rng(SEED)
    conditions, tasks, number = 9_130, 30, 9_802
    row, task = np.sort(rng.integers(0, conditions, number)), rng.integers(0, tasks, number)
    nothing, exact, value = np.full(number, np.nan), np.zeros(number, np.int8), rng.normal(size=number)

    def model(spread):
        return {0: PredictedCells(row, task, value, exact, value + spread * rng.normal(size=number), nothing)}

    models = {name: model(spread) for name, spread in {"mean": 1.2, "ridge": 0.7, "a": 0.6, "b": 0.61}.items()}
    began = time.process_time()
    summarise(models, Plan(np.full(tasks, "regression"), ("mean", "ridge"), ("rmse",), replicates=1000))
    return time.process_time() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    cpu, wall = time.process_time(), time.perf_counter()
    data = cells()
    scores = {name: score(name, *data) for name in PEERS}
    boot = bootstrap()
    figures = {f"{name}: ours": round(one["ours_cpu_seconds"], 4) for name, one in scores.items()}
    figures |= {f"{name}: loop over tasks": round(one["peer_cpu_seconds"], 4) for name, one in scores.items()}
    figures["largest difference of a score"] = max(one["gap"] for one in scores.values())
    figures["1,000 bootstrap replicates of RMSE, 4 models x 30 tasks x 9,802 cells"] = round(boot, 4)
    found = {
        "figures": figures,
        "units": "CPU seconds on one thread",
        "peer": f"scikit-learn {sklearn.__version__} and SciPy, one call per task",
        "data": f"{CELLS} random cells of {TASKS} tasks (Pareto sizes)",
        "seeds": [SEED],
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "wall_seconds": round(time.perf_counter() - wall, 2),
    }
    if asked.json:
        print(json.dumps(found))
        return
    for name, figure in figures.items():
        print(f"{figure:12.4g}  {name}")


if __name__ == "__main__":
    main()
