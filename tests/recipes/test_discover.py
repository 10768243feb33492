"""Plate maps carry the user's own columns, and results named by them come back to their wells."""

import numpy as np
import pandas as pd
import pytest

from screenwise.campaign.campaign import Campaign
from screenwise.errors import ConfigError, DataError
from screenwise.recipes import campaigns
from screenwise.recipes.discover import propose
from screenwise.recipes.learn import fit
from screenwise.recipes.settings import Ask, CampaignOptions, FitSettings

HEADS = ["c1ccccc1", "c1ccncc1", "c1ccsc1", "C1CCCCC1", "c1ccc2[nH]ccc2c1"]
STANDARD = {f"OC(=O){'C' * size}{head}": f"O=C(O){'C' * size}{head}" for head in HEADS for size in range(2, 8)}
"""SMILES as a chemist may write them -> in standard form."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("discover")
    given = list(STANDARD)
    pool = pd.DataFrame({"Vendor": [f"V{place}" for place in range(len(given))], "smiles": given})
    pool = pool.assign(price=np.arange(len(given)), note="ours", well="Z9", score=1.5)
    pool.to_csv(folder / "pool.csv", index=False)
    screen = pd.DataFrame({"smiles": [tail + head for head in HEADS for tail in ("O", "N", "CC", "CCN", "OC")]})
    screen.assign(pIC50=screen["smiles"].str.len() / 3).to_csv(folder / "screen.csv", index=False)
    fit(str(folder / "screen.csv"), folder / "run", FitSettings(model="ridge"))
    return folder


def test_diverse_wells_count_all_that_the_run_learned_from(tmp_path):
    size = 20
    table = pd.DataFrame({"gene": [f"G{place}" for place in range(size)], "feature:x": np.linspace(0, 1, size)})
    table.assign(growth=np.sin(np.arange(size))).to_csv(tmp_path / "screen.csv", index=False)
    fit(str(tmp_path / "screen.csv"), tmp_path / "run", FitSettings(model="forest"))
    near = pd.DataFrame({"gene": [f"N{place}" for place in range(9)], "feature:x": np.linspace(0.2, 0.8, 9)})
    far = pd.DataFrame({"gene": ["FAR", "LOW"], "feature:x": [4.0, -1.5]})
    pd.concat([near, far]).to_csv(tmp_path / "pool.csv", index=False)

    def chosen():
        asked = Ask(wells=2, acquisition="k_center")
        outcome = propose(tmp_path / "run", str(tmp_path / "pool.csv"), tmp_path / "plate.csv", asked)
        return [row["gene"] for row in outcome.table], outcome.notes

    assert chosen() == (["FAR", "LOW"], [])
    # a run of an earlier release knows only their names, and says so
    ids = pd.read_parquet(tmp_path / "run" / "training.parquet")[["condition_id"]]
    ids.to_parquet(tmp_path / "run" / "training.parquet")
    assert "k_center knows where the 0 of them lie that are in the pool" in chosen()[1][0]


@pytest.mark.parametrize("name", ["entropy", "margin", "least_confidence", "ratio", "bald", "batch_bald", "badge"])
def test_classes_are_chosen_by_what_the_model_doubts(tmp_path, name):
    line = np.linspace(-1, 1, 60)
    table = pd.DataFrame({"gene": [f"G{place}" for place in range(60)], "feature:x": line, "feature:y": line**2})
    table.iloc[::2].assign(active=(line[::2] > 0).astype(int)).to_csv(tmp_path / "screen.csv", index=False)
    table.iloc[1::2].to_csv(tmp_path / "pool.csv", index=False)
    fit(str(tmp_path / "screen.csv"), tmp_path / "run", FitSettings(model="forest"))
    asked = Ask(wells=3, acquisition=name)
    outcome = propose(tmp_path / "run", str(tmp_path / "pool.csv"), tmp_path / "plate.csv", asked)
    assert len(outcome.table) == 3
    if name != "badge":
        doubted = abs(outcome.table[0]["predicted"] - 0.5)
        assert doubted < 0.5
        assert abs(line[int(outcome.table[0]["gene"][1:])]) < 0.2


def ask(folder, **settings):
    return propose(folder / "run", str(folder / "pool.csv"), folder / "plate.csv", Ask(**settings))


def begin(folder, name, pool="pool.csv"):
    campaigns.new(folder / name, str(folder / pool), CampaignOptions("maximize:pIC50", wells=8))
    campaigns.propose(folder / name)
    campaigns.export(folder / name, folder / f"{name}.csv")
    return pd.read_csv(folder / f"{name}.csv")


def test_a_proposed_plate_has_the_pools_own_columns(folder):
    ask(folder, wells=5)
    plate = pd.read_csv(folder / "plate.csv")
    own = ["Vendor", "smiles", "price", "pool_note", "pool_well", "pool_score"]
    said = ["score", "predicted", "std", "in_domain", "reason"]
    assert plate.columns.tolist() == ["well", "plate", "role", "condition_id", *own, *said, "pIC50"]
    samples = plate[plate["role"] == "sample"]
    assert samples["smiles"].isin(STANDARD).all(), "as the user wrote them"
    given = pd.read_csv(folder / "pool.csv").set_index("Vendor")
    assert given.loc[samples["Vendor"], "smiles"].tolist() == samples["smiles"].tolist()
    assert samples["in_domain"].isin([True, False]).all()


def test_an_exported_plate_has_the_pools_own_columns_and_nothing_else(folder):
    plate = begin(folder, "exported")
    own = ["Vendor", "smiles", "price", "pool_note", "pool_well", "score"]
    assert plate.columns.tolist() == ["well", "plate", "role", "condition_id", *own, "pIC50"]
    samples = plate[plate["role"] == "sample"]
    assert samples["smiles"].isin(STANDARD).all()
    assert samples["pool_note"].eq("ours").all()


@pytest.mark.parametrize("form", ["whole plate", "own smiles", "standard smiles", "vendor"])
def test_results_come_back_under_each_name(folder, form):
    name = form.replace(" ", "-")
    plate = begin(folder, name)
    plate["pIC50"] = np.arange(len(plate)) / 10
    plate.loc[plate["role"] == "negative", "pIC50"] = -5.0  # controls that a plate can be believed by
    plate.loc[plate["role"] == "positive", "pIC50"] = 25.0
    samples = plate[plate["role"] == "sample"]
    lines = {
        "whole plate": plate,
        "own smiles": samples[["smiles", "pIC50"]],
        "standard smiles": samples.assign(smiles=samples["smiles"].map(STANDARD))[["smiles", "pIC50"]],
        "vendor": samples.rename(columns={"Vendor": "id", "pIC50": "value"})[["id", "value"]],
    }[form]
    lines.to_csv(folder / "results.csv", index=False)
    facts = campaigns.ingest(folder / name, folder / "results.csv").facts
    assert facts["quarantined"] == 0
    campaign = Campaign.open(folder / name)
    found = campaign.results()
    found = found[found["role"] == "sample"].set_index("Vendor")
    assert found["smiles"].isin(STANDARD).all()
    assert found["value"].to_dict() == samples.set_index("Vendor")["pIC50"].to_dict()
    best = campaign.status()["best"]
    assert best["smiles"] in STANDARD
    campaign.propose()
    assert campaign.replay()["ok"]


def test_pairs_come_back_by_both_members_as_written(tmp_path):
    smiles = list(STANDARD)
    pool = pd.DataFrame({"smiles_a": smiles[:20], "smiles_b": smiles[5:25], "dose_um_a": 0.5, "dose_um_b": 2.0})
    pool.to_csv(tmp_path / "pairs.csv", index=False)
    plate = begin(tmp_path, "pairs", "pairs.csv")
    columns = ["well", "plate", "role", "condition_id", "smiles_a", "smiles_b", "dose_um_a", "dose_um_b", "pIC50"]
    assert plate.columns.tolist() == columns
    samples = plate[plate["role"] == "sample"].assign(pIC50=1.0)
    samples[columns[4:]].to_csv(tmp_path / "results.csv", index=False)
    facts = campaigns.ingest(tmp_path / "pairs", tmp_path / "results.csv").facts
    assert (facts["new"], facts["quarantined"]) == (8, 0)


def test_an_objective_without_direction_says_how_to_write_it(folder):
    with pytest.raises(ConfigError, match=r"'pIC50' does not say .* maximize:pIC50, minimize:pIC50 or absolute:pIC50"):
        ask(folder, objective="pIC50")
    with pytest.raises(ConfigError, match=r"no task 'sol'; it knows pIC50"):
        ask(folder, objective="maximize:sol")


def test_a_pool_with_nothing_left_says_why(folder):
    run = folder / "run"
    with pytest.raises(DataError, match=r"All 25 candidates of .*screen\.csv were measured already"):
        propose(run, str(folder / "screen.csv"), folder / "none.csv")
    (folder / "broken.csv").write_text("smiles\nC1CC\nC1CCC\n")
    with pytest.raises(DataError, match=r"None of the 2 rows of .*broken\.csv can be used; the first: .*ring 1"):
        propose(run, str(folder / "broken.csv"), folder / "none.csv")
    assert not (folder / "none.csv").exists()
