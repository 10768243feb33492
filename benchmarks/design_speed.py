"""Scores and batches of the design loop on a pool of 50,000, against active learning libraries.

Pool: 50,000 compounds (Morgan counts reduced to 128 numbers), the first 500 measured, batches of 100; 20
members of a two-class posterior where one is needed. And 1,000,000 random rows x 128 for k-center. CPU
seconds of one thread, compiled code warm.

Peers run in environments of their own, named by SCREENWISE_DESIGN_PEERS: Pythons separated by ":", such as
one with ``scikit-activeml modAL-python botorch`` and one with ``"numpy<2" "setuptools<80" baal bmdal_reg``.
A peer is compared at the size it can do; ours is run at the same size. What is missing is told with its reason.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

from pathlib import Path  # noqa: E402 - after the number of threads

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from peers.design import PEERS  # noqa: E402

from screenwise.data.datasets import load_dataset  # noqa: E402
from screenwise.design.batch import (  # noqa: E402
    LinearPosterior,
    bait,
    pick_batch_ucb,
    pick_maxdet,
    pick_variance_reduction,
)
from screenwise.design.batchbald import batch_bald  # noqa: E402
from screenwise.design.diversity import badge, k_center, largest_cluster, relative_distance  # noqa: E402
from screenwise.design.information import PROBABILITY_SCORES, bald  # noqa: E402
from screenwise.design.picking import pick_top, tie_keys  # noqa: E402
from screenwise.design.process import RbfPosterior, RbfProcess  # noqa: E402
from screenwise.design.representatives import (  # noqa: E402
    mean_representatives,
    medoid_representatives,
    typical_representatives,
)
from screenwise.design.sampling import draw_paths, pick_thompson  # noqa: E402
from screenwise.errors import DatasetError  # noqa: E402
from screenwise.represent.fingerprint import Fingerprint  # noqa: E402
from screenwise.represent.reduction import principal_scores  # noqa: E402

ROWS, WIDTH, KNOWN, PICKS, MEMBERS = 50_000, 128, 500, 100, 20
MILLION = 1_000_000
NOISE = 0.1
LIMIT = 600
"""Wall seconds that a peer may take for one task."""
BARS = {
    "k_center": 0.4,
    "gp_posterior": 1.0,
    "gp_ucb": 2.0,
    "thompson": 2.0,
    "badge": 1.5,
    "bald": 0.1,
    "batch_bald": 10.0,
    "k_center_million": 4.0,
}
"""Most CPU seconds."""


def clocked(function, *given):
    began = time.process_time()
    result = function(*given)
    return result, time.process_time() - began


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def million():
    """k-center of a million rows, first of all: nothing else has raised the peak of memory yet."""
    rng = np.random.default_rng(0)
    keys = rng.integers(2**63, size=MILLION).astype(np.uint64)
    features = rng.standard_normal((MILLION, WIDTH), dtype=np.float32)
    k_center(features[:1000], 3, keys[:1000], measured=features[:1])
    before = peak_mb()
    cover, seconds = clocked(lambda: k_center(features, PICKS, keys, measured=features[:1]))
    assert len(set(cover.rows.tolist())) == PICKS
    return {"k_center_million": seconds, "k_center_million_mb": peak_mb() - before}


def pool():
    try:
        parts = [load_dataset(name).screen.conditions["smiles"] for name in ("enamine50k", "hiv")]
    except DatasetError as error:
        sys.exit(f"DatasetError: {error}")
    smiles = pd.unique(pd.concat(parts))[:ROWS]
    counts = Fingerprint("morgan", radius=2, fold=2048, on_error="empty").transform(pd.DataFrame({"smiles": smiles}))
    rng = np.random.default_rng(0)
    order = rng.permutation(ROWS)
    features = np.ascontiguousarray(principal_scores(counts.astype(np.float64), WIDTH)[order], np.float32)
    chance = np.clip(rng.beta(1, 1, ROWS) + 0.15 * rng.standard_normal((MEMBERS, ROWS)), 0.0, 1.0)
    return {
        "features": features,
        "target": rng.standard_normal(KNOWN) * 0.3 + features[:KNOWN, 0] / features[:KNOWN, 0].std(),
        "class_draws": np.stack([1 - chance, chance], axis=-1),
        "length": np.asarray(np.median(np.sqrt(2 * features.astype(np.float64).var(axis=0).sum()))),
        "noise": np.asarray(NOISE),
        "keys": tie_keys(smiles[order], rng),
    }


def process(data):
    return RbfProcess(float(data["length"]), 1.0, NOISE)


def posterior(data, rows=slice(None)):
    return RbfPosterior.of(process(data), data["features"][rows], data["features"][:KNOWN], data["target"])


def functions(data):
    paths = draw_paths(
        process(data),
        data["features"][:KNOWN],
        data["target"],
        PICKS,
        np.random.default_rng(0),
    )
    return pick_thompson(paths.at(data["features"]), PICKS, data["keys"])


def ours(data):
    """Return name -> (function, its rows)."""
    features, keys, draws = data["features"], data["keys"], data["class_draws"]
    known, mean = features[:KNOWN], draws.mean(axis=0)
    open_rows = np.arange(ROWS) >= KNOWN
    linear = LinearPosterior.of(features, measured=known, noise=NOISE)
    small = slice(KNOWN, KNOWN + 2000)
    covered = {"measured": known, "allowed": open_rows}
    return {
        "k_center": lambda: k_center(features, PICKS, keys, **covered).rows,
        "relative_distance": lambda: pick_top(relative_distance(features, known), PICKS, keys, allowed=open_rows),
        "badge": lambda: badge(features, PICKS, keys, probability=mean),
        "badge_regression": lambda: badge(features, PICKS, keys),
        "lcmd": lambda: largest_cluster(features, PICKS, keys, **covered),
        "k_means": lambda: mean_representatives(features, PICKS, keys),
        "k_medoids": lambda: medoid_representatives(features, PICKS, keys),
        "typical": lambda: typical_representatives(features, PICKS, keys, **covered),
        "entropy": lambda: pick_top(PROBABILITY_SCORES["entropy"](mean), PICKS, keys),
        "bald": lambda: pick_top(bald(draws), PICKS, keys),
        "batch_bald": lambda: batch_bald(draws, 10, keys, np.random.default_rng(0)),
        "batch_bald_small": lambda: batch_bald(draws[:, :2000], 2, keys[:2000], np.random.default_rng(0)),
        "gp_posterior": lambda: posterior(data),
        "gp_ucb": lambda: pick_batch_ucb(posterior(data), PICKS, 1.0, keys=keys),
        "gp_ucb_small": lambda: pick_batch_ucb(posterior(data, small), 3, 1.0, keys=keys[small]),
        "thompson": lambda: functions(data),
        "maxdet": lambda: pick_maxdet(linear, PICKS, keys),
        "bait": lambda: bait(linear, PICKS, keys),
        "variance_reduction": lambda: pick_variance_reduction(linear, PICKS, keys),
    }


def run_peer(pythons, folder, peer, task):
    """Return what the peer says, or the reason why it says nothing."""
    package = PEERS[peer][1]
    script = Path(__file__).parent / "peers" / "design.py"
    able = [
        one
        for one in pythons
        if subprocess.run([one, "-c", f"import {package}"], capture_output=True, check=False).returncode == 0
    ]
    if not able:
        return {"left_out": f"no Python of SCREENWISE_DESIGN_PEERS imports {package}"}
    try:
        done = subprocess.run(
            [able[0], str(script), str(folder), peer, task], capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return {"left_out": f"no result within {LIMIT} s"}
    if done.returncode:
        return {"left_out": (done.stderr.strip().splitlines() or ["failed"])[-1][:200]}
    return json.loads(done.stdout.strip().splitlines()[-1])


SAME_SIZE = {("baal", "batch_bald"): "batch_bald_small"}
"""Where a peer cannot do the whole task, our figure of the same size."""


def compare(data, seconds, chosen):
    """Run all peers; return peer figures, and what agrees."""
    pythons = [one for one in os.environ.get("SCREENWISE_DESIGN_PEERS", "").split(":") if one]
    table, agree = {}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for key, value in data.items():
            np.save(folder / f"{key}.npy", value)
        for peer, (_, _, tasks) in PEERS.items():
            for task in tasks:
                said = run_peer(pythons, folder, peer, task)
                mine = SAME_SIZE.get((peer, task), task)
                if "cpu_s" in said:
                    # a peer that was run on fewer rows is scaled up in proportion
                    scale = 1.0 if mine.endswith("_small") else max(1.0, (ROWS - KNOWN) / said["rows"])
                    peer_seconds = said["cpu_s"] * scale
                    table[f"{mine}_{peer}"] = {
                        "cpu_s": round(peer_seconds, 3),
                        "rows": said["rows"],
                        "times_ours": round(peer_seconds / max(seconds[mine], 1e-4), 1),
                    }
                    if task == "k_center":
                        agree[f"k_center_equals_{peer}"] = float(said["chosen"] == chosen["k_center"].tolist())
                else:
                    table[f"{mine}_{peer}"] = said
        agree |= read_back(data, folder)
    return table, agree


def read_back(data, folder):
    found = {}
    if (folder / "baal_bald.npy").exists():
        gap = np.abs(bald(data["class_draws"]) - np.load(folder / "baal_bald.npy"))
        found["bald_largest_difference_from_baal"] = float(f"{gap.max():.2g}")
    if (folder / "botorch_moments.npy").exists():
        mean, variance = np.load(folder / "botorch_moments.npy")
        own = posterior(data, slice(0, len(mean)))
        gap = max(np.abs(own.mean - mean).max(), np.abs(own.variance - variance).max())
        found["gp_posterior_largest_difference_from_botorch"] = float(f"{gap:.2g}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args().json
    cpu, wall = time.process_time(), time.perf_counter()
    big = million()
    data = pool()
    seconds, chosen = {}, {}
    for name, function in ours(data).items():
        function()
        chosen[name], seconds[name] = clocked(function)
    table, agree = compare(data, seconds, chosen)
    seconds["k_center_million"] = big["k_center_million"]
    figures = {
        name: {"value": round(value, 3)} | ({"bar": f"<= {BARS[name]:g}"} if name in BARS else {})
        for name, value in seconds.items()
    }
    figures["k_center_million_mb"] = {"value": round(big["k_center_million_mb"], 1), "bar": "< 100"}
    figures["peak_memory_gb"] = {"value": round(peak_mb() / 1024, 2), "bar": "<= 2"}
    figures |= {name: {"value": value} | ({"bar": "1"} if "equals" in name else {}) for name, value in agree.items()}
    peers = {}
    for name, said in table.items():
        mine = next(key for key in sorted(seconds, key=len, reverse=True) if name.startswith(key))
        peer = name[len(mine) + 1 :]
        told = (
            f"{peer} {said['cpu_s']} s ({said['times_ours']} x)" if "cpu_s" in said else f"{peer}: {said['left_out']}"
        )
        peers[mine] = f"{peers[mine]}; {told}" if mine in peers else told
    result = {
        "figures": figures,
        "units": "CPU seconds of one thread, unless a name says otherwise",
        "peer": "scikit-activeml, modAL, baal, bmdal_reg, BoTorch, each in the same run",
        "peers": peers,
        "data": f"{ROWS} compounds of enamine50k and hiv x {WIDTH}; 1,000,000 random rows",
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "wall_seconds": round(time.perf_counter() - wall, 1),
    }
    print(json.dumps(result) if as_json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
