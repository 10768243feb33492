"""Random batches of cells from disk, against the loaders of the field on the same cells.

200,000 cells x 2,000 genes of Poisson counts (about 141 per cell above 0) in an h5ad file; batches of 512 random cells
as dense float32. Each loader runs in a process of its own, on one thread, with the files in the page cache. The peers
have an environment of their own, outside the repository: SCREENWISE_PEERS is its folder (default: in the temporary
folder; made with pip where it is missing). A peer that does not install or run is told with its reason.
Then 10 million cells (20 values each): conversion and random batches in constant memory.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402 - after the number of threads

CELLS, GENES, RATE = 200_000, 2_000, 0.0731
MANY, FEW_VALUES = 10_000_000, 20
BATCH, SEED = 512, 0
SECONDS = 6.0
"""Wall seconds each loader is measured for, after two batches that are not counted."""
PEERS = {
    "anndata backed, random rows": ("anndata", "anndata>=0.11"),
    "AnnLoader backed, shuffled": ("annloader", "anndata>=0.11"),
    "scDataset, fully random": ("scdataset_1", "scdataset"),
    "scDataset, blocks of 16": ("scdataset_16", "scdataset"),
    "scDataset, blocks of 64": ("scdataset_64", "scdataset"),
    "bionemo-scdl, rows (memory with its conversion)": ("scdl_rows", "bionemo-scdl"),
    "bionemo-scdl, its collate": ("scdl_collate", "bionemo-scdl"),
    "annbatch": ("annbatch", "annbatch"),
}


def memory(what):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    return float("nan")


# Loaders: each gives (b, GENES) dense batches without end.


def ours(h5ad, *, order="random", dense=True, workers=0):
    from screenwise.data.cell_order import Order  # noqa: PLC0415
    from screenwise.data.cellstore import CellStore  # noqa: PLC0415

    store = CellStore.open(h5ad.with_suffix(".cells"))
    for batch in store.batches(BATCH, Order(order, seed=SEED), epochs=None, dense=dense, workers=workers):
        yield batch.matrix


def anndata(h5ad):
    import anndata as ad  # noqa: PLC0415

    cells = ad.read_h5ad(h5ad, backed="r")
    rng = np.random.default_rng(SEED)
    while True:
        rows = rng.permutation(len(cells))
        for first in range(0, len(rows) - BATCH + 1, BATCH):
            yield cells.X[np.sort(rows[first : first + BATCH])].toarray()


def annloader(h5ad):
    import anndata as ad  # noqa: PLC0415
    from anndata.experimental import AnnLoader  # noqa: PLC0415

    cells = ad.read_h5ad(h5ad, backed="r")
    while True:
        for batch in AnnLoader(cells, batch_size=BATCH, shuffle=True, use_cuda=False):
            yield batch.X.to_dense()


def scdataset(h5ad, block):
    import anndata as ad  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from scdataset import BlockShuffling, scDataset  # noqa: PLC0415
    from torch.utils.data import DataLoader  # noqa: PLC0415

    matrix = ad.read_h5ad(h5ad, backed="r").X
    while True:
        strategy = BlockShuffling(block_size=block)
        data = scDataset(
            Rows(matrix, CELLS),
            strategy,
            batch_size=BATCH,
            fetch_factor=16,
            batch_transform=lambda batch: torch.from_numpy(batch.toarray()),
        )
        yield from DataLoader(data, batch_size=None)


class Rows:
    """A backed matrix with a length, as scDataset asks for."""

    def __init__(self, matrix, length):
        self.matrix, self.length = matrix, length

    def __len__(self):
        return self.length

    def __getitem__(self, rows):
        return self.matrix[rows]


def scdl(h5ad, *, collate):
    from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset  # noqa: PLC0415

    folder = h5ad.with_suffix(".scdl")
    data = SingleCellMemMapDataset(
        str(folder), **({} if folder.exists() else {"h5ad_path": str(h5ad), "use_X_not_raw": True})
    )
    if collate:
        from bionemo.scdl.util.torch_dataloader_utils import collate_sparse_matrix_batch  # noqa: PLC0415
        from torch.utils.data import DataLoader  # noqa: PLC0415

        while True:
            for batch in DataLoader(data, batch_size=BATCH, shuffle=True, collate_fn=collate_sparse_matrix_batch):
                yield batch.to_dense()
    rng = np.random.default_rng(SEED)
    while True:
        rows = rng.permutation(len(data))
        for first in range(0, len(rows) - BATCH + 1, BATCH):
            out = np.zeros((BATCH, GENES), np.float32)
            for place, row in enumerate(rows[first : first + BATCH]):
                (values, columns), *_ = data.get_row(row)
                out[place, columns] = values
            yield out


LOADERS = {
    "ours": ours,
    "ours_block": lambda path: ours(path, order="block"),
    "ours_sequential": lambda path: ours(path, order="sequential"),
    "ours_sparse": lambda path: ours(path, dense=False),
    "ours_ahead": lambda path: ours(path, workers=1),
    "anndata": anndata,
    "annloader": annloader,
    "scdataset_1": lambda path: scdataset(path, 1),
    "scdataset_16": lambda path: scdataset(path, 16),
    "scdataset_64": lambda path: scdataset(path, 64),
    "scdl_rows": lambda path: scdl(path, collate=False),
    "scdl_collate": lambda path: scdl(path, collate=True),
}


def measure(loader, path):
    """Run in a process of its own: cells per second of one loader, and its memory."""
    batches = LOADERS[loader](path)
    for _ in range(2):
        first = next(batches)
    cells, anonymous, total = 0, 0.0, float(first.sum())
    wall, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < SECONDS:
        batch = next(batches)
        cells += batch.shape[0]
        anonymous = max(anonymous, memory("RssAnon")) if cells // BATCH % 50 == 1 else anonymous
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "cells_per_wall_s": round(cells / wall),
        "cells_per_cpu_s": round(cells / cpu),
        "max_rss_mb": round(memory("VmHWM")),
        "anonymous_mb": round(anonymous),
        "mean_of_first_batch": round(total / first.shape[0], 1),
    }


def convert(path):
    """Run in a process of its own: one conversion."""
    from screenwise.data.cellstore_convert import convert_h5ad  # noqa: PLC0415

    anonymous = []
    cpu = time.process_time()
    convert_h5ad(path, path.with_suffix(".cells"), columns=[], progress=lambda *_: anonymous.append(memory("RssAnon")))
    return {"cpu_s": round(time.process_time() - cpu, 1), "anonymous_mb": round(max(anonymous))}


def write_h5ad(path, blocks, cells):
    """Write blocks of (genes, counts, values per cell) as the CSR matrix of an h5ad file, as anndata does."""
    import anndata as ad  # noqa: PLC0415
    import h5py  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    obs = pd.DataFrame(index=pd.RangeIndex(0).astype(str))
    ad.AnnData(obs=obs, var=pd.DataFrame(index=[f"gene{number}" for number in range(GENES)])).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        del file["obs"]["_index"]
        names = file["obs"].create_dataset("_index", (cells,), h5py.string_dtype(), chunks=(1 << 16,))
        names.attrs["encoding-type"], names.attrs["encoding-version"] = "string-array", "0.2.0"
        if "X" in file:
            del file["X"]
        matrix = file.create_group("X")
        matrix.attrs["encoding-type"], matrix.attrs["encoding-version"] = "csr_matrix", "0.1.0"
        matrix.attrs["shape"] = np.array([cells, GENES])
        indices, data = (
            matrix.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(1 << 18,))
            for name, dtype in (("indices", np.int32), ("data", np.float32))
        )
        indptr = matrix.create_dataset("indptr", (cells + 1,), np.int64)
        row, held = 0, 0
        for genes, counts, lengths in blocks:
            for dataset, values in ((indices, genes), (data, counts)):
                dataset.resize(held + len(genes), axis=0)
                dataset[held:] = values
            indptr[row + 1 : row + len(lengths) + 1] = held + np.cumsum(lengths)
            names[row : row + len(lengths)] = [f"c{number}" for number in range(row, row + len(lengths))]
            row, held = row + len(lengths), held + len(genes)


def poisson_blocks(step=5_000):
    rng = np.random.default_rng(SEED)
    for _ in range(0, CELLS, step):
        counts = rng.poisson(RATE, (step, GENES))
        rows, genes = np.nonzero(counts)
        yield genes, counts[rows, genes], np.bincount(rows, minlength=step)


def short_blocks(step=100_000):
    rng = np.random.default_rng(SEED + 1)
    strides = np.array([stride for stride in range(1, GENES) if stride % 2 and stride % 5])  # prime to GENES
    for _ in range(0, MANY, step):
        first, stride = rng.integers(0, GENES, (step, 1)), rng.choice(strides, (step, 1))
        genes = np.sort((first + stride * np.arange(FEW_VALUES)) % GENES, axis=1).ravel()
        yield genes, rng.integers(1, 9, len(genes)), np.full(step, FEW_VALUES)


def in_process(python, *arguments):
    """Return (result, None), or (None, reason)."""
    command = [str(python), str(Path(__file__)), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return None, said[-1][:300] if said else f"exit code {done.returncode}"
    return json.loads(done.stdout.strip().splitlines()[-1]), None


def peers_python():
    """Return the peers' Python and why each package of theirs is missing."""
    folder = Path(os.environ.get("SCREENWISE_PEERS", Path(tempfile.gettempdir()) / "screenwise-peers"))
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    missing, pins = {}, Path(__file__).parents[1] / "constraints.txt"
    install = [str(python), "-m", "pip", "install", "-q", "-c", str(pins), "torch", "h5py"]
    for package in dict.fromkeys(package for _, package in PEERS.values()):
        done = subprocess.run([*install, package], capture_output=True, text=True, check=False)
        if done.returncode:
            versions = re.findall(r"Requires-Python ([^\s;]+)", done.stderr)
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            missing[package] = (
                f"it needs Python {versions[-1]}" if versions else said[0][:200] if said else "pip failed"
            )
    return python, missing


def compare(folder):
    path = folder / "poisson.h5ad"
    write_h5ad(path, poisson_blocks(), CELLS)
    conversion, reason = in_process(sys.executable, "--convert", path)
    assert conversion, reason
    own = {}
    for loader in ("ours", "ours_block", "ours_sequential", "ours_sparse", "ours_ahead"):
        own[loader], reason = in_process(sys.executable, "--measure", loader, path)
        assert own[loader], reason
    python, missing = peers_python()
    peers, left_out = {}, {}
    for title, (loader, package) in PEERS.items():
        found, reason = (
            (None, missing[package]) if package in missing else in_process(python, "--measure", loader, path)
        )
        if found:
            peers[title] = found
        else:
            left_out[title] = reason
    return own, peers, left_out, conversion


def many(folder):
    """Ten million cells: memory of conversion and of random batches, beside those of 200,000."""
    path = folder / "many.h5ad"
    write_h5ad(path, short_blocks(), MANY)
    conversion, reason = in_process(sys.executable, "--convert", path)
    assert conversion, reason
    path.unlink()
    read, reason = in_process(sys.executable, "--measure", "ours", path)
    assert read, reason
    return conversion, read


def results(folder):
    own, peers, left_out, conversion = compare(folder)
    many_conversion, many_read = many(folder)
    best = {rate: max((peer[rate] for peer in peers.values()), default=None) for rate in own["ours"]}
    figures, units, beside = {}, {}, {}
    for rate, unit in (("cells_per_cpu_s", "cells per CPU second"), ("cells_per_wall_s", "cells per wall second")):
        title = f"random batches, {unit}"
        figures[title], units[title], beside[title] = own["ours"][rate], unit, best[rate]
        if best[rate]:
            figures[f"times the best peer, {unit}"] = {"value": round(own["ours"][rate] / best[rate], 1), "bar": 3}
    figures["most resident memory"] = {"value": own["ours"]["max_rss_mb"], "bar": 500}
    beside["most resident memory"] = min((peer["max_rss_mb"] for peer in peers.values()), default=None)
    for loader, title in (
        ("ours_block", "runs of 64 shuffled in windows"),
        ("ours_sequential", "as stored"),
        ("ours_sparse", "random batches, sparse"),
        ("ours_ahead", "random batches, one thread ahead"),
    ):
        figures[title], units[title] = own[loader]["cells_per_cpu_s"], "cells per CPU second"
    figures["conversion from h5ad"], units["conversion from h5ad"] = conversion["cpu_s"], "CPU seconds"
    for title, value in (
        ("200,000 cells: own memory while converting", conversion["anonymous_mb"]),
        ("10 million cells: own memory while converting", many_conversion["anonymous_mb"]),
        ("200,000 cells: own memory while reading", own["ours"]["anonymous_mb"]),
        ("10 million cells: own memory while reading", many_read["anonymous_mb"]),
    ):
        figures[title] = value
    figures["10 million cells: random batches"] = many_read["cells_per_cpu_s"]
    units["10 million cells: random batches"] = "cells per CPU second"
    units |= {title: "MB" for title in figures if "memory" in title}
    note = [
        f"{title}: {told['cells_per_cpu_s']:,} cells per CPU second, {told['max_rss_mb']} MB"
        for title, told in peers.items()
    ]
    note += [f"{title}: left out ({reason})" for title, reason in left_out.items()]
    return {
        "figures": figures,
        "units": units,
        "peer": "the best of those below, by each figure; own memory is RssAnon, without the mapped files",
        "peers": beside,
        "data": f"{CELLS:,} x {GENES:,} Poisson({RATE}) counts; 10 million cells with {FEW_VALUES} values each",
        "seeds": [SEED],
        "note": "; ".join(note),
        "all": {"ours": own, "peers": peers, "left_out": left_out, "many": many_read},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--convert", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        result = measure(given.measure[0], Path(given.measure[1]))
    elif given.convert:
        result = convert(Path(given.convert))
    else:
        began = time.time()
        with tempfile.TemporaryDirectory(prefix="screenwise-cellstore-") as folder:
            result = results(Path(folder))
        result["cpu_seconds"] = round(sum(os.times()[:4]), 1)
        result["wall_seconds"] = round(time.time() - began, 1)
    print(json.dumps(result) if given.json or given.measure or given.convert else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
