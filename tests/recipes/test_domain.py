"""`screenwise domain`: sets, intervals and neighbours of every cell, and what was achieved where values are known."""

import numpy as np
import pandas as pd
import pytest

from screenwise.cli.launch import app
from screenwise.data import chemistry
from screenwise.data.columns import Columns
from screenwise.errors import DataError
from screenwise.evaluate.conformal import class_p_values, conformal_table, label_sets
from screenwise.recipes import predictions
from screenwise.recipes.domain import domain
from screenwise.recipes.fitted_run import open_run, task_table
from screenwise.recipes.learn import fit, predict
from screenwise.recipes.settings import DomainSettings, FitSettings, Reading
from screenwise.recipes.trust import learn_trust
from screenwise.represent.fingerprint import Fingerprint
from screenwise.represent.similarity import count_tanimoto

RINGS = ("c1ccccc1", "c1ccncc1", "C1CCCCC1", "c1ccsc1", "C1CCNCC1", "c1ccoc1", "C1CCOCC1", "c1cnccn1")
TAILS = ("O", "N", "Cl", "N#C", "OC(=O)")


def table(seed=0):
    """Long table: a value that grows with the chain, one with bounds, a class, and a class of few compounds."""
    rng = np.random.default_rng(seed)
    smiles = [f"{tail}{'C' * length}{ring}" for tail in TAILS for ring in RINGS for length in range(1, 8)]
    length = np.array([text.count("C") for text in smiles], float)
    value = length + rng.normal(0, 0.5, len(smiles))
    parts = [
        pd.DataFrame({"task": "size", "value": value.round(4)}),
        pd.DataFrame(
            {"task": "bounded", "value": np.maximum(value, 5).round(4), "relation": np.where(value < 5, "<", "=")}
        ),
        pd.DataFrame({"task": "long", "value": (value + rng.normal(0, 1, len(smiles)) > 7).astype(float)}),
        pd.DataFrame({"task": "rare", "value": (value > 6).astype(float)})[::12],
    ]
    long = pd.concat([part.assign(smiles=np.asarray(smiles)[part.index]) for part in parts], ignore_index=True)
    long["compound"] = "C" + pd.Series(pd.factorize(long["smiles"])[0].astype(str))
    return long.assign(relation=long["relation"].fillna("="))[["compound", "smiles", "task", "relation", "value"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("domain")
    every = table()
    new = np.random.default_rng(1).permutation(every["compound"].unique())[:90]
    every[~every["compound"].isin(new)].to_csv(home / "train.csv", index=False)
    every[every["compound"].isin(new)].to_csv(home / "test.csv", index=False)
    every[every["compound"].isin(new)][["compound", "smiles"]].drop_duplicates().to_csv(home / "ask.csv", index=False)
    fit(str(home / "train.csv"), home / "run", FitSettings(model="gp"))
    return home


@pytest.fixture(scope="module")
def judged(folder):
    outcome = domain(folder / "run", str(folder / "test.csv"), folder / "domain.csv", DomainSettings(0.2))
    return outcome, pd.read_csv(folder / "domain.csv", dtype={"set": str}, keep_default_na=True)


def test_every_condition_and_task_once_beside_the_prediction(folder, judged):
    outcome, rows = judged
    predict(folder / "run", str(folder / "ask.csv"), folder / "predicted.csv")
    predicted = pd.read_csv(folder / "predicted.csv").set_index(["smiles", "task"])
    assert len(rows) == outcome.facts["cells"] == 90 * 4
    both = rows.set_index(["smiles", "task"])
    pd.testing.assert_series_equal(both["mean"], predicted["mean"].loc[both.index], check_exact=False, rtol=1e-5)
    np.testing.assert_allclose(both["variance"], predicted["std"].loc[both.index] ** 2, rtol=1e-3)
    assert (both["in_domain"] == predicted["in_domain"].loc[both.index]).all()


def test_sets_are_those_of_the_calibration_cells(folder, judged):
    _, rows = judged
    mine = rows[rows["task"] == "long"]
    tasks = task_table(folder / "run")
    place = tasks["name"].tolist().index("long")
    cells = learn_trust(open_run(folder / "run"), tasks, (0.2,)).labels
    p = class_p_values(cells, mine["mean"], np.full(len(mine), place))
    np.testing.assert_allclose(mine[["p_0", "p_1"]], p, atol=1e-3)
    held = mine[["p_0", "p_1"]] > 0.2
    says = {"none": (False, False), "0": (True, False), "1": (False, True), "0 or 1": (True, True)}
    assert [says[one] for one in mine["set"]] == list(held.itertuples(index=False, name=None))
    assert (mine["single"] == (held.sum(axis=1) == 1)).all()
    assert mine["lower"].isna().all()


def test_neighbours_are_the_most_similar_compounds_measured_of_the_task(folder, judged):
    _, rows = judged
    train = pd.read_csv(folder / "train.csv").drop_duplicates(["compound", "task"])
    counts = Fingerprint(radius=3, chiral=True)
    for task in ("size", "rare"):
        known = train[train["task"] == task]
        asked = rows[rows["task"] == task]
        similar = count_tanimoto(counts.transform(asked), counts.transform(known))
        np.testing.assert_allclose(asked["similarity"], similar.max(axis=1), rtol=1e-5)
        place = known["compound"].tolist()
        picked = similar[np.arange(len(asked)), [place.index(name) for name in asked["neighbour"]]]
        np.testing.assert_allclose(picked, similar.max(axis=1), rtol=1e-6)


def test_summary_says_what_was_achieved(folder, judged):
    outcome, rows = judged
    truth = pd.read_csv(folder / "test.csv").set_index(["smiles", "task"])
    both = rows.set_index(["smiles", "task"]).join(truth[["value", "relation"]])
    size = both.loc[(slice(None), "size"), :]
    held = ((size["value"] >= size["lower"]) & (size["value"] <= size["upper"])).mean()
    bounded = both.loc[(slice(None), "bounded"), :]
    exact = bounded[bounded["relation"] == "="]
    held_exact = ((exact["value"] >= exact["lower"]) & (exact["value"] <= exact["upper"])).mean()
    values = next(row for row in outcome.table if row["error"] == 0.2 and "values" in row["tasks"])
    assert values["valid for values"] == pytest.approx((held + held_exact) / 2)
    bounds = bounded[bounded["relation"] == "<"]
    assert values["for bounds"] == pytest.approx((bounds["lower"] < bounds["value"]).mean())
    assert 0 < values["width"] < 1
    classes = next(row for row in outcome.table if row["error"] == 0.2 and "classes" in row["tasks"])
    table = []
    for name in ("long", "rare"):
        mine = both.loc[(slice(None), name), :]
        sets = label_sets(mine[["p_0", "p_1"]].to_numpy(), 0.2)
        table.append(conformal_table(sets, np.zeros(len(mine), int), 1, mine["value"]))
    table = pd.concat(table)
    assert classes["single label"] == pytest.approx(table["efficiency"].mean())
    assert classes["valid for 1"] == pytest.approx(table["validity_1"].mean())
    assert outcome.facts["tasks calibrated by own"] == 3
    assert outcome.facts["tasks calibrated by pool"] == 1
    assert set(rows.loc[rows["task"] == "rare", "calibration"]) == {"pool"}


def test_parts_do_not_change_the_table(folder, judged, monkeypatch):
    monkeypatch.setattr(predictions, "CHUNK_CELLS", 40)
    outcome = domain(folder / "run", str(folder / "test.csv"), folder / "parts.parquet", DomainSettings(0.2))
    parts, whole = (pd.DataFrame(one.table).set_index(["error", "tasks"]) for one in (outcome, judged[0]))
    pd.testing.assert_frame_equal(parts, whole)
    parts = pd.read_parquet(folder / "parts.parquet")
    assert parts["neighbour"].tolist() == judged[1]["neighbour"].tolist()
    np.testing.assert_allclose(parts["upper"], judged[1]["upper"], rtol=1e-6)


def test_conditions_alone_have_no_validity_and_unreadable_ones_no_sets(folder):
    asked = pd.concat(
        [pd.read_csv(folder / "ask.csv").head(3), pd.DataFrame({"compound": ["bad"], "smiles": ["C1CC"]})]
    )
    asked.to_csv(folder / "few.csv", index=False)
    outcome = domain(folder / "run", str(folder / "few.csv"), folder / "few_domain.csv")
    rows = pd.read_csv(folder / "few_domain.csv")
    bad = rows[rows["compound"] == "bad"]
    assert len(rows) == 16
    assert bad[["mean", "lower", "p_0", "set", "similarity"]].isna().all(axis=None)
    assert bad["note"].str.contains("ring").all()
    assert all(row.get("valid for values") is None for row in outcome.table)
    assert any("validity is not known" in note for note in outcome.notes)


def test_measurements_that_are_named_and_not_there_are_an_error(folder):
    with pytest.raises(DataError, match="nope"):
        domain(folder / "run", str(folder / "ask.csv"), folder / "x.csv", reading=Reading(Columns(value="nope")))
    assert not (folder / "x.csv").exists()


def test_conditions_that_the_fit_has_seen_do_not_count(folder):
    outcome = domain(folder / "run", str(folder / "train.csv"), folder / "seen.csv")
    assert outcome.facts["measured cells that the run has not seen"] == 0
    assert any("190 measured conditions were used to fit" in note for note in outcome.notes)


def test_a_model_without_calibration_says_so(folder):
    fit(str(folder / "train.csv"), folder / "forest", FitSettings(model="forest", settings={"trees": 5}))
    outcome = domain(folder / "forest", str(folder / "ask.csv"), folder / "forest.csv")
    rows = pd.read_csv(folder / "forest.csv")
    assert rows[["lower", "upper"]].isna().all(axis=None)
    assert rows["similarity"].notna().all()
    assert any("no conformal sets" in note for note in outcome.notes)


def test_the_error_level_may_come_from_a_file_and_structures_are_standardised_once(folder, monkeypatch):
    asked = []
    whole = chemistry._standard_form
    monkeypatch.setattr(chemistry, "_standard_form", lambda text: asked.append(text) or whole(text))
    (folder / "domain.toml").write_text("error = 0.2\n")
    arguments = ["domain", str(folder / "run"), str(folder / "test.csv"), "--out", str(folder / "asked.csv")]
    assert app.meta([*arguments, "--config", str(folder / "domain.toml")], result_action="return_value") == 0
    assert len(asked) == len(set(asked)) == 90
    by_file = pd.read_csv(folder / "asked.csv")
    pd.testing.assert_series_equal(by_file["upper"], pd.read_csv(folder / "domain.csv")["upper"])
