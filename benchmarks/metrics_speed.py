"""Scores of many tasks: ours, all tasks at once, against a loop over tasks with scikit-learn.

1,000 tasks of unequal size, 283,000 labels in all: every classification score that SparseChem reports, and its
regression scores of as many values. The loop calls scikit-learn (and RDKit for BEDROC) once per task and score, as
SparseChem does; scores agree or the benchmark fails. Then DeLong's paired test of every task against a loop, and the
bootstrap of a comparison: 1,000 replicates of the mean RMSE over 30 tasks and 9,802 cells, for four models.
"""

import argparse
import json
import os
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402 - after the number of threads
import sklearn  # noqa: E402
from rdkit.ML.Scoring.Scoring import CalcBEDROC  # noqa: E402
from scipy import stats  # noqa: E402
from sklearn import metrics as peer  # noqa: E402

from screenwise.evaluate.scoring import PredictedCells  # noqa: E402
from screenwise.evaluate.significance import delong_test  # noqa: E402
from screenwise.evaluate.sparsechem_scores import classification_scores, regression_scores  # noqa: E402
from screenwise.evaluate.summary import Plan, summarise  # noqa: E402

SEED = 0
TASKS, CELLS = 1_000, 283_000
"""As many as SparseChem scored in 7.1 CPU seconds on fsmol_chembl27; sizes as in ChEMBL: a few large, most small."""
PRIOR, BINS = 0.1, 10
BAR = 0.7
"""CPU seconds for all classification scores."""
ALLOWED = 1e-9
REPEATS = 5


def cells():
    rng = np.random.default_rng(SEED)
    size = rng.pareto(1.5, TASKS) + 0.5
    task = rng.choice(TASKS, CELLS, p=size / size.sum())
    value = rng.normal(size=CELLS) + rng.normal(size=TASKS)[task]
    label = (value > 0.3).astype(float)
    first, second = (1 / (1 + np.exp(-(value + rng.normal(size=CELLS)))) for _ in range(2))
    relation = rng.choice([-1, 0, 0, 0, 1], CELLS)
    return {"task": task, "value": value, "label": label, "first": first, "second": second, "relation": relation}


def calibration_error(label, chance, groups):
    gap, spread = 0.0, 0.0
    for own in groups:
        if len(own):
            p = label[own].sum()
            n = len(own) - p
            gap += abs(label[own].mean() - chance[own].mean()) * len(own)
            spread += p * n / ((p + n) * (p + n + 1))
    return gap / len(label), np.sqrt(spread)


def one_task(label, chance):
    """Return what SparseChem computes of one task, with scikit-learn."""
    number, negatives = label.sum(), len(label) - label.sum()
    fpr, tpr, _ = peer.roc_curve(label, chance)
    precision, recall, _ = peer.precision_recall_curve(label, chance)
    rate = min(label.mean(), 0.99)
    with np.errstate(divide="ignore", invalid="ignore"):
        k = rate * (1 - PRIOR) / (PRIOR * (1 - rate))
        calibrated = 1 / ((1 / precision - 1) * k + 1)
        f1 = np.nan_to_num(2 * precision * recall / (precision + recall))
    tp, fp = tpr * number, fpr * negatives
    expected = (number * (tp + fp) + negatives * (len(label) - tp - fp)) / len(label) ** 2
    kappas = ((tp + negatives - fp) / len(label) - expected) / (1 - expected)
    bounds, order = np.linspace(0, 1, BINS + 1), np.argsort(-chance)
    place = np.digitize(chance, bounds, right=True)
    ece, std_ece = calibration_error(label, chance, [np.flatnonzero(place == k) for k in range(1, BINS + 1)])
    ace, std_ace = calibration_error(label, chance, np.array_split(order[::-1], BINS))
    return {
        "roc_auc_score": peer.auc(fpr, tpr),
        "auc_pr": peer.auc(recall, precision),
        "avg_prec_score": peer.average_precision_score(label, chance),
        "f1_max": f1.max(),
        "kappa": peer.cohen_kappa_score(label, chance >= 0.5),
        "kappa_max": kappas.max(),
        "bceloss": peer.log_loss(label, chance),
        "auc_pr_cal": peer.auc(recall, calibrated),
        "ece": ece,
        "ace": ace,
        "std_ece": std_ece,
        "std_ace": std_ace,
        "brier": peer.brier_score_loss(label, chance),
        "bedroc": CalcBEDROC([[one] for one in label[order]], 0, 20.0),
    }


def one_regression(value, prediction, relation):
    loss = np.where(relation == 0, (value - prediction) ** 2, np.maximum(relation * (value - prediction), 0) ** 2)
    y, p = value[relation == 0], prediction[relation == 0]
    scores = {"rmse": np.sqrt(loss.mean()), "rmse_uncen": np.nan, "rsquared": np.nan, "corrcoef": np.nan}
    if len(y):
        scores["rmse_uncen"] = np.sqrt(peer.mean_squared_error(y, p))
    if len(y) > 1:
        scores |= {"rsquared": peer.r2_score(y, p), "corrcoef": np.corrcoef(y, p)[0, 1]}
    return scores


def one_delong(label, first, second):
    """P-value from all pairs of a positive and a negative."""
    parts = []
    for score in (first, second):
        high, low = score[label == 1], score[label == 0]
        wins = (high[:, None] > low[None, :]) + 0.5 * (high[:, None] == low[None, :])
        parts.append((wins.mean(axis=1), wins.mean(axis=0)))
    gaps = [b - a for a, b in zip(*parts, strict=True)]
    variance = sum(gap.var(ddof=1) / len(gap) for gap in gaps)
    return {"p": 2 * stats.norm.sf(abs(gaps[0].mean()) / np.sqrt(variance))}


def seconds(function, *arguments, repeats=REPEATS):
    """Return the result and the least CPU seconds of some calls, after one that compiles."""
    found, least = function(*arguments), np.inf
    for _ in range(repeats):
        began = time.process_time()
        found = function(*arguments)
        least = min(least, time.process_time() - began)
    return found, least


def looped(function, task, *arrays, keep):
    """Return the loop's scores, task -> scores, and its CPU seconds."""
    order = np.argsort(task, kind="stable")
    ends = np.cumsum(np.bincount(task, minlength=TASKS))
    began, found = time.process_time(), {}
    for t, own in enumerate(np.split(order, ends[:-1])):
        if keep(*(array[own] for array in arrays)):
            found[t] = function(*(array[own] for array in arrays))
    return found, time.process_time() - began


def farthest(ours, theirs):
    """Return the largest difference of a score, relative where it is above 1."""
    gaps = []
    for t, scores in theirs.items():
        for name, one in scores.items():
            mine = ours[name][t]
            assert np.isnan(mine) == np.isnan(one), f"{name} of task {t}: {mine} and {one}"
            gaps.append(0.0 if np.isnan(one) else abs(mine - one) / max(1.0, abs(one)))
    return float(max(gaps))


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


def both_classes(label, *_):
    return len(set(label)) > 1


def measured():
    """Return CPU seconds, ours and the loop's, and the largest difference, of each part."""
    data = cells()
    task, label, first = data["task"], data["label"], data["first"]
    value, relation = data["value"], data["relation"]
    close = value + 3 * (first - 0.5)
    parts = {}
    ours, own = seconds(classification_scores, label, first, task, TASKS)
    theirs, loop = looped(one_task, task, label, first, keep=both_classes)
    parts["classification scores"] = (own, loop, farthest(ours, theirs))
    ours, own = seconds(regression_scores, value, close, relation, task, TASKS)
    theirs, loop = looped(one_regression, task, value, close, relation, keep=lambda value, *_: len(value) > 1)
    parts["regression scores"] = (own, loop, farthest(ours, theirs))
    ours, own = seconds(delong_test, label, first, data["second"], task, TASKS)
    several = [label, first, data["second"]]
    theirs, loop = looped(one_delong, task, *several, keep=lambda y, *_: 1 < y.sum() < len(y) - 1)
    theirs = {t: one for t, one in theirs.items() if np.isfinite(ours.p_value[t])}
    parts["DeLong's paired test"] = (own, loop, farthest({"p": ours.p_value}, theirs))
    return parts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    cpu, wall = time.process_time(), time.perf_counter()
    figures, peers, units = {}, {}, {}
    for name, (own, loop, gap) in measured().items():
        assert gap < ALLOWED, f"{name} differ by {gap}"
        figures[name] = {"value": round(own, 4)} | ({"bar": BAR} if name == "classification scores" else {})
        peers[name], units[name] = round(loop, 3), "CPU seconds"
        figures[f"{name}: loop / ours"], units[f"{name}: loop / ours"] = round(loop / own, 1), "times"
        figures[f"{name}: largest difference"] = gap
    boot = "1,000 bootstrap replicates of RMSE, 4 models x 30 tasks x 9,802 cells"
    figures[boot], units[boot] = round(bootstrap(), 4), "CPU seconds"
    found = {
        "figures": figures,
        "units": units,
        "peer": f"scikit-learn {sklearn.__version__}, a call per task and score (BEDROC: RDKit, DeLong: all pairs)",
        "peers": peers,
        "data": f"{CELLS} random cells of {TASKS} tasks (Pareto sizes)",
        "seeds": [SEED],
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "wall_seconds": round(time.perf_counter() - wall, 2),
    }
    if asked.json:
        print(json.dumps(found))
        return
    for name, figure in figures.items():
        number = figure["value"] if isinstance(figure, dict) else figure
        beside = f"   (loop: {peers[name]:.4g})" if name in peers else ""
        print(f"{number:12.4g}  {name}{beside}")


if __name__ == "__main__":
    main()
