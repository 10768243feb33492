"""A run labels what it is sure of, and another fit learns from it; library screens and given features likewise."""

import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ConfigError, DataError, ModelError
from screenwise.recipes.domain import domain
from screenwise.recipes.fitted_run import open_run, task_table
from screenwise.recipes.learn import fit, predict
from screenwise.recipes.pseudolabel import pseudo_labels, pseudolabel
from screenwise.recipes.settings import DomainSettings, FitSettings, PseudolabelSettings, Reading

NETWORK = {"epochs": 4, "hidden": (16,), "minimum_count": 1}
SMILES = [
    f"{tail}{'C' * length}{ring}"
    for tail in ("O", "N", "Cl", "N#C", "OC(=O)")
    for ring in ("c1ccccc1", "c1ccncc1", "C1CCCCC1", "c1ccsc1")
    for length in range(1, 11)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Compounds with an assay, others with nothing, and numbers ("image features") of all of them."""
    home = tmp_path_factory.mktemp("pseudo")
    rng = np.random.default_rng(0)
    length = np.array([text.count("C") + text.count("c") for text in SMILES], float)
    active = (length + rng.normal(0, 1.5, len(SMILES)) > 10).astype(int)
    order = rng.permutation(len(SMILES))
    some, rest = order[:120], order[120:]
    every = pd.DataFrame({"compound": [f"C{place}" for place in range(len(SMILES))], "smiles": SMILES})
    every.iloc[some].assign(active=active[some]).to_csv(home / "assay.csv", index=False)
    every.iloc[rest].to_csv(home / "rest.csv", index=False)
    image = pd.DataFrame({"compound": every["compound"], "area": length + rng.normal(0, 0.5, len(SMILES))})
    image["spots"] = rng.normal(size=len(SMILES))
    image.to_csv(home / "image.csv", index=False)
    noisy = (length + rng.normal(0, 3, len(SMILES)) > 10).astype(int)
    every.assign(hts=noisy).to_csv(home / "library.csv", index=False)
    fit(str(home / "assay.csv"), home / "first", FitSettings(model="gp"))
    pseudolabel(home / "first", str(home / "rest.csv"), home / "pseudo.csv", PseudolabelSettings(0.2, 0.3))
    return home, dict(zip(every["compound"], active, strict=True))


def test_labels_are_those_that_stand_alone_in_their_sets(folder):
    home, truth = folder
    labels = pd.read_csv(home / "pseudo.csv").set_index("compound")
    domain(home / "first", str(home / "rest.csv"), home / "domain.csv", DomainSettings(0.2))
    sets = pd.read_csv(home / "domain.csv", dtype={"set": str}).set_index("compound")
    alone = sets[sets["single"].astype(bool)]
    assert labels["value"].astype(str).to_dict() == alone["set"].to_dict()
    assert set(labels["task"]) == {"active (pseudo)"}
    assert set(labels["weight"]) == {0.3}
    assert np.mean([truth[name] == value for name, value in labels["value"].items()]) > 0.8


def test_the_function_gives_the_same_as_the_command(folder):
    home, _ = folder
    screen = pseudo_labels(
        open_run(home / "first"), task_table(home / "first"), pd.read_csv(home / "rest.csv"), error=0.2, weight=0.3
    )
    cells = screen.targets.cells()
    found = dict(zip(screen.conditions["compound"].to_numpy()[cells.row], cells.value.astype(int), strict=True))
    assert found == pd.read_csv(home / "pseudo.csv").set_index("compound")["value"].to_dict()
    assert screen.tasks[["weight", "aggregation_weight"]].to_numpy().tolist() == [[0.3, 0.0]]


@pytest.mark.parametrize("extra", ["pseudo.csv", "library.csv"])
def test_auxiliary_tasks_teach_and_are_neither_scored_nor_predicted(folder, extra):
    home, _ = folder
    run = home / f"taught by {extra}"
    settings = FitSettings(model="multitask", split="random", settings=NETWORK)
    outcome = fit(str(home / "assay.csv"), run, settings, Reading(auxiliary=home / extra))
    tasks = task_table(run)
    assert tasks["aggregation_weight"].tolist() == [1.0, 0.0]
    assert tasks["weight"].tolist() == pytest.approx([1.0, 0.3 if extra == "pseudo.csv" else 0.1])
    assert {row["model"] for row in outcome.table} == {"this model", "neighbours", "mean"}
    predict(run, str(home / "rest.csv"), home / "predicted.csv")
    assert set(pd.read_csv(home / "predicted.csv")["task"]) == {"active"}
    domain(run, str(home / "rest.csv"), home / "taught.csv")
    assert set(pd.read_csv(home / "taught.csv")["task"]) == {"active"}
    plain = home / "plain"
    fit(str(home / "assay.csv"), plain, settings)
    predict(plain, str(home / "rest.csv"), home / "plain.csv")
    assert (pd.read_csv(home / "plain.csv")["mean"] != pd.read_csv(home / "predicted.csv")["mean"]).all()
    learnt = pd.read_parquet(run / "training.parquet")
    assert len(learnt) > len(pd.read_parquet(plain / "training.parquet"))


def test_a_model_without_a_trunk_is_taught_nothing(folder):
    home, _ = folder
    with pytest.raises(ConfigError, match="teach ridge nothing; use --model multitask"):
        fit(str(home / "assay.csv"), home / "r", FitSettings(model="ridge"), Reading(auxiliary=home / "library.csv"))
    assert not (home / "r").exists()


def test_held_out_compounds_teach_nothing_through_auxiliary_tasks(folder):
    home, _ = folder
    assay = pd.read_csv(home / "assay.csv")
    assay["split"] = np.where(np.arange(len(assay)) % 4 == 0, "test", "train")
    assay.to_csv(home / "split.csv", index=False)
    run = home / "split run"
    settings = FitSettings(model="multitask", split="split", settings=NETWORK)
    fit(str(home / "split.csv"), run, settings, Reading(auxiliary=home / "library.csv"))
    learnt = set(pd.read_parquet(run / "training.parquet")["smiles"])
    assert not learnt & set(assay.loc[assay["split"] == "test", "smiles"])


def test_image_features_are_an_ordinary_input_and_may_give_the_labels(folder):
    home, truth = folder
    named = pd.read_csv(home / "assay.csv")[["compound", "active"]]
    named.to_csv(home / "named.csv", index=False)
    pd.read_csv(home / "rest.csv")[["compound"]].to_csv(home / "rest_named.csv", index=False)
    fit(str(home / "named.csv"), home / "image", FitSettings(model="gp"), Reading(features=home / "image.csv"))
    outcome = pseudolabel(home / "image", str(home / "rest_named.csv"), home / "seen.csv")
    labels = pd.read_csv(home / "seen.csv").set_index("compound")["value"]
    assert outcome.facts["pseudo-labels"] == len(labels) > 10
    assert np.mean([truth[name] == value for name, value in labels.items()]) > 0.85


def test_what_the_run_was_fitted_on_gets_no_pseudo_label(folder):
    home, _ = folder
    outcome = pseudolabel(home / "first", str(home / "library.csv"), home / "all.csv", PseudolabelSettings(0.2, 0.3))
    assert outcome.facts["left out because the run was fitted on them"] == 120
    pd.testing.assert_frame_equal(
        pd.read_csv(home / "all.csv").sort_values("compound", ignore_index=True),
        pd.read_csv(home / "pseudo.csv").sort_values("compound", ignore_index=True),
    )


def test_bad_input_is_told(folder):
    home, _ = folder
    with pytest.raises(ConfigError, match="must be above 0"):
        pseudolabel(home / "first", str(home / "rest.csv"), home / "x.csv", PseudolabelSettings(0.1, 0.0))
    with pytest.raises(DataError, match="between 0 and 1"):
        pseudolabel(home / "first", str(home / "rest.csv"), home / "x.csv", PseudolabelSettings(10.0, 0.1))
    assay = pd.read_csv(home / "assay.csv")
    assay.assign(active=np.linspace(4, 9, len(assay))).to_csv(home / "values.csv", index=False)
    fit(str(home / "values.csv"), home / "values", FitSettings(model="mean"))
    with pytest.raises(ModelError, match="0 classification tasks"):
        pseudolabel(home / "values", str(home / "rest.csv"), home / "x.csv")
