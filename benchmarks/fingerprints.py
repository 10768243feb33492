"""Fingerprints and count Tanimoto kernels of the 30 ChEMBL targets, against RDKit's own calls.

Ours: the four default fingerprints of all compounds, and all four kernels between the published
training rows of every target. Peer: RDKit's sparse count fingerprints kept as objects, and
BulkTanimotoSimilarity row by row (one triangle), on the smallest target, where both must agree.
Where the data folder has them, 100,000 compounds of further screens with one fingerprint.
CPU seconds of one thread.
"""

import argparse
import json
import os
import resource
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402 - after the number of threads
import pandas as pd  # noqa: E402
import rdkit  # noqa: E402
from rdkit import Chem, DataStructs  # noqa: E402
from rdkit.Chem import rdFingerprintGenerator as rd  # noqa: E402

from screenwise.data.datasets import load_dataset  # noqa: E402
from screenwise.errors import DatasetError  # noqa: E402
from screenwise.represent.fingerprint import Fingerprint  # noqa: E402
from screenwise.represent.kernels import molecule_kernels  # noqa: E402
from screenwise.represent.similarity import count_tanimoto, count_tanimoto_nearest  # noqa: E402

MANY = 100_000
FURTHER = ("enamine50k", "hiv")
GENERATORS = {
    "chiral_ecfp6": rd.GetMorganGenerator(radius=3, includeChirality=True),
    "fcfp6": rd.GetMorganGenerator(radius=3, atomInvariantsGenerator=rd.GetMorganFeatureAtomInvGen()),
    "atom_pairs": rd.GetAtomPairGenerator(),
    "torsions": rd.GetTopologicalTorsionGenerator(),
}


def seconds(function, *given):
    began = time.process_time()
    result = function(*given)
    return result, time.process_time() - began


def peer_grams(smiles):
    molecules = [Chem.MolFromSmiles(text) for text in smiles]
    grams = {}
    for name, generator in GENERATORS.items():
        prints = [generator.GetSparseCountFingerprint(molecule) for molecule in molecules]
        grams[name] = [DataStructs.BulkTanimotoSimilarity(one, prints[: row + 1]) for row, one in enumerate(prints)]
    return grams


def kernels_of_targets():
    dataset = load_dataset("chembl30")
    conditions, cells = dataset.screen.conditions, dataset.screen.targets.cells()
    kernels = molecule_kernels()
    features, print_seconds = seconds(lambda: [kernel.features(conditions) for kernel in kernels])
    kernels[0].gram(features[0][:3])  # compiled, or read from the cache, before the clock
    train = (dataset.cells["moleculeace"] == "train").to_numpy()
    rows = [cells.row[train & (cells.task == task)] for task in range(len(dataset.screen.tasks))]
    _, gram_seconds = seconds(
        lambda: [[kernel.gram(x[own]).sum() for own in rows] for kernel, x in zip(kernels, features, strict=True)]
    )
    small = min(rows, key=len)
    ours, our_seconds = seconds(lambda: [kernel.gram(x[small]) for kernel, x in zip(kernels, features, strict=True)])
    theirs, peer_seconds = seconds(peer_grams, conditions["smiles"].iloc[small].tolist())
    gap = max(
        abs(value - gram[row, column])
        for gram, triangle in zip(ours, theirs.values(), strict=True)
        for row, line in enumerate(triangle)
        for column, value in enumerate(line)
    )
    assert gap < 1e-6, gap
    return {
        "fingerprints_of_chembl30_cpu_s": {"value": round(print_seconds, 2)},
        "kernels_of_30_targets_cpu_s": {"value": round(gram_seconds, 2), "bar": "<= 10"},
        "smallest_target_cpu_s": {"value": round(our_seconds, 3)},
        "smallest_target_largest_difference_to_rdkit": {"value": float(f"{gap:.1g}")},
    }, {"smallest_target_cpu_s": round(peer_seconds, 2)}


def many_compounds():
    try:
        further = [load_dataset(name).screen.conditions["smiles"] for name in FURTHER]
    except DatasetError as error:
        sys.stderr.write(f"100,000 compounds are left out: {error}\n")
        return {}
    smiles = pd.unique(pd.concat([load_dataset("chembl30").screen.conditions["smiles"], *further]))[-MANY:]
    made = Fingerprint("morgan", radius=2, on_error="empty")
    counts, cpu = seconds(made.transform, pd.DataFrame({"smiles": smiles}))
    queries = counts[:: len(smiles) // 500]
    count_tanimoto_nearest(queries[:2], queries)
    (_, found), nearest = seconds(count_tanimoto_nearest, queries, counts, 5)
    assert (found[:, 0] == 1).all()
    np.testing.assert_allclose(found, -np.sort(-count_tanimoto(queries, counts), axis=1)[:, :5])
    return {
        f"morgan_of_{len(smiles)}_compounds_cpu_s": {"value": round(cpu, 2), "bar": "<= 60"},
        f"nearest_5_of_500_among_{len(smiles)}_cpu_s": {"value": round(nearest, 2)},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    began = time.time()
    figures, peers = kernels_of_targets()
    figures |= many_compounds()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    figures["peak_memory_gb"] = {"value": round(peak, 2)}
    result = {
        "figures": figures,
        "units": "CPU seconds of one thread; four kernels: chiral ECFP6, FCFP6, atom pairs, torsions",
        "peer": f"rdkit {rdkit.__version__}, fingerprints included",
        "peers": peers,
        "data": "chembl30, published training rows; further compounds of the data folder",
        "cpu_seconds": round(time.process_time(), 1),
        "wall_seconds": round(time.time() - began, 1),
    }
    print(json.dumps(result) if as_json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
