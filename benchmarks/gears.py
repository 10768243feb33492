"""Gene pairs at gene level: Peper and the sums against GEARS (PyPI cell-gears), on the same training cells.

Norman et al. 2019, 500 genes: control, singles and ten doubles in training, the five doubles with both singles
measured held out. 30 cells of each condition and all 100 control cells; a single whose gene has no ontology term
is left out for all, as GEARS cannot hold it. L2 = mean distance over the doubles between predicted and measured
mean (all their cells) of log1p-normalised counts. Ours also from all training cells. GEARS: hidden 64, its own
defaults else, the best of its epochs on two of the ten doubles; its own 20 epochs, or as many as ten minutes hold.
CPU seconds of one thread; an epoch is with the passes over the cells that GEARS makes to score it.

GEARS has an environment of its own, outside the repository: SCREENWISE_GEARS names its Python, made by
``python -m venv FOLDER && FOLDER/bin/pip install torch torch_geometric cell-gears``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

from pathlib import Path  # noqa: E402 - after the number of threads

import anndata  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from scipy.sparse import csr_matrix  # noqa: E402

from screenwise.data.cells import CellColumns, read_cells  # noqa: E402
from screenwise.models import make_model  # noqa: E402

DATA = Path(os.environ.get("SCREENWISE_DATA", "../shared/data")) / "perturbseq"
CELLS, TERMS = DATA / "norman2019_sc_hvg500.h5ad", DATA / "gene2go.tsv.gz"
PEER = "SCREENWISE_GEARS"
FEW, CHOOSING, SEED = 30, 2, 0
"""Training cells of a condition; doubles by which GEARS chooses its epoch; seed of both draws."""
BUDGET, LIMIT = 480, 600
"""Wall seconds that GEARS is planned for, and after which it is stopped."""
OURS = ("peper_gp", "scaled_salt", "salt")
DECIMALS = 4


def genes(label):
    return tuple(sorted(name for name in label.split("+") if name != "ctrl"))


class Norman:
    """The cells, log1p-normalised, and which conditions train, choose and test."""

    def __init__(self):
        cells = anndata.read_h5ad(CELLS)
        value = np.log1p(cells.X.toarray() * 1e4 / cells.obs["total_counts"].to_numpy()[:, None])
        obs = pd.DataFrame({"condition": cells.obs["condition"].astype(str), "cell_type": "K562"})
        var = pd.DataFrame({"gene_name": cells.var_names}, index=cells.var_names)
        self.cells = anndata.AnnData(csr_matrix(value.astype(np.float32)), obs=obs, var=var)
        self.terms = pd.read_csv(TERMS, sep="\t").groupby("gene")["go_id"].agg(list).to_dict()
        labels = [
            label for label in sorted(obs["condition"].unique()) if all(one in self.terms for one in genes(label))
        ]
        single = {genes(label)[0] for label in labels if len(genes(label)) == 1}
        doubles = [label for label in labels if len(genes(label)) == 2]
        self.asked = [label for label in doubles if single >= set(genes(label))]
        self.train = [label for label in labels if label not in self.asked]
        rest = [label for label in doubles if label not in self.asked]
        self.choosing = sorted(np.random.default_rng(SEED).choice(rest, CHOOSING, replace=False).tolist())

    def rows(self, limit=None):
        """Return the training cells; of each condition but control at most `limit`."""
        label, rng, rows = self.cells.obs["condition"].to_numpy(), np.random.default_rng(SEED), []
        for one in self.train:
            some = np.flatnonzero(label == one)
            rows.append(some if one == "ctrl" or limit is None else rng.choice(some, limit, replace=False))
        return np.sort(np.concatenate(rows))

    def level(self, condition):
        """Return the (500,) mean of all cells of a condition."""
        return np.asarray(self.cells.X[self.cells.obs["condition"].to_numpy() == condition].mean(axis=0)).ravel()

    def l2(self, predicted):
        """Return the mean distance of (5, 500) predicted from measured means."""
        return float(np.linalg.norm(predicted - np.stack([self.level(one) for one in self.asked]), axis=1).mean())


def ours(norman, rows):
    """Return model -> (L2, CPU seconds of a fit with its code warm)."""
    screen = read_cells(norman.cells[rows].copy(), CellColumns(counts=False)).screen
    asked = pd.DataFrame([dict(zip(("gene_a", "gene_b"), genes(one), strict=True)) for one in norman.asked])
    out = {}
    for name in OURS:
        make_model(name).fit(screen, seed=SEED)
        began = time.process_time()
        model = make_model(name).fit(screen, seed=SEED)
        spent = time.process_time() - began
        out[name] = norman.l2(model.predict(asked).mean), spent
    return out


def gears(norman, rows, python):
    """Return what GEARS says of its run, and its L2."""
    train = [one for one in norman.train if one not in norman.choosing]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        norman.cells[rows].copy().write_h5ad(folder / "cells.h5ad")
        (folder / "gene2go.json").write_text(json.dumps(norman.terms))
        (folder / "split.json").write_text(json.dumps({"train": train, "val": norman.choosing, "asked": norman.asked}))
        command = [python, str(Path(__file__).parent / "peers" / "gears.py"), str(folder), str(BUDGET)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
        except subprocess.TimeoutExpired:
            sys.exit(f"GEARS gave no result within {LIMIT} s.")
        if done.returncode:
            sys.exit(f"GEARS did not run: {last_line(done)}")
        said = json.loads(done.stdout.strip().splitlines()[-1])
        return said | {"l2": norman.l2(np.load(folder / "prediction.npy"))}


def last_line(done):
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:300]


def peer_python():
    """Return the Python that imports GEARS, or end with the reason why there is none."""
    python = os.environ.get(PEER, "")
    if not Path(python).is_file():
        absent(f"{PEER} is {python!r}, not the Python of an environment with cell-gears.")
    # Isolated: beside this script, `gears` is the script itself.
    done = subprocess.run([python, "-I", "-c", "import gears"], capture_output=True, text=True, check=False)
    if done.returncode:
        absent(f"{python} does not import gears: {last_line(done)}")
    return python


def absent(reason):
    """End as a benchmark ends whose peer or data is not here."""
    sys.stderr.write(f"{reason}\n")
    raise SystemExit(3)


def report(few, every, theirs, no_change):
    """Return figures, units and the peer's numbers."""
    best, spent = few["peper_gp"]
    figures = {
        "l2": {"value": best, "bar": "< GEARS"},
        "l2_scaled_salt": {"value": few["scaled_salt"][0]},
        "l2_salt": {"value": few["salt"][0]},
        "l2_no_change": {"value": no_change},
        **{f"l2_all_cells_{name}": {"value": l2} for name, (l2, _) in every.items()},
        "l2_share_of_gears": {"value": best / theirs["l2"], "bar": "< 1"},
        "fit_cpu_s": {"value": spent, "bar": "< GEARS"},
        "gears_epoch_cpu_s": {"value": theirs["epoch_cpu_s"]},
        "gears_epoch_wall_s": {"value": theirs["epoch_wall_s"]},
        "gears_graphs_cpu_s": {"value": theirs["graphs_cpu_s"]},
    }
    for figure in figures.values():
        figure["value"] = round(figure["value"], DECIMALS)
    units = {name: "CPU s" if "cpu" in name else "wall s" for name in figures if name.endswith("_s")}
    peers = {"l2": theirs["l2"], "fit_cpu_s": theirs["fit_cpu_s"]}
    return figures, units, {name: round(value, DECIMALS) for name, value in peers.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args().json
    if not (CELLS.exists() and TERMS.exists()):
        absent(f"{CELLS.name} or {TERMS.name} is not in {DATA}; set SCREENWISE_DATA.")
    python, wall, norman = peer_python(), time.perf_counter(), Norman()
    few, every = ours(norman, norman.rows(FEW)), ours(norman, norman.rows())
    cpu = time.process_time()
    theirs = gears(norman, norman.rows(FEW), python)
    no_change = norman.l2(np.stack([norman.level("ctrl")] * len(norman.asked)))
    figures, units, peers = report(few, every, theirs, no_change)
    result = {
        "figures": figures,
        "units": units,
        "peer": f"GEARS (cell-gears {theirs['version']}, {theirs['parameters']} parameters), {theirs['epochs']} epochs",
        "peers": peers,
        "data": f"norman2019_sc_hvg500: {len(norman.train)} training conditions, {FEW} cells each; held out "
        + ", ".join(norman.asked),
        "seeds": [SEED],
        "cpu_seconds": round(cpu + theirs["all_cpu_s"], 1),
        "wall_seconds": round(time.perf_counter() - wall, 1),
    }
    print(json.dumps(result) if as_json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
