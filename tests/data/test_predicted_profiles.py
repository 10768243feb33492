"""Predictions that leave as AnnData or as a table."""

import json

import anndata
import numpy as np
import pandas as pd
import pytest

from screenwise.data.labels import condition_columns
from screenwise.data.predicted_profiles import (
    ProfileOutput,
    profiles_anndata,
    profiles_table,
    write_profiles_h5ad,
    write_profiles_table,
)
from screenwise.data.profiles import read_profiles
from screenwise.errors import DataError
from screenwise.prediction import Prediction

FEATURES = ["G0", "G1", "G2"]
CONTROL = np.array([1.0, 0.5, 0.0], np.float32)


def predicted(n=4, **facts):
    rng = np.random.default_rng(0)
    mean, std = rng.normal(size=(2, n, 3)).astype(np.float32)
    return Prediction(mean, np.abs(std), **facts)


def conditions():
    frame = condition_columns([("A", "B"), ("A", "C"), ("B", "C"), ("A", "B", "C")])
    return frame.assign(condition=["B+A", "A+C", "B+C", "C+B+A"])


def test_h5ad_holds_all_that_is_known(tmp_path):
    prediction = predicted(in_domain=np.array([True, False, True, False]), note=np.array(["", "far", "", ""], object))
    output = ProfileOutput(np.array([0, 1, 0, 2]), np.arange(4.0), {"model": "salt", "scale": 1.0, "seed": None})
    path = tmp_path / "a.h5ad"
    write_profiles_h5ad(path, conditions(), prediction, FEATURES, CONTROL, output=output)
    found = anndata.read_h5ad(path)
    assert found.var_names.tolist() == FEATURES
    assert found.obs["condition"].tolist() == ["B+A", "A+C", "B+C", "C+B+A"]
    assert found.obs["in_domain"].tolist() == [True, False, True, False]
    assert found.obs["novelty"].tolist() == [0, 1, 0, 2]
    assert found.obs["note"].tolist() == ["", "far", "", ""]
    assert found.obs["profile_std"].tolist() == [0, 1, 2, 3]
    assert found.obs["gene_c"].tolist() == ["", "", "", "C"]
    lower, upper = prediction.interval()
    for name, expected in {
        "std": prediction.std,
        "lower": lower,
        "upper": upper,
        "delta": prediction.mean - CONTROL,
    }.items():
        np.testing.assert_allclose(found.layers[name], expected, atol=1e-6)
    np.testing.assert_array_equal(found.X, prediction.mean)
    assert json.loads(found.uns["settings"]) == {"model": "salt", "scale": 1.0, "seed": None}
    assert found.uns["version"]
    assert list(tmp_path.iterdir()) == [path]


def test_the_control_row_is_there_for_scores_that_need_it(tmp_path):
    path = tmp_path / "a.h5ad"
    write_profiles_h5ad(
        path, conditions(), predicted(), FEATURES, CONTROL, output=ProfileOutput(np.zeros(4, int), control_row=True)
    )
    found = anndata.read_h5ad(path)
    assert found.shape == (5, 3)
    assert found.obs["condition"].tolist()[0] == "ctrl"
    np.testing.assert_array_equal(found.X[0], CONTROL)
    assert not found.layers["delta"][0].any()
    assert found.obs["gene_a"].tolist()[:2] == ["", "A"]


def test_values_can_be_cut_at_the_smallest_there_is():
    mean = np.array([[-1.0, 2.0, np.nan]], np.float32)
    prediction = Prediction(mean, np.ones_like(mean))
    found = profiles_anndata(conditions()[:1], prediction, FEATURES, CONTROL, ProfileOutput(floor=0))
    np.testing.assert_array_equal(found.X, [[0, 2, np.nan]])
    np.testing.assert_array_equal(found.layers["delta"], [[-1, 1.5, np.nan]])
    assert np.nanmin(found.layers["lower"]) == 0
    assert profiles_anndata(conditions()[:1], prediction, FEATURES, CONTROL).X[0, 0] == -1


def test_a_model_that_says_less_leaves_it_empty():
    mean = np.ones((4, 3), np.float32)
    mean[2] = np.nan
    adata = profiles_anndata(conditions(), Prediction(mean), FEATURES, CONTROL)
    assert adata.obs["in_domain"].isna().all()
    assert adata.obs["profile_std"].isna().all()
    assert np.isnan(adata.layers["std"]).all()
    inside = Prediction(mean, in_domain=np.ones((4, 3), bool))
    assert profiles_table(conditions(), inside, FEATURES)["in_domain"].tolist() == [True, True, False, True]


def test_the_expected_distance_is_the_root_of_the_summed_variances():
    table = profiles_table(conditions(), predicted(), FEATURES)
    np.testing.assert_allclose(table["profile_std"], np.linalg.norm(predicted().std, axis=1), rtol=1e-6)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz", "a.parquet"])
def test_a_table_can_be_read_as_profiles_again(tmp_path, name):
    path = tmp_path / name
    frame = pd.concat([pd.DataFrame({"condition": ["ctrl"]}), conditions()[["condition"]]], ignore_index=True)
    prediction = predicted(5, in_domain=np.ones(5, bool))
    write_profiles_table(path, frame, prediction, FEATURES)
    profiles = read_profiles(path)
    assert profiles.features == FEATURES
    np.testing.assert_allclose(profiles.control, prediction.mean[0], rtol=1e-6)
    assert profiles.screen.conditions["condition"].tolist() == ["ctrl", "A+B", "A+C", "B+C", "A+B+C"]


def test_what_does_not_fit_is_an_error(tmp_path):
    with pytest.raises(DataError, match="do not fit"):
        profiles_anndata(conditions(), predicted(3), FEATURES, CONTROL)
    with pytest.raises(DataError, match="control of shape"):
        profiles_anndata(conditions(), predicted(), FEATURES, CONTROL[:2])
    with pytest.raises(DataError, match="no column `condition`"):
        profiles_table(conditions().drop(columns="condition"), predicted(), FEATURES)
    with pytest.raises(DataError, match="cannot be called note"):
        profiles_table(conditions(), predicted(), ["note", "x", "y"])
    with pytest.raises(DataError, match="Cannot write"):
        write_profiles_h5ad(tmp_path / "a.h5ad" / "b.h5ad", *_written(tmp_path))


def _written(tmp_path):
    (tmp_path / "a.h5ad").write_text("a file, no folder")
    return conditions(), predicted(), FEATURES, CONTROL
