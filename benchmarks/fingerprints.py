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
        "compounds": len(conditions),
        "four_fingerprints_cpu_s": round(print_seconds, 2),
        "training_cells": int(sum(map(len, rows))),
        "four_kernels_of_30_targets_cpu_s": round(gram_seconds, 2),
        "smallest_target": {
            "rows": len(small),
            "four_kernels_cpu_s": round(our_seconds, 3),
            "peer_cpu_s_with_fingerprints": round(peer_seconds, 2),
            "largest_difference": float(f"{gap:.1g}"),
        },
    }


def many_compounds():
    try:
        further = [load_dataset(name).screen.conditions["smiles"] for name in FURTHER]
    except DatasetError as error:
        return {"left_out": str(error)}
    smiles = pd.unique(pd.concat([load_dataset("chembl30").screen.conditions["smiles"], *further]))[-MANY:]
    made = Fingerprint("morgan", radius=2, on_error="empty")
    counts, cpu = seconds(made.transform, pd.DataFrame({"smiles": smiles}))
    queries = counts[:: len(smiles) // 500]
    count_tanimoto_nearest(queries[:2], queries)
    (_, found), nearest = seconds(count_tanimoto_nearest, queries, counts, 5)
    assert (found[:, 0] == 1).all()
    np.testing.assert_allclose(found, -np.sort(-count_tanimoto(queries, counts), axis=1)[:, :5])
    return {
        "compounds": len(smiles),
        "morgan_radius_2_cpu_s": round(cpu, 2),
        "nearest_5_of_500_among_all_cpu_s": round(nearest, 2),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    began = time.time()
    result = {
        "benchmark": "fingerprints",
        "data": "chembl30, published training rows",
        "peer": f"rdkit {rdkit.__version__}",
        "threads": 1,
        "chembl30": kernels_of_targets(),
        "many": many_compounds(),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "wall_s": round(time.time() - began, 1),
        "bars": "four kernels <= 10 CPU s; 100,000 compounds <= 60 CPU s",
    }
    print(json.dumps(result) if as_json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
