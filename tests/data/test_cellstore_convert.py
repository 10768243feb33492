"""Cell stores from h5ad files: every storage form, appends, kills and damage."""

import multiprocessing
import os
import signal

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csc_matrix, csr_matrix

from screenwise.data import cellstore_writer, h5ad
from screenwise.data.cellstore import CellStore
from screenwise.data.cellstore_convert import append_h5ad, convert_h5ad, from_matrix
from screenwise.errors import ColumnError, DataError

CELLS, GENES = 57, 12
NAMES = [f"G{number}" for number in range(GENES)]


def counts_of(seed, cells=CELLS):
    return np.random.default_rng(seed).poisson(0.7, (cells, GENES)).astype(np.float32)


def cells_of(seed=0, cells=CELLS, matrix=None):
    counts = counts_of(seed, cells)
    number = np.arange(cells)
    obs = pd.DataFrame(
        {
            "condition": pd.Categorical(np.array(["ctrl", "A", "A+B"])[number % 3]),
            "batch": pd.Categorical(number % 2),
            "depth": counts.sum(axis=1),
            "good": number % 5 == 0,
            "note": [f"n{each % 4}" for each in number],
        },
        index=[f"cell{seed}-{each}" for each in number],
    )
    obs.loc[obs.index[3], "condition"] = np.nan
    obs["passages"] = pd.array(number, dtype="Int64")
    obs.loc[obs.index[4], "passages"] = pd.NA
    var = pd.DataFrame({"ensembl": [f"ENSG{number}" for number in range(GENES)]}, index=NAMES)
    data = anndata.AnnData(csr_matrix(counts) if matrix is None else matrix(counts), obs, var)
    data.layers["logged"] = csr_matrix(np.log1p(counts))
    return data


def with_large(data, cell):
    changed = data.X.toarray()
    changed[cell, 0] = 70_000
    data.X = csr_matrix(changed)
    return data


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of a few cells, so that their seams are met."""
    monkeypatch.setattr(h5ad, "BLOCK_ENTRIES", 23)
    monkeypatch.setattr(h5ad, "BLOCK_ROWS", 10)
    monkeypatch.setattr(cellstore_writer, "COPIED_VALUES", 50)


@pytest.fixture
def path(tmp_path):
    cells_of().write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def every(store):
    return store.rows(np.arange(len(store)))


@pytest.mark.parametrize("matrix", [csr_matrix, csc_matrix, np.asarray, lambda counts: csr_matrix(counts.astype("i2"))])
def test_every_storage_form_gives_the_same_store(tmp_path, matrix):
    cells_of(matrix=matrix).write_h5ad(tmp_path / "cells.h5ad", compression="gzip")
    told = []
    store = convert_h5ad(tmp_path / "cells.h5ad", tmp_path / "store", progress=lambda *now: told.append(now))
    np.testing.assert_array_equal(every(store), counts_of(0))
    assert store.counts
    assert store.genes == NAMES
    assert store.var["ensembl"].tolist() == [f"ENSG{number}" for number in range(GENES)]
    assert told[-1] == ("Reading cells", CELLS, CELLS)
    assert len(told) > 3
    assert sorted(done for _, done, _ in told) == [done for _, done, _ in told]
    store.verify()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["cells.h5ad", "store"]


def test_columns_of_the_cells(path):
    given = cells_of().obs
    obs = convert_h5ad(path, path.parent / "store").obs()
    assert obs["cell_id"].tolist() == given.index.tolist()
    for name in given.columns:
        known = given[name].notna().to_numpy()
        np.testing.assert_array_equal(obs[name].notna(), known)
        assert obs[name].to_numpy()[known].tolist() == given[name].to_numpy()[known].tolist()
    only = convert_h5ad(path, path.parent / "some", columns=["condition"])
    assert list(only.obs().columns) == ["condition"]
    assert convert_h5ad(path, path.parent / "none", columns=[]).obs().shape == (CELLS, 0)
    with pytest.raises(ColumnError, match="no obs column 'guide'; its columns are cell_id, condition, batch"):
        convert_h5ad(path, path.parent / "other", columns=["guide"])


def test_layers_and_raw(tmp_path):
    data = cells_of()
    data.raw = data.copy()
    del data.layers["logged"]
    short = data[:, :5].copy()
    short.layers["logged"] = csr_matrix(np.log1p(counts_of(0)[:, :5]))
    short.write_h5ad(tmp_path / "cells.h5ad")
    logged = convert_h5ad(tmp_path / "cells.h5ad", tmp_path / "logged", layer="logged")
    assert not logged.counts
    np.testing.assert_allclose(every(logged), np.log1p(counts_of(0)[:, :5]))
    raw = convert_h5ad(tmp_path / "cells.h5ad", tmp_path / "raw", layer="raw")
    assert raw.genes == NAMES
    np.testing.assert_array_equal(every(raw), counts_of(0))
    with pytest.raises(DataError, match=r"no matrix 'layers/counts'; its layers are: logged, raw"):
        convert_h5ad(tmp_path / "cells.h5ad", tmp_path / "other", layer="counts")
    with pytest.raises(DataError, match=r"logged|counts, as declared"):
        convert_h5ad(tmp_path / "cells.h5ad", tmp_path / "other", layer="logged", counts=True)


def test_appends_stand_behind(path, tmp_path):
    store = convert_h5ad(path, tmp_path / "store")
    more = cells_of(1, 20)
    more[:, ::-1].copy().write_h5ad(tmp_path / "more.h5ad")
    both = append_h5ad(tmp_path / "store", tmp_path / "more.h5ad")
    np.testing.assert_array_equal(every(both), np.concatenate([counts_of(0), counts_of(1, 20)]))
    assert both.obs(["cell_id"])["cell_id"].tolist()[-1] == "cell1-19"
    assert both.obs(["condition"])["condition"].astype(object).value_counts()["A"] == 19 + 7
    both.verify()
    assert len(store) == CELLS
    np.testing.assert_array_equal(every(store), counts_of(0))


def test_counts_too_large_for_16_bits_widen_the_store(path, tmp_path):
    store = convert_h5ad(path, tmp_path / "store")
    more = cells_of(1, 20)
    more = with_large(more, 19)
    more.write_h5ad(tmp_path / "more.h5ad")
    both = append_h5ad(tmp_path / "store", tmp_path / "more.h5ad")
    assert both.counts
    assert both.data.dtype == np.float32
    assert both.rows([CELLS + 19])[0, 0] == 70_000
    np.testing.assert_array_equal(both.rows(np.arange(CELLS)), counts_of(0))
    np.testing.assert_array_equal(every(store), counts_of(0))
    both.verify()
    assert not (tmp_path / "store" / "data-uint16.bin").exists()


def other_genes(data):
    data.var_names = [*NAMES[:-2], "X1", "X2"]


def other_scale(data):
    data.X = data.layers["logged"]


def negative(data):
    changed = data.X.toarray()
    changed[2, 1] = -1
    data.X = csr_matrix(changed)


def without_condition(data):
    del data.obs["condition"]


def depth_as_text(data):
    data.obs["depth"] = ["deep"] * data.n_obs


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (other_genes, DataError, r"2 of the store are missing \(G10, G11\), 2 are not in it \(X1, X2\)"),
        (other_scale, DataError, r"more\.h5ad: the value of cell 0 .*counts, as declared or as in the cells before"),
        (negative, DataError, r"cell 2 .* gene G1 is -1"),
        (without_condition, ColumnError, "no obs column 'condition'"),
        (depth_as_text, ColumnError, "another type"),
    ],
)
def test_a_refused_append_changes_nothing(path, tmp_path, change, error, said):
    convert_h5ad(path, tmp_path / "store")
    more = cells_of(1, 20)
    change(more)
    more.write_h5ad(tmp_path / "more.h5ad")
    with pytest.raises(error, match=said):
        append_h5ad(tmp_path / "store", tmp_path / "more.h5ad")
    store = CellStore.open(tmp_path / "store")
    store.verify()
    np.testing.assert_array_equal(every(store), counts_of(0))
    cells_of(2, 20).write_h5ad(tmp_path / "good.h5ad")
    both = append_h5ad(tmp_path / "store", tmp_path / "good.h5ad")
    both.verify()
    np.testing.assert_array_equal(every(both)[CELLS:], counts_of(2, 20))


def test_counts_behind_other_values_are_refused(path, tmp_path):
    convert_h5ad(path, tmp_path / "store", layer="logged")
    with pytest.raises(DataError, match=r"cells\.h5ad holds counts"):
        append_h5ad(tmp_path / "store", path)
    from_matrix(tmp_path / "whole", counts_of(0), genes=NAMES, counts=False)
    assert len(append_h5ad(tmp_path / "whole", path)) == 2 * CELLS


def killed_after(blocks, work):
    """Run `work` in a process that is killed at a block; return its exit code."""

    def progress(_what, done, _total):
        if done >= blocks:
            os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=work, args=(progress,))
    child.start()
    child.join(60)
    return child.exitcode


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_killed_conversion_leaves_no_store_and_starts_again(path, tmp_path):
    folder = tmp_path / "store"
    code = killed_after(20, lambda progress: convert_h5ad(path, folder, progress=progress))
    assert code == -signal.SIGKILL
    assert not folder.exists()
    with pytest.raises(DataError, match="conversion did not end"):
        CellStore.open(folder)
    np.testing.assert_array_equal(every(convert_h5ad(path, folder)), counts_of(0))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["cells.h5ad", "store"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("large", [False, True])
def test_a_killed_append_leaves_the_store_as_it_was(path, tmp_path, large):
    folder = tmp_path / "store"
    convert_h5ad(path, folder)
    more = cells_of(1, 40)
    if large:
        more = with_large(more, 0)
    more.write_h5ad(tmp_path / "more.h5ad")
    code = killed_after(20, lambda progress: append_h5ad(folder, tmp_path / "more.h5ad", progress=progress))
    assert code == -signal.SIGKILL
    store = CellStore.open(folder)
    store.verify()
    np.testing.assert_array_equal(every(store), counts_of(0))
    both = append_h5ad(folder, tmp_path / "more.h5ad")
    both.verify()
    np.testing.assert_array_equal(every(both)[CELLS:], more.X.toarray())


def test_two_writers_do_not_mix(path, tmp_path):
    convert_h5ad(path, tmp_path / "store")

    def append_too(*_now):
        with pytest.raises(DataError, match="written by another process"):
            append_h5ad(tmp_path / "store", path)

    assert len(append_h5ad(tmp_path / "store", path, progress=append_too)) == 2 * CELLS


def test_duplicate_genes_and_empty_files(tmp_path):
    twice = cells_of()
    twice.var_names = [*NAMES[:-1], "G0"]
    twice.write_h5ad(tmp_path / "twice.h5ad")
    cells_of()[:0].write_h5ad(tmp_path / "none.h5ad")
    (tmp_path / "empty.h5ad").write_bytes(b"")
    (tmp_path / "text.h5ad").write_text("condition,G0\n")
    for name, said in [
        ("twice", "1 genes stand more than once, such as G0"),
        ("none", "0 cells and 12 genes"),
        ("empty", r"is empty \(0 bytes\)"),
        ("text", "cannot be read as h5ad"),
        ("absent", "does not exist"),
    ]:
        with pytest.raises(DataError, match=said):
            convert_h5ad(tmp_path / f"{name}.h5ad", tmp_path / "store")
    assert not list(tmp_path.glob("*store*"))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95, 0.999])
def test_a_file_cut_short_is_told(path, tmp_path, share):
    whole = path.read_bytes()
    (tmp_path / "cut.h5ad").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match=r"cut\.h5ad .*cut short"):
        convert_h5ad(tmp_path / "cut.h5ad", tmp_path / "store")
    assert not (tmp_path / "store").exists()


def put(name, place, value):
    def change(file):
        file[name][place] = value

    return change


def shorten(name):
    def change(file):
        kept = file[name][:-1]
        del file[name]
        file[name] = kept

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("X/indices", 5, GENES), "outside 0 to 11"),
        (put("X/indices", 5, -1), "outside 0 to 11"),
        (put("X/indptr", 30, 10**6), "row pointers"),
        (shorten("X/data"), "values"),
        (shorten("X/indptr"), "pointers"),
        (shorten("obs/depth"), "'depth' has 56 values"),
        (shorten("var/_index"), "var names 11 genes"),
        (put("X/data", 7, np.nan), "is nan; it must be one of finite numbers"),
        (lambda file: file.pop("obs") and None, "cannot be read"),
        (lambda file: file.pop("X/indices") and None, "cannot be read"),
    ],
)
def test_files_that_contradict_themselves_are_told(path, tmp_path, change, said):
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(DataError, match=said):
        convert_h5ad(path, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_disk_that_is_full_is_told(path, tmp_path, monkeypatch):
    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left on device"):
        convert_h5ad(path, tmp_path / "store")
    assert [each.name for each in tmp_path.iterdir()] == ["cells.h5ad"]
