import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ColumnError
from screenwise.report.ink import to_svg
from screenwise.report.task_figures import delta_ecdf, ecdf, score_ecdf

RNG = np.random.default_rng(0)
NAMES = ["run <b>&", "$x_1$"]


def deltas(count=80):
    a = RNG.uniform(0.4, 0.9, count)
    table = pd.DataFrame({"metric": "roc_auc", "a": a, "b": a + RNG.normal(0.02, 0.05, count)})
    return table.assign(delta=table["b"] - table["a"], assay_type=[["ADME", "OTHER", ""][i % 3] for i in range(count)])


DRAWN = {
    "scores": lambda: score_ecdf(deltas(), "roc_auc", (NAMES[0], NAMES[1])),
    "the same name twice": lambda: score_ecdf(deltas(), "roc_auc", (NAMES[0], NAMES[0])),
    "gains": lambda: delta_ecdf(deltas(), "roc_auc", higher_is_better=True),
    "gains by type": lambda: delta_ecdf(deltas(), "roc_auc", higher_is_better=False, by="assay_type"),
    "one task": lambda: delta_ecdf(deltas(1), "roc_auc", higher_is_better=True),
    "nothing": lambda: ecdf({"x": [], "y": [np.nan]}, label="nothing"),
    "all alike": lambda: ecdf({"x": np.zeros(5)}, label="noughts"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_draws_whatever_the_names_are(name):
    svg = to_svg(DRAWN[name]())
    assert svg.startswith("<svg")
    assert "<b>" not in svg


def test_the_line_is_the_share_of_values_up_to_x():
    values = [3.0, 1.0, np.nan, 2.0, 2.0]
    line = ecdf({"x": values}, label="x").axes[0].get_lines()[0]
    x, y = line.get_data()
    for at in (0.5, 1.0, 2.0, 2.5, 3.0):
        drawn = y[np.flatnonzero(x <= at)[-1]] if (x <= at).any() else 0
        assert drawn == np.mean(np.array([1, 2, 2, 3]) <= at)


def test_the_side_where_b_is_better_is_right_where_high_is_good():
    for higher in (True, False):
        panel = delta_ecdf(deltas(), "roc_auc", higher_is_better=higher).axes[0]
        places = {text.get_text(): text.xy[0] for text in panel.texts}
        assert (places["b better"] > places["a better"]) == higher


def test_one_task_far_away_does_not_flatten_the_others():
    table = deltas(200)
    table.loc[0, "delta"] = -8e7
    low, high = delta_ecdf(table, "roc_auc", higher_is_better=True).axes[0].get_xlim()
    assert high - low < 1


def test_each_assay_type_has_a_line_with_its_number():
    figure = delta_ecdf(deltas(9), "roc_auc", higher_is_better=True, by="assay_type")
    assert set(figure.axes[0].get_legend_handles_labels()[1]) == {"ADME (3)", "OTHER (3)", "not said (3)"}


def test_a_missing_column_is_named():
    with pytest.raises(ColumnError, match="delta"):
        delta_ecdf(pd.DataFrame({"metric": []}), "rmse", higher_is_better=False)
