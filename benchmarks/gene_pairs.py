"""Gene pairs on Norman et al. 2019: Peper against addition, the scaled sum and the network, on the same splits.

131 doubles in 50 components (PC50): 25, 50 and 75 % of the doubles held out, seeds 0-4 ("named") and 100-114
("other"), singles always known; five left-out clusters; 18 genes withheld (one or two genes of a pair unseen);
few training doubles; 500 genes of the same screen, each of five doubles left out. Peers in the same run: plain
addition, scaled sum with offset (least squares), the mean of the training doubles; the network form of Peper on
fewer splits. L2 = mean distance between predicted and measured effect. Coverage = share of held-out profiles
within the 90 % distance; of single features likewise. CPU seconds of one thread. ``--quick`` leaves the network out.
"""

import argparse
import json
import os
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

from pathlib import Path  # noqa: E402 - after the number of threads

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from scipy.stats import spearmanr  # noqa: E402
from sklearn.cluster import KMeans  # noqa: E402

from screenwise.models import make_model  # noqa: E402
from screenwise.models.pairwise import PeperGP, ScaledSalt  # noqa: E402
from screenwise.models.pairwise_descriptors import read_descriptors  # noqa: E402
from screenwise.prediction import Z90  # noqa: E402
from screenwise.screen import make_screen  # noqa: E402

DATA = Path(os.environ.get("SCREENWISE_DATA", "../shared/data")) / "perturbseq"
NAMED, OTHER = range(5), range(100, 115)
SHARES = (25, 50, 75)
FEW = (3, 6, 12, 24)
REPEATS = 20
WITHHELD = 18
NETWORK_SEEDS = range(2)
DECIMALS = 4


class Norman:
    """The screen in 50 components; doubles in the order of their labels."""

    def __init__(self):
        table = pd.read_csv(DATA / "norman2019_pc50.csv.gz")
        genes = [tuple(sorted(name for name in label.split("+") if name != "ctrl")) for label in table["condition"]]
        order = sorted(range(len(genes)), key=lambda row: (len(genes[row]), genes[row]))
        genes = [genes[row] for row in order]
        level = table.filter(regex=r"^pc\d+$").to_numpy(np.float64)[order]
        columns = {f"gene_{letter}": [(*one, "", "")[place] for one in genes] for place, letter in enumerate("ab")}
        self.screen = make_screen(pd.DataFrame(columns), level, [f"pc{one}" for one in range(1, 51)])
        self.effect = level - level[0]
        self.genes = genes
        size = np.array([len(one) for one in genes])
        self.singles, self.doubles = np.flatnonzero(size == 1), np.flatnonzero(size == 2)
        row = {genes[place][0]: place for place in self.singles}
        self.total = {
            place: self.effect[row[genes[place][0]]] + self.effect[row[genes[place][1]]] for place in self.doubles
        }

    def train(self, doubles, without=()):
        """Return the screen with some doubles (rows), all singles but those of genes in `without`, and the control."""
        singles = [row for row in self.singles if self.genes[row][0] not in without]
        return self.screen.take(np.concatenate([[0], singles, doubles]).astype(int))

    def ask(self, model, doubles):
        """Return effects, profile and feature standard deviations of doubles."""
        found = model.predict_profile(self.screen.conditions.iloc[doubles].reset_index(drop=True))
        mean = found.prediction.mean - self.screen.targets.value[0]
        return mean, found.profile_std, found.prediction.std

    def sums(self, doubles):
        """Return (k, p) sums of both singles."""
        return np.stack([self.total[row] for row in doubles])


def distance(error):
    return np.linalg.norm(error, axis=1)


def scaled_sum(total, effect, asked):
    """Return the least-squares scaled sum with an offset: the peer of the ratio."""
    centre, mean = total.mean(axis=0), effect.mean(axis=0)
    slope = ((total - centre) * (effect - mean)).sum() / ((total - centre) ** 2).sum()
    return mean + slope * (asked - centre)


def departures(norman, doubles, mean):
    """Return the mean cosine of predicted and measured departure from addition."""
    told, true = mean - norman.sums(doubles), norman.effect[doubles] - norman.sums(doubles)
    return float(np.mean((told * true).sum(axis=1) / (distance(told) * distance(true))))


def one_split(norman, make, seed, share):
    """Return the figures of one random split."""
    order = norman.doubles[np.random.default_rng(seed).permutation(len(norman.doubles))]
    count = round(share / 100 * len(order))
    test, train = order[:count], order[count:]
    began = time.process_time()
    model = make().fit(norman.train(train), seed=seed)
    spent = time.process_time() - began
    mean, profile, std = norman.ask(model, test)
    error = norman.effect[test] - mean
    l2 = distance(error)
    peer = scaled_sum(norman.sums(train), norman.effect[train], norman.sums(test))
    ratio = l2.mean() / distance(norman.effect[test] - peer).mean()
    return {
        "l2": l2.mean(),
        "ratio": ratio,
        "scaled": distance(norman.effect[test] - peer).mean(),
        "addition": distance(norman.effect[test] - norman.sums(test)).mean(),
        "departure_cosine": departures(norman, test, mean),
        "coverage": (l2 <= Z90 * profile).mean(),
        "feature_coverage": (np.abs(error) <= Z90 * std).mean(),
        "error_rank": spearmanr(l2, profile).statistic,
        "fit_s": spent,
    }


def random_splits(norman, make, seeds, shares=SHARES):
    """Return share -> mean figures over seeds."""
    return {
        share: pd.DataFrame([one_split(norman, make, seed, share) for seed in seeds]).mean().to_dict()
        for share in shares
    }


def clusters(norman, make):
    """Return mean L2 over left-out clusters, of the model and of the scaled sum, and the worst difference."""
    label = KMeans(5, random_state=0, n_init=10).fit_predict(norman.effect[norman.doubles])
    ours, peer = [], []
    for one in range(5):
        test, train = norman.doubles[label == one], norman.doubles[label != one]
        mean, _, _ = norman.ask(make().fit(norman.train(train)), test)
        ours.append(distance(norman.effect[test] - mean).mean())
        told = scaled_sum(norman.sums(train), norman.effect[train], norman.sums(test))
        peer.append(distance(norman.effect[test] - told).mean())
    worse = np.max(np.array(ours) - peer)
    return {"cluster_l2": np.mean(ours), "cluster_scaled_l2": np.mean(peer), "cluster_worst_difference": worse}


def unseen(norman, seeds, descriptors):
    """Return mean L2 with one and two genes of a pair withheld, and the coverage of the former."""
    genes = sorted({name for row in norman.doubles for name in norman.genes[row]})
    rows = []
    for seed in seeds:
        gone = set(np.random.default_rng(seed).choice(genes, WITHHELD, replace=False))
        number = np.array([sum(name in gone for name in norman.genes[row]) for row in norman.doubles])
        model = PeperGP(descriptors=descriptors).fit(norman.train(norman.doubles[number == 0], gone))
        row = {}
        for count in (1, 2):
            test = norman.doubles[number == count]
            if len(test) == 0:
                continue
            mean, profile, _ = norman.ask(model, test)
            far = distance(norman.effect[test] - mean)
            row |= {f"unseen{count}_l2": far.mean(), f"unseen{count}_coverage": (far <= Z90 * profile).mean()}
        rows.append(row)
    return pd.DataFrame(rows).mean().to_dict()


def few_doubles(norman, make):
    """Return L2 with few training doubles, how often worse than addition, and coverage."""
    out = {}
    for count in (0, *FEW):
        rows = []
        for repeat in range(REPEATS if count else 1):
            order = norman.doubles[np.random.default_rng(1000 + repeat).permutation(len(norman.doubles))]
            train, test = order[:count], order[max(FEW) :] if count else order
            mean, profile, _ = norman.ask(make().fit(norman.train(train)), test)
            far = distance(norman.effect[test] - mean)
            plain = distance(norman.effect[test] - norman.sums(test))
            rows.append((far.mean(), far.mean() > plain.mean(), (far <= Z90 * profile).mean()))
        l2, worse, covered = np.mean(rows, axis=0)
        out |= {f"few{count}_l2": l2, f"few{count}_worse_than_addition": worse, f"few{count}_coverage": covered}
    return out


def gene_screen():
    """Return the screen of 500 genes from its cells: control, singles and the doubles with both singles."""
    import anndata  # noqa: PLC0415

    cells = anndata.read_h5ad(DATA / "norman2019_sc_hvg500.h5ad")
    value = np.log1p(cells.X.toarray() * 1e4 / cells.obs["total_counts"].to_numpy()[:, None])
    rows, level = [], []
    for label, some in cells.obs.groupby("condition", observed=True).indices.items():
        genes = (*sorted(name for name in str(label).split("+") if name != "ctrl"), "", "")
        error = float((value[some].var(axis=0, ddof=1) / len(some)).sum())
        rows.append({"gene_a": genes[0], "gene_b": genes[1], "n_cells": float(len(some)), "squared_error": error})
        level.append(value[some].mean(axis=0))
    conditions = pd.DataFrame(rows)
    single = set(conditions["gene_a"][conditions["gene_b"] == ""])
    known = conditions["gene_a"].isin(single) & conditions["gene_b"].isin(single | {""})
    return make_screen(conditions[known], np.array(level)[known], list(cells.var_names))


def gene_level(make):
    """Return mean L2 of the five doubles, each left out; of addition; and with no double known."""
    screen = gene_screen()
    value = screen.targets.value.astype(np.float64)
    doubles = np.flatnonzero(screen.conditions["gene_b"] != "")
    rows = []
    for row in doubles:
        others = np.setdiff1d(np.arange(len(screen)), [row])
        without = np.setdiff1d(np.arange(len(screen)), doubles)
        asked = screen.conditions.iloc[[row]].reset_index(drop=True)
        plain = make_model("salt").fit(screen.take(without)).predict(asked).mean
        none = make().fit(screen.take(without)).predict(asked).mean
        some = make().fit(screen.take(others)).predict(asked).mean
        rows.append([distance(found - value[[row]])[0] for found in (some, none, plain)])
    some, none, plain = np.mean(rows, axis=0)
    return {"gene_level_l2": some, "gene_level_prior_only_l2": none, "gene_level_addition_l2": plain}


BARS = {
    **{f"named_l2_{share}": bar for share, bar in zip(SHARES, (1.87, 2.01, 2.17), strict=True)},
    **{f"other_l2_{share}": bar for share, bar in zip(SHARES, (1.95, 2.04, 2.18), strict=True)},
    **{f"other_ratio_{share}": bar for share, bar in zip(SHARES, (0.81, 0.845, 0.895), strict=True)},
    "cluster_l2": 2.66,
    "named_unseen1_l2": 3.15,
    "other_unseen1_l2": 3.28,
    "named_departure_cosine_50": 0.76,
    "other_error_rank_50": 0.4,
    "few12_l2": 2.42,
    "gene_level_l2": 0.42,
    "other_fit_s_50": 0.5,
    **{f"few{count}_worse_than_addition": 0.0 for count in FEW},
    "cluster_worst_difference": 0.0,
    **{f"named_ratio_{share}": bar for share, bar in zip(SHARES, (0.81, 0.845, 0.895), strict=True)},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="without the network")
    chosen = parser.parse_args()
    if not (DATA / "norman2019_pc50.csv.gz").exists():
        raise SystemExit(absent())
    began = time.time()
    norman, figures, peers = Norman(), {}, {}
    for name, seeds in (("named", NAMED), ("other", OTHER)):
        for share, found in random_splits(norman, PeperGP, seeds).items():
            peers |= {f"{name}_scaled_sum_l2_{share}": found.pop("scaled")}
            peers |= {f"{name}_addition_l2_{share}": found.pop("addition")}
            figures |= {f"{name}_{key}_{share}": value for key, value in found.items()}
    descriptors = read_descriptors(DATA / "gene2go.tsv.gz")
    for name, seeds in (("named", NAMED), ("other", OTHER[:10])):
        figures |= {f"{name}_{key}": value for key, value in unseen(norman, seeds, descriptors).items()}
    found = clusters(norman, PeperGP)
    peers["cluster_scaled_sum_l2"] = found.pop("cluster_scaled_l2")
    figures |= found | few_doubles(norman, PeperGP) | gene_level(PeperGP)
    scaled = few_doubles(norman, ScaledSalt)
    peers |= {f"few{key}_scaled_salt_l2": scaled[f"few{key}_l2"] for key in FEW}
    peers["gene_level_addition_l2"] = figures.pop("gene_level_addition_l2")
    if not chosen.quick:
        for share, found in random_splits(norman, lambda: make_model("peper"), NETWORK_SEEDS).items():
            peers |= {f"network_{key}_{share}": found[key] for key in ("l2", "ratio", "coverage", "fit_s")}
    result = {
        "benchmark": "gene_pairs",
        "figures": {
            name: {"value": round(float(value), DECIMALS)} | ({"bar": BARS[name]} if name in BARS else {})
            for name, value in figures.items()
        },
        "units": {name: "CPU s" for name in figures if "fit_s" in name},
        "peer": "addition, least-squares scaled sum with offset, scaled Salt, network form of Peper (seeds 0-1)",
        "peers": {name: round(float(value), DECIMALS) for name, value in peers.items()},
        "data": "norman2019_pc50: 105 singles, 131 doubles, 50 components; norman2019_sc_hvg500: 5 doubles, 500 genes",
        "seeds": [*NAMED, *OTHER],
        "cpu_seconds": round(time.process_time(), 1),
        "wall_seconds": round(time.time() - began, 1),
    }
    print(json.dumps(result) if chosen.json else json.dumps(result, indent=1))


def absent():
    import sys  # noqa: PLC0415

    sys.stderr.write(f"{DATA / 'norman2019_pc50.csv.gz'} is not here; set SCREENWISE_DATA.\n")
    return 3


if __name__ == "__main__":
    main()
