"""Rebuild the two embedded datasets from the published wheels, so that anyone can check them.

    python tools/build_embedded.py                                  # wheels by pip download
    python tools/build_embedded.py MoleculeACE.whl genedisco.whl    # wheels at hand

Prints the row counts and sha256 of what it wrote. Parquet bytes depend on the version of pyarrow, so
compare the content (``--check`` reads the committed files and compares the tables) rather than the hash.
"""

import argparse
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pandas as pd

from screenwise.data.chemistry import standardise

OUT = Path(__file__).resolve().parents[1] / "src/screenwise/data/embedded"
WHEELS = {
    "MoleculeACE": ("3.0.0", "c2028c9a75281eab53d3b3e7dc11cbc8ac970d008bac4a0d3927f11ac2024bdc"),
    "genedisco": ("1.0.5", "6a23043d099a3284ac2e6ee6a19a7bb34d3d67ee94e39448a06e7720e0aaa0a5"),
}
PER_MOLAR = 9.0  # the published y is -log10(nM); pKi and pEC50 are -log10(M)


def read_wheel(name: str, path: Path | None) -> zipfile.ZipFile:
    version, sha256 = WHEELS[name]
    if path is None:
        folder = tempfile.mkdtemp()
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        subprocess.run([*command, f"{name}=={version}"], check=True)
        path = next(Path(folder).glob("*.whl"))
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        sys.exit(f"{path} has sha256 {found}; {name} {version} has {sha256}.")
    return zipfile.ZipFile(io.BytesIO(data))


def chembl30(wheel: zipfile.ZipFile) -> pd.DataFrame:
    """Return smiles, task, p, cliff, split: one row per measured cell, by compound and task."""
    tables = []
    for member in sorted(wheel.namelist()):
        if "/benchmark_data/CHEMBL" in member and member.endswith(".csv"):
            tables.append(pd.read_csv(wheel.open(member)).assign(task=Path(member).stem))
    table = pd.concat(tables, ignore_index=True)
    distinct = table["smiles"].drop_duplicates()
    clean = standardise(distinct.tolist())
    if clean["reason"].any() or clean["smiles"].nunique() != len(distinct):
        sys.exit("Standardisation dropped or merged compounds; the published rows would not be kept.")
    table["smiles"] = table["smiles"].map(dict(zip(distinct, clean["smiles"], strict=True)))
    table["p"] = (table["y"] + PER_MOLAR).astype("float32")
    table["cliff"] = table["cliff_mol"].astype(bool)
    table = table.sort_values(["smiles", "task"], ignore_index=True)
    table["task"], table["split"] = table["task"].astype("category"), table["split"].astype("category")
    return table[["smiles", "task", "p", "cliff", "split"]]


def ifng(wheel: zipfile.ZipFile) -> pd.DataFrame:
    """Return one row per gene: log fold change (IFN-gamma high over low) and FDR of two donors."""
    donors = []
    for donor in (1, 2):
        table = pd.read_csv(wheel.open(f"genedisco/datasets/screens/schmidt_ifng_d{donor}.gene_summary.txt"), sep="\t")
        names = {"id": "gene", "num": "n_guides", "pos|lfc": "lfc", "neg|fdr": "fdr_neg", "pos|fdr": "fdr_pos"}
        table = table.rename(columns=names)[list(names.values())].set_index("gene")
        donors.append(table)
    both = donors[0].join(donors[1], lsuffix="_donor1", rsuffix="_donor2", validate="1:1", how="inner")
    both = both.drop(columns="n_guides_donor2").rename(columns={"n_guides_donor1": "n_guides"})
    both["ifng"] = (both["lfc_donor1"] + both["lfc_donor2"]) / 2
    both = both.reset_index().sort_values("gene", ignore_index=True)
    # NO-TARGET pools the 496 non-targeting guides: the control, not a gene.
    both["control"] = both["gene"] == "NO-TARGET"
    numbers = [name for name in both.columns if name.startswith(("lfc", "fdr"))] + ["ifng"]
    both[numbers] = both[numbers].astype("float32")
    both["n_guides"] = both["n_guides"].astype("int16")
    lead = ["gene", "ifng", "lfc_donor1", "lfc_donor2"]
    return both[[*lead, *[name for name in both.columns if name not in lead]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheels", nargs="*", type=Path, help="the MoleculeACE and the genedisco wheel")
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    options = parser.parse_args()
    given = {path.name.split("-")[0]: path for path in options.wheels}
    tables = {
        "chembl30": chembl30(read_wheel("MoleculeACE", given.get("MoleculeACE"))),
        "ifng": ifng(read_wheel("genedisco", given.get("genedisco"))),
    }
    for name, table in tables.items():
        path = OUT / f"{name}.parquet"
        if options.check:
            pd.testing.assert_frame_equal(pd.read_parquet(path), table)
            print(name, len(table), "rows: the same as", path)
            continue
        OUT.mkdir(parents=True, exist_ok=True)
        table.to_parquet(path, index=False, compression="zstd", compression_level=19)
        print(name, len(table), path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
