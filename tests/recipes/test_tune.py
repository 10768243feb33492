"""`screenwise tune`: three tables in, matrices out that SparseChem's reader takes, reasons for what is left out."""

import json

import numpy as np
import pandas as pd
import pytest

from screenwise.config import from_mapping
from screenwise.data.datasets import load_dataset
from screenwise.data.sparsechem import SparseChemFiles, read_labels, read_matrix
from screenwise.data.tune_settings import TuneSettings
from screenwise.errors import DataError
from screenwise.recipes.tune import tune

SIGN = {-1: "<", 0: "=", 1: ">"}
QUORUM = {"auxiliary_inactives": 30, "catalogue": 60}
SETTINGS = from_mapping(TuneSettings, {"quorum": QUORUM})


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Three assays of the embedded screen, one of them also as pseudo-labels, and rows that cannot be used."""
    folder = tmp_path_factory.mktemp("tables")
    screen = load_dataset("chembl30").screen
    screen = screen.take_tasks([0, 1, 2])
    screen = screen.take(np.unique(screen.targets.cells().row)[::6])
    cells = screen.targets.cells()
    names = screen.tasks["name"].to_numpy(object)
    assays = pd.DataFrame(
        {
            "input_assay_id": [*names, "labels", "rare"],
            "assay_type": ["OTHER", "CATALOG-PANEL", "ADME", "AUX_PL", "OTHER"],
        }
    )
    assays["is_binary"] = assays["assay_type"] == "AUX_PL"
    assays["expert_threshold_1"] = [7.0, 7.0, None, None, None]
    assays["catalog_assay_id"] = ["", "C1", "", "", ""]
    t1 = pd.DataFrame(
        {
            "input_compound_id": cells.row,
            "input_assay_id": names[cells.task],
            "standard_qualifier": [SIGN[side] for side in cells.relation],
            "standard_value": cells.value,
        }
    )
    labels = t1[t1["input_assay_id"] == names[0]].assign(input_assay_id="labels", standard_qualifier="=")
    labels["standard_value"] = np.where(labels["standard_value"] > 7, 1, -1)
    odd = pd.DataFrame(
        [
            (0, names[0], "=", 12.5),
            (0, "nowhere", "=", 5.0),
            (-1, names[0], "=", 5.0),
            (-2, names[0], "=", 5.0),
            (0, "labels", "=", 0.5),
            (1, "rare", "=", 5.0),
            (2, "rare", "=", 6.0),
        ],
        columns=t1.columns,
    )
    t2 = pd.DataFrame({"input_compound_id": np.arange(len(screen)), "smiles": screen.conditions["smiles"]})
    t2.loc[len(t2)] = [-2, "C1CC"]
    paths = tuple(folder / f"T{place}.csv" for place in range(3))
    for path, table in zip(paths, (assays, pd.concat([t1, labels, odd]), t2), strict=True):
        table.to_csv(path, index=False)
    return paths


@pytest.fixture(scope="module")
def done(tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "key").write_text("secret")
    outcome = tune(tables, folder / "out", SETTINGS, key=folder / "key", jobs=1)
    return folder / "out", outcome


def files(folder):
    names = ("y_class", "y_regr", "y_censor")
    found = {name: folder / f"{name}.npz" for name in names if (folder / f"{name}.npz").exists()}
    found |= {
        name: folder / f"{name}.csv" for name in ("weights_class", "weights_regr") if (folder / f"{name}.csv").exists()
    }
    return SparseChemFiles(folder / "x.npz", folding=folder / "folding.npy", **found)


def test_sparsechems_reader_takes_every_folder(done):
    out, outcome = done
    assert [row["model"] for row in outcome.table] == ["cls", "reg", "hyb", "clsaux"]
    for row in outcome.table:
        folder = out / row["model"]
        x = read_matrix(folder / "x.npz")
        labels = read_labels(files(folder), x.shape[0])
        assert x.shape == (row["compounds"], 32_000)
        assert set(labels.folding.tolist()) == {0, 1, 2, 3, 4}
        assert labels.y_class.shape[1] == row.get("class tasks", 0)
        assert labels.y_regr.shape[1] == row.get("regression tasks", 0)
        assert ((np.diff(labels.y_class.indptr) + np.diff(labels.y_regr.indptr)) > 0).all()


def test_matrices_hold_what_the_tables_say(done):
    out, _ = done
    tables = {name: pd.read_csv(out / "tables" / f"{name}.csv") for name in ("T10c", "T10r", "T8c", "T8r", "T5")}
    about = pd.read_csv(out / "hyb" / "compounds.csv").set_index("descriptor_vector_id")["row"]
    labels = read_labels(files(out / "hyb"), len(about))
    trained = tables["T8c"].query("cont_classification_task_id >= 0").reset_index(drop=True)
    plain = trained[trained["assay_type"] != "AUX_PL"]
    t10c = tables["T10c"][tables["T10c"]["cont_classification_task_id"].isin(plain["cont_classification_task_id"])]
    column = pd.Series(np.arange(len(plain)), plain["cont_classification_task_id"])
    dense = labels.y_class.toarray()
    assert labels.y_class.nnz == len(t10c)
    np.testing.assert_array_equal(
        dense[about[t10c["descriptor_vector_id"]], column[t10c["cont_classification_task_id"]]], t10c["class_label"]
    )
    t10r, values = tables["T10r"], labels.y_regr.toarray()
    assert labels.y_regr.nnz == labels.y_censor.nnz == len(t10r)
    at = (about[t10r["descriptor_vector_id"]].to_numpy(), t10r["cont_regression_task_id"].to_numpy())
    np.testing.assert_allclose(values[at], t10r["standard_value"], rtol=1e-6)
    np.testing.assert_array_equal(
        labels.y_censor.toarray()[at], t10r["standard_qualifier"].map({"<": -1, "=": 0, ">": 1})
    )
    np.testing.assert_allclose(
        labels.regr_tasks.censored, tables["T8r"].query("cont_regression_task_id >= 0")["censored_weight"]
    )


def test_tasks_and_weights(done):
    out, _ = done
    tasks = pd.read_csv(out / "tables" / "T8c.csv")
    first = tasks[tasks["assay_type"] == "OTHER"].query("training_quorum_OK")
    assert first["threshold"].tolist() == [6.5, 7.0, 7.5]
    np.testing.assert_allclose(first["weight"], 1 / 3)
    assert first["aggregation_weight"].tolist()[::2] == [0, 0]
    weights = pd.read_csv(out / "cls" / "weights_class.csv")
    assert list(weights.columns) == ["task_id", "training_weight", "aggregation_weight", "task_type", "catalog_id"]
    assert weights["catalog_id"].dropna().tolist() == ["C1_7"]
    labels = tasks[tasks["assay_type"] == "AUX_PL"].iloc[0]
    assert (labels["weight"], labels["aggregation_weight"], labels["threshold_method"]) == (0.1, 0.0, "binary")


def test_what_was_left_out_and_why(done):
    out, outcome = done
    rejected = {path.stem: pd.read_csv(path) for path in (out / "rejected").glob("*.csv")}
    structures = rejected["structures"].iloc[-1]
    assert structures["reason"] == "SMILES cannot be read: ring 1 is never closed"
    assert structures["row"] == len(pd.read_csv(out / "tables" / "T5.csv")) + len(rejected["structures"])
    assert rejected["structures"]["reason"].iloc[:-1].str.contains("100 or more are rejected").all()
    assert rejected["activities"]["reason"].tolist()[-5:] == [
        "12.5 is outside 3 to 10",
        "the assay is not in T0",
        "the compound is not in T2",
        "structure rejected: SMILES cannot be read: ring 1 is never closed",
        "a binary assay has the values -1 and 1, not 0.5",
    ]
    assert rejected["assays"]["input_assay_id"].tolist() == ["rare"]
    assert outcome.facts["rejected structures"] == len(rejected["structures"])
    report = json.loads((out / "report.json").read_text())
    count = len(rejected["activities"])
    assert report["rejected"]["activities"]["rows"] == count
    assert report["steps"]["activities"] - report["steps"]["credible"] == count


def test_the_report_says_what_was_done_and_never_the_key(done, tables):
    out, _ = done
    text = (out / "report.json").read_text()
    report = json.loads(text)
    assert "secret" not in text
    assert report["keyed"] is True
    assert set(report["versions"]) == {"screenwise", "python", "numpy", "pandas", "rdkit", "scipy"}
    assert report["inputs"]["T0"]["file"] == tables[0].name
    assert len(report["files"]["cls/x.npz"]) == 64
    assert len(report["settings"]["folds"]["bits"]) == 16


def test_the_order_of_rows_is_nothing_but_numbers(done, tables, tmp_path):
    out, _ = done
    (tmp_path / "key").write_text("secret")
    mixed = []
    for place, path in enumerate(tables):
        table = pd.read_csv(path, keep_default_na=False).sample(frac=1, random_state=place)
        mixed.append(tmp_path / path.name)
        table.to_csv(mixed[-1], index=False)
    tune(tuple(mixed), tmp_path / "out", SETTINGS, key=tmp_path / "key", jobs=1)

    def by_compound(folder):
        folds = pd.read_csv(folder / "tables" / "T5.csv").set_index("input_compound_id")
        cells = pd.read_csv(folder / "tables" / "T4r.csv").merge(
            folds.reset_index().drop_duplicates("descriptor_vector_id"), on=["descriptor_vector_id", "fold_id"]
        )
        # a descriptor is called by the least id of its compounds
        least = folds.reset_index().groupby("descriptor_vector_id")["input_compound_id"].min()
        cells["who"] = least[cells["descriptor_vector_id"]].to_numpy()
        columns = ["input_assay_id", "who", "fold_id", "standard_qualifier", "standard_value"]
        return folds["fold_id"].sort_index(), cells[columns].sort_values(columns).reset_index(drop=True)

    for one, other in zip(by_compound(out), by_compound(tmp_path / "out"), strict=True):
        assert one.equals(other)


def test_without_a_key_there_is_a_note_and_a_partner_with_other_settings_is_stopped(tables, tmp_path):
    outcome = tune(tables, tmp_path / "out", SETTINGS, jobs=1)
    assert outcome.notes[0].startswith("No key was given")
    reference = outcome.facts["reference hash"]
    agreed = from_mapping(TuneSettings, {"reference": reference, "quorum": QUORUM})
    tune(tables, tmp_path / "out", agreed, jobs=1)
    (tmp_path / "key").write_text("another")
    before = (tmp_path / "out" / "report.json").read_text()
    with pytest.raises(DataError, match=r"otherwise than partners do.*Compare the key"):
        tune(tables, tmp_path / "out", agreed, key=tmp_path / "key", jobs=1)
    assert (tmp_path / "out" / "report.json").read_text() == before


def test_nothing_to_train_is_an_error_that_says_where_to_look(tables, tmp_path):
    many = from_mapping(
        TuneSettings, {"quorum": {"actives": 10**6, "values": 10**6, "catalogue": 10**6, "auxiliary_actives": 10**6}}
    )
    with pytest.raises(DataError, match=r"No task has enough values.*rejected"):
        tune(tables, tmp_path / "out", many, jobs=1)
    assert (tmp_path / "out" / "rejected" / "tasks.csv").exists()
    assert not (tmp_path / "out" / "report.json").exists()
    (tmp_path / "T2.csv").write_text("input_compound_id,smiles\n0,C1CC\n")
    with pytest.raises(DataError, match=r"none of the 1 structures can be used.*ring 1"):
        tune((tables[0], tables[1], tmp_path / "T2.csv"), tmp_path / "out", SETTINGS, jobs=1)


def test_the_command_runs_and_reads_a_config(tables, tmp_path):
    from screenwise.cli.launch import app  # noqa: PLC0415

    (tmp_path / "tune.toml").write_text("[folds]\nkind = 'random'\n[quorum]\nauxiliary_inactives = 30\n")
    arguments = ["tune", *map(str, tables), "--out", str(tmp_path / "out"), "--jobs", "1", "--json"]
    code = app.meta([*arguments, "--config", str(tmp_path / "tune.toml")], result_action="return_value")
    assert code == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["settings"]["folds"]["kind"] == "random"
