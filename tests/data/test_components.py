"""Reactions: what is applied is a set of components."""

import numpy as np
import pandas as pd
import pytest

from screenwise.data.assay import read_assay, read_conditions
from screenwise.data.columns import Columns
from screenwise.errors import ColumnError
from screenwise.recipes import learn
from screenwise.recipes.settings import FitSettings, Reading

PARTS = ("base", "ligand", "kelvin")


@pytest.fixture
def path(tmp_path):
    rows = [("K2CO3", "XPhos", 300, 10.0, "CCO"), ("K2CO3", "", 300, 1.0, "CCO"), ("Cs2CO3", "XPhos", 350, 20.0, "CCO")]
    frame = pd.DataFrame(rows, columns=[*PARTS, "yield", "smiles"])
    frame.to_csv(tmp_path / "reactions.csv", index=False)
    return tmp_path / "reactions.csv"


def test_components_together_are_one_condition(path):
    screen = read_assay(path, Columns(components=PARTS, tasks=("yield",))).screen
    assert len(screen) == 3
    assert screen.task_names == ["yield"]
    assert screen.conditions["entity"].tolist()[1] == "K2CO3 | none | 300"
    numbers = screen.conditions.set_index("entity").filter(like="feature:")
    assert sorted(numbers) == [
        "feature:base=Cs2CO3", "feature:base=K2CO3", "feature:kelvin", "feature:ligand=XPhos", "feature:ligand=none",
    ]  # fmt: skip
    assert numbers["feature:kelvin"].tolist() == [300, 300, 350]


def test_the_same_components_are_the_same_condition_in_every_table(path):
    columns = Columns(components=PARTS, tasks=("yield",))
    pool = read_conditions(path, columns)
    assert pool["condition_id"].tolist() == read_assay(path, columns).screen.conditions["condition_id"].tolist()
    assert pool.attrs["own"] == list(PARTS)
    assert pool["ligand"].fillna("").tolist() == ["XPhos", "", "XPhos"]


def test_a_product_beside_components_is_a_label(path):
    screen = read_assay(path, Columns(components=PARTS)).screen
    assert "smiles" not in screen.conditions


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (Columns(components=("base", "solvent")), "solvent"),
        (Columns(components=()), "names nothing"),
        (Columns(components=PARTS, smiles="smiles"), "give one of them"),
    ],
)
def test_what_cannot_be_meant_is_refused(path, columns, said):
    with pytest.raises(ColumnError, match=said):
        read_assay(path, columns)


def test_a_run_predicts_reactions_that_leave_choices_out(path, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.choice(["a", "b", "c"], 40) for name in ("base", "ligand")})
    frame["yield"] = frame["base"].map({"a": 0.0, "b": 5.0, "c": 9.0}) + rng.normal(0, 0.1, 40)
    frame.to_csv(tmp_path / "train.csv", index=False)
    frame[frame["base"] != "c"].head(4).drop(columns="yield").to_csv(tmp_path / "ask.csv", index=False)
    reading = Reading(Columns(components=("base", "ligand"), tasks=("yield",)))
    learn.fit(str(tmp_path / "train.csv"), tmp_path / "run", FitSettings(model="gp"), reading)
    learn.predict(tmp_path / "run", str(tmp_path / "ask.csv"), tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv")
    expected = found["base"].map({"a": 0.0, "b": 5.0})
    assert np.abs(found["mean"] - expected).max() < 1
