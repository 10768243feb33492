#!/usr/bin/env python
"""A million candidates: what a fit, a proposal of 384 wells and two rounds of a campaign take, end to end.

Candidates are ids (`entity`) with 32 numbers each (`feature:` columns) in a Parquet table; 2,000 of them are measured.
Every step is a command in a process of its own, imports included: seconds, CPU seconds of all its threads, and the
peak of its memory (`ru_maxrss`). The campaign's first round is random; its second one is chosen by a forest of 200
trees from the results of the first.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

WELLS, MEASURED, NUMBERS = 384, 2000, 32
BARS = {"propose_s": "<= 60", "propose_gb": "<= 4"}
LAUNCH = "import sys; from screenwise.cli.launch import main; main(sys.argv[1:])"


def make_tables(folder, size):
    """Write ``pool.parquet`` and ``measured.parquet``, its first rows with a value."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(size, NUMBERS)).astype(np.float32)
    pool = pd.DataFrame(numbers, columns=[f"feature:f{place:02d}" for place in range(NUMBERS)])
    pool.insert(0, "entity", [f"E{place:07d}" for place in range(size)])
    pool.to_parquet(folder / "pool.parquet", index=False)
    rows = pool.iloc[:MEASURED]
    rows.assign(activity=activity(rows)).to_parquet(folder / "measured.parquet", index=False)


def activity(rows):
    """Return values that are smooth in some numbers, and noise."""
    numbers = rows.filter(like="feature:").to_numpy(np.float64)
    value = np.tanh(numbers[:, :8].sum(axis=1) / 3) + 0.3 * numbers[:, 0] * numbers[:, 1]
    return value + 0.2 * np.random.default_rng(1).normal(size=len(rows))


def commands(folder, trees):
    """Return the steps: name -> words of the command."""
    pool, campaign = folder / "pool.parquet", folder / "campaign"
    forest = ["--model", "forest", "--settings.trees", trees]
    new = ["--pool", pool, "--objective", "maximize:activity", "--model", "forest", "--wells", WELLS]
    return {
        "fit": ["fit", folder / "measured.parquet", *forest, "--out", folder / "run"],
        "propose": ["propose", folder / "run", pool, "--wells", WELLS, "--out", folder / "plate.csv"],
        "campaign_new": ["campaign", "new", campaign, *new, "--plate-format", 384],
        "campaign_first": ["campaign", "propose", campaign],
        "campaign_export": ["campaign", "export", campaign, "--out", folder / "round.csv"],
        "campaign_ingest": ["campaign", "ingest", campaign, folder / "round.csv", "--accept"],
        "campaign_second": ["campaign", "propose", campaign],
    }


def measure(words, answers):
    """Run one command and return seconds, CPU seconds and the peak of its memory in GB."""
    began = time.perf_counter()
    with answers.open("w") as out:
        process = subprocess.Popen([sys.executable, "-c", LAUNCH, "--json", *map(str, words)], stdout=out)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(map(str, words))} ended with {process.returncode}")
    seconds = time.perf_counter() - began
    return {"s": seconds, "cpu_s": used.ru_utime + used.ru_stime, "gb": used.ru_maxrss / 2**20}


def fill_in(folder):
    """Measure the wells of the first round."""
    sheet = pd.read_csv(folder / "round.csv")
    pool = pd.read_parquet(folder / "pool.parquet").set_index("entity")
    tested = sheet["role"].isin(["sample", "replicate"]).to_numpy()
    value = np.where(sheet["role"] == "positive", 5.0, -5.0) + 0.1 * np.random.default_rng(2).normal(size=len(sheet))
    value[tested] = activity(pool.loc[sheet.loc[tested, "entity"]])
    sheet.assign(activity=value).to_csv(folder / "round.csv", index=False)


def run(size, trees):
    """Return the figures of all steps."""
    figures = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_tables(folder, size)
        for step, words in commands(folder, trees).items():
            if step == "campaign_ingest":
                fill_in(folder)
            used = measure(words, folder / "answer.json")
            print(step, used, f"load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
            for unit, value in used.items():
                key = f"{step}_{unit}"
                figures[key] = {"value": round(value, 2)} | ({"bar": BARS[key]} if key in BARS else {})
        said = json.loads((folder / "answer.json").read_text())["facts"]
        if said["policy"] != "forest, greedy" or said["wells"] != WELLS:
            sys.exit(f"The second round was chosen otherwise: {said}")
        kept = sum(path.stat().st_size for path in (folder / "campaign").rglob("*") if path.is_file())
        figures["campaign_disk_gb"] = {"value": round(kept / 2**30, 3)}
        figures["pool_disk_gb"] = {"value": round((folder / "pool.parquet").stat().st_size / 2**30, 3)}
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--candidates", type=int, default=1_000_000)
    parser.add_argument("--trees", type=int, default=100, help="of the fitted forest")
    given = parser.parse_args()
    cpu, wall = time.process_time(), time.perf_counter()
    figures = run(given.candidates, given.trees)
    result = {
        "figures": figures,
        "units": "s: seconds; cpu_s: CPU seconds of all threads; gb: peak resident memory, or place on the disk",
        "peer": "none",
        "data": f"{given.candidates:,} ids with {NUMBERS} normal numbers, {MEASURED:,} of them measured (made here)",
        "seeds": 1,
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "wall_seconds": round(time.perf_counter() - wall, 1),
    }
    print(json.dumps(result) if given.json else pd.DataFrame(figures).T.to_string())


if __name__ == "__main__":
    main()
