import json
import shutil

import numpy as np
import pandas as pd
import pytest

from screenwise.data.columns import Columns
from screenwise.errors import DataError, ModelError
from screenwise.recipes.fitted_run import open_run
from screenwise.recipes.gain import gain
from screenwise.recipes.learn import fit
from screenwise.recipes.reporting import report
from screenwise.recipes.settings import FitSettings, GainSettings, Reading

COLUMNS = Reading(Columns(id="gene", tasks=("growth", "size", "lethal")))
FEATURES = 4


def table(rng, number=150):
    """Genes with numbers that two value tasks and a label follow; one task stays unlike the numbers."""
    x = rng.normal(size=(number, FEATURES))
    frame = pd.DataFrame({"gene": [f"G{place}" for place in range(number)]})
    frame["growth"] = x[:, 0] + 0.3 * rng.normal(size=number)
    frame["size"] = x[:, 1] - x[:, 0] + 0.3 * rng.normal(size=number)
    frame["lethal"] = (x[:, 0] + 0.3 * rng.normal(size=number) > 0).astype(int)
    numbers = pd.DataFrame(x, columns=[f"x{place}" for place in range(FEATURES)])
    numbers.insert(0, "gene", frame["gene"])
    return frame.round(4), numbers.round(4)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two fitted runs, and a table of which the last 70 rows are new to both."""
    folder = tmp_path_factory.mktemp("gain")
    frame, numbers = table(np.random.default_rng(0))
    frame.iloc[:80].to_csv(folder / "train.csv", index=False)
    frame.iloc[60:].to_csv(folder / "test.csv", index=False)
    numbers.to_csv(folder / "numbers.csv", index=False)
    reading = Reading(COLUMNS.columns, folder / "numbers.csv")
    for model in ("mean", "ridge"):
        fit(str(folder / "train.csv"), folder / model, FitSettings(model=model), reading)
    return folder


@pytest.fixture(scope="module")
def found(place):
    outcome = gain(place / "mean", place / "ridge", str(place / "test.csv"), place / "out", GainSettings(replicates=50))
    tables = {
        name: pd.read_csv(place / "out" / f"{name}.csv") for name in ("deltas", "summary", "domain", "predictions")
    }
    return outcome, tables


def test_the_better_run_gains_on_rows_that_neither_has_seen(found):
    outcome, tables = found
    assert outcome.facts["rows"] == 70
    assert outcome.facts["rows left out because a run was fitted on them"] == 20
    assert len(tables["predictions"]) == 70 * 3
    assert set(tables["deltas"]["task"]) == {"growth", "size", "lethal"}
    rows = tables["summary"].set_index("metric")
    assert rows.loc["roc_auc", ["delta", "lower"]].min() > 0
    assert rows.loc["rmse", ["delta", "upper"]].max() < 0
    assert rows.loc["rmse", "called_better"] == 2
    assert [row["metric"] for row in outcome.table] == list(rows.index)


def test_the_tables_agree_with_the_predictions(found):
    _, tables = found
    own = tables["predictions"][tables["predictions"]["task"] == "growth"]
    row = tables["deltas"].query("task == 'growth' and metric == 'rmse'").iloc[0]
    for name in "ab":
        assert row[name] == pytest.approx(np.sqrt(np.mean((own[name] - own["value"]) ** 2)), rel=1e-6)
    assert tables["summary"].set_index("metric").loc["rmse", "delta"] == pytest.approx(
        tables["deltas"].query("metric == 'rmse'")["delta"].mean()
    )


def test_the_domain_grows_with_the_better_run(found):
    _, tables = found
    domain = tables["domain"].set_index("task")
    assert domain.loc["lethal", "efficiency_b"] > domain.loc["lethal", "efficiency_a"]
    assert (domain.loc[["growth", "size"], "width_b"] < domain.loc[["growth", "size"], "width_a"]).all()
    assert domain["validity_b"].dropna().between(0.8, 1.0).all()
    summary = tables["summary"].set_index("metric")
    gap = domain["efficiency_b"] - domain["efficiency_a"]
    assert summary.loc["efficiency", "delta"] == pytest.approx(gap.mean())


def test_the_page_is_made_from_the_files_alone(place, found):
    page = (place / "out" / "report.html").read_text()
    assert "What ridge gains over mean" in page
    assert "<script" not in page
    assert page.count("<svg") == 3
    report(place / "out", place / "again.html")
    assert "Scores" in (place / "again.html").read_text()
    assert json.loads((place / "out" / "gain.json").read_text())["error"] == 0.1


def test_assay_types_of_a_runs_tasks_have_rows_of_their_own(place, tmp_path):
    shutil.copytree(place / "mean", tmp_path / "mean")
    tasks = pd.read_parquet(tmp_path / "mean" / "tasks.parquet")
    tasks.assign(assay_type=["ADME", "OTHER", "OTHER"]).to_parquet(tmp_path / "mean" / "tasks.parquet")
    gain(tmp_path / "mean", place / "ridge", str(place / "test.csv"), tmp_path / "out", GainSettings(replicates=20))
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert set(summary["group"]) == {"all", "ADME", "OTHER"}
    assert set(summary.loc[summary["metric"] == "efficiency", "group"]) == {"all", "OTHER"}
    assert "By assay type" in (tmp_path / "out" / "report.html").read_text()


def test_auxiliary_tasks_are_not_scored(place, tmp_path):
    shutil.copytree(place / "mean", tmp_path / "mean")
    tasks = pd.read_parquet(tmp_path / "mean" / "tasks.parquet")
    tasks.assign(aggregation_weight=[1.0, 0.0, 1.0]).to_parquet(tmp_path / "mean" / "tasks.parquet")
    gain(tmp_path / "mean", place / "ridge", str(place / "test.csv"), tmp_path / "out", GainSettings(replicates=20))
    assert set(pd.read_csv(tmp_path / "out" / "deltas.csv")["task"]) == set(tasks["name"]) - {tasks["name"][1]}


def test_a_run_without_calibration_cells_is_told_of(place, tmp_path, monkeypatch):
    monkeypatch.setattr("screenwise.recipes.trust.HasCalibration", type(open_run(place / "mean")))
    runs = (place / "mean", place / "ridge")
    outcome = gain(*runs, str(place / "test.csv"), tmp_path, GainSettings(replicates=20))
    assert any("ridge keeps no predictions" in note for note in outcome.notes)
    assert "efficiency" not in set(pd.read_csv(tmp_path / "summary.csv")["metric"])
    assert "no calibration cells" in (tmp_path / "report.html").read_text()


def test_tables_that_cannot_be_compared_are_refused(place, tmp_path):
    other = pd.read_csv(place / "test.csv").rename(columns={"growth": "a", "size": "b", "lethal": "c"})
    other.to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(DataError, match="task of both runs"):
        gain(place / "mean", place / "ridge", str(tmp_path / "other.csv"), tmp_path / "out")
    with pytest.raises(DataError, match="neither run was fitted on"):
        gain(place / "mean", place / "ridge", str(place / "train.csv"), tmp_path / "out")
    with pytest.raises(ModelError, match="finished fit"):
        gain(place / "mean", tmp_path, str(place / "test.csv"), tmp_path / "out")


def test_values_in_the_place_of_labels_are_left_out(place, tmp_path):
    frame = pd.read_csv(place / "test.csv")
    frame["lethal"] = np.linspace(3, 9, len(frame)).round(2)
    frame.to_csv(tmp_path / "values.csv", index=False)
    outcome = gain(
        place / "mean", place / "ridge", str(tmp_path / "values.csv"), tmp_path / "out", GainSettings(replicates=20)
    )
    assert any("lethal" in note for note in outcome.notes)
    assert set(pd.read_csv(tmp_path / "out" / "deltas.csv")["task"]) == {"growth", "size"}


def test_a_run_or_a_file_is_not_written_over(place):
    before = sorted((place / "ridge").iterdir())
    with pytest.raises(DataError, match="is a run; --out wants a folder of its own"):
        gain(place / "mean", place / "ridge", str(place / "test.csv"), place / "ridge")
    with pytest.raises(DataError, match="is a file"):
        gain(place / "mean", place / "ridge", str(place / "test.csv"), place / "test.csv")
    assert sorted((place / "ridge").iterdir()) == before
