"""A raw public table of 300 ChEMBL targets through the command line: the network as it comes, against ridge per task.

The table is fsmol_chembl27 as a user would download it: a row per measurement, concentrations in nM with the
relations of concentrations, replicates and structures that cannot be read left in; a task is a target of 40 to 2,000
exact values, all binding assays together, 300 of them drawn once. A fifth of the compounds is held out, by seed.
``screenwise fit --model multitask`` and ``predict`` are given no option; peers: ridge of scikit-learn per task on the
network's own substructure counts (logarithms, as they are or of equal length, penalty by leave-one-out), the
product's ridge, and the training mean. RMSE on exact held-out values, means over tasks with 5 of them or more, p units;
coverage of 90 % intervals over all these values. With ``--auto``, also what ``--model auto`` chooses and scores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402 - after the number of threads
import pandas as pd  # noqa: E402
from scipy.stats import t as student  # noqa: E402

DATA = Path(os.environ.get("SCREENWISE_DATA", Path(__file__).parents[2] / "shared" / "data"))
FOLDER = DATA / "bioactivity" / "fsmol_chembl27"
TARGETS, LEAST, MOST = 300, 40, 2000
LEAST_JUDGED = 5
NOT_HERE = 3
BAR = 0.97
COVERAGE = (0.87, 0.93)
ALPHAS = np.logspace(-1, 4, 16)


def raw_table():
    """Return the measurements: compound, smiles, target, relation, value in nM."""
    activities = pd.read_csv(FOLDER / "activities.tsv.gz", sep="\t", low_memory=False)
    smiles = pd.read_csv(FOLDER / "compounds.tsv.gz", sep="\t").set_index("compound_id")["smiles"]
    assays = pd.read_csv(FOLDER / "assays.tsv.gz", sep="\t", dtype=str).set_index("assay_id")
    binding = assays["target_id"].where(assays["assay_type"] == "B").dropna()
    used = activities[activities["p_value"].notna()].copy()
    used["target"] = "target " + used["assay_id"].map(binding)
    used = used[used["target"].notna()]
    exact = used[used["relation"] == "="].drop_duplicates(["target", "compound_id"])["target"].value_counts()
    fit = np.sort(exact.index[(exact >= LEAST) & (exact <= MOST)])
    chosen = np.random.default_rng(0).choice(fit, TARGETS, replace=False)
    used = used[used["target"].isin(chosen)]
    return pd.DataFrame(
        {
            "compound": "C" + used["compound_id"].astype(str),
            "smiles": smiles.loc[used["compound_id"]].to_numpy(object),
            "target": used["target"],
            "relation": used["relation"].fillna(""),
            "value": (10 ** (9 - used["p_value"])).map("{:.4g}".format),
            "unit": "nM",
        }
    ).reset_index(drop=True)


def command(*words):
    """Run a command as a user does; return the CPU seconds that it took."""
    began = os.times()
    done = subprocess.run(
        [sys.executable, "-m", "screenwise.cli", *map(str, words)], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    ended = os.times()
    return ended[2] + ended[3] - began[2] - began[3]


def ours(folder, model, answer):
    """Fit and predict by commands; return the predictions of held-out cells, and seconds."""
    run, out = folder / model, folder / f"{model}.csv"
    seconds = command("fit", folder / "train.csv", "--out", run, "--model", model)
    command("predict", run, folder / "test.csv", "--out", out)
    found = pd.read_csv(out).set_index(["compound", "task"])[["mean", "lower", "upper"]]
    return answer.join(found, on=["compound", "target"]), seconds


def exact_values(table):
    """Return a line per compound and target: the mean of its exact values in p units."""
    exact = table[table["relation"] == "="]
    p = 9 - np.log10(exact["value"].astype(float))
    return p.groupby([exact["compound"], exact["target"]]).mean().rename("p").reset_index()


def scikit_ridge(train, answer, smiles):
    """Return predictions of ridge per task on the network's substructures, as counted and of equal length."""
    from sklearn.linear_model import RidgeCV  # noqa: PLC0415

    from screenwise.models.multitask import MultiTaskConfig  # noqa: PLC0415
    from screenwise.models.multitask_inputs import make_inputs  # noqa: PLC0415

    config, conditions = MultiTaskConfig(), pd.DataFrame({"smiles": smiles})
    own = conditions.loc[train["compound"].unique()]
    found = answer.assign(mean_only=np.nan)
    for name in ("counted", "scaled"):
        inputs = make_inputs(config.kinds, config.radius, minimum_count=2, equal_length=name == "scaled").fit(own)
        x, place = inputs.transform(conditions).x, pd.Series(np.arange(len(conditions)), conditions.index)
        found[name] = np.nan
        for target, cells in train.groupby("target"):
            asked = (answer["target"] == target).to_numpy()
            rows, other = x[place[cells["compound"]].to_numpy()], x[place[answer["compound"][asked]].to_numpy()]
            if not asked.any():
                continue
            there = np.flatnonzero(np.bincount(rows.indices, minlength=x.shape[1]))
            fit = RidgeCV(ALPHAS).fit(rows[:, there].toarray(), cells["p"])
            found.loc[asked, name] = fit.predict(other[:, there].toarray())
            found.loc[asked, "mean_only"] = cells["p"].mean()
    return found


def judge(found, column):
    """Return (tasks,) RMSE of tasks with enough held-out values."""
    error = found["p"] - found[column]
    if error.isna().any():
        message = f"{column}: {int(error.isna().sum())} held-out values without a prediction."
        raise RuntimeError(message)
    groups = (error**2).groupby(found["target"])
    return np.sqrt(groups.mean())[groups.size() >= LEAST_JUDGED]


def one_seed(table, seed, models):
    names = np.sort(table["compound"].unique())
    held = set(names[np.random.default_rng(seed + 1).random(len(names)) < 0.2])
    test = table["compound"].isin(held)
    smiles = table.drop_duplicates("compound").set_index("compound")["smiles"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table[~test].to_csv(folder / "train.csv", index=False)
        smiles[smiles.index.isin(held)].reset_index().to_csv(folder / "test.csv", index=False)
        readable = readable_compounds(smiles)
        answer = exact_values(table[test])
        answer = answer[answer["compound"].isin(readable)].reset_index(drop=True)
        train = exact_values(table[~test])
        train = train[train["compound"].isin(readable)]
        answer = answer[answer["target"].isin(train["target"].unique())].reset_index(drop=True)
        scores = {}
        ridge = scikit_ridge(train, answer, smiles[smiles.index.isin(readable)])
        for column in ("counted", "scaled", "mean_only"):
            scores[column] = {"rmse": judge(ridge, column)}
        for model in models:
            found, seconds = ours(folder, model, answer)
            inside = (found["p"] >= found["lower"]) & (found["p"] <= found["upper"])
            scores[model] = {
                "rmse": judge(found, "mean"),
                "coverage": float(inside.mean()),
                "width": float((found["upper"] - found["lower"]).mean()),
                "cpu_s": seconds,
            }
            print(seed, model, scores[model]["rmse"].mean(), scores[model]["coverage"], file=sys.stderr, flush=True)
    return scores, len(answer)


def readable_compounds(smiles):
    from rdkit import Chem  # noqa: PLC0415

    from screenwise.data.chemistry import quiet_rdkit  # noqa: PLC0415

    with quiet_rdkit():
        return {name for name, text in smiles.items() if Chem.MolFromSmiles(text) is not None}


def report(runs, models):
    figures = {}
    for name in ("mean_only", "counted", "scaled", *models):
        figures[f"rmse_{name}"] = round(float(np.mean([scores[name]["rmse"].mean() for scores, _ in runs])), 4)
        if name in models:
            for what in ("coverage", "width", "cpu_s"):
                figures[f"{what}_{name}"] = round(float(np.mean([scores[name][what] for scores, _ in runs])), 3)
    best = min(("counted", "scaled"), key=lambda name: figures[f"rmse_{name}"])
    for name in models:
        ratios = np.array([scores[name]["rmse"].mean() / scores[best]["rmse"].mean() for scores, _ in runs])
        figure = {"value": round(float(ratios.mean()), 4)} | ({"bar": f"<= {BAR}"} if name == "multitask" else {})
        if len(ratios) > 1:
            wide = float(student.ppf(0.975, len(ratios) - 1) * ratios.std(ddof=1) / np.sqrt(len(ratios)))
            figure |= {"lower": round(figure["value"] - wide, 4), "upper": round(figure["value"] + wide, 4)}
        figures[f"{name}_over_ridge"] = figure
    figures["coverage_multitask"] = {
        "value": figures["coverage_multitask"],
        "bar": f"{COVERAGE[0]} to {COVERAGE[1]}",
    }
    figures["held_out_values"] = runs[0][1]
    figures["tasks_judged"] = len(runs[0][0]["counted"]["rmse"])
    return figures, best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seeds", type=int, default=3, help="held-out fifths")
    parser.add_argument("--auto", action="store_true", help="also --model auto")
    parser.add_argument("--first-seed", type=int, default=0)
    given = parser.parse_args()
    if not FOLDER.exists():
        sys.stderr.write(f"{FOLDER} is not here; set SCREENWISE_DATA to the data folder.\n")
        raise SystemExit(NOT_HERE)
    began, wall = os.times(), time.perf_counter()
    table = raw_table()
    models = ["multitask", "ridge", *(["auto"] if given.auto else [])]
    runs = [one_seed(table, seed, models) for seed in range(given.first_seed, given.first_seed + given.seeds)]
    figures, best = report(runs, models)
    ended = os.times()
    result = {
        "figures": figures | {"rows": len(table), "compounds": int(table["compound"].nunique())},
        "units": "RMSE in p units, mean over tasks; ratios to the better ridge of scikit-learn; CPU s of a fit",
        "headline": "multitask_over_ridge",
        "peer": f"ridge of scikit-learn per task on the same substructures ({best})",
        "data": f"fsmol_chembl27, {TARGETS} targets of {LEAST} to {MOST} exact values",
        "seeds": given.seeds,
        "cpu_seconds": round(sum(ended[:4]) - sum(began[:4]), 1),
        "wall_seconds": round(time.perf_counter() - wall, 1),
    }
    print(json.dumps(result) if given.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
