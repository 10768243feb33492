"""Departures from addition through the recipe: known truths from made-up cells and profiles, and what is refused."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from screenwise.errors import DataError
from screenwise.recipes import pair_interactions
from screenwise.recipes.pair_interactions import interactions
from screenwise.recipes.reporting import report

EFFECTS = {
    "ctrl": [0, 0, 0, 0],
    "A": [1.2, 0, 0, 0],
    "B": [0, 1.2, 0, 0],
    "C": [0, 0, 1.2, 0],
    "A+B": [1.2, 1.2, 0, 0],
    "A+C": [1.2, 0, 1.2, 1.5],
    "B+D": [0, 1.2, 0, 0],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interactions")
    rng = np.random.default_rng(0)
    labels = np.repeat(list(EFFECTS), 150)
    depth = rng.integers(900, 1100, len(labels))
    share = np.exp([[*EFFECTS[label], *[0.0] * 16] for label in labels]) * 0.01
    counts = rng.poisson(share * depth[:, None])
    rest = rng.poisson(np.maximum(1 - share.sum(axis=1), 0) * depth)[:, None]
    obs = pd.DataFrame({"condition": labels}, index=[f"c{place}" for place in range(len(labels))])
    names = pd.Index([f"x{place}" for place in range(21)])
    ad.AnnData(np.hstack([counts, rest]).astype(np.float32), obs=obs, var=pd.DataFrame(index=names)).write_h5ad(
        folder / "cells.h5ad"
    )
    interactions(str(folder / "cells.h5ad"), folder / "out")
    return folder


def test_the_pair_that_departs_is_called_where_it_departs(folder):
    pairs = pd.read_csv(folder / "out" / "pairs.csv").set_index("condition")
    assert set(pairs.index) == {"A+B", "A+C"}, "D was never measured alone"
    assert pairs["called"].to_dict() == {"A+B": False, "A+C": True}
    assert pairs.loc["A+B", "type"] == "additive"
    features = pd.read_csv(folder / "out" / "features.csv")
    called = features[features["called"]]
    assert called.loc[called["z"].abs().idxmax(), ["condition", "feature"]].tolist() == ["A+C", "x3"]


def test_the_page_names_the_pairs_and_can_be_written_again(folder):
    assert "A+C" in (folder / "out" / "report.html").read_text()
    report(folder / "out", folder / "again.html")
    assert "A+C" in (folder / "again.html").read_text()


def test_a_long_table_keeps_its_strongest_entries(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(pair_interactions, "KEPT_FEATURES", 5)
    found = interactions(str(folder / "cells.h5ad"), tmp_path / "out")
    whole, kept = (pd.read_csv(one / "features.csv") for one in (folder / "out", tmp_path / "out"))
    assert len(kept) == 5
    assert kept["z"].abs().min() >= whole["z"].abs().sort_values().iloc[-5] - 1e-12
    assert any("5 strongest of 42" in note for note in found.notes)


def test_a_table_without_errors_says_so(tmp_path):
    rng = np.random.default_rng(1)
    level = pd.DataFrame({label: rng.normal(size=6) for label in ("ctrl", "A", "B", "C", "A+B", "A+C", "B+C")}).T
    level.columns = list("uvwxyz")
    level.rename_axis("condition").to_csv(tmp_path / "pairs.csv")
    found = interactions(str(tmp_path / "pairs.csv"), tmp_path / "out")
    assert found.facts["errors"].startswith("unknown")
    table = pd.read_csv(tmp_path / "out" / "pairs.csv").set_index("condition")
    by_hand = level.loc["A+B"] - level.loc["A"] - level.loc["B"] + level.loc["ctrl"]
    assert table.loc["A+B", "departure"] == pytest.approx(np.linalg.norm(by_hand), rel=1e-5)


@pytest.mark.parametrize("labels", [["ctrl", "A", "B"], ["ctrl", "A", "A+B"], ["ctrl", "A+B"]])
def test_nothing_to_measure_departures_of_is_an_error(tmp_path, labels):
    pd.DataFrame({"condition": labels, "x": range(len(labels))}).to_csv(tmp_path / "few.csv", index=False)
    with pytest.raises(DataError, match=r"few\.csv.*both of its singles"):
        interactions(str(tmp_path / "few.csv"), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["few.csv"]


def test_results_do_not_go_into_a_run_or_a_file(folder, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="holds a run"):
        interactions(str(folder / "cells.h5ad"), tmp_path)
    with pytest.raises(DataError, match="is a file"):
        interactions(str(folder / "cells.h5ad"), tmp_path / "config.json")
