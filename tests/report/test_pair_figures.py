import itertools

import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ColumnError
from screenwise.report import pair_figures as figures
from screenwise.report.ink import to_svg

NAMES = ["TP53", "$x_1$ <b>&", "名前" * 30]


def pairs(count=3):
    genes = (NAMES * count)[:count] if count <= 3 else [f"GENE{i}" for i in range(count)]
    frame = pd.DataFrame(list(itertools.combinations(genes, 2)), columns=["gene_a", "gene_b"])
    size = np.arange(len(frame), dtype=float)
    return frame.assign(
        condition=frame["gene_a"] + "+" + frame["gene_b"],
        departure=size,
        along=size - 1,
        q_value=10.0**-size,
        c_a=1.0,
        c_b=size / 3,
        type=[("additive", "synergy")[i % 2] for i in range(len(frame))],
    )


def features(**more):
    base = {"feature": [*NAMES, "MYC"], "predicted": [1, -2, 0.5, 0], "additive": [1.5, -1, 0, 0]}
    return pd.DataFrame(base | more)


CELLS = pd.DataFrame({"observed": [1.0, np.nan, 3], "predicted": [1.0, 2, 2], "additive": [2.0, 2, 2]})
ERRORS = pd.DataFrame({"model": NAMES * 2, "novelty": [0, 0, 0, 1, 1, 2], "error": np.arange(6.0)})
DRAWN = {
    "scatter": lambda: figures.profile_scatter(CELLS, name=NAMES[1]),
    "map": lambda: figures.interaction_map(pairs()),
    "signed map": lambda: figures.interaction_map(pairs(), "along"),
    "large map": lambda: figures.interaction_map(pairs(130)),
    "one pair": lambda: figures.interaction_map(pairs(2)),
    "volcano": lambda: figures.departure_volcano(pairs()),
    "volcano of nothing": lambda: figures.departure_volcano(pairs().iloc[:0]),
    "volcano of certainty": lambda: figures.departure_volcano(pairs().assign(q_value=0.0)),
    "coefficients": lambda: figures.coefficient_scatter(pairs()),
    "novelty": lambda: figures.error_by_novelty(ERRORS),
    "spread": lambda: figures.error_by_spread(pd.DataFrame({"error": [1.0, 5.0], "profile_std": [1.0, 2.0]})),
    "nothing spread": lambda: figures.error_by_spread(pd.DataFrame({"error": [], "profile_std": []})),
    "features": lambda: figures.top_features(features(), NAMES[1]),
    "observed features": lambda: figures.top_features(
        features(observed=[2, 1, 0, 0], lower=[0, -3, 0, -1], upper=[2, 0, 1, 1]), NAMES[2]
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_draws_whatever_the_names_are(name):
    svg = to_svg(DRAWN[name]())
    assert svg.startswith("<svg") or "<svg" in svg
    assert "<b>" not in svg
    assert len(svg) < 1_000_000


@pytest.mark.parametrize(
    "draw", [figures.interaction_map, figures.departure_volcano, figures.coefficient_scatter, figures.error_by_novelty]
)
def test_a_missing_column_is_named(draw):
    with pytest.raises(ColumnError, match="needs the columns"):
        draw(pd.DataFrame({"other": [1]}))


def test_the_map_draws_measured_pairs_twice_and_nothing_else():
    figure = figures.interaction_map(pairs())
    squares = figure.axes[0].collections[0]
    assert len(squares.get_array()) == 2 * len(pairs())


def test_a_large_map_keeps_the_genes_with_the_strongest_pairs():
    strong = pairs(130).assign(departure=lambda t: np.where(t["gene_a"] == "GENE7", 100.0, 0.01))
    label = figures.interaction_map(strong).get_label()
    assert f"{figures.GENES_SHOWN} genes" in label


def test_called_pairs_are_counted_in_the_legend():
    figure = figures.departure_volcano(pairs(), level=0.05)
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert labels == ["not called (2)", "false discovery rate below 0.05 (1)"]


def test_features_stand_by_the_size_of_what_was_observed():
    figure = figures.top_features(features(observed=[0.1, 0.2, 9, 0.3]), "A+B", most=2)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [figures.short(NAMES[2], 18), "MYC"]
