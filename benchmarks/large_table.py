"""One epoch on 5 million compounds x 1 million substructures x 10,000 tasks: memory, speed, and what a kill loses.

Rows are synthetic: a million columns with the rank-frequency curve of fsmol_chembl27 (see sparse_step.py), 2.65
labels a compound, each label telling whether its compound has its task's substructure, one in ten wrong. They are
written to disk once and read from there. `screenwise sparsechem train` learns one epoch of them, is killed with
SIGKILL half way, and the same command goes on from its checkpoint. ``--rows`` makes a smaller table.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "2")

import numpy as np  # noqa: E402 - after the number of threads
from scipy.sparse import csr_array, save_npz  # noqa: E402
from sparse_step import COMMON, FREQUENCY, RANK  # noqa: E402

from screenwise.rng import stream  # noqa: E402
from screenwise.train.sparse_store import MappedRows, write_rows  # noqa: E402

COLUMNS, TASKS, LABELS = RANK[-1], 10_000, 2.65
BLOCK = 10_000
HIDDEN, BATCH = 256, 4000


class Table:
    """Blocks of rows of a million columns, and the labels drawn beside them."""

    def __init__(self, rows):
        self.blocks = rows // BLOCK
        self.chance = np.exp(np.interp(np.log(np.arange(1, COLUMNS + 1)), np.log(RANK), np.log(FREQUENCY)))
        self.tail = np.cumsum(self.chance[COMMON:])
        self.name = stream(0, "large table", "columns").permutation(COLUMNS)
        # a substructure that 10 to 60 % of the compounds have: a class to learn in every task
        fit = np.flatnonzero((self.chance[:COMMON] > 0.1) & (self.chance[:COMMON] < 0.6))
        self.asked = stream(0, "large table", "tasks").choice(fit, TASKS)
        self.labels = []

    def __iter__(self):
        for block in range(self.blocks):
            rng = stream(block, "large table", "rows")
            common = rng.random((BLOCK, COMMON), dtype=np.float32) < self.chance[:COMMON].astype(np.float32)
            self.labels.append(self.label(common, rng))
            row, column = np.nonzero(common)
            count = rng.poisson(self.tail[-1], BLOCK)
            rare = COMMON + np.searchsorted(self.tail, rng.random(count.sum()) * self.tail[-1])
            row, column = np.append(row, np.repeat(np.arange(BLOCK), count)), self.name[np.append(column, rare)]
            table = csr_array((np.ones(len(row), np.float32), (row, column)), shape=(BLOCK, COLUMNS))
            table.sum_duplicates()
            table.data[:] = 1
            yield table

    def label(self, common, rng):
        """Return the labels of a block, -1 and +1; a compound is measured at most once in a task."""
        row = rng.integers(0, BLOCK, round(LABELS * BLOCK))
        task = rng.integers(0, TASKS, len(row))
        row, task = np.divmod(np.unique(row * TASKS + task), TASKS)
        true = common[row, self.asked[task]] ^ (rng.random(len(row)) < 0.1)
        return csr_array((np.where(true, 1.0, -1.0).astype(np.float32), (row, task)), shape=(BLOCK, TASKS))


def write_table(folder, rows):
    from scipy.sparse import vstack  # noqa: PLC0415

    table = Table(rows)
    write_rows(folder / "x", table)
    save_npz(folder / "y.npz", vstack(table.labels, format="csr"), compressed=False)
    np.save(folder / "folds.npy", (np.arange(rows) % 25 == 0).astype(np.int64))


def command(folder, rows):
    words = {
        "x": folder / "x", "y_class": folder / "y.npz", "folding": folder / "folds.npy", "fold_va": 1,
        "hidden_sizes": HIDDEN, "dropouts_trunk": 0.0, "epochs": 1, "lr": 1e-3, "batch_ratio": BATCH / rows,
        "output_dir": folder / "models", "run_name": "large", "prefix": "large",
    }  # fmt: skip
    tokens = [word for name, value in words.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", "screenwise.cli", "sparsechem", "train", *tokens]


def train(folder, rows, *, kill_after=None):
    """Run the command; with `kill_after`, kill it so many seconds after its first checkpoint."""
    log = (folder / "log.txt").open("a+")
    began = time.time()
    process = subprocess.Popen(command(folder, rows), stderr=log, stdout=log)
    while kill_after is not None and process.poll() is None:  # drafts begin with a dot
        time.sleep(0.5)
        saved = [path.stat().st_mtime for path in (folder / "models").rglob("[!.]*.safetensors")]
        if saved and time.time() > min(saved) + kill_after:
            os.kill(process.pid, signal.SIGKILL)
            break
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    log.seek(0)
    if status and kill_after is None:
        raise RuntimeError(log.read()[-3000:])
    return {
        "wall": time.time() - began,
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss * 1024 / 1e9,
        "killed": os.WIFSIGNALED(status),
    }


def bytes_per_row(x):
    """Return the bytes that a row moves at least: weights and moments of each column of its batch, read and written."""
    rng = stream(0, "large table", "batches")
    used = [len(np.unique(x[rng.integers(0, len(x), BATCH)].indices)) for _ in range(5)]
    return 7 * 4 * HIDDEN * float(np.mean(used)) / BATCH


def measure(folder, rows):
    began = time.process_time()
    write_table(folder, rows)
    written = time.process_time() - began
    killed = train(folder, rows, kill_after=5.0)
    resumed = train(folder, rows)
    result = json.loads((folder / "models" / "large.json").read_text())
    scores = json.loads(result["validation"]["classification_agg"])
    moved = bytes_per_row(MappedRows.open(folder / "x"))
    cpu = killed["cpu"] + resumed["cpu"]
    return {
        "figures": {
            "memory": {"value": round(max(killed["memory"], resumed["memory"]), 2), "bar": "<= 12"},
            "rows_per_cpu_second": round(rows / cpu),
            "cpu_seconds": round(cpu, 1),
            "wall_seconds": round(killed["wall"] + resumed["wall"], 1),
            "killed_and_resumed": {"value": int(killed["killed"]), "bar": "1"},
            "wall_seconds_before_the_kill": round(killed["wall"], 1),
            "wall_seconds_after_it": round(resumed["wall"], 1),
            "auc_roc_held_out": scores["roc_auc_score"],
            "kilobytes_per_row_limit": round(moved / 1e3, 1),
            "gigabytes_per_second": round(moved * rows / cpu / 1e9, 1),
            "cpu_seconds_of_writing": round(written, 1),
        },
        "units": {"memory": "GB", "kilobytes_per_row_limit": "kB", "gigabytes_per_second": "GB a CPU s"},
        "data": f"synthetic: {rows:,} rows x {COLUMNS:,} columns, {TASKS:,} tasks, {LABELS} labels a row",
        "seeds": [0],
        "note": f"{HIDDEN} units, batches of {BATCH}, two threads; seconds include reading, checkpoints, the work that "
        "the kill lost and the scoring of the held-out twenty-fifth; memory counts the mapped file",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", type=int, default=5_000_000)
    options = parser.parse_args()
    began = time.time()
    with tempfile.TemporaryDirectory() as name:
        result = measure(Path(name), options.rows)
    result |= {"wall_seconds": round(time.time() - began, 1), "load_average": round(os.getloadavg()[1], 1)}
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
