"""A stranger's files go through the commands with no option but the file's name and --out."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

RINGS = ["c1ccccc1", "c1ccncc1", "c1ccsc1", "C1CCCCC1", "c1ccc2[nH]ccc2c1"]
TAILS = ["O", "N", "CC", "C(=O)O", "CCN", "OC", "N#C", "F", "CCCO"]
TITLES = (
    "Molecule ChEMBL ID;Molecule Name;Smiles;Standard Type;Standard Relation;Standard Value;Standard Units;"
    "pChEMBL Value;Data Validity Comment;Assay ChEMBL ID;Target ChEMBL ID;Target Name"
)


def screenwise(*arguments, cwd, check=True):
    done = subprocess.run(
        [sys.executable, "-m", "screenwise.cli", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    if check:
        assert done.returncode == 0, done.stderr + done.stdout
    return done


def compounds():
    return [(f"CHEMBL{i * 100 + j}", tail + ring) for i, ring in enumerate(RINGS) for j, tail in enumerate(TAILS)]


def chembl_export():
    """Mixed units, empty values, qualifiers, validity comments, replicates, quotes, one broken structure."""
    rng = np.random.default_rng(0)
    lines = [TITLES]
    for number, (name, smiles) in enumerate(compounds()):
        nanomolar = 10 ** (1 + number // len(TAILS) * 0.6 + rng.normal(0, 0.1))
        value, unit, relation, comment = f"{nanomolar:.4g}", "nM", "'='", ""
        if number % 5 == 1:
            value, unit = f"{nanomolar / 1000:.4g}", "uM"
        if number % 7 == 2:
            relation, value, unit = "'>'", "10000", "nM"
        if number % 11 == 3:
            value = ""
        if number % 13 == 4:
            comment = "Outside typical range"
        cells = [
            name,
            "",
            "c1ccccc" if number == 16 else smiles,
            "Ki",
            relation,
            value,
            unit,
            "",
            comment,
            "CHEMBL999",
            "CHEMBL234",
            "Dopamine D3 receptor",
        ]
        lines += [";".join(f'"{cell}"' for cell in cells)] * (2 if number % 6 == 0 else 1)
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stranger")
    (folder / "export.csv").write_text(chembl_export())
    screenwise("fit", "export.csv", "--out", "run", cwd=folder)
    return folder


def test_what_was_left_out_is_counted_and_kept(export):
    done = json.loads(screenwise("fit", "export.csv", "--out", "run2", "--model", "mean", "--json", cwd=export).stdout)
    rejected = pd.read_csv(export / "run2" / "rejected.csv")
    assert done["facts"]["rows left out"] == len(rejected) > 0
    assert {"row", "column", "value", "reason"} <= set(rejected.columns)
    reasons = " ".join(rejected["reason"])
    assert "SMILES" in reasons
    assert "Outside typical range" in reasons
    said = " ".join(done["facts"])
    assert "SMILES" in said


def test_predictions_keep_the_order_and_the_columns_of_the_file(export):
    screenwise("predict", "run", "export.csv", "--out", "predictions.csv", cwd=export)
    given, found = pd.read_csv(export / "export.csv", sep=";"), pd.read_csv(export / "predictions.csv")
    assert found["Molecule ChEMBL ID"].tolist() == given["Molecule ChEMBL ID"].tolist()
    assert found["Smiles"].tolist() == given["Smiles"].tolist()
    assert {"condition_id", "task", "mean", "std", "lower", "upper", "in_domain", "note"} <= set(found.columns)
    broken = found[found["Smiles"] == "c1ccccc"]
    assert broken["mean"].isna().all()
    assert broken["note"].str.len().gt(0).all()
    rest = found[found["Smiles"] != "c1ccccc"]
    assert rest["mean"].between(3, 11).all(), "values are p values"
    assert ((rest["lower"] < rest["mean"]) & (rest["mean"] < rest["upper"])).all()


def test_wide_predictions(export):
    screenwise("predict", "run", "export.csv", "--out", "wide.csv", "--wide", cwd=export)
    wide = pd.read_csv(export / "wide.csv")
    assert len(wide) == len(pd.read_csv(export / "export.csv", sep=";"))
    task = next(name.removesuffix("_std") for name in wide.columns if name.endswith("_std"))
    assert {task, f"{task}_std", f"{task}_lower", f"{task}_upper", "in_domain"} <= set(wide.columns)


def test_evaluate_refuses_rows_the_run_has_seen(export):
    done = screenwise("evaluate", "run", "export.csv", "--out", "evaluation", cwd=export, check=False)
    assert done.returncode == 1
    assert "not seen" in done.stderr
    assert not (export / "evaluation").exists()


def test_evaluate_on_the_held_out_part(export):
    screenwise("fit", "export.csv", "--out", "held", "--split", "random", cwd=export)
    done = json.loads(screenwise("evaluate", "held", "export.csv", "--out", "evaluation", "--json", cwd=export).stdout)
    assert done["facts"]["rows"] > 0
    assert (export / "evaluation" / "report.html").exists()
    card = (export / "held" / "card.md").read_text()
    assert "neighbours" in card, "the card shows the baselines"


def test_the_same_fit_again_does_nothing_and_another_one_is_refused(export):
    again = screenwise("fit", "export.csv", "--out", "run", cwd=export)
    assert "already fitted" in again.stdout
    other = screenwise("fit", "export.csv", "--out", "run", "--seed", "1", cwd=export, check=False)
    assert other.returncode == 1
    assert "other settings" in other.stderr


def test_propose_writes_a_plate(export):
    pool = pd.DataFrame({"smiles": [smiles + "C" for _, smiles in compounds()]})
    pool.to_csv(export / "pool.csv", index=False)
    screenwise("propose", "run", "pool.csv", "--wells", "12", "--out", "plate.csv", cwd=export)
    plate = pd.read_csv(export / "plate.csv")
    assert plate.columns[:4].tolist() == ["well", "plate", "role", "condition_id"]
    assert (plate["role"] == "sample").sum() == 12


def test_compare_writes_the_promised_tables(export):
    screenwise(
        "compare",
        "export.csv",
        "--out",
        "comparison",
        "--models",
        "gp",
        "--seeds",
        "1",
        "--splits",
        "random",
        cwd=export,
    )
    scores = pd.read_csv(export / "comparison" / "scores.csv")
    assert scores.columns.tolist() == ["model", "split", "seed", "fold", "task", "metric", "value"]
    assert {"gp", "mean", "neighbours", "ridge"} <= set(scores["model"])
    assert (export / "comparison" / "summary.csv").exists()
    page = (export / "comparison" / "report.html").read_text()
    assert "<script" not in page


def test_genes_with_features(tmp_path):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 4))
    genes = [f"GENE{number}" for number in range(80)]
    pd.DataFrame({"gene": genes, "effect": x[:, 0] + rng.normal(0, 0.1, 80)}).to_csv(
        tmp_path / "screen.csv", index=False
    )
    pd.DataFrame({"gene": genes} | {f"x{j}": x[:, j] for j in range(4)}).to_csv(tmp_path / "features.csv", index=False)
    screenwise("fit", "screen.csv", "--out", "run", "--features", "features.csv", cwd=tmp_path)
    pd.DataFrame({"gene": genes[:3]}).to_csv(tmp_path / "ask.csv", index=False)
    screenwise("predict", "run", "ask.csv", "--out", "out.csv", cwd=tmp_path)
    assert pd.read_csv(tmp_path / "out.csv")["mean"].notna().all(), "the run knows the features by itself"


@pytest.mark.parametrize("suffix", [".tsv", ".parquet", ".csv.gz"])
def test_formats_give_the_same_run(tmp_path, suffix):
    frame = pd.DataFrame(compounds(), columns=["id", "smiles"]).assign(pIC50=lambda table: 4 + table.index % 5)
    frame.to_csv(tmp_path / "a.csv", index=False)
    if suffix == ".parquet":
        frame.to_parquet(tmp_path / f"b{suffix}", index=False)
    else:
        frame.to_csv(tmp_path / f"b{suffix}", index=False, sep="\t" if suffix == ".tsv" else ",")
    hashes = []
    for name in ("a.csv", f"b{suffix}"):
        screenwise("fit", name, "--out", f"run_{name}", "--model", "mean", cwd=tmp_path)
        hashes.append(json.loads((tmp_path / f"run_{name}" / "config.json").read_text())["data"])
    assert hashes[0] == hashes[1]


def test_ctrl_c_is_exit_130_and_the_same_command_goes_on(tmp_path):
    frame = pd.DataFrame(compounds(), columns=["id", "smiles"]).assign(pIC50=lambda table: 4 + table.index % 5)
    frame.to_csv(tmp_path / "a.csv", index=False)
    command = ["fit", "a.csv", "--out", "run", "--model", "multitask", "--settings.epochs", "100000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "screenwise.cli", *command], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 240
    while not (tmp_path / "run" / "metrics.jsonl").exists() and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said.strip().splitlines()[-1] == "Interrupted. What was finished is kept; the same command goes on."
    assert "Traceback" not in said
