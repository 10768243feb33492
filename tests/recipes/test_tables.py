"""Tables joined with features: the user's own columns stay, and what is not known is said."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from screenwise.data.columns import Columns
from screenwise.data.datasets import data_folders
from screenwise.errors import DataError, ScreenwiseError
from screenwise.recipes.learn import fit, predict
from screenwise.recipes.settings import FitSettings, Reading
from screenwise.recipes.tables import candidates, measured

GENES = [f"GENE{number}" for number in range(40)]
HAVE = any((folder / "active_learning" / "gene_pathways.parquet").exists() for folder in data_folders())


def screen_with_features(folder, named):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    pd.DataFrame({"gene": GENES, "effect": x[:, 0]}).to_csv(folder / "screen.csv", index=False)
    numbers = {f"x{place}": x[: len(named), place] for place in range(3)}
    pd.DataFrame({"gene": named} | numbers).to_csv(folder / "features.csv", index=False)
    return str(folder / "screen.csv"), Reading(features=folder / "features.csv")


def test_predictions_of_genes_name_the_genes(tmp_path):
    table, reading = screen_with_features(tmp_path, GENES)
    fit(table, tmp_path / "run", FitSettings(model="ridge"), reading)
    predict(tmp_path / "run", table, tmp_path / "out.csv")
    assert pd.read_csv(tmp_path / "out.csv")["gene"].tolist() == GENES


@pytest.mark.skipif(not HAVE, reason="the public tables of genes are not here")
def test_public_knowledge_of_genes_is_joined_by_its_name_unless_a_file_is_called_so(tmp_path, monkeypatch):
    pd.DataFrame({"gene": ["TP53", "OR5H6", "EGFR"], "effect": [1.0, 2.0, 3.0]}).to_csv(
        tmp_path / "screen.csv", index=False
    )
    reading = Reading(features=Path("gene_sets"))
    joined = measured(str(tmp_path / "screen.csv"), reading).screen.conditions.set_index("gene")["sets:gene_set"]
    assert joined.loc["TP53"].count("|") > 20
    fit(str(tmp_path / "screen.csv"), tmp_path / "run", FitSettings(model="mean"), reading)
    assert "gene_set" in pd.read_parquet(tmp_path / "run" / "features.parquet").columns
    with pytest.raises(ScreenwiseError, match="neither a file nor public knowledge of genes: gene_sets, gene_desc"):
        measured(str(tmp_path / "screen.csv"), Reading(features=Path("gene_set")))
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"gene": ["TP53"], "size": [1.0]}).to_csv("gene_sets", index=False)
    with pytest.raises(ScreenwiseError):  # a file without an ending is no table
        measured("screen.csv", reading)


def test_genes_without_features_are_counted(tmp_path):
    table, reading = screen_with_features(tmp_path, GENES[:30])
    assert "10 of 40 conditions have no features" in measured(table, reading).notes[-1]
    fit(table, tmp_path / "run", FitSettings(model="ridge"), reading)
    assert predict(tmp_path / "run", table, tmp_path / "out.csv").notes == [
        "10 of 40 rows have no features in the run's table."
    ]


def test_features_of_other_genes_are_an_error(tmp_path):
    table, reading = screen_with_features(tmp_path, [name.lower() for name in GENES])
    with pytest.raises(DataError, match=r"features\.csv names none of the 40 conditions"):
        measured(table, reading)


def test_features_are_joined_on_the_id_as_the_user_calls_it(tmp_path):
    rng = np.random.default_rng(0)
    numbers = {f"x{place}": rng.normal(size=40) for place in range(3)}
    pd.DataFrame({"part": GENES, "effect": numbers["x0"]}).to_csv(tmp_path / "screen.csv", index=False)
    pd.DataFrame({"part": GENES} | numbers).to_csv(tmp_path / "features.csv", index=False)
    reading = Reading(Columns(id="part"), tmp_path / "features.csv")
    fit(str(tmp_path / "screen.csv"), tmp_path / "run", FitSettings(model="ridge"), reading)
    predict(tmp_path / "run", str(tmp_path / "screen.csv"), tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv")
    assert np.corrcoef(found["mean"], numbers["x0"])[0, 1] > 0.9


@pytest.mark.parametrize(
    ("name", "said"), [("esoll", "did you mean 'esol'"), ("zzzzzz", "screenwise datasets"), ("no.csv", "no.csv")]
)
def test_a_name_that_is_none_is_said_to_be_so(name, said):
    for read in (measured, candidates):
        with pytest.raises(ScreenwiseError, match=said):
            read(name, Reading())


def test_structures_show_progress_and_a_dataset_names_its_source(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("smiles,pKi\n" + "".join(f"{'C' * size}O,{size}\n" for size in range(1, 30)))
    told = []
    read = measured(str(path), Reading(), progress=lambda *what: told.append(what))
    assert read.source == str(path)
    assert told[0] == ("Standardising structures", 0, 29)
    assert told[-1] == ("Standardising structures", 29, 29)
    told.clear()
    assert len(candidates(str(path), Reading(), progress=lambda *what: told.append(what))) == 29
    assert told[-1] == ("Standardising structures", 29, 29)
    assert measured("ifng", Reading()).source == "dataset ifng"
