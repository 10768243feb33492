"""Many small tasks: 995 assays of fsmol_chembl27, labels and bounded values, on pinned scaffold folds.

Two trainings: folds 2, 3, 4 (fold 1 tuned the settings, fold 0 tests) and folds 4, 0, 1 (2 and 3 test, nothing
changed). Of each test fold: means over the assays with 5 labels of each class or more, of all, of the panel (376
assays of the same 154 compounds) and of the others; a model that says nothing of an assay scores 0.5 there.
Gains over the anchor come with 95 % intervals from resampled clusters of assays (shared compounds).

``anchor``: SparseChem's network on 32,000 bits of ECFP6, labels only (400 units, dropout 0.2, Adam 1e-3, times 0.3
from the fifth of 6 epochs, 1,303 rows a step). ``neighbours``: the 15 most similar training compounds of the assay,
weight similarity^3, value and label. ``forest``: 100 trees on 2,048 folded ECFP4 counts, on 110 random assays
outside the panel (``gp_110``: the process on these). ``labels``: the process on labels alone. ``network``:
multitask. ``gp``: pooled_gp. ``gp_network``: that and three networks.

Censored values: RMSE of exact values, mean over assays with 10 or more; AUC of exact actives (6 or more) against
'<' rows, all assays together; for each treatment of bounds, of the process (``gp_``) and of the network.
CPU seconds of one thread: training and prediction of two folds, fingerprints apart.

``--models gp,anchor`` and ``--folds 0,1`` run parts; ``--cache FOLDER`` keeps what is finished for the next call.
"""

import argparse
import json
import os
import time
from dataclasses import replace

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from pathlib import Path  # noqa: E402 - after the number of threads

import fsmol_data  # noqa: E402
import numpy as np  # noqa: E402
from scipy.sparse import csr_array  # noqa: E402

from screenwise.data.split import scaffolds  # noqa: E402
from screenwise.evaluate.metrics import roc_auc  # noqa: E402
from screenwise.evaluate.sparsechem_scores import classification_scores, regression_scores  # noqa: E402
from screenwise.models.multitask import MultiTask, MultiTaskConfig  # noqa: E402
from screenwise.models.multitask_cells import CellTable, Lots, outputs  # noqa: E402
from screenwise.models.multitask_fit import train_network  # noqa: E402
from screenwise.models.multitask_loss import BatchLoss  # noqa: E402
from screenwise.models.multitask_network import MultiTaskNetwork, NetworkShape  # noqa: E402
from screenwise.models.pooled import PooledProcess, PooledProcessConfig  # noqa: E402
from screenwise.models.pooled_counts import learn_columns, similarity  # noqa: E402
from screenwise.models.pooled_network import PooledNetwork  # noqa: E402
from screenwise.models.pooled_targets import learn_scales, make_targets  # noqa: E402
from screenwise.models.pooled_tasks import find_assays, learn_signs, pool_cells  # noqa: E402
from screenwise.represent.fingerprint import Fingerprint  # noqa: E402
from screenwise.train.loop import Training  # noqa: E402

TRAININGS = {(2, 3, 4): (0, 1), (4, 0, 1): (2, 3)}
LEAST_LABELS, LEAST_VALUES, ACTIVE, NEIGHBOURS, NOT_HERE = 5, 10, 6.0, 15, 3
FOREST_TASKS, FOREST_TREES = 110, 100
ECFP6 = Fingerprint("morgan", radius=3, counts=False, fold=32_000)
ECFP4 = Fingerprint("morgan", radius=2, fold=2048)
TREATMENTS = ("drop", "value", "squared", "tobit", "hurdle")
BARS = {
    "gp_auc_fold0": 0.703,
    "gp_auc_mean": 0.696,
    "gp_auc_others_mean": 0.726,
    "gp_cpu_s": 45.0,
    "network_auc_fold0": 0.686,
    "gp_network_auc_mean": 0.701,
    "gp_network_gain_calibrated_auc_pr": 0.022,
    "gp_hurdle_rmse": 0.468,
    "gp_hurdle_auc": 0.940,
}


SCORES = {"roc_auc_score": "auc_roc", "auc_pr": "auc_pr", "auc_pr_cal": "calibrated_auc_pr"}


def one_thread(**settings):
    return PooledProcessConfig(threads=1, **settings)


class Part:
    """One training: what it learns from, and which cells it is asked about."""

    def __init__(self, data, folds, tests):
        self.data, self.folds, self.tests = data, folds, tests
        self.train = data.screen.take(data.rows(*folds))
        self.test = data.screen.take(data.rows(*tests))
        self.fold = data.fold[data.rows(*tests)]
        self.labels = self.test.take_tasks(np.arange(data.assays, 2 * data.assays)).targets.cells()
        self.values = self.test.take_tasks(np.arange(data.assays)).targets.cells()

    def of_labels(self, model, first):
        """Return (m,) probabilities of the test folds' labels; `first` = the model's task of the first label."""
        return model.predict_cells(self.test.conditions, self.labels.row, self.labels.task + first)[0]


def gp(part):
    model = PooledProcess(one_thread()).fit(part.train)
    return {"labels": part.of_labels(model, part.data.assays)}, model


def labels(part):
    only = part.train.take_tasks(np.arange(part.data.assays, 2 * part.data.assays))
    return {"labels": part.of_labels(PooledProcess(one_thread()).fit(only), 0)}, None


def network(part):
    model = MultiTask(MultiTaskConfig(threads=1)).fit(part.train)
    return {"labels": part.of_labels(model, part.data.assays)}, None


def gp_network(part, gp_model=None):
    process = gp(part)[1] if gp_model is None else gp_model
    model = PooledNetwork()
    net = MultiTask(replace(model.config.network, threads=1)).fit(part.train)
    model.join(process, net, part.train)
    return {"labels": part.of_labels(model, part.data.assays)}, None


def anchor(part):
    """SparseChem's network with the settings of its ChEMBL example, cut to 6 epochs."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    learned = part.train.take_tasks(np.arange(part.data.assays, 2 * part.data.assays))
    x, cells = csr_array(ECFP6.transform(learned.conditions), dtype=np.float32), learned.targets.cells()
    start = np.searchsorted(cells.row, np.arange(len(learned) + 1))
    zeros, ones = np.zeros(len(cells), np.float32), np.ones(len(cells), np.float32)
    binary = np.ones(part.data.assays, bool)
    table = CellTable(x, start, cells.task, cells.value, zeros, ones, binary)
    torch.manual_seed(0)
    model = MultiTaskNetwork(x.shape[1], binary, NetworkShape((400,), (0.2,), start="xavier"))
    every = Lots(table, np.arange(len(table)), table, np.empty(0, np.int64))
    steps = Training(6, 1303, 1e-3, schedule="steps", warm_up=0.0, milestones=(4,), step_factor=0.3, threads=1)
    train_network(model, every, BatchLoss(), steps, ("anchor", None, 0))
    asked = part.labels
    x = csr_array(ECFP6.transform(part.test.conditions), dtype=np.float32)
    start = np.searchsorted(asked.row, np.arange(len(part.test) + 1))
    none = np.zeros(len(asked), np.float32)
    table = CellTable(x, start, asked.task, none, none, none, binary)
    model.eval()
    found = np.empty(len(asked), np.float32)
    with torch.no_grad():
        for rows in np.array_split(np.arange(len(table)), 12):
            output, cells = outputs(model, table, rows)
            found[cells] = torch.sigmoid(output[0]).numpy()
    return {"labels": found}, None


def neighbours(part):
    """Take the kernels and targets of the process, one assay at a time."""
    assays = find_assays(part.train.tasks)
    cells = pool_cells(part.train, assays, np.ones(len(part.train), bool))
    signs = learn_signs(cells, assays)
    target = make_targets(cells, assays, signs, learn_scales(cells, assays), ("value", 0.5))[:, -1]
    counts, columns = learn_columns(part.train.conditions)
    asked, found = columns.transform(part.test.conditions), np.full(len(part.labels), np.nan)
    code = assays.assay[part.data.assays :]
    for task in range(part.data.assays):
        own, mine = np.flatnonzero(cells.assay == code[task]), np.flatnonzero(part.labels.task == task)
        if not len(own) or not len(mine):
            continue
        near = similarity(counts, cells.row[own], columns.width, asked, part.labels.row[mine]) ** 1.5
        best = np.argsort(-near, axis=1, kind="stable")[:, :NEIGHBOURS]
        weight = np.take_along_axis(near, best, 1)
        score = (weight * target[own][best]).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-9)
        found[mine] = 1 / (1 + np.exp(-signs[part.data.assays + task] * score))
    return {"labels": found}, None


def forest_tasks(data):
    outside = np.flatnonzero(data.clusters() != 0)
    return np.sort(np.random.default_rng(0).permutation(outside)[:FOREST_TASKS])


def forest(part):
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415

    learned = part.train.take_tasks(np.arange(part.data.assays, 2 * part.data.assays))
    known, asked = (ECFP4.transform(screen.conditions) for screen in (learned, part.test))
    found = np.full(len(part.labels), np.nan)
    for task in forest_tasks(part.data):
        cells, mine = learned.targets.task(task), np.flatnonzero(part.labels.task == task)
        if len(mine) and 0 < cells.value.mean() < 1:
            trees = RandomForestClassifier(FOREST_TREES, random_state=0).fit(known[cells.row].toarray(), cells.value)
            found[mine] = trees.predict_proba(asked[part.labels.row[mine]].toarray())[:, 1]
    return {"labels": found}, None


def bounded_gp(treatment):
    def learn(part):
        values = part.train.take_tasks(np.arange(part.data.assays))
        model = PooledProcess(one_thread(censored=treatment)).fit(values)
        return {"values": model.predict_cells(part.test.conditions, part.values.row, part.values.task)[0]}, None

    return learn


def bounded_network(treatment):
    def learn(part):
        values = part.train.take_tasks(np.arange(part.data.assays))
        model = MultiTask(MultiTaskConfig(censored=treatment, threads=1)).fit(values)
        return {"values": model.predict_cells(part.test.conditions, part.values.row, part.values.task)[0]}, None

    return learn


MODELS = {
    "anchor": anchor,
    "neighbours": neighbours,
    "forest": forest,
    "labels": labels,
    "network": network,
    "gp": gp,
    "gp_network": gp_network,
    **{f"gp_{treatment}": bounded_gp(treatment) for treatment in TREATMENTS},
    **{f"network_{treatment}": bounded_network(treatment) for treatment in ("squared", "tobit")},
}


def compute(part, names, cache):
    """Return what each model says of the test folds, with its CPU seconds; what the cache has is not repeated."""
    done, kept = {}, {}
    for name in names:
        path = cache and cache / f"{name}-{''.join(map(str, part.folds))}.npz"
        if path and path.exists():
            with np.load(path) as stored:
                done[name] = {key: stored[key] for key in stored.files}
            continue
        ready = {f"{one}_model": kept[one] for one in ("gp",) if name == "gp_network" and one in kept}
        began = time.process_time()
        found, kept[name] = MODELS[name](part, **ready)
        spent = time.process_time() - began
        # models that are there already cost what they cost
        done[name] = found | {"cpu_s": np.array(spent + sum(float(done[one[:-6]]["cpu_s"]) for one in ready))}
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, **done[name])
    return done


def label_scores(part, found, fold):
    """Return (a,) AUC, AUC-PR and calibrated AUC-PR of one fold; NaN where there are too few labels."""
    some = part.fold[part.labels.row] == fold
    label, task = part.labels.value[some], part.labels.task[some]
    probability = np.where(np.isnan(found[some]), 0.5, found[some])
    scores = classification_scores(label, probability, task, part.data.assays)
    few = np.minimum(scores["num_pos"], scores["num_neg"]).to_numpy() < LEAST_LABELS
    return {name: np.where(few, np.nan, scores[name]) for name in ("roc_auc_score", "auc_pr", "auc_pr_cal")}


def value_scores(part, found, fold):
    """Return RMSE of exact values and AUC of actives against bounds of one fold."""
    some = (part.fold[part.values.row] == fold) & np.isfinite(found)
    value, relation, task, mean = (x[some] for x in (part.values.value, part.values.relation, part.values.task, found))
    scores = regression_scores(value, mean, relation, task, part.data.assays)
    exact = np.bincount(task[relation == 0], minlength=part.data.assays) >= LEAST_VALUES
    sure = ((relation == 0) & (value >= ACTIVE)) | (relation < 0)
    auc = roc_auc((relation[sure] == 0).astype(float), mean[sure], np.zeros(int(sure.sum()), int), 1)[0]
    return float(scores["rmse_uncen"][exact].mean()), float(auc)


def interval(difference, cluster):
    """Return mean and 95 % interval of (a,) differences when clusters of assays are drawn again."""
    there = np.isfinite(difference)
    code = np.unique(cluster[there], return_inverse=True)[1]
    total, count = np.bincount(code, difference[there]), np.bincount(code)
    draws = np.random.default_rng(0).multinomial(len(total), np.full(len(total), 1 / len(total)), 2000)
    means = (draws @ total) / (draws @ count)
    low, high = np.quantile(means, (0.025, 0.975))
    return {"value": float(difference[there].mean()), "lower": float(low), "upper": float(high)}


def run(data, chosen):
    """Return everything that was asked for, by fold."""
    out = {"label": {}, "value": {}, "cpu": {}}
    for folds, tests in TRAININGS.items():
        wanted = [fold for fold in tests if fold in chosen.folds]
        if not wanted:
            continue
        part = Part(data, folds, tests)
        for name, found in compute(part, chosen.models, chosen.cache).items():
            out["cpu"].setdefault(name, []).append(float(found["cpu_s"]))
            for fold in wanted:
                if "labels" in found:
                    out["label"].setdefault(name, {})[fold] = label_scores(part, found["labels"], fold)
                else:
                    out["value"].setdefault(name, {})[fold] = value_scores(part, found["values"], fold)
    return out


def balanced(area, cluster):
    """Return the mean of (a,) areas in which each cluster of assays counts as one."""
    share = np.isfinite(area) / np.bincount(cluster)[cluster]
    return round(float(np.nansum(area * share) / share.sum()), 4)


def tables(data, out):
    """Return means by model and fold, of all assays, of the panel and of the others, and gains over the anchor."""
    cluster = data.clusters()
    panel, some = cluster == 0, np.isin(np.arange(data.assays), forest_tasks(data))
    found, gains = {}, {}

    def mean(x, where):
        return round(float(np.nanmean(x[where])), 4)

    for name, by_fold in out["label"].items():
        whole = {"": np.ones(data.assays, bool), "_others": ~panel, "_panel": panel}
        parts = {"": some} if name == "forest" else whole
        for end, where in parts.items():
            for score, title in SCORES.items():
                values = [mean(by_fold[fold][score], where) for fold in sorted(by_fold)]
                found.setdefault(title + end, {})[name] = values
        areas = [by_fold[fold]["roc_auc_score"] for fold in sorted(by_fold)]
        found.setdefault("auc_roc_clusters", {})[name] = [balanced(area, cluster) for area in areas]
        if name == "gp":
            found["auc_roc"]["gp_110"] = [mean(by_fold[fold]["roc_auc_score"], some) for fold in sorted(by_fold)]
        if name not in ("anchor", "forest") and "anchor" in out["label"]:
            gains |= gains_over(out["label"]["anchor"], name, by_fold, cluster)
    return found, gains


def gains_over(base, name, by_fold, cluster):
    """Return what a model gains over the anchor, by fold with intervals, and on average."""
    gains = {}
    for score, title in (("roc_auc_score", "auc"), ("auc_pr_cal", "calibrated_auc_pr")):
        differences = {fold: by_fold[fold][score] - base[fold][score] for fold in sorted(by_fold)}
        gains |= {f"{name}_gain_{title}_fold{fold}": interval(one, cluster) for fold, one in differences.items()}
        gains[f"{name}_gain_{title}"] = float(np.mean([np.nanmean(one) for one in differences.values()]))
    return gains


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--models", default=",".join(MODELS), type=lambda text: [*text.split(",")])
    parser.add_argument("--folds", default=(0, 1, 2, 3), type=lambda text: tuple(int(one) for one in text.split(",")))
    parser.add_argument("--cache", type=Path)
    chosen = parser.parse_args()
    if not fsmol_data.FOLDER.is_dir():
        parser.exit(NOT_HERE, f"{fsmol_data.FOLDER} is not here; say where the data folder is with SCREENWISE_DATA.\n")
    began, data = time.time(), fsmol_data.load(chosen.cache and chosen.cache / "screen")
    start = time.process_time()
    learn_columns(data.screen.conditions)
    scaffolds(data.screen.conditions["smiles"].tolist())  # with the fingerprints, as the specification counts them
    fingerprints = time.process_time() - start
    # compiled once per machine: not what a fit costs
    few = data.screen.take(np.arange(200))
    PooledProcess(one_thread()).fit(few).predict_cells(few.conditions, np.arange(9), np.zeros(9, int))
    out = run(data, chosen)
    found, gains = tables(data, out)
    figures = summary(found, gains, out)
    figures["fingerprints_cpu_s"] = round(fingerprints, 1)
    result = {
        "benchmark": "fsmol",
        "figures": {name: with_bar(name, value) for name, value in figures.items()},
        "units": {name: "CPU s" for name in figures if name.endswith("cpu_s")},
        "peer": "SparseChem's network (6 epochs) written with our own parts; nearest neighbours; random forest",
        "data": "fsmol_chembl27: 106,634 compounds, 995 assays, 282,908 values and labels, pinned scaffold folds",
        "seeds": [0],
        **found,
        "censored": censored(out["value"]),
        "seconds": {name: round(float(np.mean(spent)), 1) for name, spent in out["cpu"].items()},
        "cpu_seconds": round(time.process_time(), 1),
        "wall_seconds": round(time.time() - began, 1),
    }
    print(json.dumps(result) if chosen.json else json.dumps(result, indent=1))


def censored(values):
    """Return RMSE and AUC by fold of each treatment of bounds; the process's also without its name."""
    found = {}
    for name, by_fold in values.items():
        scores = [by_fold[fold] for fold in sorted(by_fold)]
        found[name] = {"rmse": [round(one, 4) for one, _ in scores], "auc": [round(two, 4) for _, two in scores]}
    return found | {name: found[f"gp_{name}"] for name in TREATMENTS if f"gp_{name}" in found}


def summary(found, gains, out):
    """Return figures with names of their own: single folds and means over folds."""
    figures = {}
    short_of = {"auc_roc": "auc", "auc_roc_others": "auc_others", "calibrated_auc_pr": "calibrated_auc_pr"}
    for title, short in short_of.items():
        for name, values in found.get(title, {}).items():
            figures[f"{name}_{short}_mean"] = round(float(np.mean(values)), 4)
            figures |= {f"{name}_{short}_fold{place}": value for place, value in enumerate(values) if len(values) == 4}
    figures |= gains
    for name, by_fold in out["value"].items():
        for place, score in enumerate(("rmse", "auc")):
            figures[f"{name}_{score}"] = round(float(np.mean([by_fold[fold][place] for fold in by_fold])), 4)
    return figures | {f"{name}_cpu_s": round(float(np.mean(spent)), 1) for name, spent in out["cpu"].items()}


def with_bar(name, value):
    entry = (
        {key: round(one, 4) for key, one in value.items()} if isinstance(value, dict) else {"value": round(value, 4)}
    )
    return entry | ({"bar": BARS[name]} if name in BARS else {})


if __name__ == "__main__":
    main()
