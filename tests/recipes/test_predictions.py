"""Tables of predictions: names of rows, intervals of probabilities, one meaning of the domain in both shapes."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from screenwise.data.columns import Columns
from screenwise.errors import ColumnError
from screenwise.prediction import Prediction
from screenwise.recipes.learn import evaluate, fit, predict
from screenwise.recipes.predictions import long_table, wide_table
from screenwise.recipes.settings import FitSettings, PredictSettings, Reading

HEADS = ["c1ccccc1", "c1ccncc1", "c1ccsc1", "C1CCCCC1", "c1ccc2[nH]ccc2c1"]
TAILS = ["O", "N", "CC", "C(=O)O", "CCN", "OC", "CCCO", "OCCO"]
TASKS = pd.DataFrame({"name": ["potency", "active"], "kind": ["regression", "classification"]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two tasks, one of them yes or no, fitted with ridge; written as a chemist writes SMILES."""
    folder = tmp_path_factory.mktemp("predictions")
    smiles = [tail + head for head in HEADS for tail in TAILS]
    potency = np.array([len(text) / 3 for text in smiles]) + np.random.default_rng(0).normal(0, 0.1, len(smiles))
    table = pd.DataFrame({"Compound ID": [f"V{place}" for place in range(len(smiles))], "smiles": smiles})
    table["pIC50"], table["score"] = potency, (potency > np.median(potency)).astype(int)
    table.loc[::7, "score"] = np.nan
    table.to_csv(folder / "screen.csv", index=False)
    reading = Reading(Columns(tasks=("pIC*", "score")))
    fit(str(folder / "screen.csv"), folder / "run", FitSettings(model="ridge", split="random"), reading)
    return folder


def prediction(in_domain=None):
    mean = np.array([[5.0, 0.9], [6.0, 0.02], [np.nan, np.nan]], np.float32)
    return Prediction(mean, np.full_like(mean, 0.4), in_domain=in_domain)


def test_intervals_of_probabilities_stay_between_0_and_1():
    own = pd.DataFrame({"id": ["a", "b", "c"]})
    long = long_table(own, prediction(), TASKS).set_index(["id", "task"])
    wide = wide_table(own, prediction(), TASKS)
    assert long.loc[("a", "active"), ["lower", "upper"]].tolist() == pytest.approx([0.242, 1.0], abs=1e-3)
    assert long.loc[("b", "active"), ["lower", "upper"]].tolist() == pytest.approx([0.0, 0.678], abs=1e-3)
    assert long.loc[("a", "potency"), ["lower", "upper"]].tolist() == pytest.approx([4.342, 5.658], abs=1e-3)
    assert wide["active_upper"].tolist()[0] == 1.0
    assert wide["active_lower"].tolist()[1] == 0.0
    assert np.isnan(wide["active_upper"].tolist()[2])
    assert wide["potency_upper"].tolist()[0] == pytest.approx(5.658, abs=1e-3)


def test_a_row_is_in_the_domain_where_all_its_predictions_are():
    own = pd.DataFrame({"id": ["a", "b", "c"]})
    said = np.array([[True, False], [True, True], [True, True]])
    assert wide_table(own, prediction(said), TASKS)["in_domain"].tolist() == [False, True, False]
    assert long_table(own, prediction(said), TASKS)["in_domain"].tolist() == [True, False, True, True, False, False]
    # a task of which nothing was measured is no prediction: it does not put the row outside
    one = Prediction(np.array([[5.0, np.nan]], np.float32), in_domain=np.array([[True, False]]))
    assert wide_table(own.iloc[:1], one, TASKS)["in_domain"].tolist() == [True]
    assert wide_table(own, prediction(), TASKS)["in_domain"].isna().all()


def test_the_share_in_the_domain_is_the_same_in_both_shapes(folder):
    (folder / "ask.csv").write_text(
        "Compound ID,smiles\nV1,OCCCc1ccccc1\nfar,FC(F)(F)S(=O)(=O)P(=O)(Br)I\nbroken,C1CC\nV2,OCCc1ccncc1\n"
    )
    shares = [
        predict(folder / "run", str(folder / "ask.csv"), folder / f"{wide}.csv", settings=PredictSettings(wide)).facts
        for wide in (False, True)
    ]
    assert shares[0] == shares[1]
    assert shares[0]["rows without prediction"] == 1
    long, wide = pd.read_csv(folder / "False.csv"), pd.read_csv(folder / "True.csv")
    assert shares[0]["predictions in domain"] == pytest.approx(long.loc[long["mean"].notna(), "in_domain"].mean())
    assert wide["in_domain"].tolist() == [True, False, False, True]
    assert wide["Compound ID"].tolist() == ["V1", "far", "broken", "V2"]
    assert long.loc[long["task"] == "score", "upper"].max() <= 1


def test_only_some_tasks_are_predicted(folder):
    screen = str(folder / "screen.csv")
    facts = predict(folder / "run", screen, folder / "only.csv", settings=PredictSettings(only=("sc*",))).facts
    predict(folder / "run", screen, folder / "every.csv")
    only, every = pd.read_csv(folder / "only.csv"), pd.read_csv(folder / "every.csv")
    assert facts["tasks"] == 1
    pd.testing.assert_frame_equal(only, every[every["task"] == "score"].reset_index(drop=True))
    with pytest.raises(ColumnError, match="has no task 'activ'; it has pIC50, score"):
        predict(folder / "run", screen, folder / "no.csv", settings=PredictSettings(only=("activ",)))


def test_evaluate_names_the_rows_as_the_table_does(folder):
    evaluate(folder / "run", str(folder / "screen.csv"), folder / "evaluation")
    found, given = pd.read_csv(folder / "evaluation" / "predictions.csv"), pd.read_csv(folder / "screen.csv")
    assert found.columns.tolist()[:4] == ["Compound ID", "smiles", "condition_id", "task"]
    assert found["in_domain"].isin([True, False]).all()
    assert set(found["task"]) == {"pIC50", "score"}, "the tasks that were named at the fit"
    table = given.set_index("Compound ID")
    for name, smiles, task, value in found[["Compound ID", "smiles", "task", "value"]].itertuples(index=False):
        assert table.loc[name, "smiles"] == smiles
        assert table.loc[name, task] == pytest.approx(value, abs=1e-4)


def write_cells(path, smiles, names, index_name):
    obs = pd.DataFrame({"smiles": smiles}, index=pd.Index(names, name=index_name))
    value = np.array([[len(text) / 3] for text in smiles], np.float32)
    AnnData(X=value, obs=obs, var=pd.DataFrame(index=["potency"])).write_h5ad(path)


@pytest.mark.parametrize(("index_name", "title"), [(None, "obs_names"), ("barcode", "barcode")])
def test_rows_of_an_h5ad_keep_their_names(tmp_path, index_name, title):
    smiles = [tail + head for head in HEADS for tail in TAILS]
    names = [f"W{place:02d}" for place in range(len(smiles))]
    write_cells(tmp_path / "screen.h5ad", smiles, names, index_name)
    fit(str(tmp_path / "screen.h5ad"), tmp_path / "run", FitSettings(model="ridge"))
    predict(tmp_path / "run", str(tmp_path / "screen.h5ad"), tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv")
    assert found[title].tolist() == names
    assert found["smiles"].tolist() == smiles
    other = ["FCC" + text for text in smiles[:6]]
    write_cells(tmp_path / "new.h5ad", other, names[:6], index_name)
    evaluate(tmp_path / "run", str(tmp_path / "new.h5ad"), tmp_path / "evaluation")
    assert pd.read_csv(tmp_path / "evaluation" / "predictions.csv")[title].tolist() == names[:6]


def test_rows_of_a_dataset_are_named_by_their_entity(tmp_path):
    genes = pd.DataFrame({"gene": ["TP53", "MYC", "RB1"], "effect": [1.0, 2.0, 3.0]})
    genes.to_csv(tmp_path / "screen.csv", index=False)
    fit(str(tmp_path / "screen.csv"), tmp_path / "run", FitSettings(model="mean"))
    predict(tmp_path / "run", "ifng", tmp_path / "out.csv")
    assert pd.read_csv(tmp_path / "out.csv")["gene"].str.len().gt(0).all()
