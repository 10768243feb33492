import re
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ColumnError, DataError
from screenwise.evaluate.calibration import calibration_curve
from screenwise.evaluate.domain import errors_by_similarity
from screenwise.report import figures
from screenwise.report.ink import INK, SERIES, short
from screenwise.report.platemap import plate_map, well_position

NAMES = ["gp", "$x_1$ <b>&", "名前" * 30]
"""A plain name, one that would be a formula or markup, one longer than any label and without glyphs."""


def summary():
    rows = [(name, split, "rmse", 0.6 + i / 10, 0.5, 0.9) for split in ("a", "b") for i, name in enumerate(NAMES)]
    return pd.DataFrame(rows, columns=["model", "split", "metric", "mean", "lower", "upper"])


def curves(seeds=3):
    rows = [(p, s, r, 32 + 96 * r, 5 * r, 0.1 * r, 1.0) for p in NAMES for s in range(seeds) for r in range(4)]
    columns = ["policy", "seed", "round", "measured", "hits", "hit_fraction", "best"]
    return pd.DataFrame(rows, columns=columns)


def scores():
    rows = [(m, "a", 0, 0, t, "rmse", 0.5 + i / 10) for t in NAMES for i, m in enumerate(NAMES)]
    return pd.DataFrame(rows, columns=["model", "split", "seed", "fold", "task", "metric", "value"])


def bins(n=4):
    low = np.arange(n) / 4
    return pd.DataFrame(
        {"low": low, "high": low + 0.25, "cells": [400, 100, 25, 4][:n], "rmse": 1.0, "expected_rmse": 0.9}
    )


def plate(roles=("sample", "positive", "negative", "replicate")):
    wells = [f"{row}{column:02d}" for row in "ABCDEFGH" for column in range(1, 13)]
    frame = pd.DataFrame({"well": wells, "plate": NAMES[1], "role": [roles[i % len(roles)] for i in range(96)]})
    return frame.assign(condition_id=range(96), score=np.arange(96.0))


def coverage():
    nominal = np.linspace(0.1, 0.9, 9)
    parts = [pd.DataFrame({"model": n, "nominal": nominal, "observed": nominal, "lower": 0, "upper": 1}) for n in NAMES]
    return pd.concat(parts, ignore_index=True)


DRAWN = {
    "comparison": lambda: figures.comparison(summary(), "rmse", baselines=NAMES[1:], reference={"a": {NAMES[1]: 0.7}}),
    "points": lambda: figures.predicted_observed([1, 2, np.nan], [1.5, 2, 3], unit=NAMES[1], title=NAMES[2]),
    "hexagons": lambda: figures.predicted_observed(np.arange(2000) / 100, np.arange(2000) / 100),
    "calibration": lambda: figures.calibration(coverage()),
    "similarity": lambda: figures.error_by_similarity(bins(), unit=NAMES[1]),
    "replay": lambda: figures.replay_curves(curves(), title=NAMES[1]),
    "best": lambda: figures.replay_curves(curves(1), quantity="best"),
    "heat": lambda: figures.task_heat(scores(), "rmse"),
    "learning": lambda: figures.learning_curve([{"epoch": i, NAMES[1]: 1 / (i + 1)} for i in range(5)], chosen=3),
    "plate": lambda: plate_map(plate()),
    "plate without score": lambda: plate_map(plate().drop(columns=["score", "plate"]), size=384),
    "no rows": lambda: figures.comparison(summary().head(0), "rmse"),
    "no cells": lambda: figures.predicted_observed([], []),
    "no pairs": lambda: figures.error_by_similarity(bins(0)),
    "no rounds": lambda: figures.replay_curves(curves().head(0)),
    "no tasks": lambda: figures.task_heat(scores().head(0), "rmse"),
    "no wells": lambda: plate_map(plate().head(0)),
}


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_is_one_clean_svg(name):
    before = dict(mpl.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = figures.to_svg(DRAWN[name]())
    assert dict(mpl.rcParams) == before, "settings outside stay as they were"
    assert svg.startswith("<svg")
    assert svg.count("<svg") == 1
    assert svg.endswith("</svg>")
    assert "<title>" in svg
    assert "<script" not in svg
    assert "<b>" not in svg
    assert "<?xml" not in svg
    assert "<metadata>" not in svg


@pytest.mark.parametrize("name", ["comparison", "plate", "replay", "heat"])
def test_the_same_figure_has_the_same_bytes(name):
    assert figures.to_svg(DRAWN[name]()) == figures.to_svg(DRAWN[name]())


def test_ink_follows_the_page_and_series_have_variables():
    svg = figures.to_svg(DRAWN["replay"]())
    assert INK not in svg
    assert "currentColor" in svg
    assert f"var(--series-1, {SERIES[0]})" in svg
    assert "fill: #ffffff" not in svg


def test_text_stays_text_and_formulas_stay_names():
    svg = figures.to_svg(DRAWN["comparison"]())
    assert "$x_1$ &lt;b&gt;&amp;" in svg
    assert "split: a" in svg


def test_two_figures_share_no_ids():
    one, two = (set(re.findall(r'\bid="([^"]+)"', figures.to_svg(DRAWN[name]()))) for name in ("replay", "learning"))
    assert one
    assert not one & two


def test_replay_interval_is_students_over_seeds():
    table = pd.DataFrame({"policy": "p", "seed": [0, 1, 2], "measured": 32, "hit_fraction": [0.1, 0.2, 0.3]})
    figure = figures.replay_curves(table)
    band = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    # Student's t, 2 degrees of freedom, 97.5 %: 4.303; standard error 0.1 / sqrt(3)
    assert band.max() == pytest.approx(0.2 + 4.303 * 0.1 / 3**0.5, abs=1e-3)


def test_thin_bins_are_not_drawn_and_intervals_shrink_with_cells():
    panel = figures.error_by_similarity(bins()).axes[0]
    assert list(panel.lines[0].get_ydata()) == [1.0, 1.0, 1.0]
    tops = [path.vertices[1, 1] for path in panel.collections[0].get_paths()]
    # 1.645 / sqrt(2 x 400) = 0.0582
    assert tops == pytest.approx([1.0582, 1.1163, 1.2326], abs=1e-4)


def test_tables_of_the_evaluation_are_drawn_as_they_come():
    rng = np.random.default_rng(0)
    value, std = rng.normal(size=300), np.ones(300)
    mean = value + rng.normal(size=300)
    figures.calibration(calibration_curve(value, mean, std))
    figures.error_by_similarity(errors_by_similarity(rng.uniform(size=300), value, mean, std))


def test_the_best_model_of_a_task_is_bold_in_either_direction():
    low = figures.task_heat(scores(), "rmse").axes[0]
    assert {text.get_text() for text in low.texts if text.get_fontweight() == "bold"} == {"0.500"}
    high = figures.task_heat(scores().assign(metric="r_squared"), "r_squared").axes[0]
    assert {text.get_text() for text in high.texts if text.get_fontweight() == "bold"} == {"0.700"}


def test_a_missing_column_is_named():
    with pytest.raises(ColumnError, match="upper"):
        figures.comparison(summary().drop(columns="upper"), "rmse")
    with pytest.raises(ColumnError, match="role"):
        plate_map(plate().drop(columns="role"))


def test_wells_must_fit():
    with pytest.raises(DataError, match="A01"):
        well_position("Z")
    with pytest.raises(DataError, match="fit"):
        plate_map(pd.DataFrame({"well": ["P24"], "role": ["sample"]}), size=96)
    with pytest.raises(DataError, match="fit"):
        plate_map(pd.DataFrame({"well": ["AG01"], "role": ["sample"]}))


def test_files_are_svg_or_png(tmp_path):
    figures.write_figure(tmp_path / "a.svg", DRAWN["learning"]())
    figures.write_figure(tmp_path / "a.png", DRAWN["learning"]())
    text = (tmp_path / "a.svg").read_text()
    assert 'xmlns="http://www.w3.org/2000/svg"' in text
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(DataError, match=r"\.svg or \.png"):
        figures.write_figure(tmp_path / "a.pdf", DRAWN["learning"]())


def test_short_names_keep_to_one_line():
    assert short("a\x00b\nc") == "a b c"
    assert len(short("x" * 100, 10)) == 10
