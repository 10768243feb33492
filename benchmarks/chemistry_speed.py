"""Preparation of 100,000 public compounds: parent form, descriptor, fold; and of the whole set from tables to matrices.

CPU seconds of one thread, by part. The tautomer is the cost, so it is also measured alone on a sample, ours
against RDKit's enumeration of whole molecules, and both must agree. `--whole` takes all 227,830 compounds and
482,933 activities of fsmol_chembl27 through `screenwise tune` too.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402 - after the number of threads
import pandas as pd  # noqa: E402
import rdkit  # noqa: E402
from rdkit import Chem  # noqa: E402

from screenwise.data.chemistry import quiet_rdkit  # noqa: E402
from screenwise.data.keyed_folds import permuted_columns  # noqa: E402
from screenwise.data.parent_form import parent_forms  # noqa: E402
from screenwise.data.tautomer import canonical_tautomer, whole_tautomer  # noqa: E402
from screenwise.data.tune_settings import FoldRules, TuneSettings  # noqa: E402
from screenwise.recipes.tune import tune  # noqa: E402
from screenwise.represent.keyed_descriptor import assign_folds, hashed_substructures  # noqa: E402

DATA = Path(os.environ.get("SCREENWISE_DATA", Path(__file__).parents[2] / "shared" / "data")) / "bioactivity"
FSMOL = DATA / "fsmol_chembl27"
SEED = 0
COMPOUNDS, SAMPLE = 100_000, 3_000
TURNED = {"<": ">", "<=": ">=", "<<": ">>", ">": "<", ">=": "<=", ">>": "<<"}
"""fsmol's relations are of concentrations; p values have the other."""


def seconds(function, *given):
    began = time.process_time()
    result = function(*given)
    return result, round(time.process_time() - began, 2)


def parts(smiles, settings):
    forms, form_seconds = seconds(parent_forms, smiles)
    good = forms["smiles"][forms["reason"] == ""].unique()
    plain, print_seconds = seconds(hashed_substructures, good, settings.descriptor)
    _, key_seconds = seconds(lambda: permuted_columns(settings.descriptor.columns, "secret")[plain.indices])
    _, lsh_seconds = seconds(assign_folds, good, plain, settings.folds, "secret")
    small = good[:SAMPLE]
    _, scaffold_seconds = seconds(assign_folds, small, plain[: len(small)], FoldRules("scaffold"), "secret")
    total = round(form_seconds + print_seconds + key_seconds + lsh_seconds, 1)
    return {
        "compounds": {"value": len(smiles)},
        "rejected": {"value": int((forms["reason"] != "").sum())},
        "parent_forms_cpu_s": {"value": form_seconds},
        "descriptors_cpu_s": {"value": print_seconds},
        "keyed_columns_cpu_s": {"value": key_seconds},
        "lsh_folds_cpu_s": {"value": lsh_seconds},
        "standardise_fingerprint_fold_cpu_s": {"value": total, "bar": "<= 180"},
        "scaffold_folds_ms_per_compound": {"value": round(scaffold_seconds / len(small) * 1e3, 2)},
    }


def tautomers(smiles):
    """Compounds that are not among those above; ours knows the pieces that it solved for them."""
    with quiet_rdkit():
        molecules = [molecule for molecule in map(Chem.MolFromSmiles, smiles) if molecule is not None]
        for molecule in molecules:
            Chem.RemoveStereochemistry(molecule)
        texts = [Chem.MolToSmiles(molecule) for molecule in molecules]
        molecules = [Chem.MolFromSmiles(text) for text in texts]
        canonical_tautomer("CC(=O)NC")  # compiled, or read from the cache
        ours, our_seconds = seconds(lambda: [canonical_tautomer(text) for text in texts])
        theirs, peer_seconds = seconds(lambda: [whole_tautomer(molecule, 256) for molecule in molecules])
    same = float(np.mean([one == other for one, other in zip(ours, theirs, strict=True)]))
    assert same >= 0.995, same
    return {
        "tautomer_ms_per_further_compound": {"value": round(our_seconds / len(texts) * 1e3, 2)},
        "tautomer_ms_per_further_compound_rdkit": {"value": round(peer_seconds / len(texts) * 1e3, 2)},
        "tautomer_same_as_rdkit": {"value": round(same, 4), "compounds": len(texts)},
    }


def whole_set(folder):
    compounds, activities, assays = (
        pd.read_csv(FSMOL / f"{name}.tsv.gz", sep="\t", keep_default_na=False)
        for name in ("compounds", "activities", "assays")
    )
    kinds = assays["assay_type"].map({"A": "ADME"}).fillna("OTHER")
    t0 = {"input_assay_id": assays["assay_id"], "assay_type": kinds, "parent_assay_id": assays["target_id"]}
    relation = activities["relation"].replace(TURNED)
    t1 = {
        "input_compound_id": activities["compound_id"],
        "input_assay_id": activities["assay_id"],
        "standard_qualifier": relation,
        "standard_value": activities["p_value"],
    }
    t2 = {"input_compound_id": compounds["compound_id"], "smiles": compounds["smiles"]}
    tables = tuple(folder / f"T{place}.csv" for place in range(3))
    for path, table in zip(tables, (t0, t1, t2), strict=True):
        pd.DataFrame(table).to_csv(path, index=False)
    outcome, used = seconds(lambda: tune(tables, folder / "out", jobs=1))
    steps = {
        name.replace(" ", "_"): {"value": value} for name, value in outcome.facts.items() if name != "reference hash"
    }
    return {"whole_set_cpu_s": {"value": used}, **{f"whole_set_{name}": value for name, value in steps.items()}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--compounds", type=int, default=COMPOUNDS)
    parser.add_argument("--whole", action="store_true", help="also take the whole set from tables to matrices")
    arguments = parser.parse_args()
    if not FSMOL.exists():
        sys.stderr.write(f"{FSMOL} is not here; set SCREENWISE_DATA to the public data folder.\n")
        sys.exit(3)
    began = time.time()
    smiles = pd.read_csv(FSMOL / "compounds.tsv.gz", sep="\t")["smiles"].sample(frac=1, random_state=SEED).tolist()
    smiles, further = smiles[: arguments.compounds], smiles[arguments.compounds :][:SAMPLE]
    figures = parts(smiles, TuneSettings()) | tautomers(further)
    if arguments.whole:
        with tempfile.TemporaryDirectory() as folder:
            figures |= whole_set(Path(folder))
    figures["peak_memory_gb"] = {"value": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)}
    result = {
        "figures": figures,
        "units": "as the names say; cpu_s are CPU seconds of one thread",
        "peer": f"rdkit {rdkit.__version__}, tautomers of whole molecules",
        "data": f"fsmol_chembl27 (ChEMBL 27), {len(smiles):,} compounds",
        "seeds": [SEED],
        "cpu_seconds": round(time.process_time(), 1),
        "wall_seconds": round(time.time() - began, 1),
    }
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
