"""Statistics of cells by condition and batch: CPU seconds and memory, streamed from an h5ad file.

The data are made here, block by block: Poisson counts of 2,000 genes, about 141 of them above zero in a
cell, 300 conditions and 4 batches. The time is that of one thread, reading the file included, compiled
code loaded before; memory is the most that a process of its own held. The peer does the same sums with
anndata's backed reading and SciPy, in the same run and on the first 200,000 cells.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import anndata  # noqa: E402 - after the number of threads
import h5py  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from scipy.sparse import csr_array, csr_matrix  # noqa: E402

from screenwise.data.cells import CellColumns, cell_statistics  # noqa: E402

SEED = 0
SMALL, LARGE = 200_000, 10_000_000
GENES, ENTRIES, CONDITIONS, BATCHES = 2_000, 141, 300, 4
STEP = 50_000
"""Cells made at a time."""


def block(rng, cells):
    """Return (cells, GENES) counts of about ENTRIES genes a cell."""
    number = rng.poisson(ENTRIES, cells).clip(1, GENES // 2)
    indptr = np.concatenate([[0], np.cumsum(number)])
    # evenly spaced genes from a random start differ within a cell, and are made fast
    place = np.arange(indptr[-1]) - np.repeat(indptr[:-1], number)
    start = np.repeat(rng.integers(0, GENES, cells), number)
    indices = ((start + place * (GENES // np.repeat(number, number))) % GENES).astype(np.int32)
    data = (1 + rng.poisson(0.5, indptr[-1])).astype(np.float32)
    return csr_matrix((data, indices, indptr), shape=(cells, GENES))


def labels(rng, cells):
    codes = np.where(rng.random(cells) < 0.05, 0, rng.integers(1, CONDITIONS, cells))
    return codes.astype(np.int16), rng.integers(0, BATCHES, cells).astype(np.int8)


def names():
    genes = [f"G{place}" for place in range(GENES)]
    singles = genes[: CONDITIONS // 2]
    pairs = [f"{a}+{b}" for a, b in pairwise(singles)]
    return genes, ["ctrl", *[f"{name}+ctrl" for name in singles], *pairs][:CONDITIONS]


def make(path, cells):
    """Write an h5ad of synthetic cells, in memory that does not grow with them."""
    rng = np.random.default_rng(SEED)
    genes, conditions = names()
    first = min(STEP, cells)

    def obs(size):
        condition, batch = labels(rng, size)
        frame = pd.DataFrame(index=pd.RangeIndex(size).astype(str))
        frame["condition"] = pd.Categorical.from_codes(condition, conditions)
        frame["batch"] = pd.Categorical.from_codes(batch, [f"b{place}" for place in range(BATCHES)])
        return frame

    adata = anndata.AnnData(block(rng, first), obs=obs(first), var=pd.DataFrame(index=genes))
    adata.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        parts = {name: file[f"X/{name}"][:] for name in ("data", "indices", "indptr")}
        stored = {name: file[f"obs/{name}/codes"][:] for name in ("condition", "batch")}
        for name, values in parts.items():
            attributes = dict(file["X"][name].attrs)
            del file["X"][name]
            kind = np.int64 if name == "indptr" else values.dtype
            made = file["X"].create_dataset(name, data=values.astype(kind), maxshape=(None,), chunks=(1 << 18,))
            made.attrs.update(attributes)
        for name, values in stored.items():
            attributes = dict(file[f"obs/{name}/codes"].attrs)
            del file[f"obs/{name}/codes"]
            made = file[f"obs/{name}"].create_dataset("codes", data=values, maxshape=(None,), chunks=(1 << 18,))
            made.attrs.update(attributes)
        index = dict(file["obs/_index"].attrs)
        del file["obs/_index"]
        made = file["obs"].create_dataset(
            "_index", data=np.arange(first).astype("S8"), maxshape=(None,), chunks=(1 << 18,)
        )
        made.attrs.update(index)
        for start in range(first, cells, STEP):
            size = min(STEP, cells - start)
            rows = block(rng, size)
            condition, batch = labels(rng, size)
            end = int(file["X/indptr"][-1])
            append(file["X/data"], rows.data)
            append(file["X/indices"], rows.indices)
            append(file["X/indptr"], rows.indptr[1:].astype(np.int64) + end)
            append(file["obs/condition/codes"], condition)
            append(file["obs/batch/codes"], batch)
            append(file["obs/_index"], np.arange(start, start + size).astype("S8"))
        file["X"].attrs["shape"] = np.array([cells, GENES])


def append(dataset, values):
    size = len(dataset)
    dataset.resize(size + len(values), axis=0)
    dataset[size:] = values


def ours(path):
    """Return CPU seconds and the sums; compiled code is loaded first, on a few cells."""
    columns = CellColumns(batch="batch")
    few = anndata.AnnData(
        block(np.random.default_rng(1), 8), obs=pd.DataFrame({"condition": ["ctrl"] * 8, "batch": "a"})
    )
    cell_statistics(few, columns)
    before = resident()
    began = time.process_time()
    found = cell_statistics(path, columns)
    return time.process_time() - began, before, found


def peer(path):
    """Return CPU seconds and the sums by anndata's backed reading and SciPy."""
    began = time.process_time()
    adata = anndata.read_h5ad(path, backed="r")
    group = adata.obs.groupby(["condition", "batch"], observed=True).ngroup().to_numpy()
    size = group.max() + 1
    total, squares = np.zeros((size, GENES)), np.zeros((size, GENES))
    for start in range(0, adata.n_obs, 20_000):
        rows = csr_array(adata.X[start : start + 20_000])
        scale = 1e4 / rows.sum(axis=1)
        rows.data = np.log1p(rows.data * np.repeat(scale, np.diff(rows.indptr)))
        own = group[start : start + rows.shape[0]]
        one = csr_array((np.ones(len(own)), (own, np.arange(len(own)))), shape=(size, len(own)))
        total += (one @ rows).toarray()
        squares += (one @ rows.multiply(rows)).toarray()
    return time.process_time() - began, total


def resident():
    """Return the most memory this process has held, in MB (getrusage would count the process that started it)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def one(path, who):
    """Run one measurement; printed for the process that asked."""
    if who == "peer":
        seconds, total = peer(path)
        return {"cpu_seconds": seconds, "most_mb": resident(), "sum": float(total.sum())}
    seconds, before, found = ours(path)
    result = {"cpu_seconds": seconds, "most_mb": resident(), "before_mb": before, "sum": float(found.total.sum())}
    return result | {"cells": int(found.count.sum())}


def measure(path, who):
    command = [sys.executable, __file__, "--one", who, "--path", str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--cells", type=int, nargs="+", default=[SMALL, LARGE], help="numbers of cells")
    parser.add_argument("--folder", type=Path, help="where the files go: 1.2 GB for each million cells")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(asked.path, asked.one)))
        return
    cpu, wall = time.process_time(), time.perf_counter()
    figures, units, peers = {}, {}, {}
    for place, cells in enumerate(asked.cells):
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            path = Path(folder) / "cells.h5ad"
            make(path, cells)
            found = measure(path, "ours")
            assert found["cells"] == cells
            seconds, memory = f"{cells:,} cells, CPU", f"{cells:,} cells, most memory"
            figures[seconds] = {"value": round(found["cpu_seconds"], 2)} | ({"bar": 10} if cells == SMALL else {})
            figures[memory] = round(found["most_mb"])
            units |= {seconds: "s", memory: "MB"}
            if place == 0:
                other = measure(path, "peer")
                assert abs(other["sum"] / found["sum"] - 1) < 1e-6
                peers |= {seconds: round(other["cpu_seconds"], 2), memory: round(other["most_mb"])}
    result = {
        "figures": figures,
        "units": units,
        "peers": peers,
        "peer": f"anndata {version('anndata')} backed in blocks of 20,000 rows, sums with SciPy",
        "data": f"synthetic, {GENES} genes, {ENTRIES} counts > 0 a cell, {CONDITIONS} conditions, {BATCHES} batches",
        "seeds": [SEED],
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "wall_seconds": round(time.perf_counter() - wall, 2),
    }
    if asked.json:
        print(json.dumps(result))
        return
    for name, figure in figures.items():
        value = figure["value"] if isinstance(figure, dict) else figure
        print(f"{value:>10} {units[name]:3} {name} (peer {peers.get(name)})")


if __name__ == "__main__":
    main()
