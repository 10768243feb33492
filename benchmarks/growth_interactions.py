"""Growth of gene pairs nobody measured: 20 % of pairs held out, from addition to a process over pairs.

Norman 2019 (K562 CRISPRa, 6,216 pairs of 112 genes) and Horlbeck 2018 (K562 CRISPRi, 100,128 pairs of 448
genes); rows of one gene twice are dropped. Seed s: ``numpy.random.default_rng(s).permutation`` of the pairs in
the order of the file, the first fifth is tested. Singles are known. Pearson r and root mean squared error of the
pair's growth over held-out pairs, mean of the seeds; CPU seconds of one fit on one thread, choice of settings
included (they come from training pairs only).
"""

import argparse
import json
import os
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

from pathlib import Path  # noqa: E402 - after the number of threads

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from screenwise.evaluate.metrics import rank_correlation  # noqa: E402
from screenwise.models.growth_interaction import GrowthInteraction  # noqa: E402
from screenwise.models.growth_levels import LEVELS, GrowthInteractionConfig  # noqa: E402
from screenwise.prediction import Z90  # noqa: E402
from screenwise.screen import make_screen  # noqa: E402

DATA = Path(os.environ.get("SCREENWISE_DATA", Path(__file__).parents[2] / "shared" / "data")) / "perturbseq"
BARS = {"norman": (0.985, 0.0295), "horlbeck": (0.945, None)}
PEERS = {
    "norman": {"additive": 0.938, "quadratic": 0.962, "gene": 0.970, "low_rank": 0.9835, "process": 0.9855},
    "horlbeck": {"additive": 0.857, "quadratic": 0.883, "gene": 0.9265, "low_rank": 0.944},
}
"""r of the prototypes on these splits: low rank by alternation, exact process."""
OTHER_SEEDS = 100
"""First of further seeds, whose splits nobody looked at while the constants of the process were set."""


def read(which):
    """Return the screen: singles first, then pairs of different genes; and where the pairs begin."""
    if which == "norman":
        table = pd.read_csv(DATA / "norman2019_fitness_gi.csv.gz")
        first = table[["gene_a", "gamma_a"]].set_axis(["gene_a", "growth"], axis=1)
        second = table[["gene_b", "gamma_b"]].set_axis(["gene_a", "growth"], axis=1)
        single = pd.concat([first, second]).drop_duplicates("gene_a")
        pair = table.rename(columns={"gamma_double": "growth"})
    else:
        table = pd.read_csv(DATA / "horlbeck2018_k562_gamma.csv.gz").rename(columns={"gamma": "growth"})
        control = table[["gene_a", "gene_b"]] == "negative"
        alone = table[control.sum(axis=1) == 1]
        other = alone["gene_b"].where(alone["gene_a"] == "negative", alone["gene_a"])
        single = pd.DataFrame({"gene_a": other, "growth": alone["growth"]})
        pair = table[~control.any(axis=1)]
    pair = pair[pair["gene_a"] != pair["gene_b"]]
    both = pd.concat([single.assign(gene_b=""), pair])[["gene_a", "gene_b", "growth"]].reset_index(drop=True)
    return make_screen(both[["gene_a", "gene_b"]], both[["growth"]].to_numpy(), ["growth"]), len(single)


def judge(which, level, seeds, first=0):
    """Return the means over seeds of what the held-out pairs say."""
    screen, singles = read(which)
    number = len(screen) - singles
    found = []
    for seed in range(first, first + seeds):
        tested = singles + np.random.default_rng(seed).permutation(number)[: round(0.2 * number)]
        train = np.setdiff1d(np.arange(len(screen)), tested)
        began = time.process_time()
        model = GrowthInteraction(GrowthInteractionConfig(level=level)).fit(screen.take(train), seed=seed)
        seconds = time.process_time() - began
        test = screen.take(tested)
        told = model.predict(test.conditions)
        truth, mean = test.targets.dense()[:, 0].astype(float), told.mean[:, 0].astype(float)
        error = np.abs(mean - truth)
        found.append(
            {
                "r": np.corrcoef(truth, mean)[0, 1],
                "rmse": np.sqrt(np.mean(error**2)),
                "coverage": np.mean(error <= Z90 * told.std[:, 0]),
                "error_ranks_with_std": rank_correlation(error, told.std[:, 0]),
                "cpu_s": seconds,
            }
        )
    return {key: float(np.mean([one[key] for one in found])) for key in found[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    missing = [name for name in ("norman2019_fitness_gi", "horlbeck2018_k562_gamma") if not _there(name)]
    if missing:
        sys.stderr.write(f"{DATA} does not hold {missing[0]}.csv.gz; set SCREENWISE_DATA.\n")
        return 3
    cpu, wall = time.process_time(), time.perf_counter()
    figures, peers, units = {}, {}, {}
    for which, (bar, error_bar) in BARS.items():
        for level in (*LEVELS, "auto"):
            found = judge(which, level, given.seeds)
            name = f"{which}_{level}"
            figures[f"{name}_r"] = {"value": round(found["r"], 4)}
            figures[f"{name}_rmse"] = {"value": round(found["rmse"], 4)}
            units[f"{name}_rmse"] = "gamma"
            if level in PEERS[which]:
                peers[f"{name}_r"] = PEERS[which][level]
        figures[f"{name}_r"]["bar"] = f">= {bar}"
        if error_bar:
            figures[f"{name}_rmse"]["bar"] = f"<= {error_bar}"
        figures[f"{name}_coverage_of_90"] = {"value": round(found["coverage"], 3)}
        figures[f"{name}_error_ranks_with_std"] = {"value": round(found["error_ranks_with_std"], 3)}
        figures[f"{name}_cpu_s"] = {"value": round(found["cpu_s"], 2)}
        units[f"{name}_cpu_s"] = "CPU s a fit"
        other = judge(which, "auto", given.seeds, first=OTHER_SEEDS)
        figures[f"{name}_other_seeds_r"] = {"value": round(other["r"], 4)}
        figures[f"{name}_other_seeds_rmse"] = {"value": round(other["rmse"], 4)}
        units[f"{name}_other_seeds_rmse"] = "gamma"
    result = {
        "figures": figures,
        "units": units,
        "peer": "prototypes of the same ideas on the same splits: exact process, low rank by alternation",
        "peers": peers,
        "data": "Norman 2019 CRISPRa growth map; Horlbeck 2018 K562 gamma; pairs of different genes, singles known",
        "seeds": list(range(given.seeds)),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "wall_seconds": round(time.perf_counter() - wall, 1),
        "note": "shares, shrinkage and length of the process were set once with the splits of seeds 0 to 2 in view "
        "(r moved by 0.001 over the values tried); the other seeds were run after that. All splits are of the same "
        "two screens, so no figure here is of a screen that was never seen.",
    }
    print(json.dumps(result) if given.json else json.dumps(result, indent=1))
    return 0


def _there(name):
    return (DATA / f"{name}.csv.gz").exists()


if __name__ == "__main__":
    sys.exit(main())
