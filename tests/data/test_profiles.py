"""Profiles from statistics of cells, and by hand."""

import anndata
import numpy as np
import pandas as pd
import pytest

from screenwise.data.cells import CellColumns, cell_statistics, read_cells
from screenwise.data.profiles import ProfileFacts, make_profiles, profiles_from_statistics
from screenwise.errors import DataError
from screenwise.screen import Screen


def cells(number=400, genes=30, batches=("x", "y"), seed=0):
    """Return log values whose batches are shifted."""
    rng = np.random.default_rng(seed)
    label = rng.choice(["ctrl", "G0+ctrl", "G1", "G0+G1", "rare+G1"], number, p=[0.3, 0.3, 0.2, 0.17, 0.03])
    batch = rng.choice(batches, number)
    shift = np.where(batch == batches[0], 0.0, 1.0)[:, None] * np.linspace(0, 1, genes)
    x = np.abs(rng.normal(2.0, 1.0, (number, genes)) + shift).astype(np.float32)
    obs = pd.DataFrame({"condition": label, "batch": batch}, index=[f"c{place}" for place in range(number)])
    return anndata.AnnData(x, obs=obs, var=pd.DataFrame(index=[f"G{place}" for place in range(genes)]))


def test_without_batches_levels_are_means_and_errors_those_of_the_mean():
    adata = cells()
    profiles = read_cells(adata)
    conditions = profiles.screen.conditions
    assert conditions["condition"].tolist() == ["ctrl", "G0", "G1", "G0+G1", "G1+rare"]
    assert conditions[["gene_a", "gene_b"]].to_numpy().tolist()[:3] == [["", ""], ["G0", ""], ["G1", ""]]
    assert profiles.size.tolist() == [0, 1, 1, 2, 2]
    assert profiles.control_row == 0
    label = adata.obs["condition"].to_numpy()
    for row, name in enumerate(["ctrl", "G0+ctrl", "G1", "G0+G1"]):
        own = adata.X[label == name].astype(np.float64)
        np.testing.assert_allclose(profiles.level[row], own.mean(axis=0), atol=1e-6)
        error = own.std(axis=0, ddof=1) / np.sqrt(len(own))
        np.testing.assert_allclose(profiles.standard_error[row], error, rtol=1e-5)
        assert conditions["n_cells"][row] == len(own)
        assert conditions["squared_error"][row] == pytest.approx((error**2).sum(), rel=1e-5)
    assert not profiles.effect[0].any()
    np.testing.assert_allclose(profiles.effect + profiles.control, profiles.level, atol=1e-6)


def test_batches_are_matched_and_their_shift_is_no_error():
    adata = cells()
    profiles = read_cells(adata, CellColumns(batch="batch"), controls="matched")
    label, batch, x = adata.obs["condition"].to_numpy(), adata.obs["batch"].to_numpy(), adata.X.astype(np.float64)
    effects, sizes, within = [], [], []
    for name in ("x", "y"):
        own = x[(label == "G0+G1") & (batch == name)]
        effects.append(own.mean(axis=0) - x[(label == "ctrl") & (batch == name)].mean(axis=0))
        sizes.append(len(own))
        within.append(((own - own.mean(axis=0)) ** 2).sum(axis=0))
    row = 3
    np.testing.assert_allclose(profiles.effect[row], np.average(effects, axis=0, weights=sizes), atol=1e-5)
    error = np.sqrt(sum(within) / (sum(sizes) - 2) / sum(sizes))
    np.testing.assert_allclose(profiles.standard_error[row], error, rtol=1e-5)
    # the batches' shift, up to 1, would make the errors of pooled cells larger
    assert profiles.standard_error[row].sum() < read_cells(adata).standard_error[row].sum()


def test_standard_errors_are_those_of_repeated_screens():
    levels = np.array([read_cells(cells(seed=seed, batches=("x",))).level[:4] for seed in range(60)])
    stated = np.mean([read_cells(cells(seed=seed, batches=("x",))).standard_error[:4] for seed in range(8)], axis=0)
    np.testing.assert_allclose(levels.std(axis=0).mean(axis=1), stated.mean(axis=1), rtol=0.1)


def test_warnings_say_what_is_missing():
    notes = " ".join(read_cells(cells()).notes)
    assert "Fewer than 25 cells, so mostly noise: G1+rare (1)" in notes
    assert "single was not measured: rare (1)" in notes
    assert "not among the features: rare (1)" in notes


def test_a_condition_of_one_cell_borrows_the_variance_of_the_control():
    adata = cells()
    label = adata.obs["condition"].to_numpy().astype(object)
    label[0] = "single"
    adata.obs["condition"] = label
    profiles = read_cells(adata)
    row = profiles.screen.conditions["condition"].tolist().index("single")
    np.testing.assert_allclose(
        profiles.standard_error[row], profiles.standard_error[0] * np.sqrt((label == "ctrl").sum()), rtol=1e-5
    )
    np.testing.assert_allclose(profiles.level[row], adata.X[0], atol=1e-6)


def test_statistics_of_a_screen_with_rejected_labels_keep_them():
    adata = cells()
    adata.obs["condition"] = adata.obs["condition"].astype(str).replace({"G1": "G1_x"})
    statistics = cell_statistics(adata)
    profiles = profiles_from_statistics(statistics)
    assert profiles.rejected["label"].tolist() == ["G1_x"]
    assert profiles.features == statistics.features


def test_profiles_are_ordered_and_survive_saving(tmp_path):
    level = np.arange(8.0).reshape(4, 2)
    facts = ProfileFacts(np.ones((4, 2)), np.array([10.0, 20, 30, np.nan]), notes=["kept"])
    profiles = make_profiles([("B", "A"), ("B",), (), ("A", "B", "C")], level, ["x", "y"], facts)
    assert profiles.screen.conditions["condition"].tolist() == ["ctrl", "B", "A+B", "A+B+C"]
    assert profiles.level.tolist() == [[4, 5], [2, 3], [0, 1], [6, 7]]
    assert profiles.screen.conditions["squared_error"].tolist() == [2.0] * 4
    assert profiles.notes[0] == "kept"
    profiles.screen.save(tmp_path)
    again = Screen.load(tmp_path)
    assert again.conditions.equals(profiles.screen.conditions)
    assert np.array_equal(again.targets.value, profiles.level)


def test_what_is_no_set_of_profiles_is_an_error():
    with pytest.raises(DataError, match=r"more than once: A\+B"):
        make_profiles([(), ("A", "B"), ("B", "A")], np.ones((3, 1)), ["x"])
    for genes in ([("A",)], [(), ()]):
        with pytest.raises(DataError):
            make_profiles(genes, np.ones((len(genes), 1)), ["x"])
