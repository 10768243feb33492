"""Single cells in and out."""

import os
import subprocess
import sys
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csc_matrix, csr_matrix, vstack
from scipy.spatial.distance import cdist

from screenwise.data.cells import CellColumns, cell_statistics, control_cells, read_cells, shift_cells
from screenwise.errors import ColumnError, ConfigError, DataError

SHARED = Path(os.environ.get("SCREENWISE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "perturbseq"
NORMAN = SHARED / "norman2019_sc_hvg500.h5ad"
MCFALINE = SHARED / "mcfaline2023_sc_hvg500_A172_T98G.h5ad"
needs_data = pytest.mark.skipif(not NORMAN.exists(), reason="the public data folder (SCREENWISE_DATA) is not here")
DOUBLES = {
    "KLF1+MAP2K6": 0.371,
    "KLF1+TGFBR2": 0.413,
    "MAP2K3+MAP2K6": 0.480,
    "MAP2K3+SLC38A2": 0.444,
    "MAPK1+TGFBR2": 0.522,
}
"""Error of plain addition, L2 over 500 genes; computed apart with NumPy from the counts."""


def counts(cells=60, genes=12, seed=0):
    return np.random.default_rng(seed).poisson(2.0, (cells, genes)).astype(np.float32)


def screen(x=None, **columns):
    x = counts() if x is None else x
    labels = np.resize(["ctrl", "A+ctrl", "ctrl+B", "A+B", "B+A", "ctrl"], x.shape[0])
    obs = pd.DataFrame({"condition": labels, "batch": np.resize(["x", "x", "x", "x", "y", "y", "y"], len(labels))})
    for name, values in columns.items():
        obs[name] = values
    obs.index = [f"cell{place}" for place in range(len(labels))]
    var = pd.DataFrame(index=["A", "B", *[f"G{place}" for place in range(x.shape[1] - 2)]])
    return anndata.AnnData(x, obs=obs, var=var)


def normalised(x, total=None):
    total = x.sum(axis=1) if total is None else total
    return np.log1p(x * 1e4 / np.asarray(total)[:, None])


def written(tmp_path, adata, name="a.h5ad", **options):
    path = tmp_path / name
    adata.write_h5ad(path, **options)
    return path


def same(a, b):
    assert a.groups.equals(b.groups)
    np.testing.assert_allclose(a.total, b.total, rtol=1e-6)
    np.testing.assert_allclose(a.squares, b.squares, rtol=1e-6)


def test_sums_equal_those_by_hand():
    adata = screen()
    found = cell_statistics(adata, CellColumns(batch="batch"))
    values, label, batch = normalised(adata.X), adata.obs["condition"].to_numpy(), adata.obs["batch"].to_numpy()
    spelled = {"ctrl": ["ctrl"], "A": ["A+ctrl"], "B": ["ctrl+B"], "A+B": ["A+B", "B+A"]}
    assert found.groups[["condition", "batch"]].to_numpy().tolist() == [
        [name, own] for name in ("ctrl", "A", "B", "A+B") for own in "xy"
    ]
    for place, (name, own) in enumerate(found.groups[["condition", "batch"]].to_numpy()):
        rows = values[np.isin(label, spelled[name]) & (batch == own)]
        assert found.count[place] == len(rows) == found.groups["n_cells"][place]
        np.testing.assert_allclose(found.total[place], rows.sum(axis=0), rtol=1e-6)
        np.testing.assert_allclose(found.squares[place], (rows**2).sum(axis=0), rtol=1e-6)


def test_every_way_of_storing_gives_the_same_sums(tmp_path):
    adata = screen(total_counts=np.full(60, 100.0))
    columns = CellColumns(batch="batch")
    expected = cell_statistics(adata, columns)
    for kind in (csr_matrix, csc_matrix, np.asarray, lambda x: x.astype(np.int64), lambda x: x.astype(np.float64)):
        other = adata.copy()
        other.X = kind(adata.X)
        same(expected, cell_statistics(other, columns))
        path = written(tmp_path, other, compression="gzip")
        same(expected, cell_statistics(path, columns, chunk=7))
        same(expected, cell_statistics(str(path), columns, chunk=1))
        same(expected, cell_statistics(anndata.read_h5ad(path, backed="r"), columns))
    text = adata.copy()
    text.strings_to_categoricals()
    same(expected, cell_statistics(text, columns))
    same(expected, cell_statistics(written(tmp_path, adata, convert_strings_to_categoricals=False), columns))
    shuffled = adata[np.random.default_rng(1).permutation(60)]
    same(expected, cell_statistics(shuffled, columns))


def test_a_layer_and_the_row_sums_can_be_chosen(tmp_path):
    adata = screen(total_counts=np.full(60, 500.0))
    adata.layers["counts"] = csr_matrix(adata.X)
    plain = normalised(adata.X)[adata.obs["condition"] == "ctrl"].sum(axis=0)
    over = normalised(adata.X, np.full(60, 500.0))[adata.obs["condition"] == "ctrl"].sum(axis=0)
    adata.X = np.full_like(adata.X, np.nan)
    for source in (adata, written(tmp_path, adata)):
        found = cell_statistics(source, CellColumns(layer="counts", total=""))
        np.testing.assert_allclose(found.total[0], plain, rtol=1e-6)
        found = cell_statistics(source, CellColumns(layer="counts"))
        np.testing.assert_allclose(found.total[0], over, rtol=1e-6)
        assert any("total_counts" in note for note in found.notes)
        with pytest.raises(ColumnError, match="no layer 'raw'; its layers are counts"):
            cell_statistics(source, CellColumns(layer="raw"))


def test_log_values_stay_as_they_are():
    adata = screen(normalised(counts()))
    found = cell_statistics(adata)
    np.testing.assert_allclose(found.total[0], adata.X[adata.obs["condition"] == "ctrl"].sum(axis=0), rtol=1e-6)
    assert any("log1p values" in note for note in found.notes)
    same(found, cell_statistics(adata, CellColumns(counts=False)))


def test_cells_without_counts_or_label_are_left_out():
    x = counts()
    x[0] = 0
    adata = screen(x)
    adata.obs["condition"] = adata.obs["condition"].astype(object)
    adata.obs.loc["cell1", "condition"] = None
    adata.obs.loc["cell2", "condition"] = "A+"
    found = cell_statistics(adata)
    assert found.count.sum() == 57
    assert found.rejected[["label", "count"]].to_numpy().tolist() == [["A+", 1]]
    assert any("1 cells without any count" in note for note in found.notes)
    assert any("1 cells without a label" in note for note in found.notes)


def test_usual_columns_are_found():
    adata = screen()
    adata.obs = adata.obs.rename(columns={"condition": "perturbation"})
    assert len(cell_statistics(adata).groups) == 4
    with pytest.raises(ColumnError, match=r"no column 'guide' in obs.*perturbation, batch"):
        cell_statistics(adata, CellColumns(condition="guide"))


def test_a_covariate_keeps_one_value(tmp_path):
    adata = screen(cell_type=np.resize(["k562", "rpe1"], 60), passage=np.resize([1.0, 2.0, np.nan], 60))
    half = cell_statistics(adata[::2])
    for source in (adata, written(tmp_path, adata)):
        same(half, cell_statistics(source, CellColumns(covariate="cell_type=k562")))
        assert cell_statistics(source, CellColumns(covariate="passage=1")).count.sum() == 20
        with pytest.raises(DataError, match="no cell has cell_type = 'hela'; it has k562, rpe1"):
            cell_statistics(source, CellColumns(covariate="cell_type=hela"))
    with pytest.raises(ConfigError, match="COLUMN=VALUE"):
        cell_statistics(adata, CellColumns(covariate="cell_type"))
    assert any("several cell_type are pooled" in note for note in cell_statistics(adata).notes)
    assert not any("pooled" in note for note in cell_statistics(adata, CellColumns(batch="cell_type")).notes)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
@pytest.mark.parametrize("kind", [np.asarray, csr_matrix])
def test_a_value_that_cannot_be_is_named_with_its_place(tmp_path, value, kind):
    x = counts()
    x[41, 3] = value
    adata = screen(kind(x))
    for source in (adata, written(tmp_path, adata)):
        with pytest.raises(DataError, match=r"row 42 \(cell 'cell41'\), column 4 \('G1'\) holds"):
            cell_statistics(source, CellColumns(counts=True), chunk=10)


def test_counts_and_log_values_are_not_taken_for_each_other():
    with pytest.raises(DataError, match=r"look like log values.*--no-counts"):
        cell_statistics(screen(normalised(counts())), CellColumns(counts=True))
    with pytest.raises(DataError, match=r"declared as log1p.*whole numbers.*--counts"):
        cell_statistics(screen(), CellColumns(counts=False))
    with pytest.raises(DataError, match="neither counts nor log1p"):
        cell_statistics(screen(counts() * 30.5))
    assert len(cell_statistics(screen(counts() * 30.5), CellColumns(counts=True)).notes) == 2
    with pytest.raises(DataError, match="neither a count nor log1p"):
        cell_statistics(screen(normalised(counts()) - 1))
    assert any("below 0" in note for note in cell_statistics(screen(counts() - 0.5), CellColumns(counts=False)).notes)
    mixed = counts()
    mixed[50, 0] = 0.25
    with pytest.raises(DataError, match=r"row 51.*holds 0.25.*before it are whole"):
        cell_statistics(screen(mixed), chunk=20)


def test_totals_must_fit_the_counts():
    with pytest.raises(DataError, match=r"row 1 .*total_counts'\] is 1, but the counts of the row add up"):
        cell_statistics(screen(total_counts=np.ones(60)))


def test_doubled_genes_and_controls_that_are_missing_or_alone():
    adata = screen()
    adata.var_names = ["A", "B", "A", *[f"G{place}" for place in range(9)]]
    with pytest.raises(DataError, match=r"more than once: A.*var_names_make_unique"):
        cell_statistics(adata)
    with pytest.raises(DataError, match="most like one"):
        cell_statistics(screen()[screen().obs["condition"] != "ctrl"])
    adata = screen()
    with pytest.raises(DataError, match="the control has 1 cell "):
        cell_statistics(adata[(adata.obs["condition"] != "ctrl") | (adata.obs_names == "cell0")])


def test_damaged_files_are_named(tmp_path):
    path = written(tmp_path, screen(csr_matrix(counts(2_000, 200))), compression="gzip")
    whole = path.read_bytes()
    for size in (len(whole) // 2, len(whole) - 4_000, 100, 0):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"a\.h5ad.*(cut short|cannot be read).*again"):
            cell_statistics(path)
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        del file["X/indices"]
    with pytest.raises(DataError, match="not a whole h5ad"):
        cell_statistics(path)
    with h5py.File(path, "w") as file:
        file["table"] = np.ones(3)
    with pytest.raises(DataError, match="no X, obs, var"):
        cell_statistics(path)
    with pytest.raises(DataError, match="does not exist"):
        cell_statistics(tmp_path / "none.h5ad")
    with pytest.raises(DataError, match="not list"):
        cell_statistics([1])


def test_columns_beyond_the_features_are_damage(tmp_path):
    path = written(tmp_path, screen(csr_matrix(counts())))
    with h5py.File(path, "r+") as file:
        file["X/indices"][5] = 99
    with pytest.raises(DataError, match="beyond its 12 features"):
        cell_statistics(path)


MEMORY = """
import sys
from screenwise.data.cells import cell_statistics
cell_statistics(sys.argv[1])
def most():
    lines = open('/proc/self/status').read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('VmHWM'))
before = most()
cell_statistics(sys.argv[2])
print(most() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the most memory held is read from /proc")
def test_memory_does_not_grow_with_the_cells(tmp_path):
    x = csr_matrix(np.random.default_rng(0).poisson(1.0, (6_000, 2_000)).astype(np.float32))
    small = written(tmp_path, screen(x), "small.h5ad")
    large = written(tmp_path, screen(vstack([x, x, x, x], format="csr")), "large.h5ad")
    done = subprocess.run([sys.executable, "-c", MEMORY, small, large], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 60_000  # kB; loading it whole would add 180,000


@needs_data
def test_addition_on_real_cells_has_the_published_error():
    profiles = read_cells(NORMAN)
    at = {label: place for place, label in enumerate(profiles.screen.conditions["condition"])}
    effect = profiles.effect.astype(np.float64)
    error = {
        pair: np.linalg.norm(effect[at[pair]] - effect[at[pair.split("+")[0]]] - effect[at[pair.split("+")[1]]])
        for pair in DOUBLES
    }
    for pair, expected in DOUBLES.items():
        assert error[pair] == pytest.approx(expected, abs=6e-4)
    assert np.mean(list(error.values())) == pytest.approx(0.446, abs=5e-4)
    assert np.mean([np.linalg.norm(effect[at[pair]]) for pair in DOUBLES]) == pytest.approx(1.374, abs=5e-4)
    assert profiles.screen.conditions["n_cells"][0] == 100
    assert any("single was not measured" in note for note in profiles.notes)


@needs_data
def test_cell_lines_are_kept_apart_or_matched():
    a172 = read_cells(MCFALINE, CellColumns(covariate="cell_type=A172"))
    t98g = read_cells(MCFALINE, CellColumns(covariate="cell_type=T98G"))
    matched = read_cells(MCFALINE, CellColumns(batch="cell_type"), controls="matched")
    cells = [one.screen.conditions["n_cells"].to_numpy() for one in (a172, t98g)]
    expected = (a172.effect * cells[0][:, None] + t98g.effect * cells[1][:, None]) / (cells[0] + cells[1])[:, None]
    np.testing.assert_allclose(matched.effect, expected, atol=1e-5)
    adata = anndata.read_h5ad(MCFALINE)
    own = (adata.obs["cell_type"] == "A172") & (adata.obs["condition"] == "ctrl")
    values = normalised(adata.X.toarray().astype(np.float64), adata.obs["total_counts"])[own.to_numpy()]
    np.testing.assert_allclose(a172.control, values.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(a172.standard_error[0], values.std(axis=0, ddof=1) / 10, atol=1e-6)
    assert any("pooled" in note for note in read_cells(MCFALINE).notes)


def energy_distance(x, y):
    """Return the energy distance of two samples, of 100 cells each: the V-statistic, about 0.07 above zero."""
    return 2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean()


@needs_data
def test_shifted_control_cells_are_near_the_real_doubles():
    adata = anndata.read_h5ad(NORMAN)
    values = normalised(adata.X.toarray().astype(np.float64), adata.obs["total_counts"])
    control, profiles = control_cells(NORMAN), read_cells(NORMAN)
    at = {label: place for place, label in enumerate(profiles.screen.conditions["condition"])}
    shifted, unshifted = [], []
    for pair in DOUBLES:
        real = values[(adata.obs["condition"] == pair).to_numpy()]
        delta = sum(profiles.effect[at[name]] for name in pair.split("+"))
        shifted.append(energy_distance(shift_cells(control, delta), real))
        unshifted.append(energy_distance(control, real))
    assert np.mean(shifted) == pytest.approx(0.087, abs=0.002)
    assert np.mean(unshifted) == pytest.approx(0.630, abs=0.002)


def test_control_cells_are_drawn_without_reading_the_rest(tmp_path):
    adata = screen(counts(3_000), total_counts=np.full(3_000, 80.0))
    values = normalised(adata.X, np.full(3_000, 80.0))[adata.obs["condition"] == "ctrl"].astype(np.float32)
    for source in (adata, written(tmp_path, adata)):
        np.testing.assert_allclose(control_cells(source), values, rtol=1e-6)
        few = control_cells(source, limit=50, seed=1)
        assert few.shape == (50, 12)
        assert all((np.abs(values - row).max(axis=1) < 1e-5).any() for row in few)
        assert np.array_equal(few, control_cells(source, limit=50, seed=1))
        assert not np.array_equal(few, control_cells(source, limit=50, seed=2))


def test_shifted_cells_are_cut_at_no_expression():
    control = csr_matrix(np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 0.5]]))
    delta = np.array([0.5, -0.25, -1.0])
    expected = [[0.5, 0.75, 1.0], [3.5, 0.0, 0.0]]
    assert shift_cells(control, delta).tolist() == expected
    drawn = shift_cells(control, delta, size=5)
    assert drawn.shape == (5, 3)
    assert {tuple(row) for row in drawn.tolist()} == {tuple(row) for row in expected}
    with pytest.raises(DataError, match="does not fit"):
        shift_cells(control, delta[:2])
