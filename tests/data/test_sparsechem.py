"""SparseChem's files: what is read, and what is refused with file, row and column."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import mmwrite
from scipy.sparse import coo_array, csc_matrix, csr_array, csr_matrix, random_array, save_npz

from screenwise.data.sparsechem import (
    TRANSFORMS,
    SparseChemFiles,
    choose_folds,
    fold_inputs,
    read_folding,
    read_labels,
    read_matrix,
    write_matrix,
)
from screenwise.errors import ConfigError, DataError


def entries(matrix):
    matrix = csr_array(matrix)
    matrix.sort_indices()
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return list(zip(row.tolist(), matrix.indices.tolist(), matrix.data.tolist(), strict=True))


@pytest.mark.parametrize("suffix", [".npz", ".mtx"])
@pytest.mark.parametrize("kind", [csr_matrix, csc_matrix, coo_array, csr_array])
def test_any_form_is_read_with_its_stored_zeros(tmp_path, suffix, kind):
    row, column, value = np.array([2, 0, 0]), np.array([1, 3, 0]), np.array([0.0, 2.5, -1.0])
    matrix = kind(coo_array((value, (row, column)), shape=(3, 4)))
    path = tmp_path / f"y{suffix}"
    if suffix == ".npz":
        save_npz(path, matrix)
    else:
        mmwrite(path, matrix)
    found = read_matrix(path)
    assert found.dtype == np.float32
    assert entries(found) == [(0, 0, -1.0), (0, 3, 2.5), (2, 1, 0.0)]


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(0, 6), columns=st.integers(1, 6), seed=st.integers(0, 99))
def test_what_is_written_is_read(tmp_path_factory, rows, columns, seed):
    matrix = csr_array(random_array((rows, columns), density=0.4, rng=np.random.default_rng(seed), dtype=np.float32))
    matrix.data[::2] = 0
    path = tmp_path_factory.mktemp("y") / "y.npz"
    write_matrix(path, matrix)
    assert entries(read_matrix(path)) == entries(matrix)


def test_a_pickled_matrix_is_refused_and_the_command_converts_it(tmp_path):
    path, matrix = tmp_path / "x.npy", csr_matrix(np.array([[0, 1.0], [2, 0]]))
    np.save(path, matrix, allow_pickle=True)
    with pytest.raises(DataError, match="pickled object") as refused:
        read_matrix(path)
    command = str(refused.value).split('"')[1]
    subprocess.run([sys.executable, "-c", command], check=True, timeout=100)
    assert entries(read_matrix(tmp_path / "x.npz")) == [(0, 1, 1.0), (1, 0, 2.0)]


def test_reading_a_pickle_runs_nothing(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    array = np.empty((), object)
    array[()] = Trap()
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    for read in (read_matrix, lambda path: read_folding(path, 1)):
        with pytest.raises(DataError, match="pickled"):
            read(tmp_path / "x.npy")
    assert not (tmp_path / "ran").exists()


def test_a_pickled_folding_is_refused_and_the_command_converts_it(tmp_path):
    np.save(tmp_path / "f.npy", np.array([0, 1, 2], object), allow_pickle=True)
    with pytest.raises(DataError, match="pickled") as refused:
        read_folding(tmp_path / "f.npy", 3)
    command = str(refused.value).split('"')[1]
    subprocess.run([sys.executable, "-c", command], check=True, timeout=100)
    assert read_folding(tmp_path / "f-plain.npy", 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "row 1, column 2: the value is nan"), (1e300, "finite"), (-np.inf, "-inf")]
)
def test_numbers_that_are_not_finite_are_named(tmp_path, value, said):
    save_npz(tmp_path / "x.npz", csr_matrix(np.array([[1.0, 0, 0], [0, 0, value]])))
    with pytest.raises(DataError, match=said):
        read_matrix(tmp_path / "x.npz")


def test_entries_that_stand_twice_are_an_error_of_labels_and_a_sum_of_features(tmp_path):
    path = tmp_path / "y.npz"
    save_npz(path, coo_array((np.ones(3), ([0, 1, 1], [0, 2, 2])), shape=(2, 3)))
    with pytest.raises(DataError, match="row 1, column 2: two entries"):
        read_matrix(path)
    assert entries(read_matrix(path, repeats=True)) == [(0, 0, 1.0), (1, 2, 2.0)]
    twice = csr_matrix((2, 3))
    twice.data, twice.indices, twice.indptr = np.ones(2), np.array([1, 1]), np.array([0, 2, 2])
    save_npz(path, twice)
    with pytest.raises(DataError, match="twice"):
        read_matrix(path)


def test_files_that_are_no_matrices_are_refused(tmp_path):
    cases = {"x.txt": b"", "x.npz": b"PK\x03\x04", "x.mtx": b"%%MatrixMarket\n", "y.npz": b""}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            read_matrix(tmp_path / name)
    np.save(tmp_path / "dense.npy", np.ones((2, 2)))
    with pytest.raises(DataError, match="dense array"):
        read_matrix(tmp_path / "dense.npy")
    mmwrite(tmp_path / "dense.mtx", np.ones((2, 2)))
    with pytest.raises(DataError, match="coordinate form"):
        read_matrix(tmp_path / "dense.mtx")
    with pytest.raises(DataError, match="does not exist"):
        read_matrix(tmp_path / "none.npz")
    bad = csr_matrix(np.eye(2))
    bad.indices = np.array([0, 7], np.int32)
    save_npz(tmp_path / "bad.npz", bad)
    with pytest.raises(DataError, match="damaged"):
        read_matrix(tmp_path / "bad.npz")
    save_npz(tmp_path / "complex.npz", csr_matrix(np.eye(2) * 1j))
    with pytest.raises(DataError, match="real numbers"):
        read_matrix(tmp_path / "complex.npz")


def labelled(folder, **matrices):
    files = {}
    for name, matrix in matrices.items():
        save_npz(folder / f"{name}.npz", csr_matrix(matrix))
        files[name] = folder / f"{name}.npz"
    return SparseChemFiles(folder / "x.npz", **files)


def with_entries(*cells, shape=(3, 2)):
    row, column, value = zip(*cells, strict=True)
    matrix = csr_matrix(shape)
    order = np.lexsort((column, row))
    matrix.data = np.array(value, float)[order]
    matrix.indices = np.array(column, np.int32)[order]
    matrix.indptr = np.searchsorted(np.array(row)[order], np.arange(shape[0] + 1)).astype(np.int32)
    return matrix


def test_labels_values_and_bounds_are_read(tmp_path):
    values = with_entries((0, 0, 0.0), (0, 1, 5.5), (2, 1, 6.0))
    censor = with_entries((0, 0, -1), (0, 1, 0), (2, 1, 1))
    files = labelled(tmp_path, y_class=with_entries((0, 1, 1), (1, 0, -1), (2, 0, 0)), y_regr=values, y_censor=censor)
    labels = read_labels(files, 3)
    assert entries(labels.y_class) == [(0, 1, 1.0), (1, 0, -1.0)]
    assert entries(labels.y_regr) == [(0, 0, 0.0), (0, 1, 5.5), (2, 1, 6.0)]
    assert labels.y_censor.data.tolist() == [-1, 0, 1]
    part = labels.take(np.array([2, 0]))
    assert entries(part.y_regr) == [(0, 1, 6.0), (1, 0, 0.0), (1, 1, 5.5)]
    assert part.y_censor.data.tolist() == [1, -1, 0]


def test_a_censor_without_entries_means_no_bounds(tmp_path):
    values = with_entries((0, 0, 1.0))
    labels = read_labels(labelled(tmp_path, y_regr=values, y_censor=csr_matrix((3, 2))), 3)
    assert labels.y_censor.data.tolist() == [0]


@pytest.mark.parametrize(
    ("censor", "said"),
    [
        (with_entries((0, 0, 0), (1, 1, 0)), "row 1, column 0: a value but no bound|row 1, column 1"),
        (with_entries((0, 0, 0), (1, 0, 1), (2, 0, 1)), "row 2, column 0: a bound but no value"),
        (with_entries((0, 0, 0)), "row 1, column 0: a value but no bound"),
        (with_entries((0, 0, 2), (1, 0, 0)), "row 0, column 0: 2"),
        (csr_matrix((3, 3)), "must agree"),
    ],
)
def test_bounds_that_do_not_fit_the_values_are_named(tmp_path, censor, said):
    files = labelled(tmp_path, y_regr=with_entries((0, 0, 5.0), (1, 0, 6.0)), y_censor=censor)
    with pytest.raises(DataError, match=said):
        read_labels(files, 3)


def test_classes_other_than_one_and_minus_one_are_named(tmp_path):
    with pytest.raises(DataError, match=r"row 2, column 1: the class is 2.*y_regr"):
        read_labels(labelled(tmp_path, y_class=with_entries((0, 0, 1), (2, 1, 2))), 3)


def test_classes_0_and_1_are_refused_as_0_would_be_lost(tmp_path):
    with pytest.raises(DataError, match=r"2 entries are 0 and none is -1.*write -1"):
        read_labels(labelled(tmp_path, y_class=with_entries((0, 0, 1), (1, 0, 0), (2, 1, 0))), 3)
    kept = read_labels(labelled(tmp_path, y_class=with_entries((0, 0, 1), (1, 0, 0), (2, 1, -1))), 3)
    assert entries(kept.y_class) == [(0, 0, 1), (2, 1, -1)], "0 = not measured, as in SparseChem"


def test_no_label_at_all_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no label at all"):
        read_labels(labelled(tmp_path, y_class=csr_matrix((3, 2))), 3)


def test_rows_that_differ_from_those_of_x_are_an_error(tmp_path):
    with pytest.raises(DataError, match="3 rows, X has 4"):
        read_labels(labelled(tmp_path, y_class=with_entries((0, 0, 1))), 4)


@pytest.mark.parametrize(
    ("folds", "said"),
    [
        (np.array([0, 1]), "X has 3 rows"),
        (np.array([[0], [1], [2]]), r"\(3, 1\)"),
        (np.array([0, -1, 2]), "row 1: fold -1"),
        (np.array([0, 0.5, 2]), "row 1: fold 0.5"),
        (np.array([0, np.nan, 2]), "row 1: fold nan"),
        (np.array(["a", "b", "c"]), "row 0: fold a"),
    ],
)
def test_folds_that_make_no_sense_are_named(tmp_path, folds, said):
    np.save(tmp_path / "f.npy", folds)
    with pytest.raises(DataError, match=said):
        read_folding(tmp_path / "f.npy", 3)


def test_whole_numbers_stored_as_floats_are_folds(tmp_path):
    np.save(tmp_path / "f.npy", np.array([0.0, 3.0]))
    assert read_folding(tmp_path / "f.npy", 2).tolist() == [0, 3]
    (tmp_path / "g.npy").write_text("0 1")
    with pytest.raises(DataError, match=r"g\.npy"):
        read_folding(tmp_path / "g.npy", 2)
    with pytest.raises(DataError, match="the folds are 0, 3"):
        choose_folds(np.array([0, 3]), [1], "--fold_va")


@settings(max_examples=30, deadline=None)
@given(columns=st.integers(1, 12), transform=st.sampled_from(list(TRANSFORMS)), seed=st.integers(0, 99))
def test_folding_adds_columns_before_the_transform(columns, transform, seed):
    x = csr_array(random_array((4, 9), density=0.5, rng=np.random.default_rng(seed), dtype=np.float32))
    before = x.toarray()
    found = fold_inputs(x, columns, transform)
    width = min(columns, 9)
    wanted = np.zeros((4, width))
    for column in range(9):
        wanted[:, column % width] += before[:, column]
    plain = {"none": lambda v: v, "binarize": lambda v: (v > 0).astype(float), "tanh": np.tanh, "log1p": np.log1p}
    np.testing.assert_allclose(found.toarray(), plain[transform](wanted), rtol=1e-6)
    np.testing.assert_array_equal(x.toarray(), before)


def test_a_transform_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="no input_transform 'sqrt'; it is one of none, binarize"):
        fold_inputs(csr_array(np.eye(2)), None, "sqrt")
