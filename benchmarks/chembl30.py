"""The default model on the 30 ChEMBL targets, against the published SVM reproduced in the same run.

Published split: cell protocol (other targets' measurements of a test compound are known) and compound
protocol (nothing is known of it), from the embedded table to the scores; 90 % intervals; activity
cliffs. Then random and scaffold 5-fold, pooled out-of-fold predictions of each target. Peer: the SVM
on ECFP4 bits with its authors' settings (chembl30_svm.json). All figures are means over 30 targets,
RMSE in log units. CPU seconds of one thread. ``--published`` leaves the folds out.
"""

import argparse
import json
import os
import resource
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

from pathlib import Path  # noqa: E402 - after the number of threads

import numpy as np  # noqa: E402
from sklearn.svm import SVR  # noqa: E402

from screenwise.data.datasets import load_dataset  # noqa: E402
from screenwise.data.split import make_folds  # noqa: E402
from screenwise.models.gp import GaussianProcess  # noqa: E402
from screenwise.prediction import Z90  # noqa: E402
from screenwise.represent.fingerprint import Fingerprint  # noqa: E402

SVM = json.loads((Path(__file__).parent / "chembl30_svm.json").read_text())
DECIMALS = 4


class Table:
    """The measured cells of the dataset, and scores of predictions of some of them."""

    def __init__(self):
        self.data = load_dataset("chembl30")
        self.screen = self.data.screen
        self.cells = self.screen.targets.cells()
        self.cliff = self.data.cells["cliff"].to_numpy(bool)

    def predict(self, model, test):
        """Return mean and std, (k,) each, of the k cells that `test` (m,) selects."""
        return model.predict_cells(self.screen.conditions, self.cells.row[test], self.cells.task[test])[:2]

    def scores(self, mean, std, test):
        """Return figures and the (t,) RMSE of each target; `test` (m,) selects the predicted cells."""
        task, error, cliff = self.cells.task[test], mean - self.cells.value[test], self.cliff[test]
        targets = [task == one for one in range(len(self.screen.tasks))]
        rmse = np.array([root_mean_square(error[mine]) for mine in targets])
        out = {"rmse": rmse.mean(), "rmse_cliff": np.mean([root_mean_square(error[mine & cliff]) for mine in targets])}
        if std is not None:
            inside = np.abs(error) <= Z90 * std
            covered = np.array([inside[mine].mean() for mine in targets])
            out |= {"coverage": covered.mean(), "coverage_least": covered.min(), "coverage_most": covered.max()}
            out["coverage_cliff"] = inside[cliff].mean()
            out["width"] = np.mean([2 * Z90 * std[mine].mean() for mine in targets])
        return out, rmse


def root_mean_square(error):
    return float(np.sqrt(np.mean(np.square(error, dtype=np.float64))))


def published(table):
    """Return figures of both protocols, and the cell protocol's RMSE of each target."""
    test = (table.data.cells["moleculeace"] == "test").to_numpy()
    model = GaussianProcess().fit(table.screen.where(~test))
    cell, rmse = table.scores(*table.predict(model, test), test)
    spent = {"cpu_s": time.process_time(), "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
    compound, _ = table.scores(*table.predict(model.without_borrowing(), test), test)
    figures = {f"cell_{name}": value for name, value in cell.items()}
    figures |= {f"compound_{name}": value for name, value in compound.items()}
    return figures | {f"published_{name}": value for name, value in spent.items()}, rmse


def support_vectors(table):
    """Return the peer's figures on the published split and the RMSE of each target."""
    test = (table.data.cells["moleculeace"] == "test").to_numpy()
    bits = Fingerprint("morgan", radius=2, counts=False, fold=1024).transform(table.screen.conditions)
    dense = np.asarray(bits.toarray(), np.float64)
    mean = np.zeros(len(test))
    for task, name in enumerate(table.screen.task_names):
        fit, ask = ((table.cells.task == task) & part for part in (~test, test))
        peer = SVR(kernel="rbf", **SVM["settings"][name]).fit(dense[table.cells.row[fit]], table.cells.value[fit])
        mean[ask] = peer.predict(dense[table.cells.row[ask]])
    return table.scores(mean[test], None, test)


def five_folds(table, split):
    """Return figures of out-of-fold predictions."""
    mean, std = np.zeros(len(table.cells)), np.zeros(len(table.cells))
    for fold in make_folds(split, table.screen, folds=5, seed=0):
        model = GaussianProcess().fit(table.screen.where(fold.train))
        mean[fold.test], std[fold.test] = table.predict(model, fold.test)
    figures, _ = table.scores(mean, std, np.ones(len(mean), bool))
    return {f"{split}_{name}": value for name, value in figures.items()}


BARS = {
    "cell_rmse": 0.612,
    "compound_rmse": 0.625,
    "cell_rmse_cliff": 0.70,
    "compound_rmse_cliff": 0.72,
    "cell_width": 1.95,
    "cell_coverage_least": 0.82,
    "cell_coverage_most": 0.96,
    "targets_better_than_svm": 29,
    "published_cpu_s": 90,
    "published_peak_memory_gb": 1.5,
    "scaffold_rmse": 0.728,
    "random_rmse": 0.623,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--published", action="store_true", help="the published split only")
    chosen = parser.parse_args()
    began = time.time()
    table = Table()
    figures, rmse = published(table)
    peer, peer_rmse = support_vectors(table)
    figures["targets_better_than_svm"] = int((rmse < peer_rmse).sum())
    if not chosen.published:
        for split in ("scaffold", "random"):
            figures |= five_folds(table, split)
    figures = {name: round(float(value), DECIMALS) for name, value in figures.items()}
    result = {
        "benchmark": "chembl30",
        "figures": {
            name: {"value": value} | ({"bar": BARS[name]} if name in BARS else {}) for name, value in figures.items()
        },
        "units": {name: unit_of(name) for name in figures if unit_of(name)},
        "peer": "SVM, ECFP4 bits, its authors' settings (MoleculeACE 3.0.0), scikit-learn SVR in this run",
        "peers": {
            f"{protocol}_{name}": round(float(value), DECIMALS)
            for protocol in ("cell", "compound")
            for name, value in peer.items()
        },
        "data": "chembl30: 30 ChEMBL targets, 48,714 cells, published split and 5 folds",
        "seeds": [0],
        "cpu_seconds": round(time.process_time(), 1),
        "wall_seconds": round(time.time() - began, 1),
    }
    print(json.dumps(result) if chosen.json else json.dumps(result, indent=1))


def unit_of(name):
    words = {"rmse": "log units", "width": "log units", "cpu_s": "CPU s", "memory_gb": "GB"}
    return next((unit for word, unit in words.items() if word in name), "")


if __name__ == "__main__":
    main()
