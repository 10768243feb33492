import numpy as np
import pandas as pd

from screenwise.evaluate.scoring import score_cells
from screenwise.recipes.evaluation_page import evaluation_sections
from screenwise.report.html import render
from screenwise.screen import Targets, make_screen


def evaluated(folder, kinds, seed=0):
    """Write what `screenwise evaluate` leaves of 80 conditions; task 0 is nearly constant, task 1 has few positives."""
    rng = np.random.default_rng(seed)
    value = rng.normal(size=(80, len(kinds))).round(3)
    for task, kind in enumerate(kinds):
        if kind == "classification":
            value[:, task] = value[:, task] > (1.9 if task == 1 else 0)
    value[:, 0] = value[:, 0] * (1e-4 if kinds[0] == "regression" else 1)
    tasks = pd.DataFrame({"name": [f"t{task}" for task in range(len(kinds))], "kind": kinds})
    screen = make_screen(pd.DataFrame({"gene": [f"G{row}" for row in range(80)]}), Targets(value), tasks)
    cells = screen.targets.cells()
    mean = cells.value + 0.5 * rng.normal(size=len(cells))
    mean = np.where(np.array(kinds)[cells.task] == "classification", 1 / (1 + np.exp(0.5 - mean)), mean)
    score_cells(screen, mean, np.full(len(cells), 0.5)).to_csv(folder / "scores.csv", index=False)
    frame = pd.DataFrame({"task": np.array(screen.task_names)[cells.task], "value": cells.value, "relation": 0})
    frame.assign(mean=mean, std=0.5).to_csv(folder / "predictions.csv", index=False)


def test_each_kind_of_task_has_its_own_part(tmp_path):
    evaluated(tmp_path, ["regression", "regression", "regression", "classification", "classification"])
    values, classes = sorted(evaluation_sections(tmp_path), key=lambda one: one.title, reverse=True)
    assert "Values" in values.title
    assert set(values.tables[-1].frame["task"]) == {"t0", "t1", "t2"}
    assert {"auc_pr", "auc_pr_calibrated", "bedroc", "kappa"} <= set(classes.tables[-1].frame)
    assert set(classes.tables[-1].frame["task"]) == {"t3", "t4"}
    page = render("Evaluation", [values, classes])
    assert page.count("<svg") == 5


def test_robust_means_leave_out_what_is_nearly_constant_or_small(tmp_path):
    evaluated(tmp_path, ["regression"] * 3)
    over = evaluation_sections(tmp_path)[0].tables[0].frame.set_index("metric")
    assert over.loc["r_squared", "mean"] < -1000 < over.loc["r_squared", "quorum_mean"]
    assert over.loc["r_squared", ["tasks", "quorum_tasks"]].tolist() == [3, 2]
    assert over.loc["rmse", "quorum_tasks"] == 3
    evaluated(tmp_path, ["classification"] * 3)
    over = evaluation_sections(tmp_path)[0].tables[0].frame.set_index("metric")
    assert over.loc["auc_pr", ["tasks", "quorum_tasks"]].tolist() == [3, 2]


def test_one_task_needs_no_means(tmp_path):
    evaluated(tmp_path, ["classification"])
    section = evaluation_sections(tmp_path)[0]
    assert len(section.tables) == 1
    assert len(section.figures) == 1
