import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import ttest_rel
from sklearn.metrics import roc_auc_score

from screenwise.errors import DataError
from screenwise.evaluate.deltas import GainPlan, PairedCells, gain_tables, improve_to_perfect, relative_improvement
from screenwise.evaluate.sparsechem_scores import classification_scores

CONDITIONS, TASKS = 300, 6
KINDS = ["classification"] * 3 + ["regression"] * 3


def screened(better=0.5, seed=0):
    """Two models of six tasks; the second has `better` times the noise of the first."""
    rng = np.random.default_rng(seed)
    row, task = (grid.ravel() for grid in np.indices((CONDITIONS, TASKS)))
    keep = rng.random(len(row)) < 0.5
    row, task = row[keep], task[keep]
    value = rng.normal(size=len(row))
    noise = rng.normal(size=(2, len(row)))
    first, second = value + noise[0], value + better * noise[1]
    binary = task < 3
    value = np.where(binary, value > 0, value)
    first, second = (np.where(binary, 1 / (1 + np.exp(-one)), one) for one in (first, second))
    relation = np.where(binary, 0, rng.choice([-1, 0, 0, 0], len(row))).astype(np.int8)
    return PairedCells(row, task, value, relation, first, second)


def task_table(**more):
    return pd.DataFrame({"name": [f"t{place}" for place in range(TASKS)], "kind": KINDS, **more})


def test_a_better_model_gains_on_every_score():
    deltas, summary = gain_tables(screened(), task_table(), GainPlan(replicates=100))
    assert len(deltas) == 3 * 5 + 3 * 4
    assert (deltas["improve_to_perfect"] > 0).all()
    assert (deltas["relative"] > 0).all()
    assert (deltas["q"] < 0.05).mean() > 0.7
    rows = summary.set_index("metric").drop(index="bedroc")  # three tasks recognise nearly all early as it is
    assert (rows["better"] == 1).all()
    assert (rows["lower"] <= rows["delta"]).all()
    assert (rows["delta"] <= rows["upper"]).all()
    higher = rows["higher_is_better"].to_numpy(bool)
    assert (rows.loc[higher, "lower"] > 0).all()
    assert (rows.loc[~higher, "upper"] < 0).all()
    assert set(deltas.loc[deltas["metric"] == "rmse", "test"]) == {"paired t"}


def test_the_scores_are_the_models_scores():
    cells = screened()
    deltas, _ = gain_tables(cells, task_table(), GainPlan(replicates=20))
    wanted = classification_scores(cells.value, np.clip(cells.second, 0, 1), cells.task, TASKS)["auc_pr_cal"][:3]
    own = deltas[deltas["metric"] == "auc_pr_calibrated"]
    assert own["b"].tolist() == pytest.approx(wanted.tolist())
    mine = cells.task == 4
    exact = mine & (cells.relation == 0)
    found = deltas[(deltas["metric"] == "rmse") & (deltas["task"] == "t4")].iloc[0]
    gap = cells.first[exact] - cells.value[exact]
    assert found["a"] == pytest.approx(np.sqrt(np.mean(gap**2)))
    wanted = ttest_rel(gap**2, (cells.second[exact] - cells.value[exact]) ** 2).pvalue
    assert found["p"] == pytest.approx(wanted)
    bound = np.where((cells.relation < 0) & (cells.first < cells.value), 0, cells.first - cells.value)[mine]
    censored = deltas[(deltas["metric"] == "rmse_censored") & (deltas["task"] == "t4")].iloc[0]
    assert censored["a"] == pytest.approx(np.sqrt(np.mean(bound**2)))


def test_a_model_gains_nothing_over_itself():
    cells = screened()
    same = PairedCells(**{**vars(cells), "second": cells.first})
    deltas, summary = gain_tables(same, task_table(), GainPlan(replicates=50))
    assert (deltas["delta"] == 0).all()
    assert (deltas["p"] == 1).all()
    assert (summary[["lower", "upper"]] == 0).all(axis=None)
    assert (summary["better"] == 0.5).all()
    assert (summary["called_better"] + summary["called_worse"] == 0).all()


def test_the_bootstrap_error_agrees_with_delong():
    cells = screened()
    deltas, _ = gain_tables(cells, task_table(), GainPlan(replicates=800))
    own = deltas[deltas["metric"] == "roc_auc"]
    z = np.abs(own["delta"]) / own["error"]
    assert (z / -ndtri(own["p"] / 2)).tolist() == pytest.approx([1, 1, 1], rel=0.12)


def test_groups_are_assay_types():
    tasks = task_table(assay_type=["ADME", "OTHER", "OTHER", "ADME", "OTHER", None])
    deltas, summary = gain_tables(screened(), tasks, GainPlan(replicates=30))
    assert set(summary["group"]) == {"all", "ADME", "OTHER"}
    auc = deltas[(deltas["metric"] == "roc_auc") & (deltas["assay_type"] == "OTHER")]
    row = summary[(summary["metric"] == "roc_auc") & (summary["group"] == "OTHER")].iloc[0]
    assert row["delta"] == pytest.approx(auc["delta"].mean())
    assert row["tasks"] == 2
    assert row["lower"] < row["delta"] < row["upper"]


def test_small_tasks_are_told_but_not_called():
    cells = screened()
    few = PairedCells(**{name: array[(cells.task != 0) | (cells.row < 12)] for name, array in vars(cells).items()})
    deltas, _ = gain_tables(few, task_table(), GainPlan(replicates=30))
    small = deltas[(deltas["task"] == "t0") & (deltas["metric"] == "roc_auc")].iloc[0]
    assert np.isfinite(small["delta"])
    assert np.isnan(small["q"])
    own = few.task == 0
    gap = roc_auc_score(few.value[own], few.second[own]) - roc_auc_score(few.value[own], few.first[own])
    assert small["delta"] == pytest.approx(gap)


def test_cells_that_one_model_does_not_predict_count_for_neither():
    cells = screened()
    second = cells.second.copy()
    second[cells.task == 5] = np.nan
    deltas, _ = gain_tables(PairedCells(**{**vars(cells), "second": second}), task_table(), GainPlan(replicates=10))
    assert "t5" not in set(deltas["task"])
    with pytest.raises(DataError, match="in common"):
        gain_tables(PairedCells(**{**vars(cells), "second": cells.second * np.nan}), task_table())


@given(a=st.floats(0.01, 0.99), b=st.floats(0.01, 0.99))
def test_better_is_above_nought_whichever_side_is_better(a, b):
    assert np.sign(relative_improvement(a, b, higher_is_better=True)) == np.sign(b - a)
    assert np.sign(relative_improvement(a, b, higher_is_better=False)) == np.sign(a - b)
    assert np.sign(improve_to_perfect(a, b, 1.0)) == np.sign(b - a)
    assert np.sign(improve_to_perfect(a, b, 0.0)) == np.sign(a - b)
    assert np.isnan(improve_to_perfect(a, b, np.inf))
