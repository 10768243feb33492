"""One training step of the sparse multi-task network, against plain torch, and how much memory it moves.

Step: a batch from memory-mapped rows, sparse first layer, tanh, dropout 0.2, a head of 995 tasks at the
measured cells (2.65 a row), censored squared error, gradients, Adam for all weights. Three sizes: folded
substructures of fsmol_chembl27 (32,000 columns), unfolded ones (about 394,000), and a synthetic million with the
rank-frequency curve of all its substructures. Timed after one pass over the rows, which takes memory for
moments from the system: its steps are shown apart. Plain torch: sparse matrix product, dense gradient, Adam,
as installed; and, unfairly fast, with fused Adam and freed memory kept (MALLOC_*). The same weights: both train a
layer of the real columns, 16 units, 400 steps; ``rounding`` is how far plain torch is from itself in float64. CPU
seconds of one thread; the gain of two threads is that of the sparse layer by the longest thread's CPU seconds, and
that of the whole step so and in wall time, which says something on an idle machine only; beside it, how many steps
two processes do in the time of one: what the machine gives at most. ``--quick``: fewer steps.
"""

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does

import numpy as np  # noqa: E402 - after the number of threads
import torch  # noqa: E402
from scipy.sparse import csr_array  # noqa: E402
from sparse_threads import ceiling, two_threads  # noqa: E402
from torch import nn  # noqa: E402

from screenwise.rng import stream  # noqa: E402
from screenwise.train.dropout import Dropout  # noqa: E402
from screenwise.train.optimisers import make_optimisers  # noqa: E402
from screenwise.train.sparse import SparseLinear  # noqa: E402
from screenwise.train.sparse_adam import DeferredAdam  # noqa: E402
from screenwise.train.sparse_batch import SparseBatch  # noqa: E402
from screenwise.train.sparse_head import cell_outputs  # noqa: E402
from screenwise.train.sparse_store import MappedRows, write_rows  # noqa: E402

DATA = Path(os.environ.get("SCREENWISE_DATA", Path(__file__).parents[2] / "shared" / "data"))
FSMOL = DATA / "bioactivity" / "fsmol_chembl27"
SIZES = {"32k": (400, 1300, 0.07), "394k": (400, 1300, 0.065), "1m": (256, 2000, 0.11)}
"""Units, batch, bar in CPU seconds."""
TASKS, LABELS = 995, 2.65
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "99999999999", "MALLOC_TOP_PAD_": "1000000"}
RANK = (1, 11, 101, 1001, 10001, 100001, 661465, 1_000_000)
FREQUENCY = (0.985, 0.571, 0.0674, 0.0060, 6.0e-4, 4.4e-5, 4.4e-6, 2e-6)
"""Share of compounds with the substructure of that rank, of the 661,465 of fsmol_chembl27; then a longer tail."""
COMMON = 2000


def write_real(folder):
    """Write the folded and unfolded substructures of the compounds with a value in an assay of 100 values or more."""
    import pandas as pd  # noqa: PLC0415 - they would count in the memory of the other parts

    from screenwise.represent.fingerprint import Fingerprint, Vocabulary  # noqa: PLC0415

    activities = pd.read_csv(FSMOL / "activities.tsv.gz", sep="\t", low_memory=False)
    compounds = pd.read_csv(FSMOL / "compounds.tsv.gz", sep="\t").set_index("compound_id")
    size = activities.groupby("assay_id")["compound_id"].transform("size")
    used = activities[(size >= 100) & activities["p_value"].notna()]
    conditions = compounds.loc[np.unique(used["compound_id"])].reset_index()
    kind = Fingerprint(radius=3, counts=False, on_error="empty")
    counts = kind.transform(conditions)
    write_rows(folder / "394k", [csr_array(Vocabulary().fit(counts).transform(counts))])
    write_rows(
        folder / "32k", [Fingerprint(radius=3, counts=False, on_error="empty", fold=32_000).transform(conditions)]
    )


def write_million(folder, rows=100_000, block=10_000):
    """Write rows of a million columns, each there by its own chance; common ones one by one, rare ones by a draw."""
    columns = RANK[-1]
    rng = stream(0, "sparse step", "million")
    chance = np.exp(np.interp(np.log(np.arange(1, columns + 1)), np.log(RANK), np.log(FREQUENCY)))
    tail = np.cumsum(chance[COMMON:])
    name = rng.permutation(columns)

    def blocks():
        for _ in range(rows // block):
            row, column = np.nonzero(rng.random((block, COMMON), dtype=np.float32) < chance[:COMMON])
            count = rng.poisson(tail[-1], block)
            rare = COMMON + np.searchsorted(tail, rng.random(count.sum()) * tail[-1])
            row, column = np.append(row, np.repeat(np.arange(block), count)), name[np.append(column, rare)]
            table = csr_array((np.ones(len(row), np.float32), (row, column)), shape=(block, columns))
            table.sum_duplicates()
            table.data[:] = 1
            yield table

    write_rows(folder / "1m", blocks())


class Problem:
    """Batches of one size, and random cells with values for them."""

    def __init__(self, folder, size):
        self.x = MappedRows.open(Path(folder) / size)
        self.hidden, self.batch, _ = SIZES[size]
        self.per_pass = len(self.x) // self.batch

    def take(self, step):
        """Return rows, and row, task, value and relation of their cells; `per_pass` steps use all rows."""
        epoch, place = divmod(step, self.per_pass)
        order = stream(epoch, "sparse step", "order").permutation(len(self.x))
        rng = stream(step, "sparse step", "cells")
        count = round(LABELS * self.batch)
        row = np.sort(rng.integers(0, self.batch, count))
        cells = (
            row,
            rng.integers(0, TASKS, count),
            rng.normal(size=count).astype(np.float32),
            -1.0 * (rng.random(count) < 0.18),
        )
        return order[place * self.batch : (place + 1) * self.batch], [
            torch.from_numpy(np.asarray(one)) for one in cells
        ]


def censored(output, value, relation):
    error = value - output
    return torch.where(relation == 0, error, torch.relu(relation * error)).square().sum()


class Ours:
    """The product's own layer, head and optimisers."""

    def __init__(self, problem):
        torch.manual_seed(0)
        self.first = SparseLinear(problem.x.shape[1], problem.hidden)
        self.rest = nn.Sequential(nn.Tanh(), Dropout(0.2))
        self.head = nn.Linear(problem.hidden, TASKS)
        self.optimisers = make_optimisers(nn.ModuleList([self.first, self.head]), 1e-3, 0.0)

    def step(self, rows, cells):  # noqa: D102
        row, task, value, relation = cells
        embedded = self.rest(self.first(SparseBatch.from_csr(rows)))
        loss = censored(cell_outputs(embedded, self.head, row, task), value, relation) / rows.shape[0]
        self.head.zero_grad(set_to_none=True)
        self.first.zero_grad(set_to_none=True)
        loss.backward()
        for optimiser in self.optimisers:
            optimiser.step()


class Plain:
    """What a user would write: sparse matrix product, outputs of all tasks, dense gradients, Adam."""

    def __init__(self, problem, *, fused=False):
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.empty(problem.x.shape[1], problem.hidden).uniform_(-0.1, 0.1))
        self.bias = nn.Parameter(torch.full((problem.hidden,), 0.1))
        self.rest = nn.Sequential(nn.Tanh(), nn.Dropout(0.2), nn.Linear(problem.hidden, TASKS))
        self.adam = torch.optim.Adam([self.weight, self.bias, *self.rest.parameters()], fused=fused)

    def step(self, rows, cells):  # noqa: D102
        row, task, value, relation = cells
        outputs = self.rest(torch.sparse.mm(as_coo(rows), self.weight) + self.bias)
        loss = censored(outputs[row, task], value, relation) / rows.shape[0]
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()


def as_coo(rows):
    table = rows.tocoo()
    place = torch.from_numpy(np.stack(table.coords).astype(np.int64))
    return torch.sparse_coo_tensor(place, torch.from_numpy(table.data), rows.shape, check_invariants=False)


def timed(model, problem, steps):
    """Return CPU seconds and wall seconds of each step, the reading of its rows included."""
    found = []
    for step in steps:
        which, cells = problem.take(step)
        began, wall = time.process_time(), time.perf_counter()
        model.step(problem.x[which], cells)
        found.append((time.process_time() - began, time.perf_counter() - wall))
    return np.array(found)


def measure_ours(folder, size, steps):
    problem = Problem(folder, size)
    model = Ours(problem)
    first = timed(model, problem, range(problem.per_pass))[2:]
    cpu = timed(model, problem, range(problem.per_pass, problem.per_pass + steps))[:, 0]
    found = {
        "seconds": float(np.median(cpu)),
        "first_pass": float(np.mean(first[:, 0])),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "bytes": moved(model.first.deferred, problem, range(problem.per_pass + steps, problem.per_pass + steps + 5)),
    }
    if size == "394k":
        found["threads"] = two_threads(model, problem, steps)
    if size == "1m":
        use_every_column(model, problem)
        found["memory_all"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return found


def moved(rows, problem, steps):
    """Count the bytes of weights and moments that a step moves between memory and processor, per row of the batch.

    Forward: the weights of every column in use, and the moments of those that waited. Update: weights and moments of
    every column, read and written. Limit: without waiting rows, weights once and the update.
    """
    row_bytes = 4 * problem.hidden
    counts = []
    for step in steps:
        columns = np.unique(problem.x[problem.take(step)[0]].indices)
        waited = (rows.slot[columns] >= 0) & (rows.seen[columns] < rows.skipped.now)
        counts.append(((7 * len(columns) + 2 * waited.sum()) * row_bytes, 7 * len(columns) * row_bytes))
    own, limit = np.mean(counts, axis=0) / problem.batch
    return {"per_row": float(own), "limit": float(limit)}


class Prepared:
    """Steps of the real columns in one thread, after a pass over the rows."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self):  # noqa: D102
        problem = Problem(self.folder, "394k")
        model = Ours(problem)
        timed(model, problem, range(problem.per_pass))
        steps = itertools.count(problem.per_pass)
        return lambda count: timed(model, problem, itertools.islice(steps, count))[:, 1].tolist()


def use_every_column(model, problem, wide=2000):
    """Train once on every column, so that all of them have moments."""
    columns = problem.x.shape[1]
    for first in range(0, columns, 100 * wide):
        count = min(100 * wide, columns - first) // wide
        indices = np.arange(first, first + count * wide)
        rows = csr_array((np.full(len(indices), 0.01), indices, np.arange(count + 1) * wide), shape=(count, columns))
        model.first(SparseBatch.from_csr(rows)).square().mean().backward()
        model.optimisers[1].step()


def measure_equal(folder, steps):
    """Train 16 units on all real columns three ways, from the weights of 400 units so that tanh does not saturate."""
    problem = Problem(folder, "394k")
    torch.manual_seed(0)
    layer = SparseLinear(problem.x.shape[1], 16, active=448)
    start = layer.weight.detach().clone()
    ours = DeferredAdam([layer], lr=1e-3)
    plain = [nn.Parameter(start.to(kind, copy=True)) for kind in (torch.float32, torch.float64)]
    adams = [torch.optim.Adam([weight], lr=1e-3) for weight in plain]
    for step in range(steps):
        rows = problem.x[problem.take(step)[0]]
        target = torch.from_numpy(stream(step, "sparse step", "target").normal(size=(rows.shape[0], 16)))
        for optimiser in (ours, *adams):
            optimiser.param_groups[0]["lr"] = 1e-3 * (1 - step / steps) + 1e-5
        (torch.tanh(layer(SparseBatch.from_csr(rows))) - target.float()).square().sum().div(len(target)).backward()
        ours.step()
        for weight, adam in zip(plain, adams, strict=True):
            adam.zero_grad()
            outputs = torch.tanh(torch.sparse.mm(as_coo(rows).to(weight.dtype), weight) + layer.bias.detach())
            (outputs - target.to(weight.dtype)).square().sum().div(len(target)).backward()
            adam.step()
    ours.close()
    single, double = (weight.detach().double() for weight in plain)
    pairs = {"difference": (layer.weight.detach(), single), "rounding": (single, double), "moved": (single, start)}
    return {name: float((one - other).abs().max()) for name, (one, other) in pairs.items()}


def child(part, folder, steps, environment=None):
    """Do one part in a process of its own, for its peak memory and its settings of the allocator."""
    code = [sys.executable, __file__, "--part", part, str(folder), str(steps)]
    done = subprocess.run(code, check=False, capture_output=True, text=True, env=os.environ | (environment or {}))
    if done.returncode:
        raise RuntimeError(part + ": " + done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def measure(part, folder, steps):
    kind, _, size = part.partition(" ")
    if kind == "ours":
        return measure_ours(folder, size, steps)
    if kind == "write":
        return write_real(Path(folder)) or write_million(Path(folder))
    if kind == "equal":
        return measure_equal(folder, steps)
    if kind == "ceiling":
        return {"wall": ceiling(Prepared(folder), steps)}
    problem = Problem(folder, size)
    cpu = timed(Plain(problem, fused=kind == "tuned"), problem, range(steps + 2))[2:, 0]
    return {"seconds": float(np.median(cpu)), "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}


def all_parts(quick):
    steps = 20 if quick else 60
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        child("write", folder, 0)
        found = {f"ours {size}": child(f"ours {size}", folder, steps) for size in SIZES}
        found |= {f"plain {size}": child(f"plain {size}", folder, 2 if quick else 4) for size in SIZES}
        found |= {f"tuned {size}": child(f"tuned {size}", folder, 3 if quick else 8, KEEP_MEMORY) for size in SIZES}
        found["ceiling"] = child("ceiling", folder, steps)
        found["equal"] = child("equal", folder, 400)
    return found


def report(found):
    figures, peers = {}, {}
    for size, (_, batch, bar) in SIZES.items():
        ours, plain, tuned = (found[f"{kind} {size}"] for kind in ("ours", "plain", "tuned"))
        mine = {
            "seconds": {"value": round(ours["seconds"], 4), "bar": f"<= {bar}"},
            "seconds_first_pass": round(ours["first_pass"], 4),
            "over_plain": round(plain["seconds"] / ours["seconds"], 1),
            "over_tuned": round(tuned["seconds"] / ours["seconds"], 1),
            "kilobytes_per_row": round(ours["bytes"]["per_row"] / 1e3, 1),
            "kilobytes_per_row_limit": round(ours["bytes"]["limit"] / 1e3, 1),
            "gigabytes_per_second": round(ours["bytes"]["per_row"] * batch / ours["seconds"] / 1e9, 1),
            "memory": round(ours["memory"], 2),
        }
        if size == "1m":
            mine["over_plain"] = {"value": mine["over_plain"], "bar": ">= 30"}
            mine["memory"] = {"value": mine["memory"], "bar": "<= 3.2"}
            mine["memory_every_column_used"] = round(ours["memory_all"], 2)
        figures |= {f"{name}_{size}": value for name, value in mine.items()}
        peers |= {f"seconds_{size}": round(plain["seconds"], 3), f"memory_{size}": round(plain["memory"], 2)}
        peers[f"over_tuned_{size}"] = round(tuned["seconds"], 3)
    threads = found["ours 394k"]["threads"]
    figures["two_threads_sparse_layer"] = {"value": round(threads["cpu"], 2), "bar": ">= 1.7"}
    figures["two_threads_step"] = round(threads["step"], 2)
    figures["two_threads_wall"] = round(threads["wall"], 2)
    figures["two_processes_wall"] = round(found["ceiling"]["wall"], 2)
    figures["largest_difference"] = {"value": float(f"{found['equal']['difference']:.1e}"), "bar": "<= 1e-4"}
    figures["largest_difference_rounding"] = float(f"{found['equal']['rounding']:.1e}")
    figures["largest_movement"] = round(found["equal"]["moved"], 3)
    units = {name: text for name in figures for start, text in UNITS.items() if name.startswith(start)}
    return figures, units, peers


UNITS = {"seconds": "CPU s", "kilobytes": "kB a row of the batch", "gigabytes": "GB a CPU s", "memory": "GB"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.part:
        part, folder, steps = options.part
        print(json.dumps(measure(part, folder, int(steps))))
        return
    if not FSMOL.exists():
        sys.stderr.write(f"{FSMOL} is not here; set SCREENWISE_DATA to the data folder.\n")
        raise SystemExit(3)
    began, wall = os.times(), time.time()
    figures, units, peers = report(all_parts(options.quick))
    ended = os.times()
    result = {
        "figures": figures,
        "units": units,
        "peer": "plain torch as installed: sparse.mm, outputs of all tasks, dense gradients, Adam; beside 'over_tuned' "
        "its CPU s with fused Adam and freed memory kept (MALLOC_MMAP_MAX_=0, TRIM_THRESHOLD_, TOP_PAD_)",
        "peers": peers,
        "data": "fsmol_chembl27, folded and unfolded; synthetic million columns of its rank-frequency curve",
        "seeds": [0],
        "cpu_seconds": round(sum(ended[:4]) - sum(began[:4]), 1),
        "wall_seconds": round(time.time() - wall, 1),
        "load_average": round(os.getloadavg()[1], 1),
        "note": "median of steps after a first pass; limit of bytes: weights once forward, then weights and moments "
        "read and written; ours adds the moments of rows that waited",
    }
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
