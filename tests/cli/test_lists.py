"""Lists with commas, or one by one: every option that takes several values takes both."""

import pandas as pd
import pytest

from screenwise.cli.launch import app
from screenwise.cli.lists import COMMAS, joined
from screenwise.data.columns import Columns, listed
from screenwise.errors import ColumnError
from screenwise.recipes.learn import fit, predict
from screenwise.recipes.settings import FitSettings, PredictSettings, Reading


@pytest.mark.parametrize("name", COMMAS)
def test_what_is_given_again_is_joined_and_the_rest_stays(name):
    line = ["simulate", name, "a", "--jobs", "2", f"{name}=b,c", "--policyx", "z", name, "d"]
    assert joined(line) == ["simulate", name, "a,b,c,d", "--jobs", "2", "--policyx", "z"]
    assert joined(["fit", "table.csv", name]) == ["fit", "table.csv", name], "the value is missing: not our error"


def test_names_with_a_comma_are_kept_where_they_are_known():
    assert listed(["a,b", "yield, %"], ["yield, %"]) == ["a", "b", "yield, %"]
    assert listed(["a, b,"]) == ["a", "b"]
    assert listed([]) == []


def test_tasks_and_components_by_commas_are_those_given_one_by_one(tmp_path):
    reactions = pd.DataFrame(
        {"base": list("xyz") * 8, "ligand": list("pqpp") * 6, "yield, %": range(24), "purity": 1.5}
    )
    reactions.assign(cost=2.0).to_csv(tmp_path / "reactions.csv", index=False)
    reactions[["base", "ligand"]].drop_duplicates().to_csv(tmp_path / "pool.csv", index=False)
    pool = str(tmp_path / "pool.csv")

    def predicted(name, components, tasks, only):
        reading = Reading(Columns(components=components, tasks=tasks))
        fit(str(tmp_path / "reactions.csv"), tmp_path / name, FitSettings(model="ridge"), reading)
        predict(tmp_path / name, pool, tmp_path / f"{name}.csv", settings=PredictSettings(only=only))
        return pd.read_csv(tmp_path / f"{name}.csv")

    single = predicted("single", ("base", "ligand"), ("yield, %", "purity", "cost"), ("yield, %", "purity"))
    commas = predicted("commas", ("base,ligand",), ("yield, %", "purity,cost"), ("yield, %", "purity"))
    pd.testing.assert_frame_equal(commas, single)
    assert set(single["task"]) == {"yield, %", "purity"}
    assert {"base", "ligand"} <= set(commas)
    predict(tmp_path / "commas", pool, tmp_path / "two.csv", settings=PredictSettings(only=("purity,cost",)))
    assert set(pd.read_csv(tmp_path / "two.csv")["task"]) == {"purity", "cost"}
    with pytest.raises(ColumnError, match="no task 'yield'"):
        predict(tmp_path / "commas", pool, tmp_path / "no.csv", settings=PredictSettings(only=("purity,yield",)))


def test_a_command_takes_both(tmp_path, capsys):
    pd.DataFrame({"gene": [f"G{place}" for place in range(40)], "growth": range(40), "feature:x": range(40)}).to_csv(
        tmp_path / "pool.csv", index=False
    )
    line = ["simulate", "--pool", str(tmp_path / "pool.csv"), "--out", str(tmp_path / "out"), "--seeds", "1"]
    line += ["--rounds", "1", "--wells", "4", "--start", "8", "--policy", "auto", "--policy", "ei,ucb"]
    assert app.meta(line, result_action="return_value") == 0
    assert list(pd.read_csv(tmp_path / "out" / "summary.csv")["policy"]) == ["auto", "ei", "ucb", "random", "greedy"]
    assert "summary.csv" in capsys.readouterr().out


def test_values_with_blanks_between_are_told_how_to_write_them(capsys):
    with pytest.raises(SystemExit) as left:
        app.meta(["predict", "run", "table.csv", "--out", "p.csv", "--only", "A", "B"], result_action="return_value")
    assert left.value.code == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "Unused Tokens: ['B']" in said
    assert "commas between them" in said
