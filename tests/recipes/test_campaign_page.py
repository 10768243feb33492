"""What a page and the tables of a campaign say of genes, and in which words results stand."""

import numpy as np
import pandas as pd
import pytest

from screenwise.recipes import campaigns
from screenwise.recipes.campaign_page import sections
from screenwise.recipes.discover import propose
from screenwise.recipes.learn import fit, predict
from screenwise.recipes.settings import Ask, CampaignOptions, FitSettings, Reading

SIZE = 200


@pytest.fixture
def pool(tmp_path):
    genes = [f"GENE{number}" for number in range(SIZE)]
    pd.DataFrame({"gene": genes, "guide": [f"g{number}" for number in range(SIZE)]}).to_csv(
        tmp_path / "pool.csv", index=False
    )
    rows = [(gene, f"set {one}") for number, gene in enumerate(genes) for one in range(number // 20)]
    pd.DataFrame(rows, columns=["gene", "gene_set"]).to_csv(tmp_path / "sets.csv", index=False)
    return str(tmp_path / "pool.csv"), Reading(features=tmp_path / "sets.csv")


def measure(plate):
    table = pd.read_csv(plate)
    worth = table["gene"].str.removeprefix("GENE").astype(float)
    level = table["role"].map({"positive": 400.0, "negative": 0.0})
    table["growth"] = worth.fillna(level) + np.arange(len(table)) % 5
    table.to_csv(plate, index=False)


def test_genes_stand_beside_how_much_they_are_studied(tmp_path, pool):
    folder = tmp_path / "hits"
    campaigns.new(folder, pool[0], CampaignOptions("maximize:growth", wells=20, threshold=150.0), pool[1])
    for _ in range(2):
        said = campaigns.propose(folder)
        campaigns.export(folder, tmp_path / "plate.csv")
        assert list(pd.read_csv(tmp_path / "plate.csv").columns[4:]) == ["gene", "guide", "growth"]
        measure(tmp_path / "plate.csv")
        campaigns.ingest(folder, tmp_path / "plate.csv")
    told = campaigns.explain(folder, out=tmp_path / "why.csv")
    for outcome in (said, told):
        names = list(outcome.table[0])
        assert names.index("studied") == names.index("score") + 1
        assert "of the 20 most studied are chosen, 2.2 at random (by sets)" in outcome.facts["studied"]
    why = pd.read_csv(tmp_path / "why.csv")
    number = why["gene"].str.removeprefix("GENE").astype(int)
    np.testing.assert_allclose(why["studied"], (number // 20 * 20 + 10) / SIZE)
    page = {section.title: section for section in sections(folder)}
    rounds = page["Well-studied genes"].tables[0].frame
    assert rounds["round"].tolist() == [1, 2]
    assert rounds["hits so far"].iloc[-1] == campaigns.status(folder).details["hits"]
    assert rounds["auroc"].iloc[-1] > 0.9, "the truth grows with the number of sets"
    assert told.facts["studied"] in page["Round 2, and why"].text
    results = page["The campaign"].tables[0].frame
    assert results.columns.tolist()[:5] == ["gene", "guide", "round", "plate", "well"]
    assert results.columns.tolist()[-4:] == ["condition_id", "file", "row", "sequence"]
    assert "note" not in results.columns, "nothing was noted"


def test_where_nothing_tells_it_is_said_once(tmp_path, pool, monkeypatch):
    monkeypatch.setenv("SCREENWISE_DATA", str(tmp_path))
    campaigns.new(tmp_path / "hits", pool[0], CampaignOptions("maximize:growth", wells=20))
    said = campaigns.propose(tmp_path / "hits")
    assert "studied" not in said.table[0]
    assert "Join a table of gene sets" in said.facts["studied"]
    assert (
        "Join a table of gene sets"
        in {one.title: one.text for one in sections(tmp_path / "hits")}["Well-studied genes"]
    )


def test_other_screens_have_no_such_column(tmp_path):
    pd.DataFrame({"smiles": ["C" * size for size in range(1, 41)]}).to_csv(tmp_path / "pool.csv", index=False)
    campaigns.new(tmp_path / "hits", str(tmp_path / "pool.csv"), CampaignOptions("maximize:growth", wells=20))
    said = campaigns.propose(tmp_path / "hits")
    assert "studied" not in {*said.table[0], *said.facts, *campaigns.explain(tmp_path / "hits").table[0]}
    assert not [section for section in sections(tmp_path / "hits") if "studied" in section.title]


def test_choices_and_predictions_of_a_fitted_run_have_it_too(tmp_path, pool):
    table = pd.read_csv(pool[0]).assign(growth=np.arange(SIZE) / 10.0)
    table.iloc[::4].to_csv(tmp_path / "screen.csv", index=False)
    fit(str(tmp_path / "screen.csv"), tmp_path / "run", FitSettings(model="ridge"), pool[1])
    chosen = propose(tmp_path / "run", pool[0], tmp_path / "plate.csv", Ask(wells=15))
    assert chosen.facts["studied"].endswith("of the 15 most studied are chosen, 1.5 at random (by sets)")
    plate = pd.read_csv(tmp_path / "plate.csv").query("role == 'sample'").set_index("gene")
    assert plate.columns.tolist().index("studied") == plate.columns.tolist().index("score") + 1
    assert chosen.table[0]["studied"] == plate.loc[chosen.table[0]["gene"], "studied"]
    predict(tmp_path / "run", pool[0], tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv").set_index("gene")["studied"]
    np.testing.assert_allclose(found, (np.arange(SIZE) // 20 * 20 + 10) / SIZE)
    np.testing.assert_allclose(plate["studied"], found[plate.index])
