"""GEARS's part of the benchmark gears, run by it in GEARS's own environment: ``python gears.py FOLDER SECONDS``.

The folder holds cells.h5ad (log1p-normalised training cells), gene2go.json, split.json. The mean of each asked
pair goes to prediction.npy; printed is one JSON object with seconds per epoch and the number of epochs: as many,
up to GEARS's default, as fit in the wall seconds by the time of a first one.
"""

import json
import os
import pickle
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
# This file bears the name of the package it runs, and Python looks beside a script first.
sys.path = [one for one in sys.path if Path(one or ".").resolve() != Path(__file__).resolve().parent]

import numpy as np  # noqa: E402 - after the number of threads

HIDDEN, BATCH, SEED = 64, 32, 0
MOST_EPOCHS = 20
"""The default of GEARS; it halves its rate of learning after each."""


def read_boolean_series():
    """Let a sparse matrix be indexed by a boolean pandas Series, as GEARS does and SciPy no longer allows."""
    import pandas as pd  # noqa: PLC0415
    from scipy.sparse import csr_matrix  # noqa: PLC0415

    plain = csr_matrix.__getitem__

    def get(matrix, key):
        return plain(matrix, key.to_numpy() if isinstance(key, pd.Series) else key)

    csr_matrix.__getitem__ = get


def prepare(folder):
    """Return GEARS's data object: one graph per cell."""
    import anndata  # noqa: PLC0415
    from gears import PertData  # noqa: PLC0415

    terms = json.loads((folder / "gene2go.json").read_text())
    (folder / "data").mkdir()
    with (folder / "data" / "gene2go_all.pkl").open("wb") as file:
        pickle.dump({gene: set(some) for gene, some in terms.items()}, file)
    split = json.loads((folder / "split.json").read_text())
    with (folder / "split.pkl").open("wb") as file:
        # GEARS never sees the asked pairs; it wants a test set, and that is not looked at.
        pickle.dump({"train": split["train"], "val": split["val"], "test": split["val"]}, file)
    data = PertData(str(folder / "data"), default_pert_graph=False)
    data.new_data_process("norman", adata=anndata.read_h5ad(folder / "cells.h5ad"))
    data.prepare_split("custom", seed=SEED, split_dict_path=str(folder / "split.pkl"))
    data.get_dataloader(BATCH)
    return data, [pair.split("+") for pair in split["asked"]]


def trained(data, epochs):
    """Return (model, wall seconds, CPU seconds) of some epochs, the passes GEARS makes to choose the best included."""
    import torch  # noqa: PLC0415
    from gears import GEARS  # noqa: PLC0415

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    model = GEARS(data, device="cpu")
    model.dataloader.pop("test_loader", None)
    model.model_initialize(hidden_size=HIDDEN)
    wall, cpu = time.perf_counter(), time.process_time()
    model.train(epochs=epochs)
    return model, time.perf_counter() - wall, time.process_time() - cpu


def main():
    warnings.simplefilter("ignore")
    began, folder, budget = time.perf_counter(), Path(sys.argv[1]).resolve(), float(sys.argv[2])
    os.chdir(folder)  # GEARS writes to ./data
    np.random.seed(SEED)  # noqa: NPY002 - what GEARS draws from
    read_boolean_series()
    import gears  # noqa: F401, PLC0415 - its import is not timed

    cpu = time.process_time()
    data, asked = prepare(folder)
    graphs = time.process_time() - cpu
    _, first, _ = trained(data, 1)
    left = budget - (time.perf_counter() - began)
    # A third of the time is kept for a machine that gets busier.
    epochs = int(np.clip(left / (1.5 * first), 1, MOST_EPOCHS))
    model, wall, cpu = trained(data, epochs)
    told = model.predict(asked)
    np.save(folder / "prediction.npy", np.stack([told["_".join(pair)] for pair in asked]))
    result = {"epochs": epochs, "epoch_wall_s": wall / epochs, "epoch_cpu_s": cpu / epochs, "fit_cpu_s": cpu}
    result |= {"graphs_cpu_s": graphs, "all_cpu_s": time.process_time(), "version": version("cell-gears")}
    print(json.dumps(result | {"parameters": sum(one.numel() for one in model.model.parameters())}))


if __name__ == "__main__":
    main()
