"""Named datasets: the facts of the embedded ones, sources, and what happens without a network."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from screenwise.data import fetch
from screenwise.data.assay import read_assay
from screenwise.data.catalogue import DATASETS, KNOWLEDGE
from screenwise.data.datasets import (
    load_dataset,
    load_gene_descriptors,
    load_gene_links,
    load_gene_sets,
    write_dataset_table,
)
from screenwise.errors import DataError, DatasetError

HAVE = any((folder / "active_learning").is_dir() for folder in fetch.data_folders())
PACKAGED = [name for name, info in DATASETS.items() if info.packaged]
PUBLIC = [name for name, info in DATASETS.items() if not info.embedded and not info.packaged]


@pytest.fixture(scope="module")
def chembl30():
    return load_dataset("chembl30")


def test_chembl30_has_the_published_rows(chembl30):
    screen, cells = chembl30.screen, chembl30.screen.targets.cells()
    assert (len(cells), len(screen), len(screen.tasks)) == (48_714, 35_633, 30)
    assert screen.conditions["smiles"].nunique() == 35_633
    assert screen.conditions["condition_id"].nunique() == 35_633
    test = (chembl30.cells["moleculeace"] == "test").to_numpy()
    assert (int((~test).sum()), int(test.sum())) == (38_912, 9_802)
    assert (len(np.unique(cells.row[~test])), len(np.unique(cells.row[test]))) == (30_048, 9_130)
    assert sorted({name.split("_")[1] for name in screen.task_names}) == ["EC50", "Ki"]
    assert sum(name.endswith("_Ki") for name in screen.task_names) == 23
    assert screen.tasks["unit"].value_counts().to_dict() == {"pKi": 23, "pEC50": 7}


def test_chembl30_sizes_of_tasks_and_compounds(chembl30):
    screen, cells = chembl30.screen, chembl30.screen.targets.cells()
    sizes = dict(zip(screen.task_names, np.bincount(cells.task), strict=True))
    assert (min(sizes.values()), max(sizes.values())) == (615, 3_657)
    assert (sizes["CHEMBL2835_Ki"], sizes["CHEMBL234_Ki"], sizes["CHEMBL214_Ki"]) == (615, 3_657, 3_317)
    per_compound = np.bincount(np.bincount(cells.row))[1:]
    assert per_compound.tolist() == [26_126, 6_722, 2_199, 481, 61, 16, 10, 10, 8]
    assert 2.61 < cells.value.min() < 2.62
    assert 10.99 < cells.value.max() < 11.01
    cliffs = pd.Series(chembl30.cells["cliff"]).groupby(cells.task).mean()
    assert (round(cliffs.min(), 2), round(cliffs.max(), 2)) == (0.09, 0.54)
    assert not cells.relation.any()


def test_chembl30_overlap_between_tasks(chembl30):
    cells = chembl30.screen.targets.cells()
    test = (chembl30.cells["moleculeace"] == "test").to_numpy()
    in_train = np.zeros(len(chembl30.screen), bool)
    in_train[cells.row[~test]] = True
    in_test = np.zeros(len(chembl30.screen), bool)
    in_test[cells.row[test]] = True
    assert int((in_train & in_test).sum()) == 3_545
    assert int(in_train[cells.row[test]].sum()) == 3_884
    assert int(in_test[cells.row[~test]].sum()) == 5_093


def test_ifng_has_two_donors_and_no_control():
    data = load_dataset("ifng")
    assert (len(data.screen), data.screen.task_names) == (18_898, ["ifng"])
    assert "NO-TARGET" not in set(data.screen.conditions["gene"])
    both = data.cells[["lfc_donor1", "lfc_donor2"]].to_numpy()
    np.testing.assert_allclose(data.screen.targets.cells().value, both.mean(axis=1), atol=1e-6)
    assert round(float(np.corrcoef(both.T)[0, 1]), 2) == 0.25


@pytest.mark.parametrize("name", ["chembl30", "ifng"])
def test_embedded_files_have_their_sha256_and_read_back(name, tmp_path):
    info = DATASETS[name]
    path = Path(fetch.__file__).parent / info.files[0].path
    assert hashlib.sha256(path.read_bytes()).hexdigest() == info.sha256
    data = load_dataset(name)
    assert write_dataset_table(name, tmp_path / "a.csv") == len(data.screen.targets.cells())
    lines = (tmp_path / "a.csv").read_text().splitlines()[:500]
    (tmp_path / "b.csv").write_text("\n".join(lines) + "\n")
    assay = read_assay(tmp_path / "b.csv")
    keep = np.arange(len(assay.screen) - 1)
    assert assay.screen.conditions["condition_id"].iloc[keep].equals(data.screen.conditions["condition_id"].iloc[keep])
    cells = len(assay.screen.take(keep).targets.cells())
    np.testing.assert_array_equal(assay.screen.targets.cells().value[:cells], data.screen.targets.cells().value[:cells])
    pd.testing.assert_frame_equal(
        assay.cells.iloc[:cells].drop(columns="replicates"), data.cells.iloc[:cells], check_dtype=False, atol=1e-6
    )


@pytest.mark.parametrize("name", [*DATASETS, *KNOWLEDGE])
def test_every_dataset_says_where_it_came_from(name):
    info = {**DATASETS, **KNOWLEDGE}[name]
    assert info.url.startswith("https://")
    assert info.licence
    assert info.title
    assert info.size
    assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in info.files)
    assert "@" in info.url or re.search(r"/tree/[0-9a-f]{8,40}/?|/project/[^/]+/[\d.]+/", info.url)


@pytest.mark.skipif(not HAVE, reason="the public data folder is not here")
@pytest.mark.parametrize("name", [name for name in PUBLIC if name not in ("toxcast", "fsmol")])
def test_public_datasets_load_as_screens(name):
    data = load_dataset(name)
    first = int(re.match(r"[\d,]+", data.info.size)[0].replace(",", ""))
    sizes = {len(data.screen), len(data.screen.targets.cells())}
    assert len(data.cells) == len(data.screen.targets.cells())
    assert first in sizes or name in ("adamson", "norman", "horlbeck_growth")


@pytest.mark.parametrize(
    ("name", "conditions", "tasks", "features"),
    [
        ("diabetes", 442, 1, 10),
        ("breast_cancer", 569, 1, 30),
        ("digits", 1_797, 10, 64),
        ("wine_cultivars", 178, 3, 13),
    ],
)
def test_what_scikit_learn_carries_loads_as_screens(name, conditions, tasks, features):
    data = load_dataset(name)
    numbers = [column for column in data.screen.conditions if column.startswith("feature:")]
    assert (data.screen.targets.shape, len(numbers)) == ((conditions, tasks), features)
    assert data.screen.conditions["condition_id"].nunique() == conditions
    assert not np.isnan(data.screen.targets.dense()).any()


def test_classes_of_scikit_learn_are_yes_or_no_tasks():
    digits, tumours = load_dataset("digits").screen, load_dataset("breast_cancer").screen
    assert set(digits.tasks["kind"]) == {"classification"}
    assert np.array_equal(digits.targets.dense().sum(axis=1), np.ones(1_797))
    assert tumours.targets.dense().sum() == 212  # malignant ones, by the description of the set
    assert load_dataset("diabetes").screen.tasks["kind"].tolist() == ["regression"]


@pytest.mark.skipif(not HAVE, reason="the public data folder is not here")
def test_wells_of_buchwald_stay_with_their_cells():
    data = load_dataset("buchwald")
    wells = data.cells[["plate", "row", "col"]]
    assert not wells.duplicated().any()
    assert (wells["plate"].nunique(), wells["row"].max(), wells["col"].max()) == (3, 32, 48)


@pytest.mark.skipif(not HAVE, reason="the public data folder is not here")
def test_what_conditions_of_the_large_pools_are_made_of():
    variants, pairs = load_dataset("gb1").screen.conditions, load_dataset("horlbeck").screen.conditions
    assert (len(variants), variants["variant"].nunique()) == (149_361, 149_361)
    assert set(variants["variant"].str.len()) == {4}
    assert (len(pairs), pairs["condition_id"].nunique()) == (100_576, 100_576)
    assert len(set(pairs["gene_a"]) | set(pairs["gene_b"])) == 449


@pytest.mark.skipif(not HAVE, reason="the public data folder is not here")
def test_gene_knowledge():
    assert load_gene_sets().columns.tolist() == ["gene", "source", "gene_set"]
    assert load_gene_descriptors().shape == (12_944, 130)
    links = load_gene_links().set_index("gene")
    assert len(links) == 17_486
    assert (links["n_interactions"].sum() + links["n_links"].sum()) == 2 * 147_164 + 27_981 + 11_571
    assert links.loc["TP53"].min() > 40


def test_offline_and_absent_says_so_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("SCREENWISE_DATA", str(tmp_path))
    monkeypatch.setenv("SCREENWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(DatasetError, match=r"offline.*SCREENWISE_DATA"):
        load_dataset("esol")
    with pytest.raises(DatasetError, match=r"cannot be fetched.*set SCREENWISE_DATA"):
        load_dataset("hiv")
    with pytest.raises(DatasetError, match="no dataset 'chembl31'; the datasets are chembl30, ifng"):
        load_dataset("chembl31")


def test_a_damaged_file_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("SCREENWISE_DATA", str(tmp_path))
    path = tmp_path / DATASETS["hiv"].files[0].path
    path.parent.mkdir()
    path.write_bytes(b"something else")
    with pytest.raises(DatasetError, match="another content"):
        load_dataset("hiv")


def test_a_table_of_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"\.csv, \.tsv or \.parquet"):
        write_dataset_table("ifng", tmp_path / "a.xlsx")
